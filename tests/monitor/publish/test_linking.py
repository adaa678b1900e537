"""A published proof is brought to the tree of the published statement, by what other published proofs show."""

import random

import pytest

from cli.verify_input import read_statements
from ledger.client.result import LogResult
from ledger.client.stated_files import stated_beside
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.verify import check_proof
from ledger.errors import MalformedError, ProofError
from ledger.log.fetch import fetch_from_folder
from ledger.open_findings import MAX_HISTORIES
from ledger.tlog.signed_note import VerifierKey
from monitor.publish import layout
from monitor.publish.linking import link_proof
from monitor.publish.packs import fetch_proof, format_pack
from tests.monitor.publish.scene import Publication, found_everywhere
from tests.world import NOW, World, key_signer, signed_by

A = signed_by(key_signer("a"))


def lay_out(folder, world, covers, *, first=0):
    """Write packs as a monitor does that published at each of these sizes, and the newest checkpoint and statement."""
    proofs = {}
    done = first
    for size in covers:
        proofs |= {at: world.proof(at, size=size) for at in range(done, size)}
        done = size
    for at in range(first // layout.PACK * layout.PACK, done, layout.PACK):
        path = folder / layout.pack(at)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            format_pack({each: proofs[each] for each in range(max(first, at), min(at + layout.PACK, done))})
        )
    (folder / layout.CHECKPOINT).write_bytes(world.checkpoint(done))
    (folder / layout.STATEMENT).write_bytes(world.stated(size=done))
    return fetch_from_folder(folder)


def linked_to(fetch, leaf_index):
    return link_proof(fetch, fetch_proof(fetch, leaf_index)[1])


def check(world, linked):
    monitor = TrustedMonitor(key=world.monitor("monitor.example").verifier, max_age=100)
    trust = world.trust(require="audited", monitors=(monitor,))
    stated = stated_beside(linked.proof, [linked.statement], trust)
    return check_proof(linked.proof, trust=trust, now=NOW, log_only=True, stated=stated)


def test_whatever_covered_an_entry_it_is_linked_to_every_later_tree(tmp_path):
    chosen = random.Random(5)
    world = World().grow(40)
    for number in range(60):
        size = chosen.randint(1, 40)
        first = chosen.randint(0, size - 1)
        covers = sorted({size, *(chosen.randint(first + 1, size) for _ in range(chosen.randint(0, 6)))})
        fetch = lay_out(tmp_path / str(number), world, covers, first=first)
        for at in range(first, size):
            result = check(world, linked_to(fetch, at))
            assert result.log_satisfied, (first, covers, at)
            assert (result.leaf_index, result.checkpoint.checkpoint.size) == (at, size)


def test_a_log_of_several_packs_costs_one_fetch_for_each_subtree_beside_the_path(tmp_path):
    world = World().grow(700)
    read = lay_out(tmp_path, world, [1, 70, 300, 301, 700])
    asked = []

    def fetch(path, *, max_bytes):
        asked.append(path)
        return read(path, max_bytes=max_bytes)

    assert check(world, linked_to(fetch, 0)).log_satisfied
    assert asked.pop(0) == layout.pack(0)
    assert len(asked) == len(set(asked)), "nothing is fetched twice"
    # The statement, the checkpoint, and the packs up to 64, 128, 512 and 640, and the last one. The proof of the
    # entry before 128 was made for a tree of 300, and shows what lies up to 256 as well.
    assert len(asked) == 2 + 5


def test_what_the_monitor_publishes_in_several_rounds_is_linked(tmp_path):
    published = Publication(tmp_path).begin()
    for at in range(9):
        published.hub.record(A, name=f"acme/{at}")
    for size in (2, 3, 7, 9):
        published.step(size)
    key = VerifierKey.parse(published.vkey.format())
    trust = published.hub.world.trust(require="audited", monitors=(TrustedMonitor(key=key, max_age=60),))
    before = published.read(layout.of_model("models", "acme/1", layout.LATEST_PROOF))
    statement = published.read("models/statement")
    stated = stated_beside(before, [statement], trust)
    old = check_proof(before, trust=trust, now=published.now, log_only=True, stated=stated)
    assert not old.log_satisfied, "the proof is of the tree that first covered its entry"
    for at in range(9):
        linked = linked_to(fetch_from_folder(published.public / "models"), at)
        assert linked.statement == statement
        stated = stated_beside(linked.proof, [linked.statement], trust)
        result = check_proof(linked.proof, trust=trust, now=published.now, log_only=True, stated=stated)
        assert (result.log, result.log_satisfied) == (LogResult.INCLUDED_ONLY, True)


@pytest.mark.parametrize("which", ["the entry's own", "that of another"])
def test_a_proof_of_another_tree_leads_nowhere(tmp_path, which):
    world = World().grow(8)
    fetch = lay_out(tmp_path, world, [1, 4, 8])
    other = world.fork(0).grow(4, "elsewhere")
    proofs = {at: world.proof(at, size=8) for at in range(8)} | {
        at: world.proof(at, size=at + 1) for at in (0, 1)
    }
    proofs |= {0: other.proof(0, size=4)} if which == "the entry's own" else {3: other.proof(3, size=4)}
    (tmp_path / layout.pack(0)).write_bytes(format_pack(proofs))
    with pytest.raises(ProofError):
        linked_to(fetch, 0)


def test_parts_of_the_statements_list_come_with_it_those_of_the_model_and_no_other(tmp_path):
    published = Publication(tmp_path).begin()
    for at in range(3):
        published.hub.record(A, name=f"acme/{at}")
        published.step()
    found_everywhere(published, MAX_HISTORIES + 1)
    published.step()
    linked = linked_to(fetch_from_folder(published.public / "models"), 1)
    statement = published.statement()
    (part,) = statement.parts_for(["name:acme/1"])
    assert linked.parts == {part.name: published.read(f"models/statement-parts/{part.name}")}
    folder = tmp_path / "copied"
    folder.mkdir()
    (folder / "said").write_bytes(linked.statement)
    key = VerifierKey.parse(published.vkey.format())
    trust = published.hub.world.trust(require="audited", monitors=(TrustedMonitor(key=key, max_age=60),))

    def satisfied():
        stated = read_statements([folder / "said"], linked.proof, trust)
        return check_proof(
            linked.proof, trust=trust, now=published.now, log_only=True, stated=stated
        ).log_satisfied

    assert not satisfied()
    (folder / "said-parts").mkdir()
    for name, data in linked.parts.items():
        (folder / "said-parts" / name).write_bytes(data)
    assert satisfied()


def test_another_part_than_the_statement_names_is_not_taken(tmp_path):
    published = Publication(tmp_path).begin()
    published.hub.record(A, name="acme/1")
    published.step()
    found_everywhere(published, MAX_HISTORIES + 1)
    published.step()
    (part,) = published.statement().parts_for(["name:acme/1"])
    (published.public / "models/statement-parts" / part.name).write_bytes(b"")
    with pytest.raises(MalformedError, match="as signed"):
        linked_to(fetch_from_folder(published.public / "models"), 0)
