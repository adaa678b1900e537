"""`trust witnesses` and `record --wait-witnessed`: what an operator types, and what readers rely on afterwards."""

import json

import pytest

from ledger.client.trust import parse_trust
from ledger.config import FILE_NAME
from tests.fakes.witness import FakeWitness, serving


@pytest.fixture
def witness(ledger):
    with serving(FakeWitness(logs=parse_trust((ledger / "trust.toml").read_bytes()).log_keys)) as one:
        yield one


def policy(folder, *lines, quorum):
    path = folder / f"{quorum}.policy"
    path.write_text("\n".join([*lines, f"quorum {quorum}\n"]))
    return path


def test_a_trust_file_goes_from_one_quorum_to_the_next_and_keeps_the_clock_of_the_log(
    hubledger, ledger, witness, tmp_path
):
    other = FakeWitness("w2")
    other.url = "https://w2.example"
    first = policy(tmp_path, witness.line(), quorum="w1")
    second = policy(tmp_path, witness.line(), other.line(), "group both all w1 w2", quorum="both")
    file = ledger / "trust.toml"
    names = []
    for version, (path, age) in enumerate([(first, 60), (second, None), (first, 90)], 2):
        options = [] if age is None else ["--max-age", age]
        code, out, err = hubledger("trust", "witnesses", file, path, "-o", file, *options, "--json")
        assert code == 0, err
        trust = parse_trust(file.read_bytes())
        assert json.loads(out)["version"] == trust.version == version
        assert trust.max_age == (age or 60)
        assert all(each.url is None for each in trust.policy.witnesses)
        names.append(([each.name for each in trust.policy.witnesses], trust.policy.quorum))
    assert names == [
        (["log-clock", "w1"], "w1"),
        (["log-clock", "w1", "w2"], "both"),
        (["log-clock", "w1"], "w1"),
    ]


def test_readers_get_the_new_quorum_by_the_offline_key(hubledger, ledger, witness, tmp_path):
    """A version that counts witnesses is signed and published as any other."""
    key, new = tmp_path / "trust.key", tmp_path / "new.toml"
    line = hubledger("trust", "key", key, "--name", "hub.example/trust")[1].strip()
    text = (ledger / "trust.toml").read_text().replace("version = 1\n", f"version = 2\n{line}\n")
    (tmp_path / "two.toml").write_text(text)
    assert hubledger("trust", "sign", tmp_path / "two.toml", "--key", key)[0] == 0
    assert hubledger("trust", "publish", ledger, tmp_path / "two.toml")[0] == 0
    path = policy(tmp_path, witness.line(), quorum="w1")
    assert hubledger("trust", "witnesses", ledger / "trust.toml", path, "-o", new)[0] == 0
    assert hubledger("trust", "sign", new, "--key", key, "--previous", ledger / "trust.toml")[0] == 0
    code, out, err = hubledger("trust", "publish", ledger, new)
    assert code == 0, err
    assert "Published version 3" in out
    assert parse_trust((ledger / "trust.toml").read_bytes()).policy.quorum == "w1"


def test_a_recording_that_waited_in_vain_is_durable_and_shown_later(hubledger, ledger, witness, tmp_path):
    with (ledger / FILE_NAME).open("a") as file:
        file.write(f'[witness]\npolicy = """\n{witness.line()}\nquorum w1\n"""\ninterval = 0\n')
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"weights")
    record = ("record", ledger, "acme/tiny", "--model", tmp_path / "model", "--json", "--revision")
    witness.lie = (429, "text/plain", b"")
    waiting = ("--wait-witnessed", "--wait-seconds", "0", "--start-unchecked")
    code, out, err = hubledger(*record, "r1", *waiting)
    assert (code, out) == (55, "")
    assert "got 429, too many requests. What was recorded is durable" in err
    witness.lie = None
    again = json.loads(hubledger(*record, "r1", "--wait-witnessed")[1])
    assert (again["repeated"], again["leafIndex"], again["checkpoint"]["size"]) == (True, 1, 2)
    assert witness.size == 2
