"""Opens a ledger's directory for writing, as its only writer: what a crash left open is finished before anybody is answered."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from ledger.client.trust import TrustFile
from ledger.config import Config, load_config
from ledger.digests import DigestIndex
from ledger.embedded.clock import posix_of, utc_now
from ledger.embedded.directory import Layout, load_trust
from ledger.embedded.keys import Keys, load_keys
from ledger.embedded.kms import load_signer
from ledger.embedded.watching import Watch, WatchedCommits
from ledger.embedded.withdrawing import finish_withdrawals
from ledger.errors import ConfigError, UsageError, WriteError
from ledger.index import Index
from ledger.log.freshness import Hint, Source, from_file, from_url
from ledger.log.local import LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.log.lock import writer_lock
from ledger.recorder import Recorder
from ledger.storage.directory import DirectoryObjects, sync_folder
from ledger.storage.evidence import Evidence
from ledger.storage.identities import IdentityKeys
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.signed_note import VerifierKey

if TYPE_CHECKING:  # who has a log of their own does not pay for what Rekor needs
    from ledger.log.outbox import Outbox
    from ledger.log.trusted_root import Instance


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
        UsageError: a way to tell old copies that a ledger in Rekor does not have, or its log was retired.
    """
    config = load_config(directory)
    layout = Layout(root=directory)
    hub_signer = load_signer(directory, config)
    _check_trusted(load_trust(layout), hub_signer.keyid)
    with contextlib.ExitStack() as stack:
        instance: Instance | None = None
        if config.log == "local":
            log: LocalLog | Outbox
            log, evidence = _open_own(
                layout,
                config,
                stack,
                not_older_than=not_older_than,
                start_unchecked=start_unchecked,
                watch=watch,
                now=posix_of(now()),
            )
        else:
            from ledger.embedded import remote

            remote.refuse_own_log_options(not_older_than, start_unchecked=start_unchecked)
            log, evidence, instance = _open_accepted(layout, config, stack)
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


def _check_trusted(trust: TrustFile, keyid: str) -> None:
    """Refuse to sign what no client would take. Raises ConfigError."""
    if not any(each.keyid == keyid and each.end is None for each in trust.hub_keys):
        raise ConfigError(
            "hub_key of the settings",
            expected="a key that trust.toml has, and whose range has no end there",
            actual=f"key {keyid}",
            next_step="Name the key that counts; for another one: `hubledger keys rotate hub DIR`",
        )


def _open_own(
    layout: Layout,
    config: Config,
    stack: contextlib.ExitStack,
    *,
    not_older_than: Sequence[pathlib.Path],
    start_unchecked: bool,
    watch: Watch | None,
    now: int,
) -> tuple[LocalLog, Evidence]:
    """Open a log of our own and what it says evidence of, with the lock taken."""
    keys = load_keys(layout.root, config)
    sources = [from_file(path) for path in not_older_than]
    if config.public_url:
        sources.append(from_url(config.public_url))
    stack.enter_context(writer_lock(layout.root / "lock"))
    if layout.final.exists():
        raise UsageError(
            f"ledger {config.ledger}",
            expected="one that goes on",
            actual="one whose log was retired",
            next_step=f"Record into its successor; this one is read with --read-only. {layout.final.name} holds its last checkpoint",
        )
    # Whoever signed before may have shown more than this directory knows, while its key is trusted.
    log_keys = tuple(dict.fromkeys((*(each.verifier for each in keys.signers), *load_trust(layout).log_keys)))
    hints = _hints(layout, config, log_keys, now=now)
    log_config = _log_config(config, keys, log_keys, sources, hints, start_unchecked=start_unchecked)
    if config.witness.policy:
        from ledger.embedded.witnesses import open_witnesses

        witnesses = open_witnesses(config, layout.root, keys, stack, log_keys=log_keys)
        log_config = replace(log_config, witnesses=witnesses)
    log = _open_local(layout, log_config, stack, watch)
    return log, _open_evidence(layout, config)


def _open_accepted(
    layout: Layout, config: Config, stack: contextlib.ExitStack
) -> "tuple[Outbox, Evidence, Instance]":
    """Open the outbox of a ledger in Rekor and its evidence, with the lock taken."""
    from ledger.embedded import remote

    instance, trust = remote.load_rekor(config, layout.root, refresh=True), load_trust(layout)
    remote.check_stamping(config, instance)
    stack.enter_context(writer_lock(layout.root / "lock", wait=remote.LOCK_SECONDS))
    evidence = _open_evidence(layout, config)
    return remote.open_outbox(layout.outbox, instance, trust, evidence, stack=stack), evidence, instance


def _open_local(
    layout: Layout, config: LocalLogConfig, stack: contextlib.ExitStack, watch: Watch | None
) -> LocalLog:
    objects = DirectoryObjects(layout.public)
    objects.sweep()
    commits = SqliteCommits(layout.commits)
    stack.callback(commits.close)
    return LocalLog(commits if watch is None else WatchedCommits(commits, watch), objects, config)


def _open_evidence(layout: Layout, config: Config) -> Evidence:
    objects = evidence_objects(layout, config)
    objects.sweep()
    return Evidence(objects)


def evidence_objects(layout: Layout, config: Config) -> DirectoryObjects:
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
