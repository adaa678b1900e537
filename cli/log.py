"""`hubledger log checkpoint|audit`: the transparency log itself."""

import pathlib

import click

from cli.output import echo_json, json_option
from cli.progress import progress_bar
from ledger.errors import UsageError


@click.group()
def command() -> None:
    """Show the signed checkpoint, or audit a whole log."""


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


def _log_folder(source: str) -> str:
    """Return the public log where ``source`` is a ledger's own directory, which holds it as ``log``."""
    folder = pathlib.Path(source)
    is_ledger = not (folder / "checkpoint").exists() and (folder / "log" / "checkpoint").is_file()
    return str(folder / "log") if "://" not in source and is_ledger else source
