"""One call before a model is loaded: reads the files, gets the proof, checks all, and raises unless everything holds."""

import os
import pathlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from ledger.client.contradictions import with_memory
from ledger.client.expect import Expectation
from ledger.client.files import links_outside
from ledger.client.named import Asked, NamedResult, check_named
from ledger.client.opening import Opening
from ledger.client.partial import PartialFiles
from ledger.client.pins import Pins
from ledger.client.proof_bundle import choose
from ledger.client.proof_source import ProofCache, Sourced, Wanted, find_proof, read_bundle, service_of
from ledger.client.result import LocalFiles
from ledger.client.trust_store import StoredTrust, TrustStore
from ledger.client.user_store import default_folder
from ledger.errors import LedgerError, UsageError, VerificationError
from ledger.event import escape_name
from ledger.manifest import Manifest, parse_manifest
from ledger.storage.directory import read_file
from ledger.verification.second_look import look_again

if TYPE_CHECKING:
    from ledger.bundle.trust_material import TrustMaterial
    from ledger.client.known_digests import KnownDigests
    from ledger.verification import Findings
    from ledger.verification.reading import Progress, Seen

_P = ParamSpec("_P")
Pem = bytes | str | pathlib.Path
"""A public key: its PEM, or the path of the file."""
_MAX_PEM_BYTES = 1 << 20
MAX_MANIFEST_BYTES = 64 << 20
"""Of a model of some 500,000 files: a service decides what is read into memory here."""


_ASK = "Ask whoever gave you the trust file how what it requires is to be met"


class CheckFailedError(VerificationError):
    """A check took place, and something does not hold or is not enough: ``result`` has both words and every step.

    Evidence of misbehaviour is in ``result.result.evidence``: whoever catches this keeps it.
    """

    def __init__(self, found: NamedResult) -> None:
        self.result = found
        failure = found.result.failure
        next_step = failure.next_step if failure else _ASK
        if found.result.evidence is not None:
            next_step += ". It is in error.result.result.evidence"
        super().__init__(
            f"model {found.name}: log {found.result.log}, model {found.result.model}"
            + (f": {failure.step}" if failure else ""),
            expected=failure.expected if failure else "what the trust file requires",
            actual=failure.actual if failure else str(found.result.log),
            next_step=next_step,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of one model. ``name`` and ``revision`` are as the hub calls them, without the hub's id.

    ``path`` None: the log alone. ``proof_file`` is of `hubledger fetch-proof`; ``url`` is the service, where it is not the
    address that the trust file came from, and ``live`` demands its answer: what was kept of it does not do. ``partial``: some of the files are enough, and the service says what the rest is;
    the signatures are over all files, and are not checked here then. ``digest_cache``: larger files that did not change since they
    were hashed are not read again (``ledger.client.known_digests``), and the result says so.
    """

    path: pathlib.Path | None
    name: str
    revision: str | None = None
    expected: Sequence[Expectation] = ()
    expect_all: bool = False
    openings: Sequence[Opening] = ()
    proof_file: pathlib.Path | None = None
    url: str | None = None
    offline: bool = False
    live: bool = False
    partial: bool = False
    digest_cache: bool = False


def user_folder() -> pathlib.Path:
    """Return where this user's trust files, pins and proofs are. Raises ConfigError."""
    return default_folder(os.environ, pathlib.Path.home)


def posix_now() -> int:
    """Return the time in POSIX seconds."""
    return int(time.time())  # noqa: TID251 - the edge that asks the clock


def refuse_empty(given: Mapping[str, str | None]) -> None:
    """Refuse a text that is there and empty, as of a variable that is not set: taken for none, it would ask for less.

    ``given`` has each by the word that the caller used for it, as ``--revision``. Raises UsageError.
    """
    for word, value in given.items():
        if value is not None and not value:
            raise UsageError(
                word,
                expected=f"a {word.strip('-').lower()}",
                actual="an empty one (is the variable set?)",
                next_step="Give the one that you mean",
            )


def answer(
    question: Question,
    stored: StoredTrust,
    *,
    material: "TrustMaterial",
    folder: pathlib.Path,
    now: int,
    progress: "Progress | None" = None,
) -> NamedResult:
    """Answer a question, whatever the answer is.

    Raises:
        LedgerError: the check did not take place: files that cannot be read or that changed meanwhile, a hub that is away, a
            damaged store. UsageError: an empty name or revision.
    """
    refuse_empty({"name": question.name, "revision": question.revision})
    known = _known_digests(question, folder, now)
    whole, findings, seen = (
        (None, None, None) if question.partial else _read(question.path, material, progress, known)
    )
    row = None if known is None else known.finish()
    revision = None if question.revision is None else escape_name(question.revision)
    wanted = Wanted(name=escape_name(question.name), revision=revision, files=whole)
    pins = Pins(folder)
    found = _proof(question, wanted, stored, pins=pins, folder=folder, now=now)
    files: LocalFiles | PartialFiles | None = whole and _with_manifest(question, stored, found, whole)
    if question.partial:
        files, seen = _read_partial(question, wanted, stored, found)
    asked = Asked(
        name=wanted.name,
        revision=revision,
        files=files,
        findings=findings,
        expected=question.expected,
        expect_all=question.expect_all,
        openings=question.openings,
        log_only=question.path is None,
    )
    if seen is not None:
        look_again(
            seen
        )  # before anything is remembered: all is about files that were there from the first byte read until here
    result = check_named(found.bundle, asked, stored=stored, pins=pins, source=found.source, now=now)
    if found.caution is not None:
        cautions = (found.caution, *result.result.cautions)
        result = replace(result, result=replace(result.result, cautions=cautions))
    result = replace(result, result=with_memory(result.result, stored.trust, folder, now=now))
    if seen is not None and result.result.satisfied:
        look_again(seen)  # a success is about files that were there from the first byte read until here
    if known is None or row is None:
        return result
    checks = (*result.result.checks, row)
    return replace(result, result=replace(result.result, checks=checks), remembered=known.used)


def _known_digests(question: Question, folder: pathlib.Path, now: int) -> "KnownDigests | None":
    if not question.digest_cache:
        return None
    if question.path is None or question.partial:
        raise UsageError(
            "remembered digests",
            expected="a check of all files of a model",
            actual="some of them" if question.partial else "the log alone",
            next_step="Leave the digest cache out",
        )
    from ledger.client.known_digests import DigestStore  # only for those who asked for it

    return DigestStore(folder).of(question.path, now=now)


def require(found: NamedResult) -> NamedResult:
    """Return a result that satisfies the trust file. Raises CheckFailedError."""
    if not found.result.satisfied:
        raise CheckFailedError(found)
    return found


def _proof(
    question: Question, wanted: Wanted, stored: StoredTrust, *, pins: Pins, folder: pathlib.Path, now: int
) -> Sourced:
    if question.proof_file is not None:
        if question.live:
            raise UsageError(
                "a live answer",
                expected="a service that may be asked",
                actual="a file with the proof",
                next_step="Leave one of the two out",
            )
        return read_bundle(question.proof_file)
    return find_proof(
        wanted,
        stored,
        pins=pins,
        cache=ProofCache(folder),
        now=now,
        url=question.url,
        offline=question.offline,
        live=question.live,
    )


def _read_partial(
    question: Question, wanted: Wanted, stored: StoredTrust, found: Sourced
) -> "tuple[PartialFiles | None, Seen | None]":
    """Read some of the files of a model, and get the manifest that says what the rest is, which the event names."""
    if question.path is None:
        return None, None
    if question.offline or question.proof_file is not None:
        raise UsageError(
            "some of the files",
            expected="the service, which has the manifest of all",
            actual="a check without network",
            next_step="Check the whole model, or use hubledger verify --proof with --partial and --manifest",
        )
    from ledger.verification import read_content

    claim = choose(found.bundle.claims, revision=wanted.revision, content=None)
    manifest = _fetch_manifest(question, stored, claim.manifest_sha256 if claim else b"")
    present = read_content(question.path)
    files = PartialFiles(
        manifest=manifest, present=present.manifest.items, special=present.special, bundles=present.bundles
    )
    return files, present.seen


def _with_manifest(question: Question, stored: StoredTrust, found: Sourced, files: LocalFiles) -> LocalFiles:
    """Get the manifest where these are not the files, to say which are not; a check does not fail for want of it."""
    if question.proof_file is not None or found.caution is not None:
        return files
    revision = None if question.revision is None else escape_name(question.revision)
    claim = choose(
        found.bundle.claims,
        revision=revision,
        content=files.content_sha256,
        manifest=files.manifest_sha256,
    )
    if claim is None or claim.content_sha256 == files.content_sha256:
        return files
    with suppress(LedgerError):
        return replace(files, listed=_fetch_manifest(question, stored, claim.manifest_sha256))
    return files


def _fetch_manifest(question: Question, stored: StoredTrust, digest: bytes) -> Manifest:
    fetch = service_of(stored, question.url)
    return parse_manifest(
        fetch(f"v1/evidence/{digest.hex()}", max_bytes=MAX_MANIFEST_BYTES), max_bytes=MAX_MANIFEST_BYTES
    )


def _read(
    path: pathlib.Path | None,
    material: "TrustMaterial",
    progress: "Progress | None",
    remembered: "KnownDigests | None",
) -> "tuple[LocalFiles | None, Findings | None, Seen | None]":
    if path is None:
        return None, None, None
    from ledger.verification import verify_content

    content, findings = verify_content(path, trust=material, progress=progress, remembered=remembered)
    files = LocalFiles(
        manifest_sha256=content.manifest.sha256,
        content_sha256=content.content.sha256,
        bundles=content.bundles,
        outside=links_outside(content.manifest.items),
        special=content.special,
        items=content.content.items,
    )
    return files, findings, content.seen


def read_keys(keys: Sequence[Pem]) -> list[bytes]:
    """Return public keys as PEM: each is that, or the path of a file with it. Raises UsageError, NotFoundError, LimitError."""
    if isinstance(keys, str | bytes | pathlib.Path):
        raise UsageError(
            "public_keys",
            expected="a list of keys: PEM as bytes, or paths",
            actual=type(keys).__name__,
            next_step="Put it into a list",
        )
    return [
        each if isinstance(each, bytes) else read_file(pathlib.Path(each), max_bytes=_MAX_PEM_BYTES)
        for each in keys
    ]


def check(
    path: str | pathlib.Path,
    *,
    name: str,
    revision: str | None = None,
    trust: StoredTrust | None = None,
    expected: Sequence[Expectation] = (),
    expect_all: bool = False,
    public_keys: Sequence[Pem] = (),
    trusted_root: bytes | None = None,
    proof_file: str | pathlib.Path | None = None,
    url: str | None = None,
    offline: bool = False,
    live: bool = False,
    digest_cache: bool = False,
) -> NamedResult:
    """Check a model against the hub's ledger, and return what was found if all of it holds.

    ``name`` is ``hub/namespace/model``, and the hub's trust file is the user's own (``hubledger trust add``); with ``trust``, such as
    ``trust_from_file("trust.toml")``, it is the name at that hub. Without ``revision`` it is the latest with the content that is here.

    ``expected`` says who may have signed: one of them must have, or each with ``expect_all``. ``public_keys`` (PEM, or paths of such
    files) and ``trusted_root`` (JSON) are what the signatures beside the files are checked with here; they expect nobody.

    ``url`` is the ledger's service, where the trust file did not come from there. ``proof_file``, of ``hubledger fetch-proof``, takes
    its place without network, and so does ``offline`` what was fetched before; ``live`` takes nothing but the service's answer of now.
    ``digest_cache`` does not read larger files again that did not change.

    What was found is in ``result`` of what is returned: ``log``, ``model``, ``event``, ``signers``, ``cautions`` and every step in ``checks``.

    Raises:
        CheckFailedError: something does not hold, or is not enough. LedgerError: the check did not take place.
    """
    from ledger.bundle.trust_material import TrustMaterial

    refuse_empty({"name": name, "path": str(path) if isinstance(path, str) else None})
    folder = user_folder()
    if trust is None:
        trust, name = TrustStore(folder).find(name)
    else:
        name = name.removeprefix(trust.trust.hub + "/")
    question = Question(
        path=pathlib.Path(path),
        name=name,
        revision=revision,
        expected=expected,
        expect_all=expect_all,
        proof_file=None if proof_file is None else pathlib.Path(proof_file),
        url=url,
        offline=offline,
        live=live,
        digest_cache=digest_cache,
    )
    material = TrustMaterial(public_keys=read_keys(public_keys), sigstore_json=trusted_root)
    return require(answer(question, trust, material=material, folder=folder, now=posix_now()))


def _in_a_thread(function: Callable[_P, NamedResult]) -> Callable[_P, Coroutine[Any, Any, NamedResult]]:
    """Return the same question for programs that must not wait."""

    @wraps(function)
    async def ask(*args: _P.args, **kwargs: _P.kwargs) -> NamedResult:
        import asyncio  # only for those who have it anyway: it takes a tenth of the time of a whole check to load

        return await asyncio.to_thread(function, *args, **kwargs)

    return ask


check_async = _in_a_thread(check)
"""``check`` in a thread, for programs that must not wait."""
