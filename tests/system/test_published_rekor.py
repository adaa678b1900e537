"""What a monitor publishes of ledgers in a real Rekor v2 and a real Rekor v1, checked from the command line as a reader does."""

import json
import pathlib
from dataclasses import replace

from ledger.client.trust import parse_trust
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.verify import check_proof
from ledger.client.vouching import Stated
from ledger.monitor_statement import verify_monitor_statement
from ledger.tlog.signed_note import VerifierKey
from monitor.publish import layout
from tests.system.rekor import rekor_v2, write_trust
from tests.system.rekor_v1 import backend
from tests.system.service import serving
from tests.system.test_monitor_rekor import Watched, rotate
from tests.system.test_monitor_rekor_v1 import WatchedV1

PUBLISH = '[publish]\nfolder = "public"\nkey = "monitor.key"\n'


class _Reader:
    """What a reader of the published folder has: the folder, a trust file, and this program."""

    def configure(self, *where):
        super().configure(*where)
        path = self.folder / "monitor.toml"
        path.write_text(path.read_text() + PUBLISH)

    def public(self, path):
        return self.folder / "public" / path

    def rows(self):
        page = self.public(layout.of_model("models", "acme/tiny", "history.json"))
        return json.loads(page.read_bytes())["rows"]

    def verify(self, form, file):
        found = self.call("verify", form, str(file), "--trust", f"{self.directory}/trust.toml", "--log-only")
        assert found["log"] == "INCLUDED_ONLY"
        return found["event"]["revision"]


class Published(_Reader, Watched):
    def verified(self):
        """Take every proof out of the packs and check it; returns the revisions."""
        found = []
        for number in (each["number"] for each in self.rows()):
            out = self.folder / f"{number}.tlog-proof"
            self.call("proof", str(self.public("models")), str(number), "--published", "-o", str(out))
            found.append(self.verify("--proof", out))
        return found


class PublishedV1(_Reader, WatchedV1):
    pass


def test_a_ledger_in_a_real_rekor_is_published_through_a_change_of_shards(tmp_path, capsys):
    hub = Published(tmp_path, capsys)
    with (
        rekor_v2(tmp_path / "old", origin="old.example") as old,
        rekor_v2(tmp_path / "new", origin="new.example") as new,
    ):
        hub.init(*write_trust(tmp_path, [old.trusted]), read_url=old.read_url)
        hub.record("r1")
        hub.record("r2")
        hub.configure(old.read_url)
        vkey = hub.monitor("key", "monitor.example")["vkey"]
        hub.monitor("init", "--from", "genesis")
        hub.monitor("once")
        assert hub.verified() == ["r1", "r2"]
        assert hub.verify("--proof", hub.public(latest("latest.tlog-proof"))) == "r2"
        old.freeze()
        rotate(hub, old, new)
        hub.record("r3")
        hub.configure(old.read_url, new.read_url)
        hub.monitor("init", "--from", "genesis")
        hub.monitor("once")
        assert [(each["shard"], each["revision"]) for each in hub.rows()] == [(0, "r1"), (0, "r2"), (1, "r3")]
        assert hub.verified() == ["r1", "r2", "r3"]
        (log,) = json.loads(hub.public("index.json").read_bytes())["logs"]
        for shard, origin in zip(log["shards"], ("old.example", "new.example"), strict=True):
            note = hub.public(shard["statement"]).read_bytes()
            statement = verify_monitor_statement(note, vkeys=[VerifierKey.parse(vkey)])
            assert (statement.origin, statement.size) == (origin, shard["size"])
            assert (statement.histories, statement.log) == ((), None)
        newest = hub.public(latest("latest.tlog-proof"))
        assert vouched(hub, newest, hub.public("models/statement"), vkey)
        assert not vouched(hub, newest, hub.public("models/shards/0/statement"), vkey)


def latest(name):
    return layout.of_model("models", "acme/tiny", name)


def vouched(hub, proof, statement, vkey):
    """Whether a client that requires the monitor's word is content with this statement beside this proof."""
    trust = parse_trust(pathlib.Path(hub.directory, "trust.toml").read_bytes())
    monitors = (TrustedMonitor(key=VerifierKey.parse(vkey), max_age=3600),)
    trust = replace(trust, monitors=monitors, require="audited")
    note = statement.read_bytes()
    checked = verify_monitor_statement(note, vkeys=[VerifierKey.parse(vkey)]).checked_at
    data = proof.read_bytes()
    result = check_proof(data, trust=trust, now=checked, log_only=True, stated=[Stated(note=note)])
    return result.log_satisfied


def test_a_ledger_in_a_real_rekor_v1_is_published_by_its_receipts(tmp_path, capsys):
    hub = PublishedV1(tmp_path, capsys)
    with backend() as machinery, machinery.server() as server:
        hub.init(*server.write_trust(tmp_path), kind="rekor-v1")
        hub.record("r1")
        hub.record("r2")
        with serving(tmp_path / "ledger") as (service, _):
            hub.configure(server.url, service)
            hub.monitor("key", "monitor.example")
            hub.monitor("init", "--from", "genesis")
            hub.monitor("once")
        assert [each["revision"] for each in hub.rows()] == ["r1", "r2"]
        assert [hub.verify("--bundle", hub.public(each["proof"])) for each in hub.rows()] == ["r1", "r2"]
        assert hub.verify("--bundle", hub.public(latest("latest.sigstore.json"))) == "r2"
        (log,) = json.loads(hub.public("index.json").read_bytes())["logs"]
        assert (log["kind"], log["entries"], log["models"]) == ("rekor-v1", 3, 1)
