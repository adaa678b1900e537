"""What an attestation may say was enforced: the values of ``verifiedLevels`` and ``properties``. Pure.

The levels are a closed set. How a change was challenged is one of the methods that ``challenge/v1`` has, and only the one that
the event itself names: whoever has proven the event needs to believe nobody else.
"""

from ledger.event import VerificationEvent, schemas

SIGNATURE_VERIFIED = "HUBLEDGER_SIGNATURE_VERIFIED"
SIGNER_PINNED = "HUBLEDGER_SIGNER_PINNED"
SIGNER_FIRST_USE = "HUBLEDGER_SIGNER_FIRST_USE"
CHANGE_CHALLENGED = {
    method: f"HUBLEDGER_CHANGE_CHALLENGED_{method.upper().replace('-', '_')}"
    for method in schemas.CHALLENGE_METHODS
}
"""Method of a challenge → the level."""
CHALLENGED_BY = "challenged-by-"
"""How the reason begins with which an accepted event names the method: ``challenged-by-totp``."""


def challenge_of(event: VerificationEvent) -> str | None:
    """Return the method by which an accepted change was challenged, as the event says; None where it names not exactly one."""
    if event.policy.decision != "accepted":
        return None
    named = {each.removeprefix(CHALLENGED_BY) for each in event.reasons if each.startswith(CHALLENGED_BY)}
    return next(iter(named & CHANGE_CHALLENGED.keys()), None) if len(named) == 1 else None


def levels_of(
    event: VerificationEvent, *, by_pinned: bool | None, challenged_by: str | None = None
) -> tuple[str, ...]:
    """Return what was verified of an event that passed, in order.

    ``by_pinned``: whether somebody pinned signed it, None where nobody was pinned before it. ``challenged_by``: the method by
    which the change was challenged, as the log's challenges say; it counts only where the event says the same.
    """
    levels = [SIGNATURE_VERIFIED]
    if event.policy.decision == "accepted":
        if challenged_by is not None and challenged_by == challenge_of(event):
            levels.append(CHANGE_CHALLENGED[challenged_by])
    elif by_pinned:
        levels.append(SIGNER_PINNED)
    elif by_pinned is None:
        levels.append(SIGNER_FIRST_USE)
    return tuple(levels)


def possible_levels(event: VerificationEvent, *, passed: bool) -> tuple[tuple[str, ...], ...]:
    """Return what the levels of this event can be, whatever stands before it in its histories.

    Whether its signer was pinned one event alone does not show, unless it is the first of each of its histories.
    """
    if not passed:
        return (("FAILED",),)
    first = not any(link.sequence for link in event.common.histories)
    known = (False, None) if first else (False, None, True)
    found = [levels_of(event, by_pinned=each, challenged_by=challenge_of(event)) for each in known]
    return tuple(dict.fromkeys(((SIGNATURE_VERIFIED,), *found)))
