"""Refusals of the monitor: its settings, its memory, what logs serve to it, and whom it may tell."""

import contextlib
import sqlite3
import threading
from dataclasses import replace

import httpx
import pytest

from ledger.client.trust_writing import format_trust
from ledger.errors import (
    ConfigError,
    CorruptError,
    NotFoundError,
    ProofError,
    SourceError,
    UsageError,
    WriteError,
)
from ledger.tlog.merkle import Frontier
from ledger.tlog.signed_note import MAX_NOTE_BYTES
from monitor.config import load_config
from monitor.daemon import init, open_monitor, read_pin
from monitor.database import FILE_NAME
from monitor.findings import Finding, Kind
from monitor.follow import Follower
from monitor.hooks import Hooks
from monitor.judge import Remembered, compare_smaller
from monitor.known import Known
from monitor.looking_up import LookUp
from monitor.record import Stored
from monitor.sinks import Webhook, open_sink
from monitor.state import Progress, State
from tests.monitor.hub import Hub
from tests.refusals.of_storage import no_space
from tests.refusals.table import refused, turned
from tests.world import NOW, key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
LOG = '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
HOOKS = '[[sink]]\nname = "pager"\nhooks = "hooks.d"\n'
HOOK = '[[sink]]\nname = "chat"\nwebhook = "https://hooks.example/"\nsecret = "secret"\n'
FOUND = Finding(log="models", kind=Kind.SIGNER_CHANGED, text="It changed.", leaf_index=1, model="acme/model")
STORED = Stored(
    number=1, id=FOUND.id(), state="open", note="", found_at=NOW, seen_at=NOW, facts=FOUND.as_json()
)


def _config(scene, text):
    return load_config(scene.write("monitor.toml", text.encode()))


def _foreign(scene, policy):
    """The trust in a log of which only a policy is given."""
    scene.write("policy", policy.encode())
    config = _config(scene, '[[log]]\nname = "a"\nfolder = "log"\npolicy = "policy"\n')
    return config.trust(config.log[0])


def _watched(scene, *, size=3, more=HOOKS):
    """A published log and the settings of a monitor of it."""
    hub = Hub()
    for at in range(size):
        hub.record(A, revision=str(at))
    hub.publish(scene.folder / "log")
    hub.trust_file(scene.folder / "trust.toml")
    (scene.folder / "hooks.d").mkdir(exist_ok=True)
    return hub, _config(scene, LOG + more)


def _begun(scene, **words):
    hub, config = _watched(scene, **words)
    init(config, pinned={"models": None}, now=NOW)
    return hub, config


def _state(scene, **words):
    """The memory of a monitor that has looked once."""
    _, config = _begun(scene, **words)
    with open_monitor(config, clock=lambda: NOW) as monitor:
        monitor.look()
    state = State(config.folder)
    scene.after.callback(state.close)
    return state


def _sql(scene, statement):
    connection = sqlite3.connect(scene.folder / "state" / FILE_NAME, isolation_level=None)
    connection.execute(statement)
    connection.close()


# Settings


def _large(scene):
    return _config(scene, "#" * ((1 << 20) + 1))


SETTINGS = (
    refused(
        ConfigError,
        "log a: expected url or folder, got both, or neither. Correct what is named, and try again",
        lambda scene: _config(scene, '[[log]]\nname = "a"\ntrust = "t"\n'),
    ),
    refused(
        ConfigError,
        "sink a: expected one of hooks, webhook, mail and notify, got none. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + '[[sink]]\nname = "a"\n'),
    ),
    refused(
        ConfigError,
        "sink chat: expected secret with webhook, or with smtp_user, got one of them. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + HOOK.replace('secret = "secret"\n', "")),
    ),
    refused(
        ConfigError,
        "timeout of sink pager: expected 0.1 to 600 seconds, got 0. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + HOOKS + "timeout = 0\n"),
    ),
    refused(
        ConfigError,
        "severity of sink pager: expected one of info, low, medium, high, critical, got loud. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + HOOKS + 'severity = "loud"\n'),
    ),
    refused(
        ConfigError,
        "canary: expected model and log, or neither, got one of them. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + HOOKS + '[canary]\nsink = "pager"\nmodel = "hub/canary"\n'),
    ),
    refused(
        ConfigError,
        "interval: expected 0.1 to 86400 seconds, got 0. Correct what is named, and try again",
        lambda scene: _config(scene, "interval = 0\n" + LOG),
    ),
    refused(
        ConfigError,
        "settings of the monitor: expected 1 to 100 tables [[log]], got 0. Correct what is named, and try again",
        lambda scene: _config(scene, ""),
    ),
    refused(
        ConfigError,
        "names of each log: expected each once, got models, models. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + LOG),
    ),
    refused(
        ConfigError,
        "logs of sink pager: expected names of logs of this file, got other. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + HOOKS + 'logs = ["other"]\n'),
    ),
    refused(
        ConfigError,
        "settings of the monitor <folder>/monitor.toml: expected TOML, got <any>. Correct what is named, and try again",
        lambda scene: _config(scene, "= 1"),
    ),
    refused(
        ConfigError,
        "settings of the monitor <folder>/none.toml: expected a readable file, got No such file or directory. Correct what is named, and try again",
        lambda scene: load_config(scene.folder / "none.toml"),
    ),
    refused(
        ConfigError,
        "settings of the monitor <folder>/monitor.toml: expected at most 1048576 bytes, got more. Correct what is named, and try again",
        _large,
    ),
    refused(
        ConfigError,
        "setting log of the monitor: expected tables [[log]], got 1. Correct what is named, and try again",
        lambda scene: _config(scene, "log = [1]\n"),
    ),
    refused(
        ConfigError,
        "setting log.name of the monitor: expected a value, got nothing. Correct what is named, and try again",
        lambda scene: _config(scene, '[[log]]\ntrust = "t"\n'),
    ),
    refused(
        ConfigError,
        "log a: expected trust or policy, got neither. Correct what is named, and try again",
        lambda scene: _config(scene, '[[log]]\nname = "a"\n'),
    ),
    refused(
        ConfigError,
        "log a with policy: expected tiles, and nothing about signers, got more than that. Correct what is named, and try again",
        lambda scene: _config(scene, '[[log]]\nname = "a"\npolicy = "p"\nkind = "rekor-v2"\n'),
    ),
    refused(
        ConfigError,
        "canary.log: expected a log with a trust file, got a, with a policy. Correct what is named, and try again",
        lambda scene: _config(
            scene,
            '[[log]]\nname = "a"\nfolder = "log"\npolicy = "p"\n[[sink]]\nname = "s"\nhooks = "h"\n'
            '[canary]\nsink = "s"\nlog = "a"\nmodel = "m"\n',
        ),
    ),
    refused(
        ConfigError,
        "policy of log a <folder>/policy: line 1 of the trust policy: expected log, witness, group or quorum, got nonsense. Correct what is named, and try again",
        lambda scene: _foreign(scene, "nonsense\n"),
    ),
    refused(
        ConfigError,
        "policy of log a <folder>/policy: logs: expected the keys of one log, got none. Correct what is named, and try again",
        lambda scene: _foreign(scene, "quorum none\n"),
    ),
    refused(
        ConfigError,
        "setting log.speed of the monitor: expected one of <any>, got an unknown setting. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + "speed = 1\n"),
    ),
    refused(
        ConfigError,
        "setting sink.timeout of the monitor: expected a number, got True. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + HOOKS + "timeout = true\n"),
    ),
    refused(
        ConfigError,
        "setting log.name of the monitor: expected small letters, digits and hyphens, got The Models. Correct what is named, and try again",
        lambda scene: _config(scene, LOG.replace("models", "The Models")),
    ),
    refused(
        ConfigError,
        "log other: expected one of models, got not in the settings. Correct what is named, and try again",
        lambda scene: init(_watched(scene)[1], pinned={"other": None}, now=NOW),
    ),
    refused(
        ConfigError,
        "checkpoint <folder>/none: expected a readable file, got No such file or directory. Correct what is named, and try again",
        lambda scene: read_pin(scene.folder / "none", max_bytes=MAX_NOTE_BYTES),
    ),
)


def _pin_for_many(scene):
    from click.testing import CliRunner

    from cli.monitor import command

    _watched(scene)
    path = scene.write("monitor.toml", (LOG + LOG.replace("models", "other")).encode())
    pin = scene.write("pin", b"")
    result = CliRunner().invoke(command, ["init", "--config", str(path), "--from", str(pin)])
    raise result.exception


COMMAND = (
    refused(
        UsageError,
        "--from: expected --log NAME with a checkpoint, got 2 logs. Compare with the command's --help",
        _pin_for_many,
    ),
)

# Memory


def _other_origin(scene):
    hub, config = _begun(scene)
    other = replace(hub.world, origin="other.example")
    (scene.folder / "trust.toml").write_bytes(format_trust(other.trust()))
    scene.watch(scene.folder / "state")
    with open_monitor(config):
        pass


def _findings(scene, *options):
    from cli.monitor import command

    _watched(scene)
    arguments = ["findings", "--config", str(scene.folder / "monitor.toml"), *options]
    return command.main(args=arguments, standalone_mode=False)


def _no_room(scene):
    _state(scene).close()
    scene.after.enter_context(no_space())
    return State(scene.folder / "state")


def _unreadable(scene):
    state = _state(scene)
    (scene.folder / "state" / FILE_NAME).write_bytes(b"no database" * 100)
    scene.watch(scene.folder / "state")
    del state
    return State(scene.folder / "state")


def _bent(scene):
    _, config = _begun(scene)
    path = config.folder / FILE_NAME
    # An index that lacks a row of its table.
    _sql(scene, "PRAGMA writable_schema = ON")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, 'latest INTEGER NOT NULL', 'latest TEXT NOT NULL')"
    )
    connection.close()
    return State(config.folder)


def _moved_on(scene):
    state = _state(scene)
    frontier = Frontier()
    frontier.append(bytes(32))
    progress = Progress(
        log="models", before=7, frontier=frontier, leaves={}, nodes={}, known=Known(), findings=()
    )
    return state.advance(progress, routes=load_config(scene.folder / "monitor.toml"), now=NOW)


def _no_outbox(scene):
    state = _state(scene)
    _sql(scene, "DROP TABLE outbox")
    return state.report(FOUND, routes=load_config(scene.folder / "monitor.toml"), now=NOW)


def _after(scene, statement, ask):
    state = _state(scene)
    _sql(scene, statement)
    return ask(state)


MEMORY = (
    refused(
        CorruptError,
        "log models of the monitor: expected origin log.example/models, which was begun, got other.example, by its trust file. Name the right trust file, if this is that of another log. If another log is to be followed, give it another name: its history is not that of the old one",
        _other_origin,
    ),
    refused(
        CorruptError,
        "state of the monitor in <folder>: expected monitor.db, which `hubledger monitor init` made, got no file. Restore the newest copy; only for a new monitor, run `hubledger monitor init`",
        lambda scene: State(scene.watch(scene.folder)),
    ),
    refused(
        WriteError,
        "making the state <folder>/a/b/monitor.db: expected a new file, got Not a directory. Name a new folder as `state`: what a monitor remembers is never replaced",
        lambda scene: State.create(scene.write("a", b"") / "b", now=NOW),
    ),
    refused(
        CorruptError,
        "monitor.db of the monitor: expected version 5, got version 9. Use the version of hubledger that wrote it, or restore the newest copy",
        lambda scene: _after(scene, "PRAGMA user_version = 9", lambda _: State(scene.folder / "state")),
    ),
    refused(
        CorruptError,
        "monitor.db of the monitor: expected the file as it was written, got non-TEXT value in clock.latest. Restore the newest copy; without one, keep the file, and begin anew in another folder",
        _bent,
    ),
    refused(
        NotFoundError,
        "log other in the state of the monitor: expected a log that was begun, got none of that name. Run `hubledger monitor init`, which begins the logs that are new in the settings",
        lambda scene: _state(scene).position("other"),
    ),
    refused(
        CorruptError,
        "monitor.db of the monitor: expected the file as it was written, got a position of log models that is none. Restore the newest copy; without one, keep the file, and begin anew in another folder",
        lambda scene: _after(
            scene, "UPDATE logs SET frontier = x'00'", lambda state: state.position("models")
        ),
    ),
    refused(
        CorruptError,
        "monitor.db of the monitor: expected the file as it was written, got no clock. Restore the newest copy; without one, keep the file, and begin anew in another folder",
        lambda scene: _after(scene, "DELETE FROM clock", lambda state: state.clock()),
    ),
    refused(
        CorruptError,
        "monitor.db of the monitor: expected the file as it was written, got a position of log models other than 7: somebody else wrote it. Restore the newest copy; without one, keep the file, and begin anew in another folder",
        _moved_on,
    ),
    refused(
        NotFoundError,
        "finding 99: expected the number of a finding, got none of that number. See `hubledger monitor findings`",
        lambda scene: _state(scene).move([99], to="resolved", note="", now=NOW),
    ),
    refused(
        WriteError,
        "writing monitor.db of the monitor: expected a transaction that ends, got no such table: outbox. Repair the disk and start again: what was found is found again, and nothing is lost",
        _no_outbox,
    ),
    refused(
        CorruptError,
        "monitor.db of the monitor: expected the file as it was written, got file is not a database. Restore the newest copy; without one, keep the file, and begin anew in another folder",
        _unreadable,
    ),
    refused(
        UsageError,
        f"--kind: expected a kind of finding, got signer-changes. Name one of {', '.join(Kind)}",
        lambda scene: _findings(scene, "--kind", "signer-changes"),
    ),
    refused(
        NotFoundError,
        "expected signer 00 of acme/model in models: expected one that was named before, got none. See which there are with `hubledger monitor expected`",
        lambda scene: _state(scene).record.withdraw("models", model="acme/model", signer="00"),
    ),
    refused(
        WriteError,
        "using monitor.db of the monitor: expected a disk with space, readable and writable, got <any>. Free space or repair the disk and start again: what was stored is there as it was",
        _no_room,
    ),
)

# What logs serve


def _look(scene, prepare):
    """Look at a log that serves something else than it signed: it becomes a finding."""
    hub, config = _begun(scene)
    prepare(hub, scene.folder / "log")
    with open_monitor(config, clock=lambda: NOW) as monitor:
        monitor.look()


def _other_entries(hub, folder):
    other = hub.fork(2)
    other.record(B, revision="x")
    other.publish(folder, note=hub.world.checkpoint())


def _unreadable_folder(scene):
    _, config = _watched(scene)
    (scene.folder / "log/checkpoint").unlink()
    (scene.folder / "log/checkpoint").symlink_to("checkpoint")
    return config.sources(config.log[0])[0]("checkpoint", max_bytes=100)


def _other_pin(scene):
    hub, config = _watched(scene)
    other = hub.fork(2)
    other.record(B, revision="x")
    return init(config, pinned={"models": other.world.checkpoint()}, now=NOW)


def _before_the_pin(scene, node):
    hub, config = _watched(scene, size=300)
    init(config, pinned={"models": hub.world.checkpoint()}, now=NOW)
    state = State(config.folder)
    scene.after.callback(state.close)
    return Remembered(state, state.position("models"))([node])


def _nothing_signed_since(scene):
    """Half of a larger tree was replayed; then a smaller one of another history is shown."""
    hub, config = _begun(scene)
    state = State(config.folder)
    scene.after.callback(state.close)
    Follower(
        hub.followable(scene.folder / "log"),
        state,
        routes=config,
        evidence=config.evidence,
        clock=lambda: NOW,
    ).look()
    state._database._connection.execute("UPDATE checkpoints SET verified = 0")
    other = hub.fork(1)
    other.record(B, revision="x")
    from ledger.tlog.checkpoint import verify_checkpoint

    trust = hub.world.trust()
    note = verify_checkpoint(other.world.checkpoint(), origin=trust.origin, keys=trust.log_keys)
    return compare_smaller(note, state=state, position=state.position("models"), trust=trust)


SERVED = (
    refused(
        SourceError,
        "reading object checkpoint: expected readable bytes, got Too many levels of symbolic links. Make it reachable and readable, and try again",
        _unreadable_folder,
    ),
    turned(
        ProofError,
        "root of 3 entries: expected <hex>, as signed, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda scene: _look(scene, _other_entries),
    ),
    refused(
        ProofError,
        "root of 3 entries: expected <hex>, as signed, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        _other_pin,
    ),
    refused(
        ProofError,
        "node 3/0 of the replayed tree of models: expected a part of the tree from 300 to 300, got one that was never replayed here. Ask a monitor that follows the log from its beginning",
        lambda scene: _before_the_pin(scene, (3, 0)),
    ),
    refused(
        ProofError,
        "node 8/1 of the replayed tree of models: expected a part of the tree from 300 to 300, got one that was never replayed here. Ask a monitor that follows the log from its beginning",
        lambda scene: _before_the_pin(scene, (8, 1)),
    ),
    refused(
        ProofError,
        "root of size 2 of models: expected <hex>, as replayed, got <hex>. Keep both: no larger signed checkpoint was verified here that would prove which one is false",
        _nothing_signed_since,
    ),
)

# Whom it tells


def _webhook(url, answer=None, **more):
    def transport(request):
        if answer is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(answer)

    settings = {"secret": b"x" * 16, "allow_private": True, "timeout": 1, **more}
    return Webhook(url, transport=httpx.MockTransport(transport), **settings).send(STORED)


def _resolver_that_hangs(scene, *, before):
    """The thread that asks ends when the scene does."""
    answering = threading.Event()
    scene.after.callback(answering.set)
    patch = scene.after.enter_context(pytest.MonkeyPatch.context())
    patch.setattr("monitor.looking_up.socket.getaddrinfo", lambda *_, **__: answering.wait(60) and [])
    look_up = LookUp(seconds=0.1)
    if before:
        with contextlib.suppress(SourceError):
            look_up.addresses("hooks.example", 443, what="address of the webhook hooks.example")
    return look_up.addresses("hooks.example", 443, what="address of the webhook hooks.example")


def _failing_hook(scene):
    hook = scene.write("hook", b"#!/bin/sh\nexit 3\n")
    hook.chmod(0o755)
    return Hooks(scene.folder, timeout=30).send(STORED)


def _secret(scene, data, mode=0o600):
    config = _config(scene, LOG + HOOK)
    if data is not None:
        scene.write("secret", data).chmod(mode)
    return open_sink(config.sink[0], config)


TOLD = (
    refused(
        SourceError,
        "hooks in <folder>: expected executables that all end with 0, got hook: ended with 3. Run the executable by hand with the JSON of `hubledger monitor findings --json`",
        _failing_hook,
    ),
    refused(
        SourceError,
        "hooks in <folder>/none: expected a readable folder, got No such file or directory. Make it reachable and readable, and try again",
        lambda scene: Hooks(scene.folder / "none", timeout=1).send(STORED),
    ),
    refused(
        ConfigError,
        "address of the webhook: expected a public http(s) address without a password, got Invalid port: ':'. Correct it, or say allow_private = true if the receiver is meant to be inside",
        lambda _: _webhook("http://[::"),
    ),
    refused(
        ConfigError,
        "address of the webhook: expected a public http(s) address without a password, got no http(s) address with a host. Correct it, or say allow_private = true if the receiver is meant to be inside",
        lambda _: _webhook("ftp://127.0.0.1/"),
    ),
    refused(
        ConfigError,
        "address of the webhook: expected a public http(s) address without a password, got a name or password in the address. Correct it, or say allow_private = true if the receiver is meant to be inside",
        lambda _: _webhook("http://name:hunter2@127.0.0.1/"),
    ),
    refused(
        ConfigError,
        "address of the webhook: expected a public http(s) address without a password, got 127.0.0.1, which is not a public address. Correct it, or say allow_private = true if the receiver is meant to be inside",
        lambda _: _webhook("http://127.0.0.1/", allow_private=False),
    ),
    refused(
        SourceError,
        "webhook at 127.0.0.1: expected an answer, got refused. Make it reachable and readable, and try again",
        lambda _: _webhook("http://127.0.0.1/"),
    ),
    refused(
        SourceError,
        "webhook at 127.0.0.1: expected status 2xx, got 302, and redirects are not followed. Make it reachable and readable, and try again",
        lambda _: _webhook("http://127.0.0.1/", 302),
    ),
    refused(
        SourceError,
        "address of the webhook hooks.example: expected an answer of the resolver within 0.1 s, got none. Make it reachable and readable, and try again",
        lambda scene: _resolver_that_hangs(scene, before=False),
    ),
    refused(
        SourceError,
        "address of the webhook hooks.example: expected a resolver that answers, got none to the question before this one. Make it reachable and readable, and try again",
        lambda scene: _resolver_that_hangs(scene, before=True),
    ),
    refused(
        SourceError,
        "address of the webhook no-such-host.invalid: expected a host that is known, got <any>. Make it reachable and readable, and try again",
        lambda _: _webhook("http://no-such-host.invalid/"),
    ),
    refused(
        ConfigError,
        "secret <folder>/secret: expected a readable file, got No such file or directory. Correct what is named, and try again",
        lambda scene: _secret(scene, None),
    ),
    refused(
        ConfigError,
        "permissions of <folder>/secret: expected readable by its owner only, got readable by others. Run `chmod 600` on it and consider the secret as seen: make another",
        lambda scene: _secret(scene, b"x" * 16, 0o644),
    ),
    refused(
        ConfigError,
        "secret <folder>/secret: expected 16 to 1024 bytes, got 5 bytes. Correct what is named, and try again",
        lambda scene: _secret(scene, b"short"),
    ),
)

CASES = (*SETTINGS, *COMMAND, *MEMORY, *SERVED, *TOLD)
