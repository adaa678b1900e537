"""Whatever bytes come in, what comes out is a value or a refusal of ours: never another exception, which is a bug."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.bundle import parse_bundle as parse_signature_bundle
from ledger.bundle.any_bundle import parse_any_bundle
from ledger.bundle.log_entry import format_log_entry, parse_log_entry
from ledger.bundle.signature import claimed_signer, verify_signature
from ledger.bundle.statement import parse_signed_files
from ledger.bundle.statement import parse_statement as parse_signed_statement
from ledger.bundle.trust_material import TrustMaterial
from ledger.client.event_bundle import check_event_bundle
from ledger.client.proof_bundle import Claim, ProofBundle
from ledger.client.proof_bundle import parse_bundle as parse_proof_bundle
from ledger.client.roots import parse_root
from ledger.client.sigstore_bundle import check_bundle
from ledger.client.trust import parse_trust
from ledger.client.trust_signature import verify_update
from ledger.client.trust_writing import format_trust
from ledger.client.verify import check_proof
from ledger.config import Config, format_config, parse_config
from ledger.encoding import parse_base64, parse_canonical_json, parse_decimal, parse_hex, parse_json
from ledger.entry import MapCommit, format_map_commit, parse_entry
from ledger.errors import LedgerError
from ledger.event import format_statement, parse_statement
from ledger.history import INITIAL, parse_state
from ledger.index import read_entry
from ledger.log.anchor_proofs import verify_envelope, verify_logged, verify_statement
from ledger.manifest import Manifest, ManifestFile, parse_manifest
from ledger.storage import Batch, Head
from ledger.storage.anchors import _format_new, _parse_new, _parse_timestamps
from ledger.storage.heads import _format_changes, _parse_changes, event_key
from ledger.tlog.checkpoint import verify_checkpoint
from tests import events, oms, sigstore_world, world
from tests.fakes.rekor import FakeTree, body_of
from tests.ledger.tlog.test_canonical import DOCUMENTS, LOG, TRUST
from tests.refusals import of_anchors, of_bundle, of_client_store

NEXT = of_client_store._version(2)
BUNDLE = ProofBundle(
    name="acme/tiny",
    proof=LOG.proof(5),
    claims=(Claim(leaf_index=5, revision="r", content_sha256=bytes(32), manifest_sha256=bytes(32)),),
    fetched_at=1,
).format()
SPLICES = [
    b"",
    b"\0",
    b"\n\n",
    b'"',
    b"\\",
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"-1",
    b"1e9",
    b"9" * 40,
    b"\xff",
    b"%",
    b"=",
    b"\xe2\x80\x94",
]


def text(parse):
    return lambda data: parse(data.decode("utf-8", "surrogateescape"))


def read_bundle(data):
    bundle = parse_signature_bundle(data)
    claimed_signer(bundle)
    statement = parse_signed_statement(bundle)
    with contextlib.suppress(LedgerError):
        verify_signature(bundle, TrustMaterial(), predicate_type=statement.predicate_type)
    return parse_signed_files(statement)


def check(data):
    return check_proof(data, trust=TRUST, now=world.NOW, log_only=True, pin=LOG.checkpoint(3))


def check_any(log):
    return lambda data: check_bundle(
        parse_any_bundle(data), root=sigstore_world.trusted_root(log), log_only=True
    )


def check_event(log):
    return lambda data: check_event_bundle(
        parse_any_bundle(data), trust=sigstore_world.trust_of(log), now=world.NOW, log_only=True
    )


ONE, TWO = sigstore_world.RekorOne(), sigstore_world.RekorTwo()


def as_bytes(bundle):
    return json.dumps(bundle).encode()


CHANGES = Batch(
    first=0,
    count=1,
    data=b"",
    root=bytes(32),
    frontier=(),
    events=[(event_key("hub.example", "e1"), 7)],
    heads=[("name:a", Head(sequence=7, statement_sha256=bytes(32), state=INITIAL.format()))],
)

SIGNED = verify_envelope(of_anchors.ENVELOPE, of_anchors.KEYS)
TREE = FakeTree()
TREE.append(body_of(SIGNED))
LOG_ENTRY = format_log_entry(parse_log_entry(TREE.entry(0)), TREE.tree())
ANCHOR = _format_new(of_anchors.NEW)


def read_stored(data):
    """What a stored anchor is held against, one step after the other."""
    new = _parse_new(data)
    signed = verify_envelope(new.envelope, of_anchors.KEYS)
    found = verify_checkpoint(new.note, origin=of_anchors.LEDGER, keys=[of_anchors.LOG.verifier])
    verify_statement(signed.payload, found.parsed.text)
    return new


PARSERS = DOCUMENTS | {
    "a decimal": (b"25232885", text(parse_decimal)),
    "base64": (b"aGVsbG8=", parse_base64),
    "hex": (b"00ff", text(parse_hex)),
    "JSON": (b'{"a":[1,2.5,{"b":null}]}', lambda data: parse_json(data, max_bytes=1000)),
    "canonical JSON": (b'{"a":[1,"\xc3\xa9"]}', lambda data: parse_canonical_json(data, max_bytes=1000)),
    "a statement": (
        format_statement(events.event(events.key("a"), events.workflow("refs/tags/v1"), repo_id="7")),
        parse_statement,
    ),
    "an entry": (world.sign_statement(format_statement(world.make_event())), parse_entry),
    "an entry for the index": (world.sign_statement(format_statement(world.make_event())), read_entry),
    "a map commit": (format_map_commit(MapCommit(covers=7, root=bytes(32))), parse_entry),
    "a manifest": (Manifest.of([ManifestFile(path="a", sha256=bytes(32), size=1)]).data, parse_manifest),
    "a state": (INITIAL.apply(events.event(events.key("a"))).format(), parse_state),
    "recent changes": (_format_changes(CHANGES.events, CHANGES.heads), _parse_changes),
    "settings": (format_config(Config(ledger="log.example", hub="hub.example")), parse_config),
    "a bundle with a key": (of_bundle._bundle(), read_bundle),
    "a bundle with a chain": (
        of_bundle._bundle(
            material=oms.chain_material(
                oms.certify("leaf", oms.authority(), key=world.p256_key("leaf"), serial=7)
            )
        ),
        read_bundle,
    ),
    "a bundle of a file": (as_bytes(sigstore_world.sign_file(TWO)), check_any(TWO)),
    "a bundle of a statement": (as_bytes(sigstore_world.sign_payload(ONE)), check_any(ONE)),
    "a bundle of an old statement": (
        as_bytes(sigstore_world.sign_payload(ONE, kind=("intoto", "0.0.2"))),
        check_any(ONE),
    ),
    "a bundle of an event": (sigstore_world.event_bundle(TWO), check_event(TWO)),
    "a trusted root": (sigstore_world.trusted_root(ONE, TWO), parse_root),
    "a file of fetch-proof": (BUNDLE, parse_proof_bundle),
    "the signature of a trust file": (
        of_client_store._signed(NEXT, "first"),
        lambda data: verify_update(parse_trust(of_client_store._version(1)), NEXT, data),
    ),
    "a trust file of Rekor": (format_trust(sigstore_world.trust_of(ONE, TWO)), parse_trust),
    "a proof to check": (LOG.proof(5, since=3), check),
    "a stored anchor": (ANCHOR, read_stored),
    "an anchor's envelope": (of_anchors.ENVELOPE, lambda data: verify_envelope(data, of_anchors.KEYS)),
    "an anchor's log entry": (LOG_ENTRY, lambda data: verify_logged(SIGNED, data, TREE.keys)),
    "stored timestamps": (b'["aGVsbG8="]', _parse_timestamps),
}


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_refused_by_name_or_read(kind, data):
    document, parse = PARSERS[kind]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document)))
        end = data.draw(st.integers(at, min(len(document), at + 8)))
        splice = data.draw(st.one_of(st.sampled_from(SPLICES), st.binary(max_size=3)))
        document = document[:at] + splice + document[end:]
    with contextlib.suppress(LedgerError):
        parse(document)


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=30, deadline=None)
@given(junk=st.binary(max_size=100) | st.text(max_size=50).map(str.encode))
def test_junk_is_refused_by_name_or_read(kind, junk):
    with contextlib.suppress(LedgerError):
        PARSERS[kind][1](junk)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize(
    "kind",
    [
        "a statement",
        "an entry",
        "a map commit",
        "a manifest",
        "recent changes",
        "a bundle with a key",
        "a bundle of a file",
        "a bundle of a statement",
        "a bundle of an old statement",
        "a bundle of an event",
        "a trusted root",
        "evidence",
        "a stored anchor",
        "an anchor's envelope",
        "an anchor's log entry",
        "stored timestamps",
    ],
)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_json_of_another_type_anywhere_is_refused_by_name_or_read(kind, data):
    """One value somewhere in the document is replaced by another: what a parser takes for granted shows here."""
    document, parse = PARSERS[kind]
    value = json.loads(document)
    places = list(_places(value))
    holder, name = data.draw(st.sampled_from(places))
    holder[name] = data.draw(JSON_VALUES)
    with contextlib.suppress(LedgerError):
        parse(_canonical(value))


def _places(value):
    if isinstance(value, dict):
        for name in value:
            yield value, name
            yield from _places(value[name])
    elif isinstance(value, list):
        for at in range(len(value)):
            yield value, at
            yield from _places(value[at])


def _canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
