"""What is done when a log has contradicted itself: the evidence becomes a file, and then a finding that names it."""

import pathlib

from ledger.client.evidence import Misbehaviour, format_evidence
from ledger.storage.directory import write_file_durably
from monitor.findings import Finding, Kind


def accuse(found: Misbehaviour, *, log: str, folder: pathlib.Path) -> Finding:
    """Write the evidence into a folder and return the finding: one without its file would accuse without proof.

    The name of the file follows from what is in it, so that the same contradiction is one file, however often it is found.
    """
    older, newer = found.older.checkpoint, found.newer.checkpoint
    name = f"{log}-{older.size}-{newer.size}-{newer.root_hash.hex()[:16]}.json"
    path = folder / name
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file_durably(path, format_evidence(found), mode=0o644)
    return Finding(
        log=log,
        kind=Kind.LOG_FORKED,
        text=f"The log {log} contradicts itself: it signed two histories, at sizes {older.size} and {newer.size}. "
        f"Rely on nothing that it shows, and publish {name}: `hubledger verify --evidence` convinces anybody with it.",
        about=f"{older.size} {older.root_hash.hex()} {newer.size} {newer.root_hash.hex()}",
        facts={"evidence": str(path), "sizes": [older.size, newer.size]},
    )
