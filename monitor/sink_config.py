"""The settings of one sink: who is told, by which way, and of what."""

import fnmatch
import re
from dataclasses import dataclass

from ledger.errors import ConfigError
from monitor.digest import Limit
from monitor.findings import Finding, Severity
from monitor.forms import check_findings, check_name, parse_host_port

_MAIL = re.compile(r"[A-Za-z0-9._%+=-]{1,64}@[A-Za-z0-9.-]{1,255}")


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
        check_name("sink.name", self.name)
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
        check_findings(f"sink {self.name}", severity=self.severity, kinds=self.kinds)

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
