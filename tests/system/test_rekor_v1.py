"""Submissions to the real Rekor v1, with nothing in between and with somebody who changes answers.

What we log is read and verified by clients that nobody here wrote: rekor-cli and cosign.
"""

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.bodies import SignedPayload, Verifier
from ledger.config import RekorConfig
from ledger.encoding import format_base64
from ledger.entry import keyid_of, pae
from ledger.errors import RejectedError, SourceError
from ledger.log.rekor_v1 import RekorV1
from ledger.log.rekor_v1_reading import RekorV1Log
from ledger.log.remote import LogReceipt
from ledger.log.trusted_root import load_instance
from ledger.tlog.merkle import leaf_hash, verify_inclusion
from tests.fakes.rekor import signed_payload
from tests.fakes.rekor_v1 import CORRUPTIONS, DER, ECDSA, STATE_CORRUPTIONS, ecdsa_key
from tests.system import peers
from tests.system.rekor_v1 import NAME, log_info

KINDS = ["dsse", "hashedrekord"]
PREDICATE = "https://hubledger/verification-event/v1"


@pytest.fixture
def server(rekor_v1_backend):
    """A rekor-server with a tree and a key of its own."""
    with rekor_v1_backend.server() as running:
        yield running


@pytest.fixture(scope="module")
def busy(rekor_v1_backend):
    """A rekor-server that all tests use which do not look at the whole tree; it has some entries."""
    with rekor_v1_backend.server() as running:
        submit(running, *(f"there before {number}" for number in range(5)))
        yield running


def submit(server, *words, shard=None, **options):
    """Submit payloads, several at once; returns receipts and refusals in their order."""

    async def run():
        log = RekorV1(shard or server.shard(), server.keys, **options)

        async def one(each):
            return await log.submit(signed_payload(each) if isinstance(each, str) else each)

        try:
            return await asyncio.gather(*map(one, words), return_exceptions=True)
        finally:
            await log.close()

    return asyncio.run(run())


@contextlib.contextmanager
def reading(server, **changes):
    log = RekorV1Log(server.shard(**changes), server.keys)
    try:
        yield log
    finally:
        log.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_entry_of_an_empty_log(server, kind):
    with reading(server) as log:
        before = log.checkpoint()
        (receipt,) = submit(server, "first", kinds=[kind])
        assert (before.checkpoint.size, receipt.proven.tree.size) == (0, 1)
        assert (receipt.proven.leaf_index, receipt.proven.index) == (0, 0)
        assert receipt.proven.kind == (kind, "0.0.1")
        assert log.verify_growth(before, log.checkpoint()) == leaf_hash(receipt.proven.body)
        assert list(log.read(0, 1)) == [receipt.proven.body]


def test_hundreds_of_entries_at_once_are_each_proven_and_read_back(server):
    """More than 256, which is where tiles of another log would end; several sizes of the tree in between."""
    words = [f"event {number}" for number in range(300)]
    receipts = submit(server, *words)
    assert sorted(each.proven.leaf_index for each in receipts) == list(range(300))
    by_leaf = sorted(receipts, key=lambda each: each.proven.leaf_index)
    with reading(server) as log:
        assert list(log.read(0, 300)) == [each.proven.body for each in by_leaf]
        newest = log.checkpoint().checkpoint
        assert newest.size == 300
        for receipt in by_leaf[:: 300 // 20]:
            log.prove_consistency(receipt.proven.tree.size, 300)
        proof = log.prove_inclusion(256, 300)
        leaf = leaf_hash(by_leaf[256].proven.body)
        verify_inclusion(leaf, index=256, size=300, root=newest.root_hash, proof=proof)
        uuids = [leaf_hash(each.proven.body).hex() for each in receipts[:25]]
        assert [each.proven.index for each in log.entries_of(uuids)] == [
            each.proven.index for each in receipts[:25]
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_statement_is_one_entry_however_often_and_at_once_it_is_submitted(server, kind):
    answers = submit(server, *["same"] * 20, "other", "same", kinds=[kind])
    # Trillian's database gives up on some of many equal insertions (500): nothing is known then, so they come again.
    assert {type(each) for each in answers} <= {LogReceipt, SourceError}
    answers += submit(server, "same", "other", kinds=[kind])
    places = {each.position: each.proven.body for each in answers if isinstance(each, LogReceipt)}
    assert sorted(places) == [(0, 0), (0, 1)]
    assert len(set(places.values())) == 2
    assert {type(each) for each in answers[-2:]} == {LogReceipt}
    assert log_info(server.url)["treeSize"] == 2


def test_the_same_statement_under_another_spelling_of_its_envelope_is_another_entry(server):
    """Why only stored bytes are ever sent: Rekor hashes the envelope's text, and calls nothing else a duplicate."""
    from ledger.log import rekor_v1

    signed = signed_payload("spelled")
    (receipt,) = submit(server, signed)
    request = json.loads(rekor_v1.propose("dsse", signed))
    text = json.dumps(json.loads(signed.envelope), indent=1)
    request["spec"]["proposedContent"]["envelope"] = text
    body = json.dumps(request).encode()
    asked = urllib.request.Request(
        f"{server.url}/api/v1/log/entries", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=30) as response:
        ((_, entry),) = json.load(response).items()
    logged = json.loads(base64.b64decode(entry["body"]))["spec"]["envelopeHash"]["value"]
    assert logged == hashlib.sha256(text.encode()).hexdigest()
    assert entry["logIndex"] == receipt.proven.index + 1
    (again,) = submit(server, signed)
    assert again.position == receipt.position


def test_a_server_that_is_killed_in_the_middle_loses_nothing_and_logs_nothing_twice(rekor_v1_backend):
    words = [f"event {number}" for number in range(120)]

    async def interrupted(server):
        """Submit all of it and kill the server when a quarter is answered."""
        log, answered = RekorV1(server.shard(), server.keys), []

        async def one(word):
            receipt = await log.submit(signed_payload(word))
            answered.append(receipt)
            if len(answered) == len(words) // 4:
                server.process.kill()
            return receipt

        try:
            return await asyncio.gather(*map(one, words), return_exceptions=True)
        finally:
            await log.close()

    with rekor_v1_backend.server() as first:
        answers = asyncio.run(interrupted(first))
    lost = [word for word, answer in zip(words, answers, strict=True) if isinstance(answer, Exception)]
    assert lost
    assert {type(answer) for answer in answers if isinstance(answer, Exception)} == {SourceError}
    with rekor_v1_backend.server(key=first.key, tree=first.tree, port=first.port) as second:
        assert second.tree == first.tree
        again = dict(zip(lost, submit(second, *lost), strict=True))
        receipts = [again.get(word, answer) for word, answer in zip(words, answers, strict=True)]
        assert sorted(each.proven.leaf_index for each in receipts) == list(range(len(words)))
        assert log_info(second.url)["treeSize"] == len(words)


def test_the_trusted_root_and_the_signing_config_lead_to_the_log(busy, tmp_path):
    """They name no tree: whatever tree of this name and key the server goes on with is the same shard."""
    root, signing = busy.write_trust(tmp_path)
    config = RekorConfig(trusted_root=root.name, signing_config=signing.name)
    instance = load_instance(config, tmp_path)
    (shard,) = instance.shards
    assert (shard.kind, shard.origin, shard.write_url) == ("rekor-v1", NAME, busy.url)
    (receipt,) = submit(busy, "by the trusted root", shard=shard)
    assert receipt.proven.tree.origin == f"{NAME} - {busy.tree}"
    log = RekorV1Log(shard, instance.keys)
    assert log.entry_at(receipt.proven.index).proven.body == receipt.proven.body
    log.close()


# What Rekor refuses


def test_an_operator_without_dsse_gets_hashedrekord(rekor_v1_backend):
    with rekor_v1_backend.server(kinds=["hashedrekord"]) as server:
        (receipt,) = submit(server, "one")
        assert receipt.proven.kind == ("hashedrekord", "0.0.1")
        (refused,) = submit(server, "two", kinds=["dsse"])
    assert isinstance(refused, RejectedError)
    assert "entry kind 'dsse' is not enabled" in str(refused)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_keys_on_larger_curves_are_taken_as_hashedrekord_and_not_as_dsse(busy, curve):
    signed = signed_payload("large", curve=curve)
    (refused,) = submit(busy, signed, kinds=["dsse"])
    assert isinstance(refused, RejectedError)
    (receipt,) = submit(busy, signed)
    assert receipt.proven.kind == ("hashedrekord", "0.0.1")


def test_a_key_that_the_operator_does_not_take_is_refused_for_good(rekor_v1_backend):
    with rekor_v1_backend.server(algorithms=["rsa-sign-pkcs1-2048-sha256"]) as server:
        (refused,) = submit(server, "one", kinds=["hashedrekord"])
    assert isinstance(refused, RejectedError)
    assert "entry algorithms are not allowed" in str(refused)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_that_is_none_is_refused_for_good(busy, kind):
    good, other = signed_payload("one"), signed_payload("two")
    bad = SignedPayload(payload=good.payload, signature=other.signature, verifier=good.verifier)
    (refused,) = submit(busy, bad, kinds=[kind])
    assert isinstance(refused, RejectedError)


def test_a_body_that_is_too_large_is_refused_for_good(rekor_v1_backend):
    with rekor_v1_backend.server(max_body=4096) as server:
        (receipt, refused) = submit(server, "small", "large" * 2000)
    assert receipt.proven.index == 0
    assert isinstance(refused, RejectedError)
    assert "too large" in str(refused)


# Two indices


def test_the_next_tree_of_a_log_counts_its_leaves_from_0_and_goes_on_in_the_global_index(rekor_v1_backend):
    with rekor_v1_backend.server() as server:
        before = submit(server, "one", "two", "three")
    with rekor_v1_backend.server(key=server.key, inactive=[server.tree]) as later:
        after = submit(later, "four", "five")
        assert sorted(each.proven.leaf_index for each in after) == [0, 1]
        assert sorted(each.proven.index for each in after) == [3, 4]
        assert max(each.position for each in before) < min(each.position for each in after)
        with reading(later) as log:
            by_leaf = sorted(after, key=lambda each: each.proven.leaf_index)
            assert list(log.read(0, 2)) == [each.proven.body for each in by_leaf]
            assert log.entry_at(4).proven.leaf_index == 1
        old = RekorV1Log(server.shard(url=later.url), server.keys)
        by_leaf = sorted(before, key=lambda each: each.proven.leaf_index)
        assert list(old.read(0, 3)) == [each.proven.body for each in by_leaf]
        assert old.checkpoint().checkpoint.size == 3
        old.close()
        # A statement of the earlier tree is logged again by the later one: one event at two places, the first counts.
        (again,) = submit(later, "one")
        assert again.proven.body in {each.proven.body for each in before}
        assert again.position > max(each.position for each in before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_whose_answer_was_lost_before_a_change_of_trees_is_not_logged_again(rekor_v1_backend, kind):
    """As an outbox submits it that has a note of the try and no receipt."""

    async def resubmit(server, shard):
        log = RekorV1(shard, server.keys)
        try:
            return [await log.submit(signed_payload(each), again=True) for each in ("lost", "never sent")]
        finally:
            await log.close()

    with rekor_v1_backend.server() as server:
        submit(server, "another")
        (lost,) = submit(server, "lost", kinds=[kind])
    with rekor_v1_backend.server(key=server.key, inactive=[server.tree]) as later:
        found, new = asyncio.run(resubmit(later, dataclasses.replace(later.shard(), origin=NAME)))
        assert found.position == lost.position
        assert (new.proven.leaf_index, new.proven.index) == (0, 2)
        assert log_info(later.url)["treeSize"] == 1


# Somebody in between


@contextlib.contextmanager
def between(url):
    """A proxy to the server; yields it. ``bend`` changes every answer that is JSON and no refusal."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            length = int(self.headers.get("content-length", 0))
            asked = urllib.request.Request(
                url + self.path,
                data=self.rfile.read(length) if self.command == "POST" else None,
                headers={"Content-Type": "application/json"},
                method=self.command,
            )
            try:
                with urllib.request.urlopen(asked, timeout=30) as response:
                    status, data = response.status, response.read()
            except urllib.error.HTTPError as error:
                status, data = error.code, error.read()
            if status < 300:
                data = json.dumps(proxy.bend(json.loads(data))).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self):
            self.do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.bend = lambda value: value
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


async def nothing(_seconds):
    """A pause that takes no time."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_changes_any_field_is_found_out_and_nothing_is_lost(busy, kind):
    """Each field of each answer in turn, also of that after a duplicate; then the same bytes, undisturbed."""
    with between(busy.url) as proxy:
        shard = busy.shard(url=f"http://127.0.0.1:{proxy.server_port}")
        (receipt,) = submit(busy, f"undisturbed as {kind}", shard=shard, kinds=[kind])
        assert receipt.proven.kind[0] == kind
        for name, (bend, error) in CORRUPTIONS.items():
            proxy.bend = bend
            for tries in ("new", "duplicate"):
                (refused,) = submit(busy, f"{name} {kind}", shard=shard, kinds=[kind], pause=nothing)
                assert isinstance(refused, error), f"{name}, {tries}: {refused!r}"
            (receipt,) = submit(busy, f"{name} {kind}", kinds=[kind])
            assert receipt.proven.kind[0] == kind


@pytest.mark.parametrize("name", STATE_CORRUPTIONS)
def test_a_proxy_that_changes_the_state_of_the_log_is_found_out(busy, name):
    bend, error = STATE_CORRUPTIONS[name]
    with between(busy.url) as proxy:
        with reading(busy, url=f"http://127.0.0.1:{proxy.server_port}") as log:
            log.checkpoint()
            proxy.bend = bend
            with pytest.raises(error):
                log.checkpoint()


# Clients of others


def run(*command, expect=0):
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (expect == 0), done.stdout + done.stderr
    return done.stdout


def statement(artifact):
    subject = {"name": "acme/tiny", "digest": {"sha256": hashlib.sha256(artifact).hexdigest()}}
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [subject],
            "predicateType": PREDICATE,
            "predicate": {"outcome": "VERIFIED"},
        }
    ).encode()


def signed_by_hub(payload):
    key = ecdsa_key("hub")
    spki = key.public_key().public_bytes(*DER)
    return SignedPayload(
        payload=payload,
        signature=key.sign(pae(payload), ECDSA),
        verifier=Verifier(spki),
        keyid=keyid_of(spki),
    )


def test_rekor_cli_finds_and_verifies_what_we_logged(busy, tmp_path):
    cli = peers.tool("rekor-cli")
    there = ["--rekor_server", busy.url, "--store_tree_state=false"]
    signed = signed_by_hub(statement(b"weights"))
    (receipt,) = submit(busy, signed)
    for name, data in (
        ("envelope", signed.envelope),
        ("other", signed.envelope.replace(b'{"payload"', b'{ "payload"')),
        ("hub.pem", signed.verifier.pem),
        ("message", signed.message),
        ("signature", signed.signature),
    ):
        (tmp_path / name).write_bytes(data)
    # By UUID and by global index.
    uuid = leaf_hash(receipt.proven.body).hex()
    for how in (("--uuid", uuid), ("--log-index", receipt.proven.index)):
        got = json.loads(run(cli, "get", *how, "--format", "json", *there))
        assert (got["LogIndex"], got["LogID"]) == (receipt.proven.index, receipt.proven.log_id.hex())
        assert got["UUID"] == f"{busy.tree:016x}{uuid}"
        assert got["IntegratedTime"] == receipt.proven.integrated_time
    dsse = ["--type", "dsse", "--pki-format", "x509", "--public-key", tmp_path / "hub.pem"]
    shown = run(cli, "verify", *dsse, "--artifact", tmp_path / "envelope", *there)
    assert f"Entry Hash: {uuid}" in shown
    assert f"Entry Index in Current Tree: {receipt.proven.leaf_index}" in shown
    run(cli, "verify", *dsse, "--artifact", tmp_path / "other", *there, expect=1)
    # The same statement as hashedrekord: an artifact that is the message, and a detached signature.
    (digest_only,) = submit(busy, signed, kinds=["hashedrekord"])
    detached = ["--type", "hashedrekord", "--pki-format", "x509", "--public-key", tmp_path / "hub.pem"]
    detached += ["--artifact", tmp_path / "message", "--signature", tmp_path / "signature"]
    assert f"Entry Hash: {leaf_hash(digest_only.proven.body).hex()}" in run(cli, "verify", *detached, *there)
    shown = run(cli, "loginfo", *there)
    assert "Verification Successful!" in shown
    assert f"TreeID:                 {busy.tree}" in shown


def bundle_of(signed, receipt):
    """A Sigstore bundle v0.3: the hub's key, the log entry, the envelope."""
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": signed.keyid},
            "tlogEntries": [json.loads(receipt.log_entry)],
        },
        "dsseEnvelope": {
            "payload": format_base64(signed.payload),
            "payloadType": "application/vnd.in-toto+json",
            # cosign compares a key id with one of its own making, and skips the signature where they differ.
            "signatures": [{"sig": format_base64(signed.signature)}],
        },
    }


@pytest.fixture
def cosign(busy, tmp_path):
    """Verify a bundle with cosign; its exit code is expected to be 0 or not."""
    root, _ = busy.write_trust(tmp_path)
    (tmp_path / "artifact").write_bytes(b"weights")
    (tmp_path / "hub.pem").write_bytes(signed_by_hub(b"").verifier.pem)

    def verify(bundle, *, expect=0):
        (tmp_path / "bundle").write_text(json.dumps(bundle))
        command = [peers.tool("cosign"), "verify-blob-attestation", "--new-bundle-format"]
        command += ["--bundle", tmp_path / "bundle", "--key", tmp_path / "hub.pem", "--trusted-root", root]
        command += ["--type", PREDICATE, tmp_path / "artifact"]
        return run(*command, expect=expect)

    return verify


def test_cosign_verifies_what_we_logged(busy, cosign):
    signed = signed_by_hub(statement(b"weights"))
    (receipt,) = submit(busy, signed)
    bundle = bundle_of(signed, receipt)
    cosign(bundle)
    # It does look at the promise and at the proof.
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    for name, value in (("logIndex", "7777"), ("integratedTime", "1")):
        cosign(bundle | {"verificationMaterial": _entry_with(bundle, entry | {name: value})}, expect=1)


def _entry_with(bundle, entry):
    return bundle["verificationMaterial"] | {"tlogEntries": [entry]}
