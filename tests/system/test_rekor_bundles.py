"""Bundles by and for real servers and clients: cosign verifies ours, and we verify cosign's, through a real Rekor v2."""

import asyncio
import json
import os
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ledger.bundle.bodies import SignedPayload
from ledger.bundle.export import format_rekor_proof, format_sigstore_bundle
from ledger.client.trust import TrustFile
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey, TrustedLog
from ledger.event import format_statement
from ledger.log.rekor_v2 import RekorV2
from ledger.log.trusted_root import read_instance
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.proof import parse_proof, verify_proof
from ledger.tlog.trust_policy import LogKey, TrustPolicy
from tests.system.peers import tool
from tests.system.rekor import rekor_v2, signing_config, timestamp_server, trusted_root, write_trust
from tests.world import HUB, LEDGER, key_signer, make_event, p256_key, sign_statement, signed_by, spki_of

PREDICATE = "https://hubledger/verification-event/v1"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A Rekor v2 and a timestamp authority, the trust files of both, a key as cosign keeps it, and a file to sign."""
    tool("cosign")
    folder = tmp_path_factory.mktemp("bundles")
    with rekor_v2(folder / "rekor") as server, timestamp_server(folder) as authority:
        root, config = write_trust(folder, [server.trusted], [authority])
        (folder / "weights").write_bytes(b"weights")
        (folder / "hub.pub").write_bytes(_pem(p256_key("hub")))
        (folder / "trust.toml").write_bytes(format_trust(_trust(server)))
        cosign(folder, "generate-key-pair", "--output-key-prefix", str(folder / "cosign"))
        yield World(folder, server, authority, root, config)


class World:
    def __init__(self, folder, server, authority, root, config):
        self.folder, self.server, self.authority = folder, server, authority
        self.root, self.config = root, config

    def path(self, name):
        return str(self.folder / name)

    def record(self, event_id, *, stamped=False):
        """Log an event of ours; returns (its entry, the receipt)."""
        logs, authorities = [self.server.trusted], [self.authority] if stamped else []
        instance = read_instance(
            trusted_root(logs, authorities),
            signing_config(logs, authorities),
            where="the test",
            read_url=self.server.read_url,
        )
        entry = sign_statement(
            format_statement(make_event(signed_by(key_signer("alice")), event_id=event_id))
        )
        signed = SignedPayload.of_entry(json.loads(entry), spki_of(p256_key("hub")))
        return entry, asyncio.run(_submit(instance, signed))


async def _submit(instance, signed):
    log = RekorV2(
        instance.shards[0], instance.keys, tsa_urls=instance.tsa_urls, authorities=instance.authorities
    )
    try:
        return await log.submit(signed)
    finally:
        await log.close()


def _pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _trust(server):
    return TrustFile(
        version=1,
        ledger=LEDGER,
        origin="",
        policy=TrustPolicy(logs=(LogKey(key=server.vkey),)),
        hub=HUB,
        hub_keys=(HubKey(spki=spki_of(p256_key("hub"))),),
        shards=(TrustedLog(origin=server.origin, keys=(server.vkey,)),),
    )


def cosign(folder, *words):
    """Run cosign with an empty password; returns what it wrote, and fails the test if it does."""
    environment = {**os.environ, "COSIGN_PASSWORD": "", "HOME": str(folder)}
    done = subprocess.run(
        [tool("cosign"), *words], capture_output=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout + done.stderr


@pytest.mark.parametrize("stamped", [False, True])
def test_cosign_and_we_verify_a_bundle_of_ours(world, hubledger, stamped):
    entry, receipt = world.record(f"ours-{stamped}", stamped=stamped)
    spki = spki_of(p256_key("hub"))
    raw = format_sigstore_bundle(
        entry, spki=spki, log_entries=[receipt.log_entry], timestamps=receipt.timestamps
    )
    assert len(receipt.timestamps) == stamped
    (world.folder / "ours.sigstore.json").write_bytes(raw)
    cosign(
        world.folder,
        *("verify-blob-attestation", "--bundle", world.path("ours.sigstore.json"), "--check-claims=false"),
        *("--key", world.path("hub.pub"), "--trusted-root", str(world.root), "--type", PREDICATE),
    )
    code, out, err = hubledger(
        *("verify", "--bundle", world.path("ours.sigstore.json"), "--trusted-root", world.root),
        *("--public-key", world.path("hub.pub"), "--json"),
    )
    assert (code, json.loads(out)["log"]) == (0, "INCLUDED_ONLY"), out + err
    assert json.loads(out)["logEntries"][0]["leafIndex"] == receipt.proven.leaf_index
    assert len(json.loads(out).get("timestamps", [])) == stamped
    code, out, err = hubledger(
        *("verify", "--bundle", world.path("ours.sigstore.json"), "--trust", world.path("trust.toml")),
        *("--log-only", "--json"),
    )
    assert (code, json.loads(out)["event"]["eventId"]) == (0, f"ours-{stamped}"), out + err


def test_sigstore_models_parses_a_bundle_of_ours(world):
    from sigstore_models.bundle.v1 import Bundle

    entry, receipt = world.record("models")
    raw = format_sigstore_bundle(entry, spki=spki_of(p256_key("hub")), log_entries=[receipt.log_entry])
    parsed = Bundle.from_json(raw)
    assert parsed.verification_material.tlog_entries[0].log_index == receipt.proven.leaf_index
    assert json.loads(parsed.to_json()) == json.loads(raw)


def test_a_proof_file_of_a_real_rekor_verifies(world, hubledger):
    entry, receipt = world.record("proof")
    data = format_rekor_proof(entry, spki=spki_of(p256_key("hub")), log_entry=receipt.log_entry)
    (world.folder / "x.tlog-proof").write_bytes(data)
    code, out, err = hubledger(
        *("verify", "--proof", world.path("x.tlog-proof"), "--trust", world.path("trust.toml")),
        *("--log-only", "--json"),
    )
    assert (code, json.loads(out)["event"]["leafIndex"]) == (0, receipt.proven.leaf_index), out + err
    policy = _trust(world.server).policy
    counted = verify_proof(
        parse_proof(data), leaf_hash(receipt.proven.body), policy=policy, origin=world.server.origin
    )
    assert counted.verified.checkpoint == receipt.proven.tree


def test_we_verify_the_first_entry_of_an_empty_log(tmp_path, hubledger):
    """cosign leaves out what is 0 or empty: the indices, and the hashes of the proof."""
    tool("cosign")
    with rekor_v2(tmp_path / "rekor") as server:
        root, config = write_trust(tmp_path, [server.trusted])
        (tmp_path / "weights").write_bytes(b"weights")
        cosign(tmp_path, "generate-key-pair", "--output-key-prefix", str(tmp_path / "cosign"))
        bundle = tmp_path / "first.sigstore.json"
        cosign(
            tmp_path,
            *("sign-blob", "--key", str(tmp_path / "cosign.key"), "--bundle", str(bundle), "--yes"),
            *("--signing-config", str(config), "--trusted-root", str(root), str(tmp_path / "weights")),
        )
    assert "logIndex" not in bundle.read_text()
    code, out, err = hubledger(
        *("verify", "--bundle", bundle, "--trusted-root", root, "--artifact", tmp_path / "weights"),
        *("--public-key", tmp_path / "cosign.pub", "--json"),
    )
    assert (code, json.loads(out)["logEntries"][0]["leafIndex"]) == (0, 0), out + err


SIGN = {
    "a file": ("sign-blob", ()),
    "a statement": ("attest-blob", ("--type", "https://example.org/p/v1", "--predicate", "predicate.json")),
}


KEYS = {
    "RSA": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
}
"""Keys that cosign imports and signs with; with Ed25519 its own check of what it signed fails."""


@pytest.mark.parametrize("what", SIGN)
@pytest.mark.parametrize("kind", KEYS)
def test_we_verify_what_cosign_signs_with_another_kind_of_key(world, hubledger, kind, what):
    command, more = SIGN[what]
    (world.folder / "predicate.json").write_text('{"n": 1}')
    (world.folder / "other.pem").write_bytes(
        KEYS[kind]().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    for old in world.folder.glob("other.[kp]??"):
        if old.suffix != ".pem":
            old.unlink()
    cosign(
        world.folder,
        *("import-key-pair", "--key", world.path("other.pem"), "--output-key-prefix", world.path("other")),
    )
    bundle = world.path("other.sigstore.json")
    cosign(
        world.folder,
        *(command, "--key", world.path("other.key"), "--bundle", bundle, "--yes"),
        *("--signing-config", str(world.config), "--trusted-root", str(world.root)),
        *(world.path(word) if word.endswith(".json") else word for word in more),
        world.path("weights"),
    )
    known = ("verify", "--bundle", bundle, "--trusted-root", world.root, "--artifact", world.path("weights"))
    code, out, err = hubledger(*known, "--public-key", world.path("other.pub"))
    assert code == 0, out + err


@pytest.mark.parametrize("what", SIGN)
def test_we_verify_a_bundle_of_cosign(world, hubledger, what):
    command, more = SIGN[what]
    (world.folder / "predicate.json").write_text('{"n": 1}')
    bundle = world.path(f"{command}.sigstore.json")
    cosign(
        world.folder,
        *(command, "--key", world.path("cosign.key"), "--bundle", bundle, "--yes"),
        *("--signing-config", str(world.config), "--trusted-root", str(world.root)),
        *(world.path(word) if word.endswith(".json") else word for word in more),
        world.path("weights"),
    )
    known = ("verify", "--bundle", bundle, "--trusted-root", world.root, "--json")
    good = (*known, "--public-key", world.path("cosign.pub"), "--artifact", world.path("weights"))
    code, out, err = hubledger(*good)
    assert (code, json.loads(out)["signature"]) == (0, "ACCEPTED"), out + err
    code, out, _ = hubledger(
        *known, "--public-key", world.path("hub.pub"), "--artifact", world.path("weights")
    )
    assert (code, json.loads(out)["signature"]) == (21, "UNEXPECTED_SIGNER")
    code, out, _ = hubledger(*good[:-1], world.path("cosign.pub"))
    assert (code, json.loads(out)["signature"]) == (22, "CONTENT_DIFFERS")
