"""Split views: checkpoints that others were shown, held against what was replayed here.

Anybody may hand in a signed checkpoint: a witness, another monitor, a mirror, a user. It counts for nothing until the log's own
key signed it; then it is one more thing that the log said, and is judged as what it says to us.
"""

import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.client.evidence import Misbehaviour
from ledger.client.trust import TrustFile
from ledger.encoding import Json
from ledger.errors import (
    InputError,
    LedgerError,
    NotFoundError,
    ProofError,
    SourceError,
    StorageError,
    VerificationError,
)
from ledger.log.fetch import Fetch
from ledger.tlog.checkpoint import VerifiedCheckpoint, parse_checkpoint, verify_checkpoint
from ledger.tlog.signed_note import MAX_NOTE_BYTES, parse_note
from monitor.accuse import accuse
from monitor.checkpoints import MAX_TREE_SIZE, SeenCheckpoint
from monitor.findings import Finding, Kind
from monitor.judge import compare_smaller, convict, kept_note, reopen, witness_keys
from monitor.state import Position, Routes, State

MAX_WAITING = 4096
"""Checkpoints of one log that are remembered and cannot be judged yet, of up to 4 KB each as a rule."""


class Judgement(StrEnum):
    """What became of a checkpoint. ``PENDING``: it is signed and remembered, and will be judged when we know more."""

    CONSISTENT = "consistent"
    PENDING = "pending"
    INCONSISTENT = "inconsistent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The answer to whoever handed a checkpoint in. ``text`` says why, ``evidence`` names the file where there is one."""

    log: str
    size: int
    judgement: Judgement
    text: str
    evidence: str = ""

    def as_json(self) -> dict[str, Json]:
        """Return it as the endpoint and ``--json`` say it."""
        evidence = {"evidence": pathlib.Path(self.evidence).name} if self.evidence else {}
        return {
            "log": self.log,
            "size": self.size,
            "result": str(self.judgement),
            "text": self.text,
            **evidence,
        }


class Views:
    """Judges the checkpoints of the logs that one monitor follows. Thread-safe."""

    def __init__(
        self,
        logs: Mapping[str, TrustFile],
        state: State,
        *,
        routes: Routes,
        evidence: pathlib.Path,
        clock: Callable[[], float],
    ) -> None:
        self._logs, self._state, self._routes = dict(logs), state, routes
        self._evidence, self._clock = evidence, clock
        self._one = threading.Lock()

    def judge(self, note: bytes) -> Judged:
        """Judge a checkpoint, and store what follows from it.

        Raises:
            MalformedError, LimitError: no checkpoint. SignatureError: the log's key did not sign it, so it says nothing.
            NotFoundError: of no log that is followed here. SourceError: so many wait already that this one is not remembered.
        """
        name = self._name(parse_checkpoint(parse_note(note).text).origin)
        trust = self._logs[name]
        fetched = verify_checkpoint(note, origin=trust.origin, keys=trust.log_keys)
        with self._one:  # hashing for a stranger takes one thread at most
            return self._judge(name, fetched, self._state.position(name))

    def _name(self, origin: str) -> str:
        """Return the log of an origin, which is only looked up: the signature is checked against that log's keys."""
        for name, trust in self._logs.items():
            if trust.origin == origin:
                return name
        raise NotFoundError(
            "log of the checkpoint",
            expected="one of " + ", ".join(sorted(each.origin for each in self._logs.values())),
            actual="another origin",
            next_step="Ask a monitor that follows that log",
        )

    def _judge(self, name: str, fetched: VerifiedCheckpoint, position: Position) -> Judged:
        tree = fetched.checkpoint
        same = self._state.checkpoints.between(name, least=tree.size, most=tree.size)
        if any(each.verified and each.root == tree.root_hash for each in same):
            return self._consistent(name, tree.size)
        found = self._contradicted(name, fetched, same)
        if found is None and tree.size <= position.size:
            if tree.size < position.first:
                return self._keep(
                    name, fetched, f"this monitor follows the log from size {position.first} on"
                )
            try:
                found = compare_smaller(fetched, state=self._state, position=position, trust=self._logs[name])
            except ProofError:
                return self._keep(
                    name, fetched, "it differs from what was replayed, and nothing proves which is false"
                )
            if found is None:
                # Remembered, so that whoever hands it in again and again costs one look into an index.
                self._keep(name, fetched, "")
                self._state.checkpoints.mark_verified(name, size=tree.size, root=tree.root_hash)
                return self._consistent(name, tree.size)
        if found is None:
            return self._keep(name, fetched, f"verified here so far: {position.size}")
        finding = accuse(found, log=name, folder=self._evidence)
        self._state.report(finding, routes=self._routes, now=int(self._clock()))
        return Judged(
            log=name,
            size=tree.size,
            judgement=Judgement.INCONSISTENT,
            text=finding.text,
            evidence=str(finding.facts["evidence"]),
        )

    def _consistent(self, name: str, size: int) -> Judged:
        text = f"its root is that of the entries before {size}, as they were replayed here"
        return Judged(log=name, size=size, judgement=Judgement.CONSISTENT, text=text)

    def _contradicted(
        self, name: str, fetched: VerifiedCheckpoint, same: Sequence[SeenCheckpoint]
    ) -> Misbehaviour | None:
        """Look for another root that the log signed for this size, whether or not its entries were ever served."""
        tree, trust = fetched.checkpoint, self._logs[name]
        for seen in same:
            other = reopen(seen, fetched, trust) if seen.root != tree.root_hash else None
            if other is not None:
                return convict(Misbehaviour(older=other, newer=fetched), trust)
        return None

    def _keep(self, name: str, fetched: VerifiedCheckpoint, text: str) -> Judged:
        """Remember what the log signed: the follower holds its next run against it."""
        tree = fetched.checkpoint
        self._check_room(name, tree.size)
        note = kept_note(fetched, witness_keys(self._logs[name]))
        self._state.checkpoints.saw(
            name, size=tree.size, root=tree.root_hash, note=note, now=int(self._clock())
        )
        return Judged(log=name, size=tree.size, judgement=Judgement.PENDING, text=text)

    def _check_room(self, name: str, size: int) -> None:
        """Refuse what cannot be judged yet where there is too much of that: a log's key signs as many sizes as it likes."""
        position = self._state.position(name)
        if position.first <= size <= position.size:
            return  # one for each size
        over = size > position.size
        least, most = (position.size + 1, MAX_TREE_SIZE) if over else (0, position.first - 1)
        if self._state.checkpoints.count(name, least=least, most=most) >= MAX_WAITING:
            raise SourceError(
                f"checkpoint of {name} at size {size}",
                expected=f"fewer than {MAX_WAITING} that wait for entries which the log does not serve",
                actual="no room for more",
                next_step="Hand it in again when the log has served what it signed before",
            )

    def poll(self, name: str, sources: Mapping[str, Fetch]) -> None:
        """Ask the sources of one log for the checkpoints that they were shown. What cannot be had or judged is reported."""
        problems: list[str] = []
        for url, fetch in sources.items():
            try:
                self.judge(fetch(url.rpartition("/")[2], max_bytes=MAX_NOTE_BYTES))
            except StorageError:
                raise
            except (VerificationError, InputError) as error:
                problems.append(f"{url} shows no checkpoint of it ({error.finding})")
            except LedgerError as error:
                problems.append(f"{url} could not be read ({error.finding})")
        self._tell(name, problems)

    def _tell(self, name: str, problems: Sequence[str]) -> None:
        now = int(self._clock())
        if not problems:
            self._state.record.recovered(name, kinds=(Kind.SOURCE_UNREACHABLE,), now=now, about="compare")
            return
        finding = Finding(
            log=name,
            kind=Kind.SOURCE_UNREACHABLE,
            text=f"The checkpoint of {name} was not compared everywhere: {'; '.join(problems)}. Whether others are shown the same "
            "is unknown there; correct `compare` in the settings, or tell whoever runs it.",
            about="compare",
        )
        self._state.report(finding, routes=self._routes, now=now)
