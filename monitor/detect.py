"""Decides what of a log's entries is a finding. Pure: values in, values out; no clock, disk or network.

Entries come in log order, each already proven to be in the signed tree and read by ``monitor.reads``. ``Detector.apply``
holds one against what is known so far, a ``Known`` that the caller loads and stores.
"""

from collections.abc import Iterable, Iterator, Sequence

from ledger.encoding import Json, parse_base64
from ledger.entry import verify_entry
from ledger.errors import ChainError, LedgerError
from ledger.event import Common, HistoryLink, PlainStatement, UnknownStatement, schemas
from ledger.event.readable import readable_name
from ledger.history import ChainHead, Change, check_link, place_after
from ledger.identity import canonical_identity, display
from monitor.event_facts import EventFacts, seconds_of
from monitor.findings import Finding, Kind
from monitor.known import Context, Followed, Known
from monitor.policies import POLICY_BYTES, Rules
from monitor.reads import Read, load_key
from monitor.signers import parse_signers
from monitor.watched import signed_by_watched
from monitor.wording import CHANGES, advice, digests_of, event_facts, stood_before

LATE_SECONDS = 300
"""How far the recorder's clock may run ahead of the checkpoint that covers the event."""
EARLY_SECONDS = 86_400
"""How old an observation may be when it enters the log: a hub's outbox may wait a day for a log that was away."""


class Detector:
    """Folds the entries of one run into findings, and what is known into what is known afterwards."""

    def __init__(self, context: Context, known: Known) -> None:
        self._context, self._known = context, known
        self._rules = Rules(context, known)

    def run(self, reads: Iterable[Read]) -> list[Finding]:
        """Return the findings of consecutive entries, in log order."""
        return [found for read in reads for found in self.apply(read)]

    def apply(self, read: Read) -> Iterator[Finding]:
        """Yield what one entry gives, and remember what it says."""
        if read.problem is not None:
            yield self._finding(
                Kind.MALFORMED_ENTRY,
                read,
                f"Entry {read.leaf_index} cannot be read ({read.problem}): nobody can say which model it is about; "
                "ask the hub what it stands for.",
            )
            return
        if not read.is_statement:
            return
        refusal = self.refuse_key(read)
        if refusal is not None:
            yield refusal
            # What an unknown key says must not move a chain or a standing. The next key of a hub, which only the trust file
            # does not know yet, moves chains: else all that follows would be accused of a gap that is not there.
            if self._is_next_key(read):
                yield from self._chains(read)
            return
        yield from self._statement(read) if read.facts is None else self._event(read, read.facts)

    # Who signed the entry

    def refuse_key(self, read: Read) -> Finding | None:
        """Return the finding where the entry is not signed by a key that may sign there."""
        trust = self._context.trust
        announced = self._known.keys.get(read.keyid, {})
        try:
            observer = self._observer_key(read, announced)
            key = observer or trust.check_key(read.keyid, read.leaf_index, shard=self._context.shard).spki
            # A key id is the digest of its key, so what was verified before was verified by this very key.
            if read.key is None or read.key is not load_key(key):
                _verify(read, key)
        except LedgerError as error:
            return self._key_finding(read, error.finding)
        at: int = announced.get("at", 0)
        since: int = announced.get("from", at)
        here = self._context.position(read.leaf_index)
        if announced.get("state") == "revoked" and here >= since and at < here:
            return self._key_finding(read, f"the hub revoked that key from leaf {since} on")
        return None

    def _observer_key(self, read: Read, announced: dict[str, Json]) -> bytes | None:
        """Return the key that the log announced for an observer, where this is an observer's statement."""
        if announced.get("role") != "observer" or _role(read) != "observer":
            return None
        return parse_base64(announced["spki"], what="key of an observer")

    def _is_next_key(self, read: Read) -> bool:
        """Whether the log announced, by a key that may say so, that this key of the hub is added, and it signed this."""
        announced, trust, common = self._known.keys.get(read.keyid, {}), self._context.trust, read.common
        if common is None or (common.ledger, common.hub_id) != (trust.ledger, trust.hub):
            return False
        if (announced.get("state"), announced.get("role")) != ("added", "hub"):
            return False
        if any(key.keyid == read.keyid for key in trust.hub_keys):
            return False  # the trust file knows it, and says that it may not sign here
        try:
            _verify(read, parse_base64(announced["spki"], what="key of the hub"))
        except LedgerError:
            return False
        return True

    def _key_finding(self, read: Read, why: str) -> Finding:
        return self._finding(
            Kind.HUB_KEY_REFUSED,
            read,
            f"Entry {read.leaf_index} is not signed by a key that may sign there ({why}): believe nothing in it, and ask "
            "the hub whether the key is its own.",
            facts={"keyid": read.keyid},
        )

    # What the entry says

    def _statement(self, read: Read) -> Iterator[Finding]:
        """Yield what anything but a verification event gives."""
        statement, common = read.statement, read.common
        if common is None:
            yield self._of_another(read, Kind.UNKNOWN_ENTRY, "no ledger")
            return
        if (foreign := self._foreign(read, common.ledger, common.hub_id)) is not None:
            yield foreign
            return
        if isinstance(statement, UnknownStatement):
            yield self._finding(
                Kind.UNKNOWN_ENTRY,
                read,
                f"Entry {read.leaf_index} is of a kind that this version does not know ({statement.reason}): update "
                "hubledger before you rely on the histories that it belongs to.",
                facts={"histories": list(read.histories)},
            )
        yield from self._chains(read)
        if isinstance(statement, PlainStatement):
            yield from self._plain(read, statement, common)

    def _foreign(self, read: Read, ledger: str, hub: str) -> Finding | None:
        trust = self._context.trust
        if (ledger, hub) == (trust.ledger, trust.hub):
            return None
        return self._of_another(read, Kind.MALFORMED_ENTRY, f"{ledger} of {hub}")

    def _of_another(self, read: Read, kind: Kind, whose: str) -> Finding:
        trust = self._context.trust
        return self._finding(
            kind,
            read,
            f"Entry {read.leaf_index} is of {whose}, not of {trust.ledger} of {trust.hub}: it says nothing about this "
            "ledger; ask the hub how it came here.",
        )

    def _plain(self, read: Read, statement: PlainStatement, common: Common) -> Iterator[Finding]:
        match statement.predicate_type:
            case schemas.HUB_KEY:
                yield from self._hub_key(read, statement)
            case schemas.IDENTITY_POLICY if common.recorded_by.role == "hub":
                yield from self._rules.policy(read.leaf_index, statement.fields, common)
            case schemas.CHALLENGE if common.recorded_by.role == "hub":
                yield from self._rules.challenge(read.leaf_index, statement.fields, common)

    def _chains(self, read: Read) -> Iterator[Finding]:
        """Hold a statement of the hub against the heads of its histories, and move them."""
        if _role(read) != "hub":
            return
        for key, sequence, previous in read.links:
            known = self._known.history(key)
            try:
                saw_beginning = known.head is not None or not self._context.first or not sequence
                # Compared here first: twice for every event, of which hardly one breaks a chain.
                if saw_beginning and (sequence, previous) != place_after(known.head):
                    link = HistoryLink(key=key, sequence=sequence, previous=previous)
                    check_link(link, known.head, where=f"leaf {read.leaf_index}")
            except ChainError as error:
                yield self._finding(
                    Kind.CHAIN_BROKEN,
                    read,
                    f"The history {readable_name(key)} has a gap or a fork at leaf {read.leaf_index} ({error.finding}): a statement "
                    "was left out or made twice; keep what you have and ask the hub in public.",
                    about=key,
                )
            # After a break the chain goes on from here, or every later statement would be a finding again.
            if sequence is not None:
                self._set(
                    key,
                    known._replace(head=ChainHead(sequence, read.sha256)),
                )

    # Verification events

    def _event(self, read: Read, event: EventFacts) -> Iterator[Finding]:
        foreign = self._foreign(read, event.ledger, event.hub)
        if foreign is not None:
            yield foreign
            return
        yield from self._chains(read)
        if self._context.watched:
            yield from signed_by_watched(self._context, read)
        yield from self._times(read, event)
        yield from self._content(read, event)
        if event.role != "hub":
            yield self._observed(read, event)
        if event.counts:
            yield from self._signers(read, event)

    def _observed(self, read: Read, event: EventFacts) -> Finding:
        """What an observer recorded: of a model that the hub records, the hub is missed where it says nothing itself."""
        hub_records = self._known.history(f"name:{event.name}").head is not None
        missed = hub_records and event.revision_key not in self._known.revisions
        who = f"{event.recorder}, an observer, recorded {event.shown_name} at {event.revision}"
        return self._finding(
            Kind.HUB_EXPECTED if missed else Kind.OBSERVER,
            read,
            f"{who}, which the hub has not, though it records this model: ask the hub why it was left out."
            if missed
            else f"{who}, and not the hub: compare with what the hub says about this revision.",
            model=event.name,
        )

    def _signers(self, read: Read, event: EventFacts) -> Iterator[Finding]:
        key = f"name:{event.name}"
        known = self._known.history(key)
        signers, repo = known.signers, known.repo
        changes: tuple[Change, ...] = ()
        if (event.signed_by, event.repo) != (signers, repo):
            standing, changes = known.standing.after(
                parse_signers(event.signed_by), event.repo, outcome=event.outcome
            )
            signers, repo = event.signed_by or signers, standing.repo
        yield from self._changes(read, event, changes)
        if not known.signers and signers and self._saw_beginning(key, event):
            yield self._first_signer(read, event)
        yield from self._rules.event(
            read.leaf_index, event, changes, signed_before=event.signed_by == known.signers
        )
        now = Followed(
            head=known.head,
            signers=signers,
            repo=repo,
            before=stood_before(known, event, changes),
            policy=event.policy[:POLICY_BYTES],
        )
        if now != known:
            self._set(key, now)

    def _changes(self, read: Read, event: EventFacts, changes: Sequence[Change]) -> Iterator[Finding]:
        for change in changes:
            yield self._finding(
                CHANGES[change.kind],
                read,
                f"{event.shown_name} at {event.revision}: {change.text}. {advice(change.kind)}",
                model=event.name,
                signers=digests_of(parse_signers(event.signed_by)) if change.kind != "repository" else (),
                facts=event_facts(event),
            )

    def _first_signer(self, read: Read, event: EventFacts) -> Finding:
        signers = parse_signers(event.signed_by)
        who = ", ".join(display(canonical_identity(each)) for each in signers)
        return self._finding(
            Kind.FIRST_SIGNER,
            read,
            f"{event.shown_name} at {event.revision}: first signed by {who}. Later versions are compared with "
            "this signer: see that it is the right one.",
            model=event.name,
            signers=digests_of(signers),
            facts=event_facts(event),
        )

    def _saw_beginning(self, key: str, event: EventFacts) -> bool:
        """Whether nobody can have signed this history before following began."""
        return not self._context.first or any(link[:2] == (key, 0) for link in event.links)

    def _content(self, read: Read, event: EventFacts) -> Iterator[Finding]:
        key, sha256 = event.revision_key, event.manifest
        before = self._known.revisions.get(key)
        if before is not None and before != sha256:
            yield self._finding(
                Kind.REVISION_CHANGED,
                read,
                f"{event.shown_name} at {event.revision}: the files are others than when this revision was recorded "
                f"before (manifest {before.hex()[:16]}… then, {sha256.hex()[:16]}… now). A revision cannot change: compare "
                "your copy with both.",
                model=event.name,
                facts={"manifestBefore": before.hex(), "manifest": sha256.hex()},
            )
        if event.role == "hub":  # what an observer says is compared, and never the measure
            self._known.revisions[key] = self._known.new_revisions[key] = sha256

    def _times(self, read: Read, event: EventFacts) -> Iterator[Finding]:
        at = seconds_of(event.verified_at)
        after, before = self._context.not_after, self._context.not_before
        if at is None:
            off = "which is no day of any calendar"
        elif after is not None and at > after + LATE_SECONDS:
            off = f"{at - after} seconds after the checkpoint that covers it"
        elif before is not None and event.trigger != "backfill" and at < before - EARLY_SECONDS:
            off = f"{before - at} seconds before the checkpoint that does not have it yet"
        else:
            return
        yield self._finding(
            Kind.TIME_OUTSIDE,
            read,
            f"{event.shown_name} at {event.revision} says that it was verified at {event.verified_at}, {off}: do not "
            "rely on its time, and ask the hub about its clock.",
            model=event.name,
        )

    def _hub_key(self, read: Read, statement: PlainStatement) -> Iterator[Finding]:
        fields = statement.fields
        keyid, state = fields["keyid"], fields["state"]
        before = self._known.keys.get(keyid, {})
        kept: dict[str, Json] = {
            "state": state,
            "role": fields["role"],
            "spki": fields["spki"],
            "at": self._context.position(read.leaf_index),
        }
        if "from" in fields:
            kept["from"] = self._context.position(fields["from"])
        # A key that was revoked stays so, whatever is announced about it later.
        self._known.keys[keyid] = before if before.get("state") == "revoked" else kept
        trusted = any(key.keyid == keyid for key in self._context.trust.hub_keys)
        if state == "added" and trusted:
            return
        yield self._finding(
            Kind.HUB_KEY_CHANGED,
            read,
            f"The log says that key {keyid[:16]}… of {fields['holder']} ({fields['role']}) is {state}: compare with the hub's "
            "own word, then change your trust file.",
            facts={"keyid": keyid, "state": state, "role": fields["role"]},
        )

    def _set(self, key: str, followed: Followed) -> None:
        self._known.histories[key] = followed
        self._known.changed.add(key)

    def _finding(
        self,
        kind: Kind,
        read: Read,
        text: str,
        *,
        model: str | None = None,
        about: str = "",
        signers: tuple[str, ...] = (),
        facts: dict[str, Json] | None = None,
    ) -> Finding:
        return self._context.found(
            kind, read.leaf_index, text, model=model, about=about, signers=signers, facts=facts
        )


def _verify(read: Read, spki: bytes) -> None:
    """Check the signature of an entry by the key of its key id. Raises SignatureError, ConfigError."""
    if read.entry is not None:
        verify_entry(read.entry, {read.keyid: load_key(spki)})


def _role(read: Read) -> str | None:
    if read.facts is not None:
        return read.facts.role
    return None if read.common is None else read.common.recorded_by.role
