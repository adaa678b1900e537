"""A hub key in a KMS or HSM is replaced as one in a file is; the operator's own lines in the settings are the step that renames it.

The signer is securesystemslib's own for a file, which signs with a random part as a KMS does.
"""

import itertools
import json
import os
import re
import shutil

import pytest

from cli.exit_codes import ExitCode
from ledger.config import FILE_NAME, load_config
from ledger.embedded.keys import hub_spki, load_public_key
from ledger.entry import keyid_of
from ledger.errors import ConfigError
from tests.ledger.embedded.test_kms import put_key
from tests.ledger.embedded.test_rotating import Operator, Stop, Stopper

STEPS = 4
"""Calls of the command, from --begin to the one that finds nothing left; the operator does something between them."""


def edit_settings(ledger, lines):
    """Put lines into the settings of a ledger, in the place of those of the same names."""
    path = ledger / FILE_NAME
    text = path.read_text()
    for line in lines:
        name = line.partition(" = ")[0]
        text, count = re.subn(rf"(?m)^{name} = .*$", lambda _, line=line: line, text)
        assert count == 1
    path.write_text(text)


class Elsewhere(Operator):
    """An operator whose next keys are elsewhere, and who edits the settings."""

    def rotate(self, *words):
        return self.keys("rotate", "hub", self.ledger, *words)

    def begin(self, name):
        source = put_key(self.folder, name)
        return self.rotate("--begin", "--hub-signer", source.uri, "--hub-public-key", source.public_key)

    def edit(self, lines):
        edit_settings(self.ledger, lines)

    def signing(self):
        """The id of the key that the settings name."""
        return keyid_of(hub_spki(self.ledger, load_config(self.ledger)))

    def do(self, done):
        """Do what one step asks for."""
        if done["state"] == "switch":
            self.edit(done["settings"])
        elif done["state"] != "none":
            self.publish()


@pytest.fixture
def operator(tmp_path, hubledger, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Elsewhere(tmp_path, hubledger)


def test_a_key_moves_from_its_file_to_a_service_and_on_to_another(operator):
    before, first_proof = operator.keep("before"), operator.record("r1")
    keys, said, proofs = [operator.signing()], [], []
    for name in ("one", "two"):
        assert operator.begin(name)["state"] == "announced"
        proofs.append(operator.record(f"{name}-meanwhile"))
        operator.publish()
        # The trust file has it, and the settings have not: the old key signs.
        proofs.append(operator.record(f"{name}-between"))
        done = operator.rotate()
        assert (done["state"], done["oldKeyId"]) == ("switch", keys[-1])
        assert operator.rotate() == done  # says the same, adds nothing
        operator.edit(done["settings"])
        keys.append(operator.signing())
        done = operator.rotate()
        assert (done["state"], done["oldKeyId"]) == ("retired", keys[-2])
        assert done == operator.rotate()
        said.append(done["keptKey"])
        operator.publish()
        proofs.append(operator.record(f"{name}-after"))
        assert operator.rotate() == {"state": "none"}
        assert not (operator.ledger / "keys/hub-next.toml").exists()
    assert operator.key_statements() == [
        ("added", keys[0], keys[0]),
        *(
            statement
            for old, new in itertools.pairwise(keys)
            for statement in (("added", new, old), ("retired", old, new))
        ),
    ]
    assert said == [f"{operator.ledger}/keys/hub.key", f"file2:{operator.folder}/one.pem"]
    assert operator.check(first_proof, before) == 0
    assert {operator.check(each, operator.ledger / "trust.toml") for each in proofs} == {0}
    assert operator.check(proofs[-1], before) == ExitCode.INVALID
    operator.audit()


def test_the_settings_are_printed_as_lines_for_hubledger_toml(operator):
    operator.begin("one")
    operator.publish()
    code, out, _ = operator.call("keys", "rotate", "hub", operator.ledger)
    name = next((operator.ledger / "keys").glob("hub.*.pub")).name
    assert code == 0
    assert out.splitlines()[2:5] == [
        f'  hub_key = "keys/{name}"',
        f'  hub_signer = "file2:{operator.folder}/one.pem"',
        '  hub_signer_secret = ""',
    ]


def test_what_is_said_of_the_next_step_is_what_it_does(operator):
    source = put_key(operator.folder, "one")
    words = ("--begin", "--hub-signer", source.uri, "--hub-public-key", source.public_key)
    code, out, _ = operator.call("keys", "rotate", "hub", operator.ledger, *words)
    assert (code, out.splitlines()[-1]) == (
        0,
        "Then run this command again: it says which lines of hubledger.toml make the new key sign.",
    )


def test_whoever_switches_before_the_trust_file_has_the_key_records_nothing(operator):
    operator.begin("one")
    statements = operator.key_statements()
    shutil.copyfile(operator.ledger / FILE_NAME, operator.folder / "kept.toml")
    operator.edit(
        (operator.ledger / "keys/hub-next.toml").read_text().splitlines()[:3]  # they are there to be found
    )
    with pytest.raises(ConfigError, match=r"a key that trust\.toml has"):
        operator.record("r1")
    code, _, error = operator.call("keys", "rotate", "hub", operator.ledger)
    assert (code, "a key that trust.toml has" in error) == (33, True)
    assert operator.key_statements() == statements
    shutil.copyfile(operator.folder / "kept.toml", operator.ledger / FILE_NAME)
    operator.publish()
    assert operator.rotate()["state"] == "switch"


def test_a_rotation_of_one_kind_is_not_begun_within_one_of_the_other(operator):
    operator.rotate("--begin")
    source = put_key(operator.folder, "one")
    words = ("--begin", "--hub-signer", source.uri, "--hub-public-key", source.public_key)
    command = ("keys", "rotate", "hub", operator.ledger)
    assert operator.call(*command, *words)[0] == 2
    operator.publish()
    assert operator.rotate()["state"] == "retired"
    assert operator.call(*command, *words)[0] == 2
    operator.publish()
    assert operator.rotate(*words)["state"] == "announced"
    assert operator.call(*command, *words)[0] == 2
    assert operator.call(*command, "--begin")[0] == 2


def test_a_key_that_ended_does_not_come_back(operator):
    """The log says once that it is added: its old range would be taken for a new one."""
    for name in ("one", "two"):
        operator.do(operator.begin(name))
        for _ in range(STEPS - 1):
            operator.do(operator.rotate())
    before = operator.key_statements()
    source = put_key(operator.folder, "one")
    words = ("--begin", "--hub-signer", source.uri, "--hub-public-key", source.public_key)
    code, _, error = operator.call("keys", "rotate", "hub", operator.ledger, *words)
    assert (code, "expected a new key, got one that signed before" in error) == (2, True)
    assert operator.rotate() == {"state": "none"}
    assert operator.key_statements() == before


@pytest.mark.parametrize("call", ["fsync", "unlink"])
def test_a_crash_at_any_write_is_gone_on_from(operator, monkeypatch, call):
    """Every durable step of a whole rotation is stopped once, before it and after it."""
    stops = 0
    for after in (False, True):
        for number in range(1, 100):
            shutil.rmtree(operator.folder / "saved", ignore_errors=True)
            shutil.copytree(operator.ledger, operator.folder / "saved")
            stopper = Stopper(number, after=after)
            for step in range(STEPS):
                operator.do(_step(operator, monkeypatch, stopper, call, begins=step == 0))
            stops += stopper.hit
            statements = operator.key_statements()
            assert len(statements) == len(set(statements)) == 3
            assert operator.rotate() == {"state": "none"}
            operator.audit()
            assert operator.signing() == keyid_of(load_public_key(operator.folder / "one.pub"))
            shutil.rmtree(operator.ledger)
            (operator.folder / "saved").rename(operator.ledger)
            if not stopper.hit:
                break
    assert stops >= 2


def _step(operator, monkeypatch, stopper, call, *, begins):
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, stopper.wrap(getattr(os, call)))
            return operator.begin("one") if begins else operator.rotate()
    except Stop:
        state = operator.rotate()
        return operator.begin("one") if begins and state["state"] == "none" else state


def test_a_secret_of_the_signer_is_named_and_never_copied(operator):
    source, secret = put_key(operator.folder, "one"), operator.folder / "pin"
    secret.write_text("4711")
    secret.chmod(0o600)
    options = ("--hub-signer", source.uri, "--hub-public-key", source.public_key)
    operator.rotate("--begin", *options, "--hub-signer-secret", secret)
    operator.publish()
    done = operator.rotate()
    assert done["settings"][2] == f'hub_signer_secret = "{secret}"'
    assert "4711" not in json.dumps(done)
    assert not [
        each for each in operator.ledger.rglob("*") if each.is_file() and b"4711" in each.read_bytes()
    ]
