"""A log of ours and FiloSottile's litewitness, which shares no code with us: what an operator does, step by step."""

import json
import shutil

from ledger.client.trust import parse_trust
from ledger.config import FILE_NAME
from ledger.tlog.cosignature import verify_cosignatures
from tests.ledger.server.events import body
from tests.ledger.server.test_writing import running
from tests.system.rekor import litewitness


def set_up(hubledger, folder, witness, **settings):
    """What the guide says: the policy in a file, its name in the settings, and its witnesses in the trust file."""
    (folder / "witness.policy").write_text(witness.policy())
    with (folder / FILE_NAME).open("a") as file:
        file.write('[witness]\npolicy = "witness.policy"\ninterval = 0\n')
        file.writelines(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    trust = folder / "trust.toml"
    code, out, err = hubledger("trust", "witnesses", trust, folder / "witness.policy", "--output", trust)
    assert code == 0, err
    assert "quorum    w1" in out


def make(hubledger, tmp_path):
    folder, model = tmp_path / "ledger", tmp_path / "model"
    assert hubledger("init", folder, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    model.mkdir()
    (model / "weights").write_bytes(b"weights")
    return folder, model


def test_a_log_with_a_witness_from_its_first_event_to_its_clients(hubledger, tmp_path):
    folder, model = make(hubledger, tmp_path)
    keys = parse_trust((folder / "trust.toml").read_bytes()).log_keys
    with litewitness(tmp_path, keys) as witness:
        set_up(hubledger, folder, witness, required=True)
        proof = tmp_path / "event.tlog-proof"
        record = ("record", folder, "acme/tiny", "--model", model, "--json", "--revision")
        code, out, err = hubledger(*record, "r1", "--wait-witnessed", "--proof-out", proof)
        assert code == 0, err
        assert json.loads(out)["checkpoint"]["size"] == 2
        verify = ("verify", "--proof", proof, "--trust", folder / "trust.toml", "--log-only")
        code, out, err = hubledger(*verify)
        assert code == 0, out + err
        assert "quorum w1" in out
        assert hubledger("log", "audit", folder)[0] == 0

        old = tmp_path / "backup"
        shutil.copytree(folder, old)
        assert hubledger(*record, "r2")[0] == 0
        # The backup is put back: litewitness knows that there was more.
        code, _, err = hubledger("record", old, "acme/tiny", "--model", model, "--revision", "another")
        assert code == 62
        assert (
            "size that the witness w1 saw last: expected at most 2, the newest that we signed, got 3" in err
        )

    # The witness is gone. Nothing is written on its silence, and nothing is shown without it.
    code, _, err = hubledger(*record, "r3")
    assert code == 51
    assert "w1: witness w1: expected an answer" in err
    code, _, err = hubledger(*record, "r3", "--start-unchecked")
    assert code == 55
    assert "cosignatures of the checkpoint of size 4: expected the quorum w1" in err
    assert json.loads(hubledger("log", "checkpoint", folder, "--json")[1])["size"] == 3


def test_a_witness_that_does_not_know_the_log_is_named_and_helped(hubledger, tmp_path):
    """A log that its witness was not told of cannot be told apart from one that was restored: the message says what to do."""
    folder, model = make(hubledger, tmp_path)
    with litewitness(tmp_path, []) as witness:
        set_up(hubledger, folder, witness)
        code, _, err = hubledger("record", folder, "acme/tiny", "--model", model, "--revision", "r1")
        assert code == 51
        assert "got 40" in err


def test_a_served_log_is_cosigned_as_it_grows(hubledger, tmp_path):
    folder, _ = make(hubledger, tmp_path)
    keys = parse_trust((folder / "trust.toml").read_bytes()).log_keys
    with litewitness(tmp_path, keys) as witness:
        set_up(hubledger, folder, witness)
        trust = parse_trust((folder / "trust.toml").read_bytes())
        with running(folder) as hub:
            for number in range(5):
                found = hub.post(body(f"u-{number}", revision=f"r{number}"), wait="witnessed")
                assert found.status == 201
                counted = trust.policy.verify(found.json["checkpoint"].encode(), origin=trust.origin)
                assert witness.key in [
                    each.key for each in verify_cosignatures(counted.verified, [witness.key])
                ]
