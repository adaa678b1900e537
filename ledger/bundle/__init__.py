"""Reads a signature file: an OMS bundle in Sigstore's JSON form, and who signed which digests in it.

``parse_bundle`` is strict and trusts nothing; ``signature`` checks who signed; only ``sigstore_method`` imports
sigstore, when it is needed. Format: the OpenSSF Model Signing specification v1.0 over Sigstore bundles v0.1 to v0.3.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.encoding import parse_base64, parse_hex, parse_json
from ledger.entry import PAYLOAD_TYPE, pae
from ledger.errors import LedgerError, MalformedError
from ledger.manifest import check_path

MAX_BUNDLE_BYTES = 16 << 20
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_RESOURCES = 2_000_000
"""Listed digests; a shard of 1 MB of a 2 TB model."""
_DIGEST_BYTES = {"sha256": 32, "blake2b": 64, "blake3": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One signed digest: of a whole file, or of its bytes ``[start, end)`` where it is a shard."""

    path: str
    digest: bytes
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFiles:
    """What the statement says: digests in listed order, the hash used, and the paths left out."""

    root_sha256: bytes
    resources: tuple[Resource, ...]
    hash_type: str
    ignored_paths: tuple[str, ...]
    allow_symlinks: bool


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose structure is sound. Who signed is not checked yet."""

    raw: bytes
    method: str
    payload: bytes
    signature: bytes
    material: Mapping[str, Any]

    @property
    def sha256(self) -> bytes:
        """The evidence address."""
        return hashlib.sha256(self.raw).digest()

    @property
    def statement_sha256(self) -> bytes:
        """SHA-256 of the signed statement."""
        return hashlib.sha256(self.payload).digest()

    @property
    def message(self) -> bytes:
        """The bytes that were signed."""
        return pae(self.payload)


_METHODS = {"publicKey": "key", "x509CertificateChain": "certificate", "certificate": "sigstore"}


def parse_bundle(raw: bytes) -> Bundle:
    """Parse a Sigstore bundle with an in-toto payload.

    Raises:
        LimitError: above 16 MiB or nested too deep.
        MalformedError: not such a bundle, or with more than one signature or kind of key.
    """
    value = parse_json(raw, what="signature bundle", max_bytes=MAX_BUNDLE_BYTES)
    match value:
        case {
            "mediaType": str(media),
            "verificationMaterial": dict(material),
            "dsseEnvelope": {
                "payload": str(payload),
                "payloadType": str(kind),
                "signatures": [{"sig": str(sig)}],
            },
        } if media.startswith(MEDIA_TYPE):
            pass
        case _:
            raise MalformedError(
                "signature bundle",
                expected="a Sigstore bundle with one DSSE signature",
                actual="another form",
            )
    if kind != PAYLOAD_TYPE:
        raise MalformedError("payload type of the bundle", expected=PAYLOAD_TYPE, actual=kind)
    methods = [name for name in _METHODS if material.get(name) is not None]
    if len(methods) != 1:
        raise MalformedError(
            "verification material",
            expected="one of " + ", ".join(_METHODS),
            actual=" and ".join(methods) or "none",
        )
    method = _METHODS[methods[0]]
    if method == "certificate" and material.get("tlogEntries"):
        method = "sigstore"  # bundles before v0.3 carry Fulcio's certificate as a chain
    return Bundle(
        raw=raw,
        method=method,
        material=material,
        payload=parse_base64(payload, what="payload of the bundle"),
        signature=parse_base64(sig, what="signature of the bundle", max_bytes=4096),
    )


def parse_signed_files(bundle: Bundle) -> SignedFiles:
    """Parse the statement of a bundle and check its own arithmetic.

    The root digest is checked over the listed resources in listed order; it does not bind names and is never
    compared with anything else.

    Raises:
        MalformedError: another statement, unsafe or repeated names, or a root that the digests do not give.
    """
    value = parse_json(bundle.payload, what="signed statement", max_bytes=MAX_BUNDLE_BYTES)
    match value:
        case {
            "_type": str(kind),
            "predicateType": str(predicate_type),
            "subject": [{"digest": {"sha256": root}}],
            "predicate": {"resources": list(resources), "serialization": dict(serialization)},
        } if kind == STATEMENT_TYPE and predicate_type == PREDICATE_TYPE:
            pass
        case _:
            raise MalformedError(
                "signed statement", expected=f"{PREDICATE_TYPE} with one subject", actual="another form"
            )
    if len(resources) > MAX_RESOURCES:
        raise MalformedError(
            "signed statement", expected=f"at most {MAX_RESOURCES} resources", actual=len(resources)
        )
    hash_type, shards, ignored = _parse_serialization(serialization)
    parsed = tuple(_parse_resource(each, hash_type, shards=shards) for each in resources)
    if len({(each.path, each.start) for each in parsed}) != len(parsed):
        raise MalformedError("signed statement", expected="each resource once", actual="a name twice")
    computed = hashlib.sha256(b"".join(each.digest for each in parsed)).hexdigest()
    if computed != root:
        raise MalformedError("root digest of the statement", expected=computed, actual=root)
    return SignedFiles(
        root_sha256=bytes.fromhex(computed),
        resources=parsed,
        hash_type=hash_type,
        ignored_paths=ignored,
        allow_symlinks=serialization.get("allow_symlinks") is True,
    )


def _parse_serialization(value: Mapping[str, Any]) -> tuple[str, bool, tuple[str, ...]]:
    hash_type, method, ignored = value.get("hash_type"), value.get("method"), value.get("ignore_paths", [])
    if hash_type not in _DIGEST_BYTES or not isinstance(hash_type, str):
        raise MalformedError(
            "hash type of the statement", expected="sha256, blake2b or blake3", actual=hash_type
        )
    if method not in ("files", "shards"):
        raise MalformedError("serialization of the statement", expected="files or shards", actual=method)
    if not isinstance(ignored, list) or not all(isinstance(path, str) for path in ignored):
        raise MalformedError(
            "ignore_paths of the statement", expected="a list of paths", actual="another form"
        )
    return hash_type, method == "shards", tuple(sorted(set(ignored)))


def _parse_resource(value: Any, hash_type: str, *, shards: bool) -> Resource:
    match value:
        case {"name": str(name), "digest": digest, "algorithm": str(algorithm)} if (
            algorithm.split("-sharded-")[0] == hash_type
        ):
            raw = parse_hex(digest, length=_DIGEST_BYTES[hash_type], what="digest of a resource")
        case _:
            raise MalformedError(
                "resource of the statement", expected=f"name, digest and {hash_type}", actual="another form"
            )
    if not shards:
        return Resource(path=name if name == "." else check_path(name), digest=raw)
    path, start, end = [*name.rsplit(":", 2), "", ""][:3]
    try:
        first, last = int(start), int(end)
    except ValueError as error:
        raise MalformedError("shard of the statement", expected="path:start:end", actual=name) from error
    if not 0 <= first < last or f"{path}:{first}:{last}" != name:
        raise MalformedError("shard of the statement", expected="path:start:end", actual=name)
    return Resource(path=path if path == "." else check_path(path), digest=raw, start=first, end=last)


class NotVerifiedError(LedgerError):
    """A signature that was looked at and did not verify: its outcome, and a reason code for the statement."""

    def __init__(self, outcome: str, reason: str, detail: object = "") -> None:
        self.outcome, self.reason = outcome, reason
        super().__init__(reason, expected="a signature that verifies", actual=str(detail) or outcome)
