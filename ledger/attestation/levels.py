"""What an attestation may say was enforced: the values of ``verifiedLevels`` and ``properties``. Pure."""

from ledger.event import VerificationEvent

SIGNATURE_VERIFIED = "HUBLEDGER_SIGNATURE_VERIFIED"
SIGNER_PINNED = "HUBLEDGER_SIGNER_PINNED"
SIGNER_FIRST_USE = "HUBLEDGER_SIGNER_FIRST_USE"
CHANGE_CHALLENGED = "HUBLEDGER_CHANGE_CHALLENGED"


def levels_of(
    event: VerificationEvent, *, by_pinned: bool | None, challenged_by: str | None = None
) -> tuple[str, ...]:
    """Return what was verified of an accepted event, in order.

    ``by_pinned``: whether somebody pinned signed it, None where nothing was pinned before it. ``challenged_by``: the method by
    which a change was challenged, as the challenge says, where the change was accepted.
    """
    levels = [SIGNATURE_VERIFIED]
    if by_pinned:
        levels.append(SIGNER_PINNED)
    elif event.policy.decision == "accepted":
        # How it was challenged is said where it is known; that it was is the hub's decision, which the log has.
        method = "" if challenged_by is None else f"_{challenged_by.upper().replace('-', '_')}"
        levels.append(f"{CHANGE_CHALLENGED}{method}")
    elif by_pinned is None:
        levels.append(SIGNER_FIRST_USE)
    return tuple(levels)


def may_say(event: VerificationEvent, levels: tuple[str, ...], *, passed: bool) -> bool:
    """Whether these can be the levels of this event. Whether the signer was pinned before, one event alone does not show."""
    if not passed:
        return levels == ("FAILED",)
    if levels in [levels_of(event, by_pinned=each) for each in (True, False, None)]:
        return True
    named = levels[1:2] and levels[1].startswith(f"{CHANGE_CHALLENGED}_")
    return bool(named) and event.policy.decision == "accepted" and levels[::2] == (SIGNATURE_VERIFIED,)
