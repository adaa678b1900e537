"""The bytes of the leaf that a proof's entry must be: the entry itself, or in Rekor the body about its signature."""

from ledger.client.proof_extra import ProofExtra
from ledger.client.trust import TrustFile
from ledger.entry import Entry, parse_entry
from ledger.errors import MalformedError, SignatureError

HASHEDREKORD = "hashedrekord 0.0.2"
"""The only kind of leaf in Rekor v2."""


def leaf_of(extra: ProofExtra, trust: TrustFile) -> bytes:
    """Return the leaf's bytes.

    Raises:
        MalformedError: an entry in another form, or not for this kind of log. SignatureError: not by a hub key.
    """
    wanted = HASHEDREKORD if trust.is_rekor else None
    if extra.kind != wanted:
        raise MalformedError(
            "kind of the leaf in the proof",
            expected=wanted or "none: the entry is the leaf",
            actual=extra.kind or "none",
        )
    if wanted is None:
        return extra.entry
    entry = parse_entry(extra.entry)
    if not isinstance(entry, Entry):
        raise MalformedError("entry in a Rekor log", expected="an envelope", actual="a map commit")
    # Imported here because proofs of tile logs need none of it.
    from ledger.bundle.bodies import SignedPayload, Verifier, hashedrekord_v2

    spki = next((key.spki for key in trust.hub_keys if key.keyid == entry.keyid), None)
    if spki is None:
        raise SignatureError("key of the entry", expected="a hub key of the trust file", actual=entry.keyid)
    signed = SignedPayload(entry.payload, entry.signature, Verifier(spki), entry.keyid)
    return hashedrekord_v2(signed.digest, signed.signature, signed.verifier)
