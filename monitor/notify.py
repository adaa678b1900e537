"""Findings to chat and paging services, through the library ``apprise`` (extra ``notify``).

An address of such a service holds its token, so addresses are in a file that only its owner may read, and are never
repeated. Services read some signs as commands (``@everyone``, ``<!channel>``): names that strangers chose lose them.
"""

import logging
import pathlib

from ledger.errors import ConfigError, SourceError
from monitor.mail import one_line
from monitor.private_files import read_private_text
from monitor.record import Stored

MAX_ADDRESSES_BYTES = 1 << 16
_BREAK = "\N{ZERO WIDTH SPACE}"


class Notify:
    """Tells a finding to every address of a file."""

    def __init__(self, path: pathlib.Path, *, name: str) -> None:
        """Read the addresses. Raises ConfigError: no such file or library, or an address that the library does not know."""
        try:
            from apprise import Apprise
        except ImportError as error:
            raise ConfigError(
                f"sink {name}",
                expected="the library apprise, for `notify`",
                actual="not installed",
                next_step="Run `pip install 'hubledger[notify]'`",
            ) from error
        # It logs addresses with their tokens, and Python prints what nobody handles.
        logging.getLogger("apprise").disabled = True
        self._name, self._services = name, Apprise()
        text = read_private_text(path, what="addresses", most=MAX_ADDRESSES_BYTES)
        for number, line in enumerate(text.splitlines(), 1):
            address = line.strip()
            if address and not address.startswith("#") and not self._services.add(address):
                raise ConfigError(
                    f"line {number} of {path}",
                    expected="an address as apprise has them",
                    actual="another one (not shown: it may hold a token)",
                )
        if not len(self._services):
            raise ConfigError(f"addresses {path}", expected="one at least", actual="none")

    def send(self, finding: Stored) -> None:
        """Tell it to all. Raises SourceError: one of them did not take it, and all are told again later."""
        from apprise import NotifyFormat, NotifyType

        facts = finding.facts
        kind = NotifyType.FAILURE if str(facts["severity"]) in ("high", "critical") else NotifyType.INFO
        taken = self._services.notify(  # whatever a service raises, it says False
            title=plain(one_line(f"[{facts['severity']}] {facts['kind']} ({facts['log']})")),
            body=plain(f"{facts['text']} (finding {finding.id})"),
            notify_type=kind,
            body_format=NotifyFormat.TEXT,
        )
        if not taken:
            raise SourceError(
                f"services of sink {self._name}",
                expected="all to take it",
                actual="one that did not",
                next_step="Try each address with the command `apprise`",
            )


def plain(text: str) -> str:
    """Return text that mentions nobody and links nowhere, as people read it unchanged."""
    for sign in ("@", "<"):
        text = text.replace(sign, sign + _BREAK)
    return text.replace("://", f":{_BREAK}//").replace("](", f"]{_BREAK}(")
