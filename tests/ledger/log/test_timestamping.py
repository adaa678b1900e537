"""Timestamps: by an authority of the trusted root, over this signature, at a time when it was trusted."""

import asyncio
import base64
import json
from datetime import UTC, datetime

import httpx
import pytest

from ledger.errors import LedgerError, SignatureError, SourceError
from ledger.log.posting import Poster
from ledger.log.timestamping import Authority, request_timestamp, verify_timestamp
from ledger.log.trusted_root import read_instance
from tests.fakes.timestamp import CHAIN, RESPONSE

SIGNATURE = b"another signature"
URL = "http://stamps.example"


@pytest.fixture
def authority():
    return Authority(chain=CHAIN)


def test_a_timestamp_is_verified_whenever_it_is_read(authority):
    time = verify_timestamp(RESPONSE, SIGNATURE, authorities=[authority])
    assert time == verify_timestamp(RESPONSE, SIGNATURE, authorities=[authority, authority])
    assert time.tzinfo is not None


@pytest.mark.needs_samples
def test_a_timestamp_of_sigstores_own_authority(vectors):
    folder = vectors / "vectors/rekor-bundles/rekor2-dsse-happy-path"
    root = json.loads((folder / "trusted_root.json").read_text())
    bundle = json.loads((folder / "bundle.sigstore.json").read_text())
    (stamp,) = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    (signature,) = bundle["dsseEnvelope"]["signatures"]
    time = verify_timestamp(
        base64.b64decode(stamp["signedTimestamp"]),
        base64.b64decode(signature["sig"]),
        authorities=read_instance(root, None, where="").authorities,
    )
    assert time == datetime(2026, 5, 13, 19, 23, 33, tzinfo=UTC)


def test_over_another_signature(authority):
    with pytest.raises(SignatureError, match="Mismatch between messages"):
        verify_timestamp(RESPONSE, b"this signature", authorities=[authority])


def test_the_answer_to_another_question(authority):
    with pytest.raises(SignatureError, match="Nonce mismatch"):
        verify_timestamp(RESPONSE, SIGNATURE, authorities=[authority], nonce=7)


def test_by_an_authority_that_was_not_trusted_at_that_time(authority):
    at = int(verify_timestamp(RESPONSE, SIGNATURE, authorities=[authority]).timestamp())
    assert verify_timestamp(
        RESPONSE, SIGNATURE, authorities=[Authority(chain=CHAIN, valid_from=at, valid_until=at)]
    )
    for window in ({"valid_from": at + 1}, {"valid_until": at - 1}):
        with pytest.raises(SignatureError, match="no authority is trusted at that time"):
            verify_timestamp(RESPONSE, SIGNATURE, authorities=[Authority(chain=CHAIN, **window)])


@pytest.mark.needs_samples
def test_by_an_authority_that_nobody_named(vectors):
    root = json.loads((vectors / "vectors/rekor-bundles/production_trusted_root.json").read_text())
    others = read_instance(root, None, where="").authorities
    assert others
    window = [Authority(chain=each.chain) for each in others]
    with pytest.raises(SignatureError, match="timestamp: expected one by an authority of the trusted root"):
        verify_timestamp(RESPONSE, SIGNATURE, authorities=window)


def test_every_changed_bit_is_refused(authority):
    """Each byte of the response, but for the few that say nothing which is signed or used."""
    taken = []
    for at in range(len(RESPONSE)):
        changed = RESPONSE[:at] + bytes([RESPONSE[at] ^ 1]) + RESPONSE[at + 1 :]
        try:
            time = verify_timestamp(changed, SIGNATURE, authorities=[authority])
        except LedgerError:
            continue
        taken.append((at, time))
    truth = verify_timestamp(RESPONSE, SIGNATURE, authorities=[authority])
    assert {time for _, time in taken} <= {truth}, "whatever was changed, the time and the signature are not"
    assert len(taken) < len(RESPONSE) / 20


def ask(authority, *, status=200, kind="application/timestamp-reply", body=RESPONSE):
    async def run():
        asked = []

        def answer(request):
            asked.append(request)
            return httpx.Response(status, headers={"content-type": kind}, stream=httpx.ByteStream(body))

        poster = Poster(1, max_bytes=1 << 20, transport=httpx.MockTransport(answer))
        try:
            await request_timestamp(SIGNATURE, url=URL, authorities=[authority], poster=poster)
        finally:
            await poster.close()
            assert asked[0].headers["content-type"] == "application/timestamp-query"

    asyncio.run(run())


def test_an_old_response_is_no_answer_to_a_new_question(authority):
    """A replayed one is over the right signature, and still says nothing of now."""
    with pytest.raises(SignatureError, match="Nonce mismatch"):
        ask(authority)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": 500}, "got 500 and application/timestamp-reply"),
        ({"kind": "text/html"}, "got 200 and text/html"),
    ],
)
def test_what_is_no_answer_is_to_be_tried_again(authority, changes, reason):
    with pytest.raises(SourceError, match=reason):
        ask(authority, **changes)
