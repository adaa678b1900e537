"""A shard of Rekor v2 as its client meets it: an answer counts whole or not at all, and only the log's words are final."""

import asyncio
import base64
import copy
import dataclasses
import json
import queue
import re
import threading

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.bodies import Verifier
from ledger.bundle.log_entry import LogKeys, parse_log_entry, prove_log_entry
from ledger.encoding import parse_canonical_json
from ledger.entry import format_entry, keyid_of, pae
from ledger.errors import (
    FrozenError,
    LedgerError,
    LimitError,
    MalformedError,
    NotFoundError,
    ProofError,
    RejectedError,
    SignatureError,
    SourceError,
    UsageError,
)
from ledger.log import Committed, Submission, rekor_v2
from ledger.log.fetch import fetch_from_url
from ledger.log.hashedrekord import MAX_ANSWER_BYTES, format_body, format_request, read_answer
from ledger.log.rekor_v2 import LOOKS, LOOKS_AT_ONCE, RekorV2
from ledger.log.timestamping import Authority
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.merkle import verify_consistency, verify_inclusion
from ledger.tlog.signed_note import Ed25519NoteSigner, sign_note
from tests.fakes.rekor import FakeRekor, FakeTree, body_of, problem, signed_payload
from tests.fakes.timestamp import CHAIN, RESPONSE
from tests.world import ed25519_key, p256_key, spki_of

URL = "http://rekor.example/api/v2/log/entries"


class World:
    """A fake log and our client of it; pauses are noted and take no time."""

    def __init__(self, *, entries=3, **client):
        self.server = FakeRekor()
        for at in range(entries):
            self.server.known[f"entry {at}".encode()] = self.server.tree.append(f"entry {at}".encode())
        self.pauses = []
        self.during_pause = lambda: None
        self.client = client

    async def pause(self, seconds):
        self.pauses.append(seconds)
        self.during_pause()

    def log(self, **more):
        shard = self.server.tree.shard()
        return RekorV2(
            shard,
            more.pop("keys", self.server.tree.keys),
            pause=self.pause,
            transport=more.pop("transport", self.server.transport()),
            fetch=more.pop("fetch", None)
            or fetch_from_url(shard.read_url, transport=self.server.transport(), pause=lambda seconds: None),
            **self.client | more,
        )

    def submit(self, signed=None, **more):
        async def run():
            log = self.log(**more)
            try:
                return await log.submit(signed or signed_payload())
            finally:
                await log.close()

        return asyncio.run(run())

    def submit_all(self, many, **more):
        async def run():
            log = self.log(**more)
            try:
                return await asyncio.gather(*map(log.submit, many))
            finally:
                await log.close()

        return asyncio.run(run())


@pytest.fixture
def world():
    return World()


each_curve = pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda each: each.name
)


@each_curve
def test_an_entry_of_each_curve_is_logged_and_proven(world, curve):
    signed = signed_payload(curve=curve)
    receipt = world.submit(signed)
    assert receipt.position == (0, 3)
    assert receipt.proven.body == body_of(signed) == world.server.tree.entries[3]
    assert (receipt.proven.tree.size, receipt.proven.index, receipt.proven.integrated_time) == (4, 3, None)


def test_the_first_entry_of_an_empty_log(world):
    assert World(entries=0).submit().proven.tree.size == 1


def test_the_entry_of_a_receipt_is_proven_again_from_its_bytes(world):
    receipt = world.submit()
    value = parse_canonical_json(receipt.log_entry, max_bytes=MAX_ANSWER_BYTES)
    assert prove_log_entry(parse_log_entry(value), world.server.tree.keys) == receipt.proven


def test_the_entry_of_a_receipt_is_what_sigstores_own_models_read(world):
    from sigstore_models.rekor.v1 import TransparencyLogEntry

    parsed = TransparencyLogEntry.from_json(world.submit().log_entry)
    assert (parsed.log_index, parsed.inclusion_proof.tree_size) == (3, 4)


@each_curve
def test_requests_and_bodies_are_those_of_sigstores_own_models(curve):
    """We format both ourselves, because a thousand a second cannot afford the models; the models read and say the same."""
    from sigstore_models.rekor.v2.entry import CreateEntryRequest, Entry

    signed = signed_payload(curve=curve)
    for model, data in ((CreateEntryRequest, format_request(signed)), (Entry, format_body(signed))):
        assert json.loads(model.from_json(data).to_json()) == json.loads(data)


def test_a_duplicate_is_found_and_returned_as_if_it_were_new(world):
    signed = signed_payload()
    first = world.submit(signed)
    for word in range(300):  # the bundle of the entry is full by now, and partial objects are gone
        world.server.tree.append(f"later {word}".encode())
    again = world.submit(signed)
    assert again.position == first.position
    assert again.proven.body == first.proven.body
    assert again.proven.tree.size == 304
    assert prove_log_entry(parse_log_entry(json.loads(again.log_entry)), world.server.tree.keys)


def find(world, *payloads, **more):
    async def run():
        log = world.log(**more)
        try:
            return [await log.find(signed_payload(each)) for each in payloads]
        finally:
            await log.close()

    return asyncio.run(run())


def test_what_may_have_been_submitted_is_found_in_a_shard_that_takes_nothing_any_more(world):
    first = world.submit(signed_payload("lost"))
    for word in range(300):
        world.server.tree.append(f"later {word}".encode())
    world.server.fail = problem(405, "frozen")
    found, none = find(world, "lost", "never sent")
    assert found.position == first.position
    assert found.proven.tree.size == 304
    assert none is None


def test_what_is_older_than_the_newest_entries_is_not_looked_for_and_what_is_unreadable_says_nothing(
    world, monkeypatch
):
    monkeypatch.setattr(rekor_v2, "LOOKED_THROUGH", 300)
    world.submit(signed_payload("old"))
    for word in range(900):
        world.server.tree.append(f"later {word}".encode())
    assert find(world, "old") == [None]

    def gone(name, *, max_bytes):
        raise NotFoundError(name, expected="an object", actual="404")

    with pytest.raises(SourceError):
        find(world, "old", fetch=gone)


def test_the_index_of_a_duplicate_is_only_a_hint(world):
    signed = signed_payload()
    world.submit(signed)
    for word in range(600):
        world.server.tree.append(f"later {word}".encode())
    world.server.fail = (409, {"x-log-index": "300"}, b"{}")
    assert world.submit(signed).position == (0, 3)


def test_a_duplicate_that_is_not_published_yet_is_waited_for(world):
    signed = signed_payload()
    world.submit(signed)
    world.server.published = 2

    def publish():
        world.server.published = 4 if len(world.pauses) == 2 else 2

    world.during_pause = publish
    assert world.submit(signed).position == (0, 3)
    assert len(world.pauses) == 2


def test_a_duplicate_that_never_is_published_says_nothing(world):
    signed = signed_payload()
    world.submit(signed)
    world.server.published = 2
    with pytest.raises(SourceError, match="expected a tree with leaf 3, got a smaller one"):
        world.submit(signed)
    assert len(world.pauses) == LOOKS - 1


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "header x-log-index of"),
        ({"x-log-index": "-1"}, "header x-log-index of"),
        ({"x-log-index": "1"}, "entries of rekor.example near 1"),
    ],
)
def test_a_duplicate_that_is_nowhere_says_nothing(world, headers, reason):
    world.server.fail = (409, headers, b"{}")
    with pytest.raises(SourceError, match=re.escape(reason)):
        world.submit()


def test_a_read_address_that_hangs_does_not_hold_up_everything_else(world):
    """The outbox writes receipts in threads of the same loop: some are left, however many duplicates are looked for."""
    world.server.fail = (409, {"x-log-index": "0"}, b"{}")
    hanging, looking, begun = threading.Event(), [], queue.Queue()

    def hang(name, *, max_bytes):
        looking.append(name)
        begun.put(name)
        hanging.wait(20)
        raise SourceError(name, expected="an answer", actual="none")

    async def run():
        log = world.log(fetch=hang)
        asked = [asyncio.ensure_future(log.submit(signed_payload(f"e{at}"))) for at in range(50)]
        try:
            await asyncio.to_thread(begun.get)
            await asyncio.gather(*(asyncio.to_thread(len, "") for _ in range(50)))
            assert len(looking) <= LOOKS_AT_ONCE
        finally:
            hanging.set()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            await log.close()
        assert {type(each) for each in answers} == {SourceError}

    asyncio.run(asyncio.wait_for(run(), 15))


def test_an_authority_whose_timestamps_do_not_verify_is_passed_over(world):
    """The first one answers with a timestamp over something else, the second not at all: both were asked."""
    real, asked = world.server.transport(), []

    class Authorities(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            if not request.url.host.startswith("stamps"):
                return await real.handle_async_request(request)
            asked.append(request.url.host)
            answer = (200, RESPONSE) if request.url.host == "stamps1.example" else (500, b"")
            kind = {"content-type": "application/timestamp-reply"}
            return httpx.Response(answer[0], headers=kind, stream=httpx.ByteStream(answer[1]))

    with pytest.raises(SourceError) as raised:
        world.submit(
            transport=Authorities(),
            tsa_urls=["http://stamps1.example", "http://stamps2.example"],
            authorities=[Authority(chain=CHAIN)],
        )
    assert asked == ["stamps1.example", "stamps2.example"]
    assert raised.value.expected == "one by any of 2 authorities"
    first, second = raised.value.actual.split("; ")
    assert first.startswith("http://stamps1.example: ")
    assert second == "http://stamps2.example: 500 and application/timestamp-reply"
    assert [type(each) for each in raised.value.__cause__.exceptions] == [SignatureError, SourceError]


def test_a_duplicate_in_a_log_whose_objects_are_gone_says_nothing(world):
    signed = signed_payload()
    world.submit(signed)
    world.server.published = 0
    broken = world.log()
    broken._log._published._fetch = lambda name, *, max_bytes: (_ for _ in ()).throw(NotFoundError(name))
    with pytest.raises(SourceError, match="checkpoint"):
        asyncio.run(broken.submit(signed))


def spoil(world, path, change):
    """Let the read address serve another object at a path."""
    original = world.server.tree.object

    def bent(name, size=None):
        data = original(name, size)
        return change(data) if name == path else data

    world.server.tree.object = bent


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("tile/0/000", "tile tile/0/000: expected root"),
        ("tile/1/000.p/1", "tiles of size 260: expected root"),
        ("tile/entries/000", "entry 0 of the log: expected leaf hash"),
    ],
)
def test_an_object_that_the_checkpoint_does_not_cover_is_refused_and_not_kept(path, what):
    world = World(entries=3)
    signed = signed_payload()
    world.submit(signed)
    for word in range(256):
        world.server.tree.append(f"later {word}".encode())
    log, original = world.log(), world.server.tree.object
    spoil(world, path, lambda data: data[:2] + bytes([data[2] ^ 1]) + data[3:])
    with pytest.raises(ProofError, match=re.escape(what)):
        asyncio.run(log.submit(signed))
    world.server.tree.object = original
    assert asyncio.run(log.submit(signed)).position == (0, 3)


@pytest.mark.parametrize("tiles", ["missing", "false", "of another size"])
def test_a_signed_tree_that_does_not_hold_spoils_one_look_and_not_all_that_follow(tiles):
    """A log that once signs a size that it does not have must not hide every smaller checkpoint after it."""
    world = World(entries=3)
    signed = signed_payload()
    world.submit(signed)
    tree, log, original = world.server.tree, world.log(), world.server.tree.object
    false = Checkpoint(origin=tree.origin, size=256, root_hash=bytes(32))
    shown = {
        "checkpoint": sign_note(format_checkpoint(false), [tree.signer]),
        "tile/0/000": {"missing": None, "false": bytes(32 * 256), "of another size": b"x"}[tiles],
        "tile/1/000.p/1": bytes(32),
    }
    tree.object = lambda name, size=None: shown.get(name)
    with pytest.raises((ProofError, SourceError, MalformedError)):
        asyncio.run(log.submit(signed))
    tree.object = original
    assert asyncio.run(log.submit(signed)).position == (0, 3)


def test_what_was_authenticated_is_not_fetched_again():
    world = World(entries=300)
    many = [signed_payload(str(at)) for at in range(20)]
    world.submit_all(many)
    world.server.requests.clear()
    asyncio.run(_one_after_the_other(world.log(), many))
    fetched = [path for method, path in world.server.requests if method == "GET"]
    assert len(fetched) == len(set(fetched)) <= 5


async def _one_after_the_other(log, many):
    for each in many:
        await log.submit(each)


# What an answer may say


def bend(*path, to):
    """An answer with one field changed; ``to`` is the value, or a function of the old one."""

    def change(value):
        value = copy.deepcopy(value)
        place = value
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to(place[path[-1]]) if callable(to) else to
        return value

    return change


def flip(text):
    raw = bytearray(base64.b64decode(text))
    raw[0] ^= 1
    return base64.b64encode(raw).decode()


def resigned(**changes):
    """Another checkpoint, in the place of the one of the answer."""

    def change(note):
        tree = FakeTree()
        size, root = note.split("\n")[1:3]
        facts = {"origin": tree.origin, "size": int(size), "root_hash": base64.b64decode(root)}
        signer = changes.get("signer", tree.signer)
        checkpoint = Checkpoint(**facts | {k: v for k, v in changes.items() if k != "signer"})
        return sign_note(format_checkpoint(checkpoint), [signer]).decode()

    return change


NOTE = ("inclusionProof", "checkpoint", "envelope")
STRANGER = Ed25519NoteSigner("rekor.example", ed25519_key("stranger"))
OTHER = Ed25519NoteSigner("other.example", ed25519_key("rekor"))

LIES = {
    "another index": (
        bend("logIndex", to="2"),
        ProofError,
        "index of the log entry: expected 3, as proven, got 2",
    ),
    "another log": (bend("logId", "keyId", to=flip), SignatureError, "log of the answer: expected the shard"),
    "another kind": (bend("kindVersion", "kind", to="dsse"), ProofError, "the one of what was sent"),
    "another version": (bend("kindVersion", "version", to="0.0.1"), ProofError, "the one of what was sent"),
    "a time": (bend("integratedTime", to="1767323045"), MalformedError, "time of the answer: expected none"),
    "a promise": (
        bend("inclusionPromise", to={"signedEntryTimestamp": "AAAA"}),
        SignatureError,
        "signed entry timestamp",
    ),
    "another body": (bend("canonicalizedBody", to=flip), ProofError, "the one of what was sent"),
    "a proof of another leaf": (
        bend("inclusionProof", "logIndex", to="2"),
        ProofError,
        "inclusion of leaf 2",
    ),
    "another hash": (
        bend("inclusionProof", "hashes", to=lambda hashes: [flip(hashes[0]), *hashes[1:]]),
        ProofError,
        "inclusion of leaf 3 in size 4",
    ),
    "a hash less": (
        bend("inclusionProof", "hashes", to=lambda hashes: hashes[1:]),
        ProofError,
        "expected 2 hashes",
    ),
    "another root beside": (
        bend("inclusionProof", "rootHash", to=flip),
        ProofError,
        "root hash beside the proof",
    ),
    "no root beside": (
        bend("inclusionProof", "rootHash", to=7),
        MalformedError,
        "root hash beside the proof",
    ),
    "another size beside": (
        bend("inclusionProof", "treeSize", to="5"),
        ProofError,
        "tree size beside the proof",
    ),
    "a checkpoint that a stranger signed": (
        bend(*NOTE, to=resigned(signer=STRANGER)),
        SignatureError,
        "checkpoint of the log entry",
    ),
    "a checkpoint by another name of the key": (
        bend(*NOTE, to=resigned(signer=OTHER, origin="other.example")),
        SignatureError,
        "checkpoint of the log entry",
    ),
    "a checkpoint of another origin": (
        bend(*NOTE, to=resigned(origin="other.example")),
        SignatureError,
        "checkpoint of the log entry",
    ),
    "a checkpoint of an origin of Rekor v1": (
        bend(*NOTE, to=resigned(origin="rekor.example - 7")),
        SignatureError,
        "origin of the checkpoint: expected rekor.example, got rekor.example - 7",
    ),
    "a smaller tree": (
        bend(*NOTE, to=resigned(size=3)),
        ProofError,
        "leaf index of an inclusion proof: expected 0 <= index < 3, got 3",
    ),
    "a larger tree": (bend(*NOTE, to=resigned(size=9)), ProofError, "inclusion proof"),
    "no checkpoint, and a size beside": (
        bend("inclusionProof", "checkpoint", to=None),
        MalformedError,
        "an inclusion proof with a checkpoint",
    ),
    "a checkpoint without a signature": (
        bend(*NOTE, to=lambda note: note.split("\n\n")[0] + "\n"),
        MalformedError,
        "signed note",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_lies_in_one_field_is_refused(world, lie):
    change, error, reason = LIES[lie]
    world.server.bend = change
    with pytest.raises(error, match=re.escape(reason)) as caught:
        world.submit()
    assert type(caught.value) is error


def test_a_valid_answer_for_somebody_elses_entry_is_refused(world):
    world.server.bend = lambda value: world.server.tree.entry(0)
    with pytest.raises(ProofError, match="expected the one of what was sent"):
        world.submit()


def test_a_valid_answer_by_another_shard_of_the_trusted_root_is_refused(world):
    other = FakeTree("other.example", key="other")
    signed = signed_payload()
    other.append(body_of(signed))
    world.server.bend = lambda value: other.entry(0)
    both = LogKeys(world.server.tree.keys.by_id | other.keys.by_id)
    with pytest.raises(SignatureError, match="log of the answer"):
        world.submit(signed, keys=both)


def test_unknown_fields_and_cosignatures_are_no_lies(world):
    stranger = Ed25519NoteSigner("witness.example", ed25519_key("witness"))
    tree = world.server.tree

    def change(value):
        note = tree.checkpoint(signers=[stranger, tree.signer]).decode()
        value["inclusionProof"]["checkpoint"]["envelope"] = note
        return value | {"aFieldOfTheFuture": 1}

    world.server.bend = change
    assert world.submit().position == (0, 3)


@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80])
def test_every_changed_byte_of_an_answer_is_refused_or_changes_nothing(world, bit):
    """An upper-case letter in a field that nobody reads changes nothing; whatever is taken proves the same."""
    tree, signed = world.server.tree, signed_payload()
    tree.append(body_of(signed))
    data = json.dumps(tree.entry(3)).encode()
    facts = {"body": body_of(signed), "shard": tree.shard(), "keys": tree.keys}
    truth = read_answer(data, **facts)
    taken = 0
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
        try:
            assert read_answer(changed, **facts) == truth
        except (ProofError, SignatureError, MalformedError, LimitError, SourceError):
            continue
        else:
            taken += 1
    assert taken < len(data) / 20


# What comes in the place of an answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, {}, b""), "expected status 201, got 200"),
        ((201, {}, b""), "answer of the log: expected JSON, got nothing"),
        ((201, {"content-type": "text/html"}, b"<html>ok</html>"), "answer of the log: expected JSON"),
        ((301, {"location": "http://elsewhere.example"}, b""), "expected status 201, got 301"),
        ((400, {"content-type": "text/html"}, b"<html>Bad Request</html>"), "expected status 201, got 400"),
        ((405, {"content-type": "text/html"}, b"<html>Not Allowed</html>"), "expected status 201, got 405"),
        ((413, {"content-type": "text/html"}, b"<html>Too Large</html>"), "expected status 201, got 413"),
        ((404, {}, b"404 page not found"), "expected status 201, got 404"),
        ((429, {}, b""), "expected status 201, got 429"),
        ((502, {}, b"<html>Bad Gateway</html>"), "expected status 201, got 502"),
        (problem(503, "pushback"), "expected status 201, got 503 pushback"),
    ],
)
def test_what_says_nothing_about_the_entry_is_to_be_tried_again(world, answer, reason):
    world.server.fail = answer
    with pytest.raises(SourceError, match=re.escape(reason)) as caught:
        world.submit()
    assert type(caught.value) is SourceError


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("no answer in time")])
def test_a_log_that_is_down_or_slow_is_to_be_tried_again(world, error):
    def down(request):
        raise error

    with pytest.raises(SourceError, match=f"POST {URL}: expected an answer, got {error}"):
        world.submit(transport=httpx.MockTransport(down))


def test_an_answer_that_does_not_end_is_cut_off(world):
    class Endless(httpx.AsyncByteStream):
        sent = 0

        async def __aiter__(self):
            while True:
                self.sent += 1 << 20
                yield bytes(1 << 20)

    stream = Endless()
    transport = httpx.MockTransport(lambda request: httpx.Response(201, stream=stream))
    with pytest.raises(LimitError, match=f"answer of the log: expected at most {MAX_ANSWER_BYTES} bytes"):
        world.submit(transport=transport)
    assert stream.sent <= MAX_ANSWER_BYTES + (1 << 20)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_log_will_never_take_is_rejected_in_its_own_words(world, status):
    world.server.fail = problem(status, "invalid hashedrekord request")
    with pytest.raises(
        RejectedError, match=f"expected status 201, got {status}: invalid hashedrekord request"
    ):
        world.submit()


def test_a_signature_that_the_log_does_not_verify_is_rejected(world):
    with pytest.raises(RejectedError, match="got 400: invalid"):
        world.submit(dataclasses.replace(signed_payload(), signature=b"no signature"))


@pytest.mark.parametrize("key", [ed25519_key("hub"), ec.derive_private_key(7, ec.SECP256K1())])
def test_a_key_that_no_rekor_takes_is_rejected_before_anything_is_sent(world, key):
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = dataclasses.replace(signed_payload(), verifier=Verifier(der))
    with pytest.raises(RejectedError, match="key of a signature: expected an elliptic-curve key on P-256"):
        world.submit(signed)
    assert not world.server.requests


def test_a_frozen_shard_says_so(world):
    world.server.frozen = True
    with pytest.raises(FrozenError, match="expected a shard that takes entries, got one that is frozen"):
        world.submit()


def test_a_shard_that_is_only_read_takes_nothing(world):
    log = world.log()
    log.shard = world.server.tree.shard(write_url=None)
    with pytest.raises(FrozenError, match="expected a place in the signing config, got none"):
        asyncio.run(log.submit(signed_payload()))
    assert not world.server.requests


def test_submissions_are_in_flight_together_up_to_the_limit(world):
    waiting, most, release = 0, 0, asyncio.Event()

    async def handle(request):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        if waiting == 7:
            release.set()
        await release.wait()
        waiting -= 1
        return world.server._over_httpx(request)

    many = [signed_payload(str(at)) for at in range(20)]
    receipts = world.submit_all(many, transport=httpx.MockTransport(handle), in_flight=7)
    assert most == 7
    assert sorted(each.position for each in receipts) == [(0, at) for at in range(3, 23)]


def test_a_whole_submission_and_its_repetition_over_sockets(world):
    with world.server.serve() as url:
        shard = world.server.tree.shard(write_url=url, read_url=f"{url}/read")

        async def twice():
            log = RekorV2(shard, world.server.tree.keys)
            try:
                return await log.submit(signed_payload()), await log.submit(signed_payload())
            finally:
                await log.close()

        first, again = asyncio.run(twice())
    assert first.position == again.position == (0, 3)


# What of the protocol of logs applies


def entry_of_ours(word):
    key = p256_key("hub")
    payload = json.dumps({"word": word}).encode()
    from cryptography.hazmat.primitives import hashes

    signature = key.sign(pae(payload), ec.ECDSA(hashes.SHA256()))
    return format_entry(payload, keyid=keyid_of(spki_of(key)), signature=signature)


def test_entries_are_appended_and_each_is_answered_on_its_own():
    log = World(entries=300).log(signer=Verifier(spki_of(p256_key("hub"))))
    good, bad = Submission(entry=entry_of_ours("a")), Submission(entry=b"no entry")
    first, refused, last = log.append([good, bad, Submission(entry=entry_of_ours("b"))])
    assert {first, last} == {Committed(leaf_index=300), Committed(leaf_index=301)}
    assert isinstance(refused, LedgerError)
    assert log.append([good]) == [first]


def test_admission_is_not_the_business_of_a_log_that_others_write_too(world):
    with pytest.raises(UsageError, match="got one to admit"):
        world.log(signer=Verifier(b"")).append([Submission(entry=b"", admit=lambda view, index: None)])
    with pytest.raises(UsageError, match="got no key"):
        world.log().append([])


@pytest.mark.parametrize("size", [1, 255, 256, 257, 600])
def test_the_log_is_read_and_proven_at_every_size(size):
    world = World(entries=600)
    log, tree = world.log(), world.server.tree
    assert log.checkpoint().checkpoint == tree.tree()
    assert list(log.read(size - 1, size)) == [f"entry {size - 1}".encode()]
    at = tree.tree(size)
    proof = log.prove_inclusion(size // 2, size)
    leaf = tree.levels[0][size // 2]
    assert verify_inclusion(leaf, index=size // 2, size=size, proof=proof, root=at.root_hash)
    assert verify_consistency(
        old_size=size,
        old_root=at.root_hash,
        new_size=600,
        new_root=tree.tree().root_hash,
        proof=log.prove_consistency(size, 600),
    )


def test_a_whole_log_is_read_across_its_bundles():
    world = World(entries=600)
    assert list(world.log().read(3, 599)) == world.server.tree.entries[3:599]


def test_what_is_not_published_cannot_be_read(world):
    with pytest.raises(NotFoundError, match=r"tree of rekor\.example: expected size 4 or more, got less"):
        world.log().prove_inclusion(0, 4)
