"""Trusted roots of Sigstore: the logs and the timestamp authorities in one, read from its JSON and nothing else.

Importing sigstore takes as long as everything else that a public key needs, so it is left to the certificates.
"""

import importlib.util
import math
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ledger.bundle.log_entry import LogKeys
from ledger.bundle.logged import RootLogs, Span
from ledger.encoding import parse_base64, parse_json
from ledger.errors import ConfigError, InputError, NotFoundError
from ledger.log.timestamping import Authority

MAX_ROOT_BYTES = 4 << 20
_PRODUCTION = "_store/https%3A%2F%2Ftuf-repo-cdn.sigstore.dev/trusted_root.json"
_CONFIG = "clienttrustconfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What our own checks need of a trusted root; the certificates are sigstore-python's business."""

    logs: RootLogs
    authorities: tuple[Authority, ...]


def production_root() -> bytes:
    """Return the production root that the sigstore package embeds. Raises NotFoundError."""
    package = importlib.util.find_spec("sigstore")
    try:
        if package is None or package.origin is None:
            raise FileNotFoundError("the sigstore package")
        return (pathlib.Path(package.origin).parent / _PRODUCTION).read_bytes()
    except OSError as error:
        raise NotFoundError(
            "Sigstore's production root",
            expected="the one in the sigstore package",
            actual=str(error),
            next_step="Name a trusted root with --trusted-root",
        ) from error


def parse_root(raw: bytes) -> Root:
    """Parse a trusted root, or a client trust config around one. A key of an unknown kind is left out, and never used.

    Raises:
        ConfigError: neither of them.
    """
    try:
        value = parse_json(raw, what="trusted root", max_bytes=MAX_ROOT_BYTES)
        if _CONFIG in str(value.get("mediaType") if isinstance(value, dict) else ""):
            value = value.get("trustedRoot")
        match value:
            case {"tlogs": list(logs)}:
                return _parse(logs, value.get("timestampAuthorities") or [])
    except (InputError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise _no_root(str(error)) from error
    raise _no_root("no list of logs")


def _no_root(why: str) -> ConfigError:
    return ConfigError(
        "trusted root", expected="Sigstore's trusted_root.json, or a client trust config", actual=why
    )


def _parse(logs: Iterable[Any], authorities: Iterable[Any]) -> Root:
    keys: dict[bytes, Any] = {}
    spans: dict[bytes, Span] = {}
    for log in logs:
        log_id = parse_base64(log["logId"]["keyId"], what="log id of the trusted root", max_bytes=32)
        spki = parse_base64(log["publicKey"]["rawBytes"], what="log key of the trusted root", max_bytes=4096)
        try:
            keys[log_id] = serialization.load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm):
            continue
        # When a log begins to count is part of what a root says; a root without it says too little.
        spans[log_id] = _span(log["publicKey"]["validFor"])
    return Root(
        logs=RootLogs(keys=LogKeys(keys), spans=spans),
        authorities=tuple(_authority(each) for each in authorities),
    )


def _span(value: Any) -> Span:
    return Span(first=_time(value["start"]), last=_time(value["end"]) if value.get("end") else None)


def _time(text: str) -> int:
    """Parse protobuf's JSON of a time, which is RFC 3339; fractions of a second are dropped."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"a time without its zone: {text}")
    return math.floor(time.timestamp())


def _authority(value: Any) -> Authority:
    chain = tuple(
        parse_base64(each["rawBytes"], what="certificate of a timestamp authority", max_bytes=64 << 10)
        for each in value["certChain"]["certificates"]
    )
    valid = _span(value["validFor"])
    return Authority(chain=chain, valid_from=valid.first, valid_until=valid.last)
