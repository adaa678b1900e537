"""Refusals of a monitor that follows a ledger in Rekor v1 by its hub's receipts."""

import json
from unittest import mock

from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import TrustedLog
from ledger.errors import ConfigError, SourceError
from ledger.tlog.trust_policy import TrustPolicy
from monitor import rekor_v1
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from tests.fakes.rekor import FakeTree
from tests.fakes.rekor_v1 import FakeRekorV1
from tests.fakes.web import answering
from tests.monitor.hub import Hub
from tests.monitor.test_rekor_v1 import Quiet, Scene
from tests.refusals.table import refused, turned
from tests.world import NOW

LOG = (
    '[[log]]\nname = "models"\nkind = "rekor-v1"\nshards = ["http://127.0.0.1:9"]\n'
    'evidence = "http://127.0.0.1:9"\ntrust = "trust.toml"\n'
)
AGAIN = "Correct what is named, and try again"


def _config(scene, text):
    return load_config(scene.write("monitor.toml", text.encode()))


def _shard_of_v2(scene):
    tree = FakeTree()
    shard = TrustedLog(origin=tree.origin, keys=(tree.signer.verifier,))
    trust = Hub().world.trust(origin="", policy=TrustPolicy(logs=(), witnesses=()), shards=(shard,))
    scene.write("trust.toml", format_trust(trust))
    config = _config(scene, LOG)
    init(config, pinned={"models": None}, now=NOW)
    with open_monitor(config, clock=lambda: NOW):
        pass


def _look(scene, said):
    """Look at a hub that says this of its listing, and shows nothing of it."""
    made = Scene(scene.folder, FakeRekorV1())
    made.answer = lambda path: (
        json.dumps({"ledger": made.trust.ledger, **said}).encode() if path == "/v1/log" else None
    )
    handler = type("Handler", (Quiet,), {"scene": made})
    with made.rekor.serve(), answering(handler) as made.url, mock.patch.object(rekor_v1, "MAX_MISSING", 2):
        return made.look()


CASES = (
    refused(
        ConfigError,
        f"shards of log models: expected an address, https://…, got folder. {AGAIN}",
        lambda scene: _config(scene, LOG.replace('["http://127.0.0.1:9"]', '["folder"]')),
    ),
    refused(
        ConfigError,
        f"log models: expected neither compare nor partial_wait: a Rekor v1 has no tiles, got one of them. {AGAIN}",
        lambda scene: _config(scene, LOG + "partial_wait = 3\n"),
    ),
    refused(
        ConfigError,
        "shard rekor.example of the trust file: expected the ECDSA key of a Rekor v1, got ED25519. "
        'Use kind = "rekor-v2" for a ledger in Rekor v2',
        _shard_of_v2,
    ),
    turned(
        SourceError,
        "listing of models: expected a size in /v1/log, got size of the listing: expected a whole number below 2^53, got None. "
        "Make it reachable and readable, and try again",
        lambda scene: _look(scene, {}),
    ),
    turned(
        SourceError,
        "receipts of the 1000 entries of models: expected less than 2 that are missing, got 256. "
        "Ask the hub why it lists entries that it shows no receipts of",
        lambda scene: _look(scene, {"size": 1000}),
    ),
)
