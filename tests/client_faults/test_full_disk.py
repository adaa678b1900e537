"""A full disk: a check says what it could not keep and succeeds; what was kept before is what it was.

Once with a real full file system, and once with a limit on the size of files, which stops each write after as many bytes as the test says.
"""

import contextlib
import json
import resource
import shutil

import pytest

from ledger.client.pins import Pins
from ledger.client.trust_store import Origin, TrustStore
from tests.client_faults.hub import NAME
from tests.system.test_faults import small_disk


@contextlib.contextmanager
def files_of_at_most(size):
    """No file may grow beyond ``size`` bytes in this process; Python ignores the signal, so that a write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(folder):
    """Take the last byte of a file system; returns the file that has it."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0")
    return filler


def kept(data):
    """The bytes of everything that the user has."""
    return {
        each.relative_to(data).as_posix(): each.read_bytes()
        for each in sorted(data.rglob("*"))
        if each.is_file() and each.name != ".lock"
    }


def verify(hubledger, model, *more):
    code, out, err = hubledger("verify", model, "--name", NAME, "--json", *more)
    return code, json.loads(out or err)


def row(facts, step):
    return next(each for each in facts["checks"] if each["step"] == step)


def test_a_full_file_system(hubledger, hub, service, early, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", "256k") as disk:
        data = disk / "data"
        monkeypatch.setenv("HUBLEDGER_DATA", str(data))
        trust = tmp_path / "trust.toml"
        trust.write_bytes(hub.trust)
        assert verify(hubledger, hub.old, "--trust", trust, "--url", early)[0] == 0
        filler, before = fill(disk), kept(data)
        assert any(name.startswith("pins/") for name in before)
        code, facts = verify(hubledger, hub.new, "--trust", trust, "--url", service)
        assert (code, facts["log"], facts["model"]) == (0, "INCLUDED_ONLY", "ACCEPTED")
        assert "; no copy was kept (" in facts["source"]
        assert "got No space left on device)" in facts["source"]
        assert row(facts, "remembering")["against"].startswith("not remembered: ")
        assert row(facts, "link to your pin")["result"] == "ok"
        assert kept(data) == before
        code, facts = verify(hubledger, hub.old, "--trust", trust, "--offline")
        assert (code, "kept on this machine" in facts["source"]) == (0, True)
        filler.unlink()
        code, facts = verify(hubledger, hub.new, "--trust", trust, "--url", service)
        assert (code, facts["source"]) == (0, service)
        assert kept(data) != before


def test_trust_files_on_a_full_file_system(hubledger, hub, service, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", "256k") as disk:
        monkeypatch.setenv("HUBLEDGER_DATA", str(disk / "data"))
        filler = fill(disk)
        code, _, err = hubledger("trust", "add", service)
        assert (code, "No space left on device" in err) == (63, True)
        filler.unlink()
        assert hubledger("trust", "add", service)[0] == 0
        filler, before = fill(disk), kept(disk / "data")
        code, _, err = hubledger("trust", "confirm", "hub.example", "--compared-by-hand")
        assert (code, "No space left on device" in err) == (63, True)
        assert kept(disk / "data") == before
        filler.unlink()
        assert TrustStore(disk / "data").get("hub.example").origin is Origin.TLS_ONLY


@pytest.mark.parametrize("size", [0, 1, 100, 400, 2000])
def test_a_write_that_ends_after_some_bytes(hubledger, hub, service, early, data, tmp_path, size):
    """Whichever of the files does not fit, the check succeeds, and each file is the old one or the new one, whole."""
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    assert verify(hubledger, hub.old, "--trust", trust, "--url", early)[0] == 0
    before = kept(data)
    shutil.copytree(data, tmp_path / "copy")
    with files_of_at_most(size):
        code, facts = verify(hubledger, hub.new, "--trust", trust, "--url", service)
    after = kept(data)
    assert (code, facts["model"]) == (0, "ACCEPTED")
    assert "; no copy was kept (" in facts["source"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUBLEDGER_DATA", str(tmp_path / "copy"))
        assert verify(hubledger, hub.new, "--trust", trust, "--url", service)[0] == 0
    whole = kept(tmp_path / "copy")
    for name, data_ in after.items():
        if name.startswith("pins/") and data_ != before.get(name):
            assert json.loads(data_).keys() == json.loads(whole[name]).keys()
        elif name in before:
            assert data_ == before[name]
    if size <= 100:
        assert after == before
    assert [each.sequence for each in Pins(data).known() if hasattr(each, "sequence")] in ([0], [1])


def test_the_text_says_it_too(hubledger, hub, service, data, tmp_path):
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    with files_of_at_most(10):
        code, out, _ = hubledger("verify", hub.new, "--name", NAME, "--trust", trust, "--url", service)
    said = " ".join(out.split())
    assert (code, "no copy was kept" in said, "not remembered: " in said) == (0, True, True)
    assert "File too large" in said
