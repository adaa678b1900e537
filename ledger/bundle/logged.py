"""What a log proves about the signature of any bundle: each entry's place, and that the entry is about this signature.

sigstore-python takes size and root from the message, does not look at the origin or at the index of a Rekor v2 entry,
and compares the body field by field. Here the numbers beside the proof must be those of the signed checkpoint, and the
body, as bytes, the one that this signature has (docs/decisions/0006-any-sigstore-bundle.md).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ledger.bundle.any_bundle import AnyBundle, SignedEnvelope, SignedFile
from ledger.bundle.bodies import Verifier, dsse_v1, hashedrekord_v1, hashedrekord_v2, intoto_v1, intoto_v2
from ledger.bundle.log_entry import (
    MAX_BODY_BYTES,
    LogEntry,
    LogKeys,
    ProvenEntry,
    parse_log_entry,
    parse_promised_entry,
    prove_log_entry,
    verify_promise,
)
from ledger.encoding import format_base64, parse_base64, parse_json
from ledger.errors import InputError, MalformedError, ProofError, SignatureError

MAX_PEM_BYTES = 1 << 16


class UnknownKindError(InputError):
    """An entry of a kind, or about a key, that this version does not know: nothing is wrong with it."""

    default_next_step = "Check it with a newer version of hubledger, or with another tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When a log counts, in POSIX seconds, both ends included; ``last`` None: no end."""

    first: int = 0
    last: int | None = None

    def holds(self, at: int) -> bool:
        """Whether a time is within."""
        return self.first <= at and (self.last is None or at <= self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootLogs:
    """The logs that count: their keys, and by log id when."""

    keys: LogKeys
    spans: Mapping[bytes, Span]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """An entry that a log promised to include, without a proof that it did, and when it says that it took it."""

    entry: LogEntry
    at: str


def prove_entry(
    value: Any, bundle: AnyBundle, verifier: Verifier, *, digest: bytes, root: RootLogs
) -> ProvenEntry:
    """Return one log entry of the bundle, with its place, proven to be about the bundle's signature.

    ``digest`` is that of what was signed, by the hash that goes with the signature.

    Raises:
        SignatureError: checkpoint or promise are not signed by a log of the root. ProofError: the entry is not in the
            signed tree at this index, or the numbers beside the proof are others. MalformedError: no entry in form, or
            one about another signature. UnknownKindError: an entry of a kind that is not known here.
    """
    entry = parse_log_entry(value)
    proven = prove_log_entry(entry, root.keys)
    _check_stated(value["inclusionProof"], proven)
    _check_time(entry.log_id, proven.integrated_time, root)
    check_body(entry, bundle, verifier, digest=digest)
    return proven


def prove_entries(
    values: Sequence[Any], bundle: AnyBundle, verifier: Verifier, *, digest: bytes, root: RootLogs
) -> tuple[ProvenEntry, ...]:
    """Return log entries of the bundle, each proven and each once. Raises as ``prove_entry``."""
    proven = tuple(prove_entry(each, bundle, verifier, digest=digest, root=root) for each in values)
    _check_once([f"leaf {each.leaf_index} of {each.tree.origin}" for each in proven])
    return proven


def verify_promises(
    values: Sequence[Any], bundle: AnyBundle, verifier: Verifier, *, digest: bytes, root: RootLogs
) -> tuple[Promised, ...]:
    """Return log entries that have a promise and no proof, as bundles of v0.1 may, each once. Raises as ``prove_entry``."""
    promised = tuple(verify_promised(each, bundle, verifier, digest=digest, root=root) for each in values)
    _check_once([f"index {each.entry.index} of the log {each.entry.log_id.hex()[:16]}…" for each in promised])
    return promised


def _check_once(places: Sequence[str]) -> None:
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise ProofError("log entries of the bundle", expected="each once", actual=f"{twice} twice")


def verify_promised(
    value: Any, bundle: AnyBundle, verifier: Verifier, *, digest: bytes, root: RootLogs
) -> Promised:
    """Return one log entry that has a promise and no signed proof. Raises as ``prove_entry``."""
    entry, promise = parse_promised_entry(value)
    verify_promise(entry, promise, root.keys)
    _check_time(entry.log_id, entry.integrated_time, root)
    check_body(entry, bundle, verifier, digest=digest)
    return Promised(entry=entry, at=_shown(entry.integrated_time))


def _check_stated(proof: Any, proven: ProvenEntry) -> None:
    """The numbers beside the proof are not believed; where they are not the signed ones, somebody will be misled."""
    signed = str(proven.tree.size), format_base64(proven.tree.root_hash)
    stated = str(proof.get("treeSize")), str(proof.get("rootHash"))
    if stated != signed:
        raise ProofError(
            "size and root beside the proof",
            expected=f"{signed[0]} and {signed[1]}, as signed",
            actual=f"{stated[0]} and {stated[1]}",
        )


def _check_time(log_id: bytes, integrated: int | None, root: RootLogs) -> None:
    """The log must have been one of the root's when it says that it took the entry."""
    if integrated is None:
        return
    if not root.spans[log_id].holds(integrated):
        raise SignatureError(
            "time of the log entry",
            expected="when the log counts, by the trusted root",
            actual=_shown(integrated),
        )


def _shown(at: int) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"second {at}"


def check_body(entry: LogEntry, bundle: AnyBundle, verifier: Verifier, *, digest: bytes) -> None:
    """Return if the entry's body is the one that this signature has. Raises MalformedError, UnknownKindError."""
    body = _parse_body(entry)
    if (body.get("kind"), body.get("apiVersion")) != entry.kind:
        raise MalformedError(
            "kind of the log entry",
            expected=f"{body.get('kind')} {body.get('apiVersion')}, as its body says",
            actual=" ".join(entry.kind),
        )
    if _rebuild(entry, body, bundle.content, verifier, digest) != entry.body:
        raise MalformedError(
            "body of the log entry",
            expected="one about this signature, key and content",
            actual=f"another {' '.join(entry.kind)}",
            next_step="Do not use the bundle: its log entry is for something else",
        )


def _parse_body(entry: LogEntry) -> dict[str, Any]:
    body = parse_json(entry.body, what="body of the log entry", max_bytes=MAX_BODY_BYTES)
    if not isinstance(body, dict):
        raise MalformedError("body of the log entry", expected="a JSON object", actual=type(body).__name__)
    return body


def _rebuild(
    entry: LogEntry, body: Any, content: SignedEnvelope | SignedFile, verifier: Verifier, digest: bytes
) -> bytes:
    match entry.kind, content:
        case ("hashedrekord", "0.0.2"), _:
            _check_hash(digest, verifier)
            return hashedrekord_v2(digest, content.signature, verifier)
        case ("hashedrekord", "0.0.1"), _:
            return hashedrekord_v1(digest, content.signature, verifier)
        case ("dsse", "0.0.1"), SignedEnvelope():
            stated = _text(body, "spec", "envelopeHash", "value")
            return dsse_v1(content.payload, content.signature, verifier, envelope_sha256=stated)
        case ("intoto", "0.0.1"), SignedEnvelope():
            stated = _text(body, "spec", "content", "hash", "value")
            made = intoto_v1(content.payload, verifier, envelope_sha256=stated)
            if made == entry.body:
                _check_envelope(content, stated)
            return made
        case ("intoto", "0.0.2"), SignedEnvelope():
            return intoto_v2(
                content.payload,
                content.signature,
                verifier_pem=_sent_pem(body, verifier),
                payload_type=content.payload_type,
                keyid=content.keyid,
                envelope_sha256=_text(body, "spec", "content", "hash", "value"),
            )
    if entry.kind in _KEYS:
        return (
            b""  # an entry for a statement, about a file: no body that it could have is about this signature
        )
    raise UnknownKindError(
        "kind of the log entry",
        expected=", ".join(map(" ".join, _KEYS)),
        actual=" ".join(entry.kind),
    )


def _check_hash(digest: bytes, verifier: Verifier) -> None:
    if len(digest) != verifier.algorithm.digest_size:
        raise UnknownKindError(
            "hash of the log entry",
            expected=f"{verifier.algorithm.name}, which goes with the key",
            actual=f"{len(digest)} bytes",
        )


def _check_envelope(content: SignedEnvelope, stated: str) -> None:
    """Return if the digest is that of a text of this envelope.

    ``intoto`` 0.0.1 keeps no signature. Without this a signature that was made later, by whoever got hold of the key, would
    have the entry, and the time, of the first.
    """
    if all(hashlib.sha256(text).hexdigest() != stated for text in content.texts()):
        raise UnknownKindError(
            "envelope of the log entry",
            expected="the digest of a text of this envelope, as intoto 0.0.1 keeps no signature",
            actual="the digest of a text that is not known here",
            next_step="Ask whoever signed for a bundle with another kind of log entry",
        )


def _sent_pem(body: Any, verifier: Verifier) -> bytes:
    """Return the PEM in an ``intoto`` body if it is the verifier's, in whatever layout it was sent; else the usual one."""
    try:
        raw = parse_base64(_sent_key(body), what="verifier of the log entry", max_bytes=MAX_PEM_BYTES)
        if _der_of(raw) == verifier.der:
            return raw
    except (InputError, KeyError, IndexError, TypeError, ValueError, UnsupportedAlgorithm):
        pass
    return verifier.pem


def _der_of(pem: bytes) -> bytes:
    """Return the DER of a certificate or a public key in PEM. Raises ValueError, UnsupportedAlgorithm."""
    if b"CERTIFICATE" in pem:
        try:
            return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        except x509.InvalidVersion as error:
            raise ValueError(str(error)) from error
    key = serialization.load_pem_public_key(pem)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _text(value: Any, *path: str) -> str:
    """Return a text of the body that nothing here can be held against; "" gives a body that is not the entry's."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _sent_key(body: Any) -> Any:
    return body["spec"]["content"]["envelope"]["signatures"][0]["publicKey"]


_KEYS: dict[tuple[str, str], Callable[[Any], bytes]] = {
    ("hashedrekord", "0.0.2"): lambda body: _raw(body["spec"]["hashedRekordV002"]["signature"]["verifier"]),
    ("hashedrekord", "0.0.1"): lambda body: _pem(body["spec"]["signature"]["publicKey"]["content"]),
    ("dsse", "0.0.1"): lambda body: _pem(body["spec"]["signatures"][0]["verifier"]),
    ("intoto", "0.0.2"): lambda body: _pem(_sent_key(body)),
    ("intoto", "0.0.1"): lambda body: _pem(body["spec"]["publicKey"]),
}


def _raw(verifier: Any) -> bytes:
    return parse_base64(verifier["publicKey"]["rawBytes"], what="key of the log entry", max_bytes=4096)


def _pem(text: Any) -> bytes:
    """Return the DER of a PEM public key in base64."""
    return _der_of(parse_base64(text, what="key of the log entry", max_bytes=MAX_PEM_BYTES))


def key_in_entry(value: Any) -> bytes:
    """Return the public key (DER) that an entry's body names: a claim, until the body is proven and the key has signed.

    Raises:
        MalformedError: none that can be read. UnknownKindError: an entry of a kind that is not known here.
    """
    match value:
        case {"canonicalizedBody": str(text)}:
            raw = parse_base64(text, what="body of the log entry", max_bytes=MAX_BODY_BYTES)
        case _:
            raise MalformedError("body of the log entry", expected="a canonicalizedBody", actual="none")
    body = parse_json(raw, what="body of the log entry", max_bytes=MAX_BODY_BYTES)
    try:
        kind = str(body["kind"]), str(body["apiVersion"])
        if kind not in _KEYS:
            raise UnknownKindError(
                "kind of the log entry", expected=", ".join(map(" ".join, _KEYS)), actual=" ".join(kind)
            )
        return _KEYS[kind](body)
    except (KeyError, IndexError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError("key of the log entry", expected="a public key", actual=repr(error)) from error
