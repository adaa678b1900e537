"""What an open ledger tells whoever measures it: events, commits, publications. Nothing of it decides anything."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ledger.event import Statement
from ledger.storage import Batch, CommitStore, Head, LogState


class Watch(Protocol):
    """Is told what was done, by the thread that did it: each method returns at once and raises nothing."""

    def recorded(self, statements: Sequence[Statement]) -> None:
        """Hear of statements that are durable now."""
        ...

    def committed(self, seconds: float) -> None:
        """Hear how long one commit took."""
        ...

    def published(self, seconds: float) -> None:
        """Hear how long one publication took, from the stored size to the checkpoint that is shown."""
        ...


class WatchedCommits:
    """A commit store that tells how long its commits take, and the publications that it sees begin and end."""

    def __init__(
        self, inner: CommitStore, watch: Watch, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._inner, self._watch, self._clock = inner, watch, clock
        self._began: float | None = None

    def load(self) -> LogState:
        """Return the state row."""
        return self._inner.load()

    def commit(self, batch: Batch) -> None:
        """Store a batch; one that fails is not counted."""
        began = self._clock()
        self._inner.commit(batch)
        self._watch.committed(self._clock() - began)

    def save_publication(self, state: LogState) -> None:
        """Store a step of a publication: the first has a target that is not out yet, the last has it out."""
        if self._began is None and state.published_size < state.target_size:
            self._began = self._clock()
        self._inner.save_publication(state)
        if self._began is not None and state.published_size == state.target_size:
            self._watch.published(self._clock() - self._began)
            self._began = None

    def pending(self) -> Iterator[tuple[int, bytes]]:
        """Return the batches that are not dropped yet."""
        return self._inner.pending()

    def lookup(
        self, events: Sequence[bytes], heads: Sequence[str]
    ) -> tuple[dict[bytes, int], dict[str, Head]]:
        """Return those of the named events and heads that exist."""
        return self._inner.lookup(events, heads)
