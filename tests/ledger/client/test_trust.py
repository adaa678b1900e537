"""Trust files: parse, format, compare; everything that is not understood is refused with its reason."""

import dataclasses

import pytest

from ledger.client.trust import MAX_TRUST_BYTES, TrustFile, parse_trust
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.errors import ConfigError, LimitError, SignatureError
from ledger.tlog.signed_note import Ed25519NoteSigner
from tests.world import World, ed25519_key, p256_key, spki_of

WORLD = World()


def full() -> TrustFile:
    """Every setting used."""
    return WORLD.trust(
        witnesses=("w1.example", "w2.example"),
        quorum="w2.example",
        require="complete",
        max_age=86_400,
        monitors=(
            TrustedMonitor(key=WORLD.monitor("m1.example").verifier, max_age=3600),
            TrustedMonitor(key=WORLD.monitor("m2.example").verifier, max_age=60, url="https://m2.example/s"),
        ),
        monitors_needed=1,
        update_key=Ed25519NoteSigner("hub.example/trust", ed25519_key("offline")).verifier,
        hub_keys=(
            HubKey(spki=spki_of(p256_key("hub")), first=0, end=100),
            HubKey(spki=spki_of(p256_key("hub-2")), first=100),
        ),
    )


@pytest.mark.parametrize("trust", [WORLD.trust(), full()])
def test_a_trust_file_reads_back_as_it_was_written(trust):
    assert parse_trust(format_trust(trust)) == trust


def test_quotes_and_backslashes_in_ids_survive():
    trust = dataclasses.replace(WORLD.trust(), hub='hub"\\example')
    assert parse_trust(format_trust(trust)).hub == 'hub"\\example'


REFUSED = {
    "unknown setting": (
        ("require =", "requires ="),
        (
            "setting requires of the trust file: expected one of format, version, ledger, require, max_age, monitor, "
            "monitors_needed, update_key, log, hub, got unknown"
        ),
    ),
    "unknown setting of the log": (
        ("origin =", 'note = "x"\norigin ='),
        "setting log.note of the trust file: expected one of origin, policy, kind, shard, got unknown",
    ),
    "unknown setting of a key": (
        ("first = 0", "from = 0"),
        "setting hub.key.from of the trust file: expected one of spki, first, end, first_shard, end_shard, got unknown",
    ),
    "missing ledger": (
        ('ledger = "log.example/models"\n', ""),
        "setting ledger of the trust file: expected a value, got nothing",
    ),
    "another format": (("format = 1", "format = 2"), "format of the trust file: expected 1, got 2"),
    "text for a number": (
        ("version = 1", 'version = "1"'),
        "setting version of the trust file: expected a value of type int, got '1'",
    ),
    "truth for a number": (
        ("version = 1", "version = true"),
        "setting version of the trust file: expected a value of type int, got True",
    ),
    "version 0": (
        ("version = 1", "version = 0"),
        "version of the trust file: expected a number from 1 on, got 0",
    ),
    "another requirement": (
        ('"included"', '"some"'),
        "require: expected one of included, complete, audited, got some",
    ),
    "a log of another name": (
        ('origin = "log.example/models"', 'origin = "other.example"'),
        "log policy of the trust file: expected a log key named other.example, got none",
    ),
    "no quorum line": (
        ("quorum none\n", ""),
        "trust file: trust policy: expected exactly one quorum line, got 0",
    ),
    "an empty range": (
        ("first = 0", "first = 5\nend = 5"),
        "leaf indices of a hub key: expected 0 <= first < end, got 5 to 5",
    ),
    "lax base64": (
        ('spki = "MF', 'spki = " MF'),
        "trust file: spki of a hub key: expected padded standard base64",
    ),
    "a setting twice": (("version = 1", "version = 1\nversion = 1"), "trust file: expected TOML, got"),
    "a monitor that is none": (
        ('require = "included"', 'require = "included"\nmonitor = [1]'),
        "setting monitor of the trust file: expected tables, got 1",
    ),
    "a monitor whose statements may be of any age": (
        ("[hub]\n", f'[[monitor]]\nvkey = "{WORLD.monitor().verifier.format()}"\n[hub]\n'),
        "setting monitor.max_age of the trust file: expected a value, got nothing",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(name):
    (old, new), message = REFUSED[name]
    text = format_trust(WORLD.trust()).decode()
    assert text.count(old) >= 1
    with pytest.raises(ConfigError) as refusal:
        parse_trust(text.replace(old, new, 1).encode())
    assert str(refusal.value).startswith(message)


def test_an_age_must_be_a_positive_number_of_seconds():
    with pytest.raises(ConfigError, match="max_age: expected seconds, at least 1, got 0"):
        WORLD.trust(max_age=0)


def test_a_hub_key_must_be_p256():
    raw = ed25519_key("hub").public_key().public_bytes_raw()
    with pytest.raises(ConfigError, match="hub key: expected a DER SubjectPublicKeyInfo"):
        HubKey(spki=raw)


def test_a_trust_file_without_hub_keys_is_refused():
    with pytest.raises(ConfigError, match="hub keys of the trust file: expected at least one, got none"):
        WORLD.trust(hub_keys=())


def test_a_larger_file_than_the_limit_is_refused():
    with pytest.raises(LimitError):
        parse_trust(b"#" * (MAX_TRUST_BYTES + 1))


@pytest.mark.parametrize(("index", "key"), [(0, "hub"), (99, "hub"), (100, "hub-2"), (2**40, "hub-2")])
def test_a_key_counts_in_its_range_of_leaf_indices(index, key):
    spki = spki_of(p256_key(key))
    assert full().check_key(HubKey(spki=spki).keyid, index).spki == spki


@pytest.mark.parametrize(("index", "key", "ranges"), [(100, "hub", "0 to 99"), (99, "hub-2", "100 to …")])
def test_a_key_does_not_count_outside_its_range(index, key, ranges):
    keyid = HubKey(spki=spki_of(p256_key(key))).keyid
    with pytest.raises(SignatureError) as refusal:
        full().check_key(keyid, index)
    assert refusal.value.finding == (
        f"leaf index of an entry by key {keyid[:16]}…: expected {ranges}, got {index}"
    )
