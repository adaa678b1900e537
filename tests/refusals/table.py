"""One refusal a case: what brings it about, its class, and every word that it says."""

import contextlib
import functools
import hashlib
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ledger.embedded.making import init
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.errors import LedgerError
from tests.refusals.census import Place, watching

ANY = {"<hex>": "[0-9a-f]+", "<any>": ".+", "<number>": "[0-9]+", "<vkey>": r"[!-~]+\+[0-9a-f]{8}"}
"""What stands in a text for what differs from run to run; ``<folder>`` stands for the case's own folder."""
LEDGER = "log.example/models"
HUB = "hub.example"
AT = "2026-01-02T03:04:05Z"


@dataclass
class Scene:
    """Where one case happens. What is watched must be the same before and after the refusal."""

    folder: pathlib.Path
    watched: dict[pathlib.Path, dict[str, str]] = field(default_factory=dict)
    after: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def ledger(self) -> pathlib.Path:
        """A ledger with two recorded events of ``acme/tiny``, whose files are in ``model``."""
        shutil.copytree(_template() / "model", self.folder / "model")
        return pathlib.Path(shutil.copytree(_template() / "ledger", self.folder / "ledger"))

    def watch(self, folder: pathlib.Path) -> pathlib.Path:
        """From here on nothing in the folder may change."""
        self.watched[folder] = contents(folder)
        return folder

    def write(self, name: str, data: bytes) -> pathlib.Path:
        """Write a file of the case."""
        path = self.folder / name
        path.write_bytes(data)
        return path


def contents(folder: pathlib.Path) -> dict[str, str]:
    """The digest of every file but the lock and SQLite's shared memory, which readers touch too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and not path.name.endswith(("-shm", "-wal"))
    }


@functools.cache
def _template() -> pathlib.Path:
    """A ledger that is made once in each process and copied for each case."""
    folder = pathlib.Path(_temporary().name)
    init(folder / "ledger", origin=LEDGER, hub=HUB, now=lambda: AT)
    (folder / "model").mkdir()
    (folder / "model/weights").write_bytes(b"weights")
    for revision in ("r1", "r2"):
        record_revision(folder / "ledger", request(folder / "model", revision), now=lambda: AT)
    return folder


@functools.cache
def _temporary() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="hubledger-refusals-")


def request(model: pathlib.Path, revision: str = "r3", **more) -> RecordRequest:
    """A request to record the model's files."""
    return RecordRequest(name="acme/tiny", revision=revision, model=model, **more)


Trigger = Callable[[Scene], object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One refusal. ``inside``: the program turns the error into a result (see ``Case.check``)."""

    error: type[LedgerError]
    text: str
    trigger: Trigger
    inside: bool = False

    @property
    def pattern(self) -> str:
        """The text as a regular expression."""
        return "".join(
            ANY.get(piece, re.escape(piece)) for piece in re.split("(" + "|".join(ANY) + ")", self.text)
        )

    def check(self) -> frozenset[Place]:
        """Bring the refusal about and hold it against this case; return the places that made it.

        An error that the program turns into a result is looked for among all that were made; the result itself is the
        business of the tests of that result.
        """
        with tempfile.TemporaryDirectory(prefix="hubledger-refusal-") as name, watching() as made:
            scene = Scene(pathlib.Path(name).resolve())
            with scene.after:
                raised = self._provoke(scene)
                for folder, before in scene.watched.items():
                    assert contents(folder) == before, f"the refusal changed {folder}"
        candidates = made if self.inside else [each for each in made if each[0] is raised]
        assert candidates, f"nothing of ours was raised: {raised!r}"
        shown = [(type(error), str(error).replace(name, "<folder>"), places) for error, places in candidates]
        found = [
            (kind, text, places)
            for kind, text, places in shown
            if re.fullmatch(self.pattern, text, re.DOTALL)
        ]
        assert found, f"expected {self.text!r}, got {[text for _, text, _ in shown]!r}"
        kind, _, places = found[-1]
        assert kind is self.error, f"{self.error.__name__} was expected, this is a {kind.__name__}"
        return places | _repeated(raised, made)

    def _provoke(self, scene: Scene) -> LedgerError | None:
        raised = None
        try:
            self.trigger(scene)
        except LedgerError as error:
            raised = error
        if self.inside:
            assert raised is None, f"{raised!r} was raised, not turned into a result"
            return None
        assert raised is not None, "nothing was refused"
        assert raised.expected is not None, "says nothing of what was expected"
        assert raised.next_step, "names no next step"
        return raised


def _repeated(
    error: BaseException | None, made: list[tuple[LedgerError, frozenset[Place]]]
) -> frozenset[Place]:
    """The places of the cause of an error that repeats every word of its cause."""
    cause = None if error is None else error.__cause__
    if not isinstance(cause, LedgerError) or cause is error or cause.finding not in str(error):
        return frozenset()
    return frozenset().union(*(places for known, places in made if known is cause))


def refused(error: type[LedgerError], text: str, trigger: Trigger) -> Case:
    """A refusal that is raised."""
    return Case(error=error, text=text, trigger=trigger)


def turned(error: type[LedgerError], text: str, trigger: Trigger) -> Case:
    """A refusal that the program turns into a result."""
    return Case(error=error, text=text, trigger=trigger, inside=True)


def numbered(area: str, cases: tuple[Case, ...]) -> Iterator[tuple[str, Case]]:
    """Yield each case with a name for reports: its area, its place in the table and the beginning of its text."""
    for number, case in enumerate(cases, 1):
        yield f"{area}-{number}-{case.error.__name__}-{case.text[:40]}", case
