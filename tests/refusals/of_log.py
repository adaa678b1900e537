"""Refusals of ledger.log: the one writer, its right edge, what readers fetch, the audit and the restored backup."""

import contextlib
import gzip
import http.server
import sqlite3
import threading
from dataclasses import replace

from ledger.errors import (
    CorruptError,
    LimitError,
    MalformedError,
    NotFoundError,
    ProofError,
    RestoredError,
    SourceError,
    UsageError,
    WriteError,
    WriterLockedError,
)
from ledger.log import Submission
from ledger.log.audit import audit
from ledger.log.fetch import fetch_from_folder, fetch_from_url
from ledger.log.freshness import Source, from_file
from ledger.log.local import LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.log.lock import writer_lock
from ledger.log.published import PublishedLog
from ledger.log.right_edge import RightEdge
from ledger.storage import LogState
from ledger.storage.directory import DirectoryObjects
from ledger.storage.sqlite import SqliteCommits
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, sign_note
from ledger.tlog.tiles import Tile
from tests.refusals.table import refused
from tests.world import ed25519_key

ORIGIN = "log.example"
KEY = Ed25519NoteSigner(ORIGIN, ed25519_key("log"))


def sign(checkpoint):
    return sign_note(format_checkpoint(checkpoint), [KEY])


def create(folder):
    """Make an empty log."""
    note = sign(Checkpoint(origin=ORIGIN, size=0, root_hash=merkle.EMPTY_ROOT))
    state = LogState(
        size=0,
        root=merkle.EMPTY_ROOT,
        frontier=(),
        target_size=0,
        target_root=merkle.EMPTY_ROOT,
        signed_note=note,
        published_size=0,
    )
    SqliteCommits.create(folder / "ledger.db", state).close()
    DirectoryObjects(folder / "log").replace("checkpoint", note)


@contextlib.contextmanager
def opened(folder, **settings):
    """The log of a folder, whose clock stands still and whose pauses cost nothing."""
    commits = SqliteCommits(folder / "ledger.db")
    config = LocalLogConfig(**{"origin": ORIGIN, "keys": [KEY.verifier], "sign": sign} | settings)
    try:
        yield LocalLog(
            commits, DirectoryObjects(folder / "log"), config, clock=lambda: 0.0, pause=lambda _: None
        )
    finally:
        commits.close()


def append(log, count=1):
    """Append raw entries whose bytes say where they are."""
    return log.append([Submission(entry=b"entry %d" % at) for at in range(log.size, log.size + count)])


def _log(scene, published=3, pending=0):
    """A log of some published and some pending entries."""
    create(scene.folder)
    with opened(scene.folder) as log:
        if published:
            append(log, published)
            log.publish()
        if pending:
            append(log, pending)
    return scene.folder


def _change(folder, statement, *values):
    """Change the commit store behind the log's back."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as connection:
        assert connection.execute(statement, values).rowcount


def _open(scene, folder, **settings):
    return scene.after.enter_context(opened(scene.watch(folder), **settings))


# The writer


def _tile_is_gone(scene):
    folder = _log(scene)
    (folder / "log/tile/0/000.p/3").unlink()
    return _open(scene, folder)


def _other_root(scene):
    folder = _log(scene)
    _change(folder, "UPDATE log_state SET root = ?", bytes(32))
    return _open(scene, folder)


def _entry_changed(scene):
    folder = _log(scene)
    path = folder / "log/tile/entries/000.p/3"
    path.write_bytes(path.read_bytes().replace(b"entry 1", b"Entry 1"))
    return _open(scene, folder)


def _pending_cut(scene):
    folder = _log(scene, pending=1)
    _change(folder, "UPDATE batches SET data = ? WHERE first = 3", b"\0\7entry")
    return _open(scene, folder)


def _store_is_older(scene):
    """The commit store was copied back, and the public files were not."""
    folder = _log(scene, published=3)
    copy = (folder / "ledger.db").read_bytes()
    with opened(folder) as log:
        append(log)
        log.publish()
    for kind in ("-wal", "-shm"):
        (folder / f"ledger.db{kind}").unlink(missing_ok=True)
    (folder / "ledger.db").write_bytes(copy)
    return append(_open(scene, folder))


def _note_of_another_log(scene):
    folder = _log(scene)
    other = Ed25519NoteSigner(ORIGIN, ed25519_key("another"))
    tree = Checkpoint(origin=ORIGIN, size=3, root_hash=bytes(32))
    _change(folder, "UPDATE log_state SET signed_note = ?", sign_note(format_checkpoint(tree), [other]))
    return append(_open(scene, folder))


def _interrupted(scene):
    """Ctrl-C in the middle of an admission: what became of the batch is not known, so the log stops."""

    def interrupt(_view, _leaf_index):
        raise KeyboardInterrupt

    log = _open(scene, _log(scene))
    with contextlib.suppress(KeyboardInterrupt):
        log.append([Submission(entry=b"entry", admit=interrupt)])
    return append(log)


def _too_large(scene):
    (answer,) = _open(scene, _log(scene)).append([Submission(entry=bytes(65_536))])
    raise answer


def _sign_another_root(scene):
    """The state says another root than the tiles give: it is not signed."""
    folder = _log(scene, published=0, pending=3)
    _change(folder, "UPDATE log_state SET target_size = 3, target_root = ?", bytes(32))
    return append(_open(scene, folder))


def _sign_another_size(scene):
    def sign_less(checkpoint):
        return sign(replace(checkpoint, size=checkpoint.size - 1))

    folder = _log(scene, published=3, pending=1)
    scene.watch(folder / "log")  # the store keeps which size is to be published; nothing is shown
    return scene.after.enter_context(opened(folder, sign=sign_less)).publish()


def _root_of_more(scene):
    return _open(scene, _log(scene))._root_at(4)


def _lock_is_a_folder(scene):
    lock = scene.folder / "ledger/lock"
    lock.mkdir(parents=True)
    return scene.after.enter_context(writer_lock(lock))


def _locked(scene):
    lock = scene.folder / "ledger/lock"
    lock.parent.mkdir()
    scene.after.enter_context(writer_lock(lock))
    return scene.after.enter_context(writer_lock(lock))


def _edge_trimmed(_scene):
    edge = RightEdge()
    edge.append([b"entry"] * 256)
    edge.trim(256)
    return edge.object_bytes(Tile(level=0, index=0))


WRITER = (
    refused(
        LimitError,
        "publish_interval: expected at least 0.1 s, got 0.05 s. Check that it is what you meant: the limit cannot be changed",
        lambda _: LocalLogConfig(origin=ORIGIN, keys=(), sign=sign, publish_interval=0.05),
    ),
    refused(
        CorruptError,
        "right edge of the log at size 3: expected a sound tile/0/000.p/3, got object tile/0/000: expected a stored object, got nothing. Restore the newest copy of this directory; do not delete ledger.db",
        _tile_is_gone,
    ),
    refused(
        CorruptError,
        "right edge of the log: expected size 3 with root <hex>, got size 3 with root <hex>. Restore the newest copy of this directory; do not delete ledger.db",
        _other_root,
    ),
    refused(
        CorruptError,
        "right edge of the log at size 3: expected the leaf hashes of tile/0/000.p/3, got other hashes from the entries of tile/entries/000.p/3. Restore the newest copy of this directory; do not delete ledger.db",
        _entry_changed,
    ),
    refused(
        CorruptError,
        "pending batch at 3: expected length-prefixed entries, got entry bundle: expected to end at an entry's end, byte 9, got 7 bytes. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _pending_cut,
    ),
    refused(
        RestoredError,
        "published checkpoint of this directory: expected at most size 3, the newest signed, got size 4. ledger.db is older than the published files: restore its newest copy",
        _store_is_older,
    ),
    refused(
        CorruptError,
        "stored checkpoint: expected our own signed checkpoint, got signatures of the note: expected one by log.example+f04b8d2c, got log.example+49542030. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _note_of_another_log,
    ),
    refused(
        WriteError,
        "committing: expected a known outcome, got an interrupted writer. Open the ledger again: it continues from what is certain",
        _interrupted,
    ),
    refused(
        LimitError,
        "entry: expected at most 65535 bytes, got 65536 bytes. Check that it is what you meant: the limit cannot be changed",
        _too_large,
    ),
    refused(
        CorruptError,
        "root to be signed: expected <hex>, got another root from the tiles. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _sign_another_root,
    ),
    refused(
        CorruptError,
        "signed checkpoint: expected size 4 with root <hex>, got size 3 with root <hex>. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _sign_another_size,
    ),
    refused(
        NotFoundError,
        "root: expected a size up to 3, got 4. Check the name, and that it has been recorded and published",
        _root_of_more,
    ),
    refused(
        WriteError,
        "opening lock for writing: expected a writable directory, got Is a directory. Make the directory writable for this user",
        _lock_is_a_folder,
    ),
    refused(
        WriterLockedError,
        "writer of ledger: expected no other writer, got another process holds the lock. Stop the other process, or let it do the writing",
        _locked,
    ),
    refused(
        CorruptError,
        "right edge: expected the hashes of tile/0/000, got a trimmed tile. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        _edge_trimmed,
    ),
)

# Restored backups


def _sources(scene, *sources):
    return append(_open(scene, _log(scene), sources=sources))


def _kept(scene, checkpoint):
    return from_file(scene.write("kept.checkpoint", checkpoint))


RESTORED = (
    refused(
        SourceError,
        "checkpoint file kept.checkpoint: expected a readable file, got No such file or directory. Make it reachable and readable, and try again",
        lambda scene: from_file(scene.folder / "kept.checkpoint").fetch(),
    ),
    refused(
        SourceError,
        "comparing this log with what the outside knows: expected one source that answers, got <folder>/kept.checkpoint: checkpoint file kept.checkpoint: expected a readable file, got No such file or directory; https://log.example: signed note: expected text, a blank line…. Make a source reachable, or start once with --start-unchecked if you are sure that this directory was never restored from a copy",
        lambda scene: _sources(
            scene,
            from_file(scene.folder / "kept.checkpoint"),
            Source(name="https://log.example", fetch=lambda: b"<html>"),
        ),
    ),
    refused(
        RestoredError,
        "newest checkpoint that <folder>/kept.checkpoint knows: expected at most size 3, got size 4. This directory is older than the log that was shown: restore the newest copy, or start a successor log; writing here would fork the log",
        lambda scene: _sources(
            scene, _kept(scene, sign(Checkpoint(origin=ORIGIN, size=4, root_hash=bytes(32))))
        ),
    ),
    refused(
        RestoredError,
        "root of size 2 that <folder>/kept.checkpoint knows: expected <hex>, got <hex>. The log has been forked: stop, keep both checkpoints as evidence, and tell your monitors",
        lambda scene: _sources(
            scene, _kept(scene, sign(Checkpoint(origin=ORIGIN, size=2, root_hash=bytes(32))))
        ),
    ),
)

# Readers


def _published(folder):
    return PublishedLog(fetch_from_folder(folder / "log"), origin=ORIGIN, keys=[KEY.verifier])


def _tile_cut(scene):
    folder = _log(scene)
    path = folder / "log/tile/0/000.p/3"
    path.write_bytes(path.read_bytes()[:-1])
    return _published(folder)


def _entry_differs(scene):
    folder = _log(scene)
    path = folder / "log/tile/entries/000.p/3"
    path.write_bytes(path.read_bytes().replace(b"entry 1", b"Entry 1"))
    return list(_published(folder).read(0, 3, size=3))


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers each path in its own wrong way."""

    def do_GET(self):
        body, status, encoding = {
            "/missing": (b"", 404, None),
            "/broken": (b"", 500, None),
            "/brotli": (b"brotli", 200, "br"),
            "/large": (bytes(1000), 200, None),
            "/bomb": (gzip.compress(bytes(1 << 20)), 200, "gzip"),
            "/junk": (b"no gzip", 200, "gzip"),
            "/long": (gzip.compress(b"tile") + b"more", 200, "gzip"),
            "/cut": (gzip.compress(b"tile")[:-6], 200, "gzip"),
        }[self.path]
        self.send_response(status)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _get(scene, name):
    """Fetch an object from a server of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    scene.after.callback(thread.join)
    scene.after.callback(server.server_close)
    scene.after.callback(server.shutdown)
    return _fetch(f"http://127.0.0.1:{server.server_port}/", name)


def _fetch(url, name):
    """Fetch without waiting between the tries."""
    return fetch_from_url(url, pause=lambda _: None)(name, max_bytes=100)


READERS = (
    refused(
        MalformedError,
        "tile tile/0/000.p/3: expected 96 bytes, got 95 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda scene: _tile_cut(scene).tile(Tile(level=0, index=0, width=3)),
    ),
    refused(
        CorruptError,
        "entry 1 of the log: expected leaf hash <hex>, got <hex>. Run `hubledger log audit` to see what else is damaged",
        _entry_differs,
    ),
    refused(
        NotFoundError,
        "http://127.0.0.1:<number>/missing: expected an object, got 404. Check the address: below that of a log there are a checkpoint and its tiles",
        lambda scene: _get(scene, "missing"),
    ),
    refused(
        SourceError,
        "GET http://127.0.0.1:<number>/broken: expected status 200, got 500. Try again later, or use another mirror",
        lambda scene: _get(scene, "broken"),
    ),
    refused(
        SourceError,
        "content encoding of brotli: expected identity or gzip, got br. Try again, use another mirror, or tell whoever serves it",
        lambda scene: _get(scene, "brotli"),
    ),
    refused(
        LimitError,
        "object large: expected at most 100 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        lambda scene: _get(scene, "large"),
    ),
    refused(
        LimitError,
        "object bomb: expected at most 100 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        lambda scene: _get(scene, "bomb"),
    ),
    refused(
        SourceError,
        "body of junk: expected gzip, got <any>. Try again, use another mirror, or tell whoever serves it",
        lambda scene: _get(scene, "junk"),
    ),
    refused(
        SourceError,
        "body of cut: expected a whole gzip stream, got one that was cut off. Try again, use another mirror, or tell whoever serves it",
        lambda scene: _get(scene, "cut"),
    ),
    refused(
        SourceError,
        "body of long: expected one gzip stream, got bytes after its end. Try again, use another mirror, or tell whoever serves it",
        lambda scene: _get(scene, "long"),
    ),
    refused(
        UsageError,
        "address of the log: expected http://… or https://… with a host, got http://[::1. Give the address below which `checkpoint` is served",
        lambda _: fetch_from_url("http://[::1"),
    ),
    refused(
        SourceError,
        "GET http://127.0.0.1:1/checkpoint: expected an answer, got <any>. Check the address and try again",
        lambda _: _fetch("http://127.0.0.1:1", "checkpoint"),
    ),
)

# The audit


def _audit(scene, folder, checkpoint=None):
    log = _published(scene.watch(folder))
    return audit(lambda: log, checkpoint or log.checkpoint(), workers=1)


def _audit_changed(scene, path, old, new):
    folder = _log(scene)
    file = folder / "log" / path
    data = file.read_bytes()
    file.write_bytes(data.replace(old, new) if old else data[:-1])
    return _audit(scene, folder)


def _audit_false_root(scene):
    folder = _log(scene)
    false = sign(Checkpoint(origin=ORIGIN, size=3, root_hash=bytes(32)))
    (folder / "log/checkpoint").write_bytes(false)
    return _audit(scene, folder)


AUDIT = (
    refused(
        ProofError,
        "root of 3 entries: expected <hex> as signed, got <hex>. Keep the checkpoint and the files: the log does not contain what it signed",
        _audit_false_root,
    ),
    refused(
        CorruptError,
        "bundle tile/entries/000.p/3: expected 3 entries, got entry bundle: expected to end at an entry's end, byte 27, got 26 bytes. Keep the files as they are; fetch them again from a mirror, or restore the newest copy",
        lambda scene: _audit_changed(scene, "tile/entries/000.p/3", b"", b""),
    ),
    refused(
        CorruptError,
        "tile tile/0/000.p/3: expected 96 bytes, got 95 bytes. Fetch it again from another mirror, or restore the newest copy of the directory",
        lambda scene: _audit_changed(scene, "tile/0/000.p/3", b"", b""),
    ),
    refused(
        CorruptError,
        "hash 1 of tile/0/000.p/3 (from entry 1): expected <hex>, got <hex>. The tile or an entry under it was changed: fetch both again from another mirror",
        lambda scene: _audit_changed(scene, "tile/entries/000.p/3", b"entry 1", b"Entry 1"),
    ),
)

CASES = (*WRITER, *RESTORED, *READERS, *AUDIT)
