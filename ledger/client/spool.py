"""The hub's side of recording over HTTP: events are on the hub's disk at once, and go to the ledger when it answers.

::

    SPOOL/events/<number>.json    events that wait, in the order in which they came
    SPOOL/refused/<number>.json   events that the ledger refused for good, each with <number>.problem.json beside it

A ledger that is away blocks no upload and loses nothing. Events are sent in order, so that each history has them in theirs; an
event that was sent and not answered is sent again, which its id makes harmless. Several processes may use one spool: one of
them sends at a time.
"""

import contextlib
import fcntl
import logging
import os
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from ledger.encoding import Json, format_canonical_json, parse_json
from ledger.errors import LedgerError, LimitError, SourceError, WriteError
from ledger.event.fields import EVENT_ID
from ledger.storage.directory import DirectoryObjects

_logger = logging.getLogger(__name__)

MAX_EVENT_BYTES = 32 << 20
"""As the ledger takes it: an event with its manifest and bundles."""
MAX_ANSWER_BYTES = 64 << 20
MAX_LINES, MAX_SENT_BYTES = 500, 32 << 20
"""What goes in one request: enough to be quick, small enough to be through before a proxy loses patience."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the ledger is asked again after it failed; twice as long each time."""
_FOR_GOOD = frozenset((400, 409, 410, 413, 422))
"""Statuses of what will not be taken however often it is sent."""
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolState:
    """What waits, what was refused, and since when the oldest of what waits does (POSIX seconds, None where nothing does)."""

    waiting: int
    refused: int
    oldest: int | None


class Spool:
    """The folder. Every method may be called from several threads and processes."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        try:
            for each in (folder, folder / "events", folder / "refused"):
                each.mkdir(mode=0o700, exist_ok=True, parents=each is folder)
        except OSError as error:
            raise WriteError(
                f"spool {folder}",
                expected="a folder that this user can write",
                actual=error.strerror,
                next_step="Name another folder; it must survive a restart",
            ) from error
        self._objects = DirectoryObjects(folder, file_mode=0o600)
        with self._locked("lock") as lock:
            # After a power failure the counter may be older than what waits: a new event must come after all of it.
            _write_number(lock, max(_read_number(lock), self._highest()))

    def put(self, event: Mapping[str, Json]) -> None:
        """Keep an event; durable on return.

        Raises:
            MalformedError, LimitError: it is no event. WriteError: it could not be kept.
        """
        EVENT_ID.check(event.get("eventId"), "eventId")
        data = format_canonical_json(dict(event))
        if len(data) > MAX_EVENT_BYTES:
            raise LimitError(
                "event",
                expected=f"at most {MAX_EVENT_BYTES} bytes",
                actual=f"{len(data)} bytes",
                next_step="Store manifest and bundles first, with PUT /v1/evidence/{sha256}",
            )
        with self._locked("lock") as lock:
            number = _read_number(lock) + 1
            _write_number(lock, number)
            # If we stop here, a number was left out, which means nothing.
            self._objects.put([(f"events/{number:0{_DIGITS}d}.json", data)])

    def waiting(self) -> list[str]:
        """Return the names of what waits, in order; whoever sends much asks for it once, not for each request."""
        return self._names("events")

    def take(self, names: Sequence[str]) -> list[tuple[str, bytes]]:
        """Return the first of these events, as many as go in one request."""
        found: list[tuple[str, bytes]] = []
        size = 0
        for name in names[:MAX_LINES]:
            data = self._objects.get(f"events/{name}", max_bytes=MAX_EVENT_BYTES)
            size += len(data)
            if found and size > MAX_SENT_BYTES:
                break
            found.append((name, data))
        return found

    def done(self, names: Sequence[str]) -> None:
        """Forget events that the ledger has. If we stop before, they are sent again, without effect."""
        self._objects.delete([f"events/{name}" for name in names])

    def refuse(self, name: str, data: bytes, problem: Json) -> None:
        """Put an event aside that the ledger will never take, with what it said."""
        stem = name.removesuffix(".json")
        self._objects.put(
            [(f"refused/{name}", data), (f"refused/{stem}.problem.json", format_canonical_json(problem))]
        )
        # If we stop here, it is in both places, is refused again, and leaves the queue then.
        self.done([name])

    def state(self) -> SpoolState:
        """Say what there is."""
        waiting = self._names("events")
        refused = [each for each in self._names("refused") if not each.endswith(".problem.json")]
        oldest = None
        if waiting:
            with contextlib.suppress(LedgerError):  # it was sent meanwhile
                oldest = self._objects.info(f"events/{waiting[0]}").stored_at
        return SpoolState(waiting=len(waiting), refused=len(refused), oldest=oldest)

    def sending(self) -> contextlib.AbstractContextManager[int | None]:
        """Be the one who sends; None: somebody else is."""
        return self._locked("sending", wait=False)

    def _names(self, folder: str) -> list[str]:
        return sorted(each.rpartition("/")[2] for each in self._objects.names(folder))

    def _highest(self) -> int:
        names = [*self._names("events"), *self._names("refused")]
        return max((int(name[:_DIGITS]) for name in names if name[:_DIGITS].isdigit()), default=0)

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait: bool = True) -> Iterator[int | None]:
        descriptor = os.open(self._folder / f".{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield descriptor
        finally:
            os.close(descriptor)


def _read_number(lock: int | None) -> int:
    """Read the last number given out, which the lock file holds; 0 where it holds none."""
    data = b"" if lock is None else os.pread(lock, _DIGITS, 0)
    return int(data) if data.isdigit() else 0


def _write_number(lock: int | None, number: int) -> None:
    if lock is not None:
        os.pwrite(lock, b"%0*d" % (_DIGITS, number), 0)


def drain(spool: Spool, client: httpx.Client) -> int:
    """Send what waits until nothing does; returns how many the ledger has now. Nothing while somebody else sends.

    Raises:
        SourceError: the ledger does not answer, has no room, or does not know the token; what waits stays.
    """
    sent = 0
    with spool.sending() as mine:
        while mine is not None and (names := spool.waiting()):
            while events := spool.take(names):
                sent += _send(spool, client, events)
                names = names[len(events) :]
    return sent


def _send(spool: Spool, client: httpx.Client, events: Sequence[tuple[str, bytes]]) -> int:
    """Send events in order; those that were answered leave the queue. Raises SourceError: not all of them were."""
    try:
        response = client.post(
            "/v1/events/batch",
            params={"wait": "durable"},
            headers={"content-type": "application/x-ndjson"},
            content=b"".join(data + b"\n" for _, data in events),
        )
    except httpx.HTTPError as error:
        raise _away(type(error).__name__) from error
    if response.status_code != httpx.codes.OK:
        raise _away(f"status {response.status_code}")
    lines = response.content.removesuffix(b"\n").split(b"\n")
    if len(lines) != len(events):
        raise _away(f"{len(lines)} answers to {len(events)} events")
    done: list[str] = []
    try:
        for (name, data), line in zip(events, lines, strict=True):
            answer = parse_json(line, what="answer of the ledger", max_bytes=MAX_ANSWER_BYTES)
            match answer:
                case {"eventId": str()}:
                    done.append(name)
                case {"type": str(), "status": int(status)} if status in _FOR_GOOD:
                    _logger.warning("the ledger refused an event for good: %s", answer.get("detail"))
                    spool.refuse(name, data, answer)
                case _:
                    # What follows may be of the same history: it waits too, and is sent again after this one.
                    raise _away("an event that is not taken now")
    finally:
        spool.done(done)
    return len(done)


def _away(actual: str) -> SourceError:
    return SourceError(
        "the ledger's service",
        expected="an answer to every event",
        actual=actual,
        next_step="Nothing is lost: what waits is sent when it answers. Check address and token if it never does",
    )


def open_client(url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a client of a ledger's service; the token goes to this address alone, whatever it redirects to."""
    return httpx.Client(
        base_url=url,
        headers={"authorization": f"Bearer {token}"},
        timeout=_TIMEOUT,
        follow_redirects=False,
        transport=transport,
    )


class Recorder:
    """Records events in the ledger of an address, through a spool; to be used from a hub's upload path.

    ``wait`` waits for seconds and returns early with True when ``close`` is called; tests give another clock.
    """

    def __init__(
        self,
        url: str,
        token: str,
        spool_dir: pathlib.Path,
        *,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.spool = Spool(spool_dir)
        self._client = open_client(url, token, transport=transport)
        self._news, self._closing = threading.Event(), threading.Event()
        self._wait = wait or self._closing.wait
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._news.set()  # what an earlier process left
        self._thread.start()

    def record(self, event: Mapping[str, Json]) -> None:
        """Keep one event, as ``POST /v1/events`` takes it; durable on return. It is sent soon.

        Raises:
            MalformedError, LimitError: it is no event. WriteError: it could not be kept.
        """
        self.spool.put(event)
        self._news.set()

    def close(self) -> None:
        """Stop sending, once what is being sent was answered. What waits is sent by whoever opens the spool next."""
        self._closing.set()
        self._news.set()
        self._thread.join()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            self._news.wait()
            self._news.clear()
            if self._closing.is_set():
                return
            try:
                drain(self.spool, self._client)
                pause = FIRST_PAUSE
            except (LedgerError, OSError) as error:
                _logger.warning("events wait for the ledger: %s", error)
                if self._wait(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE)
                self._news.set()
