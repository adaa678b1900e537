"""A monitor of a ledger in a real Rekor v1, by the receipts that `hubledger serve` shows: through an outage and a change of trees."""

import contextlib
import json
import sqlite3

import pytest

from tests.system.rekor_v1 import NAME, backend
from tests.system.service import serving
from tests.system.test_monitor_rekor import Watched


class WatchedV1(Watched):
    def configure(self, rekor, service):
        (self.folder / "monitor.toml").write_text(
            f'[[log]]\nname = "models"\nkind = "rekor-v1"\nshards = {json.dumps([rekor])}\n'
            f'evidence = "{service}"\ntrust = "{self.directory}/trust.toml"\n'
        )

    def checkpoints(self):
        """Size and whether it is consistent of every checkpoint that was seen, by tree."""
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "monitor.db")) as connection:
            return connection.execute("SELECT log, size, verified FROM checkpoints ORDER BY size").fetchall()


@pytest.fixture
def hub(tmp_path, capsys):
    return WatchedV1(tmp_path, capsys)


def look(hub, rekor, tmp_path, command="once", code=0):
    """Serve the ledger while the monitor looks; whoever records needs its lock."""
    with serving(tmp_path / "ledger") as (service, _):
        hub.configure(rekor.url, service)
        return hub.monitor(*command.split("/"), code=code)


def test_a_ledger_in_a_real_rekor_v1_is_watched_by_its_receipts(hub, tmp_path):
    with backend() as machinery:
        with machinery.server() as server:
            key, tree, port = server.key, server.tree, server.port
            hub.init(*server.write_trust(tmp_path), kind="rekor-v1")
            hub.record("r1")
            hub.record("r2")
            look(hub, server, tmp_path, "init/--from/genesis")
            looked = look(hub, server, tmp_path)
            assert (looked["logs"][0]["verifiedSize"], looked["logs"][0]["shownSize"]) == (3, 3)
            assert looked["findings"] == []
            assert hub.states() == {"done": 3}
            # Every checkpoint that a receipt has is consistent with the newest.
            assert {(log, ok) for log, _, ok in hub.checkpoints()} == {(f"models {NAME} - {tree}", 1)}
            assert hub.checkpoints()[-1][1] == 3
            hub.change("r1")
            found = look(hub, server, tmp_path, code=1)["findings"]
            assert [(each["kind"], each["leafIndex"]) for each in found] == [("revision-changed", 3)]
            hub.monitor("resolve", "1")
        hub.record("r3", "--no-wait")  # the log is away: what is accepted has no receipt
        away = look(hub, server, tmp_path, code=3)
        assert [each["kind"] for each in away["findings"]] == ["log-unreachable"]
        # It comes back under the same key, and goes on in another tree.
        with machinery.server(key=key, inactive=(tree,), port=port) as server:
            assert hub.call("outbox", "retry", hub.directory, "--seconds", "60")["pending"] == 0
            assert look(hub, server, tmp_path)["logs"][0]["verifiedSize"] == 5
            (status,) = hub.monitor("status")["logs"]
            assert (status["log"], status["verifiedSize"], "problem" in status) == ("models", 5, False)
            trees = {f"models {NAME} - {tree}", f"models {NAME} - {server.tree}"}
            assert {(log, ok) for log, _, ok in hub.checkpoints()} == {(each, 1) for each in trees}


def test_another_log_at_the_address_is_not_believed(hub, tmp_path):
    with backend() as machinery, machinery.server() as server, machinery.server() as other:
        hub.init(*server.write_trust(tmp_path), kind="rekor-v1")
        hub.record("r1")
        with serving(tmp_path / "ledger") as (service, _):
            hub.configure(other.url, service)
            hub.monitor("init", "--from", "genesis")
            found = hub.monitor("once", code=1)["findings"]
            assert [each["kind"] for each in found] == ["log-key-refused"]
            assert hub.checkpoints() == []
            hub.configure(server.url, service)
            hub.monitor("resolve", "1")
            assert hub.monitor("once")["logs"][0]["verifiedSize"] == 2
