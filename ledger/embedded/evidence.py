"""What a piece of evidence is and who names it, and everything about one event in a folder (``hubledger evidence``)."""

import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.digests import DigestIndex, Naming
from ledger.embedded.announcing import Known, look_up, remove_again, withdraw_pieces
from ledger.embedded.bundle_sizes import kept_bundles
from ledger.embedded.digests import mirror_digests
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.embedded.erasures import find_erasures, holds_back
from ledger.embedded.opening import OpenLedger, open_for_recording
from ledger.embedded.proving import make_proof
from ledger.embedded.reading import find_leaf, read_entry_at, read_statement_at
from ledger.embedded.withdrawing import check_stored
from ledger.encoding import format_canonical_json, parse_hex
from ledger.entry import Entry, parse_entry
from ledger.errors import CorruptError, NotEmptyError, NotFoundError, UsageError, WithdrawnError, WriteError
from ledger.event import Statement, UnknownStatement, VerificationEvent
from ledger.event.digests import Use, named_digests
from ledger.manifest import portability_problems, read_items
from ledger.policy import tofu
from ledger.storage.directory import DirectoryObjects, sync_folder
from ledger.storage.evidence import Evidence, Withdrawal
from ledger.storage.sqlite import event_key

_TELLING = (Use.BUNDLE.value, Use.MORE.value)
MAX_NAMINGS_SHOWN = 1000
"""Statements that one answer lists; the whole number is beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece that an event names: what as, and whether its bytes are here.

    ``state``: ``stored``, ``withdrawn``, ``digest-only`` (never kept: too large), ``withheld`` (of an event that hides who
    signed) or ``missing``.
    """

    use: str
    sha256: bytes
    state: str
    size: int | None = None
    withdrawn: Withdrawal | WithdrawnError | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the facts."""
        facts: dict[str, Any] = {"use": self.use, "sha256": self.sha256.hex(), "state": self.state}
        if self.size is not None:
            facts["size"] = self.size
        if self.withdrawn is not None:
            facts |= {"reason": self.withdrawn.reason, "leafIndex": self.withdrawn.leaf_index}
        return facts


def open_evidence(ledger: ReadLedger) -> Evidence:
    """Return the evidence of a ledger that is only read."""
    return Evidence(DirectoryObjects(ledger.layout.evidence))


def show_evidence(directory: pathlib.Path, what: str) -> dict[str, Any]:
    """Say what a digest is, whether its bytes are here and who names it; or what an event names.

    Raises:
        NotFoundError: neither a stored or named digest nor a recorded event.
    """
    ledger = open_for_reading(directory)
    if _is_digest(what):
        return describe_digest(ledger, parse_hex(what, length=32))
    leaf_index, statement = _find_statement(ledger, what)
    pieces = list(pieces_of(ledger, statement))
    return {
        "leafIndex": leaf_index,
        "eventId": statement.common.event_id if statement.common else "",
        "type": statement.predicate_type,
        "pieces": [each.as_json() for each in pieces],
    }


def _is_digest(what: str) -> bool:
    return len(what) == 64 and all(c in "0123456789abcdef" for c in what)


def describe_digest(
    ledger: ReadLedger, sha256: bytes, *, most: int = MAX_NAMINGS_SHOWN, inside: bool = True
) -> dict[str, Any]:
    """Say what a digest is, whether its bytes are here and who names it; at most so many, and no manifest read unless ``inside``.

    Raises:
        NotFoundError: neither stored nor named.
    """
    evidence = open_evidence(ledger)
    index = DigestIndex(ledger.layout.digests, read_only=True)
    try:
        namings, mirrored = index.namings(sha256), index.position()
    finally:
        index.close()
    uses = sorted({each.use.value for each in namings if each.use is not Use.ERASED})
    use = ", ".join(uses) or "unnamed"
    if (erased := find_erasures(ledger, (sha256,)).get(sha256)) is not None:
        piece = Piece(use=use, sha256=sha256, state="withdrawn", withdrawn=erased)
    else:
        piece = _look(evidence, use, sha256, kept=any(_kept(each) for each in namings))
    if piece.state not in ("stored", "withdrawn") and not namings:
        raise NotFoundError(
            f"evidence {sha256.hex()}",
            expected="a digest that is stored or named",
            actual="neither",
            next_step="`hubledger evidence show` with an event lists the digests that it names",
        )
    size = ledger.size()
    facts = piece.as_json() | {
        "namedBy": [_naming_facts(ledger, each, size) for each in namings[:most]],
        "namedByCount": len(namings),
        "mirrored": mirrored,
    }
    if inside and piece.state == "stored" and Use.MANIFEST.value in uses:
        facts |= describe_manifest(evidence.read(sha256))
    return facts


def describe_manifest(chunks: Iterator[bytes]) -> dict[str, Any]:
    """Return how many files a manifest lists, and what may go wrong when they are written on another system."""
    paths = [item.path for item in read_items(chunks)]
    return {"files": len(paths), "warnings": list(portability_problems(paths))}


def _kept(naming: Naming) -> bool:
    return naming.use not in (Use.CONTENT, Use.ERASED)


def _naming_facts(ledger: ReadLedger, naming: Naming, size: int) -> dict[str, Any]:
    facts: dict[str, Any] = {ledger.place: naming.leaf_index, "as": naming.use.value}
    if naming.leaf_index >= size:
        return facts | {"published": False}
    statement = read_statement_at(ledger, naming.leaf_index, size)
    if statement.common is not None:
        facts["eventId"] = statement.common.event_id
    if isinstance(statement, VerificationEvent):
        facts |= {"name": statement.model.name, "revision": statement.model.revision}
    return facts


def _find_statement(ledger: ReadLedger, event: str) -> tuple[int, Statement | UnknownStatement]:
    size = ledger.size()
    leaf_index = find_leaf(ledger, event)
    if leaf_index >= size:
        raise NotFoundError(
            f"leaf {leaf_index}", expected=f"a leaf below {size}", actual="one that is not published"
        )
    return leaf_index, read_statement_at(ledger, leaf_index, size)


def pieces_of(ledger: ReadLedger, statement: Statement | UnknownStatement) -> Iterator[Piece]:
    """Yield what a statement names with the state of each piece, its text last."""
    evidence = open_evidence(ledger)
    unsure = [each.sha256 for each in named_digests(statement) if each.use is Use.BUNDLE and not each.stored]
    sure = set[bytes]()
    if isinstance(statement, VerificationEvent):
        sure = kept_bundles(evidence, statement.manifest.sha256, unsure)
    named = [
        (each.use.value, each.sha256, each.stored or each.sha256 in sure)
        for each in named_digests(statement)
        if each.use not in (Use.CONTENT, Use.ERASED)
    ]
    if statement.common is not None:
        key = event_key(statement.common.recorded_by.id, statement.common.event_id)
        if (text := evidence.text_of(key)) is not None:
            named.append(("reasons", text, True))
    erased = find_erasures(ledger, (sha256 for _, sha256, _ in named))
    for use, sha256, kept in named:
        if sha256 in erased:
            # Whatever lies under the digest, and be it from an older copy: the log says that it is gone.
            yield Piece(use=use, sha256=sha256, state="withdrawn", withdrawn=erased[sha256])
        else:
            yield _look(evidence, use, sha256, kept=kept)


def _look(evidence: Evidence, use: str, sha256: bytes, *, kept: bool) -> Piece:
    try:
        return Piece(use=use, sha256=sha256, state="stored", size=evidence.info(sha256).size)
    except WithdrawnError as error:
        return Piece(use=use, sha256=sha256, state="withdrawn", withdrawn=error)
    except NotFoundError:
        return Piece(use=use, sha256=sha256, state="missing" if kept else "digest-only")


# Export


def export_evidence(directory: pathlib.Path, event: str, *, output: pathlib.Path) -> dict[str, Any]:
    """Write everything that a third person needs to verify an event again: proof, entry, manifest, bundles, policy.

    Made beside ``output`` and moved into place: it is all there, or nothing is. Withdrawn pieces are listed with the
    reason.

    Raises:
        NotFoundError: no such event. NotEmptyError: ``output`` holds something.
        CorruptError: a piece is damaged or missing. WriteError.
    """
    ledger = open_for_reading(directory)
    leaf_index, statement = _find_statement(ledger, event)
    output = output.absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise NotEmptyError(
            f"folder {output}",
            expected="a new or empty folder",
            actual="something in it",
            next_step="Name another folder; nothing is ever written over something else",
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".hubledger-export-", dir=output.parent) as aside:
            building = pathlib.Path(aside) / "export"
            building.mkdir()
            facts = _write_export(ledger, leaf_index, statement, building)
            building.rename(output)
        sync_folder(output.parent)
    except OSError as error:
        raise WriteError(
            f"writing {output}",
            expected="a writable place",
            actual=error.strerror,
            next_step="Name a folder where this user can write; nothing was left behind",
        ) from error
    return facts | {"output": str(output)}


def _write_export(
    ledger: ReadLedger, leaf_index: int, statement: Statement | UnknownStatement, folder: pathlib.Path
) -> dict[str, Any]:
    evidence, target = open_evidence(ledger), DirectoryObjects(folder)
    entry = read_entry_at(ledger, leaf_index, ledger.size())
    written: list[dict[str, Any]] = []
    withheld = isinstance(statement, VerificationEvent) and holds_back(ledger, statement)
    for piece in pieces_of(ledger, statement):
        if piece.state == "missing":
            raise CorruptError(
                f"evidence {piece.sha256.hex()} ({piece.use} of leaf {leaf_index})",
                expected="stored bytes",
                actual="none",
                next_step="Restore it from a copy; `hubledger log audit` lists everything that is missing",
            )
        facts = piece.as_json()
        if piece.use in _TELLING and withheld:
            facts["state"] = "withheld"  # the bundle may name a signer whom the event does not
        elif piece.state == "stored":
            facts["file"] = _file_name(piece)
            target.put_stream(facts["file"], evidence.read(piece.sha256))
        written.append(facts)
    parsed = parse_entry(entry)
    name, proof = _proof_of(ledger, leaf_index, entry)
    objects = {name: proof, "entry.json": entry}
    if isinstance(parsed, Entry):
        objects["statement.json"] = parsed.payload
    listing = {
        ledger.place: leaf_index,
        "ledger": ledger.config.ledger,
        "pieces": written,
        "proof": name,
    }
    objects["contents.json"] = format_canonical_json(listing)
    target.put(objects.items())
    return listing


def _proof_of(ledger: ReadLedger, leaf_index: int, entry: bytes) -> tuple[str, bytes]:
    """Return the proof of an entry and the name that it goes by. Raises NotFoundError: in Rekor, not logged yet."""
    if ledger.accepted is None:
        return "event.tlog-proof", make_proof(ledger.log, leaf_index, entry)
    from ledger.embedded.remote import format_logged

    name = "event.sigstore.json"
    return name, format_logged(ledger.accepted.fate(leaf_index), ledger.accepted.prover, name=name)


def _file_name(piece: Piece) -> str:
    if piece.use == Use.BUNDLE.value:
        return f"bundles/{piece.sha256.hex()}.json"
    return f"{piece.use}.json"


# Withdrawing


def withdraw_evidence(
    directory: pathlib.Path,
    digests: Sequence[bytes],
    *,
    reason: str,
    reference: str | None = None,
    not_older_than: Sequence[pathlib.Path] = (),
    start_unchecked: bool = False,
) -> dict[str, Any]:
    """Log why pieces are withdrawn, publish that, and remove their bytes.

    Pieces that are withdrawn already stay so; bytes of theirs that came back with an older copy are removed.

    Raises:
        UsageError: a policy. NotFoundError: a piece that is not stored. MalformedError: a reason that is no code, or a reference too long.
        RestoredError, WriterLockedError, WriteError: the ledger cannot be written.
    """
    with open_for_recording(
        directory, not_older_than=not_older_than, start_unchecked=start_unchecked
    ) as ledger:
        wanted = sorted(set(digests))
        known = look_up(ledger, wanted)
        _refuse_policies(known)
        left = {each for each in wanted if known[each].erased is None and not _noted(ledger, each)}
        for sha256 in left:
            check_stored(ledger.evidence, sha256)
        back = remove_again(ledger, known)
        if withdraw_pieces(ledger, wanted, reason=reason, reference=reference):
            ledger.publish()
            mirror_digests(ledger)
        found = [ledger.evidence.withdrawn(each) for each in digests]
    return {
        "withdrawn": [
            {
                "sha256": each.sha256.hex(),
                "reason": each.reason,
                "leafIndex": each.leaf_index,
                "repeated": each.sha256 not in left,
                **({"cameBack": True} if each.sha256 in back else {}),
            }
            for each in found
            if each is not None
        ]
    }


def _noted(ledger: OpenLedger, sha256: bytes) -> bool:
    return ledger.evidence.withdrawn(sha256) is not None


def _refuse_policies(known: Mapping[bytes, Known]) -> None:
    """Refuse to withdraw a policy: it names nobody, and nearly every event rests on the same one."""
    for sha256, each in known.items():
        if each.policy or sha256 == tofu.POLICY_SHA256:
            raise UsageError(
                f"evidence {sha256.hex()}",
                expected="a manifest, a bundle or a text",
                actual="a policy, which every event rests on that was decided by it",
                next_step="A policy stays: without it nobody can say why an event was decided as it was",
            )
