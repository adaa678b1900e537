"""Listing anchors: every stored byte is held against what was signed, and what does not hold is named."""

import base64
import json
import shutil

import pytest

from cli.main import run
from ledger.client.evidence import verify_evidence
from ledger.embedded.directory import open_for_reading
from ledger.encoding import format_canonical_json
from ledger.log.anchor_proofs import AnchorSigner
from ledger.storage.anchors import NewAnchor
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, sign_note
from tests.anchors import new_ledger, settings, trust_of
from tests.fakes.rekor import FakeRekor, FakeTree
from tests.world import digest, p256_key


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A ledger with three anchors, the last one pending. Never changed: each test has a copy."""
    folder, rekor = tmp_path_factory.mktemp("made"), FakeRekor()
    with rekor.serve() as url:
        ledger = new_ledger(folder).configure(**settings(trust_of(folder, rekor, url)))
        ledger.anchor()
        ledger.record("r2")
        ledger.anchor()
        ledger.record("r3")
        rekor.fail = (503, {}, b"")
        ledger.anchor()
    return ledger


@pytest.fixture
def ledger(made, tmp_path):
    """Nothing listens any more: what is listed comes from files."""
    from tests.anchors import AnchoredLedger

    return AnchoredLedger(shutil.copytree(made.folder, tmp_path / "ledger"), now=made.now)


def test_the_untouched_ledger_holds_without_network(ledger):
    report = ledger.list()
    assert [each.state for each in report.anchors] == ["logged", "logged", "pending"]
    assert (ledger.problems(), report.exit_code, report.evidence) == ([], 0, None)


def test_a_time_that_no_calendar_has_is_listed_all_the_same(ledger):
    name = ledger.list().anchors[0].name
    rewrite(ledger.folder / "anchors" / name / "anchor.json", lambda value: value.update(madeAt=2**53 - 1))
    assert ledger.list().anchors[0].as_json()["madeAt"] == f"second {2**53 - 1}"


def rewrite(path, change):
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(format_canonical_json(value))


def flip(text):
    """The same length and alphabet, another value."""
    at = len(text) // 2
    return text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]


def swap(value, *keys):
    *path, last = keys
    for key in path:
        value = value[key]
    value[last] = flip(value[last]) if isinstance(value[last], str) else value[last] + 1


LIES = {
    # file, field, and the steps that name it; a tuple of fields leads to one below others
    ("anchor.json", ("size",)): ["stored files"],
    ("anchor.json", ("kind",)): ["stored files"],
    ("anchor.json", ("log",)): ["stored files"],
    ("anchor.json", ("envelope", "payload")): ["stored files"],
    ("anchor.json", ("envelope", "signatures", 0, "sig")): ["stored files"],
    ("anchor.json", ("envelope", "signatures", 0, "keyid")): ["stored files"],
    ("anchor.json", ("checkpoint",)): ["checkpoint"],
    ("log-entry.json", ("canonicalizedBody",)): ["log entry"],
    ("log-entry.json", ("logIndex",)): ["log entry"],
    ("log-entry.json", ("kindVersion", "kind")): ["log entry"],
    ("log-entry.json", ("kindVersion", "version")): ["log entry"],
    ("log-entry.json", ("logId", "keyId")): ["log entry"],
    ("log-entry.json", ("inclusionProof", "logIndex")): ["log entry"],
    ("log-entry.json", ("inclusionProof", "rootHash")): ["log entry"],
    ("log-entry.json", ("inclusionProof", "treeSize")): ["log entry"],
    ("log-entry.json", ("inclusionProof", "hashes", 0)): ["log entry"],
    ("log-entry.json", ("inclusionProof", "checkpoint", "envelope")): ["log entry"],
}


@pytest.mark.parametrize(("file", "field"), LIES, ids=str)
def test_a_lie_in_any_stored_field_is_named(ledger, file, field):
    name = ledger.store.names()[1]
    rewrite(ledger.folder / "anchors" / name / file, lambda value: swap(value, *field))
    report = ledger.list()
    assert [[each.step for each in one.problems] for one in report.anchors] == [[], LIES[file, field], []]
    assert report.exit_code != 0
    assert report.evidence is None  # a damaged file accuses nobody


@pytest.mark.parametrize("file", ["anchor.json", "log-entry.json"])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"{" * 9999], ids=repr)
def test_a_file_of_another_form_is_named(ledger, file, data):
    name = ledger.store.names()[0]
    (ledger.folder / "anchors" / name / file).write_bytes(data)
    step = "stored files" if file == "anchor.json" else "log entry"
    assert [step] == [each for each, _ in ledger.problems()]


@pytest.mark.parametrize("file", ["timestamps.json", "refused.json"])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'["!"]', b"[1]"], ids=repr)
def test_a_file_that_nobody_stored_is_named(ledger, file, data):
    (ledger.folder / "anchors" / ledger.store.names()[0] / file).write_bytes(data)
    assert ledger.problems() == [("stored files", "CorruptError")]


def test_a_missing_anchor_file_is_named(ledger):
    (ledger.folder / "anchors" / ledger.store.names()[0] / "anchor.json").unlink()
    assert ledger.problems() == [("stored files", "CorruptError")]


def test_the_checkpoint_of_another_size_under_an_envelope_is_named(ledger):
    """Both are signed, by the log and by the anchor key; they do not belong together."""
    first, second, _ = [ledger.folder / "anchors" / each / "anchor.json" for each in ledger.store.names()]
    other = json.loads(first.read_bytes())["checkpoint"]
    rewrite(second, lambda value: value.update(checkpoint=other))
    assert ledger.problems() == [("checkpoint", "ProofError"), ("statement", "ProofError")]


def test_the_log_entry_of_another_anchor_is_named(ledger):
    first, second, _ = [ledger.folder / "anchors" / each / "log-entry.json" for each in ledger.store.names()]
    shutil.copy(first, second)
    assert ledger.problems() == [("log entry", "ProofError")]


def test_another_trusted_root_proves_nothing(ledger, tmp_path):
    stranger = FakeRekor(tree=FakeTree("rekor.example", key="another"))
    trust_of(tmp_path, stranger, "http://127.0.0.1:1")
    problems = ledger.problems(trusted_root=tmp_path / "trusted_root.json")
    assert problems == [("log entry", "SignatureError")] * 2


def test_an_anchor_by_a_key_that_is_not_ours_is_named(ledger):
    note = open_for_reading(ledger.folder).log.checkpoint()
    envelope = AnchorSigner(p256_key("stranger")).sign(note.checkpoint)
    ledger.store.create(
        NewAnchor(
            size=note.checkpoint.size,
            made_at=1,
            log="",
            wants_timestamps=False,
            note=note.note,
            envelope=envelope,
        )
    )
    assert ledger.problems() == [("signature", "SignatureError")]


def forge(ledger, *, size, root):
    """What somebody with the log's key and the anchor key can make: an anchor of a tree that is not ours."""
    folder = ledger.folder / "keys"
    log = Ed25519NoteSigner.parse_private((folder / "log.key").read_text().strip())
    from ledger.embedded.anchor_key import load_or_make

    tree = Checkpoint(origin="log.example/models", size=size, root_hash=root)
    return ledger.store.create(
        NewAnchor(
            size=size,
            made_at=1,
            log="",
            wants_timestamps=False,
            note=sign_note(format_checkpoint(tree), [log]),
            envelope=load_or_make(folder / "anchor.key").sign(tree),
        )
    )


@pytest.mark.parametrize("size", [2, 3, 4], ids=["a power of two", "before the present", "the present"])
def test_two_signed_histories_are_evidence(ledger, size, tmp_path, hubledger):
    forge(ledger, size=size, root=digest("another history"))
    out = tmp_path / "evidence.json"
    code, text, _ = hubledger("log", "anchors", ledger.folder, "--evidence-out", out)
    assert code == 45
    assert "MISBEHAVIOUR" in text
    found = verify_evidence(out.read_bytes(), trust=open_for_reading(ledger.folder).trust)
    assert found.newer.checkpoint.root_hash != found.older.checkpoint.root_hash


def test_evidence_that_cannot_be_written_hides_nothing(ledger, tmp_path, hubledger):
    """The table, the exit code and the word are as ever, and JSON has the evidence itself."""
    forge(ledger, size=4, root=digest("another history"))
    out = tmp_path / "nowhere/evidence.json"
    code, text, _ = hubledger("log", "anchors", ledger.folder, "--evidence-out", out)
    assert (code, "SIZE" in text) == (45, True)
    said = f"Evidence: could not be written to {out} (No such file or directory)"
    assert f"MISBEHAVIOUR: the log signed two histories. {said}" in text
    assert "with --evidence-out in another folder" in " ".join(text.split())
    code, text, _ = hubledger("log", "anchors", ledger.folder, "--evidence-out", out, "--json")
    facts = json.loads(text)
    assert (code, facts["exitCode"], facts["evidenceProblem"]) == (45, 45, said.removeprefix("Evidence: "))
    evidence = format_canonical_json(facts["evidence"])
    assert verify_evidence(evidence, trust=open_for_reading(ledger.folder).trust)


def test_two_signed_histories_above_the_present_size_are_evidence(ledger):
    forge(ledger, size=9, root=digest("one"))
    assert ledger.list().evidence is None  # it may be that this directory is old
    assert ledger.problems() == [("tree", "RestoredError")]
    forge(ledger, size=9, root=digest("two"))
    assert ledger.list().evidence is not None


def test_damaged_tiles_accuse_nobody(ledger):
    tile = ledger.folder / "log/tile/0/000.p/4"
    data = bytearray(tile.read_bytes())
    data[0] ^= 1
    tile.write_bytes(data)
    report = ledger.list()
    assert {step for step, _ in ledger.problems()} == {"tree"}
    assert report.evidence is None


def test_the_command_says_what_does_not_hold_and_json_says_the_same(ledger, capsys):
    name = ledger.store.names()[0]
    (ledger.folder / "anchors" / name / "log-entry.json").write_bytes(b"{}")
    assert run(["log", "anchors", str(ledger.folder)]) == 31
    text = capsys.readouterr().out
    assert "1 anchor of 3 does not hold" in text
    assert f"{name}: log entry: log entry: expected an inclusion proof" in text
    assert run(["log", "anchors", str(ledger.folder), "--json"]) == 31
    facts = json.loads(capsys.readouterr().out)
    assert [each["holds"] for each in facts["anchors"]] == [False, True, True]
    assert facts["anchors"][0]["problems"][0]["step"] == "log entry"


def test_an_exported_anchor_is_a_bundle_about_the_text_beside_it(ledger, tmp_path, hubledger):
    import hashlib

    out = tmp_path / "out"
    assert hubledger("log", "anchors", ledger.folder, "--export", out)[0] == 0
    name = ledger.store.names()[1]
    bundle = json.loads((out / f"{name}.sigstore.json").read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    text = (out / f"{name}.txt").read_bytes()
    assert statement["subject"][0]["digest"]["sha256"] == hashlib.sha256(text).hexdigest()
    assert len(bundle["verificationMaterial"]["tlogEntries"]) == 1
    assert not list(out.glob(f"{ledger.store.names()[2]}*"))  # what is pending proves nothing yet
    code, said, _ = hubledger(
        "verify",
        "--bundle",
        out / f"{name}.sigstore.json",
        "--artifact",
        out / f"{name}.txt",
        "--public-key",
        next(out.glob("anchor-*.pub")),
        "--trusted-root",
        ledger.instance_root,
    )
    assert code == 0, said


def test_a_ledger_without_anchors_says_so(tmp_path, hubledger):
    ledger = new_ledger(tmp_path)
    code, text, _ = hubledger("log", "anchors", ledger.folder)
    assert (code, text) == (0, "No anchor of log.example/models is stored here\n")
