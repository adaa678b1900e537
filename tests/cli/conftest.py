"""What the tests of the commands share."""

import pytest


@pytest.fixture
def ledger(hubledger, tmp_path):
    """A new ledger."""
    folder = tmp_path / "ledger"
    assert hubledger("init", folder, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    return folder
