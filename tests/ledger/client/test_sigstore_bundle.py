"""Any Sigstore bundle: those of others verify, and every mutation that changes a verified fact is refused."""

import functools
import hashlib
import json
import os
import re

import pytest

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.client.expect import Expectation
from ledger.client.result import LogResult, ModelResult
from ledger.client.roots import production_root
from ledger.client.sigstore_bundle import check_bundle
from ledger.errors import InputError
from tests.bundle_mutations import mutations

SIGNER = Expectation(
    signer="https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/"
    "extremely-dangerous-oidc-beacon.yml@refs/heads/main",
    issuer="https://token.actions.githubusercontent.com",
)
BUNDLES = {
    "happy-path-v0.3": "hashedrekord 0.0.1",
    "happy-path-intoto-in-dsse-v3": "dsse 0.0.1",
    "rekor2-happy-path": "hashedrekord 0.0.2",
    "rekor2-checkpoint-cosigned": "hashedrekord 0.0.2",
    "rekor2-dsse-happy-path": "hashedrekord 0.0.2",
}
SWAPPED_WITH = {
    "happy-path-v0.3": "happy-path-intoto-in-dsse-v3",
    "happy-path-intoto-in-dsse-v3": "happy-path-v0.3",
    "rekor2-happy-path": "rekor2-dsse-happy-path",
    "rekor2-checkpoint-cosigned": "rekor2-dsse-happy-path",
    "rekor2-dsse-happy-path": "rekor2-happy-path",
}
BITS = int(os.environ.get("HUBLEDGER_MUTATED_BITS", "64"))
"""Bits that are flipped in each value; 10000 flips one in every byte."""


def check(vectors, case, raw, **changed):
    """Check a bundle as somebody who has the artifact and expects the right signer."""
    return check_bundle(parse_any_bundle(raw), **{**known(vectors, case), **changed})


@functools.cache
def known(vectors, case):
    folder = vectors / "vectors/rekor-bundles"
    root = folder / case / "trusted_root.json"
    signed = (folder / "a.txt").read_bytes()
    return {
        "root": (root if root.exists() else folder / "production_trusted_root.json").read_bytes(),
        "artifact": {
            "SHA2_256": hashlib.sha256(signed).digest(),
            "SHA2_512": hashlib.sha512(signed).digest(),
        },
        "expected": (SIGNER,),
    }


def bundle_of(vectors, case):
    return json.loads((vectors / f"vectors/rekor-bundles/{case}/bundle.sigstore.json").read_bytes())


def facts(result):
    """Everything that a result says was verified."""
    return (
        result.log,
        result.signature,
        result.satisfied,
        str(result.signer),
        result.signer and result.signer.facts,
        result.content.signature,
        getattr(result.content, "payload", None),
        getattr(result.content, "payload_type", None),
        result.digest,
        result.subjects,
        [
            (each.tree, each.leaf_index, each.index, each.kind, each.body, each.integrated_time)
            for each in result.entries
        ],
        result.timestamps,
    )


@pytest.mark.parametrize("case", BUNDLES)
def test_a_bundle_of_others_verifies(vectors, case):
    result = check(vectors, case, json.dumps(bundle_of(vectors, case)).encode())
    assert (result.log, result.signature) == (LogResult.INCLUDED_ONLY, ModelResult.ACCEPTED)
    assert result.satisfied
    assert [" ".join(each.kind) for each in result.entries] == [BUNDLES[case]]
    proof = bundle_of(vectors, case)["verificationMaterial"]["tlogEntries"][0]
    assert str(result.entries[0].index) == proof["logIndex"]
    assert str(result.entries[0].leaf_index) == proof["inclusionProof"]["logIndex"]


HARMLESS = {
    r"mediaType swapped": "two spellings of version 0.3",
    r"messageSignature/messageDigest removed": "the artifact is at hand, and it is the one that was signed",
    r"note/signature 0 twice": "the log's signature counts once",
    r"note/signature [1-9].*|note/with a signature by a stranger": "signatures that are not the log's are not read: no "
    "witness is in the trusted root",
    r".*/rfc3161Timestamps/0/signedTimestamp bit \d+": "certificates beside the authority's signature, which comes from the "
    "trusted root",
}
"""What may be changed without changing a fact, by the names of the mutations, and why."""


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a certificate that was bent
def test_every_mutation_that_changes_a_fact_is_refused(vectors):
    unused = set(HARMLESS)
    for case in BUNDLES:
        accepted = list(mutations_that_verify(vectors, case))
        explained = {name: [rule for rule in HARMLESS if re.fullmatch(rule, name)] for name in accepted}
        assert not [name for name, rules in explained.items() if not rules], (
            f"accepted in {case} without a reason"
        )
        unused -= {rule for rules in explained.values() for rule in rules}
    assert not unused, "refused, and said to be harmless"


def mutations_that_verify(vectors, case):
    """Yield the names of those that are accepted; each must have the facts of the bundle as it was."""
    bundle, other = bundle_of(vectors, case), bundle_of(vectors, SWAPPED_WITH[case])
    whole = facts(check(vectors, case, json.dumps(bundle).encode()))
    count = 0
    for name, bent in mutations(bundle, other, bits=BITS):
        count += 1
        try:
            result = check(vectors, case, json.dumps(bent).encode())
        except InputError:
            continue
        if result.satisfied:
            assert facts(result) == whole, f"{name} of {case} is accepted and says something else"
            yield name
        else:
            gone = re.fullmatch(r"verificationMaterial/tlogEntries(/0)? removed", name)
            assert result.log is (LogResult.CANNOT_CHECK if gone else LogResult.INVALID), name
            assert (result.signature, result.signer) == (ModelResult.NOT_CHECKED, None), name
    assert count > 300, "the bundle was hardly bent"


SAMPLES = {
    "oms/fake-sigstore/sigstore-rekor-v1.model.sig": ("oms/fake-sigstore/trusted_root.json", "dsse 0.0.1"),
    "oms/fake-sigstore/sigstore-rekor-v2.model.sig": (
        "oms/fake-sigstore/trusted_root.json",
        "hashedrekord 0.0.2",
    ),
    "oms-released/v0.3.1-sigstore/model.sig": (None, "dsse 0.0.1"),
    "oms-released/v1.0.0-sigstore/model.sig": (None, "dsse 0.0.1"),
    "oms-released/v1.0.1-sigstore/model.sig": (None, "dsse 0.0.1"),
}
"""Signatures of models by model-signing: (the trusted root, None for production's, and the kind of the log entry)."""


@pytest.mark.parametrize("name", SAMPLES)
def test_a_keyless_signature_of_a_model_verifies_as_any_bundle(vectors, name):
    root, kind = SAMPLES[name]
    result = check_bundle(
        parse_any_bundle((vectors / "samples" / name).read_bytes()),
        root=(vectors / "samples" / root).read_bytes() if root else production_root(),
        log_only=True,
    )
    assert result.satisfied, result.failure
    assert [" ".join(each.kind) for each in result.entries] == [kind]
    assert result.subjects.predicate_type == "https://model_signing/signature/v1.0"


@pytest.mark.parametrize("name", ["oms/key-p256.model.sig", "oms-released/v1.0.1-elliptic-key/model.sig"])
def test_a_signature_of_a_model_by_a_key_has_no_log_entry(vectors, name):
    bundle = parse_any_bundle((vectors / "samples" / name).read_bytes())
    result = check_bundle(bundle, root=production_root(), log_only=True)
    assert (result.log, result.failure.step) == (LogResult.CANNOT_CHECK, "log entry of the bundle")
