"""Refusals of what a monitor is told to look for."""

from ledger.errors import ConfigError
from monitor.config import load_config
from tests.refusals.table import refused

LOG = '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'


def _config(scene, text):
    return load_config(scene.write("monitor.toml", text.encode()))


CASES = (
    refused(
        ConfigError,
        "revoked_signers of log models: expected 64 hexadecimal digits, got ab. Correct what is named, and try again",
        lambda scene: _config(scene, LOG + 'revoked_signers = ["ab"]\n'),
    ),
)
