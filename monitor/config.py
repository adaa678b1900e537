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

import fnmatch
import pathlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.client.trust import MAX_TRUST_BYTES, TrustFile, parse_trust
from ledger.encoding import parse_decimal
from ledger.errors import ConfigError, SourceError, StorageError
from ledger.log.fetch import Fetch, fetch_from_folder, fetch_from_url
from monitor.checks import CanaryConfig, CrosscheckConfig
from monitor.digest import Limit
from monitor.findings import Finding, Kind, Severity
from monitor.watch import MAX_RULES, Routing, WatchConfig, rules_of

MAX_CONFIG_BYTES = 1 << 20
MAX_LOGS = 100
OBJECT_SECONDS = 120.0
"""Seconds within which one object must have come whole: the largest bundle, of 16 MB, at 1 Mbit/s."""
LOG_KINDS = ("tiles", "rekor-v2")
_WEB = ("https://", "http://")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_MAIL = re.compile(r"[A-Za-z0-9._%+=-]{1,64}@[A-Za-z0-9.-]{1,255}")
_HOST_PORT = re.compile(r"([A-Za-z0-9.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\]):(0|[1-9][0-9]{0,4})")
_URL = re.compile(r"https?://[!-~]+[^/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The table ``[[log]]``: one tile log to follow. Each field's comment is its manual page."""

    # What the log is called here: small letters, digits and hyphens. Findings and files carry it.
    name: str
    # The client's own trust file for the ledger; relative to the settings, like every path.
    trust: str
    # What the log is: "tiles", or "rekor-v2" for a ledger in Rekor.
    kind: str = "tiles"
    # The address below which `checkpoint` is served.
    url: str = ""
    # In the place of url: a folder that holds the log.
    folder: str = ""
    # Further addresses of the same log, asked where the first one does not give what the log signed.
    mirrors: tuple[str, ...] = ()
    # Addresses of checkpoints of this log that others were shown: witnesses, other monitors, mirrors.
    compare: tuple[str, ...] = ()
    # The most requests a second to each of its addresses; 0: as many as eight at a time are.
    max_requests_per_second: float = 0.0
    # Seconds that `run` leaves a tile that is not full alone, in the hope that it fills; 0: it is read at once.
    partial_wait: float = 0.0
    # With kind "rekor-v2": the read address, or a folder, of each shard of the trust file, in its order.
    shards: tuple[str, ...] = ()
    # With kind "rekor-v2": a folder with the hub's evidence, or a copy of it: statements under their SHA-256. Or the address
    # of `hubledger serve` for this ledger, "https://…", which is asked for each statement that is new.
    evidence: str = ""
    # Hex digests of identities that must not sign any more, as `hubledger monitor findings` shows them.
    revoked_signers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name("log.name", self.name)
        for each in self.revoked_signers:
            if not _DIGEST.fullmatch(each):
                raise ConfigError(
                    f"revoked_signers of log {self.name}", expected="64 hexadecimal digits", actual=each
                )
        for what, value, most in (
            ("max_requests_per_second", self.max_requests_per_second, 10_000),
            ("partial_wait", self.partial_wait, 3600),
        ):
            if not 0 <= value <= most:
                raise ConfigError(f"{what} of log {self.name}", expected=f"0 to {most}", actual=value)
        if self.kind not in LOG_KINDS:
            raise ConfigError(
                f"kind of log {self.name}", expected="one of " + ", ".join(LOG_KINDS), actual=self.kind
            )
        if self.is_rekor:
            self._check_rekor()
        elif bool(self.url) == bool(self.folder) or self.shards or self.evidence:
            raise ConfigError(f"log {self.name}", expected="url or folder", actual="both, or neither")

    @property
    def is_rekor(self) -> bool:
        """Whether the ledger is in Rekor."""
        return self.kind != "tiles"

    @property
    def trees(self) -> tuple[str, ...]:
        """The names of its trees in the monitor's memory: its own, and in Rekor one for each further shard."""
        return (self.name, *(f"{self.name}.{order}" for order in range(1, len(self.shards))))

    def _check_rekor(self) -> None:
        if not self.shards or not self.evidence or self.url or self.folder or self.mirrors:
            raise ConfigError(
                f"log {self.name}",
                expected="shards and evidence, and no address of a log",
                actual="other settings",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """The table ``[[sink]]``: whom to tell, and what. Each field's comment is its manual page."""

    # What the sink is called: small letters, digits and hyphens.
    name: str
    # A folder whose executables are all run, in the order of their names, with the finding on standard input.
    hooks: str = ""
    # In the place of hooks: an address that the finding is posted to.
    webhook: str = ""
    # In the place of hooks: mail addresses.
    mail: tuple[str, ...] = ()
    # The address that mail comes from.
    mail_from: str = ""
    # The mail server, host:port.
    smtp: str = ""
    # "starttls", "tls", or "none", which takes no password.
    smtp_tls: str = "starttls"
    # The user at the mail server, with the password in the file `secret`; empty: nobody logs in.
    smtp_user: str = ""
    # In the place of hooks: a file of addresses as the library apprise has them, one a line; only its owner may read it.
    notify: str = ""
    # A file that only its owner may read: of a webhook, the key that signs what is posted; of mail, the password.
    secret: str = ""
    # The most messages in each `period`; what is more is summed up in one. 0: no limit for hooks and webhooks, 20 else.
    at_most: int = 0
    # Seconds.
    period: float = 3600.0
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
        ways = sum(map(bool, (self.hooks, self.webhook, self.mail, self.notify)))
        if ways != 1:
            raise ConfigError(
                f"sink {self.name}",
                expected="one of hooks, webhook, mail and notify",
                actual="none" if not ways else f"{ways} of them",
            )
        if bool(self.webhook or self.smtp_user) != bool(self.secret):
            raise ConfigError(
                f"sink {self.name}", expected="secret with webhook, or with smtp_user", actual="one of them"
            )
        check_mail(self)
        for setting, number, least, most in (
            ("at_most", self.at_most, 0, 10_000),
            ("period", self.period, 1, 2_592_000),
        ):
            if not least <= number <= most:
                raise ConfigError(
                    f"{setting} of sink {self.name}", expected=f"{least} to {most}", actual=number
                )
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

    @property
    def limit(self) -> Limit:
        """How many messages it gets before they are summed up: people get a limit, programs take everything."""
        most = self.at_most or (20 if self.mail or self.notify else 0)
        return Limit(messages=most, seconds=int(self.period))

    @property
    def smtp_address(self) -> tuple[str, int]:
        """The host and port of the mail server. Raises ConfigError."""
        return parse_host_port(self.smtp, what=f"smtp of sink {self.name}")

    @property
    def is_filtered(self) -> bool:
        """Whether it says itself what it wants to know."""
        return bool(self.logs or self.models or self.kinds) or self.severity != Severity.LOW

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
        if self.crosscheck and self.crosscheck.log not in {each.name for each in self.log}:
            raise ConfigError(
                "crosscheck.log", expected="the name of a log of this file", actual=self.crosscheck.log
            )
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
        """Read the trust file of a log. Raises ConfigError."""
        return parse_trust(_read(self.base / log.trust, f"trust file of log {log.name}", MAX_TRUST_BYTES))

    def sources(self, log: LogConfig) -> tuple[Fetch, ...]:
        """Return where a log is read, mirrors last; in Rekor, where each shard is. Raises UsageError: no web address."""
        if log.is_rekor:
            return tuple(
                _address(each, log) if each.startswith(_WEB) else _Folder(self.base / each)
                for each in log.shards
            )
        first = _address(log.url, log) if log.url else _Folder(self.base / log.folder)
        return (first, *(_address(each, log) for each in log.mirrors))

    def served(self, crosscheck: CrosscheckConfig) -> tuple[Fetch, str]:
        """Return where the list of what the hub serves is read, and its name there. Raises UsageError: no web address."""
        where = crosscheck.list
        if where.startswith(_WEB):
            base, _, name = where.rpartition("/")
            return fetch_from_url(base, seconds=600, conditional=frozenset((name,))), name
        path = self.base / where
        return _Folder(path.parent), path.name

    def views(self, log: LogConfig) -> dict[str, Fetch]:
        """Return where others' checkpoints of a log are read, by address. Raises UsageError: no address of a web server."""
        return {
            url: fetch_from_url(
                url.rpartition("/")[0], seconds=30, tries=2, conditional=frozenset((url.rpartition("/")[2],))
            )
            for url in log.compare
        }


def _address(url: str, log: LogConfig) -> Fetch:
    return fetch_from_url(
        url,
        seconds=OBJECT_SECONDS,
        per_second=log.max_requests_per_second,
        conditional=frozenset(("checkpoint",)),
    )


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
    watch = tuple(WatchConfig(**_checked(each, _WATCH, "watch.")) for each in top.pop("watch", ()))
    canary, crosscheck = top.pop("canary", None), top.pop("crosscheck", None)
    publish = PublishConfig(**_checked(top.pop("publish", {}), _PUBLISH, "publish."))
    return MonitorConfig(
        base=path.absolute().parent,
        log=logs,
        sink=sinks,
        watch=watch,
        canary=None if canary is None else CanaryConfig(**_checked(canary, _CANARY, "canary.")),
        crosscheck=None
        if crosscheck is None
        else CrosscheckConfig(**_checked(crosscheck, _CROSSCHECK, "crosscheck.")),
        publish=publish,
        **top,
    )


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
_TOP: Mapping[str, Any] = {
    "state": str,
    "interval": _NUMBER,
    "listen": str,
    "log": list,
    "sink": list,
    "watch": list,
    "canary": dict,
    "crosscheck": dict,
    "publish": dict,
}
_LOG: Mapping[str, Any] = {
    "name": str,
    "trust": str,
    "url": str,
    "folder": str,
    "mirrors": list,
    "compare": list,
    "max_requests_per_second": _NUMBER,
    "partial_wait": _NUMBER,
    "kind": str,
    "shards": list,
    "evidence": str,
    "revoked_signers": list,
}
_PUBLISH: Mapping[str, Any] = {"folder": str, "key": str, "url": str}
_SINK: Mapping[str, Any] = {
    "name": str,
    "hooks": str,
    "webhook": str,
    "mail": list,
    "mail_from": str,
    "smtp": str,
    "smtp_tls": str,
    "smtp_user": str,
    "notify": str,
    "secret": str,
    "at_most": int,
    "period": _NUMBER,
    "allow_private": bool,
    "timeout": _NUMBER,
    "severity": str,
    "logs": list,
    "models": list,
    "kinds": list,
}
_WATCH: Mapping[str, Any] = {
    "name": str,
    "sinks": list,
    "hubs": list,
    "logs": list,
    "namespaces": list,
    "models": list,
    "signers": list,
    "kinds": list,
    "severity": str,
}
_CANARY: Mapping[str, Any] = {
    "sink": str,
    "every": _NUMBER,
    "grace": _NUMBER,
    "heartbeat": str,
    "ping": str,
    "allow_private": bool,
}
_CROSSCHECK: Mapping[str, Any] = {"log": str, "list": str, "grace": _NUMBER, "every": _NUMBER}
_REQUIRED = {
    "": (),
    "log.": ("name", "trust"),
    "sink.": ("name",),
    "watch.": ("name", "sinks"),
    "canary.": ("sink",),
    "crosscheck.": ("log", "list"),
    "publish.": (),
}


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


def check_mail(sink: SinkConfig) -> None:
    """Refuse a mail sink that could not send, or whose addresses are more than addresses. Raises ConfigError."""
    if not sink.mail:
        return
    for address in (sink.mail_from, *sink.mail):
        if not _MAIL.fullmatch(address):
            raise ConfigError(
                f"mail addresses of sink {sink.name}", expected="name@host, each", actual=address or "none"
            )
    _ = sink.smtp_address
    if sink.smtp_tls not in ("starttls", "tls", "none") or (sink.smtp_tls == "none" and sink.smtp_user):
        raise ConfigError(
            f"smtp_tls of sink {sink.name}",
            expected='"starttls" or "tls"; "none" only without smtp_user',
            actual=sink.smtp_tls,
        )


def parse_host_port(text: str, *, what: str) -> tuple[str, int]:
    """Parse ``host:port``; an IPv6 address in brackets. Raises ConfigError."""
    found = _HOST_PORT.fullmatch(text)
    if found is None or (port := parse_decimal(found[2])) > 65_535:
        raise ConfigError(what, expected="host:port", actual=text or "nothing")
    return found[1].strip("[]"), port


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"setting {what} of the monitor", expected="small letters, digits and hyphens", actual=name
        )
