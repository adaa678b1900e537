"""A server made of a socket, which says what no web server would: nothing of HTTP is kept unless a test writes it."""

import contextlib
import socket
import threading
import zlib

ENDLESS = 64 << 10
"""Bytes of one piece of an answer that does not end."""


@contextlib.contextmanager
def rogue(speak):
    """Serve on loopback; yields the address. ``speak(path, connection, over)`` answers one request; ``over`` is set at the end."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=_accept, args=(listener, speak, over), daemon=True)]
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()


def _accept(listener, speak, over):
    while not over.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, speak, over), daemon=True).start()


def _serve(connection, speak, over):
    with connection, contextlib.suppress(OSError):
        heard = b""
        while b"\r\n\r\n" not in heard:
            if not (piece := connection.recv(4096)):
                return
            heard += piece
        speak(heard.split(b" ")[1].decode(), connection, over)


def head(status="200 OK", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode()


def answer(body, *, status="200 OK", **headers):
    """A whole answer, after which the connection closes."""
    return head(status, content_length=len(body), connection="close", **headers) + body


def said(data):
    """Say this and hang up."""
    return lambda path, connection, over: connection.sendall(data)


def reset_after(data):
    """Say this and reset the connection, as a cable that is cut does."""

    def speak(path, connection, over):
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return speak


def drip(first, piece):
    """Say the first, and then a piece whenever the test's clock would let a client go on waiting, for ever."""

    def speak(path, connection, over):
        connection.sendall(first)
        while not over.wait(0.01):
            connection.sendall(piece)

    return speak


def flood(first, piece):
    """Say the first, and then pieces for ever, as fast as they are read."""

    def speak(path, connection, over):
        connection.sendall(first)
        while not over.is_set():
            connection.sendall(piece)

    return speak


def gzip_bomb(megabytes):
    """Zeros that are a thousandth of their size."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()
