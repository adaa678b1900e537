"""`hubledger init`: make a ledger."""

import pathlib
from typing import TYPE_CHECKING

import click

from cli.options import signer_options, signer_source
from cli.output import echo_json, json_option, printable

if TYPE_CHECKING:
    from ledger.embedded.retiring import Succession
    from ledger.encoding import Json

_FILE = click.Path(path_type=pathlib.Path, exists=True, dir_okay=False)


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.option("--origin", required=True, help='The log\'s name for ever, such as "log.example/models".')
@click.option("--hub", required=True, help='The hub\'s id for ever, such as "hub.example".')
@click.option(
    "--log",
    "kind",
    type=click.Choice(("local", "rekor-v2", "rekor-v1")),
    default="local",
    show_default=True,
    help="Where events are logged, for ever: here, or in Sigstore's Rekor.",
)
@click.option(
    "--trust-config", type=_FILE, help="Of Rekor: a Sigstore client trust config; default: the public one."
)
@click.option("--trusted-root", type=_FILE, help="Of Rekor: a trusted root, with --signing-config.")
@click.option("--signing-config", type=_FILE, help="Of Rekor: the signing config that says where to submit.")
@click.option(
    "--read-url", help="Of Rekor v2: where checkpoints and tiles are, if not below the address to write to."
)
@signer_options
@click.option("--continues", type=_FILE, help="The last checkpoint of a log that this one continues.")
@click.option("--continues-trust", type=_FILE, help="The trust file of that log, by which it is checked.")
@click.option("--reason", help='Why that log ended, as a code such as "disk-lost". It becomes public.')
@json_option
def command(  # noqa: PLR0917 - click passes each option
    directory: pathlib.Path,
    origin: str,
    hub: str,
    kind: str,
    trust_config: pathlib.Path | None,
    trusted_root: pathlib.Path | None,
    signing_config: pathlib.Path | None,
    read_url: str | None,
    hub_signer: str | None,
    hub_public_key: pathlib.Path | None,
    hub_signer_secret: pathlib.Path | None,
    continues: pathlib.Path | None,
    continues_trust: pathlib.Path | None,
    reason: str | None,
    *,
    as_json: bool,
) -> None:
    """Make a ledger in DIRECTORY: keys (readable by you only), trust file, settings, and a signed log.

    The log begins with one entry, which announces the hub's key. With --continues the one before it says which log it
    continues, from which checkpoint on; give --origin another name than that log had.

    With --log rekor-v2 or rekor-v1 the log is Sigstore's Rekor: there is no log key, and outbox.db, which holds what
    was accepted, must never be lost. The trust files are copied into DIRECTORY.

    DIRECTORY must be new or empty. Give trust.toml to those who verify; back up keys/ where nobody else reads.
    """
    from ledger.embedded.directory import describe
    from ledger.embedded.making import init
    from ledger.errors import ConfigError, UsageError

    given = (trust_config, trusted_root, signing_config, read_url)
    rekor = None
    if kind != "local":
        from ledger.embedded.remote import RekorSource

        rekor = RekorSource(
            kind=kind,
            trust_config=trust_config,
            trusted_root=trusted_root,
            signing_config=signing_config,
            read_url=read_url or "",
        )
    elif any(each is not None for each in given):
        raise UsageError(
            "--trust-config, --trusted-root, --signing-config and --read-url",
            expected="--log rekor-v2 or rekor-v1",
            actual="--log local",
        )
    signer = signer_source(hub_signer, hub_public_key, hub_signer_secret)
    succession = _succession(continues, continues_trust, reason, origin=origin, kind=kind)
    try:
        fields = None if succession is None else succession.fields
        init(directory, origin=origin, hub=hub, rekor=rekor, signer=signer, continues=fields)
    except ConfigError as error:
        # The settings are called by the options that gave them.
        what = {"ledger": "--origin", "hub": "--hub"}.get(error.what, error.what)
        raise ConfigError(
            what, expected=error.expected, actual=error.actual, next_step=error.next_step
        ) from error
    keys = describe(directory)
    if as_json:
        more = {} if succession is None else {"continues": _continued(succession)}
        echo_json({"directory": str(directory), **keys, **more})
        return
    click.echo(f"Made a ledger in {directory}")
    if rekor is None:
        click.echo(f"  log       {keys['logKey']}")
    for shard in keys.get("shards", ()):
        click.echo(f"  shard     {shard['key']}")
    click.echo(f"  hub key   {keys['hubKeyId']}")
    if succession is not None:
        said = _continued(succession)
        when = said["time"] or "a time that nobody signed"
        click.echo(f"  continues {printable(succession.predecessor)} at size {succession.size}, as of {when}")
        click.echo(
            "            nobody stands by what it recorded later: see that nobody has a newer checkpoint"
        )
    if rekor is None:
        click.echo("  for others  trust.toml, and the folder log/ on any web server")
        click.echo("  for you     keys/: a stolen key can sign in your name, a lost one ends the log")
    else:
        click.echo("  for others  trust.toml, and the statements in evidence/ by their digests")
        click.echo("  for you     keys/ and outbox.db: what is lost of them, nobody can make again")
    click.echo(f"Next: hubledger record {directory} NAMESPACE/MODEL --revision REV --model PATH")


def _succession(
    checkpoint: pathlib.Path | None, trust: pathlib.Path | None, reason: str | None, *, origin: str, kind: str
) -> "Succession | None":
    """Return what the new log says of the one that it continues. Raises UsageError: half of what that takes."""
    from ledger.errors import UsageError

    if checkpoint is None and trust is None and reason is None:
        return None
    if checkpoint is None or trust is None or kind != "local":
        raise UsageError(
            "--continues, --continues-trust and --reason",
            expected="the first two, with --log local",
            actual="some" if kind == "local" else f"--log {kind}",
        )
    from ledger.embedded.retiring import succeed

    return succeed(checkpoint, trust, origin=origin, reason=reason)


def _continued(succession: "Succession") -> "dict[str, Json]":
    from datetime import UTC, datetime

    time = succession.time
    said = None if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"ledger": succession.predecessor, "size": succession.size, "time": said}
