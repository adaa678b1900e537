"""Refusals of a service whose ledger is in Rekor, and of whoever asks it."""

import contextlib
import sqlite3

from ledger.errors import CorruptError, NotFoundError, SourceError, UsageError, WriteError
from ledger.index.statements import StatementIndex
from ledger.server.places import refuse_since
from ledger.server.views import View
from monitor.statements import FetchedStatements
from tests.refusals.table import refused

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
        if name != "v1/log":
            raise NotFoundError(name, expected="an object", actual="404")
        return log

    return FetchedStatements("models", fetch, ledger="log.example/models").find([bytes(32)])


CASES = (
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
