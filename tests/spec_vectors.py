"""Makes the vectors and JSON Schemas of docs/spec: ``python -m tests.spec_vectors`` writes the files."""

import base64
import hashlib
import json
from dataclasses import replace

from ledger.bundle.bodies import SignedPayload, hashedrekord_v2
from ledger.client.proof_extra import Consistency, ProofExtra, format_extra
from ledger.client.proof_leaf import HASHEDREKORD
from ledger.encoding import format_base64, format_canonical_json
from ledger.entry import MapCommit, format_entry, format_map_commit, keyid_of, pae
from ledger.event import PlainStatement, escape_name, facts_digest, format_statement
from ledger.event.schemas import ANCHOR, PREFIX, STATEMENTS, json_schema
from ledger.identity import (
    CertificateFacts,
    CommittedFacts,
    canonical_identity,
    identity_digest,
    overflow_text,
    overflow_value,
)
from ledger.manifest import Manifest, ManifestFile, ManifestLink, escape_path
from ledger.monitor_statement import MonitorStatement, format_monitor_statement
from ledger.open_findings import (
    MAX_HISTORIES,
    ListPart,
    OpenClass,
    OpenFindings,
    OpenList,
    OpenSeverity,
    history_digest,
    verify_part,
)
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.merkle import EMPTY_ROOT, leaf_hash, node_hash
from ledger.tlog.proof import TlogProof, format_proof
from ledger.tlog.signed_note import parse_note, sign_note
from tests import events, world
from tests.conftest import REPOSITORY
from tests.ledger.test_event import PLAIN, full, plain

SPEC = REPOSITORY / "docs" / "spec"
RAW_NAMES = [
    b"acme/tiny",
    b"acme/100%",
    b"acme/two words",
    "acme/modèle".encode(),
    "acme/mode\u0300le".encode(),
    "名前/模型".encode(),
    b"acme/\xff\xfe",
    b"line\nfeed\0",
    b"",
    b"a" * 256,
    b"a" * 257,
    b"a" * 179 + b" " * 100,
    b"a" * 178 + b" " * 100,
    ("é" * 5000).encode(),
]


def names():
    cases = [{"raw": raw.hex(), "escaped": escape_name(raw)} for raw in RAW_NAMES if raw]
    return [*cases, *({"raw": raw.hex(), "path": escape_path(raw)} for raw in RAW_NAMES if raw)]


def identities():
    signers = [
        *(
            events.workflow(ref)
            for ref in (
                "refs/tags/v1",
                "refs/heads/main",
                "refs/pull/1/head",
                "refs/merge-requests/2/head",
                "refs/x",
            )
        ),
        replace(events.workflow("refs/tags/v1"), san="dev@acme.example", san_type="email", claims=()),
        replace(events.workflow("refs/tags/v1"), san=overflow_text("x" * 9000)),
        replace(events.workflow("refs/tags/v1"), claims=overflow_value({"buildTrigger": "push"})),
        events.key("a"),
        CertificateFacts(
            chain_sha256=(events.digest("1"),), anchor_spki_sha256=events.digest("2"), subject="CN=A"
        ),
        CertificateFacts(chain_sha256=(), anchor_spki_sha256=None, subject="CN=A"),
        CommittedFacts(commitment=events.digest("c")),
    ]
    return [
        {
            "signer": signer.as_json(),
            "identity": canonical_identity(signer).as_json(),
            "sha256": identity_digest(canonical_identity(signer)).hex(),
        }
        for signer in signers
    ]


def changed(data, *path, value):
    """The statement with one value replaced, canonical again."""
    whole = json.loads(data)
    at = whole
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return format_canonical_json(whole)


LARGE_TREE = {"origin": "log.example", "size": str(2**53), "rootHash": "01" * 32}
"""A tree of more leaves than a JSON number can say."""


def statements():
    known = [
        events.event(),
        full(),
        events.event(events.key("a"), repo_id="7"),
        *(plain(kind) for kind in PLAIN),
        PlainStatement(predicate_type=ANCHOR, fields=LARGE_TREE),
    ]
    cases = [
        {
            "statement": format_statement(each).decode(),
            "reader": "known",
            "sha256": events.hashlib.sha256(format_statement(each)).hexdigest(),
            "factsSha256": facts_digest(each).hex(),
        }
        for each in known
    ]
    event, anchor = format_statement(full()), format_statement(plain(ANCHOR))
    unknown = [
        changed(event, "predicateType", value=f"{PREFIX}verification-event/v2"),
        changed(event, "predicateType", value="https://example.org/other/v1"),
        changed(event, "predicate", "newField", value=1),
        # An anchor has none of the common fields: a later version may.
        changed(anchor, "predicate", "ledger", value="log.example"),
    ]
    refused = [
        event + b"\n",
        event.replace(b'"predicate":', b'"predicate": ', 1),
        event.replace(b'"trigger":"upload"', b'"trigger":"upload","trigger":"upload"'),
        event.replace(b'"files":3', b'"files":3.0'),
        changed(event, "subject", value=[]),
        changed(event, "subject", 0, "name", value="acme/other"),
        changed(event, "predicate", "outcome", value="UNSIGNED"),
        changed(event, "predicate", "trigger", value="later"),
        changed(event, "predicate", "recordedAt", value="2026-01-02T03:04:05+00:00"),
        changed(event, "predicate", "eventId", value="two words"),
        changed(event, "predicate", "model", "extra", value=1),
        changed(event, "predicate", "histories", 0, "previous", value="00" * 32),
        changed(event, "predicate", "histories", value=[]),
        changed(
            event,
            "predicate",
            "signatures",
            0,
            "claimedSigner",
            value={"kind": "key", "spkiSha256": "00" * 32},
        ),
        changed(format_statement(plain(f"{PREFIX}hub-key/v1")), "predicate", "keyid", value="00" * 32),
        changed(event, "padding", value="x" * 32768),
        changed(anchor, "predicate", "size", value=4),
        changed(anchor, "predicate", "rootHash", value="11" * 32),
        changed(anchor, "predicate", "size", value="3"),
        changed(anchor, "subject", 0, "name", value="log.example/other"),
    ]
    cases += [{"statement": each.decode(), "reader": "unknown"} for each in unknown]
    return cases + [{"statement": each.decode(), "reader": "refuse"} for each in refused]


def signed(statement):
    key = world.p256_key("hub")
    signature = key.sign(pae(statement), world._ECDSA)
    return format_entry(statement, keyid=keyid_of(world.spki_of(key)), signature=signature)


def entries():
    payload = format_statement(events.event(events.key("a")))
    good, spki = signed(payload), format_base64(world.spki_of(world.p256_key("hub")))
    commit = format_map_commit(MapCommit(covers=7, root=events.digest("map")))
    value = json.loads(good)
    other = {**value, "payload": format_base64(format_statement(events.event()))}
    twice = {**value, "signatures": value["signatures"] * 2}
    lax = {**value, "payload": value["payload"].rstrip("=")}
    cases = [
        {
            "entry": good.decode(),
            "leafIndex": 3,
            "leafHash": leaf_hash(good).hex(),
            "spki": spki,
            "payloadSha256": events.hashlib.sha256(payload).hexdigest(),
        },
        {
            "entry": commit.decode(),
            "leafIndex": 7,
            "leafHash": leaf_hash(commit).hex(),
            "mapRoot": events.digest("map").hex(),
        },
        {"entry": format_canonical_json(other).decode(), "leafIndex": 3, "spki": spki, "refuse": True},
    ]
    bad = [
        (format_canonical_json(twice), 3),
        (format_canonical_json(lax), 3) if lax != value else (b"{}", 3),
        (format_canonical_json({**value, "extra": 1}), 3),
        (good + b"\n", 3),
        (json.dumps(value).encode(), 3),
        (commit, 8),
        (commit.replace(b'"7"', b'"07"'), 7),
        (commit.replace(b'"7"', b"7"), 7),
        (commit.replace(b"hubledger/v1", b"hubledger/v2"), 7),
        (format_canonical_json({**value, "payload": "A" * 49000}), 3),
    ]
    return cases + [{"entry": data.decode(), "leafIndex": at, "refuse": True} for data, at in bad]


def bundle(**more):
    """A signature file in the smallest form; ``more`` are fields that none has."""
    return json.dumps(BUNDLE | more)


BUNDLE = {
    "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
    "verificationMaterial": {"publicKey": {"hint": "00"}, "tlogEntries": []},
    "dsseEnvelope": {
        "payload": "e30=",
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": "AA==", "keyid": ""}],
    },
}


def bundles():
    """Files with whether each is a signature bundle; every part is bent in turn."""
    material, envelope = BUNDLE["verificationMaterial"], BUNDLE["dsseEnvelope"]
    entry = {
        "logIndex": "1",
        "logId": {"keyId": "AA=="},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
        "integratedTime": 1,
        "inclusionPromise": {"signedEntryTimestamp": "AA=="},
        "inclusionProof": {
            "logIndex": "1", "rootHash": "AA==", "treeSize": "2", "hashes": ["AA=="],
            "checkpoint": {"envelope": "log\n2\nAA==\n\n\u2014 log AA==\n"},
        },
        "canonicalizedBody": "AA==",
    }  # fmt: skip
    certificate = {"rawBytes": "AA=="}

    def having(**more):
        return bundle(verificationMaterial=material | more)

    def signed(**more):
        return bundle(dsseEnvelope=envelope | more)

    good = [
        bundle(),
        json.dumps(BUNDLE, indent=1),
        bundle(messageSignature=None),
        bundle(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"),
        having(tlogEntries=[entry]),
        having(tlogEntries=[{}], timestampVerificationData={"rfc3161Timestamps": [{"signedTimestamp": ""}]}),
        having(publicKey={"rawBytes": "AA==", "keyDetails": "X", "validFor": {"start": "2026", "end": None}}),
        having(publicKey=None, certificate=certificate),
        having(publicKey=None, x509CertificateChain={"certificates": [certificate, certificate]}),
        signed(signatures=[{"sig": "AA=="}]),
        signed(signatures=[{"sig": "AA==", "keyid": None}]),
    ]
    bad = [
        "",
        "[]",
        "{}",
        bundle(peft_type="LORA"),
        bundle(messageSignature={}),
        bundle(mediaType="application/json"),
        bundle()[:-1] + ', "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}',
        bundle() + "x",
        having(publicKey=None),
        having(certificate=certificate),
        having(publicKey={"hint": "00", "extra": 1}),
        having(publicKey={"hint": "{% x %}"}),
        having(publicKey={"hint": "<x>"}),
        having(publicKey={"hint": "\t"}),
        having(publicKey={"hint": 1}),
        having(publicKey="00"),
        having(extra=1),
        having(tlogEntries={}),
        having(tlogEntries=[entry | {"extra": 1}]),
        having(tlogEntries=[entry | {"integratedTime": True}]),
        having(tlogEntries=[entry | {"integratedTime": 1.5}]),
        having(tlogEntries=[entry | {"inclusionProof": {"extra": 1}}]),
        having(tlogEntries=[entry | {"inclusionProof": {"checkpoint": {"envelope": "", "extra": 1}}}]),
        having(timestampVerificationData={"rfc3161Timestamps": [{"extra": 1}]}),
        having(publicKey=None, certificate=certificate | {"extra": 1}),
        having(publicKey=None, x509CertificateChain={"certificates": [certificate | {"extra": 1}]}),
        signed(extra=1),
        signed(payloadType="application/json"),
        signed(payload="e30"),
        signed(payload=None),
        signed(signatures=[]),
        signed(signatures=[{"sig": "AA=="}] * 2),
        signed(signatures=[{"sig": "AA==", "extra": 1}]),
        signed(signatures=[{"keyid": ""}]),
        signed(signatures=[{"sig": "AB=="}]),
    ]
    return [{"file": text, "bundle": True} for text in good] + [
        {"file": text, "bundle": False} for text in bad
    ]


def manifests():
    files = [
        {"rawPath": b"weights/model.safetensors".hex(), "content": b"weights".hex()},
        {"rawPath": b"README.md".hex(), "content": b"# tiny".hex()},
        {"rawPath": b"100%".hex(), "content": b"".hex()},
        {"rawPath": b"\xff".hex(), "content": b"1".hex()},
        {"rawPath": "é".encode().hex(), "content": b"2".hex()},
        {"rawPath": "\U0001f600".encode().hex(), "content": b"3".hex()},
        {"rawPath": "\uffee".encode().hex(), "content": b"4".hex()},
        {"rawPath": b".gitignore".hex(), "content": b"*".hex()},
        {"rawPath": b"sub/.gitignore".hex(), "content": b"*".hex()},
        {"rawPath": b".github/workflows/x.yml".hex(), "content": b"on: push".hex()},
        {"rawPath": b"model.sig".hex(), "content": bundle().encode().hex(), "bundle": True},
        {"rawPath": b"adapter_config.json".hex(), "content": bundle(peft_type="LORA").encode().hex()},
        {"rawPath": b"latest".hex(), "rawLink": b"../weights/100%".hex()},
    ]
    cases = []
    for each in ([], files[:2], files):
        items, bundles = [], set()
        for file in each:
            path = escape_path(bytes.fromhex(file["rawPath"]))
            if "rawLink" in file:
                items.append(ManifestLink(path=path, link=escape_path(bytes.fromhex(file["rawLink"]))))
                continue
            content = bytes.fromhex(file["content"])
            items.append(
                ManifestFile(path=path, sha256=events.hashlib.sha256(content).digest(), size=len(content))
            )
            if file.get("bundle"):
                bundles.add(path)
        whole = Manifest.of(items)
        cases.append(
            {
                "files": each,
                "manifest": whole.data.decode(),
                "sha256": whole.sha256.hex(),
                "contentSha256": whole.content(bundles).sha256.hex(),
            }
        )
    return cases


def proofs():
    data = [signed(format_statement(events.event(events.key(name), event_id=name))) for name in "abc"]
    leaves = [leaf_hash(each) for each in data]
    root = node_hash(node_hash(leaves[0], leaves[1]), leaves[2])
    log = world.Ed25519NoteSigner(world.LEDGER, world.ed25519_key("log"))
    note = sign_note(format_checkpoint(Checkpoint(origin=world.LEDGER, size=3, root_hash=root)), [log])
    extra = ProofExtra(entry=data[1], consistency=Consistency(size=1, hashes=(leaves[1], leaves[2])))
    path = (leaves[0], leaves[2])
    plain_proof = format_proof(TlogProof(index=1, hashes=path, checkpoint_note=note, extra=data[1]))
    linked = format_proof(TlogProof(index=1, hashes=path, checkpoint_note=note, extra=format_extra(extra)))
    vkey = log.verifier.format()
    sha = events.hashlib.sha256(data[1]).hexdigest()
    good = {"vkey": vkey, "index": 1, "size": 3, "rootHash": root.hex(), "entrySha256": sha}
    first = base64.b64encode(leaves[0])
    bad = [
        plain_proof.replace(b"index 1", b"index 2"),
        plain_proof.replace(b"index 1", b"index 01"),
        plain_proof.replace(first + b"\n", b""),
        plain_proof.replace(first, base64.b64encode(leaves[1])),
        plain_proof.replace(b"\n3\n", b"\n4\n"),
        format_proof(TlogProof(index=1, hashes=path, checkpoint_note=note, extra=data[0])),
    ]
    return [
        {"proof": plain_proof.decode(), **good},
        {"proof": linked.decode(), **good},
        *({"proof": each.decode(), "vkey": vkey, "refuse": True} for each in bad),
    ]


def rekor_proofs():
    spki = world.spki_of(world.p256_key("hub"))
    data = [signed(format_statement(events.event(events.key(name), event_id=name))) for name in "ab"]
    bodies = [_body(each, spki) for each in data]
    leaves = [leaf_hash(each) for each in bodies]
    root = node_hash(*leaves)
    log = world.Ed25519NoteSigner("rekor.example", world.ed25519_key("log"))
    note = sign_note(format_checkpoint(Checkpoint(origin="rekor.example", size=2, root_hash=root)), [log])

    def file(**changes):
        known = {"entry": data[1], "kind": HASHEDREKORD} | changes
        extra = format_extra(ProofExtra(**known))
        return format_proof(TlogProof(index=1, hashes=(leaves[0],), checkpoint_note=note, extra=extra))

    common = {"vkey": log.verifier.format(), "spki": base64.b64encode(spki).decode()}
    sha = events.hashlib.sha256(data[1]).hexdigest()
    good = common | {"index": 1, "size": 2, "rootHash": root.hex(), "entrySha256": sha}
    link = Consistency(size=1, hashes=(leaves[1],))
    bad = [
        file(kind=None),
        file(kind="hashedrekord 0.0.1"),
        file(entry=data[0]),
        file().replace(b"index 1", b"index 0"),
    ]
    return [
        {"proof": file().decode(), "leaf": bodies[1].decode(), **good},
        {"proof": file(consistency=link).decode(), "leaf": bodies[1].decode(), **good},
        *({"proof": each.decode(), "refuse": True, **common} for each in bad),
    ]


CHECKED = 1_767_323_045
MONITORED = ("name:acme/tiny", "name:acme/other", "repo:7", "hub:")


def monitor_statements():
    key = world.Ed25519NoteSigner("monitor.example", world.ed25519_key("monitor.example"))
    tree = Checkpoint(origin=world.LEDGER, size=42, root_hash=bytes(range(32)))
    changed_signer = OpenFindings(count=1, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)
    strange = OpenFindings(count=12, severity=OpenSeverity.LOW, kind=OpenClass.MALFORMED)
    forked = OpenFindings(count=1, severity=OpenSeverity.CRITICAL, kind=OpenClass.TAMPER)

    def make(findings, *, log=None, at=tree):
        return MonitorStatement.of(at, OpenList.of(world.LEDGER, findings), checked_at=CHECKED, log=log)

    good = [
        make({}),
        make({}, at=Checkpoint(origin="log.example - 7", size=0, root_hash=EMPTY_ROOT)),
        make({"name:acme/tiny": changed_signer, "repo:7": changed_signer + strange}, log=strange),
        make({}, log=forked),
        replace(make({}), not_listed=MAX_HISTORIES + 1),
    ]
    text = parse_note(format_monitor_statement(good[2], key)).text
    rows = text.splitlines(keepends=True)[-2:]
    bad = [
        text.replace(b"statement/v1", b"statement/v2"),
        text.replace(b"ledger ", b"ledger", 1),
        text.replace(b"origin ", b"log ", 1),
        text.replace(b"size 42", b"size 042"),
        text.replace(b"size 42", b"size 9223372036854775808"),
        text.replace(b"checked 1767323045", b"checked 253402300800"),
        text.replace(b"checked 1767323045", b"checked -1"),
        text.replace(b"root AA", b"root AB", 1).replace(b"=\n", b"\n", 1),
        text.replace(b"log 12 low", b"log 0 low"),
        text.replace(b"log 12 low", b"log 12 lowest"),
        text.replace(b"malformed\nlisted", b"stale\nlisted"),
        text.replace(b"listed 2", b"listed 3"),
        text.replace(b"listed 2", b"not-listed 2"),
        text.replace(b"".join(rows), rows[1] + rows[0]),
        text.replace(b"".join(rows), rows[0] + rows[0]),
        text.replace(rows[0], rows[0].upper()),
        text + b"more\n",
        text.removesuffix(rows[1]),
        text.split(b"listed")[0],
        format_checkpoint(tree),
    ]
    if text in bad:
        raise AssertionError("one of them is not bad at all")
    signed_note = format_monitor_statement(good[0], key)
    other = world.Ed25519NoteSigner("monitor.example", world.ed25519_key("other"))
    vkey = key.verifier.format()
    refused = [
        *(sign_note(each, [key]) for each in bad),
        format_monitor_statement(good[0], other),
        signed_note.replace(b"size 42", b"size 43"),
    ]
    divided = MonitorStatement.of(tree, _divided(), checked_at=CHECKED, log=strange)
    return [
        *(
            {"note": format_monitor_statement(each, key).decode(), "vkey": vkey, **_said(each)}
            for each in good
        ),
        *({"note": each.decode(), "vkey": vkey, "refuse": True} for each in refused),
        {"note": format_monitor_statement(divided, key).decode(), "vkey": vkey, **_said(divided)},
        *(
            {"note": sign_note(each, [key]).decode(), "vkey": vkey, "refuse": True}
            for each in _bad_parts(parse_note(format_monitor_statement(divided, key)).text)
        ),
    ]


def _divided():
    """A list in parts. A monitor divides only one of more than 4096 lines; readers do not care, and vectors are to be short."""
    high = OpenFindings(count=1, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)
    findings = {
        "name:acme/tiny": high,
        "repo:7": high + high,
        **{f"name:acme/m{at}": high for at in range(10)},
    }
    return OpenList.of(world.LEDGER, findings, most=11, most_in_part=3)


def _bad_parts(text):
    head, _, rest = text.partition(b"parts ")
    number, *rows = rest.splitlines(keepends=True)
    many = int(number)

    def with_rows(*some, number=None):
        return head + b"parts %d\n" % (len(some) if number is None else number) + b"".join(some)

    deep = [row for row in rows if not row.startswith(b"1 ")]
    bad = [
        with_rows(*rows, number=many + 1),
        with_rows(*rows, number=many - 1),
        with_rows(),
        with_rows(*rows[1:]),
        with_rows(*rows[:-1]),
        with_rows(*rows, rows[-1]),
        with_rows(rows[0], *rows),
        with_rows(b"1 0 " + b"00" * 32 + b"\n"),
        with_rows(deep[0], b"1 0 " + b"00" * 32 + b"\n", deep[0]),
        with_rows(b"257" + rows[0][1:], *rows[1:]),
        with_rows(b"0" + rows[0], *rows[1:]),
        with_rows(b"-1" + rows[0][1:], *rows[1:]),
        with_rows(rows[0].replace(b" ", b" 0", 1), *rows[1:]),
        with_rows(b"0 1025 " + b"00" * 32 + b"\n"),
        with_rows(rows[0].upper(), *rows[1:]),
        with_rows(rows[0][:-3] + b"\n", *rows[1:]),
        with_rows(rows[0][:-1] + b" more\n", *rows[1:]),
        with_rows(*rows, b"00" * 32 + b" 1 high finding\n"),
        text.replace(b"parts ", b"listed ", 1),
        text.replace(b"parts ", b"not-listed ", 1),
    ]
    if text in bad:
        raise AssertionError("one of them is not bad at all")
    return bad


def monitor_statement_parts():
    key = world.Ed25519NoteSigner("monitor.example", world.ed25519_key("monitor.example"))
    tree, vkey = Checkpoint(origin=world.LEDGER, size=42, root_hash=bytes(range(32))), key.verifier.format()
    found = _divided()
    note = format_monitor_statement(MonitorStatement.of(tree, found, checked_at=CHECKED), key)
    statement = MonitorStatement.of(tree, found, checked_at=CHECKED)
    common = {"note": note.decode(), "vkey": vkey}
    good = []
    for history in MONITORED:
        (part,) = statement.parts_for([history])
        data = found.files[part.name]
        rows = {each.history: str(each.open) for each in verify_part(data, part)}
        line = rows.get(history_digest(world.LEDGER, history))
        good.append({**common, "history": history, "part": data.decode(), "open": line})
    data = good[0]["part"].encode()
    others = [each["part"] for each in good if each["part"] != good[0]["part"]]
    unsigned = [data + data, data.upper(), data.replace(b"1 high", b"1 low"), b"", others[0].encode()]

    def signed(bad):
        """The monitor itself signed a part that is none."""
        (part,) = statement.parts_for([MONITORED[0]])
        rows = tuple(
            replace(each, sha256=hashlib.sha256(bad).digest()) if each == part else each
            for each in statement.parts
        )
        made = format_monitor_statement(replace(statement, parts=rows), key)
        return {"note": made.decode(), "vkey": vkey, "part": bad.decode()}

    rows = data.splitlines(keepends=True)
    moved = [*rows[1:], others[0].encode().splitlines(keepends=True)[0]]
    by_monitor = [
        b"".join(reversed(rows)),
        b"".join([rows[0], *rows[:-1]]),
        b"".join(sorted(moved)),
        data[:-1],
        data.replace(b"\n", b"\r\n"),
        data.removesuffix(rows[-1]),
        data.upper(),
        data.replace(b" 1 high", b" 0 high"),
        data.replace(b" 1 high", b" 01 high"),
        data.replace(b"high", b"grave"),
        b"\n" + data,
        b"",
    ]
    if data in (*unsigned, *by_monitor):
        raise AssertionError("one of them is not bad at all")
    return [
        *good,
        *({**common, "history": MONITORED[0], "part": each.decode(), "refuse": True} for each in unsigned),
        *({**signed(each), "history": MONITORED[0], "refuse": True} for each in by_monitor),
    ]


def _said(statement):
    if statement.parts:
        facts = {"listed": {}, "notListed": 0, "parts": [_part(each) for each in statement.parts]}
        places = {key: statement.parts_for([key])[0].name for key in MONITORED}
        return {"statement": _facts(statement) | facts, "part": places}
    listed = {each.history: each.open for each in statement.histories}
    lines = {key: listed.get(history_digest(statement.ledger, key)) for key in MONITORED}
    facts = {
        "listed": {each.history.hex(): str(each.open) for each in statement.histories},
        "notListed": statement.not_listed,
    }
    return {
        "statement": _facts(statement) | facts,
        "open": {key: None if found is None else str(found) for key, found in lines.items()},
    }


def _part(part: ListPart):
    return {"bits": part.bits, "count": part.count, "sha256": part.name}


def _facts(statement):
    return {
        "ledger": statement.ledger,
        "origin": statement.origin,
        "size": statement.size,
        "root": statement.root_hash.hex(),
        "checked": statement.checked_at,
        "log": None if statement.log is None else str(statement.log),
    }


def _body(entry, spki):
    made = SignedPayload.of_entry(json.loads(entry), spki)
    return hashedrekord_v2(made.digest, made.signature, made.verifier)


VECTORS = {
    "names": names,
    "identities": identities,
    "statements": statements,
    "entries": entries,
    "bundles": bundles,
    "manifests": manifests,
    "proofs": proofs,
    "rekor-proofs": rekor_proofs,
    "monitor-statements": monitor_statements,
    "monitor-statement-parts": monitor_statement_parts,
}


def _pretty(value):
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def files():
    """Every generated file of docs/spec: path and content."""
    for name, make in VECTORS.items():
        yield SPEC / "vectors" / f"{name}.json", _pretty(make())
    for kind in STATEMENTS:
        name = kind.removeprefix(PREFIX).replace("/", ".")
        yield SPEC / "schemas" / f"{name}.schema.json", _pretty(json_schema(kind))


if __name__ == "__main__":
    for path, text in files():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
