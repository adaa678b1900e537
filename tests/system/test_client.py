"""The client against the real service, as a process on loopback: by name, from a file, and with the hub away."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from cli import demo_world
from cli.verify import exit_code
from ledger.client import CheckFailedError, check, check_async, known_digests, trust_from_file
from ledger.client.expect import Expectation
from ledger.client.result import LogResult, ModelResult
from ledger.client.trust_store import TrustStore
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.encoding import format_canonical_json
from ledger.errors import NotFoundError, SourceError, UsageError
from ledger.log import fetch
from ledger.monitor_statement import MonitorStatement, format_monitor_statement
from ledger.open_findings import MAX_HISTORIES, OpenClass, OpenFindings, OpenList, OpenSeverity
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, parse_note
from monitor.publish import layout
from tests.fakes.web import answering, showing
from tests.oms import key_bundle, new_key, public_pem, put, statement, write_model
from tests.system.peers import wait_until
from tests.system.service import serving
from tests.world import ISSUER, WORKFLOW, ed25519_key

NAME = "hub.example/acme/tiny"


class Hub:
    """A ledger with a signed model, its service, and a user whose data is in a folder of its own."""

    def __init__(self, ledger, tmp_path):
        self.ledger, self.key = ledger, new_key()
        self.pem = tmp_path / "key.pub"
        self.pem.write_bytes(public_pem(self.key))
        self.model = self.sign(tmp_path / "model", b"weights")
        self.record("r1", self.model)

    def sign(self, folder, weights):
        folder.mkdir()
        write_model(folder, {"weights": weights})
        put(folder, key_bundle(statement(folder), self.key))
        return folder

    def record(self, revision, model, name="acme/tiny"):
        request = RecordRequest(name=name, revision=revision, model=model, public_keys=[self.pem])
        return record_revision(self.ledger, request)


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def hub(ledger, tmp_path):
    return Hub(ledger, tmp_path)


@pytest.fixture
def ledger(hubledger, tmp_path):
    folder = tmp_path / "ledger"
    assert hubledger("init", folder, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    return folder


def verify(hubledger, *arguments):
    """Verify by name; returns (exit code, facts)."""
    code, out, err = hubledger("verify", *arguments, "--name", NAME, "--json")
    return code, json.loads(out or err)


def row(facts, step):
    return next(each for each in facts["checks"] if each["step"] == step)


def test_a_model_is_checked_over_the_network_from_a_file_and_with_the_hub_away(hubledger, hub, tmp_path):
    proof = tmp_path / "proof.json"
    with serving(hub.ledger, "--read-only") as (url, _):
        assert hubledger("trust", "add", url)[0] == 0
        code, facts = verify(hubledger, hub.model, "--public-key", hub.pem)
        assert (code, facts["log"], facts["model"]) == (0, "INCLUDED_ONLY", "ACCEPTED")
        assert (facts["source"], facts["trust"]) == (url, "TLS_ONLY")
        assert row(facts, "signature, checked here")["result"] == "ok"
        assert row(facts, "link to your pin")["against"] == "nothing is remembered of this log yet"
        assert hubledger("fetch-proof", NAME, "-o", proof)[0] == 0
    code, facts = verify(hubledger, hub.model)
    assert (code, "the service was not heard" in facts["source"]) == (0, True)
    code, facts = verify(hubledger, hub.model, "--offline")
    assert (code, facts["source"].startswith("kept on this machine since ")) == (0, True)
    code, facts = verify(hubledger, hub.model, "--from", proof)
    assert (code, facts["source"].startswith(f"file {proof}, fetched ")) == (0, True)
    (hub.model / "weights").write_bytes(b"other")
    for way in (("--offline",), ("--from", proof)):
        code, facts = verify(hubledger, hub.model, *way)
        assert (code, facts["model"]) == (22, "CONTENT_DIFFERS")


def test_an_unchanged_model_is_not_read_again_and_a_changed_one_is(hubledger, hub, tmp_path, monkeypatch):
    """A minute after it was written; then with other bytes of the same size and the old mtime."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 8:1 / / rw - ext4 /dev/disk rw\n")
    monkeypatch.setattr(known_digests, "_MOUNTS", mounts)
    monkeypatch.setattr(known_digests, "SETTLED_SECONDS", -60)
    large = hub.sign(tmp_path / "large", b"w" * 300_000)
    hub.record("r2", large)
    proof, trust = tmp_path / "proof.json", ("--trust", hub.ledger / "trust.toml", "--public-key", hub.pem)
    with serving(hub.ledger, "--read-only") as (url, _):
        assert hubledger("fetch-proof", NAME, *trust[:2], "--url", url, "-o", proof)[0] == 0
    found = [verify(hubledger, large, *trust, "--from", proof, "--digest-cache") for _ in range(2)]
    assert [(code, facts["model"], facts["rememberedFiles"]) for code, facts in found] == [
        (0, "ACCEPTED", 0),
        (0, "ACCEPTED", 1),
    ]
    rows = [row(facts, "reading of all files") for _, facts in found]
    assert [each["result"] for each in rows] == ["ok", "skipped"]
    said = hubledger("verify", large, "--name", NAME, *trust, "--from", proof, "--digest-cache")[1]
    assert " ".join(said.split()).endswith(", reading of all files.")
    before = (large / "weights").stat()
    (large / "weights").write_bytes(b"x" * 300_000)
    os.utime(large / "weights", ns=(before.st_atime_ns, before.st_mtime_ns))
    code, facts = verify(hubledger, large, *trust, "--from", proof, "--digest-cache")
    assert (code, facts["model"], facts["rememberedFiles"]) == (22, "CONTENT_DIFFERS", 0)


def test_on_another_machine_the_file_and_the_trust_file_are_enough(hubledger, hub, tmp_path, monkeypatch):
    proof = tmp_path / "proof.json"
    trust = ("--trust", hub.ledger / "trust.toml")
    with serving(hub.ledger, "--read-only") as (url, _):
        assert hubledger("fetch-proof", NAME, *trust, "--url", url, "--revision", "r1", "-o", proof)[0] == 0
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "elsewhere"))
    code, facts = verify(hubledger, hub.model, *trust, "--from", proof, "--revision", "r1")
    assert (code, facts["trust"]) == (0, "CONFIRMED")
    assert verify(hubledger, hub.model, *trust, "--from", proof, "--revision", "r2")[0] == 13


def test_a_pipe_among_the_files_is_refused_by_its_path(hubledger, hub):
    (hub.model / "code").mkdir()
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        assert verify(hubledger, hub.model)[0] == 0
        os.mkfifo(hub.model / "code/pipe")
        for more in ((), ("--digest-cache",), ("--offline",)):
            code, facts = verify(hubledger, hub.model, *more)
            assert (code, facts["failure"]["actual"]) == (22, "a special file: code/pipe")
        with pytest.raises(CheckFailedError, match="a special file: code/pipe"):
            check(hub.model, name=NAME)


def test_what_changed_since_last_time_is_told(hubledger, hub, tmp_path):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        assert verify(hubledger, hub.model)[0] == 0
        hub.record("r2", hub.sign(tmp_path / "second", b"second"))
        code, facts = verify(hubledger, tmp_path / "second", "--revision", "r2")
        assert (code, facts["changes"]) == (
            0,
            ["1 new event", "the latest revision that you had seen was r1"],
        )
        assert row(facts, "link to your pin")["result"] == "ok"
        code, out, _ = hubledger("verify", hub.model, "--name", NAME)
        assert (code, "you have seen a later event of this model: r2" in " ".join(out.split())) == (0, True)
    assert "name:acme/tiny" in hubledger("pins", "list")[1]
    code, out, _ = hubledger("pins", "show", "name:acme/tiny")
    assert (code, "r2" in out, re.search("^accepted +yes$", out, re.MULTILINE) is not None) == (0, True, True)
    assert hubledger("pins", "show", "acme/tiny")[1] == out
    assert hubledger("pins", "show", NAME)[1] == out
    assert hubledger("pins", "forget", "log.example/models")[0] == 0
    assert json.loads(hubledger("pins", "list", "--json")[1])["pins"] == []


def test_an_unsigned_model_is_not_accepted_and_a_stranger_is_not_expected(hubledger, hub, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    write_model(bare, {"weights": b"bare"})
    hub.record("r2", bare)
    other = tmp_path / "other.pub"
    other.write_bytes(public_pem(new_key()))
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        assert verify(hubledger, bare)[0] == 20
        assert verify(hubledger, hub.model, "--expect-key", other)[0] == 21
        assert verify(hubledger, hub.model, "--expect-key", other, "--expect-key", hub.pem)[0] == 0
        assert (
            verify(hubledger, hub.model, "--expect-key", other, "--expect-key", hub.pem, "--expect-all")[0]
            == 21
        )
        assert verify(hubledger, "--log-only")[0] == 0
        code, _, err = hubledger("verify", hub.model, "--name", "hub.example/acme/none")
        assert (code, "event of acme/none: expected one that the hub shows" in err) == (34, True)
        assert hubledger("verify", hub.model, "--name", "hub.ex\u0430mple/acme/tiny")[0] == 34


def test_require_complete_is_not_satisfied_by_one_event(hubledger, hub):
    trust = hub.ledger / "trust.toml"
    trust.write_text(trust.read_text().replace('require = "included"', 'require = "complete"'))
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        assert verify(hubledger, hub.model)[0] == 15


MONITOR = Ed25519NoteSigner("monitor.example", ed25519_key("monitor.example"))


def state(url, path, findings=None, **limits):
    """What a monitor publishes that has just looked at this log: the statement, and the parts that it names."""
    checkpoint = parse_checkpoint(parse_note(httpx.get(f"{url}/checkpoint").content).text)
    found = OpenList.of("log.example/models", findings or {}, **limits)
    for name, data in found.files.items():
        part = path.parent / layout.of_part(path.name, name)
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(data)
    path.write_bytes(
        format_monitor_statement(MonitorStatement.of(checkpoint, found, checked_at=int(time.time())), MONITOR)
    )
    return found


def test_a_monitor_vouches_from_its_address_from_a_file_and_with_everybody_away(hubledger, hub, tmp_path):
    """Audited, not complete: the monitor is behind the log, and the service links its tree to the newest checkpoint."""
    site, proof, trust = tmp_path / "site", tmp_path / "proof.json", tmp_path / "mine.toml"
    site.mkdir()
    with showing(site) as folder, serving(hub.ledger, "--read-only") as (url, _):
        text = (hub.ledger / "trust.toml").read_text().replace('"included"', '"audited"')
        table = f'\n[[monitor]]\nvkey = "{MONITOR.verifier.format()}"\nmax_age = 3600\nurl = "{folder}/statement"\n'
        trust.write_text(text + table)
        options = ("--trust", trust, "--url", url)
        code, facts = verify(hubledger, hub.model, *options)
        assert (code, facts["failure"]["step"]) == (15, "monitor monitor.example")
        assert facts["failure"]["actual"].startswith("no answer: ")
        assert f"{folder}/statement" in facts["failure"]["actual"]
        state(url, site / "statement")
        hub.record("r9", hub.sign(tmp_path / "later", b"later"), name="acme/other")
        wait_until(lambda: tree_size(url) > 1)
        code, facts = verify(hubledger, hub.model, *options)
        assert (code, facts["log"], row(facts, "monitor monitor.example")["result"]) == (
            0,
            "INCLUDED_ONLY",
            "ok",
        )
        explained = verify(hubledger, hub.model, *options, "--explain")[1]["explained"]
        said = next(each["used"] for each in explained if each["step"] == "monitor monitor.example")
        assert "  origin log.example/models" in said
        assert hubledger("fetch-proof", NAME, *options, "--revision", "r1", "-o", proof)[0] == 0
    for way in (("--from", proof), ("--offline",), ("--url", url)):
        code, facts = verify(hubledger, hub.model, "--trust", trust, *way)
        assert (code, row(facts, "monitor monitor.example")["result"]) == (0, "ok"), way
    complete = text.replace('"audited"', '"complete"') + table
    trust.write_text(complete)
    code, facts = verify(hubledger, hub.model, "--trust", trust, "--from", proof)
    assert (code, facts["failure"]["step"], facts["satisfied"]) == (15, "completeness", False)


def tree_size(url):
    return parse_checkpoint(parse_note(httpx.get(f"{url}/checkpoint").content).text).size


def test_a_monitor_with_an_open_finding_stops_the_check_and_is_not_hidden_by_a_broken_address(
    hubledger, hub, tmp_path
):
    site, trust = tmp_path / "site", tmp_path / "mine.toml"
    site.mkdir()
    found = OpenFindings(count=1, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)
    with showing(site) as folder, serving(hub.ledger, "--read-only") as (url, _):
        table = f'\n[[monitor]]\nvkey = "{MONITOR.verifier.format()}"\nmax_age = 3600\nurl = "{folder}/statement"\n'
        trust.write_text((hub.ledger / "trust.toml").read_text().replace('"included"', '"audited"') + table)
        state(url, site / "statement", findings={"name:acme/tiny": found})
        for _ in range(2):
            code, facts = verify(hubledger, hub.model, "--trust", trust, "--url", url)
            assert (code, facts["failure"]["actual"]) == (15, "open for this model: 1 high finding")
            (site / "statement").write_text("<html>")


def test_of_a_monitor_with_a_long_list_a_check_fetches_one_part_and_a_file_carries_it(
    hubledger, hub, tmp_path
):
    """More open histories than a statement lists: other models are not stopped by that, and what is open for this one is found."""
    site, proof, trust = tmp_path / "site", tmp_path / "proof.json", tmp_path / "mine.toml"
    site.mkdir()
    high = OpenFindings(count=1, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)
    many = {f"name:acme/m{at}": high for at in range(MAX_HISTORIES + 1)}
    with showing(site) as folder, serving(hub.ledger, "--read-only") as (url, _):
        table = f'\n[[monitor]]\nvkey = "{MONITOR.verifier.format()}"\nmax_age = 3600\nurl = "{folder}/statement"\n'
        trust.write_text((hub.ledger / "trust.toml").read_text().replace('"included"', '"audited"') + table)
        options = ("--trust", trust, "--url", url)
        found = state(url, site / "statement", many)
        assert len(found.files) >= 4
        code, facts = verify(hubledger, hub.model, *options)
        assert (code, row(facts, "monitor monitor.example")["result"]) == (0, "ok")
        assert hubledger("fetch-proof", NAME, *options, "--revision", "r1", "-o", proof)[0] == 0
        (said,) = json.loads(proof.read_bytes())["statements"]
        assert {each.encode() for each in said["parts"]} < set(found.files.values())
        for way in (("--from", proof), ("--offline",)):
            assert verify(hubledger, hub.model, "--trust", trust, *way)[0] == 0, way
        state(url, site / "statement", many | {"name:acme/tiny": high})
        code, facts = verify(hubledger, hub.model, *options)
        assert (code, facts["failure"]["actual"]) == (15, "open for this model: 1 high finding")
        state_of = json.loads(proof.read_bytes())
        state_of["statements"][0]["parts"] = [""]
        proof.write_bytes(format_canonical_json(state_of))
        code, facts = verify(hubledger, hub.model, "--trust", trust, "--from", proof)
        assert (code, facts["failure"]["expected"]) == (
            15,
            "the part of its list in which this model would be",
        )


HEAVY = (
    "sigstore",
    "httpx",
    "rich",
    "huggingface_hub",
    "cryptography.x509",
    "asyncio",
    "sqlite3",
    "ledger.server",
)


def test_a_check_by_key_loads_nothing_that_only_others_need(hubledger, hub, tmp_path):
    """Start time is a promise: sigstore alone takes longer to load than the whole check."""
    proof = tmp_path / "proof.json"
    with serving(hub.ledger, "--read-only") as (url, _):
        trust = ("--trust", str(hub.ledger / "trust.toml"))
        assert hubledger("fetch-proof", NAME, *trust, "--url", url, "-o", proof)[0] == 0
    program = (
        "import sys; from cli.main import run; code = run(sys.argv[2:]); "
        "loaded = sorted(set(sys.argv[1].split(',')) & set(sys.modules)); print(code, loaded, file=sys.stderr)"
    )
    arguments = ("verify", hub.model, "--name", NAME, "--from", proof, *trust, "--public-key", hub.pem)
    command = [sys.executable, "-c", program, ",".join(HEAVY), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1:] == ["0 []"], done.stderr


# Python


def test_check_returns_a_frozen_result_or_raises(hubledger, hub):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        found = check(hub.model, name=NAME)
        assert (found.result.log, found.result.model) == (LogResult.INCLUDED_ONLY, ModelResult.ACCEPTED)
        assert asyncio.run(check_async(str(hub.model), name=NAME)).result.event == found.result.event
        with pytest.raises(AttributeError):
            found.name = "other"
        (hub.model / "weights").write_bytes(b"other")
        with pytest.raises(CheckFailedError) as refused:
            check(hub.model, name=NAME)
    assert refused.value.result.result.model is ModelResult.CONTENT_DIFFERS
    assert "model acme/tiny: log INCLUDED_ONLY, model CONTENT_DIFFERS: files: expected content" in str(
        refused.value
    )
    with pytest.raises(NotFoundError):
        check(hub.model, name="other.example/acme/tiny")


def test_check_takes_a_trust_file_of_the_caller(hubledger, hub):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        stored = TrustStore(hub.ledger.parent / "data").get("hub.example")
        hubledger("trust", "remove", "hub.example")
        assert check(hub.model, name=NAME, trust=stored).result.satisfied
        assert check(hub.model, name="acme/tiny", trust=stored, revision="r1").result.satisfied


# Whom one expects, said to the command and in Python

RELEASE, OTHER = "release", "other"
EXPECTED = {
    "nobody": ((), (), 0),
    "a key to check with is nobody expected": ((), (OTHER,), 0),
    "nor where it is the signer's": ((), (RELEASE,), 0),
    "the signer": ((RELEASE,), (), 0),
    "the signer, whose key is here": ((RELEASE,), (RELEASE,), 0),
    "the signer, whose key is not here": ((RELEASE,), (OTHER,), 0),
    "somebody else": ((OTHER,), (), 21),
    "somebody else, while the signer's key is here": ((OTHER,), (RELEASE,), 21),
    "somebody else, whose key is here": ((OTHER,), (OTHER,), 21),
    "one of two": ((OTHER, RELEASE), (OTHER,), 0),
}


def test_command_and_python_expect_the_same(hubledger, hub, tmp_path):
    other = tmp_path / "other.pub"
    other.write_bytes(public_pem(new_key()))
    pems = {RELEASE: hub.pem, OTHER: other}
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        assert verify(hubledger, hub.model)[0] == 0
    for name, (expected, given, code) in EXPECTED.items():
        words = [word for each in expected for word in ("--expect-key", pems[each])]
        words += [word for each in given for word in ("--public-key", pems[each])]
        assert verify(hubledger, hub.model, "--offline", *words)[0] == code, name
        assert (
            asked_in_python(hub.model, [pems[each] for each in expected], [pems[each] for each in given])
            == code
        )


def asked_in_python(model, expected, given):
    """The exit code that the answer of `check` stands for."""
    wanted = [Expectation(key_sha256=hashlib.sha256(spki_of_pem(each)).digest()) for each in expected]
    try:
        found = check(
            model, name=NAME, expected=wanted, public_keys=[each.read_bytes() for each in given], offline=True
        ).result
    except CheckFailedError as error:
        found = error.result.result
    return exit_code(found)


def spki_of_pem(path):
    key = serialization.load_pem_public_key(path.read_bytes())
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_a_key_that_is_expected_twice_is_named_once(hubledger, hub, tmp_path):
    other = tmp_path / "other.pub"
    other.write_bytes(public_pem(new_key()))
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        code, facts = verify(hubledger, hub.model, "--expect-key", other, "--expect-key", other)
    assert (code, " or " in facts["failure"]["expected"]) == (21, False)


# What goes over the wire


@contextlib.contextmanager
def between(url, answer):
    """A server between client and service, which sees every request and may answer it itself."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            status, data = answer(self.path) or (None, b"")
            if status is None:
                found = httpx.get(url + self.path)
                status, data = found.status_code, found.content
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with answering(Handler) as proxy:
        yield proxy, seen


def test_a_check_is_one_request_and_few_bytes(hubledger, hub):
    for number in range(100):
        hub.record(f"more-{number}", hub.model)
    with serving(hub.ledger, "--read-only") as (url, _), between(url, lambda _: None) as (proxy, seen):
        assert hubledger("trust", "add", proxy)[0] == 0
        del seen[:]
        assert verify(hubledger, hub.model)[0] == 0
        sizes = [len(httpx.get(url + path).content) for path in seen]
    assert [path.partition("?")[0] for path in seen] == ["/v1/check"]
    assert sum(sizes) <= 60_000


CHECK, HISTORY = "/v1/check", "/v1/history"
CLAIM = b'{"contentSha256":"%s","leafIndex":1,"manifestSha256":"%s","revision":"r1"}' % (b"0" * 64, b"0" * 64)


def lying(asked, path, status, body):
    """Answer one address with something else; a service without `/v1/check` is asked as older ones are."""
    if asked.startswith(path):
        return status, body
    return (404, b"") if asked.startswith(CHECK) else None


@pytest.mark.parametrize(
    ("path", "status", "body", "code"),
    [
        (CHECK, 200, b"<html>busy</html>", 31),
        (CHECK, 200, b'{"model":"acme/other","claims":[],"count":0,"leafIndex":1,"proof":""}', 31),
        (CHECK, 200, b'{"model":"acme/tiny","claims":[{}],"count":1,"leafIndex":1,"proof":""}', 31),
        (CHECK, 301, b"", 51),
        (CHECK, 500, b"", 51),
        (
            CHECK,
            200,
            b'{"model":"acme/tiny","claims":[%s],"count":1,"leafIndex":1,"proof":"\\ud800"}' % CLAIM,
            13,
        ),
        (HISTORY, 200, b"<html>busy</html>", 31),
        (HISTORY, 200, b'{"model":"acme/other","events":[]}', 31),
        (HISTORY, 200, b'{"model":"acme/tiny","events":[]}', 34),
        (HISTORY, 200, b'{"model":"acme/tiny","events":[{"leafIndex":1}]}', 31),
        (HISTORY, 200, b'{"model":"acme/tiny","events":[],"next":1}', 31),
        (HISTORY, 301, b"", 51),
        (HISTORY, 500, b"", 51),
        ("/v1/entries/1/proof", 200, b"<html>", 13),
        ("/v1/entries/1/proof", 200, b"\xff", 31),
        ("/v1/entries/1/proof", 404, b"", 34),
    ],
)
def test_a_service_that_answers_something_else_is_no_success(hubledger, hub, path, status, body, code):
    with (
        serving(hub.ledger, "--read-only") as (url, _),
        between(url, lambda asked: lying(asked, path, status, body)) as (proxy, _),
    ):
        assert hubledger("trust", "add", proxy)[0] == 0
        assert verify(hubledger, hub.model)[0] == code
    assert json.loads(hubledger("pins", "list", "--json")[1])["pins"] == []


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (429, b"", 0),
        (500, b"", 0),
        (503, b"", 0),
        (400, b"", 51),
        (403, b"", 51),
        (404, b"", 34),
        (200, b"{}", 31),
        (200, b"<html>busy</html>", 31),
        (302, b"", 51),
    ],
)
def test_only_a_service_that_is_away_is_answered_for_by_what_was_kept(
    hubledger, hub, monkeypatch, status, body, code
):
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.0)
    with serving(hub.ledger, "--read-only") as (url, _):
        assert hubledger("trust", "add", url)[0] == 0
        assert verify(hubledger, hub.model)[0] == 0
        with between(url, lambda _: (status, body)) as (proxy, _):
            found, facts = verify(hubledger, hub.model, "--url", proxy)
            live, _ = verify(hubledger, hub.model, "--url", proxy, "--live")
        assert verify(hubledger, hub.model, "--live")[0] == 0
    assert (found, live) == (code, code or 51)
    if code == 0:
        (caution,) = facts["cautions"]
        assert f"the service was not heard (answered {status})" in caution


def test_python_takes_paths_as_people_write_them(hubledger, hub, tmp_path, monkeypatch):
    """In Python a path is a str as a rule, and a key is in a file; what is no list of keys is said to be none."""
    proof, trust = tmp_path / "proof.json", hub.ledger / "trust.toml"
    with serving(hub.ledger, "--read-only") as (url, _):
        assert hubledger("fetch-proof", NAME, "--trust", trust, "--url", url, "-o", proof)[0] == 0
    given = {"name": NAME, "trust": trust_from_file(str(trust)), "proof_file": str(proof)}
    for keys in ([str(hub.pem)], [hub.pem], [hub.pem.read_bytes()]):
        found = check(str(hub.model), public_keys=keys, **given)
        rows = {each.step: each.passed for each in found.result.checks}
        assert rows["signature, checked here"]
    with pytest.raises(UsageError):
        check(str(hub.model), public_keys=str(hub.pem), **given)
    with pytest.raises(NotFoundError):
        check(str(hub.model), public_keys=["nowhere.pub"], **given)


def test_files_that_differ_are_named_by_the_manifest_of_the_service(hubledger, hub):
    with serving(hub.ledger, "--read-only") as (url, _), between(url, lambda _: None) as (proxy, seen):
        assert hubledger("trust", "add", proxy)[0] == 0
        (hub.model / "notes.txt").write_bytes(b"")
        code, facts = verify(hubledger, hub.model)
        assert (code, facts["failure"]["actual"].partition("; ")[2]) == (22, "not the model's: notes.txt")
        assert [path for path in seen if path.startswith("/v1/evidence/")]
    code, facts = verify(hubledger, hub.model, "--offline")
    assert (code, facts["failure"]["actual"].partition("; ")[2]) == (22, "")


def test_last_months_truth_is_seen_by_its_pin(hubledger, hub, tmp_path):
    """The service shows an older checkpoint, rightly signed: the file is old, and nobody is accused."""
    with serving(hub.ledger, "--read-only") as (url, _):
        old = httpx.get(f"{url}/v1/entries/1/proof").content
        hub.record("r2", hub.sign(tmp_path / "second", b"second"))
        with between(url, lambda path: (200, old) if "/proof" in path else None) as (proxy, _):
            hubledger("trust", "add", url)
            assert verify(hubledger, tmp_path / "second")[0] == 0
            code, facts = verify(hubledger, hub.model, "--url", proxy)
    assert code == 0, "inclusion does not expire"
    assert "not linked to your pin of size 3" in row(facts, "link to your pin")["against"]
    (caution,) = facts["cautions"]
    assert caution.startswith(
        "not linked to your pin: this proof is from when the log had 2 entries, and you have seen 3; "
    )


def test_a_kept_proof_that_was_changed_cannot_make_a_check_succeed(hubledger, hub, data):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        assert verify(hubledger, hub.model)[0] == 0
    for path in (data / "proofs").glob("*.json"):
        text = path.read_text()
        path.write_text(text.replace("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v9"))
    assert verify(hubledger, hub.model, "--offline")[0] == 13
    for path in (data / "proofs").glob("*.json"):
        path.write_text("{}")
    assert verify(hubledger, hub.model, "--offline")[0] == 61


def test_without_network_and_without_a_kept_proof_nothing_is_claimed(hubledger, hub):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
    assert verify(hubledger, hub.model)[0] == 51
    assert verify(hubledger, hub.model, "--offline")[0] == 34
    with pytest.raises(SourceError):
        check(hub.model, name=NAME)


# Keyless


def test_a_keyless_signature_is_checked_here_against_the_root_that_is_given(hubledger, ledger, tmp_path):
    instance = demo_world.DemoSigstore()
    model = tmp_path / "keyless"
    model.mkdir()
    write_model(model)
    signed = instance.sign(demo_world.oms_statement(model), identity=WORKFLOW, issuer=ISSUER)
    (model / "model.sig").write_bytes(signed)
    root = tmp_path / "root.json"
    root.write_bytes(instance.trusted_root())
    request = RecordRequest(name="acme/tiny", revision="r1", model=model, trust_config=root)
    assert record_revision(ledger, request)["outcome"] == "VERIFIED"
    other = tmp_path / "other.json"
    other.write_bytes(demo_world.DemoSigstore().trusted_root())
    expected = ("--expect-signer", WORKFLOW, "--expect-issuer", ISSUER)
    with serving(ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        code, facts = verify(hubledger, model, "--trusted-root", root, *expected)
        assert (code, row(facts, "signature, checked here")["result"]) == (0, "ok")
        code, facts = verify(hubledger, model, "--trusted-root", other, *expected)
        assert (code, facts["model"]) == (20, "NOT_ACCEPTED")
        assert "the trusted root or key that you gave" in facts["failure"]["causes"][1]
        lookalike = WORKFLOW.replace("release", "releas\u0435")
        assert (
            verify(hubledger, model, "--trusted-root", root, "--expect-signer", lookalike, *expected[2:])[0]
            == 21
        )
