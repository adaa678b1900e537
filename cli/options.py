"""Options that several commands take, in the same words."""

import os
import pathlib
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ledger.embedded.kms import SignerSource

_Command = TypeVar("_Command", bound=Callable[..., Any])


class GivenPath(click.Path):
    """A path that is not empty, as that of a variable that is not set: it would be the folder where one happens to be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path. Raises BadParameter."""
        if value == "":
            self.fail("it is empty (is the variable set?)", param, ctx)
        return super().convert(value, param, ctx)


def writing_options(command: _Command) -> _Command:
    """Add what every command takes that writes the log: how to tell that its directory is no old copy."""
    unchecked = click.option(
        "--start-unchecked",
        is_flag=True,
        help="Write without asking the outside first; a warning says so.",
    )
    kept = click.option(
        "--not-older-than",
        multiple=True,
        type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
        help="A checkpoint of this log that was kept elsewhere.",
    )
    return kept(unchecked(command))


def withdrawal_options(command: _Command) -> _Command:
    """Add what every command takes that withdraws evidence: why, for all to read."""
    reference = click.option("--reference", help="Where the decision is written down. It becomes public.")
    reason = click.option(
        "--reason", required=True, help='Why, as a code such as "personal-data". It becomes public.'
    )
    return reason(reference(command))


def signer_options(command: _Command) -> _Command:
    """Add what every command takes that is told of a hub key in a KMS or HSM; ``signer_source`` reads it."""
    file = click.Path(path_type=pathlib.Path, exists=True, dir_okay=False)
    secret = click.option("--hub-signer-secret", type=file, help="A file with the PIN of --hub-signer.")
    public = click.option("--hub-public-key", type=file, help="The public key of --hub-signer, PEM.")
    uri = click.option(
        "--hub-signer",
        metavar="URI",
        help="Where the hub's key is, in a KMS or HSM: a securesystemslib URI.",
    )
    return uri(public(secret(command)))


def signer_source(
    hub_signer: str | None, hub_public_key: pathlib.Path | None, hub_signer_secret: pathlib.Path | None
) -> "SignerSource | None":
    """Return where a hub key is, as ``signer_options`` say; None: nothing is said. Raises UsageError."""
    from ledger.embedded.kms import SignerSource
    from ledger.errors import UsageError

    if hub_signer is not None and hub_public_key is not None:
        return SignerSource(uri=hub_signer, public_key=hub_public_key, secret=hub_signer_secret)
    if hub_signer is not None or hub_public_key is not None or hub_signer_secret is not None:
        raise UsageError(
            "--hub-signer, --hub-public-key and --hub-signer-secret",
            expected="the first two, or none of them",
            actual="some",
        )
    return None


MAX_TOKEN_BYTES = 1024


def read_token(path: pathlib.Path) -> str:
    """Return the token in a file that only its owner reads. Raises ConfigError, which repeats nothing of it."""
    from ledger.errors import ConfigError

    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise ConfigError(
                f"permissions of {path}",
                expected="readable by its owner only",
                actual="readable by others",
                next_step=f"Run `chmod 600 {shlex.quote(str(path))}` and consider the token as seen: revoke it",
            )
        data = file.read(MAX_TOKEN_BYTES).strip()
    if not data.replace(b"_", b"").isalnum():
        raise ConfigError(
            f"token in {path}",
            expected="what `hubledger token create` printed",
            actual="something else",
            next_step="Make a new token and write it into this file",
        )
    return data.decode("ascii")
