"""The digest index: made from the log and the manifests, and never in the way of either."""

import hashlib

import pytest

from ledger.digests import DigestIndex, Naming, differences
from ledger.errors import CorruptError, NotFoundError
from ledger.event import ManifestRef, format_statement
from ledger.event.digests import NamedDigest, Use
from ledger.manifest import Manifest, ManifestFile
from tests.world import digest, make_event, sign_statement


def manifest_of(*contents):
    return Manifest.of(ManifestFile(path=each, sha256=digest(each), size=len(each)) for each in contents)


def entry_of(manifest, event_id="e"):
    import dataclasses

    event = dataclasses.replace(
        make_event(event_id=event_id),
        manifest=ManifestRef(sha256=manifest.sha256, content_sha256=digest("content"), files=1, bytes=1),
    )
    return sign_statement(format_statement(event))


@pytest.fixture
def index(tmp_path):
    found = DigestIndex(tmp_path / "digests.db")
    yield found
    found.close()


A, B = manifest_of("x", "y"), manifest_of("y", "z")


def reader(*known):
    stored = {each.sha256: each.data for each in known}

    def read(sha256):
        if sha256 not in stored:
            raise NotFoundError("evidence", expected="bytes", actual="none")
        data = stored[sha256]
        yield data[:10]
        yield data[10:]
        if hashlib.sha256(data).digest() != sha256:
            raise CorruptError("evidence", expected="bytes with this SHA-256", actual="other bytes")

    return read


def test_statements_and_manifests_are_found_by_digest(index):
    entries = [entry_of(A, "1"), b"not an entry", entry_of(B, "2"), entry_of(A, "3")]
    assert index.catch_up(iter(entries), 0, reader(A, B)) == index.position() == 4
    assert index.namings(A.sha256) == [Naming(0, Use.MANIFEST), Naming(3, Use.MANIFEST)]
    assert [each.leaf_index for each in index.namings(digest("content"))] == [0, 2, 3]
    assert index.namings(digest("policy")) == [Naming(0, Use.POLICY)], "of a policy the first one only"
    assert index.manifests_with(digest("y")) == [A.sha256, B.sha256]
    assert index.manifests_with(digest("z")) == [B.sha256]
    assert index.manifests_with(digest("other")) == []


def test_one_that_grew_step_by_step_is_the_same_as_one_made_at_once(index, tmp_path):
    entries = [entry_of(manifest, f"{number}") for number, manifest in enumerate((A, B, A, B, A))]
    for at, entry in enumerate(entries):
        index.catch_up(iter([entry]), at, reader(A, B))
    other = DigestIndex(tmp_path / "other.db")
    other.catch_up(iter(entries), 0, reader(A, B))
    assert list(differences(index, other)) == []
    other.catch_up(iter([entry_of(A, "more")]), 5, reader(A, B))
    said = list(differences(index, other))
    assert said[-1] == "position: expected 6 leaves, got 5"
    assert said[0].startswith("named: expected ")
    other.close()


class _Bent:
    """A manifest whose stored bytes are damaged near their end."""

    sha256, data = A.sha256, A.data.replace(b'"size":1}]', b'"size":9}]')


@pytest.mark.parametrize("known", [(B,), (_Bent, B)])
def test_a_manifest_that_is_missing_or_damaged_does_not_stop_the_rest(index, known):
    assert index.catch_up(iter([entry_of(A, "1"), entry_of(B, "2")]), 0, reader(*known)) == 2
    assert index.manifests_with(digest("y")) == [B.sha256], "not half of the damaged one"
    assert index.namings(A.sha256) == [Naming(0, Use.MANIFEST)]


def test_two_that_write_from_the_same_place_are_refused(index):
    index.catch_up(iter([entry_of(A)]), 0, reader(A))
    with pytest.raises(CorruptError, match="position of the digest index: expected 0, got 1"):
        index.catch_up(iter([entry_of(A)]), 0, reader(A))


def test_a_file_that_is_none_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "digests.db").write_bytes(b"junk" * 1000)
    with pytest.raises(CorruptError, match=r"expected a sound SQLite file.*Run `hubledger index rebuild`"):
        DigestIndex(tmp_path / "digests.db")


def test_a_policy_whose_run_was_not_committed_is_named_by_a_later_one(index):
    with pytest.raises(CorruptError, match="position of the digest index"):
        index.add([[NamedDigest(Use.POLICY, digest("policy"))]], 7, reader())
    index.add([[], [NamedDigest(Use.POLICY, digest("policy"))]], 0, reader())
    assert index.namings(digest("policy")) == [Naming(1, Use.POLICY)]


def test_files_of_a_manifest_that_is_erased_in_the_same_run_are_taken_out_in_log_order(index):
    named, erased = [NamedDigest(Use.MANIFEST, A.sha256)], [NamedDigest(Use.ERASED, A.sha256, stored=False)]
    other = [NamedDigest(Use.MANIFEST, B.sha256)]
    assert index.add([named, erased, other], 0, reader(A, B)) == 3
    assert index.manifests_with(digest("y")) == [B.sha256]
    assert index.namings(A.sha256) == [Naming(0, Use.MANIFEST), Naming(1, Use.ERASED)]
