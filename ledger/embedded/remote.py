"""A ledger in Rekor, in one directory: made, opened for recording, opened for reading (``log = rekor-v2 | rekor-v1``).

::

    DIR/outbox.db   what was accepted, where it is logged, and where heads live: the truth, and never to be lost
    DIR/trust/      the trusted root and signing config that the ledger was made with

Everything else is where a ledger with a log of its own has it; there is no ``log/`` and no log key.
"""

import contextlib
import logging
import pathlib
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ledger.bundle.export import format_rekor_proof, format_sigstore_bundle
from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import HubKey, TrustedLog, shard_key
from ledger.config import Config, RekorConfig
from ledger.encoding import format_base64
from ledger.errors import ConfigError, LedgerError, NotFoundError, RestoredError, SourceError, UsageError
from ledger.index import Index
from ledger.log.dispatch import DispatchConfig, Dispatcher
from ledger.log.fetch import fetch_from_url
from ledger.log.outbox import Fate, Outbox, fate_of
from ledger.log.receipts import Prover, bodies_of
from ledger.log.remote import LogReceipt, RemoteLog, Shard
from ledger.log.trusted_root import MAX_TRUST_BYTES, Instance, fetch_public, load_instance
from ledger.storage.directory import read_file, write_file_durably
from ledger.storage.evidence import Evidence
from ledger.storage.outbox import OutboxStore, StoredReceipt, pages
from ledger.tlog.trust_policy import LogKey, TrustPolicy

_logger = logging.getLogger(__name__)

TRUST_FOLDER = "trust"
PROOF_SUFFIX = ".tlog-proof"
_PUBLIC = f"{TRUST_FOLDER}/public.json"
_REFRESH_SECONDS = 3600
READ_SECONDS = 5.0
"""How long one object of a log may take to be read."""
TURN_SECONDS = 25.0
"""For how long whoever submits keeps others from recording: Rekor answers within twenty seconds, or not at all."""
LOCK_SECONDS = 40.0
"""How long a recording waits for its turn."""
_WRITERS = 32
"""Statements that are written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RekorSource:
    """Which Rekor a new ledger is in: its kind, the files that name the instance (none: Sigstore's public one)."""

    kind: str
    trust_config: pathlib.Path | None = None
    trusted_root: pathlib.Path | None = None
    signing_config: pathlib.Path | None = None
    read_url: str = ""

    @property
    def _files(self) -> dict[str, pathlib.Path]:
        """The files that were given, by where they are kept in a ledger's directory."""
        given = {
            "trust_config": self.trust_config,
            "trusted_root": self.trusted_root,
            "signing_config": self.signing_config,
        }
        return {
            f"{TRUST_FOLDER}/{name.replace('_', '-')}.json": path
            for name, path in given.items()
            if path is not None
        }

    @contextlib.contextmanager
    def naming_files(self, root: pathlib.Path) -> Iterator[None]:
        """Name what is wrong in a copied file by the path that was given: nobody knows the copy, and it goes away."""
        try:
            yield
        except LedgerError as error:
            for target, path in self._files.items():
                error.what = error.what.replace(str(root / target), str(path))
            raise

    def copy_files(self, root: pathlib.Path) -> RekorConfig:
        """Copy the files into a ledger's directory; returns the settings that name them there.

        Raises:
            NotFoundError, LimitError: a file that cannot be read. ConfigError: a combination that names no instance.
        """
        copied = {pathlib.PurePath(target).stem.replace("-", "_"): target for target in self._files}
        config = RekorConfig(
            trust_config=copied.get("trust_config", ""),
            trusted_root=copied.get("trusted_root", ""),
            signing_config=copied.get("signing_config", ""),
            read_url=self.read_url,
        )
        if copied:
            (root / TRUST_FOLDER).mkdir(mode=0o755)
        for target, path in self._files.items():
            write_file_durably(root / target, read_file(path, max_bytes=MAX_TRUST_BYTES), mode=0o644)
        return config


def load_rekor(config: Config, root: pathlib.Path, *, refresh: bool = False) -> Instance:
    """Read the instance of a ledger in Rekor, Sigstore's public one from the copy that was kept when it was last fetched.

    ``refresh``: fetch it again if that was an hour ago. An event is accepted also where that fails.

    Raises:
        ConfigError: it has no shard of this kind. SourceError: the public instance was never fetched, and cannot be.
    """
    rekor = config.rekor
    if not rekor.trust_config and not rekor.trusted_root:
        _keep_public(root, refresh=refresh)
        rekor = replace(rekor, trust_config=_PUBLIC)
    instance = load_instance(rekor, root)
    kinds = {each.kind for each in instance.shards}
    if config.log not in kinds:
        raise ConfigError(
            "shards of the trusted root",
            expected=f"one of kind {config.log}",
            actual=", ".join(sorted(kinds)) or "none",
        )
    return instance


def _keep_public(root: pathlib.Path, *, refresh: bool) -> None:
    """Fetch the public instance into the ledger's directory, if there is none or it is old."""
    path = root / _PUBLIC
    known = path.is_file()
    if known and not (refresh and _age(path) >= _REFRESH_SECONDS):
        return
    try:
        data = fetch_public()
    except SourceError as error:
        if not known:
            raise
        _logger.warning("going on with the trust root that was kept: %s", error.finding)
        path.touch()  # not asked again at every turn: that would hold up whoever records
        return
    path.parent.mkdir(mode=0o755, exist_ok=True)
    write_file_durably(path, data, mode=0o644)


def _age(path: pathlib.Path) -> float:
    return time.time() - path.stat().st_mtime  # noqa: TID251 - how old a file is


def check_stamping(config: Config, instance: Instance) -> None:
    """Refuse to go without the timestamps that the settings ask for. Raises ConfigError."""
    if config.rekor.timestamps and config.log != "rekor-v2":
        raise ConfigError(
            "rekor.timestamps",
            expected=f"false in {config.log}, which gives each entry a time of its own",
            actual="true",
        )
    if config.rekor.timestamps and not instance.tsa_urls:
        raise ConfigError(
            "timestamp authorities", expected="one in the signing config, for rekor.timestamps", actual="none"
        )


def first_trust(config: Config, instance: Instance, spki: bytes) -> TrustFile:
    """Return the first trust file of a ledger in Rekor: its shards in order, its hub key from the first position on."""
    # A log whose key cannot be used keeps its place: a position is the same for every reader.
    places = {order: TrustedLog(origin=name, keys=()) for order, name in instance.unusable.items()}
    places |= {
        each.order: TrustedLog(origin=each.origin, keys=(shard_key(each.origin, each.spki),))
        for each in instance.shards
    }
    shards = tuple(each for _, each in sorted(places.items()))
    keys = (key for each in shards for key in each.keys if key.name == each.origin)
    return TrustFile(
        version=1,
        ledger=config.ledger,
        origin="",
        policy=TrustPolicy(logs=tuple(LogKey(key=key) for key in keys)),
        hub=config.hub,
        hub_keys=(HubKey(spki=spki),),
        shards=shards,
    )


def open_outbox(
    path: pathlib.Path,
    instance: Instance,
    trust: TrustFile,
    evidence: Evidence,
    *,
    stack: contextlib.ExitStack,
) -> Outbox:
    """Open the outbox of a ledger for writing; ``stack`` closes it."""
    store = OutboxStore(path)
    stack.callback(store.close)
    pool = stack.enter_context(ThreadPoolExecutor(_WRITERS, thread_name_prefix="statements"))

    def keep(statements: Iterable[bytes]) -> None:
        """Store statements, each in a file: syncs that run side by side share their wait for the disk."""
        for _ in pool.map(lambda each: evidence.put([each]), statements):
            pass

    return Outbox(store, _prover(instance, trust), keep)


def refuse_old_copy(outbox: Outbox, index: Index) -> None:
    """Refuse an outbox that is older than the index beside it: the index only ever mirrors what was accepted.

    Raises:
        RestoredError: it is. Its next event would be chained to heads that are not the last ones.
    """
    if (mirrored := index.position()) > outbox.size:
        raise RestoredError(
            "entries in outbox.db",
            expected=f"at least {mirrored}, which are in index.db",
            actual=outbox.size,
            next_step="Restore the newest copy of outbox.db: recording into this one would fork histories. If there is none, "
            "`hubledger index rebuild --scan` says what Rekor v2 has and this one has not",
        )


def _prover(instance: Instance, trust: TrustFile) -> Prover:
    return Prover(
        shards=instance.shards,
        keys=instance.keys,
        hub_keys={each.keyid: each.spki for each in trust.hub_keys},
        authorities=instance.authorities,
        key_counts=trust.key_counts,
        first_shard=trust.first_shard,
    )


def dispatching(outbox: Outbox, config: Config, instance: Instance, **changes: Any) -> Dispatcher:
    """Return what drains the outbox of a ledger while it is open."""
    from ledger.log.rekor_v1 import RekorV1
    from ledger.log.rekor_v2 import RekorV2

    def connect(shard: Shard) -> RemoteLog:
        if shard.kind == "rekor-v1":
            return RekorV1(shard, instance.keys, in_flight=config.rekor.in_flight)
        stamping = config.rekor.timestamps
        return RekorV2(
            shard,
            instance.keys,
            in_flight=config.rekor.in_flight,
            # One try of a few seconds: the outbox tries again, and whoever waits for it has said for how long.
            fetch=fetch_from_url(shard.read_url, timeout=READ_SECONDS, tries=1),
            tsa_urls=instance.tsa_urls if stamping else (),
            authorities=instance.authorities if stamping else (),
        )

    return Dispatcher(
        outbox,
        DispatchConfig(
            kind=config.log,
            shards=instance.shards,
            connect=connect,
            in_flight=config.rekor.in_flight,
            **changes,
        ),
    )


class AcceptedLog:
    """What a ledger in Rekor accepted, for those who only read; a writer may run beside it."""

    def __init__(
        self,
        path: pathlib.Path,
        config: Config,
        trust: TrustFile,
        *,
        root: pathlib.Path,
        prover: Prover | None = None,
    ) -> None:
        self.path, self._config, self._trust, self._root = path, config, trust, root
        self._store: OutboxStore | None = None
        self._prover = prover

    def again(self) -> "AcceptedLog":
        """Return the same for another thread: with a connection of its own, and the trusted root that is read already."""
        return AcceptedLog(self.path, self._config, self._trust, root=self._root, prover=self.prover)

    @property
    def store(self) -> OutboxStore:
        """The file, opened when it is first asked and closed with this object."""
        if self._store is None:
            self._store = OutboxStore(self.path, read_only=True)
            weakref.finalize(self, self._store.close)
        return self._store

    @property
    def prover(self) -> Prover:
        """What its receipts are proven with."""
        if self._prover is None:
            self._prover = _prover(load_rekor(self._config, self._root), self._trust)
        return self._prover

    def size(self) -> int:
        """How many entries were accepted."""
        return self.store.size()

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield accepted entries in the order of acceptance."""
        yield from pages(self.store, start, end)

    def fate(self, number: int) -> Fate:
        """Return what became of an entry, each of its places proven again. Raises NotFoundError, CorruptError."""
        if not 0 <= number < self.size():
            raise NotFoundError(
                f"number {number}",
                expected=f"a number below {self.size()}",
                actual="one that was not accepted",
            )
        return fate_of(self.store, self.prover, number, next(self.read(number, number + 1)))

    def places_of(self, start: int, end: int) -> dict[int, list[StoredReceipt]]:
        """Return the stored places of the entries ``[start, end)``, not proven."""
        found: dict[int, list[StoredReceipt]] = {}
        for at in range(start, end, 500):
            for each in self.store.receipts_from(at):
                if each.number < end:
                    found.setdefault(each.number, []).append(each)
        return found


def fate_facts(fate: Fate) -> dict[str, Any]:
    """Return as JSON facts what became of an entry: its state, its lowest place and how many more it has."""
    facts: dict[str, Any] = {"number": fate.number, "state": state_of(fate), "logged": bool(fate.receipts)}
    if fate.receipts:
        facts |= place_facts(fate.receipts[0])
        if len(fate.receipts) > 1:
            facts["alsoAt"] = [
                {
                    "shardOrder": each.shard.order,
                    "leafIndex": each.proven.leaf_index,
                    "logIndex": each.proven.index,
                }
                for each in fate.receipts[1:]
            ]
    if fate.pending is not None:
        facts["attempts"] = fate.pending.attempts
        if fate.pending.code:
            facts["lastError"] = {"error": fate.pending.code, "message": fate.pending.text}
    if fate.dropped is not None:
        facts["dropped"] = {"reason": fate.dropped.reason, "at": fate.dropped.dropped_at}
    return facts


def state_of(fate: Fate) -> str:
    """Return ``logged``, ``pending``, ``refused`` or ``dropped``; what is dropped and logged all the same is logged."""
    if fate.receipts:
        return "logged"
    if fate.dropped is not None:
        return "dropped"
    return "refused" if fate.pending is not None and fate.pending.refused else "pending"


def place_facts(receipt: LogReceipt) -> dict[str, Any]:
    """Return where an entry is as JSON facts; ``logIndex`` is what Rekor calls it."""
    proven = receipt.proven
    facts: dict[str, Any] = {
        "shard": proven.tree.origin,
        "shardOrder": receipt.shard.order,
        "leafIndex": proven.leaf_index,
        "logIndex": proven.index,
        "logId": format_base64(proven.log_id),
        "checkpoint": {
            "origin": proven.tree.origin,
            "size": proven.tree.size,
            "rootHash": proven.tree.root_hash.hex(),
        },
    }
    if proven.integrated_time is not None:
        facts["integratedTime"] = proven.integrated_time
    if receipt.timestamps:
        facts["timestamps"] = len(receipt.timestamps)
    return facts


def format_logged(fate: Fate, prover: Prover, *, name: str) -> bytes:
    """Format the proof of an entry: a C2SP proof where the file is called ``….tlog-proof``, else a Sigstore bundle.

    Raises:
        NotFoundError: it is not logged. MalformedError: a C2SP proof of an entry in Rekor v1, which has none.
    """
    signed = prover.signed(fate.entry)
    # A stranger's copy with the twin of the signature is a place of the event, and no proof of these bytes.
    own = [
        each
        for each in prover.counting_first(signed.keyid, fate.receipts)
        if each.proven.body in bodies_of(signed, each.proven.kind)[:1]
    ]
    if not own:
        raise NotFoundError(
            f"proof of number {fate.number}",
            expected="a place in the log",
            actual=f"none, it is {state_of(fate)}",
            next_step="`hubledger outbox status` says why; what is pending is submitted by `hubledger outbox retry`",
        )
    spki = signed.verifier.der
    if name.endswith(PROOF_SUFFIX):
        return format_rekor_proof(fate.entry, spki=spki, log_entry=own[0].log_entry)
    return format_sigstore_bundle(
        fate.entry, spki=spki, log_entries=[own[0].log_entry], timestamps=own[0].timestamps
    )


def refuse_own_log_options(not_older_than: Sequence[pathlib.Path], *, start_unchecked: bool) -> None:
    """Refuse what concerns a log of one's own. Raises UsageError."""
    if not_older_than or start_unchecked:
        raise UsageError(
            "--not-older-than and --start-unchecked",
            expected="a ledger with a log of its own",
            actual="one in Rekor",
            next_step="After restoring an outbox, `hubledger index rebuild --scan` says what Rekor has and it has not",
        )
