"""Tiles far past three levels, held to the definitions in c2sp.org/tlog-tiles and to a recursive tree.

No tree of 2^40 leaves is built: in the one here every leaf is the same but one, so each subtree is known from its
height and from whether the other leaf is in it.
"""

import functools
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import MalformedError, ProofError
from ledger.tlog import merkle
from ledger.tlog.tiles import (
    EntryBundle,
    Tile,
    TileReader,
    format_bundle,
    objects_for_growth,
    objects_for_size,
    parse_bundle,
    parse_path,
)
from tests.reference import split

LEAF, OTHER = b"\x11" * 32, b"\x22" * 32
EDGES = [
    1,
    2,
    255,
    256,
    257,
    511,
    512,
    65_535,
    65_536,
    65_537,
    131_072,
    2**24 - 1,
    2**24,
    2**24 + 1,
    2**32 + 257,
]
SIZES = st.one_of(st.sampled_from(EDGES), st.integers(1, 1 << 20), st.integers(1, 1 << 40))


def pair(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


@functools.cache
def plain(size):
    """The root over ``size`` leaves that are all the same (RFC 6962 section 2.1)."""
    if size == 1:
        return LEAF
    return pair(plain(split(size)), plain(size - split(size)))


def root(size, odd):
    """The root where leaf ``odd`` is another one."""
    if not 0 <= odd < size:
        return plain(size)
    if size == 1:
        return OTHER
    k = split(size)
    return pair(root(k, odd), root(size - k, odd - k))


def path(index, size, odd):
    """PATH(index, D[size]) of RFC 6962 section 2.1.1."""
    if size == 1:
        return []
    k = split(size)
    if index < k:
        return [*path(index, k, odd), root(size - k, odd - k)]
    return [*path(index - k, size - k, odd - k), root(k, odd)]


def tiles_of(odd, asked=None):
    """A server of tiles: the nodes ``8 * level`` levels above the leaves."""

    def fetch(tile):
        if asked is not None:
            asked.append(tile.path)
        span = 1 << 8 * tile.level
        first = tile.index * 256
        return [root(span, odd - (first + at) * span) for at in range(tile.width)]

    return fetch


@settings(max_examples=150, deadline=None)
@given(size=SIZES, data=st.data())
def test_a_reader_finds_every_node_of_a_tree_in_its_tiles(size, data):
    """Whatever the level: nodes between two tile levels are computed from the tile below them."""
    level = data.draw(st.integers(0, size.bit_length() - 1))
    index = data.draw(st.integers(0, (size >> level) - 1))
    odd = data.draw(st.one_of(st.just(index << level), st.integers(0, size - 1)))
    assert TileReader(tiles_of(odd), size)([(level, index)]) == [root(1 << level, odd - (index << level))]


@settings(max_examples=100, deadline=None)
@given(size=SIZES, data=st.data())
def test_a_reader_knows_no_node_that_the_size_does_not_complete(size, data):
    level = data.draw(st.integers(0, size.bit_length() + 1))
    with pytest.raises(MalformedError, match="expected a complete subtree below size"):
        TileReader(tiles_of(0), size)([(level, size >> level)])


@settings(max_examples=100, deadline=None)
@given(size=SIZES, data=st.data())
def test_proofs_from_tiles_are_those_of_the_recursive_tree(size, data):
    index = data.draw(st.integers(0, size - 1))
    odd = data.draw(st.one_of(st.just(index), st.integers(0, size - 1)))
    proof = merkle.prove_inclusion(index, size, TileReader(tiles_of(odd), size))
    assert list(proof) == path(index, size, odd)
    leaf = OTHER if index == odd else LEAF
    merkle.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root(size, odd))
    if index != odd:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(OTHER, index=index, size=size, proof=proof, root=root(size, odd))


@settings(max_examples=100, deadline=None)
@given(new=SIZES, data=st.data())
def test_consistency_from_tiles_leads_from_root_to_root(new, data):
    old = data.draw(st.integers(1, new))
    odd = data.draw(st.integers(0, new - 1))
    reader = TileReader(tiles_of(odd), new)
    proof = merkle.prove_consistency(old, new, reader)
    facts = {"old_size": old, "new_size": new, "proof": proof}
    merkle.verify_consistency(old_root=root(old, odd), new_root=root(new, odd), **facts)
    assert merkle.tree_root(new, reader) == root(new, odd)
    if old < new:
        for false in (old - 1, new):  # a leaf of the old tree changed, and none did
            if root(old, false) != root(old, odd):
                with pytest.raises(ProofError):
                    merkle.verify_consistency(old_root=root(old, false), new_root=root(new, odd), **facts)


def test_a_reader_asks_for_each_tile_once_and_with_the_width_of_its_size():
    asked = []
    reader = TileReader(tiles_of(7, asked), 2**16 * 3 + 256 * 2 + 5)
    merkle.prove_inclusion(2**16 * 3 + 256 * 2 + 4, 2**16 * 3 + 256 * 2 + 5, reader)
    merkle.tree_root(2**16 * 3 + 256 * 2 + 5, reader)
    assert sorted(asked) == ["tile/0/770.p/5", "tile/1/003.p/2", "tile/2/000.p/3"]


@pytest.mark.parametrize("served", [[], [LEAF] * 4, [LEAF] * 6, [LEAF[:31]] * 5])
def test_a_reader_refuses_a_tile_that_is_not_what_it_asked_for(served):
    with pytest.raises(MalformedError, match=r"tile tile/0/000.p/5: expected 5 hashes of 32 bytes"):
        TileReader(lambda _: served, 5)([(0, 0)])


# What is written


def near_edge(size, back):
    """The objects of a size by definition, from the tile that holds leaf ``back`` of each level on."""
    found = set()
    for level in range(7):
        count = size >> 8 * level
        for index in range(max(0, (back >> 8 * (level + 1)) - 1), -(-count // 256)):
            width = min(256, count - index * 256)
            found.add(Tile(level=level, index=index, width=width))
            if level == 0:
                found.add(EntryBundle(index=index, width=width))
    return found


@settings(max_examples=200, deadline=None)
@given(
    old=st.one_of(st.sampled_from([0, *EDGES]), st.integers(0, 1 << 17), st.integers(0, 1 << 40)),
    more=st.one_of(st.integers(0, 600), st.sampled_from([65_536, 70_000])),
)
def test_growth_writes_what_the_new_size_has_and_the_old_one_had_not(old, more):
    """No more and no less, each once: c2sp.org/tlog-tiles, for any number of levels."""
    new = old + more
    written = objects_for_growth(old, new)
    back = max(0, old - 1)
    assert set(written) == near_edge(new, back) - near_edge(old, back)
    assert len(set(written)) == len(written)


@settings(max_examples=100, deadline=None)
@given(size=st.one_of(st.sampled_from([0, *EDGES]), st.integers(0, 1 << 40)))
def test_the_right_edge_of_a_size_is_its_last_object_at_each_level(size):
    last = {}
    for part in near_edge(size, max(0, size - 1)):
        key = part.level if isinstance(part, Tile) else "entries"
        if key not in last or part.index > last[key].index:
            last[key] = part
    assert set(objects_for_size(size)) == set(last.values())


@settings(max_examples=200, deadline=None)
@given(
    level=st.integers(0, 63),
    index=st.one_of(st.integers(0, 2**55 - 1), st.sampled_from([0, 999, 1000, 999_999, 1_000_000])),
    width=st.integers(1, 256),
)
def test_paths_read_back(level, index, width):
    for part in (Tile(level=level, index=index, width=width), EntryBundle(index=index, width=width)):
        assert parse_path(part.path) == part
        assert all(len(piece) <= 5 or piece == "entries" for piece in part.path.split("/")[1:])


@given(entries=st.lists(st.binary(max_size=40), max_size=20), cut=st.integers(1, 5))
def test_bundles_read_back_whole_or_not_at_all(entries, cut):
    data = format_bundle(entries)
    assert parse_bundle(data, len(entries)) == entries == parse_bundle(data, None)
    for width in (len(entries) - 1, len(entries) + 1):
        with pytest.raises(MalformedError):
            parse_bundle(data, width)
    if entries:
        with pytest.raises(MalformedError):
            parse_bundle(data[:-1], len(entries))
    with pytest.raises(MalformedError):
        parse_bundle(data + b"\xff" * cut, len(entries))
