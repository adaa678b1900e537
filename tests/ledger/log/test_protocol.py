"""Each implementation of ``ledger.log.Log`` runs the same suite; what Rekor does not offer is said where it differs."""

import hashlib

import pytest

from ledger.bundle.bodies import SignedPayload, Verifier, dsse_v1, hashedrekord_v2
from ledger.encoding import parse_json
from ledger.entry import keyid_of, parse_entry
from ledger.log.fetch import fetch_from_url
from ledger.log.rekor_v1_reading import RekorV1Log
from ledger.log.rekor_v2 import RekorV2
from tests.fakes.rekor import FakeRekor
from tests.fakes.rekor_v1 import FakeRekorV1, FakeV1Tree
from tests.ledger.log import test_local as local
from tests.suites.log import SPKI, LogSuite, envelope_digest


def _nothing():
    """Nothing is needed: an answered entry is readable."""


class TestLocalLog(LogSuite):
    @pytest.fixture
    def opened(self, tmp_path):
        local.create(tmp_path)
        with local.Opened(tmp_path) as log:
            yield log, log.publish


class TestRekorV2(LogSuite):
    @pytest.fixture
    def opened(self):
        server = FakeRekor()
        shard = server.tree.shard()
        fetch = fetch_from_url(shard.read_url, transport=server.transport(), pause=lambda seconds: None)
        verifier = Verifier(SPKI)
        log = RekorV2(shard, server.tree.keys, signer=verifier, transport=server.transport(), fetch=fetch)
        return log, _nothing

    def leaf(self, data):
        """Rekor v2 keeps the digest, the signature and the key."""
        return hashedrekord_v2(envelope_digest(data), parse_entry(data).signature, Verifier(SPKI))


class TestRekorV1(LogSuite):
    @pytest.fixture
    def opened(self):
        with FakeRekorV1(trees=[FakeV1Tree()]).serve() as server:
            log = RekorV1Log(server.shard(), server.keys, signers={keyid_of(SPKI): SPKI})
            yield log, _nothing
            log.close()

    def leaf(self, data):
        """Rekor v1 keeps digests of the envelope's text and of the payload, the signature and the key."""
        signed = SignedPayload.of_entry(parse_json(data, what="entry", max_bytes=len(data)), SPKI)
        sent = hashlib.sha256(signed.envelope).hexdigest()
        return dsse_v1(signed.payload, signed.signature, signed.verifier, envelope_sha256=sent)
