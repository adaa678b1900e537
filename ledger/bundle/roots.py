"""Trusted roots of Sigstore: the logs and the timestamp authorities in one, read from its JSON and nothing else.

Importing sigstore takes as long as everything else that a public key needs, so it is left to the certificates.
"""

import importlib.util
import pathlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ledger.bundle.log_entry import LogKeys
from ledger.encoding import parse_base64, parse_json
from ledger.errors import ConfigError, InputError, NotFoundError

MAX_ROOT_BYTES = 4 << 20
_PRODUCTION = "_store/https%3A%2F%2Ftuf-repo-cdn.sigstore.dev/trusted_root.json"
_CONFIG = "clienttrustconfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When something of a trusted root counts: from ``start`` to ``end``, both included; None: no bound."""

    start: datetime | None
    end: datetime | None

    def holds(self, at: datetime) -> bool:
        """Whether a time is within."""
        return (self.start is None or self.start <= at) and (self.end is None or at <= self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A timestamp authority: its chain (DER, the signer first, the root last), and when it counts."""

    chain: tuple[bytes, ...]
    valid: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class RootLogs:
    """What our own checks need of a trusted root. ``spans`` is by log id."""

    keys: LogKeys
    spans: Mapping[bytes, Span]
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


def parse_root(raw: bytes) -> RootLogs:
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


def _parse(logs: Iterable[Any], authorities: Iterable[Any]) -> RootLogs:
    keys: dict[bytes, Any] = {}
    spans: dict[bytes, Span] = {}
    for log in logs:
        log_id = parse_base64(log["logId"]["keyId"], what="log id of the trusted root", max_bytes=32)
        spki = parse_base64(log["publicKey"]["rawBytes"], what="log key of the trusted root", max_bytes=4096)
        try:
            keys[log_id] = serialization.load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm):
            continue
        spans[log_id] = _span(log["publicKey"].get("validFor"))
    return RootLogs(
        keys=LogKeys(keys), spans=spans, authorities=tuple(_authority(each) for each in authorities)
    )


def _span(value: Any) -> Span:
    ends = value or {}
    return Span(start=_time(ends.get("start")), end=_time(ends.get("end")))


def _time(text: str | None) -> datetime | None:
    """Parse protobuf's JSON of a time, which is RFC 3339 in UTC."""
    return None if text is None else datetime.fromisoformat(text)


def _authority(value: Any) -> Authority:
    chain = tuple(
        parse_base64(each["rawBytes"], what="certificate of a timestamp authority", max_bytes=64 << 10)
        for each in value["certChain"]["certificates"]
    )
    for each in chain:
        x509.load_der_x509_certificate(each)
    return Authority(chain=chain, valid=_span(value.get("validFor")))
