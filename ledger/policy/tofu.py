"""Trust on first use in mode ``audit``: recorded and shown, never enforced (architecture section 2)."""

import hashlib
from dataclasses import dataclass

from ledger.encoding import format_canonical_json
from ledger.history import HistoryState, Observed, repo_key, verified_identities
from ledger.identity import identity_digest

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
    if event.model.is_proposal:  # anybody may open one: it never counts, for or against
        return Decision(decision="observed", reasons=("proposal",))
    reasons = []
    pin = _pin(repo, name)
    if pin is not None:
        signers = (
            []
            if event.outcome != "VERIFIED"
            else [identity_digest(each) for each in verified_identities(event)]
        )
        if not pin.intersection(signers):
            reasons.append("signer-changed" if signers else "signature-lost")
    if name.last_repo is not None and name.last_repo != (repo_key(event) or ""):
        had_none = name.last_repo == ""
        if not had_none:
            reasons.append("other-repository" if repo_key(event) else "repository-id-lost")
    return Decision(decision="challenged" if reasons else "observed", reasons=tuple(reasons))


def _pin(repo: HistoryState | None, name: HistoryState) -> frozenset[bytes] | None:
    """Return the pin of the ``repo:`` history, else that of the ``name:`` history."""
    return repo.pin if repo is not None and repo.pin is not None else name.pin
