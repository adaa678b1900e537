"""Forms that settings of several tables have: a name, a host with its port, and which findings are meant."""

import re

from ledger.encoding import parse_decimal
from ledger.errors import ConfigError
from monitor.findings import Kind, Severity

WEB = ("https://", "http://")
"""How addresses of the web begin."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

_HOST_PORT = re.compile(r"([A-Za-z0-9.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\]):(0|[1-9][0-9]{0,4})")


def parse_host_port(text: str, *, what: str) -> tuple[str, int]:
    """Parse ``host:port``; an IPv6 address in brackets. Raises ConfigError."""
    found = _HOST_PORT.fullmatch(text)
    if found is None or (port := parse_decimal(found[2])) > 65_535:
        raise ConfigError(what, expected="host:port", actual=text or "nothing")
    return found[1].strip("[]"), port


def check_name(what: str, name: str) -> None:
    """Refuse a name that cannot be one of a file or a metric. Raises ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"setting {what} of the monitor", expected="small letters, digits and hyphens", actual=name
        )


def check_findings(of: str, *, severity: str, kinds: tuple[str, ...]) -> None:
    """Refuse a severity or a kind of finding that there is not. Raises ConfigError."""
    for what, values, known in (("severity", (severity,), Severity), ("kinds", kinds, Kind)):
        for value in values:
            if value not in set(known):
                raise ConfigError(f"{what} of {of}", expected="one of " + ", ".join(known), actual=value)
