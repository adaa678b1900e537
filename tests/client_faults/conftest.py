"""A hub whose service is started once for each module, and a user for each test."""

import shutil

import pytest

from tests.client_faults.hub import Hub, between
from tests.system.service import serving


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    """Evidence is written where the user is."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Three events: a revision of the model, another model, and the next revision. ``hub.old`` and ``hub.new`` are their files.

    ``hub.early`` is the ledger as it was before the third.
    """
    made = Hub(tmp_path_factory.mktemp("hub"))
    made.old, made.new = made.sign("old", b"old"), made.sign("new", b"new")
    made.record("r1", made.old)
    made.record("r1", made.sign("other", b"other"), name="acme/other")
    made.early = shutil.copytree(made.ledger, made.folder / "early")
    made.record("r2", made.new)
    return made


@pytest.fixture(scope="module")
def service(hub):
    """The address of the hub's service."""
    with serving(hub.ledger, "--read-only") as (url, _):
        yield url


@pytest.fixture(scope="module")
def early(hub):
    """The address of a service that shows the ledger as it was before the last event."""
    with serving(hub.early, "--read-only") as (url, _):
        yield url


@pytest.fixture
def proxy(service):
    """What stands between the user and the service."""
    with between(service) as made:
        yield made


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """The user's folder."""
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"
