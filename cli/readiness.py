"""Tells systemd that a service is ready: one datagram to the socket that it named (sd_notify(3))."""

import contextlib
import os
import socket


def tell_ready() -> None:
    """Say READY=1, where somebody waits for it (``Type=notify``). Who cannot be told would wait for nothing: never an error."""
    # Not for the children, hooks among them: what they would say is not ours.
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.sendto(b"READY=1", address.replace("@", "\0", 1) if address[0] == "@" else address)
