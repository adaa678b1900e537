"""The model's own signatures, checked on this machine, against what the hub says it found. Pure.

A hub that says "verified" of a signature that does not hold here is caught; what cannot be checked here is said, and counts as
neither.
"""

from collections.abc import Iterator, Sequence

from ledger.client.result import Check, Failure
from ledger.event import SignatureFact, VerificationEvent
from ledger.identity import CommittedFacts, canonical_identity, display
from ledger.verification import Explanation

LOCAL_STEP = "signature, checked here"
_BROKEN = frozenset(("INVALID_SIGNATURE", "CONTENT_MISMATCH"))


def compare_signatures(
    local: Sequence[SignatureFact], explanations: Sequence[Explanation], event: VerificationEvent
) -> Iterator[Check | Failure]:
    """Yield a row for each signature here, and a failure where one contradicts the hub."""
    recorded = {each.bundle_sha256: each for each in event.signatures}
    if not local:
        yield _skipped(_none_here(event))
    for each in local:
        why = next((str(one) for one in explanations if one.bundle_sha256 == each.bundle_sha256), "")
        hub = recorded.get(each.bundle_sha256)
        if hub is None:
            yield _skipped(
                f"{each.location}: {each.outcome} here; the hub did not see it, so it does not count"
            )
        else:
            yield _compare(each, hub, why)


def _none_here(event: VerificationEvent) -> str:
    if not event.signatures:
        return "there is none, and the hub names none"
    one = "one" if event.outcome == "VERIFIED" else "none"
    return f"there is none beside the files: that {one} verified is the hub's word"


def _compare(here: SignatureFact, hub: SignatureFact, why: str) -> Check | Failure:
    if here.outcome == "VERIFIED" and here.signer is not None:
        shown = display(canonical_identity(here.signer))
        if hub.outcome != "VERIFIED" or hub.signer is None:
            return _skipped(f"{here.location}: by {shown}, and holds here; the hub recorded {hub.outcome}")
        committed = isinstance(hub.signer, CommittedFacts)
        if not committed and canonical_identity(hub.signer) != canonical_identity(here.signer):
            return _contradicts(
                f"by {display(canonical_identity(hub.signer))}, as the hub says", f"by {shown}"
            )
        return Check(step=LOCAL_STEP, passed=True, against=f"{here.location}: by {shown}, as the hub says")
    if here.outcome in _BROKEN and hub.outcome == "VERIFIED":
        return _contradicts("one that verifies, as the hub says", why or here.outcome)
    if here.outcome in _BROKEN:
        return _skipped(f"{here.location}: {here.outcome}, and the hub recorded {hub.outcome}")
    if here.outcome == "UNKNOWN_KEY":
        return _skipped(f"{here.location}: could not be checked here without its key; --public-key names one")
    return _skipped(f"could not be checked here: {why or here.outcome}")


def _skipped(why: str) -> Check:
    return Check(step=LOCAL_STEP, passed=None, against=why)


def _contradicts(expected: str, actual: str) -> Failure:
    return Failure(
        step=LOCAL_STEP,
        expected=expected,
        actual=actual,
        causes=(
            "a file was changed, added or removed after the hub saw it",
            "the trusted root or key that you gave is not the one that the hub used",
            "the hub says of a signature what is not so",
        ),
        next_step="Do not load the model; show this to its publisher and to the hub's monitors",
    )
