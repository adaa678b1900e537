"""A ledger with models of every kind, and the service of it without a web server."""

import asyncio
import json
import shutil
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

import pytest

from ledger.client.trust import parse_trust
from ledger.client.trust_signature import sign_trust
from ledger.client.trust_writing import format_trust
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.embedded.trust_versions import publish_trust
from ledger.event import ManifestRef, Model, escape_name, outcome_of
from ledger.recorder import Facts
from ledger.server.app import Limits
from ledger.server.messages import Request
from ledger.server.service import make_app
from ledger.tlog.signed_note import Ed25519NoteSigner
from tests.events import digest, key, signed_by, workflow
from tests.world import ed25519_key

AT = "2026-01-02T03:04:05Z"
READABLE = "组织/模型"
"""The one of them that is shown to people as it is written."""
HOSTILE = (
    READABLE,
    '"><script>alert(1)</script>',
    "../../etc/passwd",
    "a%2Fb",
    "a/b?c=d&e=f#g",
    "\u202egnp.exe",
    "x\r\nSet-Cookie: a=b",
    "nul\0byte",
    "]]>&amp;",
    "cafe\u0301",
    "ä" * 100,
    "\udc80raw",
    "n" * 10_000,
)


def facts(name, revision, *signers, outcome="VERIFIED", repo_id=None, event_id=None, ref=None, uploader=None):
    signatures = signed_by(*signers, outcome=outcome)
    return Facts(
        event_id=event_id or f"{digest(name.encode('utf-8', 'surrogatepass').hex() + revision).hex()[:40]}",
        model=Model(name=escape_name(name), revision=revision, repo_id=repo_id, ref=ref),
        manifest=ManifestRef(
            sha256=digest("m" + revision), content_sha256=digest("c" + revision), files=3, bytes=4096
        ),
        signatures=signatures,
        outcome=outcome_of(signatures),
        uploader_account=uploader,
    )


def fill(folder):
    """Two unsigned events of acme/tiny from files, then models with signers, then hostile names."""
    init(folder / "ledger", origin="log.example/models", hub="hub.example", now=lambda: AT)
    (folder / "model").mkdir()
    (folder / "model/weights").write_bytes(b"weights")
    for revision in ("r1", "r2"):
        record_revision(
            folder / "ledger",
            RecordRequest(name="acme/tiny", revision=revision, model=folder / "model"),
            now=lambda: AT,
        )
    batch = [
        facts("acme/signed", "r1", key("a"), uploader="user-1"),
        facts("acme/signed", "r2", key("a")),
        facts("acme/changed", "r1", workflow("refs/tags/v1")),
        facts("acme/changed", "r2", key("b")),
        facts("acme/broken", "r1", key("a"), outcome="INVALID_SIGNATURE"),
        *[facts(name, "r1", key("a")) for name in HOSTILE],
    ]
    with open_for_recording(folder / "ledger", now=lambda: AT) as ledger:
        for answer in ledger.recorder.record_batch(batch):
            assert not isinstance(answer, Exception), answer
        ledger.recorder.publish()
    publish_signed_trust(folder / "ledger")
    return folder / "ledger"


def publish_signed_trust(folder):
    """Give the trust file a key of its own, and publish it as version 2."""
    key = Ed25519NoteSigner("hub.example/trust", ed25519_key("offline"))
    old = parse_trust((folder / "trust.toml").read_bytes())
    data = format_trust(replace(old, version=2, update_key=key.verifier))
    publish_trust(folder, data, sign_trust(data, [key]))


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def ledger(filled, tmp_path):
    """A copy of the filled ledger, which a test may change."""
    return shutil.copytree(filled, tmp_path / "ledger")


async def pieces(*data):
    for each in data:
        yield each


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self):
        return json.loads(self.body)


class Service:
    """Asks the application as a web server does."""

    def __init__(self, app):
        self.app = app

    def ask(self, method, path, *, body=b"", headers=None, raw_query=None, whole=None, **query):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        given = {"content-type": "application/json"} | (headers or {})
        request = Request(
            method=method,
            path=path,
            query=urlencode(query, errors="surrogateescape") if raw_query is None else raw_query,
            headers=given,
            body=body if hasattr(body, "__aiter__") else pieces(body),
            whole=whole,
        )
        response = asyncio.run(self.app.answer(request))
        data = response.body if response.chunks is None else b"".join(response.chunks)
        return Answer(response.status, data, dict(response.headers))

    def get(self, path, **query):
        return self.ask("GET", path, **query)


@pytest.fixture
def service(filled):
    """The reading service of the filled ledger."""
    app = make_app(filled, limits=Limits(threads=2, waiting=4, body_seconds=5))
    yield Service(app)
    app.pool.close()
