"""Asks sigstore-python and us about every mutation of the bundles of others: each difference is a row of decision 0006."""

import copy
import functools
import json
import logging
import re

import pytest
from sigstore.errors import Error
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
from sigstore_models.trustroot.v1 import TrustedRoot as RawTrustedRoot

from ledger.encoding import parse_base64
from ledger.errors import LedgerError
from ledger.tlog.merkle import leaf_hash, root_from_inclusion
from tests.bundle_mutations import mutations
from tests.conftest import REPOSITORY
from tests.keyless_world import KINDS, Keyless
from tests.ledger.client.test_sigstore_bundle import (
    BITS,
    BUNDLES,
    SIGNER,
    SWAPPED_WITH,
    bundle_of,
    check,
    known,
)

ROWS = re.findall(
    r"^\| `(.+)` \| .+ \|$",
    (REPOSITORY / "docs/decisions/0006-any-sigstore-bundle.md")
    .read_text(encoding="utf-8")
    .partition("## sigstore-python accepts, we refuse")[2],
    re.MULTILINE,
)


def with_a_lie(bundle):
    """Another size and index beside the proof that lead to the same root: a place where the entry is not."""
    bent = copy.deepcopy(bundle)
    entry = bent["verificationMaterial"]["tlogEntries"][0]
    proof = entry["inclusionProof"]
    hashes = [parse_base64(each) for each in proof["hashes"]]
    leaf = leaf_hash(parse_base64(entry["canonicalizedBody"]))
    root, index, size = parse_base64(proof["rootHash"]), int(proof["logIndex"]), int(proof["treeSize"])
    for other in range(max(0, index - 4096), index + 4096):
        for wrong in range(other + 1, size + 4096, max(1, size // 64)) if other != index else ():
            if _leads_to(root, leaf, other, wrong, hashes):
                proof |= {"logIndex": str(other), "treeSize": str(wrong)}
                entry["logIndex"] = (
                    str(other) if entry["kindVersion"]["version"] == "0.0.2" else entry["logIndex"]
                )
                return bent
    return None


def _leads_to(root, leaf, index, size, hashes):
    try:
        return root_from_inclusion(leaf, index=index, size=size, proof=hashes) == root
    except LedgerError:
        return False


@functools.cache
def verifier(vectors, case):
    root = RawTrustedRoot.from_json(known(vectors, case)["root"])
    return Verifier(trusted_root=TrustedRoot(root))


def they_accept(vectors, case, raw):
    signer = policy.Identity(identity=SIGNER.signer, issuer=SIGNER.issuer)
    try:
        bundle = Bundle.from_json(raw)
        if "dsseEnvelope" in json.loads(raw):
            verifier(vectors, case).verify_dsse(bundle, signer)
        else:
            signed = (vectors / "vectors/rekor-bundles/a.txt").read_bytes()
            verifier(vectors, case).verify_artifact(signed, bundle, signer)
    except Error:
        return False
    except Exception:
        return False
    return True


def we_accept(vectors, case, raw):
    try:
        return check(vectors, case, raw).satisfied
    except LedgerError:
        return False


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a certificate that was bent
def test_each_difference_is_a_row(vectors):
    logging.getLogger("sigstore").setLevel(logging.CRITICAL)
    unused, unexplained = set(ROWS), []
    for case in BUNDLES:
        bundle = bundle_of(vectors, case)
        bent = list(mutations(bundle, bundle_of(vectors, SWAPPED_WITH[case]), bits=min(BITS, 12)))
        lie = with_a_lie(bundle)
        for name, value in [*bent, *([("lying size and index", lie)] if lie else [])]:
            raw = json.dumps(value).encode()
            theirs, ours = they_accept(vectors, case, raw), we_accept(vectors, case, raw)
            assert theirs or not ours, f"only we accept {name} of {case}"
            if theirs and not ours:
                rows = [row for row in ROWS if re.fullmatch(row.replace(r"\|", "|"), name)]
                unused -= set(rows)
                unexplained += [] if rows else [f"{case}: {name}"]
    assert not unexplained, "sigstore-python accepts, we refuse, and decision 0006 has no row"
    assert not unused, "rows of decision 0006 that nothing showed"


SAID_AGAIN = {
    "intoto": "Integrated time only supported for dsse/hashedrekord 0.0.1 types",
    "old intoto": "Integrated time only supported for dsse/hashedrekord 0.0.1 types",
    "a digest of a statement": "Unsupported DSSE log entry type: hashedrekord/0.0.1",
}
"""The kinds of entries that we say again for sigstore-python, and what it says of them as they are."""


@pytest.mark.parametrize("kind", SAID_AGAIN)
def test_an_entry_that_is_said_again_is_one_that_sigstore_python_does_not_read(kind):
    """When it reads them one day, this fails, and ``restated`` has work less."""
    world = Keyless()
    theirs = Verifier(trusted_root=TrustedRoot(RawTrustedRoot.from_json(world.root)))
    bundle = Bundle.from_json(json.dumps(world.bundle(kind)))
    with pytest.raises(Error, match=SAID_AGAIN[kind]):
        theirs.verify_dsse(bundle, policy.UnsafeNoOp())


@pytest.mark.parametrize("kind", KINDS)
def test_a_promise_alone_is_none_that_sigstore_python_reads(kind):
    with pytest.raises(Error, match=r"inclusionProof\s+Field required"):
        Bundle.from_json(json.dumps(Keyless().bundle(kind, version="0.1", proven=False)))
