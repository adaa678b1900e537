"""What a log of our own needs to know of itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.errors import (
    LimitError,
)
from ledger.log.freshness import Hint, Source
from ledger.log.witnessing import Witnesses
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.signed_note import VerifierKey

MIN_PUBLISH_INTERVAL = 0.1
"""Seconds; readers and witnesses cannot use more checkpoints than ten a second."""

SignCheckpoint = Callable[[Checkpoint], bytes]
"""Signs a checkpoint with the log key (and cosigns it, with the time); returns the whole note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLogConfig:
    """What one log needs to know of itself.

    ``keys`` are the verifier keys of the log itself; ``publish_interval`` is in seconds; ``sources`` and ``hints`` are
    asked before the first write unless ``start_unchecked``; so are ``witnesses``, which cosign what is published.
    """

    origin: str
    keys: Sequence[VerifierKey]
    sign: SignCheckpoint
    publish_interval: float = 1.0
    sources: Sequence[Source] = ()
    hints: Sequence[Hint] = ()
    start_unchecked: bool = False
    witnesses: Witnesses | None = None

    def __post_init__(self) -> None:
        if self.publish_interval < MIN_PUBLISH_INTERVAL:
            raise LimitError(
                "publish_interval",
                expected=f"at least {MIN_PUBLISH_INTERVAL} s",
                actual=f"{self.publish_interval} s",
            )
