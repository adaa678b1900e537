"""Holds an attestation against the event that it points at, once that is proven: every field, by making it again. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ledger.attestation import MAX_SECONDS, Form, Pointer, format_attestation, is_passed
from ledger.attestation.envelope import MAX_PAYLOAD_BYTES, Attestation
from ledger.attestation.levels import possible_levels
from ledger.encoding import Json, format_canonical_json, parse_canonical_json
from ledger.event import VerificationEvent

MAX_SKEW = 300
"""Seconds by which the clocks of those who record, sign and check may differ."""
MAX_SHOWN = 200
"""Characters of a value that a refusal quotes: it may be anything that fits in a statement."""
_LAST_TIME = 253_402_300_799
"""The last second that statements can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What the event says, and what the attestation says instead; ``more``: beside all that the event says."""

    expected: str
    actual: str
    more: bool = False


def format_time(posix: int) -> str:
    """Return a time in POSIX seconds as statements have it."""
    return datetime.fromtimestamp(posix, UTC).isoformat().replace("+00:00", "Z")


def first_difference(
    attestation: Attestation, event: VerificationEvent, pointer: Pointer
) -> Difference | None:
    """Return where an attestation says something else than ``event``, at ``pointer``; None where it says the same.

    Times and levels are the attestation's own; they are held against what is possible for the event. A field more is told of
    only where nothing else differs.
    """
    passed = is_passed(event)
    if attestation.form is Form.SVR and not passed:
        return Difference(
            expected=f"no {Form.SVR} of a revision that failed, as the event says",
            actual=f"one with {len(attestation.levels)} properties",
        )
    if attestation.passed == passed:
        levels = possible_levels(event, passed=passed)
        if attestation.levels not in levels:
            return Difference(
                expected=f"levels that the event can have: {' or '.join(map(_joined, levels))}",
                actual=_joined(attestation.levels),
            )
    made = format_attestation(
        event,
        pointer,
        form=attestation.form,
        levels=attestation.levels,
        made=format_time(attestation.made),
        expires=format_time(attestation.expires),
    )
    found = list(_differences(_read(made), _read(attestation.entry.payload)))
    wrong = next((each for each in found if not each.more), None)
    return wrong or _time_difference(attestation, event) or next(iter(found), None)


def _joined(levels: tuple[str, ...]) -> str:
    return f"[{', '.join(levels)}]"


def _read(payload: bytes) -> Json:
    return parse_canonical_json(payload, what="statement of the attestation", max_bytes=MAX_PAYLOAD_BYTES)


def _differences(ours: Json, theirs: Json, path: str = "") -> Iterator[Difference]:
    """Yield each place where two values differ, in the order of their canonical form."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            at = f"{path}.{name}" if path else name
            if name not in theirs:
                yield Difference(expected=f"{at} {_shown(ours[name])}, as the event says", actual="none")
            elif name not in ours:
                said = f"{at} {_shown(theirs[name])}"
                yield Difference(
                    expected=f"no {at}, which this version does not know", actual=said, more=True
                )
            else:
                yield from _differences(ours[name], theirs[name], at)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif type(ours) is not type(theirs) or ours != theirs:
        yield Difference(
            expected=f"{path} {_shown(ours)}, as the event says", actual=f"{path} {_shown(theirs)}"
        )


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) else format_canonical_json(value).decode("utf-8", "replace")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text)} characters)"


def _time_difference(attestation: Attestation, event: VerificationEvent) -> Difference | None:
    """Return what is impossible about the times: they are the hub's word, but not any word."""
    seconds = attestation.expires - attestation.made
    if not 1 <= seconds <= MAX_SECONDS:
        return Difference(
            expected=f"one that is good for 1 to {MAX_SECONDS} seconds", actual=f"one for {seconds} seconds"
        )
    # As text: a recorder may have written the 31st of February.
    if format_time(min(attestation.made + MAX_SKEW, _LAST_TIME)) < event.common.recorded_at:
        return Difference(
            expected=f"one made after its event was recorded, at {event.common.recorded_at}",
            actual=f"one made at {format_time(attestation.made)}",
        )
    return None
