"""Which bytes each step of a check used, for whoever wants to do it again by hand (``hubledger verify --explain``). Pure.

Nothing is verified here, and nothing is hidden: a proof that cannot be read is described by its digest alone.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.client.proof_extra import ProofExtra, parse_extra
from ledger.client.vouching import Stated
from ledger.encoding import format_base64
from ledger.entry import Entry, pae, parse_entry
from ledger.errors import LedgerError
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.proof import TlogProof, parse_proof
from ledger.tlog.signed_note import Note, parse_note

if TYPE_CHECKING:
    from ledger.attestation.envelope import Attestation


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One step by the name that it has in the result, and what it used, in lines for people."""

    step: str
    lines: tuple[str, ...]


def explain_proof(data: bytes) -> tuple[Used, ...]:
    """Return what the steps of a check of this ``.tlog-proof`` used, in their order, as far as it can be read."""
    found = [Used(step="proof file", lines=(f"{len(data)} bytes, sha256 {_sha256(data)}",))]
    try:
        proof = parse_proof(data)
        found.append(_checkpoint(proof))
        if proof.extra is not None:
            found += _entry(proof, parse_extra(proof.extra))
    except LedgerError as error:
        found.append(Used(step="what could not be read", lines=(error.finding,)))
    return tuple(found)


def explain_named(
    proof: bytes, stated: Iterable[Stated], attestation: "Attestation | None"
) -> tuple[Used, ...]:
    """Return what the steps of a check by name used: the proof, what monitors said, and the attestation."""
    attested = () if attestation is None else (_attestation(attestation),)
    return (*explain_proof(proof), *map(_statement, stated), *attested)


def _statement(stated: Stated) -> Used:
    """Say which statement of a monitor was there, whoever signed it, or why there was none."""
    if stated.unheard is not None:
        return Used(step=f"monitor {stated.unheard.monitor}", lines=(f"no answer: {stated.unheard.why}",))
    try:
        note = parse_note(stated.note)
    except LedgerError as error:
        lines = (f"{len(stated.note)} bytes, sha256 {_sha256(stated.note)}", error.finding)
        return Used(step="statement that could not be read", lines=lines)
    names = ", ".join(dict.fromkeys(each.name for each in note.signatures))
    linked = () if stated.consistency is None else ("consistency proof to the checkpoint of the proof:",)
    hashes = (f"  {each.hex()}" for each in stated.consistency or ())
    parts = (f"part of its list: {len(each)} bytes, sha256 {_sha256(each)}" for each in stated.parts)
    return Used(step=f"monitor {names}", lines=(*_signed_lines(note), *linked, *hashes, *parts))


def _attestation(attestation: "Attestation") -> Used:
    return Used(
        step="attestation",
        lines=(attestation.entry.payload.decode("utf-8", "replace"), *_dsse(attestation.entry)),
    )


def _checkpoint(proof: TlogProof) -> Used:
    return Used(step="checkpoint signature", lines=_signed_lines(parse_note(proof.checkpoint_note)))


def _signed_lines(note: Note) -> tuple[str, ...]:
    signatures = (
        f"signature by {each.name}+{each.key_id.hex()}: {format_base64(each.signature)}"
        for each in note.signatures
    )
    text = note.text.decode().removesuffix("\n").split("\n")
    return ("signed, each line with its line feed:", *(f"  {line}" for line in text), *signatures)


def _entry(proof: TlogProof, extra: ProofExtra) -> list[Used]:
    found = []
    if extra.consistency is not None:
        hashes = (f"  {each.hex()}" for each in extra.consistency.hashes)
        lines = (f"consistency proof from size {extra.consistency.size}:", *hashes)
        found.append(Used(step="link to your pin", lines=lines))
    leaf = (
        f"leaf hash {leaf_hash(extra.entry).hex()} = SHA-256 of 0x00 and the entry of {len(extra.entry)} bytes"
        if extra.kind is None
        else f"the leaf is made from the entry of {len(extra.entry)} bytes, as {extra.kind}"
    )
    path = (f"  {each.hex()}" for each in proof.hashes)
    found.append(Used(step="inclusion", lines=(leaf, f"path of leaf {proof.index}:", *path)))
    entry = parse_entry(extra.entry, leaf_index=proof.index)
    if isinstance(entry, Entry):
        found.append(Used(step="statement", lines=(entry.payload.decode(),)))
        found.append(Used(step="hub signature", lines=_dsse(entry)))
    return found


def _dsse(entry: Entry) -> tuple[str, str]:
    signed = pae(entry.payload)
    return (
        f"signed: the statement behind its DSSE prefix, {len(signed)} bytes, sha256 {_sha256(signed)}",
        f"signature by {entry.keyid}: {format_base64(entry.signature)}",
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
