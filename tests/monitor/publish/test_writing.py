"""Files are put in their places by this process or by one of its own: the same files, and one that dies publishes nothing more."""

import contextlib
import sys

import pytest

from ledger.errors import WriteError, WriterLockedError
from ledger.log.lock import writer_lock
from monitor.publish import placing_process, writing
from monitor.publish.placing import ASIDE
from monitor.publish.placing_process import PlacingProcess
from monitor.publish.writing import Writer
from tests.monitor.publish.scene import Publication
from tests.system.publish_world import hub_of
from tests.world import key_signer, signed_by

A = signed_by(key_signer("a"))
NEVER = 1 << 30


@pytest.fixture
def lock(tmp_path):
    with writer_lock(tmp_path / "lock") as found:
        yield found


@contextlib.contextmanager
def writer(root, lock):
    with contextlib.closing(Writer(root, lock=lock)) as found:
        found.expect(writing.FROM)
        yield found


def files_of(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ASIDE not in path.parts
    }


def published(folder, start, monkeypatch):
    """What is published of a log that grows, with a process from ``start`` entries on; how many were started."""
    started = []
    original = placing_process.start_process

    def noted(*arguments):
        process = original(*arguments)
        started.append(process)
        return process

    monkeypatch.setattr(placing_process, "start_process", noted)
    monkeypatch.setattr(writing, "FROM", start)
    folder.mkdir()
    publication = Publication(folder, hub=hub_of(150)).begin()
    counts = [publication.step(size).files for size in (40, 100, 150)]
    monkeypatch.setattr(placing_process, "start_process", original)
    assert all(each.poll() is not None for each in started)
    contents = publication.contents()
    del contents[".publication"]  # by chance
    return contents, counts, len(started)


def test_what_is_published_is_the_same_whoever_writes_it(tmp_path, monkeypatch):
    one, counts, started = published(tmp_path / "one", NEVER, monkeypatch)
    assert started == 0
    two, counts_of_two, started = published(tmp_path / "two", 1, monkeypatch)
    assert started == 3
    assert two == one
    assert counts_of_two == counts


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/false", "/bin/echo"])
def test_where_no_process_comes_to_life_everything_is_written_here(tmp_path, monkeypatch, executable):
    one, counts, _ = published(tmp_path / "one", NEVER, monkeypatch)
    monkeypatch.setattr(sys, "executable", executable)
    here, counts_here, _ = published(tmp_path / "here", 1, monkeypatch)
    assert here == one
    assert counts_here == counts


def test_a_process_of_another_version_is_given_nothing(tmp_path, lock, monkeypatch):
    """As where the package was installed over while we ran: what it writes may lie elsewhere."""
    monkeypatch.setattr(placing_process, "__version__", "0.0.0")
    with writer(tmp_path / "public", lock) as found:
        found.put("a", b"1")
        found.commit()
        assert found._process is None
    assert files_of(tmp_path / "public") == {"a": b"1"}


def test_nothing_is_in_its_place_before_it_is_committed(tmp_path, lock):
    root = tmp_path / "public"
    with writer(root, lock) as found:
        for at in range(100):
            found.put(f"{at % 3}/{at}", b"x" * at)
        assert files_of(root) == {}
        found.commit()
        assert files_of(root) == {f"{at % 3}/{at}": b"x" * at for at in range(100)}
        assert found.written == 100
        found.put("0/3", b"x" * 3)
        found.put("0/0", b"other")
        found.commit()
        assert found.written == 101
    assert files_of(root)["0/0"] == b"other"
    assert [path for path in (root / ASIDE).rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("start", [1, NEVER])
def test_a_file_that_cannot_be_written_fails_the_commit_and_all_that_follow(
    tmp_path, lock, monkeypatch, start
):
    monkeypatch.setattr(writing, "FROM", start)
    root = tmp_path / "public"
    with contextlib.closing(Writer(root, lock=lock)) as found:
        found.expect(100)
        found.put("a", b"1")
        found.commit()
        for name in ("b", "a/b", "c"):
            found.put(name, b"2")
        for _ in range(2):
            with pytest.raises(
                WriteError, match=r"publishing .*/public/a/b: expected a file .* Not a directory"
            ):
                found.commit()
    assert files_of(root) == {"a": b"1"}


@pytest.mark.parametrize("call", range(6))
def test_a_process_that_is_killed_fails_the_publication_and_the_next_one_heals(tmp_path, monkeypatch, call):
    plain, _, _ = published(tmp_path / "plain", NEVER, monkeypatch)
    monkeypatch.setattr(writing, "FROM", 1)
    monkeypatch.setattr(writing, "_PIECE_FILES", 8)
    folder = tmp_path / "killed"
    folder.mkdir()
    publication = Publication(folder, hub=hub_of(150)).begin()
    publication.step(40)
    before = publication.contents()
    left = [call]

    def killing(original):
        def call(self, *arguments):
            left[0] -= 1
            if left[0] < 0 and self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            return original(self, *arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(PlacingProcess, "write", killing(PlacingProcess.write))
        patched.setattr(PlacingProcess, "commit", killing(PlacingProcess.commit))
        with pytest.raises(
            WriteError, match="expected the process that puts files in their places, got it ended"
        ):
            publication.step(100)
    after = publication.contents()
    for spoken in ("index.json", "models/statement", "models/checkpoint"):
        assert after[spoken] == before[spoken]
    publication.step(100)
    publication.step(150)
    contents = publication.contents()
    del contents[".publication"]
    assert contents == plain


def test_nobody_else_publishes_before_the_process_has_ended(tmp_path):
    """Whoever it wrote for may be killed: the process may be putting files in their places yet."""
    with writer_lock(tmp_path / "lock") as lock:
        process = PlacingProcess(str(tmp_path / "public"), lock=lock)
        assert process.is_ready()
    with pytest.raises(WriterLockedError), writer_lock(tmp_path / "lock"):
        pass
    process.close()
    with writer_lock(tmp_path / "lock"):
        pass
    assert process._process.returncode == 0


def test_a_process_ends_with_the_one_that_it_writes_for(tmp_path, lock):
    process = PlacingProcess(str(tmp_path / "public"), lock=lock)
    assert process.is_ready()
    process.write([("a", b"1")])
    process._ours.close()
    assert process._process.wait(30) == 0
    assert files_of(tmp_path / "public") == {}
    process.close()
