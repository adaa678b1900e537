"""Trust files: what a client relies on, in one TOML file of its own (architecture section 8).

The ledger's id, the log's keys as an embedded c2sp.org/tlog-policy or, in Rekor, as a list of shards, the hub's keys with
the positions at which each counts, and how much is required. Nothing that is checked against it may come from the message
being checked.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.client.trusted_monitor import TrustedMonitor, check_monitors, parse_monitor
from ledger.encoding import MAX_SAFE_INTEGER, format_base64, parse_base64
from ledger.entry import keyid_of
from ledger.errors import ConfigError, LedgerError, LimitError, SignatureError
from ledger.tlog.signed_note import KeyType, VerifierKey, parse_note
from ledger.tlog.trust_policy import LogKey, TrustPolicy, Witness, format_policy, parse_policy

MAX_TRUST_BYTES = 1 << 20
FORMAT = 1
TREE_ID = " - "
"""What stands before the tree id in the origins of Rekor v1, whose checkpoints are signed under the name before it."""
REQUIRE = ("included", "complete", "audited")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubKey:
    """A key of the hub, and the positions from ``(first_shard, first)`` to before ``(end_shard, end)`` that it may sign.

    A position is (order of the shard, leaf index); a tile log has one shard, 0. ``end`` None: no end.
    """

    spki: bytes
    first: int = 0
    end: int | None = None
    first_shard: int = 0
    end_shard: int = 0

    def __post_init__(self) -> None:
        numbers = (self.first, self.first_shard, self.end_shard, self.end or 0)
        if not all(0 <= each <= MAX_SAFE_INTEGER for each in numbers) or (
            self.end is not None and not self._from < (self.end_shard, self.end)
        ):
            raise ConfigError(
                "leaf indices of a hub key",
                expected="0 <= first < end",
                actual=f"{_place(*self._from)} to {None if self.end is None else _place(self.end_shard, self.end)}",
            )
        load_hub_key(self.spki)

    @property
    def _from(self) -> tuple[int, int]:
        return self.first_shard, self.first

    @property
    def keyid(self) -> str:
        """Hex SHA-256 of the SubjectPublicKeyInfo."""
        return keyid_of(self.spki)

    @property
    def range(self) -> str:
        """The positions at which the key counts, for a message."""
        if self.end is None:
            return f"{_place(*self._from)} to …"
        if self.end == 0:
            return f"{_place(*self._from)} to before {_place(self.end_shard, 0)}"
        return f"{_place(*self._from)} to {_place(self.end_shard, self.end - 1)}"

    def covers(self, leaf_index: int, *, shard: int = 0) -> bool:
        """Whether the key counts at this position."""
        at = shard, leaf_index
        return self._from <= at and (self.end is None or at < (self.end_shard, self.end))


def _place(shard: int, leaf_index: int) -> str:
    return f"{leaf_index} of shard {shard}" if shard else str(leaf_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLog:
    """A log, or one shard of Rekor: the origin of its checkpoints, and the keys that sign them.

    A shard without keys only holds its place among the others: nothing that is said to be from it verifies.
    """

    origin: str
    keys: tuple[VerifierKey, ...]

    @property
    def log_id(self) -> bytes:
        """What Sigstore calls a shard: SHA-256 of name, type and key, or of the SubjectPublicKeyInfo for ECDSA."""
        if not self.keys:
            return b""  # which is the id of no log
        key = self.keys[0]
        if key.kind is KeyType.ECDSA:
            return hashlib.sha256(key.public_key).digest()
        return hashlib.sha256(key.name.encode() + b"\n" + bytes([key.kind]) + key.public_key).digest()


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
    "complete" only; ``monitors`` are those whose statements count for ``require = "audited"``, and ``monitors_needed`` says
    how many of them must, all where it is absent. ``shards`` are those of a
    ledger in Rekor, oldest first; then ``origin`` is empty and the policy asks for no witness. ``update_key`` is the
    file's own offline key, by which the next version is known; without one no update is taken.
    """

    version: int
    ledger: str
    origin: str
    policy: TrustPolicy
    hub: str
    hub_keys: tuple[HubKey, ...]
    require: str = "included"
    max_age: int | None = None
    monitors: tuple[TrustedMonitor, ...] = ()
    monitors_needed: int | None = None
    shards: tuple[TrustedLog, ...] = ()
    update_key: VerifierKey | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.version <= MAX_SAFE_INTEGER:
            raise ConfigError("version of the trust file", expected="a number from 1 on", actual=self.version)
        if self.max_age is not None and not 1 <= self.max_age <= MAX_SAFE_INTEGER:
            raise ConfigError("max_age", expected="seconds, at least 1", actual=self.max_age)
        if not self.is_rekor and not self.policy.keys_of(self.origin):
            raise ConfigError(
                "log policy of the trust file", expected=f"a log key named {self.origin}", actual="none"
            )
        if not self.hub_keys:
            raise ConfigError("hub keys of the trust file", expected="at least one", actual="none")
        if self.require not in REQUIRE:
            raise ConfigError("require", expected="one of " + ", ".join(REQUIRE), actual=self.require)
        check_monitors(self.monitors, self.monitors_needed)
        self._check_update_key()

    def _check_update_key(self) -> None:
        """Refuse a key that is on some server anyway: whoever broke in there could hand out trust files."""
        if self.update_key is None:
            return
        if self.update_key.kind is not KeyType.ED25519:
            raise ConfigError("update_key", expected="an Ed25519 key", actual=self.update_key.kind.name)
        online = (
            *(key for each in self.logs for key in each.keys),
            *(each.key for each in self.policy.witnesses),
            *(each.key for each in self.monitors),
        )
        if any(each.public_key == self.update_key.public_key for each in online):
            raise ConfigError(
                "update_key",
                expected="a key of its own, which is kept offline",
                actual="the key of a log, a witness or a monitor",
            )

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

    @property
    def is_rekor(self) -> bool:
        """Whether the ledger is in Rekor: its leaves hold digests, and it may span shards."""
        return bool(self.shards)

    @property
    def logs(self) -> tuple[TrustedLog, ...]:
        """The shards in order; a tile log is one."""
        return self.shards or (TrustedLog(origin=self.origin, keys=self.log_keys),)

    def log_of(self, note: bytes) -> tuple[int, TrustedLog]:
        """Return the log whose checkpoint this claims to be, and its place among the shards; nothing is verified.

        A shard of Rekor v1 may be listed by its name alone, since its tree's id is in no trusted root; one that is listed
        by the whole origin comes first.

        Raises:
            MalformedError, LimitError: no note. SignatureError: of a log that is not this ledger's.
        """
        if not self.is_rekor:
            return 0, self.logs[0]
        origin = parse_note(note).text.partition(b"\n")[0].decode()
        for wanted in (origin, origin.partition(TREE_ID)[0]):
            for order, each in enumerate(self.shards):
                if each.origin == wanted and each.keys:
                    return order, TrustedLog(origin=origin, keys=each.keys)
        raise SignatureError(
            "origin of the checkpoint", expected=", ".join(each.origin for each in self.shards), actual=origin
        )

    def check_key(self, keyid: str, leaf_index: int, *, shard: int = 0) -> HubKey:
        """Return the hub key that may sign the entry at a proven position.

        Raises:
            SignatureError: no such key, or one that does not count there.
        """
        known = [key for key in self.hub_keys if key.keyid == keyid]
        if not known:
            raise SignatureError("key of the entry", expected="a hub key of the trust file", actual=keyid)
        for key in known:
            if key.covers(leaf_index, shard=shard):
                return key
        raise SignatureError(
            f"leaf index of an entry by key {keyid[:16]}…",
            expected=", ".join(key.range for key in known),
            actual=_place(shard, leaf_index),
        )

    def key_counts(self, keyid: str, position: tuple[int, int]) -> bool:
        """Whether a hub key of this id counts at (order of the shard, index)."""
        shard, index = position
        return any(key.keyid == keyid and key.covers(index, shard=shard) for key in self.hub_keys)

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
_OPTIONAL: Mapping[str, frozenset[str]] = {
    "": frozenset(("require", "max_age", "monitor", "monitors_needed", "update_key")),
    "log": frozenset(("kind", "origin", "policy", "shard")),
    "log.shard": frozenset(("vkey", "spki")),
    "hub": frozenset(),
    "monitor": frozenset(("url",)),
    "hub.key": frozenset(("first", "end", "first_shard", "end_shard")),
}
KINDS: Mapping[str, tuple[str, ...]] = {"tiles": ("origin", "policy"), "rekor": ("shard",)}
"""Kinds of log, and the settings that each has beside its kind."""
_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
"""How every DER SubjectPublicKeyInfo of an Ed25519 key begins (RFC 8410)."""


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
        shards = _shards(table["log"])
        return TrustFile(
            version=table["version"],
            ledger=table["ledger"],
            origin=table["log"].get("origin", ""),
            policy=_policy_of(shards) if shards else parse_policy(table["log"]["policy"].encode()),
            shards=shards,
            hub=table["hub"]["id"],
            hub_keys=tuple(_hub_key(each) for each in table["hub"]["key"]),
            require=table.get("require", "included"),
            max_age=table.get("max_age"),
            monitors=tuple(_monitor(each) for each in table.get("monitor", [])),
            monitors_needed=table.get("monitors_needed"),
            update_key=VerifierKey.parse(table["update_key"]) if "update_key" in table else None,
        )
    except ConfigError:
        raise
    except LedgerError as error:
        raise ConfigError(
            f"trust file: {error.what}", expected=error.expected, actual=error.actual
        ) from error


def _shards(log: Mapping[str, Any]) -> tuple[TrustedLog, ...]:
    """Return the shards of a ledger in Rekor, none for a tile log; each kind has its own settings, and all of them."""
    kind = log.get("kind", "tiles")
    if kind not in KINDS:
        raise ConfigError(
            "setting log.kind of the trust file", expected="one of " + ", ".join(KINDS), actual=kind
        )
    given = tuple(name for name in _TABLES["log"] if name in log and name != "kind")
    if sorted(given) != sorted(KINDS[kind]):
        raise ConfigError(
            f"settings of a log of kind {kind} in the trust file",
            expected=", ".join(KINDS[kind]),
            actual=", ".join(given) or "none",
        )
    shards = tuple(_shard(each) for each in log.get("shard", ()))
    if kind == "rekor" and len({each.origin for each in shards}) != max(1, len(shards)):
        raise ConfigError(
            "shards of the trust file", expected="at least one, each origin once", actual=len(shards)
        )
    return shards


def _shard(table: Any) -> TrustedLog:
    if not isinstance(table, dict):
        raise ConfigError("setting log.shard of the trust file", expected="tables", actual=repr(table))
    _check("log.shard", table)
    match table.get("vkey"), table.get("spki"):
        case str(vkey), None:
            key = VerifierKey.parse(vkey)
        case None, str(spki):
            key = shard_key(table["origin"], parse_base64(spki, what="spki of a shard", max_bytes=1024))
        case None, None:
            # A log whose key nobody here can read: positions count it, as in the trusted root that it comes from.
            return TrustedLog(origin=table["origin"], keys=())
        case _:
            raise ConfigError("key of a shard", expected="vkey or spki", actual="both")
    if key.kind not in (KeyType.ED25519, KeyType.ECDSA):
        raise ConfigError("key of a shard", expected="an Ed25519 or ECDSA key", actual=key.kind.name)
    return TrustedLog(origin=table["origin"], keys=(key,))


def shard_key(origin: str, spki: bytes) -> VerifierKey:
    """Return the key of a shard's checkpoints. Rekor v1 signs under the first word of its origin, ``<name> - <tree id>``."""
    name = origin.partition(TREE_ID)[0]
    if spki.startswith(_ED25519_SPKI):
        return VerifierKey(name=name, kind=KeyType.ED25519, public_key=spki.removeprefix(_ED25519_SPKI))
    return VerifierKey(name=name, kind=KeyType.ECDSA, public_key=spki)


def _policy_of(shards: tuple[TrustedLog, ...]) -> TrustPolicy:
    """Return the policy by which C2SP proofs of the shards are verified: those of Rekor v1 have no such proofs."""
    keys = (key for each in shards for key in each.keys if key.name == each.origin)
    return TrustPolicy(logs=tuple(LogKey(key=key) for key in keys))


def _monitor(table: Any) -> TrustedMonitor:
    if not isinstance(table, dict):
        raise ConfigError("setting monitor of the trust file", expected="tables", actual=repr(table))
    _check("monitor", table)
    return parse_monitor(table)


def _hub_key(table: Any) -> HubKey:
    if not isinstance(table, dict):
        raise ConfigError("setting hub.key of the trust file", expected="tables", actual=repr(table))
    _check("hub.key", table)
    spki = parse_base64(table["spki"], what="spki of a hub key", max_bytes=1024)
    numbers = {name: table[name] for name in _OPTIONAL["hub.key"] if name in table}
    return HubKey(spki=spki, **numbers)


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
        if key not in table and key not in _OPTIONAL[name]:
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
        *([] if trust.monitors_needed is None else [f"monitors_needed = {trust.monitors_needed}"]),
        *([] if trust.update_key is None else [f'update_key = "{_escape(trust.update_key.format())}"']),
        "",
        *_format_log(trust),
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
        lines += [
            f"{name} = {shard}"
            for name, shard in (("first_shard", key.first_shard), ("end_shard", key.end_shard))
            if shard
        ]
    for each in trust.monitors:
        lines += _format_monitor(each)
    return ("\n".join(lines) + "\n").encode()


def _format_log(trust: TrustFile) -> list[str]:
    if not trust.is_rekor:
        return [
            "[log]",
            f'origin = "{_escape(trust.origin)}"',
            f'policy = """\n{_escape(format_policy(trust.policy))}"""',
        ]
    lines = ["[log]", 'kind = "rekor"']
    for each in trust.shards:
        lines += ["", "[[log.shard]]", f'origin = "{_escape(each.origin)}"']
        lines += [f'vkey = "{_escape(key.format())}"' for key in each.keys[:1]]
    return lines


def _format_monitor(monitor: TrustedMonitor) -> list[str]:
    lines = [
        "",
        "[[monitor]]",
        f'vkey = "{_escape(monitor.key.format())}"',
        f"max_age = {monitor.max_age}",
    ]
    return lines if monitor.url is None else [*lines, f'url = "{_escape(monitor.url)}"']


def _escape(text: str) -> str:
    """Escape what ends or changes a TOML basic string; ids and vkeys have no control characters."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
