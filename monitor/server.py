"""The monitor's own endpoints: health, metrics, and where anybody hands in a checkpoint that they were shown.

=====================  =====================================================================================================
``GET /health/live``   200 while the process answers
``GET /health/ready``  200, or 503 with the reasons as JSON: a log that cannot be checked, a sink that fails, a silent canary
``GET /metrics``       the metrics, in Prometheus's format
``POST /v1/checkpoint``  a signed checkpoint; answered with ``consistent``, ``pending`` or ``inconsistent``
=====================  =====================================================================================================

Strangers may send: a connection has a fixed time and size, and there are only so many at once.
"""

import http.server
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus

from ledger.encoding import Json, format_canonical_json, parse_decimal
from ledger.errors import (
    ConfigError,
    InputError,
    LedgerError,
    LimitError,
    NotFoundError,
    VerificationError,
)
from ledger.tlog.signed_note import MAX_NOTE_BYTES
from monitor.compare import Judgement, Views
from monitor.health import Health

CONNECTION_SECONDS = 10.0
"""From the first byte to the last of a connection: a byte now and then keeps it no longer."""
CONNECTIONS = 32
"""At once; more are closed unanswered, and scrapers come again."""
_ANSWERS = {
    Judgement.CONSISTENT: HTTPStatus.OK,
    Judgement.PENDING: HTTPStatus.ACCEPTED,
    Judgement.INCONSISTENT: HTTPStatus.CONFLICT,
}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        *,
        views: Views,
        assess: Callable[[], Health],
        metrics: Callable[[], bytes],
        seconds: float,
    ) -> None:
        self.views, self.assess, self.metrics = views, assess, metrics
        self._seconds, self._room = seconds, threading.BoundedSemaphore(CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        end = threading.Timer(self._seconds, _cut, (request,))
        end.start()
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            end.cancel()
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever went away in the middle is nobody's error."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version = "hubledger-monitor"
    sys_version = ""

    def do_GET(self) -> None:
        match self.path:
            case "/health/live":
                self._json(HTTPStatus.OK, {"live": True})
            case "/health/ready":
                problems = self.server.assess().problems
                status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
                self._json(status, {"ready": not problems, "problems": list(problems)})
            case "/metrics":
                self._answer(HTTPStatus.OK, self.server.metrics(), "text/plain; version=0.0.4; charset=utf-8")
            case _:
                self._problem(HTTPStatus.NOT_FOUND, "nothing is here")

    def do_POST(self) -> None:
        if self.path != "/v1/checkpoint":
            self._problem(HTTPStatus.NOT_FOUND, "nothing is here")
            return
        try:
            judged = self.server.views.judge(self._body())
        except LimitError as error:
            self._problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error.finding)
        except NotFoundError as error:
            self._problem(HTTPStatus.NOT_FOUND, error.finding)
        except (InputError, VerificationError) as error:
            self._problem(HTTPStatus.BAD_REQUEST, error.finding)
        except LedgerError:
            self._problem(HTTPStatus.SERVICE_UNAVAILABLE, "it cannot be judged now")
        else:
            self._json(_ANSWERS[judged.judgement], judged.as_json())

    def _body(self) -> bytes:
        """Read the body. Raises LimitError, MalformedError: a length that is none, or of more than a checkpoint can have."""
        length = parse_decimal(self.headers.get("Content-Length", ""), what="Content-Length")
        if length > MAX_NOTE_BYTES:
            raise LimitError(
                "checkpoint", expected=f"at most {MAX_NOTE_BYTES} bytes", actual=f"{length} bytes"
            )
        return self.rfile.read(length)

    def _problem(self, status: HTTPStatus, text: str) -> None:
        self._json(status, {"problem": text})

    def _json(self, status: HTTPStatus, value: dict[str, Json]) -> None:
        self._answer(status, format_canonical_json(value), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name in the standard library
        """What is asked is not logged: it is asked every few seconds."""


def _cut(request: socket.socket) -> None:
    with suppress(OSError):  # it ended by itself
        request.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(
    address: tuple[str, int],
    *,
    views: Views,
    assess: Callable[[], Health],
    clock: Callable[[], float],
    received: Callable[[], Mapping[str, int]] = dict,
    seconds: float = CONNECTION_SECONDS,
) -> Iterator[int]:
    """Answer on an address while the context lasts; yields the port. Raises ConfigError: it is taken, or no metrics library."""
    try:
        from monitor.metrics import format_metrics
    except ImportError as error:
        raise ConfigError(
            "listen",
            expected="the library prometheus-client",
            actual="not installed",
            next_step="Run `pip install 'hubledger[server]'`",
        ) from error
    try:
        server = _Server(
            address,
            views=views,
            assess=assess,
            metrics=lambda: format_metrics(assess, received=received, clock=clock),
            seconds=seconds,
        )
    except OSError as error:
        raise ConfigError(
            f"listen {address[0]}:{address[1]}",
            expected="a free address of this machine",
            actual=error.strerror,
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="answers", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
