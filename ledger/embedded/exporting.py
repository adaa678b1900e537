"""Proofs of events of a ledger in Rekor, as files for others (``hubledger proof``)."""

import pathlib
from typing import Any

from ledger.bundle.export import format_rekor_proof, format_sigstore_bundle
from ledger.embedded.directory import ReadLedger
from ledger.embedded.remote import AcceptedLog, place_facts, state_of
from ledger.entry import Entry, parse_entry
from ledger.errors import CorruptError, NotFoundError, UsageError
from ledger.log.remote import LogReceipt
from ledger.storage.directory import write_file_durably

_V2 = ("hashedrekord", "0.0.2")


def write_rekor_proof(
    ledger: ReadLedger, accepted: AcceptedLog, number: int, *, output: pathlib.Path, as_bundle: bool
) -> dict[str, Any]:
    """Write the proof of an accepted event at its lowest place; returns where that is as JSON facts.

    Raises:
        NotFoundError: no such event, or one that is in no log yet. UsageError: a ``.tlog-proof`` of Rekor v1.
        CorruptError: a stored receipt that does not hold.
    """
    fate = accepted.fate(number)
    if not fate.receipts:
        raise NotFoundError(
            f"number {number}",
            expected="an event that is in the log",
            actual=f"one that is {state_of(fate)}",
            next_step="`hubledger outbox retry` submits what is pending, `outbox status` says why it is",
        )
    receipt = fate.receipts[0]
    if not as_bundle and receipt.proven.kind != _V2:
        raise UsageError(
            "form of the proof",
            expected="--bundle, for an event in Rekor v1",
            actual="a .tlog-proof",
            next_step="Its leaf holds a digest of the envelope's text and a key: only a Sigstore bundle carries them all",
        )
    data = _format(ledger, next(accepted.read(number, number + 1)), receipt, as_bundle=as_bundle)
    write_file_durably(output.absolute(), data, mode=0o644)
    return {"number": number, **place_facts(receipt), "output": str(output), "bundle": as_bundle}


def _format(ledger: ReadLedger, entry: bytes, receipt: LogReceipt, *, as_bundle: bool) -> bytes:
    parsed = parse_entry(entry)
    spki = next(
        (
            key.spki
            for key in ledger.trust.hub_keys
            if isinstance(parsed, Entry) and key.keyid == parsed.keyid
        ),
        None,
    )
    if spki is None:
        raise CorruptError(
            "key of an accepted entry", expected="a hub key of trust.toml", actual="another key"
        )
    if as_bundle:
        return format_sigstore_bundle(
            entry, spki=spki, log_entries=[receipt.log_entry], timestamps=receipt.timestamps
        )
    return format_rekor_proof(entry, spki=spki, log_entry=receipt.log_entry)
