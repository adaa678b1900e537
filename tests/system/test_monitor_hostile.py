"""A log that lies in every field it controls, and a network that drops, drips and remembers: over real connections, to a monitor
in a process of its own that may have 512 MB of memory.

Each lie is told about a log that grew. The monitor says what it met, in its class and with its exit code; it accuses nobody,
believes nothing, and has everything once the truth is served.
"""

import copy
import functools
import http.server
import json
import os
import pathlib
import resource
import shutil
import threading
import zlib
from dataclasses import dataclass, field

import pytest

from ledger.tlog.checkpoint import Checkpoint
from tests.fakes.web import answering
from tests.monitor.hub import Hub
from tests.system.test_monitor import finish, start
from tests.world import key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
BEFORE, AFTER = 300, 700
BUNDLE, TILE = "tile/entries/001", "tile/0/002.p/188"
MEMORY = 512 << 20
HURRY = {"OBJECT_SECONDS": "2", "FIRST_PAUSE": "0.01"}


@dataclass
class Lie:
    """What is answered in the place of one object: ``tell(handler, data)``, with what the truth would be."""

    name: str
    tell: object
    kind: str
    code: int
    more: list = field(default_factory=list)


def whole(handler, body, *headers):
    handler.send_response(200)
    for each in headers:
        handler.send_header(*each)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def say(change):
    return lambda handler, data: whole(handler, change(data))


def endless(handler, _data):
    handler.send_response(200)
    handler.end_headers()
    while True:  # until the reader has had enough
        handler.wfile.write(b"x" * 65536)


def bomb(handler, _data):
    """A gzip stream of zeros without an end, a thousand times smaller than what it becomes."""
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    stream = zlib.compressobj(9, wbits=31)
    while True:
        handler.wfile.write(stream.compress(bytes(1 << 22)) + stream.flush(zlib.Z_FULL_FLUSH))


def dripping(handler, data):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    for at in range(len(data)):
        handler.wfile.write(data[at : at + 1])
        handler.slowly()


def dripping_headers(handler, _data):
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        handler.slowly()


def many_headers(handler, _data):
    handler.send_response_only(200)
    while True:
        handler.wfile.write(b"X-More: of the same\r\n" * 1000)


def cut(handler, data):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])


def status(code, *headers):
    def tell(handler, _data):
        handler.send_response(code)
        for each in headers:
            handler.send_header(*each)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return tell


def _last_entry_twice(data):
    """The last entry but one of a bundle in the place of the last one, too: every length is right."""
    entries, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2])
        entries.append(data[at:end])
        at = end
    return b"".join((*entries[:-1], entries[-2]))


MALFORMED, UNREACHABLE = ("log-malformed", 1), ("log-unreachable", 3)
LIES = {
    "an endless checkpoint": Lie("checkpoint", endless, *MALFORMED),
    "an endless bundle": Lie(BUNDLE, endless, *MALFORMED),
    "an endless tile": Lie(TILE, endless, *MALFORMED),
    "a bomb for a checkpoint": Lie("checkpoint", bomb, *MALFORMED),
    "a bomb for a bundle": Lie(BUNDLE, bomb, *MALFORMED),
    "a slow checkpoint": Lie("checkpoint", dripping, *UNREACHABLE),
    "a slow bundle": Lie(BUNDLE, dripping, *UNREACHABLE),
    "headers that drip": Lie("checkpoint", dripping_headers, *UNREACHABLE),
    "headers without an end": Lie("checkpoint", many_headers, *UNREACHABLE),
    "a connection that breaks": Lie(BUNDLE, cut, *UNREACHABLE),
    "an error": Lie(BUNDLE, status(500), *UNREACHABLE),
    "a redirect": Lie(BUNDLE, status(302, ("Location", "http://127.0.0.1:1/")), *UNREACHABLE),
    "a 304 that nobody asked for": Lie("checkpoint", status(304), *UNREACHABLE),
    "yesterday's 404": Lie(BUNDLE, status(404), *UNREACHABLE),
    "a page of a login": Lie("checkpoint", say(lambda _: b"<html>" + b"x" * 9000), *MALFORMED),
    "a bundle too short": Lie(BUNDLE, say(lambda data: data[:-1]), *MALFORMED),
    "a bundle too long": Lie(BUNDLE, say(lambda data: data + b"\0\1x"), *MALFORMED),
    "a bundle of nothing": Lie(BUNDLE, say(lambda _: b""), *MALFORMED),
    "an entry twice": Lie(BUNDLE, say(_last_entry_twice), *MALFORMED),
    "a bundle of largest entries": Lie(BUNDLE, say(lambda _: (b"\xff\xff" + b"[" * 65535) * 256), *MALFORMED),
    "a narrow tile": Lie(TILE, say(lambda data: data[:-32]), *MALFORMED),
    "a crooked tile": Lie(TILE, say(lambda data: data[:-1]), *MALFORMED),
    "a tile of another tree": Lie(TILE, say(lambda data: data[32:] + data[:32]), *MALFORMED),
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a folder, but for one object while there is a lie about it."""

    def __init__(self, *arguments, scene, **more):
        self.scene = scene
        super().__init__(*arguments, **more)

    def do_GET(self):
        name, lie = self.path.lstrip("/"), self.scene.lie
        path = self.scene.folder / "log" / name
        data = path.read_bytes() if path.is_file() else None
        if lie is not None and lie.name == name:
            self.scene.told += 1
            lie.tell(self, data)
        elif data is None:
            status(404)(self, b"")
        else:
            whole(self, data)

    def slowly(self):
        """Not long enough for any one read, and too long altogether."""
        self.scene.over.wait(0.05)

    def handle(self):
        try:
            super().handle()
        except OSError:
            """The monitor has had enough."""

    def log_message(self, *arguments):
        pass


@dataclass
class Scene:
    folder: pathlib.Path
    hub: Hub = field(default_factory=Hub)
    lie: Lie | None = None
    told: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def grow(self, size):
        for at in range(len(self.hub.world.entries), size):
            self.hub.record(A, name=f"acme/model-{at // 100}", revision=str(at))
        self.hub.publish(self.folder / "log")
        return self

    def run(self, *arguments):
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_DATA, (MEMORY, MEMORY))
        return finish(
            start(
                self.folder,
                *arguments,
                preexec_fn=limit,
                env={**os.environ, **HURRY},
            )
        )

    def once(self):
        code, out = self.run("once", "--json")
        facts = json.loads(out)
        return code, facts["logs"][0]["verifiedSize"], [each["kind"] for each in facts["findings"]]


def settings(folder, url):
    (folder / "monitor.toml").write_text(f'[[log]]\nname = "models"\nurl = "{url}"\ntrust = "trust.toml"\n')


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A monitor that has verified a log, which has grown since."""
    scene = Scene(tmp_path_factory.mktemp("grown")).grow(BEFORE)
    scene.hub.trust_file(scene.folder / "trust.toml")
    with answering(functools.partial(Handler, scene=scene)) as url:
        settings(scene.folder, url)
        code, out = scene.run("init", "--from", "genesis")
        assert code == 0, out
        assert scene.once() == (0, BEFORE, ["first-signer"] * 3)
    return scene.grow(AFTER)


@pytest.fixture
def scene(grown, tmp_path):
    folder = shutil.copytree(grown.folder, tmp_path / "monitor")
    scene = Scene(folder, hub=copy.deepcopy(grown.hub))
    with answering(functools.partial(Handler, scene=scene)) as url:
        settings(folder, url)
        yield scene
        scene.over.set()


@pytest.mark.parametrize("what", LIES)
def test_a_lie_is_said_and_never_believed(scene, what):
    scene.lie = lie = LIES[what]
    code, size, kinds = scene.once()
    assert scene.told, "the lie was told"
    assert (code, kinds[-1]) == (lie.code, lie.kind)
    assert BEFORE <= size < AFTER
    assert set(kinds) <= {"first-signer", lie.kind}
    assert not (scene.folder / "state/evidence").exists()
    scene.lie = None
    code, size, kinds = scene.once()
    assert (size, set(kinds)) == (AFTER, {"first-signer"})
    # What may be the trace of an attempt waits for a person; what passed is over.
    assert code == (1 if lie.kind == "log-malformed" else 0)


def test_yesterdays_checkpoint_is_stale_and_passes(scene):
    assert scene.once()[:2] == (0, AFTER)
    old = scene.hub.world.checkpoint(BEFORE)
    scene.lie = Lie("checkpoint", say(lambda _: old), "log-stale", 3)
    assert scene.once() == (3, AFTER, ["log-stale"])
    scene.lie = None
    assert scene.once() == (0, AFTER, [])


@pytest.mark.parametrize("size", [AFTER + 1, AFTER + 10_000, 2**62])
def test_a_signed_size_that_is_not_served_accuses_nobody_and_is_made_good(scene, size):
    """The log's own key signed it, so it is a word of the log; without its entries it proves nothing."""
    lie = Checkpoint(origin=scene.hub.world.origin, size=size, root_hash=bytes(32))
    note = scene.hub.world.sign_tree(lie)
    scene.lie = Lie("checkpoint", say(lambda _: note), "log-unreachable", 3)
    code, _, kinds = scene.once()
    assert (code, kinds[-1]) == (3, "log-unreachable")
    scene.lie = None
    code, verified, kinds = scene.once()
    assert (code, verified, kinds[-1]) == (3, AFTER, "log-stale"), "it signed more before"
    assert not (scene.folder / "state/evidence").exists()


def test_one_wrong_answer_is_asked_for_again_before_anything_is_said(scene):
    def first(handler, data):
        whole(handler, data if scene.told > 1 else data[:-1])

    scene.lie = Lie(BUNDLE, first, "", 0)
    code, size, kinds = scene.once()
    assert (code, size, set(kinds)) == (0, AFTER, {"first-signer"})
    assert scene.told > 1


NASTY = (
    b"",
    b"\0" * 65535,
    b"[" * 65535,
    b'{"a":' * 13_000,
    b'{"payload":1e999}',
    b"9" * 65535,
    b'{"payload":"' + b"A" * 60_000 + b'"}',
    b"\xff\xfe" * 100,
    b'"\\ud800"',
    b'{"a":1,"a":2}',
    b"NaN",
)


def test_entries_that_no_parser_likes_are_told_and_hide_nothing(scene):
    """The log signed them, so they are in the tree; each is a finding, and so is the change of signer behind them."""
    for each in NASTY:
        scene.hub.world.append(each)
    scene.hub.record(B, name="acme/model-0", revision="changed")
    scene.grow(0)
    code, size, kinds = scene.once()
    assert (code, size) == (1, AFTER + len(NASTY) + 1)
    assert kinds.count("malformed-entry") == len(NASTY)
    assert kinds[-1] == "signer-changed"
    shutil.rmtree(scene.folder / "log")
    assert scene.once()[0] == 1
