"""Whole cold processes: what a user waits for."""

import pathlib
import statistics
import subprocess
import sys
import time

from tests.bench.measure import row, scratch

TIMES = 21


def _once(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - start) * 1e3


def medians(*commands):
    """Return the median of each command, in ms. They take turns, so that whatever else the machine does slows all of them alike."""
    for command in commands:
        _once(command)
    rounds = [[_once(command) for command in commands] for _ in range(TIMES)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def cold():
    """``verify --proof`` and ``--help`` against importing sigstore's verifier alone."""
    program = str(pathlib.Path(sys.executable).with_name("hubledger"))
    with scratch() as folder:
        ledger, model, proof = str(folder / "ledger"), folder / "model", str(folder / "x.tlog-proof")
        model.mkdir()
        (model / "weights").write_bytes(bytes(1000))
        steps = (
            ["init", ledger, "--origin", "log.example/models", "--hub", "hub.example"],
            ["record", ledger, "acme/tiny", "--revision", "r1", "--model", str(model), "--proof-out", proof],
        )
        for step in steps:
            subprocess.run([program, *step], check=True, capture_output=True)
        trust = f"{ledger}/trust.toml"
        verify, help_, sigstore = medians(
            [program, "verify", "--proof", proof, "--trust", trust, "--log-only"],
            [program, "--help"],
            [sys.executable, "-c", "import sigstore.verify"],
        )
    return [
        row("`hubledger verify --proof`, cold", f"{verify:.0f} ms", "", "≤ 150 ms"),
        row(
            "the same / importing sigstore.verify", f"{verify / sigstore:.2f}", f"{sigstore:.0f} ms", "≤ 0.33"
        ),
        row("`hubledger --help`, cold", f"{help_:.0f} ms", "", "≤ 120 ms"),
    ]
