"""A check by name as a user waits for it: a small model in a cold process, signed with a key and with Sigstore, a large one against
hashing it alone, and one that did not change in a process that is warm."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from cli.demo_world import DemoSigstore
from ledger.bundle.trust_material import TrustMaterial
from ledger.client.asking import fetch_bundle
from ledger.client.checking import Question, answer, require
from ledger.client.known_digests import SETTLED_SECONDS
from ledger.client.proof_bundle import ProofBundle
from ledger.client.trust import parse_trust
from ledger.client.trust_store import Origin, StoredTrust
from ledger.embedded.directory import open_for_reading
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.proving import make_proof
from ledger.embedded.reading import read_entry_at
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.encoding import format_canonical_json
from ledger.server.app import Limits
from ledger.server.service import make_app
from tests.bench.measure import row, scratch
from tests.events import key
from tests.ledger.server.conftest import Service, facts
from tests.ledger.server.test_check import Fetch
from tests.oms import files_of, key_bundle, new_key, public_pem, put, statement, write_model

LARGE_MB = int(os.environ.get("HUBLEDGER_BENCH_MODEL_MB", "5000"))
LARGE_FILES = 10
WARM = 101
PROGRAM = str(pathlib.Path(sys.executable).with_name("hubledger"))
IDENTITY, ISSUER = "release@acme.example", "https://login.acme.example"
_HASH = """
import hashlib, os, pathlib, sys
from concurrent.futures import ThreadPoolExecutor
def one(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
with ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(one, sorted(pathlib.Path(sys.argv[1]).iterdir())))
"""


def once(command, environment):
    """Run a process; returns its seconds by the clock, and its seconds of processor time in user and kernel."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[:4]} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def in_turns(times, environment, *commands):
    """Return the median (clock, processor) of each command, which take turns."""
    rounds = [[once(command, environment) for command in commands] for _ in range(times)]
    return [
        tuple(statistics.median(values) for values in zip(*found, strict=True))
        for found in zip(*rounds, strict=True)
    ]


def _signed(ledger, model, signer, pem):
    put(model, key_bundle(statement(model), signer))
    request = RecordRequest(name=f"acme/{model.name}", revision="r1", model=model, public_keys=[pem])
    record_revision(ledger, request)
    return model


def _small(folder, name):
    model = folder / name
    model.mkdir()
    write_model(model, {"weights": bytes(1 << 20)})
    return model


def _large(folder):
    """A model of files with holes: what they cost is the hashing, whatever the disk does meanwhile."""
    model = folder / "large"
    model.mkdir()
    for each in range(LARGE_FILES):
        with (model / f"w{each}").open("wb") as file:
            file.truncate(LARGE_MB * 1_000_000 // LARGE_FILES)
    return model


def _proof(ledger, name, leaf):
    opened = open_for_reading(ledger)
    entry = read_entry_at(opened, leaf, opened.size())
    proof = make_proof(opened.log, leaf, entry, since=None)
    path = ledger.with_name(f"{name}.proof")
    path.write_bytes(ProofBundle(name=f"acme/{name}", proof=proof, claims=(), fetched_at=0).format())
    return path


def client():
    """The rows of a check by name."""
    with scratch() as folder:
        ledger, signer, pem = folder / "ledger", new_key(), folder / "key.pub"
        pem.write_bytes(public_pem(signer))
        init(ledger, origin="log.example/models", hub="hub.example")
        small = _signed(ledger, _small(folder, "small"), signer, pem)
        large = _signed(ledger, _large(folder), signer, pem)
        environment = os.environ | {"HUBLEDGER_DATA": str(folder / "data")}

        key = ("--public-key", str(pem))
        ((clock, processor),) = in_turns(11, environment, _verify(ledger, small, 1, *key))
        command = _verify(ledger, large, 2, *key)
        alone, whole = in_turns(3, environment, [sys.executable, "-c", _HASH, str(large)], command)
        rows = [*_sigstore(folder, ledger, environment, leaf=3), _warm(folder, ledger, large, pem, leaf=2)]
    return [
        row(
            "`verify --name --from` of 1 MB, a key, cold process: clock",
            f"{clock * 1e3:.0f} ms",
            "",
            "≤ 250 ms",
        ),
        row("the same: processor time", f"{processor * 1e3:.0f} ms", "", "≤ 250 ms"),
        row(
            f"`verify --name` of {LARGE_MB} MB / hashing alone: clock",
            f"{whole[0] / alone[0]:.2f}",
            f"{alone[0]:.2f} s",
            "≤ 1.15",
        ),
        row("the same: processor time", f"{whole[1] / alone[1]:.2f}", f"{alone[1]:.2f} s", "≤ 1.15"),
        *rows,
        *_transferred(),
    ]


def _verify(ledger, model, leaf, *options):
    proof, name = _proof(ledger, model.name, leaf), f"hub.example/acme/{model.name}"
    at = ("--name", name, "--from", str(proof), "--trust", str(ledger / "trust.toml"))
    return [PROGRAM, "verify", str(model), *at, *options]


def _sigstore(folder, ledger, environment, *, leaf):
    """A model of one file against ``sigstore verify`` of that file: both offline, by one instance, with the same identity asked for."""
    instance, model = DemoSigstore(), _small(folder, "keyless")
    root, config, bundle = folder / "root.json", folder / "config.json", folder / "file.sigstore.json"
    root.write_bytes(instance.trusted_root())
    config.write_text(json.dumps(_client_config(instance)))
    of_file = statement(model) | {"subject": [{"name": "weights", "digest": {"sha256": _sha256(model)}}]}
    for path, said in ((model / "model.sig", statement(model)), (bundle, of_file)):
        path.write_bytes(instance.sign(json.dumps(said).encode(), identity=IDENTITY, issuer=ISSUER))
    request = RecordRequest(name="acme/keyless", revision="r1", model=model, trust_config=root)
    record_revision(ledger, request)
    expected = ("--expect-signer", IDENTITY, "--expect-issuer", ISSUER)
    ours = _verify(ledger, model, leaf, "--trusted-root", str(root), *expected)
    theirs = [
        *(str(pathlib.Path(PROGRAM).with_name("sigstore")), "--trust-config", str(config), "verify"),
        *("identity", "--offline", "--bundle", str(bundle), "--cert-identity", IDENTITY),
        *("--cert-oidc-issuer", ISSUER, str(model / "weights")),
    ]
    mine, peer = in_turns(11, environment, ours, theirs)
    return [
        row(
            "`verify --name --from` of 1 MB, Sigstore, cold process / `sigstore verify identity`: clock",
            f"{mine[0] / peer[0]:.2f} ({mine[0] * 1e3:.0f} ms)",
            f"{peer[0] * 1e3:.0f} ms",
            "≤ 1.2",
        ),
        row(
            "the same: processor time",
            f"{mine[1] / peer[1]:.2f} ({mine[1] * 1e3:.0f} ms)",
            f"{peer[1] * 1e3:.0f} ms",
            "≤ 1.2",
        ),
    ]


def _sha256(model):
    (one,) = files_of(model)
    return next(
        each["digest"] for each in statement(model)["predicate"]["resources"] if each["name"] == str(one)
    )


def _client_config(instance):
    """What ``sigstore --trust-config`` takes: the trusted root, and addresses that nobody asks."""
    begin = {"start": instance.now.strftime("%Y-%m-%dT00:00:00Z")}
    service = {
        "url": "https://sigstore.demo.example",
        "majorApiVersion": 1,
        "validFor": begin,
        "operator": "demo",
    }
    return {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(instance.trusted_root()),
        "signingConfig": {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            **{each: [service] for each in ("caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls")},
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        },
    }


def _warm(folder, ledger, model, pem, *, leaf):
    """What ``check`` does, with the digests from the last time, in one process: trust file, pins and proof are read each time."""
    data = (ledger / "trust.toml").read_bytes()
    stored = StoredTrust(data=data, trust=parse_trust(data), source="", origin=Origin.CONFIRMED)
    question = Question(
        path=model, name=f"acme/{model.name}", proof_file=_proof(ledger, model.name, leaf), digest_cache=True
    )
    material, now = TrustMaterial(public_keys=[pem.read_bytes()]), int(time.time()) + 2 * SETTLED_SECONDS

    def check():
        found = require(answer(question, stored, material=material, folder=folder / "data", now=now))
        parse_trust(data)
        return found

    check()
    clock, processor = [], []
    for _ in range(WARM):
        start, used = time.perf_counter(), time.process_time()
        assert check().remembered == LARGE_FILES
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return row(
        f"`check` of an unchanged model of {LARGE_MB} MB, digests remembered, warm: clock (processor)",
        f"{statistics.median(clock) * 1e3:.1f} ms ({statistics.median(processor) * 1e3:.1f} ms)",
        "",
        "≤ 10 ms",
    )


def _transferred():
    with scratch() as folder:
        init(folder / "ledger", origin="log.example/models", hub="hub.example")
        with open_for_recording(folder / "ledger") as ledger:
            ledger.recorder.record_batch([facts("acme/tiny", f"r{each}", key("a")) for each in range(100)])
            ledger.recorder.publish()
        app = make_app(folder / "ledger", limits=Limits(threads=1, waiting=4))
        fetch = Fetch(Service(app))
        bundle = fetch_bundle(fetch, "acme/tiny", now=0, since=1)
        app.pool.close()
    assert len(format_canonical_json([each.as_json() for each in bundle.claims])) < fetch.bytes
    return [
        row(
            "a model with 100 events: bytes, requests",
            f"{fetch.bytes / 1e3:.0f} KB, {len(fetch.asked)}",
            "",
            "≤ 60 KB, 1",
        )
    ]
