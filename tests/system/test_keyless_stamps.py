"""A keyless bundle of an old entry whose only time is a real authority's: nothing that we say again gives it another."""

import json
import time

import httpx
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.client.expect import Expectation
from ledger.client.result import LogResult
from ledger.client.sigstore_bundle import check_bundle
from ledger.encoding import format_base64, parse_base64
from tests.keyless_world import IDENTITY, ISSUER, Keyless
from tests.system.rekor import timestamp_server, trusted_root


def stamp(url, signature):
    request = TimestampRequestBuilder().data(signature).hash_algorithm(HashAlgorithm.SHA256).build()
    headers = {"content-type": "application/timestamp-query"}
    answer = httpx.post(url, content=request.as_bytes(), headers=headers, timeout=30)
    assert answer.status_code in (200, 201), answer.text
    return answer.content


def check(bundle, root):
    expected = (Expectation(signer=IDENTITY, issuer=ISSUER),)
    return check_bundle(parse_any_bundle(json.dumps(bundle).encode()), root=root, expected=expected)


def test_an_authoritys_time_alone_is_enough_and_is_the_one_that_counts(tmp_path):
    with timestamp_server(tmp_path) as authority:
        for age, log in ((0, LogResult.INCLUDED_ONLY), (3600, LogResult.INVALID)):
            world = Keyless(at=int(time.time()) - age)
            bundle = world.bundle("intoto")
            material = bundle["verificationMaterial"]
            entry = material["tlogEntries"][0]
            del entry["inclusionPromise"], entry["integratedTime"]
            entry["logIndex"] = entry["inclusionProof"]["logIndex"]
            signature = parse_base64(bundle["dsseEnvelope"]["signatures"][0]["sig"])
            made = format_base64(stamp(authority.url, signature))
            material["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": made}]}
            more = {"timestampAuthorities": trusted_root([], [authority])["timestampAuthorities"]}
            result = check(bundle, json.dumps(json.loads(world.root) | more).encode())
            assert (result.log, len(result.timestamps)) == (log, 1), result.failure
            assert result.satisfied is (log is LogResult.INCLUDED_ONLY)
