"""Findings by mail, through an SMTP server of one's own.

Names that strangers chose are in subjects and bodies. A subject is one line of printable characters whatever they are, and
``email.message`` encodes it; addresses come from the settings alone.
"""

import smtplib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from ledger.encoding import format_canonical_json
from ledger.errors import SourceError
from ledger.event.readable import readable_name
from monitor.record import Stored

_MAX_SUBJECT = 200
"""Characters: a model's name may be long, and what matters comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Who sends. ``tls``: ``starttls``, ``tls`` from the first byte, or ``none``, which takes no password."""

    host: str
    port: int
    tls: str = "starttls"
    user: str = ""
    password: str = ""


class Mail:
    """Sends each finding as one message to all recipients."""

    def __init__(
        self,
        server: MailServer,
        *,
        sender: str,
        recipients: tuple[str, ...],
        timeout: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._server, self._sender, self._recipients = server, sender, recipients
        self._timeout, self._context = timeout, context

    def send(self, finding: Stored) -> None:
        """Send it. Raises SourceError: the server did not take it for every recipient."""
        where = f"mail server {self._server.host}:{self._server.port}"
        message = format_mail(finding, sender=self._sender, recipients=self._recipients)
        try:
            with self._connect() as server:
                if self._server.tls == "starttls":
                    server.starttls(context=self._tls())  # refused, not left out, where the server has none
                if self._server.user:
                    server.login(self._server.user, self._server.password)
                refused = server.send_message(message, self._sender, list(self._recipients))
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise SourceError(where, expected="a message that is taken", actual=_said(error)) from error
        if refused:
            raise SourceError(
                where, expected="every recipient taken", actual="refused: " + ", ".join(sorted(refused))
            )

    def _connect(self) -> smtplib.SMTP:
        host, port = self._server.host, self._server.port
        if self._server.tls == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=self._timeout, context=self._tls())
        return smtplib.SMTP(host, port, timeout=self._timeout)

    def _tls(self) -> ssl.SSLContext:
        return self._context or ssl.create_default_context()


def format_mail(finding: Stored, *, sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """Format a finding as a message. The same finding is the same Message-ID, so that readers drop the second copy."""
    facts = finding.facts
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    about = f" {readable_name(str(facts['model']))}" if "model" in facts else ""
    message["Subject"] = one_line(f"[{facts['severity']}] {facts['kind']}{about} ({facts['log']})")
    message["Date"] = format_datetime(datetime.fromtimestamp(finding.found_at, UTC))
    message["Message-ID"] = f"<{finding.id}@hubledger-monitor>"
    message["Auto-Submitted"] = "auto-generated"
    message["Hubledger-Id"] = finding.id
    number = f"Finding {finding.number}" if finding.number else "A digest"
    message.set_content(
        f"{facts['text']}\n\n{number}; everything that is known of it:\n"
        f"{format_canonical_json(finding.as_json()).decode()}\n",
        cte="quoted-printable",
    )
    return message


def one_line(text: str) -> str:
    """Return text as one line of printable characters, not too long, that no reader of mail decodes into others.

    What looks like an encoded word (RFC 2047) is decoded by ``email.message`` itself when it is set, with the line breaks
    that it hides, and written as further headers.
    """
    text = text.replace("=?", "= ?")
    line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return line if len(line) <= _MAX_SUBJECT else line[: _MAX_SUBJECT - 1] + "…"


def _said(error: Exception) -> str:
    """Say what went wrong, without what the server or we said while logging in."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the user or password is refused ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "refused: " + ", ".join(sorted(error.recipients))
    if isinstance(error, smtplib.SMTPResponseException):
        return f"status {error.smtp_code}"
    return one_line(str(error)) or type(error).__name__
