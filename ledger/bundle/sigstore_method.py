"""Keyless signatures through sigstore-python: verified for any signer, then the signer is read.

sigstore-python compares neither the tree size nor the origin with the signed checkpoint and does not authenticate
a Rekor v2 entry's outer index. The upstream entry is therefore read through our own proof verifier: its true index,
size and origin, or refusal.
"""

import json
import logging
from typing import Any

from ledger.bundle import Bundle, NotVerifiedError
from ledger.bundle.fulcio import signer_facts
from ledger.bundle.signature import TrustMaterial, VerifiedSignature, cap
from ledger.encoding import parse_base64, parse_decimal
from ledger.errors import ConfigError, LedgerError
from ledger.event import UpstreamLog
from ledger.event.schemas import ORIGIN_CAP
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.merkle import leaf_hash, verify_inclusion
from ledger.tlog.signed_note import parse_note


def verify_sigstore(bundle: Bundle, trust: TrustMaterial) -> VerifiedSignature:
    """Return who signed, with the upstream log entry proven. Raises NotVerifiedError, ConfigError."""
    from sigstore.errors import Error
    from sigstore.models import Bundle as SigstoreBundle
    from sigstore.verify import Verifier, policy

    logging.getLogger("sigstore").setLevel(
        logging.ERROR
    )  # it warns of the missing identity policy, each time
    root = _trusted_root(trust)
    try:
        parsed = SigstoreBundle.from_json(bundle.raw)
        # No identity policy: whoever signed is accepted, and named.
        Verifier(trusted_root=root).verify_dsse(parsed, policy.UnsafeNoOp())
        facts = signer_facts(parsed.signing_certificate)
    except NotVerifiedError:
        raise
    except Error as error:
        raise NotVerifiedError("INVALID_SIGNATURE", "sigstore-rejected", error) from error
    except Exception as error:  # a parser of foreign input: whatever it raises is about the input
        raise NotVerifiedError("INVALID_SIGNATURE", "sigstore-malformed", error) from error
    return VerifiedSignature(signer=facts, upstream_log=_upstream(bundle, root))


def _trusted_root(trust: TrustMaterial) -> Any:
    """Return sigstore's trusted root, parsed once for each material."""
    if "root" not in trust.cache:
        trust.cache["root"] = _load_root(trust.sigstore_json)
    return trust.cache["root"]


def _load_root(raw: bytes | None) -> Any:
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore_models.trustroot.v1 import TrustedRoot as RawTrustedRoot

    try:
        if raw is None:
            return ClientTrustConfig.production(offline=True).trusted_root
        if b"clienttrustconfig" in raw:
            return ClientTrustConfig.from_json(raw.decode()).trusted_root
        return TrustedRoot(RawTrustedRoot.from_json(raw))
    except (Error, ValueError) as error:
        raise ConfigError(
            "Sigstore trust config", expected="a client trust config or trusted root", actual=str(error)
        ) from error


def _upstream(bundle: Bundle, root: Any) -> UpstreamLog:
    """Prove the log entry of a bundle against the checkpoint that its log signed."""
    try:
        match bundle.material.get("tlogEntries"):
            case [entry, *_]:
                return _prove(entry, root)
    except NotVerifiedError:
        raise
    except (LedgerError, KeyError, TypeError, ValueError) as error:
        raise NotVerifiedError("INVALID_SIGNATURE", "upstream-log-unproven", error) from error
    raise NotVerifiedError("INVALID_SIGNATURE", "upstream-log-missing")


def _prove(entry: dict[str, Any], root: Any) -> UpstreamLog:
    from sigstore._internal.trust import KeyringPurpose  # the only way to a log's key in sigstore-python

    log_id = parse_base64(entry["logId"]["keyId"], what="log id", max_bytes=32)
    body = parse_base64(entry["canonicalizedBody"], what="entry body")
    proof = entry["inclusionProof"]
    note = parse_note(proof["checkpoint"]["envelope"].encode())
    lines = [line for line in note.signatures if line.key_id == log_id[:4]]
    if not lines:
        raise NotVerifiedError("INVALID_SIGNATURE", "upstream-checkpoint-unsigned")
    keyring = root.rekor_keyring(KeyringPurpose.VERIFY)
    keyring.verify(key_id=log_id, signature=lines[0].signature, data=note.text)
    # Size and root from what the log signed; the numbers beside the proof are not believed.
    tree = parse_checkpoint(note.text)
    index = parse_decimal(proof["logIndex"], what="index of the inclusion proof")
    verify_inclusion(
        leaf_hash(body),
        index=index,
        size=tree.size,
        root=tree.root_hash,
        proof=[parse_base64(each, what="hash of the proof", max_bytes=32) for each in proof["hashes"]],
    )
    kind = json.loads(body)
    outer = parse_decimal(entry["logIndex"], what="index of the entry")
    if "inclusionPromise" not in entry and outer != index:
        raise NotVerifiedError("INVALID_SIGNATURE", "upstream-index-false", f"{outer} instead of {index}")
    time = entry.get("integratedTime")
    return UpstreamLog(
        origin=cap(tree.origin, ORIGIN_CAP),
        log_id=log_id,
        kind=f"{kind['kind']}:{kind['apiVersion']}",
        index=outer,
        integrated_time=int(time) if time not in (None, "0") else None,
    )
