"""The service as a process: other people's clients read it, and it stops when it is told to."""

import itertools
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx

from ledger.client.spool import Recorder, Spool
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.directory import open_for_reading
from ledger.embedded.making import init
from ledger.entry import parse_entry
from ledger.server.tokens import TokenFile
from ledger.tlog.checkpoint import verify_checkpoint
from ledger.tlog.merkle import verify_consistency
from tests.conftest import missing
from tests.ledger.server.conftest import AT, fill
from tests.ledger.server.events import body, lines
from tests.system import peers
from tests.system.service import serving

KILLS = int(os.environ.get("HUBLEDGER_KILLS", "5"))
"""Of the test that kills; 50 by hand."""


def test_fsck_passes_over_http(tmp_path):
    folder = fill(tmp_path)
    ledger = open_for_reading(folder)
    tree = ledger.log.checkpoint().checkpoint
    with serving(folder, "--read-only") as (url, _):
        found = peers.fsck(url, ledger.log.keys[0].format(), tmp_path)
        assert found == (tree.size, tree.root_hash.hex())


def test_it_answers_head_and_unknown_paths_and_stops_with_0(tmp_path):
    folder = fill(tmp_path)
    with serving(folder, "--read-only") as (url, process):
        whole = httpx.get(f"{url}/docs")
        head = httpx.head(f"{url}/docs")
        assert (head.content, head.headers["content-length"]) == (b"", str(len(whole.content)))
        found = httpx.get(f"{url}/v1/entries/../../etc/passwd")
        assert (found.status_code, found.json()["type"]) == (404, "/problems/not-found")
        assert httpx.get(f"{url}/v1/history", params={"model": "../../etc/passwd"}).status_code == 200
        process.terminate()
        assert process.wait(timeout=40) == 0
    err = folder.with_name("service.log").read_bytes()
    lines = [json.loads(line) for line in err.splitlines()]
    assert any({"method": "GET", "route": "/docs", "status": 200}.items() <= line.items() for line in lines)
    assert b"passwd" not in err  # names of strangers are not in the log of the service


def test_an_address_that_is_taken_is_said_so(tmp_path):
    folder = fill(tmp_path)
    with serving(folder, "--read-only") as (url, _):
        listen = url.removeprefix("http://")
        command = [sys.executable, "-m", "cli.main", "serve", str(folder), "--read-only", "--listen", listen]
        done = subprocess.run(command, capture_output=True, timeout=60, cwd=peers.REPOSITORY)
    assert done.returncode == 51
    assert b"Choose another with --listen" in done.stderr


# Writing


def client(folder, url):
    token = TokenFile(folder).create(scopes=("record",), label="", now=AT)
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30)


def new_ledger(tmp_path):
    folder = tmp_path / "ledger"
    init(folder, origin="log.example/models", hub="hub.example", now=lambda: AT)
    return folder


def test_fsck_passes_on_a_log_that_is_being_written(tmp_path):
    folder = new_ledger(tmp_path)
    with serving(folder) as (url, _), client(folder, url) as hub:
        for batch in range(3):
            sent = [body(f"u-{batch}-{n}", revision=f"r{batch}-{n}") for n in range(200)]
            answers = hub.post(
                "/v1/events/batch", content=lines(*sent), headers={"content-type": "application/x-ndjson"}
            )
            assert all("proof" in json.loads(line) for line in answers.text.splitlines())
            size = int(hub.get("/checkpoint").text.split("\n")[1])
            vkey = hub.get("/v1/log").json()["logKeys"][0]
            found = peers.fsck(url, vkey, tmp_path)
            assert found is not None
            assert found[0] >= size


def test_it_answers_what_it_accepted_before_it_stops(tmp_path):
    folder = new_ledger(tmp_path)
    settings = folder / "hubledger.toml"
    settings.write_text(settings.read_text().replace("publish_interval = 1.0", "publish_interval = 3.0"))
    with serving(folder) as (url, process), client(folder, url) as hub:
        assert hub.post("/v1/events", json=body("u-0")).status_code == 201
        with ThreadPoolExecutor(8) as pool:
            sent = [
                pool.submit(hub.post, "/v1/events", json=body(f"u-{n}", revision=f"r{n}"))
                for n in range(1, 9)
            ]
            peers.wait_until(lambda: hub.get("/health/ready").json()["durable"] >= 3)
            process.terminate()  # their checkpoint is seconds away
            found = [each.result() for each in sent]
        answered = [each for each in found if each.status_code == 201]
        assert len(answered) >= 2
        assert all(each.json()["proof"] for each in answered)
        assert process.wait(timeout=40) == 0


def load(url, token, worker, acknowledged, over):
    """Send events one after the other until told to stop; remember what was answered, and every checkpoint seen."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=5) as hub:
        for number in itertools.count():
            if over.is_set():
                return
            event_id = f"{worker}-{number}"
            try:
                found = hub.post(
                    "/v1/events", json=body(event_id, revision=event_id), params={"wait": "durable"}
                )
                if found.status_code == 201:
                    acknowledged[event_id] = found.json()["leafIndex"]
            except httpx.TransportError:
                return


def test_a_kill_under_load_loses_no_event_that_was_answered_and_forks_nothing(tmp_path):
    folder = new_ledger(tmp_path)
    token = TokenFile(folder).create(scopes=("record",), label="", now=AT)
    acknowledged, checkpoints = {}, []
    for round_ in range(KILLS):
        over = threading.Event()
        with serving(folder) as (url, process):
            workers = [
                threading.Thread(target=load, args=(url, token, f"{round_}-{n}", acknowledged, over))
                for n in range(4)
            ]
            for each in workers:
                each.start()
            wanted = len(acknowledged) + 20 * (1 + round_ % 3)
            peers.wait_until(lambda wanted=wanted: len(acknowledged) > wanted)
            checkpoints.append(httpx.get(f"{url}/checkpoint").content)
            process.kill()
            over.set()
            for each in workers:
                each.join()
    with serving(folder) as (url, _), httpx.Client(base_url=url) as hub:
        hub.headers["authorization"] = f"Bearer {token}"
        again = hub.post("/v1/events", json=body("last"))
        assert again.status_code == 201
        checkpoints.append(again.json()["checkpoint"].encode())
        for event_id, leaf_index in acknowledged.items():
            found = hub.post("/v1/events", json=body(event_id, revision=event_id), params={"wait": "durable"})
            assert (found.status_code, found.json()["leafIndex"]) == (200, leaf_index), event_id
    log = open_for_reading(folder).log
    shown = [verify_checkpoint(each, origin=log.origin, keys=log.keys).checkpoint for each in checkpoints]
    for old, new in itertools.pairwise(shown):
        verify_consistency(
            old_size=old.size,
            old_root=old.root_hash,
            new_size=new.size,
            new_root=new.root_hash,
            proof=log.prove_consistency(old.size, new.size),
        )
    ids = [
        json.loads(parse_entry(entry).payload)["predicate"]["eventId"]
        for entry in log.read(0, shown[-1].size, size=shown[-1].size)
    ]
    assert len(ids) == len(set(ids))
    assert set(acknowledged) <= set(ids)


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    folder = new_ledger(tmp_path)
    with serving(folder) as (url, _), client(folder, url) as hub:
        command = [sys.executable, "-m", "cli.main", "serve", str(folder)]
        command += ["--listen", f"127.0.0.1:{peers.free_port()}"]
        done = subprocess.run(command, capture_output=True, timeout=60, cwd=peers.REPOSITORY)
        assert done.returncode == 52, done.stderr
        with serving(folder, "--read-only") as (other, _):
            hub.post("/v1/events", json=body("u-1"))
            assert httpx.get(f"{other}/v1/history", params={"model": "acme/new"}).status_code == 200
            assert httpx.post(f"{other}/v1/events", json=body("u-2")).status_code == 403


def test_a_restored_directory_refuses_to_serve(tmp_path):
    folder = new_ledger(tmp_path)
    shutil.copytree(folder, tmp_path / "old")
    with serving(folder) as (url, _), client(folder, url) as hub:
        (tmp_path / "kept").write_text(hub.post("/v1/events", json=body("u-1")).json()["checkpoint"])
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "serve",
        str(tmp_path / "old"),
        "--not-older-than",
        str(tmp_path / "kept"),
    ]
    command += ["--listen", f"127.0.0.1:{peers.free_port()}"]
    done = subprocess.run(command, capture_output=True, timeout=60, cwd=peers.REPOSITORY)
    assert done.returncode == 62, done.stderr


def test_the_spool_of_a_hub_outlives_an_outage_of_the_ledger(tmp_path, hubledger):
    folder = new_ledger(tmp_path)
    token = tmp_path / "token"
    token.write_text(TokenFile(folder).create(scopes=("record",), label="", now=AT) + "\n")
    token.chmod(0o600)
    spool = Spool(tmp_path / "spool")
    for number in range(20):
        spool.put(body(f"u-{number}", revision=f"r{number}"))
    nowhere = f"http://127.0.0.1:{peers.free_port()}"
    drain = ("spool", "drain", tmp_path / "spool", "--token-file", token, "--url")
    assert hubledger(*drain, nowhere)[0] == 51
    assert "20 events wait, the oldest since 20" in hubledger("spool", "status", tmp_path / "spool")[1]
    with serving(folder) as (url, _):
        with Recorder(url, token.read_text().strip(), tmp_path / "spool") as recorder:
            recorder.record(body("u-20", revision="r20"))
            peers.wait_until(lambda: recorder.spool.state().waiting == 0)
        assert "Sent 0 events; 0 wait" in hubledger(*drain, url)[1]
        with httpx.Client(base_url=url) as hub:
            peers.wait_until(lambda: len(history(hub, "acme/new")) == 21)
            assert [each["revision"] for each in history(hub, "acme/new")] == [f"r{n}" for n in range(21)]
        served = tmp_path / "served"
        served.write_bytes(b'{"model":"acme/new","revision":"r3"}\n{"model":"acme/new","revision":"none"}\n')
        code, out, _ = hubledger("hub", "reconcile", url, "--revisions", served)
        assert (code, out) == (34, "acme/new\tnone\n")


def history(hub, name):
    found = hub.get("/v1/history", params={"model": name})
    return found.json()["events"] if found.status_code == 200 else []


def test_the_upload_of_the_guide_is_recorded_and_verifies(tmp_path):
    if shutil.which("bash") is None or shutil.which("curl") is None:
        missing("no bash or curl")
    guide = (peers.REPOSITORY / "docs/guides/hub-integration.md").read_text(encoding="utf-8")
    upload, check = (
        each for each in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) if "receipt.json" in each
    )
    folder = new_ledger(tmp_path)
    token = TokenFile(folder).create(scopes=("record",), label="", now=AT)
    with serving(folder) as (url, _):
        script = upload.replace("http://127.0.0.1:8470", url)
        script = re.sub(r"export TOKEN=\S+.*", f"export TOKEN={token}", script)
        recorded = bash(script, tmp_path)
    assert json.loads(recorded)["events"][0]["eventId"] == "upload-1"
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert (receipt["eventId"], receipt["decision"]) == ("upload-1", "observed")
    # The service has ended: what is checked is the proof alone.
    script = check.replace(". hubledger-venv/bin/activate\n", "").replace("ledger/trust", f"{folder}/trust")
    lines = bash(script, tmp_path).splitlines()
    assert "log: INCLUDED_ONLY   model: NOT_CHECKED" in lines
    assert lines[-1].startswith("acme/tiny at 0a1b2c: Unsigned")


def bash(script, folder):
    """Run a script of a guide with our commands; returns what it printed."""
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_half_a_batch_is_not_taken_for_a_batch(tmp_path):
    """A connection that breaks after a line: what came is whole lines, and not what was announced."""
    folder = new_ledger(tmp_path)
    with serving(folder) as (url, _), client(folder, url) as hub:
        whole = lines(body("u-1"), body("u-2", revision="r2"))
        head = (
            "POST /v1/events/batch HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n"
            f"authorization: {hub.headers['authorization']}\r\ncontent-length: {len(whole)}\r\n\r\n"
        )
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + whole[: whole.index(b"\n") + 1])
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # refused, or closed
        assert hub.post("/v1/events", json=body("u-3", revision="r3")).json()["leafIndex"] == 1


def test_a_log_that_nobody_reads_stops_nobody(tmp_path):
    folder = new_ledger(tmp_path)
    port = peers.free_port()
    command = [sys.executable, "-m", "cli.main", "serve", str(folder), "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=peers.REPOSITORY
    ) as process:
        url = f"http://127.0.0.1:{port}"
        peers.wait_until(lambda: peers.get(f"{url}/health/live") is not None, running=process)
        with httpx.Client(base_url=url, timeout=30) as reader:
            for _ in range(1500):  # some 150 bytes each, into a pipe of 64 KiB
                assert reader.get("/health/live").status_code == 200
        process.terminate()
        lines = process.communicate(timeout=40)[1].splitlines()
    assert len(lines) >= 1500
    assert process.returncode == 0


def test_a_disk_without_room_is_503_and_goes_on_when_there_is_room_again(tmp_path):
    """The limit on the size of files stands for a full disk: every write fails until it is lifted, without a restart."""
    folder = new_ledger(tmp_path)
    with serving(folder) as (url, process), client(folder, url) as hub:
        assert hub.post("/v1/events", json=body("before")).status_code == 201
        peers.wait_until(lambda: history(hub, "acme/new"))
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, hard))
        refused = [hub.post("/v1/events", json=body(f"u-{n}", revision=f"r{n}")) for n in range(5)]
        assert {each.status_code for each in refused} == {503}
        assert all(each.headers["retry-after"] for each in refused)
        assert hub.get("/health/ready").status_code == 503
        assert history(hub, "acme/new")  # whoever reads is served meanwhile
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        peers.wait_until(lambda: hub.get("/health/ready").status_code == 200, running=process)
        again = [hub.post("/v1/events", json=body(f"u-{n}", revision=f"r{n}")) for n in range(5)]
        assert [each.status_code for each in again] == [201] * 5
        assert hub.post("/v1/events", json=body("before")).json()["repeated"]
    assert audit_ledger(folder, progress=lambda *_: None, workers=1)["size"] == 7
