"""Who may write: bearer tokens with scopes, kept as hashes (``hubledger token``).

A token is ``hl_<id>_<secret>``: the id finds its row, the secret (256 random bits) proves it. The file has SHA-256 of the
secret, so that whoever reads a backup of it cannot write; a slow hash would protect passwords, which these are not.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import pathlib
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.encoding import Json, format_canonical_json, parse_canonical_json, parse_hex
from ledger.errors import ConfigError, LedgerError, MalformedError, NotFoundError, WriteError
from ledger.server.problems import FORBIDDEN, UNAUTHORIZED, Refusal
from ledger.storage.directory import write_file_durably

FILE_NAME = "tokens.json"
SCOPES = ("record", "observe", "policy", "admin")
INCLUDES = {"record": "observe"}
"""Who may record in the hub's name may append what others signed; an observer's token may do that alone."""
MAX_TOKENS_BYTES = 4 << 20
MAX_LABEL = 100
_TOKEN = re.compile(r"hl_([0-9a-f]{12})_([0-9a-f]{64})")


class Authority(Protocol):
    """Says who may do what."""

    def check(self, authorization: str | None, scope: str) -> str:
        """Return the public id of whoever may; raises Refusal."""
        ...


class Nobody:
    """Nobody may write: there is nothing to write to."""

    def check(self, authorization: str | None, scope: str) -> str:
        """Refuse everybody."""
        del authorization
        raise Refusal(FORBIDDEN, f"This service only reads; nobody has the scope {scope} here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is kept of a token: never its secret. ``created`` and ``revoked`` are times as statements have them."""

    id: str
    secret_sha256: bytes
    scopes: tuple[str, ...]
    label: str
    created: str
    revoked: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the row of the file."""
        value: dict[str, Json] = {
            "created": self.created,
            "id": self.id,
            "label": self.label,
            "scopes": list(self.scopes),
            "secretSha256": self.secret_sha256.hex(),
        }
        return value if self.revoked is None else value | {"revoked": self.revoked}


def parse_tokens(data: bytes) -> list[Token]:
    """Parse the file. Raises ConfigError, which repeats nothing of it."""
    try:
        match parse_canonical_json(data, what=FILE_NAME, max_bytes=MAX_TOKENS_BYTES):
            case {"tokens": list(rows)}:
                return [_parse_token(row) for row in rows]
    except (LedgerError, KeyError, TypeError, ValueError) as error:
        raise _damaged() from error
    raise _damaged()


def _damaged() -> ConfigError:
    return ConfigError(
        f"file {FILE_NAME}",
        expected="tokens as `hubledger token` writes them",
        actual="something else",
        next_step="Restore it, or remove it and make new tokens: nobody can write meanwhile",
    )


def _parse_token(row: dict[str, Json]) -> Token:
    scopes = tuple(str(each) for each in row["scopes"])
    if not scopes or any(each not in SCOPES for each in scopes):
        raise ValueError
    return Token(
        id=str(row["id"]),
        secret_sha256=parse_hex(row["secretSha256"], length=32),
        scopes=scopes,
        label=str(row["label"]),
        created=str(row["created"]),
        revoked=None if "revoked" not in row else str(row["revoked"]),
    )


class TokenFile:
    """The tokens of one ledger directory; a change counts from the next request on."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._path = directory / FILE_NAME
        self._seen: tuple[int, int, int] | None = None
        self._tokens: dict[str, Token] = {}

    def check(self, authorization: str | None, scope: str) -> str:
        """Return the id of the token that may. Raises Refusal; ConfigError: the file is none, or others can read it."""
        match = _TOKEN.fullmatch((authorization or "").removeprefix("Bearer "))
        token = self._load().get(match[1]) if match and (authorization or "").startswith("Bearer ") else None
        offered = hashlib.sha256(match[2].encode() if match else b"").digest()
        # Always one comparison, in constant time: what is known of a token does not show in how long a refusal takes.
        right = hmac.compare_digest(token.secret_sha256 if token else bytes(32), offered)
        if token is None or not right or token.revoked is not None:
            raise Refusal(UNAUTHORIZED, "Writing needs `Authorization: Bearer` and a token that counts")
        if scope not in token.scopes and scope not in [INCLUDES.get(each) for each in token.scopes]:
            raise Refusal(FORBIDDEN, f"This token has not the scope {scope}")
        return token.id

    def list(self) -> list[Token]:
        """Return every token, revoked ones too, oldest first."""
        return list(self._load().values())

    def create(self, *, scopes: Sequence[str], label: str, now: str) -> str:
        """Make a token and return it whole, for the only time. Raises MalformedError, WriteError, ConfigError."""
        if not label.isprintable() or len(label) > MAX_LABEL:
            raise MalformedError(
                "label of a token",
                expected=f"at most {MAX_LABEL} printable characters",
                actual=label,
                next_step="Name the program that will use it",
            )
        secret = secrets.token_hex(32)
        token = Token(
            id=secrets.token_hex(6),
            secret_sha256=hashlib.sha256(secret.encode()).digest(),
            scopes=tuple(each for each in SCOPES if each in scopes),
            label=label,
            created=now,
        )
        with self._changing():
            self._write([*self.list(), token])
        return f"hl_{token.id}_{secret}"

    def revoke(self, token_id: str, *, now: str) -> Token:
        """Revoke a token for good; one that is revoked stays as it is. Raises NotFoundError, WriteError."""
        with self._changing():
            tokens = {each.id: each for each in self.list()}
            if (old := tokens.get(token_id)) is None:
                raise NotFoundError(
                    f"token {token_id}",
                    expected="the id of a token",
                    actual="none such",
                    next_step="`hubledger token list` shows the ids",
                )
            if old.revoked is None:
                tokens[token_id] = Token(
                    id=old.id,
                    secret_sha256=old.secret_sha256,
                    scopes=old.scopes,
                    label=old.label,
                    created=old.created,
                    revoked=now,
                )
                self._write(list(tokens.values()))
        return tokens[token_id]

    def _write(self, tokens: Sequence[Token]) -> None:
        write_file_durably(
            self._path, format_canonical_json({"tokens": [each.as_json() for each in tokens]}), mode=0o600
        )

    def _load(self) -> dict[str, Token]:
        """Read the file where it changed. No file: no token, so nobody may write."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                self._tokens, self._seen = self._read(), seen
        except FileNotFoundError:
            self._seen, self._tokens = None, {}
        except OSError as error:
            raise ConfigError(
                f"file {FILE_NAME}", expected="a readable file", actual=error.strerror
            ) from error
        return self._tokens

    def _read(self) -> dict[str, Token]:
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigError(
                    f"permissions of {FILE_NAME}",
                    expected="readable by its owner only",
                    actual="readable by others",
                    next_step="Run `chmod 600` on it; the hashes in it cannot be used to write",
                )
            return {each.id: each for each in parse_tokens(file.read(MAX_TOKENS_BYTES + 1))}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep two commands from writing over each other; the service, which only reads, is not kept out."""
        try:
            descriptor = os.open(
                self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise WriteError(
                f"writing {FILE_NAME}",
                expected="a writable directory",
                actual=error.strerror,
                next_step="Name a ledger's directory that this user can write",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
