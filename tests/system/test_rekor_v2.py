"""A real Rekor v2 as the log: what we submit is proven, what others verify, and nothing that lies or fails is believed."""

import asyncio
import base64
import copy
import dataclasses
import hashlib
import json
import re
import signal
import subprocess

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.bodies import SignedPayload, Verifier
from ledger.bundle.log_entry import parse_log_entry, prove_log_entry
from ledger.config import RekorConfig
from ledger.entry import PAYLOAD_TYPE, pae
from ledger.errors import (
    FrozenError,
    LedgerError,
    LimitError,
    MalformedError,
    ProofError,
    RejectedError,
    SignatureError,
    SourceError,
)
from ledger.log.fetch import fetch_from_url
from ledger.log.hashedrekord import MAX_ANSWER_BYTES, format_request
from ledger.log.rekor_v2 import RekorV2
from ledger.log.timestamping import verify_timestamp
from ledger.log.trusted_root import load_instance
from ledger.log.wire import WireTransport
from ledger.tlog.cosignature import verify_cosignatures
from ledger.tlog.merkle import verify_consistency
from tests.fakes.rekor import FakeRekor, body_of, signed_payload
from tests.system.peers import fsck, get, tool
from tests.system.rekor import RekorV2 as Server
from tests.system.rekor import litewitness, not_writable, rekor_v2, timestamp_server, write_trust

SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One log that the tests of this file fill together; none counts on being the first."""
    with rekor_v2(tmp_path_factory.mktemp("rekor"), interval="100ms") as running:
        yield running


def instance_of(folder, servers, authorities=(), *, read_url=None):
    """Our view of the servers, through the files that an operator would have."""
    root, config = write_trust(folder, [getattr(each, "trusted", each) for each in servers], authorities)
    settings = RekorConfig(
        trusted_root=root.name, signing_config=config.name, read_url=read_url or servers[-1].read_url
    )
    return load_instance(settings, folder)


def client_of(instance, order=-1, **options):
    return RekorV2(instance.shards[order], instance.keys, **options)


async def submit(log, *many):
    try:
        return await asyncio.gather(*map(log.submit, many))
    finally:
        await log.close()


def run(log, *many):
    return asyncio.run(submit(log, *many))


def fresh(tmp_path, word=""):
    """A payload that no other test has."""
    return signed_payload(f"{tmp_path} {word}")


def test_the_first_entry_of_an_empty_log(tmp_path):
    with rekor_v2(tmp_path / "rekor") as server:
        log = client_of(instance_of(tmp_path, [server]))
        assert log.checkpoint().checkpoint.size == 0
        (receipt,) = run(log, fresh(tmp_path))
    assert receipt.position == (0, 0)
    assert receipt.proven.tree.origin == "rekor-local"


def test_thousands_of_entries_across_tiles_are_proven_read_and_found_again(tmp_path):
    with rekor_v2(tmp_path / "rekor", interval="100ms") as server:
        instance = instance_of(tmp_path, [server])
        many = [fresh(tmp_path, at) for at in range(2000)]
        receipts = run(client_of(instance, in_flight=1024), *many)
        assert sorted(each.position for each in receipts) == [(0, at) for at in range(2000)]
        assert [each.proven.body for each in receipts] == [body_of(each) for each in many]

        log = client_of(instance, in_flight=64)
        by_index = {each.proven.leaf_index: each.proven.body for each in receipts}
        assert list(log.read(0, 2000)) == [by_index[at] for at in range(2000)]
        newest, oldest = log.checkpoint().checkpoint, min(receipts, key=lambda each: each.proven.tree.size)
        assert newest.size == 2000
        assert verify_consistency(
            old_size=oldest.proven.tree.size,
            old_root=oldest.proven.tree.root_hash,
            new_size=2000,
            new_root=newest.root_hash,
            proof=log.prove_consistency(oldest.proven.tree.size, 2000),
        )
        again = run(log, *many[:300])
        assert [each.position for each in again] == [each.position for each in receipts[:300]]
        found = fsck(server.read_url, server.vkey.format(), tmp_path)
    assert found == (2000, newest.root_hash.hex())


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda each: each.name
)
def test_each_curve_is_taken_and_found_again(server, tmp_path, curve):
    signed = signed_payload(str(tmp_path), curve=curve)
    instance = instance_of(tmp_path, [server])
    (first,) = run(client_of(instance), signed)
    (again,) = run(client_of(instance), signed)
    assert first.position == again.position
    assert prove_log_entry(parse_log_entry(json.loads(again.log_entry)), instance.keys)


def test_a_signature_by_a_certificate_is_logged_with_it(server, tmp_path):
    from cli.demo_world import DemoSigstore

    bundle = json.loads(DemoSigstore().sign(b'{"a": 1}', identity="a@b.example", issuer="https://c.example"))
    der = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    envelope = bundle["dsseEnvelope"]
    signed = SignedPayload(
        payload=base64.b64decode(envelope["payload"]),
        signature=base64.b64decode(envelope["signatures"][0]["sig"]),
        verifier=Verifier(der, is_certificate=True),
    )
    (receipt,) = run(client_of(instance_of(tmp_path, [server])), signed)
    assert b"x509Certificate" in receipt.proven.body


def test_a_frozen_shard_is_left_for_the_next_one(tmp_path):
    with (
        rekor_v2(tmp_path / "old", origin="rekor-2025") as old,
        rekor_v2(tmp_path / "new", origin="rekor-2026") as new,
    ):
        instance = instance_of(tmp_path, [old, new])
        assert [shard.origin for shard in instance.shards] == ["rekor-2025", "rekor-2026"]
        before, after = fresh(tmp_path, "before"), fresh(tmp_path, "after")
        old_log = RekorV2(dataclasses.replace(instance.shards[0], read_url=old.read_url), instance.keys)
        (first,) = run(old_log, before)
        old.freeze()
        old_log = RekorV2(dataclasses.replace(instance.shards[0], read_url=old.read_url), instance.keys)
        with pytest.raises(FrozenError, match="a shard that takes entries, got one that is frozen"):
            run(old_log, after)
        (second,) = run(client_of(instance), after)
        assert first.position == (0, 0) < second.position == (1, 0)

        # The old one is still read, and proves what it has.
        closed = instance_of(tmp_path, [not_writable(old.trusted), new], read_url=new.read_url)
        assert closed.shards[0].write_url is None
        still = RekorV2(dataclasses.replace(closed.shards[0], read_url=old.read_url), closed.keys)
        assert list(still.read(0, 1)) == [body_of(before)]
        asyncio.run(still.close())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_restart_in_the_middle_of_submissions_loses_none_and_doubles_none(tmp_path, how):
    with rekor_v2(tmp_path / "rekor", interval="500ms") as server:
        instance = instance_of(tmp_path, [server])
        many = [fresh(tmp_path, at) for at in range(200)]

        async def story():
            log = client_of(instance, in_flight=200)
            flying = [asyncio.ensure_future(log.submit(each)) for each in many]
            await asyncio.wait(flying[:20], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.to_thread(server.stop, how=how)
            answers = await asyncio.gather(*flying, return_exceptions=True)
            await log.close()
            return answers

        first = asyncio.run(story())
        assert {type(each) for each in first if isinstance(each, Exception)} <= {SourceError}
        server.start()
        again = run(client_of(instance, in_flight=200), *many)
        assert len({each.position for each in again}) == 200
        for one, other in zip(first, again, strict=True):
            if not isinstance(one, Exception):
                # A server that was killed may have forgotten what it had answered, and log it again; never before that.
                assert one.position == other.position or (
                    how == signal.SIGKILL and one.position < other.position
                )
        log = client_of(instance)
        size = log.checkpoint().checkpoint.size
        bodies = list(log.read(0, size))
        asyncio.run(log.close())
        assert {body_of(each) for each in many} <= set(bodies)
        # What was in flight at a power cut can be there twice: the lowest place counts, and each receipt names one.
        assert size <= 400


def test_what_the_log_never_takes_is_rejected_in_its_own_words(server, tmp_path):
    log = client_of(instance_of(tmp_path, [server]))
    signed = dataclasses.replace(fresh(tmp_path), signature=b"no signature")
    with pytest.raises(RejectedError, match="got 400: "):
        run(log, signed)


@pytest.mark.parametrize(
    "key", [ec.derive_private_key(7, ec.SECP256K1()), "ed25519"], ids=["secp256k1", "ed25519"]
)
def test_the_real_log_refuses_a_wrong_algorithm_as_we_do(server, tmp_path, key, monkeypatch):
    """We do not even ask. That asking would be in vain is seen by sending the request of a right key, with this one."""
    from tests.world import ed25519_key

    key = ed25519_key("hub") if key == "ed25519" else key
    der = key.public_key().public_bytes(serialization.Encoding.DER, SPKI)
    with pytest.raises(RejectedError, match="key of a signature"):
        run(
            client_of(instance_of(tmp_path, [server])),
            dataclasses.replace(fresh(tmp_path), verifier=Verifier(der)),
        )

    request = json.loads(format_request(fresh(tmp_path)))
    request["hashedRekordRequestV002"]["signature"]["verifier"]["publicKey"]["rawBytes"] = base64.b64encode(
        der
    ).decode()
    monkeypatch.setattr("ledger.log.rekor_v2.format_request", lambda signed: json.dumps(request).encode())
    with pytest.raises(RejectedError, match="got 400: "):
        run(client_of(instance_of(tmp_path, [server])), fresh(tmp_path))


def test_an_oversized_body_is_rejected(server, tmp_path):
    signed = dataclasses.replace(fresh(tmp_path), signature=bytes(4 << 20))
    with pytest.raises(RejectedError, match="request body too large"):
        run(client_of(instance_of(tmp_path, [server])), signed)


def test_a_checkpoint_that_a_witness_cosigned_is_taken_and_its_cosignature_kept(tmp_path):
    (tmp_path / "rekor").mkdir()
    policy = tmp_path / "policy"
    with litewitness(tmp_path, [Server(folder=tmp_path / "rekor").vkey]) as witness:
        policy.write_text(witness.policy())
        with rekor_v2(tmp_path / "rekor", witness_policy=policy) as server:
            log = client_of(instance_of(tmp_path, [server]))
            checkpoint = log.checkpoint()
            (receipt,) = run(log, fresh(tmp_path))
    assert f"— {witness.key.name} ".encode() in receipt.proven.note
    assert (
        json.loads(receipt.log_entry)["inclusionProof"]["checkpoint"]["envelope"]
        == receipt.proven.note.decode()
    )
    assert checkpoint.checkpoint.size == 0
    from ledger.tlog.checkpoint import verify_checkpoint

    verified = verify_checkpoint(receipt.proven.note, origin="rekor-local", keys=[server.vkey])
    assert [each.key for each in verify_cosignatures(verified, [witness.key])] == [witness.key]


def test_a_receipt_carries_a_timestamp_over_its_signature(server, tmp_path):
    with timestamp_server(tmp_path) as authority:
        instance = instance_of(tmp_path, [server], [authority])
        options = {"authorities": instance.authorities}
        dead = "http://127.0.0.1:1/api/v1/timestamp"
        log = client_of(instance, tsa_urls=(dead, *instance.tsa_urls), **options)
        signed = fresh(tmp_path)
        (receipt,) = run(log, signed)
        (again,) = run(client_of(instance, tsa_urls=instance.tsa_urls, **options), signed)
        with pytest.raises(SourceError, match=re.escape(f"POST {dead}: expected an answer")):
            run(client_of(instance, tsa_urls=(dead,), **options), fresh(tmp_path, "unstamped"))
    (stamp,) = receipt.timestamps
    assert verify_timestamp(stamp, signed.signature, authorities=instance.authorities)
    assert receipt.position == again.position
    with pytest.raises(SignatureError, match="Mismatch between messages"):
        verify_timestamp(stamp, b"another signature", authorities=instance.authorities)


# A proxy that lies


class Liar(httpx.AsyncBaseTransport):
    """Forwards to the real log and changes its answers on their way back."""

    def __init__(self, change):
        import ssl

        self.change = change
        self.real = WireTransport(max_bytes=MAX_ANSWER_BYTES, tls=ssl.create_default_context())

    async def handle_async_request(self, request):
        answer = await self.real.handle_async_request(request)
        value = json.loads(await answer.aread())
        body = json.dumps(self.change(value)).encode()
        return httpx.Response(answer.status_code, headers={}, stream=httpx.ByteStream(body))

    async def aclose(self):
        await self.real.aclose()


def places(value, path=()):
    """Every place of a JSON value, objects and lists too."""
    if path:
        yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def corruptions(value):
    """False values in the place of one: of its type and near it, of another type, and none."""
    match value:
        case None:
            return ["AAAA", {"signedEntryTimestamp": "AAAA"}]
        case str() if value.isdecimal():
            return [str(int(value) + 1), "-1", f"+{value}", "", 1.5]
        case str():
            middle = len(value) // 2
            other = "B" if value[middle] != "B" else "C"
            return [value[:middle] + other + value[middle + 1 :], value[:-4], "", None, 7]
        case list():
            return [value[1:], [*value, base64.b64encode(bytes(32)).decode()], None]
        case _:
            return [None, [], "AAAA"]


def put(value, path, new):
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return value


FALSE = (ProofError, SignatureError, MalformedError, LimitError)
"""What an answer is called that does not hold. Never a rejection, a frozen shard, or a log that is away."""


def test_every_false_value_in_every_place_of_an_answer_is_caught(server, tmp_path):
    instance = instance_of(tmp_path, [server])
    run(client_of(instance), *(fresh(tmp_path, at) for at in range(3)))  # so that there is a proof
    answers = []
    run(
        client_of(instance, transport=Liar(lambda value: answers.append(value) or value)),
        fresh(tmp_path, "true"),
    )
    cases = [
        (path, at) for path in places(answers[0]) for at in range(len(corruptions(_at(answers[0], path))))
    ]
    assert len(cases) > 60

    async def lie(path, at):
        def change(value):
            # The hashes of this proof may be fewer than those of the one that the places are from.
            return put(value, path, corruptions(_at(value, path))[at]) if _has(value, path) else None

        log = client_of(instance, transport=Liar(change))
        try:
            return await log.submit(fresh(tmp_path, f"lie {path} {at}"))
        except LedgerError as error:
            return error
        finally:
            await log.close()

    async def all_of_them():
        return await asyncio.gather(*(lie(*case) for case in cases))

    believed = [
        (path, at, answer)
        for (path, at), answer in zip(cases, asyncio.run(all_of_them()), strict=True)
        if type(answer) not in FALSE
    ]
    assert believed == []


def _at(value, path):
    for key in path:
        value = value[key]
    return value


def _has(value, path):
    try:
        _at(value, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def spoiled(fetch, path, change):
    def get_object(name, /, *, max_bytes):
        data = fetch(name, max_bytes=max_bytes)
        return change(data) if re.fullmatch(path, name) else data

    return get_object


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("checkpoint", SignatureError),
        (r"tile/0/000(\.p/\d+)?", ProofError),
        (r"tile/entries/.*", ProofError),
    ],
)
def test_every_false_object_of_the_read_address_is_caught(server, tmp_path, path, error):
    signed = fresh(tmp_path)
    instance = instance_of(tmp_path, [server])
    (receipt,) = run(client_of(instance), signed)

    def flip(data):
        at = data.rindex(b"\n") - 8 if path == "checkpoint" else 9
        return data[:at] + (b"A" if data[at : at + 1] != b"A" else b"B") + data[at + 1 :]

    lying = client_of(instance, fetch=spoiled(fetch_from_url(server.read_url), path, flip))
    with pytest.raises(error) as caught:
        run(lying, signed)
    assert type(caught.value) is error
    (again,) = run(client_of(instance), signed)
    assert again.position == receipt.position


# Each part of each object, with the kind of error that says so: a line of the checkpoint, a hash of a tile, an entry of a bundle.
OBJECTS = {
    "checkpoint": ("checkpoint", lambda data: data.split(b"\n"), b"\n"),
    "tile": (r"tile/0/.*", lambda data: [data[at : at + 32] for at in range(0, len(data), 32)], b""),
    "bundle": (r"tile/entries/.*", lambda data: list(_framed(data)), b""),
}


def _framed(data):
    """The entries of a bundle, each with the two bytes of its length."""
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        yield data[:end]
        data = data[end:]


def _bent(part):
    """False values in the place of a part: a bit, the rest, none, and one more of it."""
    for at in sorted({0, len(part) // 2, len(part) - 1}) if part else ():
        yield part[:at] + bytes([part[at] ^ 1]) + part[at + 1 :]
    yield from (part[:-1], b"", part + part) if part else (b"x",)


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_false_part_of_every_object_of_the_read_address_is_caught(tmp_path, kind):
    """Whoever asks again for an entry gets its place or an error, and never a false place; then the truth is found."""
    path, split, joint = OBJECTS[kind]
    with rekor_v2(tmp_path / "rekor", interval="100ms") as server:
        signed = fresh(tmp_path)
        instance = instance_of(tmp_path, [server])
        receipts = run(client_of(instance), *(fresh(tmp_path, at) for at in range(3)), signed)
        truth, fetch = receipts[-1], fetch_from_url(server.read_url)
        objects = []
        run(
            client_of(instance, fetch=spoiled(fetch, path, lambda data: objects.append(data) or data)), signed
        )
        parts = split(objects[0])
        cases = [
            joint.join([*parts[:at], new, *parts[at + 1 :]])
            for at, part in enumerate(parts)
            for new in _bent(part)
        ]
        cases += [joint.join(parts[:at] + parts[at + 1 :]) for at in range(len(parts))]
        cases += [b"", b"<html>", objects[0] + b"x"]

        async def ask(data):
            log = client_of(instance, fetch=spoiled(fetch, path, lambda _: data))
            try:
                return await log.submit(signed)
            except LedgerError as error:
                return error
            finally:
                await log.close()

        answers = [(data, asyncio.run(ask(data))) for data in cases if data != objects[0]]
        wrong = [(data, each) for data, each in answers if type(each) not in FALSE]
        assert len(answers) > 20
        assert [each for _, each in wrong if getattr(each, "position", None) != truth.position] == []
        # What is taken is a checkpoint that says the same: with another text, the log did not sign it.
        assert all(
            kind == "checkpoint" and data.startswith(objects[0].split(b"\n\n")[0]) for data, _ in wrong
        )
        (again,) = run(client_of(instance), signed)
        assert again.position == truth.position


HINTS = ["0", "1", "999", "-1", "+3", "03", "", "three", str(2**63), None]


@pytest.mark.parametrize("hint", HINTS)
def test_what_a_duplicate_is_said_to_be_leads_to_its_place_or_says_nothing(server, tmp_path, hint):
    """The header of a 409 is a field like any other, and the one that nothing signs."""
    signed = fresh(tmp_path)
    instance = instance_of(tmp_path, [server])
    (receipt,) = run(client_of(instance), signed)

    class Hinted(Liar):
        async def handle_async_request(self, request):
            answer = await self.real.handle_async_request(request)
            assert answer.status_code == 409
            headers = {} if hint is None else {"x-log-index": hint}
            return httpx.Response(409, headers=headers, stream=httpx.ByteStream(await answer.aread()))

    async def no_pause(_seconds):
        pass

    log = client_of(instance, transport=Hinted(None), pause=no_pause)
    try:
        (found,) = run(log, signed)
        assert found.position == receipt.position
        assert hint in ("0", "1")
    except SourceError:
        assert hint not in ("0", "1")


# The fake that laptops test with


def shape(answer):
    """What a client can see of an answer: status, its own header, and the names and types in its JSON."""
    status, headers, body = answer
    kind = headers.get("content-type", "").partition(";")[0]
    value = json.loads(body) if kind == "application/json" else body
    return status, kind, "x-log-index" in headers, types_of(value)


def types_of(value):
    if isinstance(value, dict):
        return {key: types_of(child) for key, child in value.items()}
    return type(value).__name__ if not isinstance(value, bytes) else value


def test_the_fake_answers_as_the_real_server_does(tmp_path):
    good = format_request(fresh(tmp_path))
    unsigned = format_request(dataclasses.replace(fresh(tmp_path), signature=b"no signature"))
    requests = [good, good, unsigned, b"{}", b"no JSON", b'{"hashedRekordRequestV002": {}}']
    fake = FakeRekor()
    with rekor_v2(tmp_path / "rekor", interval="100ms") as server, httpx.Client(timeout=30) as client:

        def ask(body):
            url = f"{server.url}/api/v2/log/entries"
            answer = client.post(url, content=body, headers={"content-type": "application/json"})
            return answer.status_code, answer.headers, answer.content

        real = [shape(ask(each)) for each in requests]
        server.freeze()
        real.append(shape(ask(good)))
    ours = [shape(fake.answer("POST", "/api/v2/log/entries", each)) for each in requests]
    fake.frozen = True
    ours.append(shape(fake.answer("POST", "/api/v2/log/entries", good)))
    assert ours == real


# Clients that nobody here wrote


def intoto(tmp_path, key):
    """An in-toto statement about a file of ours, signed."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(str(tmp_path).encode())
    payload = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {"name": "artifact", "digest": {"sha256": hashlib.sha256(artifact.read_bytes()).hexdigest()}}
            ],
            "predicateType": "https://hubledger/test/v1",
            "predicate": {"a": 1},
        }
    ).encode()
    spki = key.public_key().public_bytes(serialization.Encoding.DER, SPKI)
    signature = key.sign(pae(payload), ec.ECDSA(hashes.SHA256()))
    return artifact, SignedPayload(payload=payload, signature=signature, verifier=Verifier(spki))


def bundle_of(signed, receipt):
    """A Sigstore bundle v0.3 with the public key named and not contained."""
    hint = base64.b64encode(hashlib.sha256(signed.verifier.der).digest()).decode()
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": hint},
            "tlogEntries": [json.loads(receipt.log_entry)],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(signed.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signed.signature).decode()}],
        },
    }


def cosign(tmp_path, bundle, signed, artifact):
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    (tmp_path / "hub.pub").write_bytes(signed.verifier.pem)
    command = [
        *(tool("cosign"), "verify-blob-attestation", "--new-bundle-format"),
        *("--bundle", str(tmp_path / "bundle.json"), "--key", str(tmp_path / "hub.pub")),
        *("--trusted-root", str(tmp_path / "trusted_root.json"), "--type", "https://hubledger/test/v1"),
        str(artifact),
    ]
    return subprocess.run(command, capture_output=True, timeout=60, cwd=tmp_path, text=True)


@pytest.mark.parametrize("found_again", [False, True], ids=["new", "found again"])
def test_cosign_verifies_what_we_log(server, tmp_path, found_again):
    artifact, signed = intoto(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    instance = instance_of(tmp_path, [server])
    (receipt,) = run(client_of(instance), signed)
    if found_again:
        (receipt,) = run(client_of(instance), signed)
    done = cosign(tmp_path, bundle_of(signed, receipt), signed, artifact)
    assert (done.returncode, "Verified OK" in done.stderr) == (0, True), done.stderr

    false = bundle_of(signed, receipt)
    checkpoint = false["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]
    checkpoint["envelope"] = checkpoint["envelope"].replace("rekor-local\n", "rekor-other\n")
    assert cosign(tmp_path, false, signed, artifact).returncode != 0, "cosign looks at the proof at all"


def test_the_checkpoint_that_is_served_is_the_one_of_the_storage(server):
    assert get(f"{server.read_url}/checkpoint") == (server.storage / "checkpoint").read_bytes()
