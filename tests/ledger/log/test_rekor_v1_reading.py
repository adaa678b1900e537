"""Rekor v1 as a log that is read: ten entries at a time, each proven, and global and leaf index kept apart."""

import hashlib

import pytest

from ledger.entry import format_entry, pae
from ledger.errors import (
    MalformedError,
    NotFoundError,
    ProofError,
    SignatureError,
    SourceError,
    UsageError,
)
from ledger.log import Admitted, Committed, Submission
from ledger.log.rekor_v1_reading import RekorV1Log
from ledger.tlog.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from tests.fakes.rekor_v1 import (
    CORRUPTIONS,
    DER,
    ECDSA,
    NAME,
    STATE_CORRUPTIONS,
    FakeRekorV1,
    FakeV1Tree,
    ecdsa_key,
    refusal,
)

KEY = ecdsa_key("hub")
SPKI = KEY.public_key().public_bytes(*DER)
KEYID = hashlib.sha256(SPKI).hexdigest()


def entry(number):
    """An entry of ours."""
    payload = b'{"number":%d}' % number
    return format_entry(payload, keyid=KEYID, signature=KEY.sign(pae(payload), ECDSA))


def body(number):
    return b'{"apiVersion":"0.0.1","kind":"dsse","spec":{"signatures":[{"signature":"%040d"}]}}' % number


@pytest.fixture
def server():
    """Two trees of one log: 30 entries in the first, 25 in the second."""
    trees = FakeV1Tree(11), FakeV1Tree(12)
    for number in range(55):
        trees[number >= 30].append(body(number))
    with FakeRekorV1(trees=list(trees)).serve() as fake:
        yield fake


@pytest.fixture
def read(server):
    """Open the log, as its active tree unless another shard is given."""
    opened = []

    def opening(**changes):
        opened.append(RekorV1Log(server.shard(**changes), server.keys, signers={KEYID: SPKI}))
        return opened[-1]

    yield opening
    for each in opened:
        each.close()


def test_a_tree_is_read_ten_entries_at_a_time(server, read):
    assert list(read().read(0, 25)) == [body(number) for number in range(30, 55)]
    asked = [path for method, path in server.requests if method == "POST"]
    assert len(asked) == 3


def test_an_earlier_tree_is_read_through_its_own_shard(server, read):
    log = read(origin=server.trees[0].origin)
    assert list(log.read(28, 30)) == [body(28), body(29)]
    assert log.checkpoint().checkpoint == server.trees[0].tree()


def test_a_shard_that_names_no_tree_reads_the_active_one(server, read):
    log = read(origin=NAME)
    assert log.checkpoint().checkpoint == server.tree.tree()
    assert list(log.read(0, 1)) == [body(30)]


def test_past_the_end_there_is_nothing(read):
    with pytest.raises(NotFoundError):
        list(read().read(20, 26))


def test_an_entry_is_found_by_global_index_and_by_uuid(server, read):
    log = read()
    at = log.entry_at(33)
    assert (at.proven.leaf_index, at.proven.index, at.proven.body) == (3, 33, body(33))
    for uuid in (leaf_hash(body(33)).hex(), server.tree.uuid(3)):
        assert log.entry_of(uuid).proven == at.proven
    with pytest.raises(NotFoundError):
        log.entry_at(99)
    with pytest.raises(NotFoundError):
        log.entry_of("00" * 32)


def test_many_are_fetched_in_the_order_that_they_are_asked_for(server, read):
    indexes = [*range(54, 30, -3), 30, 40, 50, 31, 41]
    assert [each.proven.index for each in read().entries_at(indexes)] == indexes
    uuids = [server.tree.uuid(leaf) for leaf in (7, 3, 24, 0, 1, 2, 10, 11, 12, 13, 14, 15)]
    assert [server.tree.uuid(each.proven.leaf_index) for each in read().entries_of(uuids)] == uuids
    assert all(len(path) < 100 for _, path in server.requests)


def test_one_that_is_missing_is_named(server, read):
    with pytest.raises(NotFoundError, match="entry 99 of the log"):
        list(read().entries_at([31, 99]))
    with pytest.raises(NotFoundError, match="entry 0000"):
        list(read().entries_of(["00" * 32]))
    with pytest.raises(MalformedError, match="UUID"):
        list(read().entries_of(["00"]))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_field_of_an_entry_that_is_read_is_checked(server, read, name):
    bend, error = CORRUPTIONS[name]
    server.bend = bend
    with pytest.raises(error):
        read().entry_at(45)


def test_another_entry_than_the_one_that_was_asked_for_is_refused(server, read):
    server.bend = lambda _: server.tree.answered(0, 30)
    with pytest.raises(ProofError, match="global index of the entry: expected 31, got 30"):
        read().entry_at(31)
    with pytest.raises(ProofError, match="leaf hash of the entry"):
        read().entry_of(server.tree.uuid(1))


def test_the_place_of_an_entry_is_what_is_proven_and_not_what_the_state_of_the_log_says(server, read):
    """The sizes of earlier trees are signed by nobody: believing them, a server could shift what is read."""

    def bend(value):
        if isinstance(value, dict) and value.get("inactiveShards"):
            value["inactiveShards"][0]["treeSize"] = 29
        return value

    server.bend = bend
    with pytest.raises((ProofError, SignatureError)):
        list(read().read(1, 2))
    with pytest.raises(ProofError, match="place of global index 34"):
        list(read().read(5, 6))
    with pytest.raises(ProofError, match="place of global index 34"):
        read().prove_inclusion(5, 25)


def test_an_entry_of_the_tree_before_is_not_of_this_one(server, read):
    def bend(value):
        if isinstance(value, dict) and value.get("inactiveShards"):
            value["inactiveShards"][0]["treeSize"] = 10
        return value

    server.bend = bend
    with pytest.raises(ProofError, match="place of global index 12: expected leaf 2 of"):
        list(read(origin=NAME).read(2, 3))


@pytest.mark.parametrize("name", STATE_CORRUPTIONS)
def test_the_state_of_the_log_is_believed_where_it_is_signed(server, read, name):
    bend, error = STATE_CORRUPTIONS[name]
    server.bend = bend
    with pytest.raises(error):
        read().checkpoint()


def test_a_shard_whose_tree_the_server_does_not_have_is_refused(read):
    with pytest.raises(SignatureError, match="trees of the log"):
        read(origin=f"{NAME} - 99").checkpoint()


def test_a_log_that_is_empty_has_a_checkpoint():
    with FakeRekorV1().serve() as server:
        log = RekorV1Log(server.shard(), server.keys)
        shown = log.checkpoint().checkpoint
        log.close()
    assert (shown.size, shown.root_hash) == (0, EMPTY_ROOT)


def test_inclusion_is_proven_in_the_newest_tree_and_in_no_other(server, read):
    log, tree = read(), server.tree.tree()
    proof = log.prove_inclusion(7, 25)
    assert verify_inclusion(leaf_hash(body(37)), index=7, size=25, root=tree.root_hash, proof=proof)
    with pytest.raises(UsageError, match="the newest size, 25, got 24"):
        log.prove_inclusion(7, 24)


@pytest.mark.parametrize("old", [1, 2, 7, 16, 24, 25])
def test_growth_is_proven(server, read, old):
    log, tree = read(), server.tree
    proof = log.prove_consistency(old, 25)
    roots = {"old_root": tree.tree(old).root_hash, "new_root": tree.tree().root_hash}
    assert verify_consistency(old_size=old, new_size=25, proof=proof, **roots)


def test_growth_between_two_checkpoints_is_verified(server, read):
    log = read()
    before = log.checkpoint()
    server.tree.append(body(55))
    assert log.verify_growth(before, log.checkpoint()) == server.tree.tree().root_hash
    forked = FakeV1Tree(12)
    for number in range(26):
        forked.append(body(number + 1000))
    server.trees[-1] = forked
    with pytest.raises(ProofError, match="consistency of size 25 with size 26"):
        log.verify_growth(before, log.checkpoint())


def test_an_empty_tree_is_the_beginning_of_every_tree():
    with FakeRekorV1().serve() as server:
        log = RekorV1Log(server.shard(), server.keys)
        before = log.checkpoint()
        server.tree.append(body(1))
        assert log.verify_growth(before, log.checkpoint()) == leaf_hash(body(1))
        log.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"hashes": []}, ProofError),
        ({"hashes": ["00" * 32] * 65}, MalformedError),
        ({"hashes": ["00"]}, MalformedError),
        ({}, MalformedError),
    ],
)
def test_a_consistency_proof_has_its_form(server, read, answer, error):
    server.bend = lambda value: answer if "hashes" in value else value
    with pytest.raises(error):
        read().prove_consistency(3, 25)


def test_what_is_refused_while_reading_is_what_it_is(server, read):
    server.fail = lambda *_: (502, b"<html>")
    with pytest.raises(SourceError):
        read().checkpoint()
    server.fail = lambda *_: refusal(422, "logIndex in query should be greater than or equal to 0")
    with pytest.raises(SourceError, match="greater than or equal to 0"):
        read().entry_at(-1)


def test_more_entries_than_were_asked_for_are_refused(server, read):
    server.bend = lambda value: value * 2 if isinstance(value, list) else value
    with pytest.raises(MalformedError, match="at most 10 entries"):
        list(read().entries_at(range(30, 40)))


# Writing as a log does


def test_entries_of_ours_are_appended_and_answered_by_their_leaf_index(server, read):
    answers = read().append([Submission(entry=entry(number)) for number in range(20)])
    assert sorted(each.leaf_index for each in answers) == list(range(25, 45))
    assert len(set(server.tree.entries)) == 45


def test_an_entry_that_wants_to_be_admitted_or_whose_key_nobody_knows_is_answered_by_why_not(server, read):
    payload = b"{}"
    stranger = format_entry(payload, keyid="00" * 32, signature=KEY.sign(pae(payload), ECDSA))
    answers = read().append(
        [
            Submission(entry=entry(1), admit=lambda _view, _leaf: Admitted()),
            Submission(entry=stranger),
            Submission(entry=b"bytes"),
            Submission(entry=entry(2)),
        ]
    )
    assert [type(each) for each in answers] == [UsageError, UsageError, MalformedError, Committed]
    assert len(server.tree.entries) == 26
