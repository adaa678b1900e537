"""What may be handed out, for those who only read: what the log says of withdrawals, and whose signers are held back.

Notes beside the evidence may be older than the log: they come back with an older copy.
"""

from collections.abc import Iterable

from ledger.digests import DigestIndex
from ledger.embedded.announcing import withdrawal_of
from ledger.embedded.committing import is_committed, names_somebody
from ledger.embedded.directory import ReadLedger
from ledger.embedded.reading import read_statement_at
from ledger.entry import Entry, parse_entry
from ledger.event import VerificationEvent, parse_statement
from ledger.event.digests import Use
from ledger.index import Index
from ledger.storage.evidence import Withdrawal
from ledger.storage.identities import IdentityKeys


def find_erasures(ledger: ReadLedger, digests: Iterable[bytes]) -> dict[bytes, Withdrawal]:
    """Return the first published withdrawal of each piece that has one.

    Asks the digest index, and the log itself for what the index does not mirror yet.

    Raises:
        CorruptError: the digest index cannot be read: nothing may be handed out.
    """
    size = ledger.size()
    wanted = set(digests)
    index = DigestIndex(ledger.layout.digests, read_only=True)
    try:
        mirrored = min(index.position(), size)
        erased = {
            sha256: [each.leaf_index for each in index.namings(sha256) if each.use is Use.ERASED]
            for sha256 in wanted
        }
    finally:
        index.close()
    found: dict[bytes, Withdrawal] = {}
    for sha256, leaves in erased.items():
        for leaf_index in (each for each in leaves if each < size):
            said = withdrawal_of(read_statement_at(ledger, leaf_index, size), sha256, leaf_index)
            if said is not None:
                found.setdefault(sha256, said)
    for leaf_index, entry in enumerate(ledger.read(mirrored, size, size=size), mirrored):
        parsed = parse_entry(entry)
        statement = parse_statement(parsed.payload) if isinstance(parsed, Entry) else None
        for sha256 in wanted - found.keys():
            if (said := withdrawal_of(statement, sha256, leaf_index)) is not None:
                found[sha256] = said
    return found


def holds_back(ledger: ReadLedger, event: VerificationEvent) -> bool:
    """Whether an event's bundles are not handed out: it, or another of its model, hides who signed.

    An event that knows of no signer holds no commitment, and its bundles may name one all the same.

    Raises:
        CorruptError: the keys, which say it, cannot be read.
    """
    if ledger.config.identity_mode == "committed" and not names_somebody(event):
        return True
    history = f"name:{event.model.name}"
    keys = IdentityKeys(ledger.layout.identities)
    if is_committed(event) or keys.holds_back(history):
        return True
    # The keys may have been erased or lost: the log still says that there were commitments.
    size = ledger.size()
    index = Index(ledger.layout.index, read_only=True)
    try:
        leaves = [each for each in index.history(history) if each < size]
    finally:
        index.close()
    others = (read_statement_at(ledger, each, size) for each in leaves)
    return any(isinstance(each, VerificationEvent) and is_committed(each) for each in others)
