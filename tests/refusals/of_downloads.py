"""Refusals of downloads, before anything was downloaded."""

import sys
import types

import pytest

from ledger.client.huggingface import Verify, hf_hub_download, snapshot_download
from ledger.client.trust_store import Origin, StoredTrust
from ledger.client.trust_writing import format_trust
from ledger.errors import UsageError
from tests.refusals.table import refused
from tests.world import World

_TRUST = World().trust()
STORED = StoredTrust(data=format_trust(_TRUST), trust=_TRUST, source="", origin=Origin.CONFIRMED)


def _older(_):
    """A version of the library whose function has one parameter."""
    older = types.ModuleType("huggingface_hub")
    older.__version__, older.__path__ = "0.1.0", []
    older.snapshot_download = lambda repo_id: repo_id
    modules = {
        older.__name__: older,
        "huggingface_hub.constants": types.ModuleType("huggingface_hub.constants"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        snapshot_download("acme/tiny", max_workers=1, verify=Verify(trust=STORED))


PART = (
    "Verify(offline=True): expected a download of the whole model, got some of its files, for which the ledger is asked what the "
    "whole is. Download all of it with snapshot_download, or leave offline out"
)

CASES = (
    refused(
        UsageError,
        PART,
        lambda _: snapshot_download("acme/tiny", allow_patterns="*.bin", verify=Verify(offline=True)),
    ),
    refused(UsageError, PART, lambda _: hf_hub_download("acme/tiny", "x", verify=Verify(offline=True))),
    refused(
        UsageError,
        "max_workers: expected a parameter that huggingface_hub 0.1.0 has, got one of a newer version. Leave it out, or install "
        "a newer huggingface_hub",
        _older,
    ),
)
