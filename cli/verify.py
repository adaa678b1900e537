"""`hubledger verify`: check a model by its name, or a proof or Sigstore bundle at hand, against a trust file."""

import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import click

from cli.exit_codes import ExitCode
from cli.options import GivenPath
from cli.output import columns, echo_json, json_option, printable, wrap
from cli.verify_evidence import Kept, check_evidence, keep_evidence
from cli.verify_given import check_given, refuse_beside_evidence, refuse_without_name
from cli.verify_input import expectations, hash_files, read_file, read_partial, read_statements, refuse_beside
from cli.verify_output import as_facts, as_text, explained_facts, explained_text
from ledger.client.result import CheckResult
from ledger.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ledger.client.expect import Expectation
    from ledger.client.named import NamedResult
    from ledger.client.opening import Opening
    from ledger.client.partial import PartialFiles
    from ledger.client.result import LocalFiles
    from ledger.client.trust import TrustFile
    from ledger.client.vouching import Stated

_FILE = click.Path(path_type=pathlib.Path, dir_okay=False)


def exit_code(result: CheckResult) -> int:
    """Return the process's exit code: the log's result first, then the model's."""
    if result.satisfied:
        return 0
    if not result.log_satisfied:
        known = ExitCode.__members__
        return known.get(result.log.name, ExitCode.NOT_ENOUGH)
    return ExitCode[result.model.name]


_EVIDENCE_OUT = "misbehaviour.json"
_EXPECT = (
    "expect_signer",
    "expect_signer_pattern",
    "expect_issuer",
    "expect_key",
    "expect_anchor",
    "public_key",
)


class _Ordered(click.Command):
    """A command that remembers the order of its --expect options: a signer belongs with the issuer after it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as usual, and once more for the order in which click itself understood the options."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        values, _, order = self.make_parser(ctx).parse_args(args=given)
        by_name = ctx.params.get("name") is not None or ctx.params.get("attestation_file") is not None
        # By name, a key is what a signature beside the files is checked with: whom one expects is said by --expect alone.
        counted = [name for name in _EXPECT if not (by_name and name == "public_key")]
        queues = {name: iter(values.get(name) or ()) for name in counted}
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
@click.argument("path", metavar="[MODEL]", type=GivenPath(path_type=pathlib.Path), required=False)
@click.option(
    "--name",
    help="The model at a hub that you trust, as HUB/NAMESPACE/MODEL: its event is fetched and checked.",
)
@click.option(
    "--revision", help="With --name: this revision; default: the latest with the content that is here."
)
@click.option(
    "--from", "proof_bundle", type=_FILE, help="With --name: a file of fetch-proof, for no network."
)
@click.option("--offline", is_flag=True, help="With --name: only what was fetched before.")
@click.option(
    "--live", is_flag=True, help="With --name: the service must answer now; what was kept of it does not do."
)
@click.option(
    "--digest-cache",
    is_flag=True,
    help="With --name: do not read files again that did not change since they were hashed; the result says which.",
)
@click.option("--url", help="With --name: the hub's service, if not where its trust file came from.")
@click.option(
    "--attestation",
    "attestation_file",
    type=_FILE,
    help="An attestation of the hub: the event that it points at is fetched and checked, as with --name.",
)
@click.option("--proof", "proof_file", type=_FILE, help="The .tlog-proof file.")
@click.option(
    "--bundle", "bundle_file", type=_FILE, help="A Sigstore bundle instead of a proof, ours or any other."
)
@click.option(
    "--trust", "trust_file", type=_FILE, help="Your trust file; only a --bundle of others needs none."
)
@click.option(
    "--trusted-root",
    type=_FILE,
    help="Sigstore's, for --bundle; default: the production root of the sigstore package.",
)
@click.option("--artifact", type=_FILE, help="The file that the --bundle signs.")
@click.option(
    "--public-key",
    multiple=True,
    help="The key that you expect to have signed the --bundle: a PEM file. With --name: a PEM key that signatures beside "
    "the files are checked with; it is no expectation.",
)
@click.option("--model", type=GivenPath(path_type=pathlib.Path), help="The files: a folder or one file.")
@click.option(
    "--partial", is_flag=True, help="Some of the files are enough; --manifest says what the rest is."
)
@click.option(
    "--manifest", type=_FILE, help="The revision's manifest; default: manifest.json beside the proof."
)
@click.option(
    "--expect-signer", multiple=True, help="A signer that you accept, exactly; --expect-issuer must follow."
)
@click.option(
    "--expect-signer-pattern",
    multiple=True,
    metavar="PATTERN",
    help="The same for every signer that it matches as a whole; * is a part between two / or @.",
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
@click.option(
    "--statement",
    "statements",
    type=_FILE,
    multiple=True,
    help="With --proof: what a monitor of the trust file signed, as it publishes it; repeatable.",
)
@click.option("--pin", type=_FILE, help="A checkpoint that you remember; the log may only have grown since.")
@click.option("--explain", is_flag=True, help="Show which bytes each step used.")
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
@click.option(
    "--policy",
    type=_FILE,
    help="With --evidence, in the place of --trust: the C2SP policy of the log, which may be anybody's.",
)
@json_option
@click.pass_context
def command(  # noqa: PLR0917 - click passes each option
    ctx: click.Context,
    /,
    path: pathlib.Path | None,
    name: str | None,
    revision: str | None,
    proof_bundle: pathlib.Path | None,
    url: str | None,
    attestation_file: pathlib.Path | None,
    proof_file: pathlib.Path | None,
    bundle_file: pathlib.Path | None,
    trust_file: pathlib.Path | None,
    trusted_root: pathlib.Path | None,
    artifact: pathlib.Path | None,
    model: pathlib.Path | None,
    manifest: pathlib.Path | None,
    opening: pathlib.Path | None,
    statements: tuple[pathlib.Path, ...],
    pin: pathlib.Path | None,
    evidence_out: pathlib.Path,
    evidence_file: pathlib.Path | None,
    policy: pathlib.Path | None,
    *,
    partial: bool,
    expect_all: bool,
    log_only: bool,
    offline: bool,
    live: bool,
    digest_cache: bool,
    explain: bool,
    as_json: bool,
    **expected: Any,
) -> int:
    """Check that an event is in the log, and that the files are what the hub verified.

    With --name, or an --attestation, the files in MODEL are checked against the hub's latest event for them, which is fetched; what was seen of
    log and model is remembered, and neither may go back. With --proof or --bundle all is offline, and the files are
    --model.

    Exit code 0 only if both results satisfy the trust file; each other result has its own.
    """
    from ledger.client.opening import MAX_OPENING_BYTES, parse_opening
    from ledger.client.trust import MAX_TRUST_BYTES, parse_trust
    from ledger.tlog.proof import MAX_PROOF_BYTES

    if evidence_file is not None:
        refuse_beside_evidence(ctx)
    check_given(ctx)
    if name is not None or attestation_file is not None:
        from cli.verify_named import Options, verify_named

        options = Options(
            path=path,
            name=name,
            revision=revision,
            proof_file=proof_bundle,
            attestation_file=attestation_file,
            url=url,
            offline=offline,
            live=live,
            digest_cache=digest_cache,
            trust_file=trust_file,
            trusted_root=trusted_root,
            public_keys=tuple(expected["public_key"]),
            opening=opening,
            expect_all=expect_all,
            log_only=log_only,
        )
        named = verify_named(ctx, options, quiet=as_json)
        kept = keep_evidence(named.result.evidence, evidence_out)
        return show_named(named, kept, explain=explain, as_json=as_json)
    refuse_without_name(ctx)
    if explain:
        refuse_beside(ctx, "--explain", ("--bundle",))
    if bundle_file is not None:
        refuse_beside(ctx, "--bundle", ("--statement",))
    if trust_file is None and bundle_file is not None:
        from cli.verify_bundle import verify_any

        return verify_any(
            ctx, bundle_file, trusted_root=trusted_root, artifact=artifact, log_only=log_only, as_json=as_json
        )
    if evidence_file is not None:
        return check_evidence(evidence_file, trust_file, policy, as_json=as_json)
    if policy is not None:
        raise UsageError("--policy", expected="--evidence beside it", actual="none")
    if trust_file is None:
        raise UsageError("hubledger verify", expected="--trust", actual="none")
    refuse_beside(ctx, "--trust", ("--trusted-root", "--artifact", "--public-key"))
    if log_only and (model or ctx.meta["hubledger.expect"]):
        raise UsageError("--log-only", expected="no --model and no --expect options", actual="both")
    if (partial or manifest) and not (partial and model):
        raise UsageError(
            "--partial", expected="--model and --partial, with or without --manifest", actual="less"
        )
    if opening and any(option == "--expect-signer-pattern" for option, _ in ctx.meta["hubledger.expect"]):
        raise UsageError(
            "--expect-signer-pattern",
            expected="no --opening beside it: of who is opened, the whole subject is not known",
            actual="--opening",
            next_step="Use --expect-signer",
        )
    if expect_all and not ctx.meta["hubledger.expect"]:
        raise UsageError("--expect-all", expected="at least one expectation", actual="none")
    checked = proof_file or bundle_file or pathlib.Path()
    most = MAX_PROOF_BYTES
    if bundle_file is not None:
        from ledger.bundle import MAX_BUNDLE_BYTES as most  # noqa: N811 - proofs pay nothing for it
    data = read_file(checked, most)
    known: _Known = {
        "trust": parse_trust(read_file(trust_file, MAX_TRUST_BYTES)),
        "now": int(time.time()),  # noqa: TID251 - the edge that asks the clock
        "files": read_partial(model, manifest or checked.with_name("manifest.json"), quiet=as_json)
        if partial and model
        else hash_files(model, beside=checked.with_name("manifest.json"), quiet=as_json),
        "expected": expectations(ctx.meta["hubledger.expect"]),
        "expect_all": expect_all,
        "log_only": log_only,
        "openings": parse_opening(read_file(opening, MAX_OPENING_BYTES)) if opening else (),
    }
    stated: tuple[Stated, ...] = ()
    if bundle_file is not None:
        from cli.verify_bundle import check_event

        refuse_beside(ctx, "--bundle", ("--pin",))
        result = check_event(data, **known)
    else:
        from ledger.client.proof_bundle import refuse_bundle
        from ledger.client.verify import check_proof

        refuse_bundle(data, checked)
        pinned = read_file(pin, MAX_PROOF_BYTES) if pin else None
        stated = read_statements(statements, data, known["trust"])
        result = check_proof(data, pin=pinned, stated=stated, **known)
    result = _remember(result, known["trust"], now=known["now"])
    kept = keep_evidence(result.evidence, evidence_out)
    code = exit_code(result)
    if as_json:
        facts = {**as_facts(result), **(explained_facts((data, stated)) if explain else {})}
        echo_json({**facts, **(kept.as_facts() if kept else {}), "exitCode": code})
    else:
        click.echo(
            as_text(result, kept, columns=columns()) + (explained_text((data, stated)) if explain else "")
        )
    return code


def _remember(result: CheckResult, trust: "TrustFile", *, now: int) -> CheckResult:
    """Say what was seen of this log before. A check of a proof needs no folder: a user without a home has no memory."""
    from cli.trust import data_folder
    from ledger.client.contradictions import with_memory

    try:
        folder = data_folder()
    except ConfigError:
        return result
    return with_memory(result, trust, folder, now=now)


class _Known(TypedDict):
    """What every check of an event of ours is held against."""

    trust: "TrustFile"
    now: int
    files: "LocalFiles | PartialFiles | None"
    expected: "Sequence[Expectation]"
    expect_all: bool
    log_only: bool
    openings: "Sequence[Opening]"


def show_named(named: "NamedResult", kept: Kept | None, *, explain: bool, as_json: bool) -> int:
    """Show the result of a check by name; return the exit code."""
    result = named.result
    code = exit_code(result)
    if as_json:
        facts = {"name": named.name, "source": named.source, "trust": named.origin.value, **as_facts(result)}
        facts["changes"] = list(named.changes)
        facts["rememberedFiles"] = named.remembered
        facts |= explained_facts(named) if explain else {}
        echo_json({**facts, **(kept.as_facts() if kept else {}), "exitCode": code})
        return code
    click.echo(as_text(result, kept, columns=columns()))
    for each in named.changes:
        click.echo(wrap(f"Since last time: {printable(each)}.", columns=columns()))
    if explain:
        click.echo(explained_text(named))
    return code
