"""Replaces the keys of a ledger, step by step (`hubledger keys rotate`, `keys revoke`; architecture section 4, "Keys").

Each call finds out from files, log and trust file how far the rotation is, does what can be done now, and says what the
operator must hand out before the next. Nothing is remembered elsewhere, so that a crash between any two steps, or a year,
changes nothing: the same call goes on. What waits for people is always the trust file: clients take keys from it alone, and
its own key is offline.
"""

import pathlib
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import HubKey
from ledger.config import Config, load_config
from ledger.embedded.directory import Layout, load_trust
from ledger.embedded.key_files import KeyFiles
from ledger.embedded.key_statements import WAIT_SECONDS, Announcing, Opened, announce
from ledger.embedded.keys import format_key, hub_spki, load_hub_key, load_note_key, spki_of
from ledger.embedded.kms import SignerSource
from ledger.embedded.rotating_elsewhere import NextSigner, rotate_elsewhere
from ledger.embedded.rotation import NONE, Rotation, add_next, check_may_begin, draft, end_old, hand_out
from ledger.encoding import Json
from ledger.entry import keyid_of
from ledger.errors import NotFoundError, UsageError
from ledger.log.local import LocalLog
from ledger.tlog.signed_note import Ed25519NoteSigner, VerifierKey
from ledger.tlog.trust_policy import LogKey

# The hub's key


def rotate_hub(
    directory: pathlib.Path,
    *,
    begin: bool,
    opened: Opened,
    wait: float = WAIT_SECONDS,
    signer: SignerSource | None = None,
) -> Rotation:
    """Go on with the rotation of the hub's key, or ``begin`` one. In Rekor each step waits for its place, ``wait`` seconds.

    ``signer``: where the next key is, if it is not to be made here; only with ``begin``.

    Raises:
        UsageError: one is under way already, or what it said was dropped from the outbox. ConfigError: the trust file has
        no key of its own, or the next key cannot be used. What ``opened`` raises.
    """
    # 1. The next key is made. If we stop here, nobody knows it: the same call announces it.
    # 2. The log says `added`, signed by the key of now; it counts from the next leaf on.
    # 3. The trust file gets its range. Until it has it, the key of now signs: clients would refuse the other.
    # 4. The next key takes the place of the key of now. If we stop here, both count everywhere.
    # 5. The log says `retired`, signed by the new key. In Rekor the outbox submits that, as it does `added`, only when all
    #    that was accepted before it is logged: nothing by the old key can come to lie behind the end of its range.
    # 6. The trust file ends the old range.
    config, layout, trust = _load(directory)
    announcing = Announcing(directory=directory, opened=opened, wait=wait)
    if signer is not None or config.hub_signer or NextSigner(directory).exists():
        under_way = not config.hub_signer and _is_under_way(directory, config, trust)
        return rotate_elsewhere(
            config, layout, trust, announcing, begin=begin, signer=signer, under_way=under_way
        )
    files = KeyFiles(directory / config.hub_key)
    current = keyid_of(spki_of(load_hub_key(files.current)))
    old = None if files.next.exists() else _left(files, trust, current)
    if begin:
        check_may_begin(trust, under_way=old is not None)
        files.make_next(lambda: format_key(ec.generate_private_key(ec.SECP256R1())))
    if files.next.exists():
        spki = spki_of(load_hub_key(files.next))
        then = "the new key signs from then on"
        if (waiting := add_next(announcing, layout, trust, spki, then=then)) is not None:
            return waiting
        files.swap(current)
        old = _left(files, trust, keyid_of(spki))
    if old is None:
        return NONE
    return end_old(announcing, layout, trust, old, kept=str(files.kept(old.keyid)))


def _is_under_way(directory: pathlib.Path, config: Config, trust: TrustFile) -> bool:
    """Whether a key that is a file is being replaced by another one."""
    files = KeyFiles(directory / config.hub_key)
    return (
        files.next.exists() or _left(files, trust, keyid_of(spki_of(load_hub_key(files.current)))) is not None
    )


def _left(files: KeyFiles, trust: TrustFile, current: str) -> HubKey | None:
    """Return the key that signed before and counts still, by its file and the trust file; None where there is none."""
    for each in trust.hub_keys:
        if each.end is None and each.keyid != current and files.kept(each.keyid).exists():
            return each
    return None


def revoke_hub(
    directory: pathlib.Path, keyid: str, *, first: int, reason: str | None, opened: Opened
) -> Rotation:
    """Say that a key of the hub does not count from leaf index ``first`` on, which is not later than now.

    Raises:
        NotFoundError: no key of the trust file. UsageError: the key that signs, or an index that is still to come.
        MalformedError: no code. What ``opened`` raises.
    """
    config, layout, trust = _load(directory)
    _refuse_rekor(config, _REVOKED_BY_HAND)
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
        leaf_index = announce(ledger, spki, "revoked", **more)
    keys = tuple(left for each in trust.hub_keys if (left := _cut(each, keyid, first)) is not None)
    written = draft(layout, replace(trust, hub_keys=keys))
    return Rotation(
        state="revoked",
        says=(
            f"The log says at leaf {leaf_index} that key {keyid} does not count from leaf {first} on.",
            *hand_out(written),
        ),
        facts={"revokedKeyId": keyid, "from": first, "leafIndex": leaf_index},
        draft=written,
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
    _refuse_rekor(config, "Rekor has keys of its own for its checkpoints; the trusted root names them")
    files = KeyFiles(directory / config.log_key)
    current = load_note_key(files.current).verifier
    left = (
        any(each != current and files.kept(each.key_id.hex()).exists() for each in trust.log_keys)
        and not files.next.exists()
    )
    if begin:
        check_may_begin(trust, under_way=left)
        files.make_next(lambda: _new_note_key(config).format_private().encode() + b"\n")
    if files.next.exists():
        new = load_note_key(files.next).verifier
        _sign_again(opened)
        if new not in trust.log_keys:
            logs = (*trust.policy.logs, LogKey(key=new))
            written = draft(layout, replace(trust, policy=replace(trust.policy, logs=logs)))
            says = "Then clients of either file verify. Give them time, and run this command with --finish."
            return Rotation(
                state="both",
                says=(f"Both keys sign; the new one is {new.format()}", *hand_out(written), says),
                facts={"newKey": new.format(), "oldKey": current.format()},
                draft=written,
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
    written = draft(layout, replace(trust, policy=replace(trust.policy, logs=logs)))
    return Rotation(
        state="dropped",
        says=(
            "The new key signs alone.",
            "Clients with the next trust file refuse proofs that only the old key signed; they fetch them anew.",
            *hand_out(written),
            *(f"Destroy {files.kept(each.key_id.hex())}: nothing needs it any more." for each in old),
        ),
        facts={"newKey": current.format(), "droppedKeys": [each.format() for each in old]},
        draft=written,
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
    return config, layout, load_trust(layout)


_REVOKED_BY_HAND = (
    "A revocation names one leaf index, and Rekor has shards: end the key's range in the next trust.toml "
    "(end, end_shard), and publish that"
)


def _refuse_rekor(config: Config, next_step: str) -> None:
    if config.log != "local":
        raise UsageError(
            f"log of {config.ledger}",
            expected="one in this directory",
            actual=f"one in Rekor ({config.log})",
            next_step=next_step,
        )
