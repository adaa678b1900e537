"""Whose statements count: the tables ``[[monitor]]`` of a trust file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.encoding import MAX_SAFE_INTEGER
from ledger.errors import ConfigError
from ledger.tlog.signed_note import KeyType, VerifierKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedMonitor:
    """A monitor: its key, whose name is the monitor's, how old its statements may be, and where the newest one is.

    ``max_age`` is in seconds. Without ``url`` its statements come only as files: those of `hubledger fetch-proof`, or
    beside a proof.
    """

    key: VerifierKey
    max_age: int
    url: str | None = None

    def __post_init__(self) -> None:
        if self.key.kind is not KeyType.ED25519:
            raise ConfigError(
                f"key of the monitor {self.key.name}",
                expected="an Ed25519 key (0x01)",
                actual=self.key.kind.name,
            )
        if not 1 <= self.max_age <= MAX_SAFE_INTEGER:
            raise ConfigError(
                f"max_age of the monitor {self.key.name}",
                expected="seconds, at least 1",
                actual=self.max_age,
            )

    @property
    def name(self) -> str:
        """The monitor's name, which is that of its key."""
        return self.key.name


def parse_monitor(table: Mapping[str, Any]) -> TrustedMonitor:
    """Return the monitor of a table whose settings were checked. Raises MalformedError, ConfigError."""
    return TrustedMonitor(
        key=VerifierKey.parse(table["vkey"]), max_age=table["max_age"], url=table.get("url")
    )


def check_monitors(monitors: tuple[TrustedMonitor, ...], needed: int | None) -> None:
    """Refuse a monitor that is listed twice, and asking for more of them than there are. Raises ConfigError."""
    names = [each.name for each in monitors]
    keys = {each.key.public_key for each in monitors}
    if len(set(names)) != len(monitors) or len(keys) != len(monitors):
        raise ConfigError("monitors of the trust file", expected="each once", actual=", ".join(names))
    if needed is not None and not 1 <= needed <= len(monitors):
        raise ConfigError(
            "monitors_needed", expected=f"1 to {len(monitors)}, the number of monitors", actual=needed
        )
