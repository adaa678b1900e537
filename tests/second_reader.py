"""A second reader of the formats, written from docs/spec alone: it imports nothing of hubledger.

Small and slow on purpose. Everything that it refuses is a ``RefusedError``.
"""

import base64
import contextlib
import hashlib
import json
import re
import unicodedata

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

HEX = re.compile("[0-9a-f]{64}")
PREFIX = "https://hubledger/"
COMMON = {"ledger", "hub", "recordedBy", "histories", "eventId", "recordedAt"}
FIELDS = {
    "verification-event/v1": "model trigger manifest uploader signatures moreSignatures? outcome policy reasons verifiedAt verifier",
    "identity-policy/v1": "scope policySha256 change requestedBy authorisedBy effectiveAt previousPolicySha256? challengeId? reference? identities?",
    "challenge/v1": "challengeId state policySha256 changeSha256? answeredBy? expiresAt? reference? method?",
    "model-notice/v1": "name notice repoId? oldName? newName? revision? reference?",
    "derivation/v1": "model basis parents attestationSha256?",
    "account-link/v1": "account signer state method evidenceSha256?",
    "hub-key/v1": "keyid spki state holder role reason? from?",
    "erasure/v1": "evidence reason reference? keysDestroyed?",
    "anchor/v1": "origin size rootHash",
    "succession/v1": "predecessor finalCheckpoint reason?",
}
OUTCOMES = [
    "VERIFIED",
    "CONTENT_MISMATCH",
    "INVALID_SIGNATURE",
    "UNKNOWN_KEY",
    "UNSUPPORTED",
    "ERROR",
    "UNSIGNED",
]


class RefusedError(Exception):
    pass


def need(condition, why):
    if not condition:
        raise RefusedError(why)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def canonical(value):
    """RFC 8785 for values without floating point and with ASCII field names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def load(data, most):
    need(len(data) <= most, "too long")
    try:
        value = json.loads(data)
        again = canonical(value)
    except (ValueError, RecursionError) as error:
        raise RefusedError(str(error)) from error
    need(again == data and b"." not in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", data), "not canonical")
    return value


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RefusedError(str(error)) from error
    need(base64.b64encode(data).decode() == text, "lax base64")
    return data


def escape_name(raw):
    with contextlib.suppress(UnicodeDecodeError):
        raw = unicodedata.normalize("NFC", raw.decode()).encode()
    text = "".join(chr(b) if 0x21 <= b <= 0x7E and b != 0x25 else f"%{b:02X}" for b in raw)
    if len(text) <= 256:
        return text
    kept = re.sub("%[0-9A-F]?$", "", text[:180])
    return f"{kept}%~{sha256(text.encode())}"


def escape_path(raw):
    out, rest = "", raw.replace(b"%", b"%25")
    while rest:
        try:
            return out + rest.decode()
        except UnicodeDecodeError as error:
            bad = rest[error.start : error.start + 1]
            out += rest[: error.start].decode() + f"%{bad[0]:02X}"
            rest = rest[error.start + 1 :]
    return out


def manifest(files):
    rows = []
    for each in files:
        path = escape_path(bytes.fromhex(each["rawPath"]))
        need(all(part not in ("", ".", "..") for part in path.split("/")) and "\0" not in path, "path")
        if "rawLink" in each:
            rows.append({"path": path, "link": escape_path(bytes.fromhex(each["rawLink"]))})
        else:
            content = bytes.fromhex(each["content"])
            rows.append({"path": path, "sha256": sha256(content), "size": len(content)})
    rows.sort(key=lambda row: row["path"].encode())
    bundles = {
        escape_path(bytes.fromhex(each["rawPath"]))
        for each in files
        if is_bundle(bytes.fromhex(each.get("content", "")))
    }
    content = [
        row
        for row in rows
        if row["path"] not in bundles | {".gitignore", ".gitattributes"}
        and not row["path"].startswith(".github/")
    ]
    return canonical(rows), sha256(canonical(content))


ONE_CERTIFICATE = {"rawBytes": "s"}
LOG_ENTRY = {
    "logIndex": "n", "logId": {"keyId": "s"}, "kindVersion": {"kind": "s", "version": "s"}, "integratedTime": "n",
    "inclusionPromise": {"signedEntryTimestamp": "s"}, "canonicalizedBody": "s",
    "inclusionProof": {
        "logIndex": "n", "rootHash": "s", "treeSize": "n", "hashes": ["s"], "checkpoint": {"envelope": "s"},
    },
}  # fmt: skip
BUNDLE = {
    "mediaType": "s",
    "messageSignature": "null",
    "dsseEnvelope": {"payload": "s", "payloadType": "s", "signatures": [{"sig": "s", "keyid": "s"}]},
    "verificationMaterial": {
        "publicKey": {
            "hint": "s",
            "rawBytes": "s",
            "keyDetails": "s",
            "validFor": {"start": "s", "end": "s"},
        },
        "x509CertificateChain": {"certificates": [ONE_CERTIFICATE]},
        "certificate": ONE_CERTIFICATE,
        "tlogEntries": [LOG_ENTRY],
        "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": "s"}]},
    },
}


def once(pairs):
    need(len(dict(pairs)) == len(pairs), "a key twice")
    return dict(pairs)


def is_bundle(data):
    """Whether a file is a signature bundle by docs/spec/manifest.md."""
    try:
        need(len(data) <= 16 << 20 and data.count(b"{") + data.count(b"[") <= 10_000, "too large")
        value = json.loads(data.decode(), object_pairs_hook=once)
        only(value, BUNDLE)
        envelope, material = value["dsseEnvelope"], value["verificationMaterial"]
        need(value["mediaType"].startswith("application/vnd.dev.sigstore.bundle"), "media type")
        need(envelope["payloadType"] == "application/vnd.in-toto+json", "payload type")
        (signature,) = envelope["signatures"]
        need(len(unbase64(signature["sig"])) <= 4096, "signature")
        unbase64(envelope["payload"])
        who = ("publicKey", "x509CertificateChain", "certificate")
        need(sum(material.get(name) is not None for name in who) == 1, "method")
    except (RefusedError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return True


def only(value, shape):
    if value is None:
        return
    if isinstance(shape, dict):
        need(isinstance(value, dict) and value.keys() <= shape.keys(), "fields")
        for name, each in value.items():
            only(each, shape[name])
    elif isinstance(shape, list):
        need(isinstance(value, list), "a list")
        for each in value:
            only(each, shape[0])
    elif isinstance(value, str):
        need(shape != "null", "null")
        bad = [c for c in value if c in "{}<>" or (ord(c) < 0x20 and c != "\n") or ord(c) == 0x7F]
        need(not bad, "a character")
    else:
        need(shape == "n" and type(value) is int, "a value")


def identity(signer):
    if "commitment" in signer:
        return {"commitment": signer["commitment"], "type": "committed"}
    if signer["kind"] == "key":
        return {"spkiSha256": signer["spkiSha256"], "type": "key"}
    if signer["kind"] == "certificate":
        anchor = signer.get("anchorSpkiSha256")
        return {"anchorSpkiSha256": anchor, "subject": signer["subject"], "type": "certificate"}
    claims, san, ref_class = signer["claims"], signer["san"], None
    if claims.keys() == {"count", "sha256"} and isinstance(claims["count"], int):
        claims = {}
    if signer["sanType"] == "uri" and isinstance(san, str) and "@refs/" in san:
        san, _, ref = san.rpartition("@refs/")
        kinds = {"heads/": "branch", "tags/": "tag", "pull/": "pull", "merge-requests/": "pull"}
        ref_class = next((kind for start, kind in kinds.items() if ref.startswith(start)), "other")
    return {
        "type": "sigstore",
        "issuer": signer["issuer"],
        "subject": san,
        "refClass": ref_class,
        "repositoryId": claims.get("sourceRepositoryIdentifier"),
        "ownerId": claims.get("sourceRepositoryOwnerIdentifier"),
        "trigger": claims.get("buildTrigger"),
    }


def subject(kind, value):
    match kind:
        case "verification-event/v1":
            return value["model"]["name"], value["manifest"]["sha256"]
        case "identity-policy/v1":
            return "policy", value["policySha256"]
        case "challenge/v1":
            return value["challengeId"], value.get("changeSha256", value["policySha256"])
        case "model-notice/v1":
            return value["name"], sha256(value["name"].encode())
        case "derivation/v1":
            return value["model"]["name"], sha256(canonical(value["model"]))
        case "account-link/v1":
            return value["account"], sha256(canonical(identity(value["signer"])))
        case "hub-key/v1":
            need(sha256(unbase64(value["spki"])) == value["keyid"], "keyid")
            return value["keyid"], value["keyid"]
        case "erasure/v1":
            return "evidence", value["evidence"][0]
        case "anchor/v1":
            root = base64.b64encode(bytes.fromhex(value["rootHash"])).decode()
            return value["origin"], sha256(f"{value['origin']}\n{value['size']}\n{root}\n".encode())
        case "succession/v1":
            return value["predecessor"], sha256(value["finalCheckpoint"].encode())


def statement(data):
    """Return ("known", statement) or ("unknown", statement)."""
    value = load(data, 32768)
    need(
        isinstance(value, dict) and value.keys() == {"_type", "predicateType", "subject", "predicate"},
        "fields",
    )
    need(value["_type"] == "https://in-toto.io/Statement/v1" and len(value["subject"]) == 1, "in-toto")
    need(re.fullmatch("[!-~]{1,256}", value["subject"][0]["name"]), "subject name")
    kind, predicate = value["predicateType"].removeprefix(PREFIX), value["predicate"]
    if not value["predicateType"].startswith(PREFIX) or kind not in FIELDS:
        return "unknown", value
    fields = set(FIELDS[kind].split()) | (set() if kind == "anchor/v1" else COMMON)
    if predicate.keys() - {name.rstrip("?") for name in fields}:
        return "unknown", value
    for name in fields:
        need(name.endswith("?") or name in predicate, f"{name} is missing")
    if kind != "anchor/v1":
        check_common(predicate)
    if kind == "verification-event/v1":
        check_event(predicate)
    if kind == "anchor/v1":
        size = predicate["size"]
        need(size.isdecimal() and int(size) >= 2**53 if isinstance(size, str) else size < 2**53, "size")
    one = value["subject"][0]
    need((one["name"], one["digest"]["sha256"]) == subject(kind, predicate), "subject")
    return "known", value


def check_common(value):
    keys = [link["key"] for link in value["histories"]]
    need(1 <= len(keys) <= 8 and keys == sorted(set(keys)), "histories")
    for key in keys:
        need(re.fullmatch("hub:|(repo|name|namespace):[!-~]{1,256}", key), "history key")
    for link in value["histories"]:
        if value["recordedBy"]["role"] == "observer":
            need(link.keys() == {"key"}, "an observer's chain")
        else:
            need(("previous" in link) == (link["sequence"] > 0), "previous")
    need(re.fullmatch("[!-~]{1,128}", value["eventId"]), "event id")
    need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value["recordedAt"]), "time")


def check_event(value):
    model = value["model"]
    need(model.keys() <= {"name", "revision", "repoId", "ref", "parents", "revisionTime"}, "model")
    names = {f"name:{model['name']}"} | ({f"repo:{model['repoId']}"} if "repoId" in model else set())
    need({link["key"] for link in value["histories"]} == names, "histories of the event")
    need(len(value["signatures"]) <= 16, "signatures")
    found = {each["outcome"] for each in value["signatures"]}
    first = next((word for word in OUTCOMES if word in found), "UNSIGNED")
    order = OUTCOMES.index
    if "moreSignatures" in value:
        need(order(value["outcome"]) <= order(first), "outcome")
    else:
        need(value["outcome"] == first, "outcome")
    for each in value["signatures"]:
        need(each["outcome"] in OUTCOMES[:-1], "outcome of a signature")
        need(not ("signer" in each and "claimedSigner" in each), "two signers")
        need("signer" in each or each["outcome"] != "VERIFIED", "no signer")
        need(
            "signer" not in each or each["outcome"] in ("VERIFIED", "CONTENT_MISMATCH"),
            "signer without proof",
        )
    need(HEX.fullmatch(value["manifest"]["sha256"]), "manifest")
    need(value["trigger"] in ("upload", "backfill", "recheck"), "trigger")


def facts_digest(value):
    value = json.loads(json.dumps(value))
    predicate = value["predicate"]
    drop = ["recordedAt"]
    if value["predicateType"] == f"{PREFIX}verification-event/v1":
        drop += ["verifiedAt", "verifier", "policy", "reasons"]
        for each in predicate["signatures"]:
            del each["accountLink"]
    for name in drop:
        predicate.pop(name, None)
    for link in predicate.get("histories", []):
        link.pop("sequence", None)
        link.pop("previous", None)
    return sha256(canonical(value))


def entry(data, leaf_index):
    """Return ("envelope", keyid, payload, signature) or ("map", root)."""
    value = load(data, 49000)
    need(isinstance(value, dict), "an object")
    if value.get("kind") == f"{PREFIX}map-commit/v1":
        need(
            value.keys() == {"covers", "kind", "mapFn", "root"} and value["mapFn"] == "hubledger/v1",
            "map commit",
        )
        need(isinstance(value["covers"], str) and value["covers"] == str(leaf_index), "covers")
        need(HEX.fullmatch(value["root"]), "root")
        return "map", value["root"]
    need(
        value.keys() == {"payload", "payloadType", "signatures"} and len(value["signatures"]) == 1, "envelope"
    )
    need(value["payloadType"] == "application/vnd.in-toto+json", "payload type")
    one = value["signatures"][0]
    need(one.keys() == {"keyid", "sig"} and HEX.fullmatch(one["keyid"]), "signature")
    return "envelope", one["keyid"], unbase64(value["payload"]), unbase64(one["sig"])


def verify_envelope(parsed, spki):
    _, keyid, payload, signature = parsed
    need(sha256(spki) == keyid, "keyid")
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload
    try:
        serialization.load_der_public_key(spki).verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise RefusedError("signature") from error
    return payload


def rekor_leaf(data, spki):
    """The leaf of Rekor v2 about an entry by this key."""
    parsed = entry(data, None)
    need(parsed[0] == "envelope" and parsed[1] == sha256(spki), "an envelope by this key")
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(parsed[2]) + parsed[2]
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "publicKey": {"rawBytes": base64_of(spki)}}
    body = {
        "data": {"algorithm": "SHA2_256", "digest": base64_of(hashlib.sha256(signed).digest())},
        "signature": {"content": base64_of(parsed[3]), "verifier": verifier},
    }
    return canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": body}})


def base64_of(data):
    return base64.b64encode(data).decode()


def proof(data, vkey, spki=None):
    """Verify a proof file under a log's Ed25519 key; returns (index, size, root, entry).

    ``spki`` is the hub's key where the log is Rekor v2.
    """
    head, _, note = data.partition(b"\n\n")
    lines = head.decode("ascii").split("\n")
    need(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("extra "), "header")
    extra = unbase64(lines[1].removeprefix("extra "))
    need(len(extra) <= 49146, "extra")
    value = load(extra, 49146)
    found = canonical(value["entry"]) if "entry" in value else extra
    need(("entry" in value and value.get("kind") == "hashedrekord 0.0.2") == (spki is not None), "kind")
    leaf = found if spki is None else rekor_leaf(found, spki)
    need(re.fullmatch(r"index (0|[1-9]\d*)", lines[2]), "index")
    index, path = int(lines[2][6:]), [unbase64(line) for line in lines[3:]]
    text, _, signatures = note.partition(b"\n\n")
    name, key_id, key = vkey.split("+", 2)
    origin, size, root = text.decode().split("\n")
    need(origin == name, "origin")
    good = False
    for line in signatures.decode().splitlines():
        _, signer, blob = line.split(" ")
        raw = unbase64(blob)
        if signer == name and raw[:4].hex() == key_id:
            public = ed25519.Ed25519PublicKey.from_public_bytes(unbase64(key)[1:])
            try:
                public.verify(raw[4:], text + b"\n")
            except InvalidSignature as error:
                raise RefusedError("signature of the checkpoint") from error
            good = True
    need(good, "no signature of the log")
    need(fold(hashlib.sha256(b"\0" + leaf).digest(), index, int(size), path) == unbase64(root), "inclusion")
    return index, int(size), unbase64(root).hex(), found


def fold(leaf, index, size, path):
    """RFC 9162 section 2.1.3.2."""
    need(index < size, "index")
    fn, sn, node = index, size - 1, leaf
    for each in path:
        need(sn > 0, "a path that is too long")
        if fn & 1 or fn == sn:
            node = hashlib.sha256(b"\1" + each + node).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = hashlib.sha256(b"\1" + node + each).digest()
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "a path that is too short")
    return node


SEVERITIES, CLASSES = ("low", "medium", "high", "critical"), ("malformed", "finding", "tamper")


def monitor_statement(data, vkey):
    """Verify a monitor's statement under its vkey; returns its values, history digests in hex."""
    need(len(data) <= 512 << 10, "size")
    text, _, signatures = data.decode().rpartition("\n\n")
    name, key_id, key = vkey.split("+", 2)
    raw = unbase64(key)
    need(raw[0] == 1, "an Ed25519 key")
    good = False
    for line in signatures.splitlines():
        dash, signer, blob = line.split(" ")
        signature = unbase64(blob)
        need(dash == "—", "signature line")
        if signer == name and signature[:4].hex() == key_id:
            try:
                ed25519.Ed25519PublicKey.from_public_bytes(raw[1:]).verify(
                    signature[4:], f"{text}\n".encode()
                )
            except InvalidSignature as error:
                raise RefusedError("signature") from error
            good = True
    need(good, "no signature of the monitor")
    lines = text.split("\n")
    need(lines[0] == "hubledger/monitor-statement/v1" and len(lines) >= 8, "first line")
    values = {}
    for label, line in zip(("ledger", "origin", "size", "root", "checked", "log"), lines[1:], strict=False):
        found, _, value = line.partition(" ")
        need(found == label and value and value.isprintable(), label)
        values[label] = value
    for label, most in (("size", 2**63 - 1), ("checked", 253402300799)):
        need(re.fullmatch("(0|[1-9][0-9]*)", values[label], re.ASCII), label)
        values[label] = int(values[label])
        need(values[label] <= most, label)
    values["root"] = unbase64(values["root"]).hex()
    need(HEX.fullmatch(values["root"]), "root")
    need(values["size"] or values["root"] == sha256(b""), "root of nothing")
    values["log"] = None if values["log"] == "none" else open_findings(values["log"])
    word, _, count = lines[7].partition(" ")
    need(re.fullmatch("(0|[1-9][0-9]*)", count, re.ASCII), "how many")
    if word == "parts":
        need(0 < int(count) == len(lines) - 8 <= 4096, "number of parts")
        return values | {"listed": {}, "notListed": 0, "parts": list_parts(lines[8:])}
    rows = [line.partition(" ") for line in lines[8:]]
    values["listed"] = {digest: open_findings(found) for digest, _, found in rows}
    digests = [digest for digest, _, _ in rows]
    need(all(HEX.fullmatch(each) for each in digests) and digests == sorted(set(digests)), "histories")
    need(len(rows) <= 4096, "too many histories")
    values["notListed"] = int(count) if word == "not-listed" else 0
    if word == "not-listed":
        need(not rows and 0 < int(count) < 2**53, "not listed")
    else:
        need(word == "listed" and int(count) == len(rows), "listed")
    return values


def list_parts(lines):
    """The parts of a list: in how many bits the digests of each agree, how many it has, and its SHA-256."""
    found, at = [], 0
    for line in lines:
        match = re.fullmatch("(0|[1-9][0-9]*) (0|[1-9][0-9]*) ([0-9a-f]{64})", line, re.ASCII)
        need(match and int(match[1]) <= 256 and int(match[2]) <= 1024, "part")
        width = 2 ** (256 - int(match[1]))
        need(at % width == 0, "a part that begins where none of its bits can")
        found.append({"bits": int(match[1]), "count": int(match[2]), "sha256": match[3]})
        at += width
    need(at == 2**256, "parts that do not hold every digest once")
    return found


def part_of(parts, history):
    """The part that the digest of a history falls in, and its bounds."""
    at = 0
    for part in parts:
        end = at + 2 ** (256 - part["bits"])
        if at <= int(history, 16) < end:
            return part, at, end
        at = end
    raise AssertionError("a part for every digest")


def open_in_part(values, history, data):
    """What is open for a history, by its digest in hex: the line in its part, or None."""
    part, start, end = part_of(values["parts"], history)
    need(len(data) <= 1024 * 101 and sha256(data) == part["sha256"], "the part that was signed")
    need(data == b"" or data.endswith(b"\n"), "whole lines")
    rows = [line.partition(" ") for line in data.decode().split("\n")[:-1]]
    digests = [digest for digest, _, _ in rows]
    need(all(HEX.fullmatch(each) for each in digests) and digests == sorted(set(digests)), "histories")
    need(len(rows) == part["count"], "how many")
    need(all(start <= int(each, 16) < end for each in digests), "a digest in another part")
    return {digest: open_findings(found) for digest, _, found in rows}.get(history)


def open_findings(text):
    count, severity, kind = text.split(" ") if text.count(" ") == 2 else ("", "", "")
    need(re.fullmatch("[1-9][0-9]*", count, re.ASCII) and int(count) < 2**53, "count")
    need(severity in SEVERITIES and kind in CLASSES, "severity and class")
    return text


def history_digest(ledger, key):
    return sha256(f"hubledger/map-key/v1\n{ledger}\n{key}".encode())
