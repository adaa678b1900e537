"""Attestations about revisions of the ledger in one directory: found, levelled, signed by the hub's key."""

import pathlib
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.attestation import (
    DEFAULT_SECONDS,
    Form,
    Pointer,
    check_seconds,
    format_attestation,
    is_passed,
)
from ledger.attestation.envelope import format_bundle
from ledger.attestation.levels import challenge_of, levels_of
from ledger.attestation.standing import standing_before
from ledger.embedded.clock import posix_now
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.embedded.keys import load_hub_key, spki_of
from ledger.embedded.reading import history_rows, read_entry_at, read_statement_at
from ledger.entry import keyid_of, pae
from ledger.errors import NotFoundError, UsageError
from ledger.event import VerificationEvent, escape_name
from ledger.history import Row
from ledger.index import Index
from ledger.storage.directory import write_file_durably
from ledger.tlog.merkle import leaf_hash


def attest(
    ledger: ReadLedger,
    index: Index,
    name: str,
    revision: str | None,
    *,
    form: Form,
    key: ec.EllipticCurvePrivateKey,
    now: int,
    seconds: int = DEFAULT_SECONDS,
) -> tuple[bytes, dict[str, Any]]:
    """Return the signed attestation about the latest event of a revision, or of the model, and its facts.

    ``name`` and ``revision`` are as they are recorded; ``now`` and ``seconds``, how long it is good for, in (POSIX) seconds.

    Raises:
        NotFoundError: no published event of it. UsageError: the form has no words for it, or the ledger is in Rekor.
    """
    if ledger.accepted is not None:
        raise UsageError(
            "attestation",
            expected="a ledger with a log of its own",
            actual=f"one in Rekor ({ledger.config.log})",
            next_step="Hand out the Sigstore bundle of the event, which `hubledger proof` writes",
        )
    size = ledger.size()
    rows = history_rows(ledger, index, f"name:{name}", size=size)
    row, event = _latest(rows, name, revision)
    pointer = Pointer(
        hub=event.common.hub_id,
        revision=event.model.revision,
        ledger=event.common.ledger,
        leaf_index=row.leaf_index,
        leaf_hash=leaf_hash(read_entry_at(ledger, row.leaf_index, size)),
        policy_sha256=event.policy.sha256,
    )
    levels = _levels(ledger, index, row, event, rows=rows, size=size) if is_passed(event) else ()
    payload = format_attestation(
        event,
        pointer,
        form=form,
        levels=levels,
        made=_time(now),
        expires=_time(now + check_seconds(seconds)),
    )
    signature = key.sign(pae(payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    facts = {
        "model": event.model.name,
        "revision": event.model.revision,
        "form": str(form),
        "leafIndex": row.leaf_index,
        "passed": is_passed(event),
        "levels": list(levels),
        "expires": _time(now + seconds),
    }
    return format_bundle(payload, keyid=keyid_of(spki_of(key)), signature=signature), facts


def _levels(
    ledger: ReadLedger, index: Index, row: Row, event: VerificationEvent, *, rows: list[Row], size: int
) -> tuple[str, ...]:
    """Return what was enforced, by what the log says before the event in each of its histories."""
    said = {each.leaf_index: each.statement for each in rows}
    for link in event.common.histories:
        for at in index.history(link.key):
            if at < row.leaf_index and at not in said:
                said[at] = read_statement_at(ledger, at, size)
    standing = standing_before(event, row.leaf_index, pin=row.pin, statements=sorted(said.items()))
    return levels_of(
        event,
        by_pinned=standing.by_pinned(event),
        challenged_by=standing.challenged_by(event, challenge_of(event)),
    )


def _latest(rows: list[Row], name: str, revision: str | None) -> tuple[Row, VerificationEvent]:
    for row in reversed(rows):
        event = row.statement
        # The word of an observer is not the hub's, which is what an attestation is.
        if (
            isinstance(event, VerificationEvent)
            and event.common.recorded_by.role == "hub"
            and revision in (None, event.model.revision)
        ):
            return row, event
    raise NotFoundError(
        f"event of {name}" if revision is None else f"event of {name} at {revision}",
        expected="a recorded revision",
        actual="none such",
    )


def _time(posix: int) -> str:
    return datetime.fromtimestamp(posix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_attestation(
    directory: pathlib.Path,
    name: str,
    revision: str | None,
    *,
    form: Form,
    output: pathlib.Path,
    seconds: int = DEFAULT_SECONDS,
) -> dict[str, Any]:
    """Write the attestation about a revision of the ledger in ``directory``. Raises what ``attest`` raises, and ConfigError."""
    ledger = open_for_reading(directory)
    key = load_hub_key(directory / ledger.config.hub_key)
    index = Index(ledger.layout.index, read_only=True)
    try:
        data, facts = attest(
            ledger,
            index,
            escape_name(name),
            None if revision is None else escape_name(revision),
            form=form,
            key=key,
            now=posix_now(),
            seconds=seconds,
        )
    finally:
        index.close()
    write_file_durably(output.absolute(), data, mode=0o644)
    return facts | {"output": str(output)}
