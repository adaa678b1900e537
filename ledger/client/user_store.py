"""What a client keeps between two runs: a folder of one user, safe for several processes at once.

::

    $HUBLEDGER_DATA, else $XDG_DATA_HOME/hubledger, else ~/.local/share/hubledger
        trust/    trust files, and where they came from        pins/      what logs and histories had shown
        proofs/   proofs, for when the hub is away             digests/   of files, for who asks not to read them again
        misbehaviour/   evidence against logs that contradicted themselves

Every file is replaced as a whole; who changes one holds the folder's lock from reading it to writing it.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

from ledger.encoding import Json, format_canonical_json, parse_canonical_json
from ledger.errors import ConfigError, CorruptError, LedgerError, NotFoundError, WriteError
from ledger.storage.directory import DirectoryObjects, write_file_durably

VARIABLE = "HUBLEDGER_DATA"
_LOCK = ".lock"


def default_folder(environment: Mapping[str, str], home: Callable[[], pathlib.Path]) -> pathlib.Path:
    """Return where a user's data is, by the environment. A relative XDG_DATA_HOME is ignored, as its specification says.

    Raises:
        ConfigError: nobody says where, and this user has no home, as in a container that runs under any number.
    """
    if chosen := environment.get(VARIABLE):
        return pathlib.Path(chosen)
    shared = pathlib.Path(environment.get("XDG_DATA_HOME", ""))
    if shared.is_absolute():
        return shared / "hubledger"
    try:
        return home() / ".local/share/hubledger"
    except RuntimeError as error:
        raise ConfigError(
            "folder of this user's trust files and pins",
            expected=f"${VARIABLE}, or a home",
            actual="neither",
            next_step=f"Set {VARIABLE} to a folder that this user alone can write",
        ) from error


def file_name(key: str) -> str:
    """Return the file of something that strangers named: its digest, so that no name leads out of the folder."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest() + ".json"


class UserFolder:
    """JSON objects in one folder. Reading never waits; nothing is made before the first write."""

    def __init__(self, folder: pathlib.Path, *, what: str, max_bytes: int, when_damaged: str) -> None:
        self._folder, self._what, self._max_bytes = folder, what, max_bytes
        self._when_damaged = when_damaged
        self._objects = DirectoryObjects(folder, file_mode=0o600)

    def read(self, name: str) -> dict[str, Json] | None:
        """Return an object, or None where there is none. Raises CorruptError: it is not what was written."""
        try:
            data = self._objects.get(name, max_bytes=self._max_bytes)
            value = parse_canonical_json(data, what=self._what, max_bytes=self._max_bytes)
        except NotFoundError:
            return None
        except LedgerError as error:
            raise self.damaged(name, str(error)) from error
        if not isinstance(value, dict):
            raise self.damaged(name, "no object")
        return value

    def damaged(self, name: str, why: str) -> CorruptError:
        """Return what to raise about a file that cannot be what was written."""
        return CorruptError(
            f"{self._what} {self._folder / name}",
            expected="what hubledger wrote",
            actual=why,
            next_step=self._when_damaged,
        )

    def write(self, name: str, value: Mapping[str, Json]) -> None:
        """Replace an object; the lock is held. Raises WriteError: nothing changed."""
        write_file_durably(self._folder / name, format_canonical_json(dict(value)), mode=0o600)

    def remove(self, name: str) -> None:
        """Remove an object durably; the lock is held. Raises WriteError."""
        self._objects.erase([name])

    def names(self) -> list[str]:
        """Return the names of all objects, sorted."""
        return sorted(each for each in self._objects.names("") if each.endswith(".json"))

    def oldest_first(self) -> list[str]:
        """Return the names of all objects, the one that was written longest ago first; the lock is held."""
        return sorted(self.names(), key=lambda name: (self._objects.info(name).stored_at, name))

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Be the only process that changes this folder. Raises WriteError: it cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WriteError(
                f"{self._what} in {self._folder}",
                expected="a folder that this user can write",
                actual=error.strerror,
                next_step="Make it writable for this user, and no other",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
