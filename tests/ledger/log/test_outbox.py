"""The outbox: what is accepted is durable and in order, and becomes logged whatever the log does meanwhile."""

import contextlib
import hashlib
import json
import pathlib
import random
import threading
import time
from dataclasses import dataclass, field, replace

import pytest

from ledger.bundle.bodies import SignedPayload, hashedrekord_v2
from ledger.embedded.remote import format_logged
from ledger.encoding import format_base64, parse_base64, parse_json
from ledger.entry import keyid_of
from ledger.errors import (
    ConfigError,
    ConflictError,
    CorruptError,
    MalformedError,
    NotFoundError,
    UsageError,
    WriteError,
)
from ledger.event.schemas import HUB_KEY
from ledger.index import Index
from ledger.log import Committed, Submission
from ledger.log.dispatch import Backoff, DispatchConfig, Dispatcher
from ledger.log.outbox import Outbox
from ledger.log.receipts import Prover, twin
from ledger.recorder import HubSigner, Recorder
from ledger.storage import outbox as storage
from ledger.storage.directory import DirectoryObjects
from ledger.storage.evidence import Evidence
from ledger.storage.outbox import OutboxStore
from tests.events import NOW, key
from tests.fakes.remote_log import FakeShard, connect_to, keys_of
from tests.ledger.test_recorder import facts
from tests.world import HUB, LEDGER, p256_key, spki_of

HUB_SPKI = spki_of(p256_key("hub"))
QUICK = Backoff(first=0.001, most=0.01, chance=lambda: 1.0)
TIMEOUT = 20.0


@dataclass
class Scene:
    """An outbox in a folder, the shards that it submits to, and a recorder that writes to it."""

    folder: pathlib.Path
    shards: list = field(default_factory=lambda: [FakeShard()])
    now: float = 1_767_323_045.0
    ticking: bool = True
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def clock(self):
        return self.now + (time.monotonic() if self.ticking else 0.0)

    def open(self):
        if not (self.folder / "outbox.db").exists():
            OutboxStore.create(self.folder / "outbox.db").close()
        self.store = OutboxStore(self.folder / "outbox.db")
        self.stack.callback(self.store.close)
        self.prover = Prover(
            shards=[each.shard for each in self.shards],
            keys=keys_of(self.shards),
            hub_keys={keyid_of(HUB_SPKI): HUB_SPKI},
        )
        self.evidence = Evidence(DirectoryObjects(self.folder / "evidence"))
        self.outbox = Outbox(self.store, self.prover, self.evidence.put, clock=self.clock)
        index = Index(self.folder / "index.db")
        self.stack.callback(index.close)
        self.recorder = Recorder(
            ledger=LEDGER,
            hub=HUB,
            log=self.outbox,
            index=index,
            signer=HubSigner(key=p256_key("hub"), keyid=keyid_of(HUB_SPKI)),
            now=lambda: NOW,
        )
        self.stack.callback(self.recorder.close)
        return self

    def reopen(self):
        self.stack.close()
        return self.open()

    def record(self, count, *, start=0, **more):
        return self.recorder.record_batch(
            [facts(f"e{at}", key("a"), revision=f"r{at}", **more) for at in range(start, start + count)]
        )

    def config(self, **changes):
        facts_ = {
            "kind": "rekor-v2",
            "shards": [each.shard for each in self.shards],
            "connect": connect_to(*self.shards),
            "in_flight": 8,
            "backoff": QUICK,
            "clock": self.clock,
        }
        return DispatchConfig(**facts_ | changes)

    def dispatching(self, **changes):
        return Dispatcher(self.outbox, self.config(**changes))

    def drain(self, **changes):
        with self.dispatching(**changes):
            return self.outbox.wait_for(range(self.outbox.size), timeout=TIMEOUT)

    def places(self):
        return [
            [each.position for each in self.outbox.fate(number).receipts]
            for number in range(self.outbox.size)
        ]


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    with scene.stack:
        yield scene.open()


def bodies(scene, numbers):
    return [body_of(scene, number) for number in numbers]


def body_of(scene, number, change=lambda signed: signed):
    (entry,) = scene.outbox.read(number, number + 1)
    signed = change(scene.prover.signed(entry))
    return hashedrekord_v2(signed.digest, signed.signature, signed.verifier)


def mirrored(signed):
    return replace(signed, signature=twin(signed.signature))


# Accepting


def test_events_are_accepted_in_order_and_chained_there(scene):
    receipts = scene.record(5)
    assert [each.leaf_index for each in receipts] == [0, 1, 2, 3, 4]
    assert [each.event.common.histories[0].sequence for each in receipts] == [0, 1, 2, 3, 4]
    assert scene.outbox.counts() == storage.Counts(accepted=5, pending=5, refused=0, dropped=0)
    scene.reopen()
    assert list(scene.outbox.read(0, 5)) == [each.entry for each in receipts]
    assert scene.outbox.size == 5
    (again,) = scene.record(1, start=4)
    assert (again.repeated, again.leaf_index) == (True, 4)
    with pytest.raises(ConflictError):
        scene.recorder.record(facts("e4", key("b"), revision="r4"))


def test_heads_survive_folding_and_restarts(scene, monkeypatch):
    monkeypatch.setattr(storage, "FOLD_AT", 3)
    for start in range(0, 20, 2):
        scene.record(2, start=start)
        if start % 6 == 0:
            scene.reopen()
    _, heads = scene.outbox.lookup([], ["name:acme/tiny"])
    assert heads["name:acme/tiny"].sequence == 19


def test_an_entry_that_is_no_statement_is_not_accepted(scene):
    with pytest.raises(MalformedError):
        scene.outbox.append([Submission(entry=b"{}")])
    assert scene.outbox.size == 0


def test_reading_goes_page_by_page(scene, monkeypatch):
    scene.record(7)
    monkeypatch.setattr(storage, "_PAGE", 2)
    assert len(list(scene.outbox.read(1, 100))) == 6


def test_an_outbox_whose_write_failed_is_not_written_any_more(scene):
    scene.record(1)
    scene.store._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(WriteError):
        scene.record(200, start=1)
    with pytest.raises(WriteError):
        scene.record(1, start=300)
    with pytest.raises(WriteError):
        scene.outbox.wait_for([0], timeout=TIMEOUT)
    scene.reopen()
    assert scene.outbox.size == 1
    assert all(not each.repeated for each in scene.record(200, start=1))


# Submitting


def test_what_is_accepted_becomes_logged_in_any_order(scene):
    scene.record(300)
    fates = scene.drain()
    (shard,) = scene.shards
    assert sorted(fate.receipts[0].position for fate in fates.values()) == [(0, at) for at in range(300)]
    assert [shard.bodies[fates[number].receipts[0].proven.leaf_index] for number in range(300)] == bodies(
        scene, range(300)
    )
    assert len(shard.sent) == 300
    assert shard.closed == 1
    assert 1 < shard.most_under_way <= 8
    assert scene.outbox.counts().logged == 300


def test_what_is_accepted_while_the_dispatcher_runs_is_submitted_at_once(scene):
    with scene.dispatching():
        for start in range(0, 30, 3):
            receipts = scene.record(3, start=start)
            fates = scene.outbox.wait_for([each.leaf_index for each in receipts], timeout=TIMEOUT)
            assert all(fate.receipts for fate in fates.values())


def test_only_stored_bytes_are_sent(scene):
    scene.record(3)
    stored = [
        SignedPayload.of_entry(parse_json(each, max_bytes=1 << 20), HUB_SPKI)
        for each in scene.outbox.read(0, 3)
    ]
    scene.shards[0].loses = 3
    scene.drain()
    assert {(each.payload, each.signature) for each in scene.shards[0].sent} == {
        (each.payload, each.signature) for each in stored
    }


def test_statements_are_kept_before_their_digests_are_logged(scene):
    scene.record(5)
    kept = []
    shard = scene.shards[0]
    shard.refuses = lambda signed: (
        kept.append(scene.evidence.get(hashlib.sha256(signed.payload).digest())) or False
    )
    scene.drain()
    assert len(kept) == 5


def test_an_answer_that_was_lost_gives_one_entry(scene):
    """The log has it; the next attempt is told where, and nothing is logged twice."""
    scene.record(20)
    scene.shards[0].loses = 20
    fates = scene.drain()
    assert len(scene.shards[0].bodies) == 20
    assert len(scene.shards[0].sent) >= 40
    assert all(len(fate.receipts) == 1 for fate in fates.values())


def test_an_outage_is_survived_and_asked_about_by_one_at_a_time(scene):
    shard = scene.shards[0]
    shard.down = True
    scene.record(50)
    with scene.dispatching():
        scene.outbox.wait_for(range(50), timeout=0.3)
        assert scene.outbox.counts().pending == 50
    # All that were under way at first, and then one after the other.
    assert 8 <= len(shard.sent) < 200
    failed = scene.store.failures()
    assert [(code, text) for code, _, text in failed] == [
        ("SourceError", "shard0.example: expected an answer, got no connection")
    ]
    scene.reopen()
    shard.down = False
    scene.outbox.retry(None)
    assert all(fate.receipts for fate in scene.drain().values())
    assert scene.store.failures() == []


def test_an_entry_that_fails_waits_longer_each_time(scene):
    shard = scene.shards[0]
    shard.down = True
    scene.ticking = False
    scene.record(1)
    waits = []
    for attempt in range(4):
        with scene.dispatching(backoff=Backoff(first=10.0, most=50.0, chance=lambda: 1.0)):
            wait_until(lambda attempt=attempt: scene.outbox.pending([0])[0].attempts == attempt + 1)
        waits.append(scene.outbox.pending([0])[0].next_attempt - scene.now)
        scene.now += waits[-1]
    assert waits == [10.0, 20.0, 40.0, 50.0]
    scene.now -= 1
    with scene.dispatching():
        scene.outbox.wait_for([0], timeout=0.1)
    assert len(shard.sent) == 4, "it was not due"


def test_a_clock_that_was_ahead_puts_nothing_off_for_good(scene):
    scene.ticking = False
    scene.record(2)
    scene.shards[0].down = True
    scene.now += 10 * 365 * 86_400
    with scene.dispatching(backoff=Backoff(first=10.0, most=50.0, chance=lambda: 1.0)):
        wait_until(lambda: all(each.attempts for each in scene.outbox.pending([0, 1]).values()))
    scene.now -= 10 * 365 * 86_400
    scene.shards[0].down = False
    assert scene.store.due(scene.now, 1, set()) == [0]
    assert all(fate.receipts for fate in scene.drain().values())


def wait_until(condition):
    done = threading.Event()
    for _ in range(10_000):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("it never happened")


@pytest.mark.parametrize(("chance", "waits"), [(0.0, [0.5, 1.0, 2.0, 2.5]), (1.0, [1.0, 2.0, 4.0, 5.0])])
def test_backoff_doubles_up_to_a_cap_with_jitter(chance, waits):
    backoff = Backoff(first=1.0, most=5.0, chance=lambda: chance)
    assert [backoff.after(failures) for failures in (1, 2, 3, 4)] == waits
    assert backoff.after(10_000) == waits[-1]


def test_a_wrong_answer_is_reported_and_asked_for_again(scene):
    shard = scene.shards[0]
    truth, lies = [], iter([bend_root, bend_index, bend_body, lambda entry: entry])

    def lie(entry):
        truth.append(entry)
        return next(lies)(entry)

    shard.lies = lie
    scene.record(1)
    seen = []
    settle = scene.outbox.settle
    scene.outbox.settle = lambda receipts, failures: (seen.extend(failures), settle(receipts, failures))
    assert scene.drain()[0].receipts[0].position == (0, 0)
    assert [each.code for each in seen] == ["SignatureError", "ProofError", "ProofError"]
    assert len(shard.bodies) == 1


def bend_root(entry):
    note = entry["inclusionProof"]["checkpoint"]["envelope"].replace("\n1\n", "\n2\n", 1)
    return entry | {"inclusionProof": entry["inclusionProof"] | {"checkpoint": {"envelope": note}}}


def bend_index(entry):
    return entry | {"logIndex": "1"}


def bend_body(entry):
    return entry | {"canonicalizedBody": format_base64(parse_base64(entry["canonicalizedBody"]) + b" ")}


def test_a_refused_entry_waits_for_a_person(scene):
    shard = scene.shards[0]
    scene.record(3)
    refused = body_of(scene, 1)
    shard.refuses = lambda signed: (
        hashedrekord_v2(signed.digest, signed.signature, signed.verifier) == refused
    )
    fates = scene.drain()
    assert fates[1].receipts == ()
    assert fates[1].pending.refused
    assert fates[1].pending.code == "RejectedError"
    assert fates[0].receipts
    assert fates[2].receipts
    scene.reopen()
    scene.drain()
    assert len(shard.sent) == 3, "it is not sent again by itself"
    shard.refuses = lambda _: False
    assert scene.outbox.retry([1]) == 1
    assert scene.drain()[1].receipts


def test_a_dropped_entry_is_not_sent_and_its_chain_goes_on(scene):
    shard = scene.shards[0]
    shard.refuses = lambda _: True
    scene.record(1)
    scene.drain()
    scene.outbox.drop(0, reason="log-refuses-it")
    shard.refuses = lambda _: False
    (after,) = scene.record(1, start=1)
    fates = scene.drain()
    assert (fates[0].dropped.reason, fates[0].receipts) == ("log-refuses-it", ())
    assert fates[1].receipts
    previous = after.event.common.histories[0].previous
    assert scene.evidence.get(previous), "the statement that a later one follows is served"
    counts = scene.outbox.counts()
    assert (counts.logged, counts.pending, counts.dropped) == (1, 0, 1)
    for number in (0, 1):
        with pytest.raises(UsageError):
            scene.outbox.drop(number, reason="again")


def test_a_frozen_shard_is_left_for_the_next_and_what_was_under_way_is_waited_for(tmp_path):
    old, new = FakeShard(0), FakeShard(1, valid_from=0)
    scene = Scene(tmp_path, shards=[old, new])
    with scene.stack:
        scene.open()
        new.shard = replace(new.shard, write_url=None)
        scene.record(10)
        scene.drain()
        assert (len(old.bodies), len(new.bodies)) == (10, 0)
        # The operator freezes the old shard; the new configuration has both, and the newest takes entries.
        new.shard = replace(new.shard, write_url="https://shard1.example")
        scene.record(10, start=10)
        scene.drain()
        assert (len(old.bodies), len(new.bodies)) == (10, 10)
        # The newest freezes: the other one that takes entries is tried, and where none does, entries wait.
        new.frozen = True
        scene.record(10, start=20)
        assert {fate.receipts[0].shard.order for fate in list(scene.drain().values())[20:]} == {0}
        old.frozen = True
        scene.record(1, start=30)
        with scene.dispatching():
            assert scene.outbox.wait_for([30], timeout=0.2)[30].pending.code == "FrozenError"


def test_the_only_shard_that_said_that_it_is_frozen_is_asked_again(scene):
    """Nobody signs that: an operator may take it back, and a gateway may have said it."""
    (shard,) = scene.shards
    shard.frozen = True
    scene.record(1)
    with scene.dispatching():
        until_true(lambda: scene.outbox.pending([0])[0].attempts)
        assert scene.outbox.pending([0])[0].code == "FrozenError"
        shard.frozen = False
        assert scene.outbox.wait_for([0], timeout=TIMEOUT)[0].receipts
    assert len(shard.bodies) == 1


def test_of_many_that_find_all_shards_frozen_each_says_so(tmp_path):
    """What one of them forgets, so that it is asked again, the others still know: none goes round for ever."""
    shards = [FakeShard(0), FakeShard(1)]
    scene = Scene(tmp_path, shards=shards)
    with scene.stack:
        scene.open()
        for each in shards:
            each.frozen = True
        scene.record(30)
        with scene.dispatching():
            until_true(lambda: all(each.attempts for each in scene.outbox.pending(range(30)).values()))
            # Those under way are answered while the dispatcher is closed.
        pending = scene.outbox.pending(range(30)).values()
        assert {each.text.partition(" got ")[2] for each in pending} == {
            "shard1.example is frozen; shard0.example is frozen"
        }
        asked = sum(len(each.sent) for each in shards)
        assert asked <= 2 * sum(each.attempts for each in pending)


def two_shards(tmp_path):
    """Two shards, of which only the first takes entries so far."""
    old, new = FakeShard(0), FakeShard(1)
    new.shard = replace(new.shard, write_url=None)
    return Scene(tmp_path, shards=[old, new]), old, new


def opened(new):
    """From now on the second one takes entries too, and so it is the one."""
    new.shard = replace(new.shard, write_url="https://shard1.example")


@pytest.mark.parametrize("how", ["the shard froze", "another shard is the newest", "after a restart"])
def test_what_was_logged_without_an_answer_is_looked_for_before_another_shard_gets_it(tmp_path, how):
    scene, old, new = two_shards(tmp_path)
    with scene.stack:
        scene.open()
        old.loses = 5
        scene.record(5)
        with scene.dispatching(backoff=Backoff(first=3600.0, most=3600.0)):
            until_true(lambda: all(each.attempts for each in scene.outbox.pending(range(5)).values()))
        opened(new)
        if how == "the shard froze":
            old.frozen = True
        if how == "after a restart":
            scene.reopen()
        scene.outbox.retry(None)
        scene.record(1, start=5)
        scene.drain()
        assert [each[0][0] for each in scene.places()] == [0, 0, 0, 0, 0, 1]
        assert (len(old.bodies), len(new.bodies), old.looked) == (5, 1, 5)
        assert scene.store.tries(range(6)) == dict.fromkeys(range(6), frozenset())


def until_true(condition):
    """Wait for something that another thread does."""
    never, deadline = threading.Event(), time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        never.wait(0.005)


def test_a_try_is_noted_before_the_first_byte_leaves(tmp_path):
    """A process that dies meanwhile leaves nothing but this note."""
    scene, old, new = two_shards(tmp_path)
    with scene.stack:
        scene.open()
        noted = []
        for each in (old, new):
            each.answer = lambda signed, each=each: (
                noted.append(scene.store.tries([0])[0]) or FakeShard.answer(each, signed)
            )
        # A shard that freezes under an entry's hands: the next one is noted as well.
        opened(new)
        new.frozen = True
        scene.record(1)
        scene.drain()
        assert noted == [{1}, {0}], "what a shard says that it did not take need not be looked for there"
        assert scene.places() == [[(0, 0)]]


@pytest.mark.parametrize("how", ["frozen", "refuses"])
def test_what_a_shard_did_not_take_is_not_looked_for_there(tmp_path, how):
    """Its read address may be gone with it, and nobody is to wait for that."""
    scene, old, new = two_shards(tmp_path)
    with scene.stack:
        scene.open()
        old.unreadable = True
        if how == "frozen":
            old.frozen = True
        else:
            old.refuses = lambda _: True
        scene.record(1)
        with scene.dispatching(backoff=Backoff(first=3600.0, most=3600.0)):
            until_true(lambda: scene.outbox.pending([0])[0].attempts)
        assert scene.store.tries([0]) == {0: frozenset()}
        opened(new)
        scene.outbox.retry(None)
        scene.drain()
        assert scene.places() == [[(1, 0)]]
        assert old.looked == 0


def test_what_may_be_in_a_shard_that_does_not_answer_is_not_submitted_to_another(tmp_path):
    scene, old, new = two_shards(tmp_path)
    with scene.stack:
        scene.open()
        old.loses = 1
        scene.record(1)
        with scene.dispatching(backoff=Backoff(first=3600.0, most=3600.0)):
            until_true(lambda: scene.outbox.pending([0])[0].attempts)
        opened(new)
        old.unreadable = True
        scene.outbox.retry(None)
        scene.record(1, start=1)
        with scene.dispatching():
            assert scene.outbox.wait_for([1], timeout=TIMEOUT)[1].receipts
            assert scene.outbox.wait_for([0], timeout=0.2)[0].pending.code == "SourceError"
        assert len(new.bodies) == 1
        old.unreadable = False
        scene.drain()
        assert scene.places() == [[(0, 0)], [(1, 0)]]


def test_a_shard_is_told_which_entries_it_may_have_already(tmp_path):
    """As Rekor v1 needs to know, which may have gone on with another tree; also after a restart."""
    scene = Scene(tmp_path)
    with scene.stack:
        scene.open()
        (shard,) = scene.shards
        shard.loses = 2
        scene.record(2)
        with scene.dispatching(backoff=Backoff(first=3600.0, most=3600.0)):
            until_true(lambda: all(each.attempts for each in scene.outbox.pending(range(2)).values()))
        assert shard.again == 0
        scene.reopen()
        scene.outbox.retry(None)
        scene.record(1, start=2)
        scene.drain()
        assert (shard.again, len(shard.bodies)) == (2, 3)


def test_what_was_never_tried_is_looked_for_nowhere(tmp_path):
    scene, old, new = two_shards(tmp_path)
    with scene.stack:
        scene.open()
        opened(new)
        scene.record(5)
        scene.drain()
        assert (old.looked, new.looked, new.again, len(new.bodies)) == (0, 0, 0, 5)


def test_an_entry_that_is_dropped_while_it_waits_in_the_queue_is_not_sent(tmp_path):
    scene = Scene(tmp_path)
    with scene.stack:
        scene.open()
        shard = scene.shards[0]
        shard.gate = threading.Event()
        scene.record(3)
        with scene.dispatching(in_flight=1):
            until_true(lambda: shard.under_way)
            scene.outbox.drop(1, reason="a-mistake")
            scene.outbox.drop(2, reason="a-mistake")
            shard.gate.set()
            scene.record(1, start=3)
            scene.outbox.wait_for(range(4), timeout=TIMEOUT)
        assert [bool(each) for each in scene.places()] == [True, False, False, True]
        assert len(shard.sent) == 2


def test_a_shard_counts_between_its_dates(tmp_path):
    old, new = FakeShard(0, valid_until=2000), FakeShard(1, valid_from=1000)
    scene = Scene(tmp_path, shards=[old, new], now=500.0, ticking=False)
    with scene.stack:
        scene.open()
        scene.record(1)
        scene.drain()
        scene.now = 1000.0
        scene.record(1, start=1)
        scene.drain()
    assert (len(old.bodies), len(new.bodies)) == (1, 1)


def test_what_is_logged_is_found_although_no_shard_takes_entries_now(tmp_path):
    """Its answer was lost, and then the clock went wrong, or the shard's time was over."""
    shard = FakeShard(0, valid_until=2000)
    scene = Scene(tmp_path, shards=[shard], now=1000.0, ticking=False)
    with scene.stack:
        scene.open()
        shard.loses = 1
        scene.record(1)
        with scene.dispatching(backoff=Backoff(first=3600.0, most=3600.0)):
            until_true(lambda: scene.outbox.pending([0])[0].attempts)
        scene.now = 3000.0
        scene.outbox.retry(None)
        scene.record(1, start=1)
        with scene.dispatching(backoff=Backoff(first=3600.0, most=3600.0)):
            assert scene.outbox.wait_for([0], timeout=TIMEOUT)[0].receipts
            until_true(lambda: scene.outbox.pending([1])[1].attempts)
        assert scene.places() == [[(0, 0)], []]
        assert (len(shard.bodies), shard.looked) == (1, 1), "what was never sent is looked for nowhere"
        assert scene.outbox.pending([1])[1].text == (
            "shards of rekor-v2: expected one that takes entries at 1970-01-01T00:50:00Z, by this machine's clock, "
            "got shard0.example ended at 1970-01-01T00:33:20Z"
        )


def test_an_entry_goes_to_no_shard_before_the_one_in_which_its_key_begins(tmp_path):
    """A clock that was ahead had the key announced in the next shard; set right, it names the one before again."""
    old, new = FakeShard(0), FakeShard(1, valid_from=1000)
    scene = Scene(tmp_path, shards=[old, new], now=500.0, ticking=False)
    with scene.stack:
        scene.open()
        prover = replace(scene.outbox.prover, first_shard={keyid_of(HUB_SPKI): 1}.__getitem__)
        scene.outbox.prover = prover
        scene.record(1)
        with scene.dispatching(backoff=Backoff(first=3600.0, most=3600.0)):
            until_true(lambda: scene.outbox.pending([0])[0].attempts)
        assert scene.outbox.pending([0])[0].text == (
            "shards of rekor-v2: expected one that takes entries at 1970-01-01T00:08:20Z, by this machine's clock, got "
            "shard1.example begins at 1970-01-01T00:16:40Z; shard0.example comes before the hub's key begins, which is in "
            "shard 1"
        )
        assert scene.store.tries([0]) == {0: frozenset()}, "nobody has to look for it in the old one"
        scene.now = 1000.0
        scene.outbox.retry(None)
        scene.drain()
        assert scene.places() == [[(1, 0)]]
        assert (old.sent, old.looked) == ([], 0)


def test_shards_keep_their_order_for_ever(tmp_path):
    scene = Scene(tmp_path, shards=[FakeShard(0)])
    with scene.stack:
        scene.open()
        scene.shards = [FakeShard(0, origin="older.example"), FakeShard(1, origin="shard0.example")]
        with pytest.raises(ConfigError, match="shard 0 of the trusted root"):
            scene.reopen()
        scene.shards = [FakeShard(0), FakeShard(1)]
        scene.reopen()


@pytest.mark.parametrize("state", ["retired", "revoked", "added"])
def test_a_statement_about_a_key_is_logged_after_all_before_it_and_before_all_after_it(scene, state):
    scene.record(40)
    fields = {
        "keyid": keyid_of(HUB_SPKI),
        "spki": format_base64(HUB_SPKI),
        "state": state,
        "holder": HUB,
        "role": "hub",
    }
    if state == "revoked":
        fields |= {"from": 0}
    number = scene.recorder.record_statement(HUB_KEY, fields, histories=["hub:"], event_id="key").leaf_index
    scene.record(40, start=40)
    fates = scene.drain(in_flight=32)
    leaves = [fates[each].receipts[0].proven.leaf_index for each in range(81)]
    assert max(leaves[:number]) < leaves[number] < min(leaves[number + 1 :])


def test_a_barrier_waits_for_what_was_refused_until_that_is_dropped(scene):
    scene.record(1)
    scene.shards[0].refuses = lambda _: True
    scene.drain()
    scene.shards[0].refuses = lambda _: False
    fields = {
        "keyid": keyid_of(HUB_SPKI),
        "spki": format_base64(HUB_SPKI),
        "state": "retired",
        "holder": HUB,
        "role": "hub",
    }
    scene.recorder.record_statement(HUB_KEY, fields, histories=["hub:"], event_id="key")
    with scene.dispatching():
        assert scene.outbox.wait_for([1], timeout=0.2)[1].pending
        assert len(scene.shards[0].sent) == 1
        scene.outbox.drop(0, reason="log-refuses-it")
        assert scene.outbox.wait_for([1], timeout=TIMEOUT)[1].receipts


def test_a_model_that_is_called_like_a_statement_about_keys_holds_nobody_up(scene):
    scene.record(3, name=f'"predicateType":"{HUB_KEY}"')
    assert scene.store._rows("SELECT count(*) FROM pending WHERE barrier") == [(0,)]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_log_does_each_event_is_logged_once(tmp_path, seed):
    """Callers from several threads, a log of changing moods, restarts of the dispatcher and of the outbox."""
    chance, shards = random.Random(seed), [FakeShard(0), FakeShard(1)]
    scene = Scene(tmp_path, shards=shards)

    def moods(answer, shard):
        def moody(signed):
            shard.down, shard.loses = chance.random() < 0.2, int(chance.random() < 0.2)
            shard.frozen = shard.shard.order == 1 and chance.random() < 0.02
            return answer(signed)

        return moody

    for each in shards:
        each.answer = moods(each.answer, each)
    with scene.stack:
        scene.open()
        for round_ in range(3):
            with scene.dispatching(grace=chance.choice([0.0, 5.0])):
                callers = [
                    threading.Thread(target=scene.record, args=(10,), kwargs={"start": 40 * round_ + 10 * at})
                    for at in range(4)
                ]
                for each in callers:
                    each.start()
                for each in callers:
                    each.join()
            scene.reopen()
        fates = scene.drain()
        logged = [body for shard in shards for body in shard.bodies]
        assert set(logged) == set(bodies(scene, range(120)))
        assert all(fate.receipts for fate in fates.values())
        # Only a change of shards may log a statement twice, each in another shard.
        assert all(len(shard.bodies) == len(set(shard.bodies)) for shard in shards)
        _, heads = scene.outbox.lookup([], ["name:acme/tiny"])
        assert heads["name:acme/tiny"].sequence == 119


# Receipts


def test_a_pending_receipt_becomes_a_full_one(scene):
    scene.record(1)
    fate = scene.outbox.wait_for([0], timeout=0.0)[0]
    assert (fate.receipts, fate.pending.attempts) == ((), 0)
    assert scene.drain()[0].receipts[0].position == (0, 0)
    scene.reopen()
    assert scene.outbox.fate(0).receipts[0].proven.leaf_index == 0


def test_who_waits_for_ever_waits_until_it_is_logged(scene):
    scene.record(1)
    with scene.dispatching():
        assert scene.outbox.wait_for([0], timeout=float("inf"))[0].receipts


def test_who_closes_the_dispatcher_waits_for_what_is_under_way(scene):
    shard = scene.shards[0]
    shard.gate = threading.Event()
    scene.record(20)
    dispatcher = scene.dispatching(grace=TIMEOUT)
    with dispatcher:
        wait_until(lambda: shard.under_way == 8)
        threading.Timer(0.05, shard.gate.set).start()
    assert scene.outbox.counts().logged == 8
    assert len(shard.sent) == 8


def test_the_same_statement_at_several_places_is_one_event_the_lowest_first(scene):
    shard = scene.shards[0]
    scene.record(2)
    copies = [shard.add(body_of(scene, number, mirrored)) for number in (0, 1)]
    scene.drain()
    found = [(number, shard.receipt(at)) for number, at in enumerate(copies)]
    scene.outbox.add_receipts(found)
    scene.outbox.add_receipts(found)  # found again: nothing new
    assert scene.places()[0][0] == (0, 0)
    assert scene.places()[1][0] == (0, 1)
    assert sorted(position for places in scene.places() for position in places) == [
        (0, at) for at in range(4)
    ]
    assert scene.outbox.counts().logged == 2


def test_a_copy_of_what_is_pending_is_no_proof_of_it_and_it_is_still_submitted(scene):
    """Whoever saw the signature first, the log itself perhaps, has (r, n-s) logged; clients want the bytes that we have."""
    shard = scene.shards[0]
    scene.record(1)
    scene.outbox.add_receipts([(0, shard.receipt(shard.add(body_of(scene, 0, mirrored))))])
    assert scene.outbox.pending([0])
    (fate,) = scene.drain().values()
    assert [each.position for each in fate.receipts] == [(0, 0), (0, 1)]
    assert fate.pending is None
    bundle = json.loads(format_logged(fate, scene.prover, name="e.json"))
    assert [each.get("logIndex") for each in bundle["verificationMaterial"]["tlogEntries"]] == ["1"]


def test_a_copy_where_the_key_does_not_count_is_no_proof_either(tmp_path):
    old, new = FakeShard(0), FakeShard(1)
    scene = Scene(tmp_path, shards=[old, new])
    with scene.stack:
        scene.open()
        scene.outbox.prover = replace(scene.prover, key_counts=lambda keyid, at: at >= (1, 0))
        scene.record(1)
        scene.outbox.add_receipts([(0, old.receipt(old.add(body_of(scene, 0))))])
        (fate,) = scene.drain().values()
        assert [each.position for each in fate.receipts] == [(0, 0), (1, 0)]


def test_a_log_that_was_set_back_stops_nobody_else(scene):
    """It signs other entries at places that it has proven before; what it says of new places is stored all the same."""
    scene.record(2)
    scene.drain()
    before = scene.places()
    shard = scene.shards[0]
    older = FakeShard()
    shard.bodies, shard.levels, shard.places = older.bodies, older.levels, older.places
    scene.record(5, start=2)
    fates = scene.drain()
    lost = [number for number, fate in fates.items() if not fate.receipts]
    assert len(lost) == 2
    for number in lost:
        assert (fates[number].pending.refused, fates[number].pending.code) == (True, "MisbehaviourError")
        assert "two trees" in fates[number].pending.text
    assert scene.places()[:2] == before
    assert scene.record(1, start=9), "the outbox goes on"


def test_one_answer_places_two_entries_at_one_index(scene):
    """Identical entries, which nobody admits, are one leaf: the second of them is not said to be logged there."""
    (entry,) = [each.entry for each in scene.record(1)]
    scene.outbox.append([Submission(entry=entry)])
    fates = scene.drain()
    assert sorted(bool(fate.receipts) for fate in fates.values()) == [False, True]


def test_a_copy_in_an_older_shard_takes_nothing_from_an_event_of_a_later_key(tmp_path):
    """Anybody can send our entry to an older shard that is still open, where the key that signed it does not count."""
    old, new = FakeShard(0), FakeShard(1)
    scene = Scene(tmp_path, shards=[old, new])
    with scene.stack:
        scene.open()
        scene.record(1)
        scene.drain()
        scene.outbox.add_receipts([(0, old.receipt(old.add(body_of(scene, 0))))])
        later = replace(
            scene.prover, key_counts=lambda keyid, at: keyid == keyid_of(HUB_SPKI) and at >= (1, 0)
        )
        fate = scene.outbox.fate(0)
        assert [each.position for each in fate.receipts] == [(0, 0), (1, 0)], "the lowest is shown"
        bundle = json.loads(format_logged(fate, later, name="e.json"))
        (entry,) = bundle["verificationMaterial"]["tlogEntries"]
        assert entry["logId"]["keyId"] == format_base64(new.log_id)
        (entry,) = json.loads(format_logged(fate, scene.prover, name="e.json"))["verificationMaterial"][
            "tlogEntries"
        ]
        assert entry["logId"]["keyId"] == format_base64(old.log_id)


def test_one_place_belongs_to_one_event(scene):
    scene.record(2)
    scene.drain()
    with pytest.raises(CorruptError, match="another entry"):
        scene.outbox.add_receipts([(1, scene.outbox.fate(0).receipts[0])])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE receipts SET log_index = 7 WHERE number = 0",
        "UPDATE receipts SET number = 3 - number WHERE number > 0",
        "UPDATE receipts SET log_entry = (SELECT log_entry FROM receipts WHERE number = 1)",
        "UPDATE receipts SET log_entry = CAST('{}' AS BLOB)",
        "UPDATE receipts SET shard = 1",
        """UPDATE receipts SET log_entry = CAST(replace(log_entry, '"treeSize":"', '"treeSize":"1') AS BLOB)""",
        "UPDATE receipts SET log_entry = CAST(' ' || log_entry AS BLOB)",
        """UPDATE receipts SET log_entry = CAST('{"a":1,' || substr(log_entry, 2) AS BLOB)""",
        "UPDATE receipts SET timestamps = CAST('[7]' AS BLOB)",
        "UPDATE receipts SET timestamps = CAST('[\"QUJD\"]' AS BLOB)",
    ],
)
def test_a_receipt_on_the_disk_is_not_believed(scene, statement):
    scene.record(3)
    scene.drain()
    scene.store._connection.execute(statement)
    with pytest.raises(CorruptError):
        scene.places()


def test_a_failed_attempt_is_told_in_lines_that_a_terminal_holds(scene, caplog):
    scene.shards[0].down = True
    scene.record(1)
    with scene.dispatching():
        until_true(lambda: scene.outbox.pending([0])[0].attempts)
    (first, *_) = (each.getMessage() for each in caplog.records)
    lines = first.splitlines()
    assert lines[:2] == [
        "number 0 is not logged yet: SourceError",
        "  shard0.example: expected an answer, got no connection",
    ]
    assert lines[2].startswith("  It is tried again in 1 s")
    assert max(map(len, lines)) <= 80
    scene.shards[0].down, scene.shards[0].refuses = False, lambda _: True
    scene.drain()
    assert "`outbox retry` or `outbox drop`" in " ".join(caplog.records[-1].getMessage().split())


def test_what_was_not_accepted_has_no_fate(scene):
    with pytest.raises(NotFoundError):
        scene.outbox.fate(0)


def test_a_log_entry_of_a_stranger_is_no_receipt(scene):
    shard = scene.shards[0]
    scene.record(2)
    scene.drain()
    other = shard.receipt(scene.outbox.fate(1).receipts[0].proven.leaf_index)
    stored = replace(scene.store.receipts(0)[0], log_entry=other.log_entry, log_index=other.proven.index)
    with pytest.raises(CorruptError, match="body of the log entry"):
        scene.prover.prove(next(iter(scene.outbox.read(0, 1))), stored)


def test_a_failure_to_keep_statements_stops_the_outbox(scene):
    def fail(_):
        raise WriteError("storing", expected="space", actual="none")

    scene.outbox._keep = fail
    scene.record(1)
    with scene.dispatching(), pytest.raises(WriteError):
        scene.outbox.wait_for([0], timeout=TIMEOUT)
    assert scene.shards[0].sent == []


def test_a_damaged_entry_stops_the_outbox_and_is_not_sent(scene):
    scene.record(2)
    scene.store._connection.execute(
        """UPDATE accepted SET entry = CAST('{"payload":""}' AS BLOB) WHERE number = 1"""
    )
    with scene.dispatching(), pytest.raises(CorruptError):
        scene.outbox.wait_for([1], timeout=TIMEOUT)
    assert len(scene.shards[0].sent) < 2


def test_a_bug_in_a_connection_is_one_more_failure(scene, caplog):
    class Broken:
        shard = scene.shards[0].shard

        async def submit(self, signed, *, again=False):
            raise ZeroDivisionError

        async def close(self):
            pass

    scene.record(1)
    with scene.dispatching(connect=lambda _: Broken()):
        wait_until(lambda: scene.outbox.pending([0])[0].attempts)
    assert scene.outbox.pending([0])[0].code == "ZeroDivisionError"
    assert "a bug while number 0 was submitted" in caplog.text
    assert scene.drain()[0].receipts


def test_an_error_whose_text_no_database_holds_stops_nobody_else(scene, caplog):
    """Half a character is in an answer for the asking, and so it may be in what a library says about it."""

    def answer(signed):
        shard.answer = lambda signed: FakeShard.answer(shard, signed)
        raise ValueError("half a character: \ud800")

    (shard,) = scene.shards
    shard.answer = answer
    scene.record(2)
    assert all(fate.receipts for fate in scene.drain(in_flight=1).values())
    assert rb"ValueError: half a character: \ud800" in caplog.text.encode()  # nor can a log file hold it


def test_a_bug_that_stops_submitting_is_not_silent(scene, caplog):
    def fail(*_, **_more):
        raise RuntimeError("nobody expected this")

    scene.record(1)
    scene.outbox.take = fail
    with scene.dispatching() as dispatcher:
        dispatcher._thread.join(TIMEOUT)
    assert "a bug: submitting stopped" in caplog.text
    assert "nobody expected this" in caplog.text


def test_answers_carry_numbers(scene):
    entry = scene.record(1)[0].entry
    assert scene.outbox.append([Submission(entry=entry)]) == [Committed(leaf_index=1)]
