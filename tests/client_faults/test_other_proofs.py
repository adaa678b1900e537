"""A sound proof of something else: of another model, revision or log, of an entry that is no event, or of an older state."""

import dataclasses
import json

import httpx
import pytest

from ledger.client.proof_bundle import parse_bundle
from tests.client_faults.hub import NAME, Hub, between
from tests.system.service import serving


@pytest.fixture
def bundle(hubledger, hub, service, tmp_path):
    """The honest file of the new revision."""
    path, trust = tmp_path / "proof.json", tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    assert (
        hubledger("fetch-proof", NAME, "--trust", trust, "--url", service, "--revision", "r2", "-o", path)[0]
        == 0
    )
    return parse_bundle(path.read_bytes())


def verify(hubledger, hub, tmp_path, bundle, *more, model=None):
    path, trust = tmp_path / "other.json", tmp_path / "trust.toml"
    path.write_bytes(bundle.format())
    trust.write_bytes(hub.trust)
    arguments = ("verify", model or hub.new, "--name", NAME, "--trust", trust, "--from", path, *more)
    code, out, err = hubledger(*arguments)
    return code, " ".join((out + err).split())


def proof_of(service, leaf):
    return httpx.get(f"{service}/v1/entries/{leaf}/proof").content


def test_the_honest_one(hubledger, hub, bundle, tmp_path):
    assert verify(hubledger, hub, tmp_path, bundle, "--revision", "r2")[0] == 0


def test_of_another_model(hubledger, hub, service, bundle, tmp_path):
    other = dataclasses.replace(bundle, proof=proof_of(service, 2))
    code, text = verify(hubledger, hub, tmp_path, other)
    assert code == 13
    assert "Failed: files: expected content sha256:" in text or "Failed: name and revision" in text
    code, text = verify(hubledger, hub, tmp_path, other, model=hub.folder / "other")
    assert code == 13, "even with the files of that other model"
    assert "Failed: name and revision: expected acme/tiny at r1, got acme/other at r1" in text
    assert "possible: the proof is of another model or revision" in text
    assert "next: Ask for the proof of the model that you have" in text


def test_of_another_revision(hubledger, hub, service, bundle, tmp_path):
    other = dataclasses.replace(bundle, proof=proof_of(service, 1))
    code, text = verify(hubledger, hub, tmp_path, other, "--revision", "r2", model=hub.old)
    assert code == 13
    assert "Failed: name and revision: expected acme/tiny at r2, got acme/tiny at r1" in text
    code, text = verify(hubledger, hub, tmp_path, other)
    assert code == 22
    assert "log: INCLUDED_ONLY model: CONTENT_DIFFERS" in text
    assert "possible: another revision was downloaded" in text


def test_of_an_entry_that_is_no_event(hubledger, hub, service, bundle, tmp_path):
    other = dataclasses.replace(bundle, proof=proof_of(service, 0))
    code, text = verify(hubledger, hub, tmp_path, other)
    assert code == 24
    assert (
        "Failed: model: expected a verification event that this version understands, got another entry"
        in text
    )


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Another ledger of the same names, with keys of its own, that says the same of the same files."""
    made = Hub(tmp_path_factory.mktemp("stranger"))
    made.new = made.sign("new", b"new")
    made.record("r2", made.new)
    with serving(made.ledger, "--read-only") as (made.url, _):
        yield made


def test_of_another_log_of_the_same_name(hubledger, hub, stranger, bundle, tmp_path):
    other = dataclasses.replace(bundle, proof=proof_of(stranger.url, 1))
    code, text = verify(hubledger, hub, tmp_path, other, model=stranger.new)
    assert code == 13
    assert "log: INVALID model: NOT_CHECKED" in text
    assert "signature" in text
    assert (
        "next: Fetch the proof again; if it fails again, compare your trust file with the publisher's" in text
    )
    assert "MISBEHAVIOUR" not in text


def test_of_another_log_at_the_hubs_address(hubledger, hub, service, stranger, data):
    """The address leads somewhere else today; what is remembered is as before, and nobody is accused."""
    with between(service) as proxy:
        assert hubledger("trust", "add", proxy.url)[0] == 0
        assert hubledger("verify", hub.new, "--name", NAME)[0] == 0
        before = hubledger("pins", "list", "--json")[1]
        proxy.bend = lambda asked: (200, httpx.get(stranger.url + asked.replace("&since=4", "")).content)
        code, out, _ = hubledger("verify", stranger.new, "--name", NAME)
    assert (code, "MISBEHAVIOUR" in out) == (13, False)
    assert hubledger("pins", "list", "--json")[1] == before


def test_of_an_older_state(hubledger, hub, early, service, data, tmp_path):
    """Rightly signed and smaller than what was seen: the old files hold, and a row says that the checkpoint is not linked."""
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    ask = ("verify", "--name", NAME, "--trust", trust, "--url")
    assert hubledger(*ask, service, hub.new)[0] == 0
    code, out, _ = hubledger(*ask, early, hub.old)
    text = " ".join(out.split())
    assert code == 0, "inclusion does not expire"
    assert "not linked to your pin of size 4: the proof's checkpoint is older, size 3" in text
    assert "you have seen a later event of this model: r2 at leaf 3" in text
    code, out, _ = hubledger(*ask, early, hub.new)
    assert code == 22, "the older state knows nothing of the new files"


def test_of_an_older_state_where_the_whole_history_is_asked_for(hubledger, hub, early, service, tmp_path):
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    ask = ("verify", "--name", NAME, "--trust", trust, "--url")
    assert hubledger(*ask, service, hub.new)[0] == 0
    trust.write_bytes(hub.trust.replace(b'"included"', b'"complete"'))
    code, out, err = hubledger(*ask, early, hub.old, "--json")
    assert code == 10
    assert json.loads(out or err)["failure"]["actual"] == "an older one"


def test_a_file_that_was_fetched_before_an_update_of_keys(hubledger, hub, bundle, tmp_path):
    """The key was revoked from the event's leaf on: the proof is what it was, and the event counts no more."""
    revoked = hub.trust.replace(b"first = 0", b"first = 0\nend = 3")
    proof, trust = tmp_path / "f.json", tmp_path / "new.toml"
    proof.write_bytes(bundle.format())
    trust.write_bytes(revoked)
    code, out, _ = hubledger("verify", hub.new, "--name", NAME, "--trust", trust, "--from", proof)
    text = " ".join(out.split())
    assert (code, "log: INCLUDED_ONLY model: NOT_ACCEPTED" in text) == (20, True)
    assert "a retired or revoked key was used" in text
