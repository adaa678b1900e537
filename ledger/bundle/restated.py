"""Says again, in words that sigstore-python knows, what our own verifier established about a log entry.

sigstore-python checks a certificate (chain, certificate transparency, usage, time) only together with a log entry, and
refuses every bundle whose entry has no proof or is of a kind that it does not read, whatever the certificate is. Its public
interface has no check of a certificate alone, and a second public key infrastructure of our own would be the worse answer.
So once the entry itself is proven or promised *here*, the bundle is handed over with another entry in its place: the sole
leaf of a tree of one, about the same signature, certificate and content, with the time that the real log signed. A keyring
vouches for exactly these bytes (``sigstore_method``), and for nothing that came from outside.

Nothing else of the bundle is touched, so all that sigstore-python says about the certificate it says about the real one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.bundle.any_bundle import AnyBundle, SignedEnvelope
from ledger.bundle.bodies import Verifier, dsse_v1, hashedrekord_v1
from ledger.encoding import Json, format_base64, format_canonical_json, parse_json
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.signed_note import NoteSignature, format_note

_NAME = "established.invalid"
"""The origin of the tree of one: no log can have this name (RFC 6761)."""
_VOUCHED = b"vouched for by the verifier itself"
_FILES = frozenset((("hashedrekord", "0.0.1"), ("hashedrekord", "0.0.2")))
_ENVELOPES = frozenset((("dsse", "0.0.1"), ("hashedrekord", "0.0.2")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """What our verifier holds of one entry: its log and kind, the time that the log signed, and whether it is proven."""

    log_id: bytes
    kind: tuple[str, str]
    integrated_time: int | None
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Restated:
    """A bundle for sigstore-python, and the messages in it that stand for signatures of a log."""

    raw: bytes
    vouched: frozenset[bytes]


def is_read_by_sigstore(entry: Established, bundle: AnyBundle) -> bool:
    """Whether sigstore-python reads such an entry itself."""
    return entry.proven and entry.kind in (
        _ENVELOPES if isinstance(bundle.content, SignedEnvelope) else _FILES
    )


def restate(bundle: AnyBundle, entries: Sequence[Established], *, digest: bytes) -> Restated:
    """Return the bundle with each of its entries said again. ``digest`` is that of a signed file.

    Raises:
        MalformedError: the bundle cannot be written as canonical JSON.
    """
    value: Any = parse_json(bundle.raw, what="Sigstore bundle", max_bytes=MAX_BUNDLE_BYTES)
    verifier = Verifier(bundle.certificate or b"", is_certificate=True)
    body = _body(bundle, verifier, digest)
    listed, vouched = [], set[bytes]()
    for each in entries:
        entry, messages = _restate(each, body, bundle)
        listed.append(entry)
        vouched.update(messages)
    material = value["verificationMaterial"] | {"tlogEntries": listed}
    raw = format_canonical_json(value | {"verificationMaterial": material})
    return Restated(raw=raw, vouched=frozenset(vouched))


def _body(bundle: AnyBundle, verifier: Verifier, digest: bytes) -> bytes:
    content = bundle.content
    if isinstance(content, SignedEnvelope):
        return dsse_v1(content.payload, content.signature, verifier, envelope_sha256="0" * 64)
    return hashedrekord_v1(digest, content.signature, verifier)


def _restate(entry: Established, body: bytes, bundle: AnyBundle) -> tuple[Json, tuple[bytes, ...]]:
    """Return protobuf's JSON of the entry, and the messages that a log would have signed."""
    root = leaf_hash(body)
    text = format_checkpoint(Checkpoint(origin=_NAME, size=1, root_hash=root))
    note = format_note(text, [NoteSignature(name=_NAME, key_id=entry.log_id[:4], signature=_VOUCHED)])
    kind = "dsse" if isinstance(bundle.content, SignedEnvelope) else "hashedrekord"
    value: dict[str, Json] = {
        "canonicalizedBody": format_base64(body),
        "inclusionProof": {
            "checkpoint": {"envelope": note.decode()},
            "hashes": [],
            "logIndex": "0",
            "rootHash": format_base64(root),
            "treeSize": "1",
        },
        "kindVersion": {"kind": kind, "version": "0.0.1"},
        "logId": {"keyId": format_base64(entry.log_id)},
        "logIndex": "0",
    }
    if entry.integrated_time is None:
        return value, (text,)
    promise = format_canonical_json(
        {
            "body": format_base64(body),
            "integratedTime": entry.integrated_time,
            "logID": entry.log_id.hex(),
            "logIndex": 0,
        }
    )
    value["integratedTime"] = str(entry.integrated_time)
    value["inclusionPromise"] = {"signedEntryTimestamp": format_base64(_VOUCHED)}
    return value, (text, promise)
