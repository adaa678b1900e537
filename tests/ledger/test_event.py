"""Statements: one form for each, always within their limits, and nothing lost in between."""

import hashlib
import json
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding import format_canonical_json
from ledger.errors import LimitError, MalformedError
from ledger.event import (
    MAX_STATEMENT_BYTES,
    HistoryLink,
    PlainStatement,
    RecordedBy,
    SignatureFact,
    UnknownStatement,
    UpstreamLog,
    escape_name,
    facts_digest,
    fit,
    format_statement,
    parse_statement,
    schemas,
)
from ledger.identity import (
    CertificateFacts,
    CommittedFacts,
    Overflow,
    SigstoreFacts,
    overflow_text,
    overflow_value,
)
from tests.events import digest, event, key, signed_by, workflow


def full():
    """An event with every optional field."""
    facts = (
        *signed_by(workflow("refs/tags/v1")),
        SignatureFact(
            bundle_sha256=digest("x"),
            outcome="CONTENT_MISMATCH",
            method="certificate",
            location="a/b.sig",
            ignored_paths=("a", "b"),
            account_link="proven",
            signer=CertificateFacts(
                chain_sha256=(digest("1"),), anchor_spki_sha256=digest("2"), subject="CN=x"
            ),
            upstream_log=UpstreamLog(
                origin="o", log_id=digest("l"), kind="dsse:0.0.1", index=2**60, integrated_time=7
            ),
        ),
        SignatureFact(
            bundle_sha256=digest("y"),
            outcome="UNKNOWN_KEY",
            claimed_signer=CommittedFacts(commitment=digest("c")),
        ),
    )
    whole = event(signatures=facts, repo_id="42", ref="refs/heads/main")
    return replace(
        whole,
        model=replace(whole.model, parents=("r0",), revision_time="2026-01-01T00:00:00Z"),
        more_signatures=Overflow(count=3, sha256=digest("z")),
        reasons=("unsigned-file",),
        uploader_account="u1",
    )


@pytest.mark.parametrize(
    "make", [event, full, lambda: event(key("a")), lambda: event(workflow("refs/pull/1/head"))]
)
def test_events_read_back_and_satisfy_their_schema(make):
    statement = make()
    data = format_statement(statement)
    assert parse_statement(data) == statement
    jsonschema.Draft202012Validator(schemas.json_schema(schemas.VERIFICATION_EVENT)).validate(
        json.loads(data)
    )


COMMON = event().common
HISTORY = (HistoryLink(key="hub:", sequence=1, previous=digest("p")),)
PLAIN = {
    schemas.IDENTITY_POLICY: {
        "scope": "name:acme/tiny",
        "policySha256": "00" * 32,
        "change": "set",
        "requestedBy": "u1",
        "authorisedBy": "u2",
        "effectiveAt": "2026-01-01T00:00:00Z",
    },
    schemas.CHALLENGE: {"challengeId": "c1", "state": "opened", "policySha256": "00" * 32},
    schemas.MODEL_NOTICE: {"name": "acme/tiny", "notice": "renamed", "oldName": "acme/old"},
    schemas.DERIVATION: {
        "model": {"name": "acme/tiny", "revision": "r"},
        "basis": "claimed",
        "parents": [{"name": "acme/base"}],
    },
    schemas.ACCOUNT_LINK: {
        "account": "u1",
        "signer": {"kind": "key", "spkiSha256": "00" * 32},
        "state": "proven",
        "method": "challenge",
    },
    schemas.HUB_KEY: {
        "keyid": hashlib.sha256(b"\0\0\0").hexdigest(),
        "spki": "AAAA",
        "state": "revoked",
        "holder": "hub.example",
        "role": "hub",
        "from": 7,
    },
    schemas.ERASURE: {"evidence": ["00" * 32], "reason": "request"},
    schemas.ANCHOR: {"origin": "log.example", "size": 3, "rootHash": "00" * 32},
    schemas.SUCCESSION: {"predecessor": "old.example", "finalCheckpoint": "old.example\n0\n"},
}


def plain(kind):
    common = None if kind == schemas.ANCHOR else replace(COMMON, histories=HISTORY)
    return PlainStatement(predicate_type=kind, fields=PLAIN[kind], common=common)


@pytest.mark.parametrize("kind", PLAIN)
def test_a_subject_that_the_predicate_does_not_give_is_refused(kind):
    value = json.loads(format_statement(plain(kind)))
    value["subject"][0]["digest"]["sha256"] = "ab" * 32
    with pytest.raises(MalformedError, match=r"from the predicate, got .* with " + "ab" * 32):
        parse_statement(format_canonical_json(value))


def test_a_hub_key_has_the_id_of_its_key():
    with pytest.raises(MalformedError, match=r"keyid of the hub key: expected 709e80c8.*, of its spki"):
        PlainStatement(
            predicate_type=schemas.HUB_KEY,
            fields={**PLAIN[schemas.HUB_KEY], "keyid": "00" * 32},
            common=COMMON,
        )


def test_there_are_ten_types():
    assert set(PLAIN) | {schemas.VERIFICATION_EVENT} == set(schemas.STATEMENTS)
    assert len(schemas.STATEMENTS) == 10


@pytest.mark.parametrize("kind", PLAIN)
def test_the_other_nine_types_read_back_and_satisfy_their_schemas(kind):
    data = format_statement(plain(kind))
    assert parse_statement(data) == plain(kind)
    validator = jsonschema.Draft202012Validator(schemas.json_schema(kind))
    validator.check_schema(schemas.json_schema(kind))
    validator.validate(json.loads(data))
    value = json.loads(data)
    del value["predicate"][next(iter(PLAIN[kind]))]
    assert not validator.is_valid(value)


def changed(change):
    value = json.loads(format_statement(full()))
    change(value)
    return format_canonical_json(value)


def put(path, new):
    def change(value):
        *parents, last = path
        for each in parents:
            value = value[each]
        if new is None:
            del value[last]
        else:
            value[last] = new

    return change


P = "predicate"
LIES = {
    "no ledger": put([P, "ledger"], None),
    "a number for a name": put([P, "model", "name"], 7),
    "a name with a space": put([P, "model", "name"], "a b"),
    "a null": put([P, "model", "ref"], [None]),
    "an upper-case digest": put([P, "manifest", "sha256"], "A" * 64),
    "a short digest": put([P, "manifest", "contentSha256"], "00"),
    "a negative size": put([P, "manifest", "bytes"], -1),
    "a boolean for a size": put([P, "manifest", "files"], True),
    "a decision of its own": put([P, "policy", "decision"], "blessed"),
    "an outcome that the signatures do not have": put([P, "outcome"], "UNSIGNED"),
    "a local time": put([P, "recordedAt"], "2026-01-02T03:04:05+01:00"),
    "a fraction of a second": put([P, "verifiedAt"], "2026-01-02T03:04:05.1Z"),
    "month 13": put([P, "verifiedAt"], "2026-13-02T03:04:05Z"),
    "no history": put([P, "histories"], []),
    "a history of another model": put([P, "histories", 0, "key"], "name:acme/other"),
    "unsorted histories": lambda value: value[P]["histories"].reverse(),
    "a first statement with a previous": put([P, "histories", 0, "previous"], "00" * 32),
    "no sequence": put([P, "histories", 0, "sequence"], None),
    "an observer with a sequence": put([P, "recordedBy", "role"], "observer"),
    "two subjects": lambda value: value["subject"].append(value["subject"][0]),
    "another subject": put(["subject", 0, "digest", "sha256"], "00" * 32),
    "a verified signature without a signer": put([P, "signatures", 0, "signer"], None),
    "a signer whose signature failed": put([P, "signatures", 0, "outcome"], "INVALID_SIGNATURE"),
    "seventeen signatures": lambda value: value[P]["signatures"].extend(value[P]["signatures"][:1] * 14),
    "a small number as text": put([P, "signatures", 1, "upstreamLog", "index"], "7"),
    "an event id with a space": put([P, "eventId"], "a b"),
    "an event id of 129 bytes": put([P, "eventId"], "a" * 129),
    "free text for a reason": put([P, "reasons"], ["It looked odd"]),
    "another statement version": put(["_type"], "https://in-toto.io/Statement/v2"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_statement_with_a_wrong_field_is_malformed(lie):
    with pytest.raises(MalformedError):
        parse_statement(changed(LIES[lie]))


def test_unknown_types_versions_and_fields_are_unknown_events():
    """They belong to their history, and nobody may claim to understand it."""
    for change in (
        put(["predicateType"], "https://hubledger/verification-event/v2"),
        put(["predicateType"], "https://example.org/other/v1"),
        put([P, "somethingNew"], 1),
    ):
        statement = parse_statement(changed(change))
        assert isinstance(statement, UnknownStatement)
        assert statement.common == full().common


def test_statements_have_a_limit():
    with pytest.raises(LimitError, match="statement: expected at most 32768 bytes, got 32769 bytes"):
        parse_statement(b" " * 32769)


def test_same_facts_are_what_a_retry_may_repeat():
    base = full()
    retry = replace(
        base,
        verified_at="2027-01-01T00:00:00Z",
        reasons=("signer-changed",),
        verifier=replace(base.verifier, version="9"),
        policy=replace(base.policy, decision="challenged"),
        common=replace(
            base.common,
            recorded_at="2027-01-01T00:00:00Z",
            histories=tuple(
                replace(link, sequence=7, previous=digest("p")) for link in base.common.histories
            ),
        ),
        signatures=tuple(replace(each, account_link="none") for each in base.signatures),
    )
    assert facts_digest(retry) == facts_digest(base)
    for other in (
        replace(base, trigger="recheck"),
        replace(base, uploader_account="u2"),
        replace(base, model=replace(base.model, revision="r2")),
        replace(base, signatures=base.signatures[:1]),
        replace(base, common=replace(base.common, event_id="e2")),
        replace(base, common=replace(base.common, recorded_by=RecordedBy(id="o", role="hub"))),
    ):
        assert facts_digest(other) != facts_digest(base)


# Names and sizes


def test_names_are_escaped_and_bounded():
    assert escape_name("acme/tiny-llm_v1.0") == "acme/tiny-llm_v1.0"
    assert escape_name("50%") == "50%25"
    assert escape_name("a b\n\x7f") == "a%20b%0A%7F"
    assert escape_name("e\u0301") == escape_name("\u00e9") == "%C3%A9"  # NFC
    assert escape_name(b"\xff") == "%FF"
    assert escape_name("\udcff") == "%FF"
    assert escape_name("\ud800") == "%ED%A0%80"
    long = escape_name("a" * 10_000)
    assert long == "a" * 180 + "%~" + hashlib.sha256(b"a" * 10_000).hexdigest()
    assert escape_name("a" * 256) == "a" * 256
    assert escape_name("a" * 179 + "\u00e9" * 60).startswith("a" * 179 + "%~")


@given(st.text() | st.binary())
def test_every_name_is_a_name(name):
    escaped = escape_name(name)
    assert len(escaped) <= 256
    assert all("!" <= c <= "~" for c in escaped)
    if name:
        schemas.NAME.check(escaped, "name")


TEXTS = st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace").decode())


def capped(text, limit):
    from ledger.event.fields import cap

    return cap(text, limit)


@st.composite
def huge_signatures(draw):
    """Sixteen signatures, every field as large as its cap allows."""
    claims = draw(st.lists(TEXTS, min_size=40, max_size=40))
    letter = draw(st.sampled_from(["x", "\u00e9", "\x01", '"', "\\", "\U0001f600"]))
    facts = SigstoreFacts(
        issuer=capped(letter * 500, schemas.ISSUER_CAP),
        san=capped(letter * draw(st.integers(1, 300)), schemas.SAN_CAP),
        san_type="uri",
        certificate_sha256=bytes(32),
        claims=tuple((f"claim{at:02d}", capped(text, schemas.CLAIM_CAP)) for at, text in enumerate(claims)),
    )
    return tuple(
        SignatureFact(
            bundle_sha256=bytes([at]) * 32,
            outcome="VERIFIED",
            statement_sha256=bytes(32),
            oms_root_sha256=bytes(32),
            method="sigstore",
            location="l" * 256,
            ignored_paths=("p" * 250, "q" * 250),
            signer=facts,
            upstream_log=UpstreamLog(
                origin="o" * schemas.ORIGIN_CAP,
                log_id=bytes(32),
                kind="k" * 32,
                index=2**62,
                integrated_time=2**52,
            ),
        )
        for at in range(16)
    )


@settings(max_examples=40, deadline=None)
@given(huge_signatures())
def test_the_largest_event_fits_and_fits_the_same_way_each_time(signatures):
    whole = replace(
        event(
            signatures=signatures,
            name="n" * 256,
            repo_id="i" * 256,
            ref="f" * 256,
            revision="v" * 256,
            event_id="e" * 128,
        ),
        uploader_account="u" * 256,
        reasons=("r" * 40,) * 64,
        more_signatures=Overflow(count=2**53 - 1, sha256=bytes(32)),
    )
    whole = replace(whole, model=replace(whole.model, parents=("p" * 253, "q" * 252)))
    fitted = fit(whole)
    data = format_statement(fitted)
    assert len(data) <= MAX_STATEMENT_BYTES
    assert parse_statement(data) == fitted
    assert format_statement(fit(whole)) == data
    assert fit(fitted) == fitted


def test_claims_overflow_last_signature_first():
    signer = replace(workflow("refs/tags/v1"), claims=tuple((f"c{at:02d}", "x" * 250) for at in range(40)))
    signatures = tuple(
        replace(each, bundle_sha256=bytes([at]) * 32) for at, each in enumerate(signed_by(signer) * 4)
    )
    fitted = fit(event(signatures=signatures))
    over = [isinstance(each.signer.claims, Overflow) for each in fitted.signatures]
    assert over == sorted(over)
    assert True in over
    assert False in over
    whole = overflow_value({f"c{at:02d}": "x" * 250 for at in range(40)})
    assert fitted.signatures[-1].signer.claims == whole


def test_overflow_forms_are_digests_of_the_whole():
    assert overflow_text("\u00e9").count == 2
    assert overflow_text("\u00e9").sha256 == hashlib.sha256(b"\xc3\xa9").digest()
    assert overflow_value(["a"]).sha256 == hashlib.sha256(b'["a"]').digest()
