"""`hubledger evidence`: shown, exported, withdrawn and collected, with the log always saying what happened."""

import hashlib
import json
import shutil

import pytest

from ledger.embedded.opening import open_for_recording
from ledger.event.digests import named_digests
from ledger.manifest import parse_manifest


@pytest.fixture
def oms(vectors):
    return vectors / "samples/oms"


@pytest.fixture
def model(oms, tmp_path):
    """A model with two real signatures, one by a key that is registered and one by a chain that is not."""
    folder = tmp_path / "model"
    shutil.copytree(oms / "tiny-model", folder)
    shutil.copy(oms / "key-p256.model.sig", folder / "model.sig")
    shutil.copy(oms / "cert.model.sig", folder / "other.sig")
    return folder


@pytest.fixture
def record(hubledger, ledger, model, oms):
    def call(revision, *more, name="acme/tiny"):
        code, out, err = hubledger(
            "record", ledger, name, "--revision", revision, "--event-id", revision, "--model", model,
            "--public-key", oms / "keys/ec-p256.pub", "--json", *more,
        )  # fmt: skip
        assert code == 0, err
        return json.loads(out)

    return call


@pytest.fixture
def show(hubledger, ledger):
    def call(what):
        code, out, err = hubledger("evidence", "show", ledger, what, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def file_of(ledger, digest):
    return ledger / "evidence" / digest[:2] / digest


def test_an_event_shows_what_it_names_and_a_digest_who_names_it(record, show, hubledger, ledger, model):
    record("r1")
    record("r2")
    pieces = {each["sha256"]: each for each in show("r1")["pieces"]}
    assert [each["use"] for each in pieces.values()] == ["manifest", "policy", "bundle", "bundle", "reasons"]
    assert {each["state"] for each in pieces.values()} == {"stored"}
    bundle = sha256(model / "model.sig")
    assert pieces[bundle]["size"] == (model / "model.sig").stat().st_size
    facts = show(bundle)
    assert (facts["use"], facts["state"], facts["mirrored"]) == ("bundle", "stored", 3)
    assert [(each["leafIndex"], each["eventId"], each["name"]) for each in facts["namedBy"]] == [
        (1, "r1", "acme/tiny"),
        (2, "r2", "acme/tiny"),
    ]
    assert show("1") == show("r1")
    code, out, _ = hubledger("evidence", "show", ledger, bundle)
    assert code == 0
    assert f"bundle      {bundle}  stored, " in out
    assert "named by    leaf 2 as bundle  acme/tiny at r2" in out
    code, _, err = hubledger("evidence", "show", ledger, "00" * 32)
    assert code == 34
    assert "expected a digest that is stored or named, got neither" in err


def test_why_a_signature_did_not_verify_is_kept_in_words(record, show, ledger, model):
    record("r1")
    digest = next(each["sha256"] for each in show("r1")["pieces"] if each["use"] == "reasons")
    (detail,) = json.loads(file_of(ledger, digest).read_bytes())["details"]
    assert detail["bundleSha256"] == sha256(model / "other.sig")
    assert detail["reason"] == "no-anchor"
    assert "no anchor is registered to hold a certificate against" in detail["text"]


def test_a_manifest_is_shown_with_what_its_names_do_elsewhere(record, show, model):
    (model / "CONFIG.json").write_bytes(b"{}")
    manifest = record("r1")["manifestSha256"]
    facts = show(manifest)
    assert facts["files"] == 7
    assert facts["warnings"] == [
        "config.json is the same file as CONFIG.json where case or Unicode form is folded"
    ]


def test_an_export_holds_what_somebody_else_needs(record, hubledger, ledger, model, tmp_path, oms):
    record("r1")
    folder = tmp_path / "export"
    code, out, _ = hubledger("evidence", "export", ledger, "r1", "-o", folder, "--json")
    assert code == 0
    pieces = {each["file"]: each["sha256"] for each in json.loads(out)["pieces"]}
    assert set(pieces) == {
        "manifest.json", "policy.json", "reasons.json",
        f"bundles/{sha256(model / 'model.sig')}.json", f"bundles/{sha256(model / 'other.sig')}.json",
    }  # fmt: skip
    assert all(sha256(folder / name) == digest for name, digest in pieces.items())
    manifest = parse_manifest((folder / "manifest.json").read_bytes())
    assert set(manifest.files) == {
        path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()
    }
    code, _, _ = hubledger(
        "verify", "--proof", folder / "event.tlog-proof", "--trust", ledger / "trust.toml", "--model", model,
        "--expect-key", oms / "keys/ec-p256.pub",
    )  # fmt: skip
    assert code == 0
    before = sorted(folder.rglob("*"))
    code, _, err = hubledger("evidence", "export", ledger, "r1", "-o", folder)
    assert (code, sorted(folder.rglob("*"))) == (35, before)
    assert "expected a new or empty folder, got something in it" in err


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        (lambda path: path.unlink(), "expected stored bytes, got none"),
        (lambda path: path.write_bytes(b"x"), "expected bytes with this SHA-256, got other bytes"),
    ],
)
def test_an_export_of_lost_or_damaged_evidence_is_refused_whole(
    record, hubledger, ledger, model, tmp_path, damage, refusal
):
    record("r1")
    damage(file_of(ledger, sha256(model / "model.sig")))
    code, _, err = hubledger("evidence", "export", ledger, "r1", "-o", tmp_path / "export")
    assert code == 61
    assert refusal in err
    assert not (tmp_path / "export").exists()
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    assert f"evidence {sha256(model / 'model.sig')}, bundle of leaf 1: expected" in err


def test_withdrawn_bytes_are_gone_and_everything_else_still_holds(
    record, show, hubledger, ledger, model, tmp_path, oms
):
    record("r1", "--proof-out", tmp_path / "before")
    digest = sha256(model / "model.sig")
    code, out, _ = hubledger(
        "evidence",
        "withdraw",
        ledger,
        digest,
        "--reason",
        "personal-data",
        "--reference",
        "ticket 7",
        "--json",
    )
    assert code == 0
    assert json.loads(out)["withdrawn"] == [
        {"sha256": digest, "reason": "personal-data", "leafIndex": 2, "repeated": False}
    ]
    assert not file_of(ledger, digest).exists()
    facts = show(digest)
    assert (facts["state"], facts["reason"], facts["leafIndex"]) == ("withdrawn", "personal-data", 2)
    for number, proof in enumerate(("before", "after")):
        if number:
            hubledger("proof", ledger, "1", "-o", tmp_path / proof)
        code, _, _ = hubledger(
            "verify", "--proof", tmp_path / proof, "--trust", ledger / "trust.toml", "--model", model,
            "--expect-key", oms / "keys/ec-p256.pub",
        )  # fmt: skip
        assert code == 0
    assert hubledger("log", "audit", ledger)[0] == 0
    assert hubledger("index", "check", ledger)[0] == 0
    code, out, _ = hubledger("evidence", "export", ledger, "r1", "-o", tmp_path / "export", "--json")
    (gone,) = [each for each in json.loads(out)["pieces"] if each["state"] == "withdrawn"]
    assert (code, gone["sha256"], gone["reason"], gone["leafIndex"]) == (0, digest, "personal-data", 2)
    rows = json.loads(hubledger("history", ledger, "acme/tiny", "--json")[1])["events"]
    assert [row["type"].rpartition("/hubledger/")[2] for row in rows] == [
        "verification-event/v1",
        "erasure/v1",
    ]
    again = json.loads(
        hubledger("evidence", "withdraw", ledger, digest, "--reason", "other-reason", "--json")[1]
    )
    assert again["withdrawn"][0] == {
        "sha256": digest, "reason": "personal-data", "leafIndex": 2, "repeated": True,
    }  # fmt: skip


def test_a_later_recording_does_not_bring_withdrawn_bytes_back(record, hubledger, ledger, model):
    record("r1")
    digest, manifest = sha256(model / "model.sig"), record("r1")["manifestSha256"]
    assert hubledger("evidence", "withdraw", ledger, digest, manifest, "--reason", "court-order")[0] == 0
    receipt = record("r2")
    assert receipt["withheld"] == [manifest, digest]
    _, out, _ = hubledger("record", ledger, "acme/tiny", "--revision", "r3", "--model", model)
    for each in (manifest, digest):
        assert out.count(f"Withheld          {each} (withdrawn earlier: its bytes are not kept)") == 1
    assert receipt["outcome"] == "VERIFIED"
    assert not file_of(ledger, digest).exists()
    assert not file_of(ledger, manifest).exists()
    assert hubledger("log", "audit", ledger)[0] == 0


def test_what_cannot_be_withdrawn_is_refused_and_logs_nothing(record, hubledger, ledger, model):
    record("r1")
    checkpoint = (ledger / "log/checkpoint").read_bytes()
    digest = sha256(model / "model.sig")
    for arguments, code, refusal in (
        (
            ("00" * 32, "--reason", "x"),
            34,
            "expected stored bytes, got none. `hubledger evidence show` lists",
        ),
        ((digest, "--reason", "Not a code"), 31, "reason of the withdrawal: expected a code of at most 40"),
        ((digest, "--reason", "x", "--reference", "y" * 300), 31, "predicate.reference"),
        (
            ("1234", "--reason", "x"),
            31,
            "digest of the evidence: expected 64 lower-case hex digits, got 1234",
        ),
    ):
        found, _, err = hubledger("evidence", "withdraw", ledger, *arguments)
        assert (found, refusal in err) == (code, True), err
    assert (ledger / "log/checkpoint").read_bytes() == checkpoint
    assert hubledger("log", "audit", ledger)[0] == 0
    assert file_of(ledger, digest).exists()


def test_a_copy_restored_over_a_withdrawal_is_found_and_withdrawn_again(
    record, show, hubledger, ledger, model, tmp_path
):
    record("r1")
    digest = sha256(model / "model.sig")
    shutil.copytree(ledger / "evidence", tmp_path / "copy")
    assert hubledger("evidence", "withdraw", ledger, digest, "--reason", "personal-data")[0] == 0
    withdrawn = (ledger / "evidence/withdrawn" / digest).read_bytes()
    shutil.copytree(tmp_path / "copy", ledger / "evidence", dirs_exist_ok=True)
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    assert "expected no bytes, as leaf 2 says, got bytes on the disk" in err
    withdraw = ("evidence", "withdraw", ledger, digest, "--reason", "personal-data")
    said = f"withdrawn   {digest}  personal-data, leaf 2  (withdrawn before"
    assert hubledger(*withdraw)[1] == f"{said}; its bytes had come back and are removed)\n"
    assert not file_of(ledger, digest).exists()
    assert hubledger("log", "audit", ledger)[0] == 0
    assert hubledger(*withdraw)[1] == f"{said})\n"
    shutil.copytree(tmp_path / "copy", ledger / "evidence", dirs_exist_ok=True)
    (ledger / "evidence/withdrawn" / digest).unlink()
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    assert f"evidence {digest}, bundle of leaf 1: expected no bytes, as leaf 2 says" in err
    assert show(digest)["state"] == "withdrawn", "the log says so, whatever lies there"
    _, out, _ = hubledger("evidence", "export", ledger, "r1", "-o", tmp_path / "export", "--json")
    assert [each["reason"] for each in json.loads(out)["pieces"] if each["sha256"] == digest] == [
        "personal-data"
    ]
    assert not (tmp_path / "export/bundles" / f"{digest}.json").exists()
    assert hubledger(*withdraw)[0] == 0
    assert (ledger / "evidence/withdrawn" / digest).read_bytes() == withdrawn
    assert hubledger("log", "audit", ledger)[0] == 0


def test_an_export_knows_of_a_withdrawal_that_no_index_mirrors(record, hubledger, ledger, model, tmp_path):
    record("r1")
    digest = sha256(model / "model.sig")
    shutil.copy(ledger / "digests.db", tmp_path / "older")
    shutil.copytree(ledger / "evidence", tmp_path / "copy")
    assert hubledger("evidence", "withdraw", ledger, digest, "--reason", "personal-data")[0] == 0
    shutil.rmtree(ledger / "evidence")
    shutil.copytree(tmp_path / "copy", ledger / "evidence")
    for suffix in ("-wal", "-shm"):
        (ledger / f"digests.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "older", ledger / "digests.db")
    assert hubledger("evidence", "export", ledger, "r1", "-o", tmp_path / "export")[0] == 0
    assert not (tmp_path / "export/bundles" / f"{digest}.json").exists()
    assert (tmp_path / "export/bundles" / f"{sha256(model / 'other.sig')}.json").exists()


def test_an_export_leaves_other_folders_alone(record, hubledger, ledger, tmp_path):
    record("r1")
    other = tmp_path / ".v.export"
    other.mkdir()
    (other / "mine").write_text("kept")
    assert hubledger("evidence", "export", ledger, "r1", "-o", tmp_path / "v")[0] == 0
    assert (other / "mine").read_text() == "kept"
    assert not list(tmp_path.glob(".hubledger-export-*"))


def test_a_policy_is_not_withdrawn(record, hubledger, ledger, show):
    record("r1")
    policy = next(each["sha256"] for each in show("r1")["pieces"] if each["use"] == "policy")
    checkpoint = (ledger / "log/checkpoint").read_bytes()
    code, _, err = hubledger("evidence", "withdraw", ledger, policy, "--reason", "x")
    assert code == 2
    assert "expected a manifest, a bundle or a text, got a policy, which every event rests on" in err
    assert (ledger / "log/checkpoint").read_bytes() == checkpoint
    assert file_of(ledger, policy).exists()


def test_every_model_that_names_a_withdrawn_piece_shows_it(record, hubledger, ledger, model):
    for number in range(9):
        record(f"r{number}", name=f"acme/model-{number}")
    digest = sha256(model / "model.sig")
    assert hubledger("evidence", "withdraw", ledger, digest, "--reason", "court-order")[0] == 0
    for number in range(9):
        rows = json.loads(hubledger("history", ledger, f"acme/model-{number}", "--json")[1])["events"]
        assert len(rows) == 2, number
    assert hubledger("log", "audit", ledger)[0] == 0


def test_a_note_without_its_statement_is_no_withdrawal(record, hubledger, ledger, model):
    record("r1")
    digest = sha256(model / "model.sig")
    (ledger / "evidence/withdrawn").mkdir()
    (ledger / "evidence/withdrawn" / digest).write_bytes(b'{"leafIndex":9,"reason":"x"}')
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    assert "expected a statement in the log that says so, got a note of leaf 9 only" in err


def test_garbage_is_what_no_event_names_and_is_old_enough(record, hubledger, ledger, model):
    for number in range(20):
        (model / f"{number:02}.sig").write_bytes(
            b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"' + b"," * number
        )
    record("r1")
    with open_for_recording(ledger) as opened:
        opened.evidence.put([b"left behind"])
        opened.evidence.put_text(bytes(16), b"text of an event that was never recorded")
    kept = {path for path in (ledger / "evidence").rglob("*") if path.is_file()}
    orphans = sorted(
        hashlib.sha256(each).hexdigest()
        for each in (b"left behind", b"text of an event that was never recorded")
    )
    gc = ("evidence", "gc", ledger, "--json")
    assert json.loads(hubledger(*gc)[1])["collected"] == [], "too young"
    assert json.loads(hubledger(*gc, "--older-than", "0", "--dry-run")[1])["collected"] == orphans
    assert all(path.exists() for path in kept)
    facts = json.loads(hubledger(*gc, "--older-than", "0s")[1])
    assert (facts["collected"], facts["bytes"]) == (orphans, 51)
    gone = {path for path in kept if not path.exists()}
    assert {path.name for path in gone} == {*orphans, "00" * 16}, (
        "22 bundles, 6 of them past the sixteenth, stay"
    )
    assert hubledger("log", "audit", ledger)[0] == 0
    assert json.loads(hubledger(*gc, "--older-than", "0")[1])["collected"] == []


def test_garbage_of_what_waits_to_be_published_is_kept(record, hubledger, ledger, model, oms):
    from ledger.bundle.trust_material import TrustMaterial
    from ledger.embedded.recording import RecordRequest, record_findings
    from ledger.verification import verify_revision

    trust = TrustMaterial(public_keys=[(oms / "keys/ec-p256.pub").read_bytes()])
    with open_for_recording(ledger) as opened:
        request = RecordRequest(name="acme/tiny", revision="r1", model=model)
        receipt = record_findings(opened, request, verify_revision(model, trust=trust))
        assert opened.log.published.checkpoint().checkpoint.size == 1
    assert (
        json.loads(hubledger("evidence", "gc", ledger, "--older-than", "0", "--json")[1])["collected"] == []
    )
    assert all(
        file_of(ledger, each.sha256.hex()).exists() for each in named_digests(receipt.event) if each.stored
    )


def test_garbage_is_never_collected_beside_a_writer(record, hubledger, ledger):
    record("r1")
    with open_for_recording(ledger):
        code, _, err = hubledger("evidence", "gc", ledger)
    assert code == 52
    assert "expected no other writer" in err
    code, _, err = hubledger("evidence", "gc", ledger, "--older-than", "soon")
    assert code == 2
    assert "--older-than: expected a number with s, m, h or d, got soon" in err


def test_a_bundle_of_17_MB_is_kept_by_digest_only_and_audits(record, show, hubledger, ledger, model):
    with (model / "large.sig").open("wb") as file:
        file.write(b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"')
        file.truncate(17 << 20)
    record("r1")
    large = next(each for each in show("r1")["pieces"] if each["sha256"] == sha256(model / "large.sig"))
    assert large["state"] == "digest-only"
    code, out, _ = hubledger("log", "audit", ledger)
    assert code == 0
    assert (
        "evidence: 5 pieces hash to their digests, 0 withdrawn as the log says, 1 kept by digest only" in out
    )


@pytest.mark.parametrize("damage", ["lost", "damaged"])
def test_a_bundle_past_the_sixteenth_is_audited_too(record, hubledger, ledger, model, damage):
    for number in range(20):
        (model / f"{number:02}.sig").write_bytes(
            b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"' + b"," * number
        )
    receipt = record("r1")
    named = {each["bundleSha256"] for each in receipt["signatures"]}
    last = next(digest for digest in map(sha256, sorted(model.glob("*.sig"))) if digest not in named)
    code, out, _ = hubledger("log", "audit", ledger)
    assert code == 0
    assert "evidence: 26 pieces hash to their digests" in out
    if damage == "lost":
        file_of(ledger, last).unlink()
    else:
        file_of(ledger, last).write_bytes(b"x")
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    assert f"evidence {last}, bundle of leaf 1: expected" in err


def test_a_lost_bundle_is_missed_although_another_was_too_large(record, hubledger, ledger, model, tmp_path):
    head = b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"'
    (model / "small.sig").write_bytes(head)
    with (model / "large.sig").open("wb") as file:
        file.write(head)
        file.truncate(17 << 20)
    record("r1")
    assert hubledger("log", "audit", ledger)[0] == 0
    file_of(ledger, sha256(model / "small.sig")).unlink()
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    assert f"evidence {sha256(model / 'small.sig')}, bundle of leaf 1: expected stored bytes" in err
    code, _, err = hubledger("evidence", "export", ledger, "r1", "-o", tmp_path / "export")
    assert code == 61
    assert "expected stored bytes, got none" in err


def test_evidence_is_for_its_owner(record, hubledger, ledger):
    record("r1")
    modes = {path.stat().st_mode & 0o777 for path in (ledger / "evidence").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert (ledger / "evidence").stat().st_mode & 0o777 == 0o700
    (ledger / "evidence").chmod(0o750)
    record("r2")
    assert (ledger / "evidence").stat().st_mode & 0o777 == 0o750, "whoever lets a group in keeps that"
    settings = ledger / "hubledger.toml"
    settings.write_text(settings.read_text().replace('private = "skip"', 'private = "committed"'))
    record("r3")
    assert (ledger / "evidence").stat().st_mode & 0o777 == 0o700, "unless signers are held back"
