"""Timestamps by an authority (RFC 3161) over the signature of an envelope: that it existed by then, in others' words.

Verified with rfc3161-client against the chains of the trusted root, at the time that the timestamp says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography import x509

from ledger.errors import ConfigError, LimitError, SignatureError, SourceError
from ledger.log.posting import Poster

MAX_TIMESTAMP_BYTES = 1 << 16
"""A response with its chain: about two kilobytes."""
_QUERY = "application/timestamp-query"
_REPLY = "application/timestamp-reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A timestamp authority of a trusted root: its chain (DER), from the leaf to the root, and when it is trusted."""

    chain: tuple[bytes, ...]
    valid_from: int = 0
    valid_until: int | None = None

    def __post_init__(self) -> None:
        if len(self.chain) < 2:
            raise ConfigError(
                "timestamp authority", expected="a chain of two certificates or more", actual=len(self.chain)
            )


async def request_timestamp(
    signature: bytes, *, url: str, authorities: Sequence[Authority], poster: Poster
) -> bytes:
    """Ask an authority for a timestamp over a signature; return the response (DER), verified.

    Raises:
        SourceError: no answer, or not in the protocol. LimitError: too large. SignatureError: it does not verify.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    request = TimestampRequestBuilder().data(signature).hash_algorithm(HashAlgorithm.SHA256).build()
    answer = await poster.post(url, content=request.as_bytes(), media_type=_QUERY, what="timestamp")
    kind = answer.headers.get("content-type", "nothing")
    if answer.status not in (200, 201) or kind != _REPLY:
        raise SourceError(
            f"POST {url}", expected=f"status 200 and {_REPLY}", actual=f"{answer.status} and {kind}"
        )
    # The nonce is in this answer only: whoever reads the stored response later cannot ask for it.
    verify_timestamp(answer.body, signature, authorities=authorities, nonce=request.nonce)
    return answer.body


def verify_timestamp(
    response: bytes, signature: bytes, *, authorities: Sequence[Authority], nonce: int | None = None
) -> datetime:
    """Return the time of an RFC 3161 response (DER) over this signature.

    Raises:
        SignatureError: it is none, or no authority of ``authorities`` made it over this signature at a time when it was
            trusted. LimitError: too large.
    """
    from rfc3161_client import decode_timestamp_response

    if len(response) > MAX_TIMESTAMP_BYTES:
        raise _too_large()
    try:
        parsed = decode_timestamp_response(response)
        time = parsed.tst_info.gen_time
    except Exception as error:  # a parser of foreign input: whatever it raises is about the input
        raise _refuse("a response of RFC 3161", str(error) or type(error).__name__) from error
    reason = "no authority is trusted at that time"
    for authority in authorities:
        if not _trusted(authority, time):
            continue
        verifier = _verifier(authority.chain, nonce)
        try:
            verifier.verify_message(parsed, signature)
        except Exception as error:  # noqa: BLE001 - it reads the certificates inside only now
            reason = str(error) or type(error).__name__
        else:
            return time
    raise _refuse("one by an authority of the trusted root, over this signature", reason)


def _trusted(authority: Authority, time: datetime) -> bool:
    until = authority.valid_until
    return authority.valid_from <= time.timestamp() and (until is None or time.timestamp() <= until)


@lru_cache(maxsize=64)
def _certificates(chain: tuple[bytes, ...]) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_der_x509_certificate(each) for each in chain)
    except ValueError as error:
        raise ConfigError(
            "certificate of a timestamp authority", expected="DER", actual=str(error)
        ) from error


def _verifier(chain: tuple[bytes, ...], nonce: int | None) -> Any:
    """Make a verifier from lists of its own: the builder's methods append to those of the builder before."""
    from rfc3161_client import VerifierBuilder

    leaf, *between, root = _certificates(chain)
    return VerifierBuilder(
        tsa_certificate=leaf, intermediates=list(between), roots=[root], nonce=nonce
    ).build()


def _refuse(expected: str, actual: str) -> SignatureError:
    return SignatureError("timestamp", expected=expected, actual=actual)


def _too_large() -> LimitError:
    return LimitError("timestamp", expected=f"at most {MAX_TIMESTAMP_BYTES} bytes", actual="more")
