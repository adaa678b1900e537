"""What is published of a ledger in Rekor v1: what receipts prove, each with its receipt, and no word on what nobody could see."""

import json

import pytest

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.client.event_bundle import check_event_bundle
from ledger.client.result import LogResult
from ledger.client.trust import parse_trust
from ledger.errors import NotFoundError
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.publish import layout
from monitor.publish.packs import fetch_proof, open_published
from monitor.publish.publishing import make_key, publish
from tests.fakes.rekor_v1 import FakeRekorV1
from tests.fakes.web import answering
from tests.monitor.publish.test_rekor import PUBLISH
from tests.monitor.test_rekor_v1 import A, B, Quiet, Scene


class Published(Scene):
    """A scene whose monitor publishes."""

    def configure(self):
        super().configure()
        path = self.folder / "monitor.toml"
        path.write_text(path.read_text() + PUBLISH)
        return load_config(path)

    def step(self, *, look=True):
        config = self.configure()
        init(config, pinned={"models": None}, now=self.time)
        with open_monitor(config, clock=lambda: self.time) as monitor:
            if look:
                monitor.look()
            return publish(config, monitor.state, now=self.time)

    def read(self, path):
        return (self.folder / "public" / path).read_bytes()

    def history(self, name="acme/model"):
        return json.loads(self.read(layout.of_model("models", name, "history.json")))

    def check(self, bundle):
        trust = parse_trust((self.folder / "trust.toml").read_bytes())
        result = check_event_bundle(parse_any_bundle(bundle), trust=trust, now=self.time, log_only=True)
        assert result.log is LogResult.INCLUDED_ONLY, result.failure
        return result.event.model.revision


@pytest.fixture
def scene(tmp_path):
    made = Published(tmp_path, FakeRekorV1())
    make_key(tmp_path / "monitor.key", "monitor.example", b"\1" * 32)
    with made.rekor.serve(), answering(type("Handler", (Quiet,), {"scene": made})) as made.url:
        yield made


def record(scene, *signers):
    for signer in signers:
        scene.hub.record(signer, revision=str(len(scene.hub.world.entries)))


def test_each_entry_is_published_with_its_receipt_in_the_order_of_the_chain(scene):
    record(scene, A, A, B)
    scene.strangers(4)
    for at in (1, 0, 2):
        scene.log(at)
    assert scene.step().sizes == {"models": 3}
    history = scene.history()
    assert [(each["revision"], each["leafIndex"]) for each in history["rows"]] == [
        ("0", 5),
        ("1", 4),
        ("2", 6),
    ]
    assert history["changes"] == [2]
    for each in history["rows"]:
        assert scene.read(each["proof"]) == scene.receipts[int(each["revision"])]
        assert scene.check(scene.read(each["proof"])) == each["revision"]
    latest = scene.read(layout.of_model("models", "acme/model", "latest.sigstore.json"))
    assert scene.check(latest) == "2"
    page = scene.read(layout.of_model("models", "acme/model")).decode()
    assert "latest.sigstore.json" in page
    assert "2.sigstore.json" in page
    (finding,) = json.loads(scene.read("findings/findings.json"))["findings"]
    assert (finding["kind"], history["openFindings"]) == ("signer-changed", [finding["number"]])


def test_no_statement_is_signed_of_what_nobody_replayed(scene):
    record(scene, A)
    scene.log(0)
    scene.step()
    (log,) = json.loads(scene.read("index.json"))["logs"]
    assert (log["kind"], log["entries"], "statement" in log) == ("rekor-v1", 1, False)
    assert not list((scene.folder / "public").rglob("statement"))
    assert "signs no statement" in scene.read("models/index.html").decode()


def test_who_looks_for_a_proof_in_a_pack_is_told_where_the_bundle_is(scene):
    record(scene, A)
    scene.log(0)
    scene.step()
    public = scene.folder / "public" / "models"
    with pytest.raises(NotFoundError, match="proof of entry 0") as caught:
        fetch_proof(open_published(str(public)), 0)
    assert caught.value.next_step.endswith(" bundles/000/000/000/0.sigstore.json")
    assert scene.check((public / caught.value.next_step.split()[-1]).read_bytes()) == "0"


def test_an_entry_whose_receipt_came_late_is_published_when_it_is_there(scene):
    record(scene, A, A)
    scene.log(1)
    scene.step()
    assert scene.step().sizes == {"models": 0}
    scene.log(0)
    scene.step()
    assert [each["revision"] for each in scene.history()["rows"]] == ["0", "1"]


def test_a_receipt_that_the_monitor_did_not_hold_against_the_log_is_not_published(scene):
    record(scene, A)
    leaf = scene.log(0)
    config = scene.configure()
    init(config, pinned={"models": None}, now=scene.time)
    with open_monitor(config, clock=lambda: scene.time) as monitor:
        monitor.look()
    # The hub shows another receipt to whoever asks later, of a tree that the monitor has not seen.
    before = scene.receipts[0]
    scene.strangers(3)
    scene.receipts[0] = scene.receipt(0, leaf)
    assert scene.check(scene.receipts[0]) == "0"
    assert scene.step(look=False).sizes == {"models": 0}
    scene.receipts[0] = b"{}"
    assert scene.step(look=False).sizes == {"models": 0}
    scene.receipts[0] = before
    assert scene.step(look=False).sizes == {"models": 1}


def test_a_hub_that_is_away_is_said_and_what_was_published_stays(scene):
    record(scene, A)
    scene.log(0)
    scene.step()
    record(scene, B)
    scene.log(1)
    config = scene.configure()
    with open_monitor(config, clock=lambda: scene.time) as monitor:
        monitor.look()
        url, scene.url = scene.url, "http://127.0.0.1:9"
        came = publish(scene.configure(), monitor.state, now=scene.time)
        scene.url = url
    assert came.sizes == {"models": 1}
    assert "models" in came.problems
    scene.step()
    assert scene.history()["changes"] == [1]
