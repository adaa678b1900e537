"""`hubledger record`: verify one model revision and record what was found."""

import pathlib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import click

from cli.options import writing_options
from cli.output import echo_json, json_option, printable
from cli.progress import progress_bar
from ledger.embedded.wording import plural

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
@click.option("--event-id", help="Your idempotency key; made from the revision and its files if absent.")
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
@writing_options
@click.option(
    "--proof-out",
    "--output",
    "-o",
    "proof_out",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Write the proof here, once there is one; in Rekor a Sigstore bundle, unless called ….tlog-proof.",
)
@click.option("--no-wait", is_flag=True, help="In Rekor: accept the event, and leave it pending.")
@click.option(
    "--wait-witnessed",
    is_flag=True,
    help="In a log of its own: wait until its quorum of witnesses cosigned the event's checkpoint.",
)
@click.option(
    "--wait-seconds",
    type=click.FloatRange(min=0),
    help="In Rekor, or with --wait-witnessed: how long to wait.  [default: 60]",
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
    wait_seconds: float | None,
    *,
    wait_witnessed: bool,
    no_wait: bool,
    private: bool,
    start_unchecked: bool,
    as_json: bool,
) -> None:
    """Verify every signature on the files of NAME at --revision and record the outcome in DIRECTORY.

    Unsigned and failed outcomes are recorded too, with exit code 0: what failed is in the receipt. So is an event of a
    ledger in Rekor that is accepted and not yet logged: it is durable, and the receipt says that it is pending.
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
            wait=0.0 if no_wait else wait_seconds,
            witnessed=wait_witnessed,
            progress=advance,
        )
    if as_json:
        echo_json(receipt)
        return
    if receipt.get("skipped"):
        click.echo(
            f"skipped    {printable(name)} at {printable(revision)}: private, see the setting `private`"
        )
        if proof_out:
            click.echo(f"  no proof: nothing was recorded, and {printable(str(proof_out))} was not written")
        return
    click.echo(f"{receipt['outcome']}  {printable(name)} at {printable(revision)}")
    for label, text in _lines(receipt):
        click.echo(f"  {label:<16}  {printable(text)}")
    if proof_out and "leafIndex" in receipt:
        click.echo(f"  {'Proof':<16}  {printable(str(proof_out))}")
    if "signer-changed" in receipt["reasons"]:
        click.echo(printable(f"See since when: {shlex.join(['hubledger', 'history', str(directory), name])}"))


def _lines(receipt: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what was found and decided, and where it stands; the words are those of every interface."""
    for signature in receipt["signatures"]:
        method = signature.get("method", "unknown method")
        if signature["outcome"] == "VERIFIED":
            yield "Signed by", f"{signature['signer']} ({method})"
        else:
            # Whoever a signature names, and be it correctly: as long as it does not hold, it is a claim.
            claimed = signature.get("claimedSigner") or signature.get("signer")
            claims = f"claims {claimed}" if claimed else "names no signer"
            yield "Could not verify", f"{signature['outcome']}, {claims} ({method})"
    if not receipt["signatures"]:
        yield "Unsigned", "no signature among the files"
    if "moreSignatures" in receipt:
        yield "", f"and {plural(receipt['moreSignatures']['count'], 'more signature')}, kept by digest"
    if "signer-changed" in receipt["reasons"]:
        yield "Signer changed", "not by a signer pinned for this model"
    why = f" ({', '.join(receipt['reasons'])})" if receipt["reasons"] else ""
    yield "Decision", receipt["decision"] + why
    for each in receipt.get("withheld", ()):
        yield "Withheld", f"{each} (withdrawn earlier: its bytes are not kept)"
    yield "Event", receipt["eventId"] + ("  (recorded before)" if receipt["repeated"] else "")
    yield from _places(receipt)


_LATER = {
    "dropped": "it was given up, and is not submitted any more; a new look at the model is another event",
    "refused": "`hubledger outbox status` has the words of the log; then `hubledger outbox retry`, or `drop`",
}


def _places(receipt: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say where the event is: its leaf, or that it is accepted and has none yet."""
    tree = receipt.get("checkpoint", {})
    if "state" not in receipt:
        yield "Leaf", f"{receipt['leafIndex']} of {tree['size']} in {tree['origin']}"
        return
    if receipt["logged"]:
        index = f", log index {receipt['logIndex']}" if receipt["logIndex"] != receipt["leafIndex"] else ""
        yield "Leaf", f"{receipt['leafIndex']} of {tree['size']} in {tree['origin']}{index}"
        yield "Number", f"{receipt['number']} in this ledger's order"
        return
    words = {"pending": "accepted, not yet logged", "refused": "accepted, and refused by the log"}
    yield words.get(receipt["state"], receipt["state"]).capitalize(), f"number {receipt['number']}"
    if "lastError" in receipt:
        yield "Last error", f"{receipt['lastError']['error']}: {receipt['lastError']['message']}"
    yield "Later", _LATER.get(receipt["state"], "record it again, or run `hubledger outbox retry`")
