"""Web servers on loopback for tests: one that answers as a handler says, and one that shows a folder."""

import contextlib
import functools
import http.server
import threading


@contextlib.contextmanager
def answering(handler):
    """Answer requests by a handler of ``http.server``; yields the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def showing(folder):
    """Show a folder as any static web server would; yields its address."""
    return answering(functools.partial(_Quiet, directory=str(folder)))
