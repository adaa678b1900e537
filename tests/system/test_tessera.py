"""Tessera's auditor passes on our logs and fails on damaged ones; our auditor passes on Tessera's."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ledger.embedded.foreign import audit_foreign
from ledger.errors import CorruptError
from ledger.tlog.signed_note import Ed25519NoteSigner
from tests.fakes.web import showing
from tests.ledger.log.test_local import KEY, Opened, create, raw
from tests.system import peers


def entries_of(start, end):
    return [b"entry %d" % number for number in range(start, end)]


def write_log(folder, size):
    """Write a log of ours in a few publications of odd sizes."""
    create(folder)
    with Opened(folder) as log:
        done = 0
        for target in sorted({min(size, step) for step in (1, 200, 256, 300, 65_535, size)}):
            if target > done:
                log.append(raw(*entries_of(done, target)))
                log.publish()
                done = target
        return log.checkpoint().checkpoint


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_536, 70_000])
def test_fsck_passes_on_our_logs(tmp_path, size):
    shown = write_log(tmp_path, size)
    with showing(tmp_path / "log") as url:
        assert peers.fsck(url, KEY.verifier.format(), tmp_path) == (size, shown.root_hash.hex())
        report = audit(url, KEY.verifier.format())
    assert (report["size"], report["rootHash"]) == (size, shown.root_hash.hex())


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/000", "tile/1/000.p/2", "checkpoint"])
def test_fsck_fails_on_a_damaged_copy(tmp_path, name):
    write_log(tmp_path, 600)
    with showing(tmp_path / "log") as url:
        assert peers.fsck(url, KEY.verifier.format(), tmp_path, seconds=8) is not None
    data = bytearray((tmp_path / "log" / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / "log" / name).write_bytes(data)
    with showing(tmp_path / "log") as url:
        assert peers.fsck(url, KEY.verifier.format(), tmp_path, seconds=8) is None


def audit(where, vkey, workers=1):
    return audit_foreign(
        str(where), [vkey], origin=None, workers=workers, progress=lambda _done, _total: None
    )


def test_our_audit_passes_on_a_log_that_tessera_wrote_and_fails_on_a_damaged_copy(tmp_path):
    key = Ed25519NoteSigner("tessera.example/log", ed25519.Ed25519PrivateKey.generate())
    vkey, folder, count = key.verifier.format(), tmp_path / "log", 300
    with peers.tessera(folder, key.format_private()) as url:
        with ThreadPoolExecutor(32) as pool:
            indices = pool.map(lambda entry: int(peers.post(f"{url}/add", entry)), entries_of(0, count))
            assert sorted(indices) == list(range(count))
        peers.wait_until(lambda: size_of(peers.get(f"{url}/checkpoint")) == b"%d" % count)
        by_url = audit(url, vkey, workers=2)
    assert audit(folder, vkey) == by_url
    assert by_url["size"] == count
    data = bytearray((folder / "tile/entries/000").read_bytes())
    data[3] ^= 1
    (folder / "tile/entries/000").write_bytes(data)
    with pytest.raises(CorruptError, match=r"hash 0 of tile/0/000"):
        audit(folder, vkey)


def size_of(note):
    return note and note.split(b"\n")[1]
