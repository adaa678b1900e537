"""Holds a list of what a hub serves against a log that is followed: what is served and was never recorded is a finding.

The list is one revision a line, as JSON ``{"model", "revision", "created"}`` or as three columns with tabs between them;
``created`` is the time since which it is served (RFC 3339). It is as good as whoever wrote it: a revision that the hub serves to
one person alone, and lists nowhere, stays unseen.
"""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.encoding import parse_json
from ledger.errors import LedgerError, MalformedError, StorageError
from ledger.event import escape_name
from ledger.event.readable import readable_name
from ledger.log.fetch import Fetch
from monitor.checks import CrosscheckConfig
from monitor.event_facts import revision_key_of
from monitor.findings import Finding, Kind
from monitor.state import Routes, State

MAX_LIST_BYTES = 256 << 20
"""A few million lines."""
MAX_LINE_BYTES = 1 << 16
MAX_FINDINGS = 1000
"""New findings of one look: a list of another hub would else fill the record. The others come with the next looks."""
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One revision that a hub serves, and since when (POSIX seconds). The model's name is escaped, as in the log."""

    model: str
    revision: str
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crosschecked:
    """What one look came to. ``waiting`` were not judged yet: too new, or not verified that far."""

    listed: int
    recorded: int
    missing: int
    waiting: int
    new_findings: int
    problem: str = ""


def parse_served(lines: Iterable[bytes]) -> Iterator[Served]:
    """Parse the lines of a list; empty ones are left out. Raises MalformedError, LimitError, with the number of the line."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _parse_line(line.strip(b"\r\n"), f"line {number} of the list")


def _parse_line(line: bytes, what: str) -> Served:
    value: object
    if line.startswith(b"{"):
        value = parse_json(line, what=what, max_bytes=MAX_LINE_BYTES)
    else:
        columns = line.decode("utf-8", "replace").split("\t")
        value = (
            dict(zip(("model", "revision", "created"), columns, strict=False)) if len(columns) == 3 else line
        )
    match value:
        case {"model": str(model), "revision": str(revision), "created": str(created)} if (
            model and revision and _is_text(revision)
        ):
            return Served(model=escape_name(model), revision=revision, created=_parse_time(created, what))
    raise MalformedError(
        what,
        expected='{"model": …, "revision": …, "created": …}, or the three with tabs between them',
        actual=line[:100],
        next_step="Write one line for each revision that the hub serves",
    )


def _is_text(text: str) -> bool:
    """Whether it is Unicode: JSON can hold half a character, which no revision has and nothing can store."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def _parse_time(text: str, what: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise MalformedError(
            f"created in {what}",
            expected="a time with its zone, such as 2026-01-02T03:04:05Z",
            actual=text[:100],
            next_step="Write the time since which the revision is served",
        )
    return int(time.timestamp())


class Crosscheck:
    """Looks at the list of the settings. One thread at a time."""

    def __init__(
        self,
        config: CrosscheckConfig,
        state: State,
        *,
        trees: Sequence[str],
        fetch: Fetch,
        name: str,
        routes: Routes,
        clock: Callable[[], float],
    ) -> None:
        self._config, self._state, self._fetch, self._name = config, state, fetch, name
        self._trees, self._routes, self._clock = tuple(trees), routes, clock

    def look(self) -> Crosschecked:
        """Look once: report what is missing, and settle what was recorded since. What keeps us from it is reported too."""
        now = int(self._clock())
        try:
            data = self._fetch(self._name, max_bytes=MAX_LIST_BYTES)
            for _ in parse_served(io.BytesIO(data)):
                """Nothing is judged by a list of which a line cannot be read."""
        except StorageError:
            raise
        except LedgerError as error:
            return self._tell(error.finding, now)
        self._state.record.recovered(
            self._config.log, kinds=(Kind.SOURCE_UNREACHABLE,), now=now, about="crosscheck"
        )
        return self._judge(parse_served(io.BytesIO(data)), now)

    def _judge(self, served: Iterator[Served], now: int) -> Crosschecked:
        """Judge some lines at a time: whoever writes the list decides how many there are."""
        since = self._verified_since()
        before = set(self._state.record.open_about(self._config.log, Kind.NOT_RECORDED))
        still: set[str] = set()
        listed = due = absent = new = 0
        while some := list(itertools.islice(served, _CHUNK)):
            judged = [each for each in some if self._is_due(each, since, now)]
            missing = list(self._unrecorded(judged))
            listed, due, absent = listed + len(some), due + len(judged), absent + len(missing)
            for each in missing:
                if _about(each) in before:
                    still.add(_about(each))
                elif new < MAX_FINDINGS:
                    new += self._state.report(self._finding(each, now), routes=self._routes, now=now)
        for about in before - still:  # what is missing no more
            self._state.record.recovered(self._config.log, kinds=(Kind.NOT_RECORDED,), now=now, about=about)
        return Crosschecked(
            listed=listed, recorded=due - absent, missing=absent, waiting=listed - due, new_findings=new
        )

    def _verified_since(self) -> tuple[int, int]:
        """Return between which times of being served a revision must be in what was verified: since following began, where that
        was at a pinned checkpoint, and until every tree was verified to its end.
        """
        positions = [self._state.position(each) for each in self._trees]
        began = [self._state.checkpoints.began_at(each.name) for each in positions if each.first]
        return max(began, default=0), min(each.succeeded_at or 0 for each in positions)

    def _is_due(self, each: Served, since: tuple[int, int], now: int) -> bool:
        """Whether it should be in what was verified: every tree was verified to its end after the time of grace was over."""
        over = each.created + self._config.grace
        return each.created >= since[0] and over <= min(now, since[1])

    def _unrecorded(self, due: list[Served]) -> Iterator[Served]:
        for start in range(0, len(due), _CHUNK):
            some = due[start : start + _CHUNK]
            repositories = self._repositories(some)
            keys = {each: self._keys(each, repositories) for each in some}
            wanted = [key for each in keys.values() for key in each]
            known = self._state.load(self._config.log, revisions=wanted).revisions
            yield from (each for each in some if not any(key in known for key in keys[each]))

    def _repositories(self, some: list[Served]) -> dict[str, str]:
        """Return the repositories that the names lead to now: an event with one is remembered under it."""
        histories = self._state.load(
            self._config.log, histories=[f"name:{each.model}" for each in some]
        ).histories
        return {
            key.removeprefix("name:"): each.repo.removeprefix("repo:")
            for key, each in histories.items()
            if each.repo is not None
        }

    def _keys(self, each: Served, repositories: dict[str, str]) -> list[bytes]:
        keys = [revision_key_of(each.model, None, each.revision)]
        if each.model in repositories:
            keys.append(revision_key_of(each.model, repositories[each.model], each.revision))
        return keys

    def _finding(self, each: Served, now: int) -> Finding:
        hours = (now - each.created) // 3600
        return Finding(
            log=self._config.log,
            kind=Kind.NOT_RECORDED,
            model=each.model,
            about=_about(each),
            text=f"{readable_name(each.model)} at {escape_name(each.revision)}: the hub serves it since {hours} h, and the log has no event of "
            "it: nobody can prove who signed it, or that it is the same for everybody; ask the hub to record it.",
            facts={"revision": each.revision, "created": each.created},
        )

    def _tell(self, problem: str, now: int) -> Crosschecked:
        finding = Finding(
            log=self._config.log,
            kind=Kind.SOURCE_UNREACHABLE,
            about="crosscheck",
            text=f"The list of what the hub serves could not be read ({problem}): revisions that were never recorded are not "
            "found meanwhile; correct `crosscheck.list`, or tell whoever writes it.",
        )
        new = self._state.report(finding, routes=self._routes, now=now)
        return Crosschecked(
            listed=0, recorded=0, missing=0, waiting=0, new_findings=new, problem=finding.text
        )


def _about(each: Served) -> str:
    return f"{each.model}\n{each.revision}"
