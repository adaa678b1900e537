"""Which shards a Sigstore instance has, from its trusted root and signing config (Sigstore protobuf-specs, trustroot).

The trusted root says which logs there are and with which keys; the signing config says which of them take entries, and
where. Both are configuration of the operator, or come through Sigstore's TUF; never from an answer of a log.
"""

import hashlib
import logging
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ledger.bundle.log_entry import LogKeys
from ledger.encoding import Json, format_canonical_json, parse_base64, parse_json
from ledger.errors import ConfigError, InputError, LimitError, MalformedError, SourceError
from ledger.log.fetch import Fetch, fetch_from_url
from ledger.log.remote import Shard
from ledger.log.timestamping import Authority
from ledger.tlog.merkle import HASH_BYTES
from ledger.tlog.signed_note import MAX_NOTE_BYTES, KeyType, parse_note

_logger = logging.getLogger(__name__)

MAX_TRUST_BYTES = 4 << 20
"""Sigstore's own trusted root is seven kilobytes."""
MAX_KEY_BYTES = 4096
MAX_CERTIFICATE_BYTES = 1 << 16
ORIGIN_FIELD = "{origin}"
"""Stands for a shard's origin in ``read_url``."""
_V2_PATH = "/api/v2"
_VERSIONS = (0, 1, 2)
"""Of Rekor's interface; protobuf writes an unset one as 0, or not at all."""
_PUBLIC = "Sigstore's TUF repository"


class InstanceConfig(Protocol):
    """What the tables ``[rekor]`` and ``[anchor]`` say of an instance; see ``ledger.config``."""

    @property
    def trust_config(self) -> str:
        """A client trust config."""
        ...

    @property
    def trusted_root(self) -> str:
        """A trusted root."""
        ...

    @property
    def signing_config(self) -> str:
        """A signing config."""
        ...

    @property
    def read_url(self) -> str:
        """Where the checkpoint and tiles of a shard of Rekor v2 are."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A Sigstore instance: its shards, oldest first, their keys, and its timestamp authorities.

    ``trusted_root`` is the JSON that all of it comes from, for whoever checks bundles against it. ``unusable`` are the logs
    with keys of a kind that is not known here, by their place among the shards: each a name that no log has.
    """

    shards: tuple[Shard, ...]
    keys: LogKeys
    authorities: tuple[Authority, ...]
    tsa_urls: tuple[str, ...]
    trusted_root: bytes
    unusable: Mapping[int, str] = field(default_factory=dict)


Open = Callable[[str], Fetch]
"""Opens the read address of a log."""


def load_instance(
    config: InstanceConfig, directory: pathlib.Path, *, open_url: Open = fetch_from_url
) -> Instance:
    """Read the instance that a table of settings names; paths are relative to ``directory``.

    Raises:
        ConfigError: a file that is not there, or of another form, or that contradicts itself. LimitError: too large.
        SourceError: Sigstore's TUF repository did not answer, or not truly; or a log that must be asked for its name.
    """
    if config.trust_config:
        path = directory / config.trust_config
        both = _parse(_read_file(path), path)
        if not isinstance(both.get("trustedRoot"), dict):
            raise _refuse(path, "a client trust config with a trustedRoot", "none")
        root, signing, where = both["trustedRoot"], both.get("signingConfig"), str(path)
    elif config.trusted_root:
        root_path, signing_path = directory / config.trusted_root, directory / config.signing_config
        root = _parse(_read_file(root_path), root_path)
        signing, where = _parse(_read_file(signing_path), signing_path), str(root_path)
    else:
        both, where = _parse(fetch_public(), _PUBLIC), _PUBLIC
        root, signing = both["trustedRoot"], both["signingConfig"]
    return read_instance(root, signing, where=where, read_url=config.read_url, open_url=open_url)


def read_instance(
    root: Json, signing: Json, *, where: str, read_url: str = "", open_url: Open = fetch_from_url
) -> Instance:
    """Return the instance of a trusted root and a signing config, both read as JSON. Raises as ``load_instance``."""
    try:
        logs = [_parse_log(each) for each in _listed(root, "tlogs")]
        # A service of a version to come is none for us, as Sigstore asks of its clients.
        services = [
            each
            for each in map(_parse_service, _listed(signing, "rekorTlogUrls"))
            if each.version in _VERSIONS
        ]
        authorities = tuple(_parse_authority(each) for each in _listed(root, "timestampAuthorities"))
        stamping = [_parse_service(each) for each in _listed(signing, "tsaUrls")]
        logs = sorted(logs, key=lambda log: log.valid_from)  # stable: then by the place in the root
        paired = _pair(logs, services)
        shards = [
            _shard(log, order, service)
            for order, (log, service) in enumerate(zip(logs, paired, strict=True))
            if log.key is not None
        ]
        shards = [_named(shard, open_url) for shard in _read_at(shards, read_url)]
    except (InputError, KeyError, TypeError, ValueError) as error:
        actual = error.finding if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise _refuse(where, "a trusted root and a signing config of Sigstore", actual) from error
    return Instance(
        shards=tuple(shards),
        keys=LogKeys({log.log_id: log.key for log in logs if log.key is not None}),
        authorities=authorities,
        tsa_urls=tuple(each.url for each in stamping),
        trusted_root=format_canonical_json(root),
        unusable={
            order: f"{_name(log.base_url)} {log.log_id.hex()[:16]}"
            for order, log in enumerate(logs)
            if log.key is None
        },
    )


def _read_file(path: pathlib.Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TRUST_BYTES + 1)
    except OSError as error:
        raise _refuse(path, "a file", error.strerror) from error
    if len(data) > MAX_TRUST_BYTES:
        raise LimitError(str(path), expected=f"at most {MAX_TRUST_BYTES} bytes", actual="more")
    return data


def _parse(data: bytes, where: object) -> dict[str, Any]:
    try:
        value = parse_json(data, max_bytes=MAX_TRUST_BYTES)
    except InputError as error:
        raise _refuse(where, "JSON", error.finding) from error
    if not isinstance(value, dict):
        raise _refuse(where, "a JSON object", type(value).__name__)
    return value


def _refuse(where: object, expected: str, actual: object) -> ConfigError:
    return ConfigError(f"trust of the log, {where}", expected=expected, actual=actual)


def fetch_public() -> bytes:
    """Update from Sigstore's TUF repository through sigstore-python, which verifies all of it.

    While nobody answers there, what the last update brought counts, and before the first one what sigstore embeds: such an
    outage stops nobody who records or reads. An answer that does not verify is refused.

    Returns a client trust config as JSON. Raises SourceError.
    """
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig
    from tuf.api.exceptions import DownloadError

    try:
        try:
            config = ClientTrustConfig.production()
        except Error as error:
            if not isinstance(error.__cause__, DownloadError):
                raise
            _logger.warning("%s: %s; going on with what the last update brought", _PUBLIC, error.__cause__)
            config = ClientTrustConfig.production(offline=True)
        return config._inner.to_json().encode()  # noqa: SLF001 - nothing public shows the keys of the logs
    except (Error, OSError, ValueError) as error:
        raise SourceError(
            _PUBLIC, expected="a trusted root", actual=str(error) or type(error).__name__
        ) from error


# The trusted root


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """A log; ``key`` is None where it is of a kind that is not known here: such a log keeps its place, and is not used."""

    base_url: str
    log_id: bytes
    spki: bytes
    key: Any
    valid_from: int
    valid_until: int | None

    @property
    def has_note_id(self) -> bool:
        """Whether the id is that of a C2SP key, as in Rekor v2, and not the digest of the key alone, as in v1."""
        return self.log_id != hashlib.sha256(self.spki).digest()


def _listed(value: Json, name: str) -> Iterator[Any]:
    listed = None if value is None else value.get(name)
    return iter([] if listed is None else listed)


def _parse_log(value: Any) -> _Log:
    match value:
        case {
            "baseUrl": str(base_url),
            "publicKey": {"rawBytes": str(raw), **rest},
            "logId": {"keyId": str(key_id)},
        }:
            pass
        case _:
            raise MalformedError("log", expected="a baseUrl, a publicKey and a logId", actual="other fields")
    spki = parse_base64(raw, what=f"key of {base_url}", max_bytes=MAX_KEY_BYTES)
    try:
        key: Any = serialization.load_der_public_key(spki)
        if not isinstance(key, (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, rsa.RSAPublicKey)):
            key = None  # cryptography may know it; nothing here checks a log's signatures with it
    except UnsupportedAlgorithm:
        key = None
    except ValueError as error:
        # cryptography's own words are many; what is wrong is the same each time.
        raise MalformedError(f"key of {base_url}", expected="DER", actual="other bytes") from error
    start, end = _parse_window(rest.get("validFor"))
    log_id = parse_base64(key_id, what=f"log id of {base_url}", max_bytes=HASH_BYTES)
    if len(log_id) != HASH_BYTES:
        raise MalformedError(f"log id of {base_url}", expected="32 bytes", actual=f"{len(log_id)} bytes")
    return _Log(base_url=base_url, log_id=log_id, spki=spki, key=key, valid_from=start, valid_until=end)


def _parse_authority(value: Any) -> Authority:
    match value:
        case {"certChain": {"certificates": [*listed]}}:
            pass
        case _:
            raise MalformedError("timestamp authority", expected="a certChain", actual="other fields")
    chain = tuple(
        parse_base64(each["rawBytes"], what="certificate of an authority", max_bytes=MAX_CERTIFICATE_BYTES)
        for each in listed
    )
    start, end = _parse_window(value.get("validFor"))
    return Authority(chain=chain, valid_from=start, valid_until=end)


def _parse_window(value: Any) -> tuple[int, int | None]:
    """Return when something is valid, in POSIX seconds, both ends included."""
    if not isinstance(value, dict):
        return 0, None
    start, end = value.get("start"), value.get("end")
    return (_parse_time(start) if start else 0), (_parse_time(end) if end else None)


def _parse_time(text: str) -> int:
    """Parse protobuf's form of a time; fractions of a second are dropped."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise MalformedError("time", expected="a time with its zone", actual=text)
    return max(0, math.floor(time.timestamp()))


# The signing config


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    url: str
    version: int
    valid_from: int
    valid_until: int | None


def _parse_service(value: Any) -> _Service:
    match value:
        case {"url": str(url)} if url.startswith(("https://", "http://")):
            pass
        case _:
            raise MalformedError("service", expected="an http(s) url", actual=value)
    start, end = _parse_window(value.get("validFor"))
    version = value.get("majorApiVersion", 0)
    return _Service(url=url.rstrip("/"), version=version, valid_from=start, valid_until=end)


def _pair(logs: Sequence[_Log], services: Sequence[_Service]) -> list[_Service | None]:
    """Return the service that writes each log: of the same address, else of the same place, counted from the newest.

    The address of a log in a trusted root is its name, and may be another one than where it is written. A wrong pair
    harms nothing: an answer counts only if the log of the pair signed it.
    """
    paired: list[_Service | None] = [None] * len(logs)
    left = list(services)
    # One address may have both interfaces: a log whose id tells its own chooses before one whose id fits both.
    for at in sorted(range(len(logs)), key=lambda at: not logs[at].has_note_id):
        here = _name(logs[at].base_url)
        if same := [each for each in left if _name(each.url) == here and _fits(logs[at], each)]:
            chosen = max(same, key=lambda each: each.version)
            left.remove(chosen)
            paired[at] = chosen
    names = {_name(log.base_url) for log in logs}
    elsewhere = [each for each in left if _name(each.url) not in names]
    for service in sorted(elsewhere, key=lambda each: each.valid_from)[::-1]:
        free = [at for at, log in enumerate(logs) if paired[at] is None and _fits(log, service)]
        if not free:
            raise MalformedError("signing config", expected="logs of the trusted root", actual=service.url)
        paired[free[-1]] = service
    return paired


def _fits(log: _Log, service: _Service) -> bool:
    """Whether the log may have this interface: the id of an ECDSA key is the same in both."""
    if log.key is None:
        return False
    if isinstance(log.key, ec.EllipticCurvePublicKey):
        return True
    return log.has_note_id == (service.version == 2)


def _name(url: str) -> str:
    """The address without its scheme: what C2SP names a log by."""
    parts = urlsplit(url)
    return (parts.netloc + parts.path).rstrip("/")


def _shard(log: _Log, order: int, service: _Service | None) -> Shard:
    is_v2 = service.version == 2 if service is not None else log.has_note_id
    ends = [each.valid_until for each in (log, service) if each is not None]
    write_url = None if service is None else service.url
    return Shard(
        kind="rekor-v2" if is_v2 else "rekor-v1",
        order=order,
        origin=_name_in_address(log) if is_v2 else urlsplit(log.base_url).hostname or log.base_url,
        log_id=log.log_id,
        spki=log.spki,
        write_url=write_url,
        read_url=(write_url or log.base_url).rstrip("/") + (_V2_PATH if is_v2 else ""),
        valid_from=max(log.valid_from, 0 if service is None else service.valid_from),
        valid_until=min((end for end in ends if end is not None), default=None),
    )


def _name_in_address(log: _Log) -> str:
    """Return the part of a log's address that is its name, or nothing where none of them gives the log's id."""
    parts = urlsplit(log.base_url)
    names = (parts.hostname, parts.netloc, _name(log.base_url), log.base_url)
    return next((name for name in names if name and is_named(name, log_id=log.log_id, spki=log.spki)), "")


def _named(shard: Shard, open_url: Open) -> Shard:
    """Return the shard with its name. One that its address does not tell is on the log's checkpoint.

    Whoever serves that can only say the right name or be refused: the id in the trusted root is the hash of it.
    """
    if shard.origin:
        return shard
    note = parse_note(open_url(shard.read_url)("checkpoint", max_bytes=MAX_NOTE_BYTES))
    for line in note.signatures:
        if is_named(line.name, log_id=shard.log_id, spki=shard.spki):
            return replace(shard, origin=line.name)
    raise MalformedError(
        f"checkpoint at {shard.read_url}",
        expected=f"the name of the log {shard.log_id.hex()[:16]}…",
        actual=", ".join(line.name for line in note.signatures),
    )


def is_named(name: str, *, log_id: bytes, spki: bytes) -> bool:
    """Whether a log with this key has this id under this name (c2sp.org/signed-note): a question, asked of guesses.

    The id of an ECDSA key is that of the key alone, so any name would do: there the address has to be right.
    """
    key = serialization.load_der_public_key(spki)
    match key:
        case ed25519.Ed25519PublicKey():
            material = name.encode() + b"\n" + bytes([KeyType.ED25519]) + key.public_bytes_raw()
        case ec.EllipticCurvePublicKey():
            material = spki
        case _:
            raise MalformedError(
                "key of a log", expected="an Ed25519 or ECDSA key", actual=type(key).__name__
            )
    return hashlib.sha256(material).digest() == log_id


def _read_at(shards: Sequence[Shard], read_url: str) -> Iterator[Shard]:
    """Put the configured read address into every shard of v2, or into the newest where it names no origin."""
    v2 = [shard for shard in shards if shard.kind == "rekor-v2"]
    for shard in shards:
        if read_url and shard in v2 and (ORIGIN_FIELD in read_url or shard is v2[-1]):
            yield replace(shard, read_url=read_url.replace(ORIGIN_FIELD, shard.origin).rstrip("/"))
        else:
            yield shard
