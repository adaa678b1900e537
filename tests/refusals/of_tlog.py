"""Refusals of ledger.tlog: notes, checkpoints, cosignatures, proofs, tiles and policies."""

import itertools

from cryptography.hazmat.primitives import serialization

from ledger.encoding import format_base64
from ledger.errors import LimitError, MalformedError, ProofError, SignatureError
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint, verify_checkpoint
from ledger.tlog.cosignature import Cosigner, verify_cosignature
from ledger.tlog.proof import HEADER, MAX_EXTRA_BYTES, TlogProof, parse_proof
from ledger.tlog.signed_note import (
    MAX_NOTE_BYTES,
    Ed25519NoteSigner,
    KeyType,
    NoteSignature,
    VerifierKey,
    check_key_name,
    format_note,
    key_id_of,
    open_note,
    parse_note,
    sign_note,
    verify_signatures,
)
from ledger.tlog.tiles import (
    EntryBundle,
    Tile,
    TileReader,
    format_bundle,
    objects_for_growth,
    parse_bundle,
    parse_path,
)
from ledger.tlog.trust_policy import MAX_POLICY_BYTES, parse_policy
from tests.refusals.table import refused
from tests.world import ed25519_key, p256_key, spki_of

ORIGIN = "log.example"
SIGNER = Ed25519NoteSigner(ORIGIN, ed25519_key("log"))
KEY = SIGNER.verifier
TREE = Checkpoint(origin=ORIGIN, size=3, root_hash=bytes(32))
TEXT = format_checkpoint(TREE)
NOTE = sign_note(TEXT, [SIGNER])
COSIGNER = Cosigner(name="witness.example", key=ed25519_key("witness"))
SPKI = spki_of(p256_key("log"))

# Signed notes and keys


def _vkey(kind, material, *, name=ORIGIN, key_id="00000000"):
    return f"{name}+{key_id}+{format_base64(bytes([kind]) + material)}"


def _compressed():
    return (
        p256_key("log")
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    )


def _spki_with_compressed_point():
    """A SubjectPublicKeyInfo that is right and not the one that an encoder writes."""
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    return head + _compressed()


def _ed25519_spki():
    return (
        ed25519_key("log")
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _private(prefix="PRIVATE+KEY+", *, seed=bytes(33)):
    return Ed25519NoteSigner.parse_private(f"{prefix}{ORIGIN}+00000000+{format_base64(seed)}")


def _two_keys_of_one_id():
    """Two keys whose 32-bit ids are the same: anybody finds such a pair among some 80,000."""
    seen: dict[bytes, bytes] = {}
    for number in itertools.count():
        public_key = number.to_bytes(32, "big")
        key_id = key_id_of(ORIGIN, KeyType.ED25519, public_key)
        if key_id in seen:
            break
        seen[key_id] = public_key
    keys = [
        VerifierKey(name=ORIGIN, kind=KeyType.ED25519, public_key=each) for each in (seen[key_id], public_key)
    ]
    line = NoteSignature(name=ORIGIN, key_id=key_id, signature=bytes(64))
    return verify_signatures(parse_note(format_note(TEXT, [line])), keys)


def _clock_signs_text():
    return COSIGNER.verifier.verify(b"", b"text\n")


NOTES = (
    refused(
        MalformedError,
        "key name: expected characters without white space and '+', got a+b. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: check_key_name("a+b"),
    ),
    refused(
        MalformedError,
        "verifier key: expected 32 bytes, got 0 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: VerifierKey(name="k", kind=KeyType.ED25519, public_key=b""),
    ),
    refused(
        MalformedError,
        "verifier key: expected <name>+<key id>+<base64>, got k+00. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: VerifierKey.parse("k+00"),
    ),
    refused(
        MalformedError,
        "type of a verifier key: expected 0x01, 0x02, 0x04 or 0x06, got 0x03. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: VerifierKey.parse(_vkey(3, bytes(32))),
    ),
    refused(
        MalformedError,
        "type of a verifier key: expected 0x01, 0x02, 0x04 or 0x06, got nothing. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: VerifierKey.parse("k+00000000+"),
    ),
    refused(
        MalformedError,
        "key id of verifier key log.example: expected f3e73440, got 00000000. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: VerifierKey.parse(_vkey(1, bytes(32))),
    ),
    refused(
        MalformedError,
        "ECDSA verifier key: expected a DER SubjectPublicKeyInfo, got <any>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: VerifierKey(name="k", kind=KeyType.ECDSA, public_key=b""),
    ),
    refused(
        MalformedError,
        "ECDSA verifier key: expected an elliptic-curve key, got Ed25519PublicKey. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: VerifierKey(name="k", kind=KeyType.ECDSA, public_key=_ed25519_spki()),
    ),
    refused(
        MalformedError,
        "ECDSA verifier key: expected its own DER encoding, got other bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: VerifierKey(name="k", kind=KeyType.ECDSA, public_key=_spki_with_compressed_point()),
    ),
    refused(
        SignatureError,
        "signature by log.example+f04b8d2c: expected a valid signature, got one that fails. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: KEY.verify(bytes(64), b"text\n"),
    ),
    refused(
        SignatureError,
        "signature by witness.example: expected a key that signs note text, got COSIGNATURE_V1. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _clock_signs_text(),
    ),
    refused(
        MalformedError,
        "private note key: expected PRIVATE+KEY+<name>+<key id>+<base64>, got another form. Restore the key file from its backup; another key cannot sign for this log",
        lambda _: _private("PRIVATE KEY "),
    ),
    refused(
        MalformedError,
        "private note key: expected base64, got something else. Restore the key file from its backup; another key cannot sign for this log",
        lambda _: Ed25519NoteSigner.parse_private(f"PRIVATE+KEY+{ORIGIN}+00000000+?"),
    ),
    refused(
        MalformedError,
        "private note key: expected 33 bytes, the type 0x01 before an Ed25519 seed, got 32 bytes. Restore the key file from its backup; another key cannot sign for this log",
        lambda _: _private(seed=b"\1" + bytes(31)),
    ),
    refused(
        MalformedError,
        "key id of a private note key: expected d85f6874, got 00000000. Restore the key file from its backup; another key cannot sign for this log",
        lambda _: _private(seed=b"\1" + bytes(32)),
    ),
    refused(
        LimitError,
        "signed note: expected at most 1048576 bytes, got 1048577 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_note(bytes(MAX_NOTE_BYTES + 1)),
    ),
    refused(
        MalformedError,
        "signed note: expected UTF-8, got <any>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_note(b"\xff"),
    ),
    refused(
        MalformedError,
        "signed note: expected no control character but newline, got one. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_note(b"a\tb\n\n"),
    ),
    refused(
        MalformedError,
        "signed note: expected text, a blank line and signature lines, got another layout. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_note(b"text\n"),
    ),
    refused(
        LimitError,
        "signed note: expected at most 100 signatures, got 101. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_note(TEXT + b"\n" + b"\xe2\x80\x94 k AAAAAAA=\n" * 101),
    ),
    refused(
        MalformedError,
        "signature line: expected — <key name> <base64>, got signed by me. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_note(TEXT + b"\nsigned by me\n"),
    ),
    refused(
        MalformedError,
        "signature line: expected a key id and a signature, got 4 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_note(TEXT + b"\n\xe2\x80\x94 k AAAAAA==\n"),
    ),
    refused(
        SignatureError,
        "signatures of the note: expected one by a known key, got log.example+f04b8d2c. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: open_note(NOTE, []),
    ),
    refused(
        SignatureError,
        "key of a signature: expected one key, got two with log.example+f9381e5a. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _two_keys_of_one_id(),
    ),
    refused(
        SignatureError,
        "signatures of the note: expected one by log.example+49542030, got log.example+f04b8d2c. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: open_note(NOTE, [Ed25519NoteSigner(ORIGIN, ed25519_key("another")).verifier]),
    ),
    refused(
        MalformedError,
        "text of a note: expected a final newline, got none. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: format_note(b"text", []),
    ),
)

# Checkpoints and cosignatures


def _cosigned(*, line=None, key=COSIGNER.verifier, timestamp=7, signature=None):
    made = COSIGNER.cosign(TREE, timestamp=timestamp)
    if signature is not None:
        made = NoteSignature(name=made.name, key_id=made.key_id, signature=signature)
    return verify_cosignature(line or made, key=key, checkpoint=TREE)


def _long_name():
    from cryptography.hazmat.primitives.asymmetric import mldsa

    cosigner = Cosigner(name="w" * 256, key=mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32)))
    return cosigner.cosign(TREE, timestamp=7)


CHECKPOINTS = (
    refused(
        MalformedError,
        "origin: expected a non-empty line, got a\\x0ab. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Checkpoint(origin="a\nb", size=0, root_hash=merkle.EMPTY_ROOT),
    ),
    refused(
        MalformedError,
        "tree size: expected 0 to 2^63 - 1, got -1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Checkpoint(origin="a", size=-1, root_hash=bytes(32)),
    ),
    refused(
        MalformedError,
        "root hash: expected 32 bytes, got 31 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Checkpoint(origin="a", size=1, root_hash=bytes(31)),
    ),
    refused(
        MalformedError,
        "root hash of size 0: expected <hex>, got <hex>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Checkpoint(origin="a", size=0, root_hash=bytes(32)),
    ),
    refused(
        MalformedError,
        "extension line: expected a non-empty line, got ('',). Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Checkpoint(origin="a", size=1, root_hash=bytes(32), extensions=("",)),
    ),
    refused(
        MalformedError,
        "checkpoint: expected UTF-8, got <any>. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_checkpoint(b"\xff\n"),
    ),
    refused(
        MalformedError,
        "checkpoint: expected origin, size and root hash, a line each, got 2 lines. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_checkpoint(b"log.example\n3\n"),
    ),
    refused(
        SignatureError,
        "origin of the checkpoint: expected log.other, got log.example. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: verify_checkpoint(NOTE, origin="log.other", keys=[KEY]),
    ),
    refused(
        MalformedError,
        "time of a cosignature: expected 1 to 2^63 - 1, got 0. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: COSIGNER.cosign(TREE, timestamp=0),
    ),
    refused(
        SignatureError,
        "cosigner: expected log.example+f04b8d2c, got witness.example+043ee4cc. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _cosigned(key=KEY),
    ),
    refused(
        SignatureError,
        "cosignature by log.example: expected a key of type 0x04 or 0x06, got ED25519. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _cosigned(
            line=NoteSignature(name=KEY.name, key_id=KEY.key_id, signature=bytes(72)), key=KEY
        ),
    ),
    refused(
        MalformedError,
        "cosignature by witness.example: expected 72 bytes, got 71 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _cosigned(signature=bytes(71)),
    ),
    refused(
        MalformedError,
        "time of the cosignature by witness.example: expected 1 to 2^63 - 1, got 0. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _cosigned(signature=bytes(72)),
    ),
    refused(
        SignatureError,
        "cosignature by witness.example: expected a valid signature, got one that fails. Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda _: _cosigned(signature=bytes(7) + b"\7" + bytes(64)),
    ),
    refused(
        LimitError,
        "cosigner name: expected at most 255 bytes, got 256 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda _: _long_name(),
    ),
)

# Merkle trees


def _read(nodes):
    return [bytes(32) for _ in nodes]


def _inclusion(*, index=0, size=1, proof=(), leaf=bytes(32), root=bytes(32)):
    return merkle.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)


def _consistency(*, old=1, new=2, old_root=bytes(32), new_root=bytes(32), proof=(bytes(32),)):
    return merkle.verify_consistency(
        old_size=old, old_root=old_root, new_size=new, new_root=new_root, proof=proof
    )


MERKLE = (
    refused(
        MalformedError,
        "frontier: expected 2 hashes of 32 bytes, got 1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: merkle.Frontier(3, [bytes(32)]),
    ),
    refused(
        MalformedError,
        "leaf index: expected 0 <= index < 3, got 3. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: merkle.prove_inclusion(3, 3, _read),
    ),
    refused(
        MalformedError,
        "old size: expected 1 <= old size <= 3, got 0. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: merkle.prove_consistency(0, 3, _read),
    ),
    refused(
        ProofError,
        "leaf index of an inclusion proof: expected 0 <= index < 1, got 1. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda _: _inclusion(index=1),
    ),
    refused(
        ProofError,
        "inclusion proof: expected 0 hashes, got 1 hashes. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda _: _inclusion(proof=[bytes(32)]),
    ),
    refused(
        ProofError,
        "leaf hash: expected hashes of 32 bytes, got one of 31 bytes. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda _: _inclusion(leaf=bytes(31)),
    ),
    refused(
        ProofError,
        "inclusion of leaf 0 in size 2: expected root <hex>, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda _: _inclusion(size=2, proof=[bytes(32)]),
    ),
    refused(
        ProofError,
        "sizes of a consistency proof: expected 1 <= old size <= 2, got 0. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda _: _consistency(old=0),
    ),
    refused(
        ProofError,
        "consistency of size 3 with size 4: expected old root <hex>, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda _: _consistency(old=3, new=4, proof=[bytes(32), bytes(32), bytes(32)]),
    ),
    refused(
        ProofError,
        "consistency of size 1 with size 2: expected new root <hex>, got <hex>. Fetch it again, from another mirror if there is one; do not use it as it is",
        lambda _: _consistency(),
    ),
)

# Proof files


def _proof(lines, note=b"note"):
    return parse_proof("\n".join([HEADER, *lines]).encode() + b"\n\n" + note)


PROOFS = (
    refused(
        MalformedError,
        "index of the proof: expected 0 to 2^63 - 1, got -1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: TlogProof(index=-1, hashes=(), checkpoint_note=b""),
    ),
    refused(
        LimitError,
        "hashes of the proof: expected at most 64, got 65. Check that it is what you meant: the limit cannot be changed",
        lambda _: TlogProof(index=0, hashes=(bytes(32),) * 65, checkpoint_note=b""),
    ),
    refused(
        MalformedError,
        "hash of the proof: expected 32 bytes, got another length. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: TlogProof(index=0, hashes=(b"",), checkpoint_note=b""),
    ),
    refused(
        LimitError,
        "extra of the proof: expected at most 49146 bytes, got 49147. Check that it is what you meant: the limit cannot be changed",
        lambda _: TlogProof(index=0, hashes=(), checkpoint_note=b"", extra=bytes(MAX_EXTRA_BYTES + 1)),
    ),
    refused(
        LimitError,
        "proof file: expected at most 1179648 bytes, got 2097152 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_proof(bytes(2 << 20)),
    ),
    refused(
        MalformedError,
        "proof file: expected ASCII before the checkpoint, got other bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_proof(b"\xff\n\n"),
    ),
    refused(
        MalformedError,
        "proof file: expected c2sp.org/tlog-proof@v1, and a checkpoint after a blank line, got PNG. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_proof(b"PNG\n\n"),
    ),
    refused(
        MalformedError,
        "proof file: expected a line with the index, got nothing. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _proof([]),
    ),
    refused(
        MalformedError,
        "proof file: expected a line with the index, got index. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _proof(["extra AAAA", "index", "7"]),
    ),
    refused(
        LimitError,
        "hashes of the proof: expected at most 64, got 65. Check that it is what you meant: the limit cannot be changed",
        lambda _: _proof(["index 0", *[format_base64(bytes(32))] * 65]),
    ),
)

# Tiles

TILES = (
    refused(
        MalformedError,
        "tile level: expected 0 to 63, got 64. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Tile(level=64, index=0),
    ),
    refused(
        MalformedError,
        "tile index: expected 0 to 2^55 - 1, got 36028797018963968. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: EntryBundle(index=2**55),
    ),
    refused(
        MalformedError,
        "tile width: expected 1 to 256, got 257. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: Tile(level=0, index=0, width=257),
    ),
    refused(
        MalformedError,
        "tile path: expected tile/<L>/<N>[.p/<W>], got tile/0/1. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_path("tile/0/1"),
    ),
    refused(
        MalformedError,
        "tile path: expected tile/0/001, got tile/0/x000/001. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_path("tile/0/x000/001"),
    ),
    refused(
        MalformedError,
        "growth of a log: expected 0 <= old size <= 4, got 5. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: objects_for_growth(5, 4),
    ),
    refused(
        LimitError,
        "entry: expected at most 65535 bytes, got more. Check that it is what you meant: the limit cannot be changed",
        lambda _: format_bundle([bytes(65_536)]),
    ),
    refused(
        MalformedError,
        "entry bundle: expected to end at an entry's end, byte 4, got 3 bytes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_bundle(b"\0\2a", 1),
    ),
    refused(
        MalformedError,
        "entry bundle: expected 2 entries, got 1 entries. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: parse_bundle(b"\0\1a", 2),
    ),
    refused(
        MalformedError,
        "node: expected a complete subtree below size 5, got (0, 5). Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: TileReader(lambda _tile: [], 5)([(0, 5)]),
    ),
    refused(
        MalformedError,
        "tile tile/0/000.p/5: expected 5 hashes of 32 bytes, got 1 hashes. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: TileReader(lambda _tile: [bytes(32)], 5)([(0, 4)]),
    ),
)

# Policies

LOG_VKEY = KEY.format()
WITNESS_VKEY = COSIGNER.verifier.format()


def _policy(*lines):
    return parse_policy("\n".join([f"log {LOG_VKEY}", *lines, ""]).encode())


def _quorum_missing():
    policy = _policy(f"witness w {WITNESS_VKEY}", "quorum w")
    return policy.verify(NOTE, origin=ORIGIN)


POLICIES = (
    refused(
        SignatureError,
        "cosignatures of the checkpoint: expected the quorum w, got none by a known witness. Fetch a newer checkpoint: witnesses may sign a little later than the log",
        lambda _: _quorum_missing(),
    ),
    refused(
        MalformedError,
        "member of group g: expected a name defined before, got w. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy("group g any w", "quorum g"),
    ),
    refused(
        MalformedError,
        "member w: expected to be in one group only, got also in b. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy(f"witness w {WITNESS_VKEY}", "group a any w", "group b any w", "quorum b"),
    ),
    refused(
        MalformedError,
        "threshold of group a: expected 1 to 1, got 2. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy(f"witness w {WITNESS_VKEY}", "group a 2 w", "quorum a"),
    ),
    refused(
        MalformedError,
        "quorum: expected a defined name, or none, got w. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy("quorum w"),
    ),
    refused(
        MalformedError,
        "name in a policy: expected a new name other than none, got none. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy(f"witness none {WITNESS_VKEY}", "quorum none"),
    ),
    refused(
        MalformedError,
        "key of witness log.example: expected type 0x04 or 0x06, got type 0x01. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy(f"witness w {LOG_VKEY}", "quorum w"),
    ),
    refused(
        MalformedError,
        "key of log log.example: expected a public key listed once, got one listed before. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy(f"log {LOG_VKEY}", "quorum none"),
    ),
    refused(
        LimitError,
        "trust policy: expected at most 1048576 bytes, got 1048577 bytes. Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_policy(b"#" * (MAX_POLICY_BYTES + 1)),
    ),
    refused(
        LimitError,
        "trust policy: expected at most 1000 definitions, got more. Check that it is what you meant: the limit cannot be changed",
        lambda _: _policy(*[f"log {LOG_VKEY}"] * 1001),
    ),
    refused(
        MalformedError,
        "line 2 of the trust policy: expected log, witness, group or quorum, got wittness w. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy("wittness w", "quorum none"),
    ),
    refused(
        MalformedError,
        "trust policy: expected exactly one quorum line, got 0. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy(),
    ),
    refused(
        MalformedError,
        "witness w: expected to be defined before its group, got defined after it. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy("group g any w", f"witness w {WITNESS_VKEY}", "quorum g"),
    ),
    refused(
        MalformedError,
        "line 2 of the trust policy: expected no control characters, got one. Get it again from where it came; if it stays the same, tell whoever wrote it",
        lambda _: _policy("quorum \x07none"),
    ),
)

CASES = (*NOTES, *CHECKPOINTS, *MERKLE, *PROOFS, *TILES, *POLICIES)
