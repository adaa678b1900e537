"""The settings of a monitor: one TOML file, read once at start. Unknown settings are errors; secrets are paths.

::

    state = "state"
    interval = 60
    [[log]]
    name = "models"
    url = "https://log.example/models"    # or: folder = "…"
    trust = "trust.toml"
    [[sink]]
    name = "pager"
    hooks = "hooks.d"                     # or: webhook = "https://…", secret = "…"
    [publish]
    folder = "public"
    key = "monitor.key"
    url = "https://monitor.example"
"""

import fnmatch
import pathlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.client.trust import MAX_TRUST_BYTES, TrustFile, parse_trust
from ledger.errors import ConfigError, SourceError, StorageError
from ledger.log.fetch import Fetch, fetch_from_folder, fetch_from_url
from monitor.findings import Finding, Kind, Severity

MAX_CONFIG_BYTES = 1 << 20
MAX_LOGS = 100
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_URL = re.compile(r"https?://[!-~]+[^/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The table ``[[log]]``: one tile log to follow. Each field's comment is its manual page."""

    # What the log is called here: small letters, digits and hyphens. Findings and files carry it.
    name: str
    # The client's own trust file for the ledger; relative to the settings, like every path.
    trust: str
    # The address below which `checkpoint` is served.
    url: str = ""
    # In the place of url: a folder that holds the log.
    folder: str = ""
    # Further addresses of the same log, asked where the first one does not give what the log signed.
    mirrors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name("log.name", self.name)
        if bool(self.url) == bool(self.folder):
            raise ConfigError(f"log {self.name}", expected="url or folder", actual="both, or neither")


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """The table ``[[sink]]``: whom to tell, and what. Each field's comment is its manual page."""

    # What the sink is called: small letters, digits and hyphens.
    name: str
    # A folder whose executables are all run, in the order of their names, with the finding on standard input.
    hooks: str = ""
    # In the place of hooks: an address that the finding is posted to.
    webhook: str = ""
    # The file with the secret that signs what is posted; only its owner may read it. Needed with webhook.
    secret: str = ""
    # Whether a webhook may lead to an address that is not public, such as 127.0.0.1.
    allow_private: bool = False
    # Seconds that one delivery may take.
    timeout: float = 30.0
    # The least severity that is told: info, low, medium, high or critical.
    severity: str = "low"
    # Which logs; none: every log.
    logs: tuple[str, ...] = ()
    # Which models, by name with * and ?; none: every model, and what is about no model.
    models: tuple[str, ...] = ()
    # Which kinds of finding; none: every kind.
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name("sink.name", self.name)
        if bool(self.hooks) == bool(self.webhook):
            raise ConfigError(f"sink {self.name}", expected="hooks or webhook", actual="both, or neither")
        if bool(self.webhook) != bool(self.secret):
            raise ConfigError(f"sink {self.name}", expected="secret with webhook", actual="one of them")
        if not 0.1 <= self.timeout <= 600:
            raise ConfigError(
                f"timeout of sink {self.name}", expected="0.1 to 600 seconds", actual=self.timeout
            )
        for what, values, known in (
            ("severity", (self.severity,), Severity),
            ("kinds", self.kinds, Kind),
        ):
            for value in values:
                if value not in set(known):
                    raise ConfigError(
                        f"{what} of sink {self.name}", expected="one of " + ", ".join(known), actual=value
                    )

    def wants(self, finding: Finding) -> bool:
        """Whether the finding is told to this sink."""
        return (
            finding.severity.rank >= Severity(self.severity).rank
            and (not self.logs or finding.log in self.logs)
            and (not self.kinds or finding.kind in self.kinds)
            and (
                not self.models or any(fnmatch.fnmatchcase(finding.model or "", each) for each in self.models)
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishConfig:
    """The table ``[publish]``: what others may see. Each field's comment is its manual page."""

    # The folder that is published; whatever serves it may show all that is in it. Without it nothing is published.
    folder: str = ""
    # The file with the key that signs statements; only its owner may read it. `monitor key` makes it. Without it, none is signed.
    key: str = ""
    # The address at which the folder is served, for the links of feeds; without it they are relative.
    url: str = ""

    def __post_init__(self) -> None:
        if (self.key or self.url) and not self.folder:
            raise ConfigError("setting publish.folder of the monitor", expected="a folder", actual="nothing")
        if self.url and not _URL.fullmatch(self.url):
            raise ConfigError(
                "setting publish.url of the monitor", expected="http://… or https://…", actual=self.url
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """The whole file. ``base`` is the folder that paths are relative to. Each field's comment is its manual page."""

    base: pathlib.Path
    # The folder of the monitor's memory; `monitor init` makes it.
    state: str = "state"
    # Seconds between two looks at each log.
    interval: float = 60.0
    log: tuple[LogConfig, ...] = ()
    sink: tuple[SinkConfig, ...] = ()
    publish: PublishConfig = PublishConfig()

    def __post_init__(self) -> None:
        if not 0.1 <= self.interval <= 86_400:
            raise ConfigError("interval", expected="0.1 to 86400 seconds", actual=self.interval)
        if not 1 <= len(self.log) <= MAX_LOGS:
            raise ConfigError(
                "settings of the monitor", expected=f"1 to {MAX_LOGS} tables [[log]]", actual=len(self.log)
            )
        for what, names in (
            ("log", [each.name for each in self.log]),
            ("sink", [each.name for each in self.sink]),
        ):
            if len(set(names)) != len(names):
                raise ConfigError(f"names of each {what}", expected="each once", actual=", ".join(names))
        for sink in self.sink:
            for name in sink.logs:
                if name not in {each.name for each in self.log}:
                    raise ConfigError(
                        f"logs of sink {sink.name}", expected="names of logs of this file", actual=name
                    )
        self._check_published()

    def _check_published(self) -> None:
        """Whoever serves the folder shows all that is in it: our memory and our keys must be elsewhere."""
        if not self.publish.folder:
            return
        shown = self.published.resolve()
        secrets = [self.folder, *(self.base / each for each in (self.publish.key, *self._secrets) if each)]
        for path in secrets:
            if path.resolve().is_relative_to(shown) or (
                path == self.folder and shown.is_relative_to(path.resolve())
            ):
                raise ConfigError(
                    "setting publish.folder of the monitor",
                    expected="a folder apart from the state, keys and secrets",
                    actual=f"{self.published}, which has to do with {path}",
                )

    @property
    def _secrets(self) -> tuple[str, ...]:
        return tuple(each.secret for each in self.sink)

    @property
    def published(self) -> pathlib.Path:
        """The folder that is published, if one is."""
        return self.base / self.publish.folder

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the state."""
        return self.base / self.state

    @property
    def evidence(self) -> pathlib.Path:
        """The folder that evidence of misbehaviour is written to."""
        return self.folder / "evidence"

    def sinks(self, finding: Finding) -> tuple[str, ...]:
        """Return the sinks that a finding goes to (``monitor.state.Routes``)."""
        return tuple(each.name for each in self.sink if each.wants(finding))

    def trust(self, log: LogConfig) -> TrustFile:
        """Read the trust file of a log. Raises ConfigError."""
        return parse_trust(_read(self.base / log.trust, f"trust file of log {log.name}", MAX_TRUST_BYTES))

    def sources(self, log: LogConfig) -> tuple[Fetch, ...]:
        """Return where a log is read, mirrors last. Raises UsageError: no address of a web server."""
        first = fetch_from_url(log.url) if log.url else _Folder(self.base / log.folder)
        return (first, *(fetch_from_url(each) for each in log.mirrors))


class _Folder:
    """A folder of somebody else's: that it cannot be read says nothing about our own storage."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._fetch = fetch_from_folder(folder)

    def __call__(self, name: str, /, *, max_bytes: int) -> bytes:
        try:
            return self._fetch(name, max_bytes=max_bytes)
        except StorageError as error:
            raise SourceError(error.what, expected=error.expected, actual=error.actual) from error


def load_config(path: pathlib.Path) -> MonitorConfig:
    """Read the settings. Raises ConfigError: not TOML, unknown, missing or impossible settings."""
    data = _read(path, "settings of the monitor", MAX_CONFIG_BYTES)
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"settings of the monitor {path}", expected="TOML", actual=str(error)) from error
    top = _checked(table, _TOP, "")
    logs = tuple(LogConfig(**_checked(each, _LOG, "log.")) for each in top.pop("log", ()))
    sinks = tuple(SinkConfig(**_checked(each, _SINK, "sink.")) for each in top.pop("sink", ()))
    publish = PublishConfig(**_checked(top.pop("publish", {}), _PUBLISH, "publish."))
    return MonitorConfig(base=path.absolute().parent, log=logs, sink=sinks, publish=publish, **top)


def _read(path: pathlib.Path, what: str, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{what} {path}", expected="a readable file", actual=error.strerror) from error
    if len(data) > limit:
        raise ConfigError(f"{what} {path}", expected=f"at most {limit} bytes", actual="more")
    return data


_NUMBER = (int, float)
_TOP: Mapping[str, Any] = {"state": str, "interval": _NUMBER, "log": list, "sink": list, "publish": dict}
_LOG: Mapping[str, Any] = {"name": str, "trust": str, "url": str, "folder": str, "mirrors": list}
_PUBLISH: Mapping[str, Any] = {"folder": str, "key": str, "url": str}
_SINK: Mapping[str, Any] = {
    "name": str,
    "hooks": str,
    "webhook": str,
    "secret": str,
    "allow_private": bool,
    "timeout": _NUMBER,
    "severity": str,
    "logs": list,
    "models": list,
    "kinds": list,
}
_REQUIRED = {"": (), "publish.": (), "log.": ("name", "trust"), "sink.": ("name",)}


def _checked(table: object, known: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the settings of a table, each known and of its type; lists of text as tuples. Raises ConfigError."""
    if not isinstance(table, dict):
        raise ConfigError(
            f"setting {prefix[:-1]} of the monitor", expected=f"tables [[{prefix[:-1]}]]", actual=repr(table)
        )
    for name in _REQUIRED[prefix]:
        if name not in table:
            raise ConfigError(f"setting {prefix}{name} of the monitor", expected="a value", actual="nothing")
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(
                f"setting {prefix}{name} of the monitor",
                expected="one of " + ", ".join(known),
                actual="an unknown setting",
            )
        fits = isinstance(value, known[name]) and (known[name] is bool or not isinstance(value, bool))
        texts = prefix == "" or not isinstance(value, list) or all(isinstance(each, str) for each in value)
        if not fits or not texts:
            raise ConfigError(
                f"setting {prefix}{name} of the monitor", expected=_words(known[name]), actual=repr(value)
            )
        found[name] = tuple(value) if isinstance(value, list) else value
    return found


def _words(kind: object) -> str:
    return {str: "text", bool: "true or false", list: "a list of text", dict: "a table"}.get(kind, "a number")  # type: ignore[call-overload, no-any-return]


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"setting {what} of the monitor", expected="small letters, digits and hyphens", actual=name
        )
