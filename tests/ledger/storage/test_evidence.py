"""Evidence: under its digest, never overwritten, never whole in memory, and gone for good once it was withdrawn."""

import hashlib
import os

import pytest

from ledger.errors import CorruptError, NotFoundError, WithdrawnError, WriteError
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence, Withdrawal

PIECE = b"a piece of evidence"
DIGEST = hashlib.sha256(PIECE).digest()


@pytest.fixture
def evidence(tmp_path):
    return Evidence(DirectoryObjects(tmp_path))


def path_of(tmp_path, sha256=DIGEST):
    return tmp_path / sha256.hex()[:2] / sha256.hex()


def files(tmp_path):
    return sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())


def test_a_piece_comes_back_whole_and_in_blocks(evidence):
    large = os.urandom(3 << 20)
    sha256 = hashlib.sha256(large).digest()
    assert evidence.put([PIECE]) == []
    assert evidence.put_stream(sha256, (large[at : at + 1000] for at in range(0, len(large), 1000)))
    assert evidence.get(DIGEST) == PIECE
    blocks = list(evidence.read(sha256))
    assert b"".join(blocks) == large
    assert max(map(len, blocks)) <= 1 << 20
    assert evidence.info(sha256).size == len(large)


@pytest.mark.parametrize("put", [lambda e: e.put([PIECE]), lambda e: e.put_stream(DIGEST, (PIECE,))])
def test_a_file_with_other_bytes_is_never_overwritten(evidence, tmp_path, put):
    put(evidence)
    path_of(tmp_path).write_bytes(b"other bytes")
    with pytest.raises(CorruptError, match="expected the bytes that the log commits to, got 11 other bytes"):
        put(evidence)
    assert path_of(tmp_path).read_bytes() == b"other bytes"
    for ask in (evidence.get, lambda sha256: list(evidence.read(sha256))):
        with pytest.raises(CorruptError, match="expected bytes with this SHA-256, got other bytes"):
            ask(DIGEST)
    assert len(files(tmp_path)) == 1, "no temporary file is left"


def test_the_same_piece_twice_is_one_file(evidence, tmp_path):
    for _ in range(2):
        evidence.put([PIECE, PIECE])
        evidence.put_stream(DIGEST, (PIECE[:4], b"", PIECE[4:]))
    assert len(files(tmp_path)) == 1


def test_chunks_that_are_not_what_they_are_said_to_be_leave_nothing(evidence, tmp_path):
    with pytest.raises(CorruptError, match="expected bytes with this SHA-256"):
        evidence.put_stream(DIGEST, (b"something else",))

    def broken():
        yield PIECE
        raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match="No space left on device"):
        evidence.put_stream(DIGEST, broken())
    assert files(tmp_path) == []
    with pytest.raises(NotFoundError):
        evidence.get(DIGEST)


def test_what_was_withdrawn_answers_why_and_does_not_come_back(evidence, tmp_path):
    evidence.put([PIECE])
    evidence.note_withdrawals([Withdrawal(sha256=DIGEST, reason="personal-data", leaf_index=7)])
    for ask in (evidence.get, lambda sha256: list(evidence.read(sha256)), evidence.info):
        with pytest.raises(
            WithdrawnError, match="expected stored bytes, got withdrawn: personal-data, leaf 7"
        ) as caught:
            ask(DIGEST)
        assert (caught.value.exit_code, caught.value.leaf_index) == (37, 7)
    evidence.remove([DIGEST])
    assert evidence.put([PIECE, b"another"]) == [DIGEST]
    assert evidence.put_stream(DIGEST, (PIECE,)) is False
    assert not path_of(tmp_path).exists()
    assert [each.reason for each in evidence.withdrawals()] == ["personal-data"]
    assert evidence.get(hashlib.sha256(b"another").digest()) == b"another"


@pytest.mark.parametrize("note", [b"{}", b"{", b'{"leafIndex":"1","reason":"x"}', b""])
def test_a_damaged_note_of_a_withdrawal_is_reported(evidence, tmp_path, note):
    evidence.note_withdrawals([Withdrawal(sha256=DIGEST, reason="personal-data", leaf_index=7)])
    (tmp_path / "withdrawn" / DIGEST.hex()).write_bytes(note)
    with pytest.raises(CorruptError, match="was withdrawn: expected leafIndex and reason"):
        evidence.get(DIGEST)


def test_a_text_is_found_from_its_event(evidence):
    event = hashlib.sha256(b"hub\nevent-1").digest()[:16]
    assert evidence.text_of(event) is None
    assert evidence.put_text(event, PIECE)
    assert evidence.text_of(event) == DIGEST
    assert list(evidence.texts()) == [(event, DIGEST)]
    evidence.forget_texts([event])
    assert evidence.text_of(event) is None


def test_pieces_are_listed_by_their_first_byte(evidence):
    pieces = [b"%d" % number for number in range(600)]
    evidence.put(pieces)
    listed = [sha256 for prefix in range(256) for sha256 in evidence.stored(prefix)]
    assert sorted(listed) == sorted(hashlib.sha256(piece).digest() for piece in pieces)
