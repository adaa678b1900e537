"""The list of all models, in the order of their names: pages by prefix, so that none is long and few change with a new name.

A page lists the names that begin with its prefix, or, where those are many, the longer prefixes that they begin with. Names
are never removed: a prefix that has many names always will, and its page leads to the same longer ones or to more.
"""

import os.path
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from monitor.publish.store import Store

MAX_NAMES = 100
"""Names of one page."""
_END = "\x7f"
"""Sorts after every character of a recorded name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePage:
    """One page: names that are listed, and longer prefixes that have pages of their own."""

    prefix: str
    names: tuple[str, ...]
    longer: tuple[str, ...]


def name_pages(
    store: Store, log: str, new: Sequence[str], *, exists: Callable[[str], bool], prefix: str = ""
) -> Iterator[NamePage]:
    """Yield the pages that change with new names, each after those that it leads to; ``exists``: whether that of a prefix is there."""
    names = store.names(log, prefix, prefix + _END, limit=MAX_NAMES + 1)
    if len(names) <= MAX_NAMES:
        yield NamePage(prefix=prefix, names=tuple(names), longer=())
        return
    common = os.path.commonprefix([names[0], store.last_name(log, prefix, prefix + _END)])  # noqa: RUF071  # characters are meant
    longer = tuple(_longer(store, log, common))
    for each in longer:
        below = [name for name in new if name.startswith(each)]
        # A page that has just become too long leads to pages that are not there yet.
        if below or not exists(each):
            yield from name_pages(store, log, below, exists=exists, prefix=each)
    yield NamePage(prefix=prefix, names=(common,) if names[0] == common else (), longer=longer)


def _longer(store: Store, log: str, common: str) -> Iterator[str]:
    """Yield ``common`` with each next character that occurs: one look-up for each."""
    low = common + "!"
    while found := store.names(log, low, common + _END, limit=1):
        longer = found[0][: len(common) + 1]
        yield longer
        low = longer + _END
