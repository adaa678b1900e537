"""A user's trust files: who signed the next one, and that two processes at once lose nothing."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib

import pytest

from ledger.client.trust import parse_trust
from ledger.client.trust_signature import sign_trust, signed_text, verify_signed, verify_update
from ledger.client.trust_store import Origin, TrustStore
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.user_store import default_folder
from ledger.errors import (
    ConfigError,
    ConflictError,
    CorruptError,
    LimitError,
    MalformedError,
    NotFoundError,
    SignatureError,
    WriteError,
)
from ledger.tlog.signed_note import Ed25519NoteSigner, sign_note
from tests.world import HUB, World, ed25519_key, p256_key, spki_of

WORLD = World()


def offline(name="first"):
    return Ed25519NoteSigner("hub.example/trust", ed25519_key(f"offline {name}"))


def version(number, *, key="first", **changes):
    changes = {"update_key": offline(key).verifier if key else None} | changes
    return format_trust(WORLD.trust(version=number, **changes))


def signed(data, *keys):
    return sign_trust(data, [offline(each) for each in keys])


def chain(*keys):
    """Versions from 1 on, the n-th naming the n-th key, each signed by the key before it and by its own."""
    found = {}
    for number, key in enumerate(keys, 1):
        data = version(number, key=key)
        found[number] = data, signed(data, *dict.fromkeys((keys[max(0, number - 2)], key)))
    return found


# What is signed


def test_an_update_is_signed_by_the_old_key_and_by_the_new_one_when_it_changes():
    old = parse_trust(version(1))
    same, changed = version(2), version(2, key="second")
    assert verify_update(old, same, signed(same, "first")).version == 2
    assert (
        verify_update(old, changed, signed(changed, "first", "second")).update_key
        == offline("second").verifier
    )


OLD = parse_trust(version(1))
REFUSED = {
    "signed by the new key alone": (version(2, key="thief"), ("thief",), SignatureError),
    "a stranger's signature": (version(2), None, SignatureError),
    "a version left out": (version(3), ("first",), SignatureError),
    "the same version again": (version(1, require="complete"), ("first",), SignatureError),
    "another hub": (version(2, hub="other.example"), ("first",), SignatureError),
    "another ledger": (version(2, ledger="other.example/models"), ("first",), SignatureError),
    "an unknown setting": (b"loud = true\n" + version(2), ("first",), ConfigError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_update_is_refused(name):
    data, keys, error = REFUSED[name]
    text = f"hubledger trust file v1\nlog.example/models\n2\n{hashlib.sha256(data).hexdigest()}\n".encode()
    signature = sign_note(text, [offline(each) for each in keys or ("stranger",)])
    if keys and error is SignatureError:
        signature = signed(data, *keys)
    with pytest.raises(error):
        verify_update(OLD, data, signature)


def test_the_old_key_alone_cannot_name_a_new_one():
    data = version(2, key="second")
    signature = sign_note(signed_text(parse_trust(data), data), [offline("first")])
    with pytest.raises(SignatureError, match=r"got none by hub\.example/trust\+"):
        verify_update(OLD, data, signature)


def test_a_signature_is_of_these_bytes_alone():
    data = version(2)
    with pytest.raises(SignatureError, match="signature of the trust file"):
        verify_update(OLD, data + b"\n", signed(data, "first"))


def test_an_update_may_not_be_the_last():
    data = version(2, key=None)
    signature = sign_note(signed_text(parse_trust(data), data), [offline("first")])
    with pytest.raises(ConfigError, match="update_key of the new trust file"):
        verify_update(OLD, data, signature)


def test_without_a_key_nothing_is_an_update():
    data = version(2)
    with pytest.raises(ConfigError, match="update_key of your trust file"):
        verify_update(parse_trust(version(1, key=None)), data, signed(data, "first"))


def test_only_the_key_that_the_file_names_can_sign_it():
    with pytest.raises(ConfigError, match="update_key of the trust file: expected hub"):
        signed(version(1, key=None), "first")
    with pytest.raises(ConfigError, match="update_key"):
        signed(version(1, key="second"), "first")


def test_a_checkpoint_of_the_log_is_no_signature_of_a_trust_file():
    data = version(2)
    with pytest.raises(SignatureError):
        verify_signed(data, WORLD.grow(1).checkpoint(), key=OLD.update_key)
    with pytest.raises(MalformedError):
        verify_signed(data, b"<html>", key=OLD.update_key)


@pytest.mark.parametrize(
    "key", [WORLD.log_signer.verifier, WORLD.cosigner("m.example").verifier], ids=["of the log", "of no note"]
)
def test_the_key_is_one_of_its_own(key):
    with pytest.raises(ConfigError, match="update_key"):
        WORLD.trust(update_key=key)


def test_the_key_of_a_witness_is_not_offline():
    witness = ed25519_key("witness.example")
    with pytest.raises(ConfigError, match="the key of a log, a witness or a monitor"):
        WORLD.trust(
            witnesses=("witness.example",),
            update_key=Ed25519NoteSigner("hub.example/trust", witness).verifier,
        )


# The store


@pytest.fixture
def store(tmp_path):
    return TrustStore(tmp_path / "data")


def test_what_came_over_tls_is_tls_only_until_its_digest_was_compared(store):
    data = version(1)
    added = store.add(data, source="https://hub.example", origin=Origin.TLS_ONLY)
    assert (added.origin, added.sha256) == (Origin.TLS_ONLY, hashlib.sha256(data).digest())
    with pytest.raises(SignatureError, match="digest of the trust file"):
        store.confirm(HUB, sha256=bytes(32))
    assert store.get(HUB).origin is Origin.TLS_ONLY
    assert store.confirm(HUB, sha256=added.sha256) == store.get(HUB)
    assert store.get(HUB).origin is Origin.CONFIRMED
    again = store.add(data, source="https://elsewhere.example", origin=Origin.TLS_ONLY)
    assert again.origin is Origin.CONFIRMED, "adding it again does not take the confirmation back"


CHECK = "Check the name: HUB/NAMESPACE/MODEL, with a hub you trust (hub.example); add a trust file only for a hub that you know by another channel"
NAMES = {
    "hub.examp1e/acme/tiny": CHECK,
    "hub.ex\u0430mple/acme/tiny": CHECK,
    "HUB.example/acme/tiny": CHECK,
    "https://hub.example/acme/tiny": CHECK,
    "hub.example": CHECK,
    "": CHECK,
    "acme/tiny": "The hub is missing: write hub.example/acme/tiny",
    "tiny": "The hub is missing: write hub.example/tiny",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_only_looks_like_one_makes_nobody_add_a_trust_file(store, name):
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    with pytest.raises(NotFoundError) as refused:
        store.find(name)
    assert refused.value.next_step == NAMES[name]


def test_of_several_hubs_none_is_guessed(store):
    with pytest.raises(NotFoundError, match="Add the hub's trust file: hubledger trust add"):
        store.find("acme/tiny")
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    store.add(version(1, hub="other.example", ledger="other"), source="a", origin=Origin.CONFIRMED)
    with pytest.raises(NotFoundError, match="write HUB/acme/tiny, with the hub that you mean"):
        store.find("acme/tiny")


@pytest.mark.parametrize("act", ["get", "remove"])
def test_a_hub_that_is_not_there_is_looked_up_in_the_list(store, act):
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    with pytest.raises(
        NotFoundError, match="Name one that `hubledger trust list` shows; add a trust file only"
    ):
        getattr(store, act)("hub.examp1e")


def test_a_digest_that_differs_stores_nothing(store):
    with pytest.raises(SignatureError):
        store.add(version(1), source="https://hub.example", origin=Origin.TLS_ONLY, sha256=bytes(32))
    assert store.list() == []


@pytest.mark.parametrize(
    "other", [version(2), version(1, ledger="evil.example/models")], ids=["another version", "another ledger"]
)
def test_a_hub_has_one_trust_file(store, other):
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    with pytest.raises(ConflictError, match="hubledger trust update"):
        store.add(other, source="https://evil.example", origin=Origin.TLS_ONLY)
    assert store.get(HUB).data == version(1)


def test_a_name_finds_the_hub_whose_id_begins_it(store):
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    inner = version(1, hub="hub.example/eu", ledger="eu.example/models")
    store.add(inner, source="b", origin=Origin.CONFIRMED)
    assert store.find("hub.example/acme/tiny") == (store.get(HUB), "acme/tiny")
    assert store.find("hub.example/eu/acme/tiny") == (store.get("hub.example/eu"), "acme/tiny")


@pytest.mark.parametrize(
    "name",
    ["hub.example", "hub.example.evil/acme/tiny", "HUB.example/acme/tiny", "hub.ex\u0430mple/acme/tiny"],
)
def test_a_name_that_only_looks_like_a_hub_finds_nothing(store, name):
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    with pytest.raises(NotFoundError) as refused:
        store.find(name)
    assert ("not ASCII" in str(refused.value)) is not name.isascii()
    assert "\u0430" not in str(refused.value)


@pytest.mark.parametrize("start", [1, 2, 3, 4])
def test_a_client_of_every_age_comes_to_the_newest_version(store, start):
    """The key changes twice; then a hub key was stolen, and does not count from leaf 5 on."""
    versions = chain("first", "second", "second", "third")
    stolen = version(
        5,
        key="third",
        hub_keys=(
            HubKey(spki=spki_of(p256_key("hub")), first=0, end=5),
            HubKey(spki=spki_of(p256_key("hub-2")), first=5),
        ),
    )
    versions[5] = stolen, signed(stolen, "third")
    store.add(versions[start][0], source="a", origin=Origin.TLS_ONLY)
    old, new = store.update(HUB, versions.get)
    assert (old.trust.version, new.trust.version, new.origin) == (start, 5, Origin.TLS_ONLY)
    assert store.get(HUB) == new
    assert new.trust.check_key(new.trust.hub_keys[0].keyid, 4)
    with pytest.raises(SignatureError):
        new.trust.check_key(new.trust.hub_keys[0].keyid, 5)


def test_an_update_that_fails_keeps_what_was_reached(store):
    versions = chain("first", "first", "first")
    versions[3] = versions[3][0], versions[2][1]
    store.add(versions[1][0], source="a", origin=Origin.CONFIRMED)
    with pytest.raises(SignatureError):
        store.update(HUB, versions.get)
    assert store.get(HUB).trust.version == 2


WATCHED = {
    name: TrustedMonitor(key=Ed25519NoteSigner(name, ed25519_key(name)).verifier, max_age=60)
    for name in ("a.example", "b.example", "c.example")
}


def watched(number, names, needed=None, require="audited"):
    data = version(
        number,
        require=require,
        monitors=tuple(WATCHED[f"{each}.example"] for each in names),
        monitors_needed=needed,
    )
    return data, signed(data, "first")


@pytest.mark.parametrize(
    ("names", "needed", "require"),
    [
        ("", None, "included"),
        ("ab", None, "included"),
        ("a", None, "audited"),
        ("ac", 2, "audited"),
        ("abc", 1, "audited"),
    ],
)
def test_no_update_drops_the_monitors_that_are_required_unless_the_user_says_so(
    store, names, needed, require
):
    """The hub signs updates, and monitors are there because the hub may lie."""
    versions = {2: watched(2, names, needed, require)}
    store.add(watched(1, "ab")[0], source="a", origin=Origin.CONFIRMED)
    with pytest.raises(ConflictError, match=r"expected audited by 2 of a\.example, b\.example, as yours"):
        store.update(HUB, versions.get)
    assert store.get(HUB).trust.version == 1
    assert store.update(HUB, versions.get, accept_less=True)[1].trust.require == require


def test_an_update_may_ask_for_more_monitors(store):
    store.add(watched(1, "ab", 1)[0], source="a", origin=Origin.CONFIRMED)
    versions = {2: watched(2, "cba", 1), 3: watched(3, "abc")}
    assert store.update(HUB, versions.get)[1].trust.version == 3


@pytest.mark.parametrize("hub", ["hub.ex\u0430mple", "hub.example\u202e", "hub example", "", "h" * 129])
def test_a_hub_that_only_looks_like_another_is_not_added(store, hub):
    with pytest.raises(ConfigError, match="setting hub"):
        store.add(version(1, hub=hub), source="https://hub.example", origin=Origin.TLS_ONLY)
    assert store.list() == []


def test_what_is_removed_is_gone(store):
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    assert store.remove(HUB).trust.hub == HUB
    assert store.list() == []
    with pytest.raises(NotFoundError):
        store.remove(HUB)


def test_the_files_are_the_users_alone(store, tmp_path):
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    folder = tmp_path / "data/trust"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"origin":"SURE","source":"","trust":""}',
        b'{"origin":"CONFIRMED","source":"","trust":"x"}',
    ],
)
def test_a_damaged_file_is_named_and_never_trusted(store, tmp_path, data):
    store.add(version(1), source="a", origin=Origin.CONFIRMED)
    (path,) = (tmp_path / "data/trust").glob("*.json")
    path.write_bytes(data)
    with pytest.raises(CorruptError, match=str(path)):
        store.get(HUB)


def test_a_file_that_is_too_large_is_not_read(store, tmp_path):
    with pytest.raises(LimitError):
        store.add(b"#" * ((1 << 20) + 1), source="a", origin=Origin.CONFIRMED)


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match="Make it writable for this user, and no other"):
        TrustStore(tmp_path / "file").add(version(1), source="a", origin=Origin.CONFIRMED)


def test_a_full_disk_leaves_what_was_there(store, monkeypatch):
    versions = chain("first", "first")
    store.add(versions[1][0], source="a", origin=Origin.CONFIRMED)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left"):
        store.update(HUB, versions.get)
    monkeypatch.undo()
    assert store.get(HUB).data == versions[1][0]


def _update_many(folder, start):
    """Update again and again from another process, and say the versions that were seen."""
    store, versions = TrustStore(folder), chain(*["first"] * 30)
    start.wait()
    for top in range(2, 31):
        _, new = store.update(HUB, lambda n, top=top: versions.get(n) if n <= top else None)
        assert new.trust.version >= top


def test_two_processes_that_update_at_once_never_go_back(tmp_path):
    store = TrustStore(tmp_path)
    store.add(chain("first")[1][0], source="a", origin=Origin.CONFIRMED)
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    children = [context.Process(target=_update_many, args=(tmp_path, start)) for _ in range(2)]
    for each in children:
        each.start()
    start.set()
    seen = [store.get(HUB).trust.version for _ in range(200)]
    for each in children:
        each.join(60)
    assert [each.exitcode for each in children] == [0, 0]
    assert seen == sorted(seen)
    assert store.get(HUB).trust.version == 30


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, "/home/u/.local/share/hubledger"),
        ({"XDG_DATA_HOME": "/data"}, "/data/hubledger"),
        ({"XDG_DATA_HOME": "data"}, "/home/u/.local/share/hubledger"),
        ({"XDG_DATA_HOME": "/data", "HUBLEDGER_DATA": "/mine"}, "/mine"),
    ],
)
def test_where_the_store_is(environment, folder):
    assert default_folder(environment, lambda: pathlib.Path("/home/u")) == pathlib.Path(folder)


def test_the_store_holds_the_bytes_that_were_added(store, tmp_path):
    """Comments too: the digest that people compare is of the file."""
    data = b"# by the security team: \xc3\xa4\n" + version(1)
    store.add(data, source="a", origin=Origin.CONFIRMED)
    (path,) = (tmp_path / "data/trust").glob("*.json")
    assert json.loads(path.read_bytes())["trust"].encode() == data
    assert store.get(HUB).sha256 == hashlib.sha256(data).digest()
    assert dataclasses.replace(store.get(HUB).trust, version=2).version == 2


@pytest.mark.parametrize("environment", [{"HUBLEDGER_DATA": "/data"}, {"XDG_DATA_HOME": "/data"}])
def test_who_says_where_needs_no_home(environment):
    """A container under any number has none."""

    def nowhere():
        raise RuntimeError

    assert default_folder(environment, nowhere).is_relative_to("/data")
