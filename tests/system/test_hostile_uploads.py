"""An upload cannot make recording fail: whatever is in it is recorded, within the caps, and the same way twice."""

import base64
import hashlib
import json
import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cli.demo_world import DemoSigstore, oms_statement, write_key_pair
from ledger.bundle.trust_material import TrustMaterial
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.recording import RecordRequest, facts_of, record_findings, record_revision
from ledger.entry import MAX_ENTRY_BYTES, pae, parse_entry
from ledger.event import MAX_STATEMENT_BYTES, facts_digest, parse_statement
from ledger.identity import Overflow
from ledger.manifest import Manifest, ManifestFile
from ledger.verification import verify_manifest


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"weights")
    return folder


@pytest.fixture
def record(tmp_path):
    """Record an upload in two fresh ledgers; returns the one event, after checking sizes, facts and both audits."""

    def call(request):
        found = []
        for name in ("one", "two"):
            directory = tmp_path / name
            init(directory, origin="log.example/models", hub="hub.example")
            record_revision(directory, request)
            found.append(recorded(directory))
        assert facts_digest(found[0]) == facts_digest(found[1])
        return found[0]

    return call


def recorded(directory):
    """The event at leaf 1 of a ledger whose audit passes."""
    report = audit_ledger(directory, workers=1, progress=lambda _done, _total: None)
    assert report["size"] == 2
    with open_for_recording(directory) as ledger:
        (entry,) = ledger.log.read(1, 2)
    assert len(entry) <= MAX_ENTRY_BYTES
    payload = parse_entry(entry).payload
    assert len(payload) <= MAX_STATEMENT_BYTES
    return parse_statement(payload)


def request(model, **more):
    return RecordRequest(**{"name": "acme/tiny", "revision": "r1", "model": model, **more})


def bundle_of(payload, signature, hint="k"):
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    ).encode()


def key_pair(tmp_path):
    from cryptography.hazmat.primitives import serialization

    private, public = write_key_pair(tmp_path, "signer")
    return serialization.load_pem_private_key(private.read_bytes(), None), public


def test_a_signature_that_ignores_100_000_paths(tmp_path, model, record):
    key, public = key_pair(tmp_path)
    statement = json.loads(oms_statement(model))
    paths = [f"ignored/{number}" for number in range(100_000)]
    statement["predicate"]["serialization"]["ignore_paths"] = paths
    payload = json.dumps(statement).encode()
    (model / "model.sig").write_bytes(bundle_of(payload, key.sign(pae(payload), ec.ECDSA(hashes.SHA256()))))
    (signature,) = record(request(model, public_keys=[public])).signatures
    assert signature.ignored_paths.count == len(paths)
    assert signature.outcome in ("VERIFIED", "CONTENT_MISMATCH")
    assert signature.signer is not None


def test_a_certificate_with_an_address_of_10_kB(tmp_path, model, record):
    sigstore = DemoSigstore()
    address = "https://git.example/" + "a" * 10_000
    bundle = sigstore.sign(oms_statement(model), identity=address, issuer="https://issuer.example")
    (model / "model.sig").write_bytes(bundle)
    (tmp_path / "trust.json").write_bytes(sigstore.trusted_root())
    event = record(request(model, trust_config=tmp_path / "trust.json"))
    (signature,) = event.signatures
    assert signature.outcome == "VERIFIED"
    assert signature.signer.san == Overflow(
        count=len(address), sha256=hashlib.sha256(address.encode()).digest()
    )


@pytest.mark.parametrize("name", ["a" * 10_000, "é" * 5_000, "\udcff" * 300, "two words\n%\0", "<script>"])
def test_a_name_of_any_bytes_and_length(model, record, name):
    event = record(request(model, name=name, revision=name, repo_id=name, ref=name, uploader=name))
    for shown in (event.model.name, event.model.revision, event.model.repo_id, event.model.ref):
        assert 1 <= len(shown) <= 256
        assert all(0x21 <= byte <= 0x7E for byte in shown.encode())


def test_a_bundle_of_200_MB_is_kept_by_its_digest_only(model, record):
    with (model / "model.sig").open("wb") as file:
        file.write(b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","x":"')
        file.truncate(200_000_000)
    event = record(request(model))
    assert event.manifest.bytes == 200_000_007
    (signature,) = event.signatures
    assert signature.outcome == "UNSUPPORTED"
    assert event.reasons


def test_forty_bundles_of_junk(model, record):
    for number in range(40):
        (model / f"{number:02}.sig").write_bytes(bundle_of(b"junk %d" % number, b"junk"))
    event = record(request(model))
    assert len(event.signatures) == 16
    assert event.more_signatures.count == 24
    assert event.outcome != "VERIFIED"
    digests = [each.bundle_sha256 for each in event.signatures]
    assert digests == sorted(digests)


def test_a_manifest_of_200_000_files(tmp_path):
    manifest = Manifest.of(
        ManifestFile(path=f"part-{number:06}", sha256=hashlib.sha256(b"%d" % number).digest(), size=number)
        for number in range(200_000)
    )
    init(tmp_path / "ledger", origin="log.example/models", hub="hub.example")
    wanted = request(tmp_path)
    findings = [verify_manifest(manifest, [], trust=TrustMaterial()) for _ in range(2)]
    assert facts_of(wanted, findings[0]) == facts_of(wanted, findings[1])
    with open_for_recording(tmp_path / "ledger") as ledger:
        record_findings(ledger, wanted, findings[0])
        ledger.log.publish()
    event = recorded(tmp_path / "ledger")
    assert (event.manifest.files, event.manifest.sha256) == (200_000, manifest.sha256)


def test_file_names_that_are_not_utf8_and_links_and_pipes(model, record):
    (model / os.fsdecode(b"\xff\xfe%")).write_bytes(b"x")
    (model / "link").symlink_to("/etc/passwd")
    os.mkfifo(model / "pipe")
    event = record(request(model))
    assert event.outcome == "UNSIGNED"
    assert event.manifest.files == 3, "two files and a link, not the pipe"


def test_a_valid_signature_beside_junk_is_still_found(tmp_path, model, record):
    key, public = key_pair(tmp_path)
    payload = oms_statement(model)
    for number in range(40):
        (model / f"{number:02}.sig").write_bytes(bundle_of(b"junk %d" % number, b"junk"))
    (model / "zz.sig").write_bytes(bundle_of(payload, key.sign(pae(payload), ec.ECDSA(hashes.SHA256()))))
    event = record(request(model, public_keys=[public]))
    assert (event.outcome, event.signatures[0].outcome) == ("VERIFIED", "VERIFIED")
