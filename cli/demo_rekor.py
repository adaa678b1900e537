"""A Rekor of the demo's own: real servers on this machine, started, trusted and thrown away.

Version 2 is one program that keeps tiles in a folder, which is served beside it. Version 1 stands on Trillian, MariaDB and
Redis. The programs are looked for in ``HUBLEDGER_TOOLS`` and on the PATH; docs/guides/rekor.md says how to install them.
"""

import contextlib
import functools
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.embedded.remote import RekorSource
from ledger.encoding import format_base64
from ledger.errors import SourceError, UsageError

START_SECONDS = 60.0
"""How long a server may take until it answers; MariaDB takes five seconds here."""
_VALID_FROM = {"start": "2024-01-01T00:00:00Z"}
_NAME = "rekor.demo.example"
_TREE = "trillian"


def local_rekor(kind: str, folder: pathlib.Path) -> contextlib.AbstractContextManager[RekorSource]:
    """Run a Rekor of ``kind`` (``rekor-v2`` or ``rekor-v1``) in a folder; yields how a ledger gets to it.

    Raises:
        UsageError: a program that it needs is not installed. SourceError: a server that does not start.
    """
    folder.mkdir()
    return _rekor_v2(folder) if kind == "rekor-v2" else _rekor_v1(folder)


@contextlib.contextmanager
def _rekor_v2(folder: pathlib.Path) -> Iterator[RekorSource]:
    program = _find("rekor-server-posix", "rekor-v2")
    key = ed25519.Ed25519PrivateKey.generate()
    (folder / "signer.pem").write_bytes(_private_pem(key))
    tiles = folder / "tiles"
    tiles.mkdir()
    port = _free_port()
    command = [
        *(program, "serve", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1", f"--http-port={port}"),
        *(f"--grpc-port={_free_port()}", f"--http-metrics-port={_free_port()}", f"--hostname={_NAME}"),
        *(f"--storage-dir={tiles}", f"--signer-filepath={folder / 'signer.pem'}", "--log-level=error"),
        *("--checkpoint-interval=200ms", "--batch-max-age=50ms", "--persistent-antispam"),
    ]
    with _Processes(folder) as running, _serve(tiles) as read_url:
        url = f"http://127.0.0.1:{port}"
        running.start(command, until=lambda: b"SERVING" in _get(f"{url}/healthz"))
        raw = key.public_key().public_bytes_raw()
        log_id = hashlib.sha256(f"{_NAME}\n\x01".encode() + raw).digest()
        log = _Log(f"http://{_NAME}", url, _spki(key.public_key()), log_id, "PKIX_ED25519", 2)
        yield log.write_trust(folder, "rekor-v2", read_url)


@contextlib.contextmanager
def _rekor_v1(folder: pathlib.Path) -> Iterator[RekorSource]:
    program = _find("rekor-server", "rekor-v1")
    trillian_log, trillian_signer = _find("trillian_log_server"), _find("trillian_log_signer")
    redis, maria, client = _find("redis-server"), _find("mariadbd"), _find("mariadb")
    make_database, schema = _find("mariadb-install-db"), _find("trillian.sql")
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "signer.pem").write_bytes(_private_pem(key))
    # Whoever runs the demo as root must say so to MariaDB, which otherwise refuses.
    user = ["--user=root"] if os.geteuid() == 0 else []
    with _Processes(folder) as running:
        database = folder / "db"
        made = [make_database, "--no-defaults", *user, f"--datadir={database}"]
        running.run([*made, "--auth-root-authentication-method=normal", "--skip-test-db"])
        at = f"--socket={folder / 's'}"
        running.start(
            [maria, "--no-defaults", *user, f"--datadir={database}", at, "--skip-networking"],
            until=(folder / "s").exists,
        )
        running.run([client, "--no-defaults", "--user=root", at, "-e", f"CREATE DATABASE {_TREE}"])
        running.run([client, "--no-defaults", "--user=root", at, _TREE], stdin=pathlib.Path(schema))
        storage = ["--storage_system=mysql", f"--mysql_uri=root@unix({folder / 's'})/{_TREE}"]
        ports = [_free_port() for _ in range(6)]
        rpc = [f"--rpc_endpoint=127.0.0.1:{ports[0]}", f"--http_endpoint=127.0.0.1:{ports[1]}"]
        running.start([trillian_log, *storage, *rpc], until=lambda: _listens(ports[0]))
        rpc = [f"--rpc_endpoint=127.0.0.1:{ports[2]}", f"--http_endpoint=127.0.0.1:{ports[3]}"]
        signer = [trillian_signer, *storage, *rpc, "--force_master", "--sequencer_interval=100ms"]
        running.start(signer, until=lambda: _listens(ports[2]))
        store = [redis, "--port", str(ports[4]), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        running.start(store, until=lambda: _listens(ports[4]))
        url = f"http://127.0.0.1:{ports[5]}"
        rekor = [
            *(program, "serve", "--host=127.0.0.1", f"--port={ports[5]}", "--log_type=prod"),
            *("--trillian_log_server.address=127.0.0.1", f"--trillian_log_server.port={ports[0]}"),
            *(f"--rekor_server.hostname={_NAME}", f"--rekor_server.signer={folder / 'signer.pem'}"),
            *("--redis_server.address=127.0.0.1", f"--redis_server.port={ports[4]}"),
            "--enable_attestation_storage=false",
        ]
        running.start(rekor, until=lambda: bool(_get(f"{url}/api/v1/log/publicKey")))
        spki = _spki(key.public_key())
        log = _Log(f"http://{_NAME}", url, spki, hashlib.sha256(spki).digest(), "PKIX_ECDSA_P256_SHA_256", 1)
        yield log.write_trust(folder, "rekor-v1", "")


@dataclass(frozen=True, slots=True)
class _Log:
    """What a trusted root and a signing config say of a log."""

    base_url: str
    write_url: str
    spki: bytes
    log_id: bytes
    details: str
    version: int

    def write_trust(self, folder: pathlib.Path, kind: str, read_url: str) -> RekorSource:
        """Write both files and return the source that names them."""
        tlog = {
            "baseUrl": self.base_url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": format_base64(self.spki),
                "keyDetails": self.details,
                "validFor": _VALID_FROM,
            },
            "logId": {"keyId": format_base64(self.log_id)},
        }
        root = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [tlog],
            "certificateAuthorities": [],
            "ctlogs": [],
            "timestampAuthorities": [],
        }
        service = {
            "url": self.write_url,
            "majorApiVersion": self.version,
            "validFor": _VALID_FROM,
            "operator": _NAME,
        }
        config = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [],
            "oidcUrls": [],
            "rekorTlogUrls": [service],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": [],
            "tsaConfig": {"selector": "ANY"},
        }
        (folder / "trusted_root.json").write_text(json.dumps(root))
        (folder / "signing_config.json").write_text(json.dumps(config))
        return RekorSource(
            kind=kind,
            trusted_root=folder / "trusted_root.json",
            signing_config=folder / "signing_config.json",
            read_url=read_url,
        )


class _Processes:
    """Servers that end with the demo, whatever ends it; their output is kept in the folder until then."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder, self._running = folder, contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def start(self, command: Sequence[str], *, until: Callable[[], bool]) -> None:
        """Start a server and wait until it answers. Raises SourceError: it ended, or does not answer."""
        name = pathlib.Path(command[0]).name
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._running.callback(_end, process)
        deadline = time.monotonic() + START_SECONDS
        while not until():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SourceError(
                    f"server {name}",
                    expected=f"an answer within {START_SECONDS:.0f} seconds",
                    actual="none" if process.poll() is None else f"an end with code {process.returncode}",
                    next_step=f"It said: {self._last_words(name)}",
                )
            time.sleep(0.05)

    def run(self, command: Sequence[str], *, stdin: pathlib.Path | None = None) -> None:
        """Run a program to its end. Raises SourceError: it failed."""
        name = pathlib.Path(command[0]).name
        with contextlib.ExitStack() as files:
            log = files.enter_context((self._folder / f"{name}.log").open("ab"))
            given = files.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            code = subprocess.run(command, stdin=given, stdout=log, stderr=log, check=False).returncode
        if code:
            raise SourceError(
                f"program {name}",
                expected="code 0",
                actual=f"code {code}",
                next_step=f"It said: {self._last_words(name)}",
            )

    def _last_words(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_bytes()[-300:].decode("utf-8", "replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _find(*names: str) -> str:
    """Return the path of a program, or file, by any of its names. Raises UsageError."""
    tools = os.environ.get("HUBLEDGER_TOOLS", "")
    for name in names:
        if tools and (pathlib.Path(tools) / name).is_file():
            return str(pathlib.Path(tools) / name)
        if found := shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin"):
            return found
    raise UsageError(
        "demo in Rekor",
        expected=f"{' or '.join(names)} in HUBLEDGER_TOOLS or on the PATH",
        actual="none",
        next_step="Install it as docs/guides/rekor.md says, or run the demo without --log",
    )


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


@contextlib.contextmanager
def _serve(folder: pathlib.Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _get(url: str) -> bytes:
    """Return what a server of ours answers; nothing where it does not yet."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own address
            body: bytes = response.read(1 << 16)
            return body
    except (OSError, http.client.HTTPException):
        return b""


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _spki(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
