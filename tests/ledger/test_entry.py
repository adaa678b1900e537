"""Entries: the envelope's one spelling, its signature, and the map commit."""

import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.dsse import Envelope

from ledger.encoding import format_canonical_json
from ledger.entry import (
    PAYLOAD_TYPE,
    Entry,
    MapCommit,
    format_entry,
    format_map_commit,
    keyid_of,
    pae,
    parse_entry,
    verify_entry,
)
from ledger.errors import LimitError, MalformedError, SignatureError
from ledger.event import format_statement
from tests.events import event, key

KEY = ec.derive_private_key(7, ec.SECP256R1())
KEYID = keyid_of(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)


def sign(payload):
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    return format_entry(payload, keyid=KEYID, signature=KEY.sign(pae(payload), algorithm))


ENTRY = sign(format_statement(event(key("a"))))


def test_an_entry_reads_back_and_is_its_own_canonical_json():
    parsed = parse_entry(ENTRY)
    assert format_canonical_json(json.loads(ENTRY)) == ENTRY
    assert format_entry(parsed.payload, keyid=parsed.keyid, signature=parsed.signature) == ENTRY
    assert verify_entry(parsed, {KEYID: KEY.public_key()}).entry == parsed
    assert sign(parsed.payload) == ENTRY  # RFC 6979: signing again gives the same bytes


def test_the_pre_authentication_encoding_is_that_of_another_library():
    assert pae(b"payload") == Envelope(b"payload", PAYLOAD_TYPE, {}).pae()


def lie(change):
    value = json.loads(ENTRY)
    change(value)
    return format_canonical_json(value)


LIES = {
    "another payload type": lambda value: value.update(payloadType="text/plain"),
    "two signatures": lambda value: value["signatures"].append(value["signatures"][0]),
    "no signature": lambda value: value["signatures"].clear(),
    "a field more": lambda value: value.update(more=1),
    "a field more in the signature": lambda value: value["signatures"][0].update(more=1),
    "lax base64": lambda value: value.update(payload=value["payload"].rstrip("=") + "\n"),
    "an upper-case keyid": lambda value: value["signatures"][0].update(keyid="AB" * 32),
    "a keyid of null": lambda value: value["signatures"][0].update(keyid=None),
    "a list": lambda value: value.update(payload=["x"]),
}


@pytest.mark.parametrize("why", LIES)
def test_other_envelopes_are_refused(why):
    with pytest.raises(MalformedError):
        parse_entry(lie(LIES[why]))


def test_entries_have_a_limit():
    with pytest.raises(LimitError, match="expected at most 49000 bytes"):
        parse_entry(b"x" * 49_001)
    with pytest.raises(LimitError):
        format_entry(b"x" * 40_000, keyid=KEYID, signature=b"s")


def test_a_signature_counts_by_its_key_and_over_its_payload():
    parsed = parse_entry(ENTRY)
    with pytest.raises(SignatureError, match="key of the entry: expected a known hub key"):
        verify_entry(parsed, {})
    other = Entry(payload=parsed.payload + b" ", keyid=parsed.keyid, signature=parsed.signature)
    with pytest.raises(SignatureError, match="expected a valid signature, got one that fails"):
        verify_entry(other, {KEYID: KEY.public_key()})


def test_a_map_commit_counts_only_where_it_says():
    commit = MapCommit(covers=7, root=bytes(32))
    data = format_map_commit(commit)
    assert parse_entry(data, leaf_index=7) == commit
    with pytest.raises(MalformedError, match="covers of a map commit: expected 8, got 7"):
        parse_entry(data, leaf_index=8)
    for bad in (b'"7"', b'"07"'), (b"hubledger/v1", b"hubledger/v2"), (b'"00', b'"0'), (b'"7"', b"7"):
        with pytest.raises(MalformedError):
            parse_entry(data.replace(*bad), leaf_index=7)
