"""Bundles by and for a real Rekor v1: cosign verifies ours, and we verify cosign's and our own."""

import asyncio
import json

import pytest
from cryptography.hazmat.primitives import serialization

from ledger.bundle.bodies import SignedPayload
from ledger.bundle.export import format_sigstore_bundle
from ledger.client.trust import TrustFile
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey, TrustedLog
from ledger.event import format_statement
from ledger.log.rekor_v1 import RekorV1
from ledger.tlog.signed_note import KeyType, VerifierKey
from ledger.tlog.trust_policy import TrustPolicy
from tests.system import peers
from tests.system.rekor_v1 import NAME, backend
from tests.system.test_rekor_bundles import PREDICATE, SIGN, cosign
from tests.world import HUB, LEDGER, key_signer, make_event, p256_key, sign_statement, signed_by, spki_of

HUB_SPKI = spki_of(p256_key("hub"))


@pytest.fixture(scope="module")
def server():
    peers.tool("cosign")
    with backend() as running, running.server() as found:
        yield found


@pytest.fixture
def folder(server, tmp_path):
    """The trust files of the server, the hub's key, one as cosign keeps it, and a file to sign."""
    server.write_trust(tmp_path)
    key = VerifierKey(name=NAME, kind=KeyType.ECDSA, public_key=server.spki)
    trust = TrustFile(
        version=1,
        ledger=LEDGER,
        origin="",
        policy=TrustPolicy(logs=()),
        hub=HUB,
        hub_keys=(HubKey(spki=HUB_SPKI),),
        shards=(TrustedLog(origin=f"{NAME} - {server.tree}", keys=(key,)),),
    )
    (tmp_path / "trust.toml").write_bytes(format_trust(trust))
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "predicate.json").write_text('{"n": 1}')
    (tmp_path / "hub.pub").write_bytes(
        p256_key("hub")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    cosign(tmp_path, "generate-key-pair", "--output-key-prefix", str(tmp_path / "cosign"))
    return tmp_path


async def _submit(server, signed, kinds):
    log = RekorV1(server.shard(), server.keys, kinds=kinds)
    try:
        return await log.submit(signed)
    finally:
        await log.close()


@pytest.mark.parametrize("kind", ["dsse", "hashedrekord"])
def test_a_bundle_of_ours_verifies(server, folder, hubledger, kind):
    entry = sign_statement(format_statement(make_event(signed_by(key_signer("alice")), event_id=kind)))
    signed = SignedPayload.of_entry(json.loads(entry), HUB_SPKI)
    receipt = asyncio.run(_submit(server, signed, [kind]))
    raw = format_sigstore_bundle(entry, spki=HUB_SPKI, log_entries=[receipt.log_entry])
    bundle = folder / "ours.sigstore.json"
    bundle.write_bytes(raw)
    if kind == "dsse":  # cosign takes no other entry of Rekor v1 for an envelope
        cosign(
            folder,
            *("verify-blob-attestation", "--bundle", str(bundle), "--check-claims=false"),
            *("--key", str(folder / "hub.pub"), "--type", PREDICATE),
            *("--trusted-root", str(folder / "trusted_root.json")),
        )
    code, out, err = hubledger(
        *("verify", "--bundle", bundle, "--trusted-root", folder / "trusted_root.json"),
        *("--public-key", folder / "hub.pub", "--json"),
    )
    assert code == 0, out + err
    proven = json.loads(out)["logEntries"][0]
    assert (proven["leafIndex"], proven["logIndex"]) == (receipt.proven.leaf_index, receipt.proven.index)
    assert proven["integratedTime"] == receipt.proven.integrated_time
    code, out, err = hubledger(
        *("verify", "--bundle", bundle, "--trust", folder / "trust.toml", "--log-only", "--json")
    )
    assert (code, json.loads(out)["event"]["eventId"]) == (0, kind), out + err


@pytest.mark.parametrize("what", SIGN)
def test_we_verify_a_bundle_of_cosign(folder, hubledger, what):
    command, more = SIGN[what]
    bundle = folder / f"{command}.sigstore.json"
    cosign(
        folder,
        *(command, "--key", str(folder / "cosign.key"), "--bundle", str(bundle), "--yes"),
        *("--signing-config", str(folder / "signing_config.json")),
        *("--trusted-root", str(folder / "trusted_root.json")),
        *(str(folder / word) if word.endswith(".json") else word for word in more),
        str(folder / "weights"),
    )
    known = ("verify", "--bundle", bundle, "--trusted-root", folder / "trusted_root.json", "--json")
    good = (*known, "--public-key", folder / "cosign.pub", "--artifact", folder / "weights")
    code, out, err = hubledger(*good)
    assert (code, json.loads(out)["signature"]) == (0, "ACCEPTED"), out + err
    code, out, _ = hubledger(*good[:-1], folder / "cosign.pub")
    assert (code, json.loads(out)["signature"]) == (22, "CONTENT_DIFFERS")
