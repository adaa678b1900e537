"""Refusals of what runs the service: metrics, lines of the log, keys that are rotated."""

import sys

from ledger.config import ServeConfig
from ledger.errors import ConfigError
from ledger.server.metrics import Metrics
from tests.refusals.table import refused


def _no_metrics(scene):
    before = sys.modules.get("prometheus_client")
    scene.after.callback(
        lambda: (
            sys.modules.pop("prometheus_client")
            if before is None
            else sys.modules.update(prometheus_client=before)
        )
    )
    sys.modules["prometheus_client"] = None
    return Metrics()


SETTINGS = (
    refused(
        ConfigError,
        "serve.metrics: expected prometheus-client, from the extra `server`, got not installed. Run `pip install 'hubledger[server]'`",
        _no_metrics,
    ),
    refused(
        ConfigError,
        "serve.metrics: expected an address and a port, got 9470. Correct what is named, and try again",
        lambda _: ServeConfig(metrics="9470"),
    ),
    refused(
        ConfigError,
        'serve.log_format: expected "json" or "logfmt", got xml. Correct what is named, and try again',
        lambda _: ServeConfig(log_format="xml"),
    ),
    refused(
        ConfigError,
        "serve.caller_header: expected the name of a header, got X: y. Correct what is named, and try again",
        lambda _: ServeConfig(caller_header="X: y"),
    ),
)

CASES = (*SETTINGS,)
