"""What anchors remember of our log, for the check that this directory is not an old copy (architecture section 4).

Stored anchors are in the directory itself, so they show only that its parts are of different ages. The log that they are
in is outside: an entry there by our anchor key, over something that is none of our anchors, was made by somebody who
knows more of this log than this directory does. How much of it is read is bounded, so finding nothing proves nothing.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ledger.bundle.log_entry import LogKeys
from ledger.encoding import format_base64
from ledger.errors import LedgerError, RestoredError, SourceError
from ledger.log.anchor_proofs import verify_envelope, verify_logged
from ledger.log.authentic import AuthenticLog
from ledger.log.freshness import Hint, RootAt, compare
from ledger.log.hashedrekord import signed_by
from ledger.log.remote import Shard
from ledger.storage.anchors import AnchorStore
from ledger.tlog.checkpoint import Checkpoint, verify_checkpoint
from ledger.tlog.signed_note import VerifierKey
from ledger.tlog.tiles import TILE_WIDTH

_logger = logging.getLogger(__name__)

MOST_BUNDLES = 16
"""Entry bundles that are read of the end of a shard, at most: 4,096 entries, some three megabytes."""
ASK_PAUSE = 300
"""Seconds before a log that could not be read is asked again: each recording would wait for it."""


def stored_hint(store: AnchorStore, *, origin: str, keys: Sequence[VerifierKey]) -> Hint:
    """Compare with the newest anchor that is stored here: one that is newer than the log shows a mixed restore."""

    def ask(signed: Checkpoint, root_at: RootAt) -> None:
        newest = store.newest()
        if newest is not None:
            anchored = verify_checkpoint(newest.new.note, origin=origin, keys=keys).checkpoint
            compare("the folder anchors", anchored, signed=signed, root_at=root_at)

    return Hint(name="the folder anchors", ask=ask)


def is_time_to_ask(store: AnchorStore, *, now: int, interval: float) -> bool:
    """Whether the outside was last asked ``interval`` seconds ago or more, and has not failed to answer just now.

    When it was asked is in the directory, and so in an old copy of it: what another folder asked does not count.
    """
    state = store.state()
    asked = 0 < state.ask_after - now <= max(interval, ASK_PAUSE)
    return not (asked and state.asked_in == store.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorMemory:
    """The shards in which the anchors of one log are, and the keys that sign them (DER by key id)."""

    store: AnchorStore
    shards: Sequence[tuple[Shard, AuthenticLog]]
    shard_keys: LogKeys
    anchor_keys: Mapping[str, bytes]

    def check(self) -> None:
        """Return if the end of each shard holds no anchor by our keys that is not stored here.

        Raises:
            RestoredError: one does.
            SourceError, NotFoundError, SignatureError, ProofError, MalformedError, LimitError: nothing was found out.
        """
        failures: list[LedgerError] = []
        newest = self.store.newest()
        for shard, log in self.shards:
            if (
                newest is not None
                and shard.valid_until is not None
                and shard.valid_until < newest.new.made_at
            ):
                continue  # closed before our newest anchor was made: no newer one is in it
            try:
                self._check_shard(shard, log)
            except RestoredError:
                raise
            except LedgerError as error:  # another shard may know
                failures.append(error)
        if failures:
            raise failures[0]

    def ask(self, *, now: int, interval: float) -> None:
        """Check, and note in the store when to ask again: a log that is away is left alone for a while.

        Raises:
            What ``check`` raises.
        """
        try:
            self.check()
        except RestoredError:
            raise
        except LedgerError:
            self._ask_after(now + ASK_PAUSE)
            raise
        self._ask_after(now + int(interval))

    def _ask_after(self, time: int) -> None:
        self.store.save_state(replace(self.store.state(), ask_after=time, asked_in=self.store.place))

    def _check_shard(self, shard: Shard, log: AuthenticLog) -> None:
        since = self._since(shard)
        tree = log.checkpoint().checkpoint
        if tree.size < since:
            raise SourceError(
                f"size of {shard.origin}",
                expected=f"at least {since}, which holds our newest anchor",
                actual=tree.size,
                next_step="Its read address serves an old copy: name another with `anchor.read_url`",
            )
        first = max(since, (-(-tree.size // TILE_WIDTH) - MOST_BUNDLES) * TILE_WIDTH)
        if first > since:
            _logger.info("%s: the entries [%d, %d) were not looked at", shard.origin, since, first)
        tail = enumerate(log.read(first, tree.size, tree=tree), first)
        found = [(index, digest) for index, entry in tail for digest in self._by_our_keys(entry)]
        if not found:
            return
        known = set(self._known())
        for index, digest in found:
            if digest not in known:
                raise RestoredError(
                    f"entry {index} of {shard.origin}, by our anchor key",
                    expected="one of the anchors in this directory",
                    actual=f"another one, of digest {digest.hex()}",
                    next_step=_NEXT_STEP,
                )

    def _since(self, shard: Shard) -> int:
        """Return the leaf index after our newest proven anchor in this shard; 0 where there is none."""
        for name in reversed(self.store.names()):
            stored = self.store.load(name)
            if stored.log_entry is None:
                continue
            proven = verify_logged(
                verify_envelope(stored.new.envelope, self.anchor_keys), stored.log_entry, self.shard_keys
            )
            return proven.leaf_index + 1 if proven.log_id == shard.log_id else 0
        return 0

    def _by_our_keys(self, entry: bytes) -> Iterator[bytes]:
        for spki in self.anchor_keys.values():
            # Most entries are somebody else's: their bytes do not even hold our key.
            if format_base64(spki).encode() in entry and (digest := signed_by(spki, entry)) is not None:
                yield digest

    def _known(self) -> Iterator[bytes]:
        for name in self.store.names():
            yield verify_envelope(self.store.load(name).new.envelope, self.anchor_keys).digest


_NEXT_STEP = (
    "This directory is older than what was anchored: restore the newest copy of all of it. If you are sure that only the "
    "folder anchors was lost, or that the key signed something else, run `hubledger log anchor --start-unchecked` once"
)
