"""A check by name as a user waits for it: a small model in a cold process, a large one against hashing it alone."""

import os
import pathlib
import statistics
import subprocess
import sys
import time

from ledger.client.asking import fetch_bundle
from ledger.client.proof_bundle import ProofBundle
from ledger.embedded.directory import init, open_for_reading, open_for_recording
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
from tests.oms import key_bundle, new_key, public_pem, put, statement, write_model

LARGE_MB = int(os.environ.get("HUBLEDGER_BENCH_MODEL_MB", "1024"))
PROGRAM = str(pathlib.Path(sys.executable).with_name("hubledger"))
_HASH = """
import hashlib, pathlib, sys
from concurrent.futures import ThreadPoolExecutor
def one(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
with ThreadPoolExecutor() as pool:
    list(pool.map(one, sorted(pathlib.Path(sys.argv[1]).iterdir())))
"""


def once(command, environment):
    """Run a process; returns its seconds by the clock, and its seconds of processor time in user and kernel."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
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


def _signed(folder, name, files, ledger, signer, pem):
    model = folder / name
    model.mkdir()
    write_model(model, files)
    put(model, key_bundle(statement(model), signer))
    request = RecordRequest(name=f"acme/{name}", revision="r1", model=model, public_keys=[pem])
    record_revision(ledger, request)
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
        small = _signed(folder, "small", {"weights": bytes(1 << 20)}, ledger, signer, pem)
        part = bytes(LARGE_MB << 18)
        large = _signed(folder, "large", {f"w{each}": part for each in range(4)}, ledger, signer, pem)
        environment = os.environ | {"HUBLEDGER_DATA": str(folder / "data")}

        def verify(model, leaf):
            proof = _proof(ledger, model.name, leaf)
            return [
                *(
                    PROGRAM,
                    "verify",
                    str(model),
                    "--name",
                    f"hub.example/acme/{model.name}",
                    "--from",
                    str(proof),
                ),
                *("--trust", str(ledger / "trust.toml"), "--public-key", str(pem)),
            ]

        ((clock, processor),) = in_turns(11, environment, verify(small, 1))
        alone, whole = in_turns(3, environment, [sys.executable, "-c", _HASH, str(large)], verify(large, 2))
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
        *_transferred(),
    ]


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
