"""Somebody changes a model while it is checked: a success is only ever about bytes that were there until its end.

There are two moments: while other files are hashed, which the progress tells, and after all are hashed, when the service is asked.
"""

import os
import shutil

import pytest

from ledger.bundle.trust_material import TrustMaterial
from ledger.client.checking import Question, answer, check
from ledger.errors import SourceError
from ledger.verification.reading import read_revision
from ledger.verification.second_look import look_again
from tests.client_faults.hub import MODEL, NAME, outcome, stored
from tests.world import NOW

LARGE = 300 << 10
"""Read in several blocks."""


@pytest.fixture
def model(hub, tmp_path):
    """A copy of the new files, for a test to change."""
    return shutil.copytree(hub.new, tmp_path / "model")


def add(model):
    (model / "zz-loader.py").write_bytes(b"import os")


def add_first(model):
    (model / ".aa").write_bytes(b"x")


def add_in_a_folder(model):
    (model / "sub").mkdir(exist_ok=True)
    (model / "sub/loader.py").write_bytes(b"import os")


def remove(model):
    (model / "weights").unlink()


def write(model):
    (model / "weights").write_bytes(b"evil weights")


def write_as_if_nothing_was(model):
    path = model / "weights"
    before = path.stat()
    path.write_bytes(bytes(b ^ 1 for b in path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_another_in_its_place(model):
    other = model.with_name("other-weights")
    other.write_bytes(b"evil")
    before = (model / "weights").stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(model / "weights")


def put_a_link_in_its_place(model):
    (model / "weights").rename(model.with_name("aside"))
    (model / "weights").symlink_to(model.with_name("aside"))


def put_a_pipe_in_its_place(model):
    (model / "weights").unlink()
    os.mkfifo(model / "weights")


def rename(model):
    model.rename(model.with_name("gone"))


def put_another_folder_in_its_place(model):
    shutil.copytree(model, model.with_name("evil"))
    model.rename(model.with_name("gone"))
    model.with_name("evil").rename(model)
    write_as_if_nothing_was(model)


CHANGES = [
    *(add, add_first, add_in_a_folder, remove, write, write_as_if_nothing_was, put_another_in_its_place),
    *(put_a_link_in_its_place, put_a_pipe_in_its_place, rename, put_another_folder_in_its_place),
]


@pytest.mark.parametrize("change", CHANGES)
def test_after_all_files_are_hashed(hub, proxy, model, change):
    trust, done = stored(hub.trust, proxy.url), []

    def bend(asked):
        if not done:
            change(model)
            done.append(asked)

    proxy.bend = bend
    found = outcome(lambda: check(model, name=NAME, trust=trust))
    assert done, "the service was asked"
    assert found.word == "SourceError"
    assert "it changed meanwhile" in str(found.error)


@pytest.mark.parametrize("change", CHANGES)
def test_between_two_files(tmp_path, change):
    """The first of the files is hashed, the last is not: one of each kind was read already, and one is still to come."""
    model = tmp_path / "model"
    model.mkdir()
    for name in ("aa", "weights", "zz"):
        (model / name).write_bytes(name.encode() * LARGE)
    done = []

    def progress(count, total):
        if not done and count >= total // 2:
            done.append(count)
            change(model)

    def read_and_look():
        _, _, files = read_revision(model, progress=progress, workers=1)
        look_again(files.seen)

    with pytest.raises(SourceError):
        read_and_look()
    assert done


def test_some_of_the_files(hub, proxy, model, data):
    """Of a part it is the manifest that is asked for after hashing; there, too, nobody may change what was hashed."""
    trust = stored(hub.trust, proxy.url)
    (model / "model.sig").unlink()
    question = Question(path=model, name=MODEL, partial=True)

    def ask():
        return outcome(lambda: answer(question, trust, material=TrustMaterial(), folder=data, now=NOW))

    assert ask().satisfied
    (link,) = {each for each in CHANGES if each is put_a_link_in_its_place}
    before = []

    def look(path, seen=before):
        seen.append(path)

    proxy.bend = look
    assert ask().satisfied
    assert any("/v1/evidence/" in each for each in before)
    shutil.copytree(model, model.with_name("copy"))
    found = None
    for change in (write_as_if_nothing_was, link):
        with pytest.MonkeyPatch.context() as patch:
            later(patch, change, model)
            found = ask()
        assert (found.word, "it changed meanwhile" in str(found.error)) == ("SourceError", True)
        shutil.rmtree(model)
        shutil.copytree(model.with_name("copy"), model)


def later(patch, change, model):
    """Change the files when the check of the proof is over: the last moment before the second look."""
    from ledger.client import checking

    real = checking.check_named

    def then(*arguments, **more):
        found = real(*arguments, **more)
        change(model)
        return found

    patch.setattr(checking, "check_named", then)


def touch(model):
    os.utime(model / "weights")


def give_a_second_name(model):
    os.link(model / "weights", model.with_name("second"))


def write_the_same_again(model):
    data = (model / "weights").read_bytes()
    (model / "weights").unlink()
    (model / "weights").write_bytes(data)


@pytest.mark.parametrize("change", [touch, give_a_second_name, write_the_same_again])
def test_what_moves_and_has_the_same_bytes_is_read_again_and_holds(hub, proxy, model, change):
    """As when two processes download one model: each makes hard links, which moves the times of the other's files."""
    trust, done = stored(hub.trust, proxy.url), []

    def bend(_):
        if not done:
            done.append(change(model))

    proxy.bend = bend
    assert outcome(lambda: check(model, name=NAME, trust=trust)).satisfied
    assert done


def test_on_the_command_line_it_is_no_result(hubledger, hub, proxy, model):
    assert hubledger("trust", "add", proxy.url)[0] == 0
    proxy.bend = lambda asked: add(model) if asked.startswith("/v1/check") else None
    code, _, err = hubledger("verify", model, "--name", NAME)
    assert code == 51
    assert (
        f"second look at {model}: expected what was there when it was read, got names that were added, removed or made links: "
        "it changed meanwhile. Let whoever writes there finish, or copy the model to a folder of your own, then check that"
    ) in err


def test_the_files_of_a_proof_at_hand(hubledger, hub, proxy, model, tmp_path, monkeypatch):
    """`verify --proof --model` has no network: the moment is while other files are hashed."""
    from ledger.verification import second_look

    proof, trust = tmp_path / "proof", hub.ledger / "trust.toml"
    assert hubledger("proof", hub.ledger, "3", "-o", proof)[0] == 0
    arguments = ("verify", "--proof", proof, "--trust", trust, "--model", model)
    assert hubledger(*arguments)[0] == 0
    real = second_look.walk
    monkeypatch.setattr(second_look, "walk", lambda path: (write(model), real(path))[1])
    assert hubledger(*arguments)[0] == 51
