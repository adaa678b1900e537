"""`hubledger verify` as it is typed: order of options, exit codes, text, JSON and the evidence file."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization

from cli.exit_codes import ExitCode
from cli.main import run
from cli.verify_evidence import _write_whole
from cli.verify_input import hash_files
from ledger.client.evidence import verify_evidence
from ledger.client.trust_writing import format_trust
from ledger.client.verify import LogResult, ModelResult
from ledger.encoding import format_canonical_json
from ledger.identity import fingerprint
from ledger.verification import read_content
from tests.world import (
    ISSUER,
    NOW,
    WORKFLOW,
    World,
    key_signer,
    make_event,
    p256_key,
    signed_by,
    sigstore_signer,
)

AT = 5
SIGNER = ("--expect-signer", WORKFLOW, "--expect-issuer", ISSUER)
ALICE_HEX = key_signer("alice").spki_sha256.hex()
ALICE_PRINT = fingerprint(key_signer("alice").spki_sha256)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model, its proof, trust files, a pin, and the pin of a fork; also the working directory."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "weights.safetensors").write_bytes(bytes(64))
    found = read_content(model)
    manifest, content = found.manifest.sha256, found.content.sha256
    event = make_event(signed_by(sigstore_signer()), signed_by(key_signer("alice")))
    event = dataclasses.replace(
        event, manifest=dataclasses.replace(event.manifest, sha256=manifest, content_sha256=content)
    )
    world = World().grow(AT)
    world.record(event)
    world.grow(7)
    fork = world.fork(2).grow(11, word="forked")
    pem = (
        p256_key("alice")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    files = {
        "model.tlog-proof": world.proof(AT, since=3),
        "broken.tlog-proof": world.proof(AT).replace(b"index 5", b"index 6"),
        "bare.tlog-proof": b"\n".join(
            line for line in world.proof(AT).split(b"\n") if not line.startswith(b"extra ")
        ),
        "other.tlog-proof": world.proof(0),
        "pin": world.checkpoint(3),
        "forked-pin": fork.checkpoint(),
        "forked-pin-3": fork.checkpoint(3),
        "late-pin": world.checkpoint(),
        "early.tlog-proof": world.proof(AT, size=9),
        "trust.toml": format_trust(world.trust()),
        "other.toml": format_trust(dataclasses.replace(world, log_key="other").trust()),
        "complete.toml": format_trust(world.trust(require="complete")),
        "alice.pem": pem,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def verify(folder, capsys):
    def call(*arguments, proof="model.tlog-proof", trust="trust.toml"):
        code = run(["verify", "--proof", proof, "--trust", trust, *arguments])
        return code, *capsys.readouterr()

    return call


def test_exit_codes_are_distinct_and_in_their_ranges():
    """10 to 19 are the log's, 20 to 29 the model's; 30 and up belong to errors."""
    assert len({code.value for code in ExitCode}) == len(ExitCode)
    for code in ExitCode:
        wanted = range(20, 30) if code.name in ModelResult.__members__ else range(10, 20)
        assert code in wanted
        assert code.name in {*ModelResult.__members__, *LogResult.__members__, "NOT_ENOUGH"}


RESULTS = {
    "all is well": ((*SIGNER, "--model", "model"), {}, 0),
    "nobody expected": (("--model", "model"), {}, 0),
    "the log alone": (("--log-only",), {}, 0),
    "one of several signers": (("--model", "model", "--expect-key", "0" * 64, *SIGNER), {}, 0),
    "a key by its PEM file": (("--model", "model", "--expect-key", "alice.pem"), {}, 0),
    "a key by its fingerprint": (("--model", "model", "--expect-key", ALICE_PRINT), {}, 0),
    "each of several signers": (
        ("--model", "model", "--expect-all", *SIGNER, "--expect-key", ALICE_HEX),
        {},
        0,
    ),
    "with a pin": (("--log-only", "--pin", "pin"), {}, 0),
    "an older proof than the pin": (("--log-only", "--pin", "late-pin"), {"proof": "early.tlog-proof"}, 0),
    "stale": (
        ("--log-only", "--pin", "late-pin"),
        {"proof": "early.tlog-proof", "trust": "complete.toml"},
        ExitCode.STALE,
    ),
    "not complete": (("--model", "model"), {"trust": "complete.toml"}, ExitCode.NOT_ENOUGH),
    "not complete, and no files": ((), {"trust": "complete.toml"}, ExitCode.NOT_ENOUGH),
    "no entry in the proof": (("--model", "model"), {"proof": "bare.tlog-proof"}, ExitCode.CANNOT_CHECK),
    "a broken proof": (("--model", "model"), {"proof": "broken.tlog-proof"}, ExitCode.INVALID),
    "a forked log": (("--log-only", "--pin", "forked-pin"), {}, ExitCode.MISBEHAVIOUR),
    "no files": ((), {}, ExitCode.NOT_CHECKED),
    "not each of several signers": (
        ("--model", "model", "--expect-all", *SIGNER, "--expect-key", "0" * 64),
        {},
        ExitCode.UNEXPECTED_SIGNER,
    ),
    "an anchor that nobody has": (
        ("--model", "model", "--expect-anchor", ALICE_HEX),
        {},
        ExitCode.UNEXPECTED_SIGNER,
    ),
    "other files": (("--model", "alice.pem"), {}, ExitCode.CONTENT_DIFFERS),
}


@pytest.mark.parametrize("name", RESULTS)
def test_each_result_has_its_exit_code_and_json_says_the_same(verify, name):
    arguments, files, wanted = RESULTS[name]
    code, out, err = verify(*arguments, **files)
    assert (code, err) == (wanted, "")
    json_code, json_out, _ = verify(*arguments, "--json", **files)
    facts = json.loads(json_out)
    assert (json_code, facts["exitCode"], facts["satisfied"]) == (code, code, code == 0)
    assert f"log: {facts['log']}   model: {facts['model']}" in out
    for each in facts["checks"]:
        assert each["step"] in out
        assert each["against"] in out


def test_an_unsigned_event_is_not_accepted(verify):
    """The proof of another model, given that model's files, is still an unsigned event."""
    assert verify("--model", "model", proof="other.tlog-proof")[0] == ExitCode.CONTENT_DIFFERS


def test_success_says_who_signed_where_and_what_was_skipped(verify):
    _, out, _ = verify(*SIGNER, "--model", "model", "--pin", "pin")
    last = out.rstrip().splitlines()[-1]
    assert last.startswith("acme/model at 1111111111111111111111111111111111111111: Signed by ")
    assert "recorded as leaf 5 of 13 in log.example/models." in last
    assert last.endswith("Not checked: witness cosignatures, age limit, completeness, later events.")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (make_event(), "Unsigned; recorded as leaf 0 of 1 in "),
        (
            make_event(signed_by(key_signer("bob"), outcome="UNKNOWN_KEY")),
            "Could not verify (UNKNOWN_KEY); recorded as ",
        ),
        (
            dataclasses.replace(make_event(decision="challenged"), reasons=("signature-lost",)),
            "Unsigned; challenged by the hub (signature-lost); recorded as ",
        ),
    ],
)
def test_the_log_alone_says_what_the_hub_found_of_it(verify, folder, event, said):
    """Exit code 0 of --log-only is no word about the model, so the sentence beside it must not sound like one."""
    world = World()
    world.record(event)
    (folder / "one.tlog-proof").write_bytes(world.proof(0))
    code, out, _ = verify("--log-only", proof="one.tlog-proof")
    assert code == 0
    assert f"acme/model at {'1' * 40}: {said}" in out.splitlines()[-1]


def test_a_pattern_of_signers_is_held_against_the_whole_subject(verify):
    address, _, ref = WORKFLOW.partition("@")
    issuer = ("--expect-issuer", ISSUER)
    for pattern in (f"{address}@{ref.rpartition('/')[0]}/*", WORKFLOW.replace("release", "*")):
        assert "*" in pattern
        code, out, _ = verify("--model", "model", "--expect-signer-pattern", pattern, *issuer)
        assert code == 0, out
    for pattern in (f"{address}@{ref}*", f"{address.rpartition('/')[0]}/*@*", "*@idp.example"):
        code, out, _ = verify("--model", "model", "--expect-signer-pattern", pattern, *issuer)
        assert code == 21, out
        assert f"expected signer: expected {pattern} ({ISSUER}), got " in out


def test_failure_names_step_expected_got_causes_and_one_next_step(verify):
    _, out, _ = verify("--model", "model", "--expect-signer", "mallory", "--expect-issuer", ISSUER)
    tail = out[out.index("Failed:") :].splitlines()
    assert tail[0].startswith(f"Failed: expected signer: expected mallory ({ISSUER}), got ")
    assert WORKFLOW.split("@")[0] in tail[0]
    assert [line for line in tail if line.startswith("  possible: ")]
    assert tail[-1] == "  next: Ask the publisher, over another channel, who signs this model now"


def test_evidence_is_written_verifies_and_is_never_overwritten(verify, folder):
    for name in ("misbehaviour.json", "misbehaviour-1.json"):
        code, out, _ = verify("--log-only", "--pin", "forked-pin")
        assert code == ExitCode.MISBEHAVIOUR
        assert f"Evidence: {name}" in out
        verify_evidence((folder / name).read_bytes(), trust=World().trust())


def test_evidence_that_cannot_be_written_never_hides_what_was_found(verify, folder):
    words = ("--log-only", "--pin", "forked-pin", "--evidence-out", "missing/evidence.json")
    said = "could not be written to missing/evidence.json (No such file or directory)"
    code, out, err = verify(*words)
    assert (code, err) == (ExitCode.MISBEHAVIOUR, "")
    assert "log: MISBEHAVIOUR   model: NOT_CHECKED" in out
    assert out.splitlines()[-2:] == [
        f"Evidence: {said}",
        "  next: The log contradicts itself: run this again with --evidence-out in another folder",
    ]
    code, out, _ = verify(*words, "--json")
    facts = json.loads(out)
    assert (code, facts["log"], facts["evidenceProblem"]) == (ExitCode.MISBEHAVIOUR, "MISBEHAVIOUR", said)
    evidence = format_canonical_json(facts["evidence"])
    verify_evidence(evidence, trust=World().trust())
    assert verify("--log-only", "--pin", "forked-pin", "--json")[0] == ExitCode.MISBEHAVIOUR
    assert (folder / "misbehaviour.json").read_bytes() == evidence


def test_no_half_of_evidence_stays_where_the_disk_is_full(tmp_path):
    """/dev/full cannot be opened as a new file, so the name leads there."""
    with pathlib.Path("/dev/full").open("wb", buffering=0) as full:
        (tmp_path / "half").write_bytes(b"")
        with pytest.raises(OSError, match="No space left"):
            _write_whole(full, b"evidence", tmp_path / "half")
    assert list(tmp_path.iterdir()) == []


EVIDENCE = {
    "two roots for one size": ("forked-pin", "same-size", "two roots for one size, 13"),
    "a root that the newer tree never had": ("forked-pin-3", "prefix", "another root was signed at size 3"),
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_a_third_person_checks_evidence_with_a_trust_file_alone(verify, capsys, name):
    """Both forms of section 8, whoever found them; the exit code is 0 because they convict."""
    pin, form, said = EVIDENCE[name]
    assert verify("--log-only", "--pin", pin)[0] == ExitCode.MISBEHAVIOUR
    words = ["verify", "--evidence", "misbehaviour.json", "--trust", "trust.toml"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert said in out
    assert "log: MISBEHAVIOUR" in out
    assert "The log log.example/models contradicts itself" in out
    assert run([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["log"], facts["convicts"], facts["form"], facts["exitCode"]) == (
        "MISBEHAVIOUR",
        True,
        form,
        0,
    )
    for each in facts["checkpoints"]:
        assert f"size {each['size']}, root {each['rootHash']}" in out
        assert each["note"].startswith(f"log.example/models\n{each['size']}\n")


def _without_contradiction(value):
    value.pop("prefix", None)
    return {**value, "checkpoints": [value["checkpoints"][1]] * 2}


def _with_another_prefix(value):
    return {**value, "prefix": {**value["prefix"], "root": "0" * 64}}


def _without_its_proof(value):
    value.pop("prefix")
    return value


def _of_another_kind(value):
    return {**value, "kind": "https://hubledger/misbehaviour/v2"}


NOT_EVIDENCE = {
    "checkpoints that agree": (
        _without_contradiction,
        42,
        (
            "evidence of misbehaviour: expected two roots for one size, got checkpoints of sizes 13 and 13 that do not "
            "contradict each other. It convicts nobody; ask whoever sent it for the checkpoints that they saw"
        ),
    ),
    "two sizes and no proof": (
        _without_its_proof,
        42,
        (
            "evidence of misbehaviour: expected two roots for one size, got checkpoints of sizes 3 and 13 that do not "
            "contradict each other. It convicts nobody; ask whoever sent it for the checkpoints that they saw"
        ),
    ),
    "a proof that fails": (
        _with_another_prefix,
        42,
        f"proof of the evidence: consistency of size 3 with size 13: expected old root {'0' * 64}, got ",
    ),
    "another kind of file": (
        _of_another_kind,
        31,
        (
            "evidence of misbehaviour: expected two checkpoints of kind https://hubledger/misbehaviour/v1, got another "
            "form. Ask for the file that `hubledger verify --evidence-out` wrote"
        ),
    ),
}


@pytest.mark.parametrize("name", NOT_EVIDENCE)
def test_what_does_not_convict_is_refused_with_the_reason(verify, folder, capsys, name):
    change, code, message = NOT_EVIDENCE[name]
    verify("--log-only", "--pin", "forked-pin-3")
    value = change(json.loads((folder / "misbehaviour.json").read_bytes()))
    (folder / "changed.json").write_bytes(format_canonical_json(value))
    assert run(["verify", "--evidence", "changed.json", "--trust", "trust.toml"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"hubledger: {message}")


def test_evidence_against_another_log_convicts_nobody_here(verify, capsys):
    verify("--log-only", "--pin", "forked-pin")
    assert run(["verify", "--evidence", "misbehaviour.json", "--trust", "other.toml"]) == 41
    err = capsys.readouterr().err
    assert err.startswith(
        "hubledger: first checkpoint of the evidence: signatures of the note: expected one by "
    )
    assert "It accuses another log, or nobody: compare the trust file with the log's publisher" in err


def test_evidence_above_its_limit_is_not_read(folder, capsys):
    (folder / "large.json").write_bytes(b"[" * 5_000_000)
    assert run(["verify", "--evidence", "large.json", "--trust", "trust.toml"]) == 32
    assert "evidence of misbehaviour: expected at most" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        ("--proof", "model.tlog-proof"),
        ("--model", "model"),
        ("--log-only",),
        ("--pin", "pin"),
        ("--expect-all",),
        ("--expect-key", ALICE_HEX),
        ("--evidence-out", "x"),
    ],
)
def test_evidence_goes_with_the_trust_file_alone(folder, capsys, more):
    """An option that would have no effect is refused rather than ignored."""
    assert run(["verify", "--evidence", "pin", "--trust", "trust.toml", *more]) == 2
    assert (
        capsys.readouterr().err
        == f"hubledger: --evidence: expected no other option but --trust, --policy and --json, got {more[0]}. Compare with the command's --help\n"
    )


@pytest.mark.parametrize("words", [["", "--name", "hub.example/a/b"], ["--proof", "p", "--model", ""]])
def test_an_empty_path_of_a_model_is_not_the_folder_where_one_is(folder, capsys, words):
    assert run(["verify", *words]) == 2
    assert "it is empty (is the variable set?)" in capsys.readouterr().err


def test_a_pipe_beside_the_proof_is_not_waited_for(folder, tmp_path):
    os.mkfifo(tmp_path / "manifest.json")
    assert hash_files(tmp_path / "model", beside=tmp_path / "manifest.json", quiet=True).listed is None


def test_there_is_something_to_verify(folder, capsys):
    assert run(["verify", "--trust", "trust.toml"]) == 2
    assert (
        capsys.readouterr().err
        == "hubledger: hubledger verify: expected one of --name, --proof, --bundle and --evidence, got none. To check a model: hubledger verify FOLDER --name HUB/NAMESPACE/MODEL\n"
    )


def test_a_failed_row_says_what_was_expected_and_what_was_found(verify):
    code, out, _ = verify("--model", "alice.pem", "--json")
    assert code == ExitCode.CONTENT_DIFFERS
    failed = [each for each in json.loads(out)["checks"] if each["result"] == "FAILED"]
    assert [each["step"] for each in failed] == ["files"]
    _, out, _ = verify("--model", "alice.pem")
    for each in failed:
        assert f"{each['against']}; got {each['found']}\n" in out


def test_the_age_is_shown_and_the_missing_limit_is_what_was_not_checked(verify, folder):
    proof = World().grow(3).proof(1, cosigned={"w.example": NOW})
    (folder / "dated.tlog-proof").write_bytes(proof)
    (folder / "dated.toml").write_bytes(format_trust(World().trust(witnesses=("w.example",))))
    _, out, _ = verify("--log-only", proof="dated.tlog-proof", trust="dated.toml")
    (row,) = [line for line in out.splitlines() if line.startswith("age limit")]
    assert "skipped  the trust file sets no max_age; the checkpoint is " in row
    assert row.endswith(" s old by its newest counted cosignature")
    assert ", age limit, " in out.splitlines()[-1]


def test_help_tells_every_exit_code(capsys):
    """The wheel has no docs: what a script must know is in the help."""
    assert run(["verify", "--help"]) == 0
    out = capsys.readouterr().out
    assert "docs/" not in out
    for code in ExitCode:
        assert re.search(rf"^ +{code.value}  {code.name}  +\w", out, re.MULTILINE), code


USAGE = {
    "a signer without an issuer": (
        ("--expect-signer", "a"),
        "--expect-signer a: expected an --expect-issuer right after it, got the end",
    ),
    "an issuer without a signer": (
        ("--expect-issuer", "i"),
        "--expect-issuer: expected an --expect-signer before it, got none",
    ),
    "an issuer before its signer": (
        ("--expect-issuer", "i", "--expect-signer", "a"),
        "--expect-issuer: expected an --expect-signer before it, got none",
    ),
    "two signers, one issuer": (
        ("--expect-signer", "a", "--expect-signer", "b", "--expect-issuer", "i"),
        "--expect-signer a: expected an --expect-issuer right after it, got --expect-signer",
    ),
    "a key between signer and issuer": (
        ("--expect-signer", "a", "--expect-key", "0" * 64, "--expect-issuer", "i"),
        "--expect-signer a: expected an --expect-issuer right after it, got --expect-key",
    ),
    "log-only with a model": (
        ("--log-only", "--model", "model"),
        "--log-only: expected no --model and no --expect options, got both",
    ),
    "log-only with a signer": (
        ("--log-only", *SIGNER),
        "--log-only: expected no --model and no --expect options, got both",
    ),
    "a key file that holds none": (
        ("--model", "model", "--expect-key", "trust.toml"),
        "--expect-key: expected SHA256:…, 64 hex digits, or a PEM file, got trust.toml",
    ),
    "a key that is nothing": (
        ("--model", "model", "--expect-key", ""),
        "--expect-key: expected SHA256:…, 64 hex digits, or a PEM file, got nothing",
    ),
    "expect-all without expectations": (
        ("--model", "model", "--expect-all"),
        "--expect-all: expected at least one expectation, got none",
    ),
}


@pytest.mark.parametrize("name", USAGE)
def test_contradicting_options_are_a_usage_error(verify, name):
    arguments, message = USAGE[name]
    code, out, err = verify(*arguments)
    assert (code, out) == (2, "")
    assert err == f"hubledger: {message}. Compare with the command's --help\n"


def test_options_may_be_joined_and_values_may_look_like_options(verify):
    """What click takes as a value is a value for us too; a scan of the raw words would see an option."""
    joined = (f"--expect-signer={WORKFLOW}", f"--expect-issuer={ISSUER}", "--model", "model")
    assert verify(*joined)[0] == 0
    code, out, _ = verify("--model", "model", "--expect-signer", "--expect-key", "--expect-issuer", ISSUER)
    assert code == ExitCode.UNEXPECTED_SIGNER
    assert f"expected --expect-key ({ISSUER})" in out


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        ({"proof": "none"}, 34, "file none: expected a readable file, got No such file or directory"),
        ({"trust": "none"}, 34, "file none: expected a readable file, got No such file or directory"),
        ({"trust": "pin"}, 33, "trust file: expected TOML, got "),
    ],
)
def test_files_that_cannot_be_used_are_errors(verify, files, code, message):
    got, out, err = verify("--log-only", **files)
    assert (got, out) == (code, "")
    assert err.startswith(f"hubledger: {message}")


def test_a_pin_of_another_log_is_an_error_not_a_result(verify, folder):
    (folder / "foreign").write_bytes(dataclasses.replace(World(), log_key="other").grow(3).checkpoint())
    code, out, err = verify("--log-only", "--pin", "foreign", "--json")
    assert (code, out) == (41, "")
    assert json.loads(err)["error"] == "SignatureError"
    assert json.loads(err)["what"] == "remembered checkpoint: signatures of the note"


@pytest.mark.parametrize("more", [("--log-only",), ("--model", "model")])
def test_checking_imports_nothing_that_is_slow_to_load(folder, more):
    """The whole command is promised in 150 ms; these alone would take longer."""
    code = (
        "import sys; from cli.main import run; "
        "assert run(sys.argv[1:]) == 0; "
        "print(sorted({'sigstore', 'httpx', 'rich', 'sqlite_utils', 'sqlite3', 'pydantic'} & set(sys.modules)))"
    )
    words = ("verify", "--proof", "model.tlog-proof", "--trust", "trust.toml", *more)
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
