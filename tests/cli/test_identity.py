"""Committed identities: recorded without names, changes still visible, opened for those who may know, and erased."""

import hashlib
import json
import shutil
import stat

import pytest

from ledger.client.opening import parse_opening
from ledger.embedded.opening import open_for_recording
from ledger.errors import MalformedError


@pytest.fixture
def ledger(hubledger, tmp_path):
    """A ledger whose setting says committed."""
    folder = tmp_path / "ledger"
    assert hubledger("init", folder, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    change(folder, 'identity_mode = "clear"', 'identity_mode = "committed"')
    return folder


def change(ledger, old, new):
    settings = ledger / "hubledger.toml"
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new))


@pytest.fixture
def oms(vectors):
    return vectors / "samples/oms"


@pytest.fixture
def record(hubledger, ledger, oms, tmp_path):
    """Record the tiny model with one of the real signatures."""

    def call(revision, signature="key-p256.model.sig", *more, name="acme/tiny"):
        model = tmp_path / "model"
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(oms / "tiny-model", model)
        shutil.copy(oms / signature, model / "model.sig")
        code, out, err = hubledger(
            "record", ledger, name, "--revision", revision, "--event-id", f"{name}@{revision}", "--model", model,
            "--public-key", oms / "keys/ec-p256.pub", "--public-key", oms / "keys/ec-p384.pub",
            "--trust-config", oms / "fake-sigstore/trust_config.json", "--json", *more,
        )  # fmt: skip
        assert code == 0, err
        return json.loads(out)

    return call


SIGSTORE = "fake-sigstore/sigstore-rekor-v1.model.sig"


def everything(ledger):
    """All bytes of the log and the indexes."""
    files = [*(ledger / "log").rglob("*"), ledger / "index.db", ledger / "digests.db", ledger / "ledger.db"]
    return b"".join(path.read_bytes() for path in files if path.is_file())


def test_nothing_public_says_who_signed(record, ledger, hubledger, tmp_path):
    receipt = record("r1", SIGSTORE)
    assert receipt["outcome"] == "VERIFIED"
    assert receipt["signatures"][0]["signer"].startswith("committed identity ")
    public = everything(ledger)
    for secret in (b"signer@example.org", b"idp.example.org", b"upstreamLog"):
        assert secret not in public
    code, out, _ = hubledger("evidence", "export", ledger, "1", "-o", tmp_path / "export", "--json")
    assert code == 0
    assert {each["use"]: each["state"] for each in json.loads(out)["pieces"]} == {
        "manifest": "stored", "policy": "stored", "bundle": "withheld",
    }  # fmt: skip
    exported = b"".join(path.read_bytes() for path in (tmp_path / "export").rglob("*") if path.is_file())
    assert b"signer@example.org" not in exported
    assert hubledger("log", "audit", ledger)[0] == 0
    assert stat.S_IMODE((ledger / "identities.db").stat().st_mode) == 0o600


def test_a_change_of_signer_stays_visible_and_a_signer_cannot_be_followed(record, ledger, hubledger):
    record("r1")
    record("r2")
    record("r3", "key-p384.model.sig")
    record("r1", name="other/model")
    rows = json.loads(hubledger("history", ledger, "acme/tiny", "--json")[1])["events"]
    assert [(row["changed"], row["decision"]) for row in rows] == [
        (False, "observed"), (False, "observed"), (True, "challenged"),
    ]  # fmt: skip
    assert rows[0]["signedBy"] == rows[1]["signedBy"] != rows[2]["signedBy"]
    (other,) = json.loads(hubledger("history", ledger, "other/model", "--json")[1])["events"]
    assert other["signedBy"] != rows[0]["signedBy"], "another history has other keys"
    assert record("r1")["repeated"], "the same facts are the same event"


def test_an_opening_shows_who_it_was_and_is_checked(record, ledger, hubledger, tmp_path, oms):
    record("r1", SIGSTORE, "--proof-out", tmp_path / "proof")
    code, out, _ = hubledger("identity", "open", ledger, "1", "-o", tmp_path / "opening")
    assert code == 0
    assert "opened      signer@example.org (https://idp.example.org)" in out
    assert stat.S_IMODE((tmp_path / "opening").stat().st_mode) == 0o600
    verify = (
        "verify", "--proof", tmp_path / "proof", "--trust", ledger / "trust.toml", "--model", tmp_path / "model",
        "--expect-signer", "signer@example.org", "--expect-issuer", "https://idp.example.org",
    )  # fmt: skip
    code, out, _ = hubledger(*verify)
    assert code == 21, "nobody is expected who cannot be named"
    assert "the hub records who signed as commitments; only an opening names them, and none was given" in out
    assert (
        "next: Ask the hub for the opening of this event (hubledger identity open), and name it with" in out
    )
    assert "new signer" not in out
    code, out, _ = hubledger(*verify, "--opening", tmp_path / "opening")
    assert code == 0
    assert "Signed by signer@example.org (https://idp.example.org) [opened]; recorded as leaf 1" in out
    facts = json.loads(hubledger(*verify, "--opening", tmp_path / "opening", "--json")[1])
    (signer,) = facts["event"]["signedBy"]
    assert (signer["identity"], signer["opened"]["subject"]) == ("identity/v1", "signer@example.org")
    other = [*verify[:-3], "another@example.org", *verify[-2:]]
    code, out, _ = hubledger(*other, "--opening", tmp_path / "opening")
    assert code == 21
    assert "possible: the model has a new signer" in out, "who it is is known, and somebody else"
    (opening,) = json.loads((tmp_path / "opening").read_bytes())
    for name, bent in (
        ("key", "00" * 32),
        ("history", "name:other/model"),
        ("identity", opening["identity"] | {"subject": "another@example.org"}),
    ):
        value = json.dumps([opening | {name: bent}], separators=(",", ":"), sort_keys=True)
        (tmp_path / "bent").write_text(value)
        code, out, _ = hubledger(*verify, "--opening", tmp_path / "bent")
        assert code == 21, name
        assert "those given are of another model or hub" in out


@pytest.mark.parametrize(
    "bent",
    [
        b"{}", b"[{}]", b"[1]", b"[" + b"," * 3 + b"]",
        b'[{"history":"name:a","identity":{"type":"other"},"key":"' + b"0" * 64 + b'"}]',
        b'[{"history":"name:a","identity":{"spkiSha256":"00","type":"key"},"key":"' + b"0" * 64 + b'"}]',
        b'[{"history":"name:a","identity":{"issuer":{"x":1},"refClass":null,"subject":"a","type":"sigstore"},"key":"'
        + b"0" * 64 + b'"}]',
        b'[{"history":"name:a","identity":{"spkiSha256":"' + b"0" * 64 + b'","type":"key"},"key":"00"}]',
    ],
)  # fmt: skip
def test_a_file_that_is_no_opening_is_refused(bent):
    with pytest.raises(MalformedError):
        parse_opening(bent)


def test_erasure_destroys_keys_and_bundles_and_nothing_else(record, ledger, hubledger, tmp_path):
    record("r1", SIGSTORE, "--proof-out", tmp_path / "proof")
    record("r1", name="other/model")
    bundle = hashlib.sha256((tmp_path / "model/model.sig").read_bytes()).hexdigest()
    first = json.loads(hubledger("history", ledger, "acme/tiny", "--json")[1])["events"][0]
    assert hubledger("identity", "open", ledger, "1", "-o", tmp_path / "opening")[0] == 0
    code, out, _ = hubledger("identity", "erase", ledger, "acme/tiny", "--reason", "personal-data", "--json")
    facts = json.loads(out)
    assert (code, len(facts["withdrawn"]), facts["leafIndices"]) == (0, 1, [3])
    assert b"signer@example.org" not in (ledger / "identities.db").read_bytes()
    assert b"signer@example.org" not in b"".join(
        path.read_bytes() for path in (ledger / "evidence").rglob("*") if path.is_file()
    )
    code, _, err = hubledger("identity", "open", ledger, "1", "-o", tmp_path / "again")
    assert code == 34
    assert "expected a committed identity whose key is here, got none" in err
    assert hubledger("identity", "open", ledger, "2", "-o", tmp_path / "again")[0] == 0, "another model's is"
    rows = json.loads(hubledger("history", ledger, "acme/tiny", "--json")[1])["events"]
    assert rows[0] == first
    assert rows[1]["type"] == "https://hubledger/erasure/v1"
    assert hubledger("log", "audit", ledger)[0] == 0
    assert (ledger / "evidence" / bundle[:2] / bundle).exists(), "the other model's bundle stays"
    code, _, err = hubledger("identity", "erase", ledger, "acme/tiny", "--reason", "personal-data")
    assert code == 34
    assert "expected committed identities whose keys or bundles are here, got none" in err
    assert record("r2", SIGSTORE)["reasons"] == ["signer-changed"], (
        "after an erasure the same signer is a new one"
    )


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["begin", "commit", "destroy", "note_withdrawals", "remove", "end"])
def test_an_erasure_that_stops_is_finished_or_never_happened(
    record, ledger, hubledger, tmp_path, monkeypatch, step, when
):
    from ledger.embedded.identities import erase_identities
    from ledger.storage.evidence import Evidence
    from ledger.storage.identities import IdentityKeys
    from ledger.storage.sqlite import SqliteCommits

    record("r1", SIGSTORE)
    owner = {"commit": SqliteCommits, "destroy": IdentityKeys}.get(step, Evidence)
    real = getattr(owner, step)

    class Stopped(BaseException):
        pass

    def stopping(self, *arguments):
        if when == "after":
            real(self, *arguments)
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, stopping)
        with pytest.raises(Stopped):
            erase_identities(ledger, "acme/tiny", reason="personal-data", reference=None)
    with open_for_recording(ledger) as opened:
        opened.log.publish()
        erased = opened.log.size == 3
        assert opened.evidence.begun() == []
    opens = hubledger("identity", "open", ledger, "1", "-o", tmp_path / "opening")[0] == 0
    assert opens is not erased
    assert (b"signer@example.org" in (ledger / "identities.db").read_bytes()) is not erased
    assert hubledger("log", "audit", ledger)[0] == 0


def test_more_than_sixteen_signatures_are_committed_too(ledger, hubledger, oms, tmp_path):
    model = tmp_path / "many"
    shutil.copytree(oms / "tiny-model", model)
    bundle = json.loads((oms / SIGSTORE).read_bytes())
    for number in range(20):
        (model / f"{number:02}.sig").write_text(json.dumps(bundle) + " " * number)
    code, out, err = hubledger(
        "record", ledger, "acme/many", "--revision", "r1", "--model", model, "--json",
        "--trust-config", oms / "fake-sigstore/trust_config.json",
    )  # fmt: skip
    assert code == 0, err
    assert len(json.loads(out)["signatures"]) == 16
    pieces = json.loads(hubledger("evidence", "show", ledger, "1", "--json")[1])["pieces"]
    (more,) = [each["sha256"] for each in pieces if each["use"] == "more-signatures"]
    listed = (ledger / "evidence" / more[:2] / more).read_bytes()
    assert len(json.loads(listed)) == 4
    assert b"signer@example.org" not in listed
    assert all(set(each["signer"]) == {"commitment", "identity"} for each in json.loads(listed))
    assert hubledger("log", "audit", ledger)[0] == 0


def test_private_repositories_are_skipped_or_committed(record, ledger, hubledger, tmp_path):
    change(ledger, 'identity_mode = "committed"', 'identity_mode = "clear"')
    checkpoint = (ledger / "log/checkpoint").read_bytes()
    assert record("r1", SIGSTORE, "--private") == {"skipped": True, "name": "acme/tiny", "revision": "r1"}
    assert (ledger / "log/checkpoint").read_bytes() == checkpoint
    assert not (ledger / "identities.db").exists()
    change(ledger, 'private = "skip"', 'private = "committed"')
    assert record("r1", SIGSTORE, "--private")["signatures"][0]["signer"].startswith("committed identity")
    assert record("r1", SIGSTORE, name="open/model")["signatures"][0]["signer"].startswith(
        "signer@example.org"
    )
    code, _, err = hubledger("identity", "open", ledger, "2", "-o", tmp_path / "opening")
    assert code == 34
    assert "An event in clear needs no opening" in err


def test_keys_that_others_can_read_are_refused(record, ledger, hubledger, tmp_path):
    record("r1")
    (ledger / "identities.db").chmod(0o644)
    code, _, err = hubledger("identity", "open", ledger, "1", "-o", tmp_path / "opening")
    assert code == 33
    assert (
        f"permissions of {ledger / 'identities.db'}: expected readable by its owner only, got readable by others"
        in err
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'identity_mode = "committed"',
            'identity_mode = "hidden"',
            "identity_mode: expected clear or committed, got hi",
        ),
        ('private = "skip"', 'private = "clear"', "private: expected skip or committed, got clear"),
    ],
)
def test_a_mode_that_there_is_not_is_refused(ledger, hubledger, old, new, said):
    change(ledger, old, new)
    code, _, err = hubledger("history", ledger, "acme/tiny")
    assert (code, said in err) == (33, True), err


def erase(hubledger, ledger, name="acme/tiny"):
    code, out, err = hubledger("identity", "erase", ledger, name, "--reason", "personal-data", "--json")
    assert code == 0, err
    return json.loads(out)


def types_of(hubledger, ledger, name):
    rows = json.loads(hubledger("history", ledger, name, "--json")[1])["events"]
    return [row["type"].rpartition("/hubledger/")[2].partition("/")[0] for row in rows]


def test_an_erasure_can_be_repeated_after_the_same_upload(record, ledger, hubledger, tmp_path):
    record("r1", SIGSTORE)
    assert erase(hubledger, ledger)["keysDestroyed"] == 1
    assert record("r2", SIGSTORE)["withheld"]
    assert b"signer@example.org" in (ledger / "identities.db").read_bytes()
    assert hubledger("identity", "open", ledger, "3", "-o", tmp_path / "opening")[0] == 0
    again = erase(hubledger, ledger)
    assert (again["keysDestroyed"], again["withdrawn"], again["leafIndices"]) == (1, [], [4])
    assert hubledger("identity", "open", ledger, "3", "-o", tmp_path / "again")[0] == 34
    assert b"signer@example.org" not in (ledger / "identities.db").read_bytes()
    assert types_of(hubledger, ledger, "acme/tiny") == ["verification-event", "erasure"] * 2
    assert hubledger("log", "audit", ledger)[0] == 0


def test_keys_are_erased_where_the_bundle_was_withdrawn_before(record, ledger, hubledger, tmp_path):
    record("r1", SIGSTORE)
    bundle = hashlib.sha256((tmp_path / "model/model.sig").read_bytes()).hexdigest()
    assert hubledger("evidence", "withdraw", ledger, bundle, "--reason", "court-order")[0] == 0
    assert erase(hubledger, ledger)["leafIndices"] == [3]
    assert hubledger("identity", "open", ledger, "1", "-o", tmp_path / "opening")[0] == 34
    shown = json.loads(hubledger("evidence", "show", ledger, bundle, "--json")[1])
    assert (shown["reason"], shown["leafIndex"]) == ("court-order", 2), "the note keeps the first reason"
    assert hubledger("log", "audit", ledger)[0] == 0


def test_an_erasure_says_what_it_did_in_words(record, ledger, hubledger):
    record("r1", SIGSTORE)
    record("r1", SIGSTORE, name="other/model")
    _, out, _ = hubledger("identity", "erase", ledger, "acme/tiny", "--reason", "personal-data")
    assert out == (
        "erased      acme/tiny: 1 bundle withdrawn, 1 key destroyed\n  leaf      3, 4\n"
        "  also of   other/model: its history says that the bundle is gone\n"
    )


def test_an_erasure_takes_the_bundles_past_the_sixteenth(ledger, hubledger, oms, tmp_path):
    model = tmp_path / "many"
    shutil.copytree(oms / "tiny-model", model)
    bundle = json.loads((oms / SIGSTORE).read_bytes())
    for number in range(20):
        (model / f"{number:02}.sig").write_text(json.dumps(bundle) + " " * number)
    record = (
        "record", ledger, "acme/tiny", "--revision", "r1", "--model", model,
        "--trust-config", oms / "fake-sigstore/trust_config.json",
    )  # fmt: skip
    assert hubledger(*record)[0] == 0
    assert len(erase(hubledger, ledger)["withdrawn"]) == 20
    left = b"".join(path.read_bytes() for path in (ledger / "evidence").rglob("*") if path.is_file())
    assert b"signer@example.org" not in left
    assert json.dumps(bundle).encode()[:200] not in left
    assert hubledger("log", "audit", ledger)[0] == 0


def test_every_model_that_names_an_erased_bundle_shows_it_and_keeps_its_keys(record, ledger, hubledger):
    change(ledger, 'identity_mode = "committed"', 'identity_mode = "clear"')
    others = [f"open/model-{number}" for number in range(9)]
    for name in others:
        record("r1", SIGSTORE, name=name)
    change(ledger, 'identity_mode = "clear"', 'identity_mode = "committed"')
    record("r1", SIGSTORE)
    record("r1", SIGSTORE, name="closed/model")
    facts = erase(hubledger, ledger)
    assert facts["otherModels"] == ["closed/model", *others]
    assert len(facts["leafIndices"]) == 3
    for name in ("acme/tiny", "closed/model", *others):
        assert types_of(hubledger, ledger, name) == ["verification-event", "erasure"]
    assert hubledger("identity", "open", ledger, "11", "-o", ledger.parent / "opening")[0] == 0
    assert hubledger("log", "audit", ledger)[0] == 0


def test_an_erasure_that_stopped_between_two_statements_is_finished_by_repeating_it(
    record, ledger, hubledger, monkeypatch
):
    from ledger.embedded import announcing
    from ledger.embedded.identities import erase_identities

    record("r1", SIGSTORE)
    record("r1", SIGSTORE, name="other/model")

    class Stopped(BaseException):
        pass

    def stopping(*_, **__):
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(announcing, "carry_out", stopping)
        with pytest.raises(Stopped):
            erase_identities(ledger, "acme/tiny", reason="personal-data", reference=None)
    assert types_of(hubledger, ledger, "other/model") == ["verification-event"]
    assert erase(hubledger, ledger)["otherModels"] == ["other/model"]
    assert types_of(hubledger, ledger, "other/model") == ["verification-event", "erasure"]


def test_bundles_of_unknown_signers_are_withheld_too_also_after_an_erasure(
    record, ledger, hubledger, tmp_path
):
    bundle = record("r1", "cert.model.sig")["signatures"][0]["bundleSha256"]
    change(ledger, 'identity_mode = "committed"', 'identity_mode = "clear"')
    public = record("r1", "cert.model.sig", name="open/model")["signatures"][0]

    def bundles(event, folder):
        _, out, _ = hubledger("evidence", "export", ledger, event, "-o", tmp_path / folder, "--json")
        return [each["state"] for each in json.loads(out)["pieces"] if each["use"] == "bundle"]

    assert public["bundleSha256"] == bundle
    assert bundles("1", "committed") == ["withheld"]
    assert not (tmp_path / "committed/bundles").exists()
    assert bundles("2", "public") == ["stored"]
    assert erase(hubledger, ledger)["withdrawn"] == [bundle]
    assert bundles("1", "erased") == ["withheld"]
    assert bundles("2", "public again") == ["withdrawn"]


def test_an_event_without_a_known_signer_is_withheld_where_its_model_has_commitments(
    record, ledger, hubledger, tmp_path
):
    record("r1", SIGSTORE)
    change(ledger, 'identity_mode = "committed"', 'identity_mode = "clear"')
    record("r2", "cert.model.sig")
    (ledger / "identities.db").rename(tmp_path / "lost")
    _, out, _ = hubledger("evidence", "export", ledger, "2", "-o", tmp_path / "export", "--json")
    assert {each["use"]: each["state"] for each in json.loads(out)["pieces"]}["bundle"] == "withheld"


def test_the_same_recording_after_an_erasure_is_refused_with_the_reason(
    record, ledger, hubledger, oms, tmp_path
):
    record("r1")
    erase(hubledger, ledger)
    code, _, err = hubledger(
        "record", ledger, "acme/tiny", "--revision", "r1", "--event-id", "acme/tiny@r1",
        "--model", tmp_path / "model", "--public-key", oms / "keys/ec-p256.pub",
    )  # fmt: skip
    assert code == 36
    assert (
        "got other facts. After `hubledger identity erase` the same signer has another commitment, so the same revision "
        "is a new observation: give it a new event id (--event-id). So is one with other keys"
    ) in err


def test_history_says_why_evidence_is_gone(record, ledger, hubledger):
    record("r1", SIGSTORE)
    erase_command = ("identity", "erase", ledger, "acme/tiny", "--reason", "personal-data")
    assert hubledger(*erase_command, "--reference", "ticket 7", "--start-unchecked")[0] == 0
    _, out, _ = hubledger("history", ledger, "acme/tiny")
    assert "Evidence withdrawn: personal-data, ticket 7 (1 piece); keys of its identities destroyed" in out
    assert "erasure/v1" not in out


def test_an_erasure_asks_for_a_newer_checkpoint_as_every_writer_does(record, ledger, hubledger, tmp_path):
    record("r1", SIGSTORE)
    shutil.copytree(ledger, tmp_path / "older")
    record("r2", SIGSTORE)
    erase_command = ("identity", "erase", tmp_path / "older", "acme/tiny", "--reason", "personal-data")
    code, _, err = hubledger(*erase_command, "--not-older-than", ledger / "log/checkpoint")
    assert code == 62, err
    assert hubledger("identity", "open", tmp_path / "older", "1", "-o", tmp_path / "opening")[0] == 0


def test_a_private_recording_that_is_skipped_says_that_there_is_no_proof(ledger, hubledger, oms, tmp_path):
    code, out, _ = hubledger(
        "record", ledger, "acme/tiny", "--revision", "r1", "--model", oms / "tiny-model", "--private",
        "--proof-out", tmp_path / "proof",
    )  # fmt: skip
    assert code == 0
    assert f"no proof: nothing was recorded, and {tmp_path / 'proof'} was not written" in out
    assert not (tmp_path / "proof").exists()
