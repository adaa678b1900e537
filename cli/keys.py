"""`hubledger keys`: the public keys of a ledger, and how they are replaced."""

import pathlib
from typing import TYPE_CHECKING

import click

from cli.options import signer_options, signer_source, writing_options
from cli.output import echo_json, json_option, printable

if TYPE_CHECKING:
    from ledger.embedded.key_statements import Opened
    from ledger.embedded.rotation import Rotation


@click.group()
def command() -> None:
    """Show, replace or revoke the keys of a ledger."""


_DIRECTORY = click.argument("directory", type=click.Path(path_type=pathlib.Path))
_BEGIN = click.option("--begin", is_flag=True, help="Begin a rotation: make the next key.")


@command.command()
@_DIRECTORY
@json_option
def show(directory: pathlib.Path, *, as_json: bool) -> None:
    """Show the verifier keys of the ledger in DIRECTORY; never a private one."""
    from ledger.embedded.directory import describe

    keys = describe(directory)
    if as_json:
        echo_json(keys)
        return
    if "logKey" in keys:
        click.echo(f"log key    {keys['logKey']}")
        click.echo(f"cosigner   {keys['cosignerKey']}")
    for shard in keys.get("shards", ()):
        click.echo(f"shard      {shard['key']}")
    click.echo(f"hub key    {keys['hubKeyId']}   (SHA-256 of its SubjectPublicKeyInfo)")
    click.echo(keys["hubKey"], nl=False)


@command.group()
def rotate() -> None:
    """Replace a key, step by step; each step says what must be handed out before the next."""


@rotate.command(name="hub")
@_DIRECTORY
@_BEGIN
@click.option(
    "--wait-seconds",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="In Rekor: how long to wait until it is logged.",
)
@signer_options
@writing_options
@json_option
def rotate_hub(  # noqa: PLR0917 - click passes each option
    directory: pathlib.Path,
    wait_seconds: float,
    hub_signer: str | None,
    hub_public_key: pathlib.Path | None,
    hub_signer_secret: pathlib.Path | None,
    not_older_than: tuple[pathlib.Path, ...],
    *,
    begin: bool,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Replace the key that signs the statements of the ledger in DIRECTORY.

    Run it until it says that no rotation is under way, signing and publishing the trust files that it drafts. Stopped
    anywhere, the same command goes on. Where the next key is in a KMS or HSM, --begin is told where.
    """
    from ledger.embedded import rotating

    opened = _opened(directory, not_older_than, start_unchecked=start_unchecked)
    signer = signer_source(hub_signer, hub_public_key, hub_signer_secret)
    done = rotating.rotate_hub(directory, begin=begin, opened=opened, wait=wait_seconds, signer=signer)
    _show(done, as_json=as_json)


@rotate.command(name="log")
@_DIRECTORY
@_BEGIN
@click.option("--finish", is_flag=True, help="Let the new key sign alone.")
@writing_options
@json_option
def rotate_log(
    directory: pathlib.Path,
    not_older_than: tuple[pathlib.Path, ...],
    *,
    begin: bool,
    finish: bool,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Replace the key that signs the checkpoints of the ledger in DIRECTORY.

    Both keys sign until --finish, so that clients with either trust file verify.
    """
    from ledger.embedded import rotating

    opened = _opened(directory, not_older_than, start_unchecked=start_unchecked)
    _show(rotating.rotate_log(directory, begin=begin, finish=finish, opened=opened), as_json=as_json)


@command.group()
def revoke() -> None:
    """Say that a key does not count, from an index on."""


@revoke.command(name="hub")
@_DIRECTORY
@click.argument("keyid")
@click.option("--from", "first", type=click.IntRange(min=0), required=True, help="The first leaf index.")
@click.option("--reason", help='Why, as a code such as "key-stolen". It becomes public.')
@writing_options
@json_option
def revoke_hub(
    directory: pathlib.Path,
    keyid: str,
    not_older_than: tuple[pathlib.Path, ...],
    *,
    first: int,
    reason: str | None,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Say that the hub key KEYID of the ledger in DIRECTORY does not count from a leaf index on.

    The key that signs cannot be revoked: rotate first.
    """
    from ledger.embedded import rotating

    opened = _opened(directory, not_older_than, start_unchecked=start_unchecked)
    done = rotating.revoke_hub(directory, keyid, first=first, reason=reason, opened=opened)
    _show(done, as_json=as_json)


@command.group()
def observer() -> None:
    """Say who may record beside the hub, with a key of their own."""


@observer.command(name="add")
@_DIRECTORY
@click.argument("observer_id", metavar="ID")
@click.option(
    "--public-key",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    required=True,
    help="The observer's ECDSA P-256 public key, PEM.",
)
@writing_options
@json_option
def observer_add(
    directory: pathlib.Path,
    observer_id: str,
    public_key: pathlib.Path,
    not_older_than: tuple[pathlib.Path, ...],
    *,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Announce in the log of DIRECTORY that the observer ID signs with a key.

    What it records is in the history beside the hub's own events, moves nothing, and decides nothing. It needs a token of
    the scope observe as well.
    """
    from ledger.embedded.keys import load_public_key
    from ledger.embedded.observers import add_observer

    with _opened(directory, not_older_than, start_unchecked=start_unchecked)() as ledger:
        keyid, leaf_index = add_observer(ledger, observer_id, load_public_key(public_key))
    if as_json:
        echo_json({"observer": observer_id, "keyId": keyid, "leafIndex": leaf_index})
    else:
        click.echo(
            f"The log says at leaf {leaf_index} that observer {printable(observer_id)} signs with {keyid}"
        )


@observer.command(name="retire")
@_DIRECTORY
@click.argument("keyid")
@writing_options
@json_option
def observer_retire(
    directory: pathlib.Path,
    keyid: str,
    not_older_than: tuple[pathlib.Path, ...],
    *,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Announce in the log of DIRECTORY that the observer's key KEYID signs no more."""
    from ledger.embedded.observers import retire_observer

    with _opened(directory, not_older_than, start_unchecked=start_unchecked)() as ledger:
        leaf_index = retire_observer(ledger, keyid)
    if as_json:
        echo_json({"keyId": keyid, "leafIndex": leaf_index})
    else:
        click.echo(f"The log says at leaf {leaf_index} that observer key {printable(keyid)} is retired")


@observer.command(name="list")
@_DIRECTORY
@json_option
def observer_list(directory: pathlib.Path, *, as_json: bool) -> None:
    """List the observers that the published log of DIRECTORY announces, with the leaves at which each key counts."""
    from ledger.embedded.directory import open_for_reading
    from ledger.embedded.observers import observers_in

    ledger = open_for_reading(directory)
    found = observers_in(ledger, ledger.size())
    if as_json:
        rows = [
            {"observer": each.id, "keyId": keyid, "first": each.first, "end": each.end}
            for keyid, each in found.items()
        ]
        echo_json({"observers": rows})
        return
    for keyid, each in found.items():
        until = "" if each.end is None else f" to before {each.end}"
        click.echo(f"{printable(each.id)}  {keyid}  from leaf {each.first}{until}")


def _opened(
    directory: pathlib.Path, not_older_than: tuple[pathlib.Path, ...], *, start_unchecked: bool
) -> "Opened":
    from ledger.embedded.opening import open_for_recording

    return lambda: open_for_recording(
        directory, not_older_than=not_older_than, start_unchecked=start_unchecked
    )


def _show(done: "Rotation", *, as_json: bool) -> None:
    if as_json:
        draft = {} if done.draft is None else {"trustFile": str(done.draft)}
        echo_json({"state": done.state, **done.facts, **draft})
        return
    for line in done.says:
        click.echo(printable(line))
