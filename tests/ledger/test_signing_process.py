"""A batch is signed beside its decisions, in a process of its own, with the same bytes as without it."""

import contextlib
import hashlib
import logging
import os
import pathlib
import select
import signal
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.embedded.auditing import audit_ledger
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.entry import pae
from ledger.recorder import HubSigner, signing_batch
from ledger.recorder.signing_batch import BatchSigning
from ledger.recorder.signing_process import MAX_RUN, RUNS_AHEAD, SigningProcess
from tests.events import NOW, key
from tests.ledger.test_recorder import facts

KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = HubSigner(key=KEY, keyid="a" * 64)
STATEMENTS = [b"statement %d " % number * 40 for number in range(300)]
SECONDS = 60.0
"""Until a process that has to come to life is given up; it takes a tenth of one."""


@pytest.fixture
def started(monkeypatch):
    """A signing of batches whose process is there and ready."""
    monkeypatch.setattr(signing_batch, "PROCESS_FROM", 0)
    batches = BatchSigning(SIGNER, threads=2)
    with contextlib.closing(batches):
        assert sign(batches) == SIGNER.sign_run(STATEMENTS)
        assert batches.process.is_ready(within=SECONDS)
        yield batches


@pytest.fixture
def process():
    with contextlib.closing(SigningProcess(KEY)) as started:
        assert started.is_ready(within=SECONDS)
        yield started


def sign(batches, statements=STATEMENTS, *, after=None, do=None):
    batches.begin()
    for number, statement in enumerate(statements):
        if number == after:
            do()
        batches.add(statement)
    return batches.end()


def digests(statements):
    return [hashlib.sha256(pae(each)).digest() for each in statements]


def kill(pid):
    """Kill a process, and wait until it has ended; somebody else collects it."""
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    ended(handle)


def ended(handle):
    assert select.select([handle], [], [], SECONDS)[0], "a process that goes on"
    os.close(handle)


def test_a_batch_has_the_same_entries_with_the_process_as_without(started):
    pid = started.process.pid
    for size in (300, 64, 65, 32, 31, 1, 0):
        assert sign(started, STATEMENTS[:size]) == SIGNER.sign_run(STATEMENTS[:size])
    assert started.process.pid == pid


def test_the_process_signs_while_the_batch_is_still_made(started):
    started.begin()
    for each in STATEMENTS[:200]:
        started.add(each)
    assert started.process.waiting == 3
    assert started.end() == SIGNER.sign_run(STATEMENTS[:200])


def test_no_process_is_started_for_little(monkeypatch):
    monkeypatch.setattr(signing_batch, "PROCESS_FROM", 601)
    with contextlib.closing(BatchSigning(SIGNER)) as batches:
        sign(batches)
        sign(batches)
        assert batches.process is None
        sign(batches)
        assert batches.process is not None


@pytest.mark.parametrize("after", [0, 1, 64, 130, 299])
def test_a_process_that_is_killed_costs_no_entry_and_is_replaced(started, caplog, after):
    pid = started.process.pid
    entries = sign(started, after=after, do=lambda: kill(pid))
    assert entries == SIGNER.sign_run(STATEMENTS)
    assert "the signing process was lost, so that threads sign" in caplog.text
    sign(started)
    assert started.process.is_ready(within=SECONDS)
    assert started.process.pid != pid
    assert sign(started) == entries


def test_a_process_that_is_killed_between_batches_costs_no_entry(started):
    kill(started.process.pid)
    assert sign(started) == SIGNER.sign_run(STATEMENTS)


def test_a_process_that_never_lives_long_is_started_three_times(started):
    pids = set()
    for _ in range(5):
        if started.process is not None:
            pids.add(started.process.pid)
            kill(started.process.pid)
        assert sign(started) == SIGNER.sign_run(STATEMENTS)
    assert len(pids) == 3
    assert started.process is None


def test_a_batch_that_is_broken_off_leaves_nothing_to_the_next(started):
    started.begin()
    for each in reversed(STATEMENTS):
        started.add(each)
    assert started.process.waiting == 4
    assert sign(started) == SIGNER.sign_run(STATEMENTS)


_LIARS = {
    "ends at once": "",
    "refuses the key": "import sys; sys.exit(3)",
    "says that it is ready, and ends": "link.recv(1000); link.sendall(b'1')",
    "answers zeros": "link.recv(1000); link.sendall(b'1' + bytes(73 * 1024)); link.recv(1)\nwhile link.recv(65536): pass",
    "answers less": "link.recv(1000); link.sendall(b'1' + bytes(73)); link.recv(65536)",
}


@pytest.mark.parametrize("how", _LIARS)
def test_what_is_no_signature_is_not_believed(monkeypatch, tmp_path, caplog, how):
    """Signatures of others, or of another run, would be in the log for ever."""
    script = tmp_path / "child.py"
    script.write_text(f"import socket, sys\nlink = socket.socket(fileno=int(sys.argv[1]))\n{_LIARS[how]}\n")
    monkeypatch.setattr(signing_batch, "PROCESS_FROM", 0)
    monkeypatch.setattr("ledger.recorder.signing_child.__file__", str(script))
    with contextlib.closing(BatchSigning(SIGNER)) as batches:
        sign(batches)
        with contextlib.suppress(OSError):
            batches.process.is_ready(within=SECONDS)
        for _ in range(2):
            assert sign(batches) == SIGNER.sign_run(STATEMENTS)
    assert "the signing process was lost" in caplog.text


def test_where_no_process_can_be_started_threads_sign(monkeypatch, caplog):
    monkeypatch.setattr(signing_batch, "PROCESS_FROM", 0)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with contextlib.closing(BatchSigning(SIGNER)) as batches, caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert sign(batches) == SIGNER.sign_run(STATEMENTS)
    assert caplog.text.count("no signing process can be started") == 1


def test_runs_ahead_and_their_answers_fit_into_the_socket(process):
    """Nobody reads while the most that may be asked for is handed over: neither side may wait for the other."""
    run = digests(STATEMENTS[:MAX_RUN])
    for _ in range(RUNS_AHEAD):
        process.ask(run)
    answers = [process.collect() for _ in range(RUNS_AHEAD)]
    assert all(each == answers[0] for each in answers)


def test_it_outlives_the_signals_that_end_whoever_asks(process):
    """A service is stopped with a signal to all of its processes, and then still commits what it took."""
    for each in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.pid, each)
    process.ask(digests(STATEMENTS[:1]))
    assert len(process.collect()) == 1


def test_the_key_is_in_no_command_line_or_environment_and_in_no_open_file(process):
    place = pathlib.Path(f"/proc/{process.pid}")
    number = KEY.private_numbers().private_value
    raw = number.to_bytes(32)
    shown = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
    for each in (raw, raw.hex().encode(), str(number).encode()):
        assert each not in shown
    der = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert der.splitlines()[1] not in shown
    opened = {os.readlink(each).partition(":")[0] for each in (place / "fd").iterdir()}
    assert opened == {"/dev/null", "socket"}


_OWNER = """
import sys
from cryptography.hazmat.primitives.asymmetric import ec
from ledger.recorder.signing_process import SigningProcess
process = SigningProcess(ec.generate_private_key(ec.SECP256R1()))
assert process.is_ready(within=60)
print(process.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_with_whoever_asks_also_when_that_is_killed():
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        handle = os.pidfd_open(int(owner.stdout.readline()))
        owner.kill()
    ended(handle)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_copy_of_its_owner_leaves_it_alone(started):
    """Two who read from one socket would have each other's signatures."""
    statement = STATEMENTS[:1]
    if (pid := os.fork()) == 0:
        try:
            done = not started._can_ask() and sign(started, statement) == SIGNER.sign_run(statement)
            started._drop()
            os._exit(0 if done else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert sign(started) == SIGNER.sign_run(STATEMENTS)
    assert started.process is not None


def test_a_ledger_that_a_process_signed_for_audits(tmp_path, monkeypatch):
    """Repeats, conflicts and chains within a batch are what they are without it."""
    monkeypatch.setattr(signing_batch, "PROCESS_FROM", 0)
    folder = tmp_path / "ledger"
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: NOW)
    with open_for_recording(folder, now=lambda: NOW) as ledger:
        recorder = ledger.recorder
        recorder.record_batch([facts(f"a{number}", key("a"), repo_id="1") for number in range(40)])
        process = recorder._signing.process
        assert process.is_ready(within=SECONDS)
        batch = [facts(f"b{number % 150}", key("a"), repo_id="1") for number in range(200)]
        receipts = recorder.record_batch(batch)
        assert [each.leaf_index for each in receipts] == [41 + number % 150 for number in range(200)]
        kill(process.pid)
        recorder.record_batch([facts(f"c{number}", key("a"), repo_id="1") for number in range(100)])
        ledger.publish()
    assert audit_ledger(folder, workers=1, progress=lambda _done, _total: None)["size"] == 291
