"""Runs the whole of Rekor v1: MariaDB, Trillian's log server and signer, Redis, and any number of rekor-servers on them.

``backend`` is slow to start and is shared by a session; ``Backend.server`` starts a rekor-server in about a second, with
a tree and a key of its own unless it is told to go on with another one. Everything is on loopback, on free ports and in a
temporary folder, and ends with the process that started it, whatever ends that.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.bundle.log_entry import LogKeys
from ledger.encoding import format_base64
from ledger.log.remote import Shard
from tests.conftest import missing
from tests.system import peers

NAME = "rekor-v1.example"
"""The name before the tree id in the origin of every checkpoint here."""
_START = "2024-01-01T00:00:00Z"


def program(name):
    """The path of an installed program of the distribution; skips with the reason where it is missing."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        missing(f"{name} is not installed: .ci/peers installs it")
    return path


@contextlib.contextmanager
def running(command, log):
    """Run a process that ends with ours, whatever ends that; yields it. Its output goes to the file ``log``."""
    ends_with_us = [path, "--pdeathsig", "KILL"] if (path := shutil.which("setpriv")) else []
    with pathlib.Path(log).open("ab") as output:
        process = subprocess.Popen(
            [*ends_with_us, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        # Nothing here outlives the folder, and Trillian takes ten seconds to say good-bye.
        process.kill()
        process.wait(timeout=30)


@contextlib.contextmanager
def backend():
    """Start what rekor-servers stand on; yields a ``Backend``."""
    needed = {name: peers.tool(name) for name in ("rekor-v1", "trillian_log_server", "trillian_log_signer")}
    schema = pathlib.Path(peers.tool("trillian.sql")).read_bytes()
    for name in ("mariadbd", "mariadb", "mariadb-install-db", "redis-server"):
        needed[name] = program(name)
    with contextlib.ExitStack() as stack:
        # Short, because the path of a socket has 107 bytes at most.
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hl-v1-")))
        socket = _mariadb(stack, folder, needed, schema)
        yield Backend(
            folder=folder,
            rekor=needed["rekor-v1"],
            trillian=_trillian(stack, folder, needed, f"root@unix({socket})/trillian"),
            redis=_redis(stack, folder, needed),
        )


def _mariadb(stack, folder, needed, schema):
    """Start MariaDB on a socket alone, so that it meets no other one, and make Trillian's database."""
    data, socket = folder / "data", folder / "db"
    subprocess.run(
        [
            needed["mariadb-install-db"],
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *_as_root(),
        ],
        check=True,
        capture_output=True,
    )
    database = stack.enter_context(
        running(
            [
                needed["mariadbd"],
                "--no-defaults",
                f"--datadir={data}",
                f"--socket={socket}",
                f"--pid-file={folder / 'db.pid'}",
                "--skip-networking",
                "--max-connections=300",
                *_as_root(),
            ],
            folder / "mariadb.log",
        )
    )
    client = [needed["mariadb"], "--no-defaults", f"--socket={socket}", "--user=root"]

    def answers():
        return not subprocess.run([*client, "-e", "SELECT 1"], capture_output=True, check=False).returncode

    peers.wait_until(answers, running=database)
    subprocess.run([*client, "-e", "CREATE DATABASE trillian"], check=True)
    subprocess.run([*client, "trillian"], check=True, input=schema)
    return socket


def _as_root():
    return ["--user=root"] if os.geteuid() == 0 else []


def _trillian(stack, folder, needed, uri):
    """Start Trillian's log server and signer; returns the port of the server."""
    port = None
    for name, more in (
        ("trillian_log_server", []),
        ("trillian_log_signer", ["--force_master", "--sequencer_interval=100ms", "--batch_size=1000"]),
    ):
        rpc, http = peers.free_port(), peers.free_port()
        process = stack.enter_context(
            running(
                [
                    needed[name],
                    "--storage_system=mysql",
                    f"--mysql_uri={uri}",
                    f"--rpc_endpoint=127.0.0.1:{rpc}",
                    f"--http_endpoint=127.0.0.1:{http}",
                    "--alsologtostderr",
                    *more,
                ],
                folder / f"{name}.log",
            )
        )
        health = f"http://127.0.0.1:{http}/healthz"
        peers.wait_until(lambda health=health: peers.get(health) is not None, running=process)
        port = port or rpc
    return port


def _redis(stack, folder, needed):
    port = peers.free_port()
    stack.enter_context(
        running(
            [
                needed["redis-server"],
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                str(folder),
            ],
            folder / "redis.log",
        )
    )
    return port


@dataclasses.dataclass
class Backend:
    """Database, Trillian and Redis, on which rekor-servers are started."""

    folder: pathlib.Path
    rekor: str
    trillian: int
    redis: int
    keys: int = 0

    def new_key(self):
        """Make the PEM file of a log key, which outlives the server that signs with it."""
        self.keys += 1
        path = self.folder / f"signer-{self.keys}.pem"
        path.write_bytes(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    @contextlib.contextmanager
    def server(
        self, *, key=None, tree=None, inactive=(), kinds=None, algorithms=None, max_body=None, port=None
    ):
        """Run a rekor-server; yields a ``Server``.

        ``tree`` is a tree to go on with (a new one otherwise), ``inactive`` the trees before it, oldest first;
        ``kinds`` the kinds of entries that it takes, ``algorithms`` those of the keys in a hashedrekord, ``max_body`` its
        limit in bytes.
        """
        key, port = key or self.new_key(), port or peers.free_port()
        command = [
            self.rekor,
            "serve",
            *("--rekor_server.address", "127.0.0.1", "--port", str(port)),
            *("--trillian_log_server.address", "127.0.0.1", "--trillian_log_server.port", str(self.trillian)),
            *("--redis_server.address", "127.0.0.1", "--redis_server.port", str(self.redis)),
            *("--rekor_server.hostname", NAME, "--rekor_server.signer", str(key)),
            *("--enable_attestation_storage=false", "--log_type", "prod"),
        ]
        if tree is not None:
            command += ["--trillian_log_server.tlog_id", str(tree)]
        if inactive:
            # JSON, and every number as digits: tree ids are larger than what a double holds.
            listed = ",".join(f'{{"treeID":{each}}}' for each in inactive)
            config = self.folder / f"shards-{port}.json"
            config.write_text(f"[{listed}]")
            command += ["--trillian_log_server.sharding_config", str(config)]
        if kinds is not None:
            command += ["--enabled_entry_types", ",".join(kinds)]
        if algorithms is not None:
            command += ["--client-signing-algorithms", ",".join(algorithms)]
        if max_body is not None:
            command += ["--max_request_body_size", str(max_body)]
        with running(command, self.folder / f"rekor-{port}.log") as process:
            url = f"http://127.0.0.1:{port}"
            peers.wait_until(lambda: peers.get(f"{url}/api/v1/log") is not None, running=process)
            yield Server(url=url, key=key, tree=int(log_info(url)["treeID"]), port=port, process=process)


def log_info(url):
    """What the server says of its log."""
    return json.loads(peers.get(f"{url}/api/v1/log"))


@dataclasses.dataclass
class Server:
    """A running rekor-server. ``tree`` is the id of its active tree."""

    url: str
    key: pathlib.Path
    tree: int
    port: int
    process: subprocess.Popen

    @property
    def spki(self):
        """The log's public key, from the file that the server signs with, never from what it says."""
        private = serialization.load_pem_private_key(self.key.read_bytes(), password=None)
        return private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def shard(self, *, url=None):
        """The log as our code knows it; ``url`` where something stands between."""
        return shard_of(self.spki, url or self.url, origin=f"{NAME} - {self.tree}")

    @property
    def keys(self):
        """The keys of the log, as the trusted root has them."""
        return keys_of(self.spki)

    def write_trust(self, folder, *, url=None):
        """Write ``trusted_root.json`` and ``signing_config.json`` for this server into the folder; returns both paths."""
        return write_trust(folder, self.spki, url or self.url)


def shard_of(spki, url, *, origin):
    """A shard of Rekor v1."""
    return Shard(
        kind="rekor-v1",
        order=0,
        origin=origin,
        log_id=hashlib.sha256(spki).digest(),
        spki=spki,
        write_url=url,
        read_url=url,
    )


def keys_of(spki):
    """The keys of one log, by its id."""
    return LogKeys({hashlib.sha256(spki).digest(): serialization.load_der_public_key(spki)})


def write_trust(folder, spki, url):
    """Write Sigstore's trusted root and signing config of one Rekor v1.

    The log id is the SHA-256 of the key. A tree id is in neither file: every tree of a server is one log to its clients,
    and the origin of a checkpoint is the name of ``baseUrl``, `` - `` and the tree id.
    """
    folder = pathlib.Path(folder)
    key = {
        "rawBytes": format_base64(spki),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {"start": _START},
    }
    log = {
        "baseUrl": f"http://{NAME}",
        "hashAlgorithm": "SHA2_256",
        "publicKey": key,
        "logId": {"keyId": format_base64(hashlib.sha256(spki).digest())},
    }
    root = {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [log],
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [],
    }
    service = {"url": url, "majorApiVersion": 1, "validFor": {"start": _START}, "operator": "example"}
    config = {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": [],
        "oidcUrls": [],
        "rekorTlogUrls": [service],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [],
        "tsaConfig": {},
    }
    paths = folder / "trusted_root.json", folder / "signing_config.json"
    for path, value in zip(paths, (root, config), strict=True):
        path.write_text(json.dumps(value, indent=1))
    return paths
