"""Refusals of a service whose ledger is in Rekor, and of whoever asks it."""

import contextlib
import hashlib
import sqlite3

from ledger.embedded.directory import open_for_reading
from ledger.embedded.evidence import withdraw_evidence
from ledger.embedded.opening import open_for_recording
from ledger.entry import pae, parse_entry
from ledger.errors import (
    CorruptError,
    NotFoundError,
    SourceError,
    UsageError,
    WithdrawnError,
    WriteError,
)
from ledger.index.statements import StatementIndex
from ledger.server import writer as writing
from ledger.server.app import Limits
from ledger.server.places import refuse_since
from ledger.server.service import make_app
from ledger.server.views import View
from monitor.statements import FetchedStatements
from tests.refusals.of_outbox import _ledger
from tests.refusals.of_server import _answer
from tests.refusals.table import refused, turned

ENTRY = b'{"payload":"e30="}'
REBUILD = "Run `hubledger index rebuild`: it holds nothing that the outbox does not"
SERVICE = "Correct `evidence`: the address at which `hubledger serve` answers for this ledger"


def _index(scene, statement=""):
    path = scene.folder / "statements.db"
    index = StatementIndex(path)
    scene.after.callback(index.close)
    if statement:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(statement)
    return index


def _opened(scene, statement):
    _index(scene, statement)
    return StatementIndex(scene.folder / "statements.db", read_only=True)


def _find(log):
    def fetch(name, *, max_bytes):
        if name != "v1/log" or log is None:
            raise NotFoundError(name, expected="an object", actual="404")
        return log

    return FetchedStatements("models", fetch, ledger="log.example/models").find([bytes(32)])


def _ask(scene, path, ledger=None):
    """Ask the reading service of a ledger in Rekor, of whose entries none is logged."""
    app = make_app(ledger or _ledger(scene), limits=Limits(threads=1))
    scene.after.callback(app.pool.close)
    found = _answer(app, "GET", path, "", b"", {})
    assert found.status >= 400


def _ended(scene):
    """What submits has ended by itself while the service runs."""
    with open_for_recording(_ledger(scene)) as opened:
        session = writing._Session(opened, writing.Writer(contextlib.nullcontext, room=1))
        try:
            session._dispatcher.close()
            session._settle(opened.log)
        finally:
            session.close()


def _withdrawn(scene):
    ledger = _ledger(scene)
    payload = parse_entry(next(iter(open_for_reading(ledger).read(0, 1, size=1)))).payload
    with open_for_recording(ledger) as opened:
        opened.evidence.put([payload])
    withdraw_evidence(ledger, [hashlib.sha256(payload).digest()], reason="personal-data")
    _ask(scene, f"/v1/statements/{hashlib.sha256(pae(payload)).hexdigest()}", ledger)


CASES = (
    refused(
        WriteError,
        "submitting: expected a known outcome, got an interrupted writer. Open the ledger again: it continues from what is certain",
        _ended,
    ),
    turned(
        NotFoundError,
        "leaf 1: expected a leaf below 1, got one that is not published. Ask again after the next checkpoint",
        lambda scene: _ask(scene, "/v1/entries/1/bundle"),
    ),
    turned(
        NotFoundError,
        f"statement {'0' * 64}: expected the SHA-256 of the DSSE encoding of an accepted statement, got none such. It is the digest in the body of an entry of Rekor by the hub's key",
        lambda scene: _ask(scene, f"/v1/statements/{'0' * 64}"),
    ),
    turned(
        WithdrawnError,
        "evidence <hex>: expected stored bytes, got withdrawn: personal-data, leaf 1. The event and its proof still verify; ask the hub for the statement at that leaf",
        _withdrawn,
    ),
    refused(
        SourceError,
        f"evidence of models: expected the service of log.example/models, got v1/log: expected an object, got 404. {SERVICE}",
        lambda _scene: _find(None),
    ),
    refused(
        UsageError,
        "since: expected nothing, of a ledger in Rekor, got 7. Leave it out: a proof from Rekor links to no checkpoint that you keep",
        lambda _scene: refuse_since(7),
    ),
    refused(
        UsageError,
        "outbox of log.example/models: expected a ledger in Rekor, got one with a log of its own. Its log is beside it: ask for its checkpoint",
        lambda scene: View(scene.ledger()).accepted,
    ),
    refused(
        CorruptError,
        f"statement index statements.db: expected version 1, got version 2. {REBUILD}",
        lambda scene: _opened(scene, "PRAGMA user_version = 2"),
    ),
    refused(
        CorruptError,
        f"statement index none.db: expected a sound SQLite file, got unable to open database file. {REBUILD}",
        lambda scene: StatementIndex(scene.folder / "none.db", read_only=True),
    ),
    refused(
        CorruptError,
        f"statement index statements.db: expected a sound SQLite file, got no such table: logged. {REBUILD}",
        lambda scene: _index(scene, "DROP TABLE logged").by_logged(bytes(32)),
    ),
    refused(
        CorruptError,
        f"position of the statement index: expected 5, got 0. {REBUILD}",
        lambda scene: _index(scene).catch_up(iter([ENTRY]), 5),
    ),
    refused(
        WriteError,
        "updating the statement index: expected a committed transaction, got no such table: logged. Free space and run `hubledger index rebuild`: accepted events are not affected",
        lambda scene: _index(scene, "DROP TABLE logged").catch_up(iter([ENTRY]), 0),
    ),
    refused(
        SourceError,
        f"evidence of models: expected the service of log.example/models, got another ledger, or none. {SERVICE}",
        lambda _scene: _find(b'{"ledger":"log.example/other"}'),
    ),
)
