"""Which options of `hubledger verify` go together: what would be ignored is refused."""

import click

from cli.verify_input import given_on, refuse_beside
from ledger.errors import UsageError


def refuse_without_name(ctx: click.Context) -> None:
    """Options that only a check by name has would be ignored without one. Raises UsageError."""
    named = ("--revision", "--from", "--offline", "--live", "--url", "--digest-cache")
    beside = [each for each in named if given_on(ctx, each)]
    if ctx.params["path"] is not None:
        beside.insert(0, "MODEL")
    if beside:
        raise UsageError(
            "hubledger verify",
            expected="--name with MODEL, --revision, --from, --offline, --live, --url and --digest-cache; else --model names the files",
            actual=f"{beside[0]} without --name",
        )


def check_given(ctx: click.Context) -> None:
    """Refuse anything but one thing to check. Raises UsageError."""
    if given_on(ctx, "--attestation"):
        refuse_beside(ctx, "--attestation", ("--proof", "--bundle", "--evidence"))
        return
    given = [each for each in ("--name", "--proof", "--bundle", "--evidence") if given_on(ctx, each)]
    if len(given) != 1:
        raise UsageError(
            "hubledger verify",
            expected="one of --name, --proof, --bundle and --evidence",
            actual=" and ".join(given) or "none",
            next_step=None
            if given
            else "To check a model: hubledger verify FOLDER --name HUB/NAMESPACE/MODEL",
        )


def refuse_beside_evidence(ctx: click.Context) -> None:
    """Evidence is checked against a trust file or a policy alone: every other option would be ignored, so it is refused."""
    others = [each.opts[0] for each in ctx.command.params if isinstance(each, click.Option)]
    allowed = ("--evidence", "--trust", "--policy", "--json")
    beside = [each for each in others if each not in allowed and given_on(ctx, each)]
    if beside:
        raise UsageError(
            "--evidence", expected="no other option but --trust, --policy and --json", actual=beside[0]
        )
