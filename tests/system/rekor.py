"""Runs the real servers of Sigstore for tests: Rekor v2, a timestamp authority, and a C2SP witness for their checkpoints.

Every server is a context manager, takes a free port and is reaped whatever happens. ``write_trust`` writes what a
client must know of them: a trusted root and a signing config.
"""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import threading
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ledger.tlog.signed_note import KeyType, VerifierKey
from tests.conftest import missing
from tests.fakes.web import showing
from tests.system.peers import free_port, get, tool, wait_until

START = "2024-01-01T00:00:00Z"
_DER, _SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


def b64(raw):
    return base64.b64encode(raw).decode()


@dataclass(frozen=True, kw_only=True)
class TrustedLog:
    """One log as a trusted root and a signing config name it. ``write_url`` None: it takes no entries any more."""

    base_url: str
    spki: bytes
    log_id: bytes
    details: str = "PKIX_ED25519"
    version: int = 2
    write_url: str | None = None
    start: str = START
    end: str | None = None

    @property
    def window(self):
        return {"start": self.start} | ({"end": self.end} if self.end else {})


@dataclass(frozen=True, kw_only=True)
class TrustedAuthority:
    """A timestamp authority: where it is asked, and its chain (DER), from the leaf to the root."""

    url: str
    chain: tuple
    start: str = START


def trusted_root(logs, authorities=()):
    """The JSON of a trusted root; it has no certificate authority, since nothing here is signed by certificates."""
    return {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [
            {
                "baseUrl": log.base_url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(log.spki),
                    "keyDetails": log.details,
                    "validFor": log.window,
                },
                "logId": {"keyId": b64(log.log_id)},
            }
            for log in logs
        ],
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [
            {
                "subject": {"organization": "local", "commonName": "local timestamps"},
                "uri": each.url,
                "certChain": {"certificates": [{"rawBytes": b64(raw)} for raw in each.chain]},
                "validFor": {"start": each.start},
            }
            for each in authorities
        ],
    }


def signing_config(logs, authorities=()):
    """The JSON of the signing config that goes with it."""
    return {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": [],
        "oidcUrls": [],
        "rekorTlogUrls": [
            {
                "url": log.write_url,
                "majorApiVersion": log.version,
                "validFor": log.window,
                "operator": "local",
            }
            for log in logs
            if log.write_url
        ],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [
            {"url": each.url, "majorApiVersion": 1, "validFor": {"start": each.start}, "operator": "local"}
            for each in authorities
        ],
        "tsaConfig": {"selector": "ANY"},
    }


def write_trust(folder, logs, authorities=()):
    """Write ``trusted_root.json`` and ``signing_config.json``; return their paths."""
    root, config = pathlib.Path(folder) / "trusted_root.json", pathlib.Path(folder) / "signing_config.json"
    root.write_text(json.dumps(trusted_root(logs, authorities)))
    config.write_text(json.dumps(signing_config(logs, authorities)))
    return root, config


@dataclass
class RekorV2:
    """A Rekor v2 on a folder, with its tiles at ``read_url``. Stop and start it as often as you like: the port stays."""

    folder: pathlib.Path
    origin: str = "rekor-local"
    interval: str = "200ms"
    witness_policy: pathlib.Path | None = None
    read_only: bool = False
    batch_age: str = "50ms"
    read_url: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage(self):
        return self.folder / "storage"

    @property
    def key(self):
        path = self.folder / "signer.pem"
        if not path.exists():
            path.write_bytes(
                ed25519.Ed25519PrivateKey.generate().private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        return serialization.load_pem_private_key(path.read_bytes(), None)

    @property
    def vkey(self):
        return VerifierKey(
            name=self.origin, kind=KeyType.ED25519, public_key=self.key.public_key().public_bytes_raw()
        )

    @property
    def trusted(self):
        """This log as ``write_trust`` takes it: known by its name, written at its address."""
        raw = self.key.public_key().public_bytes_raw()
        return TrustedLog(
            base_url=f"http://{self.origin}",
            spki=self.key.public_key().public_bytes(_DER, _SPKI),
            log_id=hashlib.sha256(self.origin.encode() + b"\n\x01" + raw).digest(),
            write_url=self.url,
        )

    def start(self):
        assert self.process is None, "it runs already"
        assert self.key
        self.storage.mkdir(exist_ok=True)
        command = [
            *(tool("rekor-v2"), "serve", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1"),
            *(f"--http-port={self.port}", f"--grpc-port={free_port()}"),
            *(f"--http-metrics-port={free_port()}", f"--hostname={self.origin}"),
            *(f"--storage-dir={self.storage}", f"--signer-filepath={self.folder / 'signer.pem'}"),
            *(f"--checkpoint-interval={self.interval}", f"--batch-max-age={self.batch_age}"),
            *("--persistent-antispam", "--log-level=error"),
        ]
        if self.witness_policy is not None:
            command.append(f"--witness-policy-path={self.witness_policy}")
        if self.read_only:
            command.append("--read-only")
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: b"SERVING" in (get(f"{self.url}/healthz") or b""), running=self.process)
        return self

    def stop(self, *, how=signal.SIGTERM):
        """End the process, as an operator does or (``SIGKILL``) as a power cut does."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def freeze(self):
        """Start again, and take no entries any more."""
        self.stop()
        self.read_only = True
        self.start()


@contextlib.contextmanager
def rekor_v2(folder, **options):
    """Run a Rekor v2; yields it. Options are the fields of ``RekorV2``."""
    tool("rekor-v2")
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True, parents=True)
    server = RekorV2(folder=folder, **options)
    server.storage.mkdir(exist_ok=True)
    with showing(server.storage) as read_url:
        server.read_url = server.read_url or read_url
        try:
            yield server.start()
        finally:
            server.stop()


@contextlib.contextmanager
def timestamp_server(folder):
    """Run a timestamp authority with a chain of its own; yields it as ``write_trust`` takes it.

    Its metrics are always at port 2112, which only one process on a machine can have (Rekor v1 wants it too): wait for
    whoever has it.
    """
    binary, log = tool("timestamp-server"), pathlib.Path(folder) / "timestamp-server.log"
    with contextlib.ExitStack() as running:
        api = _start_timestamps(running, binary, log)
        chain = x509.load_pem_x509_certificates(get(f"{api}/certchain"))
        yield TrustedAuthority(url=api, chain=tuple(each.public_bytes(_DER) for each in chain))


def _start_timestamps(running, binary, log):
    never = threading.Event()
    for _ in range(180):
        port = free_port()
        api = f"http://127.0.0.1:{port}/api/v1/timestamp"
        command = [
            *(binary, "serve", "--host=127.0.0.1", f"--port={port}"),
            *("--timestamp-signer=memory", "--disable-ntp-monitoring"),
        ]
        log.unlink(missing_ok=True)
        try:
            _start(running, command, log, until=lambda api=api: get(f"{api}/certchain") is not None)
        except AssertionError:
            if b"address already in use" not in log.read_bytes():
                raise
            never.wait(1)
        else:
            return api
    raise AssertionError("another process has port 2112 for three minutes")


@dataclass(frozen=True, kw_only=True)
class RunningWitness:
    """A witness: its key, and where logs submit their checkpoints."""

    key: VerifierKey
    url: str

    def policy(self, name="w1"):
        """The tlog-policy that asks for its cosignature."""
        return f"witness {name} {self.key.format()} {self.url}\nquorum {name}\n"


@contextlib.contextmanager
def litewitness(folder, logs):
    """Run a witness that knows the logs (their ``VerifierKey``s); yields it."""
    import shutil

    folder = pathlib.Path(folder)
    binary, port, agent = tool("litewitness"), free_port(), folder / "agent.sock"
    if shutil.which("ssh-agent") is None:
        missing("ssh-agent is not installed: .ci/peers installs openssh-client")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "witness")], check=True)
    with contextlib.ExitStack() as running:
        _start(running, ["ssh-agent", "-D", "-a", str(agent)], folder / "agent.log", until=agent.exists)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
        subprocess.run(["ssh-add", "-q", str(folder / "witness")], env=environment, check=True)
        listed = subprocess.run(["ssh-add", "-l"], env=environment, check=True, capture_output=True)
        fingerprint = listed.stdout.decode().split()[1]
        url, database = f"http://127.0.0.1:{port}", folder / "witness.db"
        command = [
            *(binary, "-db", str(database), "-key", fingerprint, "-name", "witness.example/w1"),
            *("-listen", f"127.0.0.1:{port}", "-ssh-agent", str(agent)),
        ]
        _start(running, command, folder / "witness.log", until=lambda: get(url) is not None)
        found = re.search(r"witness\.example/w1\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+", get(url).decode())
        assert found, "the witness shows its key"
        _make_known(database, logs)
        yield RunningWitness(key=VerifierKey.parse(found[0]), url=url)


def _make_known(database, logs):
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for key in logs:
            empty = b64(hashlib.sha256(b"").digest())
            connection.execute(
                "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (key.name, empty)
            )
            connection.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (key.name, key.format()))


def _start(running, command, log, *, until):
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)

    def end():
        process.kill()
        process.wait()

    running.callback(end)
    wait_until(until, running=process)
    return process


def not_writable(log):
    """The same log in a trusted root, without a place in the signing config."""
    return replace(log, write_url=None)
