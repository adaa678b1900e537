"""The proof that was kept for when the hub is away: nothing that a liar answers takes its place."""

import json
import shutil

import httpx
import pytest

from tests.client_faults.hub import MODEL, NAME
from tests.client_faults.lies import as_bytes
from tests.world import World, make_event


def verify(hubledger, hub, trust, *more):
    code, out, err = hubledger("verify", hub.new, "--name", NAME, "--trust", trust, "--json", *more)
    return code, json.loads(out or err)


def bent(value, how):
    proof = value["proof"]
    return {
        "a letter changed": {**value, "proof": proof.replace("index 3", "index 2")},
        "cut off": {**value, "proof": proof[: len(proof) // 2]},
        "nothing": {**value, "proof": ""},
        "signed by somebody else": {**value, "proof": stranger()},
    }[how]


def stranger():
    world = World().grow(2)
    return world.proof(world.record(make_event(name=MODEL))).decode()


@pytest.mark.parametrize(
    "how", ["a letter changed", "cut off", "nothing", "signed by somebody else", "of another model"]
)
def test_a_lie_does_not_take_the_place_of_what_was_kept(hubledger, hub, service, proxy, data, tmp_path, how):
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    assert verify(hubledger, hub, trust, "--url", proxy.url)[0] == 0
    before = {each.name: each.read_bytes() for each in (data / "proofs").glob("*.json")}
    value = json.loads(next(each for asked, each in proxy.heard.items() if asked.startswith("/v1/check")))
    if how == "of another model":
        told = {**value, "proof": httpx.get(f"{service}/v1/entries/2/proof").text}
    else:
        told = bent(value, how)
    assert told != value
    proxy.bend = lambda _: (200, as_bytes(told))
    assert verify(hubledger, hub, trust, "--url", proxy.url)[0] == 13
    assert {each.name: each.read_bytes() for each in (data / "proofs").glob("*.json")} == before
    code, facts = verify(hubledger, hub, trust, "--offline")
    assert (code, facts["model"]) == (0, "ACCEPTED")


def test_a_newer_one_takes_its_place(hubledger, hub, service, early, data, tmp_path):
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    arguments = ("verify", hub.old, "--name", NAME, "--trust", trust)
    assert hubledger(*arguments, "--url", early)[0] == 0
    assert hubledger(*arguments, "--url", service)[0] == 0
    code, out, _ = hubledger(*arguments, "--offline", "--json")
    assert (code, json.loads(out)["checkpoint"]["size"]) == (0, 4)
    shutil.rmtree(data / "proofs")
    assert hubledger(*arguments, "--offline")[0] == 34


def test_an_older_answer_does_not_take_the_place_of_a_newer_one(hubledger, hub, service, early, tmp_path):
    """A service that lags, or one that replays what another said before."""
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    arguments = ("verify", hub.old, "--name", NAME, "--trust", trust)
    assert hubledger(*arguments, "--url", service)[0] == 0
    assert hubledger(*arguments, "--url", early)[0] == 0
    code, out, _ = hubledger(*arguments, "--offline", "--json")
    assert (code, json.loads(out)["checkpoint"]["size"]) == (0, 4)


def test_a_proof_of_other_files_does_not_take_the_place_of_that_of_these(
    hubledger, hub, service, proxy, tmp_path
):
    """The hub's own proof of another revision, answered to who has this one."""
    trust = tmp_path / "trust.toml"
    trust.write_bytes(hub.trust)
    assert verify(hubledger, hub, trust, "--url", proxy.url)[0] == 0
    value = json.loads(next(each for asked, each in proxy.heard.items() if asked.startswith("/v1/check")))
    older = {**value, "proof": httpx.get(f"{service}/v1/entries/1/proof").text}
    assert older != value
    proxy.bend = lambda _: (200, as_bytes(older))
    assert verify(hubledger, hub, trust, "--url", proxy.url)[0] == 22
    code, facts = verify(hubledger, hub, trust, "--offline")
    assert (code, facts["model"]) == (0, "ACCEPTED")
