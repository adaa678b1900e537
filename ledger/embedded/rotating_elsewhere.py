"""Replaces a hub key that is elsewhere, in a KMS or HSM, or moves the hub's key there (`hubledger keys rotate hub --hub-signer`).

Where that key is, is a setting, and settings are the operator's: the step that renames a file where keys are files is three
lines in hubledger.toml here, which is one file, so that key and signer change together. ``keys/hub-next.toml`` has those lines from the
beginning to the end of a rotation; the rest is found out as ``rotating`` says.
"""

import pathlib
import tomllib
from dataclasses import dataclass

from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import HubKey
from ledger.config import FILE_NAME, Config, format_setting
from ledger.embedded.directory import Layout
from ledger.embedded.key_statements import Announcing
from ledger.embedded.keys import MAX_KEY_BYTES, hub_spki, load_public_key
from ledger.embedded.kms import SignerSource, open_signer
from ledger.embedded.rotation import NONE, Rotation, add_next, check_may_begin, end_old
from ledger.entry import keyid_of
from ledger.errors import ConfigError, UsageError
from ledger.storage.directory import read_file, sync_folder, write_file_durably

SETTINGS = ("hub_key", "hub_signer", "hub_signer_secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Following:
    """The key that is to sign: its settings, its SubjectPublicKeyInfo, and the key that it replaces, by id and by place."""

    lines: tuple[str, ...]
    spki: bytes
    replaces: str
    was: str


class NextSigner:
    """The file that says where the next key is. Every step may be repeated after a crash."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory, self._path = directory, directory / "keys" / "hub-next.toml"

    def exists(self) -> bool:
        """Whether a rotation is under way."""
        return self._path.exists()

    def write(self, source: SignerSource, *, replaces: str, was: str) -> None:
        """Keep a signer that was seen to sign, and its public key. Raises ConfigError, NotFoundError, WriteError."""
        public = read_file(source.public_key, max_bytes=MAX_KEY_BYTES)
        spki = load_public_key(source.public_key)
        open_signer(source.uri, spki=spki, secret=source.secret).check()
        _, uri, secret = source.settings()
        hub_key = f"keys/hub.{keyid_of(spki)[:16]}.pub"
        # If we stop between the two, nothing names the first.
        write_file_durably(self._directory / hub_key, public, mode=0o644)
        values = (hub_key, uri, secret, replaces, was)
        names = (*SETTINGS, "replaces", "was")
        lines = (format_setting(name, value) for name, value in zip(names, values, strict=True))
        write_file_durably(self._path, "".join(f"{each}\n" for each in lines).encode(), mode=0o600)

    def read(self) -> _Following:
        """Return what was kept. Raises ConfigError: somebody changed it."""
        try:
            values = tomllib.loads(read_file(self._path, max_bytes=MAX_KEY_BYTES).decode())
            lines = tuple(format_setting(name, values[name]) for name in SETTINGS)
            hub_key, replaces, was = (str(values[name]) for name in ("hub_key", "replaces", "was"))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"next signer {self._path}",
                expected="as --begin wrote it",
                actual="something else",
                next_step="Remove it, and --begin again: the same key is announced once",
            ) from error
        spki = load_public_key(self._directory / hub_key)
        return _Following(lines=lines, spki=spki, replaces=replaces, was=was)

    def remove(self) -> None:
        """Forget it, at the end."""
        self._path.unlink(missing_ok=True)
        sync_folder(self._path.parent)


def rotate_elsewhere(
    config: Config,
    layout: Layout,
    trust: TrustFile,
    announcing: Announcing,
    *,
    begin: bool,
    signer: SignerSource | None,
    under_way: bool,
) -> Rotation:
    """Go on with the rotation of a key that is or will be elsewhere, or ``begin`` one. ``under_way``: one of files is.

    Raises: as ``rotating.rotate_hub``.
    """
    following = NextSigner(layout.root)
    current = keyid_of(hub_spki(layout.root, config))
    if begin != (signer is not None):
        raise UsageError(
            "--begin, --hub-signer and --hub-public-key",
            expected="all of them, or none: no command of ours makes a key that is elsewhere",
            actual="some",
        )
    if signer is not None:
        check_may_begin(trust, under_way=under_way or following.exists())
        _check_new(trust, keyid_of(load_public_key(signer.public_key)), current)
        following.write(signer, replaces=current, was=config.hub_signer or str(layout.root / config.hub_key))
    if not following.exists():
        return NONE
    coming = following.read()
    if current != keyid_of(coming.spki):
        then = f"it says which lines of {FILE_NAME} make the new key sign"
        waiting = add_next(announcing, layout, trust, coming.spki, then=then)
        return waiting or _switch(layout, current, coming)
    old = _open_range(trust, coming.replaces)
    if old is None:
        following.remove()
        return NONE
    return end_old(announcing, layout, trust, old, kept=coming.was)


def _check_new(trust: TrustFile, keyid: str, current: str) -> None:
    """Refuse a key that is this ledger's already: a key that ended is never announced again. Raises UsageError."""
    ended = any(each.keyid == keyid and each.end is not None for each in trust.hub_keys)
    if keyid == current or ended:
        raise UsageError(
            "--hub-public-key",
            expected="a new key",
            actual="one that signed before" if ended else "the one that signs",
        )


def _open_range(trust: TrustFile, keyid: str) -> HubKey | None:
    return next((each for each in trust.hub_keys if each.keyid == keyid and each.end is None), None)


def _switch(layout: Layout, current: str, coming: _Following) -> Rotation:
    return Rotation(
        state="switch",
        says=(
            f"The trust file has the new key {keyid_of(coming.spki)}. The old one still signs.",
            f"Put these lines into {layout.root / FILE_NAME}, in the place of those of the same names:",
            *(f"  {each}" for each in coming.lines),
            "Then run this command again, and start what records anew: the new key signs from then on.",
        ),
        facts={"newKeyId": keyid_of(coming.spki), "oldKeyId": current, "settings": list(coming.lines)},
    )
