"""How one finding is handed to one sink: executables in a folder, a web address, mail or a service. Raises where it was not
taken.

Whoever receives must expect to see a finding twice: after a crash it is not known whether it arrived. The idempotency key
tells that it is the same.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ledger.errors import ConfigError, SourceError
from ledger.log.lines import Line, Watch
from monitor.config import MonitorConfig
from monitor.handed import format_finding
from monitor.hooks import Hooks, Say
from monitor.looking_up import LookUp
from monitor.mail import Mail, MailServer
from monitor.notify import Notify
from monitor.private_files import MIN_SECRET_BYTES, read_private, read_private_text
from monitor.record import Stored
from monitor.sink_config import SinkConfig

if TYPE_CHECKING:
    import httpx

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is given out of IPv6: outside lie forms that a gateway or an old kernel takes for an IPv4 address (64:ff9b::/96)."""
_LEADS_TO_IPV4 = (ipaddress.IPv6Network("2001::/32"), ipaddress.IPv6Network("2002::/16"))
"""Teredo and 6to4: who stands behind is in the rest of the address, and may be inside."""
_ADDRESSES = 4
"""Of one host that are tried, each for the whole waiting time."""


class Sink(Protocol):
    """Takes findings, at least once each."""

    def send(self, finding: Stored) -> None:
        """Hand one over. Raises SourceError or ConfigError: it was not taken, and is to be sent again."""
        ...


def open_sink(config: SinkConfig, monitor: MonitorConfig, *, say: Say | None = None) -> Sink:
    """Return the sink that the settings describe. Raises ConfigError: its secret cannot be used. ``say`` as in ``Hooks``."""
    if config.hooks:
        hooks = Hooks(monitor.base / config.hooks, timeout=config.timeout, say=say)
        hooks.tell_left_out()
        return hooks
    if config.mail:
        return _open_mail(config, monitor)
    if config.notify:
        return Notify(monitor.base / config.notify, name=config.name)
    secret = read_private(monitor.base / config.secret, least=MIN_SECRET_BYTES)
    return Webhook(config.webhook, secret=secret, allow_private=config.allow_private, timeout=config.timeout)


def _open_mail(config: SinkConfig, monitor: MonitorConfig) -> Mail:
    password = read_private_text(monitor.base / config.secret) if config.secret else ""
    host, port = config.smtp_address
    server = MailServer(host=host, port=port, tls=config.smtp_tls, user=config.smtp_user, password=password)
    return Mail(server, sender=config.mail_from, recipients=config.mail, timeout=config.timeout)


class Webhook:
    """Posts the finding to an address, signed if there is a secret, without following a redirect.

    The address is looked up here and connected to as it was found: a name that leads to one address when it is checked
    and to another when it is used gains nothing.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: bytes,
        allow_private: bool,
        timeout: float,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        self._url, self._secret, self._private = url, secret, allow_private
        self._timeout, self._transport = timeout, transport
        self._look_up = LookUp(seconds=timeout)

    def send(self, finding: Stored) -> None:
        """Post it. Raises SourceError: no answer, or one that is not 2xx. ConfigError: an address that may not be asked."""
        import httpx

        body = format_finding(finding)
        try:
            url = httpx.URL(self._url)
        except httpx.InvalidURL as error:
            raise self._not_allowed(str(error)) from error
        if url.scheme not in ("http", "https") or not url.host:
            raise self._not_allowed("no http(s) address with a host")
        if url.userinfo:
            raise self._not_allowed("a name or password in the address")
        addresses = self._resolve(url.host, url.port or (443 if url.scheme == "https" else 80))
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "hubledger-monitor",
            "Hubledger-Id": finding.id,
        }
        if self._secret:
            headers["Hubledger-Signature"] = sign(self._secret, body)
        status = self._post_to_any(url, addresses, body=body, headers=headers)
        if status // 100 != 2:
            refusal = SourceError(
                f"webhook at {url.host}",
                expected="status 2xx",
                actual=f"{status}, and redirects are not followed" if status // 100 == 3 else str(status),
            )
            refusal.status = status
            raise refusal

    def _post_to_any(
        self, url: "httpx.URL", addresses: Sequence[str], *, body: bytes, headers: dict[str, str]
    ) -> int:
        """Post to the first address that is reached: a host of two families may be reached by one of them alone."""
        import httpx

        failure: httpx.HTTPError | None = None
        for address in addresses:
            try:
                return self._post(url, address, body=body, headers=headers)
            except httpx.HTTPError as error:
                failure = error
                if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    break  # it may have got it
        raise SourceError(
            f"webhook at {url.host}", expected="an answer", actual=str(failure) or type(failure).__name__
        ) from failure

    def _post(self, url: "httpx.URL", address: str, *, body: bytes, headers: dict[str, str]) -> int:
        import httpx

        with (
            httpx.Client(
                timeout=self._timeout, follow_redirects=False, transport=self._transport, trust_env=False
            ) as client,
            Watch(url.host, Line(client), seconds=self._timeout) as watch,
            client.stream(
                "POST",
                url.copy_with(host=address),
                content=body,
                headers=headers,
                extensions={"sni_hostname": url.host, "trace": watch.note},
            ) as answer,
        ):
            return answer.status_code  # what it says beyond that is not read

    def _resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of the host. Raises ConfigError: any of its addresses is not public."""
        found = self._look_up.addresses(host, port, what=f"address of the webhook {host}")
        for each in found:
            if not self._private and not _is_public(each):
                raise self._not_allowed(f"{each}, which is not a public address")
        return found[:_ADDRESSES]

    def _not_allowed(self, actual: str) -> ConfigError:
        return ConfigError(
            "address of the webhook",
            expected="a public http(s) address without a password",
            actual=actual,
            next_step="Correct it, or say allow_private = true if the receiver is meant to be inside",
        )


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip not in _GLOBAL_UNICAST or any(ip in each for each in _LEADS_TO_IPV4):
            return False
    return ip.is_global and not ip.is_multicast


def sign(secret: bytes, body: bytes) -> str:
    """Return the value of ``Hubledger-Signature``: ``sha256=`` and the hex HMAC-SHA-256 of the body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
