"""Refusals of what the monitor asks, tells and answers beside following: politeness, sinks, canary, split views."""

from ledger.errors import ConfigError
from tests.refusals.of_monitor import HOOKS, LOG, _config
from tests.refusals.table import refused

AGAIN = "Correct what is named, and try again"

SETTINGS = (
    refused(
        ConfigError,
        f"max_requests_per_second of log models: expected 0 to 10000, got -1. {AGAIN}",
        lambda scene: _config(scene, LOG + "max_requests_per_second = -1\n" + HOOKS),
    ),
)

CASES = (*SETTINGS,)
