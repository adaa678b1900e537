"""`hubledger verify --evidence`: check evidence that a log contradicts itself, as anybody can who has the log's key."""

from collections.abc import Sequence
from typing import Any

from cli.output import format_table, printable, wrap
from cli.verify_output import recipient_facts
from ledger.client.evidence import KIND, Misbehaviour
from ledger.client.reporting import Recipient, where_to_send


def as_facts(found: Misbehaviour, recipients: Sequence[Recipient]) -> dict[str, Any]:
    """Return what the evidence proves as JSON facts: the same as the text, and both signed checkpoints whole."""
    facts: dict[str, Any] = {
        "log": "MISBEHAVIOUR",
        "convicts": True,
        "origin": found.newer.checkpoint.origin,
        "form": "same-size" if found.prefix is None else "prefix",
        "checkpoints": [
            {
                "size": each.checkpoint.size,
                "rootHash": each.checkpoint.root_hash.hex(),
                "note": each.note.decode(),
            }
            for each in (found.older, found.newer)
        ],
    }
    if found.prefix is not None:
        facts["prefixRootHash"] = found.prefix.root.hex()
    return {**facts, "sendTo": [recipient_facts(each) for each in recipients], "exitCode": 0}


def as_text(found: Misbehaviour, recipients: Sequence[Recipient], *, columns: int | None = None) -> str:
    """Return a short table and what it means."""
    older, newer = found.older.checkpoint, found.newer.checkpoint
    rows = [("evidence file", "ok", KIND)]
    rows += [
        (
            f"{which} checkpoint",
            "ok",
            f"signed by a log key of the trust file; size {tree.size}, root {tree.root_hash.hex()}",
        )
        for which, tree in (("first", older), ("second", newer))
    ]
    if found.prefix is None:
        rows.append(("contradiction", "ok", f"two roots for one size, {older.size}"))
    else:
        rows += [
            (
                "consistency proof",
                "ok",
                f"the tree of {newer.size} began with root {found.prefix.root.hex()} at size {older.size}",
            ),
            ("contradiction", "ok", f"another root was signed at size {older.size}"),
        ]
    said = (
        f"The log {newer.origin} contradicts itself: it signed two histories. Only who holds its key can have made "
        "this file, and nothing that this log shows can be relied on until that is explained."
    )
    table = format_table(("CHECK", "RESULT", "AGAINST"), rows, columns=columns)
    lines = (said, f"  next: {where_to_send(recipients)}")
    return "\n".join(
        [table, "", "log: MISBEHAVIOUR", *(wrap(printable(line), columns=columns) for line in lines)]
    )
