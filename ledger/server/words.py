"""How a revision stands, in the words of every interface: "Signed by", "Signer changed", "Unsigned", "Could not verify"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.event import VerificationEvent
from ledger.history import Row
from ledger.identity import SignerFacts, SigstoreFacts, canonical_identity, display, identity_digest, plain

SIGNED, CHANGED, UNSIGNED, UNVERIFIED = "Signed by", "Signer changed", "Unsigned", "Could not verify"
_CLAIMS = (
    "sourceRepositoryUri",
    "sourceRepositoryRef",
    "sourceRepositoryDigest",
    "buildSignerUri",
    "buildTrigger",
    "runnerEnvironment",
)
"""Of a certificate, what tells a reader more than the signer's name does."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One of the four words, and who."""

    word: str
    who: str = ""

    def __str__(self) -> str:
        match self.word, self.who:
            case _, "":
                return self.word
            case ("Signed by", who):
                return f"{SIGNED} {who}"
            case (word, who):
                return f"{word}: {who}"


def standing_of(row: Row) -> Standing | None:
    """Say how an event stands; None for a statement of another kind."""
    event = row.statement
    if not isinstance(event, VerificationEvent):
        return None
    if event.outcome == "VERIFIED":
        who = " and ".join(display(each) for each in row.signers)
        return Standing(CHANGED if row.change is not None or row.by_pinned is False else SIGNED, who)
    return Standing(UNVERIFIED if event.signatures else UNSIGNED)


def newest(rows: Sequence[Row]) -> Row | None:
    """Return the last event that speaks for the model: no proposal, and not the word of an observer."""
    return next(
        (
            row
            for row in reversed(rows)
            if isinstance(row.statement, VerificationEvent)
            and not row.statement.model.is_proposal
            and row.statement.common.recorded_by.role == "hub"
        ),
        None,
    )


def signers_of(event: VerificationEvent) -> list[dict[str, Any]]:
    """Return who signed, verified or claimed, with the fields of the certificate worth showing."""
    found = []
    for each in event.signatures:
        facts = each.signer or each.claimed_signer
        if facts is None:
            continue
        identity = canonical_identity(facts)
        shown: dict[str, Any] = {
            "identity": identity_digest(identity).hex(),
            "name": display(identity),
            "verified": each.outcome == "VERIFIED",
        }
        if each.method is not None:
            shown["method"] = each.method
        if (certificate := _certificate(facts)) is not None:
            shown["certificate"] = certificate
        found.append(shown)
    return found


def _certificate(facts: SignerFacts) -> dict[str, Any] | None:
    if not isinstance(facts, SigstoreFacts):
        return None
    shown: dict[str, Any] = {"issuer": plain(facts.issuer), "san": plain(facts.san)}
    if isinstance(facts.claims, tuple):
        shown |= {name: plain(value) for name, value in facts.claims if name in _CLAIMS}
    return shown
