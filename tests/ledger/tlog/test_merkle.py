"""Hashes and proofs of RFC 6962, held to vectors, to a recursive reference and to another library."""

import base64
import hashlib
import json

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import MalformedError, ProofError
from ledger.tlog import merkle
from ledger.tlog.tiles import TILE_WIDTH, TileReader
from tests import reference


def entries_of(size):
    return [b"entry %d" % i for i in range(size)]


def reader_over(entries):
    """Nodes computed by the reference from the entries themselves."""
    return lambda nodes: [reference.mth(entries[i << level : (i + 1) << level]) for level, i in nodes]


class Tiled:
    """A big tree with its tile hashes in memory, so that properties can look past 65,536 leaves."""

    def __init__(self, size):
        self.levels = [merkle.leaf_hashes(b"%d" % i for i in range(size))]
        while len(self.levels[-1]) >= TILE_WIDTH:
            row = self.levels[-1]
            full = len(row) // TILE_WIDTH
            self.levels.append(
                [merkle.root_of(row[i * TILE_WIDTH : (i + 1) * TILE_WIDTH]) for i in range(full)]
            )

    def at(self, size):
        return TileReader(lambda t: self.levels[t.level][t.index * TILE_WIDTH :][: t.width], size)

    def root(self, size):
        return merkle.root_of(self.levels[0][:size])


BIG = 66_100


@pytest.fixture(scope="module")
def big():
    return Tiled(BIG)


def test_constants_of_rfc6962(vectors):
    known = json.loads((vectors / "vectors/extracted/note_and_tlog_vectors.json").read_bytes())["rfc6962"]
    leaves = [bytes.fromhex(leaf) for leaf in known["leaves_hex"]]
    assert known["empty_root"] == merkle.EMPTY_ROOT.hex()
    assert merkle.leaf_hash(b"").hex() == known["empty_leaf"]
    assert merkle.leaf_hash(b"L123456").hex() == known["leaf_L123456"]
    assert merkle.node_hash(b"N123", b"N456").hex() == known["node_N123_N456"]
    for size, root in enumerate(known["roots_by_size_1_to_8"], 1):
        assert merkle.root_of(merkle.leaf_hashes(leaves[:size])).hex() == root


def cases(vectors, kind):
    files = sorted((vectors / "vectors/transparency-dev-merkle/testdata" / kind).rglob("*.json"))
    assert len(files) == 98
    for file in files:
        case = json.loads(file.read_bytes())
        yield file.name, case, [base64.b64decode(each) for each in case["proof"] or []]


def outcome(function, **arguments):
    try:
        function(**arguments)
    except ProofError:
        return True
    return False


def test_every_inclusion_vector_has_its_outcome(vectors):
    """The vectors of transparency-dev/merkle, size 0 and wrong hash lengths among them."""
    for name, case, proof in cases(vectors, "inclusion"):
        failed = outcome(
            merkle.verify_inclusion,
            leaf=base64.b64decode(case["leafHash"] or ""),
            index=case["leafIdx"],
            size=case["treeSize"],
            proof=proof,
            root=base64.b64decode(case["root"] or ""),
        )
        assert failed == case["wantErr"], (name, case["desc"])


def test_every_consistency_vector_has_its_outcome(vectors):
    for name, case, proof in cases(vectors, "consistency"):
        failed = outcome(
            merkle.verify_consistency,
            old_size=case["size1"],
            new_size=case["size2"],
            proof=proof,
            old_root=base64.b64decode(case["root1"] or ""),
            new_root=base64.b64decode(case["root2"] or ""),
        )
        assert failed == case["wantErr"], (name, case["desc"])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 9, 31, 33])
def test_proofs_are_those_of_the_reference(size):
    entries = entries_of(size)
    read = reader_over(entries)
    root = reference.mth(entries)
    assert merkle.root_of(merkle.leaf_hashes(entries)) == root == merkle.tree_root(size, read)
    for index in range(size):
        proof = merkle.prove_inclusion(index, size, read)
        assert list(proof) == reference.path(index, entries)
        merkle.verify_inclusion(
            merkle.leaf_hash(entries[index]), index=index, size=size, proof=proof, root=root
        )
    for old in range(1, size + 1):
        proof = merkle.prove_consistency(old, size, read)
        assert list(proof) == reference.proof(old, entries)
        merkle.verify_consistency(
            old_size=old, old_root=reference.mth(entries[:old]), new_size=size, new_root=root, proof=proof
        )


def test_the_frontier_has_the_root_of_every_size():
    entries = entries_of(70)
    frontier = merkle.Frontier()
    assert frontier.root() == merkle.EMPTY_ROOT
    for size, entry in enumerate(entries, 1):
        frontier.append(merkle.leaf_hash(entry))
        assert frontier.root() == reference.mth(entries[:size])
        again = merkle.Frontier(frontier.size, frontier.hashes)
        assert again.root() == frontier.root()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_inclusion_holds_past_three_tile_levels_and_only_there(big, data):
    """A proof verifies at its own index, size and root, and at no neighbour of them."""
    size = data.draw(
        st.one_of(st.integers(1, BIG), st.sampled_from([255, 256, 257, 65_535, 65_536, 65_537, BIG]))
    )
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.prove_inclusion(index, size, big.at(size))
    leaf, root = big.levels[0][index], merkle.tree_root(size, big.at(size))
    assert merkle.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root) == root
    for lie in (index - 1, index + 1):
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf, index=lie, size=size, proof=proof, root=root)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        bent = [bytes([each[0] ^ 1]) + each[1:] if i == at else each for i, each in enumerate(proof)]
        for wrong in (bent, proof[:-1], (*proof, root)):
            with pytest.raises(ProofError):
                merkle.verify_inclusion(leaf, index=index, size=size, proof=wrong, root=root)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_consistency_holds_past_three_tile_levels_and_only_there(big, data):
    new = data.draw(st.one_of(st.integers(2, BIG), st.sampled_from([256, 257, 65_536, 65_537, BIG])))
    old = data.draw(st.integers(1, new - 1))
    proof = merkle.prove_consistency(old, new, big.at(new))
    old_root, new_root = merkle.tree_root(old, big.at(old)), merkle.tree_root(new, big.at(new))
    facts = {"old_size": old, "old_root": old_root, "new_size": new, "new_root": new_root, "proof": proof}
    assert merkle.verify_consistency(**facts) == new_root
    other = hashlib.sha256(b"other").digest()
    for lie in ({"old_root": other}, {"new_root": other}, {"proof": (*proof, other)}, {"proof": proof[:-1]}):
        with pytest.raises(ProofError):
            merkle.verify_consistency(**{**facts, **lie})


def test_tree_roots_of_a_big_tree_are_those_of_all_its_leaves(big):
    for size in (1, 255, 256, 257, 65_535, 65_536, 65_537, BIG):
        assert merkle.tree_root(size, big.at(size)) == big.root(size)


def test_another_library_agrees():
    """pymerkle hashes RFC 9162 trees; its proofs and roots are ours."""
    theirs = pymerkle.InmemoryTree(algorithm="sha256")
    entries = entries_of(300)
    for entry in entries:
        theirs.append_entry(entry)
    read = reader_over(entries)
    for size in (1, 2, 3, 100, 255, 256, 257, 300):
        assert theirs.get_root(size) == merkle.tree_root(size, read)
    for index in (0, 1, 2, 127, 128, 255, 256, 298, 299):
        theirs_path = theirs.prove_inclusion(index + 1, 300).path
        assert theirs_path == [merkle.leaf_hash(entries[index]), *merkle.prove_inclusion(index, 300, read)]
    for old in (1, 2, 3, 128, 200, 256, 299):
        merkle.verify_consistency(
            old_size=old,
            old_root=theirs.get_root(old),
            new_size=300,
            new_root=theirs.get_root(300),
            proof=merkle.prove_consistency(old, 300, read),
        )


def test_lying_about_the_tree_size_never_helps(big):
    """sigstore's verifier takes index and size from the message; false pairs pass there. Ours takes them from outside."""
    size, index = 1000, 417
    proof = merkle.prove_inclusion(index, size, big.at(size))
    leaf, root = big.levels[0][index], big.root(size)
    accepted = []
    for lie in range(1, 2048):
        try:
            merkle.verify_inclusion(leaf, index=index, size=lie, proof=proof, root=root)
            accepted.append(lie)
        except ProofError:
            pass
    assert size in accepted
    assert all(big.root(lie) == root or lie != size for lie in accepted)


@pytest.mark.parametrize(
    ("index", "size", "message"),
    [
        (5, 5, "leaf index of an inclusion proof: expected 0 <= index < 5, got 5"),
        (-1, 5, "leaf index of an inclusion proof: expected 0 <= index < 5, got -1"),
        (0, 0, "leaf index of an inclusion proof: expected 0 <= index < 0, got 0"),
    ],
)
def test_an_index_outside_the_tree_is_refused(index, size, message):
    with pytest.raises(ProofError, match="^" + message + r"\. "):
        merkle.verify_inclusion(bytes(32), index=index, size=size, proof=(), root=bytes(32))


def test_proofs_are_not_made_outside_the_tree(big):
    with pytest.raises(MalformedError, match="leaf index: expected 0 <= index < 5, got 5"):
        merkle.prove_inclusion(5, 5, big.at(5))
    with pytest.raises(MalformedError, match="old size: expected 1 <= old size <= 5, got 0"):
        merkle.prove_consistency(0, 5, big.at(5))
    with pytest.raises(MalformedError, match="old size: expected 1 <= old size <= 5, got 6"):
        merkle.prove_consistency(6, 5, big.at(5))


def test_a_frontier_with_a_wrong_number_of_peaks_is_refused():
    with pytest.raises(MalformedError, match="frontier: expected 2 hashes of 32 bytes, got 1"):
        merkle.Frontier(3, (bytes(32),))
