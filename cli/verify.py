"""`hubledger verify`: check a proof, and a model, against a trust file. Offline."""

import pathlib
import time
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import click

from cli.output import columns, echo_json, json_option
from cli.verify_output import as_facts, as_text
from ledger.client.verify import (
    CheckResult,
    Expectation,
    LocalFiles,
    PartialFiles,
    check_proof,
)
from ledger.encoding import parse_base64
from ledger.errors import InputError, NotFoundError, UsageError, WriteError

_FILE = click.Path(path_type=pathlib.Path, dir_okay=False)


class ExitCode(IntEnum):
    """What each result that does not satisfy the trust file exits with: 10 to 19 the log, 20 to 29 the model.

    0 satisfies the trust file; 1 is a bug, 2 a usage error, and 30 to 69 are errors (``ledger.errors``).
    """

    STALE = 10
    NOT_LOGGED = 11
    CANNOT_CHECK = 12
    INVALID = 13
    MISBEHAVIOUR = 14
    NOT_ENOUGH = 15
    NOT_ACCEPTED = 20
    UNEXPECTED_SIGNER = 21
    CONTENT_DIFFERS = 22
    SUPERSEDED = 23
    NOT_CHECKED = 24


def exit_code(result: CheckResult) -> int:
    """Return the process's exit code: the log's result first, then the model's."""
    if result.satisfied:
        return 0
    if not result.log_satisfied:
        known = ExitCode.__members__
        return known.get(result.log.name, ExitCode.NOT_ENOUGH)
    return ExitCode[result.model.name]


_EVIDENCE_OUT = "misbehaviour.json"
_EXPECT = ("expect_signer", "expect_issuer", "expect_key", "expect_anchor")


class _Ordered(click.Command):
    """A command that remembers the order of its --expect options: a signer belongs with the issuer after it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as usual, and once more for the order in which click itself understood the options."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        values, _, order = self.make_parser(ctx).parse_args(args=given)
        queues = {name: iter(values.get(name) or ()) for name in _EXPECT}
        ctx.meta["hubledger.expect"] = [
            (f"--{option.name.replace('_', '-')}", next(queues[option.name]))
            for option in order
            if option.name in queues
        ]
        return rest


_MEANINGS = {
    ExitCode.STALE: "the checkpoint is older than the trust file allows",
    ExitCode.NOT_LOGGED: "the model was never recorded",
    ExitCode.CANNOT_CHECK: "nothing is wrong, but something is missing",
    ExitCode.INVALID: "the proof, a signature or the entry does not hold",
    ExitCode.MISBEHAVIOUR: "the log contradicts itself; evidence was written",
    ExitCode.NOT_ENOUGH: "sound, but the trust file requires more",
    ExitCode.NOT_ACCEPTED: "not verified, or a change that nobody confirmed",
    ExitCode.UNEXPECTED_SIGNER: "signed by somebody whom you do not expect",
    ExitCode.CONTENT_DIFFERS: "the files are not those that the hub saw",
    ExitCode.SUPERSEDED: "a later event about this revision differs",
    ExitCode.NOT_CHECKED: "no files given, and no --log-only",
}
_CODES = "\n".join(f"{code.value:>4}  {code.name:<17}  {meaning}" for code, meaning in _MEANINGS.items())
_EPILOG = f"""\b
Exit codes:
   0                     both results are what the trust file asks for
{_CODES}
   2                     options that contradict each other
  30 and up              the check did not take place; the message says why
"""


@click.command(cls=_Ordered, epilog=_EPILOG)
@click.option("--proof", "proof_file", type=_FILE, help="The .tlog-proof file.")
@click.option("--trust", "trust_file", required=True, type=_FILE, help="Your trust file.")
@click.option("--model", type=click.Path(path_type=pathlib.Path), help="The files: a folder or one file.")
@click.option(
    "--partial", is_flag=True, help="Some of the files are enough; --manifest says what the rest is."
)
@click.option(
    "--manifest", type=_FILE, help="The revision's manifest; default: manifest.json beside the proof."
)
@click.option(
    "--expect-signer", multiple=True, help="A signer that you accept, exactly; --expect-issuer must follow."
)
@click.option("--expect-issuer", multiple=True, help="The issuer of the signer before it.")
@click.option(
    "--expect-key",
    multiple=True,
    help="A key that you accept: SHA256:… as it is shown, the same in hex, or a PEM file.",
)
@click.option(
    "--expect-anchor",
    multiple=True,
    help="A certificate anchor that you accept, given in the same ways.",
)
@click.option(
    "--opening", type=_FILE, help="Who stands behind committed identities, as the hub handed it over."
)
@click.option("--expect-all", is_flag=True, help="Every expectation must be met, not just one.")
@click.option("--pin", type=_FILE, help="A checkpoint that you remember; the log may only have grown since.")
@click.option("--log-only", is_flag=True, help="Check the log alone, without files.")
@click.option(
    "--evidence-out",
    type=_FILE,
    default=_EVIDENCE_OUT,
    show_default=True,
    help="Where evidence of misbehaviour goes, if there is any; a file that exists is kept.",
)
@click.option(
    "--evidence",
    "evidence_file",
    type=_FILE,
    help="Instead of a proof: check evidence of misbehaviour that --evidence-out wrote. Exit code 0 if it convicts.",
)
@json_option
@click.pass_context
def command(  # noqa: PLR0917 - click passes each option
    ctx: click.Context,
    /,
    proof_file: pathlib.Path | None,
    trust_file: pathlib.Path,
    model: pathlib.Path | None,
    manifest: pathlib.Path | None,
    opening: pathlib.Path | None,
    pin: pathlib.Path | None,
    evidence_out: pathlib.Path,
    evidence_file: pathlib.Path | None,
    *,
    partial: bool,
    expect_all: bool,
    log_only: bool,
    as_json: bool,
    **_expected: Any,
) -> int:
    """Check offline that an event is in the log, and that the files are what the hub verified.

    Exit code 0 only if both results satisfy the trust file; each other result has its own.
    """
    from ledger.client.opening import MAX_OPENING_BYTES, parse_opening
    from ledger.client.trust import MAX_TRUST_BYTES, parse_trust
    from ledger.tlog.proof import MAX_PROOF_BYTES

    if evidence_file is not None:
        _refuse_beside_evidence(ctx)
        return _check_evidence(evidence_file, trust_file, as_json=as_json)
    if proof_file is None:
        raise UsageError("hubledger verify", expected="--proof, or --evidence", actual="neither")
    if log_only and (model or ctx.meta["hubledger.expect"]):
        raise UsageError("--log-only", expected="no --model and no --expect options", actual="both")
    if (partial or manifest) and not (partial and model):
        raise UsageError(
            "--partial", expected="--model and --partial, with or without --manifest", actual="less"
        )
    if expect_all and not ctx.meta["hubledger.expect"]:
        raise UsageError("--expect-all", expected="at least one expectation", actual="none")
    result = check_proof(
        _read(proof_file, MAX_PROOF_BYTES),
        trust=parse_trust(_read(trust_file, MAX_TRUST_BYTES)),
        now=int(time.time()),  # noqa: TID251 - the edge that asks the clock
        files=_read_partial(model, manifest or proof_file.with_name("manifest.json"), quiet=as_json)
        if partial and model
        else _hash_files(model, quiet=as_json),
        expected=_expectations(ctx.meta["hubledger.expect"]),
        expect_all=expect_all,
        log_only=log_only,
        pin=_read(pin, MAX_PROOF_BYTES) if pin else None,
        openings=parse_opening(_read(opening, MAX_OPENING_BYTES)) if opening else (),
    )
    written = None if result.evidence is None else _write_evidence(result.evidence, evidence_out)
    code = exit_code(result)
    if as_json:
        echo_json({**as_facts(result), **({"evidence": str(written)} if written else {}), "exitCode": code})
    else:
        click.echo(as_text(result, written, columns=columns()))
    return code


def _refuse_beside_evidence(ctx: click.Context) -> None:
    """Evidence is checked against a trust file alone: every other option would be ignored, so it is refused."""
    beside = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name not in ("evidence_file", "trust_file", "as_json")
        and ctx.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
    ]
    if beside:
        raise UsageError("--evidence", expected="no other option but --trust and --json", actual=beside[0])


def _check_evidence(evidence_file: pathlib.Path, trust_file: pathlib.Path, *, as_json: bool) -> int:
    """Show what the evidence proves; what does not convict is refused with the reason (see `verify_evidence`)."""
    from cli import misbehaviour
    from ledger.client.evidence import MAX_EVIDENCE_BYTES, verify_evidence
    from ledger.client.trust import MAX_TRUST_BYTES, parse_trust

    trust = parse_trust(_read(trust_file, MAX_TRUST_BYTES))
    found = verify_evidence(_read(evidence_file, MAX_EVIDENCE_BYTES), trust=trust)
    if as_json:
        echo_json(misbehaviour.as_facts(found))
    else:
        click.echo(misbehaviour.as_text(found, columns=columns()))
    return 0


def _write_evidence(evidence: bytes, path: pathlib.Path) -> pathlib.Path:
    """Write evidence to a file that was not there: evidence found before is never overwritten."""
    for number in range(1000):
        free = path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            with free.open("xb") as file:
                file.write(evidence)
        except FileExistsError:
            continue
        except OSError as error:
            raise WriteError(
                f"evidence of misbehaviour for {free}",
                expected="a file that can be written",
                actual=error.strerror,
                next_step="The log contradicts itself: run this again with --evidence-out in another folder",
            ) from error
        return free
    raise WriteError(
        "evidence of misbehaviour",
        expected="a free file name",
        actual=f"{path} and 999 more",
        next_step="The log contradicts itself: run this again with --evidence-out in another folder",
    )


def _read(path: pathlib.Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise NotFoundError(
            f"file {path}", expected="a readable file", actual=error.strerror, next_step="Check the path"
        ) from error


def _hash_files(model: pathlib.Path | None, *, quiet: bool) -> LocalFiles | None:
    if model is None:
        return None
    from cli.progress import progress_bar
    from ledger.client.files import links_outside
    from ledger.verification import read_content

    with progress_bar("hashing", quiet=quiet, unit="bytes") as advance:
        found = read_content(model, progress=advance)
    return LocalFiles(
        manifest_sha256=found.manifest.sha256,
        content_sha256=found.content.sha256,
        bundles=found.bundles,
        outside=links_outside(found.manifest.items),
    )


def _read_partial(model: pathlib.Path, manifest: pathlib.Path, *, quiet: bool) -> PartialFiles:
    from cli.progress import progress_bar
    from ledger.manifest import Manifest, read_items
    from ledger.verification import read_content

    try:
        with manifest.open("rb") as file:
            listed = Manifest(tuple(read_items(iter(lambda: file.read(1 << 20), b""))))
    except OSError as error:
        raise NotFoundError(
            f"manifest {manifest}",
            expected="a readable file",
            actual=error.strerror,
            next_step="Name it with --manifest; `hubledger evidence export` writes it beside the proof",
        ) from error
    with progress_bar("hashing", quiet=quiet, unit="bytes") as advance:
        found = read_content(model, progress=advance)
    return PartialFiles(manifest=listed, present=found.manifest.items, single=not model.is_dir())


def _expectations(options: Sequence[tuple[str, str]]) -> list[Expectation]:
    """Pair each signer with the issuer that follows it. Raises UsageError where one stands alone."""
    found: list[Expectation] = []
    signer: str | None = None
    for name, value in options:
        if (name == "--expect-issuer") != (signer is not None):
            raise _unpaired(name, signer)
        match name:
            case "--expect-signer":
                signer = value
            case "--expect-issuer":
                found.append(Expectation(signer=signer, issuer=value))
                signer = None
            case "--expect-key":
                found.append(Expectation(key_sha256=_fingerprint(value, "key")))
            case _:
                found.append(Expectation(anchor_sha256=_fingerprint(value, "anchor")))
    if signer is not None:
        raise _unpaired("the end", signer)
    return found


def _unpaired(name: str, signer: str | None) -> UsageError:
    if signer is None:
        return UsageError("--expect-issuer", expected="an --expect-signer before it", actual="none")
    return UsageError(f"--expect-signer {signer}", expected="an --expect-issuer right after it", actual=name)


_A_KEY = "SHA256:…, 64 hex digits, or a PEM file"


def _parse_fingerprint(text: str, what: str) -> bytes:
    """Read a fingerprint as `ledger.identity.fingerprint` writes it."""
    try:
        found = parse_base64(text.removeprefix("SHA256:") + "=", max_bytes=32)
    except InputError as error:
        raise UsageError(f"--expect-{what}", expected=_A_KEY, actual=text) from error
    if len(found) != 32:
        raise UsageError(f"--expect-{what}", expected=_A_KEY, actual=text)
    return found


def _fingerprint(value: str, what: str) -> bytes:
    """Return the SPKI's SHA-256 from its fingerprint, from hex, or from a PEM file."""
    import hashlib

    text = value.removeprefix("sha256:")
    if not text:
        raise UsageError(f"--expect-{what}", expected=_A_KEY, actual="nothing")
    if text.startswith("SHA256:"):
        return _parse_fingerprint(text, what)
    if len(text) == 64 and all(c in "0123456789abcdef" for c in text):
        return bytes.fromhex(text)
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    data = _read(pathlib.Path(value), 1 << 20)
    try:
        if b"BEGIN CERTIFICATE" in data:
            key = x509.load_pem_x509_certificate(data).public_key()
        else:
            key = serialization.load_pem_public_key(data[max(0, data.find(b"-----BEGIN")) :])  # type: ignore[assignment]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"--expect-{what}", expected=_A_KEY, actual=value) from error
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()
