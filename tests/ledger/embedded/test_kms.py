"""A hub key that is elsewhere: what it signs is verified, stored once, and the same at every retry.

The signer is securesystemslib's own for a file, which signs with a random part as a KMS does, so no cloud is needed.
"""

import json

import pytest
from cryptography.hazmat.primitives import serialization

from ledger.config import load_config
from ledger.embedded.directory import Layout, load_trust, open_for_reading
from ledger.embedded.keys import format_key, spki_of
from ledger.embedded.kms import RemoteSigner, SignerSource, open_signer
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.reading import read_entry_at
from ledger.entry import keyid_of, parse_entry, verify_entry
from ledger.errors import ConfigError, SourceError
from tests.ledger.server.conftest import AT, facts
from tests.ledger.server.events import body
from tests.ledger.server.test_writing import running
from tests.world import p256_key

KEY = p256_key("kms")
SPKI = spki_of(KEY)


def put_key(folder, name, key=None, public=None):
    """Put a key where the signer finds it; returns where it is, and its public half, or what passes for that."""
    key = key or p256_key(name)
    private, public_file = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(format_key(key))
    public_file.write_bytes(
        (public or key)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return SignerSource(uri=f"file2:{private}", public_key=public_file)


def place(folder, key=KEY):
    """Put the hub's key elsewhere, or another one in its place."""
    return put_key(folder, "elsewhere", key, KEY)


@pytest.fixture
def ledger(tmp_path):
    source = place(tmp_path)
    init(tmp_path / "ledger", origin="log.example/models", hub="hub.example", signer=source, now=lambda: AT)
    return tmp_path / "ledger"


def test_a_ledger_has_the_public_half_alone(ledger):
    assert b"PRIVATE" not in (ledger / load_config(ledger).hub_key).read_bytes()
    assert [each.spki for each in load_trust(Layout(root=ledger)).hub_keys] == [SPKI]


def test_what_it_signs_is_recorded_audited_and_verifies(ledger, tmp_path, hubledger):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"weights")
    assert hubledger("record", ledger, "acme/tiny", "--revision", "r1", "--model", tmp_path / "model")[0] == 0
    assert hubledger("log", "audit", ledger)[0] == 0
    proof = tmp_path / "p.tlog-proof"
    assert hubledger("proof", ledger, 1, "-o", proof)[0] == 0
    assert hubledger("verify", "--proof", proof, "--trust", ledger / "trust.toml", "--log-only")[0] == 0


def test_signatures_differ_and_a_retry_gets_the_first(ledger, tmp_path):
    signer = open_signer(f"file2:{tmp_path}/elsewhere.pem", spki=SPKI)
    first, second = signer.sign_run([b"{}", b"{}"])
    assert first != second
    for each in (first, second):
        verify_entry(parse_entry(each), {keyid_of(SPKI): KEY.public_key()})
    with open_for_recording(ledger) as opened:
        receipt = opened.recorder.record(facts("acme/tiny", "r1", event_id="e-1"))
    with open_for_recording(ledger) as opened:  # after a restart, too
        again = opened.recorder.record(facts("acme/tiny", "r1", event_id="e-1"))
        opened.publish()
    assert (again.entry, again.leaf_index, again.repeated) == (receipt.entry, receipt.leaf_index, True)
    reader = open_for_reading(ledger)
    assert read_entry_at(reader, receipt.leaf_index, reader.size()) == receipt.entry


def test_a_large_batch_is_signed_side_by_side_and_stays_in_order(ledger):
    with open_for_recording(ledger) as opened:
        batch = [facts(f"acme/m{number}", "r1") for number in range(100)]
        receipts = opened.recorder.record_batch(batch)
    assert [each.event.model.name for each in receipts] == [f"acme/m{number}" for number in range(100)]


def test_a_signature_by_another_key_is_refused_and_nothing_is_recorded(ledger, tmp_path):
    other = p256_key("other")
    signer = RemoteSigner(lambda data: _sign(other, data), spki=SPKI, name="somewhere")
    with open_for_recording(ledger) as opened:
        opened.recorder._signing.signer = signer
        size = opened.log.size
        with pytest.raises(SourceError, match="a signature by key"):
            opened.recorder.record(facts("acme/tiny", "r1"))
        assert opened.log.size == size


def _sign(key, data):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def test_a_service_whose_signer_is_away_answers_503_and_goes_on_when_it_is_back(ledger):
    away = [True]

    def sign(data):
        if away[0]:
            raise TimeoutError
        return _sign(KEY, data)

    with running(ledger) as hub:
        hub.writer.ledger.recorder._signing.signer = RemoteSigner(sign, spki=SPKI, name="somewhere")
        refused = hub.post(body("u-1"))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        away[0] = False
        recorded = hub.post(body("u-1"))
        assert (recorded.status, recorded.json["leafIndex"]) == (201, 1)


def test_another_key_at_the_other_end_does_not_open(tmp_path):
    source = place(tmp_path, p256_key("other"))
    with pytest.raises(ConfigError, match="hub_signer file2"):
        init(tmp_path / "ledger", origin="log.example/models", hub="hub.example", signer=source)
    assert not (tmp_path / "ledger").exists()


def test_the_command_makes_such_a_ledger(tmp_path, hubledger):
    source = place(tmp_path)
    words = ("init", tmp_path / "ledger", "--origin", "log.example/models", "--hub", "hub.example")
    code, out, _ = hubledger(
        *words, "--hub-signer", source.uri, "--hub-public-key", source.public_key, "--json"
    )
    assert (code, json.loads(out)["hubKeyId"]) == (0, keyid_of(SPKI))
