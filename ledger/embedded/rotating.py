"""Replaces the keys of a ledger, step by step (`hubledger keys rotate`, `keys revoke`; architecture section 4, "Keys").

Each call finds out from files, log and trust file how far the rotation is, does what can be done now, and says what the
operator must hand out before the next. Nothing is remembered elsewhere, so that a crash between any two steps, or a year,
changes nothing: the same call goes on. What waits for people is always the trust file: clients take keys from it alone, and
its own key is offline.
"""

import contextlib
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.client.trust import TrustFile
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey
from ledger.config import Config, load_config
from ledger.embedded.directory import Layout, load_trust
from ledger.embedded.key_files import KeyFiles
from ledger.embedded.keys import format_key, hub_spki, load_hub_key, load_note_key, spki_of
from ledger.embedded.opening import OpenLedger
from ledger.encoding import Json, format_base64
from ledger.entry import keyid_of
from ledger.errors import ConfigError, NotFoundError, UsageError
from ledger.event.schemas import HUB_KEY
from ledger.log.local import LocalLog
from ledger.storage.directory import write_file_durably
from ledger.tlog.signed_note import Ed25519NoteSigner, VerifierKey
from ledger.tlog.trust_policy import LogKey

Opened = Callable[[], contextlib.AbstractContextManager[OpenLedger]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How far a rotation is. ``draft`` is the next version of the trust file, for the offline key to sign."""

    state: str
    says: tuple[str, ...]
    facts: Mapping[str, Json] = field(default_factory=dict)
    draft: pathlib.Path | None = None


NONE = Rotation(state="none", says=("No rotation is under way; --begin makes the next key.",))


# The hub's key


def rotate_hub(directory: pathlib.Path, *, begin: bool, opened: Opened) -> Rotation:
    """Go on with the rotation of the hub's key, or ``begin`` one.

    Raises:
        UsageError: one is under way already, or the ledger is in Rekor. ConfigError: the trust file has no key of its own.
        What ``opened`` raises.
    """
    # 1. The next key is made. If we stop here, nobody knows it: the same call announces it.
    # 2. The log says `added`, signed by the key of now; it counts from the next leaf on.
    # 3. The trust file gets its range. Until it has it, the key of now signs: clients would refuse the other.
    # 4. The next key takes the place of the key of now. If we stop here, both count everywhere.
    # 5. The log says `retired`, signed by the new key.
    # 6. The trust file ends the old range.
    config, layout, trust = _load(directory)
    if config.hub_signer:
        raise UsageError(
            "hub_signer of the settings",
            expected="none: a key in its file",
            actual="a key that is elsewhere",
            next_step="This version rotates hub keys that are files",
        )
    files = KeyFiles(directory / config.hub_key)
    current = keyid_of(spki_of(load_hub_key(files.current)))
    old = None if files.next.exists() else _left(files, trust, current)
    if begin:
        _check_may_begin(trust, under_way=old is not None)
        files.make_next(lambda: format_key(ec.generate_private_key(ec.SECP256R1())))
    if files.next.exists():
        spki = spki_of(load_hub_key(files.next))
        with opened() as ledger:
            leaf_index = _announce(ledger, spki, "added")
        if not trust.key_counts(keyid_of(spki), (0, leaf_index + 1)):
            keys = (*trust.hub_keys, HubKey(spki=spki, first=leaf_index + 1))
            return _waiting_for_new(layout, replace(trust, hub_keys=keys), keyid_of(spki), leaf_index)
        files.swap(current)
        old, current = _left(files, trust, keyid_of(spki)), keyid_of(spki)
    if old is None:
        return NONE
    with opened() as ledger:
        leaf_index = _announce(ledger, old.spki, "retired")
    keys = tuple(replace(each, end=leaf_index + 1) if each == old else each for each in trust.hub_keys)
    return _waiting_for_end(layout, replace(trust, hub_keys=keys), files.kept(old.keyid), old, leaf_index)


def _left(files: KeyFiles, trust: TrustFile, current: str) -> HubKey | None:
    """Return the key that signed before and counts still, by its file and the trust file; None where there is none."""
    for each in trust.hub_keys:
        if each.end is None and each.keyid != current and files.kept(each.keyid).exists():
            return each
    return None


def _announce(ledger: OpenLedger, spki: bytes, state: str, **more: Json) -> int:
    """Log and publish what becomes of a key; returns the leaf index, of the first time where it was said before."""
    keyid = keyid_of(spki)
    # Number 0 of a ledger has the id without a state (``Recorder.begin``).
    ending = f"-{more['from']}" if "from" in more else ""
    committed = ledger.recorder.record_statement(
        HUB_KEY,
        {
            "keyid": keyid,
            "spki": format_base64(spki),
            "state": state,
            "holder": ledger.config.hub,
            "role": "hub",
            **more,
        },
        histories=["hub:"],
        event_id=f"hub-key-{keyid[:16]}-{state}{ending}",
    )
    ledger.publish()
    return committed.leaf_index


def _waiting_for_new(layout: Layout, trust: TrustFile, keyid: str, leaf_index: int) -> Rotation:
    draft = _draft(layout, trust)
    return Rotation(
        state="announced",
        says=(
            f"The log says at leaf {leaf_index} that key {keyid} is added. The old key still signs.",
            *_hand_out(draft),
            "Then run this command again: the new key signs from then on.",
        ),
        facts={"newKeyId": keyid, "leafIndex": leaf_index},
        draft=draft,
    )


def _waiting_for_end(
    layout: Layout, trust: TrustFile, kept: pathlib.Path, old: HubKey, leaf_index: int
) -> Rotation:
    draft = _draft(layout, trust)
    return Rotation(
        state="retired",
        says=(
            f"The new key signs. The log says at leaf {leaf_index} that key {old.keyid} is retired.",
            *_hand_out(draft),
            f"Then destroy {kept}: nothing needs it any more.",
        ),
        facts={"oldKeyId": old.keyid, "leafIndex": leaf_index, "keptKey": str(kept)},
        draft=draft,
    )


def revoke_hub(
    directory: pathlib.Path, keyid: str, *, first: int, reason: str | None, opened: Opened
) -> Rotation:
    """Say that a key of the hub does not count from leaf index ``first`` on, which is not later than now.

    Raises:
        NotFoundError: no key of the trust file. UsageError: the key that signs, or an index that is still to come.
        MalformedError: no code. What ``opened`` raises.
    """
    config, layout, trust = _load(directory)
    spki = next((each.spki for each in trust.hub_keys if each.keyid == keyid), None)
    if spki is None:
        raise NotFoundError(
            f"hub key {keyid}",
            expected="a key of the trust file, by its whole id",
            actual="none such",
            next_step="trust.toml names them after `sha256:`",
        )
    if keyid == keyid_of(hub_spki(directory, config)):
        raise UsageError(
            f"hub key {keyid}",
            expected="a key that signs no more",
            actual="the one that signs",
            next_step="Rotate first: `hubledger keys rotate hub DIR --begin`",
        )
    with opened() as ledger:
        if first > ledger.log.size:
            raise UsageError(
                "--from",
                expected=f"at most {ledger.log.size}, the leaf that says so",
                actual=first,
                next_step="A key that shall end later is retired, by `hubledger keys rotate hub`",
            )
        more: dict[str, Json] = {"from": first} | ({} if reason is None else {"reason": reason})
        leaf_index = _announce(ledger, spki, "revoked", **more)
    keys = tuple(left for each in trust.hub_keys if (left := _cut(each, keyid, first)) is not None)
    draft = _draft(layout, replace(trust, hub_keys=keys))
    return Rotation(
        state="revoked",
        says=(
            f"The log says at leaf {leaf_index} that key {keyid} does not count from leaf {first} on.",
            *_hand_out(draft),
        ),
        facts={"revokedKeyId": keyid, "from": first, "leafIndex": leaf_index},
        draft=draft,
    )


def _cut(key: HubKey, keyid: str, first: int) -> HubKey | None:
    """Return what is left of a range of a key that is revoked from ``first`` on; None: nothing."""
    if key.keyid != keyid:
        return key
    if key.first >= first:
        return None
    return replace(key, end=first if key.end is None else min(key.end, first))


# The log's key


def rotate_log(directory: pathlib.Path, *, begin: bool, finish: bool, opened: Opened) -> Rotation:
    """Go on with the rotation of the log's key, ``begin`` one, or ``finish`` the time in which both keys sign.

    Raises: as ``rotate_hub``. QuorumError: the next key may not sign alone yet, witnesses do not know it.
    """
    # 1. The next key is made. From the next opening on both sign (``keys.load_keys``), the newest checkpoint first of all.
    # 2. The trust file gets the new key. Whoever has the old file verifies by the old signature.
    # 3. When the operator says so, the new key takes the place of the old one, which signs no more. If we stop here, the
    #    newest checkpoint has both signatures: the same call goes on.
    # 4. The trust file drops the old key.
    config, layout, trust = _load(directory)
    files = KeyFiles(directory / config.log_key)
    current = load_note_key(files.current).verifier
    left = (
        any(each != current and files.kept(each.key_id.hex()).exists() for each in trust.log_keys)
        and not files.next.exists()
    )
    if begin:
        _check_may_begin(trust, under_way=left)
        files.make_next(lambda: _new_note_key(config).format_private().encode() + b"\n")
    if files.next.exists():
        new = load_note_key(files.next).verifier
        _sign_again(opened)
        if new not in trust.log_keys:
            logs = (*trust.policy.logs, LogKey(key=new))
            draft = _draft(layout, replace(trust, policy=replace(trust.policy, logs=logs)))
            says = "Then clients of either file verify. Give them time, and run this command with --finish."
            return Rotation(
                state="both",
                says=(f"Both keys sign; the new one is {new.format()}", *_hand_out(draft), says),
                facts={"newKey": new.format(), "oldKey": current.format()},
                draft=draft,
            )
        if not finish:
            return Rotation(
                state="both",
                says=("Both keys sign. When clients had time to take the new trust file: --finish.",),
                facts={"newKey": new.format(), "oldKey": current.format()},
            )
        _check_taken(opened, new)
        files.swap(current.key_id.hex())
        current, left = new, True
    if not left:
        return NONE
    _sign_again(opened)
    old = [each for each in trust.log_keys if each != current and files.kept(each.key_id.hex()).exists()]
    logs = tuple(each for each in trust.policy.logs if each.key not in old)
    draft = _draft(layout, replace(trust, policy=replace(trust.policy, logs=logs)))
    return Rotation(
        state="dropped",
        says=(
            "The new key signs alone.",
            "Clients with the next trust file refuse proofs that only the old key signed; they fetch them anew.",
            *_hand_out(draft),
            *(f"Destroy {files.kept(each.key_id.hex())}: nothing needs it any more." for each in old),
        ),
        facts={"newKey": current.format(), "droppedKeys": [each.format() for each in old]},
        draft=draft,
    )


def _new_note_key(config: Config) -> Ed25519NoteSigner:
    return Ed25519NoteSigner(config.ledger, ed25519.Ed25519PrivateKey.generate())


def _sign_again(opened: Opened) -> None:
    with opened() as ledger:
        if isinstance(ledger.log, LocalLog):  # always: a ledger in Rekor was refused before
            ledger.log.sign_again()


def _check_taken(opened: Opened, new: VerifierKey) -> None:
    with opened() as ledger:
        if isinstance(ledger.log, LocalLog):
            ledger.log.check_taken(new)


# Both


def _load(directory: pathlib.Path) -> tuple[Config, Layout, TrustFile]:
    config, layout = load_config(directory), Layout(root=directory)
    if config.log != "local":
        raise UsageError(
            f"log of {config.ledger}",
            expected="one in this directory",
            actual=f"one in Rekor ({config.log})",
            next_step="This version rotates the keys of ledgers with a log of their own",
        )
    return config, layout, load_trust(layout)


def _check_may_begin(trust: TrustFile, *, under_way: bool) -> None:
    if under_way:
        raise UsageError(
            "rotation",
            expected="none under way, with --begin",
            actual="one that is not finished",
            next_step="Go on with it: the same command without --begin",
        )
    if trust.update_key is None:
        raise ConfigError(
            "update_key of trust.toml",
            expected="the offline key that signs the next version: without it no client learns of another key",
            actual="none",
            next_step="Make one with `hubledger trust key`, and publish a version that names it",
        )


def _draft(layout: Layout, trust: TrustFile) -> pathlib.Path:
    """Write the next version beside the one that counts, for the offline key; the same bytes each time."""
    following = replace(trust, version=trust.version + 1)
    path = layout.root / f"trust-{following.version}.toml"
    write_file_durably(path, format_trust(following), mode=0o644)
    return path


def _hand_out(draft: pathlib.Path) -> tuple[str, ...]:
    return (
        f"Sign {draft} where the offline key is:",
        f"  hubledger trust sign {draft.name} --key OFFLINE.key --previous trust.toml",
        "and publish it here, with its .sig beside it:",
        f"  hubledger trust publish DIR {draft.name}",
    )
