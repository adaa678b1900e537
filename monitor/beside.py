"""Opens what a monitor does beside following, by its settings: the canary, and the look at a hub's list."""

from collections.abc import Callable

from ledger.errors import ConfigError
from monitor.canary import Canary
from monitor.config import MonitorConfig
from monitor.crosscheck import Crosscheck
from monitor.sinks import Webhook
from monitor.state import State

_PING_SECONDS = 30.0


def open_crosscheck(config: MonitorConfig, state: State, *, clock: Callable[[], float]) -> Crosscheck:
    """Return what holds the hub's list against a log. Raises ConfigError: the settings have no such table."""
    if (settings := config.crosscheck) is None:
        raise ConfigError("crosscheck", expected="the table [crosscheck]", actual="no such table")
    fetch, name = config.served(settings)
    (log,) = (each for each in config.log if each.name == settings.log)
    return Crosscheck(
        settings, state, trees=log.trees, fetch=fetch, name=name, routes=config.routing(), clock=clock
    )


def open_canary(config: MonitorConfig, state: State, *, clock: Callable[[], float]) -> Canary:
    """Return what sends canaries. Raises ConfigError: the settings have no such table."""
    if (settings := config.canary) is None:
        raise ConfigError("canary", expected="the table [canary]", actual="no such table")
    ping = (
        Webhook(settings.ping, secret=b"", allow_private=settings.allow_private, timeout=_PING_SECONDS)
        if settings.ping
        else None
    )
    others = tuple(each.name for each in config.sink if each.name != settings.sink)
    return Canary(settings, state, others=others, base=config.base, ping=ping, clock=clock)
