"""Findings without names: each identity becomes a commitment, and what would give it away is left out.

The commitment is constant within one ``name:`` history, so that a change of signer stays visible, and differs between
histories, so that nobody can follow a signer from model to model (architecture section 2, "Privacy").
"""

from collections.abc import Callable
from dataclasses import replace

from ledger.encoding import Json, format_canonical_json, parse_canonical_json
from ledger.event import SignatureFact, VerificationEvent
from ledger.identity import CommittedFacts, SignerFacts, canonical_identity, overflow_value, parse_signer
from ledger.storage.identities import IdentityKeys
from ledger.verification import Findings

MAX_LIST_BYTES = 1 << 30
_Commit = Callable[[SignerFacts], CommittedFacts]


def commit_findings(findings: Findings, *, history: str, keys: IdentityKeys) -> Findings:
    """Return the findings with every identity committed; explanations and places in other logs are left out.

    Raises:
        WriteError: a key could not be stored.
    """

    def commit(facts: SignerFacts) -> CommittedFacts:
        return CommittedFacts(commitment=keys.commitment(history, canonical_identity(facts)))

    evidence, more = findings.evidence, findings.more_signatures
    if more is not None:  # the list of the signatures past the sixteenth is the last piece
        rest = parse_canonical_json(evidence[-1], what="further signatures", max_bytes=MAX_LIST_BYTES)
        listed = [_commit_json(each, commit) for each in rest]
        evidence, more = (*evidence[:-1], format_canonical_json(listed)), overflow_value(listed)
    return replace(
        findings,
        signatures=tuple(_commit_fact(each, commit) for each in findings.signatures),
        more_signatures=more,
        evidence=evidence,
        explanations=(),
    )


def commit_signatures(
    signatures: tuple[SignatureFact, ...], *, history: str, keys: IdentityKeys
) -> tuple[SignatureFact, ...]:
    """Return signatures with every identity committed, as ``commit_findings`` does. Raises WriteError."""

    def commit(facts: SignerFacts) -> CommittedFacts:
        if isinstance(facts, CommittedFacts):
            return facts
        return CommittedFacts(commitment=keys.commitment(history, canonical_identity(facts)))

    return tuple(_commit_fact(each, commit) for each in signatures)


def _commit_fact(fact: SignatureFact, commit: _Commit) -> SignatureFact:
    return replace(
        fact,
        signer=None if fact.signer is None else commit(fact.signer),
        claimed_signer=None if fact.claimed_signer is None else commit(fact.claimed_signer),
        upstream_log=None,  # the entry there names the signer
    )


def _commit_json(value: dict[str, Json], commit: _Commit) -> dict[str, Json]:
    changed = {name: item for name, item in value.items() if name != "upstreamLog"}
    for name in ("signer", "claimedSigner"):
        if name in changed:
            changed[name] = commit(parse_signer(changed[name])).as_json()
    return changed


def is_committed(event: VerificationEvent) -> bool:
    """Whether an event holds a commitment. One that hides who signed need not: it may know of no signer at all."""
    return any(
        isinstance(who, CommittedFacts)
        for each in event.signatures
        for who in (each.signer, each.claimed_signer)
    )


def names_somebody(event: VerificationEvent) -> bool:
    """Whether an event says in clear who signed: then it was recorded in clear."""
    return any(
        who is not None and not isinstance(who, CommittedFacts)
        for each in event.signatures
        for who in (each.signer, each.claimed_signer)
    )
