"""Trust on first use in mode ``audit``: recorded and shown, never enforced (architecture section 2)."""

import hashlib
from dataclasses import dataclass

from ledger.encoding import format_canonical_json
from ledger.history import HistoryState, Observed, repo_key, verified_digests

POLICY_DOCUMENT = format_canonical_json(
    {
        "identity": "identity/v1",
        "kind": "trust-on-first-use",
        "mode": "audit",
        "policy": "https://hubledger/policy/v1",
    }
)
"""The document whose digest events name; served by digest."""
POLICY_SHA256 = hashlib.sha256(POLICY_DOCUMENT).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``observed`` or ``challenged``, and the codes that say why."""

    decision: str
    reasons: tuple[str, ...] = ()


def decide(event: Observed, *, repo: HistoryState | None, name: HistoryState) -> Decision:
    """Decide about an event against its ``repo:`` history, else its ``name:`` history ("First use and pins").

    In mode audit a change is called ``challenged`` and opens no challenge.
    """
    return decide_signers(event, verified_digests(event), repo=repo, name=name)


def decide_signers(
    event: Observed, verified: frozenset[bytes], *, repo: HistoryState | None, name: HistoryState
) -> Decision:
    """Decide where the event's ``verified_digests`` are known already."""
    if event.model.is_proposal:  # anybody may open one: it never counts, for or against
        return _PROPOSAL
    pin = repo.pin if repo is not None and repo.pin is not None else name.pin
    reasons = []
    if pin is not None and not pin & verified:
        reasons.append("signer-changed" if verified else "signature-lost")
    if name.last_repo:
        now = repo_key(event)
        if name.last_repo != now:
            reasons.append("other-repository" if now else "repository-id-lost")
    return Decision(decision="challenged", reasons=tuple(reasons)) if reasons else _OBSERVED


_OBSERVED = Decision(decision="observed")
_PROPOSAL = Decision(decision="observed", reasons=("proposal",))
