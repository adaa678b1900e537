"""A restored backup: what the anchors, here and in the log that holds them, remember of what was shown."""

import json
import logging
import shutil
from dataclasses import replace

import pytest

from ledger.bundle.bodies import SignedPayload, Verifier, hashedrekord_v2
from ledger.embedded.anchor_key import public_keys
from ledger.errors import RestoredError, SourceError
from ledger.log import anchor_memory
from ledger.log.anchor_memory import AnchorMemory
from ledger.log.authentic import AuthenticLog
from ledger.log.published import PublishedLog
from ledger.log.rekor_v2 import note_key
from tests.anchors import AnchoredLedger, new_ledger, settings, trust_of
from tests.fakes.rekor import FakeRekor, signed_payload


@pytest.fixture
def rekor():
    return FakeRekor()


@pytest.fixture
def served(rekor):
    with rekor.serve() as url:
        yield url


@pytest.fixture
def ledger(tmp_path, rekor, served):
    """A ledger with one anchor, whose recordings are a day apart: each asks and each anchors."""
    ledger = new_ledger(tmp_path).configure(**settings(trust_of(tmp_path, rekor, served)))
    return aged(ledger, rekor)


DAY = 86_400


def aged(ledger, rekor):
    ledger.record("r2", at=0)
    assert len(rekor.tree.entries) == 1
    return ledger


def backup(ledger, to):
    return AnchoredLedger(shutil.copytree(ledger.folder, to / "backup" / "ledger"))


def test_a_copy_from_before_the_newest_anchor_is_found_by_it(ledger, rekor, tmp_path):
    old = backup(ledger, tmp_path)
    ledger.record("r3", at=DAY)
    assert len(rekor.tree.entries) == 2
    with pytest.raises(RestoredError, match=r"entry 1 of rekor\.example, by our anchor key"):
        old.record("r4", at=2 * DAY)
    assert old.list().anchors[0].checkpoint.checkpoint.size == 3
    assert len(rekor.tree.entries) == 2  # nothing was written, and nothing anchored


def test_an_exported_anchor_that_is_kept_elsewhere_finds_it_without_asking_anybody(
    ledger, tmp_path, hubledger
):
    old = backup(ledger, tmp_path)
    old.configure(log="", trusted_root="", signing_config="")
    ledger.record("r3", at=DAY)
    hubledger("log", "anchors", ledger.folder, "--export", tmp_path / "kept")
    (newest,) = (tmp_path / "kept").glob("4-*.checkpoint")
    with pytest.raises(RestoredError, match="expected at most size 3, got size 4"):
        old.record("r4", at=2 * DAY, not_older_than=[newest])


def test_nor_is_its_next_checkpoint_anchored(ledger, rekor, tmp_path):
    """Afterwards that anchor would be the newest one, and what the copy does not know would lie behind it."""
    old = backup(ledger, tmp_path)
    ledger.record("r3", at=DAY)
    old.configure(log="").record("r4", at=DAY)  # by somebody who turned anchoring off, and on again
    old.configure(log="rekor-v2")
    old.now += 2 * DAY
    with pytest.raises(RestoredError, match="by our anchor key"):
        old.anchor()
    assert len(rekor.tree.entries) == 2
    assert old.anchor(unchecked=True).made is not None


def test_the_newest_directory_goes_on(ledger, rekor):
    for day in range(1, 4):
        ledger.record(f"r{day + 2}", at=day * DAY)
    assert len(rekor.tree.entries) == 4
    assert ledger.problems() == []


def test_a_lost_folder_of_anchors_is_noticed_too(ledger):
    shutil.rmtree(ledger.folder / "anchors")
    with pytest.raises(RestoredError, match="If you are sure that only the folder anchors was lost"):
        ledger.record("r3", at=DAY)
    assert ledger.record("r3", at=DAY, start_unchecked=True)["leafIndex"] == 3
    ledger.now += 2 * DAY
    assert ledger.anchor(unchecked=True).failures == ()
    assert ledger.record("r4", at=4 * DAY)["leafIndex"] == 4  # what lies before the new anchor is settled


def test_a_log_older_than_the_anchors_beside_it_is_noticed_without_network(ledger, rekor, tmp_path):
    """Only parts of the directory were restored."""
    shutil.copytree(ledger.folder / "log", tmp_path / "log")
    shutil.copy(ledger.folder / "ledger.db", tmp_path)
    for extra in ("ledger.db-wal", "ledger.db-shm"):
        assert not (ledger.folder / extra).exists()
    ledger.record("r3", at=DAY)
    shutil.rmtree(ledger.folder / "log")
    shutil.copytree(tmp_path / "log", ledger.folder / "log")
    shutil.copy(tmp_path / "ledger.db", ledger.folder)
    requests = len(rekor.requests)
    with pytest.raises(RestoredError, match="newest checkpoint that the folder anchors knows"):
        ledger.record("r4", at=DAY)
    assert len(rekor.requests) == requests


def test_a_log_that_cannot_be_read_is_a_warning(ledger, rekor, caplog):
    rekor.published = 0
    with caplog.at_level(logging.WARNING):
        assert ledger.record("r3", at=DAY)["leafIndex"] == 3
    assert "the log of the anchors could not say whether this directory is an old copy" in caplog.text


def test_a_log_that_cannot_be_read_is_left_alone_for_a_while(ledger, rekor):
    rekor.published = 0
    ledger.configure(interval=10 * DAY).record("r3", at=20 * DAY - 60)
    reads = len(rekor.requests)
    ledger.record("r4", at=20 * DAY - 59)
    assert len(rekor.requests) == reads


def test_a_shard_that_is_away_does_not_keep_another_from_being_asked(ledger, rekor, tmp_path):
    """Both may hold the newest anchor; the first one cannot be read at all."""

    def gone(name, *, max_bytes):
        raise SourceError("GET", expected="an answer", actual="none")

    def fetch(name, *, max_bytes):
        return rekor.tree.object(name)

    old = backup(ledger, tmp_path)
    ledger.record("r3", at=DAY)
    shard = rekor.tree.shard()
    logs = [
        AuthenticLog(PublishedLog(each, origin=shard.origin, keys=[note_key(shard)]))
        for each in (gone, fetch)
    ]
    memory = AnchorMemory(
        store=old.store,
        shards=[(shard, each) for each in logs],
        shard_keys=rekor.tree.keys,
        anchor_keys=public_keys(ledger.folder / "keys" / "anchor.key"),
    )
    with pytest.raises(RestoredError, match="by our anchor key"):
        memory.check()
    with pytest.raises(SourceError):
        replace(memory, store=ledger.store).check()


def test_it_is_asked_once_in_an_interval(ledger, rekor):
    reads = len(rekor.requests)
    ledger.record("r3", at=60)
    assert len(rekor.requests) == reads


def test_a_copy_asks_at_once_whatever_the_folder_asked_that_it_is_a_copy_of(ledger, tmp_path):
    """A snapshot of some minutes ago says that it asked some minutes ago."""
    ledger.record("r3", at=DAY)
    old = backup(ledger, tmp_path)
    ledger.record("r4", at=DAY + 60)
    assert ledger.anchor().failures == ()
    with pytest.raises(RestoredError, match="by our anchor key"):
        old.record("r5", at=DAY + 120)


def test_how_much_is_read_is_bounded_and_what_is_not_is_not_vouched_for(ledger, rekor, tmp_path, caplog):
    old = backup(ledger, tmp_path)
    ledger.record("r3", at=DAY)
    for number in range(256 * (anchor_memory.MOST_BUNDLES + 2)):
        rekor.tree.append(b"stranger %d" % number)
    reads = len(rekor.requests)
    with caplog.at_level(logging.INFO):
        assert old.record("r4", at=2 * DAY)["leafIndex"] == 3
    assert "were not looked at" in caplog.text
    bundles = [path for _, path in rekor.requests[reads:] if "/tile/entries/" in path]
    assert len(set(bundles)) == anchor_memory.MOST_BUNDLES


# What a log that is not honest can do: nothing but be silent


def ours(ledger):
    key = next((ledger.folder / "keys").glob("anchor-*.pub"))
    from cryptography.hazmat.primitives import serialization

    return Verifier(
        serialization.load_pem_public_key(key.read_bytes()).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def test_an_entry_that_only_names_our_key_stops_nobody(ledger, rekor):
    verifier, stranger = ours(ledger), signed_payload("stranger")
    for body in (
        hashedrekord_v2(stranger.digest, stranger.signature, verifier),
        hashedrekord_v2(stranger.digest, b"no signature", verifier),
        hashedrekord_v2(stranger.digest, stranger.signature, verifier) + b" ",
        json.dumps({"spec": verifier.pem.decode()}).encode(),
    ):
        rekor.tree.append(body)
    assert ledger.record("r3", at=DAY)["leafIndex"] == 3


def test_the_twin_of_one_of_our_signatures_stops_nobody(ledger, rekor):
    """(r, n-s) is a signature of the same digest by the same key, which anybody can make."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    verifier = ours(ledger)
    envelope = json.loads(ledger.store.newest().new.envelope)
    signed = SignedPayload.of_entry(envelope, verifier.der)
    r, s = decode_dss_signature(signed.signature)
    rekor.tree.append(hashedrekord_v2(signed.digest, encode_dss_signature(r, n - s), verifier))
    assert ledger.record("r3", at=DAY)["leafIndex"] == 3


def test_an_entry_that_is_not_in_the_signed_tree_stops_nobody(ledger, rekor, tmp_path, caplog):
    old = backup(ledger, tmp_path)
    ledger.record("r3", at=DAY)
    rekor.tree.entries[1] = rekor.tree.entries[1].replace(b"hashedrekord", b"hashedrekorD")
    with caplog.at_level(logging.WARNING):
        assert old.record("r4", at=2 * DAY)["leafIndex"] == 3
    assert "could not say whether" in caplog.text
