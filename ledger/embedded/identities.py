"""Committed identities of a ledger: opened for somebody who may know, and erased (``hubledger identity``)."""

import pathlib
from collections.abc import Sequence
from typing import Any

from ledger.client.opening import Opening, format_opening
from ledger.embedded.committing import is_committed
from ledger.embedded.digests import mirror_digests
from ledger.embedded.directory import Layout, open_for_reading, open_for_recording
from ledger.embedded.reading import find_leaf, read_statement_at
from ledger.embedded.withdrawing import MAX_DIGESTS, Plan, withdraw
from ledger.entry import Entry, parse_entry
from ledger.errors import NotFoundError
from ledger.event import SignatureFact, VerificationEvent, escape_name, parse_statement
from ledger.identity import CommittedFacts
from ledger.storage.directory import write_file_durably
from ledger.storage.identities import IdentityKeys


def write_openings(directory: pathlib.Path, event: str, *, output: pathlib.Path) -> dict[str, Any]:
    """Write what opens the commitments of an event, for somebody who may know; a file that only its owner reads.

    Raises:
        NotFoundError: no such event, or no commitment with a key: it was made in clear, or its keys were destroyed.
    """
    ledger = open_for_reading(directory)
    size = ledger.log.checkpoint().checkpoint.size
    statement = read_statement_at(ledger, find_leaf(ledger, event), size)
    openings = list(_openings(ledger.layout, statement)) if isinstance(statement, VerificationEvent) else []
    if not openings:
        raise NotFoundError(
            f"identities of event {event}",
            expected="a committed identity whose key is here",
            actual="none",
            next_step="An event in clear needs no opening; after an erasure nobody can open it",
        )
    write_file_durably(output.absolute(), format_opening(openings), mode=0o600)
    return {"output": str(output), "identities": [each.identity for each in openings]}


def _openings(layout: Layout, event: VerificationEvent) -> list[Opening]:
    keys = IdentityKeys(layout.identities)
    history, found = f"name:{event.model.name}", {}
    try:
        for signature in event.signatures:
            who = signature.signer or signature.claimed_signer
            if isinstance(who, CommittedFacts):
                stored = keys.find(history, who.commitment)
                if stored is not None:
                    found[who.commitment] = Opening(history=history, identity=stored.identity, key=stored.key)
    finally:
        keys.close()
    return list(found.values())


def erase_identities(
    directory: pathlib.Path, name: str, *, reason: str, reference: str | None
) -> dict[str, Any]:
    """Destroy the keys of a model's committed identities and withdraw the bundles that show them; the log says so.

    Every proof still verifies, and that a signer changed stays visible; who it was does not.

    Raises:
        NotFoundError: no committed event under this name whose bundles are still here. MalformedError, WriteError.
    """
    history = f"name:{escape_name(name)}"
    with open_for_recording(directory) as ledger:
        ledger.recorder.flush_index()
        bundles = sorted(
            {
                each.bundle_sha256
                for leaf_index in ledger.index.history(history)
                for each in _committed_signatures(next(iter(ledger.log.read(leaf_index, leaf_index + 1))))
                if ledger.evidence.withdrawn(each.bundle_sha256) is None
                and ledger.evidence.holds(each.bundle_sha256)
            }
        )
        if not bundles:
            raise NotFoundError(
                f"identities of model {name}",
                expected="committed events with evidence",
                actual="none",
                next_step="Identities that were logged in clear cannot be erased: the log only grows",
            )
        leaves = []
        for start in range(0, len(bundles), MAX_DIGESTS):
            last = start + MAX_DIGESTS >= len(bundles)
            plan = Plan(
                digests=tuple(bundles[start : start + MAX_DIGESTS]),
                reason=reason,
                reference=reference,
                keys_destroyed=last,
                histories=(history,),
            )
            leaves.append(
                withdraw(
                    plan, evidence=ledger.evidence, recorder=ledger.recorder, identities=ledger.identities
                )
            )
        ledger.recorder.publish()
        mirror_digests(ledger)
    return {"name": name, "withdrawn": [each.hex() for each in bundles], "leafIndices": leaves}


def _committed_signatures(entry: bytes) -> Sequence[SignatureFact]:
    parsed = parse_entry(entry)
    event = parse_statement(parsed.payload) if isinstance(parsed, Entry) else None
    return event.signatures if isinstance(event, VerificationEvent) and is_committed(event) else ()
