"""The tables of the settings file as TOML has them: which settings there are, and of which type each is."""

from collections.abc import Mapping
from typing import Any

from ledger.errors import ConfigError

_NUMBER = (int, float)
TOP: Mapping[str, Any] = {
    "state": str,
    "interval": _NUMBER,
    "listen": str,
    "log": list,
    "sink": list,
    "watch": list,
    "canary": dict,
    "crosscheck": dict,
    "publish": dict,
}
LOG: Mapping[str, Any] = {
    "name": str,
    "trust": str,
    "policy": str,
    "url": str,
    "folder": str,
    "mirrors": list,
    "compare": list,
    "max_requests_per_second": _NUMBER,
    "partial_wait": _NUMBER,
    "kind": str,
    "shards": list,
    "evidence": str,
    "revoked_signers": list,
}
PUBLISH: Mapping[str, Any] = {"folder": str, "key": str, "url": str}
SINK: Mapping[str, Any] = {
    "name": str,
    "hooks": str,
    "webhook": str,
    "mail": list,
    "mail_from": str,
    "smtp": str,
    "smtp_tls": str,
    "smtp_user": str,
    "notify": str,
    "secret": str,
    "at_most": int,
    "period": _NUMBER,
    "allow_private": bool,
    "timeout": _NUMBER,
    "severity": str,
    "logs": list,
    "models": list,
    "kinds": list,
}
WATCH: Mapping[str, Any] = {
    "name": str,
    "sinks": list,
    "hubs": list,
    "logs": list,
    "namespaces": list,
    "models": list,
    "signers": list,
    "kinds": list,
    "severity": str,
}
CANARY: Mapping[str, Any] = {
    "sink": str,
    "model": str,
    "log": str,
    "every": _NUMBER,
    "grace": _NUMBER,
    "heartbeat": str,
    "ping": str,
    "allow_private": bool,
}
CROSSCHECK: Mapping[str, Any] = {"log": str, "list": str, "grace": _NUMBER, "every": _NUMBER}
_REQUIRED = {
    "": (),
    "log.": ("name",),
    "sink.": ("name",),
    "watch.": ("name", "sinks"),
    "canary.": ("sink",),
    "crosscheck.": ("log", "list"),
    "publish.": (),
}


def checked(table: object, known: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the settings of a table, each known and of its type; lists of text as tuples. Raises ConfigError."""
    if not isinstance(table, dict):
        raise ConfigError(
            f"setting {prefix[:-1]} of the monitor", expected=f"tables [[{prefix[:-1]}]]", actual=repr(table)
        )
    for name in _REQUIRED[prefix]:
        if name not in table:
            raise ConfigError(f"setting {prefix}{name} of the monitor", expected="a value", actual="nothing")
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(
                f"setting {prefix}{name} of the monitor",
                expected="one of " + ", ".join(known),
                actual="an unknown setting",
            )
        fits = isinstance(value, known[name]) and (known[name] is bool or not isinstance(value, bool))
        texts = prefix == "" or not isinstance(value, list) or all(isinstance(each, str) for each in value)
        if not fits or not texts:
            raise ConfigError(
                f"setting {prefix}{name} of the monitor",
                expected=_words(known[name]) if prefix or known[name] is not list else f"tables [[{name}]]",
                actual=repr(value),
            )
        found[name] = tuple(value) if isinstance(value, list) else value
    return found


def _words(kind: object) -> str:
    return {str: "text", bool: "true or false", list: "a list of text", dict: "a table"}.get(kind, "a number")  # type: ignore[call-overload, no-any-return]
