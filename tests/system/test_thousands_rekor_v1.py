"""Thousands of events in a real Rekor v1: each proven, each in the index and its history, and all of it made again."""

import json
import pathlib

from cli.main import run
from ledger.embedded.auditing import audit_ledger
from ledger.embedded.indexing import check_index
from ledger.embedded.opening import open_for_recording
from ledger.embedded.reading import model_history
from ledger.embedded.remote import dispatching
from ledger.log.receipts import bodies_of
from ledger.log.rekor_v1_reading import RekorV1Log
from ledger.tlog.merkle import verify_consistency
from tests.events import NOW, key
from tests.ledger.test_recorder import facts
from tests.system.rekor_v1 import log_info
from tests.system.test_outbox_crash import made

MODELS, VERSIONS = 20, 103
EVENTS = MODELS * VERSIONS
"""More than 2,048, and than eight times the 256 leaves of a tile, which the tree of another log would be cut into."""


def batches():
    """The events, all models mixed; each version of a model is one revision."""
    for version in range(VERSIONS):
        yield [
            facts(f"{model}-{version}", key("a"), name=f"acme/m{model}", revision=f"r{version}")
            for model in range(MODELS)
        ]


def index_of(ledger):
    """What the index says: every row of every model, as `hubledger history` shows them."""
    return {model: model_history(ledger, f"acme/m{model}") for model in range(MODELS)}


def call(capsys, *words, code=0):
    got = run([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert got == code, (got, out, err)
    return json.loads(out or err)


def test_thousands_of_events_in_a_real_rekor_v1_are_each_proven_indexed_and_indexed_again(
    rekor_v1_backend, tmp_path, capsys
):
    with rekor_v1_backend.server() as server:
        folder = made(tmp_path / "ledger", server.write_trust(tmp_path), kind="rekor-v1")
        with open_for_recording(folder, now=lambda: NOW) as ledger:
            accepted = [
                (receipt.leaf_index, receipt.event.common)
                for batch in batches()
                for receipt in ledger.recorder.record_batch(batch)
            ]
            with dispatching(ledger.log, ledger.config, ledger.instance):
                # A wait returns what is stored by then; each receipt was verified before it was stored.
                fates = ledger.log.wait_for(range(ledger.log.size), timeout=240)
            ledger.recorder.flush_index()
            entries = list(ledger.log.read(0, ledger.log.size))
            expected = [bodies_of(ledger.log.signed(each), ("dsse", "0.0.1"))[0] for each in entries]
        assert [number for number, _ in accepted] == list(range(1, EVENTS + 1))

        # 1. Each is at one place, every place is one event's, and the real log shows the right body at each.
        places = {number: fate.receipts for number, fate in fates.items()}
        assert {len(each) for each in places.values()} == {1}
        where = {number: each[0].position[1] for number, each in places.items()}
        assert sorted(where.values()) == list(range(EVENTS + 1))
        assert [places[number][0].proven.body for number in range(EVENTS + 1)] == expected
        assert log_info(server.url)["treeSize"] == EVENTS + 1
        log = RekorV1Log(server.shard(), server.keys)
        by_place = dict(zip((where[number] for number in range(EVENTS + 1)), expected, strict=True))
        assert list(log.read(0, EVENTS + 1)) == [by_place[leaf] for leaf in range(EVENTS + 1)]
        trees = {each[0].proven.tree.size: each[0].proven.tree for each in places.values()}
        newest = log.checkpoint().checkpoint
        for size in sorted(trees)[:: max(1, len(trees) // 20)]:
            tree, proof = trees[size], log.prove_consistency(size, newest.size)
            assert verify_consistency(
                old_size=size,
                old_root=tree.root_hash,
                new_size=newest.size,
                new_root=newest.root_hash,
                proof=proof,
            )
        log.close()

    # 2. The rest is done offline: the server is gone.
    report = audit_ledger(folder, workers=1, progress=lambda _done, _total: None)
    assert (report["size"], report["logged"], report["pending"]) == (EVENTS + 1, EVENTS + 1, 0)
    rows = index_of(folder)
    for model, found in rows.items():
        assert [each["revision"] for each in found] == [f"r{version}" for version in range(VERSIONS)]
        numbers = [1 + version * MODELS + model for version in range(VERSIONS)]
        assert [each["number"] for each in found] == numbers
        assert [(each["state"], each["leafIndex"]) for each in found] == [
            ("logged", where[number]) for number in numbers
        ]
    assert check_index(folder, progress=lambda _done, _total: None) == (EVENTS + 1, [])

    # 3. An index that is gone is made again from the receipts, and says the same.
    for path in pathlib.Path(folder).glob("index.db*"):
        path.unlink()
    assert call(capsys, "index", "rebuild", folder)["leaves"] == EVENTS + 1
    assert call(capsys, "index", "check", folder)["differences"] == []
    assert index_of(folder) == rows
    assert call(capsys, "outbox", "status", folder)["logged"] == EVENTS + 1
