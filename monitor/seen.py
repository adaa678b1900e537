"""Which keys are new: a Bloom filter, so that nobody looks on the disk for what was never stored. In memory, of one process."""

from collections.abc import Iterable, Sequence
from typing import Any

_BITS = 1 << 24
"""Two megabytes, of which a small log touches little. With a million keys one in eighty that are new is looked for in vain."""
_MASK = _BITS - 1


class Seen:
    """The keys that were added, and some others: of a key that it does not have nobody added it, whatever the keys are.

    Where they lie follows Python's hash, which is another in each process: nobody can make keys that hide one another.
    """

    def __init__(self) -> None:
        # Not before the first key: of all who open a monitor's file, most add none.
        self._bits: bytearray | None = None

    def add(self, keys: Iterable[Any]) -> None:
        """Add keys."""
        bits = self._bits = self._bits or bytearray(_BITS // 8)
        for key in keys:
            one, other = _places(key)
            bits[one >> 3] |= 1 << (one & 7)
            bits[other >> 3] |= 1 << (other & 7)

    def among(self, keys: Sequence[Any]) -> list[Any]:
        """Return those keys of which it cannot be said that they were not added, in their order."""
        bits = self._bits
        if bits is None:
            return []
        found = []
        for key in keys:
            one, other = _places(key)
            if bits[one >> 3] >> (one & 7) & 1 and bits[other >> 3] >> (other & 7) & 1:
                found.append(key)
        return found


def _places(key: Any) -> tuple[int, int]:
    value = hash(key)
    return value & _MASK, value >> 32 & _MASK
