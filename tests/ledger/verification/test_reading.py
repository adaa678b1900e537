"""Reading a revision: each file once and whole, or a refusal that names it; links and special files are never opened."""

import contextlib
import hashlib
import os
import pathlib
import socket
import stat
import tempfile
import time

import pytest

from ledger.errors import NotFoundError, SourceError
from ledger.manifest import ManifestFile, ManifestLink
from ledger.verification import read_content, reading
from ledger.verification.reading import read_revision

MEDIA = b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"'

CLOCK_REALTIME_COARSE = 5
"""Linux's number; Python has no name for it."""


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


def items(model, **more):
    return {item.path: item for item in read_revision(model, **more)[0].items}


@pytest.mark.parametrize("workers", [1, 5])
def test_every_file_has_its_digest_whatever_its_size_and_place(model, workers):
    sizes = [0, 1, 65_536, 262_143, 262_144, 262_145, 3_000_000, (8 << 20) + 1]
    wanted = {}
    for number, size in enumerate(sizes * 2 + [10] * 2000):
        data = os.urandom(size)
        path = f"folder{number % 7}/{number}" if number % 3 else f"{number}"
        (model / path).parent.mkdir(exist_ok=True)
        (model / path).write_bytes(data)
        wanted[path] = ManifestFile(path=path, sha256=hashlib.sha256(data).digest(), size=size)
    assert items(model, workers=workers) == wanted


def test_names_of_any_bytes_are_escaped_and_sorted_as_escaped(model):
    names = [b"\xff", b"%", b"a b", "é".encode(), b"\\", b"C:x", b"A", b"a\n", b"$", b"\xc3", b"&"]
    for name in names:
        pathlib.Path(os.fsdecode(os.fsencode(model) + b"/" + name)).write_bytes(name)
    manifest, _, files = read_revision(model)
    paths = [item.path for item in manifest.items]
    assert paths == sorted(
        ["%FF", "%25", "a b", "é", "\\", "C:x", "A", "a\n", "$", "%C3", "&"], key=str.encode
    )
    # Bytes are read again for other hashes: the way back from a path to its bytes must be the same.
    for path in paths:
        assert files.digest(path, "blake2b", None, None) in {hashlib.blake2b(name).digest() for name in names}
        assert files.digest(path, "sha256", 0, 1) in {hashlib.sha256(name[:1]).digest() for name in names}


def test_links_are_listed_and_never_followed(model, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (model / "file").write_bytes(b"x")
    for name, target in {
        "out": "../outside/secret",
        "absolute": "/etc/passwd",
        "folder": "../outside",
        "loop": "loop",
        "ping": "pong",
        "pong": "ping",
        "up": ".",
        "broken": "nowhere",
        "odd": os.fsdecode(b"\xff%"),
    }.items():
        (model / name).symlink_to(target)
    found = items(model)
    links = {path: item.link for path, item in found.items() if isinstance(item, ManifestLink)}
    assert links == {
        "out": "../outside/secret", "absolute": "/etc/passwd", "folder": "../outside", "loop": "loop",
        "ping": "pong", "pong": "ping", "up": ".", "broken": "nowhere", "odd": "%FF%25",
    }  # fmt: skip
    assert [path for path, item in found.items() if isinstance(item, ManifestFile)] == ["file"]


def test_special_files_are_not_content_and_never_opened(model):
    os.mkfifo(model / "pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(os.path.relpath(model / "socket"))
        if os.geteuid() == 0:
            os.mknod(model / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        (model / "file").write_bytes(b"x")
        assert list(items(model)) == ["file"]
        found = read_content(model)
    assert found.special == (("null", "pipe", "socket") if os.geteuid() == 0 else ("pipe", "socket"))


def change_while_read(model, change):
    """Read a model whose one large file is changed after its first block was read."""
    changed = []

    def progress(_done, _total):
        if not changed:
            changed.append(True)
            change(model / "weights")

    (model / "weights").write_bytes(bytes(4_000_000))
    # File systems stamp with a clock of some milliseconds: until it moves, no stat can tell two writes apart.
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= (model / "weights").stat().st_ctime_ns:
        pass
    return read_revision(model, progress=progress, workers=1)


def overwrite(path, *, at, data, restore_times=False):
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    if restore_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "grows": lambda path: path.open("ab").write(b"x"),
    "shrinks": lambda path: os.truncate(path, 1000),
    "shrinks to nothing": lambda path: os.truncate(path, 0),
    "same size, other bytes": lambda path: overwrite(path, at=3_999_999, data=b"x"),
    "other bytes already read": lambda path: overwrite(path, at=0, data=b"x"),
    "other bytes, and its time set back": lambda path: overwrite(path, at=0, data=b"x", restore_times=True),
    "replaced by another file": lambda path: (path.with_name("new").write_bytes(bytes(4_000_000)),
                                               path.with_name("new").rename(path)),
    "removed": lambda path: path.unlink(),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_refused(model, change):
    with pytest.raises(
        SourceError, match="reading weights: expected the 4000000 bytes that it had when it was op"
    ):
        change_while_read(model, CHANGES[change])


def test_a_file_that_nobody_touches_is_not(model):
    manifest, _, _ = change_while_read(model, lambda path: path.read_bytes())
    assert manifest.files["weights"].sha256 == hashlib.sha256(bytes(4_000_000)).digest()


@pytest.mark.parametrize(
    ("put", "refusal"),
    [
        (lambda path: None, "reading b: expected a readable file, got No such file or directory"),
        (
            lambda path: path.symlink_to("/etc/passwd"),
            "reading b: expected a readable file, got Too many levels",
        ),
        (os.mkfifo, "reading b: expected a regular file, got a special file: it changed meanwhile"),
        (
            lambda path: path.mkdir(),
            "reading b: expected a regular file, got a special file: it changed meanwhile",
        ),
    ],
)
def test_what_takes_the_place_of_a_file_after_it_was_found_is_refused(model, put, refusal):
    """The first large file is read with one thread while the second, found before, is exchanged."""
    for name in ("a", "b"):
        (model / name).write_bytes(bytes(9 << 20))

    def progress(done, _total):
        if done == reading._BLOCK_BYTES:
            (model / "b").unlink()
            put(model / "b")

    with pytest.raises(SourceError, match=refusal):
        read_revision(model, progress=progress, workers=1)


def test_a_file_or_folder_that_may_not_be_read_is_refused():
    """As nobody: the owner of the tests may be root, whom no mode stops."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "model").mkdir()
        (folder / "model/secret").write_bytes(b"x")
        (folder / "model/secret").chmod(0)
        with (
            as_nobody(),
            pytest.raises(SourceError, match="reading secret: expected a readable file, got Permission"),
        ):
            read_revision(folder / "model", workers=1)
        (folder / "model/secret").unlink()
        (folder / "model/closed").mkdir(mode=0)
        with (
            as_nobody(),
            pytest.raises(SourceError, match="reading folder closed: expected a readable folder"),
        ):
            read_revision(folder / "model", workers=1)


@contextlib.contextmanager
def as_nobody():
    """Threads have credentials of their own, which ``seteuid`` sets in all of them."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda path: None, "expected a folder or a file, got No such file or directory"),
        (os.mkfifo, "expected a folder or a file, got a special file"),
        (
            lambda path: path.symlink_to("/etc/passwd"),
            "got a symbolic link. Name the file itself: links are not",
        ),
    ],
)
def test_a_model_that_is_none_is_refused(tmp_path, make, refusal):
    make(tmp_path / "model")
    with pytest.raises(NotFoundError, match=refusal):
        read_revision(tmp_path / "model")


def test_progress_counts_every_byte_once(model):
    for number in range(300):
        (model / f"{number}").write_bytes(bytes(number * 10))
    (model / "large").write_bytes(bytes(3_000_000))
    seen = []
    read_revision(model, progress=lambda done, total: seen.append((done, total)))
    total = 3_000_000 + sum(number * 10 for number in range(300))
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 10, "also within a large file"


def test_bundles_are_found_by_content_and_kept_up_to_a_limit(model, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BUNDLES_BYTES", 1_000_000)
    (model / "a.txt").write_bytes(MEDIA)
    (model / "b").write_bytes(b" \n" + MEDIA + bytes(600_000))
    (model / "c").write_bytes(MEDIA + bytes(600_000))
    (model / "d").write_bytes(b"x" + MEDIA)
    with (model / "e").open("wb") as file:
        file.write(MEDIA)
        file.truncate(17 << 20)
    _, bundles, _ = read_revision(model)
    assert [(each.path, each.raw is not None) for each in bundles] == [
        ("a.txt", True), ("b", True), ("c", False), ("e", False),
    ]  # fmt: skip
    assert all(each.raw is None or hashlib.sha256(each.raw).digest() == each.sha256 for each in bundles)
