"""Refusals of the service: what somebody meets who asks or writes over HTTP, or runs it."""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import sys
from urllib.parse import urlencode

from ledger.config import ServeConfig
from ledger.embedded.directory import open_for_recording
from ledger.embedded.evidence import withdraw_evidence
from ledger.encoding import parse_form
from ledger.errors import (
    ConfigError,
    LimitError,
    MalformedError,
    NotFoundError,
    SourceError,
    WithdrawnError,
    WriteError,
)
from ledger.event.schemas import ERASURE
from ledger.server import serving
from ledger.server.app import Limits
from ledger.server.intake import parse_upload
from ledger.server.messages import Request
from ledger.server.service import make_app
from ledger.server.tokens import TokenFile
from ledger.server.writer import Writer
from tests.refusals.table import AT, refused, turned


async def _pieces(data):
    yield data


def _answer(app, method, path, query, data, headers):
    given = {"content-type": "application/json"} | headers
    if isinstance(data, dict):
        data = json.dumps(data).encode()
    return asyncio.run(
        app.answer(Request(method=method, path=path, query=query, headers=given, body=_pieces(data)))
    )


def _ask(scene, path, *, method="GET", data=b"", ledger=None, headers=None, raw=None, **query):
    """Ask the reading service; the refusal becomes a problem document."""
    app = make_app(ledger or scene.ledger(), limits=Limits(threads=1))
    scene.after.callback(app.pool.close)
    found = _answer(app, method, path, urlencode(query) if raw is None else raw, data, headers or {})
    assert found.status >= 400


def _write(scene, path, *, method="POST", data=b"", media="application/json"):
    """Ask the writing service with a token."""
    ledger = scene.ledger()
    token = TokenFile(ledger).create(scopes=("record",), label="", now=AT)
    writer = Writer(lambda: open_for_recording(ledger), room=10)
    writer.start()
    app = make_app(ledger, limits=Limits(threads=1), authority=TokenFile(ledger), writer=writer)
    scene.after.callback(writer.close)
    scene.after.callback(app.pool.close)
    headers = {"authorization": f"Bearer {token}", "content-type": media}
    assert _answer(app, method, path, "", data, headers).status >= 400


MANIFEST = hashlib.sha256(b"[]").hexdigest()


def _above_the_limit(scene):
    import ledger.server.recording as module

    scene.after.callback(setattr, module, "MAX_PUT_BYTES", module.MAX_PUT_BYTES)
    module.MAX_PUT_BYTES = 1
    _write(scene, f"/v1/evidence/{MANIFEST}", method="PUT", data=b"[]", media="application/octet-stream")


def _upload(**change):
    event = {
        "eventId": "e",
        "model": {"name": "a", "revision": "r"},
        "manifest": {"sha256": MANIFEST, "contentSha256": MANIFEST, "files": 0, "bytes": 0},
        "outcome": "UNSIGNED",
    }
    return parse_upload(json.dumps(event | change).encode())


def _notice_only(scene):
    """A model of which nothing but a statement without a revision is recorded."""
    ledger = scene.ledger()
    with open_for_recording(ledger) as opened:
        opened.recorder.record_statement(
            ERASURE, {"evidence": ["a" * 64], "reason": "test"}, histories=["name:bare"], event_id="n"
        )
        opened.recorder.publish()
    return ledger


def _withdrawn(scene):
    ledger = scene.ledger()
    sha256 = hashlib.sha256(
        b'[{"path":"weights","sha256":"%s","size":7}]' % hashlib.sha256(b"weights").hexdigest().encode()
    ).hexdigest()
    withdraw_evidence(ledger, [bytes.fromhex(sha256)], reason="personal-data")
    _ask(scene, f"/v1/evidence/{sha256}", ledger=ledger)


def _tokens(scene, data, mode=0o600):
    path = scene.write("tokens.json", data)
    path.chmod(mode)
    return TokenFile(scene.folder).list()


def _no_folder(scene):
    (scene.folder / "tokens.json").mkdir()
    return TokenFile(scene.folder).list()


def _locked_folder(scene):
    return TokenFile(scene.folder / "none").create(scopes=("record",), label="", now=AT)


def _serve(scene, settings="", **start):
    ledger = scene.ledger()
    with (ledger / "hubledger.toml").open("a") as file:
        file.write(settings)
    start = {"listen": "127.0.0.1:0", "read_only": True} | start
    return serving.serve(ledger, serving.Start(**start), ready=lambda _: None)


def _rekor(scene):
    ledger = scene.ledger()
    settings = ledger / "hubledger.toml"
    settings.write_text(settings.read_text().replace('log = "local"', 'log = "rekor-v2"'))
    return serving.serve(ledger, serving.Start(), ready=lambda _: None)


def _taken(scene):
    listening = socket.create_server(("127.0.0.1", 0))
    scene.after.callback(listening.close)
    return serving.check_free("127.0.0.1", listening.getsockname()[1])


class _Stopping:
    """A web server that ends at once."""

    async def serve(self):
        return None


def _stopped(scene):
    original = serving._make_server
    scene.after.callback(setattr, serving, "_make_server", original)
    serving._make_server = lambda *_: _Stopping()
    return _serve(scene)


def _not_installed(scene):
    name = "granian.constants"
    before = sys.modules.get(name)
    scene.after.callback(
        lambda: sys.modules.pop(name) if before is None else sys.modules.update({name: before})
    )
    sys.modules[name] = None
    return _serve(scene)


def _bug(_scene):
    @contextlib.contextmanager
    def broken():
        raise ValueError
        yield

    return Writer(broken, room=1).start()


def _bug_in_a_thread(scene):
    """The thread that publishes meets a bug: the writer closes the ledger and opens it again."""
    ledger = scene.ledger()
    writer = Writer(lambda: open_for_recording(ledger), room=10)
    writer.start()
    scene.after.callback(writer.close)

    def broken():
        raise ValueError

    from ledger.server.writer import _Session

    opened = writer.ledger
    opened.recorder.publish, original = broken, opened.recorder.publish
    session = _Session(opened, writer)
    session.close()
    opened.recorder.publish = original
    assert session.failure is not None


SETTINGS = (
    refused(
        ConfigError,
        "<any>",
        lambda _: ServeConfig(listen="8470"),
    ),
    refused(
        ConfigError,
        "<any>",
        lambda _: ServeConfig(tls_key="k.pem"),
    ),
    refused(
        ConfigError,
        "<any>",
        lambda _: ServeConfig(threads=0),
    ),
    refused(
        ConfigError,
        "<any>",
        lambda _: ServeConfig(body_seconds=0),
    ),
)

ASKING = (
    refused(
        LimitError,
        "<any>",
        lambda _: parse_form("a=b", max_chars=2),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: parse_form("a=b&a=c", max_chars=99),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: parse_form("a=%zz", max_chars=99),
    ),
    turned(
        LimitError,
        "<any>",
        lambda scene: _ask(scene, "/v1/models", limit="201"),
    ),
    turned(
        MalformedError,
        "<any>",
        lambda scene: _ask(scene, "/v1/history", model="a", **{"as": "other"}),
    ),
    turned(
        MalformedError,
        "<any>",
        lambda scene: _ask(scene, "/v1/log", model="a"),
    ),
    turned(
        MalformedError,
        "<any>",
        lambda scene: _ask(scene, "/v1/history"),
    ),
    turned(
        LimitError,
        "<any>",
        lambda scene: _ask(scene, "/v1/standings", method="POST", headers={"content-length": "1048577"}),
    ),
    turned(
        LimitError,
        "<any>",
        lambda scene: _ask(
            scene, "/v1/standings", method="POST", data={"pairs": [{"model": "m", "revision": "r"}] * 101}
        ),
    ),
    turned(
        MalformedError,
        "<any>",
        lambda scene: _ask(scene, "/v1/standings", method="POST", data={"pairs": 1}),
    ),
    turned(
        MalformedError,
        "<any>",
        lambda scene: _ask(scene, "/v1/standings", method="POST", data={"pairs": [{"model": "m"}]}),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/v1/history", model="acme/none"),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/v1/badge.svg", ledger=_notice_only(scene), model="bare"),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, f"/v1/signers/{MANIFEST}"),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/v1/feed.json", signer=MANIFEST),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/problems/other"),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/v1/event", id="none"),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/v1/entries/3"),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/v1/entries/3/proof"),
    ),
    turned(
        WithdrawnError,
        "<any>",
        _withdrawn,
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, f"/v1/evidence/{MANIFEST}"),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/tile/0/000.p/00"),
    ),
    turned(
        NotFoundError,
        "<any>",
        lambda scene: _ask(scene, "/tile/0/000"),
    ),
)

WRITING = (
    refused(
        MalformedError,
        "<any>",
        lambda _: parse_upload(b"[]"),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: _upload(private=1),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: parse_upload(b"{}"),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: _upload(safe=True),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: _upload(model="a"),
    ),
    refused(
        LimitError,
        "<any>",
        lambda _: _upload(model={"name": "a", "revision": "r", "parents": ["p"] * 1001}),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: _upload(model={"name": "", "revision": "r"}),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: _upload(reasons=[""]),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: _upload(evidence=[base64.b64encode(b"other").decode()]),
    ),
    refused(
        MalformedError,
        "<any>",
        lambda _: _upload(
            manifest={"sha256": MANIFEST, "contentSha256": MANIFEST, "files": 1, "bytes": 0},
            evidence=[base64.b64encode(b"[]").decode()],
        ),
    ),
    turned(
        LimitError,
        "<any>",
        lambda scene: _write(scene, "/v1/events/batch", data=b"{}\n" * 1001, media="application/x-ndjson"),
    ),
    turned(
        MalformedError,
        "<any>",
        lambda scene: _write(
            scene, f"/v1/evidence/{MANIFEST}", method="PUT", data=b"other", media="application/octet-stream"
        ),
    ),
    turned(
        LimitError,
        "<any>",
        _above_the_limit,
    ),
    refused(
        WriteError,
        "<any>",
        _bug,
    ),
    turned(
        WriteError,
        "<any>",
        _bug_in_a_thread,
    ),
)

TOKENS = (
    refused(
        ConfigError,
        "<any>",
        lambda scene: _tokens(scene, b"{}"),
    ),
    refused(
        ConfigError,
        "<any>",
        lambda scene: _tokens(
            scene, b'[{"created":"","id":"","label":"","scopes":["all"],"secretSha256":"%s"}]' % (b"a" * 64)
        ),
    ),
    refused(
        ConfigError,
        "<any>",
        lambda scene: _tokens(scene, b"[]", mode=0o644),
    ),
    refused(
        ConfigError,
        "<any>",
        _no_folder,
    ),
    refused(
        MalformedError,
        "<any>",
        lambda scene: TokenFile(scene.folder).create(scopes=("record",), label="a\nb", now=AT),
    ),
    refused(
        NotFoundError,
        "<any>",
        lambda scene: TokenFile(scene.folder).revoke("none", now=AT),
    ),
    refused(
        WriteError,
        "<any>",
        _locked_folder,
    ),
)

RUNNING = (
    refused(
        ConfigError,
        "<any>",
        _rekor,
    ),
    refused(
        SourceError,
        "<any>",
        _taken,
    ),
    refused(
        SourceError,
        "<any>",
        _stopped,
    ),
    refused(
        ConfigError,
        "<any>",
        _not_installed,
    ),
    refused(
        ConfigError,
        "<any>",
        lambda scene: _serve(scene, "[serve]\ntls_certificate = 'none.pem'\ntls_key = 'none.key'\n"),
    ),
)

CASES = (*SETTINGS, *ASKING, *WRITING, *TOKENS, *RUNNING)
