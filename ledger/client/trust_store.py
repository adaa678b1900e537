"""The trust files of one user: where each came from, whether anybody confirmed it, and how it may change.

One JSON object a ledger has the file's bytes and what is known of them, so that both change in one step. A file that came
over TLS alone is ``TLS_ONLY`` until somebody compared its digest; an update never changes that by itself.
"""

import hashlib
import pathlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ledger.client.trust import MAX_TRUST_BYTES, TrustFile, parse_trust
from ledger.client.trust_signature import verify_update
from ledger.client.user_store import UserFolder, file_name
from ledger.encoding import Json
from ledger.errors import ConfigError, ConflictError, InputError, NotFoundError, SignatureError
from ledger.storage.directory import read_file

MAX_UPDATES = 1000
"""Versions that one update goes through: each is one signature, and a server decides how many there are."""
_MAX_RECORD_BYTES = 8 * MAX_TRUST_BYTES
"""JSON escapes a control character in six bytes."""
_WHEN_DAMAGED = "Restore the file from a copy; without one ask the publisher, over another channel, for the digest of theirs"


class Origin(StrEnum):
    """How sure the user is that a trust file is the publisher's."""

    TLS_ONLY = "TLS_ONLY"
    CONFIRMED = "CONFIRMED"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrust:
    """A trust file in the store. ``source``: the address or file that it came from, and updates come from."""

    data: bytes
    trust: TrustFile
    source: str
    origin: Origin

    @property
    def sha256(self) -> bytes:
        """The digest that people compare."""
        return hashlib.sha256(self.data).digest()

    def as_json(self) -> dict[str, Json]:
        """Return the object of the store."""
        return {"origin": self.origin.value, "source": self.source, "trust": self.data.decode()}


FetchVersion = Callable[[int], tuple[bytes, bytes] | None]
"""Returns a version of a trust file and its signature, or None where there is no such version yet."""


class TrustStore:
    """The trust files below ``folder``; every method may be called from several processes at once."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = UserFolder(
            folder / "trust", what="trust file", max_bytes=_MAX_RECORD_BYTES, when_damaged=_WHEN_DAMAGED
        )

    def list(self) -> list[StoredTrust]:
        """Return every trust file, by hub. Raises CorruptError."""
        found = [each for name in self._folder.names() if (each := self._read(name)) is not None]
        return sorted(found, key=lambda each: each.trust.hub)

    def get(self, hub: str) -> StoredTrust:
        """Return the trust file of a hub. Raises NotFoundError, CorruptError."""
        for each in self.list():
            if each.trust.hub == hub:
                return each
        known = [each.trust.hub for each in self.list()]
        raise _unknown(hub, known, "Name one that `hubledger trust list` shows; " + _ADD if known else _FIRST)

    def find(self, name: str) -> tuple[StoredTrust, str]:
        """Return the trust file for ``hub/namespace/model``, and the model's name at that hub.

        A hub's id is compared byte by byte: one that only looks like it is another, and is not found.

        Raises:
            NotFoundError: no stored hub's id begins the name. CorruptError.
        """
        fits = [each for each in self.list() if name.startswith(each.trust.hub + "/")]
        if not fits:
            known = [each.trust.hub for each in self.list()]
            raise _unknown(name, known, _which_name(name, known) if known else _FIRST)
        best = max(fits, key=lambda each: len(each.trust.hub))
        return best, name.removeprefix(best.trust.hub + "/")

    def add(self, data: bytes, *, source: str, origin: Origin, sha256: bytes | None = None) -> StoredTrust:
        """Store a first trust file of a ledger; with the digest that the publisher shows elsewhere it is confirmed.

        Raises:
            ConfigError, LimitError: no trust file, or one with an id that no hub has. SignatureError: another digest.
            ConflictError: there is one of this ledger, or of this hub, with other bytes. WriteError, CorruptError.
        """
        new = StoredTrust(data=data, trust=parse_trust(data), source=source, origin=origin)
        new = _compared(new, sha256)
        _check_ids(new.trust)
        with self._folder.changing():
            for each in self.list():
                if each.data == data and each.trust.ledger == new.trust.ledger:
                    new = replace(each, origin=max(each.origin, new.origin, key=_ORDER.index))
                elif each.trust.ledger == new.trust.ledger or each.trust.hub == new.trust.hub:
                    raise _conflicting(each, new)
            self._write(new)
        return new

    def confirm(self, hub: str, *, sha256: bytes | None) -> StoredTrust:
        """Compare the digest with the publisher's, and note that; None: the user says that they compared it themselves.

        Raises:
            NotFoundError, WriteError, CorruptError. SignatureError: another digest.
        """
        with self._folder.changing():
            found = replace(_compared(self.get(hub), sha256), origin=Origin.CONFIRMED)
            self._write(found)
        return found

    def remove(self, hub: str) -> StoredTrust:
        """Forget a trust file. Raises NotFoundError, WriteError, CorruptError."""
        with self._folder.changing():
            found = self.get(hub)
            self._folder.remove(file_name(found.trust.ledger))
        return found

    def update(
        self, hub: str, fetch: FetchVersion, *, accept_less: bool = False
    ) -> tuple[StoredTrust, StoredTrust]:
        """Go through the versions after the stored one, each signed by the one before; return the old and the new.

        Each version is stored before the next is asked for, so what was reached once is never lost or gone back from.

        Raises:
            NotFoundError, ConfigError, SignatureError, MalformedError, LimitError: see ``verify_update``.
            ConflictError: the next version asks for fewer monitors, unless ``accept_less``. WriteError, CorruptError.
        """
        first = found = self.get(hub)
        for _ in range(MAX_UPDATES):
            offered = fetch(found.trust.version + 1)
            if offered is None:
                break
            data, signature = offered
            new = replace(found, data=data, trust=verify_update(found.trust, data, signature))
            if not accept_less:
                _check_asks_as_much(found.trust, new.trust)
            found = self._advance(found, new)
        return first, found

    def _advance(self, old: StoredTrust, new: StoredTrust) -> StoredTrust:
        """Store the next version, if no other process did meanwhile: then theirs stays, and is where we go on."""
        with self._folder.changing():
            current = self.get(old.trust.hub)
            if current.data != old.data:
                return current
            new = replace(new, origin=current.origin)
            self._write(new)
            return new

    def _write(self, trust: StoredTrust) -> None:
        self._folder.write(file_name(trust.trust.ledger), trust.as_json())

    def _read(self, name: str) -> StoredTrust | None:
        match self._folder.read(name):
            case None:
                return None
            case {"origin": str(origin), "source": str(source), "trust": str(text)} if origin in _ORDER:
                data = text.encode()
            case _:
                raise self._folder.damaged(name, "another object")
        try:
            trust = parse_trust(data)
        except InputError as error:
            raise self._folder.damaged(name, str(error)) from error
        return StoredTrust(data=data, trust=trust, source=source, origin=Origin(origin))


_FIRST = (
    "Add the hub's trust file: hubledger trust add https://…, at an address that you know by another channel"
)
_ADD = "add a trust file only for a hub that you know by another channel"
_MAX_HINT = 100
"""Characters of a name that a hint repeats: a longer one is no slip of the pen."""


def _unknown(name: str, known: Sequence[str], next_step: str) -> NotFoundError:
    """Return what to raise about a hub that is not in the store. A name that only looks like one must not make anybody add it."""
    shown = name if name.isascii() else f"{name!a}, which has letters that are not ASCII"
    return NotFoundError(
        "trust file",
        expected=f"one of a hub that you have added ({', '.join(known) or 'none yet'})",
        actual=shown,
        next_step=next_step,
    )


def _which_name(name: str, known: Sequence[str]) -> str:
    """Say what is wrong with a name where that can be seen, and never that the hub in it should be trusted."""
    first, _, rest = name.partition("/")
    if rest.count("/") == 0 and "." not in first and first.isascii() and 0 < len(name) <= _MAX_HINT:
        hub = known[0] if len(known) == 1 else "HUB"
        return f"The hub is missing: write {hub}/{name}" + (
            "" if len(known) == 1 else ", with the hub that you mean"
        )
    trusted = ", ".join(known)
    return f"Check the name: HUB/NAMESPACE/MODEL, with a hub you trust ({trusted}); {_ADD}"


def trust_from_file(path: str | pathlib.Path) -> StoredTrust:
    """Return a trust file that somebody handed over, which counts as confirmed. Raises NotFoundError, ConfigError, LimitError."""
    data = read_file(pathlib.Path(path), max_bytes=MAX_TRUST_BYTES)
    return StoredTrust(data=data, trust=parse_trust(data), source=str(path), origin=Origin.CONFIRMED)


_ORDER = (Origin.TLS_ONLY, Origin.CONFIRMED)


def _compared(found: StoredTrust, sha256: bytes | None) -> StoredTrust:
    if sha256 is None:
        return found
    if sha256 != found.sha256:
        raise SignatureError(
            f"digest of the trust file of {found.trust.hub}",
            expected=sha256.hex(),
            actual=found.sha256.hex(),
            next_step="Do not use it: ask the publisher which one is theirs",
        )
    return replace(found, origin=Origin.CONFIRMED)


def _check_ids(trust: TrustFile) -> None:
    """Refuse ids that no ledger can have (see ``ledger.config``): one with a look-alike letter would be taken for another."""
    for what, value in (("hub.id", trust.hub), ("ledger", trust.ledger)):
        if not re.fullmatch(r"[\x21-\x7e]{1,128}", value):
            raise ConfigError(
                f"setting {what} of the trust file",
                expected="at most 128 printable ASCII characters without spaces",
                actual=ascii(value),
                next_step="Do not use it: a name that only looks like another hub's is made to be mistaken",
            )


def _check_asks_as_much(old: TrustFile, new: TrustFile) -> None:
    """Refuse a version by which whoever signs it, the hub as a rule, would be watched by fewer. Raises ConflictError.

    Monitors are often added to a hub's file by whoever relies on them, and the hub's next version does not know them.
    """
    if old.require != "audited":
        return
    lost = [each.name for each in old.monitors if each.key not in [other.key for other in new.monitors]]
    if new.require == "audited" and not lost and _needed(new) >= _needed(old):
        return
    raise ConflictError(
        f"version {new.version} of the trust file of {new.hub}",
        expected=f"audited by {_needed(old)} of {', '.join(each.name for each in old.monitors) or 'no monitors'}, as yours",
        actual=f"{new.require}, by {_needed(new)} of {', '.join(each.name for each in new.monitors) or 'no monitors'}",
        next_step="Keep the one that you have, and ask its publisher, over another channel, why the new one asks for less",
    )


def _needed(trust: TrustFile) -> int:
    return trust.monitors_needed or len(trust.monitors)


def _conflicting(known: StoredTrust, new: StoredTrust) -> ConflictError:
    return ConflictError(
        f"trust file of {new.trust.hub}",
        expected=f"the one that you have, of {known.trust.ledger}, version {known.trust.version}",
        actual=f"another, of {new.trust.ledger}, version {new.trust.version}",
        next_step="Keep the one that you have: its next version comes with `hubledger trust update`; ask the publisher, over "
        "another channel, about any other",
    )
