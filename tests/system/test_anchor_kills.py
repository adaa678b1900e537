"""A process that anchors is killed at every step: no anchor is lost, and none is logged that is not stored."""

import base64
import json
import random
import subprocess
import sys

from tests.anchors import new_ledger, settings, trust_of
from tests.conftest import REPOSITORY
from tests.fakes.rekor import FakeRekor

KILLS = 10


def run_and_kill(folder, run, lines):
    """Run a child until it has printed so many lines, then kill it; returns the last of them."""
    command = [sys.executable, "-m", "tests.system.anchor_child", str(folder), str(run)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
    return said[-1].strip()


def test_anchors_survive_kills_at_every_step(tmp_path):
    rekor, chance = FakeRekor(), random.Random(6)
    with rekor.serve() as url:
        ledger = new_ledger(tmp_path).configure(**settings(trust_of(tmp_path, rekor, url)))
        ledger.configure(interval=1.0)
        where = {run_and_kill(ledger.folder, run, chance.randrange(1, 20)) for run in range(KILLS)}
        assert len(where) > 3, where
        ledger.record("last")
        ledger.anchor()
        anchors = ledger.list().anchors
    assert ledger.problems() == []
    assert {each.state for each in anchors} == {"logged"}
    digests = [digest_of(entry) for entry in rekor.tree.entries]
    assert len(set(digests)) == len(digests)  # none twice
    assert {each.signed.digest for each in anchors} == set(digests)  # and each is known here
    assert [each.checkpoint.checkpoint.size for each in anchors][-1] == ledger.record("x")["leafIndex"]


def digest_of(body):
    return base64.b64decode(json.loads(body)["spec"]["hashedRekordV002"]["data"]["digest"])
