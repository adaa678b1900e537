"""Committed identities of a ledger: opened for somebody who may know, and erased (``hubledger identity``)."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from ledger.client.opening import Opening, format_opening
from ledger.embedded.announcing import look_up, withdraw_pieces
from ledger.embedded.bundle_sizes import MAX_LIST_BYTES
from ledger.embedded.committing import is_committed, names_somebody
from ledger.embedded.digests import mirror_digests
from ledger.embedded.directory import Layout, open_for_reading
from ledger.embedded.evidence_audit import listed_digests
from ledger.embedded.opening import OpenLedger, open_for_recording
from ledger.embedded.reading import find_leaf, read_statement_at
from ledger.embedded.withdrawing import MAX_DIGESTS, Plan, carry_out
from ledger.entry import Entry, parse_entry
from ledger.errors import NotFoundError, WithdrawnError
from ledger.event import VerificationEvent, escape_name, parse_statement
from ledger.identity import CommittedFacts
from ledger.storage.directory import write_file_durably
from ledger.storage.evidence import Evidence
from ledger.storage.identities import IdentityKeys


def write_openings(directory: pathlib.Path, event: str, *, output: pathlib.Path) -> dict[str, Any]:
    """Write what opens the commitments of an event, for somebody who may know; a file that only its owner reads.

    Raises:
        NotFoundError: no such event, or no commitment with a key: it was made in clear, or its keys were destroyed.
    """
    ledger = open_for_reading(directory)
    size = ledger.size()
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
    directory: pathlib.Path,
    name: str,
    *,
    reason: str,
    reference: str | None,
    not_older_than: Sequence[pathlib.Path] = (),
    start_unchecked: bool = False,
) -> dict[str, Any]:
    """Destroy the keys of a model's committed identities and withdraw the bundles that show them; the log says so.

    Every proof still verifies, and that a signer changed stays visible; who it was does not. May be repeated: a later
    upload brings new keys. Other models that name a bundle lose it too, and their histories say so.

    Raises:
        NotFoundError: no key and no bundle of a committed event under this name is here. MalformedError, WriteError.
    """
    history = f"name:{escape_name(name)}"
    with open_for_recording(
        directory, not_older_than=not_older_than, start_unchecked=start_unchecked
    ) as ledger:
        ledger.recorder.flush_index()
        events = _hiding_events(ledger, history)
        bundles = sorted({each for event in events.values() for each in bundles_of(ledger.evidence, event)})
        keys = ledger.identities.count(history)
        known = look_up(ledger, bundles)
        fresh = [each for each in bundles if known[each].erased is None or ledger.evidence.holds(each)]
        if not fresh and not keys and not any(each.untold((history,)) for each in known.values()):
            raise _nothing_to_erase(name)
        leaves = []
        if bundles and (fresh or keys):
            plan = Plan(
                # Keys may be all that is left: the statement needs a piece, and says again that it is gone.
                digests=tuple((fresh or bundles)[:MAX_DIGESTS]),
                reason=reason,
                reference=reference,
                keys_destroyed=True,
                # The keys of these are destroyed: other models are told by statements of their own.
                histories=(history,),
                after=max(events),
            )
            leaves.append(
                carry_out(
                    plan, evidence=ledger.evidence, recorder=ledger.recorder, identities=ledger.identities
                )
            )
            # If we stop here, the keys are gone and the rest is not said: the same command goes on.
        else:  # keys of a recording that stopped before its event: nothing in the log rests on them
            ledger.identities.destroy(history)
        leaves += withdraw_pieces(ledger, bundles, reason=reason, reference=reference, also=(history,))
        ledger.publish()
        mirror_digests(ledger)
        others = sorted({key for each in known.values() for key in each.named_by} - {history})
    return {
        "name": name,
        "withdrawn": [each.hex() for each in fresh],
        "keysDestroyed": keys,
        "leafIndices": leaves,
        "otherModels": [each.removeprefix("name:") for each in others],
    }


def _nothing_to_erase(name: str) -> NotFoundError:
    return NotFoundError(
        f"identities of model {name}",
        expected="committed identities whose keys or bundles are here",
        actual="none",
        next_step="Identities that were logged in clear cannot be erased: the log only grows",
    )


def _hiding_events(ledger: OpenLedger, history: str) -> dict[int, VerificationEvent]:
    """Return the events of a history that hide who signed, by leaf index."""
    found: dict[int, VerificationEvent] = {}
    for leaf_index in ledger.index.history(history):
        parsed = parse_entry(next(iter(ledger.log.read(leaf_index, leaf_index + 1))))
        event = parse_statement(parsed.payload) if isinstance(parsed, Entry) else None
        if isinstance(event, VerificationEvent):
            found[leaf_index] = event
    if not ledger.identities.holds_back(history) and not any(map(is_committed, found.values())):
        return {}
    return {at: event for at, event in found.items() if not names_somebody(event)}


def bundles_of(evidence: Evidence, event: VerificationEvent) -> Iterator[bytes]:
    """Yield the bundles that an event names, itself or through the list of those past the sixteenth."""
    yield from (each.bundle_sha256 for each in event.signatures)
    if event.more_signatures is not None:
        with contextlib.suppress(NotFoundError, WithdrawnError):  # an audit says that the list is missing
            yield from listed_digests(evidence.get(event.more_signatures.sha256, max_bytes=MAX_LIST_BYTES))
