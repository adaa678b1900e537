"""Reads the signed statement: which digests of which files, and what the signer left out.

``https://model_signing/signature/v1.0`` (OMS v1.0, written since model-signing 0.3) lists them in its predicate, whole
files or shards; ``https://model_signing/Digests/v0.1`` (model-signing 0.2) lists them as subjects, whole files only.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.bundle import MAX_BUNDLE_BYTES, Bundle, check_containers
from ledger.bundle.reasons import refused, refusing
from ledger.encoding import parse_decimal, parse_hex, parse_json, parse_whole
from ledger.manifest import check_path

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_STATEMENT_TYPES = "https://in-toto.io/Statement/"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
DIGESTS_TYPE = "https://model_signing/Digests/v0.1"
_OUR_TYPES = "https://model_signing/"
WHOLE_MODEL = "."
"""The name of a model that is one file, as model-signing writes it."""

_HASHES = {"sha256": "sha256", "blake2b": "blake2b", "blake2": "blake2b", "blake3": "blake3"}
"""By spelling; model-signing's own interface says blake2 for what its statements call blake2b."""
_DIGEST_BYTES = {"sha256": 32, "blake2b": 64, "blake3": 32}
_OLD_HASHES = {"file-sha256": "sha256", "sha256": "sha256", "file-blake2b": "blake2b", "blake2b": "blake2b"}
"""Spellings of model-signing 0.2, which wrote every digest in the field ``sha256``."""
MAX_CONTAINERS = 1_000_000
"""Lists and objects in a statement: as many files, or shards, as fit into a bundle have fewer."""
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One signed digest: of a whole file, or of its bytes ``[start, end)`` where it is a shard."""

    path: str
    digest: bytes
    hash_type: str = "sha256"
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFiles:
    """What the statement says: digests in listed order, and the paths left out. The root is None before v1.0."""

    root_sha256: bytes | None
    resources: tuple[Resource, ...]
    ignored_paths: tuple[str, ...] = ()
    allow_symlinks: bool = False
    shards: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A model signature's statement whose type is known, and whose content is not checked yet."""

    predicate_type: str
    value: Mapping[str, Any]


def parse_statement(bundle: Bundle) -> Statement:
    """Parse the signed statement as far as its type.

    Raises:
        NotVerifiedError: UNSUPPORTED; ``attestation`` for an in-toto statement of another kind.
    """
    check_containers(bundle.payload, MAX_CONTAINERS, "statement-malformed")
    with refusing("statement-malformed"):
        value = parse_json(bundle.payload, what="signed statement", max_bytes=MAX_BUNDLE_BYTES)
    match value:
        case {"_type": str(kind), "predicateType": str(predicate_type)} if kind.startswith(_STATEMENT_TYPES):
            pass
        case _:
            raise refused("statement-malformed", "no in-toto statement")
    if not predicate_type.startswith(_OUR_TYPES):
        raise refused("attestation", predicate_type[:100])
    if kind != STATEMENT_TYPE or predicate_type not in (PREDICATE_TYPE, DIGESTS_TYPE):
        raise refused("statement-unsupported", predicate_type[:100])
    return Statement(predicate_type=predicate_type, value=value)


def parse_signed_files(statement: Statement) -> SignedFiles:
    """Parse what was signed, and check its own arithmetic.

    The root digest is checked over the listed resources in listed order; it does not bind names and is never
    compared with anything else.

    Raises:
        NotVerifiedError: UNSUPPORTED: unsafe or repeated names, an unknown hash or serialization, or a root that the
            digests do not give.
    """
    parse = _parse_signature if statement.predicate_type == PREDICATE_TYPE else _parse_digests
    with refusing("statement-malformed"):
        signed = parse(statement.value)
    if len({(each.path, each.start) for each in signed.resources}) != len(signed.resources):
        raise refused("statement-malformed", "a name twice")
    return signed


def _parse_signature(value: Mapping[str, Any]) -> SignedFiles:
    """Parse a statement of OMS v1.0."""
    match value:
        case {
            "subject": [{"digest": {"sha256": root}}],
            "predicate": {"resources": list(resources), "serialization": dict(serialization)},
        }:
            pass
        case _:
            raise refused(
                "statement-malformed", "not one subject with a root digest, resources and serialization"
            )
    form = _parse_serialization(serialization)
    parsed = tuple(_parse_resource(each, form) for each in resources)
    computed = hashlib.sha256(b"".join(each.digest for each in parsed))
    if computed.hexdigest() != root:
        raise refused("statement-inconsistent", f"{computed.hexdigest()} by its files")
    return SignedFiles(
        root_sha256=computed.digest(),
        resources=parsed,
        ignored_paths=_parse_ignored(serialization.get("ignore_paths", [])),
        allow_symlinks=serialization.get("allow_symlinks") is True,
        shards=form.shards,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How the files were cut and hashed; ``algorithms`` are the spellings that a resource may have."""

    hash_type: str
    shards: bool
    shard_size: int | None
    algorithms: Sequence[str]


def _parse_serialization(value: Mapping[str, Any]) -> _Form:
    hash_type, method, size = value.get("hash_type"), value.get("method"), value.get("shard_size")
    if not isinstance(hash_type, str) or hash_type not in _HASHES:
        raise refused("statement-unsupported", f"hash type {str(hash_type)[:40]}")
    if method not in ("files", "shards"):
        raise refused("statement-unsupported", f"serialization {str(method)[:40]}")
    shard_size = _parse_shard_size(size) if method == "shards" and size is not None else None
    spelled = sorted({hash_type, _HASHES[hash_type]})
    sharded = [f"{each}-sharded-{shard_size}" for each in spelled] if shard_size is not None else []
    return _Form(
        hash_type=_HASHES[hash_type],
        shards=method == "shards",
        shard_size=shard_size,
        algorithms=(*spelled, *sharded),
    )


def _parse_shard_size(value: Any) -> int:
    size = parse_whole(value, what="shard_size of the statement")
    if size == 0:
        raise refused("statement-malformed", "shard_size 0")
    return size


def _parse_ignored(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(path, str) for path in value):
        raise refused("statement-malformed", "ignore_paths is not a list of paths")
    return tuple(sorted(set(value)))


def _parse_resource(value: Any, form: _Form) -> Resource:
    match value:
        case {"name": str(name), "digest": digest, "algorithm": str(algorithm)} if (
            algorithm in form.algorithms
        ):
            raw = parse_hex(digest, length=_DIGEST_BYTES[form.hash_type], what="digest of a resource")
        case _:
            raise refused("statement-malformed", "a resource without name, digest and " + form.algorithms[-1])
    if not form.shards:
        return Resource(path=_check_name(name), digest=raw, hash_type=form.hash_type)
    path, *numbers = name.rsplit(":", 2)
    if len(numbers) != 2:
        raise refused("statement-malformed", "a shard that is not path:start:end")
    start, end = (parse_decimal(each, what="shard") for each in numbers)
    size = form.shard_size
    # With the size, boundaries are where the signer's library would put them; without it, only their order counts.
    if start >= end or (size is not None and (start % size or end - start > size)):
        raise refused("statement-malformed", "a shard that is not of shard_size")
    return Resource(path=_check_name(path), digest=raw, hash_type=form.hash_type, start=start, end=end)


def _check_name(name: str) -> str:
    """Return a name that stays inside the model on every system, or the one that stands for the whole model."""
    if name == WHOLE_MODEL:
        return name
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise refused("statement-malformed", "a name with half a surrogate pair") from error
    # What is one strange name on POSIX leads out of the folder on Windows.
    if _DRIVE.match(name) or name.startswith("\\") or ".." in name.split("\\"):
        raise refused("statement-malformed", "a name that is absolute or leads upwards on Windows")
    return check_path(name)


def _parse_digests(value: Mapping[str, Any]) -> SignedFiles:
    """Parse a statement of model-signing 0.2: whole files as subjects, nothing ignored, no links."""
    subjects = value.get("subject")
    if not isinstance(subjects, list):
        raise refused("statement-malformed", "subject is not a list")
    return SignedFiles(root_sha256=None, resources=tuple(_parse_subject(each) for each in subjects))


def _parse_subject(value: Any) -> Resource:
    match value:
        case {"name": str(name), "digest": {"sha256": digest}}:
            pass
        case _:
            raise refused("statement-malformed", "a subject without name and digest")
    annotations = value.get("annotations")
    spelled = (
        annotations.get("actual_hash_algorithm", "sha256") if isinstance(annotations, dict) else "sha256"
    )
    if not isinstance(spelled, str) or spelled not in _OLD_HASHES:
        raise refused("statement-unsupported", f"hash type {str(spelled)[:40]}")
    hash_type = _OLD_HASHES[spelled]
    raw = parse_hex(digest, length=_DIGEST_BYTES[hash_type], what="digest of a subject")
    return Resource(path=_check_name(name), digest=raw, hash_type=hash_type)
