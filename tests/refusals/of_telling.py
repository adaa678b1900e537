"""Refusals of what the monitor asks, tells and answers beside following: politeness, sinks, canary, split views."""

import socket
import sys

import httpx

import monitor.metrics  # noqa: F401  # here already, so that a case can take it away
from ledger.errors import ConfigError, LimitError, MalformedError, NotFoundError, SourceError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.signed_note import MAX_NOTE_BYTES
from monitor.assembling import open_views
from monitor.beside import open_canary, open_crosscheck
from monitor.compare import MAX_WAITING
from monitor.crosscheck import parse_served
from monitor.daemon import answering, open_monitor
from monitor.mail import Mail, MailServer
from monitor.notify import Notify
from monitor.state import State
from tests.monitor.test_deliver import receiver
from tests.monitor.test_mail import Box, serving
from tests.refusals.of_monitor import HOOKS, LOG, STORED, _begun, _config, _sql
from tests.refusals.table import refused, turned
from tests.world import NOW

AGAIN = "Correct what is named, and try again"
MAIL = '[[sink]]\nname = "mail"\nmail = ["a@example.org"]\nmail_from = "b@example.org"\nsmtp = "mail.example:587"\n'


def _addresses(scene, data):
    path = scene.write("addresses", data)
    path.chmod(0o600)
    return Notify(path, name="chat")


def _without_apprise(scene):
    kept = {name: sys.modules[name] for name in list(sys.modules) if name.partition(".")[0] == "apprise"}
    scene.after.callback(sys.modules.update, kept)
    scene.after.callback(sys.modules.pop, "apprise")
    sys.modules["apprise"] = None
    return _addresses(scene, b"json://localhost")


def _services(scene):
    with receiver(500) as (url, _):
        _addresses(scene, f"json://{url.removeprefix('http://')}".encode()).send(STORED)


def _mail(refuse=(), tls="none"):
    box = Box()
    box.refuse = refuse
    with serving(box) as port:
        Mail(
            MailServer(host="127.0.0.1", port=port, tls=tls),
            sender="a@example.org",
            recipients=("b@example.org", "c@example.org"),
            timeout=10,
        ).send(STORED)


SETTINGS = (
    refused(
        ConfigError,
        f"max_requests_per_second of log models: expected 0 to 10000, got -1. {AGAIN}",
        lambda scene: _config(scene, LOG + "max_requests_per_second = -1\n" + HOOKS),
    ),
    refused(
        ConfigError,
        f"at_most of sink pager: expected 0 to 10000, got -1. {AGAIN}",
        lambda scene: _config(scene, LOG + HOOKS + "at_most = -1\n"),
    ),
    refused(
        ConfigError,
        f"mail addresses of sink mail: expected name@host, each, got none. {AGAIN}",
        lambda scene: _config(scene, LOG + MAIL.replace("b@example.org", "")),
    ),
    refused(
        ConfigError,
        f"smtp of sink mail: expected host:port, got mail.example. {AGAIN}",
        lambda scene: _config(scene, LOG + MAIL.replace(":587", "")),
    ),
    refused(
        ConfigError,
        f'smtp_tls of sink mail: expected "starttls" or "tls"; "none" only without smtp_user, got none. {AGAIN}',
        lambda scene: _config(scene, LOG + MAIL + 'smtp_tls = "none"\nsmtp_user = "me"\nsecret = "s"\n'),
    ),
)

SINKS = (
    refused(
        ConfigError,
        "sink chat: expected the library apprise, for `notify`, got not installed. Run `pip install 'hubledger[notify]'`",
        _without_apprise,
    ),
    refused(
        ConfigError,
        f"addresses <folder>/addresses: expected UTF-8, got other bytes. {AGAIN}",
        lambda scene: _addresses(scene, b"\xff"),
    ),
    refused(
        ConfigError,
        f"line 1 of <folder>/addresses: expected an address as apprise has them, got another one (not shown: it may hold a token). {AGAIN}",
        lambda scene: _addresses(scene, b"nosuch://x"),
    ),
    refused(
        ConfigError,
        f"addresses <folder>/addresses: expected one at least, got none. {AGAIN}",
        lambda scene: _addresses(scene, b"# nobody"),
    ),
    refused(
        SourceError,
        "services of sink chat: expected all to take it, got one that did not. Try each address with the command `apprise`",
        _services,
    ),
    refused(
        SourceError,
        "mail server 127.0.0.1:<number>: expected a message that is taken, got STARTTLS extension not supported by server.. "
        "Make it reachable and readable, and try again",
        lambda _: _mail(tls="starttls"),
    ),
    refused(
        SourceError,
        "mail server 127.0.0.1:<number>: expected every recipient taken, got refused: b@example.org. "
        "Make it reachable and readable, and try again",
        lambda _: _mail(refuse=("b@example.org",)),
    ),
)

CANARY = '[canary]\nsink = "pager"\n'
CHECK = '[crosscheck]\nlog = "models"\nlist = "served"\n'


def _too_many(scene):
    """The log's key signed more sizes than it serves, and all were handed in."""

    def signed(hub, size):
        return hub.world.sign_tree(Checkpoint(origin=hub.world.origin, size=size, root_hash=bytes(32)))

    hub, config = _begun(scene)
    _sql(
        scene,
        "INSERT INTO checkpoints WITH RECURSIVE sizes(size) AS (SELECT 100 UNION ALL SELECT size + 1 FROM sizes "
        f"WHERE size < {99 + MAX_WAITING}) SELECT 'models', size, zeroblob(32), zeroblob(1), 0, 0 FROM sizes",
    )
    state = State(config.folder)
    scene.after.callback(state.close)
    return open_views(config, state, clock=lambda: NOW).judge(signed(hub, 9999))


def _judge(scene, note):
    hub, config = _begun(scene)
    state = State(config.folder)
    scene.after.callback(state.close)
    return open_views(config, state, clock=lambda: NOW).judge(note(hub))


def _answering(scene, address="127.0.0.1:0"):
    _begun(scene)
    text = (scene.folder / "monitor.toml").read_text()
    config = _config(scene, f'listen = "{address}"\n' + text)
    monitor = scene.after.enter_context(open_monitor(config, clock=lambda: NOW))
    return scene.after.enter_context(answering(monitor))


def _taken(scene):
    taken = scene.after.enter_context(socket.create_server(("127.0.0.1", 0)))
    _answering(scene, f"127.0.0.1:{taken.getsockname()[1]}")


def _without_metrics(scene):
    kept = sys.modules["monitor.metrics"]
    scene.after.callback(sys.modules.__setitem__, "monitor.metrics", kept)
    sys.modules["monitor.metrics"] = None
    _answering(scene)


def _too_long(scene):
    port = _answering(scene)
    assert (
        httpx.post(f"http://127.0.0.1:{port}/v1/checkpoint", content=bytes(MAX_NOTE_BYTES + 1)).status_code
        == 413
    )


BESIDE = (
    refused(
        ConfigError,
        f"canary.every: expected 1 to 2592000 seconds, got 0. {AGAIN}",
        lambda scene: _config(scene, LOG + HOOKS + CANARY + "every = 0\n"),
    ),
    refused(
        ConfigError,
        f"canary.sink: expected the name of a sink of this file, got other. {AGAIN}",
        lambda scene: _config(scene, LOG + HOOKS + '[canary]\nsink = "other"\n'),
    ),
    refused(
        ConfigError,
        f"crosscheck.log: expected the name of a log of this file, got other. {AGAIN}",
        lambda scene: _config(scene, LOG + CHECK.replace("models", "other")),
    ),
    refused(
        ConfigError,
        f"crosscheck: expected the table [crosscheck], got no such table. {AGAIN}",
        lambda scene: open_crosscheck(_config(scene, LOG), None, clock=lambda: NOW),
    ),
    refused(
        ConfigError,
        f"canary: expected the table [canary], got no such table. {AGAIN}",
        lambda scene: open_canary(_config(scene, LOG), None, clock=lambda: NOW),
    ),
    refused(
        SourceError,
        "checkpoint of models at size 9999: expected fewer than 4096 that wait for entries which the log does not serve, got no "
        "room for more. Hand it in again when the log has served what it signed before",
        _too_many,
    ),
    refused(
        NotFoundError,
        "log of the checkpoint: expected one of log.example/models, got another origin. Ask a monitor that follows that log",
        lambda scene: _judge(
            scene, lambda hub: hub.world.checkpoint().replace(b"log.example", b"elsewhere", 1)
        ),
    ),
    refused(
        MalformedError,
        'line 1 of the list: expected {"model": …, "revision": …, "created": …}, or the three with tabs between them, '
        "got b'x'. Write one line for each revision that the hub serves",
        lambda _: list(parse_served([b"x"])),
    ),
    refused(
        MalformedError,
        "created in line 1 of the list: expected a time with its zone, such as 2026-01-02T03:04:05Z, got yesterday. "
        "Write the time since which the revision is served",
        lambda _: list(parse_served([b"a/b\tr\tyesterday"])),
    ),
    refused(
        ConfigError,
        "listen: expected the library prometheus-client, got not installed. Run `pip install 'hubledger[server]'`",
        _without_metrics,
    ),
    refused(
        ConfigError,
        f"listen 127.0.0.1:<number>: expected a free address of this machine, got Address already in use. {AGAIN}",
        _taken,
    ),
    turned(
        LimitError,
        f"checkpoint: expected at most {MAX_NOTE_BYTES} bytes, got {MAX_NOTE_BYTES + 1} bytes. <any>",
        _too_long,
    ),
)

CASES = (*SETTINGS, *SINKS, *BESIDE)
