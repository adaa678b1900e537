"""Submissions to Rekor v1: what comes back is proven completely, or said to be nothing of the kind.

``tests/system/test_rekor_v1.py`` asks the real server; here it is a fake over real HTTP, which can lie.
"""

import asyncio
import base64
import contextlib
import json
import random
import socket

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.log_entry import parse_log_entry, prove_log_entry
from ledger.encoding import format_canonical_json, parse_canonical_json
from ledger.errors import (
    FrozenError,
    LedgerError,
    LimitError,
    ProofError,
    RejectedError,
    SignatureError,
    SourceError,
)
from ledger.log.rekor_v1 import PAUSES, RekorV1, body_as
from ledger.log.rekor_v1_answers import MAX_ANSWER_BYTES, NotYet, SignedTrees, parse_answer, prove_answer
from tests.fakes.rekor import signed_payload
from tests.fakes.rekor_v1 import CORRUPTIONS, NAME, TIME, FakeRekorV1, FakeV1Tree, refusal
from tests.fuzz import bend_bytes, bend_value


@pytest.fixture
def server():
    with FakeRekorV1().serve() as fake:
        yield fake


async def nothing(_seconds):
    """A pause that takes no time."""


def submit(server, *words, shard=None, **options):
    """Submit payloads one after the other; returns the receipts."""

    async def run():
        log = RekorV1(shard or server.shard(), server.keys, pause=nothing, **options)
        try:
            return [
                await log.submit(signed_payload(each) if isinstance(each, str) else each) for each in words
            ]
        finally:
            await log.close()

    return asyncio.run(run())


def test_the_first_entry_of_an_empty_log_is_proven(server):
    (receipt,) = submit(server, "one")
    proven = receipt.proven
    assert (proven.index, proven.leaf_index, proven.tree.size) == (0, 0, 1)
    assert (proven.kind, proven.integrated_time) == (("dsse", "0.0.1"), TIME)
    assert proven.body == server.tree.entries[0]


def test_a_receipt_is_the_form_that_all_logs_share_and_proves_itself_again(server):
    *_, receipt = submit(server, "one", "two", "three")
    stored = parse_canonical_json(receipt.log_entry, what="receipt", max_bytes=1 << 20)
    assert prove_log_entry(parse_log_entry(stored), server.keys) == receipt.proven
    assert format_canonical_json(stored) == receipt.log_entry


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("kind", ["dsse", "hashedrekord"])
def test_every_field_of_an_answer_is_checked(server, name, kind):
    """Whoever changes anything is found out, and as what it is."""
    bend, error = CORRUPTIONS[name]
    submit(server, *(f"before {number}" for number in range(5)))
    server.bend = bend
    with pytest.raises(error) as caught:
        submit(server, "mine", kinds=[kind])
    assert isinstance(caught.value, SourceError) == issubclass(error, SourceError)


# Answers that are about something else


def test_a_valid_answer_about_somebody_elses_entry_is_refused(server):
    submit(server, "theirs")
    server.bend = lambda _: server.tree.answered(0, 0)
    with pytest.raises(ProofError, match="body of the log entry"):
        submit(server, "mine")


def test_an_answer_of_another_log_is_refused(server):
    other = FakeV1Tree(key="another log")

    def bend(_):
        other.append(server.tree.entries[-1])
        return other.answered(len(other.entries) - 1, 0)

    server.bend = bend
    with pytest.raises(SignatureError, match="log of the entry"):
        submit(server, "mine")


def test_a_checkpoint_of_another_log_over_the_same_tree_is_refused(server):
    other = FakeV1Tree(key="another log")

    def bend(value):
        other.append(server.tree.entries[-1])
        ((_, entry),) = value.items()
        entry["verification"]["inclusionProof"]["checkpoint"] = other.checkpoint().decode()
        return value

    server.bend = bend
    with pytest.raises(SignatureError, match="checkpoint of the log entry"):
        submit(server, "mine")


def test_a_promise_about_another_index_is_refused(server):
    """The log signed it, but for another entry's place: the outer index would be a lie."""
    submit(server, "theirs")

    def bend(value):
        ((_, entry),) = value.items()
        ((_, of_other),) = server.tree.answered(len(server.tree.entries) - 1, 5).items()
        entry["verification"]["signedEntryTimestamp"] = of_other["verification"]["signedEntryTimestamp"]
        return value

    server.bend = bend
    with pytest.raises(SignatureError, match="signed entry timestamp"):
        submit(server, "mine")


def test_a_log_that_only_ever_shows_a_smaller_tree_has_not_proven_the_entry(server):
    submit(server, "one", "two")

    def bend(value):
        ((_, entry),) = value.items()
        proof = entry["verification"]["inclusionProof"]
        proof |= {"checkpoint": server.tree.checkpoint(1).decode(), "treeSize": 1}
        proof["rootHash"] = server.tree.tree(1).root_hash.hex()
        return value

    server.bend = bend
    with pytest.raises(SourceError, match="expected more than 2 leaves, got 1"):
        submit(server, "three")


# Two indices


def test_the_global_index_and_the_leaf_index_are_two_numbers():
    first, second = FakeV1Tree(11), FakeV1Tree(12)
    for number in range(300):
        first.append(b'{"kind":"x","apiVersion":"1","n":%d}' % number)
    with FakeRekorV1(trees=[first, second]).serve() as server:
        _, receipt = submit(server, "one", "two")
    assert (receipt.proven.leaf_index, receipt.proven.index) == (1, 301)
    assert receipt.proven.tree.size == 2
    assert receipt.position == (0, 301)


def test_a_shard_that_names_no_tree_takes_the_next_tree_of_its_log_and_keeps_the_order():
    """A trusted root knows a log's name and key; the server goes on with another tree when it likes."""
    first, second = FakeV1Tree(11), FakeV1Tree(12)
    with FakeRekorV1(trees=[first]).serve() as server:
        shard = server.shard(origin=NAME)
        (before,) = submit(server, "one", shard=shard)
        server.trees.append(second)
        (after,) = submit(server, "one", shard=shard)
        with pytest.raises(SignatureError, match="origin of the checkpoint"):
            submit(server, "two", shard=server.shard(origin=first.origin))
    assert (before.proven.leaf_index, after.proven.leaf_index) == (0, 0)
    assert before.position < after.position


def test_what_was_submitted_before_a_change_of_trees_is_found_in_the_tree_before():
    first, second = FakeV1Tree(11), FakeV1Tree(12)
    with FakeRekorV1(trees=[first]).serve() as server:
        shard = server.shard(origin=NAME)
        (hashed,) = submit(server, "one", shard=shard, kinds=["hashedrekord"])
        (enveloped,) = submit(server, "two", shard=shard)
        server.trees.append(second)

        async def run():
            log = RekorV1(shard, server.keys, pause=nothing)
            try:
                again = [
                    await log.submit(signed_payload(each), again=True) for each in ("one", "two", "three")
                ]
                return [*again, await log.find(signed_payload("two")), await log.find(signed_payload("four"))]
            finally:
                await log.close()

        one, two, three, found, none = asyncio.run(run())
    assert [each.position for each in (one, two)] == [hashed.position, enveloped.position]
    assert (three.proven.leaf_index, three.position) == (0, (0, 2))
    assert found.position == enveloped.position
    assert none is None
    assert len(second.entries) == 1


def test_of_two_places_that_an_entry_has_the_earlier_one_is_found():
    first, second = FakeV1Tree(11), FakeV1Tree(12)
    with FakeRekorV1(trees=[first]).serve() as server:
        shard = server.shard(origin=NAME)
        (before,) = submit(server, "one", shard=shard)
        server.trees.append(second)
        (after,) = submit(server, "one", shard=shard)
        assert before.position < after.position

        async def run():
            log = RekorV1(shard, server.keys, pause=nothing)
            try:
                return await log.find(signed_payload("one"))
            finally:
                await log.close()

        assert asyncio.run(run()).position == before.position


@pytest.mark.parametrize("corruption", sorted(set(CORRUPTIONS) - {"two-entries", "no-entry", "a-list"}))
def test_a_found_entry_that_lies_in_one_field_is_refused(server, corruption):
    bend, kind = CORRUPTIONS[corruption]
    submit(server, "zero", "one")

    async def run():
        server.bend = lambda found: [bend(each) for each in found]
        log = RekorV1(server.shard(), server.keys, pause=nothing)
        try:
            with pytest.raises(kind):
                await log.submit(signed_payload("one"), again=True)
        finally:
            await log.close()

    asyncio.run(run())


def test_another_entry_is_not_the_one_that_was_asked_for(server):
    submit(server, "zero", "one")
    real = server.tree.answered(0, 0)

    async def run():
        server.bend = lambda _found: [real]
        log = RekorV1(server.shard(), server.keys, pause=nothing)
        try:
            with pytest.raises(ProofError, match="body of the log entry"):
                await log.find(signed_payload("one"))
        finally:
            await log.close()

    asyncio.run(run())


def test_a_look_for_what_was_submitted_before_says_nothing_where_the_log_says_nothing(server):
    async def run():
        log = RekorV1(server.shard(), server.keys, pause=nothing)
        try:
            server.fail = lambda _method, path: (503, b"later") if path.endswith("retrieve") else None
            with pytest.raises(SourceError):
                await log.submit(signed_payload("one"), again=True)
        finally:
            await log.close()

    asyncio.run(run())
    assert [path for _, path in server.requests] == ["/api/v1/log/entries/retrieve"]


REFUSED_QUESTIONS = {
    "bad-request": refusal(400, "no such thing"),
    "unprocessable": refusal(422, "no such thing"),
    "too-large": (413, b""),
    "too-large-in-rekor": refusal(500, "http: request body too large"),
}


@pytest.mark.parametrize("name", REFUSED_QUESTIONS)
@pytest.mark.parametrize("asks", ["what was submitted before", "a duplicate"])
def test_a_refused_question_says_nothing_about_the_entry(server, name, asks):
    """It may be in the log: only a refusal of the entry itself may end the tries."""
    submit(server, "one")
    here = "/retrieve" if asks == "what was submitted before" else "/entries/"
    server.fail = lambda _method, path: REFUSED_QUESTIONS[name] if here in path else None

    async def run():
        log = RekorV1(server.shard(), server.keys, pause=nothing)
        try:
            await log.submit(signed_payload("one"), again=here == "/retrieve")
        finally:
            await log.close()

    with pytest.raises(SourceError) as caught:
        asyncio.run(run())
    assert type(caught.value) is SourceError


# Duplicates


@pytest.mark.parametrize("kind", ["dsse", "hashedrekord"])
def test_a_duplicate_is_answered_by_the_entry_that_is_there(server, kind):
    first, other, again = submit(server, "one", "two", "one", kinds=[kind])
    assert (again.proven.index, again.proven.body) == (first.proven.index, first.proven.body)
    assert (again.proven.tree.size, other.proven.index, len(server.tree.entries)) == (2, 1, 2)


def test_what_a_duplicate_is_called_in_the_refusal_is_not_believed(server):
    """A UUID in a message leads nowhere: the entry is asked for by the leaf hash that we computed."""
    submit(server, "theirs", "mine")
    theirs = server.tree.uuid(0)
    server.fail = lambda method, _: refusal(409, f"exists with UUID {theirs}") if method == "POST" else None
    (receipt,) = submit(server, "mine")
    assert receipt.proven.index == 1
    assert not any(theirs in path for _, path in server.requests)


def test_a_duplicate_that_turns_out_to_be_another_entry_is_refused(server):
    submit(server, "theirs", "mine")
    server.bend = lambda value: value if "mine" in str(value) else server.tree.answered(0, 0)
    with pytest.raises(ProofError, match="body of the log entry"):
        submit(server, "mine")


def test_an_entry_that_is_not_in_the_tree_yet_is_looked_for_again(server):
    submit(server, "one")
    server.late, pauses = 3, []

    async def pause(seconds):
        pauses.append(seconds)

    async def run():
        log = RekorV1(server.shard(), server.keys, pause=pause)
        try:
            return await log.submit(signed_payload("one"))
        finally:
            await log.close()

    assert asyncio.run(run()).proven.index == 0
    assert pauses == list(PAUSES[:3])


def test_an_entry_that_never_comes_into_the_tree_is_to_be_submitted_again(server):
    submit(server, "one")
    server.late = 100
    with pytest.raises(SourceError, match="Submit the same bytes again"):
        submit(server, "one")
    assert sum(method == "GET" for method, _ in server.requests) == len(PAUSES) + 1


def test_an_answer_without_a_proof_is_asked_for_until_there_is_one(server):
    def bend(value):
        server.bend = None
        ((_, entry),) = value.items()
        del entry["verification"]["inclusionProof"]
        return value

    server.bend = bend
    (receipt,) = submit(server, "one")
    assert receipt.proven.index == 0


# Kinds


def test_a_log_without_dsse_gets_hashedrekord_and_is_not_asked_for_dsse_again(server):
    server.kinds = ("hashedrekord",)
    first, second = submit(server, "one", "two")
    assert {first.proven.kind, second.proven.kind} == {("hashedrekord", "0.0.1")}
    assert len(server.requests) == 3


def test_a_log_without_either_kind_refuses_for_good(server):
    server.kinds = ()
    with pytest.raises(RejectedError, match="hashedrekord"):
        submit(server, "one")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_a_key_with_another_hash_is_submitted_as_hashedrekord(server, curve):
    """Rekor v1 holds every DSSE signature against SHA-256, so it would refuse these."""
    (receipt,) = submit(server, signed_payload("one", curve=curve))
    assert receipt.proven.kind == ("hashedrekord", "0.0.1")
    assert len(server.requests) == 1


# No answer, and refusals


HTML = b"<html><body>502 Bad Gateway</body></html>"
SAYS = {
    "html": ((201, HTML), SourceError),
    "empty": ((201, b""), SourceError),
    "empty-200": ((200, b""), SourceError),
    "cut": ((201, b'{"24296fb24b8ad77a": {"body": "eyJ'), SourceError),
    "gateway": ((502, HTML), SourceError),
    "busy": (refusal(503, "later"), SourceError),
    "too-many": ((429, b""), SourceError),
    "internal": (refusal(500, "unexpected result from transparency log"), SourceError),
    "gone": ((404, b""), SourceError),
    "redirect": ((302, b"", {"location": "http://127.0.0.1:9/"}), SourceError),
    "compressed": ((201, b"x", {"content-encoding": "gzip"}), SourceError),
    "a-proxy-says-400": ((400, HTML), SourceError),
    "bad-request": (refusal(400, "error processing entry: verifying signature"), RejectedError),
    "unprocessable": ((422, b'{"code":602,"message":"kind in body is required"}'), RejectedError),
    "too-large": ((413, HTML), RejectedError),
    "too-large-in-rekor": (refusal(500, "http: request body too large"), RejectedError),
    "endless": ((201, b" " * (MAX_ANSWER_BYTES + 1)), LimitError),
}


@pytest.mark.parametrize("name", SAYS)
def test_what_the_server_says_is_taken_for_what_it_is(server, name):
    answer, error = SAYS[name]
    server.fail = lambda *_: answer
    with pytest.raises(error) as caught:
        submit(server, "one")
    assert type(caught.value) is error
    assert not server.tree.entries


def test_a_server_that_is_down_is_no_answer(server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(SourceError):
            submit(server, "one", shard=server.shard(write_url=url))


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 201 Created\r\nContent-Length: 99999\r\n\r\n{"])
def test_a_server_that_does_not_come_to_an_end_is_no_answer(server, drip):
    """Also one that sends a byte now and then: the time is that of the whole request."""
    stop = contextlib.ExitStack()
    with stop, socket.create_server(("127.0.0.1", 0)) as listener:
        import threading

        def serve():
            connection, _ = listener.accept()
            stop.callback(connection.close)
            connection.sendall(drip)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(SourceError, match="an answer"):
            submit(server, "one", shard=server.shard(write_url=url), timeout=0.3)


def test_a_shard_that_is_only_read_takes_nothing(server):
    with pytest.raises(FrozenError):
        submit(server, "one", shard=server.shard(write_url=None))


def test_many_submissions_at_once_each_get_their_own_place(server):
    async def run():
        log = RekorV1(server.shard(), server.keys)
        try:
            return await asyncio.gather(*(log.submit(signed_payload(f"w{n}")) for n in range(40)))
        finally:
            await log.close()

    receipts = asyncio.run(run())
    assert sorted(each.proven.leaf_index for each in receipts) == list(range(40))
    for number, receipt in enumerate(receipts):
        assert server.tree.entries[receipt.proven.leaf_index] == receipt.proven.body, number


def test_what_is_sent_is_the_stored_envelope_as_text(server):
    signed, sent = signed_payload("one"), []
    original = server._submit
    server._submit = lambda request: sent.append(request) or original(request)
    submit(server, signed)
    assert sent[0]["spec"]["proposedContent"]["envelope"].encode() == signed.envelope
    assert json.loads(signed.envelope)["signatures"][0]["keyid"] == signed.keyid


def grown(count=9):
    """A log with entries, and what reads an answer of it about one of them: with its checkpoint changed, if asked."""
    fake = FakeRekorV1()
    for number in range(count):
        fake.tree.append(body_as("dsse", signed_payload(f"entry {number}")))

    def read(leaf, *, note=lambda text: text, trees=None, size=None):
        answer = fake.tree.answered(leaf, 0, size)
        proof = next(iter(answer.values()))["verification"]["inclusionProof"]
        proof["checkpoint"] = note(proof["checkpoint"])
        return prove_answer(parse_answer(json.dumps(answer).encode()), fake.shard(), fake.keys, trees=trees)

    return fake, read


def unsigned(note):
    """The same checkpoint under a signature that nobody made."""
    text, _, line = note.rpartition(" ")
    signature = bytearray(base64.b64decode(line))
    signature[-1] ^= 1
    return f"{text} {base64.b64encode(signature).decode()}\n"


def test_one_signature_of_a_tree_is_enough_and_is_the_one_that_is_kept():
    fake, read = grown()
    trees = SignedTrees()
    first, _ = read(5, trees=trees)
    second, stored = read(6, note=unsigned, trees=trees)
    assert (second.leaf_index, second.note) == (6, first.note)
    assert prove_log_entry(parse_log_entry(json.loads(stored)), fake.keys) == second
    with pytest.raises(SignatureError, match="checkpoint of the log entry"):
        read(6, note=unsigned)


def test_a_tree_that_nobody_signed_is_not_remembered():
    _, read = grown()
    trees = SignedTrees()
    for _ in range(2):
        with pytest.raises(SignatureError, match="checkpoint of the log entry"):
            read(6, note=unsigned, trees=trees)


def test_a_tree_that_is_remembered_stands_for_no_other():
    _, read = grown()
    trees = SignedTrees()
    read(5, trees=trees)
    with pytest.raises(SignatureError, match="checkpoint of the log entry"):
        read(5, size=8, note=unsigned, trees=trees)
    with pytest.raises(SignatureError, match="checkpoint of the log entry"):
        read(5, note=lambda text: unsigned(text.replace("\n9\n", "\n10\n")), trees=trees)


def test_only_so_many_trees_are_remembered():
    _, read = grown(40)
    trees = SignedTrees()
    for size in range(6, 40):
        read(5, size=size, trees=trees)
    assert read(5, size=39, note=unsigned, trees=trees)
    with pytest.raises(SignatureError):
        read(5, size=6, note=unsigned, trees=trees)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("known", [lambda: None, SignedTrees], ids=["first answer", "tree known"])
def test_an_answer_that_is_bent_anywhere_is_refused_or_proves_the_very_same(seed, known):
    """Never another exception, and never another fact: whatever else is in an answer is not believed."""
    fake, rng = FakeRekorV1(), random.Random(seed)
    for number in range(9):
        fake.tree.append(body_as("dsse", signed_payload(f"entry {number}")))
    answer = fake.tree.answered(5, 0)
    shard, keys, trees = fake.shard(), fake.keys, known()
    true, _ = prove_answer(parse_answer(json.dumps(answer).encode()), shard, keys, trees=trees)
    refused = 0
    for _ in range(400):
        if rng.random() < 0.5:
            data = json.dumps(bend_value(rng, answer)).encode()
        else:
            data = bend_bytes(rng, json.dumps(answer).encode())
        try:
            proven, _ = prove_answer(parse_answer(data), shard, keys, trees=trees)
        except (LedgerError, NotYet):
            refused += 1
        else:
            assert proven == true
    assert refused > 200
