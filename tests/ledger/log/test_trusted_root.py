"""Which shards an instance has: from an operator's files or Sigstore's own, in an order that never changes."""

import base64
import copy
import dataclasses
import json
import pathlib

import pytest

from ledger.bundle.log_entry import parse_log_entry, prove_log_entry
from ledger.client.trust import parse_trust
from ledger.client.trust_writing import format_trust
from ledger.config import AnchorConfig, Config, RekorConfig
from ledger.embedded.remote import first_trust
from ledger.errors import ConfigError, SignatureError
from ledger.log.rekor_v2 import note_key
from ledger.log.trusted_root import load_instance, read_instance
from tests.fakes.rekor import FakeTree, trust_of
from tests.world import p256_key, spki_of

DAY = 86_400


def instance(*trees, services=None, change=lambda root, signing: None, read_url=""):
    root, signing = trust_of(*trees, services=services)
    change(root, signing)
    return read_instance(root, signing, where="a file", read_url=read_url)


def service(url, version=2, start="2026-01-02T03:04:05Z", **more):
    return {"url": url, "majorApiVersion": version, "validFor": {"start": start} | more}


def test_a_shard_has_the_name_and_the_key_of_its_log():
    tree = FakeTree()
    (shard,) = instance(tree).shards
    assert shard == tree.shard(
        write_url="https://rekor.example",
        read_url="https://rekor.example/api/v2",
        valid_from=1_767_323_045,
    )
    assert note_key(shard) == tree.signer.verifier


def test_the_keys_prove_what_the_log_signed():
    tree = FakeTree()
    tree.append(b"entry")
    assert prove_log_entry(parse_log_entry(tree.entry(0)), instance(tree).keys).body == b"entry"


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("rekor.example", "https://rekor.example:8443/"),
        ("rekor.example:8443", "https://rekor.example:8443/"),
        ("rekor.example/log/1", "https://rekor.example/log/1"),
        ("https://rekor.example", "https://rekor.example"),
    ],
)
def test_the_origin_is_the_part_of_the_address_that_gives_the_id(origin, url):
    def change(root, signing):
        root["tlogs"][0]["baseUrl"] = url

    assert instance(FakeTree(origin), services=[], change=change).shards[0].origin == origin


def named_elsewhere(tree, served):
    """An instance whose address does not tell the log's name; ``served`` is what is at its read address."""
    root, signing = trust_of(tree, services=[])
    root["tlogs"][0]["baseUrl"] = "http://127.0.0.1:3000"
    asked = []

    def open_url(url):
        def fetch(name, /, *, max_bytes):
            asked.append(f"{url}/{name}")
            return served

        return fetch

    found = read_instance(root, signing, where="a file", open_url=open_url)
    assert asked == ["http://127.0.0.1:3000/api/v2/checkpoint"]
    return found.shards[0].origin


def test_a_name_that_is_not_in_the_address_is_on_the_checkpoint_and_held_against_the_id():
    tree, witness = FakeTree("rekor-local"), FakeTree("witness.example", key="witness")
    assert named_elsewhere(tree, tree.checkpoint(signers=[witness.signer, tree.signer])) == "rekor-local"


def test_another_name_on_the_checkpoint_is_refused():
    other = FakeTree("other.example")  # the same key
    with pytest.raises(ConfigError, match=r"expected the name of the log [0-9a-f]{16}…, got other\.example"):
        named_elsewhere(FakeTree("rekor-local"), other.checkpoint())


def starts(*days):
    def change(root, signing):
        for log, day in zip(root["tlogs"], days, strict=True):
            log["publicKey"]["validFor"] = {"start": f"2026-01-{day:02}T00:00:00.000Z"}

    return change


def test_shards_are_in_the_order_of_their_keys_and_then_of_the_root():
    trees = [FakeTree(f"{word}.example", key=word) for word in "abcd"]
    found = instance(*trees, change=starts(3, 1, 2, 1))
    assert [shard.origin for shard in found.shards] == ["b.example", "d.example", "c.example", "a.example"]
    assert [shard.order for shard in found.shards] == [0, 1, 2, 3]


def test_an_old_shard_stays_readable_and_takes_nothing():
    old, new = FakeTree("old.example", key="old"), FakeTree("new.example", key="new")
    shards = instance(old, new, services=[service("https://new.example")]).shards
    assert [shard.write_url for shard in shards] == [None, "https://new.example"]
    assert [shard.read_url for shard in shards] == [
        "https://old.example/api/v2",
        "https://new.example/api/v2",
    ]


def test_logs_that_are_written_elsewhere_are_paired_from_the_newest_on():
    trees = [FakeTree(f"{word}.example", key=word) for word in "abc"]
    services = [service("http://127.0.0.1:1"), service("http://127.0.0.1:2")]
    shards = instance(*trees, services=services).shards
    assert [shard.write_url for shard in shards] == [None, "http://127.0.0.1:1", "http://127.0.0.1:2"]


def test_a_place_to_write_that_no_log_has_is_refused():
    with pytest.raises(ConfigError, match="expected logs of the trusted root"):
        instance(FakeTree(), services=[service("https://a.example"), service("https://b.example")])


def test_a_service_of_a_version_to_come_is_left_alone():
    tree = FakeTree()
    root, signing = trust_of(tree)
    known = read_instance(root, signing, where="").shards
    for url in (f"https://{tree.origin}", "https://rekor3.example"):
        later = {"url": url, "majorApiVersion": 3, "validFor": {"start": "2026-01-02T03:04:05Z"}}
        both = signing | {"rekorTlogUrls": [later, *signing["rekorTlogUrls"]]}
        assert read_instance(root, both, where="").shards == known


def test_a_shard_takes_entries_while_both_its_key_and_its_service_are_valid():
    (shard,) = instance(
        FakeTree(),
        services=[service("https://rekor.example", start="2026-02-01T00:00:00Z", end="2026-03-01T00:00:00Z")],
    ).shards
    assert (shard.valid_until - shard.valid_from) == 28 * DAY


@pytest.mark.parametrize(
    ("read_url", "expected"),
    [
        ("", ["https://a.example/api/v2", "https://b.example/api/v2"]),
        ("https://tiles.example/", ["https://a.example/api/v2", "https://tiles.example"]),
        (
            "https://tiles.example/{origin}",
            ["https://tiles.example/a.example", "https://tiles.example/b.example"],
        ),
    ],
)
def test_the_read_address_is_that_of_the_newest_shard_or_names_them_all(read_url, expected):
    trees = [FakeTree(f"{word}.example", key=word) for word in "ab"]
    assert [shard.read_url for shard in instance(*trees, read_url=read_url).shards] == expected


def v1(root, signing):
    import hashlib

    spki = spki_of(p256_key("rekor v1"))
    root["tlogs"][0] |= {
        "publicKey": {"rawBytes": base64.b64encode(spki).decode(), "keyDetails": "PKIX_ECDSA_P256_SHA_256"},
        "logId": {"keyId": base64.b64encode(hashlib.sha256(spki).digest()).decode()},
    }


def test_a_log_of_the_first_rekor_is_one_by_its_id():
    (shard,) = instance(FakeTree(), services=[service("https://rekor.example", version=1)], change=v1).shards
    assert (shard.kind, shard.origin, shard.read_url) == (
        "rekor-v1",
        "rekor.example",
        "https://rekor.example",
    )


def test_an_ecdsa_log_of_the_second_rekor_is_one_by_its_service():
    (shard,) = instance(FakeTree(), change=v1).shards
    assert (shard.kind, shard.origin) == ("rekor-v2", "rekor.example")
    assert note_key(shard).key_id == shard.log_id[:4]


def test_one_address_may_have_a_log_of_each_rekor():
    def change(root, signing):
        root["tlogs"].insert(0, copy.deepcopy(root["tlogs"][0]))
        v1(root, signing)

    services = [service("https://rekor.example", version=1), service("https://rekor.example", version=2)]
    found = instance(FakeTree(), services=services, change=change)
    assert [(shard.kind, shard.write_url) for shard in found.shards] == [
        ("rekor-v1", "https://rekor.example"),
        ("rekor-v2", "https://rekor.example"),
    ]


def test_a_key_of_a_kind_that_nobody_knows_is_left_out():
    """A trusted root of the future serves the logs that are understood, which keep their places in the order."""

    def change(root, signing):
        spki = trees[0].spki.replace(bytes.fromhex("06032b6570"), bytes.fromhex("06032b6501"))
        root["tlogs"][0]["publicKey"]["rawBytes"] = base64.b64encode(spki).decode()

    trees = FakeTree("a.example", key="a"), FakeTree("b.example", key="b")
    found = instance(*trees, services=[service("https://b.example")], change=change)
    assert [(shard.order, shard.origin) for shard in found.shards] == [(1, "b.example")]
    assert found.keys.by_id.keys() == {trees[1].log_id}
    # Readers go by the trust file, in which the place is held: positions are equal for all of them.
    trust = first_trust(Config(ledger="log.example", hub="hub.example"), found, spki_of(p256_key("hub")))
    again = parse_trust(format_trust(trust))
    assert again.shards == trust.shards
    assert [each.origin for each in again.shards] == [f"a.example {trees[0].log_id.hex()[:16]}", "b.example"]
    assert [bool(each.keys) for each in again.shards] == [False, True]
    assert again.shards[1].log_id == trees[1].log_id
    trees[1].append(b"entry")
    assert again.log_of(trees[1].checkpoint())[0] == 1
    with pytest.raises(SignatureError):
        again.log_of(trees[1].checkpoint().replace(b"b.example\n", again.shards[0].origin.encode() + b"\n"))


def test_the_three_ways_to_name_an_instance_lead_to_the_same(tmp_path):
    root, signing = trust_of(FakeTree())
    (tmp_path / "root.json").write_text(json.dumps(root))
    (tmp_path / "signing.json").write_text(json.dumps(signing))
    (tmp_path / "trust.json").write_text(json.dumps({"trustedRoot": root, "signingConfig": signing}))
    files = load_instance(RekorConfig(trusted_root="root.json", signing_config="signing.json"), tmp_path)
    both = load_instance(AnchorConfig(trust_config="trust.json"), tmp_path)
    assert files.shards == both.shards == read_instance(root, signing, where="").shards
    assert json.loads(files.trusted_root) == root


def test_sigstores_public_instance_as_it_comes_with_sigstore(monkeypatch, tmp_path):
    """What TUF brings goes the same way; here it is what is inside of the package, so that nothing is fetched."""
    from sigstore.models import ClientTrustConfig

    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    public = ClientTrustConfig.production
    monkeypatch.setattr(ClientTrustConfig, "production", lambda: public(offline=True))
    found = load_instance(RekorConfig(), pathlib.Path())
    assert [(shard.kind, shard.origin) for shard in found.shards[:2]] == [
        ("rekor-v1", "rekor.sigstore.dev"),
        ("rekor-v2", "log2025-1.rekor.sigstore.dev"),
    ]
    assert found.tsa_urls == ("https://timestamp.sigstore.dev/api/v1/timestamp",)
    assert found.authorities


def test_an_outage_of_sigstores_repository_stops_nobody(monkeypatch, tmp_path, caplog):
    """Nobody listens where the only way to it leads: what was there last counts, at first what is inside of the package."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    found = load_instance(RekorConfig(), pathlib.Path())
    assert found.shards[0].origin == "rekor.sigstore.dev"
    assert "going on with what the last update brought" in caplog.text


@pytest.mark.needs_samples
def test_sigstores_own_trusted_root_proves_its_own_entry(vectors):
    folder = vectors / "vectors/rekor-bundles/rekor2-dsse-happy-path"
    root = json.loads((folder / "trusted_root.json").read_text())
    bundle = json.loads((folder / "bundle.sigstore.json").read_text())
    found = read_instance(root, None, where=str(folder))
    proven = prove_log_entry(parse_log_entry(bundle["verificationMaterial"]["tlogEntries"][0]), found.keys)
    (shard,) = (each for each in found.shards if each.log_id == proven.log_id)
    assert (shard.kind, shard.origin) == ("rekor-v2", proven.tree.origin)
    assert dataclasses.replace(shard, write_url=None) == shard, "without a signing config nothing is written"
