"""Which bytes each step of a check used, for whoever wants to do it again by hand (``hubledger verify --explain``). Pure.

Nothing is verified here, and nothing is hidden: a proof that cannot be read is described by its digest alone.
"""

import hashlib
from dataclasses import dataclass

from ledger.client.proof_extra import ProofExtra, parse_extra
from ledger.encoding import format_base64
from ledger.entry import Entry, pae, parse_entry
from ledger.errors import LedgerError
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.proof import TlogProof, parse_proof
from ledger.tlog.signed_note import parse_note


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


def _checkpoint(proof: TlogProof) -> Used:
    note = parse_note(proof.checkpoint_note)
    signatures = [
        f"signature by {each.name}+{each.key_id.hex()}: {format_base64(each.signature)}"
        for each in note.signatures
    ]
    text = note.text.decode().removesuffix("\n").split("\n")
    return Used(
        step="checkpoint signature",
        lines=("signed, each line with its line feed:", *(f"  {line}" for line in text), *signatures),
    )


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
        signed = pae(entry.payload)
        found.append(Used(step="statement", lines=(entry.payload.decode(),)))
        lines = (
            f"signed: the statement behind its DSSE prefix, {len(signed)} bytes, sha256 {_sha256(signed)}",
            f"signature by {entry.keyid}: {format_base64(entry.signature)}",
        )
        found.append(Used(step="hub signature", lines=lines))
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
