"""A service that shows more than the pin and leaves out the way there: another log, perhaps, and never a success."""

import json
import re
import shutil

import httpx
import pytest

from tests.client_faults.hub import NAME, Hub, between
from tests.system.service import serving


@pytest.fixture
def two_logs(tmp_path, capsys):
    """A hub whose log was copied after its first event, and went on in two ways."""
    hub = Hub(tmp_path / "hub")
    first = hub.sign("first")
    hub.record("r1", first)
    fork = shutil.copytree(hub.ledger, tmp_path / "fork")
    second = hub.sign("second", b"second")
    hub.record("r2", second)
    honest, hub.ledger = hub.ledger, fork
    for at in range(5):
        hub.record(f"x{at}", hub.sign(f"other{at}", bytes([at])), name="acme/other")
    evil = hub.sign("evil", b"evil")
    hub.record("r2-evil", evil)
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    capsys.readouterr()
    return honest, fork, first, second, evil, trust


@pytest.mark.parametrize("how", ["404 to who asks for the way there", "the way there left out"])
def test_a_fork_that_hides_the_link_is_no_success_and_moves_no_pin(hubledger, two_logs, data, how):
    honest, fork, first, second, evil, trust = two_logs

    def verify(model, url):
        code, out, err = hubledger("verify", model, "--name", NAME, "--trust", trust, "--url", url, "--json")
        return code, json.loads(out or err)

    with serving(honest, "--read-only") as (url, _):
        assert verify(first, url)[0] == 0
    before = {each.name: each.read_bytes() for each in (data / "pins").glob("*.json")}
    with serving(fork, "--read-only") as (url, _), between(url) as proxy:
        assert verify(evil, url)[0] == 14
        if how.startswith("404"):
            proxy.bend = lambda path: (404, b"no") if "since=" in path else None
        else:
            proxy.bend = lambda path: (200, httpx.get(url + without_since(path)).content)
        code, facts = verify(evil, proxy.url)
    assert code != 0, facts
    assert "link from your remembered checkpoint" in json.dumps(facts)
    assert {each.name: each.read_bytes() for each in (data / "pins").glob("*.json")} == before
    with serving(honest, "--read-only") as (url, _):
        assert verify(second, url)[0] == 0


def without_since(path):
    return re.sub("[&?]since=[0-9]+", "", path)
