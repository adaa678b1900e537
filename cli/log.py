"""`hubledger log checkpoint|audit|retire|anchor|anchors`: the transparency log itself, and its checkpoints in other logs."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.options import writing_options
from cli.output import columns, echo_json, format_table, json_option, printable, wrap
from cli.progress import progress_bar
from ledger.embedded.wording import plural
from ledger.errors import UsageError

if TYPE_CHECKING:
    from cli.verify_evidence import Kept
    from ledger.embedded.anchor_list import AnchorReport, ListedAnchor


@click.group()
def command() -> None:
    """Show the signed checkpoint, audit or end a whole log, or anchor it in another one."""


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@json_option
def checkpoint(directory: pathlib.Path, *, as_json: bool) -> None:
    """Show the newest checkpoint of the ledger in DIRECTORY, its signature checked."""
    from ledger.embedded.directory import open_for_reading

    verified = open_for_reading(directory).log.checkpoint()
    if as_json:
        shown = verified.checkpoint
        echo_json(
            {
                "origin": shown.origin,
                "size": shown.size,
                "rootHash": shown.root_hash.hex(),
                "note": verified.note.decode(),
            }
        )
    else:
        click.echo(verified.note.decode(), nl=False)


@command.command()
@click.argument("source", metavar="DIR|URL")
@click.option(
    "--vkey",
    "vkeys",
    multiple=True,
    help="Verifier key of a foreign log (repeatable); then only the log is audited.",
)
@click.option("--origin", help="Origin of a foreign log, where it is not its key's name.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; default: one a processor.")
@json_option
def audit(
    source: str, vkeys: tuple[str, ...], origin: str | None, workers: int | None, *, as_json: bool
) -> None:
    """Replay a whole log: every leaf hash, tile, bundle, the root and its signature.

    A ledger of ours (DIR without --vkey) is also checked for every entry's signature, every history's chain, the
    commit store, the evidence and the index. With --vkey, DIR or URL is any C2SP tlog-tiles log.
    """
    if not vkeys and (origin is not None or source.lower().startswith(("http://", "https://"))):
        raise UsageError(
            "hubledger log audit",
            expected="--vkey with an address or an --origin",
            actual="none",
            next_step="Ask the log's publisher for its verifier key",
        )
    with progress_bar("audit", quiet=as_json) as advance:
        if vkeys:
            from ledger.embedded.foreign import audit_foreign

            report = audit_foreign(
                _log_folder(source), vkeys, origin=origin, workers=workers, progress=advance
            )
        else:
            from ledger.embedded.auditing import audit_ledger
            from ledger.embedded.evidence_audit import NamedEvidence

            with NamedEvidence() as evidence:
                report = audit_ledger(
                    pathlib.Path(source), workers=workers, progress=advance, evidence=evidence
                )
    if as_json:
        echo_json(report)
        return
    if "rootHash" in report:
        click.echo(f"Audited {report['origin']}: size {report['size']}, root {report['rootHash']}")
    else:
        click.echo(
            f"Audited {report['ledger']} in {report['log']}: {report['size']} accepted, {report['logged']} logged"
        )
    for line in report["checked"]:
        click.echo(f"  {line}")


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@writing_options
@json_option
def retire(
    directory: pathlib.Path, not_older_than: tuple[pathlib.Path, ...], *, start_unchecked: bool, as_json: bool
) -> None:
    """End the log of DIRECTORY: publish what is durable, and record nothing after it.

    Stop the service first. The last checkpoint lies in DIRECTORY as final-checkpoint; the ledger that continues this one
    is made with `hubledger init --continues`.
    """
    from ledger.embedded.opening import open_for_recording
    from ledger.embedded.retiring import retire as run

    last = run(
        directory,
        opened=lambda: open_for_recording(
            directory, not_older_than=not_older_than, start_unchecked=start_unchecked
        ),
    )
    shown = last.checkpoint
    if as_json:
        echo_json({"origin": shown.origin, "size": shown.size, "rootHash": shown.root_hash.hex()})
        return
    click.echo(f"Retired {printable(shown.origin)} at size {shown.size}, root {shown.root_hash.hex()}")
    click.echo(f"  its last checkpoint  {printable(str(directory / 'final-checkpoint'))}")
    click.echo("Nothing is recorded here any more; serve it with --read-only.")


def _log_folder(source: str) -> str:
    """Return the public log where ``source`` is a ledger's own directory, which holds it as ``log``."""
    folder = pathlib.Path(source)
    is_ledger = not (folder / "checkpoint").exists() and (folder / "log" / "checkpoint").is_file()
    return str(folder / "log") if "://" not in source and is_ledger else source


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--start-unchecked",
    is_flag=True,
    help="Anchor without asking whether the other log knows anchors that this directory does not.",
)
@json_option
def anchor(directory: pathlib.Path, *, start_unchecked: bool, as_json: bool) -> None:
    """Anchor the newest checkpoint of DIRECTORY now, and finish what is pending.

    For cron, or after something important. Where to, [anchor] in hubledger.toml says.
    """
    import asyncio

    from ledger.embedded.anchor_outside import COMMAND_BUDGET
    from ledger.embedded.anchoring import anchor as run
    from ledger.embedded.anchoring import outcome_facts

    outcome = asyncio.run(run(directory, budget=COMMAND_BUDGET, forced=True, unchecked=start_unchecked))
    if as_json:
        echo_json(outcome_facts(outcome))
    else:
        for line in _outcome_lines(outcome_facts(outcome)):
            click.echo(line)
    if outcome.failures:
        raise outcome.failures[0]


def _outcome_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["made"] is None and not facts["finished"] and not facts["pending"]:
        yield "Nothing to anchor: the newest checkpoint is anchored already"
    for each in facts["finished"]:
        where = (
            [f"leaf {each['log']['index']} of {printable(each['log']['origin'])}"] if "log" in each else []
        )
        where += [plural(each["timestamps"], "timestamp")] if each["timestamps"] else []
        yield f"Anchored  size {each['size']}: {', '.join(where) or 'refused by the log'}"
    if facts["pending"]:
        yield f"Pending   {plural(facts['pending'], 'anchor')}: stored, and sent again at the next occasion"


@command.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--trusted-root",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="The other log's keys: a Sigstore trusted root or trust config; default: that of [anchor].",
)
@click.option(
    "--export",
    "export_to",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="Write every anchor that holds as a Sigstore bundle into this folder.",
)
@click.option(
    "--evidence-out",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    default=pathlib.Path("misbehaviour.json"),
    help="Where evidence goes if two signed checkpoints contradict each other.",
)
@json_option
def anchors(
    directory: pathlib.Path,
    trusted_root: pathlib.Path | None,
    export_to: pathlib.Path | None,
    evidence_out: pathlib.Path,
    *,
    as_json: bool,
) -> int:
    """List the anchors of DIRECTORY, each verified again from stored files, without network.

    The exit code is 0 if all that is stored holds. What is pending is listed and is no failure.
    """
    from ledger.embedded.anchor_list import list_anchors

    report = list_anchors(directory, trusted_root=trusted_root)
    kept = None
    if report.evidence is not None:
        from cli.verify_evidence import keep_evidence

        kept = keep_evidence(report.evidence, evidence_out)
    exported: list[pathlib.Path] = []
    if export_to is not None:
        from ledger.embedded.anchor_export import export_anchors

        exported = export_anchors(report, export_to)
    if as_json:
        echo_json(
            {
                "origin": report.origin,
                "anchors": [each.as_json() for each in report.anchors],
                **(kept.as_facts() if kept else {}),
                **({"exported": [str(each) for each in exported]} if export_to else {}),
                "exitCode": report.exit_code,
            }
        )
        return report.exit_code
    for line in _anchor_lines(report, kept, exported):
        click.echo(line)
    return report.exit_code


def _anchor_lines(
    report: "AnchorReport", kept: "Kept | None", exported: Sequence[pathlib.Path]
) -> Iterator[str]:
    if not report.anchors:
        yield f"No anchor of {printable(report.origin)} is stored here"
        return
    yield format_table(
        ("SIZE", "ROOT", "STATE", "WHERE AND WHEN"),
        [_row(each) for each in report.anchors],
        columns=columns(),
    )
    for each in report.anchors:
        for problem in each.problems:
            yield wrap(
                f"{printable(each.name)}: {problem.step}: {printable(str(problem.error))}", columns=columns()
            )
    if kept is not None:
        yield f"MISBEHAVIOUR: the log signed two histories. Evidence: {printable(kept.said)}"
    if kept is not None and kept.problem is not None:
        yield wrap(f"next: {kept.problem.next_step}", columns=columns())
    for path in exported:
        yield f"Exported  {printable(str(path))}"
    bad = sum(bool(each.problems) for each in report.anchors)
    yield (
        f"{plural(bad, 'anchor')} of {len(report.anchors)} does not hold"
        if bad
        else f"{plural(len(report.anchors), 'anchor')}, and all that is stored holds"
    )


def _row(each: "ListedAnchor") -> tuple[str, str, str, str]:
    facts = each.as_json()
    where = [f"leaf {facts['log']['index']} of {facts['log']['origin']}"] if "log" in facts else []
    if "integratedTime" in facts.get("log", {}):
        where.append(f"at {facts['log']['integratedTime']}")
    where += [f"stamped {time}" for time in facts["timestamps"]]
    if "madeAt" in facts:
        where.append(f"made {facts['madeAt']}, this machine says")
    return (
        str(facts.get("size", "?")),
        facts.get("rootHash", "?")[:16],
        facts["state"] if facts["holds"] else f"{facts['state']}, does not hold",
        "; ".join(where),
    )
