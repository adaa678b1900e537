"""Refusals of what a monitor is told to look for."""

from dataclasses import replace

from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import TrustedLog
from ledger.errors import ConfigError, ProofError, SourceError
from ledger.tlog.trust_policy import TrustPolicy
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.rekor import Statements
from monitor.state import State
from tests.fakes.rekor import FakeTree
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


REKOR = LOG.replace('folder = "log"\n', 'kind = "rekor-v2"\nshards = ["a", "b"]\nevidence = "evidence"\n')


def _hub(scene, *, rekor):
    hub = Hub()
    hub.publish(scene.folder / "log")
    trust, tree = hub.world.trust(), FakeTree()
    if rekor:
        shard = TrustedLog(origin=tree.origin, keys=(tree.signer.verifier,))
        trust = replace(trust, origin="", policy=TrustPolicy(logs=(), witnesses=()), shards=(shard,))
    scene.write("trust.toml", format_trust(trust))


def _begun(scene, text, *, rekor=False, pinned=None):
    _hub(scene, rekor=rekor)
    return init(_config(scene, text), pinned={"models": pinned}, now=NOW)


def _find(scene, *, folder):
    """Look for a statement in evidence that cannot be read."""
    _begun(scene, REKOR.replace('"a", "b"', '"a"'), rekor=True)
    state = State(scene.folder / "state")
    scene.after.callback(state.close)
    if folder:
        (scene.folder / "evidence" / "00").mkdir(parents=True)
        (scene.folder / "evidence" / "00" / "stray").write_bytes(b"")
    return Statements("models", scene.folder / "evidence", state.logged).find([b"\0" * 32])


CASES = (
    refused(
        ConfigError,
        f"kind of log models: expected one of tiles, rekor-v2, rekor-v1, got rekor-v3. {AGAIN}",
        lambda scene: _config(scene, LOG + 'kind = "rekor-v3"\n'),
    ),
    refused(
        ConfigError,
        f"log models: expected shards and evidence, and no address of a log, got other settings. {AGAIN}",
        lambda scene: _config(scene, LOG + 'kind = "rekor-v2"\n'),
    ),
    refused(
        ConfigError,
        f"kind of log models: expected that of its trust file, got tiles, and a trust file for Rekor. {AGAIN}",
        lambda scene: _begun(scene, LOG, rekor=True),
    ),
    refused(
        ConfigError,
        f"shards of log models: expected 1, as in its trust file, got 2. {AGAIN}",
        lambda scene: _begun(scene, REKOR, rekor=True),
    ),
    refused(
        ConfigError,
        f"log models: expected genesis: histories go through all shards, got a checkpoint. {AGAIN}",
        lambda scene: _begun(scene, REKOR.replace('"a", "b"', '"a"'), rekor=True, pinned=b"x"),
    ),
    refused(
        SourceError,
        "evidence of models: expected the folder <folder>/evidence, got none. Make it reachable and readable, and try again",
        lambda scene: _find(scene, folder=False),
    ),
    refused(
        SourceError,
        "name of evidence 00/stray: expected 64 lower-case hex digits, got another name. Make it reachable and readable, and try again",
        lambda scene: _find(scene, folder=True),
    ),
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
        f"signers of rule mine: expected 64 hexadecimal digits, as `hubledger monitor findings` shows them, or an identity, as `hubledger history --json` does, got me. {AGAIN}",
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
