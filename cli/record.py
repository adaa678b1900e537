"""`hubledger record`: verify one model revision and record what was found."""

import pathlib

import click

from cli.output import echo_json, json_option, printable
from cli.progress import progress_bar

_FILE = click.Path(path_type=pathlib.Path, exists=True, dir_okay=False)


@click.command()
@click.argument("directory", type=click.Path(path_type=pathlib.Path))
@click.argument("name")
@click.option("--revision", required=True, help="The hub's revision, such as a git commit.")
@click.option(
    "--model", type=click.Path(path_type=pathlib.Path), help="The files of this revision; or --manifest."
)
@click.option(
    "--manifest", type=_FILE, help="Instead of --model: the files by path, digest and size, as JSON."
)
@click.option(
    "--bundle", "bundles", multiple=True, type=_FILE, help="A signature bundle of --manifest (repeatable)."
)
@click.option("--private", is_flag=True, help="A private repository: treated as the setting `private` says.")
@click.option("--repo-id", help="The hub's immutable repository id.")
@click.option("--ref", help="The ref that moved to this revision, such as refs/heads/main.")
@click.option("--parent", "parents", multiple=True, help="A parent revision (repeatable).")
@click.option("--event-id", help="Your idempotency key; made from name and revision if absent.")
@click.option("--uploader", help="An opaque account id.")
@click.option(
    "--public-key", "public_keys", multiple=True, type=_FILE, help="PEM public key of a signer (repeatable)."
)
@click.option(
    "--anchor", "anchors", multiple=True, type=_FILE, help="PEM certificate to trust as anchor (repeatable)."
)
@click.option(
    "--trust-config", type=_FILE, help="Sigstore client trust config or trusted root; default: production."
)
@click.option(
    "--not-older-than", multiple=True, type=_FILE, help="A checkpoint of this log that was kept elsewhere."
)
@click.option(
    "--start-unchecked", is_flag=True, help="Write without asking the outside first; this is logged."
)
@click.option(
    "--proof-out", type=click.Path(path_type=pathlib.Path, dir_okay=False), help="Write the .tlog-proof here."
)
@json_option
def command(  # noqa: PLR0917 - click passes each option
    directory: pathlib.Path,
    name: str,
    revision: str,
    model: pathlib.Path | None,
    manifest: pathlib.Path | None,
    bundles: tuple[pathlib.Path, ...],
    repo_id: str | None,
    ref: str | None,
    parents: tuple[str, ...],
    event_id: str | None,
    uploader: str | None,
    public_keys: tuple[pathlib.Path, ...],
    anchors: tuple[pathlib.Path, ...],
    trust_config: pathlib.Path | None,
    not_older_than: tuple[pathlib.Path, ...],
    proof_out: pathlib.Path | None,
    *,
    private: bool,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Verify every signature on the files of NAME at --revision and record the outcome in DIRECTORY.

    Unsigned and failed outcomes are recorded too, with exit code 0: what failed is in the receipt.
    """
    from ledger.embedded.recording import RecordRequest, record_revision

    request = RecordRequest(
        name=name,
        revision=revision,
        model=model,
        manifest=manifest,
        bundles=bundles,
        private=private,
        repo_id=repo_id,
        ref=ref,
        parents=parents,
        event_id=event_id,
        uploader=uploader,
        public_keys=public_keys,
        anchors=anchors,
        trust_config=trust_config,
    )
    with progress_bar("hashing", quiet=as_json, unit="bytes") as advance:
        receipt = record_revision(
            directory,
            request,
            not_older_than=not_older_than,
            start_unchecked=start_unchecked,
            proof_out=proof_out,
            progress=advance,
        )
    if as_json:
        echo_json(receipt)
        return
    if receipt.get("skipped"):
        click.echo(
            f"skipped    {printable(name)} at {printable(revision)}: private, see the setting `private`"
        )
        return
    click.echo(f"{receipt['outcome']:<10} {printable(name)} at {printable(revision)}")
    for signature in receipt["signatures"]:
        click.echo(f"  {_describe(signature)}")
    why = f" ({', '.join(receipt['reasons'])})" if receipt["reasons"] else ""
    click.echo(f"  decision    {receipt['decision']}{why}")
    click.echo(f"  event       {receipt['eventId']}{'  (recorded before)' if receipt['repeated'] else ''}")
    click.echo(
        f"  leaf        {receipt['leafIndex']} of {receipt['checkpoint']['size']} in {receipt['checkpoint']['origin']}"
    )
    if proof_out:
        click.echo(f"  proof       {proof_out}")


def _describe(signature: dict[str, str]) -> str:
    verb = "signed by  " if signature["outcome"] == "VERIFIED" else f"{signature['outcome']}, claims"
    return f"{verb} {printable(signature.get('signer', 'nobody we could name'))} ({signature.get('method', 'unknown method')})"
