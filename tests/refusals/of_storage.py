"""Refusals of ledger.storage and ledger.index: files that are missing, damaged, full or not where they should be."""

import contextlib
import functools
import resource
import signal
import sqlite3

from ledger.errors import CorruptError, LimitError, MalformedError, NotFoundError, WriteError
from ledger.index import Index, Rows
from ledger.index.staging import Staging
from ledger.storage import Batch, LogState
from ledger.storage.directory import DirectoryObjects, write_file_durably
from ledger.storage.evidence import Evidence
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog.merkle import EMPTY_ROOT
from tests.refusals.table import refused, turned

# Objects in a directory


def _objects(scene):
    return DirectoryObjects(scene.folder)


def _get_folder(scene):
    (scene.folder / "tile").mkdir()
    return _objects(scene).get("tile", max_bytes=10)


def _get_large(scene):
    scene.write("tile", bytes(11))
    return _objects(scene).get("tile", max_bytes=10)


def _put_other_bytes(scene):
    scene.write("tile", b"what the log commits to")
    return _objects(scene).put([("tile", b"something else")])


def _stream_folder(scene):
    (scene.folder / "tile").mkdir()
    return list(_objects(scene).get_stream("tile"))


def _stream_other_bytes(scene):
    scene.write("tile", b"what the log commits to")
    return _objects(scene.watch(scene.folder) and scene).put_stream("tile", [b"something ", b"else"])


@contextlib.contextmanager
def no_space(limit=0):
    """From here on no file may grow past ``limit`` bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _replace_without_space(scene):
    scene.write("checkpoint", b"old")
    scene.after.enter_context(no_space())
    try:
        return _objects(scene).replace("checkpoint", b"new")
    finally:
        assert (scene.folder / "checkpoint").read_bytes() == b"old"


def _changed_evidence(scene):
    evidence = Evidence(_objects(scene))
    evidence.put([b"manifest"])
    (file,) = (path for path in scene.folder.rglob("*") if path.is_file())
    file.write_bytes(b"another manifest")
    return evidence.get(bytes.fromhex(file.name))


OBJECTS = (
    refused(
        NotFoundError,
        "object tile: expected a stored object, got nothing. Check the name, and that it has been recorded and published",
        lambda scene: _objects(scene).get("tile", max_bytes=10),
    ),
    refused(
        CorruptError,
        "reading object tile: expected readable bytes, got Is a directory. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _get_folder,
    ),
    refused(
        LimitError,
        "object tile: expected at most 10 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        _get_large,
    ),
    refused(
        MalformedError,
        "object name: expected a relative path inside the store, got ../keys/hub.key. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _objects(scene).get("../keys/hub.key", max_bytes=10),
    ),
    refused(
        CorruptError,
        "stored object tile: expected the bytes that the log commits to, got 15 other bytes. Stop the writer, keep the directory, and run `hubledger log audit`",
        _put_other_bytes,
    ),
    refused(
        WriteError,
        "replacing checkpoint: expected a durable write, got <any>. Free space or make the directory writable, then start again: nothing answered is lost",
        _replace_without_space,
    ),
    refused(
        WriteError,
        "replacing file: expected a durable write, got No such file or directory. Free space or make the directory writable, then start again: nothing answered is lost",
        lambda scene: write_file_durably(scene.folder / "no/such/file", b"", mode=0o600),
    ),
    refused(
        NotFoundError,
        "object tile: expected a stored object, got nothing. Check the name, and that it has been recorded and published",
        lambda scene: list(_objects(scene).get_stream("tile")),
    ),
    refused(
        CorruptError,
        "reading object tile: expected readable bytes, got Is a directory. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _stream_folder,
    ),
    refused(
        NotFoundError,
        "object tile: expected a stored object, got nothing. Check the name, and that it has been recorded and published",
        lambda scene: _objects(scene).info("tile"),
    ),
    refused(
        CorruptError,
        "reading object <any>: expected readable bytes, got File name too long. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _objects(scene).info("a" * 300),
    ),
    refused(
        CorruptError,
        "stored object tile: expected the bytes that the log commits to, got 23 other bytes. Stop the writer, keep the directory, and run `hubledger log audit`",
        _stream_other_bytes,
    ),
    refused(
        CorruptError,
        "evidence <hex>: expected bytes with this SHA-256, got other bytes. Restore it from a copy; the log itself is not affected",
        _changed_evidence,
    ),
)

# The commit store


def _state(**changes):
    return LogState(
        **{
            "size": 0,
            "root": EMPTY_ROOT,
            "frontier": (),
            "target_size": 0,
            "target_root": EMPTY_ROOT,
            "signed_note": b"note",
            "published_size": 0,
        }
        | changes
    )


def _commits(scene):
    commits = SqliteCommits.create(scene.folder / "ledger.db", _state())
    scene.after.callback(commits.close)
    return commits


def _batch(first=0, data=b""):
    return Batch(first=first, count=1, data=data, root=bytes(32), frontier=(bytes(32),), events=(), heads=())


def _in_doubt(scene):
    """A store at whose last write somebody pressed Ctrl-C."""
    commits = _commits(scene)
    with contextlib.suppress(KeyboardInterrupt), commits._transaction():
        raise KeyboardInterrupt
    commits.commit(_batch())


def _link(scene):
    (scene.folder / "out").symlink_to(scene.folder / "elsewhere")
    write_file_durably(scene.folder / "out", b"new", mode=0o644)


def _damaged(scene, statement):
    """A store in which somebody else changed something."""
    _commits(scene).close()
    with contextlib.closing(sqlite3.connect(scene.folder / "ledger.db")) as connection:
        connection.executescript(statement)
    commits = SqliteCommits(scene.folder / "ledger.db")
    scene.after.callback(commits.close)
    return commits


def _overwritten(scene):
    """A store of which one page in the middle is lost."""
    commits = _commits(scene)
    commits.commit(_batch(data=bytes(50_000)))
    commits.close()
    path = scene.folder / "ledger.db"
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)
    return SqliteCommits(path)


def _unlinked_rows(scene):
    """A store whose free list says one page more than there is: only SQLite's own check sees that."""
    _commits(scene).close()
    path = scene.folder / "ledger.db"
    data = bytearray(path.read_bytes())
    data[36:40] = (1).to_bytes(4, "big")
    path.write_bytes(data)
    commits = SqliteCommits(path, read_only=True)
    scene.after.callback(commits.close)
    return commits.check()


def _commit_without_space(scene):
    commits = _commits(scene)
    scene.after.enter_context(no_space(64 << 10))
    try:
        return commits.commit(_batch(data=bytes(200_000)))
    finally:
        assert commits.load() == _state()


def _open_without_space(scene):
    """Readers of a store need space too, for their shared memory."""
    _commits(scene).close()
    scene.watch(scene.folder)
    scene.after.enter_context(no_space(1))
    return SqliteCommits(scene.folder / "ledger.db").load()


def _open_without_descriptors(scene):
    _commits(scene).close()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, before[1]))
    scene.after.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
    return SqliteCommits(scene.folder / "ledger.db")


def _commit_twice(scene):
    commits = _commits(scene)
    commits.commit(_batch())
    stored = commits.load()
    try:
        return commits.commit(_batch())
    finally:
        assert commits.load() == stored


def _deferred_failure(scene):
    """SQLite finds out at COMMIT what it put off: here a reference to a row that is not there."""
    commits = _damaged(
        scene,
        "CREATE TABLE other(id INTEGER PRIMARY KEY);"
        "CREATE TABLE late(id INTEGER REFERENCES other DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TRIGGER late AFTER INSERT ON batches BEGIN INSERT INTO late VALUES (7); END;",
    )
    commits._connection.execute("PRAGMA foreign_keys = ON")
    return commits.commit(_batch())


def _damaged_changes(scene, *, changes):
    return _damaged(scene, f"INSERT INTO recent VALUES (0, CAST('{changes}' AS BLOB))")


_RECENT = "Stop the writer, keep the directory, and run `hubledger log audit`"

COMMITS = (
    refused(
        CorruptError,
        f"recent changes in the commit store: expected event ids and heads, got recent changes: expected UTF-8 JSON, got <any>. {_RECENT}",
        lambda scene: _damaged(scene, "INSERT INTO recent VALUES (0, x'5b')"),
    ),
    *(
        refused(
            CorruptError,
            f"recent changes in the commit store: expected event ids and heads, got {actual}. {_RECENT}",
            functools.partial(_damaged_changes, changes=changes),
        )
        for changes, actual in (
            (f'[[["{"0" * 32}","7"]],[]]', "leaf index: expected a whole number below 2^53, got 7"),
            (f'[[["{"0" * 32}",true]],[]]', "leaf index: expected a whole number below 2^53, got True"),
            (
                f'[[],[["hub:",null,"{"0" * 64}",""]]]',
                "sequence: expected a whole number below 2^53, got None",
            ),
            (f'[[],[["hub:",-1,"{"0" * 64}",""]]]', "sequence: expected a whole number below 2^53, got -1"),
            (f'[[],[[7,0,"{"0" * 64}",""]]]', "another form"),
        )
    ),
    refused(
        CorruptError,
        f"recent changes in the commit store: expected event ids and heads, got another form. {_RECENT}",
        lambda scene: _damaged(scene, "INSERT INTO recent VALUES (0, CAST('[7]' AS BLOB))"),
    ),
    refused(
        WriteError,
        "writing the commit store: expected a store whose last write ended, got one that was interrupted. Open the ledger again: it continues from what is certain",
        _in_doubt,
    ),
    refused(
        WriteError,
        "writing <folder>/out: expected a new name, or a regular file to replace, got a link. Name another file; links and devices are not replaced",
        _link,
    ),
    refused(
        CorruptError,
        "commit store ledger.db: expected the file that init made, got no file. Name the directory that `hubledger init` made",
        lambda scene: SqliteCommits(scene.folder / "ledger.db"),
    ),
    refused(
        WriteError,
        "opening ledger.db: expected a disk with space, readable and writable, got unable to open database file. Free space or make the directory writable, then start again: nothing answered is lost",
        _open_without_descriptors,
    ),
    refused(
        WriteError,
        "writing the commit store: expected a durable transaction, got UNIQUE constraint failed: batches.first. Free space or make the directory writable, then start again: nothing answered is lost",
        _commit_twice,
    ),
    refused(
        CorruptError,
        "reading ledger.db: expected a sound SQLite file, got <any>. Stop the writer, keep the directory, and run `hubledger log audit`",
        lambda scene: SqliteCommits(scene.write("ledger.db", b"no database" * 100)),
    ),
    refused(
        CorruptError,
        "schema of ledger.db: expected version 2, got version 9. Use the version of hubledger that wrote this directory",
        lambda scene: _damaged(scene, "PRAGMA user_version = 9"),
    ),
    refused(
        WriteError,
        "creating ledger.db: expected a new SQLite file, got [Errno 17] File exists: '<folder>/ledger.db'. Repair the disk, then start again: nothing answered is lost",
        lambda scene: SqliteCommits.create(scene.write("ledger.db", b""), _state()),
    ),
    refused(
        CorruptError,
        "log state: expected one row with 32-byte hashes, got None. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _damaged(scene, "DELETE FROM log_state").load(),
    ),
    refused(
        CorruptError,
        "commit: expected a stored size of 7, got another size. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _commits(scene).commit(_batch(first=7)),
    ),
    refused(
        CorruptError,
        "SQLite integrity of the commit store: expected ok, got <any>. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _unlinked_rows,
    ),
    refused(
        CorruptError,
        "reading log_state: expected a sound SQLite file, got <any>. Stop the writer, keep the directory, and run `hubledger log audit`",
        lambda scene: _overwritten(scene).load(),
    ),
    refused(
        WriteError,
        "reading ledger.db: expected a disk with space, readable and writable, got <any>. Free space or make the directory writable, then start again: nothing answered is lost",
        _open_without_space,
    ),
    refused(
        WriteError,
        "committing, with an unknown outcome: expected a durable transaction, got <any>. Free space or make the directory writable, then start again: nothing answered is lost",
        _commit_without_space,
    ),
    refused(
        WriteError,
        "committing, with an unknown outcome: expected a durable transaction, got FOREIGN KEY constraint failed. Free space or make the directory writable, then start again: nothing answered is lost",
        _deferred_failure,
    ),
)

# The index


def _index(scene, *, read_only=False):
    index = Index(scene.folder / "index.db", read_only=read_only)
    scene.after.callback(index.close)
    return index


def _index_of_version(scene, version):
    index = _index(scene)
    index.database.execute(f"PRAGMA user_version = {version}")
    index.close()
    return _index(scene, read_only=True)


def _index_without_table(scene):
    index = _index(scene)
    index.database.execute("DROP TABLE models")
    return index.search("tiny")


def _index_without_space(scene):
    index = _index(scene)
    scene.after.enter_context(no_space(1))
    rows = _rows()
    try:
        return index.add(rows)
    finally:
        assert index.position() == 0


def _rows():
    rows = Rows(0)
    rows.extend([(bytes(32), None)] * 1000)
    return rows


def _staging_without_space(scene):
    staging = Staging(scene.folder)
    scene.after.callback(staging.close)
    scene.after.enter_context(no_space(1))
    return staging.add(_rows())


def _junk_is_a_row(_scene):
    """A log may hold what is not ours to understand; the index counts it."""
    rows = Rows(0)
    rows.add_audited(b"no JSON")
    assert [row[2] for row in rows.statements] == ["malformed"]


INDEX = (
    refused(
        WriteError,
        "temporary files of an audit or a rebuild: expected space for about as much as the log's statements take, got <any>. Free space where temporary files go, or set TMPDIR to a folder with more",
        _staging_without_space,
    ),
    turned(
        MalformedError,
        "audited JSON: expected JSON, got <any>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        _junk_is_a_row,
    ),
    refused(
        CorruptError,
        "index index.db: expected an SQLite file, got <any>. Run `hubledger index rebuild`: the index holds nothing that the log does not",
        lambda scene: Index(scene.write("index.db", b"no database" * 100)),
    ),
    refused(
        CorruptError,
        "index index.db: expected version 2, got version 9. Run `hubledger index rebuild`: the index holds nothing that the log does not",
        lambda scene: _index_of_version(scene, 9),
    ),
    refused(
        CorruptError,
        "index position: expected 7, got 0. Run `hubledger index rebuild`: the index holds nothing that the log does not",
        lambda scene: _index(scene).add(Rows(7)),
    ),
    refused(
        WriteError,
        "updating the index: expected a committed transaction, got <any>. Free space and run `hubledger index rebuild`: recorded events are not affected",
        _index_without_space,
    ),
    refused(
        CorruptError,
        "reading the index: expected a sound SQLite file, got no such table: models. Run `hubledger index rebuild`: the index holds nothing that the log does not",
        _index_without_table,
    ),
)

CASES = (*OBJECTS, *COMMITS, *INDEX)
