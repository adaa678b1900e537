"""Refusals of what the monitor asks, tells and answers beside following: politeness, sinks, canary, split views."""

import sys

from ledger.errors import ConfigError, SourceError
from monitor.mail import Mail, MailServer
from monitor.notify import Notify
from tests.monitor.test_deliver import receiver
from tests.monitor.test_mail import Box, serving
from tests.refusals.of_monitor import HOOKS, LOG, STORED, _config
from tests.refusals.table import refused

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
        "services of sink chat: expected all to take it, got one that did not take it. Try each address with the command `apprise`",
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

CASES = (*SETTINGS, *SINKS)
