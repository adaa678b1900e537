"""Refusals of attestations: what is asked for, and what is read."""

import json

from cli.main import group
from ledger.attestation import EXTENSION, Form, Pointer, check_seconds, format_attestation
from ledger.attestation.envelope import format_bundle, parse_attestation
from ledger.attestation.levels import levels_of
from ledger.embedded.attesting import write_attestation
from ledger.encoding import format_canonical_json
from ledger.errors import LimitError, MalformedError, NotFoundError, UsageError
from ledger.server.checks import Checks
from ledger.server.histories import Histories
from ledger.server.messages import Request
from ledger.server.views import View
from tests import world
from tests.refusals import of_outbox
from tests.refusals.table import refused

AGAIN = "Get it again from where it came; if it stays the same, tell whoever wrote it"
EVENT = world.make_event(world.signed_by(world.key_signer("alice")))
POINTER = Pointer(
    hub=world.HUB,
    revision="r",
    ledger=world.LEDGER,
    leaf_index=1,
    leaf_hash=bytes(32),
    policy_sha256=bytes(32),
)
AT = "2026-01-02T03:04:05Z"


def _format(event=EVENT, form=Form.VSA):
    return format_attestation(
        event, POINTER, form=form, levels=levels_of(event, by_pinned=None), made=AT, expires=AT
    )


def _bundle(payload):
    return format_bundle(payload, keyid="00" * 32, signature=b"signature")


def _read(*path, value):
    whole = json.loads(_format())
    at = whole
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return lambda _: parse_attestation(_bundle(format_canonical_json(whole)))


def _malformed(text, trigger):
    return refused(MalformedError, f"{text}. {AGAIN}", trigger)


def _escaped(scene):
    event = world.make_event(world.signed_by(world.key_signer("alice")), name="acme/%C3%A9")
    path = scene.write("a.vsa", _bundle(_format(event)))
    group.main(args=["verify", "model", "--attestation", str(path)], standalone_mode=False)


def _write(scene, **asked):
    ledger = scene.watch(scene.ledger())
    known = {"name": "acme/tiny", "revision": None, "form": Form.VSA} | asked
    write_attestation(ledger, output=scene.folder / "out", **known)


def _check_of_no_revision(scene):
    view = View(scene.watch(scene.ledger()))
    wanted = {"model": b"acme/tiny", "revision": b"r7"}
    request = Request(method="GET", path="/v1/check", query="", headers={}, body=_nothing(), wanted=wanted)
    Checks(view, Histories(view)).check(request)


async def _nothing():
    yield b""


CASES = (
    refused(
        UsageError,
        "simple verification result: expected a revision that the hub accepts: the form lists what has passed, got "
        "UNSIGNED, observed. Ask for the form vsa, which can say FAILED",
        lambda _: _format(world.make_event(), Form.SVR),
    ),
    refused(
        LimitError,
        "age limit of an attestation: expected 1 to 31622400 seconds, got 0. Check that it is what you meant: the limit cannot be changed",
        lambda _: check_seconds(0),
    ),
    _malformed(
        "attestation: expected a Sigstore bundle with a DSSE envelope, got another form",
        lambda _: parse_attestation(b"{}"),
    ),
    _malformed(
        "statement of the attestation: expected https://in-toto.io/Statement/v1 with "
        "https://slsa.dev/verification_summary/v1 or https://in-toto.io/attestation/svr/v0.2, got another",
        _read("predicateType", value="https://example.org"),
    ),
    _malformed(
        "predicate of the attestation: expected a vsa, got another form",
        _read("predicate", "verificationResult", value="MAYBE"),
    ),
    _malformed(
        f"field {EXTENSION} of the attestation: expected where the event is, got None",
        _read("predicate", EXTENSION, value=None),
    ),
    _malformed(
        "time of the attestation: expected YYYY-MM-DDTHH:MM:SSZ, got 2026-13-02T03:04:05Z",
        _read("predicate", "timeVerified", value="2026-13-02T03:04:05Z"),
    ),
    refused(
        UsageError,
        "--attestation: expected --name beside it: the model's name has been escaped where it is recorded, got none. "
        "Name the model as the hub calls it",
        _escaped,
    ),
    refused(
        UsageError,
        "attestation: expected a ledger with a log of its own, got one in Rekor (rekor-v2). Hand out the Sigstore bundle "
        "of the event, which `hubledger proof` writes",
        lambda scene: write_attestation(
            of_outbox._ledger(scene), "acme/tiny", None, form=Form.VSA, output=scene.folder / "out"
        ),
    ),
    refused(
        NotFoundError,
        "event of acme/tiny: expected a recorded revision, got none such. Check the name, and that it has been recorded and published",
        _check_of_no_revision,
    ),
    refused(
        NotFoundError,
        "event of acme/tiny at r7: expected a recorded revision, got none such. Check the name, and that it has been recorded and published",
        lambda scene: _write(scene, revision="r7"),
    ),
)
