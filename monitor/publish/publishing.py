"""Publishes: covers what was verified since the last time, writes what that changes, and last what speaks of it.

In order, so that nobody ever reads of a file that is not there, and a crash anywhere is healed by doing it again:

1. the proofs of new entries, then what they say, into the store, with what is due because of it;
2. evidence, pages, histories and feeds that are due;
3. lists of findings, pages of logs, the checkpoint that all proofs lead up to;
4. the signed statement of each log;
5. ``index.json``, and what was due is struck off.
"""

import pathlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ledger.client.trust import TrustFile
from ledger.embedded.keys import load_note_key
from ledger.encoding import format_base64, format_canonical_json
from ledger.errors import LedgerError, StorageError
from ledger.log.lock import writer_lock
from ledger.monitor_statement import MonitorStatement, format_monitor_statement
from ledger.storage.directory import read_file, write_file_durably
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, VerifierKey
from monitor.config import MonitorConfig
from monitor.findings import CLASSES
from monitor.publish import layout
from monitor.publish.accounts import Account, account, evidence_of, is_public, is_told, public_facts
from monitor.publish.covering import ALL_FINDINGS, Coverage
from monitor.publish.layout import CHUNK
from monitor.publish.listings import Listings, LogFacts
from monitor.publish.pages import Pages
from monitor.publish.store import Store
from monitor.publish.writing import Writer
from monitor.record import Stored
from monitor.state import Position, SeenCheckpoint, State

INDEX_FORMAT = "https://hubledger/published/v1"
MAX_FINDINGS_SHOWN = 1000
MAX_EVIDENCE_BYTES = 1 << 20
RECENT = 100
_RECENT_OF_EACH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLogs:
    """What a publication came to: the size that is published of each log, and why one has not come further."""

    sizes: Mapping[str, int]
    problems: Mapping[str, str]
    files: int


@dataclass(slots=True, kw_only=True)
class _Log:
    """One log while it is published."""

    name: str
    trust: TrustFile
    position: Position
    checkpoint: SeenCheckpoint
    account: Account
    findings: Sequence[Stored]

    @property
    def tree(self) -> Checkpoint:
        """The tree that is covered whole."""
        seen = self.checkpoint
        return Checkpoint(origin=self.position.origin, size=seen.size, root_hash=seen.root)


def make_key(path: pathlib.Path, name: str, private: bytes) -> VerifierKey:
    """Make the monitor's key from 32 random bytes, readable by its owner only. Raises WriteError, MalformedError: the name."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519NoteSigner(name, Ed25519PrivateKey.from_private_bytes(private))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file_durably(path, signer.format_private().encode() + b"\n", mode=0o600)
    return signer.verifier


def publish(
    config: MonitorConfig, state: State, *, stopping: Callable[[], bool] = lambda: False
) -> PublishedLogs:
    """Publish what the monitor has verified and found.

    Raises:
        ConfigError: the key or a trust file cannot be used, or jinja2 is missing. WriteError: the folder or the store
            cannot be written; what is published stays as it was. WriterLockedError: somebody else publishes.
    """
    with writer_lock(config.folder / "publish.lock"):
        store = Store(config.folder, token=secrets.token_hex(16))
        try:
            return _Publication(config, state, store, stopping).run()
        finally:
            store.close()


class _Publication:
    def __init__(
        self, config: MonitorConfig, state: State, store: Store, stopping: Callable[[], bool]
    ) -> None:
        self._config, self._state, self._store, self._stopping = config, state, store, stopping
        self._key = load_note_key(config.base / config.publish.key) if config.publish.key else None
        self._url = config.publish.url.rstrip("/")
        self._pages = Pages(name=self._key.verifier.name if self._key else "", url=self._url)
        self._writer = Writer(config.published)
        if not _is_of(config.published, store.token):
            store.clear(token=secrets.token_hex(16))
            # If we stop here, the folder has no token of this store, and the next run clears it once more.
            self._writer.put(layout.OWNER, store.token.encode())
            self._writer.commit()
        self._problems: dict[str, str] = {}

    def run(self) -> PublishedLogs:
        """Publish, in the order of this module's first lines."""
        self._store.set_look(self._pages.look)
        logs = [log for each in self._config.log if (log := self._cover(each.name)) is not None]
        findings = [each for log in logs for each in log.findings if is_public(each)]
        self._evidence(findings)
        self._writer.put(layout.STYLE, self._pages.style)
        facts = [self._facts(log) for log in logs]
        for log, each in zip(logs, facts, strict=True):
            self._listings(log, each).write()
        self._overviews(findings, facts)
        self._writer.commit()
        # If we stop here, all that the statements speak of is there, and the old ones still stand.
        for log in logs:
            self._statement(log)
        self._writer.commit()
        self._writer.put(layout.INDEX, self._index(logs))
        self._writer.commit()
        # If we stop here, what was due is written once more, as it is.
        for log in logs:
            self._store.done(log.name)
        return PublishedLogs(
            sizes={log.name: log.checkpoint.size for log in logs},
            problems=self._problems,
            files=self._writer.written,
        )

    # 1. What was verified since

    def _cover(self, name: str) -> _Log | None:
        """Cover a log up to its newest verified checkpoint; None where no signed tree was ever covered."""
        # The position first: what was checked last is then never later than the tree that it is said of.
        position = self._state.position(name)
        settings = next(each for each in self._config.log if each.name == name)
        trust = self._config.trust(settings)
        newest = self._state.newest_verified(name)
        # The leaves of a Rekor hold no statements: what is published of a tile log cannot be made of them.
        if newest is None or trust.is_rekor:
            return None
        coverage = Coverage(
            state=self._state,
            store=self._store,
            writer=self._writer,
            trust=trust,
            sources=self._config.sources(settings),
            position=position,
            checkpoint=newest,
        )
        try:
            coverage.run(stopping=self._stopping)
        except StorageError:
            raise
        except LedgerError as error:
            # What is known is published all the same: that entries are not served again must not hide a finding.
            self._problems[name] = error.finding
        covered = self._store.covered(name)
        seen = next(
            (
                each
                for each in self._state.checkpoints(name, least=covered)
                if each.verified and each.size == covered
            ),
            None,
        )
        if seen is None:
            return None
        findings = self._state.record.findings(log=name, kinds=_TOLD, limit=ALL_FINDINGS)
        summed = account(findings, lambda leaf: self._store.histories(name, leaf))
        self._store.show(name, summed.shown)
        return _Log(
            name=name, trust=trust, position=position, checkpoint=seen, account=summed, findings=findings
        )

    # 2. Evidence, and what is due

    def _evidence(self, findings: Sequence[Stored]) -> None:
        for each in findings:
            path = evidence_of(each)
            if path is None:
                continue
            data = read_file(self._config.evidence / path.name, max_bytes=MAX_EVIDENCE_BYTES)
            self._writer.put(f"{layout.EVIDENCE}/{path.name}", data)

    def _listings(self, log: _Log, facts: LogFacts) -> Listings:
        by_number = {each.number: each for each in log.findings}
        by_model: dict[str, list[dict[str, Any]]] = {}
        for shown in log.account.shown:
            for model in shown.models:
                by_model.setdefault(model, []).append(public_facts(by_number[shown.number]))
        return Listings(
            facts,
            store=self._store,
            writer=self._writer,
            pages=self._pages,
            url=self._url,
            findings=by_model,
        )

    def _facts(self, log: _Log) -> LogFacts:
        return LogFacts(
            name=log.name,
            origin=log.position.origin,
            ledger=log.trust.ledger,
            first=log.position.first,
            size=log.checkpoint.size,
            root=format_base64(log.checkpoint.root),
            checked_at=log.position.succeeded_at,
            open=log.account.count,
            models=self._store.count_models(log.name),
            statement=self._is_stated(log),
        )

    # 3. Overviews

    def _overviews(self, findings: Sequence[Stored], logs: Sequence[LogFacts]) -> None:
        shown = [
            public_facts(each)
            for each in sorted(findings, key=lambda each: -each.number)
            if each.state != "expected"
        ][:MAX_FINDINGS_SHOWN]
        path = f"{layout.FINDINGS}/{layout.PAGE}"
        self._writer.put(f"{layout.FINDINGS}/findings.json", format_canonical_json({"findings": list(shown)}))
        page = self._pages.render(
            "findings.html",
            path,
            title="Findings",
            findings=shown,
            is_recorded=lambda log, name: self._store.count(log, name) > 0,
        )
        self._writer.put(path, page)
        overview = []
        for log in logs:
            path = layout.of_log(log.name, layout.PAGE)
            recent = self._store.recent(log.name, limit=RECENT)
            page = self._pages.render(
                "log.html",
                path,
                title=f"Log {log.name}",
                log=log,
                recent=recent,
                newest_page=max(0, log.size - 1) // CHUNK,
            )
            self._writer.put(path, page)
            overview.append(_with_recent(log, recent[:_RECENT_OF_EACH]))
        page = self._pages.render(
            "index.html",
            layout.PAGE,
            title="What was verified, and what was found",
            logs=overview,
            open_findings=sum(each.open for each in logs),
        )
        self._writer.put(layout.PAGE, page)

    # 4. What is signed

    def _is_stated(self, log: _Log) -> bool:
        """Whether a statement is signed: not about entries that nobody looked at here, and not before a first check."""
        return self._key is not None and not log.position.first and log.position.succeeded_at is not None

    def _statement(self, log: _Log) -> None:
        self._writer.put(layout.of_log(log.name, "checkpoint"), log.checkpoint.note)
        if self._key is None or not self._is_stated(log):
            return
        statement = MonitorStatement.of(
            log.tree,
            ledger=log.trust.ledger,
            checked_at=log.position.succeeded_at or 0,
            findings=log.account.histories,
            log=log.account.log,
        )
        self._writer.put(layout.of_log(log.name, "statement"), format_monitor_statement(statement, self._key))

    # 5. The index

    def _index(self, logs: Sequence[_Log]) -> bytes:
        return format_canonical_json(
            {
                "format": INDEX_FORMAT,
                **({"monitor": self._key.verifier.format()} if self._key else {}),
                "logs": [
                    {
                        "log": log.name,
                        "ledger": log.trust.ledger,
                        "origin": log.position.origin,
                        "firstLeaf": log.position.first,
                        "size": log.checkpoint.size,
                        "models": self._store.count_models(log.name),
                        "openFindings": log.account.count,
                        **({"statement": f"{log.name}/statement"} if self._is_stated(log) else {}),
                    }
                    for log in logs
                ],
            }
        )


_TOLD = tuple(kind for kind, (alert, severity) in CLASSES.items() if is_told(alert, severity))
"""Not what is for the record: a log of a million models has as many of those, and no page shows them."""


def _with_recent(log: LogFacts, recent: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    return {**asdict(log), "recent": recent}


def _is_of(folder: pathlib.Path, token: str) -> bool:
    """Whether what lies in the folder was published from this store: else both begin anew."""
    try:
        with (folder / layout.OWNER).open("rb") as file:
            return file.read(len(token) + 1) == token.encode()
    except OSError:
        return False
