"""Where the statements of monitors come from: each monitor's address, and what was kept of it before.

A list that is too long for a statement is in parts beside it, ``<address>-parts/<SHA-256>``. Only those are asked for in which the model
would be; so the monitor hears the beginning of its digest, and not its name.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256

from ledger.client.proof_bundle import MAX_STATEMENTS, ProofBundle
from ledger.client.stated_files import (
    consistency_in,
    histories_of,
    parts_for,
    read_part,
    said,
    said_by,
)
from ledger.client.trust import TrustFile
from ledger.client.trust_source import open_source
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.vouching import Stated, Unheard
from ledger.errors import LedgerError
from ledger.log.fetch import Fetch
from ledger.monitor_statement import MAX_STATEMENT_BYTES
from ledger.open_findings import ListPart
from ledger.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.tlog.proof import parse_proof
from ledger.tlog.signed_note import parse_note

_ATTEMPTS = 3
"""How often a proof is asked for again because the log has grown while its links to the statements were fetched."""
_IN_FLIGHT = 8

_STRANGE_BYTES = 4096
"""What is kept of an answer that is no statement of the monitor's: enough for the check to say what it was."""

Connect = Callable[[str], Fetch]
AskForProof = Callable[[int, int | None], bytes]
"""``ask(leaf index, since)`` returns a proof of the leaf with a consistency proof from that size."""


def _connect(url: str) -> Fetch:
    return open_source(url, what="monitor")


def hear_monitors(
    trust: TrustFile, kept: Sequence[Stated] = (), *, connect: Connect = _connect
) -> tuple[Stated, ...]:
    """Return what each monitor that has an address says now, and what was kept of those that do not answer or say older things.

    A monitor that is away, or says something that its key did not sign, stops nothing here: the check says so.
    """
    asked = [each for each in trust.monitors if each.url is not None]
    with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="monitor") as pool:
        answers = list(pool.map(lambda each: _hear(each, connect), asked))
    heard = dict(zip(asked, answers, strict=True))
    found: list[Stated] = []
    for each in trust.monitors:
        answer = heard.get(each)
        now = None if answer is None or answer.unheard is not None else said_by(answer.note, each)
        if answer is not None and now is not None:
            found.append(answer)
        # What was kept and is newer stays: who stands between could answer with what the monitor said before its finding.
        found += [
            replace(old, consistency=None)
            for old in kept
            if (before := said_by(old.note, each)) is not None
            and (now is None or before.checked_at > now.checked_at)
        ]
        if answer is not None and now is None:
            found.append(replace(answer, note=answer.note[:_STRANGE_BYTES]))
    found.sort(key=lambda stated: stated.unheard is not None)  # silence never takes the place of a statement
    return tuple(dict.fromkeys(found))[:MAX_STATEMENTS]


def _hear(monitor: TrustedMonitor, connect: Connect) -> Stated:
    base, _, name = (monitor.url or "").rpartition("/")
    try:
        return Stated(note=connect(base)(name, max_bytes=MAX_STATEMENT_BYTES))
    except LedgerError as error:
        return Stated(unheard=Unheard(monitor=monitor.name, why=error.finding))


def link_statements(
    bundle: ProofBundle, stated: Sequence[Stated], trust: TrustFile, *, since: int | None, ask: AskForProof
) -> ProofBundle:
    """Return the bundle with the statements, each with the proof that links it to the checkpoint of the bundle's proof.

    What cannot be linked, for whatever reason, is handed over as it is: the check says that it is not linked.
    """
    sizes = {size for each in stated if (size := _size_of(each, trust)) is not None}
    try:
        bundle, links = _link(bundle, sizes, since, ask)
    except LedgerError:
        links = {}
    rows = (replace(each, consistency=links.get(_size_of(each, trust) or 0)) for each in stated)
    return replace(bundle, stated=tuple(rows))


def _link(
    bundle: ProofBundle, sizes: set[int], since: int | None, ask: AskForProof
) -> tuple[ProofBundle, dict[int, tuple[bytes, ...]]]:
    """Ask for the links. A busy log publishes between two requests: then all is asked for again under the newer checkpoint."""
    for _ in range(_ATTEMPTS):
        tree, index = _tree_of(bundle.proof)
        answers = {size: ask(index, size) for size in sorted(sizes) if 0 < size < tree.size}
        if all(_tree_of(each)[0] == tree for each in answers.values()):
            found = ((size, consistency_in(each)) for size, each in answers.items())
            return bundle, {size: link.hashes for size, link in found if link and link.size == size}
        bundle = replace(bundle, proof=ask(index, since))
    return bundle, {}


def _size_of(stated: Stated, trust: TrustFile) -> int | None:
    found = said(stated.note, trust)
    return None if found is None else found[1].size


def _tree_of(proof: bytes) -> tuple[Checkpoint, int]:
    """Return the tree and index that a proof speaks of; nothing is verified here, which is done when it is checked."""
    parsed = parse_proof(proof)
    return parse_checkpoint(parse_note(parsed.checkpoint_note).text), parsed.index


def add_parts(
    bundle: ProofBundle, trust: TrustFile, kept: Iterable[Stated] = (), *, connect: Connect = _connect
) -> ProofBundle:
    """Return the bundle with those parts of its monitors' lists in which its event's histories would be.

    What was kept is not asked for again. What does not come, or is no such part, is missing: the check says so, and why.
    """
    keys = histories_of(bundle.proof)
    wanted = {each: tuple(parts_for(each, trust, keys)) for each in bundle.stated}
    known = {sha256(part).digest(): part for each in (*kept, *bundle.stated) for part in each.parts}
    missing = {
        (monitor, part): None
        for some in wanted.values()
        for monitor, part in some
        if part.sha256 not in known
    }
    with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="monitor") as pool:
        answers = pool.map(lambda each: _fetch_part(each[0], each[1], connect), missing)
        heard = dict(zip(missing, answers, strict=True))
    known |= {part.sha256: data for (_, part), data in heard.items() if isinstance(data, bytes)}
    rows = [
        replace(each, parts=tuple(known[part.sha256] for _, part in some if part.sha256 in known))
        for each, some in wanted.items()
    ]
    silent = [Stated(unheard=each) for each in heard.values() if isinstance(each, Unheard)]
    return replace(bundle, stated=(*rows, *silent))


def _fetch_part(monitor: TrustedMonitor, part: ListPart, connect: Connect) -> bytes | Unheard:
    if monitor.url is None:
        why = "the trust file has no address of this monitor"
        return Unheard(monitor=monitor.name, why=why, part=part.sha256)
    base, _, name = monitor.url.rpartition("/")
    try:
        fetch = connect(base)
    except LedgerError as error:
        return Unheard(monitor=monitor.name, why=error.finding, part=part.sha256)
    return read_part(monitor, part, fetch, f"{name}-parts/{part.name}")
