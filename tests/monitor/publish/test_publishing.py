"""What is published: all that was verified, once, and nothing before it is there."""

import json
import posixpath
import shutil
import xml.etree.ElementTree as ET

import pytest

from ledger.client.result import LogResult
from ledger.client.verify import check_proof
from ledger.errors import WriterLockedError
from ledger.event import escape_name
from ledger.log.lock import writer_lock
from ledger.open_findings import MAX_HISTORIES
from ledger.tlog.proof import parse_proof
from monitor.daemon import open_monitor
from monitor.publish import layout, names, placing, publishing
from monitor.publish.packs import fetch_proof, open_published, parse_pack
from monitor.publish.publishing import make_key, publish
from monitor.publish.store import MODEL, Store
from monitor.publish.writing import ASIDE
from tests.monitor.publish.scene import SETTINGS, Publication, found_everywhere
from tests.world import NOW, key_signer, signed_by, sigstore_signer

A, B, S = signed_by(key_signer("a")), signed_by(key_signer("b")), signed_by(sigstore_signer())
HOSTILE = (
    "../../etc/passwd",
    "con",
    "ACME/Model",
    "%3Cscript%3E",
    "<script>alert(1)</script>",
    "\"'&{{7*7}}",
    "a" * 180 + "%~" + "0" * 64,
)


@pytest.fixture
def published(tmp_path):
    return Publication(tmp_path).begin()


def proof_of(published, leaf_index):
    """The proof of an entry, as a reader of the folder takes it out."""
    return fetch_proof(open_published(str(published.public / "models")), leaf_index)[0]


def check(published, leaf_index):
    proof = proof_of(published, leaf_index)
    result = check_proof(proof, trust=published.hub.world.trust(), now=NOW, files=None)
    assert result.event.common.event_id == f"event-{leaf_index}"
    return result.log


def test_every_entry_has_a_proof_that_verifies_and_is_never_written_again(published):
    for at in range(5):
        published.hub.record(A, revision=str(at))
    published.step(3)
    before = {at: proof_of(published, at) for at in range(3)}
    published.step()
    for at in range(5):
        proof = proof_of(published, at)
        assert check(published, at) is LogResult.INCLUDED_ONLY
        assert proof == before.get(at, proof)
    latest = published.read(layout.of_model("models", "acme/model", "latest.tlog-proof"))
    assert latest == proof_of(published, 4)


def test_proofs_verify_across_tiles_and_for_every_shape_of_the_tree(published):
    for at in range(515):
        published.hub.record(A, revision=str(at), name=f"acme/{at % 7}")
    for size in (1, 2, 255, 256, 257, 511, 512, 515):
        published.step(size)
    assert {check(published, at) for at in range(515)} == {LogResult.INCLUDED_ONLY}


def test_history_says_who_signed_and_what_changed(published):
    published.hub.record(A, revision="one")
    published.hub.record(B, revision="two")
    published.step()
    history = published.history()
    assert [each["word"] for each in history["rows"]] == ["Signed by", "Signer changed"]
    assert history["changes"] == [1]
    assert history["openFindings"] == [2]
    assert "Signer changed" in published.page()
    assert published.json("findings/findings.json")["findings"][0]["kind"] == "signer-changed"


def test_the_statement_is_about_what_is_there_and_says_what_is_open(published):
    published.hub.record(A, revision="one", repo_id="r1")
    published.hub.record(B, revision="two", repo_id="r1")
    published.step()
    statement = published.statement()
    assert (statement.size, statement.root_hash) == (2, published.hub.world.tree(2).root_hash)
    assert statement.checked_at == published.now
    assert statement.open_for(["name:acme/model"]).count == statement.open_for(["repo:r1"]).count == 1
    assert statement.open_for(["name:acme/other"]) is None
    published.resolve(2)
    published.now += 60
    published.step()
    assert published.statement().histories == ()
    assert published.statement().checked_at == published.now
    assert published.history()["openFindings"] == []


def test_no_note_of_the_operator_and_no_path_is_published(published):
    published.hub.record(A, revision="one")
    published.hub.record(B, revision="two")
    published.step()
    published.resolve(2)
    published.step()
    everything = b"".join(path.read_bytes() for path in published.public.rglob("*") if path.is_file())
    assert b"private note" not in everything
    assert str(published.folder).encode() not in everything


def test_evidence_of_a_forked_log_is_published_and_stops_no_publication(published):
    for at in range(4):
        published.hub.record(A, revision=str(at))
    published.step()
    other = published.hub.fork(3)
    other.record(B, revision="other")
    other.record(B, revision="more")
    other.publish(published.folder / "log")
    published.now += 100
    published.step(serve=False)
    (found,) = [
        each for each in published.json("findings/findings.json")["findings"] if each["class"] == "tamper"
    ]
    evidence = published.read(f"evidence/{found['evidence']}")
    assert json.loads(evidence)["kind"] == "https://hubledger/misbehaviour/v1"
    statement = published.statement()
    assert statement.size == 4
    assert statement.log.kind == "tamper"
    assert statement.checked_at == published.now - 100  # what could not be checked is not called checked


def test_entries_that_are_not_served_again_hide_no_finding(published):
    published.hub.record(A, revision="one", repo_id="r1")
    published.step()
    published.hub.record(B, revision="two", repo_id="r1")
    published.hub.publish(published.folder / "log")
    with open_monitor(published.config, clock=lambda: published.now) as monitor:
        monitor.look()
        shutil.rmtree(published.folder / "log/tile")
        done = publish(published.config, monitor.state, now=NOW)
    assert done.sizes == {"models": 1}
    assert "models" in done.problems
    assert published.statement().size == 1
    # Which history it is about cannot be read again, so it counts for the whole log.
    assert published.statement().open_for(["name:acme/model"]).kind == "finding"
    assert published.statement().open_for(["repo:r1"]) is None
    published.step()
    assert published.statement().size == 2
    assert published.statement().open_for(["repo:r1"]).kind == "finding"


def test_what_is_open_is_shown_as_it_stands_and_the_rest_stays(published):
    for name in ("acme/one", "acme/two"):
        published.hub.record(A, name=name)
        published.hub.record(B, name=name, revision="two")
    published.step()
    before = published.contents()
    (number,) = published.history("acme/one")["openFindings"]
    published.move(number, to="acknowledged")
    published.step(serve=False)
    assert "acknowledged" in published.page("acme/one")
    assert published.history("acme/one")["openFindings"] == [number]
    assert published.statement().open_for(["name:acme/one"]).count == 1
    published.move(number, to="resolved")
    published.step(serve=False)
    assert published.history("acme/one")["openFindings"] == []
    assert "acknowledged" not in published.page("acme/one")
    assert published.statement().open_for(["name:acme/one"]) is None
    assert published.statement().open_for(["name:acme/two"]).count == 1
    other = layout.of_model("models", "acme/two")
    assert published.contents()[other] == before[other]
    states = {each["number"]: each["state"] for each in published.json("findings/findings.json")["findings"]}
    assert states[number] == "resolved"


def test_what_is_shown_is_of_this_memory_whatever_was_published_from_another(published):
    """A monitor that begins anew beside what it published: the same number may be another finding then."""
    for name in ("acme/one", "acme/two"):
        published.hub.record(A, name=name)
        published.hub.record(B, name=name, revision="two")
    published.step()
    numbers = [published.history(name)["openFindings"] for name in ("acme/one", "acme/two")]
    for each in published.config.folder.glob("monitor.db*"):
        each.unlink()
    published.begin()
    shutil.rmtree(published.folder / "log")
    for seconds in (0, -1000):  # it cannot be read, and the clock goes back: two findings before all others
        published.now += seconds
        published.step(serve=False)
    published.step()
    assert published.history("acme/one")["openFindings"] == numbers[1] != numbers[0]
    for name in ("acme/one", "acme/two"):
        assert published.statement().open_for([f"name:{name}"]).count == 1
        (number,) = published.history(name)["openFindings"]
        assert f"number {number} " in published.page(name)


def test_bytes_that_were_not_verified_are_not_published(published):
    published.hub.record(A, revision="one")
    published.step()
    published.hub.record(A, revision="two")
    published.hub.publish(published.folder / "log")
    with open_monitor(published.config, clock=lambda: published.now) as monitor:
        monitor.look()
        other = published.hub.fork(1)
        other.record(B, revision="other")
        other.publish(published.folder / "log", note=published.hub.world.checkpoint())
        done = publish(published.config, monitor.state, now=NOW)
    assert (
        "the entries that were verified" in done.problems["models"] or "verified" in done.problems["models"]
    )
    assert [each["revision"] for each in published.history()["rows"]] == ["one"]


def test_nothing_is_written_when_nothing_is_new(published):
    published.hub.record(A)
    published.step()
    before = published.contents()
    assert published.step().files == 0
    assert published.contents() == before


def test_only_what_changed_is_written(published):
    for at in range(40):
        published.hub.record(A, revision=str(at), name=f"acme/{at}")
    published.step()
    before = published.contents()
    published.hub.record(A, revision="new", name="acme/3")
    published.step()
    changed = {path for path, digest in published.contents().items() if before.get(path) != digest}
    folder = layout.of_model("models", "acme/3", "")
    assert {path for path in changed if path.startswith("models/models/")} == {
        f"{folder}{each}" for each in ("feed.atom", "history.json", "index.html", "latest.tlog-proof")
    }
    assert len([path for path in changed if "/proofs/" in path]) == 1


def test_a_folder_that_was_removed_is_made_again_as_it_was(published):
    for at in range(3):
        published.hub.record(A, revision=str(at))
    published.step()
    before = published.contents()
    shutil.rmtree(published.public)
    published.step()
    after = published.contents()
    assert before.pop(layout.OWNER) != after.pop(layout.OWNER)
    assert after == before


def test_a_store_that_is_gone_or_damaged_is_made_again(published):
    for at in range(3):
        published.hub.record(A, revision=str(at))
    published.step()
    before = published.contents()
    for data in (None, b"no database" * 1000):
        path = published.folder / "state/publish.db"
        for each in path.parent.glob("publish.db*"):
            each.unlink()
        if data:
            path.write_bytes(data)
        published.step()
        assert {**published.contents(), layout.OWNER: ""} == {**before, layout.OWNER: ""}


def test_old_events_of_a_model_lie_in_pages_that_are_written_once(published, monkeypatch):
    for module in ("monitor.publish.listings", "monitor.publish.store", "monitor.publish.publishing"):
        monkeypatch.setattr(f"{module}.CHUNK", 4)
    for at in range(17):
        published.hub.record(A, revision=str(at))
    for size in (8, 9, 13, 17):
        published.step(size)
    history = published.history()
    assert (history["entries"], history["first"], history["older"]) == (17, 12, "history-2.json")
    seen = [each["leafIndex"] for each in history["rows"]]
    while "older" in history:
        history = published.json(layout.of_model("models", "acme/model", history["older"]))
        seen = [each["leafIndex"] for each in history["rows"]] + seen
    assert seen == list(range(17))
    assert 'href="history-2.html"' in published.page()


def test_hostile_names_stay_in_the_folder_and_are_shown_as_text(published):
    for at, name in enumerate(HOSTILE):
        published.hub.record(A, revision=str(at), name=name)
    published.hub.record(A, revision="x", name="acme/model")
    published.step()
    for name in HOSTILE:
        history = published.history(name)
        assert (history["name"], history["entries"]) == (name, 1)
        assert "<script>alert" not in published.page(name)
    folders = {layout.of_model("models", name).casefold() for name in (*HOSTILE, "acme/model")}
    assert len(folders) == len(HOSTILE) + 1
    for path in published.public.rglob("*"):
        assert path.resolve().is_relative_to(published.public.resolve())
        assert len(path.name.encode()) <= 255
    text = published.read("models/feed.atom").decode()
    assert len(ET.fromstring(text).findall("{http://www.w3.org/2005/Atom}entry")) == len(HOSTILE) + 1  # noqa: S314


def test_no_page_loads_or_runs_anything_from_elsewhere(published):
    published.hub.record(A, revision="1", name=HOSTILE[4])
    published.hub.record(S, revision="2", name=HOSTILE[4])
    published.step()
    pages = list(published.public.rglob("*.html"))
    assert len(pages) >= 6
    for path in pages:
        text = path.read_text()
        assert "default-src 'none'; style-src 'self'" in text
        assert "<script" not in text
        assert "javascript:" not in text
        assert not [each for each in ('src="', "style=", "onload", 'http-equiv="refresh') if each in text]
        for link in text.split('href="')[1:]:
            target = link.split('"', 1)[0].partition("#")[0]
            assert (path.parent / target).exists(), (path, target)


def test_feeds_are_per_log_model_and_signer_with_absolute_links_where_an_address_is_set(tmp_path):
    published = Publication(tmp_path, settings=SETTINGS + 'url = "https://monitor.example/p"\n').begin()
    published.hub.record(A, revision="1")
    published.hub.record(B, revision="2")
    published.step()
    (signer,) = {each["identity"] for each in published.history()["rows"][1]["signers"]}
    address = "https://monitor.example/p/models/models/"
    for path, count in (
        ("models/feed.atom", 2),
        (layout.of_model("models", "acme/model", "feed.atom"), 2),
        (layout.of_signer("models", signer), 1),
    ):
        links = ET.fromstring(published.read(path)).iter("{http://www.w3.org/2005/Atom}link")  # noqa: S314
        found = [each.get("href") for each in links]
        assert len(found) == count
        assert all(each.startswith(address) for each in found)
    feed = published.json("models/feed.json")
    assert len(feed["items"]) == 2
    assert feed["items"][0]["url"].startswith(address)


def test_other_pages_are_due_when_they_look_another_way(published):
    published.hub.record(A)
    published.step()
    settings = published.folder / "monitor.toml"
    settings.write_text(SETTINGS + 'url = "https://monitor.example"\n')
    assert published.step().files > 0
    feed = published.read(layout.of_model("models", "acme/model", "feed.atom"))
    assert b'href="https://monitor.example/' in feed


def test_a_log_that_is_followed_from_a_checkpoint_is_published_without_a_statement(tmp_path):
    published = Publication(tmp_path)
    for at in range(6):
        published.hub.record(A, revision=str(at))
    published.hub.publish(tmp_path / "log", 4)
    published.begin(pinned=published.hub.world.checkpoint(4))
    published.step()
    assert [each["leafIndex"] for each in published.history()["rows"]] == [4, 5]
    assert check(published, 5) is LogResult.INCLUDED_ONLY
    # It would say of entries that nobody looked at here that they were verified.
    assert not (published.public / "models/statement").exists()
    assert "statement" not in published.json("index.json")["logs"][0]


def test_an_empty_log_has_pages_and_a_statement(published):
    published.step(0)
    assert published.statement().size == 0
    assert "No model is recorded yet" in published.read("index.html").decode()


def test_left_over_files_are_removed_and_never_shown(published):
    aside = published.public / ASIDE
    aside.mkdir(parents=True)
    (aside / "7").write_bytes(b"half a file")
    published.step(0)
    assert [each for each in aside.rglob("*") if each.is_file()] == []


def test_two_publications_do_not_mix(published, monkeypatch):
    monkeypatch.setattr(publishing, "LOCK_SECONDS", 0.0)
    published.step(0)
    with writer_lock(published.folder / "state/publish.lock"), pytest.raises(WriterLockedError):
        published.step(0)


def test_names_are_found_by_prefix(published, monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMES", 5)
    for at in range(30):
        published.hub.record(A, revision=str(at), name=f"acme/{at:02d}")
    for size in (3, 20, 30):
        published.step(size)
    page = published.read(layout.of_names("models", "")).decode()
    assert "acme/0…" in page.replace("</bdi>", "")
    inner = published.read(layout.of_names("models", "acme/2")).decode()
    assert "acme/2" in inner


def test_a_finding_about_a_model_that_was_never_recorded_stops_no_publication(published):
    published.hub.record(A)
    published.step()
    store = Store(published.folder / "state", token="")
    store.mark("models", MODEL, ["acme/never"])
    store.close()
    assert published.step().problems == {}
    assert not (published.public / layout.of_model("models", "acme/never")).exists()


def test_a_pack_is_filled_and_what_was_in_it_stays(published):
    for at in range(layout.PACK + 3):
        published.hub.record(A, revision=str(at), name=f"acme/{at % 3}")
    for size in (3, layout.PACK + 1, layout.PACK + 3):
        published.step(size)
    packs = sorted((published.public / "models/proofs").rglob("*.jsonl"), key=lambda each: int(each.stem))
    assert [list(parse_pack(each.read_bytes())) for each in packs] == [
        list(range(layout.PACK)),
        list(range(layout.PACK, layout.PACK + 3)),
    ]
    sizes = [
        parse_proof(proof).checkpoint_note.split(b"\n")[1]
        for proof in parse_pack(packs[0].read_bytes()).values()
    ]
    assert sizes == [b"3"] * 3 + [b"65"] * 61


def dead_links(public):
    """What is led to from the first page on, over pages and feeds, and is not there."""
    found, dead, todo = {"index.html"}, set(), ["index.html"]
    while todo:
        path = todo.pop()
        if not (public / path).is_file():
            dead.add(path)
            continue
        if not path.endswith((".html", ".atom")):
            continue
        for link in (public / path).read_text().split('href="')[1:]:
            target = posixpath.normpath(
                posixpath.join(posixpath.dirname(path), link.split('"', 1)[0].partition("#")[0])
            )
            if target not in found:
                found.add(target)
                todo.append(target)
    return dead


def test_no_page_leads_to_one_that_is_not_there_yet(published, monkeypatch):
    """After each file: as if it were the last of a batch, which a reader may see before the next one is in its place."""
    for module in ("monitor.publish.listings", "monitor.publish.store", "monitor.publish.publishing"):
        monkeypatch.setattr(f"{module}.CHUNK", 4)
    monkeypatch.setattr(names, "MAX_NAMES", 5)
    for at in range(15):
        published.hub.record(A, revision=str(at), name=f"acme/{at}")
    published.step()
    for at in range(15):
        published.hub.record(A, revision="new", name=f"acme/new-{at}")  # by a signer whose feed is there
        published.hub.record(B, revision=f"{at}+", name=f"acme/{at}")  # by one whose feed is not
        published.hub.record(A, revision=f"{at}++", name="acme/0")
    batches, commit = [], placing.Placing.commit

    def looked_at(self):
        written = commit(self)
        batches.append(dead_links(published.public))
        return written

    monkeypatch.setattr(placing, "_BATCH_FILES", 1)
    monkeypatch.setattr(placing.Placing, "commit", looked_at)
    published.step()
    assert len(batches) > 100
    assert set().union(*batches) == set()


def parts_of(published):
    folder = published.public / "models/statement-parts"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_a_list_that_is_too_long_for_a_statement_is_in_parts_which_stay_for_an_hour(published):
    published.hub.record(A)
    published.step()
    found_everywhere(published, MAX_HISTORIES)
    published.step()
    assert (len(published.statement().histories), parts_of(published)) == (MAX_HISTORIES, {})
    found_everywhere(published, 1, first=MAX_HISTORIES)
    published.step()
    first, before = published.statement(), parts_of(published)
    assert before.keys() == {each.name for each in first.parts}
    assert len(before) >= 4
    assert first.open_for(["name:acme/m7"], before.values()).count == 1
    assert first.open_for(["name:acme/model"], before.values()) is None
    found_everywhere(published, 1, first=MAX_HISTORIES + 1)
    published.now += 10
    published.step()
    second, both = published.statement(), parts_of(published)
    named = {each.name for each in second.parts}
    assert both.items() > before.items(), "whoever has the older statement can still ask"
    assert len(named - before.keys()) == 1, "and only what changed is written"
    published.now += 3600
    published.step()
    assert parts_of(published) == both
    published.now += 1
    published.step()
    assert parts_of(published).keys() == named


def test_parts_of_a_statement_by_an_older_key_stay_for_an_hour_too(published):
    published.hub.record(A)
    found_everywhere(published, MAX_HISTORIES + 1)
    # Long after the parts are written, by their files: one that is not dated is removed at once.
    published.now += 10**9
    published.step()
    before = parts_of(published)
    published.vkey = make_key(published.folder / "monitor.key", "monitor.example", b"\2" * 32)
    found_everywhere(published, 1, first=MAX_HISTORIES + 1)
    published.step()
    assert parts_of(published).items() > before.items()


def test_a_name_in_another_script_is_readable_and_one_that_deceives_stays_escaped(published):
    names = [escape_name(each) for each in ("acme/日本語モデル", "acme/日本\u202eledom", "\u0430cme/tiny")]
    for name in names:
        published.hub.record(A, revision="one", name=name)
    published.step()
    listed, everything = (
        published.read(layout.of_log("models", each)).decode() for each in ("index.html", "feed.atom")
    )
    for text in (listed, everything):
        assert "acme/日本語モデル" in text
        assert names[0] not in text
        assert all(name in text for name in names[1:])
        assert "\u202e" not in text
        assert "\u0430" not in text
    page, feed = (
        published.read(layout.of_model("models", names[0], each)).decode()
        for each in ("index.html", "feed.atom")
    )
    assert "<h1>acme/日本語モデル</h1>" in page
    assert f"Recorded as <code>{names[0]}</code>" in page
    assert "Signatures of acme/日本語モデル" in feed
    assert json.loads(published.read(layout.of_model("models", names[0], "history.json")))["name"] == names[0]
