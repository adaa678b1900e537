"""Which signers a caller expects. Only verified signers are ever held against these, as a whole."""

from dataclasses import dataclass

from ledger.client.patterns import SubjectPattern
from ledger.identity import (
    Capped,
    CertificateFacts,
    CertificateSigner,
    CommittedSigner,
    Identity,
    KeyFacts,
    KeySigner,
    SignerFacts,
    SigstoreFacts,
    SigstoreSigner,
    canonical_identity,
    fingerprint,
    overflow_text,
)


def same_text(text: str, logged: Capped) -> bool:
    """Whether a logged value is exactly this text; values above their cap compare by digest."""
    return text == logged if isinstance(logged, str) else overflow_text(text) == logged


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One acceptable signer: a Sigstore subject with its issuer, or a key, or an anchor by SPKI digest.

    ``pattern`` stands in the place of ``signer`` for every subject that it matches; its issuer is exact all the same.
    """

    issuer: str | None = None
    signer: str | None = None
    pattern: SubjectPattern | None = None
    key_sha256: bytes | None = None
    anchor_sha256: bytes | None = None

    def met_by(self, facts: SignerFacts) -> bool:
        """Whether verified facts are this signer: whole strings, byte for byte; look-alikes never match."""
        match facts:
            case SigstoreFacts():
                return (
                    self.issuer is not None
                    and same_text(self.issuer, facts.issuer)
                    and self._means(facts.san)
                )
            case KeyFacts():
                return self.key_sha256 is not None and self.key_sha256 == facts.spki_sha256
            case CertificateFacts():
                return self.anchor_sha256 is not None and self.anchor_sha256 == facts.anchor_spki_sha256
            case _:
                return False

    def _means(self, subject: Capped) -> bool:
        if self.pattern is not None:  # of a subject above its cap only a digest is known
            return isinstance(subject, str) and self.pattern.matches(subject)
        return self.signer is not None and same_text(self.signer, subject)

    def met_by_identity(self, identity: Identity) -> bool:
        """Whether an opened identity is this signer. Of a CI address the class of its ref is known, not the ref itself.

        So a pattern, which is about the whole subject, is met by none.
        """
        match identity:
            case SigstoreSigner():
                if self.signer is None or self.issuer is None:
                    return False
                wanted = canonical_identity(
                    SigstoreFacts(
                        issuer=self.issuer,
                        san=self.signer,
                        san_type="uri" if "@refs/" in self.signer else "other",
                        claims=(),
                        certificate_sha256=b"",
                    )
                )
                return (
                    isinstance(wanted, SigstoreSigner)
                    and isinstance(wanted.subject, str)
                    and same_text(wanted.subject, identity.subject)
                    and same_text(self.issuer, identity.issuer)
                    and wanted.ref_class == identity.ref_class
                )
            case KeySigner():
                return self.key_sha256 is not None and self.key_sha256 == identity.spki_sha256
            case CertificateSigner():
                return self.anchor_sha256 is not None and self.anchor_sha256 == identity.anchor_spki_sha256
            case CommittedSigner():
                return False

    def __str__(self) -> str:
        subject = self.signer if self.pattern is None else self.pattern.text
        if subject is not None:
            return f"{subject} ({self.issuer})"
        if self.key_sha256 is not None:
            return f"key {fingerprint(self.key_sha256)}"
        return f"anchor {fingerprint(self.anchor_sha256)}" if self.anchor_sha256 else "nobody"
