"""Signed envelopes over HTTP: of a hub that holds its own key, or of a registered observer."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec

from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import load_hub_key
from ledger.embedded.observers import Observer, observers_now
from ledger.embedded.opening import OpenLedger
from ledger.encoding import Json, parse_base64, parse_json
from ledger.entry import MAX_ENTRY_BYTES, verify_entry
from ledger.errors import HeadMovedError, MalformedError, SignatureError
from ledger.event.digests import named_digests
from ledger.policy import tofu
from ledger.recorder.submitted import Signed, parse_signed
from ledger.server.problems import EVIDENCE_MISSING, HEAD_MOVED, Refusal
from ledger.server.routes import MAX_ENTRIES_BYTES

MAX_ENTRIES = 100


def parse_entries(ledger: OpenLedger, data: bytes, *, trust: TrustFile) -> list[Signed]:
    """Parse envelopes whose signatures hold, by keys that count now.

    Raises:
        MalformedError, LimitError: another form. RejectedError: of another ledger. SignatureError: it does not hold.
    """
    match parse_json(data, what="body", max_bytes=MAX_ENTRIES_BYTES):
        case {"entries": list(entries), **rest} if not rest and 0 < len(entries) <= MAX_ENTRIES:
            pass
        case _:
            raise MalformedError(
                "body", expected=f'{{"entries": […]}} with 1 to {MAX_ENTRIES}', actual="another form"
            )
    found: list[Signed] = []
    observers: dict[str, Observer] | None = None
    for text in entries:
        if not isinstance(text, str):
            raise MalformedError("entry", expected="base64", actual=type(text).__name__)
        raw = parse_base64(text, what="entry", max_bytes=MAX_ENTRY_BYTES)
        signed = parse_signed(raw, ledger=ledger.config.ledger, hub=ledger.config.hub)
        if signed.observer is None:
            key = trust.entry_key(signed.parsed.keyid, ledger.log.size)
        else:
            observers = observers_now(ledger) if observers is None else observers
            key = _observer_key(observers, signed, ledger.log.size)
        verify_entry(signed.parsed, {signed.parsed.keyid: key})
        found.append(signed)
    return found


def _observer_key(
    observers: dict[str, Observer], signed: Signed, leaf_index: int
) -> ec.EllipticCurvePublicKey:
    """Return the key of an observer that counts now, for what its own observer says. Raises SignatureError."""
    known = observers.get(signed.parsed.keyid)
    if known is None or known.id != signed.observer:
        raise SignatureError(
            "key of the entry",
            expected=f"a registered key of observer {signed.observer}",
            actual=signed.parsed.keyid,
        )
    known.check(leaf_index)
    return load_hub_key(known.spki)


def check_evidence(ledger: OpenLedger, signed: Sequence[Signed]) -> None:
    """Refuse statements that name evidence which is not here. Raises Refusal."""
    named = {each.sha256 for one in signed for each in named_digests(one.statement) if each.stored}
    missing = sorted(
        each.hex()
        for each in named
        if not ledger.evidence.holds(each) and ledger.evidence.withdrawn(each) is None
    )
    if missing:
        raise Refusal(
            EVIDENCE_MISSING, f"{len(missing)} of the pieces that are named are not here", missing=missing
        )


def moved(ledger: OpenLedger, signed: Sequence[Signed], error: HeadMovedError) -> Refusal:
    """Return the refusal of statements that are late, with what they must be signed against."""
    names = sorted({name for each in signed for name in each.names})
    _, heads = ledger.log.lookup([], names)
    current: list[Json] = [
        {"key": name, "sequence": head.sequence, "sha256": head.statement_sha256.hex()}
        for name, head in sorted(heads.items())
    ]
    return Refusal(HEAD_MOVED, error.finding, heads=current, policySha256=tofu.POLICY_SHA256.hex())
