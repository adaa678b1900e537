"""What a lax verifier would accept: signatures that hold over something else than the reader takes them for."""

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa

from ledger.errors import LimitError, MalformedError, SignatureError
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.cosignature import Cosigner, add_cosignatures, verify_cosignature
from ledger.tlog.proof import TlogProof, verify_proof
from ledger.tlog.signed_note import (
    Ed25519NoteSigner,
    KeyType,
    NoteSignature,
    VerifierKey,
    format_note,
    open_note,
    parse_note,
    sign_note,
)
from ledger.tlog.trust_policy import LogKey, TrustPolicy, Witness
from tests.world import ed25519_key

SIGNER = Ed25519NoteSigner("log.example", ed25519_key("log"))
TREE = Checkpoint(origin="log.example", size=3, root_hash=b"\7" * 32)
WITNESS = Cosigner(name="witness.example", key=ed25519_key("witness"))


def test_a_key_is_its_name_and_its_id_together():
    """A line under another name is by a key that nobody knows, whatever its id and signature."""
    signature = SIGNER.sign(b"text\n")
    line = NoteSignature(name="other.example", key_id=SIGNER.verifier.key_id, signature=signature)
    with pytest.raises(SignatureError, match=r"signatures of the note: expected one by log.example"):
        open_note(format_note(b"text\n", [line]), [SIGNER.verifier])


@pytest.mark.parametrize("last", [b"", b"x", b"=", b" ", b"\r"])
def test_a_note_ends_with_a_newline_and_with_nothing_in_its_place(last):
    with pytest.raises(MalformedError):
        open_note(sign_note(b"text\n", [SIGNER])[:-1] + last, [SIGNER.verifier])


@pytest.mark.parametrize(
    "text", [b"a\n\nb\n", b"\n\n\n", b"a\n\n", "\u2014 log.example AAAAAAA=\n\nb\n".encode()]
)
def test_text_may_hold_blank_lines_and_the_signatures_stand_after_the_last(text):
    assert open_note(sign_note(text, [SIGNER]), [SIGNER.verifier]).note.text == text


def test_a_frontier_takes_only_whole_hashes():
    with pytest.raises(MalformedError, match="frontier: expected 1 hashes of 32 bytes"):
        merkle.Frontier(1, [bytes(31)])


# Cosignatures


def line_of(signature, *, name=WITNESS.name, key_id=WITNESS.verifier.key_id):
    return NoteSignature(name=name, key_id=key_id, signature=signature)


def signed_at(timestamp):
    """A signature that holds over any time, also over one that no cosignature may carry."""
    message = b"cosignature/v1\ntime %d\n%s" % (timestamp, format_checkpoint(TREE))
    return line_of(timestamp.to_bytes(8, "big") + WITNESS.key.sign(message))


def check(line, key=WITNESS.verifier):
    return verify_cosignature(line, key=key, checkpoint=TREE)


def test_the_message_is_the_header_the_time_and_the_whole_text():
    assert check(signed_at(7)).timestamp == 7
    assert check(signed_at(2**63 - 1)).timestamp == 2**63 - 1


@pytest.mark.parametrize("timestamp", [0, 2**63, 2**64 - 1])
def test_a_time_outside_its_bounds_is_refused_even_if_it_is_signed(timestamp):
    with pytest.raises(MalformedError, match=r"time of the cosignature by witness.example: expected 1 to 2"):
        check(signed_at(timestamp))


def test_a_cosigner_is_its_name_and_its_id_together():
    renamed = line_of(signed_at(7).signature, name="other.example")
    with pytest.raises(SignatureError, match=r"cosigner: expected witness.example"):
        check(renamed)
    with pytest.raises(SignatureError, match=r"cosigner: expected witness.example"):
        check(line_of(signed_at(7).signature, key_id=b"1234"))


@pytest.mark.parametrize("change", [lambda raw: raw + b"\0", lambda raw: raw[:-1], lambda raw: raw[:8]])
def test_a_cosignature_has_exactly_its_length(change):
    with pytest.raises(MalformedError, match=r"cosignature by witness.example: expected 72 bytes"):
        check(line_of(change(signed_at(7).signature)))


POST_QUANTUM = Cosigner(name="pq.example", key=mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(range(32))))


def subtree_message(*, name=b"pq.example", time=7, origin=b"log.example", size=3, root=b"\7" * 32):
    """The binary message of c2sp.org/tlog-cosignature for type 0x06, written down from the specification."""
    return (
        b"subtree/v1\n\0"
        + bytes([len(name)])
        + name
        + time.to_bytes(8, "big")
        + bytes([len(origin)])
        + origin
        + bytes(8)
        + size.to_bytes(8, "big")
        + root
    )


def test_the_binary_message_is_that_of_the_specification():
    made = POST_QUANTUM.cosign(TREE, timestamp=7).signature
    assert made[:8] == (7).to_bytes(8, "big")
    POST_QUANTUM.key.public_key().verify(made[8:], subtree_message())


@pytest.mark.parametrize(
    "other",
    [
        {"name": b"pq.other"},
        {"time": 8},
        {"origin": b"log.other"},
        {"size": 4},
        {"root": bytes(32)},
    ],
)
def test_every_part_of_the_binary_message_is_signed(other):
    signature = POST_QUANTUM.key.sign(subtree_message(**other))
    line = line_of((7).to_bytes(8, "big") + signature, name="pq.example", key_id=POST_QUANTUM.verifier.key_id)
    with pytest.raises(SignatureError, match=r"cosignature by pq.example"):
        check(line, POST_QUANTUM.verifier)


def test_names_fit_the_one_byte_of_their_length():
    longest = Cosigner(name="w" * 255, key=POST_QUANTUM.key)
    assert check(longest.cosign(TREE, timestamp=7), longest.verifier).timestamp == 7
    with pytest.raises(LimitError, match="cosigner name: expected at most 255 bytes, got 256 bytes"):
        Cosigner(name="w" * 256, key=POST_QUANTUM.key).cosign(TREE, timestamp=7)


def test_a_key_of_one_kind_does_not_verify_for_another():
    """The same 32 bytes as a log's key and as a witness's have two ids: neither signs for the other."""
    log = VerifierKey(name="k", kind=KeyType.ED25519, public_key=SIGNER.verifier.public_key)
    clock = VerifierKey(name="k", kind=KeyType.COSIGNATURE_V1, public_key=SIGNER.verifier.public_key)
    assert log.key_id != clock.key_id
    line = NoteSignature(name="k", key_id=clock.key_id, signature=SIGNER.sign(b"text\n"))
    with pytest.raises(SignatureError, match="expected a key that signs note text, got COSIGNATURE_V1"):
        open_note(format_note(b"text\n", [line]), [clock])


# Proofs


def test_an_index_is_a_number_that_the_format_carries():
    assert TlogProof(index=2**63 - 1, hashes=(), checkpoint_note=b"").index == 2**63 - 1
    with pytest.raises(MalformedError, match="index of the proof: expected 0 to 2"):
        TlogProof(index=2**63, hashes=(), checkpoint_note=b"")


def test_a_proof_is_held_to_the_whole_policy():
    """Inclusion in a tree that only the log signed is not enough where a quorum is asked for."""
    tree = Checkpoint(origin="log.example", size=1, root_hash=merkle.leaf_hash(b"a"))
    note = sign_note(format_checkpoint(tree), [SIGNER])
    witnesses = (Witness(name="w", key=WITNESS.verifier),)
    policy = TrustPolicy(logs=(LogKey(key=SIGNER.verifier),), witnesses=witnesses, quorum="w")
    proof = TlogProof(index=0, hashes=(), checkpoint_note=note)
    leaf = merkle.leaf_hash(b"a")
    with pytest.raises(SignatureError, match="cosignatures of the checkpoint: expected the quorum w"):
        verify_proof(proof, leaf, policy=policy, origin="log.example")
    cosigned = add_cosignatures(parse_note(note), [WITNESS.cosign(tree, timestamp=7)])
    counted = verify_proof(
        TlogProof(index=0, hashes=(), checkpoint_note=cosigned), leaf, policy=policy, origin="log.example"
    )
    assert [each.timestamp for each in counted.cosignatures] == [7]
