"""Refusals of publishing: its settings and key, a folder or store that cannot be written, entries that are others now."""

import contextlib
import pathlib
import shutil
import sqlite3
import sys
from contextlib import contextmanager

import cli.monitor
from ledger.errors import ConfigError, ProofError, UsageError, WriteError
from ledger.log.lock import writer_lock
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.publish import pages
from monitor.publish.placing_process import PlacingProcess
from monitor.publish.publishing import make_key, publish
from monitor.publish.store import Store
from tests.monitor.publish.scene import Publication
from tests.monitor.publish.test_rekor import Published
from tests.refusals.table import refused, turned
from tests.world import NOW, key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
LOG = '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'


def _config(scene, text):
    return load_config(scene.write("monitor.toml", (LOG + text).encode()))


def _published(scene):
    published = Publication(scene.folder).begin()
    published.hub.record(A, revision="1")
    published.step()
    return published


def _other_entries(scene):
    """The log serves other entries under the checkpoint that was verified; the publication says so and goes on."""
    published = _published(scene)
    published.hub.record(A, revision="2")
    published.hub.publish(scene.folder / "log")
    with open_monitor(published.config, clock=lambda: NOW) as monitor:
        monitor.look()
        other = published.hub.fork(1)
        other.record(B, revision="other")
        other.publish(scene.folder / "log", note=published.hub.world.checkpoint())
        publish(published.config, monitor.state, now=NOW)


def _other_digest(scene):
    """The state says of a leaf of Rekor that it is another entry than it is: it was changed, or mixed up."""
    published = Published(scene.folder)
    (scene.folder / "evidence").mkdir()
    make_key(scene.folder / "monitor.key", "monitor.example", b"\1" * 32)
    for at in (0, 1):
        published.hub.record(A, revision=str(at))
        published.log(at)
    published.publish()
    config = published.config
    init(config, pinned={"models": None}, now=NOW)
    with open_monitor(config, clock=lambda: NOW) as monitor:
        monitor.look()
    with contextlib.closing(sqlite3.connect(next(scene.folder.rglob("monitor.db")))) as database, database:
        database.execute("UPDATE logged SET leaf = 1 - leaf")
    with open_monitor(config, clock=lambda: NOW) as monitor:
        publish(config, monitor.state, now=NOW)


def _file_in_the_way(scene):
    published = _published(scene)
    shutil.rmtree(published.public)
    published.public.write_bytes(b"a file")
    published.step()


def _killed_process(scene):
    """The process that writes files is killed by the system, which is short of memory."""
    lock = scene.after.enter_context(writer_lock(scene.folder / "lock"))
    process = PlacingProcess(str(scene.folder / "public"), lock=lock)
    scene.after.callback(process.close)
    assert process.is_ready()
    process._process.kill()
    process.commit()


def _closed_store(scene):
    store = Store(scene.folder, token="x")
    store.close()
    store.size("models")


def _no_jinja2(scene):
    pages._environment.cache_clear()
    scene.after.callback(pages._environment.cache_clear)
    scene.after.enter_context(_without("jinja2"))
    pages.Pages(name="", url="")


@contextmanager
def _without(module):
    """As on a machine where a package is not installed."""
    known = sys.modules.get(module)
    sys.modules[module] = None
    try:
        yield
    finally:
        del sys.modules[module]
        if known is not None:
            sys.modules[module] = known


def _command(scene, command, text, **words):
    path = scene.write("monitor.toml", (LOG + text).encode())
    return getattr(cli.monitor, command).callback(config_file=pathlib.Path(path), as_json=False, **words)


def _key_again(scene):
    published = Publication(scene.folder)
    scene.watch(published.folder)
    cli.monitor.key.callback(config_file=scene.folder / "monitor.toml", name="other.example", as_json=False)


CASES = (
    refused(
        ConfigError,
        "setting publish.folder of the monitor: expected a folder, got nothing. Correct what is named, and try again",
        lambda scene: _config(scene, '[publish]\nkey = "k"\n'),
    ),
    refused(
        ConfigError,
        "setting publish.url of the monitor: expected http://… or https://…, got ftp://x.example. Correct what is named, and try "
        "again",
        lambda scene: _config(scene, '[publish]\nfolder = "public"\nurl = "ftp://x.example"\n'),
    ),
    *(
        refused(
            ConfigError,
            "setting publish.folder of the monitor: expected a folder apart from the state, keys and secrets, got "
            f"<folder>/{folder}, which has to do with <folder>/{what}. Correct what is named, and try again",
            lambda scene, folder=folder: _config(
                scene, f'[publish]\nfolder = "{folder}"\nkey = "keys/monitor.key"\n'
            ),
        )
        for folder, what in (
            ("state", "state"),
            ("state/public", "state"),
            ("keys", "keys/monitor.key"),
            ("x/..", "state"),
        )
    ),
    refused(
        ConfigError,
        "setting publish.folder of the monitor: expected a folder, got nothing. Correct what is named, and try again",
        lambda scene: _command(scene, "publish", ""),
    ),
    refused(
        ConfigError,
        "setting publish.key of the monitor: expected a file, got nothing. Correct what is named, and try again",
        lambda scene: _command(scene, "key", "", name="monitor.example"),
    ),
    refused(
        UsageError,
        "key <folder>/monitor.key: expected no file yet, got a key. Leave NAME out to see its public half; another key would be "
        "another monitor",
        _key_again,
    ),
    refused(
        ConfigError,
        "pages of the monitor: expected the package jinja2, got not installed. Install `hubledger[publish]`",
        _no_jinja2,
    ),
    turned(
        ProofError,
        "entries 1 to 1 of models: expected the entries that were verified, got others. Ask the log's operator, or add a mirror to "
        "the settings; nothing of these is published",
        _other_entries,
    ),
    turned(
        ProofError,
        "leaf 0 of models: expected the hub's signature of <hex>, as remembered, got another leaf. Fetch it again, from another mirror if there "
        "is one; do not use it as it is",
        _other_digest,
    ),
    refused(
        WriteError,
        "publishing <folder>/public: expected a file that can be written and read, got <any>. Free space or make the folder "
        "writable; what is published stays as it was until then",
        _file_in_the_way,
    ),
    refused(
        WriteError,
        "publishing <folder>/public: expected the process that puts files in their places, got it ended. Publish again, which puts "
        "everything right; where it ends again, look whether memory is short",
        _killed_process,
    ),
    refused(
        WriteError,
        "using publish.db of the monitor: expected a file that can be read and written, got <any>. Repair the disk, or remove "
        "publish.db: it is made again, and everything is published again",
        _closed_store,
    ),
)
