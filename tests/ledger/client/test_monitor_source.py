"""Where monitors' statements come from: addresses that answer, lie or are away, and the link to the checkpoint."""

from ledger.client.monitor_source import hear_monitors, link_statements
from ledger.client.proof_bundle import ProofBundle, parse_bundle
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.vouching import Stated, Unheard
from ledger.errors import SourceError
from tests.ledger.client.test_named import NAME
from tests.ledger.client.test_vouching import make_world
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
