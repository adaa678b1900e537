"""Refusals of what a monitor is told to look for."""

from ledger.errors import ConfigError, ProofError
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from tests.monitor.hub import Hub
from tests.refusals.table import refused, turned
from tests.world import NOW, key_signer, signed_by

LOG = '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
SINK = '[[sink]]\nname = "pager"\nhooks = "hooks.d"\n'
RULE = '[[watch]]\nname = "mine"\nsinks = ["pager"]\n'
AGAIN = "Correct what is named, and try again"


def _others(scene):
    """A log that serves other entries than were replayed, when a rule about a signer is new."""
    hub = Hub()
    hub.record(signed_by(key_signer("a")))
    hub.publish(scene.folder / "log")
    hub.trust_file(scene.folder / "trust.toml")
    init(_config(scene, LOG + SINK), pinned={"models": None}, now=NOW)
    with open_monitor(_config(scene, LOG + SINK), clock=lambda: NOW) as monitor:
        monitor.look()
    other = hub.fork(0)
    other.record(signed_by(key_signer("b")))
    other.publish(scene.folder / "log", note=hub.world.checkpoint(None))
    rule = RULE + f'signers = ["{"0" * 64}"]\n'
    with open_monitor(_config(scene, LOG + SINK + rule), clock=lambda: NOW) as monitor:
        return monitor.look()


def _config(scene, text):
    return load_config(scene.write("monitor.toml", text.encode()))


CASES = (
    refused(
        ConfigError,
        "revoked_signers of log models: expected 64 hexadecimal digits, got ab. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + 'revoked_signers = ["ab"]\n'),
    ),
    refused(
        ConfigError,
        f"setting watch.name of the monitor: expected small letters, digits and hyphens, got Mine. {AGAIN}",
        lambda scene: _config(scene, LOG + SINK + RULE.replace("mine", "Mine")),
    ),
    refused(
        ConfigError,
        f"sinks of rule mine: expected a sink, got none. {AGAIN}",
        lambda scene: _config(scene, LOG + SINK + RULE.replace('"pager"', "")),
    ),
    refused(
        ConfigError,
        f"sinks of rule mine: expected names of sinks of this file, got other. {AGAIN}",
        lambda scene: _config(scene, LOG + SINK + RULE.replace("pager", "other")),
    ),
    refused(
        ConfigError,
        f"severity of rule mine: expected one of info, low, medium, high, critical, got loud. {AGAIN}",
        lambda scene: _config(scene, LOG + SINK + RULE + 'severity = "loud"\n'),
    ),
    refused(
        ConfigError,
        f"signers of rule mine: expected 64 hexadecimal digits, or an identity as `--json` shows it, got me. {AGAIN}",
        lambda scene: _config(scene, LOG + SINK + RULE + 'signers = ["me"]\n'),
    ),
    refused(
        ConfigError,
        f"settings of the monitor: expected at most 100 tables [[watch]], got 101. {AGAIN}",
        lambda scene: _config(
            scene, LOG + SINK + "".join(RULE.replace("mine", f"rule-{at}") for at in range(101))
        ),
    ),
    refused(
        ConfigError,
        "sink pager: expected filters of its own or a rule that names it, got both. Put what it wants to know into its rules",
        lambda scene: _config(scene, LOG + SINK + 'severity = "high"\n' + RULE),
    ),
    turned(
        ProofError,
        "entries 0 to 1 of models: expected those that were replayed, got others. Fetch it again, from another mirror if there is one; do not use it as it is",
        _others,
    ),
)
