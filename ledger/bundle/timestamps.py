"""RFC 3161 timestamps of a bundle: an authority of the trusted root saw the signature at this time.

Every timestamp must hold. sigstore-python is content with one, and says nothing of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from ledger.bundle.roots import Authority
from ledger.errors import SignatureError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """When an authority saw the signature, and the name of who says so."""

    at: datetime
    authority: str


def verify_timestamp(der: bytes, *, message: bytes, authorities: Sequence[Authority]) -> Timestamp:
    """Return the time of a timestamp over ``message`` by one of the authorities.

    Raises:
        SignatureError: it is by none of them, over something else, or from when they did not count.
    """
    # Imported here because few bundles of public keys have timestamps, and it costs a fifth of a cold command.
    from rfc3161_client import VerificationError, decode_timestamp_response

    try:
        response = decode_timestamp_response(der)
    except ValueError as error:
        raise _refused(str(error)) from error
    found = "none in the trusted root"
    for authority in authorities:
        chain = [x509.load_der_x509_certificate(each) for each in authority.chain]
        try:
            _verifier(chain).verify_message(response, message)
        except (VerificationError, ValueError) as error:
            found = str(error)
            continue
        at = response.tst_info.gen_time
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if authority.valid.holds(at):
            return Timestamp(at=at, authority=chain[0].subject.rfc4514_string())
        found = f"from {at.isoformat()}, when the authority did not count"
    raise _refused(found)


def _verifier(chain: Sequence[x509.Certificate]) -> Any:
    from rfc3161_client import VerifierBuilder

    builder = VerifierBuilder().tsa_certificate(chain[0]).add_root_certificate(chain[-1])
    for each in chain[1:-1]:
        builder = builder.add_intermediate_certificate(each)
    return builder.build()


def _refused(found: str) -> SignatureError:
    return SignatureError(
        "timestamp of the signature",
        expected="one by an authority of the trusted root over this signature",
        actual=found,
    )
