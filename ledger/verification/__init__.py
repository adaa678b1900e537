"""Files against bundles: what the hub found out about one revision (architecture sections 2 and 3).

Nothing that an upload contains makes this raise: junk has an outcome and a reason code. The same files give the same
findings, on any machine, in any order of the directory.
"""

import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ledger.bundle import (
    MAX_BUNDLE_BYTES,
    Bundle,
    NotVerifiedError,
    Resource,
    SignedFiles,
    parse_bundle,
    parse_signed_files,
)
from ledger.bundle.signature import TrustMaterial, VerifiedSignature, claimed_signer, verify_signature
from ledger.encoding import format_canonical_json
from ledger.errors import InputError
from ledger.event import MAX_SIGNATURES, ManifestRef, SignatureFact, escape_name, outcome_of
from ledger.event.digests import TOO_LARGE
from ledger.event.schemas import IGNORED_PATHS_CAP, MAX_IGNORED_PATHS, MAX_REASONS
from ledger.identity import Overflow, SignerFacts, overflow_value
from ledger.manifest import Manifest, ManifestLink, escape_path
from ledger.verification.reading import Files, FoundBundle, Progress, read_revision

_ALWAYS_IGNORED = (".git", ".gitignore", ".gitattributes", ".github")
"""model-signing leaves these out by default, at the top level, whether or not the statement lists them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found about one revision, ready to be recorded.

    ``evidence`` is stored first, with the manifest: bundles, and the list of signatures past 16. ``details`` say in words
    why a signature did not verify: (bundle SHA-256, reason code, text).
    """

    manifest: Manifest
    reference: ManifestRef
    signatures: tuple[SignatureFact, ...]
    more_signatures: Overflow | None
    outcome: str
    reasons: tuple[str, ...]
    evidence: tuple[bytes, ...]
    details: tuple[tuple[bytes, str, str], ...] = ()


@dataclass(slots=True)
class _Judged:
    """One signature with its fact and reason codes."""

    fact: SignatureFact
    reasons: list[str] = field(default_factory=list)
    text: str = ""


def verify_revision(
    path: pathlib.Path, *, trust: TrustMaterial, progress: Progress | None = None
) -> Findings:
    """Verify every signature found on a directory or file.

    Raises:
        NotFoundError, SourceError: the files cannot be read. ConfigError: ``trust`` cannot be used.
    """
    manifest, bundles, files = read_revision(path, progress=progress)
    return judge(manifest, bundles, files, trust=trust)


def verify_manifest(
    manifest: Manifest, bundles: Sequence[tuple[str, bytes]], *, trust: TrustMaterial
) -> Findings:
    """Verify signatures against a manifest that the hub already knows; ``bundles`` are (escaped path, bytes)."""
    found = [
        FoundBundle(
            path=path, sha256=hashlib.sha256(raw).digest(), raw=raw if len(raw) <= MAX_BUNDLE_BYTES else None
        )
        for path, raw in bundles
    ]
    return judge(manifest, found, Files(manifest, None, {}), trust=trust)


def judge(
    manifest: Manifest, bundles: Sequence[FoundBundle], files: Files, *, trust: TrustMaterial
) -> Findings:
    """Judge every bundle against the manifest; one bundle that lies at several paths is one signature."""
    parsed: dict[bytes, Bundle | None] = {}
    places: dict[bytes, FoundBundle] = {}
    for found in sorted(bundles, key=lambda each: each.path.encode()):
        if found.sha256 not in places:
            places[found.sha256] = found
            parsed[found.sha256] = _try_parse(found)
    sound = {each.path for each in bundles if parsed[each.sha256] is not None}
    judged = [_judge(places[sha256], bundle, files, sound, trust) for sha256, bundle in parsed.items()]
    judged.sort(key=lambda each: (each.fact.outcome != "VERIFIED", each.fact.bundle_sha256))
    facts = tuple(each.fact for each in judged)
    rest = facts[MAX_SIGNATURES:]
    reasons = sorted({code for each in judged for code in each.reasons})
    reference = ManifestRef(
        sha256=manifest.sha256,
        content_sha256=manifest.content(sound).sha256,
        files=len(manifest.items),
        bytes=manifest.total_bytes,
    )
    return Findings(
        manifest=manifest,
        reference=reference,
        signatures=facts[:MAX_SIGNATURES],
        more_signatures=overflow_value([fact.as_json() for fact in rest]) if rest else None,
        outcome=outcome_of(facts),
        reasons=tuple(reasons[: MAX_REASONS // 2]),
        evidence=(
            *(each.raw for each in places.values() if each.raw is not None),
            *([format_canonical_json([fact.as_json() for fact in rest])] if rest else ()),
        ),
        details=tuple((each.fact.bundle_sha256, each.reasons[0], each.text) for each in judged if each.text),
    )


def _try_parse(found: FoundBundle) -> Bundle | None:
    if found.raw is None:
        return None
    try:
        return parse_bundle(found.raw)
    except InputError:
        return None


def _why_malformed(found: FoundBundle) -> str:
    try:
        parse_bundle(found.raw or b"")
    except InputError as error:
        return str(error) if found.raw is not None else ""
    return ""


def _judge(
    found: FoundBundle, bundle: Bundle | None, files: Files, sound: set[str], trust: TrustMaterial
) -> _Judged:
    fact = _Draft(bundle_sha256=found.sha256, location=escape_name(found.path))
    if bundle is None:
        reason = TOO_LARGE if found.raw is None else "bundle-malformed"
        return fact.done("UNSUPPORTED", [reason], text=_why_malformed(found))
    fact.method, fact.statement_sha256 = bundle.method, bundle.statement_sha256
    try:
        verified = verify_signature(bundle, trust)
    except NotVerifiedError as error:
        fact.claimed = claimed_signer(bundle)
        return fact.done(error.outcome, [error.reason], text=str(error))
    fact.signer, fact.upstream = verified.signer, verified
    try:
        signed = parse_signed_files(bundle)
    except InputError as error:
        return fact.done("UNSUPPORTED", ["statement-unsupported"], text=str(error))
    fact.root_sha256, fact.ignored = signed.root_sha256, signed.ignored_paths
    try:
        problems = sorted(set(_compare(signed, files, sound)))
    except NotVerifiedError as error:
        return fact.done(error.outcome, [error.reason], text=str(error))
    return fact.done("CONTENT_MISMATCH" if problems else "VERIFIED", problems)


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A signature's fact while it is being found out."""

    bundle_sha256: bytes
    location: str
    method: str | None = None
    statement_sha256: bytes | None = None
    root_sha256: bytes | None = None
    ignored: tuple[str, ...] | None = None
    signer: SignerFacts | None = None
    claimed: SignerFacts | None = None
    upstream: VerifiedSignature | None = None

    def done(self, outcome: str, reasons: list[str], *, text: str = "") -> _Judged:
        """Return the fact. Who signed something else than these files, or unreadable, is only claimed."""
        signer = self.signer if outcome in ("VERIFIED", "CONTENT_MISMATCH") else None
        fact = SignatureFact(
            bundle_sha256=self.bundle_sha256,
            outcome=outcome,
            location=self.location,
            method=self.method,
            statement_sha256=self.statement_sha256,
            oms_root_sha256=self.root_sha256,
            ignored_paths=None if self.ignored is None else _cap_paths(self.ignored),
            signer=signer,
            claimed_signer=None if signer else self.signer or self.claimed,
            upstream_log=self.upstream.upstream_log if self.upstream else None,
        )
        return _Judged(fact, reasons, text)


def _cap_paths(paths: tuple[str, ...]) -> tuple[str, ...] | Overflow:
    if len(paths) <= MAX_IGNORED_PATHS:
        escaped = tuple(escape_name(path) for path in paths)
        if all(escaped) and len(format_canonical_json(list(escaped))) <= IGNORED_PATHS_CAP:
            return escaped
    return overflow_value([path.encode("utf-8", "replace").decode() for path in paths])


def _compare(signed: SignedFiles, files: Files, sound: set[str]) -> Iterator[str]:
    """Yield a reason code for each way in which the files differ from what was signed."""
    manifest = files.manifest
    listed: dict[str, list[Resource]] = {}
    for resource in signed.resources:
        listed.setdefault(_in_manifest(resource.path), []).append(resource)
    present = {
        item.path
        for item in manifest.items
        if item.path not in sound and not _ignored(item.path, signed.ignored_paths)
    }
    if set(listed) == {"."}:  # a model that is one file
        if len(present) != 1:
            yield "unsigned-file" if present else "missing-file"
            return
        listed = {next(iter(present)): listed["."]}
    if present - listed.keys():
        yield "unsigned-file"
    for path, resources in listed.items():
        target = _resolve(path, manifest, follow=signed.allow_symlinks)
        if target is None:
            yield "missing-file"
        else:
            yield from _compare_file(target, resources, signed.hash_type, files)


def _in_manifest(name: str) -> str:
    """Return a statement's name as the manifest escapes it."""
    return escape_path(name.encode("utf-8", "surrogateescape")) if name != "." else name


def _ignored(path: str, ignored: Sequence[str]) -> bool:
    return any(
        path == each or path.startswith(each.rstrip("/") + "/")
        for each in (*_ALWAYS_IGNORED, *map(_in_manifest, ignored))
    )


def _resolve(path: str, manifest: Manifest, *, follow: bool) -> str | None:
    """Return the regular file at ``path``; a link counts only if the signer allowed links and it stays inside."""
    if path in manifest.files:
        return path
    links = (
        {item.path: item.link for item in manifest.items if isinstance(item, ManifestLink)} if follow else {}
    )
    if path not in links or links[path].startswith("/"):
        return None
    target = os.path.normpath(os.path.join(os.path.dirname(path), links[path]))
    return target if target in manifest.files else None


def _compare_file(path: str, resources: Sequence[Resource], hash_type: str, files: Files) -> Iterator[str]:
    size = files.manifest.files[path].size
    ends = sorted((each.start or 0, size if each.end is None else each.end) for each in resources)
    position = 0
    for start, end in ends:
        if start != position or end > size:
            yield "content-differs"
            return
        position = end
    if position != size:
        yield "content-differs"
        return
    for resource in resources:
        if files.digest(path, hash_type, resource.start, resource.end) != resource.digest:
            yield "content-differs"
            return


def hash_revision(path: pathlib.Path, *, progress: Progress | None = None) -> tuple[bytes, bytes]:
    """Return the manifest's and the content's SHA-256 of a directory or file; verifies no signature.

    Raises:
        NotFoundError, SourceError: the files cannot be read.
    """
    manifest, content = read_content(path, progress=progress)
    return manifest.sha256, content.sha256


def read_content(path: pathlib.Path, *, progress: Progress | None = None) -> tuple[Manifest, Manifest]:
    """Return the manifest of a directory or file, and that of its content; verifies no signature.

    Raises:
        NotFoundError, SourceError: the files cannot be read.
    """
    manifest, bundles, _ = read_revision(path, progress=progress)
    return manifest, manifest.content({each.path for each in bundles if _try_parse(each) is not None})
