"""What anchors say about the age of a directory, before the first write."""

import pathlib
from collections.abc import Sequence

from ledger.config import Config
from ledger.embedded.anchor_key import public_keys
from ledger.embedded.anchor_outside import is_wanted, names_files, open_shards
from ledger.log.anchor_memory import AnchorMemory, is_time_to_ask, stored_hint
from ledger.log.freshness import Hint, RootAt
from ledger.log.trusted_root import load_instance
from ledger.storage.anchors import AnchorStore
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.signed_note import VerifierKey


def hints(
    root: pathlib.Path, config: Config, *, anchors: pathlib.Path, keys: Sequence[VerifierKey], now: int
) -> list[Hint]:
    """Return what the stored anchors, and the log in which they are, may say about the age of this directory.

    Sigstore's public log is not asked: it grows by more entries in a minute than would be looked at.
    """
    store = AnchorStore(anchors)
    found = [stored_hint(store, origin=config.ledger, keys=keys)]
    if not is_wanted(config) or config.anchor.log != "rekor-v2" or not names_files(config.anchor):
        return found

    def ask(signed: Checkpoint, root_at: RootAt) -> None:
        del signed, root_at
        anchor_keys = public_keys(root / config.anchor.key)
        if not anchor_keys or not is_time_to_ask(store, now=now, interval=config.anchor.interval):
            return  # before anything is loaded: most recordings end here
        instance = load_instance(config.anchor, root)
        memory = AnchorMemory(
            store=store,
            shards=open_shards(instance, config.anchor.log),
            shard_keys=instance.keys,
            anchor_keys=anchor_keys,
        )
        memory.ask(now=now, interval=config.anchor.interval)

    return [*found, Hint(name="the log of the anchors", ask=ask)]
