"""Verifying one signature, warm: keyless ones beside sigstore-python alone, one by a key, one by a certificate."""

import hashlib
import logging
import os
import pathlib
import statistics
import tempfile
import time

from cli.demo_world import DemoSigstore
from ledger.bundle import parse_bundle
from ledger.bundle.signature import verify_signature
from ledger.bundle.statement import parse_statement
from ledger.bundle.trust_material import TrustMaterial
from ledger.verification import judge
from ledger.verification.reading import FoundBundle, read_revision
from tests import oms
from tests.bench.measure import row
from tests.conftest import REPOSITORY

TIMES = 400


def _interleaved(*works):
    """Return the median seconds of each work, taken in turn and warm, so that a slow moment meets them all."""
    for work in works:
        work()
    taken = [[] for _ in works]
    for _ in range(TIMES):
        for work, seconds in zip(works, taken, strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in taken]


class _Bench:
    """One model, and what verifies a signature on it: from the bundle's bytes to who signed, or to the outcome."""

    def __init__(self, model, trust):
        self.trust = trust
        self.manifest, _, self.files = read_revision(model)

    def who_signed(self, raw):
        """As far as sigstore-python goes: the bundle, its statement's type, the signature, the log entry."""

        def verify():
            bundle = parse_bundle(raw)
            verify_signature(bundle, self.trust, predicate_type=parse_statement(bundle).predicate_type)

        return verify

    def outcome(self, raw):
        """All of it, with the comparison of three files that were hashed before."""
        found = FoundBundle(path="model.sig", sha256=hashlib.sha256(raw).digest(), raw=raw)

        def verify():
            assert judge(self.manifest, [found], self.files, trust=self.trust).signatures[0].signer

        return verify


def _theirs(raw, root):
    from sigstore.models import Bundle
    from sigstore.verify import Verifier, policy

    verifier = Verifier(trusted_root=root)
    return lambda: verifier.verify_dsse(Bundle.from_json(raw), policy.UnsafeNoOp())


def _keyless(name, bench, raw, root):
    who, outcome, alone = _interleaved(bench.who_signed(raw), bench.outcome(raw), _theirs(raw, root))
    against = f"sigstore-python, {alone * 1e3:.2f} ms"
    return [
        row(
            f"{name}: who signed / sigstore-python alone",
            f"{who / alone:.2f} ({who * 1e3:.2f} ms)",
            against,
            "≤ 1.3",
        ),
        row(
            f"{name}: whole verification / the same",
            f"{outcome / alone:.2f} ({outcome * 1e3:.2f} ms)",
            against,
            "",
        ),
    ]


def bundles():
    """The files are hashed before; a real bundle of the public instance is measured where the samples are."""
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore_models.trustroot.v1 import TrustedRoot as RawTrustedRoot

    logging.getLogger("sigstore").setLevel(logging.ERROR)
    rows = []
    real = pathlib.Path(os.environ.get("HUBLEDGER_VECTORS", REPOSITORY.parent / "shared"))
    real /= "samples/oms-released/v1.0.0-sigstore"
    if real.is_dir():
        root = ClientTrustConfig.production(offline=True).trusted_root
        raw = (real / "model.sig").read_bytes()
        rows += _keyless("a bundle of the public Sigstore", _Bench(real, TrustMaterial()), raw, root)
    with tempfile.TemporaryDirectory() as folder:
        model = oms.write_model(pathlib.Path(folder) / "model")
        key, anchor, sigstore = oms.new_key(), oms.authority(), DemoSigstore()
        middle = oms.authority("Middle", anchor)
        leaf = oms.certify("leaf", middle)
        trust = TrustMaterial(
            public_keys=[oms.public_pem(key)], anchors=[anchor.pem], sigstore_json=sigstore.trusted_root()
        )
        bench, statement = _Bench(model, trust), oms.statement(model)
        raw = sigstore.sign(oms.raw(statement), identity="a@acme.example", issuer="https://issuer.example")
        root = TrustedRoot(RawTrustedRoot.from_json(sigstore.trusted_root()))
        rows += _keyless("a bundle of a P-256 instance", bench, raw, root)
        by_key, by_certificate = _interleaved(
            bench.outcome(oms.raw(oms.key_bundle(statement, key))),
            bench.outcome(oms.raw(oms.certificate_bundle(statement, leaf, middle))),
        )
    return [
        *rows,
        row("a key bundle: whole verification", f"{by_key * 1e3:.2f} ms", "", "≤ 5 ms and the hashing"),
        row("a certificate bundle: whole verification", f"{by_certificate * 1e3:.2f} ms", "", ""),
    ]
