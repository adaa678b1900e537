"""A monitor of a ledger in a real Rekor, from the command line, through a rotation of shards."""

import contextlib
import json
import pathlib
import sqlite3

import pytest

from tests.system.rekor import rekor_v2, write_trust
from tests.system.test_outbox_rekor import Hub


class Watched(Hub):
    def monitor(self, command, *arguments, code=0):
        return self.call(
            "monitor", command, *arguments, "--config", str(self.folder / "monitor.toml"), code=code
        )

    def configure(self, *shards):
        text = (
            f'[[log]]\nname = "models"\nkind = "rekor-v2"\nshards = {json.dumps(list(shards))}\n'
            f'evidence = "{self.directory}/evidence"\ntrust = "{self.directory}/trust.toml"\n'
        )
        (self.folder / "monitor.toml").write_text(text)

    def states(self):
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "monitor.db")) as connection:
            return dict(connection.execute("SELECT state, count(*) FROM logged GROUP BY 1"))

    def change(self, revision):
        """Record a revision once more, with other files."""
        (self.model / "weights").write_bytes(b"other")
        arguments = (
            "record",
            self.directory,
            "acme/tiny",
            "--revision",
            revision,
            "--model",
            str(self.model),
        )
        return self.call(*arguments, "--event-id", f"again-{revision}")


@pytest.fixture
def hub(tmp_path, capsys):
    return Watched(tmp_path, capsys)


def test_a_ledger_in_a_real_rekor_is_watched_through_a_change_of_shards(hub, tmp_path):
    with (
        rekor_v2(tmp_path / "old", origin="old.example") as old,
        rekor_v2(tmp_path / "new", origin="new.example") as new,
    ):
        hub.init(*write_trust(tmp_path, [old.trusted]), read_url=old.read_url)
        hub.record("r1")
        hub.record("r2")
        hub.configure(old.read_url)
        hub.monitor("init", "--from", "genesis")
        looked = hub.monitor("once")
        assert (looked["logs"][0]["verifiedSize"], looked["findings"]) == (3, [])
        assert hub.states() == {"done": 3}
        hub.change("r1")
        found = hub.monitor("once", code=1)["findings"]
        assert [(each["kind"], each["leafIndex"]) for each in found] == [("revision-changed", 3)]
        old.freeze()
        rotate(hub, old, new)
        hub.record("r3")
        hub.configure(old.read_url, new.read_url)
        assert hub.monitor("init", "--from", "genesis")["begun"] == [{"log": "models.1", "size": 0}]
        hub.change("r2")
        found = hub.monitor("once", code=1)["findings"]
        assert [(each["kind"], each["leafIndex"], each["facts"]["shard"]) for each in found] == [
            ("revision-changed", 1, 1)
        ]
        assert hub.states() == {"done": 6}
        assert [(each["log"], each["verifiedSize"]) for each in hub.monitor("status")["logs"]] == [
            ("models", 4),
            ("models.1", 2),
        ]
        hub.monitor("resolve", "1", "2")
        assert hub.monitor("once")["findings"] == []


def rotate(hub, old, new):
    """Publish the new trust root and what else an operator changes when a shard is frozen."""
    write_trust(pathlib.Path(hub.directory, "trust"), [old.trusted, new.trusted])
    for name in ("trusted_root", "signing_config"):
        path = pathlib.Path(hub.directory, "trust", f"{name}.json")
        path.replace(path.with_name(f"{name.replace('_', '-')}.json"))
    settings = pathlib.Path(hub.directory, "hubledger.toml")
    settings.write_text(settings.read_text().replace(old.read_url, new.read_url))
    hub.add_shard(new.trusted)
