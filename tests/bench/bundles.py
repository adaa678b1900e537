"""Sigstore bundles of public keys: what proving one costs, warm and as a whole cold process."""

import hashlib
import json
import pathlib
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.client.event_bundle import check_event_bundle
from ledger.client.expect import Expectation
from ledger.client.sigstore_bundle import check_bundle
from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from tests.bench.cold import medians
from tests.bench.measure import row, scratch, timed
from tests.sigstore_world import ARTIFACT, RekorTwo, event_bundle, pem, sign_file, trust_of, trusted_root
from tests.world import NOW, p256_key, spki_of

TIMES = 2001
LEAVES = 10_000


def verify_bundle():
    """A v2 entry offline, against its bare signatures; the cold command, against importing sigstore's verifier."""
    log = RekorTwo()
    for number in range(LEAVES):
        log.append(b"leaf %d" % number)
    raw, root = json.dumps(sign_file(log)).encode(), trusted_root(log)
    event, trust = event_bundle(log), parse_trust(format_trust(trust_of(log)))
    expected = (Expectation(key_sha256=hashlib.sha256(spki_of(p256_key("alice"))).digest()),)
    artifact = {"SHA2_256": hashlib.sha256(ARTIFACT).digest()}

    def other():
        result = check_bundle(parse_any_bundle(raw), root=root, artifact=artifact, expected=expected)
        assert result.satisfied

    def ours():
        assert check_event_bundle(parse_any_bundle(event), trust=trust, now=NOW, log_only=True).satisfied

    bare = timed(_signatures(log, raw), TIMES) * 1e3
    whole, own = timed(other, TIMES) * 1e3, timed(ours, TIMES) * 1e3
    with scratch() as folder:
        cold, sigstore = _cold(folder, raw, root)
    return [
        row(
            "a bundle of Rekor v2, a public key",
            f"{whole:.2f} ms",
            f"{bare:.2f} ms for 2 signatures",
            "≤ 1 ms more",
        ),
        row("an event of ours in Rekor v2", f"{own:.2f} ms", "4 signatures", "≤ 1 ms more"),
        row(
            "`hubledger verify --bundle`, a public key, cold",
            f"{cold:.0f} ms",
            f"{sigstore:.0f} ms importing sigstore.verify",
            "≤ 250 ms",
        ),
    ]


def _signatures(log, raw):
    """The two signatures of such a bundle and nothing else: the checkpoint's and the key's."""
    from ledger.encoding import parse_base64
    from ledger.tlog.signed_note import parse_note

    bundle = json.loads(raw)
    note = parse_note(
        bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["envelope"].encode()
    )
    signature = parse_base64(bundle["messageSignature"]["signature"])
    key, public = p256_key("alice").public_key(), log.key.public_key()
    digest, scheme = hashlib.sha256(ARTIFACT).digest(), ec.ECDSA(Prehashed(hashes.SHA256()))

    def verify():
        public.verify(note.signatures[0].signature, note.text)
        key.verify(signature, digest, scheme)

    return verify


def _cold(folder, raw, root):
    program = str(pathlib.Path(sys.executable).with_name("hubledger"))
    for name, data in (("b.json", raw), ("r.json", root), ("k.pem", pem("alice")), ("weights", ARTIFACT)):
        (folder / name).write_bytes(data)
    command = [
        *(program, "verify", "--bundle", str(folder / "b.json"), "--trusted-root", str(folder / "r.json")),
        *("--public-key", str(folder / "k.pem"), "--artifact", str(folder / "weights")),
    ]
    return medians(command, [sys.executable, "-c", "import sigstore.verify"])
