"""Files with secrets: what only its owner may read. Nothing that is in them is ever repeated."""

import os
import pathlib
import stat

from ledger.errors import ConfigError

MAX_SECRET_BYTES = 1024
MIN_SECRET_BYTES = 16
"""Of a key that signs what is posted. A password may be shorter: its server decides."""


def read_private(
    path: pathlib.Path, *, what: str = "secret", least: int = 1, most: int = MAX_SECRET_BYTES
) -> bytes:
    """Read a file that only its owner may read, without the space around what is in it. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            shared = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077
            secret = file.read(most + 1).strip()
    except OSError as error:
        raise ConfigError(f"{what} {path}", expected="a readable file", actual=error.strerror) from error
    if shared:
        raise ConfigError(
            f"permissions of {path}",
            expected="readable by its owner only",
            actual="readable by others",
            next_step="Run `chmod 600` on it and consider the secret as seen: make another",
        )
    if not least <= len(secret) <= most:
        raise ConfigError(
            f"{what} {path}", expected=f"{least} to {most} bytes", actual=f"{len(secret)} bytes"
        )
    return secret


def read_private_text(path: pathlib.Path, *, what: str = "secret", most: int = MAX_SECRET_BYTES) -> str:
    """Read such a file as text. Raises ConfigError."""
    try:
        return read_private(path, what=what, most=most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} {path}", expected="UTF-8", actual="other bytes") from error
