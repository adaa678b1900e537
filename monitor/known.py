"""What entries are held against, and what is known of a log so far. Values only."""

from dataclasses import dataclass, field
from typing import NamedTuple

from ledger.client.trust import TrustFile
from ledger.encoding import Json
from ledger.history import ChainHead, Standing
from ledger.identity import SignerFacts
from monitor.findings import Finding, Kind
from monitor.signers import parse_signers

SHARD_BITS = 48
"""Bits of a leaf index in a position."""
COSIGNED = "cosigned"
"""The note of what the cosignatures of the newest checkpoint come to: whether they make the quorum, and as of when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the entries of a run are held against.

    ``log`` is its name in the settings. ``first`` is the leaf index where following began: what was before is not known.
    ``not_before`` and ``not_after`` are POSIX seconds of the checkpoints around the run, where cosignatures tell them.
    ``revoked`` are hex digests of identities that the settings say are not to be used any more, ``watched`` of those that
    somebody wants to be told of whenever they sign. ``shard`` is the place of the shard, in a ledger in Rekor.
    """

    log: str
    trust: TrustFile
    first: int = 0
    not_before: int | None = None
    not_after: int | None = None
    revoked: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()
    shard: int = 0

    def position(self, leaf_index: int) -> int:
        """Return the place of a leaf among those of all shards: what is in a later shard is later."""
        return (self.shard << SHARD_BITS) | leaf_index

    def found(
        self,
        kind: Kind,
        leaf_index: int,
        text: str,
        *,
        model: str | None = None,
        about: str = "",
        signers: tuple[str, ...] = (),
        facts: dict[str, Json] | None = None,
    ) -> Finding:
        """Return a finding about an entry of this log. Two shards have the same leaf indices, so the shard is told too."""
        shard: dict[str, Json] = {"shard": self.shard} if self.shard else {}
        return Finding(
            log=self.log,
            kind=kind,
            text=text,
            leaf_index=leaf_index,
            model=model,
            about=f"shard {self.shard} {about}" if self.shard else about,
            signers=signers,
            facts={**(facts or {}), **shard},
        )


class Followed(NamedTuple):
    """What is known of one history: the head of its chain and, for a ``name:`` history, who stands there.

    ``signers`` are those who stand there and ``repo`` is the repository that they stand for; ``before`` are those who stood there
    until a change that is challenged: who may agree to it. Both are texts of ``monitor.signers``, since most are only compared.
    ``policy`` is the start of the digest of the policy that decided about its last version.
    """

    head: ChainHead | None = None
    signers: str = ""
    repo: str | None = None
    before: str = ""
    policy: bytes | None = None

    @property
    def standing(self) -> Standing:
        """What the next event is compared with."""
        return Standing(signers=parse_signers(self.signers), repo=self.repo)

    @property
    def last_agreed(self) -> tuple[SignerFacts, ...]:
        """Who stood there last without a question: those before the change that is challenged, else those who stand there."""
        return parse_signers(self.before or self.signers)


NOTHING = Followed()
"""What is known of a history that nobody has seen."""


@dataclass(slots=True, kw_only=True)
class Known:
    """What is known so far. ``histories``, ``revisions`` and ``notes`` hold what a run needs; the others what it changed.

    ``keys`` are the signing keys that the log itself announced: key id → ``{state, role, spki, at, from?}``.
    ``notes`` are small facts that outlive a run: the policy of a scope, a challenge, the namespaces of a signer. Where it is
    known that no scope has a policy, as in most ledgers, ``has_policies`` is false, and nobody has to look for any.
    ``stored`` are the histories as they were loaded, ``standings`` the rows in which who stands there is kept.
    """

    histories: dict[str, Followed] = field(default_factory=dict)
    revisions: dict[bytes, bytes] = field(default_factory=dict)
    keys: dict[str, dict[str, Json]] = field(default_factory=dict)
    notes: dict[str, dict[str, Json]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    new_revisions: dict[bytes, bytes] = field(default_factory=dict)
    new_notes: set[str] = field(default_factory=set)
    has_policies: bool = True
    stored: dict[str, Followed] = field(default_factory=dict)
    standings: dict[str, int] = field(default_factory=dict)

    def history(self, key: str) -> Followed:
        """Return what is known of one history, which may be nothing."""
        return self.histories.get(key, NOTHING)

    def note(self, key: str, value: dict[str, Json]) -> None:
        """Keep a note, in the place of the one before."""
        self.notes[key] = value
        self.new_notes.add(key)
