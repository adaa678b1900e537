"""How far a rotation is, what it says and hands out: what all rotations of a key have in common."""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ledger.client.trust import TrustFile
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey
from ledger.embedded.directory import Layout
from ledger.embedded.key_statements import Announced, Announcing
from ledger.encoding import Json
from ledger.entry import keyid_of
from ledger.errors import ConfigError, UsageError
from ledger.storage.directory import write_file_durably


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How far a rotation is. ``draft`` is the next version of the trust file, for the offline key to sign."""

    state: str
    says: tuple[str, ...]
    facts: Mapping[str, Json] = field(default_factory=dict)
    draft: pathlib.Path | None = None


NONE = Rotation(state="none", says=("No rotation is under way; --begin makes the next key.",))


def add_next(
    announcing: Announcing, layout: Layout, trust: TrustFile, spki: bytes, *, then: str
) -> Rotation | None:
    """Log that a key is added, and draft the trust file in which it counts. None: the trust file that counts has it already.

    ``then`` says what the next call does.

    Raises: what ``Announcing.announce`` does.
    """
    keyid, added = keyid_of(spki), announcing.announce(spki, "added")
    if added.place is None:
        return _waiting_for_rekor(added, keyid, "added")
    shard, leaf_index = added.place
    if trust.key_counts(keyid, (shard, leaf_index + 1)):
        return None
    keys = (*trust.hub_keys, HubKey(spki=spki, first_shard=shard, first=leaf_index + 1))
    written = draft(layout, replace(trust, hub_keys=keys))
    return Rotation(
        state="announced",
        says=(
            f"The log says at leaf {added} that key {keyid} is added. The old key still signs.",
            *hand_out(written),
            f"Then run this command again: {then}.",
        ),
        facts={"newKeyId": keyid, **added.facts},
        draft=written,
    )


def end_old(announcing: Announcing, layout: Layout, trust: TrustFile, old: HubKey, *, kept: str) -> Rotation:
    """Log that the key that signed before is retired, and draft the trust file in which its range ends. ``kept``: where it is.

    Raises: what ``Announcing.announce`` does.
    """
    retired = announcing.announce(old.spki, "retired")
    if retired.place is None:
        return _waiting_for_rekor(retired, old.keyid, "retired")
    shard, leaf_index = retired.place
    ended = replace(old, end_shard=shard, end=leaf_index + 1)
    keys = tuple(ended if each == old else each for each in trust.hub_keys)
    written = draft(layout, replace(trust, hub_keys=keys))
    return Rotation(
        state="retired",
        says=(
            f"The new key signs. The log says at leaf {retired} that key {old.keyid} is retired.",
            *hand_out(written),
            f"Then destroy {kept}: nothing needs it any more.",
        ),
        facts={"oldKeyId": old.keyid, **retired.facts, "keptKey": kept},
        draft=written,
    )


def _waiting_for_rekor(said: Announced, keyid: str, state: str) -> Rotation:
    return Rotation(
        state="pending",
        says=(
            f"Number {said.number} says that key {keyid} is {state}. It is accepted, and not in Rekor yet.",
            "All that was accepted before goes first: `hubledger outbox status` says what waits, and why.",
            "Then run this command again; nothing changes before.",
        ),
        facts={"keyId": keyid, "number": said.number},
    )


def check_may_begin(trust: TrustFile, *, under_way: bool) -> None:
    """Raise UsageError: a rotation is under way. ConfigError: no offline key could sign the trust files that it needs."""
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


def draft(layout: Layout, trust: TrustFile) -> pathlib.Path:
    """Write the next version beside the one that counts, for the offline key; the same bytes each time."""
    following = replace(trust, version=trust.version + 1)
    path = layout.root / f"trust-{following.version}.toml"
    write_file_durably(path, format_trust(following), mode=0o644)
    return path


def hand_out(draft: pathlib.Path) -> tuple[str, ...]:
    """Return what the operator does with a draft."""
    return (
        f"Sign {draft} where the offline key is:",
        f"  hubledger trust sign {draft.name} --key OFFLINE.key --previous trust.toml",
        "and publish it here, with its .sig beside it:",
        f"  hubledger trust publish DIR {draft.name}",
    )
