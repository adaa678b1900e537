"""One value has one spelling: every field of every parser against every other spelling of its value.

The parsers are those of ``ledger.tlog`` and of ``ledger.client``: vkeys, notes, checkpoints, tile paths, policies,
proofs and their extra, trust files, evidence. Each field is a function from the field's text to the parsed document; it
takes the one right text (or the test would show nothing) and refuses all others.
"""

import base64
import json

import pytest

from ledger.client.evidence import verify_evidence
from ledger.client.proof_extra import parse_extra
from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from ledger.client.verify import check_proof
from ledger.encoding import format_base64, format_canonical_json
from ledger.errors import LedgerError
from ledger.tlog.checkpoint import parse_checkpoint, verify_checkpoint
from ledger.tlog.proof import HEADER, parse_proof
from ledger.tlog.signed_note import Ed25519NoteSigner, VerifierKey, parse_note
from ledger.tlog.tiles import parse_bundle, parse_path
from ledger.tlog.trust_policy import parse_policy
from tests import world

LOG = world.World().grow(7)
TRUST = LOG.trust()
NOTE = LOG.checkpoint()
KEY = LOG.log_signer.verifier
HASH = bytes.fromhex("fbef") + bytes(range(28)) + bytes.fromhex("ffbf")
"""32 bytes whose base64 has all that differs between alphabets, and one character of padding."""


def evidence(*, hashes=None, root=None):
    """Evidence of the second form, and the value of its prefix."""
    extra = parse_extra(LOG.unformatted_proof(0, since=3).extra)
    false = LOG.sign_tree(world.replace(LOG.tree(3), root_hash=bytes(32)))
    return {
        "checkpoints": [false.decode(), NOTE.decode()],
        "kind": "https://hubledger/misbehaviour/v1",
        "prefix": {
            "hashes": [format_base64(each) for each in extra.consistency.hashes]
            if hashes is None
            else hashes,
            "root": root or LOG.tree(3).root_hash.hex(),
        },
    }


def read_evidence(value):
    return verify_evidence(format_canonical_json(value), trust=TRUST)


GOOD_HASHES = evidence()["prefix"]["hashes"]


def with_first_hash(text):
    return read_evidence(evidence(hashes=[text, *GOOD_HASHES[1:]]))


def extra_with(size="7", first=None):
    hashes = [format_base64(HASH) if first is None else first]
    return parse_extra(format_canonical_json({"consistency": {"hashes": hashes, "size": size}, "entry": {}}))


def trust_with(old, new):
    text = format_trust(TRUST).decode()
    assert text.count(old) >= 1
    escaped = json.dumps(new)[1:-1]  # what TOML's basic strings share with JSON
    return parse_trust(text.replace(old, escaped, 1).encode())


def read_proof(data):
    """Read a proof as a check does, its checkpoint included: that is where the bytes after a blank line end up."""
    proof = parse_proof(data)
    verify_checkpoint(proof.checkpoint_note, origin=TRUST.origin, keys=TRUST.log_keys)
    return parse_extra(proof.extra)


def proof_of(*lines, index="7"):
    lines = (HEADER, *lines[:1], f"index {index}", *lines[1:])
    proof = parse_proof("\n".join(lines).encode() + b"\n\n" + NOTE)
    return verify_checkpoint(proof.checkpoint_note, origin=TRUST.origin, keys=TRUST.log_keys)


POLICY = f"log {KEY.format()}\nwitness w {LOG.cosigner('w').verifier.format()}\n"
SPKI = format_base64(TRUST.hub_keys[0].spki)
LINE = NOTE.decode().rstrip("\n").rpartition(" ")
PRIVATE = LOG.log_signer.format_private().rpartition("+")

DECIMALS = {
    "tree size of a checkpoint": lambda text: parse_checkpoint(
        f"log.example\n{text}\n{format_base64(HASH)}\n".encode()
    ),
    "index of a proof": lambda text: proof_of("extra AAAA", index=text),
    "size of a consistency proof": lambda text: extra_with(size=text),
    "width of a tile path": lambda text: parse_path(f"tile/0/000.p/{text}"),
    "level of a tile path": lambda text: parse_path(f"tile/{text}/000"),
    "threshold of a group": lambda text: parse_policy(
        f"{POLICY}group g {text} w\nquorum g\n".replace(" 7 ", " 1 ").encode()
    ),
    "threshold of a group in a trust file": lambda text: trust_with(
        "quorum none",
        f"witness w {LOG.cosigner('w').verifier.format()}\ngroup g {text} w\nquorum g".replace(" 7 ", " 1 "),
    ),
}
OTHER_DECIMALS = [
    "+7",
    "-7",
    "07",
    "0_7",
    "7_0",
    "7.0",
    "0x7",
    "7e0",
    "\uff17",
    "\u0667",
    "\u2077",
    "",
    "9" * 19,
]
SPACED_DECIMALS = [" 7", "7 ", "\t7", "7\n", "7\r", "\u00a07"]
SPLIT_AT_SPACES = "threshold of a group"
"""c2sp.org/tlog-policy splits lines at spaces and tabs, however many."""

BASE64 = {
    "root of a checkpoint": (format_base64(HASH), lambda text: parse_checkpoint(f"o\n7\n{text}\n".encode())),
    "hash of a proof": (format_base64(HASH), lambda text: proof_of("extra AAAA", text)),
    "extra of a proof": (format_base64(HASH), lambda text: proof_of(f"extra {text}")),
    "hash of a consistency proof": (format_base64(HASH), lambda text: extra_with(first=text)),
    "hash of evidence": (GOOD_HASHES[0], with_first_hash),
    "signature line of a note": (
        LINE[2],
        lambda text: parse_note(f"{LINE[0]} {text}\n".encode()),
    ),
    "key of a vkey": (
        KEY.format().split("+", 2)[2],
        lambda text: VerifierKey.parse("+".join((*KEY.format().split("+", 2)[:2], text))),
    ),
    "key of a policy": (
        KEY.format().split("+", 2)[2],
        lambda text: parse_policy(
            f"log {'+'.join((*KEY.format().split('+', 2)[:2], text))}\nquorum none\n".encode()
        ),
    ),
    "hub key of a trust file": (SPKI, lambda text: trust_with(SPKI, text)),
    "log key of a trust file": (
        KEY.format().split("+", 2)[2],
        lambda text: trust_with(KEY.format().split("+", 2)[2], text),
    ),
    "seed of a private key": (
        format_base64(b"\1" + LOG.log_signer.key.private_bytes_raw()),
        lambda text: Ed25519NoteSigner.parse_private(f"PRIVATE+KEY+{KEY.name}+{KEY.key_id.hex()}+{text}"),
    ),
}


def other_base64(text):
    """Spellings of the same bytes that lax decoders take, and texts that are almost right."""
    raw = base64.b64decode(text)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    bare = text.rstrip("=")
    found = {
        "padding for nothing": text + "=",
        "four more": text + "====",
        "one more character": text + "A",
        "a line break": text[:20] + "\n" + text[20:],
        "a carriage return": text[:20] + "\r\n" + text[20:],
        "a space inside": text[:20] + " " + text[20:],
        "a space after": text + " ",
        "a NUL after": text + "\0",
        "a stray character": text[:20] + "*" + text[20:],
        "a full-width letter": text[:20] + "\uff21" + text[21:],
        "a byte more": base64.b64encode(raw + b"\0").decode(),
        "a byte less": base64.b64encode(raw[:-1]).decode(),
        "nothing": "",
    }
    if bare != text:
        found["no padding"] = bare
        found["data after padding"] = text + text
        last = alphabet[alphabet.index(bare[-1]) | 1]
        found["bits after the end"] = bare[:-1] + last + text[len(bare) :]
    if "+" in text or "/" in text:
        found["the alphabet of addresses"] = text.replace("+", "-").replace("/", "_")
    return found


def base64_cases():
    """All but three that are no other spelling: bytes of another number are right where any number is."""
    free = ("extra of a proof", "signature line of a note")
    for field, (text, _) in BASE64.items():
        for why, other in other_base64(text).items():
            if field in free and why in ("a byte more", "a byte less"):
                continue
            if (field, why) == ("extra of a proof", "nothing"):
                continue
            if (field, why) == ("key of a policy", "a space after"):
                continue  # as between words
            if (field, why) == ("log key of a trust file", "a space after"):
                continue
            yield pytest.param(field, other, id=f"{field}: {why}")


HEX = {
    "key id of a vkey": (
        KEY.key_id.hex(),
        lambda text: VerifierKey.parse(f"{KEY.name}+{text}+{KEY.format().split('+', 2)[2]}"),
    ),
    "prefix root of evidence": (
        LOG.tree(3).root_hash.hex(),
        lambda text: read_evidence(evidence(root=text)),
    ),
}


def other_hex(text):
    return [
        text.upper(),
        f"0x{text}",
        f" {text}",
        f"{text} ",
        f"{text}\n",
        text[:-1],
        text[:-2],
        f"{text}00",
        "\uff10" + text[1:],
        text[:2] + "_" + text[2:],
    ]


@pytest.mark.parametrize("field", list(DECIMALS))
def test_the_one_spelling_of_a_number_is_taken(field):
    assert DECIMALS[field]("7") is not None


@pytest.mark.parametrize(
    ("field", "text"),
    [
        pytest.param(field, text, id=f"{field}: {text!a}")
        for field in DECIMALS
        for text in OTHER_DECIMALS + SPACED_DECIMALS
        if not (field.startswith(SPLIT_AT_SPACES) and text in (" 7", "7 ", "\t7"))
    ],
)
def test_every_other_spelling_of_a_number_is_refused(field, text):
    with pytest.raises(LedgerError):
        DECIMALS[field](text)


@pytest.mark.parametrize("field", BASE64)
def test_the_one_spelling_of_bytes_is_taken(field):
    text, parse = BASE64[field]
    assert parse(text) is not None


@pytest.mark.parametrize(("field", "text"), list(base64_cases()))
def test_every_other_spelling_of_bytes_is_refused(field, text):
    with pytest.raises(LedgerError):
        BASE64[field][1](text)


@pytest.mark.parametrize("field", HEX)
def test_the_one_spelling_of_a_digest_is_taken(field):
    text, parse = HEX[field]
    assert parse(text) is not None


@pytest.mark.parametrize(
    ("field", "text"), [(field, other) for field, (text, _) in HEX.items() for other in other_hex(text)]
)
def test_every_other_spelling_of_a_digest_is_refused(field, text):
    with pytest.raises(LedgerError):
        HEX[field][1](text)


# Whole documents


DOCUMENTS = {
    "a note": (NOTE, parse_note),
    "a checkpoint": (NOTE.partition(b"\n\n")[0] + b"\n", parse_checkpoint),
    "a signed checkpoint": (
        NOTE,
        lambda data: verify_checkpoint(data, origin=TRUST.origin, keys=TRUST.log_keys),
    ),
    "a proof": (LOG.proof(2, since=3), read_proof),
    "evidence": (
        format_canonical_json(evidence()),
        lambda data: verify_evidence(data, trust=TRUST),
    ),
    "the extra of a proof": (LOG.unformatted_proof(2, since=3).extra, parse_extra),
    "a tile path": (b"tile/0/x001/234.p/5", lambda data: parse_path(data.decode("utf-8", "surrogateescape"))),
    "a bundle": (b"\0\1a\0\2bc", lambda data: parse_bundle(data, 2)),
    "a vkey": (
        KEY.format().encode(),
        lambda data: VerifierKey.parse(data.decode("utf-8", "surrogateescape")),
    ),
    "a policy": ((POLICY + "quorum w\n").encode(), parse_policy),
    "a trust file": (format_trust(TRUST), parse_trust),
}
CHANGES = {
    "a byte after": lambda data: data + b"x",
    "a line break after": lambda data: data + b"\n",
    "a NUL after": lambda data: data + b"\0",
    "a space before": lambda data: b" " + data,
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "a byte less": lambda data: data[:-1],
    "a control character": lambda data: data[:9] + b"\1" + data[9:],
    "a deleted character": lambda data: data[:9] + b"\x7f" + data[9:],
    "a byte that is no UTF-8": lambda data: data[:9] + b"\xff" + data[9:],
    "carriage returns": lambda data: data.replace(b"\n", b"\r\n") if b"\n" in data else b"\r" + data,
    "twice": lambda data: data + data,
}
FREE = {
    # People write these two, in line-based formats whose blank space is free.
    ("a policy", "a line break after"),
    ("a policy", "a space before"),
    ("a policy", "a byte less"),
    ("a trust file", "a line break after"),
    ("a trust file", "a space before"),
    ("a trust file", "a byte less"),
    ("a trust file", "carriage returns"),
    # The text of a note and the origin of a checkpoint are any printable text: this is another value, which the
    # signature covers, and not another spelling of the same.
    ("a note", "a space before"),
    ("a note", "a byte order mark"),
    ("a note", "a deleted character"),
    ("a note", "twice"),
    ("a checkpoint", "a space before"),
    ("a checkpoint", "twice"),
    ("the extra of a proof", "a deleted character"),
}
"""Changes that leave a document in its one form, and why."""


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_one_form_of_a_document_is_taken(kind):
    data, read = DOCUMENTS[kind]
    assert read(data) is not None


@pytest.mark.parametrize(
    ("kind", "why"), [(kind, why) for kind in DOCUMENTS for why in CHANGES if (kind, why) not in FREE]
)
def test_every_other_form_of_a_document_is_refused(kind, why):
    data, read = DOCUMENTS[kind]
    with pytest.raises(LedgerError):
        read(CHANGES[why](data))


@pytest.mark.parametrize("control", [chr(code) for code in range(32) if code != 10], ids=ascii)
@pytest.mark.parametrize("kind", ["a note", "a checkpoint", "a proof", "evidence", "the extra of a proof"])
def test_no_control_character_is_taken_anywhere(kind, control):
    """At a dozen places of each document, not only where a parser happens to look."""
    data, read = DOCUMENTS[kind]
    for at in range(0, len(data), max(1, len(data) // 12)):
        with pytest.raises(LedgerError):
            read(data[:at] + control.encode() + data[at:])


def test_no_reader_takes_more_signature_lines_than_a_note_may_have():
    line = NOTE.partition(b"\n\n")[2]
    many = NOTE + line * 100
    proof = LOG.proof(2).replace(NOTE, many)
    found = check_proof(proof, trust=TRUST, now=world.NOW, log_only=True)
    assert found.log == "INVALID"
    assert found.failure.actual == "101"
    value = evidence()
    value["checkpoints"][1] = many.decode()
    with pytest.raises(LedgerError, match="expected at most 100 signatures, got 101"):
        read_evidence(value)
    with pytest.raises(LedgerError, match="expected at most 100 signatures, got 101"):
        check_proof(LOG.proof(2), trust=TRUST, now=world.NOW, pin=many)
    assert check_proof(
        LOG.proof(2).replace(NOTE, NOTE + line * 99), trust=TRUST, now=world.NOW, log_only=True
    ).satisfied
