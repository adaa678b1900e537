"""`hubledger proof`: write the proof that an event is in the log."""

import pathlib
import shlex
from typing import Any

import click

from cli.output import echo_json, json_option, printable
from ledger.errors import UsageError


@click.command()
@click.argument("directory", metavar="DIRECTORY")
@click.argument("event", metavar="INDEX|EVENT-ID")
@click.option(
    "--since",
    type=click.Path(path_type=pathlib.Path, dir_okay=False, exists=True),
    help="A checkpoint you keep: the proof also links it to the current one.",
)
@click.option(
    "-o",
    "--output",
    "--proof-out",
    "output",
    required=True,
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Where to write the .tlog-proof; in Rekor a Sigstore bundle, unless called ….tlog-proof.",
)
@click.option(
    "--by-id", is_flag=True, help="EVENT-ID is meant, also where it is all digits; else digits are an INDEX."
)
@click.option(
    "--published",
    is_flag=True,
    help="It is a log in what a monitor publishes, a folder or an address: take the proof of INDEX from its pack, or of the "
    "newest entry of a model by its name.",
)
@click.option(
    "--statement",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="With --published: write the monitor's statement here, and the proof for the very tree that it is about.",
)
@click.option(
    "--shard",
    help="With --statement, of a ledger in Rekor: the address or folder where the entry's shard is read.",
)
@json_option
def command(  # noqa: PLR0917 - click passes each option
    directory: str,
    event: str,
    since: pathlib.Path | None,
    output: pathlib.Path,
    statement: pathlib.Path | None,
    shard: str | None,
    *,
    by_id: bool,
    published: bool,
    as_json: bool,
) -> None:
    """Write a C2SP tlog-proof of one event of the ledger in DIRECTORY, with the event inside.

    Of a ledger in Rekor: a Sigstore bundle, or where FILE is called so and it is Rekor v2, a tlog-proof.
    """
    if shard is not None and statement is None:
        raise UsageError("--shard", expected="--statement beside it", actual="none")
    if published:
        if since is not None or by_id:
            raise UsageError(
                "--published",
                expected="a leaf index",
                actual="--since or --by-id, which need the ledger itself",
            )
        facts = _take(directory, event, output, statement, shard)
    else:
        if statement is not None:
            raise UsageError("--statement", expected="--published beside it", actual="none")
        from ledger.embedded.reading import write_proof

        facts = write_proof(pathlib.Path(directory), event, since=since, output=output, by_id=by_id)
    if as_json:
        echo_json(facts)
        return
    tree = facts.get("checkpoint", facts)
    click.echo(
        printable(
            f"Leaf {facts['leafIndex']} is in {tree['origin']} at size {tree['size']}; proof in {output}"
        )
    )
    if facts.get("parts"):
        click.echo(
            printable(f"The monitor's list is long; what it has of this model is in {statement}-parts")
        )
    form = "--bundle" if "checkpoint" in facts and output.suffix != ".tlog-proof" else "--proof"
    # What a monitor publishes is checked with the trust file of whoever checks: we do not know where that is.
    trust = "TRUST_FILE" if published else str(pathlib.Path(directory) / "trust.toml")
    check = ["hubledger", "verify", form, str(output), "--trust", trust]
    pin = [] if since is None else ["--pin", str(since)]
    stated = [] if statement is None else ["--statement", str(statement)]
    click.echo(printable(f"Check it: {shlex.join([*check, *pin, *stated, '--log-only'])}"))


def _take(
    where: str, event: str, output: pathlib.Path, statement: pathlib.Path | None, shard: str | None
) -> dict[str, Any]:
    """Write a proof that a monitor publishes. It is what the log signed or nothing: whoever verifies it decides."""
    from ledger.encoding import parse_decimal
    from ledger.event.names import escape_name
    from ledger.storage.directory import write_file_durably
    from ledger.tlog.checkpoint import parse_checkpoint
    from ledger.tlog.signed_note import parse_note
    from monitor.publish.linking import link_proof
    from monitor.publish.packs import fetch_latest, fetch_proof, open_published, open_shard

    fetch = open_published(where)
    if event.isdecimal():
        data, proof = fetch_proof(fetch, parse_decimal(event, what="leaf index"))
    else:
        data, proof = fetch_latest(fetch, escape_name(event))
    tree = parse_checkpoint(parse_note(proof.checkpoint_note).text)
    facts: dict[str, Any] = {}
    if statement is not None:
        linked = link_proof(fetch, proof, shard=None if shard is None else open_shard(shard))
        data, tree, facts = linked.proof, linked.tree, {"statement": str(statement)}
        # If we stop here or in it, the statement that was there before has all that it had.
        for name, part in linked.parts.items():
            write_file_durably(pathlib.Path(f"{statement.absolute()}-parts", name), part, mode=0o644)
        write_file_durably(statement.absolute(), linked.statement, mode=0o644)
        facts |= {"parts": [f"{statement}-parts/{name}" for name in linked.parts]} if linked.parts else {}
    write_file_durably(output.absolute(), data, mode=0o644)
    return {
        "leafIndex": proof.index,
        "origin": tree.origin,
        "size": tree.size,
        "output": str(output),
        **facts,
    }
