"""The settings of one log that a monitor follows."""

import re
from dataclasses import dataclass

from ledger.errors import ConfigError
from monitor.forms import WEB, check_name

LOG_KINDS = ("tiles", "rekor-v2", "rekor-v1")

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The table ``[[log]]``: one tile log to follow. Each field's comment is its manual page."""

    # What the log is called here: small letters, digits and hyphens. Findings and files carry it.
    name: str
    # The client's own trust file for the ledger; relative to the settings, like every path.
    trust: str = ""
    # In the place of trust: a file with a C2SP tlog-policy. Then the log is one of somebody else's, and its entries can be anything:
    # it is followed as a log, and nobody looks at what they say.
    policy: str = ""
    # What the log is: "tiles", or "rekor-v2" or "rekor-v1" for a ledger in Rekor.
    kind: str = "tiles"
    # The address below which `checkpoint` is served.
    url: str = ""
    # In the place of url: a folder that holds the log.
    folder: str = ""
    # Further addresses of the same log, asked where the first one does not give what the log signed.
    mirrors: tuple[str, ...] = ()
    # Addresses of checkpoints of this log that others were shown: witnesses, other monitors, mirrors.
    compare: tuple[str, ...] = ()
    # The most requests a second to each of its addresses; 0: as many as eight at a time are.
    max_requests_per_second: float = 0.0
    # Seconds that `run` leaves a tile that is not full alone, in the hope that it fills; 0: it is read at once.
    partial_wait: float = 0.0
    # With kind "rekor-v2": the read address, or a folder, of each shard of the trust file, in its order. With "rekor-v1": the
    # address of each log of the trust file.
    shards: tuple[str, ...] = ()
    # With kind "rekor-v2": a folder with the hub's evidence, or a copy of it: statements under their SHA-256. Or the address
    # of `hubledger serve` for this ledger, "https://…", which is asked for each statement that is new. With "rekor-v1" always
    # the latter: its receipts are what is followed.
    evidence: str = ""
    # Hex digests of identities that must not sign any more, as `hubledger monitor findings` shows them.
    revoked_signers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("log.name", self.name)
        for each in self.revoked_signers:
            if not _DIGEST.fullmatch(each):
                raise ConfigError(
                    f"revoked_signers of log {self.name}", expected="64 hexadecimal digits", actual=each
                )
        for what, value, most in (
            ("max_requests_per_second", self.max_requests_per_second, 10_000),
            ("partial_wait", self.partial_wait, 3600),
        ):
            if not 0 <= value <= most:
                raise ConfigError(f"{what} of log {self.name}", expected=f"0 to {most}", actual=value)
        if self.kind not in LOG_KINDS:
            raise ConfigError(
                f"kind of log {self.name}", expected="one of " + ", ".join(LOG_KINDS), actual=self.kind
            )
        self._check_policy()
        if self.is_rekor:
            self._check_rekor()
        elif bool(self.url) == bool(self.folder) or self.shards or self.evidence:
            raise ConfigError(f"log {self.name}", expected="url or folder", actual="both, or neither")

    @property
    def is_foreign(self) -> bool:
        """Whether its entries are none of a ledger's, so that only the log itself is followed."""
        return bool(self.policy)

    @property
    def is_rekor(self) -> bool:
        """Whether the ledger is in Rekor."""
        return self.kind != "tiles"

    @property
    def by_receipt(self) -> bool:
        """Whether no tree can be replayed, and the hub's receipts are followed in its place."""
        return self.kind == "rekor-v1"

    @property
    def trees(self) -> tuple[str, ...]:
        """The names of its trees in the monitor's memory: its own, and in Rekor v2 one for each further shard."""
        if self.by_receipt:
            return (self.name,)
        return (self.name, *(f"{self.name}.{order}" for order in range(1, len(self.shards))))

    def _check_policy(self) -> None:
        if bool(self.trust) == bool(self.policy):
            raise ConfigError(
                f"log {self.name}", expected="trust or policy", actual="both" if self.trust else "neither"
            )
        if self.is_foreign and (self.is_rekor or self.revoked_signers):
            raise ConfigError(
                f"log {self.name} with policy",
                expected="tiles, and nothing about signers",
                actual="more than that",
            )

    def _check_rekor(self) -> None:
        if not self.shards or not self.evidence or self.url or self.folder or self.mirrors:
            raise ConfigError(
                f"log {self.name}",
                expected="shards and evidence, and no address of a log",
                actual="other settings",
            )
        if not self.by_receipt:
            return
        for what, values in (("shards", self.shards), ("evidence", (self.evidence,))):
            for each in values:
                if not each.startswith(WEB):
                    raise ConfigError(
                        f"{what} of log {self.name}", expected="an address, https://…", actual=each
                    )
        if self.compare or self.partial_wait:
            raise ConfigError(
                f"log {self.name}",
                expected="neither compare nor partial_wait: a Rekor v1 has no tiles",
                actual="one of them",
            )
