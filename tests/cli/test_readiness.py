"""systemd is told once that a service is ready, in a datagram that it sends nobody else."""

import os
import socket

import pytest

from cli.readiness import tell_ready


@pytest.mark.parametrize("abstract", [False, True])
def test_who_waits_is_told_and_the_children_know_nothing_of_it(tmp_path, monkeypatch, abstract):
    address = f"\0hubledger-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
        tell_ready()
        waiting.setblocking(False)
        assert waiting.recv(64) == b"READY=1"
        assert "NOTIFY_SOCKET" not in os.environ


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/at/all", "/" + 200 * "x"])
def test_who_cannot_be_told_ends_nothing(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell_ready()
    assert "NOTIFY_SOCKET" not in os.environ
