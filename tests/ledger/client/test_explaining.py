"""What is explained is enough to do the check again by hand, with nothing but hashlib and a signature."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.client.explaining import explain_named, explain_proof
from ledger.client.vouching import Stated, Unheard
from ledger.event import format_statement
from tests.world import World, make_event, p256_key


def root_of_path(index, size, leaf, path):
    """RFC 9162 section 2.1.3.2, written down."""
    fn, sn, root = index, size - 1, leaf
    for each in path:
        if fn & 1 or fn == sn:
            root = hashlib.sha256(b"\x01" + each + root).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = hashlib.sha256(b"\x01" + root + each).digest()
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return root


@pytest.fixture
def world():
    made = World().grow(6)
    made.record(make_event())
    return made.grow(3)


def lines_of(data, step):
    return next(each.lines for each in explain_proof(data) if each.step == step)


def test_each_step_is_named_as_in_the_result_and_in_its_order(world):
    steps = [each.step for each in explain_proof(world.proof(6, since=4))]
    assert steps == [
        "proof file",
        "checkpoint signature",
        "link to your pin",
        "inclusion",
        "statement",
        "hub signature",
    ]


def test_the_root_follows_from_what_is_shown(world):
    data = world.proof(6)
    leaf, _, *path = lines_of(data, "inclusion")
    root = root_of_path(6, 10, bytes.fromhex(leaf.split()[2]), [bytes.fromhex(each.strip()) for each in path])
    shown = lines_of(data, "checkpoint signature")
    assert [each.strip() for each in shown[1:4]] == [
        world.origin,
        "10",
        base64.b64encode(root).decode(),
    ]


def test_the_signature_is_over_what_is_shown(world):
    data = world.proof(6)
    (statement,) = lines_of(data, "statement")
    assert statement.encode() == format_statement(make_event())
    payload = statement.encode()
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    what, by = lines_of(data, "hub signature")
    assert hashlib.sha256(signed).hexdigest() in what
    p256_key("hub").public_key().verify(
        base64.b64decode(by.rpartition(": ")[2]), signed, ec.ECDSA(hashes.SHA256())
    )


def test_what_cannot_be_read_is_described_by_its_digest():
    first, second = explain_proof(b"<html>")
    assert hashlib.sha256(b"<html>").hexdigest() in first.lines[0]
    assert second.step == "what could not be read"


def test_the_command_shows_it(hubledger, tmp_path, world):
    from ledger.client.trust_writing import format_trust

    (tmp_path / "proof").write_bytes(world.proof(6))
    (tmp_path / "trust.toml").write_bytes(format_trust(world.trust()))
    words = (
        "verify",
        "--proof",
        tmp_path / "proof",
        "--trust",
        tmp_path / "trust.toml",
        "--log-only",
        "--explain",
    )
    code, out, _ = hubledger(*words)
    assert (code, "path of leaf 6:" in out) == (0, True)
    facts = json.loads(hubledger(*words, "--json")[1])
    assert facts["explained"][0]["step"] == "proof file"
    assert hubledger("verify", "--bundle", tmp_path / "proof", "--explain")[0] == 2


def test_what_monitors_said_is_shown_byte_by_byte_or_why_there_is_nothing(world):
    note, path = world.stated(size=8), (b"a" * 32, b"b" * 32)
    stated = (
        Stated(note=note, consistency=path),
        Stated(unheard=Unheard(monitor="m2", why="GET x: expected 200, got 404")),
        Stated(note=b"<html>"),
    )
    said, away, page = explain_named(world.proof(6), stated, None)[-3:]
    assert said.step == "monitor monitor.example"
    text = note.decode().partition("\n\n")[0].split("\n")
    assert [each.strip() for each in said.lines[1 : 1 + len(text)]] == text
    assert said.lines[-3:] == (
        "consistency proof to the checkpoint of the proof:",
        f"  {path[0].hex()}",
        f"  {path[1].hex()}",
    )
    signature = base64.b64decode(said.lines[1 + len(text)].rpartition(" ")[2])
    signed = "".join(f"{each[2:]}\n" for each in said.lines[1 : 1 + len(text)]).encode()
    key = world.monitor().verifier.public_key
    ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    assert (away.step, away.lines) == ("monitor m2", ("no answer: GET x: expected 200, got 404",))
    assert page.step == "statement that could not be read"
    assert page.lines[0] == f"6 bytes, sha256 {hashlib.sha256(b'<html>').hexdigest()}"
