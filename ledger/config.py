"""The settings of one ledger directory: ``hubledger.toml``, one frozen dataclass, read once at start.

Unknown keys are errors. Secrets are paths, relative to the directory. Irreversible things (the ledger id, the
keys) are written by ``hubledger init`` and are not meant to be edited.
"""

import pathlib
import tomllib
from dataclasses import dataclass, fields

from ledger.errors import ConfigError, LimitError

FILE_NAME = "hubledger.toml"
MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Each field's comment is its manual page."""

    # The ledger's id and the log's origin: a schema-less URL such as "log.example/models". Never changes.
    ledger: str
    # The id of the hub whose verification events are recorded, such as "hub.example". Never changes.
    hub: str
    # The log's Ed25519 key, in the note format of Go's checksum database.
    log_key: str = "keys/log.key"
    # A second Ed25519 key: the log's own timestamped cosignature (c2sp.org/tlog-cosignature).
    cosigner_key: str = "keys/cosigner.key"
    # The hub's ECDSA P-256 key, PEM (PKCS#8): signs every statement.
    hub_key: str = "keys/hub.key"
    # Seconds between two checkpoints; at least 0.1. Use 10 with public witnesses.
    publish_interval: float = 1.0
    # Where the log's tiles are served to others; asked before the first write after a start, so that a restored
    # backup cannot fork the log. Empty: not asked.
    public_url: str = ""
    # "clear": signers are logged as they are. "committed": as commitments, which only a key can open; the keys are in
    # identities.db. Choose before the first event: afterwards every model's next event is a change of signer.
    identity_mode: str = "clear"
    # What `record --private` does: "skip" records nothing, "committed" records with committed identities.
    private: str = "skip"

    def __post_init__(self) -> None:
        for name in ("ledger", "hub"):
            _check_id(name, getattr(self, name))
        if not 0.1 <= self.publish_interval <= 3600:
            raise ConfigError(
                "publish_interval", expected="0.1 to 3600 seconds", actual=self.publish_interval
            )
        for name, allowed in (("identity_mode", ("clear", "committed")), ("private", ("skip", "committed"))):
            if getattr(self, name) not in allowed:
                raise ConfigError(name, expected=" or ".join(allowed), actual=getattr(self, name))
        if self.public_url and not self.public_url.startswith(("https://", "http://")):
            raise ConfigError("public_url", expected="an http(s) address, or nothing", actual=self.public_url)


MAX_ID_BYTES = 128
"""Origins are also key names; 255 bytes is the limit of c2sp.org/tlog-cosignature, and ids stand on every page."""


def _check_id(name: str, value: str) -> None:
    if not 0 < len(value) <= MAX_ID_BYTES or not all("!" <= c <= "~" and c != "+" for c in value):
        raise ConfigError(
            name,
            expected=f"1 to {MAX_ID_BYTES} printable ASCII characters without spaces and '+'",
            actual=value,
            next_step='A schema-less address such as "log.example/models" is usual',
        )


def load_config(directory: pathlib.Path) -> Config:
    """Read the settings of a ledger directory. Raises ConfigError, LimitError."""
    path = directory / FILE_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"settings of {directory}",
            expected=FILE_NAME,
            actual=error.strerror,
            next_step="Make a ledger with `hubledger init DIR --origin … --hub …`, or name its directory",
        ) from error
    return parse_config(data)


def parse_config(data: bytes) -> Config:
    """Parse TOML settings.

    Raises:
        LimitError: too large. ConfigError: an unknown key, a missing one or one of another type.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise LimitError(FILE_NAME, expected=f"at most {MAX_CONFIG_BYTES} bytes", actual="more")
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        raise ConfigError(FILE_NAME, expected="TOML", actual=str(error)) from error
    known = {field.name: field.type for field in fields(Config)}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(
                f"setting {name}", expected="one of " + ", ".join(known), actual="an unknown setting"
            )
        wanted = (int, float) if known[name] is float else (str,)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(
                f"setting {name}", expected=f"a value of type {wanted[-1].__name__}", actual=repr(value)
            )
    for name in ("ledger", "hub"):
        if name not in table:
            raise ConfigError(f"setting {name}", expected="a value", actual="nothing")
    return Config(**table)


def format_config(config: Config) -> bytes:
    """Format settings as TOML."""
    lines = ["# Settings of this ledger; each is explained in docs/reference/settings.md"]
    for field in fields(Config):
        value = getattr(config, field.name)
        lines.append(
            f"{field.name} = {value}" if isinstance(value, float) else f'{field.name} = "{_escape(value)}"'
        )
    return ("\n".join(lines) + "\n").encode()


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
