"""Refusals of a ledger in Rekor that strangers and mishaps bring about: halves of characters, numbers of nothing."""

import json

from ledger.bundle.any_bundle import parse_any_bundle
from ledger.embedded.submitting import drop_event
from ledger.errors import MalformedError, NotFoundError
from tests.refusals.of_bundles import AGAIN
from tests.refusals.of_outbox import _ledger
from tests.refusals.table import refused
from tests.sigstore_world import RekorTwo, sign_payload


def _half_a_character(_):
    bundle = sign_payload(RekorTwo())
    bundle["dsseEnvelope"]["payloadType"] = "\ud83d"
    return parse_any_bundle(json.dumps(bundle).encode())


CASES = (
    refused(
        MalformedError,
        f"payload type of the bundle: expected UTF-8, got \\xd83d. {AGAIN}",
        _half_a_character,
    ),
    refused(
        NotFoundError,
        "number 99: expected a number below 1, got one that was not accepted. Check the name, and that it has been recorded and published",
        lambda scene: drop_event(scene.watch(_ledger(scene)), "99", reason="code"),
    ),
)
