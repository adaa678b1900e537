"""The tables of a trust file as TOML has them: which settings there are, and of which type each is."""

from collections.abc import Mapping
from typing import Any

from ledger.errors import ConfigError

TABLES: Mapping[str, Mapping[str, type]] = {
    "": {
        "format": int,
        "version": int,
        "ledger": str,
        "require": str,
        "max_age": int,
        "monitor": list,
        "monitors_needed": int,
        "update_key": str,
        "log": dict,
        "hub": dict,
    },
    "log": {"origin": str, "policy": str, "kind": str, "shard": list},
    "log.shard": {"origin": str, "vkey": str, "spki": str},
    "hub": {"id": str, "key": list},
    "monitor": {"vkey": str, "max_age": int, "url": str},
    "hub.key": {"spki": str, "first": int, "end": int, "first_shard": int, "end_shard": int},
}
OPTIONAL: Mapping[str, frozenset[str]] = {
    "": frozenset(("require", "max_age", "monitor", "monitors_needed", "update_key")),
    "log": frozenset(("kind", "origin", "policy", "shard")),
    "log.shard": frozenset(("vkey", "spki")),
    "hub": frozenset(),
    "monitor": frozenset(("url",)),
    "hub.key": frozenset(("first", "end", "first_shard", "end_shard")),
}
KINDS: Mapping[str, tuple[str, ...]] = {"tiles": ("origin", "policy"), "rekor": ("shard",)}
"""Kinds of log, and the settings that each has beside its kind."""


def check_table(name: str, table: Mapping[str, Any]) -> None:
    """Check the settings of one table: unknown, missing or of another type are errors."""
    known = TABLES[name]
    prefix = f"{name}." if name else ""
    for key, value in table.items():
        if key not in known:
            raise ConfigError(
                f"setting {prefix}{key} of the trust file",
                expected="one of " + ", ".join(known),
                actual="unknown",
            )
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise ConfigError(
                f"setting {prefix}{key} of the trust file",
                expected=f"a value of type {known[key].__name__}",
                actual=repr(value),
            )
    for key in known:
        if key not in table and key not in OPTIONAL[name]:
            raise ConfigError(
                f"setting {prefix}{key} of the trust file", expected="a value", actual="nothing"
            )
