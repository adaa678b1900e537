"""Why a signature was not accepted: every reason code, its outcome, and the sentence that people read.

Codes are recorded (``reasons[]`` of an event) and never reused for another meaning. The guide docs/guides/verify.md
has one row for each, with these sentences.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from ledger.errors import InputError, LedgerError


@dataclass(frozen=True, slots=True)
class Reason:
    """The outcome that a code goes with, and what it says in one sentence."""

    outcome: str
    text: str


def _table(**outcomes: dict[str, str]) -> Mapping[str, Reason]:
    return MappingProxyType(
        {code: Reason(outcome, text) for outcome, codes in outcomes.items() for code, text in codes.items()}
    )


REASONS = _table(
    CONTENT_MISMATCH={
        "content-differs": "a file is not the one that was signed",
        "missing-file": "a file that was signed is not there",
        "unsigned-file": "a file is there that the signature neither lists nor ignores",
    },
    INVALID_SIGNATURE={
        "certificate-critical-extension": "a certificate demands that an extension be understood which is not known here",
        "certificate-malformed": "a certificate cannot be read",
        "certificate-not-yet-valid": "the certificate's validity begins after the revision was received",
        "certificate-purpose": "the certificate is not for signing code",
        "certificate-without-issuer": "the certificate names no identity provider, so it is not Fulcio's",
        "signature-invalid": "the signature is not by this key over this statement",
        "sigstore-malformed": "the bundle is not what Sigstore's format demands",
        "sigstore-rejected": "Sigstore's verification failed",
        "upstream-checkpoint-unsigned": "the log entry's checkpoint is not signed by a log of the trust root",
        "upstream-entries": "a keyless signature has exactly one log entry, and this has none or several",
        "upstream-entry-other": "the log entry is for another statement, signature or certificate",
        "upstream-index-false": "the log entry's index is not the one that was proven",
        "upstream-log-unproven": "the log entry's proof does not lead to the signed checkpoint",
        "upstream-promise-false": "the log's promise (signed entry timestamp) is not by this log for this entry",
    },
    UNKNOWN_KEY={
        "chain-not-trusted": "no valid chain leads from the certificate to a registered anchor",
        "key-not-registered": "no registered key made this signature",
        "no-anchor": "no anchor is registered to hold a certificate against",
    },
    UNSUPPORTED={
        "attestation": "a statement about the model that is not a model signature",
        "blake3-not-installed": "the files were hashed with BLAKE3, which is not installed here",
        "bundle-malformed": "the file says it is a Sigstore bundle and is not one in form",
        "bundle-too-large": "the bundle is above 16 MiB; its digest alone is kept",
        "bundle-version": "a bundle of a version other than 0.1, 0.2 and 0.3",
        "key-type": "the certificate's key is not an elliptic-curve key on P-256, P-384 or P-521",
        "message-signature": "a signature over the bytes of one file, not over a statement about a model",
        "needs-file-bytes": "the files were hashed in a way that needs their bytes, and only a manifest was given",
        "payload-type": "the envelope holds something else than an in-toto statement",
        "several-signatures": "the envelope has not exactly one signature",
        "statement-inconsistent": "the statement's root digest is not that of the files which it lists",
        "statement-malformed": "the signed statement is not what its format demands",
        "statement-unsupported": "a model signature of a type, hash or serialization that is not known here",
        "upstream-entry-kind": "a log entry of a kind that is not known here",
    },
    VERIFIED={
        "certificate-expired": "the certificate had expired when the revision was received; nobody can say when it was signed",
        "deprecated-encoding": "signed by model-signing 0.2, whose encoding of the signed bytes was wrong; sign again",
        "unlisted-empty-file": "a signature over shards cannot list empty files; one is there",
    },
)
"""By outcome. Those of VERIFIED are remarks: they change no outcome."""


MAX_DETAIL = 200
"""Characters of a detail: it repeats what an uploader wrote, for people to recognise it."""


def printable(text: str) -> str:
    """Return text that moves no cursor and encodes: what is not printable becomes its number."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


class NotVerifiedError(LedgerError):
    """A signature that was looked at and did not verify: its outcome, and a reason code for the statement."""

    def __init__(self, outcome: str, reason: str, detail: object = "") -> None:
        self.outcome, self.reason, self.detail = outcome, reason, printable(str(detail)[:MAX_DETAIL])
        super().__init__(f"{reason}: {REASONS[reason].text}")

    def __str__(self) -> str:
        return f"{self.what} ({self.detail})" if self.detail else self.what


def refused(reason: str, detail: object = "") -> NotVerifiedError:
    """Return the error of a reason code, to be raised."""
    return NotVerifiedError(REASONS[reason].outcome, reason, detail)


@contextmanager
def refusing(reason: str) -> Iterator[None]:
    """Turn what a strict parser refuses into the error of a reason code."""
    try:
        yield
    except InputError as error:
        raise refused(reason, error) from error
