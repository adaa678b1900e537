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
    hooks = "hooks.d"                     # or: webhook = "https://…", secret = "…"; or mail, or notify
    [publish]
    folder = "public"
    key = "monitor.key"
    url = "https://monitor.example"
"""

import pathlib
import re
import tomllib
from dataclasses import dataclass

from ledger.client.trust import MAX_TRUST_BYTES, TrustFile, parse_trust, trust_in_log
from ledger.errors import ConfigError, LedgerError
from ledger.log.fetch import Fetch, fetch_from_url
from ledger.tlog.trust_policy import parse_policy
from monitor.checks import CanaryConfig, CrosscheckConfig
from monitor.findings import Finding
from monitor.forms import WEB, parse_host_port
from monitor.log_config import LogConfig
from monitor.sink_config import SinkConfig
from monitor.sources import Folder, open_address
from monitor.tables import CANARY, CROSSCHECK, LOG, PUBLISH, SINK, TOP, WATCH, checked
from monitor.watch import MAX_RULES, Routing, WatchConfig, rules_of

MAX_CONFIG_BYTES = 1 << 20
MAX_LOGS = 100
_URL = re.compile(r"https?://[!-~]+[^/]")


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
    # Where `run` answers health checks, metrics and checkpoints, such as 127.0.0.1:8471; empty: nowhere.
    listen: str = ""
    log: tuple[LogConfig, ...] = ()
    sink: tuple[SinkConfig, ...] = ()
    canary: CanaryConfig | None = None
    crosscheck: CrosscheckConfig | None = None
    watch: tuple[WatchConfig, ...] = ()
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
            ("watch", [each.name for each in self.watch]),
        ):
            if len(set(names)) != len(names):
                raise ConfigError(f"names of each {what}", expected="each once", actual=", ".join(names))
        if self.listen:
            parse_host_port(self.listen, what="listen")
        if self.canary and self.canary.sink not in {each.name for each in self.sink}:
            raise ConfigError(
                "canary.sink", expected="the name of a sink of this file", actual=self.canary.sink
            )
        for what, name in (
            ("crosscheck.log", self.crosscheck.log if self.crosscheck else ""),
            ("canary.log", self.canary.log if self.canary else ""),
        ):
            if name and name not in {each.name for each in self.log}:
                raise ConfigError(what, expected="the name of a log of this file", actual=name)
            if name and any(each.is_foreign for each in self.log if each.name == name):
                raise ConfigError(what, expected="a log with a trust file", actual=f"{name}, with a policy")
        for sink in self.sink:
            for name in sink.logs:
                if name not in {each.name for each in self.log}:
                    raise ConfigError(
                        f"logs of sink {sink.name}", expected="names of logs of this file", actual=name
                    )
        self._check_published()
        self._check_watch()

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
        return tuple(path for each in self.sink for path in (each.secret, each.notify, each.hooks))

    @property
    def published(self) -> pathlib.Path:
        """The folder that is published, if one is."""
        return self.base / self.publish.folder

    def _check_watch(self) -> None:
        if len(self.watch) > MAX_RULES:
            raise ConfigError(
                "settings of the monitor",
                expected=f"at most {MAX_RULES} tables [[watch]]",
                actual=len(self.watch),
            )
        for rule in self.watch:
            for what, names, known in (("logs", rule.logs, self.log), ("sinks", rule.sinks, self.sink)):
                for name in names:
                    if name not in {each.name for each in known}:
                        raise ConfigError(
                            f"{what} of rule {rule.name}",
                            expected=f"names of {what} of this file",
                            actual=name,
                        )
        for sink in self.sink:
            if sink.is_filtered and sink.name in self._named:
                raise ConfigError(
                    f"sink {sink.name}",
                    expected="filters of its own or a rule that names it",
                    actual="both",
                    next_step="Put what it wants to know into its rules",
                )

    @property
    def _named(self) -> frozenset[str]:
        return frozenset(sink for rule in self.watch for sink in rule.sinks)

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the state."""
        return self.base / self.state

    @property
    def evidence(self) -> pathlib.Path:
        """The folder that evidence of misbehaviour is written to."""
        return self.folder / "evidence"

    def sinks(self, finding: Finding) -> tuple[str, ...]:
        """Return the sinks that want a finding by their own filters; those that rules name go by the rules."""
        named = self._named
        return tuple(each.name for each in self.sink if each.name not in named and each.wants(finding))

    def routing(self) -> Routing:
        """Return who is told what. Raises ConfigError: a trust file that cannot be read."""
        return Routing(
            rules_of(self.watch, hubs={each.name: self.trust(each).hub for each in self.log}), self
        )

    def trust(self, log: LogConfig) -> TrustFile:
        """Read the trust file of a log, or of one that is somebody else's its policy. Raises ConfigError."""
        if log.is_foreign:
            return _trust_in_log(self.base / log.policy, f"policy of log {log.name}")
        return parse_trust(_read(self.base / log.trust, f"trust file of log {log.name}", MAX_TRUST_BYTES))

    def sources(self, log: LogConfig) -> tuple[Fetch, ...]:
        """Return where a log is read, mirrors last; in Rekor, where each shard is. Raises UsageError: no web address."""
        if log.is_rekor:
            return tuple(
                open_address(each, log) if each.startswith(WEB) else Folder(self.base / each)
                for each in log.shards
            )
        first = open_address(log.url, log) if log.url else Folder(self.base / log.folder)
        return (first, *(open_address(each, log) for each in log.mirrors))

    def served(self, crosscheck: CrosscheckConfig) -> tuple[Fetch, str]:
        """Return where the list of what the hub serves is read, and its name there. Raises UsageError: no web address."""
        where = crosscheck.list
        if where.startswith(WEB):
            base, _, name = where.rpartition("/")
            return fetch_from_url(base, seconds=600, conditional=frozenset((name,))), name
        path = self.base / where
        return Folder(path.parent), path.name

    def views(self, log: LogConfig) -> dict[str, Fetch]:
        """Return where others' checkpoints of a log are read, by address. Raises UsageError: no address of a web server."""
        return {
            url: fetch_from_url(
                url.rpartition("/")[0], seconds=30, tries=2, conditional=frozenset((url.rpartition("/")[2],))
            )
            for url in log.compare
        }


def load_config(path: pathlib.Path) -> MonitorConfig:
    """Read the settings. Raises ConfigError: not TOML, unknown, missing or impossible settings."""
    data = _read(path, "settings of the monitor", MAX_CONFIG_BYTES)
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"settings of the monitor {path}", expected="TOML", actual=str(error)) from error
    top = checked(table, TOP, "")
    logs = tuple(LogConfig(**checked(each, LOG, "log.")) for each in top.pop("log", ()))
    sinks = tuple(SinkConfig(**checked(each, SINK, "sink.")) for each in top.pop("sink", ()))
    watch = tuple(WatchConfig(**checked(each, WATCH, "watch.")) for each in top.pop("watch", ()))
    canary, crosscheck = top.pop("canary", None), top.pop("crosscheck", None)
    publish = PublishConfig(**checked(top.pop("publish", {}), PUBLISH, "publish."))
    return MonitorConfig(
        base=path.absolute().parent,
        log=logs,
        sink=sinks,
        watch=watch,
        canary=None if canary is None else CanaryConfig(**checked(canary, CANARY, "canary.")),
        crosscheck=None
        if crosscheck is None
        else CrosscheckConfig(**checked(crosscheck, CROSSCHECK, "crosscheck.")),
        publish=publish,
        **top,
    )


def _trust_in_log(path: pathlib.Path, what: str) -> TrustFile:
    data = _read(path, what, MAX_TRUST_BYTES)
    try:
        return trust_in_log(parse_policy(data))
    except LedgerError as error:
        raise ConfigError(
            f"{what} {path}: {error.what}", expected=error.expected, actual=error.actual
        ) from error


def _read(path: pathlib.Path, what: str, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{what} {path}", expected="a readable file", actual=error.strerror) from error
    if len(data) > limit:
        raise ConfigError(f"{what} {path}", expected=f"at most {limit} bytes", actual="more")
    return data
