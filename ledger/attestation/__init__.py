"""What a hub signs about one revision for tools that know nothing of ledgers: docs/spec/attestation.md.

A SLSA Verification Summary v1, or a Simple Verification Result v0.2, in a DSSE envelope in a Sigstore bundle. It names an event
of the ledger, and by itself is only the hub's word: our client goes to that event. Pure.
"""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from ledger.encoding import Json, format_canonical_json
from ledger.errors import LimitError, UsageError
from ledger.event import VerificationEvent

STATEMENT = "https://in-toto.io/Statement/v1"
EXTENSION = "https://hubledger/attestation/v1"
"""Name of the field that points at the event: both formats let a producer add fields that are named by a URI."""
DEFAULT_SECONDS = 7 * 86_400
MAX_SECONDS = 366 * 86_400
"""How long an attestation may say that it is good for: what a hub said a year ago is no answer to anything."""


class Form(StrEnum):
    """The two predicates."""

    VSA = "vsa"
    SVR = "svr"


PREDICATES = {
    Form.VSA: "https://slsa.dev/verification_summary/v1",
    Form.SVR: "https://in-toto.io/attestation/svr/v0.2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Where the event is: the ledger, its leaf, the hash of that leaf, and the policy that was in force for it.

    ``hub`` and ``revision``, as recorded, say what to ask for.
    """

    hub: str
    revision: str
    ledger: str
    leaf_index: int
    leaf_hash: bytes
    policy_sha256: bytes

    def as_json(self) -> dict[str, Json]:
        """Return the pointer as the extension has it."""
        return {
            "hub": self.hub,
            "revision": self.revision,
            "ledger": self.ledger,
            "leafHash": self.leaf_hash.hex(),
            "leafIndex": self.leaf_index,
            "policySha256": self.policy_sha256.hex(),
        }


def verifier_id(hub: str) -> str:
    """Return the URI of a hub as a verifier."""
    return f"https://hubledger/hub/{quote(hub, safe='')}"


def resource_uri(hub: str, name: str, revision: str) -> str:
    """Return the URI of one revision of a model; name and revision are as they are recorded."""
    return f"https://hubledger/model/{quote(hub, safe='')}/{quote(name, safe='/')}?revision={quote(revision, safe='')}"


def is_passed(event: VerificationEvent) -> bool:
    """Whether the hub accepts the revision (architecture section 8, ACCEPTED, as far as the hub decides it)."""
    decided = event.policy.decision in ("observed", "accepted")
    return event.outcome == "VERIFIED" and decided and not event.model.is_proposal


def format_attestation(
    event: VerificationEvent,
    pointer: Pointer,
    *,
    form: Form,
    levels: tuple[str, ...],
    made: str,
    expires: str,
) -> bytes:
    """Return the statement to sign. ``made`` and ``expires`` are RFC 3339 in UTC, as events have times.

    Raises:
        UsageError: a result that has not passed, which the form has no words for (SVR).
    """
    predicate = _vsa(event, levels, made) if form is Form.VSA else _svr(event, levels, made)
    predicate[EXTENSION] = {**pointer.as_json(), "expires": expires}
    return format_canonical_json(
        {
            "_type": STATEMENT,
            "subject": [
                {"name": f"{event.model.name}", "digest": {"sha256": event.manifest.sha256.hex()}},
            ],
            "predicateType": PREDICATES[form],
            "predicate": predicate,
        }
    )


def _policy(event: VerificationEvent) -> dict[str, Json]:
    sha256 = event.policy.sha256.hex()
    return {"uri": f"https://hubledger/policy/{sha256}", "digest": {"sha256": sha256}}


def _vsa(event: VerificationEvent, levels: tuple[str, ...], made: str) -> dict[str, Json]:
    common, model = event.common, event.model
    predicate: dict[str, Json] = {
        "verifier": {
            "id": verifier_id(common.hub_id),
            "version": {event.verifier.name: event.verifier.version},
        },
        "timeVerified": made,
        "resourceUri": resource_uri(common.hub_id, model.name, model.revision),
        "policy": _policy(event),
        "verificationResult": "PASSED" if is_passed(event) else "FAILED",
        "verifiedLevels": list(levels) if is_passed(event) else ["FAILED"],
    }
    if event.signatures and event.more_signatures is None:
        # The specification: where the list is there, it has all that were used.
        predicate["inputAttestations"] = [
            {"digest": {"sha256": each.bundle_sha256.hex()}} for each in event.signatures
        ]
    return predicate


def _svr(event: VerificationEvent, levels: tuple[str, ...], made: str) -> dict[str, Json]:
    if not is_passed(event):
        raise UsageError(
            "simple verification result",
            expected="a revision that the hub accepts: the form lists what has passed",
            actual=f"{event.outcome}, {event.policy.decision}",
            next_step="Ask for the form vsa, which can say FAILED",
        )
    return {
        "verifier": {"id": verifier_id(event.common.hub_id), "policies": [_policy(event)]},
        "timeCreated": made,
        "properties": list(levels),
    }


def check_seconds(seconds: int) -> int:
    """Return how long an attestation is good for. Raises LimitError."""
    if not 1 <= seconds <= MAX_SECONDS:
        raise LimitError(
            "age limit of an attestation", expected=f"1 to {MAX_SECONDS} seconds", actual=seconds
        )
    return seconds
