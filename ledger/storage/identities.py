"""The keys behind committed identities: one for each identity in each ``name:`` history, in one SQLite file, mode 0600.

Whoever has a key can show who stands behind a commitment; when it is destroyed, nobody can. The file is a secret and is
not derived: a copy of it belongs in the same safe as the hub's key, and an old copy undoes an erasure.
"""

import contextlib
import os
import pathlib
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ledger.encoding import Json, format_canonical_json, parse_canonical_json
from ledger.errors import ConfigError, CorruptError, InputError, WriteError
from ledger.identity import COMMITMENT_KEY_BYTES, Identity, commit_identity
from ledger.storage.readonly import read_only_uri

_SCHEMA = """
CREATE TABLE keys(
    history TEXT NOT NULL, identity BLOB NOT NULL, key BLOB NOT NULL, commitment BLOB NOT NULL,
    PRIMARY KEY (history, identity)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_HELD_BACK = "CREATE TABLE IF NOT EXISTS held_back(history TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID"
"""The histories whose signers are held back, also where an event has none to commit. It names nobody: erasure keeps it."""
MAX_IDENTITY_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """What opens one commitment: the canonical identity and its key."""

    identity: Json
    key: bytes


class IdentityKeys:
    """The file. Made with the first key; one process writes it."""

    def __init__(self, path: pathlib.Path, *, new_key: Callable[[int], bytes] = os.urandom) -> None:
        self._path, self._new_key = path, new_key
        self._connection: sqlite3.Connection | None = None

    def commitment(self, history: str, identity: Identity) -> bytes:
        """Return the commitment to an identity in a history, with the key that it had before or a new one, durably.

        Raises:
            WriteError: a new key could not be stored: nothing may be recorded under it.
        """
        form = format_canonical_json(identity.as_json())
        with self._open(create=True) as database:
            statement = "SELECT commitment FROM keys WHERE history = ? AND identity = ?"
            found = database.execute(statement, (history, form)).fetchone()
            if found is not None:
                return bytes(found[0])
            key = self._new_key(COMMITMENT_KEY_BYTES)
            commitment = commit_identity(identity.as_json(), key)
            database.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (history, form, key, commitment))
            # If we stop here, a key exists that no event uses: the next recording takes it.
            return commitment

    def find(self, history: str, commitment: bytes) -> StoredKey | None:
        """Return what opens a commitment, or None where there is no key (any more)."""
        if not self._path.exists():
            return None
        with self._open(create=False) as database:
            statement = "SELECT identity, key FROM keys WHERE history = ? AND commitment = ?"
            found = database.execute(statement, (history, commitment)).fetchone()
        if found is None:
            return None
        try:
            identity = parse_canonical_json(found[0], what="stored identity", max_bytes=MAX_IDENTITY_BYTES)
        except InputError as error:
            raise CorruptError(
                f"identity of a key in {self._path.name}",
                expected="canonical JSON",
                actual=error.actual,
                next_step="Restore the newest copy of the file: the log itself is not affected",
            ) from error
        return StoredKey(identity=identity, key=bytes(found[1]))

    def destroy(self, history: str) -> int:
        """Destroy every key of a history, durably; returns how many there were."""
        if not self._path.exists():
            return 0
        with self._open(create=False) as database:
            return database.execute("DELETE FROM keys WHERE history = ?", (history,)).rowcount

    def hold_back(self, history: str) -> None:
        """Note that an event of this history hides who signed, durably: its bundles are not for everybody."""
        with self._open(create=True) as database:
            # If we stop here, a history is held back that has no such event yet: nothing is shown that should not be.
            database.execute("INSERT OR IGNORE INTO held_back VALUES (?)", (history,))

    def holds_back(self, history: str) -> bool:
        """Whether a history has keys, or an event that was recorded with its signers held back."""
        if not self._path.exists():
            return False
        try:
            with contextlib.closing(sqlite3.connect(read_only_uri(self._path), uri=True)) as database:
                # A file of before there were marks has the keys alone.
                names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
                return any(
                    database.execute(f"SELECT 1 FROM {table} WHERE history = ?", (history,)).fetchone()  # noqa: S608 - fixed names
                    for table in ("held_back", "keys")
                    if table in names
                )
        except sqlite3.Error as error:
            raise CorruptError(
                f"keys of identities in {self._path.name}",
                expected="a file that this user can read",
                actual=str(error),
                next_step="Run this as the user who records: without it nobody can say what is held back",
            ) from error

    def count(self, history: str) -> int:
        """Return how many keys a history has."""
        if not self._path.exists():
            return 0
        with self._open(create=False) as database:
            found = database.execute("SELECT count(*) FROM keys WHERE history = ?", (history,)).fetchone()
        return int(found[0])

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _open(self, *, create: bool) -> Iterator[sqlite3.Connection]:
        """Yield the file inside one transaction."""
        try:
            database = self._connect(create=create)
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise WriteError(
                f"keys of identities in {self._path.name}",
                expected="a durable transaction",
                actual=str(error),
                next_step="Free space or make the directory writable, then start again: nothing was recorded",
            ) from error

    def _connect(self, *, create: bool) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if create and not self._path.exists():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        if self._path.stat().st_mode & 0o077:
            raise ConfigError(
                f"permissions of {self._path}",
                expected="readable by its owner only",
                actual="readable by others",
                next_step=f"Run `chmod 600 {shlex.quote(str(self._path))}` and consider the identities as seen",
            )
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # No write-ahead log: it would keep destroyed keys until it is folded in.
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA secure_delete = ON")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version != 1:
            raise CorruptError(
                f"schema of {self._path.name}",
                expected="version 1",
                actual=f"version {version}",
                next_step="Use the version of hubledger that wrote this directory",
            )
        database.execute(_HELD_BACK)
        self._connection = database
        return database
