"""Histories: the statements about one key in order; pins and signer changes are derived here (section 2).

``HistoryState`` is a pure fold over a history's verification events. It is what a decision needs, and small
enough to be stored beside the head.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from ledger.errors import ChainError, MalformedError
from ledger.event import HistoryLink, Model, SignatureFact, Statement, UnknownStatement, VerificationEvent
from ledger.identity import (
    Identity,
    SignerFacts,
    canonical_identity,
    describe_change,
    display,
    signer_digest,
)


class Observed(Protocol):
    """What is known of a revision before anything is decided about it: a verification event, or facts for one."""

    @property
    def model(self) -> Model:
        """The revision."""
        ...

    @property
    def signatures(self) -> tuple[SignatureFact, ...]:
        """What was found about each signature."""
        ...

    @property
    def outcome(self) -> str:
        """The outcome of all of them."""
        ...


def verified_identities(event: Observed) -> tuple[Identity, ...]:
    """Return the canonical identities whose signatures verified, each once, in the event's order."""
    found = [
        canonical_identity(signature.signer)
        for signature in event.signatures
        if signature.outcome == "VERIFIED" and signature.signer is not None
    ]
    return tuple(dict.fromkeys(found))


def verified_digests(event: Observed) -> frozenset[bytes]:
    """Return the digests of the identities that count for a pin: those that verified, of a verified event."""
    if event.outcome != "VERIFIED":
        return frozenset()
    return frozenset(
        [
            signer_digest(signature.signer)
            for signature in event.signatures
            if signature.outcome == "VERIFIED" and signature.signer is not None
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryState:
    """What has been established in one history.

    ``pin``: identity digests of the first event that counts (None before there is one). ``last_repo``: the ``repo:``
    key of the last ``observed`` or ``accepted`` event (``""`` where it had none, None before the first).
    """

    pin: frozenset[bytes] | None = None
    last_repo: str | None = None

    def apply(self, event: VerificationEvent, verified: frozenset[bytes] | None = None) -> "HistoryState":
        """Return the state after an event whose decision is made; ``verified`` is its ``verified_digests``, if known."""
        if event.policy.decision not in ("observed", "accepted") or event.model.is_proposal:
            return self
        pin, last_repo = self.pin, repo_key(event) or ""
        if pin is None and event.trigger != "recheck":
            pin = (verified_digests(event) if verified is None else verified) or None
        if (pin, last_repo) == (self.pin, self.last_repo):
            return self
        return HistoryState(pin=pin, last_repo=last_repo)

    def format(self) -> bytes:
        """Format for the commit store, compactly, because there are two for every model.

        One byte: how many identities are pinned, plus one; 0 where there is no pin. Their digests in order. Then
        nothing where ``last_repo`` is None, else a line feed and it.
        """
        pin = b"\0" if self.pin is None else bytes((len(self.pin) + 1,)) + b"".join(sorted(self.pin))
        return pin if self.last_repo is None else pin + b"\n" + self.last_repo.encode()


INITIAL = HistoryState()


@lru_cache(maxsize=4096)
def parse_state(data: bytes) -> HistoryState:
    """Parse a stored state; the histories of one name and its repository mostly share theirs. Raises MalformedError."""
    count = max(0, data[0] - 1) if data else 0
    pin, rest = data[1 : 1 + 32 * count], data[1 + 32 * count :]
    state = HistoryState(
        pin=frozenset(pin[i : i + 32] for i in range(0, len(pin), 32)) if data[:1] > b"\0" else None,
        last_repo=rest[1:].decode("ascii", "replace") if rest else None,
    )
    # A digest that was cut short would be a pin that nobody meets, and one of nobody is no pin.
    if len(pin) != 32 * count or data[:1] == b"\1" or state.format() != data:
        raise MalformedError("history state", expected="a pin and a repository", actual=data.hex())
    return state


def repo_key(event: Observed) -> str | None:
    """Return the ``repo:`` history of an event, if it has one."""
    return None if event.model.repo_id is None else f"repo:{event.model.repo_id}"


def history_keys(name: str, repo_id: str | None) -> tuple[str, ...]:
    """Return the histories that a verification event belongs to, sorted."""
    return (f"name:{name}",) if repo_id is None else (f"name:{name}", f"repo:{repo_id}")


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last statement of a chain while it is walked."""

    sequence: int
    statement_sha256: bytes


def check_link(link: HistoryLink, head: ChainHead | None, *, where: str) -> None:
    """Check that a statement follows the head of a history.

    Raises:
        ChainError: a gap, a fork, or a statement that leaves the chain out.
    """
    wanted = place_after(head)
    if (link.sequence, link.previous) != wanted:
        raise ChainError(
            f"chain of {link.key} at {where}",
            expected=_place(*wanted),
            actual=_place(link.sequence, link.previous),
            next_step="A statement is missing, or two claim the same place: keep both and ask the hub",
        )


def place_after(head: ChainHead | None) -> tuple[int, bytes | None]:
    """Return the sequence and the previous statement of what follows a head; None: of what begins a history."""
    return (0, None) if head is None else (head.sequence + 1, head.statement_sha256)


def _place(sequence: int | None, previous: bytes | None) -> str:
    return f"number {sequence} after {previous.hex()[:16] + '…' if previous else 'nothing'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Who is pinned, and the leaf of the event that pinned them."""

    leaf_index: int
    signers: tuple[Identity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One statement of a history as people see it.

    ``change`` says in one line how the signer or the repository differs from the row before. ``pin`` is what the event was held against,
    or has just set; None where there is none yet, and for what is never held against one.
    """

    leaf_index: int
    statement: Statement | UnknownStatement
    signers: tuple[Identity, ...] = ()
    change: str | None = None
    pin: Pin | None = None

    @property
    def by_pinned(self) -> bool | None:
        """Whether somebody pinned signed it; None where nothing was pinned."""
        return None if self.pin is None else bool(set(self.pin.signers) & set(self.signers))


def derive_rows(statements: Iterable[tuple[int, Statement | UnknownStatement]], *, key: str) -> list[Row]:
    """Derive the rows of the history ``key``, in log order, and mark each change of signer.

    ``statements`` are those of ``key`` and, as pins depend on them, of every repository that it leads to.

    A row is marked when its verified signers differ from those of the last row that counted: another signer, none
    where there was one, or another repository under the name. Proposals and the words of observers are never marked
    and never counted.
    """
    rows: list[Row] = []
    pins = _Pins()
    standing = Standing()
    for leaf_index, statement in statements:
        if not isinstance(statement, VerificationEvent):
            if _is_in(statement, key):
                rows.append(Row(leaf_index=leaf_index, statement=statement))
            continue
        pin = pins.apply(leaf_index, statement)
        if not _is_in(statement, key):
            continue
        signers = verified_identities(statement) if statement.outcome == "VERIFIED" else ()
        change = None
        if counts(statement):
            standing, changes = standing.apply(statement)
            change = ". ".join(each.text for each in changes) or None
        rows.append(Row(leaf_index=leaf_index, statement=statement, signers=signers, change=change, pin=pin))
    return rows


def _is_in(statement: Statement | UnknownStatement, key: str) -> bool:
    return statement.common is not None and any(link.key == key for link in statement.common.histories)


def counts(event: VerificationEvent) -> bool:
    """Whether later events are compared with this one.

    Anybody may open a proposal, and an observer's statement never moves a head (section 2).
    """
    return not event.model.is_proposal and event.common.recorded_by.role == "hub"


class _Pins:
    """The pin of each history while statements are replayed: what ``HistoryState`` holds, with names to show."""

    def __init__(self) -> None:
        self._states: dict[str, HistoryState] = {}
        self._pins: dict[str, Pin] = {}

    def apply(self, leaf_index: int, event: VerificationEvent) -> Pin | None:
        """Return the pin that an event was held against, else the one that it sets."""
        if not counts(event):
            return None
        keys = history_keys(event.model.name, event.model.repo_id)
        held_against = self._of(keys)
        for key in keys:
            state = self._states.get(key, INITIAL)
            self._states[key] = state.apply(event)
            if state.pin is None and self._states[key].pin is not None:
                self._pins[key] = Pin(leaf_index=leaf_index, signers=verified_identities(event))
        return held_against or self._of(keys)

    def _of(self, keys: tuple[str, ...]) -> Pin | None:
        """The pin of the ``repo:`` history, else that of the ``name:`` history (section 2)."""
        return next((self._pins[key] for key in reversed(keys) if key in self._pins), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One way in which an event differs from the last that counted.

    ``kind`` is ``repository``, ``signer``, ``method`` (another way of signing) or ``lost`` (nobody could be verified);
    ``text`` says it in the words of every interface (section 7).
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the next event of a history is compared with: who signed last, as logged, and the repository.

    Logged facts rather than identities, so that whoever stores it may derive those better one day.
    """

    signers: tuple[SignerFacts, ...] = ()
    repo: str | None = None

    def apply(self, event: VerificationEvent) -> "tuple[Standing, tuple[Change, ...]]":
        """Return the standing after an event that ``counts``, and what changed with it."""
        return self.after(verified_signers(event), repo_key(event), outcome=event.outcome)

    def after(
        self, signers: tuple[SignerFacts, ...], repo: str | None, *, outcome: str
    ) -> "tuple[Standing, tuple[Change, ...]]":
        """Return the same after an event by its parts: its ``verified_signers``, its ``repo_key`` and its outcome."""
        changes = []
        if self.repo is not None and self.repo != repo:
            text = f"The name leads to another repository: {self.repo} → {repo or 'none'}"
            changes.append(Change(kind="repository", text=text))
        if self.signers and self.signers != signers:
            before = tuple([canonical_identity(each) for each in self.signers])
            now = tuple([canonical_identity(each) for each in signers])
            if not set(before) & set(now):
                text = f"Signer changed: {_signer_change(before[0], now, outcome)}"
                changes.append(Change(kind=_kind_of(before, now), text=text))
        if signers in ((), self.signers) and repo in (None, self.repo):
            return self, tuple(changes)
        return Standing(signers=signers or self.signers, repo=repo or self.repo), tuple(changes)


def verified_signers(event: Observed) -> tuple[SignerFacts, ...]:
    """Return the logged facts of ``verified_identities`` of a verified event: the first of each identity, in the same order."""
    if event.outcome != "VERIFIED":
        return ()
    verified = [
        each.signer for each in event.signatures if each.outcome == "VERIFIED" and each.signer is not None
    ]
    if len(verified) < 2:  # as mostly: nobody to compare with
        return tuple(verified)
    found: dict[Identity, SignerFacts] = {}
    for signer in verified:
        found.setdefault(canonical_identity(signer), signer)
    return tuple(found.values())


def _kind_of(before: tuple[Identity, ...], now: tuple[Identity, ...]) -> str:
    if not now:
        return "lost"
    same = {type(each) for each in before} & {type(each) for each in now}
    return "signer" if same else "method"


def _signer_change(before: Identity, now: tuple[Identity, ...], outcome: str) -> str:
    if now:
        return describe_change(before, now[0])
    what = "no longer signed" if outcome == "UNSIGNED" else "no signature that could be verified"
    return f"{what}; was {display(before)}"
