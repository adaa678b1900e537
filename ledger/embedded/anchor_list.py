"""Lists the anchors of a directory and verifies each again, from stored files alone (``hubledger log anchors``).

Nothing that is stored is believed. Each step is taken by itself, so that what does not hold is named, all of it.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ledger.bundle.bodies import SignedPayload
from ledger.bundle.log_entry import LogKeys, ProvenEntry
from ledger.client.evidence import (
    Misbehaviour,
    format_evidence,
    prefix_by_consistency,
    prefix_by_inclusion,
    verify_evidence,
)
from ledger.embedded.anchor_key import public_keys
from ledger.embedded.anchor_outside import names_files
from ledger.embedded.anchoring import root_reader
from ledger.embedded.directory import ReadLedger, open_for_reading
from ledger.encoding import parse_json
from ledger.errors import ConfigError, LedgerError, LimitError, MisbehaviourError, ProofError
from ledger.log.anchor_proofs import verify_envelope, verify_extends, verify_logged, verify_statement
from ledger.log.freshness import RootAt
from ledger.log.timestamping import Authority, verify_timestamp
from ledger.log.trusted_root import MAX_TRUST_BYTES, load_instance, read_instance
from ledger.storage.anchors import AnchorStore, StoredAnchor
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """What log entries and timestamps are held against."""

    keys: LogKeys
    authorities: Sequence[Authority]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One step that does not hold, and why."""

    step: str
    error: LedgerError


@dataclass(kw_only=True)
class ListedAnchor:
    """One anchor, and what of it was proven; what was not is None."""

    name: str
    stored: StoredAnchor | None = None
    checkpoint: VerifiedCheckpoint | None = None
    signed: SignedPayload | None = None
    entry: ProvenEntry | None = None
    timestamps: list[datetime] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON facts. ``madeAt`` is this machine's word, every other time is proven."""
        facts: dict[str, Any] = {"name": self.name, "state": self.state}
        if self.stored is not None:
            facts["madeAt"] = _utc(self.stored.new.made_at)
        if self.checkpoint is not None:
            tree = self.checkpoint.checkpoint
            facts |= {"size": tree.size, "rootHash": tree.root_hash.hex()}
        if self.signed is not None:
            facts["keyid"] = self.signed.keyid
        if self.entry is not None:
            facts["log"] = {
                "origin": self.entry.tree.origin,
                "index": self.entry.index,
                "leafIndex": self.entry.leaf_index,
            }
            if self.entry.integrated_time is not None:
                facts["log"]["integratedTime"] = _utc(self.entry.integrated_time)
        facts["timestamps"] = [_utc(int(each.timestamp())) for each in self.timestamps]
        if self.stored is not None and self.stored.refused is not None:
            facts["refused"] = self.stored.refused
        facts["holds"] = not self.problems
        facts["problems"] = [
            {"step": each.step, "error": type(each.error).__name__, "message": str(each.error)}
            for each in self.problems
        ]
        return facts

    @property
    def state(self) -> str:
        """``logged``, ``stamped`` or, where the outside has not answered yet, ``pending``; ``refused`` by the log."""
        if self.stored is None:
            return "damaged"
        if self.stored.is_pending:
            return "pending"
        if self.stored.refused is not None:
            return "refused"
        return "logged" if self.stored.log_entry is not None else "stamped"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorReport:
    """All anchors, the smallest size first, and evidence where two signed checkpoints contradict each other."""

    origin: str
    anchors: tuple[ListedAnchor, ...]
    evidence: bytes | None = None

    @property
    def exit_code(self) -> int:
        """0 if all that is stored holds, that of misbehaviour where there is evidence, else that of the first problem."""
        if self.evidence is not None:
            return MisbehaviourError.exit_code
        return next((each.error.exit_code for anchor in self.anchors for each in anchor.problems), 0)


def list_anchors(directory: pathlib.Path, *, trusted_root: pathlib.Path | None = None) -> AnchorReport:
    """Verify every stored anchor; what does not hold is in the report.

    Raises:
        ConfigError, LimitError: the settings, or a trusted root that is none. CorruptError: the folder or a public key.
        SignatureError, MalformedError, NotFoundError: the log itself has no checkpoint to compare with.
    """
    ledger = open_for_reading(directory)
    store = AnchorStore(ledger.layout.anchors)
    present = ledger.log.checkpoint()
    check = _Check(
        ledger=ledger,
        present=present,
        root_at=root_reader(ledger.log, present.checkpoint.size),
        anchor_keys=public_keys(directory / ledger.config.anchor.key),
        trust=_trusted(ledger, store, trusted_root),
    )
    anchors = tuple(check.anchor(store, name) for name in store.names())
    return AnchorReport(
        origin=ledger.config.ledger, anchors=anchors, evidence=next(check.contradictions(anchors), None)
    )


def _trusted(ledger: ReadLedger, store: AnchorStore, path: pathlib.Path | None) -> Callable[[], Trusted]:
    """Return what reads the trusted root, the first time that it is needed: a given one, else that of the settings.

    That of Sigstore's public instance was kept when an anchor was made: listing goes nowhere to get it.
    """
    found: list[Trusted] = []

    def trusted() -> Trusted:
        if not found:
            kept = None if names_files(ledger.config.anchor) else store.trusted_root()
            if path is not None:
                instance = read_instance(_read_root(path), {}, where=str(path))
            elif kept is not None:
                root = parse_json(kept, what="trusted root of the anchors", max_bytes=MAX_TRUST_BYTES)
                instance = read_instance(root, {}, where="the folder anchors")
            elif names_files(ledger.config.anchor):
                instance = load_instance(ledger.config.anchor, ledger.layout.root)
            else:
                raise ConfigError(
                    "trusted root of the anchors",
                    expected="trusted_root or trust_config in [anchor]",
                    actual="neither, and none was kept",
                    next_step="Give it with --trusted-root: nothing is fetched to list anchors",
                )
            found.append(Trusted(keys=instance.keys, authorities=instance.authorities))
        return found[0]

    if path is not None:
        trusted()  # a file that was named and is none is refused, also where nothing needs it
    return trusted


def _read_root(path: pathlib.Path) -> Any:
    """Read a trusted root, or that of a client trust config."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TRUST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"trusted root {path}", expected="a readable file", actual=error.strerror
        ) from error
    if len(data) > MAX_TRUST_BYTES:
        raise LimitError(f"trusted root {path}", expected=f"at most {MAX_TRUST_BYTES} bytes", actual="more")
    value = parse_json(data, what=f"trusted root {path}", max_bytes=MAX_TRUST_BYTES)
    return value.get("trustedRoot", value) if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """What every anchor is held against."""

    ledger: ReadLedger
    present: VerifiedCheckpoint
    root_at: RootAt
    anchor_keys: dict[str, bytes]
    trust: Callable[[], Trusted]

    def anchor(self, store: AnchorStore, name: str) -> ListedAnchor:
        """Take every step of one anchor."""
        listed = ListedAnchor(name=name)
        try:
            listed.stored = stored = store.load(name)
        except LedgerError as error:
            listed.problems.append(Problem(step="stored files", error=error))
            return listed
        for step, take in self._steps(listed, stored):
            try:
                take()
            except LedgerError as error:
                listed.problems.append(Problem(step=step, error=error))
        return listed

    def _steps(self, listed: ListedAnchor, stored: StoredAnchor) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the steps with their names; one that needs what an earlier one did not prove is left out."""
        yield "checkpoint", lambda: self._checkpoint(listed, stored)
        yield "signature", lambda: self._signature(listed, stored)
        if listed.checkpoint is not None and listed.signed is not None:
            text, payload = listed.checkpoint.parsed.text, listed.signed.payload
            yield "statement", lambda: verify_statement(payload, text)
        if listed.checkpoint is not None:
            tree = listed.checkpoint.checkpoint
            size = self.present.checkpoint.size
            yield "tree", lambda: verify_extends(tree, size=size, root_at=self.root_at)
        if listed.signed is not None and stored.log_entry is not None:
            yield "log entry", lambda: self._log_entry(listed, stored.log_entry or b"")
        for number, each in enumerate(stored.timestamps):
            yield f"timestamp {number}", lambda each=each: self._timestamp(listed, each)  # type: ignore[misc]

    def _checkpoint(self, listed: ListedAnchor, stored: StoredAnchor) -> None:
        keys = self.ledger.trust.log_keys
        found = verify_checkpoint(stored.new.note, origin=self.ledger.config.ledger, keys=keys)
        listed.checkpoint = found
        if found.checkpoint.size != stored.new.size:
            raise ProofError(
                "size of the stored anchor",
                expected=f"{found.checkpoint.size}, as its checkpoint says",
                actual=stored.new.size,
                next_step="Restore the file from a copy",
            )

    def _signature(self, listed: ListedAnchor, stored: StoredAnchor) -> None:
        listed.signed = verify_envelope(stored.new.envelope, self.anchor_keys)

    def _log_entry(self, listed: ListedAnchor, log_entry: bytes) -> None:
        if listed.signed is not None:
            listed.entry = verify_logged(listed.signed, log_entry, self.trust().keys)

    def _timestamp(self, listed: ListedAnchor, response: bytes) -> None:
        if listed.signed is not None:
            time = verify_timestamp(response, listed.signed.signature, authorities=self.trust().authorities)
            listed.timestamps.append(time)

    # Evidence

    def contradictions(self, anchors: Sequence[ListedAnchor]) -> Iterator[bytes]:
        """Yield evidence that convicts: of a damaged file there is none."""
        by_size: dict[int, VerifiedCheckpoint] = {}
        for each in anchors:
            if each.checkpoint is None:
                continue
            other = by_size.setdefault(each.checkpoint.checkpoint.size, each.checkpoint)
            found = self._convicting(Misbehaviour(older=other, newer=each.checkpoint))
            if found is None and any(problem.step == "tree" for problem in each.problems):
                found = self._with_present(each.checkpoint)
            if found is not None:
                yield found

    def _with_present(self, anchored: VerifiedCheckpoint) -> bytes | None:
        """Hold an anchored checkpoint against the present one, by a proof from the tiles where these are sound."""
        old, new = anchored.checkpoint, self.present.checkpoint
        if old.size >= new.size:
            return self._convicting(Misbehaviour(older=anchored, newer=self.present))
        log = self.ledger.log
        try:
            (leaf,) = log.nodes(new.size)([(0, 0)])
            path = log.prove_inclusion(0, new.size)
            prefix = prefix_by_inclusion(old.size, new, leaf=leaf, index=0, hashes=path)
            prefix = prefix or prefix_by_consistency(old, new, log.prove_consistency(old.size, new.size))
        except LedgerError:
            return None  # tiles that are damaged accuse nobody; the step "tree" has named them
        return self._convicting(Misbehaviour(older=anchored, newer=self.present, prefix=prefix))

    def _convicting(self, found: Misbehaviour) -> bytes | None:
        """Return evidence if whoever is shown it is convinced."""
        data = format_evidence(found)
        try:
            verify_evidence(data, trust=self.ledger.trust)
        except LedgerError:
            return None
        return data


def _utc(seconds: int) -> str:
    """Show a time; a log may sign one in a year that no calendar here has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"second {seconds}"
