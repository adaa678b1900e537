"""Signed notes, checkpoints, cosignatures, policies and proofs, against vectors and against each other."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

from ledger.errors import LedgerError, LimitError, MalformedError, ProofError, SignatureError
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint, verify_checkpoint
from ledger.tlog.cosignature import Cosigner, add_cosignatures, verify_cosignature, verify_cosignatures
from ledger.tlog.proof import TlogProof, format_proof, parse_proof, verify_proof
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
from ledger.tlog.tiles import EntryBundle, Tile, format_bundle, objects_for_growth, parse_bundle, parse_path
from ledger.tlog.trust_policy import format_policy, parse_policy


@pytest.fixture(scope="session")
def known(vectors):
    return json.loads((vectors / "vectors/extracted/note_and_tlog_vectors.json").read_bytes())


def signer(name="log.example", seed=1):
    return Ed25519NoteSigner(name, ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


# Keys


def test_every_known_vkey_reads_back_or_is_refused(known):
    """Types 1, 2 and 4 read; 5 is not ours; the type-6 key of another library prints a key id that is not its own."""
    kinds = []
    for case in known["vkeys"]:
        kinds.append(case["type"])
        if case["type"] == 5:
            with pytest.raises(MalformedError, match="expected 0x01, 0x02, 0x04 or 0x06, got 0x05"):
                VerifierKey.parse(case["vkey"])
        elif case["type"] == 6:
            with pytest.raises(
                MalformedError, match="key id of verifier key test: expected 31236897, got 5893dc2c"
            ):
                VerifierKey.parse(case["vkey"])
            assert VerifierKey.parse(case["vkey"].replace("5893dc2c", "31236897")).kind is KeyType.ML_DSA_44
        else:
            key = VerifierKey.parse(case["vkey"])
            assert (key.kind, key.format()) == (case["type"], case["vkey"])
    assert sorted(set(kinds)) == [1, 2, 4, 5, 6]


def test_bad_vkeys_are_refused(known):
    good = signer().verifier.format()
    name, key_id, material = good.split("+", 2)
    bad = [
        *known["bad_vkeys"],
        f"{name}+00000000+{material}",
        f"{name}+{key_id.upper()}+{material}" if key_id.upper() != key_id else "x",
        f"{name}+{key_id}+{material}=",
        f"{name} x+{key_id}+{material}",
        good + "A",
        good[:-4],
        "",
    ]
    for text in bad:
        with pytest.raises((MalformedError, LimitError)):
            VerifierKey.parse(text)


def test_private_keys_read_back_and_never_show_in_errors(known):
    for case in known["notes"]:
        if "skey" in case:
            key = Ed25519NoteSigner.parse_private(case["skey"])
            assert key.format_private() == case["skey"]
            assert key.verifier.format() == case["vkey"]
    secret = signer().format_private()
    with pytest.raises(MalformedError) as caught:
        Ed25519NoteSigner.parse_private(secret[:-1] + "!")
    assert secret.split("+")[-1][:10] not in str(caught.value)


# Notes


def test_every_known_note_opens_and_signing_is_deterministic(known):
    for case in known["notes"]:
        note = case["note"].encode()
        opened = open_note(note, [VerifierKey.parse(case["vkey"])])
        assert [key.format() for key in opened.signers] == [case["vkey"]]
        if "skey" in case:
            assert sign_note(opened.note.text, [Ed25519NoteSigner.parse_private(case["skey"])]) == note


def damaged(note):
    head, _, line = note.rpartition(b"\n\n")
    return {
        "no blank line": note.replace(b"\n\n", b"\n"),
        "no final newline": note[:-1],
        "a control character": note.replace(b"text", b"te\x01xt"),
        "a tab": note.replace(b"text", b"te\txt"),
        "invalid UTF-8": note.replace(b"text", b"te\xffxt"),
        "another line after the signatures": note + b"more\n",
        "a hyphen for the dash": note.replace("\u2014".encode(), b"-"),
        "lax base64": line.replace(b"=\n", b"\n") if b"=\n" in line else head + b"\n\n" + line[:-2] + b"\n",
        "two spaces": note.replace(b"log.example ", b"log.example  "),
        "a plus in the name": note.replace(b"log.example", b"log+example"),
        "only a key id": head + b"\n\n" + "\u2014 log.example AAAAAA==\n".encode(),
        "nothing": b"",
    }


@pytest.mark.parametrize("why", damaged(sign_note(b"text\n", [signer()])))
def test_malformed_notes_are_refused(why):
    with pytest.raises(MalformedError):
        open_note(damaged(sign_note(b"text\n", [signer()]))[why], [signer().verifier])


def test_notes_have_limits():
    line = NoteSignature(name="a", key_id=b"1234", signature=b"x")
    with pytest.raises(LimitError, match="expected at most 100 signatures, got 101"):
        format_note(b"text\n", [line] * 101)
    assert len(parse_note(format_note(b"text\n", [line] * 100)).signatures) == 100
    with pytest.raises(LimitError, match="expected at most 1048576 bytes"):
        parse_note(b"x" * (1 << 20) + b"\n\n")
    with pytest.raises(MalformedError, match="expected a final newline"):
        sign_note(b"text", [signer()])


def test_a_known_key_that_fails_rejects_the_note_and_unknown_ones_are_ignored():
    ours, other = signer(), signer("other.example", 2)
    note = sign_note(b"text\n", [other, ours])
    assert open_note(note, [ours.verifier]).signers == (ours.verifier,)
    bent = note.replace(b"text", b"best")
    with pytest.raises(SignatureError, match="expected a valid signature, got one that fails"):
        open_note(bent, [ours.verifier])
    with pytest.raises(SignatureError, match="signatures of the note: expected one by"):
        open_note(sign_note(b"text\n", [other]), [ours.verifier])
    # Same name, other key: the id differs, so it is unknown.
    with pytest.raises(SignatureError, match="signatures of the note"):
        open_note(note, [signer(seed=3).verifier])


def test_repeated_lines_of_one_key_count_once():
    ours = signer()
    assert open_note(sign_note(b"text\n", [ours, ours]), [ours.verifier, ours.verifier]).signers == (
        ours.verifier,
    )


def test_ecdsa_notes_verify():
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    vkey = VerifierKey(name="e", kind=KeyType.ECDSA, public_key=spki)
    line = NoteSignature(
        name="e", key_id=vkey.key_id, signature=key.sign(b"text\n", ec.ECDSA(hashes.SHA256()))
    )
    note = format_note(b"text\n", [line])
    assert open_note(note, [vkey]).signers == (vkey,)
    with pytest.raises(SignatureError):
        open_note(note.replace(b"text", b"best"), [vkey])


# Checkpoints


BAD_CHECKPOINTS = {
    "a sign": "o\n+1\n{h}\n",
    "a leading zero": "o\n01\n{h}\n",
    "an underscore": "o\n1_0\n{h}\n",
    "spaces": "o\n 1 \n{h}\n",
    "other digits": "o\n\u0664\n{h}\n",
    "no origin": "\n1\n{h}\n",
    "a short root": "o\n1\nAAAA\n",
    "lax base64": "o\n1\n{h}=\n",
    "no root": "o\n1\n",
    "an empty extension": "o\n1\n{h}\n\n",
    "no final newline": "o\n1\n{h}",
    "a root of nothing that is something": "o\n0\n{h}\n",
    "too large": "o\n9223372036854775808\n{h}\n",
}


@pytest.mark.parametrize("why", BAD_CHECKPOINTS)
def test_malformed_checkpoints_are_refused(why):
    text = BAD_CHECKPOINTS[why].format(h=base64.b64encode(bytes(32)).decode())
    with pytest.raises((MalformedError, LimitError)):
        parse_checkpoint(text.encode())


def test_checkpoints_of_other_projects_verify(vectors):
    """Tessera's sixteen sizes, sum.golang.org's origin that is not its key's name, and Rekor v1 and v2."""
    folder = vectors / "vectors/tessera-testdata-log/testdata/log"
    vkey = VerifierKey.parse("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")
    for size in range(16):
        data = (folder / f"checkpoint.{size}").read_bytes()
        verified = verify_checkpoint(data, origin="example.com/log/testdata", keys=[vkey])
        assert verified.checkpoint.size == size
        assert format_checkpoint(parse_checkpoint(verified.parsed.text)) == verified.parsed.text
    with pytest.raises(SignatureError, match=r"origin of the checkpoint: expected example\.com/other"):
        verify_checkpoint(data, origin="example.com/other", keys=[vkey])


def test_rekor_checkpoints_verify_with_the_keys_of_the_trusted_root(vectors):
    folder = vectors / "vectors/rekor-bundles"
    count = 0
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        root_file = case / "trusted_root.json"
        root = json.loads(
            (root_file if root_file.exists() else folder / "production_trusted_root.json").read_bytes()
        )
        bundle = json.loads((case / "bundle.sigstore.json").read_bytes())
        entry = bundle["verificationMaterial"]["tlogEntries"][0]
        note = entry["inclusionProof"]["checkpoint"]["envelope"].encode()
        origin = note.split(b"\n")[0].decode()
        keys = []
        for log in root["tlogs"]:
            raw = base64.b64decode(log["publicKey"]["rawBytes"])
            if log["publicKey"]["keyDetails"].startswith("PKIX_ECDSA"):
                keys.append(VerifierKey(name="rekor.sigstore.dev", kind=KeyType.ECDSA, public_key=raw))
            elif log["publicKey"]["keyDetails"] == "PKIX_ED25519":
                keys.append(
                    VerifierKey(name=origin.split(" ")[0], kind=KeyType.ED25519, public_key=raw[-32:])
                )
        tree = verify_checkpoint(note, origin=origin, keys=keys).checkpoint
        proof = entry["inclusionProof"]
        merkle.verify_inclusion(
            merkle.leaf_hash(base64.b64decode(entry["canonicalizedBody"])),
            index=int(proof["logIndex"]),
            size=tree.size,
            proof=[base64.b64decode(each) for each in proof["hashes"]],
            root=tree.root_hash,
        )
        count += 1
    assert count == 5


def test_a_real_sumdb_checkpoint_verifies(known):
    case = next(case for case in known["notes"] if "go.sum database tree" in case["note"])
    key = VerifierKey.parse(case["vkey"])
    verified = verify_checkpoint(case["note"].encode(), origin="go.sum database tree", keys=[key])
    assert verified.checkpoint.size == 35_225_469


# Cosignatures


def cosigned(*cosigners, size=3, time=1_700_000_000):
    checkpoint = Checkpoint(origin="log.example", size=size, root_hash=bytes([size]) * 32)
    note = parse_note(sign_note(format_checkpoint(checkpoint), [signer()]))
    return add_cosignatures(note, [each.cosign(checkpoint, timestamp=time) for each in cosigners])


WITNESS = Cosigner(name="w.example", key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32))


@pytest.fixture(scope="session")
def pq_witness():
    return Cosigner(name="pq.example", key=mldsa.MLDSA44PrivateKey.generate())


def test_both_kinds_of_cosignatures_verify(pq_witness):
    note = cosigned(WITNESS, pq_witness)
    verified = verify_checkpoint(note, origin="log.example", keys=[signer().verifier])
    found = verify_cosignatures(verified, [WITNESS.verifier, pq_witness.verifier])
    assert [(each.key.kind, each.timestamp) for each in found] == [
        (KeyType.COSIGNATURE_V1, 1_700_000_000),
        (KeyType.ML_DSA_44, 1_700_000_000),
    ]
    assert VerifierKey.parse(pq_witness.verifier.format()) == pq_witness.verifier


@pytest.mark.parametrize("kind", ["ed25519", "mldsa"])
def test_a_cosignature_over_another_checkpoint_or_time_fails(pq_witness, kind):
    witness = WITNESS if kind == "ed25519" else pq_witness
    other = parse_note(cosigned(witness, size=4)).signatures[1]
    note = parse_note(cosigned(size=3))
    moved = add_cosignatures(note, [other])
    shifted = NoteSignature(
        name=other.name, key_id=other.key_id, signature=(1).to_bytes(8, "big") + other.signature[8:]
    )
    for data in (moved, add_cosignatures(parse_note(cosigned(size=4)), [shifted])):
        verified = verify_checkpoint(data, origin="log.example", keys=[signer().verifier])
        with pytest.raises(SignatureError, match="cosignature by"):
            verify_cosignatures(verified, [witness.verifier])
        assert verify_cosignatures(verified, []) == ()


def test_a_cosignature_of_another_length_is_malformed():
    line = parse_note(cosigned(WITNESS)).signatures[1]
    short = NoteSignature(name=line.name, key_id=line.key_id, signature=line.signature[:-1])
    verified = verify_checkpoint(
        add_cosignatures(parse_note(cosigned()), [short]), origin="log.example", keys=[signer().verifier]
    )
    with pytest.raises(MalformedError, match="expected 72 bytes, got 71 bytes"):
        verify_cosignatures(verified, [WITNESS.verifier])


def test_the_cosignatures_of_sunlight_verify(vectors):
    """A witness directory written by Sunlight's own tests: cosignature/v1 over a static-ct checkpoint."""
    folder = vectors / "vectors/sunlight-skylight/cmd/skylight/testdata/witness"
    (vkey,) = json.loads((folder / "witness.v0.json").read_bytes())["verifier_keys"]
    key = VerifierKey.parse(vkey)
    (path,) = folder.glob("0*/checkpoint")
    note = parse_note(path.read_bytes())
    (line,) = [line for line in note.signatures if line.key_id == key.key_id]
    assert (
        verify_cosignature(line, key=key, checkpoint=parse_checkpoint(note.text)).timestamp == 1_767_139_200
    )


# Policies


def policy_text(*lines):
    return "\n".join((f"log {signer().verifier.format()}", *lines)).encode()


def witness_line(name, seed):
    key = Cosigner(
        name=f"{name}.example", key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    )
    return f"witness {name} {key.verifier.format()}"


W1, W2, W3 = witness_line("w1", 11), witness_line("w2", 12), witness_line("w3", 13)

BAD_POLICIES = {
    "no quorum": [W1],
    "two quorums": [W1, "quorum w1", "quorum none"],
    "an undefined quorum": [W1, "quorum w2"],
    "an undefined member": [W1, "group g any w1 w2", "quorum g"],
    "a witness after its group": ["group g any w1", W1, "quorum g"],
    "a member of two groups": [W1, W2, "group g any w1 w2", "group h any w1", "quorum h"],
    "a name twice": [W1, W1.replace("w1.example", "w9.example"), "quorum none"],
    "a key under two names": [W1, W1.replace("witness w1", "witness w2"), "quorum none"],
    "a threshold of 0": [W1, "group g 0 w1", "quorum g"],
    "a threshold above the members": [W1, "group g 2 w1", "quorum g"],
    "a lax threshold": [W1, "group g 01 w1", "quorum g"],
    "an empty group": [W1, "group g any", "quorum g"],
    "a reserved name": ["witness none " + W1.split()[2], "quorum none"],
    "an unknown line": ["mirror x", "quorum none"],
    "a log key as witness": [f"witness w {signer(seed=9).verifier.format()}", "quorum none"],
    "a trailing comment": ["quorum none # really"],
}


@pytest.mark.parametrize("why", BAD_POLICIES)
def test_malformed_policies_are_refused(why):
    with pytest.raises(MalformedError):
        parse_policy(policy_text(*BAD_POLICIES[why]))


@pytest.mark.parametrize(
    ("rule", "signed", "holds"),
    [
        (["quorum w1"], "1", True),
        (["quorum w1"], "2", False),
        (["quorum none"], "", True),
        (["group g any w1 w2 w3", "quorum g"], "3", True),
        (["group g any w1 w2 w3", "quorum g"], "", False),
        (["group g 2 w1 w2 w3", "quorum g"], "13", True),
        (["group g 2 w1 w2 w3", "quorum g"], "1", False),
        (["group g all w1 w2", "group h any g w3", "quorum h"], "3", True),
        (["group g all w1 w2", "group h any g w3", "quorum h"], "1", False),
        (["group g all w1 w2", "group h all g w3", "quorum h"], "123", True),
    ],
)
def test_quorums_count_witnesses_through_groups(rule, signed, holds):
    policy = parse_policy(policy_text("# a comment", "", W1, W2, W3, *rule))
    assert parse_policy(format_policy(policy).encode()) == policy
    cosigners = [
        Cosigner(
            name=f"w{digit}.example",
            key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes([10 + int(digit)]) * 32),
        )
        for digit in signed
    ]
    note = cosigned(*cosigners)
    if holds:
        assert len(policy.verify(note, origin="log.example").cosignatures) == len(signed)
    else:
        with pytest.raises(SignatureError, match="cosignatures of the checkpoint: expected the quorum"):
            policy.verify(note, origin="log.example")


# Proofs


def proof_of_three():
    leaves = merkle.leaf_hashes([b"a", b"b", b"c"])
    checkpoint = Checkpoint(origin="log.example", size=3, root_hash=merkle.root_of(leaves))
    note = sign_note(format_checkpoint(checkpoint), [signer()])
    hashes_ = (leaves[0], leaves[2])
    return TlogProof(index=1, hashes=hashes_, checkpoint_note=note, extra=b"b")


def test_proofs_read_back_and_verify():
    proof = proof_of_three()
    assert parse_proof(format_proof(proof)) == proof
    policy = parse_policy(policy_text("quorum none"))
    counted = verify_proof(proof, merkle.leaf_hash(b"b"), policy=policy, origin="log.example")
    assert counted.verified.checkpoint.size == 3
    with pytest.raises(ProofError):
        verify_proof(proof, merkle.leaf_hash(b"c"), policy=policy, origin="log.example")
    with pytest.raises(SignatureError):
        verify_proof(proof, merkle.leaf_hash(b"b"), policy=policy, origin="other.example")


def bad_proofs():
    good = format_proof(proof_of_three())
    return {
        "another header": good.replace(b"@v1", b"@v2"),
        "a lax index": good.replace(b"index 1", b"index 01"),
        "a signed index": good.replace(b"index 1", b"index +1"),
        "no index": good.replace(b"index 1\n", b""),
        "an index before extra": good.replace(b"extra Yg==\nindex 1\n", b"index 1\nextra Yg==\n"),
        "lax extra": good.replace(b"Yg==", b"Yg"),
        "an empty hash": good.replace(b"\n\n", b"\n\n\n", 1),
        "carriage returns": good.replace(b"\n", b"\r\n"),
        "sixty-five hashes": good.replace(
            b"index 1\n", b"index 1\n" + b"A" * 43 + b"=\n" * 1 + (b"A" * 43 + b"=\n") * 64
        ),
        "no checkpoint": good.partition(b"\n\n")[0],
        "too large": good + b"x" * (2 << 20),
    }


@pytest.mark.parametrize("why", bad_proofs())
def test_malformed_proofs_are_refused(why):
    with pytest.raises(LedgerError):
        verify_proof(
            parse_proof(bad_proofs()[why]),
            merkle.leaf_hash(b"b"),
            policy=parse_policy(policy_text("quorum none")),
            origin="log.example",
        )


# Tiles


def test_tile_paths_of_the_specification(known):
    for case in known["tlog_tiles_paths"]:
        parsed = parse_path(case["path"])
        assert parsed.path == case["path"]
        if "level" in case:
            assert parsed == Tile(level=case["level"], index=case["n"], width=case.get("w", 256))
        else:
            assert parsed == EntryBundle(index=case["entries"], width=case["w"])


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/x000/001",
        "tile/0/x1/000",
        "tile/0/001/000",
        "tile/-1/000",
        "tile/0/000/",
        "/tile/0/000",
        "tile/entries/000.p",
        "tile/data/000",
        "tile/0/000.p/1.p/1",
        "tile/0/x00\u0661/000",
        "tile/0/000\n",
        "",
    ],
)
def test_other_tile_paths_are_refused(path):
    with pytest.raises(MalformedError):
        parse_path(path)


def test_growth_writes_the_objects_that_the_specification_counts(known):
    for case in known["tlog_tiles_shape"]:
        counted = {}
        for part in objects_for_growth(0, case["size"]):
            if isinstance(part, Tile):
                full = part.width == 256
                name = f"level{part.level}_{'full' if full else 'partial'}"
                counted[name] = counted.get(name, 0) + (1 if full else part.width)
        assert counted == {name: value for name, value in case.items() if name != "size"}
    assert objects_for_growth(300, 300) == ()
    assert [part.path for part in objects_for_growth(255, 257)] == [
        "tile/entries/000",
        "tile/entries/001.p/1",
        "tile/0/000",
        "tile/0/001.p/1",
        "tile/1/000.p/1",
    ]


@pytest.mark.parametrize("entries", [[], [b""], [b"", b"x"], [bytes(65_535)], [b"a"] * 256])
def test_bundles_read_back(entries):
    assert parse_bundle(format_bundle(entries), len(entries)) == entries


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x01", b"\x00\x01ab", b"\x00\x00\x00"])
def test_bundles_that_do_not_end_exactly_are_refused(data):
    with pytest.raises(MalformedError):
        parse_bundle(data, 1)
    with pytest.raises(MalformedError, match="expected 2 entries, got 1 entries"):
        parse_bundle(b"\x00\x01a", 2)
    with pytest.raises(LimitError, match="expected at most 65535 bytes"):
        format_bundle([bytes(65_536)])
