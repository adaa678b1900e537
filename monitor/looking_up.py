"""Looks up the addresses of a host within a time: the system's resolver takes none from us, and its own add up to minutes."""

import socket
import threading

from ledger.errors import SourceError


class LookUp:
    """Looks up for one thread that asks again and again.

    A question cannot be taken back: its thread stays until the resolver gives up, and keeps nobody from ending. While there is one,
    no other is put, so that they do not pile up.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._asking: threading.Thread | None = None

    def addresses(self, host: str, port: int, *, what: str) -> list[str]:
        """Return the addresses of a host, sorted. Raises SourceError: there is none, or no answer in time."""
        if self._asking and self._asking.is_alive():
            raise SourceError(
                what, expected="a resolver that answers", actual="none to the question before this one"
            )
        answer = _Answer(host, port)
        self._asking = threading.Thread(target=answer.ask, name="look-up", daemon=True)
        self._asking.start()
        self._asking.join(self._seconds)
        if answer.error is not None:
            raise SourceError(
                what, expected="a host that is known", actual=str(answer.error)
            ) from answer.error
        if answer.found is None:
            raise SourceError(
                what, expected=f"an answer of the resolver within {self._seconds:g} s", actual="none"
            )
        return sorted(answer.found)


class _Answer:
    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.found: set[str] | None = None
        self.error: Exception | None = None

    def ask(self) -> None:
        try:
            answer = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = error
        else:
            self.found = {str(each[4][0]) for each in answer}
