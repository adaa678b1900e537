"""Where monitors' statements come from: addresses that answer, lie or are away, and the link to the checkpoint."""

import dataclasses

from ledger.client.monitor_source import add_parts, hear_monitors, link_statements
from ledger.client.proof_bundle import ProofBundle, parse_bundle
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.vouching import Stated, Unheard
from ledger.errors import NotFoundError, SourceError
from ledger.open_findings import MAX_PART_BYTES
from tests.ledger.client.test_named import NAME
from tests.ledger.client.test_vouching import OPEN, divided, make_world
from tests.world import NOW

WORLD = make_world()


def trust(*names):
    monitors = tuple(
        TrustedMonitor(key=WORLD.monitor(name).verifier, max_age=60, url=f"https://{name}/hub/statement")
        for name in names
    )
    return WORLD.trust(monitors=monitors)


def web(**answers):
    """Addresses that answer; every other is away."""

    def connect(base):
        def fetch(name, /, *, max_bytes):
            assert name == "statement"
            host = base.removeprefix("https://").removesuffix("/hub")
            if host not in answers:
                raise SourceError("GET", expected="an answer", actual="none")
            return answers[host]

        return fetch

    return connect


def test_each_monitor_is_asked_and_one_that_is_away_is_remembered():
    m1, old = WORLD.stated(name="m1"), Stated(note=WORLD.stated(name="m2", size=3), consistency=())
    heard = hear_monitors(trust("m1", "m2"), [old], connect=web(m1=m1))
    assert heard[:2] == (Stated(note=m1), Stated(note=old.note))
    assert [each.unheard.monitor for each in heard[2:]] == ["m2"]


def test_one_that_is_away_says_why_to_the_check_and_to_nobody_later():
    """A wrong url in the trust file would otherwise look like a monitor that says nothing."""
    old = Stated(note=WORLD.stated(name="m1"))
    why = Stated(unheard=Unheard(monitor="m1", why="GET: expected an answer, got none"))
    assert hear_monitors(trust("m1"), connect=web()) == (why,)
    assert hear_monitors(trust("m1"), [old], connect=web()) == (old, why)
    bundle = ProofBundle(name=NAME, proof=WORLD.proof(4), claims=(), fetched_at=NOW, stated=(old, why))
    assert parse_bundle(bundle.format()).stated == (old,)


def test_what_a_monitors_key_did_not_sign_never_replaces_what_it_did():
    """Whoever answers at the address could otherwise make a finding go away."""
    old, lie = Stated(note=WORLD.stated(name="m1")), WORLD.stated(name="stranger")
    assert hear_monitors(trust("m1"), [old], connect=web(m1=lie)) == (old, Stated(note=lie))
    page = hear_monitors(trust("m1"), connect=web(m1=b"<html>" * 9999))
    assert [len(each.note) for each in page] == [4096]


def test_an_older_word_never_replaces_a_newer_one_that_was_heard():
    """Whoever answers at the address may have kept what the monitor signed before its finding."""
    before, since = WORLD.stated(name="m1", at=NOW - 50), Stated(note=WORLD.stated(name="m1", at=NOW - 20))
    assert since in hear_monitors(trust("m1"), [since], connect=web(m1=before))
    now = WORLD.stated(name="m1", at=NOW - 10)
    assert hear_monitors(trust("m1"), [since], connect=web(m1=now)) == (Stated(note=now),)


def test_a_kept_word_of_a_monitor_that_is_not_trusted_any_more_is_dropped():
    heard = hear_monitors(trust("m1"), [Stated(note=WORLD.stated(name="m2"))], connect=web())
    assert [each.note for each in heard] == [b""]


class Service:
    """A log that may publish between two requests."""

    def __init__(self, world, *growing):
        self.world, self.growing, self.asked = world, list(growing), []

    def __call__(self, index, since):
        self.asked.append(since)
        if self.growing:
            self.world.grow(self.growing.pop(0))
        return self.world.proof(index, since=since)

    def bundle(self):
        return ProofBundle(name=NAME, proof=self.world.proof(4), claims=(), fetched_at=NOW)


def linked(service, *sizes, since=None):
    stated = [Stated(note=service.world.stated(name="m1", size=each)) for each in sizes]
    return link_statements(service.bundle(), stated, trust("m1"), since=since, ask=service)


def consistent(bundle, world):
    return [each.consistency is not None for each in bundle.stated]


def test_statements_are_linked_to_the_checkpoint_of_the_proof():
    service = Service(make_world())
    found = linked(service, 5, 6, 7)
    assert consistent(found, service.world) == [True, True, False]
    assert service.asked == [5, 6]


def test_a_log_that_grows_meanwhile_is_asked_again():
    service = Service(make_world(), 1)
    found = linked(service, 6, since=3)
    assert consistent(found, service.world) == [True]
    assert service.asked == [6, 3, 6]
    assert found.proof == service.world.proof(4, since=3)


def test_a_log_that_always_grows_is_not_asked_for_ever():
    service = Service(make_world(), *[1] * 99)
    assert consistent(linked(service, 6), service.world) == [False]
    assert len(service.asked) == 6


def test_a_service_that_stops_answering_leaves_the_statement_unlinked():
    def away(index, since):
        raise SourceError("GET", expected="an answer", actual="none")

    bundle = Service(make_world()).bundle()
    stated = Stated(note=WORLD.stated(name="m1", size=6))
    found = link_statements(bundle, [stated], trust("m1"), since=None, ask=away)
    assert (found.proof, found.stated) == (bundle.proof, (stated,))


class Folder:
    """What a monitor publishes, at one address; it notes what is asked for."""

    def __init__(self, files):
        self.files, self.asked = files, []

    def __call__(self, base):
        assert base == "https://m1/hub"

        def fetch(name, /, *, max_bytes):
            assert max_bytes == MAX_PART_BYTES
            folder, _, part = name.partition("/")
            assert folder == "statement-parts"
            self.asked.append(part)
            if part not in self.files:
                raise NotFoundError("GET", expected="an object", actual="404")
            return self.files[part]

        return fetch


def bundle_of(*stated):
    return ProofBundle(name=NAME, proof=WORLD.proof(4), claims=(), fetched_at=NOW, stated=stated)


def test_only_the_parts_of_the_model_are_asked_for_and_none_that_was_kept():
    """The monitor hears how the digests of the model's two histories begin, once."""
    found, parts = divided()
    folder = Folder(found.files)
    said = Stated(note=WORLD.stated(name="m1", found=found))
    bundle = add_parts(bundle_of(said), trust("m1"), connect=folder)
    assert bundle.stated == (dataclasses.replace(said, parts=tuple(parts)),)
    assert sorted(folder.asked) == sorted(name for name, data in found.files.items() if data in parts)
    later, after = divided(**{"name:acme/later": OPEN})
    said = Stated(note=WORLD.stated(name="m1", found=later))
    folder = Folder(later.files)
    assert add_parts(bundle_of(said), trust("m1"), bundle.stated, connect=folder).stated[0].parts == tuple(
        after
    )
    assert len(folder.asked) == len(set(after) - set(parts)) < 2


def test_a_part_that_does_not_come_or_is_another_is_missing_and_the_check_hears_why():
    found, parts = divided()
    said = Stated(note=WORLD.stated(name="m1", found=found))
    names = {data: name for name, data in found.files.items()}
    some = {names[parts[0]]: parts[0], names[parts[1]]: parts[0]}
    for files, why in ((some, f"part of a monitor's list: expected SHA-256 {names[parts[1]]}"), ({}, "GET")):
        here, *silent = add_parts(bundle_of(said), trust("m1"), connect=Folder(files)).stated
        assert here.parts == tuple(files.values())[:1]
        assert {each.unheard.monitor for each in silent} == {"m1"}
        assert all(each.unheard.why.startswith(why) for each in silent)


def test_of_a_monitor_without_an_address_no_part_is_asked_for():
    found, _ = divided()
    said = Stated(note=WORLD.stated(name="m1", found=found))
    (monitor,) = trust("m1").monitors
    at_home = WORLD.trust(monitors=(dataclasses.replace(monitor, url=None),))
    here, *silent = add_parts(bundle_of(said), at_home).stated
    assert (here, {each.unheard.why for each in silent}) == (
        said,
        {"the trust file has no address of this monitor"},
    )


def test_for_what_lists_everything_nobody_is_asked():
    said = Stated(note=WORLD.stated(name="m1", findings={f"name:{NAME}": OPEN}))
    folder = Folder({})
    assert add_parts(bundle_of(said, Stated(note=b"<html>")), trust("m1"), connect=folder).stated == (
        said,
        Stated(note=b"<html>"),
    )
    assert folder.asked == []
