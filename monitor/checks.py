"""The settings of what a monitor checks beside the logs: that alerts arrive, and that what a hub serves was recorded."""

from dataclasses import dataclass

from ledger.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryConfig:
    """The table ``[canary]``: a finding of its own kind that goes the way of all others. Each field's comment is its manual page."""

    # The sink that it is told to.
    sink: str
    # A model that the hub records a version of for this, at least once in `every`: each new one is a canary, and none is
    # silence. Empty: the monitor sends canaries by its own clock.
    model: str = ""
    # With model: the log that it is recorded in.
    log: str = ""
    # Seconds between two canaries; with model, at most.
    every: float = 86_400.0
    # Seconds within which one must have arrived.
    grace: float = 3600.0
    # A file that whoever receives the canary writes its id into; empty: that the sink took it is enough.
    heartbeat: str = ""
    # An address that each canary which arrived is posted to: a dead man's switch elsewhere, which misses it.
    ping: str = ""
    # Whether ping may lead to an address that is not public.
    allow_private: bool = False

    def __post_init__(self) -> None:
        if bool(self.model) != bool(self.log):
            raise ConfigError("canary", expected="model and log, or neither", actual="one of them")
        check_seconds("canary.every", self.every)
        check_seconds("canary.grace", self.grace)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosscheckConfig:
    """The table ``[crosscheck]``: a list of what the hub serves, held against a log. Each field's comment is its manual page."""

    # The log that everything in the list must be in.
    log: str
    # A file or an http(s) address: NDJSON or TSV of model, revision and the time since which it is served.
    list: str
    # Seconds after which a revision that has no event is a finding.
    grace: float = 86_400.0
    # Seconds between two looks.
    every: float = 3600.0

    def __post_init__(self) -> None:
        check_seconds("crosscheck.every", self.every)
        check_seconds("crosscheck.grace", self.grace)


def check_seconds(what: str, value: float) -> None:
    """Refuse what is no time between a second and a month. Raises ConfigError."""
    if not 1 <= value <= 2_592_000:
        raise ConfigError(what, expected="1 to 2592000 seconds", actual=value)
