"""Attestations, over HTTP and as a file: held to their event by our client, and verified by tools that nobody here wrote."""

import base64
import datetime as dt
import json
import subprocess
import time

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from ledger.attestation import EXTENSION
from ledger.attestation.envelope import format_bundle
from ledger.embedded.keys import load_hub_key, spki_of
from ledger.entry import keyid_of, pae
from tests import second_reader as second
from tests.oms import new_key, public_pem
from tests.system import test_client
from tests.system.peers import tool
from tests.system.service import serving
from tests.system.test_client import row

data, hub, ledger = test_client.data, test_client.hub, test_client.ledger
TYPES = {
    "vsa": "https://slsa.dev/verification_summary/v1",
    "svr": "https://in-toto.io/attestation/svr/v0.2",
}


@pytest.fixture
def written(hubledger, hub, tmp_path):
    """Both forms as files, and the hub's public key as others want it."""
    for form in TYPES:
        done = hubledger("attestation", hub.ledger, "acme/tiny", "--form", form, "-o", tmp_path / form)
        assert done[0] == 0, done
    return tmp_path


def hub_pem(hub):
    spki = spki_of(load_hub_key(hub.ledger / "keys/hub.key"))
    body = base64.encodebytes(spki).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n"


def payload_of(path):
    return json.loads(base64.b64decode(json.loads(path.read_bytes())["dsseEnvelope"]["payload"]))


def verify(hubledger, *arguments):
    code, out, err = hubledger("verify", *arguments, "--json")
    return code, json.loads(out or err)


def export_manifest(hub, folder):
    """The manifest: the file whose digest the attestation is about."""
    (name,) = {each["digest"]["sha256"] for each in payload_of(folder / "vsa")["subject"]}
    (path,) = (hub.ledger / "evidence").rglob(name)
    return path


# Tools of others


@pytest.mark.parametrize("form", TYPES)
def test_cosign_verifies_the_bundle_over_the_manifest(hub, written, form, tmp_path):
    (tmp_path / "hub.pub").write_text(hub_pem(hub))
    command = [
        *(tool("cosign"), "verify-blob-attestation", "--new-bundle-format", "--bundle", tmp_path / form),
        *("--key", tmp_path / "hub.pub", "--insecure-ignore-tlog=true", "--type", TYPES[form]),
    ]
    manifest = export_manifest(hub, tmp_path)
    done = subprocess.run([*command, manifest], capture_output=True, text=True)
    assert (done.returncode, "Verified OK" in done.stderr) == (0, True), done.stderr
    (tmp_path / "other").write_bytes(manifest.read_bytes() + b" ")
    assert subprocess.run([*command, tmp_path / "other"], capture_output=True).returncode != 0
    bundle = json.loads((tmp_path / form).read_bytes())
    (signature,) = bundle["dsseEnvelope"]["signatures"]
    raw = bytearray(base64.b64decode(signature["sig"]))
    raw[-1] ^= 1
    signature["sig"] = base64.b64encode(raw).decode()
    (tmp_path / form).write_text(json.dumps(bundle))
    assert subprocess.run([*command, manifest], capture_output=True).returncode != 0


@pytest.mark.parametrize("form", TYPES)
def test_securesystemslib_verifies_the_envelope(hub, written, form):
    bundle = json.loads((written / form).read_bytes())
    spki = spki_of(load_hub_key(hub.ledger / "keys/hub.key"))
    hint = base64.b64decode(bundle["verificationMaterial"]["publicKey"]["hint"])
    assert hint.hex() == keyid_of(spki)
    key = SSlibKey(hint.hex(), "ecdsa", "ecdsa-sha2-nistp256", {"public": hub_pem(hub)})
    signatures = [{"keyid": hint.hex(), **each} for each in bundle["dsseEnvelope"]["signatures"]]
    envelope = Envelope.from_dict(bundle["dsseEnvelope"] | {"signatures": signatures})
    assert list(envelope.verify([key], 1)) == [hint.hex()]
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


@pytest.mark.parametrize("form", TYPES)
def test_the_in_toto_libraries_verify_the_bundle_and_read_what_it_says(hub, written, form):
    """Signature, statement and predicate by the code of in-toto; a field that its types do not have is refused there."""
    (written / "hub.pub").write_text(hub_pem(hub))
    value = payload_of(written / form)
    subject = value["subject"][0]["digest"]["sha256"]
    code, out, _ = in_toto(written, form, subject)
    policy = value["predicate"][EXTENSION]["policySha256"]
    made = value["predicate"]["timeVerified" if form == "vsa" else "timeCreated"]
    assert (code, json.loads(out)) == (
        0,
        {
            "predicateType": TYPES[form],
            "name": "acme/tiny",
            "verifier": "https://hubledger/hub/hub.example",
            "time": int(dt.datetime.fromisoformat(made).timestamp()),
            "result": "PASSED",
            "properties": ["HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_SIGNER_FIRST_USE"],
            "policies": [f"https://hubledger/policy/{policy}"],
        },
    )
    assert in_toto(written, form, "0" * 64)[::2] == (1, "the statement is about something else\n")
    (written / "hub.pub").write_bytes(public_pem(new_key()))
    assert in_toto(written, form, subject)[0] == 1


@pytest.mark.parametrize("form", TYPES)
def test_the_in_toto_libraries_refuse_what_is_no_such_predicate(hub, written, form):
    """That they read ours is worth something only as they do not read everything."""
    (written / "hub.pub").write_text(hub_pem(hub))
    value = payload_of(written / form)
    subject = value["subject"][0]["digest"]["sha256"]
    for path, other in (
        (("extra",), "x"),
        (("_type",), "https://in-toto.io/Statement/v2"),
        (("predicate", "extra"), "x"),
        (("predicate", "timeVerified" if form == "vsa" else "timeCreated"), "yesterday"),
        (("predicate", "verifiedLevels" if form == "vsa" else "properties"), "HUBLEDGER_SIGNATURE_VERIFIED"),
        (("predicate", "verifier"), "https://hubledger/hub/hub.example"),
    ):
        bent = json.loads(json.dumps(value))
        at = bent if len(path) == 1 else bent[path[0]]
        at[path[-1]] = other
        key = load_hub_key(hub.ledger / "keys/hub.key")
        payload = json.dumps(bent).encode()
        signature = key.sign(pae(payload), ec.ECDSA(hashes.SHA256()))
        (written / "bent").write_bytes(
            format_bundle(payload, keyid=keyid_of(spki_of(key)), signature=signature)
        )
        assert in_toto(written, "bent", subject)[0] == 1, path


def in_toto(folder, bundle, subject):
    command = [tool("in-toto-verifier"), folder / "hub.pub", subject, folder / bundle]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("form", TYPES)
def test_the_in_toto_package_reads_the_statement(hub, written, form):
    value = payload_of(written / form)
    made = Statement.copy_from_pb(json_format.ParseDict(value, Statement([], "", {}).pb))
    made.validate()
    assert isinstance(made.pb.predicate, Struct)
    (subject,) = made.pb.subject
    assert (made.pb.predicate_type, subject.name, dict(subject.digest)) == (
        TYPES[form],
        "acme/tiny",
        value["subject"][0]["digest"],
    )
    for bent in (
        value | {"_type": "x"},
        value | {"subject": [{"name": "acme/tiny"}]},
        value | {"predicateType": ""},
    ):
        with pytest.raises(ValueError, match=r"."):
            Statement.copy_from_pb(json_format.ParseDict(bent, Statement([], "", {}).pb)).validate()


def test_the_in_toto_package_reads_the_summary(hub, written):
    """Its own definition of the predicate: every field that it knows is there, and none is of another type."""
    predicate = payload_of(written / "vsa")["predicate"]
    assert predicate["verifiedLevels"] == ["HUBLEDGER_SIGNATURE_VERIFIED", "HUBLEDGER_SIGNER_FIRST_USE"]
    # Version 0.9.3 has one string there, against the specification, which has a list.
    assert vsa_pb2.VerificationSummary.DESCRIPTOR.fields_by_name["verified_levels"].type == 9
    left = {name: predicate[name] for name in predicate if name not in ("verifiedLevels", EXTENSION)}
    left["verifier"].pop("version")  # nor does it know this one, which the specification has
    summary = json_format.ParseDict(left, vsa_pb2.VerificationSummary())
    assert (summary.verification_result, summary.verifier.id) == (
        "PASSED",
        "https://hubledger/hub/hub.example",
    )


# Our client


def test_the_event_itself_is_checked_and_the_attestation_held_against_it(hubledger, hub, written):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        for form in TYPES:
            code, facts = verify(hubledger, hub.model, "--attestation", written / form)
            assert (code, facts["name"], facts["event"]["revision"]) == (0, "acme/tiny", "r1")
            assert row(facts, "inclusion")["result"] == row(facts, "attestation")["result"] == "ok"
            assert row(facts, "attestation")["against"].startswith(
                "a pointer to leaf 1, which was checked itself; it says HUBLEDGER_SIGNATURE_VERIFIED, "
            )
    code, facts = verify(hubledger, hub.model, "--attestation", written / "vsa", "--offline", "--explain")
    assert (code, facts["explained"][-1]["step"]) == (0, "attestation")
    envelope = json.loads((written / "vsa").read_bytes())["dsseEnvelope"]
    payload, *_, signature = facts["explained"][-1]["used"]
    assert payload.encode() == base64.b64decode(envelope["payload"])
    assert signature.endswith(envelope["signatures"][0]["sig"])


def test_an_attestation_alone_is_never_enough(hubledger, hub, written, monkeypatch, tmp_path):
    """No service, nothing kept: the hub's word outside of the log satisfies nobody."""
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "empty"))
    trust = ("--trust", hub.ledger / "trust.toml", "--offline")
    code, facts = verify(hubledger, hub.model, "--attestation", written / "vsa", *trust)
    assert (code, "error" in facts or "what" in facts or "satisfied" not in facts) == (34, True)


def test_an_older_one_does_not_hide_what_the_hub_said_since(hubledger, hub, written, tmp_path):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        hub.record("r1", hub.sign(tmp_path / "again", b"again"))
        code, facts = verify(hubledger, tmp_path / "again", "--attestation", written / "vsa")
    assert (code, facts["failure"]["step"]) == (23, "attestation")
    assert facts["failure"]["expected"] == "the latest event of the revision, which is at leaf 2"


def test_an_expired_one_is_stale(hubledger, hub, tmp_path):
    made = hubledger("attestation", hub.ledger, "acme/tiny", "--valid-seconds", "1", "-o", tmp_path / "short")
    assert made[0] == 0
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        expires = payload_of(tmp_path / "short")["predicate"][EXTENSION]["expires"]
        test_client.wait_until(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) >= expires)
        code, facts = verify(hubledger, hub.model, "--attestation", tmp_path / "short")
    assert (code, facts["failure"]["expected"]) == (10, "an attestation that has not expired")


# The service


def test_the_service_signs_what_is_asked_for(hub, tmp_path):
    with serving(hub.ledger, "--read-only") as (url, _):
        for form, kind in TYPES.items():
            answer = httpx.get(
                f"{url}/v1/attestations/{form}", params={"model": "acme/tiny", "revision": "r1"}
            )
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
            (tmp_path / form).write_bytes(answer.content)
            value = payload_of(tmp_path / form)
            assert value["predicateType"] == kind
            entry = httpx.get(f"{url}/v1/entries/1").json()
            where = value["predicate"][EXTENSION]
            assert (where["leafHash"], where["leafIndex"], where["revision"]) == (entry["leafHash"], 1, "r1")
            raw = base64.b64decode(json.loads(answer.content)["dsseEnvelope"]["payload"])
            assert second.canonical(value) == raw
        missing = httpx.get(f"{url}/v1/attestations/vsa", params={"model": "acme/tiny", "revision": "r2"})
        assert missing.status_code == 404


def test_what_the_hub_does_not_accept_fails_in_one_form_and_has_no_other(hub, hubledger, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/weights").write_bytes(b"bare")
    hub.record("r1", tmp_path / "bare", name="acme/bare")
    with serving(hub.ledger, "--read-only") as (url, _):
        answer = httpx.get(f"{url}/v1/attestations/vsa", params={"model": "acme/bare"})
        (tmp_path / "vsa").write_bytes(answer.content)
        predicate = payload_of(tmp_path / "vsa")["predicate"]
        assert (predicate["verificationResult"], predicate["verifiedLevels"]) == ("FAILED", ["FAILED"])
        refused = httpx.get(f"{url}/v1/attestations/svr", params={"model": "acme/bare"})
        assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (422, "not-implemented")
        hubledger("trust", "add", url)
        code, facts = verify(hubledger, tmp_path / "bare", "--attestation", tmp_path / "vsa")
    assert (code, row(facts, "attestation")["result"]) == (20, "ok")


def test_a_service_without_the_hubs_key_says_so_and_not_where_it_would_be(hub):
    (hub.ledger / "keys/hub.key").rename(hub.ledger / "keys/away")
    with serving(hub.ledger, "--read-only") as (url, _):
        answer = httpx.get(f"{url}/v1/attestations/vsa", params={"model": "acme/tiny"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "This service does not hold the hub's key")
