"""docs/spec: the program and a second reader, which knows only the text, agree on every vector."""

import hashlib
import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.bundle import NotVerifiedError, parse_bundle
from ledger.client.proof_extra import parse_extra
from ledger.client.proof_leaf import leaf_of
from ledger.client.trust import TrustFile
from ledger.client.trusted_keys import HubKey, TrustedLog, load_hub_key
from ledger.encoding import format_canonical_json, parse_base64
from ledger.entry import Entry, keyid_of, parse_entry, verify_entry
from ledger.errors import LedgerError
from ledger.event import UnknownStatement, escape_name, facts_digest, parse_statement
from ledger.event.schemas import PREFIX, STATEMENTS
from ledger.identity import canonical_identity, identity_digest, parse_signer
from ledger.manifest import escape_path, parse_manifest
from ledger.monitor_statement import verify_monitor_statement
from ledger.open_findings import history_digest
from ledger.tlog.checkpoint import verify_checkpoint
from ledger.tlog.merkle import leaf_hash, verify_inclusion
from ledger.tlog.proof import parse_proof
from ledger.tlog.signed_note import VerifierKey
from ledger.tlog.trust_policy import LogKey, TrustPolicy
from tests import second_reader as second
from tests.spec_vectors import SPEC, files


def cases(name):
    return json.loads((SPEC / "vectors" / f"{name}.json").read_text())


@pytest.mark.parametrize(("path", "text"), [pytest.param(*each, id=each[0].name) for each in files()])
def test_the_published_files_are_what_the_program_makes(path, text):
    assert path.read_text() == text, "run python -m tests.spec_vectors"


@pytest.mark.parametrize("case", cases("names"))
def test_names_and_paths(case):
    raw = bytes.fromhex(case["raw"])
    if "escaped" in case:
        assert escape_name(raw) == second.escape_name(raw) == case["escaped"]
        assert len(case["escaped"]) <= 256
    else:
        assert escape_path(raw) == second.escape_path(raw) == case["path"]


@given(st.binary(max_size=600))
def test_both_readers_escape_any_bytes_alike(raw):
    assert escape_name(raw) == second.escape_name(raw)
    assert escape_path(raw) == second.escape_path(raw)


@pytest.mark.parametrize("case", cases("identities"))
def test_identities(case):
    ours = canonical_identity(parse_signer(case["signer"]))
    assert ours.as_json() == second.identity(case["signer"]) == case["identity"]
    assert identity_digest(ours).hex() == second.sha256(second.canonical(case["identity"])) == case["sha256"]


@pytest.mark.parametrize("case", cases("statements"))
def test_statements(case):
    data = case["statement"].encode()
    if case["reader"] == "refuse":
        with pytest.raises(LedgerError):
            parse_statement(data)
        with pytest.raises(second.RefusedError):
            second.statement(data)
        return
    ours, (reading, theirs) = parse_statement(data), second.statement(data)
    assert reading == case["reader"]
    assert isinstance(ours, UnknownStatement) == (reading == "unknown")
    if reading == "known":
        assert hashlib.sha256(data).hexdigest() == case["sha256"]
        assert facts_digest(ours).hex() == second.facts_digest(theirs) == case["factsSha256"]


def test_every_type_has_a_known_statement_and_a_schema_that_holds_it():
    known = [json.loads(case["statement"]) for case in cases("statements") if case["reader"] == "known"]
    assert {each["predicateType"] for each in known} == set(STATEMENTS)
    for each in known:
        name = each["predicateType"].removeprefix(PREFIX).replace("/", ".")
        schema = json.loads((SPEC / "schemas" / f"{name}.schema.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(each)


@pytest.mark.parametrize("case", cases("entries"))
def test_entries(case):
    data, at = case["entry"].encode(), case["leafIndex"]

    def ours():
        parsed = parse_entry(data, leaf_index=at)
        if not isinstance(parsed, Entry):
            return parsed.root.hex()
        spki = parse_base64(case["spki"])
        verify_entry(parsed, {keyid_of(spki): load_hub_key(spki)})
        return hashlib.sha256(parsed.payload).hexdigest()

    def theirs():
        parsed = second.entry(data, at)
        if parsed[0] == "map":
            return parsed[1]
        return second.sha256(second.verify_envelope(parsed, second.unbase64(case["spki"])))

    if case.get("refuse"):
        with pytest.raises(LedgerError):
            ours()
        with pytest.raises(second.RefusedError):
            theirs()
    else:
        assert ours() == theirs() == case.get("payloadSha256", case.get("mapRoot"))
        assert leaf_hash(data).hex() == case["leafHash"]


@pytest.mark.parametrize("case", cases("manifests"))
def test_manifests(case):
    data, content = second.manifest(case["files"])
    assert data == case["manifest"].encode() == parse_manifest(data).data
    assert second.sha256(data) == case["sha256"] == parse_manifest(data).sha256.hex()
    assert content == case["contentSha256"]


@pytest.mark.parametrize("case", cases("bundles"))
def test_bundles(case):
    """Both readers agree on what is a signature file, and so no content."""
    data = case["file"].encode()
    assert second.is_bundle(data) == case["bundle"]
    if case["bundle"]:
        assert parse_bundle(data).raw == data
    else:
        with pytest.raises(NotVerifiedError):
            parse_bundle(data)


@pytest.mark.parametrize("case", cases("proofs"))
def test_proofs(case):
    data = case["proof"].encode()

    def ours():
        proof, key = parse_proof(data), VerifierKey.parse(case["vkey"])
        shown = verify_checkpoint(proof.checkpoint_note, origin=key.name, keys=[key]).checkpoint
        entry = parse_extra(proof.extra).entry
        verify_inclusion(
            leaf_hash(entry), index=proof.index, size=shown.size, proof=proof.hashes, root=shown.root_hash
        )
        return proof.index, shown.size, shown.root_hash.hex(), entry

    if case.get("refuse"):
        with pytest.raises(LedgerError):
            ours()
        with pytest.raises(second.RefusedError):
            second.proof(data, case["vkey"])
        return
    assert ours() == second.proof(data, case["vkey"])
    index, size, root, entry = ours()
    assert (index, size, root) == (case["index"], case["size"], case["rootHash"])
    assert second.sha256(entry) == case["entrySha256"]


@pytest.mark.parametrize("case", cases("rekor-proofs"))
def test_proofs_of_rekor(case):
    data, spki = case["proof"].encode(), parse_base64(case["spki"])
    key = VerifierKey.parse(case["vkey"])
    shard = TrustedLog(origin=key.name, keys=(key,))
    trust = TrustFile(
        version=1,
        ledger="log.example/models",
        origin="",
        policy=TrustPolicy(logs=(LogKey(key=key),)),
        hub="hub.example",
        hub_keys=(HubKey(spki=spki),),
        shards=(shard,),
    )

    def ours():
        proof = parse_proof(data)
        shown = verify_checkpoint(proof.checkpoint_note, origin=key.name, keys=[key]).checkpoint
        extra = parse_extra(proof.extra)
        leaf = leaf_of(extra, trust)
        verify_inclusion(
            leaf_hash(leaf), index=proof.index, size=shown.size, proof=proof.hashes, root=shown.root_hash
        )
        return (proof.index, shown.size, shown.root_hash.hex(), extra.entry), leaf

    if case.get("refuse"):
        with pytest.raises(LedgerError):
            ours()
        with pytest.raises(second.RefusedError):
            second.proof(data, case["vkey"], spki)
        return
    found, leaf = ours()
    assert found == second.proof(data, case["vkey"], spki)
    assert leaf == second.rekor_leaf(found[3], spki) == case["leaf"].encode()
    assert found[:3] == (case["index"], case["size"], case["rootHash"])
    assert second.sha256(found[3]) == case["entrySha256"]
    with pytest.raises(second.RefusedError):
        second.proof(data, case["vkey"])  # as a proof of a tile log


@pytest.mark.parametrize("case", cases("monitor-statements"))
def test_monitor_statements(case):
    data, vkey = case["note"].encode(), case["vkey"]
    if case.get("refuse"):
        with pytest.raises(LedgerError):
            verify_monitor_statement(data, vkeys=[VerifierKey.parse(vkey)])
        with pytest.raises(second.RefusedError):
            second.monitor_statement(data, vkey)
        return
    ours = verify_monitor_statement(data, vkeys=[VerifierKey.parse(vkey)])
    theirs = second.monitor_statement(data, vkey)
    assert theirs == case["statement"]
    parts = [{"bits": each.bits, "count": each.count, "sha256": each.name} for each in ours.parts]
    assert {
        "ledger": ours.ledger,
        "origin": ours.origin,
        "size": ours.size,
        "root": ours.root_hash.hex(),
        "checked": ours.checked_at,
        "log": ours.log and str(ours.log),
        "listed": {each.history.hex(): str(each.open) for each in ours.histories},
        "notListed": ours.not_listed,
        **({"parts": parts} if parts else {}),
    } == case["statement"]
    for key, name in case.get("part", {}).items():
        assert [each.name for each in ours.parts_for([key])] == [name]
        assert second.part_of(theirs["parts"], history_digest(ours.ledger, key).hex())[0]["sha256"] == name
    for key, line in case.get("open", {}).items():
        digest = second.history_digest(ours.ledger, key)
        assert digest == history_digest(ours.ledger, key).hex()
        found = ours.open_for([key])
        assert (found and str(found)) == line == case["statement"]["listed"].get(digest)


@pytest.mark.parametrize("case", cases("monitor-statement-parts"))
def test_parts_of_monitor_statements(case):
    note, vkey, part = case["note"].encode(), case["vkey"], case["part"].encode()
    ours = verify_monitor_statement(note, vkeys=[VerifierKey.parse(vkey)])
    theirs = second.monitor_statement(note, vkey)
    digest = second.history_digest(ours.ledger, case["history"])
    if case.get("refuse"):
        with pytest.raises(LedgerError):
            ours.open_for([case["history"]], [part])
        with pytest.raises(second.RefusedError):
            second.open_in_part(theirs, digest, part)
        return
    found = ours.open_for([case["history"]], [part])
    assert (found and str(found)) == case["open"] == second.open_in_part(theirs, digest, part)


def test_the_text_names_every_field_of_every_type():
    text = (SPEC / "event.md").read_text() + (SPEC / "identity.md").read_text()
    for kind, table in STATEMENTS.items():
        assert f"### {kind.removeprefix(PREFIX)}" in text
        for name in {**table.required, **table.optional}:
            assert f"`{name}`" in text, (kind, name)
        fields = set(second.FIELDS[kind.removeprefix(PREFIX)].split())
        own = {*(table.required.keys() - second.COMMON), *(f"{name}?" for name in table.optional)}
        assert fields == own, kind


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=5), inner, max_size=4)
        ),
    )
)
def test_both_readers_encode_any_value_alike(value):
    assert format_canonical_json(value) == second.canonical(value)
