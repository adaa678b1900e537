"""Refusals of the service: what somebody meets who asks or writes over HTTP, or runs it."""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import sys
from dataclasses import replace
from urllib.parse import urlencode

import httpx

from cli.main import group
from cli.options import read_token
from ledger.client.reconcile import find_missing, parse_pairs
from ledger.client.spool import MAX_EVENT_BYTES, Spool, drain, open_client
from ledger.config import ServeConfig
from ledger.embedded.directory import open_for_reading
from ledger.embedded.evidence import withdraw_evidence
from ledger.embedded.keys import load_keys
from ledger.embedded.opening import open_for_recording
from ledger.encoding import parse_form
from ledger.entry import keyid_of
from ledger.errors import (
    ConfigError,
    ConflictError,
    HeadMovedError,
    LimitError,
    MalformedError,
    NotFoundError,
    RejectedError,
    SourceError,
    WithdrawnError,
    WriteError,
)
from ledger.event import PolicyRef, format_statement
from ledger.event.schemas import ERASURE
from ledger.recorder import HubSigner
from ledger.recorder.drafts import Drafter
from ledger.recorder.submitted import parse_signed
from ledger.server import serving
from ledger.server.app import Limits
from ledger.server.intake import parse_upload
from ledger.server.messages import Request
from ledger.server.service import make_app
from ledger.server.submitting import parse_entries
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


def _no_spool(scene):
    return Spool(scene.write("file", b"") / "spool")


def _large_event(scene):
    return Spool(scene.folder / "spool").put({"eventId": "e", "evidence": ["A" * MAX_EVENT_BYTES]})


def _ledger_answers(scene, answer):
    spool = Spool(scene.folder / "spool")
    spool.put({"eventId": "e"})
    scene.watch(scene.folder / "spool/events")
    drain(spool, open_client("http://ledger.example", "t", transport=httpx.MockTransport(answer)))


def _breaks(_request):
    raise httpx.ReadError("reset")


def _reconcile(answer):
    client = httpx.Client(base_url="http://ledger.example", transport=httpx.MockTransport(answer))
    return list(find_missing([("m", "r")], client))


def _refused_line(_request):
    return httpx.Response(200, content=b'{"type":"/problems/unavailable","status":503}\n')


def _token_file(scene, data, mode=0o600):
    path = scene.write("token", data)
    path.chmod(mode)
    return read_token(path)


def _reconcile_command(scene):
    arguments = ["hub", "reconcile", "http://ledger.example", "--revisions", str(scene.folder / "none")]
    return group.main(args=arguments, standalone_mode=False)


def _submit(
    scene, *, data=None, ledger="log.example/models", policy=None, decision=None, twice=False, erasure=False
):
    """Sign an event as the hub of the scene's ledger does, and append it."""
    folder = scene.ledger()
    with open_for_recording(folder) as opened:
        keys = load_keys(folder, opened.config)
        signer = HubSigner(key=keys.hub, keyid=keyid_of(keys.spki))
        drafter = Drafter(ledger=ledger, hub="hub.example", now=lambda: AT)
        about = _upload(model={"name": "new", "revision": "r"}).facts
        event = drafter.decide(0, about, key=b"", heads={}, now=AT).event
        event = replace(
            event,
            policy=PolicyRef(
                sha256=policy or event.policy.sha256, decision=decision or event.policy.decision
            ),
        )
        statement = format_statement(event)
        if erasure:
            statement = drafter.plain(
                ERASURE, {"evidence": ["a" * 64], "reason": "test"}, event_id="e", heads=[("hub:", None)]
            ).statement
        (entry,) = signer.sign_run([statement])
        if data is None:
            data = json.dumps({"entries": [base64.b64encode(entry).decode()]}).encode()
        scene.watch(folder / "log")
        for _ in range(2 if twice else 1):
            found = parse_entries(opened, data, trust=open_for_reading(folder).trust)
            if twice:
                event = replace(event, common=replace(event.common, event_id="other"))
                found += [
                    parse_signed(each, ledger=ledger, hub="hub.example")
                    for each in signer.sign_run([format_statement(event)])
                ]
            opened.recorder.submit(found)


def _same_id(scene):
    folder = scene.ledger()
    with open_for_recording(folder) as opened:
        keys = load_keys(folder, opened.config)
        signer = HubSigner(key=keys.hub, keyid=keyid_of(keys.spki))
        drafter = Drafter(ledger="log.example/models", hub="hub.example", now=lambda: AT)
        for name in ("one", "two"):
            about = _upload(model={"name": name, "revision": "r"}).facts
            statement = drafter.decide(0, about, key=b"", heads={}, now=AT).statement
            opened.recorder.submit(
                [
                    parse_signed(each, ledger="log.example/models", hub="hub.example")
                    for each in signer.sign_run([statement])
                ]
            )


SETTINGS = (
    refused(
        ConfigError,
        "serve.listen: expected an address and a port, got 8470. Correct what is named, and try again",
        lambda _: ServeConfig(listen="8470"),
    ),
    refused(
        ConfigError,
        "serve: expected tls_certificate with tls_key, got one of them. Correct what is named, and try again",
        lambda _: ServeConfig(tls_key="k.pem"),
    ),
    refused(
        ConfigError,
        "serve.threads: expected 1 to 256, got 0. Correct what is named, and try again",
        lambda _: ServeConfig(threads=0),
    ),
    refused(
        ConfigError,
        "serve.body_seconds: expected 0.1 to 3600 seconds, got 0. Correct what is named, and try again",
        lambda _: ServeConfig(body_seconds=0),
    ),
)

ASKING = (
    refused(
        LimitError,
        "query: expected at most 2 characters, got 3 characters. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_form("a=b", max_chars=2),
    ),
    refused(
        MalformedError,
        "query: expected name=value, each name once, got a=c. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_form("a=b&a=c", max_chars=99),
    ),
    refused(
        MalformedError,
        "query a: expected % and two hex digits, got %zz. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_form("a=%zz", max_chars=99),
    ),
    turned(
        LimitError,
        "limit: expected at most 200, got 201. Check that it is what you meant: the limit cannot be changed",
        lambda scene: _ask(scene, "/v1/models", limit="201"),
    ),
    turned(
        MalformedError,
        "as: expected one of name, recorded, got other. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _ask(scene, "/v1/history", model="a", **{"as": "other"}),
    ),
    turned(
        MalformedError,
        "query: expected no parameter, got model. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _ask(scene, "/v1/log", model="a"),
    ),
    turned(
        MalformedError,
        "query model: expected at least one byte, got nothing. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _ask(scene, "/v1/history"),
    ),
    turned(
        LimitError,
        "body: expected at most 1048576 bytes, got 1048577 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda scene: _ask(scene, "/v1/standings", method="POST", headers={"content-length": "1048577"}),
    ),
    turned(
        LimitError,
        "pairs: expected at most 100, got 101. Check that it is what you meant: the limit cannot be changed",
        lambda scene: _ask(
            scene, "/v1/standings", method="POST", data={"pairs": [{"model": "m", "revision": "r"}] * 101}
        ),
    ),
    turned(
        MalformedError,
        'body: expected {"pairs": [{"model", "revision"}, …], "as"?}, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it',
        lambda scene: _ask(scene, "/v1/standings", method="POST", data={"pairs": 1}),
    ),
    turned(
        MalformedError,
        "pair: expected {\"model\", \"revision\"}, both not empty, got {'model': 'm'}. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _ask(scene, "/v1/standings", method="POST", data={"pairs": [{"model": "m"}]}),
    ),
    turned(
        NotFoundError,
        "model acme/none: expected a recorded name, got no published event. Search with /v1/models?search=",
        lambda scene: _ask(scene, "/v1/history", model="acme/none"),
    ),
    turned(
        NotFoundError,
        "badge of bare: expected a recorded revision, got other statements only. A model has a badge from its first event on",
        lambda scene: _ask(scene, "/v1/badge.svg", ledger=_notice_only(scene), model="bare"),
    ),
    turned(
        NotFoundError,
        "signer <hex>: expected the SHA-256 of a canonical identity, got one that no event names. Events name identities with their digests: see `signers` of /v1/standings",
        lambda scene: _ask(scene, f"/v1/signers/{MANIFEST}"),
    ),
    turned(
        NotFoundError,
        "signer <hex>: expected the SHA-256 of a canonical identity, got one that no event names. Events name identities with their digests: see `signers` of /v1/standings",
        lambda scene: _ask(scene, "/v1/feed.json", signer=MANIFEST),
    ),
    turned(
        NotFoundError,
        "problem other: expected a type of problem, got none such. /docs lists them",
        lambda scene: _ask(scene, "/problems/other"),
    ),
    turned(
        NotFoundError,
        "event none: expected the id of a published event, got none such. An event is published within seconds of being recorded",
        lambda scene: _ask(scene, "/v1/event", id="none"),
    ),
    turned(
        NotFoundError,
        "leaf 3: expected a leaf below 3, got one that is not published. Ask again after the next checkpoint",
        lambda scene: _ask(scene, "/v1/entries/3"),
    ),
    turned(
        NotFoundError,
        "leaf 3: expected a leaf below 3, got one that is not published. Ask again after the next checkpoint",
        lambda scene: _ask(scene, "/v1/entries/3/proof"),
    ),
    turned(
        WithdrawnError,
        "evidence <hex>: expected stored bytes, got withdrawn: personal-data, leaf 3. The event and its proof still verify; ask the hub for the statement at that leaf",
        _withdrawn,
    ),
    turned(
        NotFoundError,
        "evidence <hex>: expected a digest that a published statement names, got none such. /v1/entries/{leaf} shows the digests that a statement names",
        lambda scene: _ask(scene, f"/v1/evidence/{MANIFEST}"),
    ),
    turned(
        NotFoundError,
        "object 0/000.p/00: expected a published tile or bundle, got none of this path. Take paths from the size of the checkpoint (c2sp.org/tlog-tiles); a partial one goes when the full one exists",
        lambda scene: _ask(scene, "/tile/0/000.p/00"),
    ),
    turned(
        NotFoundError,
        "object tile/0/000: expected a published tile or bundle, got none of this path. Take paths from the size of the checkpoint (c2sp.org/tlog-tiles); a partial one goes when the full one exists",
        lambda scene: _ask(scene, "/tile/0/000"),
    ),
)

WRITING = (
    refused(
        MalformedError,
        "event: expected an object, got list. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_upload(b"[]"),
    ),
    refused(
        MalformedError,
        "private: expected true or false, got 1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _upload(private=1),
    ),
    refused(
        MalformedError,
        "event.eventId: expected a value, got nothing. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_upload(b"{}"),
    ),
    refused(
        MalformedError,
        "event: expected the fields eventId, model, manifest, outcome, trigger, uploader, signatures, moreSignatures, reasons, private, evidence, got a field safe. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _upload(safe=True),
    ),
    refused(
        MalformedError,
        "model: expected an object, got str. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _upload(model="a"),
    ),
    refused(
        LimitError,
        "model.parents: expected at most 1000, got 1001. Check that it is what you meant: the limit cannot be changed",
        lambda _: _upload(model={"name": "a", "revision": "r", "parents": ["p"] * 1001}),
    ),
    refused(
        MalformedError,
        "model.name: expected a text of at least one character, got . Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _upload(model={"name": "", "revision": "r"}),
    ),
    refused(
        MalformedError,
        "reasons: expected a list of texts, got ['']. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _upload(reasons=[""]),
    ),
    refused(
        MalformedError,
        "evidence: expected a piece whose SHA-256 the event names, got one with <hex>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _upload(evidence=[base64.b64encode(b"other").decode()]),
    ),
    refused(
        MalformedError,
        "manifest: expected 1 files of 0 bytes, as the event says, got 0 files of 0 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _upload(
            manifest={"sha256": MANIFEST, "contentSha256": MANIFEST, "files": 1, "bytes": 0},
            evidence=[base64.b64encode(b"[]").decode()],
        ),
    ),
    turned(
        LimitError,
        "batch: expected at most 1000 lines, got 1001. Check that it is what you meant: the limit cannot be changed",
        lambda scene: _write(scene, "/v1/events/batch", data=b"{}\n" * 1001, media="application/x-ndjson"),
    ),
    turned(
        MalformedError,
        "body: expected bytes with SHA-256 <hex>, got <hex>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _write(
            scene, f"/v1/evidence/{MANIFEST}", method="PUT", data=b"other", media="application/octet-stream"
        ),
    ),
    turned(
        LimitError,
        "body: expected at most 1 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        _above_the_limit,
    ),
    refused(
        WriteError,
        "starting the writer: expected a known outcome, got an interrupted writer. Open the ledger again: it continues from what is certain",
        _bug,
    ),
    turned(
        WriteError,
        "publishing: expected a known outcome, got an interrupted writer. Open the ledger again: it continues from what is certain",
        _bug_in_a_thread,
    ),
)

TOKENS = (
    refused(
        ConfigError,
        "file tokens.json: expected tokens as `hubledger token` writes them, got something else. Restore it, or remove it and make new tokens: nobody can write meanwhile",
        lambda scene: _tokens(scene, b"{}"),
    ),
    refused(
        ConfigError,
        "file tokens.json: expected tokens as `hubledger token` writes them, got something else. Restore it, or remove it and make new tokens: nobody can write meanwhile",
        lambda scene: _tokens(
            scene,
            b'{"tokens":[{"created":"","id":"","label":"","scopes":["all"],"secretSha256":"%s"}]}'
            % (b"a" * 64),
        ),
    ),
    refused(
        ConfigError,
        "permissions of tokens.json: expected readable by its owner only, got readable by others. Run `chmod 600` on it; the hashes in it cannot be used to write",
        lambda scene: _tokens(scene, b"[]", mode=0o644),
    ),
    refused(
        ConfigError,
        "file tokens.json: expected a readable file, got Is a directory. Correct what is named, and try again",
        _no_folder,
    ),
    refused(
        MalformedError,
        "label of a token: expected at most 100 printable characters, got a\\x0ab. Name the program that will use it",
        lambda scene: TokenFile(scene.folder).create(scopes=("record",), label="a\nb", now=AT),
    ),
    refused(
        NotFoundError,
        "token none: expected the id of a token, got none such. `hubledger token list` shows the ids",
        lambda scene: TokenFile(scene.folder).revoke("none", now=AT),
    ),
    refused(
        WriteError,
        "writing tokens.json: expected a writable directory, got No such file or directory. Name a ledger's directory that this user can write",
        _locked_folder,
    ),
)

RUNNING = (
    refused(
        SourceError,
        "listening at 127.0.0.1:<number>: expected an address of this machine and a port that is free, got Address already in use. Choose another with --listen or serve.listen, or stop what listens there",
        _taken,
    ),
    refused(
        SourceError,
        "the web server: expected to run until it is told to stop, got it stopped. See the lines before this one, and start the service again",
        _stopped,
    ),
    refused(
        ConfigError,
        "web server: expected granian, from the extra `server`, got not installed. Run `pip install 'hubledger[server]'`",
        _not_installed,
    ),
    refused(
        ConfigError,
        "file <folder>/ledger/none.pem: expected a readable PEM file, got none. Correct [serve]",
        lambda scene: _serve(scene, "[serve]\ntls_certificate = 'none.pem'\ntls_key = 'none.key'\n"),
    ),
)

SPOOL = (
    refused(
        WriteError,
        "spool <folder>/file/spool: expected a folder that this user can write, got Not a directory. Name another folder; it must survive a restart",
        _no_spool,
    ),
    refused(
        LimitError,
        "event: expected at most 33554432 bytes, got 33554463 bytes. Store manifest and bundles first, with PUT /v1/evidence/{sha256}",
        _large_event,
    ),
    refused(
        SourceError,
        "the ledger's service: expected an answer to every event, got ReadError. Nothing is lost: what waits is sent when it answers. Check address and token if it never does",
        lambda scene: _ledger_answers(scene, _breaks),
    ),
    refused(
        SourceError,
        "the ledger's service: expected an answer to every event, got status 401. Nothing is lost: what waits is sent when it answers. Check address and token if it never does",
        lambda scene: _ledger_answers(scene, lambda _: httpx.Response(401)),
    ),
    refused(
        SourceError,
        "the ledger's service: expected an answer to every event, got 2 answers to 1 events. Nothing is lost: what waits is sent when it answers. Check address and token if it never does",
        lambda scene: _ledger_answers(scene, lambda _: httpx.Response(200, content=b"{}\n{}\n")),
    ),
    refused(
        SourceError,
        "the ledger's service: expected an answer to every event, got an event that is not taken now. Nothing is lost: what waits is sent when it answers. Check address and token if it never does",
        lambda scene: _ledger_answers(scene, _refused_line),
    ),
    refused(
        MalformedError,
        "line 1: expected {\"model\": …, \"revision\": …}, got {'model': 'm'}. Write one JSON object a line for each revision that the hub serves",
        lambda _: list(parse_pairs([b'{"model":"m"}'])),
    ),
    refused(
        SourceError,
        "the ledger's service: expected how each revision stands, got ReadError. Check the address; its /health/ready says how it is",
        lambda _: _reconcile(_breaks),
    ),
    refused(
        SourceError,
        "the ledger's service: expected how each revision stands, got status 500. Check the address; its /health/ready says how it is",
        lambda _: _reconcile(lambda _: httpx.Response(500)),
    ),
    refused(
        ConfigError,
        "permissions of <folder>/token: expected readable by its owner only, got readable by others. Run `chmod 600 <folder>/token` and consider the token as seen: revoke it",
        lambda scene: _token_file(scene, b"hl_a_b", mode=0o644),
    ),
    refused(
        ConfigError,
        "token in <folder>/token: expected what `hubledger token create` printed, got something else. Make a new token and write it into this file",
        lambda scene: _token_file(scene, b"two words"),
    ),
    refused(
        NotFoundError,
        "file <folder>/none: expected a readable file, got No such file or directory. Check the path",
        _reconcile_command,
    ),
)

SUBMITTING = (
    turned(
        MalformedError,
        "body: expected 7 bytes, as announced, got 2 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _ask(
            scene, "/v1/standings", method="POST", data=b"{}", headers={"content-length": "7"}
        ),
    ),
    refused(
        MalformedError,
        'body: expected {"entries": […]} with 1 to 100, got another form. Get it again from where it came; if it stays the same, tell whoever wrote it',
        lambda scene: _submit(scene, data=b"{}"),
    ),
    refused(
        MalformedError,
        "entry: expected base64, got int. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _submit(scene, data=b'{"entries":[1]}'),
    ),
    refused(
        MalformedError,
        "signed entry: expected a verification event, model notice, derivation or account link, got https://hubledger/erasure/v1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _submit(scene, erasure=True),
    ),
    refused(
        RejectedError,
        "signed entry: expected ledger log.example/models, recorded by hub hub.example, got ledger log.example/other, recorded by hub hub.example. Send it to the ledger that it names",
        lambda scene: _submit(scene, ledger="log.example/other"),
    ),
    refused(
        HeadMovedError,
        "head of name:new: expected number 1, after the newest statement, got number 0. Decide and sign again, against the heads in this answer",
        lambda scene: _submit(scene, twice=True),
    ),
    refused(
        HeadMovedError,
        "policy of the event: expected <hex>, which is in force, got <hex>. Decide and sign again, by the policy in this answer",
        lambda scene: _submit(scene, policy=bytes(32)),
    ),
    refused(
        RejectedError,
        "decision of the event: expected observed, got challenged. Decide as the policy says: its document is served by digest",
        lambda scene: _submit(scene, decision="challenged"),
    ),
    refused(
        ConflictError,
        "event id e: expected the facts recorded at leaf 3, got other facts. Give a new event id (--event-id) to a new observation, also to one with other keys",
        _same_id,
    ),
)

CASES = (*SETTINGS, *ASKING, *WRITING, *TOKENS, *RUNNING, *SPOOL, *SUBMITTING)
