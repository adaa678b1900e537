"""`hubledger verify --bundle`: what it says, in text and JSON, its exit codes, and what it does not import."""

import json
import subprocess
import sys

import pytest

from cli.exit_codes import ExitCode
from ledger.client.trust_writing import format_trust
from ledger.errors import LimitError, MalformedError
from ledger.identity import fingerprint
from tests.bundle_mutations import _paths, _with
from tests.sigstore_world import (
    ARTIFACT,
    RekorOne,
    RekorTwo,
    event_bundle,
    pem,
    sign_file,
    sign_payload,
    trust_of,
    trusted_root,
)
from tests.world import key_signer, make_event, signed_by


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with bundles of alice, the keys of alice and bob, and what was signed."""
    monkeypatch.chdir(tmp_path)
    one, two = RekorOne(), RekorTwo()
    (tmp_path / "file.json").write_text(json.dumps(sign_file(two)))
    (tmp_path / "statement.json").write_text(json.dumps(sign_payload(one)))
    (tmp_path / "event.json").write_bytes(event_bundle(two, make_event(signed_by(key_signer("alice")))))
    (tmp_path / "trust.toml").write_bytes(format_trust(trust_of(two)))
    (tmp_path / "root.json").write_bytes(trusted_root(one, two))
    for name in ("alice", "bob"):
        (tmp_path / f"{name}.pem").write_bytes(pem(name))
    (tmp_path / "weights").write_bytes(ARTIFACT)
    (tmp_path / "other").write_bytes(b"other")
    return tmp_path


ROOT = ("--trusted-root", "root.json")
FILE = ("verify", "--bundle", "file.json", *ROOT)
STATEMENT = ("verify", "--bundle", "statement.json", *ROOT)
ALICE = ("--public-key", "alice.pem")
WEIGHTS = ("--artifact", "weights")
SHOWN = f"key {fingerprint(key_signer('alice').spki_sha256)}"


def test_it_says_what_was_checked_and_against_what(folder, hubledger):
    code, out, _ = hubledger(*FILE, *ALICE, *WEIGHTS)
    assert code == 0
    digest = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert out.splitlines() == [
        "CHECK                 RESULT   AGAINST",
        f"signature             ok       by the {SHOWN} over the digest of a file",
        "checkpoint signature  ok       log rekor.example of the trusted root",
        "inclusion             ok       leaf 1 in the signed tree of 3",
        "inclusion promise     skipped  none given; the index is the proven one",
        "log entry             ok       hashedrekord 0.0.2 about this signature, key and content, byte for byte",
        f"expected signer       ok       {SHOWN}",
        f"artifact              ok       its digest is the signed one, {digest}",
        "",
        "log: INCLUDED_ONLY   signature: ACCEPTED",
        f"The artifact is signed by {SHOWN}; logged as leaf 1 of 3 in rekor.example. Not checked: inclusion promise.",
    ]


def test_json_has_the_same_facts(folder, hubledger):
    code, out, _ = hubledger(*STATEMENT, *ALICE, "--json")
    facts = json.loads(out)
    assert (code, facts["exitCode"], facts["satisfied"]) == (0, 0, True)
    assert (facts["log"], facts["signature"]) == ("INCLUDED_ONLY", "ACCEPTED")
    assert facts["signer"] == {"kind": "key", "spkiSha256": key_signer("alice").spki_sha256.hex()}
    assert facts["signed"]["predicateType"] == "https://example.org/predicate/v1"
    assert facts["signed"]["subjects"] == [
        {"sha256": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"}
    ]
    assert [(each["leafIndex"], each["logIndex"], each["kind"]) for each in facts["logEntries"]] == [
        (1, 100001, "dsse 0.0.1")
    ]
    assert [each["step"] for each in facts["checks"] if each["result"] == "skipped"] == ["artifact"]


CODES = {
    "all of it": (FILE, (*ALICE, *WEIGHTS), 0),
    "the log alone": (FILE, ("--log-only",), 0),
    "a statement without a file": (STATEMENT, ALICE, 0),
    "a key by its fingerprint": (FILE, (*WEIGHTS, "--expect-key", SHOWN.removeprefix("key ")), 0),
    "one of two keys": (FILE, (*WEIGHTS, *ALICE, "--public-key", "bob.pem"), 0),
    "both of two keys": (
        FILE,
        (*WEIGHTS, *ALICE, "--public-key", "bob.pem", "--expect-all"),
        ExitCode.UNEXPECTED_SIGNER,
    ),
    "another key": (FILE, ("--public-key", "bob.pem", *WEIGHTS), ExitCode.UNEXPECTED_SIGNER),
    "another file": (FILE, (*ALICE, "--artifact", "other"), ExitCode.CONTENT_DIFFERS),
    "no file": (FILE, ALICE, ExitCode.NOT_CHECKED),
    "nobody expected": (FILE, WEIGHTS, ExitCode.NOT_CHECKED),
    "an event as any other bundle": (
        ("verify", "--bundle", "event.json", *ROOT),
        ALICE,
        ExitCode.UNEXPECTED_SIGNER,
    ),
    "an event of ours": (
        ("verify", "--bundle", "event.json", "--trust", "trust.toml"),
        ("--log-only",),
        0,
    ),
    "an event of ours and other files": (
        ("verify", "--bundle", "event.json", "--trust", "trust.toml"),
        ("--model", "weights"),
        ExitCode.CONTENT_DIFFERS,
    ),
    "a file as an event of ours": (
        ("verify", "--bundle", "file.json", "--trust", "trust.toml"),
        ("--log-only",),
        ExitCode.CANNOT_CHECK,
    ),
}


@pytest.mark.parametrize("case", CODES)
def test_each_result_has_its_exit_code(folder, hubledger, case):
    command, options, wanted = CODES[case]
    code, out, err = hubledger(*command, *options, "--json")
    assert code == wanted, out + err
    assert json.loads(out)["exitCode"] == wanted


STRANGE = ("\ud800", "\u202e", "\u0000", "9" * 30, "-1", 1.5, True, 2**70, [], {}, [[]])
"""In the place of each value: half a character, what turns text around, and what JSON has and protobuf has not."""
KINDS = ["dsse 0.0.1", "intoto 0.0.1", "intoto 0.0.2", "hashedrekord 0.0.1", "hashedrekord 0.0.2"]
NOT_VERIFIED = {ExitCode.INVALID, ExitCode.CANNOT_CHECK, MalformedError.exit_code, LimitError.exit_code}


@pytest.mark.parametrize("kind", KINDS)
def test_a_strange_value_in_any_place_is_refused_and_never_a_bug(folder, hubledger, kind):
    """In text and in JSON. Only the hint of a key may be anything: nobody believes it."""
    name, version = kind.split()
    log = RekorTwo() if kind == "hashedrekord 0.0.2" else RekorOne()
    bundle = sign_payload(log, kind=(name, version))
    (folder / "root.json").write_bytes(trusted_root(log))
    wrong = []
    for path in list(_paths(bundle)):
        for strange in STRANGE:
            bent = _with(bundle, path, strange)
            (folder / "bent.json").write_text(json.dumps(bent))
            for more in ((), ("--json",)):
                code, out, err = hubledger("verify", "--bundle", "bent.json", *ROOT, *ALICE, *more)
                if more:
                    json.loads(out or err)
                if code not in NOT_VERIFIED and not (code == 0 and "publicKey" in path):
                    wrong.append((path, strange, more, code, out + err))
    assert wrong == []


def test_a_root_without_the_log_proves_nothing(folder, hubledger):
    (folder / "root.json").write_bytes(trusted_root(RekorTwo("stranger.example")))
    code, out, _ = hubledger(*FILE, *ALICE, *WEIGHTS)
    assert code == ExitCode.INVALID
    assert "log: INVALID   signature: NOT_CHECKED" in out
    assert "Failed: checkpoint of the log entry" in out


def test_a_promise_is_said_to_be_none_of_a_proof(folder, hubledger):
    bundle = sign_file(RekorOne())
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    (folder / "old.json").write_text(json.dumps(bundle))
    code, out, _ = hubledger("verify", "--bundle", "old.json", *ROOT, *ALICE, *WEIGHTS, "--json")
    facts = json.loads(out)
    assert (code, facts["log"], facts["signature"]) == (0, "PROMISED", "ACCEPTED")
    assert facts["promised"] == [
        {"logIndex": 100001, "kind": "hashedrekord 0.0.1", "integratedTime": 1767323045}
    ]


REFUSED = {
    "a proof beside it": ("--proof", "x"),
    "a model without a trust file": ("--model", "weights"),
    "a manifest": ("--manifest", "weights"),
    "a pin": ("--pin", "weights"),
    "the log alone, with a file": (*WEIGHTS, "--log-only"),
    "the log alone, with a key": (*ALICE, "--log-only"),
    "all of nobody": ("--expect-all",),
    "a key that is none": ("--public-key", "weights"),
    "a signer without an issuer": ("--expect-signer", "somebody"),
    "an artifact of an event": (*WEIGHTS, "--trust", "trust.toml"),
    "a pin of an event": ("--trust", "trust.toml", "--pin", "weights", "--log-only"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_would_be_ignored_are_refused(folder, hubledger, case):
    options = REFUSED[case]
    known = ("verify", "--bundle", "file.json", *(() if "--trust" in options else ROOT))
    code, out, err = hubledger(*known, *options)
    assert (code, out) == (2, ""), err
    assert err


@pytest.mark.parametrize("name", ["missing.json", "weights"])
def test_what_is_no_bundle_is_not_checked(folder, hubledger, name):
    code, out, err = hubledger("verify", "--bundle", name, *ROOT, *ALICE)
    assert (code, out) == (34 if name == "missing.json" else 31, "")
    assert name in err or "Sigstore bundle" in err


def test_the_production_root_is_the_one_of_the_sigstore_package(folder, vectors, hubledger):
    known = vectors / "vectors/rekor-bundles"
    code, out, err = hubledger(
        *(
            "verify",
            "--bundle",
            known / "happy-path-v0.3/bundle.sigstore.json",
            "--artifact",
            known / "a.txt",
        ),
        "--json",
    )
    facts = json.loads(out)
    assert (code, facts["log"]) == (ExitCode.NOT_CHECKED, "INCLUDED_ONLY"), err
    assert facts["logEntries"][0]["origin"] == "rekor.sigstore.dev - 2605736670972794746"


def test_a_public_key_needs_no_sigstore(folder):
    """It takes longer to import than the whole check may."""
    code = (
        "import sys; from cli.main import run; "
        f"code = run({[*FILE, *ALICE, *WEIGHTS]!r}); "
        "print(code, sorted({name.partition('.')[0] for name in sys.modules} & {'sigstore', 'tuf', 'pydantic', 'httpx'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().splitlines()[-1] == "0 []"
