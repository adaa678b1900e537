"""Follows a ledger in Rekor v1 by the receipts that its hub publishes: each is proven, and each checkpoint held to its tree.

A Rekor v1 hands out entries one by one, so nobody can replay it, and nothing proves that a list of one key's entries is whole
(docs/guides/rekor.md). What can be followed is the hub's own listing. One look:

1. ask each log for its newest checkpoint, and hold it against those that were seen before;
2. ask the hub how many entries it has, and for the receipts of those that are new or were missing;
3. prove each: the hub's signature, the log's promise and body, inclusion, the signed checkpoint. Then hold that checkpoint
   against the newest of its tree. Only then is the statement looked at, as in any other ledger;
4. store what they say, and how far they were asked for, in one transaction.

What the hub leaves out of its listing is not seen here, unless a later statement of a history has it as its predecessor: then
the gap is ``chain-broken``.
"""

import hashlib
import pathlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.client.event_receipt import Placed, prove_places, read_event
from ledger.client.evidence import Misbehaviour
from ledger.encoding import parse_whole
from ledger.entry import pae
from ledger.errors import (
    InputError,
    LedgerError,
    NotFoundError,
    SignatureError,
    SourceError,
    StorageError,
    UnavailableError,
)
from ledger.log.fetch import Fetch, fetch_ahead
from monitor.accuse import accuse
from monitor.findings import OVER_BY_ITSELF, Finding, Kind
from monitor.growth import Growth
from monitor.known import Context
from monitor.logged import LoggedEntry
from monitor.looks import Look
from monitor.rekor import WAITING_SECONDS, RekorLedger
from monitor.state import Received, Routes, State
from monitor.statements import GONE, FetchedStatements

RUN_RECEIPTS = 256
"""Receipts of a run at most: what a crash asks for again, and what is in memory at once, at most 200 KB each."""
MAX_RECEIPT_BYTES = 4 << 20
"""An envelope, and up to sixteen places of it with their proofs."""
MAX_MISSING = 10_000
"""Receipts that may be missing before no further ones are asked for: a hub that lists what it does not show keeps us no longer."""
CLOCK_SLACK = 60
"""Seconds that a clock may go back, as when a tile log is followed."""


class ReceivedStatements:
    """A ``Finder`` of statements that came with their receipts; of others, which waited, the hub's service is asked."""

    def __init__(self, service: FetchedStatements) -> None:
        self.service = service
        self.fresh: dict[bytes, bytes] = {}

    def find(self, digests: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the statements that there are. Raises SourceError."""
        found = {each: self.fresh[each] for each in digests if each in self.fresh}
        others = [each for each in digests if each not in found]
        return found | (self.service.find(others) if others else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One number of the listing, proven: what was signed under it, and every place of it, the one that counts first."""

    number: int
    payload: bytes
    keyid: str
    places: Sequence[Placed]

    @property
    def digest(self) -> bytes:
        """What Rekor has of the statement."""
        return hashlib.sha256(pae(self.payload)).digest()


class ReceiptFollower:
    """Follows the listing of one hub. One thread at a time."""

    def __init__(
        self,
        context: Context,
        state: State,
        ledger: RekorLedger,
        *,
        statements: ReceivedStatements,
        service: Fetch,
        growth: Growth,
        routes: Routes,
        evidence: pathlib.Path,
        clock: Callable[[], float],
        stopping: Callable[[], bool] = lambda: False,
        progress: Callable[[int, int], None] = lambda _done, _size: None,
        past: Callable[[], int] = lambda: 0,
    ) -> None:
        self._log, self._context, self._state = context.log, context, state
        self._service, self._growth, self._routes, self._evidence = service, growth, routes, evidence
        self._clock, self._stopping, self._progress, self._past = clock, stopping, progress, past
        self._ledger, self._statements = ledger, statements
        self._new = 0

    def look(self) -> Look:
        """Look once at the logs and at all that the hub lists, and store what was found.

        Raises:
            StorageError: our own state is in doubt; nothing more may be written.
        """
        self._new, listed = 0, None
        now = self._now()
        try:
            problem = self._look_at_logs()
            if not problem:
                listed = self._list()
                problem = self._follow(listed)
            if not problem:
                self._new += self._ledger.settle(self._routes) + self._past()
                self._tell_missing(now)
                problem = self._shown_less(listed or 0)
        except StorageError:
            raise
        except LedgerError as error:
            problem = self._tell(error)
        if not problem:
            self._state.record.recovered(self._log, kinds=OVER_BY_ITSELF, now=now)
        self._state.checked(self._log, now=now, problem=problem)
        proven = self._state.receipts.proven(self._log)
        return Look(log=self._log, size=proven, target=listed, new_findings=self._new, problem=problem)

    def _now(self) -> int:
        now, latest = int(self._clock()), self._state.clock()
        if now < latest - CLOCK_SLACK:
            self._report(
                Kind.CLOCK_BACKWARDS,
                f"The clock of this machine says {latest - now} seconds less than it did before: set it right, or the times "
                "in this monitor's record mean nothing.",
                about=str(latest),
            )
        self._state.note_time(now)
        return now

    # 1. The logs

    def _look_at_logs(self) -> str:
        """Hold the newest checkpoint of each log against those before it; returns why nothing more may be looked at."""
        stale = ""
        for order, shard in enumerate(self._context.trust.shards):
            if not shard.keys:  # it only holds its place: nothing that is said to be from it verifies
                continue
            shown = self._growth.newest(order)
            found = self._growth.hold(shown)
            if found is not None:
                return self._tamper(found)
            tree = shown.checkpoint
            if tree.size < self._growth.largest(tree.origin):
                stale = self._stale(tree.origin, tree.size, self._growth.largest(tree.origin))
        return stale

    def _stale(self, origin: str, size: int, most: int) -> str:
        return self._report(
            Kind.LOG_STALE,
            f"The log {origin} shows size {size}, and it has signed {most} before: an old copy or a cache answers; ask its "
            "operator, and do not take what it shows for the newest.",
        )

    # 2. The listing

    def _list(self) -> int:
        """Return how many entries the hub says it has. Raises SourceError: it cannot be asked, or is another ledger's."""
        said = self._statements.service.said()
        try:
            listed = parse_whole(said.get("size"), what="size of the listing")
        except InputError as error:
            raise SourceError(
                f"listing of {self._log}", expected="a size in /v1/log", actual=error.finding
            ) from error
        self._state.receipts.list_up_to(self._log, listed)
        return listed

    def _shown_less(self, listed: int) -> str:
        most = self._state.receipts.listed(self._log)
        if listed >= most:
            return ""
        return self._report(
            Kind.LOG_STALE,
            f"The hub of {self._log} lists {listed} entries, and it listed {most} before: an old copy answers, or entries are "
            "held back; ask the hub.",
            about="listing",
        )

    def _follow(self, listed: int) -> str:
        again = sorted(each for each in self._state.receipts.missing(self._log) if each < listed)
        for start in range(0, len(again), RUN_RECEIPTS):
            if problem := self._run(again[start : start + RUN_RECEIPTS]):
                return problem
        while (asked := self._state.receipts.asked(self._log)) < listed:
            self._progress(asked, listed)
            if self._stopping():
                return "stopped before the end of the listing was reached"
            self._check_missing(listed)
            if problem := self._run(range(asked, min(listed, asked + RUN_RECEIPTS))):
                return problem
        self._progress(listed, listed)
        return ""

    def _check_missing(self, listed: int) -> None:
        missing = self._state.receipts.asked(self._log) - self._state.receipts.proven(self._log)
        if missing >= MAX_MISSING:
            raise SourceError(
                f"receipts of the {listed} entries of {self._log}",
                expected=f"less than {MAX_MISSING} that are missing",
                actual=missing,
                next_step="Ask the hub why it lists entries that it shows no receipts of",
            )

    # 3. Receipts

    def _run(self, numbers: Sequence[int]) -> str:
        """Prove some receipts and store what they say; returns why not."""
        names = {number: f"v1/entries/{number}/bundle" for number in numbers}
        fetch = fetch_ahead(self._service, dict.fromkeys(names.values(), MAX_RECEIPT_BYTES))
        receipts: list[Receipt] = []
        findings: list[Finding] = []
        for number, name in names.items():
            try:
                data = fetch_receipt(fetch, name)
                if data is not None:
                    receipts.append(self._prove(number, data))
            except (SourceError, StorageError):
                raise
            except LedgerError as error:  # of what the hub sent, which is its word alone
                findings.append(self._unproven(number, error.finding))
        for receipt in receipts:
            for place in receipt.places:
                found = self._growth.hold(place.checkpoint)
                if found is not None:
                    return self._tamper(found)
        self._store(numbers, receipts, findings)
        return ""

    def _prove(self, number: int, data: bytes) -> Receipt:
        trust = self._context.trust
        event = read_event(parse_any_bundle(data), trust)
        places = prove_places(event, trust)
        return Receipt(number=number, payload=event.content.payload, keyid=event.keyid, places=places)

    def _unproven(self, number: int, why: str) -> Finding:
        return self._finding(
            Kind.RECEIPT_REFUSED,
            number,
            f"The receipt that the hub of {self._log} shows for its entry {number} does not hold ({why}): nothing proves that "
            "this entry is logged; ask the hub for one that does.",
        )

    def _store(self, numbers: Sequence[int], receipts: Sequence[Receipt], findings: list[Finding]) -> None:
        now = int(self._clock())
        known = self._state.logged.known(self._log, [each.digest for each in receipts])
        new: dict[bytes, Receipt] = {}
        for receipt in receipts:
            # Another number with the same statement: it stands in the place of the one that was accepted under it.
            if receipt.digest in known or receipt.digest in new:
                findings.append(self._unproven(receipt.number, "it is the receipt of another entry"))
            else:
                new[receipt.digest] = receipt
        self._statements.fresh = {digest: each.payload for digest, each in new.items()}
        try:
            folded = self._ledger.take([_logged(each, now) for each in new.values()])
        finally:
            self._statements.fresh = {}
        proven = {each.number for each in new.values()}
        self._new += self._state.receive(
            self._log,
            Received(
                asked=max(numbers) + 1,
                proven=sorted(proven),
                missing=[each for each in numbers if each not in proven],
                known=folded.known,
                findings=[*findings, *folded.findings],
                logged=folded.logged,
            ),
            routes=self._routes,
            now=now,
        )

    def _tell_missing(self, now: int) -> None:
        """Report the receipts that are missing longer than a hub's outbox may wait."""
        for number, since in self._state.receipts.missing(self._log).items():
            if now - since >= WAITING_SECONDS:
                finding = self._finding(
                    Kind.RECEIPT_MISSING,
                    number,
                    f"The hub of {self._log} lists an entry {number}, and for a day has shown no receipt that holds: nothing "
                    "proves that it is logged, and nobody can tell which model it is about; ask the hub for it.",
                )
                self._new += self._state.report(finding, routes=self._routes, now=now)

    # What is told

    def _finding(self, kind: Kind, number: int, text: str) -> Finding:
        return Finding(log=self._log, kind=kind, text=text, about=f"entry {number}", facts={"number": number})

    def _tamper(self, found: Misbehaviour) -> str:
        finding = accuse(found, log=self._log, folder=self._evidence)
        self._new += self._state.report(finding, routes=self._routes, now=int(self._clock()))
        return finding.text

    def _tell(self, error: LedgerError) -> str:
        """Report why the ledger could not be checked, in the class that it belongs to: none of these accuses."""
        match error:
            case UnavailableError() | NotFoundError():
                return self._report(
                    Kind.LOG_UNREACHABLE,
                    f"The log {self._log}, or its hub, could not be read ({error.finding}): what is new is unknown; see that "
                    "both can be reached from here.",
                )
            case SignatureError():
                return self._report(
                    Kind.LOG_KEY_REFUSED,
                    f"What the log {self._log} shows is not signed by a key of the trust file ({error.finding}): nothing "
                    "behind it was looked at; compare the log's keys with its publisher.",
                )
            case _:
                return self._report(
                    Kind.LOG_MALFORMED,
                    f"What the log {self._log} shows is not what it signed ({error.finding}): nothing of it was believed; ask "
                    "its operator.",
                )

    def _report(self, kind: Kind, text: str, *, about: str = "") -> str:
        finding = Finding(log=self._log, kind=kind, text=text, about=about)
        self._new += self._state.report(finding, routes=self._routes, now=int(self._clock()))
        return text


def _logged(receipt: Receipt, now: int) -> LoggedEntry:
    order, index = receipt.places[0].position
    return LoggedEntry(
        digest=receipt.digest, shard=order, leaf=index, keyid=receipt.keyid, state="missing", since=now
    )


def fetch_receipt(fetch: Fetch, name: str) -> bytes | None:
    """Return a receipt; None where the hub has none. Raises SourceError, LimitError."""
    try:
        return fetch(name, max_bytes=MAX_RECEIPT_BYTES)
    except NotFoundError:  # accepted and not logged yet, or dropped
        return None
    except SourceError as error:
        if error.actual == GONE:
            return None
        raise
