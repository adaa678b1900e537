"""`hubledger verify --bundle`: any Sigstore bundle, or one of an event of ours."""

import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli.output import columns, echo_json, format_table, printable, wrap
from cli.verify_input import expectations, given_on, read_file, refuse_beside
from cli.verify_output import MARKS, check_facts, explain, failure_facts
from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.bundle.any_bundle import DIGESTS, AnyBundle, SignedFile, parse_any_bundle
from ledger.client.bundle_result import LOGGED, NOT_PROVEN, BundleResult
from ledger.client.result import CheckResult, ModelResult
from ledger.client.roots import MAX_ROOT_BYTES, production_root
from ledger.client.sigstore_bundle import check_bundle, hashes_needed
from ledger.errors import NotFoundError, UsageError

_CHUNK = 1 << 20
_ONLY_EVENTS = ("--model", "--partial", "--manifest", "--opening", "--pin", "--expect-anchor")


def verify_any(
    ctx: click.Context,
    bundle_file: pathlib.Path,
    *,
    trusted_root: pathlib.Path | None,
    artifact: pathlib.Path | None,
    log_only: bool,
    as_json: bool,
) -> int:
    """Check somebody's bundle against a trusted root and whom the caller expects. Returns the exit code."""
    refuse_beside(ctx, "--bundle without --trust", ("--proof", "--evidence", *_ONLY_EVENTS))
    expected = expectations(ctx.meta["hubledger.expect"])
    if log_only and (artifact or expected):
        raise UsageError(
            "--log-only", expected="no --artifact, no key and nobody expected beside it", actual="both"
        )
    if given_on(ctx, "--expect-all") and not expected:
        raise UsageError("--expect-all", expected="at least one expectation", actual="none")
    bundle = parse_any_bundle(read_file(bundle_file, MAX_BUNDLE_BYTES))
    result = check_bundle(
        bundle,
        root=read_file(trusted_root, MAX_ROOT_BYTES) if trusted_root else production_root(),
        artifact=_hash(artifact, hashes_needed(bundle)) if artifact else None,
        expected=expected,
        expect_all=given_on(ctx, "--expect-all"),
        log_only=log_only,
    )
    code = _exit_code(result)
    if as_json:
        echo_json({**as_facts(result, bundle), "exitCode": code})
    else:
        click.echo(as_text(result, columns=columns()))
    return code


def check_event(data: bytes, **known: Any) -> CheckResult:
    """Check a bundle of an event of ours, as ``check_proof`` checks a proof."""
    from ledger.client.event_bundle import check_event_bundle

    return check_event_bundle(parse_any_bundle(data), **known)


def _exit_code(result: BundleResult) -> int:
    from cli.exit_codes import ExitCode

    if result.satisfied:
        return 0
    if result.log not in LOGGED:
        return ExitCode[result.log.name]
    if result.failure == NOT_PROVEN:
        return ExitCode.NOT_ENOUGH
    return ExitCode[result.signature.name]


def _hash(path: pathlib.Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """Hash a file by several hashes in one go."""
    running = {name: DIGESTS[name]() for name in names}
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                for each in running.values():
                    each.update(chunk)
    except OSError as error:
        raise NotFoundError(
            f"file {path}", expected="a readable file", actual=error.strerror, next_step="Check the path"
        ) from error
    return {name: each.digest() for name, each in running.items()}


def as_facts(result: BundleResult, bundle: AnyBundle) -> dict[str, Any]:
    """Return the result as JSON facts: the same as the text."""
    facts: dict[str, Any] = {
        "log": result.log.value,
        "signature": result.signature.value,
        "satisfied": result.satisfied,
        "checks": [check_facts(each) for each in result.checks],
        "mediaType": bundle.media_type,
    }
    if result.signer is not None:
        facts["signer"] = result.signer.facts.as_json()
        facts["signed"] = _signed_facts(result)
    facts["logEntries"] = [
        {
            "origin": each.tree.origin,
            "size": each.tree.size,
            "rootHash": each.tree.root_hash.hex(),
            "leafIndex": each.leaf_index,
            "logIndex": each.index,
            "kind": " ".join(each.kind),
            **({} if each.integrated_time is None else {"integratedTime": each.integrated_time}),
        }
        for each in result.entries
    ]
    if result.promised:
        facts["promised"] = [
            {
                "logIndex": each.entry.index,
                "kind": " ".join(each.entry.kind),
                "integratedTime": each.entry.integrated_time,
            }
            for each in result.promised
        ]
    if result.timestamps:
        facts["timestamps"] = [each.isoformat() for each in result.timestamps]
    if result.failure is not None:
        facts["failure"] = failure_facts(result.failure)
    return facts


def _signed_facts(result: BundleResult) -> dict[str, Any]:
    """What was signed: the digest of a file, or a statement and its subjects."""
    if isinstance(result.content, SignedFile):
        return {"fileDigest": result.digest.hex() if result.digest else None}
    found = result.subjects
    return {
        "payloadType": result.content.payload_type,
        "payloadSha256": hashlib.sha256(result.content.payload).hexdigest(),
        "predicateType": found.predicate_type if found else "",
        "subjects": [{name: digest.hex()} for name, digest in found.digests] if found else [],
    }


def as_text(result: BundleResult, *, columns: int | None = None) -> str:
    """Return a short table and one sentence."""
    table = format_table(
        ("CHECK", "RESULT", "AGAINST"),
        [
            (each.step, MARKS[each.passed], each.against + (f"; got {each.found}" if each.found else ""))
            for each in result.checks
        ],
        columns=columns,
    )
    lines = [f"log: {result.log}   signature: {result.signature}"]
    if result.failure is not None:
        lines += explain(result.failure)
    if result.satisfied:
        lines.append(_conclude(result))
    return "\n".join([table, "", *(wrap(printable(line), columns=columns) for line in lines)])


def _conclude(result: BundleResult) -> str:
    """Say in one sentence what holds, and its bounds."""
    places = " and ".join(
        [
            *(
                f"logged as leaf {each.leaf_index} of {each.tree.size} in {each.tree.origin}"
                for each in result.entries
            ),
            *(
                f"a log promised at {each.at} to include it, and nothing shows that it did"
                for each in result.promised
            ),
        ]
    )
    skipped = ", ".join(each.step for each in result.skipped) or "nothing"
    what = f"{_what(result)} signed by {result.signer}"
    if result.signature is ModelResult.NOT_CHECKED:
        what = f"A signature by {result.signer}, whom nobody expected"
    return f"{what}; {places}. Not checked: {skipped}."


def _what(result: BundleResult) -> str:
    return (
        "The artifact is"
        if any(each.step == "artifact" and each.passed for each in result.checks)
        else "The statement is"
    )
