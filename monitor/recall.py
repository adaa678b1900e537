"""Loads what is known of all that some entries are held against, and nothing else: most of it is on the disk."""

from collections.abc import Collection, Iterator

from monitor.known import Known
from monitor.reads import Read
from monitor.state import State


def recall(state: State, log: str, reads: Collection[Read]) -> Known:
    """Return what is known of a log, or ledger, that these entries are held against."""
    known = state.load(
        log,
        histories=(key for read in reads for key in read.histories),
        revisions=(read.revision for read in reads if read.revision is not None),
    )
    known.notes.update(state.notes(log, _notes(reads, known)))
    return known


def _notes(reads: Collection[Read], known: Known) -> Iterator[str]:
    """Yield the keys of the notes that are asked for.

    Those about policies only where a scope has one, and most ledgers have none. Those about signers only where somebody else
    signs a name than did before: who goes on signing it is known to sign there.
    """
    moved = {
        read.facts.name
        for read in reads
        if read.facts is not None and read.facts.signed_by != known.history(f"name:{read.facts.name}").signers
    }
    for read in reads:
        if read.facts is None or read.facts.name in moved:
            yield from read.notes
        if known.has_policies:
            yield from read.policies
