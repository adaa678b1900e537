"""Evidence by SHA-256: manifests, bundles, policies, texts. Written before the event that names it, never overwritten.

::

    ab/abcd…             the bytes, under their digest        withdrawn/abcd…   why they are gone, and the leaf that says so
    reasons/ab/abcd…     event → digest of its text           withdrawing/…     a withdrawal that is under way

Bytes that were withdrawn do not come back: a piece with such a digest is not stored again, and ``put`` says so.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ledger.encoding import Json, format_canonical_json, parse_canonical_json, parse_hex
from ledger.errors import CorruptError, InputError, LimitError, MalformedError, NotFoundError, WithdrawnError
from ledger.storage import EVENT_KEY_BYTES, EvidenceObjects, ObjectInfo

MAX_EVIDENCE_BYTES = 1 << 30
"""A manifest of a very large repository; everything else is far smaller."""
MAX_NOTE_BYTES = 64 << 10
"""A note about a withdrawal: at most 64 digests, a reason and a reference."""
_WITHDRAWN, _WITHDRAWING, _REASONS = "withdrawn", "withdrawing", "reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Why a piece is gone: the reason code, and the leaf index of the statement that says so."""

    sha256: bytes
    reason: str
    leaf_index: int
    reference: str | None = None

    def as_error(self) -> WithdrawnError:
        """Return the refusal that answers whoever asks for the piece."""
        return WithdrawnError(
            self.sha256, reason=self.reason, leaf_index=self.leaf_index, reference=self.reference
        )

    def format(self) -> bytes:
        """Format as RFC 8785 JSON."""
        value: dict[str, Json] = {"leafIndex": self.leaf_index, "reason": self.reason}
        if self.reference is not None:
            value["reference"] = self.reference
        return format_canonical_json(value)


def parse_withdrawal(sha256: bytes, data: bytes) -> Withdrawal:
    """Parse a stored note. Raises CorruptError: notes are our own."""
    try:
        value = parse_canonical_json(data, what="note of a withdrawal", max_bytes=MAX_NOTE_BYTES)
    except InputError as error:
        raise _damaged_note(sha256, error.actual) from error
    match value:
        case {"leafIndex": int(leaf_index), "reason": str(reason)}:
            return Withdrawal(
                sha256=sha256, reason=reason, leaf_index=leaf_index, reference=value.get("reference")
            )
    raise _damaged_note(sha256, "another form")


def _damaged_note(sha256: bytes, actual: object) -> CorruptError:
    return CorruptError(
        f"note that evidence {sha256.hex()} was withdrawn",
        expected="leafIndex and reason",
        actual=actual,
        next_step="Restore it from a copy; the log says why and when the piece was withdrawn",
    )


class Evidence:
    """Content-addressed bytes in an object store."""

    def __init__(self, objects: EvidenceObjects) -> None:
        self._objects = objects

    def put(self, pieces: Iterable[bytes]) -> list[bytes]:
        """Store pieces under their digests, durable on return; returns those withheld because they were withdrawn.

        Raises:
            CorruptError: the name holds other bytes. WriteError: nothing may be assumed to be stored.
        """
        wanted = {hashlib.sha256(piece).digest(): piece for piece in pieces}
        withheld = [sha256 for sha256 in wanted if self.withdrawn(sha256) is not None]
        self._objects.put(
            (_name(sha256), piece) for sha256, piece in wanted.items() if sha256 not in withheld
        )
        return withheld

    def put_stream(self, sha256: bytes, chunks: Iterable[bytes]) -> bool:
        """Store one piece without holding it whole; durable on return. False: withheld because it was withdrawn.

        Raises:
            CorruptError: the chunks do not have this digest, or the name holds other bytes.
            LimitError: above 1 GiB. WriteError.
        """
        if self.withdrawn(sha256) is not None:
            return False
        self._objects.put_stream(_name(sha256), _checked(sha256, chunks))
        return True

    def get(self, sha256: bytes, *, max_bytes: int = MAX_EVIDENCE_BYTES) -> bytes:
        """Return a piece and check it against its name.

        Raises:
            WithdrawnError: it was withdrawn. NotFoundError, LimitError, CorruptError.
        """
        self._refuse_withdrawn(sha256)
        data = self._objects.get(_name(sha256), max_bytes=max_bytes)
        if hashlib.sha256(data).digest() != sha256:
            raise _damaged(sha256)
        return data

    def read(self, sha256: bytes) -> Iterator[bytes]:
        """Yield a piece in blocks. Nothing that came out may be used before the last block did: only then it is checked.

        Raises:
            WithdrawnError: it was withdrawn. NotFoundError, LimitError, CorruptError.
        """
        self._refuse_withdrawn(sha256)
        yield from _checked(sha256, self._objects.get_stream(_name(sha256)))

    def info(self, sha256: bytes) -> ObjectInfo:
        """Return the size of a stored piece. Raises WithdrawnError, NotFoundError."""
        self._refuse_withdrawn(sha256)
        return self._objects.info(_name(sha256))

    def holds(self, sha256: bytes) -> bool:
        """Whether bytes lie under a digest, withdrawn or not."""
        try:
            self._objects.info(_name(sha256))
        except NotFoundError:
            return False
        return True

    def stored(self, prefix: int) -> Iterator[bytes]:
        """Yield the digests of stored pieces whose first byte is ``prefix``, in no order."""
        for name in self._objects.names(f"{prefix:02x}"):
            yield _parse_name(name)

    def remove(self, digests: Iterable[bytes]) -> None:
        """Remove pieces that nobody names, or that ``note_withdrawals`` says are withdrawn; durable on return."""
        self._objects.erase([_name(sha256) for sha256 in digests])

    # Withdrawals

    def withdrawn(self, sha256: bytes) -> Withdrawal | None:
        """Return why a piece is gone, or None."""
        try:
            data = self._objects.get(f"{_WITHDRAWN}/{sha256.hex()}", max_bytes=MAX_NOTE_BYTES)
        except NotFoundError:
            return None
        return parse_withdrawal(sha256, data)

    def withdrawals(self) -> Iterator[Withdrawal]:
        """Yield every withdrawal, in no order."""
        for name in self._objects.names(_WITHDRAWN):
            sha256 = _parse_name(name)
            if (found := self.withdrawn(sha256)) is not None:
                yield found

    def note_withdrawals(self, withdrawals: Iterable[Withdrawal]) -> None:
        """Say that pieces are withdrawn; durable on return. From here on nobody is given their bytes."""
        for each in withdrawals:
            self._objects.replace(f"{_WITHDRAWN}/{each.sha256.hex()}", each.format())

    def begin(self, name: str, plan: bytes) -> None:
        """Note a withdrawal before its first step, durably, so that a start after a crash can finish it."""
        self._objects.replace(f"{_WITHDRAWING}/{name}", plan)

    def begun(self) -> list[tuple[str, bytes]]:
        """Return the withdrawals that were begun and not ended."""
        names = sorted(self._objects.names(_WITHDRAWING))
        return [
            (each.rpartition("/")[2], self._objects.get(each, max_bytes=MAX_NOTE_BYTES)) for each in names
        ]

    def end(self, name: str) -> None:
        """Forget a withdrawal that was finished, or that never happened."""
        self._objects.erase([f"{_WITHDRAWING}/{name}"])

    def _refuse_withdrawn(self, sha256: bytes) -> None:
        if (found := self.withdrawn(sha256)) is not None:
            raise found.as_error()

    # Texts

    def put_text(self, event: bytes, text: bytes) -> bool:
        """Store the text of an event (by the key of its id); durable on return. False: withheld.

        The text goes first. If we stop between the two, nobody names it, and ``gc`` collects it.
        """
        sha256 = hashlib.sha256(text).digest()
        if not self.put_stream(sha256, (text,)):
            return False
        self._objects.replace(_pointer(event), sha256)
        return True

    def text_of(self, event: bytes) -> bytes | None:
        """Return the digest of an event's text, or None where it has none."""
        try:
            return self._objects.get(_pointer(event), max_bytes=32)
        except NotFoundError:
            return None

    def texts(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (event key, digest of its text) of every event that has one, in no order."""
        for name in self._objects.names(_REASONS):
            yield _parse_name(name, length=EVENT_KEY_BYTES), self._objects.get(name, max_bytes=32)

    def forget_texts(self, events: Iterable[bytes]) -> None:
        """Remove the pointers of events that were never recorded."""
        self._objects.erase([_pointer(event) for event in events])


def _checked(sha256: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass chunks on and check their digest after the last. Raises CorruptError, LimitError."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > MAX_EVIDENCE_BYTES:
            raise LimitError(
                f"evidence {sha256.hex()}", expected=f"at most {MAX_EVIDENCE_BYTES} bytes", actual="more"
            )
        yield chunk
    if digest.digest() != sha256:
        raise _damaged(sha256)


def _damaged(sha256: bytes) -> CorruptError:
    return CorruptError(
        f"evidence {sha256.hex()}",
        expected="bytes with this SHA-256",
        actual="other bytes",
        next_step="Restore it from a copy; the log itself is not affected",
    )


def _parse_name(name: str, *, length: int = 32) -> bytes:
    """Return the digest, or the event's key, that an object is called by. Raises CorruptError."""
    try:
        return parse_hex(name.rpartition("/")[2], length=length)
    except MalformedError as error:
        raise CorruptError(
            f"name of evidence {name}",
            expected=error.expected,
            actual="another name",
            next_step="Nothing of ours is called so: move the file out of the directory",
        ) from error


def _name(sha256: bytes) -> str:
    text = sha256.hex()
    return f"{text[:2]}/{text}"


def _pointer(event: bytes) -> str:
    text = event.hex()
    return f"{_REASONS}/{text[:2]}/{text}"
