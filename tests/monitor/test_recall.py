"""What is loaded for a run of entries: all that they are held against, however the run is cut."""

import pytest

from monitor.detect import Detector
from monitor.findings import Kind
from monitor.known import Context
from monitor.reads import read_entry
from monitor.recall import recall
from tests.monitor.hub import Hub
from tests.monitor.test_follow import A, B
from tests.monitor.test_state import To, state  # noqa: F401  # a fixture


def uploads():
    """A signs in two namespaces; then somebody else signs one of these models, and A again."""
    hub = Hub()
    for at, (signer, name) in enumerate(
        [(A, "acme/x"), (A, "other/y"), (A, "acme/x"), (B, "acme/x"), (A, "acme/x"), (A, "third/z")]
    ):
        hub.record(signer, name=name, revision=str(at))
    return hub


@pytest.mark.parametrize("length", [1, 2, 3, 4, 6])
def test_the_same_is_found_and_remembered_however_the_runs_are_cut(state, length):  # noqa: F811
    hub = uploads()
    context = Context(log="models", trust=hub.world.trust())
    entries, found = hub.world.entries, []
    for start in range(0, len(entries), length):
        reads = [read_entry(each, at) for at, each in enumerate(entries[start : start + length], start)]
        known = recall(state, "models", reads)
        found += Detector(context, known).run(reads)
        state.settle("models", known=known, findings=(), logged=(), routes=To(), now=100)
    shared = [(each.leaf_index, each.model) for each in found if each.kind is Kind.SIGNER_SHARED]
    assert shared == [(1, "other/y"), (5, "third/z")]
    last = read_entry(entries[5], 5)
    noted = state.notes("models", last.notes).values()
    assert [each["namespaces"] for each in noted] == [["acme", "other", "third"]]


def test_notes_of_a_signer_are_asked_for_where_somebody_else_signed_before(state):  # noqa: F811
    hub = uploads()
    context = Context(log="models", trust=hub.world.trust())
    reads = [read_entry(each, at) for at, each in enumerate(hub.world.entries)]
    for read in reads[:2]:
        known = recall(state, "models", [read])
        Detector(context, known).run([read])
        state.settle("models", known=known, findings=(), logged=(), routes=To(), now=100)
    assert recall(state, "models", [reads[2]]).notes == {}, "who goes on signing is known"
    assert len(recall(state, "models", reads[2:5]).notes) == 1, "B in between: A's are needed too"
