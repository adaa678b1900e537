"""The settings of one ledger directory: ``hubledger.toml``, one frozen dataclass, read once at start.

Unknown keys are errors. Secrets are paths, relative to the directory. Irreversible things (the ledger id, the
keys) are written by ``hubledger init`` and are not meant to be edited.
"""

import pathlib
import tomllib
from dataclasses import dataclass, field, fields
from typing import Any

from ledger.errors import ConfigError, LimitError

FILE_NAME = "hubledger.toml"
MAX_CONFIG_BYTES = 1 << 20
MAX_IN_FLIGHT = 4096
LOGS = ("local", "rekor-v2", "rekor-v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RekorConfig:
    """The table ``[rekor]``: where a ledger in Rekor submits its events. Each field's comment is its manual page."""

    # A Sigstore client trust config (JSON), or empty: Sigstore's public instance, from its TUF repository.
    trust_config: str = ""
    # In the place of trust_config: a trusted root, and the signing config that names where to submit.
    trusted_root: str = ""
    signing_config: str = ""
    # Where the checkpoint and tiles of the newest Rekor v2 shard are served, or of every one where it says {origin}.
    # Empty: below the address it is written at.
    read_url: str = ""
    # How many submissions may be under way at once.
    in_flight: int = 64
    # Whether an RFC 3161 timestamp is asked for with each entry, from the authorities of the signing config.
    timestamps: bool = False

    def __post_init__(self) -> None:
        _check_instance("rekor", self)
        if not 1 <= self.in_flight <= MAX_IN_FLIGHT:
            raise ConfigError("rekor.in_flight", expected=f"1 to {MAX_IN_FLIGHT}", actual=self.in_flight)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorConfig:
    """The table ``[anchor]``: where a local log submits its checkpoints, so that nobody can be shown another log."""

    # "rekor-v2" or "rekor-v1". Empty: checkpoints are not anchored in Rekor.
    log: str = ""
    # Seconds between two anchors, at least.
    interval: float = 3600.0
    # The ECDSA key that signs anchors, PEM (PKCS#8); made when it is first needed.
    key: str = "keys/anchor.key"
    # Whether each anchor is also stamped by the timestamp authorities of the signing config (RFC 3161).
    timestamps: bool = False
    # As in [rekor].
    trust_config: str = ""
    trusted_root: str = ""
    signing_config: str = ""
    read_url: str = ""

    def __post_init__(self) -> None:
        _check_instance("anchor", self)
        if self.log not in ("", *LOGS[1:]):
            raise ConfigError("anchor.log", expected='"", "rekor-v2" or "rekor-v1"', actual=self.log)
        if not 1 <= self.interval <= 30 * 86_400:
            raise ConfigError("anchor.interval", expected="1 to 2592000 seconds", actual=self.interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessConfig:
    """The table ``[witness]``: who cosigns the checkpoints of a local log. Each field's comment is its manual page."""

    # A c2sp.org/tlog-policy with an address for each witness: a file, relative to the directory, or the text itself if it
    # has a line break. Empty: nobody is asked.
    policy: str = ""
    # Whether a checkpoint is shown only with the policy's quorum. false: it is shown all the same (best effort).
    required: bool = False
    # Seconds that a witness has for its whole answer.
    timeout: float = 5.0
    # Seconds between two requests to one witness, at least: what its operator permits.
    interval: float = 1.0
    # Age in seconds at which a cosignature is asked for anew, though the log did not grow.
    refresh: float = 3600.0
    # Entries that may be durable and not shown while a required quorum is missing; more are refused with 503.
    backlog: int = 100_000
    # Seconds that a request of the service with wait=witnessed, or any while a required quorum is missing, waits at most.
    wait_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.required and not self.policy:
            raise ConfigError("witness.required", expected="false without witness.policy", actual="true")
        for name, least, most in (
            ("timeout", 0.1, 60),
            ("interval", 0, 86_400),
            ("refresh", 1, 30 * 86_400),
            ("wait_seconds", 0.1, 600),
        ):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(
                    f"witness.{name}", expected=f"{least} to {most} seconds", actual=getattr(self, name)
                )
        if not 1 <= self.backlog <= 10_000_000:
            raise ConfigError("witness.backlog", expected="1 to 10000000", actual=self.backlog)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The table ``[serve]``: how `hubledger serve` answers. Each field's comment is its manual page."""

    # Address and port, such as "127.0.0.1:8470" or "[::1]:8470". Others reach it through a proxy, or with a certificate.
    listen: str = "127.0.0.1:8470"
    # A certificate chain and its key in PEM, relative to the directory. Empty: HTTP, for a proxy that speaks TLS.
    tls_certificate: str = ""
    tls_key: str = ""
    # Threads that read files and indexes.
    threads: int = 8
    # Requests that may wait for one of them; more are refused with 503 at once.
    waiting: int = 512
    # Events that may wait for the writer; more are refused with 503 at once.
    queue: int = 8192
    # Seconds within which the whole body of a request must arrive.
    body_seconds: float = 30.0
    # Whether each request is a line on standard error.
    access_log: bool = True
    # "json" or "logfmt": the form of the lines on standard error.
    log_format: str = "json"
    # Address and port where Prometheus asks, such as "127.0.0.1:9470"; for nobody else. Empty: nowhere.
    metrics: str = ""
    # The header in which a proxy says who asks, such as "X-Forwarded-For": its last address is in the line of a request.
    # Set it only where nobody reaches the service but through that proxy. Empty: callers are not logged.
    caller_header: str = ""

    def __post_init__(self) -> None:
        _check_address("serve.listen", self.listen)
        if self.metrics:
            _check_address("serve.metrics", self.metrics)
        if self.log_format not in ("json", "logfmt"):
            raise ConfigError("serve.log_format", expected='"json" or "logfmt"', actual=self.log_format)
        if self.caller_header and not all(
            c.isascii() and (c.isalnum() or c == "-") for c in self.caller_header
        ):
            raise ConfigError(
                "serve.caller_header", expected="the name of a header", actual=self.caller_header
            )
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigError("serve", expected="tls_certificate with tls_key", actual="one of them")
        for name, most in (("threads", 256), ("waiting", 100_000), ("queue", 1_000_000)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"serve.{name}", expected=f"1 to {most}", actual=getattr(self, name))
        if not 0.1 <= self.body_seconds <= 3600:
            raise ConfigError("serve.body_seconds", expected="0.1 to 3600 seconds", actual=self.body_seconds)


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
    # The hub's ECDSA P-256 key, PEM (PKCS#8): signs every statement. With hub_signer: its public key, PEM.
    hub_key: str = "keys/hub.key"
    # A key in a KMS or HSM, as the URI of a signer of securesystemslib: "awskms:…", "gcpkms:…", "azurekms:…", "hsm:…".
    # Empty: the key is in the file.
    hub_signer: str = ""
    # A file with the PIN of such a signer, readable by its owner only. Empty: it wants none.
    hub_signer_secret: str = ""
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
    # Where events are logged: "local" (a tile log in this directory), "rekor-v2" or "rekor-v1". Never changes.
    log: str = "local"
    # The table [rekor], for a ledger in Rekor.
    rekor: RekorConfig = field(default_factory=RekorConfig)
    # The table [anchor]: where a local log's checkpoints are anchored.
    anchor: AnchorConfig = field(default_factory=AnchorConfig)
    # The table [witness]: who cosigns a local log's checkpoints.
    witness: WitnessConfig = field(default_factory=WitnessConfig)
    # The table [serve]: how the service answers.
    serve: ServeConfig = field(default_factory=ServeConfig)

    def __post_init__(self) -> None:
        for name in ("ledger", "hub"):
            _check_id(name, getattr(self, name))
        if self.hub_signer and not self.hub_signer.partition(":")[1]:
            raise ConfigError(
                "hub_signer", expected="a URI such as awskms:…, or nothing", actual="another form"
            )
        if not 0.1 <= self.publish_interval <= 3600:
            raise ConfigError(
                "publish_interval", expected="0.1 to 3600 seconds", actual=self.publish_interval
            )
        for name, allowed in (
            ("identity_mode", ("clear", "committed")),
            ("private", ("skip", "committed")),
            ("log", LOGS),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(name, expected=" or ".join(allowed), actual=getattr(self, name))
        if self.witness.policy and self.log != "local":
            raise ConfigError(
                "witness.policy", expected='nothing, unless log = "local"', actual=f'log = "{self.log}"'
            )
        if self.public_url and not self.public_url.startswith(("https://", "http://")):
            raise ConfigError("public_url", expected="an http(s) address, or nothing", actual=self.public_url)


def _check_address(name: str, value: str) -> None:
    host, colon, port = value.rpartition(":")
    if not host or not colon or not port.isascii() or not port.isdigit() or not 0 < len(port) < 6:
        raise ConfigError(name, expected="an address and a port", actual=value)


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


def _check_instance(table: str, config: RekorConfig | AnchorConfig) -> None:
    """Check which Sigstore instance a table names: one way of naming it, and not half of one."""
    if config.trust_config and (config.trusted_root or config.signing_config):
        raise ConfigError(table, expected="trust_config, or trusted_root and signing_config", actual="both")
    if bool(config.trusted_root) != bool(config.signing_config):
        raise ConfigError(table, expected="trusted_root with signing_config", actual="one of them")
    if config.read_url and not config.read_url.startswith(("https://", "http://")):
        raise ConfigError(
            f"{table}.read_url", expected="an http(s) address, or nothing", actual=config.read_url
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
    for name in ("ledger", "hub"):
        if name not in table:
            raise ConfigError(f"setting {name}", expected="a value", actual="nothing")
    for name, kind in _TABLES.items():
        if name in table:
            if not isinstance(table[name], dict):
                raise ConfigError(f"setting {name}", expected=f"a table [{name}]", actual=repr(table[name]))
            table[name] = kind(**_checked(table[name], kind, prefix=f"{name}."))
    return Config(**_checked(table, Config))


_TABLES: dict[str, type[RekorConfig] | type[AnchorConfig] | type[WitnessConfig] | type[ServeConfig]] = {
    "rekor": RekorConfig,
    "anchor": AnchorConfig,
    "witness": WitnessConfig,
    "serve": ServeConfig,
}
_WANTED: dict[object, tuple[type, ...]] = {float: (int, float), int: (int,), bool: (bool,), str: (str,)}


def _checked(table: dict[str, Any], kind: type, *, prefix: str = "") -> dict[str, Any]:
    """Return the settings of a table, each known and of its type. Raises ConfigError."""
    known = {each.name: each.type for each in fields(kind)}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(
                f"setting {prefix}{name}", expected="one of " + ", ".join(known), actual="an unknown setting"
            )
        wanted = _WANTED.get(known[name], (object,))
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise ConfigError(
                f"setting {prefix}{name}",
                expected=f"a value of type {wanted[-1].__name__}",
                actual=repr(value),
            )
    return table


def format_config(config: Config) -> bytes:
    """Format settings as TOML."""
    lines = ["# Settings of this ledger; each is explained in docs/reference/settings.md"]
    lines += [
        format_setting(each.name, getattr(config, each.name))
        for each in fields(Config)
        if each.name not in _TABLES
    ]
    for name, kind in _TABLES.items():
        table = getattr(config, name)
        if table != kind():  # what is as it comes needs no table
            lines += [
                "",
                f"[{name}]",
                *(format_setting(each.name, getattr(table, each.name)) for each in fields(kind)),
            ]
    return ("\n".join(lines) + "\n").encode()


def format_setting(name: str, value: object) -> str:
    """Format one setting as a line of TOML."""
    match value:
        case bool():
            return f"{name} = {'true' if value else 'false'}"
        case int() | float():
            return f"{name} = {value}"
        case _:
            return f'{name} = "{_escape(str(value))}"'


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
