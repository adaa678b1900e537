"""`hubledger verify --name`: from a name to a result."""

import pathlib
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from cli.verify_input import expectations, given_on, read_file, refuse_beside
from ledger.errors import UsageError

if TYPE_CHECKING:
    from ledger.attestation.envelope import Attestation
    from ledger.client.named import NamedResult
    from ledger.client.trust_store import StoredTrust

_MAX_PEM_BYTES = 1 << 20
_REFUSED = ("--partial", "--manifest", "--artifact", "--pin", "--statement")
"""Options of a check without a name: files are the argument, and what is remembered is kept for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says, beside the expectations."""

    path: pathlib.Path | None
    name: str | None
    revision: str | None
    proof_file: pathlib.Path | None
    attestation_file: pathlib.Path | None
    url: str | None
    offline: bool
    live: bool
    digest_cache: bool
    trust_file: pathlib.Path | None
    trusted_root: pathlib.Path | None
    public_keys: Sequence[str]
    opening: pathlib.Path | None
    expect_all: bool
    log_only: bool


def verify_named(ctx: click.Context, options: Options, *, quiet: bool) -> "NamedResult":
    """Check a model by its name. Raises UsageError, and what ``ledger.client.checking.answer`` raises."""
    from cli.progress import progress_bar
    from ledger.bundle.trust_material import TrustMaterial
    from ledger.client.checking import Question, answer, refuse_empty, user_folder
    from ledger.client.opening import MAX_OPENING_BYTES, parse_opening

    refuse_empty({"--name": options.name, "--revision": options.revision})
    _check(ctx, options)
    folder = user_folder()
    attestation = _read_attestation(options.attestation_file)
    wanted, revision = _asked(options, attestation)
    stored, name = find_trust(options.trust_file, wanted, folder)
    if attestation is not None:
        _check_about(attestation, stored.trust.hub, name, options.revision)
    question = Question(
        path=options.path,
        name=name,
        revision=revision,
        expected=expectations(ctx.meta["hubledger.expect"]),
        expect_all=options.expect_all,
        openings=parse_opening(read_file(options.opening, MAX_OPENING_BYTES)) if options.opening else (),
        proof_file=options.proof_file,
        url=options.url,
        offline=options.offline,
        live=options.live,
        digest_cache=options.digest_cache,
    )
    material = TrustMaterial(
        public_keys=[read_file(pathlib.Path(each), _MAX_PEM_BYTES) for each in options.public_keys],
        sigstore_json=_read_root(options.trusted_root),
    )
    now = int(time.time())  # noqa: TID251 - the edge that asks the clock
    with progress_bar("hashing", quiet=quiet or options.path is None, unit="bytes") as advance:
        found = answer(question, stored, material=material, folder=folder, now=now, progress=advance)
    if attestation is None:
        return found
    from ledger.client.attested import check_attested

    return check_attested(found, attestation, trust=stored.trust, now=now)


def _read_root(path: pathlib.Path | None) -> bytes | None:
    if path is None:
        return None
    from ledger.client.roots import MAX_ROOT_BYTES  # whoever has no root pays nothing for certificates

    return read_file(path, MAX_ROOT_BYTES)


def _read_attestation(path: pathlib.Path | None) -> "Attestation | None":
    if path is None:
        return None
    from ledger.attestation.envelope import MAX_ATTESTATION_BYTES, parse_attestation

    return parse_attestation(read_file(path, MAX_ATTESTATION_BYTES))


def _asked(options: Options, attestation: "Attestation | None") -> tuple[str, str | None]:
    """Return name and revision: those of the command line, else those to which the attestation leads. Raises UsageError."""
    if attestation is None:
        return options.name or "", options.revision
    at = attestation.pointer
    if options.name is None and "%" in attestation.model:
        raise UsageError(
            "--attestation",
            expected="--name beside it: the model's name has been escaped where it is recorded",
            actual="none",
            next_step="Name the model as the hub calls it",
        )
    revision = options.revision if options.revision or "%" in at.revision else at.revision
    return options.name or f"{at.hub}/{attestation.model}", revision


def _check_about(attestation: "Attestation", hub: str, name: str, revision: str | None) -> None:
    """Refuse an attestation about something else than what was asked for, before anybody is asked. Raises UsageError."""
    from ledger.event import escape_name

    at = attestation.pointer
    asked = hub, escape_name(name), at.revision if revision is None else escape_name(revision)
    if asked != (at.hub, attestation.model, at.revision):
        raise UsageError(
            "--attestation",
            expected=f"one about {asked[0]}/{asked[1]} at {asked[2]}, which you asked for",
            actual=f"one about {at.hub}/{attestation.model} at {at.revision}",
            next_step="Name the attestation of the revision that you have",
        )


def find_trust(trust_file: pathlib.Path | None, name: str, folder: pathlib.Path) -> "tuple[StoredTrust, str]":
    """Return the trust file for a name, from the store or from a file, and the name at that hub.

    Raises:
        NotFoundError: no such file, or none of this hub is stored. UsageError: the file is of another hub.
    """
    from ledger.client.trust import MAX_TRUST_BYTES, parse_trust
    from ledger.client.trust_store import Origin, StoredTrust, TrustStore

    if trust_file is None:
        return TrustStore(folder).find(name)
    data = read_file(trust_file, MAX_TRUST_BYTES)
    trust = parse_trust(data)
    if not name.startswith(trust.hub + "/"):
        raise UsageError("--name", expected=f"{trust.hub}/…, the hub of the trust file", actual=name)
    stored = StoredTrust(data=data, trust=trust, source=str(trust_file), origin=Origin.CONFIRMED)
    return stored, name.removeprefix(trust.hub + "/")


def _check(ctx: click.Context, options: Options) -> None:
    word = "--attestation" if options.name is None else "--name"
    if given_on(ctx, "--model"):
        raise UsageError(
            word,
            expected="no --model beside it",
            actual="--model",
            next_step=f"Give the folder as MODEL: hubledger verify {shlex.quote(str(ctx.params['model']))} {word} …",
        )
    refuse_beside(ctx, word, _REFUSED)
    if options.path is not None and options.log_only:
        raise UsageError(
            f"{word} with MODEL",
            expected="no --log-only beside it, which checks no files",
            actual="both",
            next_step=f"Check the files: hubledger verify {shlex.quote(str(options.path))} {word} …",
        )
    if options.path is None and not options.log_only:
        raise UsageError(
            word,
            expected="MODEL, the folder of its files",
            actual="none",
            next_step="Name the folder of the model's files",
        )
    if options.log_only and (ctx.meta["hubledger.expect"] or options.public_keys):
        raise UsageError("--log-only", expected="no --expect options and no --public-key", actual="both")
    if options.expect_all and not ctx.meta["hubledger.expect"]:
        raise UsageError("--expect-all", expected="at least one expectation", actual="none")
    if sum(map(bool, (options.proof_file, options.offline, options.url))) > 1:
        raise UsageError("--name", expected="one of --from, --offline and --url", actual="more")
    if options.live:
        refuse_beside(ctx, "--live", ("--offline", "--from"))
