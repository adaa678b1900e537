"""Statements that were handed over as files: each has the link that the proof carries, where it is of its size."""

import dataclasses
import hashlib

import pytest

from cli.verify_input import read_statements
from ledger.client.stated_files import stated_beside
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.verify import check_proof
from ledger.open_findings import MAX_PART_BYTES
from tests.ledger.client.test_vouching import KEYS, OPEN, divided, make_world
from tests.world import NOW

WORLD = make_world(9)


def trust(*names):
    monitors = tuple(TrustedMonitor(key=WORLD.monitor(name).verifier, max_age=60) for name in names)
    return WORLD.trust(require="audited", monitors=monitors)


def check(proof, *notes, names=("monitor.example",)):
    stated = stated_beside(proof, notes, trust(*names))
    return check_proof(proof, trust=trust(*names), now=NOW, log_only=True, stated=stated)


@pytest.mark.parametrize("size", [5, 8, 9])
def test_a_proof_that_leads_back_to_the_size_of_the_statement_is_linked_to_it(size):
    proof = WORLD.proof(4, since=size)
    assert check(proof, WORLD.stated(size=size)).log_satisfied


def test_a_link_to_another_size_counts_for_no_statement():
    result = check(WORLD.proof(4, since=6), WORLD.stated(size=7))
    assert not result.log_satisfied
    assert result.failure.actual == "one of size 7, not linked: no consistency proof between them"


def test_a_link_that_does_not_hold_is_none():
    proof, size = WORLD.unformatted_proof(4), 7
    wrong = WORLD.fork(0).grow(9, "elsewhere").proof(4, since=size)
    (stated,) = stated_beside(wrong, [WORLD.stated(size=size)], trust("monitor.example"))
    (right,) = stated_beside(WORLD.proof(4, since=size), [stated.note], trust("monitor.example"))
    assert stated.consistency != right.consistency
    assert stated.consistency is not None
    result = check_proof(
        WORLD.proof(4), trust=trust("monitor.example"), now=NOW, log_only=True, stated=[stated]
    )
    assert proof.index == 4
    assert not result.log_satisfied


def test_each_monitor_is_heard_by_its_own_statement():
    names = ("m1.example", "m2.example")
    notes = [WORLD.stated(name="m2.example", size=7), WORLD.stated(name="m1.example")]
    assert check(WORLD.proof(4, since=7), *notes, names=names).log_satisfied
    assert not check(WORLD.proof(4, since=7), notes[0], names=names).log_satisfied


@pytest.mark.parametrize("note", [b"", b"no note at all", b"x" * (600 << 10)])
def test_what_is_no_statement_is_shown_by_the_check_and_stops_nothing_before(note):
    result = check(WORLD.proof(4), note)
    assert result.failure.step == "monitor monitor.example"
    assert not result.log_satisfied


@pytest.mark.parametrize("extra", [None, b"\xff not json"])
def test_a_proof_that_carries_no_link_links_nothing(extra):
    from ledger.tlog.proof import format_proof

    proof = format_proof(dataclasses.replace(WORLD.unformatted_proof(4), extra=extra))
    (stated,) = stated_beside(proof, [WORLD.stated()], trust("monitor.example"))
    assert stated.consistency is None


def lay_beside(folder, *, missing=(), **findings):
    """A statement whose list is in parts of two, and these beside it, as a monitor publishes them."""
    found, needed = divided(**findings)
    path = folder / "said"
    path.write_bytes(WORLD.stated(found=found))
    for name, data in found.files.items():
        part = folder / "said-parts" / name
        part.parent.mkdir(exist_ok=True)
        if name not in missing:
            part.write_bytes(data)
    return path, [folder / "said-parts" / hashlib.sha256(each).hexdigest() for each in needed]


def check_file(path, **monitor):
    trusted = TrustedMonitor(key=WORLD.monitor("monitor.example").verifier, max_age=60, **monitor)
    trust_file = WORLD.trust(require="audited", monitors=(trusted,))
    proof = WORLD.proof(4)
    stated = read_statements([path], proof, trust_file)
    return check_proof(proof, trust=trust_file, now=NOW, log_only=True, stated=stated)


def test_parts_of_a_list_are_read_from_beside_the_file_and_no_more_than_the_event_needs(tmp_path):
    path, needed = lay_beside(tmp_path)
    for each in set((tmp_path / "said-parts").iterdir()) - set(needed):
        each.write_bytes(b"nobody reads it")
    assert check_file(path).log_satisfied
    opened = tmp_path / "opened"
    opened.mkdir()
    path, _ = lay_beside(opened, **{KEYS[1]: OPEN})
    result = check_file(path)
    assert (result.log_satisfied, result.failure.actual) == (False, f"open for this model: {OPEN}")


def test_a_part_that_is_not_beside_the_file_is_named_with_where_to_get_it(tmp_path):
    path, needed = lay_beside(tmp_path)
    needed[1].unlink()
    result = check_file(path, url="https://m1/hub/statement")
    name = needed[1].name
    assert not result.log_satisfied
    assert result.failure.actual == f"none: object said-parts/{name}: expected a stored object, got nothing"
    step = result.failure.next_step
    assert step.startswith(f"Copy https://m1/hub/statement-parts/{name} to {needed[1]}, or take")
    assert "hubledger proof ADDRESS/LOG 4 --published --statement FILE" in step
    assert f"Copy the address of its statement-parts/{name}" in check_file(path).failure.next_step


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "part of a monitor's list: expected SHA-256 "),
        (bytes(MAX_PART_BYTES + 1), f"object said-parts/<name>: expected at most {MAX_PART_BYTES} bytes"),
        (None, "reading object said-parts/<name>: expected readable bytes"),
    ],
)
def test_another_part_than_the_monitor_signed_is_refused(tmp_path, data, why):
    path, needed = lay_beside(tmp_path)
    needed[0].unlink()
    if data is None:
        needed[0].mkdir()
    else:
        needed[0].write_bytes(data)
    result = check_file(path)
    assert not result.log_satisfied
    assert result.failure.actual.startswith("none: " + why.replace("<name>", needed[0].name))
    assert str(needed[0]) in result.failure.next_step
