"""Decides about what the log says of its own rules: policies, challenges, and signers that must not be used. Pure.

A hub may change who is expected to sign, and it must say so in an ``identity-policy/v1``, after a ``challenge/v1`` that the
right party answered. Documents behind digests are never read here: what counts is what the log says in its own entries.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.attestation.levels import CHALLENGED_BY
from ledger.encoding import Json
from ledger.event import Common, PlainStatement, Statement, UnknownStatement, schemas
from ledger.event.readable import readable_name
from ledger.history import Change
from ledger.identity import canonical_identity, display, identity_digest
from monitor.event_facts import EventFacts, seconds_of
from monitor.findings import Finding, Kind
from monitor.known import Context, Known

MAX_NAMESPACES = 8
"""Namespaces of one signer that are remembered and told: then it is known to sign for many."""
MAX_IDENTITIES = 256
"""Identities of one scope that are remembered. Of a scope with more, nobody is known to be pinned."""
POLICY_BYTES = 16
"""What is kept of a policy's digest for each model: nobody makes two that share so much."""


HUB = "hub:"
"""The scope of a hub's own policy."""
POLICY_NOTE = "policy:"
"""How the keys of notes about policies begin."""


def namespace_of(name: str) -> str:
    """Return the part of a model's name before its first slash, empty where it has none."""
    namespace, slash, _ = name.partition("/")
    return namespace if slash else ""


def scopes_of(event: EventFacts) -> tuple[str, ...]:
    """Return the histories whose policy may decide about an event, the nearest first."""
    namespace = namespace_of(event.name)
    repo = () if event.repo is None else (event.repo,)
    return (*repo, f"name:{event.name}", *((f"namespace:{namespace}",) if namespace else ()), HUB)


def notes_of(said: EventFacts | Statement | UnknownStatement | None) -> tuple[str, ...]:
    """Return the keys of the notes, beside policies, that an event or another statement needs."""
    if isinstance(said, EventFacts):
        return tuple([f"signer:{each}" for each in said.signers])
    if not isinstance(said, PlainStatement) or "challengeId" not in said.fields:
        return ()
    if said.predicate_type in (schemas.IDENTITY_POLICY, schemas.CHALLENGE):
        return (f"challenge:{said.fields['challengeId']}",)
    return ()


def policies_of(said: EventFacts | Statement | UnknownStatement | None) -> tuple[str, ...]:
    """Return the keys of the notes about policies that an event or another statement needs."""
    if isinstance(said, EventFacts):
        return tuple([f"{POLICY_NOTE}{each}" for each in scopes_of(said)])
    if isinstance(said, PlainStatement) and said.predicate_type == schemas.IDENTITY_POLICY:
        return (f"{POLICY_NOTE}{said.fields['scope']}",)
    return ()


class Rules:
    """Folds what entries say about rules into findings and notes."""

    def __init__(self, context: Context, known: Known) -> None:
        self._context, self._known = context, known

    # What an event was decided by

    def event(
        self, at: int, event: EventFacts, changes: Sequence[Change], *, signed_before: bool
    ) -> Iterator[Finding]:
        """Yield what an event that counts breaks of the rules; ``changes`` are how it differs from the one before.

        ``signed_before``: the version before is signed by the same, so that they are known to sign in this namespace.
        """
        noted = self._policies(event)
        notes = [note for _, note in noted]
        if notes or self._context.revoked:
            yield from self._revoked(at, event, notes)
        yield from self._in_force(at, event, noted)
        if changes and event.decision == "accepted":
            yield from self._accepted(at, event, [note for scope, note in noted if scope != HUB])
        if not signed_before:
            yield from self._namespaces(at, event)

    def _policies(self, event: EventFacts) -> list[tuple[str, dict[str, Any]]]:
        """Return the policies that the log announced for an event, by their scope, the nearest first."""
        if not self._known.has_policies:
            return []
        found = [(scope, self._known.notes.get(f"{POLICY_NOTE}{scope}")) for scope in scopes_of(event)]
        return [(scope, note) for scope, note in found if note]

    def _revoked(self, at: int, event: EventFacts, notes: Sequence[dict[str, Any]]) -> Iterator[Finding]:
        by_log = {each for note in notes for each in note["revoked"]}
        for signer in event.signers:
            if signer in self._context.revoked or signer in by_log:
                who = "your settings" if signer in self._context.revoked else "the log"
                yield self._context.found(
                    Kind.REVOKED_SIGNER,
                    at,
                    f"{event.shown_name} at {event.revision} is signed by {signer}, which {who} revoked: do not "
                    "load it, and ask the publisher who has that signer's key.",
                    model=event.name,
                    about=signer,
                    signers=(signer,),
                )

    def _in_force(
        self, at: int, event: EventFacts, notes: Sequence[tuple[str, dict[str, Any]]]
    ) -> Iterator[Finding]:
        """Hold the policy that decided against the one in force: as the log announced, else as for the version before."""
        used = event.policy
        if notes:
            scope, note = notes[0]
            before = (seconds_of(event.verified_at) or 0) < note["effective"]
            wanted = note.get("previous", used.hex()) if before else note["policy"]
            if wanted == used.hex():
                return
            why = f"the one in force for {readable_name(scope)} is {wanted[:16]}…"
        else:
            last = self._known.history(f"name:{event.name}").policy
            if last is None or last == used[:POLICY_BYTES]:
                return
            why = f"the version before was decided by {last.hex()[:16]}…, and nothing in the log says that it changed"
        yield self._context.found(
            Kind.POLICY_DIFFERS,
            at,
            f"{event.shown_name} at {event.revision} was decided by policy {used.hex()[:16]}…; {why}: ask the hub which "
            "rules it goes by.",
            model=event.name,
            facts={"policy": used.hex()},
        )

    def _accepted(self, at: int, event: EventFacts, notes: Sequence[dict[str, Any]]) -> Iterator[Finding]:
        """A change is accepted only where a policy, after a challenge, names who signs now."""
        carrying = [
            note
            for note in notes
            if note["challenged"] and set(event.signers) & set(note["identities"] or event.signers)
        ]
        if carrying:
            yield from self._named(at, event, {note.get("method") for note in carrying})
            return
        if self._context.first:
            return  # what was answered before is not known
        yield self._context.found(
            Kind.CHALLENGE_SKIPPED,
            at,
            f"{event.shown_name} at {event.revision}: the hub accepted a change, and no policy in the log names who "
            "signs now after a challenge that was answered: ask the publisher whether they agreed.",
            model=event.name,
            signers=event.signers,
        )

    def _named(self, at: int, event: EventFacts, methods: set[str | None]) -> Iterator[Finding]:
        """Hold the method that an event names against those of the challenges that carry it: attestations repeat it."""
        named = sorted(
            each.removeprefix(CHALLENGED_BY) for each in event.reasons if each.startswith(CHALLENGED_BY)
        )
        if None in methods or set(named) <= methods:  # None: answered before that was remembered
            return
        yield self._context.found(
            Kind.CHALLENGE_SKIPPED,
            at,
            f"{event.shown_name} at {event.revision}: the hub says that the change was challenged by "
            f"{', '.join(named)}, and the log that it was answered by {', '.join(sorted(map(str, methods)))}: ask the "
            "publisher whether they agreed.",
            model=event.name,
            signers=event.signers,
        )

    def _namespaces(self, at: int, event: EventFacts) -> Iterator[Finding]:
        namespace = namespace_of(event.name)
        if not namespace:
            return
        for signer in event.signers:
            key = f"signer:{signer}"
            seen: list[Any] = self._known.notes.get(key, {}).get("namespaces", [])
            if namespace in seen or len(seen) >= MAX_NAMESPACES:
                continue
            self._known.note(key, {"namespaces": [*seen, namespace]})
            if seen:
                yield self._context.found(
                    Kind.SIGNER_SHARED,
                    at,
                    f"{signer}, who signed for {', '.join(map(readable_name, seen))} before, also signs {event.shown_name}, of "
                    f"{readable_name(namespace)}: a copy of somebody's model, or a key in more than one hand; ask whoever you know of them.",
                    model=event.name,
                    about=signer,
                    signers=(signer,),
                )

    # Policies

    def policy(self, at: int, fields: Mapping[str, Any], common: Common) -> Iterator[Finding]:
        """Yield what a change of the rules is, and remember the rules."""
        scope = fields["scope"]
        if all(link.key != scope for link in common.histories):
            yield self._context.found(
                Kind.MALFORMED_ENTRY,
                at,
                f"Entry {at} changes the policy of {readable_name(scope)} and stands in another history: whoever follows it does not see "
                "it; ask the hub.",
                about=scope,
            )
            return
        before: dict[str, Any] = self._known.notes.get(f"{POLICY_NOTE}{scope}", {})
        problem = self._unanswered(fields, scope)
        kind = _kind_of(fields, before=before, problem=problem, standing=self._standing(scope))
        yield self._context.found(kind, at, _policy_text(kind, fields, problem), facts=_policy_facts(fields))
        named = fields.get("previousPolicySha256")
        if before and named is not None and named != before["policy"]:
            yield self._context.found(
                Kind.POLICY_DIFFERS,
                at,
                f"Entry {at} says that policy {named[:16]}… was in force for {readable_name(scope)}; the log announced "
                f"{before['policy'][:16]}…: ask the hub which rules it went by in between.",
                about=scope,
                facts=_policy_facts(fields),
            )
        remembered = _remembered(fields, before, challenged=problem == "")
        if problem == "":
            key = f"challenge:{fields['challengeId']}"
            note = self._known.notes.get(key, {})
            self._known.note(key, {**note, "state": "used"})
            remembered |= {name: note[name] for name in ("method",) if name in note}
        self._known.note(f"{POLICY_NOTE}{scope}", remembered)
        self._known.has_policies = True

    def _unanswered(self, fields: Mapping[str, Any], scope: str) -> str | None:
        """Say why the challenge of a policy does not carry it: empty where it does, None where none is named."""
        if "challengeId" not in fields:
            return None
        note: dict[str, Any] = self._known.notes.get(f"challenge:{fields['challengeId']}", {})
        if not note:
            return "" if self._context.first else "it was never opened"
        if note["state"] == "used":
            return "it was used for another change before"
        if note["state"] != "answered":
            return f"it is {note['state']}, not answered"
        if not note["sound"]:
            return "its answer does not count"
        if scope not in note["histories"]:
            return f"it is not about {readable_name(scope)}"
        policies = (fields["policySha256"], fields.get("previousPolicySha256"))
        return "" if note["policy"] in policies else "it is about another policy"

    def _standing(self, scope: str) -> frozenset[str]:
        followed = self._known.history(scope)
        return frozenset(identity_digest(canonical_identity(each)).hex() for each in followed.last_agreed)

    # Challenges

    def challenge(self, at: int, fields: Mapping[str, Any], common: Common) -> Iterator[Finding]:
        """Yield what is wrong with a step of a challenge, and remember the step."""
        key = f"challenge:{fields['challengeId']}"
        before: dict[str, Any] = self._known.notes.get(key, {})
        problem = self._step_problem(fields, common, before)
        if problem:
            yield self._context.found(
                Kind.CHALLENGE_WRONG,
                at,
                f"Challenge {fields['challengeId']} is {fields['state']} at leaf {at}, {problem}: what rests on it was agreed "
                "to by nobody whom you know; ask the publisher.",
                about=fields["challengeId"],
                facts={"challengeId": fields["challengeId"], "state": fields["state"]},
            )
        if before and problem and fields["state"] == "opened":
            return  # a second opening may not change what the first was about
        about = before or {
            "policy": fields["policySha256"],
            "histories": [link.key for link in common.histories],
            **{to: fields[name] for name, to in (("changeSha256", "change"),) if name in fields},
            **({"expires": seconds_of(fields["expiresAt"]) or 0} if "expiresAt" in fields else {}),
        }
        method = {"method": fields["method"]} if "method" in fields else {}
        self._known.note(key, {**about, **method, "state": fields["state"], "sound": not problem})

    def _step_problem(self, fields: Mapping[str, Any], common: Common, before: dict[str, Any]) -> str:
        if fields["state"] == "opened":
            return "though it was opened before" if before else ""
        if not before:
            return "" if self._context.first else "though it was never opened"
        if before["state"] != "opened":
            return f"though it was {before['state']} before"
        if fields["state"] != "answered":
            return ""
        same = [link.key for link in common.histories] == before["histories"]
        if (
            not same
            or fields["policySha256"] != before["policy"]
            or fields.get("changeSha256") != before.get("change")
        ):
            return "about something else than what was opened"
        if "expires" in before and (seconds_of(common.recorded_at) or 0) > before["expires"]:
            return "after it had expired"
        return self._party_problem(fields, before["histories"])

    def _party_problem(self, fields: Mapping[str, Any], histories: Sequence[str]) -> str:
        """Say why who answered may not; of owners and of the hub's own second factor the log shows nothing to check."""
        method, who = fields.get("method"), fields.get("answeredBy")
        if method is None or who is None:
            return "and does not say by whom or how"
        if method != "old-signer":
            return ""
        stood = [self._known.history(key) for key in histories]
        old = [canonical_identity(each) for known in stood for each in known.last_agreed]
        words = [word for each in old for word in (display(each), identity_digest(each).hex())]
        if not old or any(_says(who, word) for word in words):
            return ""
        return "as the old signer by somebody who did not sign before"


_LOOSER = ("relax", "unpin", "rotate", "set")


def _kind_of(
    fields: Mapping[str, Any], *, before: dict[str, Any], problem: str | None, standing: frozenset[str]
) -> Kind:
    if problem:
        return Kind.CHALLENGE_SKIPPED
    change, named = fields["change"], fields.get("identities")
    if problem == "" or (change == "set" and not before and "previousPolicySha256" not in fields):
        return Kind.POLICY_ANNOUNCED
    if change == "pin" and isinstance(named, list) and standing and not standing & set(named):
        return Kind.POLICY_RELAXED  # it pins somebody else than who signed until now
    if change == "pin" and not before.get("identities"):
        return Kind.FIRST_K_CLOSED
    return Kind.POLICY_RELAXED if change in _LOOSER else Kind.POLICY_CHANGED


def _policy_text(kind: Kind, fields: Mapping[str, Any], problem: str | None) -> str:
    scope = readable_name(fields["scope"])
    what = f"The policy of {scope} changed ({fields['change']})"
    match kind:
        case Kind.CHALLENGE_SKIPPED:
            return f"{what} by challenge {fields['challengeId']}, but {problem}: ask the publisher whether they agreed."
        case Kind.POLICY_ANNOUNCED:
            return f"{what} as it should be announced; compare its digest with what the hub told you."
        case Kind.FIRST_K_CLOSED:
            return f"The signers of {scope} are settled from now on: compare them with those that you expect."
        case Kind.POLICY_RELAXED:
            return f"{what} without a challenge, to let in what was kept out before: ask the publisher whether they agreed."
        case _:
            return f"{what} without a challenge: ask the hub why nobody was asked."


def _policy_facts(fields: Mapping[str, Any]) -> dict[str, Json]:
    names = ("scope", "change", "policySha256", "previousPolicySha256", "challengeId")
    return {name: fields[name] for name in names if name in fields}


def _remembered(fields: Mapping[str, Any], before: dict[str, Any], *, challenged: bool) -> dict[str, Json]:
    """Return the rules of a scope after a change. ``identities`` is absent where nobody can be told to be pinned."""
    had, revoked = before.get("identities") or [], before.get("revoked", [])
    listed = fields.get("identities")
    named = listed if isinstance(listed, list) else []
    match fields["change"]:
        case "pin":
            pinned, revoked = [*had, *named], [each for each in revoked if each not in named]
        case "unpin":
            pinned = [each for each in had if each not in named]
        case "revoke":
            pinned, revoked = [each for each in had if each not in named], [*revoked, *named]
        case _:
            pinned = named
    pinned = list(dict.fromkeys(pinned))
    kept: dict[str, Json] = {
        "policy": fields["policySha256"],
        "effective": seconds_of(fields["effectiveAt"]) or 0,
        "identities": pinned if len(pinned) <= MAX_IDENTITIES else [],
        "revoked": list(dict.fromkeys(revoked))[-MAX_IDENTITIES:],
        "challenged": challenged,
    }
    previous = fields.get("previousPolicySha256", before.get("policy"))
    return kept if previous is None else {**kept, "previous": previous}


def _says(text: Any, word: str) -> bool:
    """Whether a text is this word, or its overflow form."""
    if isinstance(text, dict):
        return bool(text["sha256"] == hashlib.sha256(word.encode()).hexdigest())
    return bool(text == word)
