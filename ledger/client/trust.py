"""Trust files: what a client relies on, in one TOML file of its own (architecture section 8).

The ledger's id, the log's keys as an embedded c2sp.org/tlog-policy or, in Rekor, as a list of shards, the hub's keys with
the positions at which each counts, and how much is required. Nothing that is checked against it may come from the message
being checked.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from ledger.client.trust_tables import KINDS, OPTIONAL, TABLES, check_table
from ledger.client.trusted_keys import TREE_ID, HubKey, TrustedLog, format_place, load_hub_key, shard_key
from ledger.client.trusted_monitor import TrustedMonitor, check_monitors, parse_monitor
from ledger.encoding import MAX_SAFE_INTEGER, parse_base64
from ledger.errors import ConfigError, LedgerError, LimitError, SignatureError
from ledger.tlog.signed_note import KeyType, VerifierKey, parse_note
from ledger.tlog.trust_policy import LogKey, TrustPolicy, Witness, parse_policy

MAX_TRUST_BYTES = 1 << 20
FORMAT = 1


REQUIRE = ("included", "complete", "audited")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFile:
    """A parsed trust file.

    ``version`` rises by one with every change; ``max_age`` is in seconds and judges claims about "latest" and
    "complete" only; ``monitors`` are those whose statements count for ``require = "audited"``, and ``monitors_needed`` says
    how many of them must, all where it is absent. ``shards`` are those of a
    ledger in Rekor, oldest first; then ``origin`` is empty and the policy asks for no witness. ``update_key`` is the
    file's own offline key, by which the next version is known; without one no update is taken. No file is of a log alone
    (``trust_in_log``), whose entries say nothing of a hub.
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
        if not self.hub_keys and not self.is_of_log_alone:
            raise ConfigError("hub keys of the trust file", expected="at least one", actual="none")
        if self.require not in REQUIRE:
            raise ConfigError("require", expected="one of " + ", ".join(REQUIRE), actual=self.require)
        check_monitors(self.monitors, self.monitors_needed)
        self._check_update_key()

    @property
    def is_of_log_alone(self) -> bool:
        """Whether nothing is trusted but who signs the log."""
        return not self.hub

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
            actual=format_place(shard, leaf_index),
        )

    def key_counts(self, keyid: str, position: tuple[int, int]) -> bool:
        """Whether a hub key of this id counts at (order of the shard, index)."""
        shard, index = position
        return any(key.keyid == keyid and key.covers(index, shard=shard) for key in self.hub_keys)

    def first_shard(self, keyid: str) -> int:
        """Return the first shard in which a hub key of this id counts; 0 for one that is not known."""
        return min((key.first_shard for key in self.hub_keys if key.keyid == keyid), default=0)

    def entry_key(self, keyid: str, leaf_index: int) -> ec.EllipticCurvePublicKey:
        """Load the key that ``check_key`` allows. Raises SignatureError."""
        return load_hub_key(self.check_key(keyid, leaf_index).spki)


def trust_in_log(policy: TrustPolicy) -> TrustFile:
    """Return what is trusted where nothing is known but who signs and who cosigns a tile log.

    Raises:
        ConfigError: keys of no log, or of more than one.
    """
    origins = sorted({each.key.name for each in policy.logs})
    if len(origins) != 1:
        raise ConfigError("logs", expected="the keys of one log", actual=", ".join(origins) or "none")
    return TrustFile(version=1, ledger=origins[0], origin=origins[0], policy=policy, hub="", hub_keys=())


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
    check_table("", table)
    check_table("log", table["log"])
    check_table("hub", table["hub"])
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
            hub=_hub_id(table["hub"]["id"]),
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


def _hub_id(id_: str) -> str:
    if not id_:
        raise ConfigError("setting hub.id of the trust file", expected="the id of a hub", actual="nothing")
    return id_


def _shards(log: Mapping[str, Any]) -> tuple[TrustedLog, ...]:
    """Return the shards of a ledger in Rekor, none for a tile log; each kind has its own settings, and all of them."""
    kind = log.get("kind", "tiles")
    if kind not in KINDS:
        raise ConfigError(
            "setting log.kind of the trust file", expected="one of " + ", ".join(KINDS), actual=kind
        )
    given = tuple(name for name in TABLES["log"] if name in log and name != "kind")
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
    check_table("log.shard", table)
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


def _policy_of(shards: tuple[TrustedLog, ...]) -> TrustPolicy:
    """Return the policy by which C2SP proofs of the shards are verified: those of Rekor v1 have no such proofs."""
    keys = (key for each in shards for key in each.keys if key.name == each.origin)
    return TrustPolicy(logs=tuple(LogKey(key=key) for key in keys))


def _monitor(table: Any) -> TrustedMonitor:
    if not isinstance(table, dict):
        raise ConfigError("setting monitor of the trust file", expected="tables", actual=repr(table))
    check_table("monitor", table)
    return parse_monitor(table)


def _hub_key(table: Any) -> HubKey:
    if not isinstance(table, dict):
        raise ConfigError("setting hub.key of the trust file", expected="tables", actual=repr(table))
    check_table("hub.key", table)
    spki = parse_base64(table["spki"], what="spki of a hub key", max_bytes=1024)
    numbers = {name: table[name] for name in OPTIONAL["hub.key"] if name in table}
    return HubKey(spki=spki, **numbers)
