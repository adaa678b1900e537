"""The audit of evidence: spooled, in several processes, and exact about what is wrong."""

import hashlib
import tracemalloc

import pytest

from ledger.embedded.evidence_audit import NamedEvidence
from ledger.errors import CorruptError
from ledger.event.digests import NamedDigest, Use
from ledger.manifest import Manifest, ManifestFile, read_items
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence, Withdrawal

COUNT = 3000


def pieces(count=COUNT):
    return [b"piece %d" % number for number in range(count)]


def sha256(piece):
    return hashlib.sha256(piece).digest()


@pytest.fixture
def store(tmp_path):
    """A store with 3,000 pieces, written without waiting for the disk."""
    for piece in pieces():
        path = tmp_path / sha256(piece).hex()[:2] / sha256(piece).hex()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(piece)
    return Evidence(DirectoryObjects(tmp_path))


def check(folder, named, workers=2):
    with NamedEvidence() as evidence:
        for leaf_index, each in enumerate(named):
            evidence.add(leaf_index, each)
        return evidence.check(folder, workers=workers)


def all_named():
    """Each piece named twice, by different leaves."""
    return [
        [NamedDigest(Use.BUNDLE, sha256(piece)), NamedDigest(Use.CONTENT, bytes(32))] for piece in pieces()
    ] * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_each_piece_is_checked_once_whoever_names_it(store, tmp_path, workers):
    report = check(tmp_path, all_named(), workers)
    assert (report.stored, report.withdrawn, report.digest_only) == (COUNT, 0, 0)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        (lambda path: path.unlink(), "expected stored bytes, or a note of their withdrawal, got neither"),
        (lambda path: path.write_bytes(b"x"), "expected bytes with this SHA-256, got other bytes"),
        (lambda path: (path.unlink(), path.mkdir()), "expected readable bytes"),
    ],
)
def test_the_one_that_is_lost_or_damaged_is_named_with_its_first_leaf(
    store, tmp_path, damage, refusal, workers
):
    digest = sha256(b"piece 1234")
    damage(tmp_path / digest.hex()[:2] / digest.hex())
    with pytest.raises(CorruptError, match=refusal) as caught:
        check(tmp_path, all_named(), workers)
    assert caught.value.what == f"evidence {digest.hex()}, bundle of leaf 1234"


def test_a_digest_that_was_never_kept_is_enough_unless_another_event_says_it_was(tmp_path):
    only = [NamedDigest(Use.BUNDLE, bytes(32), stored=False)]
    assert check(tmp_path, [only]).digest_only == 1
    with pytest.raises(CorruptError, match="got neither"):
        check(tmp_path, [only, [NamedDigest(Use.BUNDLE, bytes(32))]])


def test_a_withdrawal_needs_both_its_statement_and_its_note(store, tmp_path):
    digest = sha256(b"piece 7")
    erased = [NamedDigest(Use.ERASED, digest, stored=False)]
    with pytest.raises(CorruptError, match="expected no bytes, as leaf 6000 says, got bytes on the disk"):
        check(tmp_path, [*all_named(), erased])
    store.note_withdrawals([Withdrawal(sha256=digest, reason="x", leaf_index=6000)])
    with pytest.raises(CorruptError, match="expected no bytes, as leaf 6000 says, got bytes on the disk"):
        check(tmp_path, [*all_named(), erased])
    store.remove([digest])
    report = check(tmp_path, [*all_named(), erased])
    assert (report.stored, report.withdrawn) == (COUNT - 1, 1)
    with pytest.raises(CorruptError, match="expected a statement in the log that says so"):
        check(tmp_path, all_named())


def test_a_text_that_is_lost_is_noticed_although_no_statement_names_it(store, tmp_path):
    store.put_text(bytes(16), b"a text")
    assert check(tmp_path, []).stored == 1
    store.remove([sha256(b"a text")])
    with pytest.raises(CorruptError, match="reasons of an event: expected stored bytes"):
        check(tmp_path, [])


def test_a_large_manifest_goes_in_and_out_in_little_memory(tmp_path):
    manifest = Manifest.of(
        ManifestFile(path=f"part-{number:06}", sha256=bytes(32), size=number) for number in range(100_000)
    )
    size, digest = sum(map(len, manifest.chunks())), manifest.sha256
    assert size > 10_000_000
    evidence = Evidence(DirectoryObjects(tmp_path))
    tracemalloc.start()
    try:
        evidence.put_stream(digest, manifest.chunks())
        count = sum(1 for _ in read_items(evidence.read(digest)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < size / 2, f"{peak} bytes for a manifest of {size}"
