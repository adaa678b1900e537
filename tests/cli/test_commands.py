"""The commands as a hub, an auditor and a user type them, in their own process's terms: text, JSON, exit codes."""

import json
import shlex
import shutil
import stat

import pytest

from cli.demo_world import sign_with_key, write_key_pair
from cli.main import run


@pytest.fixture
def hubledger(capsys):
    """Run a command; returns (exit code, standard output, standard error)."""

    def call(*arguments):
        code = run([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def signed(vectors, tmp_path):
    """A model signed with a P-256 key, and the key."""
    oms = vectors / "samples/oms"
    model = tmp_path / "model"
    shutil.copytree(oms / "tiny-model", model)
    shutil.copy(oms / "key-p256.model.sig", model / "model.sig")
    return model, oms / "keys/ec-p256.pub"


def record(hubledger, ledger, model, revision, *more):
    return hubledger("record", ledger, "acme/tiny", "--revision", revision, "--model", model, "--json", *more)


def test_init_makes_private_keys_that_only_the_owner_reads(ledger):
    for name in ("log.key", "cosigner.key", "hub.key"):
        assert stat.S_IMODE((ledger / "keys" / name).stat().st_mode) == 0o600


def test_init_refuses_a_directory_with_something_in_it(hubledger, ledger):
    before = sorted(path.name for path in ledger.iterdir())
    code, _, err = hubledger("init", ledger, "--origin", "log.example", "--hub", "hub.example")
    assert code == 35
    assert "expected a new or empty directory, got something in it" in err
    assert sorted(path.name for path in ledger.iterdir()) == before


def test_a_signed_model_goes_in_and_a_proof_comes_out(hubledger, ledger, signed, tmp_path):
    model, key = signed
    proof = tmp_path / "p.tlog-proof"
    code, out, _ = record(hubledger, ledger, model, "r1", "--public-key", key, "--proof-out", proof)
    receipt = json.loads(out)
    assert (code, receipt["outcome"], receipt["decision"], receipt["leafIndex"]) == (
        0,
        "VERIFIED",
        "observed",
        1,
    )
    code, out, _ = hubledger(
        "verify",
        "--proof",
        proof,
        "--trust",
        ledger / "trust.toml",
        "--model",
        model,
        "--expect-key",
        key,
        "--json",
    )
    facts = json.loads(out)
    assert (code, facts["log"], facts["model"], facts["satisfied"]) == (0, "INCLUDED_ONLY", "ACCEPTED", True)


def test_a_retry_gives_the_first_receipt_and_other_facts_conflict(hubledger, ledger, signed):
    model, key = signed
    first = json.loads(record(hubledger, ledger, model, "r1", "--public-key", key, "--event-id", "e1")[1])
    again = json.loads(record(hubledger, ledger, model, "r1", "--public-key", key, "--event-id", "e1")[1])
    assert (again["leafIndex"], again["repeated"]) == (first["leafIndex"], True)
    code, _, err = record(hubledger, ledger, model, "r2", "--public-key", key, "--event-id", "e1")
    assert code == 36
    assert json.loads(err)["message"].startswith(
        "event id e1: expected the facts recorded at leaf 1, got other facts"
    )


def test_history_marks_where_the_signer_changed(hubledger, ledger, signed):
    model, key = signed
    record(hubledger, ledger, model, "r1", "--public-key", key)
    (model / "model.sig").unlink()
    record(hubledger, ledger, model, "r2")
    rows = json.loads(hubledger("history", ledger, "acme/tiny", "--json")[1])["events"]
    assert [(row["revision"], row["changed"], row["decision"]) for row in rows] == [
        ("r1", False, "observed"),
        ("r2", True, "challenged"),
    ]
    assert rows[1]["reasons"] == ["signature-lost"]


@pytest.fixture
def sign(tmp_path):
    """Sign a model again with a key of that name; returns the public key's file."""
    keys = {}

    def call(model, name):
        if name not in keys:
            keys[name] = write_key_pair(tmp_path, name)
        private, public = keys[name]
        (model / "model.sig").unlink(missing_ok=True)
        sign_with_key(model, private)
        return public

    return call


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(bytes(64))
    return folder


def test_a_strangers_second_upload_is_seen_to_be_no_pinned_signer_s(hubledger, ledger, model, sign):
    """The decision is against the pin and the marker against the row before: both can be read."""
    for revision, name in (("r1", "alice"), ("r2", "bob"), ("r3", "bob"), ("r4", "alice")):
        record(hubledger, ledger, model, revision, "--public-key", sign(model, name))
    rows = json.loads(hubledger("history", ledger, "acme/tiny", "--json")[1])["events"]
    assert [(row["changed"], row["byPinned"], row["decision"]) for row in rows] == [
        (False, True, "observed"),
        (True, False, "challenged"),
        (False, False, "challenged"),
        (True, True, "observed"),
    ]
    assert all(row["pin"]["leafIndex"] == 1 for row in rows)
    assert all(row["pin"]["signers"] == rows[0]["signers"] for row in rows)
    alice, bob = rows[0]["signedBy"], rows[1]["signedBy"]
    _, out, _ = hubledger("history", ledger, "acme/tiny")
    lines = out.splitlines()
    assert [line[:2] for line in lines if line[4:5].isdigit()] == ["  ", "!*", " *", "! "]
    assert [line.strip() for line in lines if "igned by" in line or "Signer" in line] == [
        f"Signed by {alice}",
        f"Signed by {bob}",
        f"Signer changed: {alice} → {bob}",
        f"Signed by {bob}",
        f"Signed by {alice}",
        f"Signer changed: {bob} → {alice}",
    ]
    assert lines[-3:] == [
        "!  other signers than in the last signed row before, or another repository",
        "*  not by a pinned signer",
        f"   pinned at leaf 1: {alice}",
    ]


def test_a_history_without_changes_explains_no_markers(hubledger, ledger, signed):
    model, key = signed
    record(hubledger, ledger, model, "r1", "--public-key", key)
    assert len(hubledger("history", ledger, "acme/tiny")[1].splitlines()) == 3


@pytest.mark.parametrize(
    "typo", ["acme/tny", "acme/tinny", "amce/tiny", "ACME/Tiny", "acme-tiny", "tiny", "acme/tiny-v2"]
)
def test_a_misspelt_name_gets_the_recorded_one(hubledger, ledger, model, typo):
    record(hubledger, ledger, model, "r1")
    hubledger("record", ledger, "other/thing", "--revision", "r1", "--model", model)
    code, _, err = hubledger("history", ledger, typo)
    assert code == 34
    assert (
        err == f"hubledger: model {typo}: expected a recorded name, got no event. Did you mean acme/tiny?\n"
    )


def test_a_name_that_is_like_no_other_gets_no_guess(hubledger, ledger, model):
    record(hubledger, ledger, model, "r1")
    _, _, err = hubledger("history", ledger, "zebra/quux")
    assert err.endswith("got no event. Record it with `hubledger record`\n")


def test_the_receipt_says_what_could_not_be_verified_and_who_is_claimed(hubledger, ledger, model, sign):
    key = sign(model, "alice")
    words = ("record", ledger, "acme/tiny", "--model", model, "--public-key", key)
    signer = hubledger(*words, "--revision", "r1")[1].splitlines()[1]
    assert signer.startswith("  Signed by         key SHA256:")
    (model / "weights.bin").write_bytes(b"changed")
    out = hubledger(*words, "--revision", "r2")[1].splitlines()
    assert out[0] == "CONTENT_MISMATCH  acme/tiny at r2"
    claimed = signer.removeprefix("  Signed by         ")
    assert out[1] == f"  Could not verify  CONTENT_MISMATCH, claims {claimed}"
    (model / "model.sig").unlink()
    out = hubledger(*words, "--revision", "r3")[1].splitlines()
    assert out[:3] == [
        "UNSIGNED  acme/tiny at r3",
        "  Unsigned          no signature among the files",
        "  Decision          challenged (signature-lost)",
    ]


def test_the_receipt_says_that_the_signer_changed(hubledger, ledger, model, sign):
    for revision, name in (("r1", "alice"), ("r2", "bob")):
        words = ("--revision", revision, "--model", model, "--public-key", sign(model, name))
        _, out, _ = hubledger("record", ledger, "acme/tiny", *words)
    assert "  Signer changed    not by a signer pinned for this model\n" in out
    assert out.endswith(f"See since when: hubledger history {ledger} acme/tiny\n")


@pytest.mark.parametrize("option", ["-o", "--output", "--proof-out"])
def test_the_proof_s_file_is_named_alike_when_recording_and_later(hubledger, ledger, model, tmp_path, option):
    first, second = tmp_path / "first", tmp_path / "second"
    assert record(hubledger, ledger, model, "r1", option, first)[0] == 0
    assert hubledger("proof", ledger, "1", option, second)[0] == 0
    assert first.read_bytes() == second.read_bytes()


def test_the_command_that_a_proof_suggests_works(hubledger, ledger, model, tmp_path):
    record(hubledger, ledger, model, "r1")
    _, out, _ = hubledger("proof", ledger, "1", "--since", ledger / "log/checkpoint", "-o", tmp_path / "a b")
    words = shlex.split(out.splitlines()[1].removeprefix("Check it: hubledger "))
    assert hubledger(*words)[0] == 0


@pytest.mark.parametrize(
    ("more", "option"),
    [
        (("--revision", ""), "--revision"),
        (("--revision", "r1", "--repo-id", ""), "--repo-id"),
        (("--revision", "r1", "--ref", ""), "--ref"),
        (("--revision", "r1", "--parent", "r0", "--parent", ""), "--parent"),
        (("--revision", "r1", "--event-id", ""), "--event-id"),
        (("--revision", "r1", "--uploader", ""), "--uploader"),
    ],
)
def test_an_empty_word_is_refused_before_it_is_in_the_log_for_ever(hubledger, ledger, model, more, option):
    code, _, err = hubledger("record", ledger, "acme/tiny", "--model", model, *more)
    assert (code, err) == (
        2,
        f"hubledger: {option}: expected at least one character, got nothing. Compare with the command's --help\n",
    )
    assert json.loads(hubledger("log", "checkpoint", ledger, "--json")[1])["size"] == 1


def test_an_empty_name_is_refused(hubledger, ledger, model):
    code, _, err = hubledger("record", ledger, "", "--revision", "r1", "--model", model)
    assert (code, err) == (
        2,
        "hubledger: NAME: expected at least one character, got nothing. Compare with the command's --help\n",
    )


def test_a_trust_config_that_is_none_is_refused_also_where_nothing_needs_it(
    hubledger, ledger, model, tmp_path
):
    (tmp_path / "junk").write_bytes(bytes(range(256)))
    words = ("--revision", "r1", "--model", model, "--trust-config", tmp_path / "junk")
    code, _, err = hubledger("record", ledger, "acme/tiny", *words)
    assert code == 31
    assert err.startswith("hubledger: --trust-config: expected ")


def test_init_says_which_option_and_that_a_file_is_in_the_way(hubledger, tmp_path):
    words = ("--origin", "log.example", "--hub", "a hub")
    code, _, err = hubledger("init", tmp_path / "new", *words)
    assert code == 33
    assert err.startswith("hubledger: --hub: expected 1 to 128 printable ASCII characters without spaces")
    (tmp_path / "file").write_bytes(b"")
    code, _, err = hubledger("init", tmp_path / "file", "--origin", "log.example", "--hub", "hub.example")
    assert code == 35
    assert "expected a new or empty directory, got a file." in err


@pytest.mark.parametrize("words", [("https://log.example/",), ("ledger", "--origin", "log.example")])
def test_somebody_elses_log_needs_its_key(hubledger, words):
    code, _, err = hubledger("log", "audit", *words)
    assert (code, err) == (
        2,
        (
            "hubledger: hubledger log audit: expected --vkey with an address or an --origin, got none. "
            "Ask the log's publisher for its verifier key\n"
        ),
    )


def test_the_log_of_a_ledger_is_found_in_its_directory(hubledger, ledger):
    vkey = json.loads(hubledger("keys", "show", ledger, "--json")[1])["logKey"]
    for folder in (ledger, ledger / "log"):
        code, out, _ = hubledger("log", "audit", folder, "--vkey", vkey, "--json")
        assert (code, json.loads(out)["size"]) == (0, 1)


def test_a_remembered_checkpoint_that_is_none_is_named(hubledger, ledger, tmp_path):
    (tmp_path / "junk").write_bytes(b"\xff")
    code, _, err = hubledger("proof", ledger, "0", "--since", tmp_path / "junk", "-o", tmp_path / "p")
    assert code == 31
    assert err.startswith("hubledger: remembered checkpoint: signed note: expected UTF-8, got ")
    assert err.endswith(". Name a copy of this log's `checkpoint` file\n")


def test_a_key_that_others_can_read_is_refused_with_a_command_that_mends_it(hubledger, ledger, model):
    key = ledger / "keys/hub.key"
    key.chmod(0o644)
    code, _, err = hubledger("record", ledger, "acme/tiny", "--revision", "r1", "--model", model)
    assert code == 33
    assert err == (
        f"hubledger: permissions of {key}: expected readable by its owner only, got readable by others. "
        f"Run `chmod 600 {key}` and consider the key as seen\n"
    )


def test_the_audit_passes_and_then_names_what_was_changed(hubledger, ledger, signed):
    model, key = signed
    for number in range(3):
        record(hubledger, ledger, model, f"r{number}", "--public-key", key)
    code, out, _ = hubledger("log", "audit", ledger, "--json")
    assert (code, json.loads(out)["size"]) == (0, 4)
    bundle = ledger / "log/tile/entries/000.p/4"
    data = bytearray(bundle.read_bytes())
    data[-30] ^= 1
    bundle.write_bytes(data)
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    assert "hash 3 of tile/0/000.p/4 (from entry 3)" in err


def test_the_audit_compares_heads_with_the_commit_store(hubledger, ledger, signed):
    import sqlite3

    model, key = signed
    record(hubledger, ledger, model, "r1", "--public-key", key)
    with sqlite3.connect(ledger / "ledger.db") as database:
        database.execute("UPDATE heads SET sequence = 7 WHERE history = 'name:acme/tiny'")
    database.close()
    code, _, err = hubledger("log", "audit", ledger)
    assert code == 61
    assert "head name:acme/tiny in the commit store" in err


def test_the_index_is_rebuilt_as_it_was(hubledger, ledger, signed):
    model, key = signed
    record(hubledger, ledger, model, "r1", "--public-key", key)
    assert hubledger("index", "check", ledger)[0] == 0
    import sqlite3

    with sqlite3.connect(ledger / "index.db") as database:
        database.execute("UPDATE statements SET outcome = 'UNSIGNED' WHERE leaf_index = 1")
    database.close()
    code, _, err = hubledger("index", "check", ledger)
    assert code == 61
    assert "differs: statements" in err
    assert hubledger("index", "rebuild", ledger)[0] == 0
    assert hubledger("index", "check", ledger)[0] == 0


def test_somebody_elses_log_is_audited(hubledger, vectors):
    """The 15-entry log that Tessera wrote."""
    folder = vectors / "vectors/tessera-testdata-log/testdata/log"
    vkey = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    code, out, err = hubledger("log", "audit", folder, "--vkey", vkey, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["entries"] == 15


def test_verify_says_which_result_failed(hubledger, ledger, signed, tmp_path):
    model, key = signed
    proof = tmp_path / "p.tlog-proof"
    record(hubledger, ledger, model, "r1", "--public-key", key, "--proof-out", proof)
    base = ("verify", "--proof", proof, "--trust", ledger / "trust.toml")
    assert hubledger(*base)[0] == 24
    assert hubledger(*base, "--log-only")[0] == 0
    signer = ("--expect-signer", "a@example.org", "--expect-issuer", "https://idp.example.org")
    assert hubledger(*base, "--model", model, *signer)[0] == 21
    assert hubledger(*base, "--model", model, *signer, "--expect-key", key)[0] == 0
    assert hubledger(*base, "--model", model, *signer, "--expect-key", key, "--expect-all")[0] == 21
    (model / "config.json").write_bytes(b"{}")
    assert hubledger(*base, "--model", model)[0] == 22
    proof.write_bytes(proof.read_bytes().replace(b"index 1\n", b"index 0\n"))
    assert hubledger(*base, "--log-only")[0] == 13


def test_a_signer_without_its_issuer_is_a_usage_error(hubledger, ledger, tmp_path):
    (tmp_path / "p").write_bytes(b"")
    base = ("verify", "--proof", tmp_path / "p", "--trust", ledger / "trust.toml")
    code, _, err = hubledger(*base, "--expect-signer", "a")
    assert code == 2
    assert "expected an --expect-issuer right after it, got the end" in err
    code, _, err = hubledger(*base, "--expect-issuer", "a", "--expect-signer", "b")
    assert code == 2
    assert "expected an --expect-signer before it" in err


def test_the_proof_can_be_linked_to_an_older_checkpoint(hubledger, ledger, signed, tmp_path):
    model, key = signed
    pin = tmp_path / "pin"
    record(hubledger, ledger, model, "r1", "--public-key", key)
    pin.write_bytes((ledger / "log/checkpoint").read_bytes())
    record(hubledger, ledger, model, "r2", "--public-key", key)
    proof = tmp_path / "p"
    verify = (
        "verify",
        "--proof",
        proof,
        "--trust",
        ledger / "trust.toml",
        "--log-only",
        "--json",
        "--pin",
        pin,
    )
    hubledger("proof", ledger, "2", "-o", proof)
    link = [
        each for each in json.loads(hubledger(*verify)[1])["checks"] if each["step"] == "link to your pin"
    ]
    assert link[0]["result"] == "skipped"
    assert "not linked to your pin" in link[0]["against"]
    hubledger("proof", ledger, "2", "--since", pin, "-o", proof)
    link = [
        each for each in json.loads(hubledger(*verify)[1])["checks"] if each["step"] == "link to your pin"
    ]
    assert link[0]["result"] == "ok"


def test_the_demo_catches_everything(hubledger):
    code, out, _ = hubledger("demo", "--json")
    facts = json.loads(out)
    assert code == 0
    assert [each["outcome"] for each in facts["recorded"]] == [
        "VERIFIED",
        "VERIFIED",
        "VERIFIED",
        "UNSIGNED",
        "CONTENT_MISMATCH",
    ]
    assert all(each["caught"] for each in facts["caught"])
    assert len(facts["caught"]) == 5
