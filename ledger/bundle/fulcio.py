"""What a Fulcio certificate says: issuer, subject alternative name and the named claims (fulcio docs/oid-info.md)."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes

from ledger.bundle.reasons import refused
from ledger.event.fields import cap
from ledger.event.schemas import CLAIM_CAP, ISSUER_CAP, MAX_CLAIMS, SAN_CAP
from ledger.identity import Capped, SigstoreFacts, overflow_value, plain

_ARC = "1.3.6.1.4.1.57264.1."
_OTHER_NAME = x509.ObjectIdentifier(_ARC + "7")
_RAW_CLAIMS = frozenset("123456")
"""Raw strings; later ones are DER."""
_UNUSED = frozenset("23456")
"""GitHub's first claims, which later ones say again for every provider."""
_CLAIMS = {
    "9": "buildSignerUri",
    "10": "buildSignerDigest",
    "11": "runnerEnvironment",
    "12": "sourceRepositoryUri",
    "13": "sourceRepositoryDigest",
    "14": "sourceRepositoryRef",
    "15": "sourceRepositoryIdentifier",
    "16": "sourceRepositoryOwnerUri",
    "17": "sourceRepositoryOwnerIdentifier",
    "18": "buildConfigUri",
    "19": "buildConfigDigest",
    "20": "buildTrigger",
    "21": "runInvocationUri",
    "22": "sourceRepositoryVisibility",
    "23": "deploymentEnvironment",
    "24": "tokenSubject",
}
"""DER UTF8String claims by the end of their OID; others have their OID as their name."""
_KNOWN = frozenset(("8", *_CLAIMS))
MAX_CLAIM_NAME = 64
"""What a claim's name may have (docs/spec/identity.md)."""


def signer_facts(cert: x509.Certificate) -> SigstoreFacts:
    """Return the facts of a certificate. Raises NotVerifiedError where it is no Fulcio certificate."""
    try:
        san, san_type = _san(cert)
        claims = _claims(cert)
    except (
        ValueError,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        UnsupportedAlgorithm,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise refused("certificate-malformed", error) from error
    issuer = claims.pop("8", None) or claims.pop("1", None)
    claims.pop("1", None)
    if issuer is None:
        raise refused("certificate-without-issuer")
    capped: list[tuple[str, Capped]] = [(name, cap(claims[name], CLAIM_CAP)) for name in sorted(claims)]
    return SigstoreFacts(
        issuer=cap(issuer, ISSUER_CAP),
        san=cap(san, SAN_CAP),
        san_type=san_type,
        claims=tuple(capped)
        if len(capped) <= MAX_CLAIMS
        else overflow_value({name: plain(value) for name, value in capped}),
        certificate_sha256=cert.fingerprint(hashes.SHA256()),
    )


def _san(cert: x509.Certificate) -> tuple[str, str]:
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for name in names:
        if isinstance(name, x509.RFC822Name):
            return name.value, "email"
        if isinstance(name, x509.UniformResourceIdentifier):
            return name.value, "uri"
        if isinstance(name, x509.OtherName) and name.type_id == _OTHER_NAME:
            return asn1.decode_der(str, name.value), "other"
    raise ValueError("no alternative name of a kind that Fulcio issues")


def _claims(cert: x509.Certificate) -> dict[str, str]:
    found: dict[str, str] = {}
    for extension in cert.extensions:
        dotted = extension.oid.dotted_string
        if not dotted.startswith(_ARC) or not isinstance(extension.value, x509.UnrecognizedExtension):
            continue
        number, raw = dotted.removeprefix(_ARC), extension.value.value
        try:
            text = raw.decode("utf-8", "replace") if number in _RAW_CLAIMS else asn1.decode_der(str, raw)
        except ValueError:
            if number in _KNOWN:
                raise
            continue  # a claim of another form, from after this was written
        name = _CLAIMS.get(number, number if number in ("1", "8") else dotted)
        if number not in _UNUSED and len(name) <= MAX_CLAIM_NAME:
            found[name] = text
    return found
