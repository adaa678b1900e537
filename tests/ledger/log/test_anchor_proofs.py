"""What an anchor says and who signed it: the statement, the envelope, the tree that it must begin."""

import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.encoding import format_canonical_json
from ledger.errors import LimitError, MalformedError, ProofError, RestoredError, SignatureError
from ledger.event import PlainStatement, parse_statement
from ledger.event.schemas import ANCHOR
from ledger.log.anchor_proofs import (
    AnchorSigner,
    anchor_statement,
    verify_envelope,
    verify_extends,
    verify_statement,
)
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from tests.world import digest, p256_key

TREE = Checkpoint(origin="log.example/models", size=7, root_hash=digest("root"))
SIGNER = AnchorSigner(p256_key("anchor"))
KEYS = {hashlib.sha256(SIGNER.spki).hexdigest(): SIGNER.spki}


def test_the_statement_is_the_one_of_the_specification():
    statement = json.loads(anchor_statement(TREE))
    text = f"log.example/models\n7\n{__import__('base64').b64encode(TREE.root_hash).decode()}\n".encode()
    assert statement == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://hubledger/anchor/v1",
        "predicate": {"origin": "log.example/models", "size": 7, "rootHash": TREE.root_hash.hex()},
        "subject": [{"name": "log.example/models", "digest": {"sha256": hashlib.sha256(text).hexdigest()}}],
    }
    assert text == format_checkpoint(TREE)


@pytest.mark.parametrize(("size", "said"), [(2**53 - 1, 2**53 - 1), (2**53, str(2**53))])
def test_a_size_that_json_numbers_cannot_hold_is_a_decimal_string(size, said):
    statement = parse_statement(anchor_statement(replace(TREE, size=size)))
    assert isinstance(statement, PlainStatement)
    assert statement.fields["size"] == said
    verify_statement(anchor_statement(replace(TREE, size=size)), format_checkpoint(replace(TREE, size=size)))


def test_extension_lines_are_refused_because_the_statement_would_not_say_them():
    with pytest.raises(MalformedError, match="no extension lines"):
        anchor_statement(replace(TREE, extensions=("more",)))


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda each: each.name
)
def test_keys_on_each_curve_that_rekor_takes_sign_anchors(curve):
    signer = AnchorSigner(ec.derive_private_key(3**160, curve))
    keys = {hashlib.sha256(signer.spki).hexdigest(): signer.spki}
    signed = verify_envelope(signer.sign(TREE), keys)
    verify_statement(signed.payload, format_checkpoint(TREE))
    assert signer.sign(TREE) == signer.sign(TREE)  # a lost anchor is made again, not a second time


def changed(**changes):
    value = json.loads(SIGNER.sign(TREE))
    return format_canonical_json({**value, **changes})


@pytest.mark.parametrize(
    ("envelope", "error"),
    [
        (changed(signatures=[{"keyid": "00" * 32, "sig": "MAo="}]), SignatureError),
        (changed(payload="e30="), SignatureError),
        (changed(payloadType="text/plain"), MalformedError),
        (changed(more=1), MalformedError),
        (changed(signatures=[]), MalformedError),
        (
            changed(signatures=[{"keyid": next(iter(KEYS)), "sig": "A" * 400}]),
            LimitError,
        ),
        (SIGNER.sign(TREE) + b" ", MalformedError),
    ],
    ids=["another key", "another payload", "type", "field", "unsigned", "long signature", "not canonical"],
)
def test_an_envelope_is_refused_unless_an_anchor_key_signed_just_it(envelope, error):
    with pytest.raises(error):
        verify_envelope(envelope, KEYS)


def test_a_statement_about_another_tree_is_refused():
    for other in (replace(TREE, size=8), replace(TREE, origin="x"), replace(TREE, root_hash=digest("x"))):
        with pytest.raises(ProofError, match="subject of the anchor"):
            verify_statement(anchor_statement(TREE), format_checkpoint(other))


def test_a_statement_of_another_type_is_no_anchor():
    value = json.loads(anchor_statement(TREE))
    value["predicateType"] = ANCHOR.replace("v1", "v2")
    with pytest.raises(MalformedError, match="statement of the anchor"):
        verify_statement(format_canonical_json(value), format_checkpoint(TREE))


def test_the_log_must_have_grown_from_what_was_anchored():
    verify_extends(TREE, size=9, root_at=lambda size: TREE.root_hash)
    with pytest.raises(ProofError, match="root of size 7, which was anchored"):
        verify_extends(TREE, size=9, root_at=lambda size: digest("other"))
    with pytest.raises(RestoredError, match="expected at least 7"):
        verify_extends(TREE, size=6, root_at=lambda size: TREE.root_hash)
