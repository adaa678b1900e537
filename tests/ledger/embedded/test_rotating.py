"""Keys are replaced while clients hold an old trust file: what they could check they can check, and nobody is led astray.

The stories run as an operator runs them, through the command; they are stopped between any two writes and go on.
"""

import dataclasses
import json
import os
import shutil

import pytest

from cli.exit_codes import ExitCode
from ledger.client.trust_signature import sign_trust, verify_update
from ledger.client.trust_writing import format_trust
from ledger.config import FILE_NAME
from ledger.embedded.directory import Layout, load_trust, open_for_reading
from ledger.embedded.key_files import KeyFiles
from ledger.embedded.keys import load_hub_key, load_note_key, spki_of
from ledger.embedded.making import init
from ledger.embedded.reading import read_entry_at
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.embedded.trust_versions import publish_trust
from ledger.entry import keyid_of, parse_entry
from ledger.event import parse_statement
from ledger.event.schemas import HUB_KEY
from ledger.log.lock import writer_lock
from ledger.tlog.checkpoint import verify_checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, parse_note
from tests.fakes.witness import FakeWitness, serving
from tests.world import ed25519_key

OFFLINE = Ed25519NoteSigner("hub.example/trust", ed25519_key("offline"))


class Operator:
    """Runs the ledger, has the offline key, and keeps each trust file as a client of that age has it."""

    def __init__(self, folder, call):
        self.folder, self.call = folder, call
        self.ledger = folder / "ledger"
        init(self.ledger, origin="log.example/models", hub="hub.example")
        (folder / "model").mkdir()
        (folder / "model/weights").write_bytes(b"weights")
        first = load_trust(Layout(root=self.ledger))
        self.draft = self.ledger / "trust-2.toml"
        self.draft.write_bytes(
            format_trust(dataclasses.replace(first, version=2, update_key=OFFLINE.verifier))
        )
        self.publish()

    def keys(self, *words):
        code, out, error = self.call("keys", *words, "--json")
        assert code == 0, error
        done = json.loads(out)
        if "trustFile" in done:
            self.draft = self.folder / done["trustFile"]
        return done

    def publish(self):
        """Sign the draft offline and publish it; every client of the version before takes it."""
        data = self.draft.read_bytes()
        signature = sign_trust(data, [OFFLINE])
        old = self.trust()
        if old.update_key is not None:
            verify_update(old, data, signature)
        publish_trust(self.ledger, data, signature)

    def trust(self):
        return load_trust(Layout(root=self.ledger))

    def keep(self, name):
        """Keep the trust file that counts now, as a client does."""
        return copied(self.ledger / "trust.toml", self.folder / f"{name}.toml")

    def record(self, revision):
        """Record a revision and fetch its proof."""
        record_revision(
            self.ledger, RecordRequest(name="acme/tiny", revision=revision, model=self.folder / "model")
        )
        return self.prove(open_for_reading(self.ledger).size() - 1)

    def prove(self, leaf_index):
        proof = self.folder / f"{leaf_index}-{len(list(self.folder.iterdir()))}.tlog-proof"
        code, _, error = self.call("proof", self.ledger, leaf_index, "-o", proof)
        assert code == 0, error
        return proof

    def check(self, proof, trust):
        return self.call("verify", "--proof", proof, "--trust", trust, "--log-only")[0]

    def audit(self):
        code, _, error = self.call("log", "audit", self.ledger)
        assert code == 0, error

    def key_statements(self):
        """(state, key id, key id of who signed it), in log order."""
        reader = open_for_reading(self.ledger)
        found = []
        for leaf_index in range(reader.size()):
            entry = parse_entry(read_entry_at(reader, leaf_index, reader.size()))
            statement = parse_statement(entry.payload)
            if statement.predicate_type == HUB_KEY:
                found.append((statement.fields["state"], statement.fields["keyid"], entry.keyid))
        return found

    def hub_keyid(self):
        return keyid_of(spki_of(load_hub_key(self.ledger / "keys/hub.key")))

    def shown(self):
        return (Layout(root=self.ledger).public / "checkpoint").read_bytes()


def copied(source, target):
    shutil.copyfile(source, target)
    return target


@pytest.fixture
def operator(tmp_path, hubledger, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Operator(tmp_path, hubledger)


# The hub's key


def test_a_client_with_the_old_trust_file_checks_old_proofs_and_takes_the_new_key_by_an_update(operator):
    before, old_proof = operator.keep("before"), operator.record("r1")
    old = operator.hub_keyid()
    assert operator.keys("rotate", "hub", operator.ledger, "--begin")["state"] == "announced"
    # Nothing that clients cannot check is signed before they could have the new key.
    meanwhile = operator.record("r2")
    assert operator.check(meanwhile, before) == 0
    operator.publish()
    both = operator.keep("both")
    assert operator.keys("rotate", "hub", operator.ledger)["state"] == "retired"
    new = operator.hub_keyid()
    operator.publish()
    after, new_proof = operator.keep("after"), operator.record("r3")
    assert operator.key_statements() == [("added", old, old), ("added", new, old), ("retired", old, new)]
    assert [operator.check(old_proof, each) for each in (before, both, after)] == [0, 0, 0]
    assert (
        operator.check(new_proof, before) == ExitCode.INVALID
    )  # until it takes the update, which it can check
    assert [operator.check(new_proof, each) for each in (both, after)] == [0, 0]
    assert operator.keys("rotate", "hub", operator.ledger) == {"state": "none"}
    operator.audit()


def test_ranges_begin_after_what_adds_and_end_after_what_retires(operator):
    added = operator.keys("rotate", "hub", operator.ledger, "--begin")["leafIndex"]
    operator.publish()
    retired = operator.keys("rotate", "hub", operator.ledger)["leafIndex"]
    operator.publish()
    old, new = operator.trust().hub_keys
    assert (old.first, old.end) == (0, retired + 1)
    assert (new.first, new.end) == (added + 1, None)


def test_the_old_key_signs_until_the_trust_file_has_the_new_one(operator):
    old = operator.hub_keyid()
    first = operator.keys("rotate", "hub", operator.ledger, "--begin")
    draft = operator.draft.read_bytes()
    assert operator.keys("rotate", "hub", operator.ledger) == first  # says the same, adds nothing
    assert operator.draft.read_bytes() == draft
    assert operator.hub_keyid() == old
    assert len(operator.key_statements()) == 2


def test_a_revoked_key_is_refused_from_its_index_on_by_whoever_has_the_update(operator):
    early, late = operator.record("r1"), operator.record("r2")
    old = operator.hub_keyid()
    for words in (("--begin",), ()):
        operator.keys("rotate", "hub", operator.ledger, *words)
        operator.publish()
    done = operator.keys("revoke", "hub", operator.ledger, old, "--from", 2, "--reason", "key-stolen")
    assert operator.keys("revoke", "hub", operator.ledger, old, "--from", 2, "--reason", "key-stolen") == done
    operator.publish()
    after = operator.keep("after")
    assert operator.check(early, after) == 0
    assert operator.check(late, after) == ExitCode.NOT_ACCEPTED
    assert operator.key_statements()[-1] == ("revoked", old, operator.hub_keyid())


# The log's key


def test_both_log_keys_sign_until_the_operator_says_otherwise_and_either_trust_file_verifies(operator):
    before, old_proof = operator.keep("before"), operator.record("r1")
    old = load_note_key(operator.ledger / "keys/log.key").verifier
    assert operator.keys("rotate", "log", operator.ledger, "--begin")["state"] == "both"
    new = load_note_key(operator.ledger / "keys/log.key.next").verifier
    # The checkpoint that is shown has both at once, without a new event.
    shown = verify_checkpoint(operator.shown(), origin="log.example/models", keys=(old, new))
    assert shown.signers == (old, new)
    operator.publish()
    both, meanwhile = operator.keep("both"), operator.record("r2")
    assert [operator.check(meanwhile, each) for each in (before, both)] == [0, 0]
    assert operator.keys("rotate", "log", operator.ledger)["state"] == "both"
    assert operator.keys("rotate", "log", operator.ledger, "--finish")["state"] == "dropped"
    operator.publish()
    after, new_proof = operator.keep("after"), operator.record("r3")
    assert [operator.check(new_proof, each) for each in (before, both, after)] == [ExitCode.INVALID, 0, 0]
    assert [operator.check(old_proof, each) for each in (before, both, after)] == [0, 0, ExitCode.INVALID]
    assert operator.check(operator.prove(1), after) == 0  # fetched anew
    assert operator.keys("rotate", "log", operator.ledger) == {"state": "none"}
    operator.audit()


def test_an_old_copy_is_found_by_checkpoints_that_only_the_next_key_signed(operator):
    """After a rotation the outside knows the log under the new key; a directory from before it must not write."""
    operator.keys("rotate", "log", operator.ledger, "--begin")
    operator.publish()
    copy = shutil.copytree(operator.ledger, operator.folder / "copy")
    operator.keys("rotate", "log", operator.ledger, "--finish")
    operator.publish()
    operator.record("r1")
    newest = operator.folder / "newest.checkpoint"
    newest.write_bytes(operator.shown())
    code, _, error = operator.call("keys", "rotate", "log", copy, "--finish", "--not-older-than", newest)
    assert code == 62, error


# Stopped between any two writes


class Stop(BaseException):
    """The power fails."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("hub", (("--begin",), (), ())),
        ("log", (("--begin",), ("--finish",), ())),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "link", "rename"])
def test_a_crash_at_any_write_is_gone_on_from(operator, monkeypatch, kind, words, call):
    """Every durable step of a whole rotation is stopped once, before it and after it."""
    stops = 0
    for after in (False, True):
        for number in range(1, 100):
            ledger = operator.folder / "ledger"
            shutil.rmtree(operator.folder / "saved", ignore_errors=True)
            shutil.copytree(ledger, operator.folder / "saved")
            hit = _rotate(operator, monkeypatch, kind, words, call=call, number=number, after=after)
            stops += hit
            statements = operator.key_statements()
            assert len(statements) == len(set(statements)) == (3 if kind == "hub" else 1)
            operator.audit()
            assert not KeyFiles(ledger / f"keys/{kind}.key").next.exists()
            shutil.rmtree(ledger)
            (operator.folder / "saved").rename(ledger)
            if not hit:
                break
    assert stops >= 2


def _rotate(operator, monkeypatch, kind, words, *, call, number, after):
    """Rotate to the end, stopped at the given call once; returns whether it was reached."""
    stopper = Stopper(number, after=after)
    target, name = {"fsync": (os, "fsync"), "link": (os, "link"), "rename": (os, "replace")}[call]
    for each in words:
        try:
            with monkeypatch.context() as patch:
                patch.setattr(target, name, stopper.wrap(getattr(target, name)))
                state = operator.keys("rotate", kind, operator.ledger, *each)["state"]
        except Stop:
            state = _go_on(operator, kind, each)
        if state != "none":
            operator.publish()
    return stopper.hit


def _go_on(operator, kind, words):
    left = [each for each in words if each != "--begin"]
    state = operator.keys("rotate", kind, operator.ledger, *left)["state"]
    if state == "none" and "--begin" in words:  # it was stopped before there was a next key
        return operator.keys("rotate", kind, operator.ledger, *words)["state"]
    return state


class Stopper:
    """Fails at one call of a function, before or after its effect, and never again."""

    def __init__(self, number, *, after):
        self.left, self.after, self.hit = number, after, False

    def wrap(self, function):
        def call(*arguments, **options):
            self.left -= 1
            if self.left:
                return function(*arguments, **options)
            self.hit = True
            if self.after:
                function(*arguments, **options)
            raise Stop

        return call


def test_a_rotation_needs_the_service_stopped(operator):
    with writer_lock(operator.ledger / "lock"):
        code, _, error = operator.call("keys", "rotate", "hub", operator.ledger, "--begin")
    assert code == 52, error
    assert operator.keys("rotate", "hub", operator.ledger)["state"] == "announced"


# With witnesses


def asking(operator, witness):
    """The ledger's settings from now on: this witness must cosign, at once."""
    with (operator.ledger / FILE_NAME).open("a") as file:
        file.write(
            f'[witness]\npolicy = """\n{witness.line()}\nquorum w1\n"""\nrequired = true\ninterval = 0\n'
        )


def cosigners(operator):
    """The names under which the checkpoint that is shown is signed by others than the log."""
    lines = parse_note(operator.shown()).signatures
    return [line.name for line in lines if line.name.startswith("witness.example/")]


def test_both_log_keys_sign_beside_the_cosignatures_that_there_were(operator):
    """Witnesses sign what a checkpoint says: signing it anew, by other keys, loses none and shows none without its quorum."""
    old = load_note_key(operator.ledger / "keys/log.key").verifier
    with serving(FakeWitness(logs=[old])) as witness:
        asking(operator, witness)
        operator.record("r1")
        operator.keys("rotate", "log", operator.ledger, "--begin")
        new = load_note_key(operator.ledger / "keys/log.key.next").verifier
        shown = verify_checkpoint(operator.shown(), origin="log.example/models", keys=(old, new))
        assert shown.signers == (old, new)
        assert cosigners(operator) == ["witness.example/w1"]
        operator.publish()
        # What has no quorum yet is not shown by signing it again, either.
        witness.lie = (429, "text/plain", b"")
        before = operator.shown()
        record = (
            "record",
            operator.ledger,
            "acme/tiny",
            "--model",
            operator.folder / "model",
            "--start-unchecked",
        )
        assert operator.call(*record, "--revision", "r2")[0] == 55
        code, _, error = operator.call(
            "keys", "rotate", "log", operator.ledger, "--finish", "--start-unchecked"
        )
        assert (code, operator.shown()) == (55, before), error
        witness.lie, witness.logs = None, [old, new]
        assert operator.keys("rotate", "log", operator.ledger, "--finish")["state"] == "dropped"
        shown = verify_checkpoint(operator.shown(), origin="log.example/models", keys=(old, new))
        assert (shown.checkpoint.size, shown.signers) == (3, (new,))
        assert cosigners(operator) == ["witness.example/w1"]


def test_the_old_log_key_goes_on_until_enough_witnesses_take_the_new_one(operator):
    """A log whose witnesses do not know its only key could not start again."""
    old = load_note_key(operator.ledger / "keys/log.key").verifier
    with serving(FakeWitness(logs=[old])) as witness:
        asking(operator, witness)
        operator.record("r1")
        operator.keys("rotate", "log", operator.ledger, "--begin")
        operator.publish()
        code, _, error = operator.call("keys", "rotate", "log", operator.ledger, "--finish")
        assert code == 55
        assert "alone: expected the quorum w1, got w1: witness w1: expected a cosignature" in error
        assert load_note_key(operator.ledger / "keys/log.key").verifier == old
        operator.record("r2")
        witness.logs = [old, load_note_key(operator.ledger / "keys/log.key.next").verifier]
        assert operator.keys("rotate", "log", operator.ledger, "--finish")["state"] == "dropped"
        operator.publish()
        operator.record("r3")
        assert cosigners(operator) == ["witness.example/w1"]
