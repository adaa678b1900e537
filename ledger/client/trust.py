"""Trust files: what a client relies on, in one TOML file of its own (architecture section 8).

The ledger's id, the log's keys as an embedded c2sp.org/tlog-policy, the hub's keys with the leaf indices for which
each counts, and how much is required. Nothing that is checked against it may come from the message being checked.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.encoding import MAX_SAFE_INTEGER, format_base64, parse_base64
from ledger.entry import keyid_of
from ledger.errors import ConfigError, LedgerError, LimitError, SignatureError
from ledger.tlog.signed_note import VerifierKey
from ledger.tlog.trust_policy import LogKey, TrustPolicy, Witness, format_policy, parse_policy

MAX_TRUST_BYTES = 1 << 20
FORMAT = 1
REQUIRE = ("included", "complete", "audited")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubKey:
    """A key of the hub, and the leaf indices ``[first, end)`` whose entries it may sign (``end`` None: no end)."""

    spki: bytes
    first: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.first <= MAX_SAFE_INTEGER or (
            self.end is not None and not self.first < self.end <= MAX_SAFE_INTEGER
        ):
            raise ConfigError(
                "leaf indices of a hub key", expected="0 <= first < end", actual=f"{self.first} to {self.end}"
            )
        load_hub_key(self.spki)

    @property
    def keyid(self) -> str:
        """Hex SHA-256 of the SubjectPublicKeyInfo."""
        return keyid_of(self.spki)

    def covers(self, leaf_index: int) -> bool:
        """Whether the key counts at this leaf index."""
        return self.first <= leaf_index and (self.end is None or leaf_index < self.end)


_P256_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""How every DER SubjectPublicKeyInfo of an uncompressed P-256 point begins (RFC 5480); the point is the rest."""
_P256_POINT_BYTES = 65


def load_hub_key(spki: bytes) -> ec.EllipticCurvePublicKey:
    """Load a hub key. Raises ConfigError: not a DER ECDSA P-256 key."""
    point = spki.removeprefix(_P256_SPKI)
    if len(point) == _P256_POINT_BYTES and len(spki) == len(_P256_SPKI) + _P256_POINT_BYTES:
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError as error:
            raise ConfigError("hub key", expected="a point on P-256", actual=str(error)) from error
    return _load_other_form(spki)


def _load_other_form(spki: bytes) -> ec.EllipticCurvePublicKey:
    """Load a key in a rarer form, or say what it is instead of one."""
    # Imported here because it takes a tenth of the time of a whole check to load, and no hub of ours needs it.
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("hub key", expected="a DER SubjectPublicKeyInfo", actual=str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError("hub key", expected="an ECDSA P-256 key", actual=type(key).__name__)
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFile:
    """A parsed trust file.

    ``version`` rises by one with every change; ``max_age`` is in seconds and judges claims about "latest" and
    "complete" only; ``monitors`` are the keys whose statements count for ``require = "audited"``.
    """

    version: int
    ledger: str
    origin: str
    policy: TrustPolicy
    hub: str
    hub_keys: tuple[HubKey, ...]
    require: str = "included"
    max_age: int | None = None
    monitors: tuple[VerifierKey, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.version <= MAX_SAFE_INTEGER:
            raise ConfigError("version of the trust file", expected="a number from 1 on", actual=self.version)
        if self.max_age is not None and not 1 <= self.max_age <= MAX_SAFE_INTEGER:
            raise ConfigError("max_age", expected="seconds, at least 1", actual=self.max_age)
        if not self.policy.keys_of(self.origin):
            raise ConfigError(
                "log policy of the trust file", expected=f"a log key named {self.origin}", actual="none"
            )
        if not self.hub_keys:
            raise ConfigError("hub keys of the trust file", expected="at least one", actual="none")
        if self.require not in REQUIRE:
            raise ConfigError("require", expected="one of " + ", ".join(REQUIRE), actual=self.require)

    @classmethod
    def for_new_ledger(
        cls, *, ledger: str, log_keys: tuple[VerifierKey, ...], clock: VerifierKey, hub: str, hub_key: bytes
    ) -> "TrustFile":
        """Return the first trust file of a ledger: its log keys, its hub key from leaf 0 on.

        ``clock`` is the log's own timestamped cosigner: it dates checkpoints and is in no quorum.
        """
        policy = TrustPolicy(
            logs=tuple(LogKey(key=key) for key in log_keys), witnesses=(Witness(name="log-clock", key=clock),)
        )
        return cls(
            version=1, ledger=ledger, origin=ledger, policy=policy, hub=hub, hub_keys=(HubKey(spki=hub_key),)
        )

    @property
    def log_keys(self) -> tuple[VerifierKey, ...]:
        """The verifier keys of the log."""
        return self.policy.keys_of(self.origin)

    def check_key(self, keyid: str, leaf_index: int) -> HubKey:
        """Return the hub key that may sign the entry at a proven leaf index.

        Raises:
            SignatureError: no such key, or one that does not count at this index.
        """
        known = [key for key in self.hub_keys if key.keyid == keyid]
        if not known:
            raise SignatureError("key of the entry", expected="a hub key of the trust file", actual=keyid)
        for key in known:
            if key.covers(leaf_index):
                return key
        ranges = ", ".join(f"{key.first} to {'…' if key.end is None else key.end - 1}" for key in known)
        raise SignatureError(
            f"leaf index of an entry by key {keyid[:16]}…", expected=ranges, actual=leaf_index
        )

    def entry_key(self, keyid: str, leaf_index: int) -> ec.EllipticCurvePublicKey:
        """Load the key that ``check_key`` allows. Raises SignatureError."""
        return load_hub_key(self.check_key(keyid, leaf_index).spki)


_TABLES: Mapping[str, Mapping[str, type]] = {
    "": {
        "format": int,
        "version": int,
        "ledger": str,
        "require": str,
        "max_age": int,
        "monitors": list,
        "log": dict,
        "hub": dict,
    },
    "log": {"origin": str, "policy": str},
    "hub": {"id": str, "key": list},
    "hub.key": {"spki": str, "first": int, "end": int},
}
_OPTIONAL = frozenset(("require", "max_age", "monitors", "first", "end"))


def parse_trust(data: bytes) -> TrustFile:
    """Parse a trust file.

    Raises:
        LimitError: too large. ConfigError: not TOML, an unknown or missing setting, a key that is none.
    """
    if len(data) > MAX_TRUST_BYTES:
        raise LimitError(
            "trust file", expected=f"at most {MAX_TRUST_BYTES} bytes", actual=f"{len(data)} bytes"
        )
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        raise ConfigError("trust file", expected="TOML", actual=str(error)) from error
    _check("", table)
    _check("log", table["log"])
    _check("hub", table["hub"])
    if table["format"] != FORMAT:
        raise ConfigError(
            "format of the trust file",
            expected=FORMAT,
            actual=table["format"],
            next_step="Use a version of hubledger that knows this format",
        )
    try:
        return TrustFile(
            version=table["version"],
            ledger=table["ledger"],
            origin=table["log"]["origin"],
            policy=parse_policy(table["log"]["policy"].encode()),
            hub=table["hub"]["id"],
            hub_keys=tuple(_hub_key(each) for each in table["hub"]["key"]),
            require=table.get("require", "included"),
            max_age=table.get("max_age"),
            monitors=tuple(_monitor(each) for each in table.get("monitors", [])),
        )
    except ConfigError:
        raise
    except LedgerError as error:
        raise ConfigError(
            f"trust file: {error.what}", expected=error.expected, actual=error.actual
        ) from error


def _monitor(text: Any) -> VerifierKey:
    if not isinstance(text, str):
        raise ConfigError("setting monitors of the trust file", expected="a list of vkeys", actual=repr(text))
    return VerifierKey.parse(text)


def _hub_key(table: Any) -> HubKey:
    if not isinstance(table, dict):
        raise ConfigError("setting hub.key of the trust file", expected="tables", actual=repr(table))
    _check("hub.key", table)
    spki = parse_base64(table["spki"], what="spki of a hub key", max_bytes=1024)
    return HubKey(spki=spki, first=table.get("first", 0), end=table.get("end"))


def _check(name: str, table: Mapping[str, Any]) -> None:
    """Check the settings of one table: unknown, missing or of another type are errors."""
    known = _TABLES[name]
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
        if key not in table and key not in _OPTIONAL:
            raise ConfigError(
                f"setting {prefix}{key} of the trust file", expected="a value", actual="nothing"
            )


def format_trust(trust: TrustFile) -> bytes:
    """Format a trust file as ``parse_trust`` reads it."""
    lines = [
        "# What a client of this ledger relies on: hubledger verify --trust FILE",
        f"format = {FORMAT}",
        f"version = {trust.version}",
        f'ledger = "{_escape(trust.ledger)}"',
        f'require = "{trust.require}"',
        *([] if trust.max_age is None else [f"max_age = {trust.max_age}"]),
        *_format_monitors(trust.monitors),
        "",
        "[log]",
        f'origin = "{_escape(trust.origin)}"',
        f'policy = """\n{_escape(format_policy(trust.policy))}"""',
        "",
        "[hub]",
        f'id = "{_escape(trust.hub)}"',
    ]
    for key in trust.hub_keys:
        lines += [
            "",
            "[[hub.key]]",
            f"# sha256:{key.keyid}",
            f'spki = "{format_base64(key.spki)}"',
            f"first = {key.first}",
        ]
        if key.end is not None:
            lines.append(f"end = {key.end}")
    return ("\n".join(lines) + "\n").encode()


def _format_monitors(monitors: tuple[VerifierKey, ...]) -> list[str]:
    if not monitors:
        return []
    return ["monitors = [", *(f'    "{_escape(key.format())}",' for key in monitors), "]"]


def _escape(text: str) -> str:
    """Escape what ends or changes a TOML basic string; ids and vkeys have no control characters."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
