"""Who signed a model, as a picture: one segment for each run of versions with the same signers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ledger.server.words import UNSIGNED, UNVERIFIED

COLOURS = 6
"""Signers that have a colour of their own; further ones share the last."""
MAX_SEGMENTS = 40
"""What still can be told apart on a telephone; older ones are one segment."""
WIDTH = 720
_LEAST = 6.0
"""Width of the narrowest segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of versions. ``look`` is the class that paints it; ``changed``: its first version is a change of signer."""

    x: float
    width: float
    look: str
    label: str
    versions: int
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The picture: its segments, oldest first, and what each look means."""

    segments: tuple[Segment, ...]
    legend: tuple[tuple[str, str], ...]


def draw(rows: Sequence[Mapping[str, Any]]) -> Timeline:
    """Draw the versions that count, oldest first: proposals and the words of observers are not in the picture."""
    counted = [each for each in rows if "word" in each and "proposal" not in each and "observer" not in each]
    runs = [(label, list(some)) for label, some in groupby(counted, key=_label)]
    older, runs = runs[:-MAX_SEGMENTS], runs[-MAX_SEGMENTS:]
    looks: dict[str, str] = {}
    for label, _ in runs:
        if label not in looks:
            looks[label] = _look(label, sum(1 for each in looks.values() if each.startswith("s")))
    parts = [(looks[label], label, some) for label, some in runs]
    if older:
        parts.insert(0, ("older", "Older versions", [each for _, some in older for each in some]))
    total = sum(len(some) for _, _, some in parts) or 1
    room = WIDTH - _LEAST * len(parts)
    segments, x = [], 0.0
    for look, label, some in parts:
        width = _LEAST + room * len(some) / total
        changed = look != "older" and "change" in some[0]
        segments.append(
            Segment(
                x=round(x, 1),
                width=round(width, 1),
                look=look,
                label=label,
                versions=len(some),
                changed=changed,
            )
        )
        x += width
    return Timeline(segments=tuple(segments), legend=tuple((look, label) for label, look in looks.items()))


def _label(row: Mapping[str, Any]) -> str:
    names = sorted({each["name"] for each in row["signers"] if each["verified"]})
    return " and ".join(names) if row["outcome"] == "VERIFIED" and names else str(row["word"])


def _look(label: str, signers: int) -> str:
    if label == UNSIGNED:
        return "unsigned"
    return "unverified" if label == UNVERIFIED else f"s{min(signers, COLOURS - 1)}"
