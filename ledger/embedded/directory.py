"""A ledger in one directory: make it, open it for recording, open it for reading.

::

    DIR/hubledger.toml   settings            DIR/log/        the public log: checkpoint, tile/…
    DIR/trust.toml       for clients         DIR/evidence/   bundles, manifests, policies by SHA-256
    DIR/keys/            private, 0600       DIR/ledger.db   commits: the truth
    DIR/anchors/         checkpoints in      DIR/index.db, DIR/digests.db  derived
                         another log

A ledger in Rekor has ``outbox.db`` in the place of ``ledger.db`` and ``log/``; ``ledger.embedded.remote`` is what differs.
"""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.client.trust import MAX_TRUST_BYTES, TrustFile, parse_trust
from ledger.client.trust_writing import format_trust
from ledger.config import FILE_NAME, Config, format_config, load_config
from ledger.digests import DigestIndex
from ledger.embedded.clock import posix_of, utc_now
from ledger.embedded.keys import MAX_KEY_BYTES, Keys, format_key, hub_spki, load_keys, load_public_key
from ledger.embedded.kms import SignerSource, load_signer
from ledger.embedded.watching import Watch, WatchedCommits
from ledger.embedded.withdrawing import finish_withdrawals
from ledger.errors import ConfigError, NotEmptyError, UsageError, WriteError
from ledger.index import Index
from ledger.log.fetch import fetch_from_folder
from ledger.log.freshness import Hint, Source, from_file, from_url
from ledger.log.local import LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.log.lock import writer_lock
from ledger.log.published import PublishedLog
from ledger.policy import tofu
from ledger.recorder import Recorder
from ledger.storage import LogState
from ledger.storage.directory import DirectoryObjects, read_file, sync_folder, write_file_durably
from ledger.storage.evidence import Evidence
from ledger.storage.identities import IdentityKeys
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, VerifiedCheckpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, VerifierKey

if TYPE_CHECKING:  # who has a log of their own does not pay for what Rekor needs
    from ledger.embedded.remote import AcceptedLog, RekorSource
    from ledger.log.outbox import Outbox
    from ledger.log.trusted_root import Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things are in a ledger directory."""

    root: pathlib.Path

    @property
    def trust(self) -> pathlib.Path:
        """The trust file for clients of this ledger."""
        return self.root / "trust.toml"

    @property
    def public(self) -> pathlib.Path:
        """The tlog-tiles log: serve this folder with any static web server."""
        return self.root / "log"

    @property
    def commits(self) -> pathlib.Path:
        """The commit store."""
        return self.root / "ledger.db"

    @property
    def outbox(self) -> pathlib.Path:
        """The outbox of a ledger in Rekor, in the place of the commit store and of the log."""
        return self.root / "outbox.db"

    @property
    def index(self) -> pathlib.Path:
        """The index."""
        return self.root / "index.db"

    @property
    def digests(self) -> pathlib.Path:
        """Which statements name which digest, and which manifests hold which file: derived, as the index is."""
        return self.root / "digests.db"

    @property
    def statements(self) -> pathlib.Path:
        """Of a ledger in Rekor: which entry is meant by a digest, derived."""
        return self.root / "statements.db"

    @property
    def identities(self) -> pathlib.Path:
        """The keys of committed identities, mode 0600: a secret, and not derived."""
        return self.root / "identities.db"

    @property
    def anchors(self) -> pathlib.Path:
        """Checkpoints that were anchored in another log."""
        return self.root / "anchors"

    @property
    def evidence(self) -> pathlib.Path:
        """Evidence by SHA-256."""
        return self.root / "evidence"


def init(
    directory: pathlib.Path,
    *,
    origin: str,
    hub: str,
    rekor: "RekorSource | None" = None,
    signer: SignerSource | None = None,
    now: Callable[[], str] = utc_now,
) -> TrustFile:
    """Make a new ledger: keys, settings, trust file, a published log whose first entry is the hub's key.

    With ``rekor`` its log is there: there is no log key, and the hub's key is the first entry that is accepted for it.
    With ``signer`` the hub's key is elsewhere already: none is made.
    Everything is made beside the directory and moved into place at the end: it is all there, or nothing is.

    Raises:
        NotEmptyError: the directory exists and holds something.
        ConfigError: an origin or hub id that cannot be one.
        WriteError: it could not be written.
    """
    config = Config(ledger=origin, hub=hub, log=rekor.kind if rekor is not None else "local")
    if signer is not None:
        hub_key, uri, secret = signer.settings()
        config = replace(config, hub_key=hub_key, hub_signer=uri, hub_signer_secret=secret)
        load_public_key(signer.public_key)
    directory = directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise NotEmptyError(
            f"directory {directory}",
            expected="a new or empty directory",
            actual="something in it" if directory.is_dir() else "a file",
            next_step="Name another directory; a ledger is never made over something else",
        )
    building = directory.with_name(f".{directory.name}.init-{os.getpid()}")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        building.mkdir(mode=0o755)
        trust = (
            _build(building, config, signer, now)
            if rekor is None
            else _build_in_rekor(building, config, rekor, signer, now)
        )
        sync_folder(building)
        # If we stop here, the ledger has no name yet: init runs again.
        building.rename(directory)
        sync_folder(directory.parent)
    except OSError as error:
        raise WriteError(
            f"making {directory}",
            expected="a writable place",
            actual=error.strerror,
            next_step="Name a place where this user can make a folder; nothing was left behind",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return trust


def _make_hub_key(root: pathlib.Path, config: Config, signer: SignerSource | None) -> bytes:
    """Make the hub's key, or keep the public half of one that is elsewhere; returns its SubjectPublicKeyInfo."""
    path = root / config.hub_key
    if signer is not None:
        write_file_durably(path, read_file(signer.public_key, max_bytes=MAX_KEY_BYTES), mode=0o644)
    else:
        write_file_durably(path, format_key(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
    return hub_spki(root, config)


def _build(
    root: pathlib.Path, config: Config, signer: SignerSource | None, now: Callable[[], str]
) -> TrustFile:
    layout = Layout(root=root)
    (root / "keys").mkdir(mode=0o700)
    log_key = Ed25519NoteSigner(config.ledger, ed25519.Ed25519PrivateKey.generate())
    cosigner = Ed25519NoteSigner(config.ledger, ed25519.Ed25519PrivateKey.generate())
    _make_hub_key(root, config, signer)
    write_file_durably(root / config.log_key, log_key.format_private().encode() + b"\n", mode=0o600)
    write_file_durably(root / config.cosigner_key, cosigner.format_private().encode() + b"\n", mode=0o600)
    write_file_durably(root / FILE_NAME, format_config(config), mode=0o644)
    keys = load_keys(root, config)
    trust = TrustFile.for_new_ledger(
        ledger=config.ledger,
        log_keys=(keys.verifier,),
        clock=keys.clock.verifier,
        hub=config.hub,
        hub_key=keys.spki,
    )
    write_file_durably(layout.trust, format_trust(trust), mode=0o644)
    Evidence(_evidence_objects(layout, config)).put([tofu.POLICY_DOCUMENT])
    empty = Checkpoint(origin=config.ledger, size=0, root_hash=merkle.EMPTY_ROOT)
    note = keys.sign(empty)
    SqliteCommits.create(
        layout.commits,
        LogState(
            size=0,
            root=merkle.EMPTY_ROOT,
            frontier=(),
            target_size=0,
            target_root=merkle.EMPTY_ROOT,
            signed_note=note,
            published_size=0,
        ),
    ).close()
    DirectoryObjects(layout.public).replace("checkpoint", note)
    with open_for_recording(root, now=now) as ledger:
        ledger.recorder.announce_key(keys.spki)
        ledger.publish()
    return trust


def _build_in_rekor(
    root: pathlib.Path,
    config: Config,
    rekor: "RekorSource",
    signer: SignerSource | None,
    now: Callable[[], str],
) -> TrustFile:
    from ledger.embedded import remote
    from ledger.storage.outbox import OutboxStore

    layout = Layout(root=root)
    (root / "keys").mkdir(mode=0o700)
    spki = _make_hub_key(root, config, signer)
    config = replace(config, rekor=rekor.copy_files(root))
    write_file_durably(root / FILE_NAME, format_config(config), mode=0o644)
    with rekor.naming_files(root):
        instance = remote.load_rekor(config, root)
    trust = remote.first_trust(config, instance, spki)
    write_file_durably(layout.trust, format_trust(trust), mode=0o644)
    Evidence(_evidence_objects(layout, config)).put([tofu.POLICY_DOCUMENT])
    OutboxStore.create(layout.outbox).close()
    with open_for_recording(root, now=now) as ledger:
        ledger.recorder.announce_key(spki)
    return trust


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLedger:
    """A ledger that this process writes. ``instance`` is the Sigstore instance of one in Rekor."""

    layout: Layout
    config: Config
    log: "LocalLog | Outbox"
    index: Index
    digests: DigestIndex
    evidence: Evidence
    identities: IdentityKeys
    recorder: Recorder[Any]
    instance: "Instance | None" = None

    def publish(self, *, quorum_within: float | None = None) -> VerifiedCheckpoint | None:
        """Publish what is durable, and bring the index up to it. In Rekor the outbox is drained later: None.

        ``quorum_within``: wait until witnesses made the quorum for it, these seconds at most.

        Raises:
            QuorumError: they have not, and it was waited for or is required; what was recorded is durable.
        """
        if isinstance(self.log, LocalLog):
            if quorum_within is not None:
                self.log.await_quorum(quorum_within)
            return cast("Recorder[LocalLog]", self.recorder).publish()
        self.recorder.flush_index()
        return None


@contextlib.contextmanager
def open_for_recording(
    directory: pathlib.Path,
    *,
    not_older_than: Sequence[pathlib.Path] = (),
    start_unchecked: bool = False,
    scanned: bool = False,
    watch: Watch | None = None,
    now: Callable[[], str] = utc_now,
) -> Iterator[OpenLedger]:
    """Open a ledger for writing, as its only writer.

    ``not_older_than`` names checkpoint files that were kept elsewhere: a directory older than one of them refuses
    to write. ``scanned``: what is written is places that a scan found, which an old outbox may be told. ``watch`` is told
    what is done.

    Raises:
        WriterLockedError: another process writes it. ConfigError, CorruptError: it cannot be used as it is.
        RestoredError: it is older than what was shown, or an outbox older than the index beside it.
        UsageError: a way to tell old copies that a ledger in Rekor does not have.
    """
    config = load_config(directory)
    layout = Layout(root=directory)
    hub_signer = load_signer(directory, config)
    with contextlib.ExitStack() as stack:
        instance = None
        if config.log == "local":
            keys = load_keys(directory, config)
            sources = [from_file(path) for path in not_older_than]
            if config.public_url:
                sources.append(from_url(config.public_url))
            stack.enter_context(writer_lock(directory / "lock"))
            # Whoever signed before may have shown more than this directory knows, while its key is trusted.
            log_keys = tuple(
                dict.fromkeys((*(each.verifier for each in keys.signers), *load_trust(layout).log_keys))
            )
            hints = _hints(layout, config, log_keys, now=posix_of(now()))
            log_config = _log_config(config, keys, log_keys, sources, hints, start_unchecked=start_unchecked)
            if config.witness.policy:
                from ledger.embedded.witnesses import open_witnesses

                witnesses = open_witnesses(config, directory, keys, stack, log_keys=log_keys)
                log_config = replace(log_config, witnesses=witnesses)
            log: LocalLog | Outbox = _open_local(layout, log_config, stack, watch)
            evidence = _open_evidence(layout, config)
        else:
            from ledger.embedded import remote

            remote.refuse_own_log_options(not_older_than, start_unchecked=start_unchecked)
            instance, trust = remote.load_rekor(config, directory, refresh=True), load_trust(layout)
            remote.check_stamping(config, instance)
            stack.enter_context(writer_lock(directory / "lock", wait=remote.LOCK_SECONDS))
            evidence = _open_evidence(layout, config)
            log = remote.open_outbox(layout.outbox, instance, trust, evidence, stack=stack)
        index = Index(layout.index)
        stack.callback(index.close)
        if not isinstance(log, LocalLog) and not scanned:
            remote.refuse_old_copy(log, index)
        digests = DigestIndex(layout.digests)
        stack.callback(digests.close)
        recorder = Recorder(
            ledger=config.ledger,
            hub=config.hub,
            log=log,
            index=index,
            signer=hub_signer,
            now=now,
            told=watch.recorded if watch is not None else None,
        )
        stack.callback(recorder.close)
        identities = IdentityKeys(layout.identities)
        stack.callback(identities.close)
        finish_withdrawals(evidence, identities, log, hub=config.hub)
        yield OpenLedger(
            layout=layout,
            config=config,
            log=log,
            index=index,
            digests=digests,
            evidence=evidence,
            identities=identities,
            recorder=recorder,
            instance=instance,
        )


def _open_local(
    layout: Layout, config: LocalLogConfig, stack: contextlib.ExitStack, watch: Watch | None
) -> LocalLog:
    objects = DirectoryObjects(layout.public)
    objects.sweep()
    commits = SqliteCommits(layout.commits)
    stack.callback(commits.close)
    return LocalLog(commits if watch is None else WatchedCommits(commits, watch), objects, config)


def _open_evidence(layout: Layout, config: Config) -> Evidence:
    objects = _evidence_objects(layout, config)
    objects.sweep()
    return Evidence(objects)


def _evidence_objects(layout: Layout, config: Config) -> DirectoryObjects:
    """Return the evidence as files for its owner: bundles name people, and no web server needs them.

    The folder keeps others out, so those inside need no mode of their own. Whoever opened it to a group keeps that, unless
    signers are held back.
    """
    try:
        if not layout.evidence.exists():
            layout.evidence.mkdir(mode=0o700)
            sync_folder(layout.root)
        elif "committed" in (config.identity_mode, config.private) and layout.evidence.stat().st_mode & 0o077:
            layout.evidence.chmod(0o700)
    except OSError as error:
        raise WriteError(
            f"folder {layout.evidence}",
            expected="a folder that only its owner reads",
            actual=error.strerror,
            next_step="Make it, and its folder, writable for this user",
        ) from error
    return DirectoryObjects(layout.evidence, file_mode=0o600)


def _hints(layout: Layout, config: Config, log_keys: Sequence[VerifierKey], *, now: int) -> Sequence[Hint]:
    """Return what anchors may say about the age of this directory; whoever has none pays nothing for it."""
    if not config.anchor.log and not layout.anchors.exists():
        return ()
    from ledger.embedded.anchor_hints import hints

    return hints(layout.root, config, anchors=layout.anchors, keys=log_keys, now=now)


def _log_config(
    config: Config,
    keys: Keys,
    log_keys: Sequence[VerifierKey],
    sources: Sequence[Source],
    hints: Sequence[Hint],
    *,
    start_unchecked: bool,
) -> LocalLogConfig:
    return LocalLogConfig(
        origin=config.ledger,
        keys=log_keys,
        sign=keys.sign,
        publish_interval=config.publish_interval,
        sources=sources,
        hints=hints,
        start_unchecked=start_unchecked,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLedger:
    """A ledger that this process only reads: its entries and the index; no key is touched.

    ``published`` is its own log, ``accepted`` the outbox of one in Rekor: it has one of them.
    """

    layout: Layout
    config: Config
    trust: TrustFile
    published: PublishedLog | None = None
    accepted: "AcceptedLog | None" = None

    @property
    def log(self) -> PublishedLog:
        """The ledger's own log. Raises UsageError: it is in Rekor."""
        if self.published is None:
            raise UsageError(
                f"log of {self.config.ledger}",
                expected="a log in this directory",
                actual=f"one in Rekor ({self.config.log})",
                next_step="`hubledger outbox status` says where the entries of such a ledger are",
            )
        return self.published

    @property
    def place(self) -> str:
        """What the place of an entry is called in facts: its leaf index, or in Rekor its number in the order of acceptance."""
        return "leafIndex" if self.accepted is None else "number"

    def size(self) -> int:
        """How many entries readers are shown: those published, or in Rekor those accepted."""
        return self.accepted.size() if self.accepted is not None else self.log.checkpoint().checkpoint.size

    def read(self, start: int, end: int, *, size: int) -> Iterator[bytes]:
        """Yield the entries ``[start, end)`` of the first ``size``, each checked against its leaf hash in a log of ours."""
        if self.accepted is not None:
            return self.accepted.read(start, min(end, size))
        return self.log.read(start, end, size=size)


def load_trust(layout: Layout) -> TrustFile:
    """Read the trust file of a ledger's directory. Raises ConfigError, LimitError."""
    try:
        with layout.trust.open("rb") as file:
            return parse_trust(file.read(MAX_TRUST_BYTES + 1))
    except OSError as error:
        raise ConfigError("trust file", expected="trust.toml", actual=error.strerror) from error


def open_for_reading(directory: pathlib.Path) -> ReadLedger:
    """Open a ledger for reading; a writer may run beside it. Raises ConfigError, LimitError."""
    config = load_config(directory)
    layout = Layout(root=directory)
    trust = load_trust(layout)
    if config.log != "local":
        from ledger.embedded.remote import AcceptedLog

        accepted = AcceptedLog(layout.outbox, config, trust, root=directory)
        return ReadLedger(layout=layout, config=config, trust=trust, accepted=accepted)
    log = PublishedLog(fetch_from_folder(layout.public), origin=config.ledger, keys=trust.log_keys)
    return ReadLedger(layout=layout, config=config, trust=trust, published=log)


def describe(directory: pathlib.Path) -> dict[str, Any]:
    """Return the public keys of a ledger as JSON facts. Raises ConfigError."""
    ledger = open_for_reading(directory)
    hub = ledger.trust.hub_keys[-1]
    pem = serialization.load_der_public_key(hub.spki).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    facts: dict[str, Any] = {"ledger": ledger.config.ledger, "hub": ledger.config.hub}
    if ledger.accepted is not None:
        facts |= {
            "log": ledger.config.log,
            "shards": [
                {
                    "origin": each.origin,
                    "key": each.keys[0].format() if each.keys else "none that can be used",
                }
                for each in ledger.trust.shards
            ],
        }
    else:
        witnesses = ledger.trust.policy.witnesses
        facts |= {
            "logKey": ledger.trust.log_keys[-1].format(),
            "cosignerKey": witnesses[0].key.format() if witnesses else "",
        }
    return facts | {"hubKeyId": hub.keyid, "hubKey": pem.decode("ascii")}
