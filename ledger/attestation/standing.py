"""What the statements before an event say of its signer: whether somebody pinned them, and how a change was challenged. Pure.

Only what is in the log counts: ``identity-policy/v1`` pins, after a ``challenge/v1`` that was opened, answered in time by who may,
and used once. Where the log leaves a doubt, nobody is said to be pinned, and nothing to be challenged. ``monitor.policies`` makes
findings of the same rules; this decides what a hub may say of itself.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ledger.encoding import Json
from ledger.event import Common, PlainStatement, Statement, UnknownStatement, VerificationEvent, schemas
from ledger.history import Pin, verified_digests
from ledger.identity import display, identity_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who stood for a model before an event: identities by their hexadecimal digest.

    ``pinned``: None where nobody was pinned yet. ``agreed``: whom a policy named after a challenge, and the method of that.
    """

    pinned: frozenset[str] | None
    agreed: Mapping[str, str]

    def by_pinned(self, event: VerificationEvent) -> bool | None:
        """Whether somebody pinned signed it; None where nobody was pinned."""
        return None if self.pinned is None else bool(self.pinned & _signers(event))

    def challenged_by(self, event: VerificationEvent, named: str | None) -> str | None:
        """Return the method that the event names, if a signer of it was agreed on by that; else None."""
        return named if named in {self.agreed.get(each) for each in _signers(event)} else None


def _signers(event: VerificationEvent) -> frozenset[str]:
    return frozenset(each.hex() for each in verified_digests(event))


def standing_before(
    event: VerificationEvent,
    leaf_index: int,
    *,
    pin: Pin | None,
    statements: Iterable[tuple[int, Statement | UnknownStatement]],
) -> Standing:
    """Return who stood before the event at ``leaf_index``.

    ``pin``: whom its first use pinned. ``statements``: those of the event's histories, in log order, with their leaves.
    """
    first = None if pin is None or pin.leaf_index >= leaf_index else pin
    fold = _Fold({link.key for link in event.common.histories}, event.verified_at)
    for at, statement in statements:
        if at >= leaf_index:
            break
        if first is not None and at >= first.leaf_index:
            fold.first_use(first)
            first = None
        if isinstance(statement, UnknownStatement):
            if statement.common is not None and statement.common.recorded_by.role != "hub":
                continue  # an observer's word counts for nothing here, whatever it is
            # A later writer knows something here that we do not: who is pinned cannot be said (docs/spec/event.md).
            return Standing(pinned=frozenset(), agreed={})
        fold.apply(statement)
    if first is not None:
        fold.first_use(first)
    return fold.standing()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Challenge:
    """A challenge as it was opened; ``method`` once it was answered as it must be, ``ended`` when nothing may follow."""

    histories: frozenset[str]
    policy: Json
    change: Json
    expires: Json
    method: str | None = None
    ended: bool = False

    @classmethod
    def of(cls, fields: Mapping[str, Json], common: Common) -> "_Challenge":
        """Return what a step is about."""
        return cls(
            histories=frozenset(link.key for link in common.histories),
            policy=fields["policySha256"],
            change=fields.get("changeSha256"),
            expires=fields.get("expiresAt"),
        )


class _Fold:
    """Follows policies and challenges of these histories, up to a time by the hub's clock."""

    def __init__(self, scopes: set[str], until: str) -> None:
        self._scopes, self._until = scopes, until
        self._pinned: dict[str, str | None] | None = None  # with the words for whom an event pinned
        self._agreed: dict[str, dict[str, str]] = {}  # of the newest policy of each scope
        self._challenges: dict[str, _Challenge] = {}

    def standing(self) -> Standing:
        if self._pinned is None:
            return Standing(pinned=None, agreed={})
        agreed = {who: how for each in self._agreed.values() for who, how in each.items()}
        left = {who: how for who, how in agreed.items() if who in self._pinned}
        return Standing(pinned=frozenset(self._pinned), agreed=left)

    def first_use(self, pin: Pin) -> None:
        if self._pinned is None:  # else a policy had settled who signs
            self._pinned = {identity_digest(each).hex(): display(each) for each in pin.signers}

    def apply(self, statement: Statement) -> None:
        if not isinstance(statement, PlainStatement) or statement.common is None:
            return
        if statement.common.recorded_by.role != "hub":
            return
        if statement.predicate_type == schemas.CHALLENGE:
            self._step(statement.fields, statement.common)
        elif statement.predicate_type == schemas.IDENTITY_POLICY:
            self._policy(statement.fields, {link.key for link in statement.common.histories})

    # Challenges

    def _step(self, fields: Mapping[str, Json], common: Common) -> None:
        name, state = fields["challengeId"], fields["state"]
        opened = self._challenges.get(name)
        step = _Challenge.of(fields, common)
        if state == "opened" and opened is None:
            self._challenges[name] = step
        elif opened is not None and state == "answered" and self._counts(opened, step, fields, common):
            self._challenges[name] = replace(opened, method=fields["method"])
        else:  # cancelled, expired, or out of order: it carries nothing any more
            self._challenges[name] = replace(opened or step, method=None, ended=True)

    def _counts(
        self, opened: _Challenge, step: _Challenge, fields: Mapping[str, Json], common: Common
    ) -> bool:
        if opened.ended or opened.method is not None or "method" not in fields or "answeredBy" not in fields:
            return False
        if (step.histories, step.policy, step.change) != (opened.histories, opened.policy, opened.change):
            return False
        if opened.expires is not None and common.recorded_at > opened.expires:
            return False
        return fields["method"] != "old-signer" or self._is_pinned(fields["answeredBy"])

    def _is_pinned(self, who: Json) -> bool:
        words = [word for pair in (self._pinned or {}).items() for word in pair if word is not None]
        return any(_says(who, word) for word in words)

    # Policies

    def _policy(self, fields: Mapping[str, Json], histories: set[str]) -> None:
        scope = fields["scope"]
        if scope not in self._scopes or scope not in histories:
            return
        method, listed = self._use(fields, scope), fields.get("identities")
        named = listed if isinstance(listed, list) else []
        self._drop(fields["change"], named, known=isinstance(listed, list))
        self._agreed[scope] = {}
        # Nobody need be asked where nobody stood before.
        counts = (method is not None or self._pinned is None) and fields["effectiveAt"] <= self._until
        if not counts or not named or fields["change"] in ("unpin", "revoke"):
            return
        self._pinned = {**dict.fromkeys(named), **(self._pinned or {})}
        if method is not None:
            self._agreed[scope] = dict.fromkeys(named, method)

    def _drop(self, change: Json, named: list[Json], *, known: bool) -> None:
        """Forget whom a policy takes out: at once, and whether or not anybody was asked."""
        if change == "pin" or self._pinned is None:
            return
        if change in ("unpin", "revoke"):
            left = [each for each in self._pinned if known and each not in named]
        else:
            left = [each for each in self._pinned if each in named]
        self._pinned = {each: self._pinned[each] for each in left}

    def _use(self, fields: Mapping[str, Json], scope: Json) -> str | None:
        """Return the method of the challenge that carries a policy, and use it up; None where none does."""
        name = str(fields.get("challengeId", ""))
        challenge = self._challenges.get(name)
        if challenge is None or challenge.ended or challenge.method is None:
            return None
        policies = (fields["policySha256"], fields.get("previousPolicySha256"))
        # A history that is not read here could have used it before.
        if scope not in challenge.histories or not challenge.histories <= self._scopes:
            return None
        if challenge.policy not in policies:
            return None
        self._challenges[name] = replace(challenge, ended=True)
        return challenge.method


def _says(text: Json, word: str) -> bool:
    """Whether a text is this word, or its overflow form."""
    if isinstance(text, dict):
        return bool(text["sha256"] == hashlib.sha256(word.encode()).hexdigest())
    return bool(text == word)
