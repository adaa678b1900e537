"""A ledger in a real Rekor behind `hubledger serve`: recorded over HTTP, proven to a stranger, watched through the service."""

import json

import httpx
import pytest

from ledger.server.tokens import TokenFile
from tests.ledger.server.events import body, lines
from tests.system.rekor import rekor_v2, write_trust
from tests.system.service import serving
from tests.system.test_monitor_rekor import Watched


@pytest.fixture
def hub(tmp_path, capsys):
    return Watched(tmp_path, capsys)


def test_a_hub_records_over_http_and_a_stranger_verifies_and_a_monitor_watches(hub, tmp_path):
    with rekor_v2(tmp_path / "rekor", origin="rekor.example") as rekor:
        hub.init(*write_trust(tmp_path, [rekor.trusted]), read_url=rekor.read_url)
        token = TokenFile(tmp_path / "ledger").create(
            scopes=("record",), label="hub", now="2026-01-02T03:04:05Z"
        )
        with (
            serving(tmp_path / "ledger") as (url, _),
            httpx.Client(base_url=url, timeout=60, headers={"authorization": f"Bearer {token}"}) as client,
        ):
            found = client.post("/v1/events", json=body("u-1"))
            assert (found.status_code, found.json()["state"]) == (201, "logged"), found.text
            data = lines(*[body(f"b-{at}", revision=f"b{at}") for at in range(100)])
            answers = client.post(
                "/v1/events/batch",
                content=data,
                headers={"content-type": "application/x-ndjson"},
                params={"wait": "included"},
            ).text.splitlines()
            assert [json.loads(each)["state"] for each in answers] == ["logged"] * 100
            trust = ("--trust", hub.directory + "/trust.toml", "--log-only")
            for number, name, address, option in (
                (1, "e.sigstore.json", "bundle", "--bundle"),
                (57, "e.tlog-proof", "proof", "--proof"),
            ):
                (tmp_path / name).write_bytes(client.get(f"/v1/entries/{number}/{address}").content)
                assert hub.call("verify", option, str(tmp_path / name), *trust)["log"] == "INCLUDED_ONLY"
            shards = json.dumps([rekor.read_url])
            (tmp_path / "monitor.toml").write_text(
                f'[[log]]\nname = "models"\nkind = "rekor-v2"\nshards = {shards}\n'
                f'evidence = "{url}"\ntrust = "{hub.directory}/trust.toml"\n'
            )
            hub.monitor("init", "--from", "genesis")
            looked = hub.monitor("once")
            assert (looked["logs"][0]["verifiedSize"], looked["findings"]) == (102, [])
            assert hub.states() == {"done": 102}
        assert hub.call("outbox", "status", hub.directory)["pending"] == 0
        assert hub.call("log", "audit", hub.directory)["logged"] == 102
        assert hub.call("index", "check", hub.directory)["differences"] == []
