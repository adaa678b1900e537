"""A log anchored in the real Rekor and stamped by the real authority; and cosign, which nobody here wrote, agrees."""

import base64
import json
import shutil
import subprocess
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cli.main import run
from ledger.encoding import format_canonical_json
from ledger.errors import RestoredError
from ledger.storage.anchors import AnchorStore
from tests.anchors import AnchoredLedger, new_ledger
from tests.system import rekor_v1
from tests.system.peers import tool
from tests.system.rekor import rekor_v2, timestamp_server, write_trust

DAY = 86_400


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    with timestamp_server(tmp_path_factory.mktemp("tsa")) as found:
        yield found


@pytest.fixture(scope="module")
def rekor(tmp_path_factory):
    with rekor_v2(tmp_path_factory.mktemp("rekor")) as server:
        yield server


@pytest.fixture
def ledger(tmp_path, rekor, authority):
    """A ledger that is anchored in Rekor v2, each anchor stamped."""
    root, signing = write_trust(tmp_path, [rekor.trusted], [authority])
    return new_ledger(tmp_path).configure(
        log="rekor-v2",
        timestamps=True,
        trusted_root=str(root),
        signing_config=str(signing),
        read_url=rekor.read_url,
    )


def cosign(ledger, folder, name):
    """Verify an exported anchor with cosign; returns what it said, None where it refused."""
    text = folder / f"{name}.txt"
    command = [
        *(tool("cosign"), "verify-blob-attestation", "--new-bundle-format"),
        *("--bundle", folder / f"{name}.sigstore.json", "--key", next(folder.glob("anchor-*.pub"))),
        *("--trusted-root", ledger.instance_root, "--type", "https://hubledger/anchor/v1", text),
    ]
    done = subprocess.run([str(each) for each in command], capture_output=True, check=False, timeout=60)
    return (done.stdout + done.stderr).decode() if done.returncode == 0 else None


def test_checkpoints_are_anchored_stamped_listed_and_verified_by_cosign(ledger, tmp_path, hubledger):
    for day in range(3):
        ledger.record(f"r{day + 2}", at=day * DAY)
        if ledger.list().anchors[-1].state != "logged":
            ledger.anchor()  # the recording's budget may be over before Rekor's next checkpoint
    report = ledger.list()
    assert [each.checkpoint.checkpoint.size for each in report.anchors] == [3, 4, 5]
    assert [each.state for each in report.anchors] == ["logged"] * 3
    assert all(len(each.timestamps) == 1 for each in report.anchors)
    assert ledger.problems() == []
    assert hubledger("log", "anchors", ledger.folder, "--export", tmp_path / "out")[0] == 0
    for name in ledger.store.names():
        assert "Verified OK" in cosign(ledger, tmp_path / "out", name)


def test_cosign_refuses_another_text_under_an_exported_anchor(ledger, tmp_path, hubledger):
    ledger.anchor()
    hubledger("log", "anchors", ledger.folder, "--export", tmp_path / "out")
    (name,) = ledger.store.names()
    assert cosign(ledger, tmp_path / "out", name) is not None
    text = tmp_path / "out" / f"{name}.txt"
    text.write_bytes(text.read_bytes().replace(b"\n2\n", b"\n3\n"))
    assert cosign(ledger, tmp_path / "out", name) is None


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda each: each.name)
def test_anchor_keys_on_larger_curves_are_taken(ledger, curve, tmp_path, hubledger):
    key = ec.generate_private_key(curve)
    path = ledger.folder / "keys" / "anchor.key"
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    assert ledger.anchor().failures == ()
    assert ledger.problems() == []
    out, (name,) = tmp_path / "out", ledger.store.names()
    hubledger("log", "anchors", ledger.folder, "--export", out)
    # cosign hashes with SHA-256 for every key that it is given, and so knows P-256 only.
    code, said, _ = hubledger(
        *("verify", "--bundle", out / f"{name}.sigstore.json", "--artifact", out / f"{name}.txt"),
        *("--public-key", next(out.glob("anchor-*.pub")), "--trusted-root", ledger.instance_root),
    )
    assert code == 0, said


def test_what_was_sent_without_an_answer_is_found_again(ledger, rekor, monkeypatch):
    """The process dies with the answer: Rekor says 409, and the entry is found, proven and stored."""

    class Stop(BaseException):
        pass

    def stop(self, *arguments):
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(AnchorStore, "add_log_entry", stop)
        with pytest.raises(Stop):
            ledger.anchor()
    assert ledger.list().anchors[0].state == "pending"
    assert ledger.anchor().failures == ()
    assert ledger.problems() == []


def test_a_recording_goes_on_while_rekor_is_away(ledger, rekor, caplog):
    rekor.stop()
    try:
        assert ledger.record("r2")["leafIndex"] == 2
    finally:
        rekor.start()
    assert "an anchor is pending (events are recorded)" in caplog.text
    assert len(ledger.list().anchors[0].timestamps) == 1  # the authority was not away
    assert ledger.anchor().pending == 0
    assert ledger.problems() == []


def test_a_timestamp_alone_is_an_anchor(ledger):
    ledger.configure(log="").anchor()
    (anchor,) = ledger.list().anchors
    assert (anchor.state, anchor.entry, len(anchor.timestamps)) == ("stamped", None, 1)
    assert ledger.problems() == []


def test_a_timestamp_over_something_else_or_by_nobody_is_named(ledger):
    ledger.anchor()
    ledger.record("r2")
    ledger.anchor()
    first, second = [ledger.folder / "anchors" / each / "timestamps.json" for each in ledger.store.names()]
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert ledger.problems() == [("timestamp 0", "SignatureError")]
    raw = bytearray(base64.b64decode(json.loads(kept)[0]))
    for at in range(0, len(raw), 97):
        bent = bytes(raw[:at]) + bytes([raw[at] ^ 1]) + bytes(raw[at + 1 :])
        first.write_bytes(format_canonical_json([base64.b64encode(bent).decode()]))
        found = ledger.problems()
        shown = ledger.list().anchors[0].timestamps
        assert found == [("timestamp 0", "SignatureError")] or len(shown) == 1, at
    first.write_bytes(kept)
    assert ledger.problems() == []


def test_a_timestamp_by_an_authority_that_is_not_trusted_is_named(ledger, tmp_path, rekor, hubledger):
    ledger.anchor()
    write_trust(tmp_path, [rekor.trusted], [])
    assert ledger.problems() == [("timestamp 0", "SignatureError")]
    assert run(["log", "anchors", str(ledger.folder)]) == 41


def test_an_authority_that_is_away_leaves_the_stamp_pending_and_the_entry_logged(
    tmp_path, ledger, rekor, authority
):
    away = replace(authority, url="http://127.0.0.1:9/none")
    write_trust(tmp_path, [rekor.trusted], [away])
    outcome = ledger.anchor()
    assert (len(outcome.failures), outcome.pending) == (1, 1)
    assert ledger.list().anchors[0].entry is not None
    write_trust(tmp_path, [rekor.trusted], [authority])
    assert ledger.anchor().pending == 0
    assert len(ledger.list().anchors[0].timestamps) == 1


def test_a_restored_copy_is_found_by_the_real_log(ledger, tmp_path):
    ledger.anchor()
    old = AnchoredLedger(shutil.copytree(ledger.folder, tmp_path / "backup"))
    ledger.record("r2", at=DAY)
    assert ledger.anchor().failures == ()
    with pytest.raises(RestoredError, match="by our anchor key"):
        old.record("r3", at=2 * DAY)


@pytest.fixture(scope="module")
def old_rekor():
    with rekor_v1.backend() as backend, backend.server() as server:
        yield server


def test_rekor_v1_holds_anchors_too_with_a_time_of_its_own(old_rekor, tmp_path, hubledger):
    root, signing = old_rekor.write_trust(tmp_path)
    ledger = new_ledger(tmp_path).configure(
        log="rekor-v1", trusted_root=str(root), signing_config=str(signing)
    )
    for revision in ("r2", "r3"):
        assert ledger.anchor(budget=60).failures == ()
        ledger.record(revision)
    report = ledger.list()
    assert [each.state for each in report.anchors] == ["logged"] * 2
    assert all("integratedTime" in each.as_json()["log"] for each in report.anchors)
    assert ledger.problems() == []
    hubledger("log", "anchors", ledger.folder, "--export", tmp_path / "out")
    assert "Verified OK" in cosign(ledger, tmp_path / "out", ledger.store.names()[0])


def test_every_field_of_what_rekor_v1_answered_is_held_against_what_it_signed(old_rekor, tmp_path):
    root, signing = old_rekor.write_trust(tmp_path)
    ledger = new_ledger(tmp_path).configure(
        log="rekor-v1", trusted_root=str(root), signing_config=str(signing)
    )
    assert ledger.anchor(budget=60).failures == ()
    path = ledger.folder / "anchors" / ledger.store.names()[0] / "log-entry.json"
    kept = json.loads(path.read_bytes())
    for field in _leaves(kept):
        value = json.loads(json.dumps(kept))
        *above, last = field
        at = value
        for key in above:
            at = at[key]
        at[last] = at[last][:-6] + ("1" if at[last][-6:-5] != "1" else "2") + at[last][-5:]
        path.write_bytes(format_canonical_json(value))
        assert [step for step, _ in ledger.problems()] == ["log entry"], field


def _leaves(value, path=()):
    """The path of every string in a JSON value."""
    if isinstance(value, str):
        yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, (dict, list)):
            yield from _leaves(below, (*path, key))
