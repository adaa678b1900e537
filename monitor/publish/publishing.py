"""Publishes: covers what was verified since the last time, writes what that changes, and last what speaks of it.

In order, so that nobody ever reads of a file that is not there, and a crash anywhere is healed by doing it again:

1. the proofs of new entries, then what they say, into the store, with what is due because of it;
2. evidence, pages, histories and feeds that are due;
3. lists of findings, pages of logs, the parts that statements name;
4. the checkpoint that all proofs lead up to, and the signed statement of each log;
5. ``index.json``; what was due is struck off, and parts that nobody asks for any more are removed.
"""

import pathlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from ledger.embedded.keys import load_note_key
from ledger.encoding import format_canonical_json
from ledger.log.lock import writer_lock
from ledger.monitor_statement import format_monitor_statement
from ledger.storage.directory import read_file, write_file_durably
from ledger.tlog.signed_note import Ed25519NoteSigner, VerifierKey
from monitor.config import MonitorConfig
from monitor.findings import Kind
from monitor.publish import layout
from monitor.publish.accounts import SHOWN, TOLD, WITH_EVIDENCE, evidence_of, is_public, public_facts
from monitor.publish.covered import CoveredLog
from monitor.publish.layout import CHUNK
from monitor.publish.listings import Listings, LogFacts
from monitor.publish.logs import LogCovering
from monitor.publish.pages import Pages
from monitor.publish.parts import leave_parts, put_parts, remove_parts
from monitor.publish.store import Shown, Store
from monitor.publish.writing import Writer
from monitor.record import Stored
from monitor.state import State

INDEX_FORMAT = "https://hubledger/published/v1"
MAX_FINDINGS_SHOWN = 1000
MAX_EVIDENCE_BYTES = 1 << 20
RECENT = 100
_RECENT_OF_EACH = 20
LOCK_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLogs:
    """What a publication came to: the size that is published of each log, and why one has not come further."""

    sizes: Mapping[str, int]
    problems: Mapping[str, str]
    files: int


def make_key(path: pathlib.Path, name: str, private: bytes) -> VerifierKey:
    """Make the monitor's key from 32 random bytes, readable by its owner only. Raises WriteError, MalformedError: the name."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519NoteSigner(name, Ed25519PrivateKey.from_private_bytes(private))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file_durably(path, signer.format_private().encode() + b"\n", mode=0o600)
    return signer.verifier


def publish(
    config: MonitorConfig, state: State, *, now: float, stopping: Callable[[], bool] = lambda: False
) -> PublishedLogs:
    """Publish what the monitor has verified and found. ``now``: POSIX seconds, for how long old parts are kept.

    Raises:
        ConfigError: the key or a trust file cannot be used, or jinja2 is missing. WriteError: the folder or the store
            cannot be written; what is published stays as it was. WriterLockedError: somebody else publishes.
    """
    with (
        # The process that writes files may be at its end, after the one that it wrote for was killed.
        writer_lock(config.folder / "publish.lock", wait=LOCK_SECONDS) as lock,
        closing(Store(config.folder, token=secrets.token_hex(16))) as store,
        closing(_Publication(config, state, store, lock, stopping)) as publication,
    ):
        return publication.run(now=now)


class _Publication:
    def __init__(
        self, config: MonitorConfig, state: State, store: Store, lock: int, stopping: Callable[[], bool]
    ) -> None:
        self._config, self._state, self._store = config, state, store
        self._key = load_note_key(config.base / config.publish.key) if config.publish.key else None
        self._url = config.publish.url.rstrip("/")
        self._pages = Pages(name=self._key.verifier.name if self._key else "", url=self._url)
        self._writer = Writer(config.published, lock=lock)
        if not _is_of(config.published, store.token):
            store.clear(token=secrets.token_hex(16))
            # If we stop here, the folder has no token of this store, and the next run clears it once more.
            self._writer.put(layout.OWNER, store.token.encode())
            self._writer.commit()
        self._covering = LogCovering(
            config, state, store, writer=self._writer, signs=self._key is not None, stopping=stopping
        )

    def close(self) -> None:
        """End what writes."""
        self._writer.close()

    def run(self, *, now: float) -> PublishedLogs:
        """Publish, in the order of this module's first lines."""
        self._store.set_look(self._pages.look)
        ours = [each for each in self._config.log if not each.is_foreign]
        logs = [log for each in ours if (log := self._covering.cover(each)) is not None]
        self._evidence(logs)
        self._writer.put(layout.STYLE, self._pages.style)
        for log in logs:
            self._listings(log).write()
        self._overviews(logs)
        for log in logs:
            put_parts(self._writer, log.statements, log.parts)
        self._writer.commit()
        # If we stop here, all that the statements speak of is there, and the old ones still stand.
        for log in logs:
            self._statement(log, now=now)
        self._writer.commit()
        self._writer.put(layout.INDEX, self._index(logs))
        self._writer.commit()
        # If we stop here, what was due is written once more, as it is.
        for log in logs:
            self._store.done(log.name)
            for path in log.statements:
                remove_parts(self._writer, path, log.parts, now=now)
        return PublishedLogs(
            sizes={log.name: log.facts.size for log in logs},
            problems=self._covering.problems,
            files=self._writer.written,
        )

    # 2. Evidence, and what is due

    def _evidence(self, logs: Sequence[CoveredLog]) -> None:
        for each in self._told(logs, kinds=WITH_EVIDENCE, limit=None):
            path = evidence_of(each)
            if path is None:
                continue
            data = read_file(self._config.evidence / path.name, max_bytes=MAX_EVIDENCE_BYTES)
            self._writer.put(f"{layout.EVIDENCE}/{path.name}", data)

    def _told(self, logs: Sequence[CoveredLog], *, kinds: Sequence[Kind], limit: int | None) -> list[Stored]:
        """Return the findings about these logs that strangers are told of, newest first."""
        record = self._state.record
        standing = (
            record.standing(tree, kinds=kinds, states=SHOWN, limit=-1 if limit is None else limit)
            for log in logs
            for tree in log.trees
        )
        numbers = sorted((number for some in standing for number, _, _ in some), reverse=True)[:limit]
        found = {each.number: each for each in record.numbered(numbers) if is_public(each)}
        return [found[number] for number in numbers if number in found]

    def _listings(self, log: CoveredLog) -> Listings:
        def facts_of(some: Sequence[Shown]) -> list[dict[str, Any]]:
            stored = {each.number: each for each in self._state.record.numbered([e.number for e in some])}
            # As it stood when all was summed up, whoever has settled it meanwhile: the next publication says so.
            return [
                public_facts(replace(stored[each.number], state=each.state), in_rekor=log.in_rekor)
                for each in some
            ]

        return Listings(
            log.facts,
            store=self._store,
            writer=self._writer,
            pages=self._pages,
            url=self._url,
            findings=log.account.models,
            facts_of=facts_of,
        )

    # 3. Overviews

    def _overviews(self, covered: Sequence[CoveredLog]) -> None:
        logs = [each.facts for each in covered]
        in_rekor = {each.name for each in covered if each.in_rekor}
        shown = [
            public_facts(each, in_rekor=each.facts["log"] in in_rekor)
            for each in self._told(covered, kinds=TOLD, limit=MAX_FINDINGS_SHOWN)
        ]
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

    def _statement(self, log: CoveredLog, *, now: float) -> None:
        for path, note in log.checkpoints.items():
            self._writer.put(path, note)
        if self._key is None:
            return
        for path, statement in log.statements.items():
            leave_parts(self._writer, path, log.parts, now=now)
            self._writer.put(path, format_monitor_statement(statement, self._key))

    # 5. The index

    def _index(self, logs: Sequence[CoveredLog]) -> bytes:
        return format_canonical_json(
            {
                "format": INDEX_FORMAT,
                **({"monitor": self._key.verifier.format()} if self._key else {}),
                "logs": [dict(log.index) for log in logs],
            }
        )


def _with_recent(log: LogFacts, recent: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    return {**asdict(log), "recent": recent}


def _is_of(folder: pathlib.Path, token: str) -> bool:
    """Whether what lies in the folder was published from this store: else both begin anew."""
    try:
        with (folder / layout.OWNER).open("rb") as file:
            return file.read(len(token) + 1) == token.encode()
    except OSError:
        return False
