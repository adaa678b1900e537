"""Makes a new ledger: keys, settings, trust file, and a log whose first entry is the hub's key."""

import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.client.trust import TrustFile
from ledger.client.trust_writing import format_trust
from ledger.config import FILE_NAME, Config, format_config
from ledger.embedded.clock import utc_now
from ledger.embedded.directory import Layout
from ledger.embedded.keys import MAX_KEY_BYTES, format_key, hub_spki, load_keys, load_public_key
from ledger.embedded.kms import SignerSource
from ledger.embedded.opening import evidence_objects, open_for_recording
from ledger.encoding import Json
from ledger.errors import NotEmptyError, WriteError
from ledger.policy import tofu
from ledger.storage import LogState
from ledger.storage.directory import DirectoryObjects, read_file, sync_folder, write_file_durably
from ledger.storage.evidence import Evidence
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner

if TYPE_CHECKING:  # who has a log of their own does not pay for what Rekor needs
    from ledger.embedded.remote import RekorSource


def init(
    directory: pathlib.Path,
    *,
    origin: str,
    hub: str,
    rekor: "RekorSource | None" = None,
    signer: SignerSource | None = None,
    continues: Mapping[str, Json] | None = None,
    now: Callable[[], str] = utc_now,
) -> TrustFile:
    """Make a new ledger: keys, settings, trust file, a published log whose first entry is the hub's key.

    With ``rekor`` its log is there: there is no log key, and the hub's key is the first entry that is accepted for it.
    With ``signer`` the hub's key is elsewhere already: none is made. With ``continues``, the fields of ``succession/v1``
    (``ledger.embedded.retiring.succeed``), that statement is the first entry, and the key the second; not with ``rekor``.
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
            _build(building, config, signer, continues, now)
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
    root: pathlib.Path,
    config: Config,
    signer: SignerSource | None,
    continues: Mapping[str, Json] | None,
    now: Callable[[], str],
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
    Evidence(evidence_objects(layout, config)).put([tofu.POLICY_DOCUMENT])
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
        ledger.recorder.begin(keys.spki, succession=continues)
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
    Evidence(evidence_objects(layout, config)).put([tofu.POLICY_DOCUMENT])
    OutboxStore.create(layout.outbox).close()
    with open_for_recording(root, now=now) as ledger:
        ledger.recorder.begin(spki)
    return trust
