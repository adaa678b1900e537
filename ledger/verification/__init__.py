"""Files against bundles: what the hub found out about one revision (architecture sections 2 and 3).

Nothing that an upload contains makes this raise: junk has an outcome and a reason code. The same files give the same
findings, on any machine, in any order of the directory; only remarks, and a certificate from the future, depend on
when the hub received them.
"""

import hashlib
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger.bundle import MAX_BUNDLE_BYTES, Bundle, NotVerifiedError, parse_bundle
from ledger.bundle.reasons import REASONS, refused
from ledger.bundle.signature import claimed_signer, verify_signature
from ledger.bundle.statement import parse_signed_files, parse_statement
from ledger.bundle.trust_material import TrustMaterial, VerifiedSignature
from ledger.encoding import format_canonical_json
from ledger.event import MAX_SIGNATURES, ManifestRef, SignatureFact, escape_name, outcome_of
from ledger.event.schemas import IGNORED_PATHS_CAP, MAX_IGNORED_PATHS, MAX_REASONS
from ledger.identity import Overflow, overflow_value
from ledger.manifest import Manifest, ManifestFile
from ledger.verification.comparing import Revision, compare, remarks
from ledger.verification.reading import Files, FoundBundle, Progress, Remembered, Seen, read_revision

_SMALL_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one signature has its outcome, or a remark on it: the reason code and the sentence that goes with it."""

    bundle_sha256: bytes
    location: str
    code: str
    detail: str = ""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.location}: {REASONS[self.code].outcome} {self.code}: {REASONS[self.code].text}{detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found about one revision, ready to be recorded.

    ``evidence`` is stored first, with the manifest: bundles, and the list of signatures past 16. ``explanations`` are for
    people; their codes are ``reasons``.
    """

    manifest: Manifest
    reference: ManifestRef
    signatures: tuple[SignatureFact, ...]
    more_signatures: Overflow | None
    outcome: str
    reasons: tuple[str, ...]
    evidence: tuple[bytes, ...]
    explanations: tuple[Explanation, ...] = ()


@dataclass(slots=True)
class _Judged:
    """One signature with its fact, and why."""

    fact: SignatureFact
    explanations: list[Explanation] = field(default_factory=list)


def verify_revision(
    path: pathlib.Path,
    *,
    trust: TrustMaterial,
    received: datetime | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Verify every signature found on a directory or file, which the hub ``received`` then.

    Raises:
        NotFoundError, SourceError: the files cannot be read. ConfigError: ``trust`` cannot be used.
    """
    manifest, bundles, files = read_revision(path, progress=progress)
    return judge(manifest, bundles, files, trust=trust, received=received)


def verify_manifest(
    manifest: Manifest,
    bundles: Sequence[tuple[str, bytes]],
    *,
    trust: TrustMaterial,
    received: datetime | None = None,
) -> Findings:
    """Verify signatures against a manifest that the hub already knows; ``bundles`` are (escaped path, bytes)."""
    found = [
        FoundBundle(
            path=path, sha256=hashlib.sha256(raw).digest(), raw=raw if len(raw) <= MAX_BUNDLE_BYTES else None
        )
        for path, raw in bundles
    ]
    return judge(manifest, found, Files(manifest, None), trust=trust, received=received)


def judge(
    manifest: Manifest,
    bundles: Sequence[FoundBundle],
    files: Files,
    *,
    trust: TrustMaterial,
    received: datetime | None = None,
) -> Findings:
    """Judge every bundle against the manifest; one bundle that lies at several paths is one signature."""
    places: dict[bytes, FoundBundle] = {}
    for found in sorted(bundles, key=lambda each: each.path.encode()):
        places.setdefault(found.sha256, found)
    parsed = {sha256: _Parsed.of(found) for sha256, found in places.items()}
    sound = {each.path for each in bundles if parsed[each.sha256].sound}
    revision = Revision.of(manifest, sound, files)
    judged = [_judge(each, revision, trust, received) for each in parsed.values()]
    judged.sort(key=lambda each: (each.fact.outcome != "VERIFIED", each.fact.bundle_sha256))
    facts = tuple(each.fact for each in judged)
    rest = facts[MAX_SIGNATURES:]
    explanations = tuple(each for one in judged for each in one.explanations)
    return Findings(
        manifest=manifest,
        reference=ManifestRef(
            sha256=manifest.sha256,
            content_sha256=manifest.content(sound).sha256,
            files=len(manifest.items),
            bytes=manifest.total_bytes,
        ),
        signatures=facts[:MAX_SIGNATURES],
        more_signatures=overflow_value([fact.as_json() for fact in rest]) if rest else None,
        outcome=outcome_of(facts),
        reasons=tuple(sorted({each.code for each in explanations})[: MAX_REASONS // 2]),
        evidence=(
            *(each.raw for each in places.values() if each.raw is not None),
            *([format_canonical_json([fact.as_json() for fact in rest])] if rest else ()),
        ),
        explanations=explanations,
    )


def _parse(found: FoundBundle) -> Bundle:
    if found.raw is None:
        raise refused("bundle-too-large")
    return parse_bundle(found.raw)


def _is_sound(found: FoundBundle) -> bool:
    """Whether a file is a signature bundle by docs/spec/manifest.md, and so no content."""
    return _Parsed.of(found).sound


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parsed:
    """A file that was parsed once for whether it is a bundle, and is needed again when all others were.

    Only small ones are kept: forty of 16 MiB would not fit into memory.
    """

    found: FoundBundle
    sound: bool
    kept: Bundle | None

    @classmethod
    def of(cls, found: FoundBundle) -> "_Parsed":
        try:
            bundle = _parse(found)
        except NotVerifiedError:
            return cls(found=found, sound=False, kept=None)
        return cls(found=found, sound=True, kept=bundle if len(bundle.raw) <= _SMALL_BYTES else None)


def _judge(parsed: _Parsed, revision: Revision, trust: TrustMaterial, received: datetime | None) -> _Judged:
    """Judge one bundle: its form, what it is about, who signed, what, and whether these files are that."""
    found = parsed.found
    fact = _Draft(bundle_sha256=found.sha256, location=escape_name(found.path))
    try:
        fact.bundle = bundle = parsed.kept or _parse(found)
        # What is no model signature is not held against one: nobody may read "invalid" about an attestation.
        statement = parse_statement(bundle)
        fact.verified = verify_signature(
            bundle, trust, predicate_type=statement.predicate_type, received=received
        )
        signed = parse_signed_files(statement)
        fact.root_sha256, fact.ignored = signed.root_sha256, signed.ignored_paths
        problems = sorted(set(compare(signed, revision)))
    except NotVerifiedError as error:
        return fact.done(error.outcome, [(error.reason, error.detail)])
    if problems:
        return fact.done("CONTENT_MISMATCH", problems)
    return fact.done(
        "VERIFIED", [*((code, "") for code in fact.verified.remarks), *remarks(signed, revision)]
    )


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A signature's fact while it is being found out."""

    bundle_sha256: bytes
    location: str
    bundle: Bundle | None = None
    root_sha256: bytes | None = None
    ignored: tuple[str, ...] | None = None
    verified: VerifiedSignature | None = None

    def done(self, outcome: str, why: Sequence[tuple[str, str]]) -> _Judged:
        """Return the fact. Who signed something that cannot be read is only claimed."""
        bundle, verified = self.bundle, self.verified
        signer = verified.signer if verified and outcome in ("VERIFIED", "CONTENT_MISMATCH") else None
        claimed = verified.signer if verified else claimed_signer(bundle) if bundle else None
        fact = SignatureFact(
            bundle_sha256=self.bundle_sha256,
            outcome=outcome,
            location=self.location,
            method=bundle.method if bundle else None,
            statement_sha256=bundle.statement_sha256 if bundle else None,
            oms_root_sha256=self.root_sha256,
            ignored_paths=None if self.ignored is None else _cap_paths(self.ignored),
            signer=signer,
            claimed_signer=None if signer else claimed,
            upstream_log=verified.upstream_log if verified else None,
        )
        return _Judged(
            fact,
            [
                Explanation(
                    bundle_sha256=self.bundle_sha256, location=self.location, code=code, detail=detail
                )
                for code, detail in why
            ],
        )


def _cap_paths(paths: tuple[str, ...]) -> tuple[str, ...] | Overflow:
    if len(paths) <= MAX_IGNORED_PATHS:
        escaped = tuple(escape_name(path) for path in paths)
        if all(escaped) and len(format_canonical_json(list(escaped))) <= IGNORED_PATHS_CAP:
            return escaped
    return overflow_value([path.encode("utf-8", "replace").decode() for path in paths])


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The files of a revision: all of them, those that are content, and those that are signature bundles.

    ``seen`` is for ``ledger.verification.second_look``, once all that takes time is over.
    """

    manifest: Manifest
    content: Manifest
    bundles: tuple[ManifestFile, ...]
    seen: Seen | None = None

    @property
    def special(self) -> tuple[str, ...]:
        """The paths of pipes, sockets and devices among the files, which are no content and have no digest."""
        return () if self.seen is None else self.seen.special


def read_content(path: pathlib.Path, *, progress: Progress | None = None) -> Content:
    """Return what is in a directory or file; verifies no signature.

    Raises:
        NotFoundError, SourceError: the files cannot be read.
    """
    manifest, found, files = read_revision(path, progress=progress)
    bundles = [each.path for each in found if _is_sound(each)]
    return Content(
        manifest=manifest,
        content=manifest.content(set(bundles)),
        bundles=tuple(manifest.files[each] for each in bundles),
        seen=files.seen,
    )


def verify_content(
    path: pathlib.Path,
    *,
    trust: TrustMaterial,
    progress: Progress | None = None,
    remembered: Remembered | None = None,
) -> tuple[Content, Findings]:
    """Return what is in a directory or file, and what its signatures are, from one reading of the files.

    What is ``remembered`` is not read again.

    Raises:
        NotFoundError, SourceError: the files cannot be read. ConfigError: ``trust`` cannot be used.
    """
    manifest, found, files = read_revision(path, progress=progress, remembered=remembered)
    bundles = [each.path for each in found if _is_sound(each)]
    content = Content(
        manifest=manifest,
        content=manifest.content(set(bundles)),
        bundles=tuple(manifest.files[each] for each in bundles),
        seen=files.seen,
    )
    return content, judge(manifest, found, files, trust=trust)
