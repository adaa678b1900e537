"""What the differential suite bends: the files, the statement before it is signed, and the bundle afterwards.

Every mutation has a name; docs/decisions/0003 names those over which we and model-signing disagree.
"""

import copy
import json
import pathlib
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests import oms

FILES = {
    "B": b"capital",
    "config.json": b'{"a": 1}',
    "sub/deep/a.bin": b"\x00" * 17,
    "sub/vocab.txt": b"hello\n",
    "weights.bin": bytes(range(40)),
}


class DoesNotApply(Exception):  # noqa: N818 - a mutation that has nothing to bend here
    """Raised by a mutation where there is nothing for it to do."""


@dataclass
class Case:
    """One model with one signature, while it is being bent."""

    rng: random.Random
    model: pathlib.Path
    method: str
    options: dict
    value: dict
    sign: Callable
    payload: bytes = b""
    bundle: dict = field(default_factory=dict)
    done: list = field(default_factory=list)
    dump: Callable = json.dumps

    @property
    def resources(self):
        predicate = self.value.get("predicate", {})
        if not isinstance(predicate, dict) or not isinstance(predicate.get("resources"), list):
            raise DoesNotApply
        return predicate["resources"]

    @property
    def serialization(self):
        found = self.value.get("predicate", {}).get("serialization")
        if not isinstance(found, dict):
            raise DoesNotApply
        return found

    @property
    def material(self):
        return self.bundle["verificationMaterial"]

    @property
    def envelope(self):
        return self.bundle["dsseEnvelope"]

    def need(self, condition):
        if not condition:
            raise DoesNotApply

    def re_root(self):
        if self.value["predicateType"] == oms.SIGNATURE_V1:
            self.value["subject"][0]["digest"]["sha256"] = oms.root_of(self.resources)

    def pick_file(self):
        found = [path for path in self.model.rglob("*") if path.is_file() and not path.is_symlink()]
        self.need(found)
        return self.rng.choice(sorted(found))

    def pick_resource(self):
        self.need(self.resources)
        return self.rng.choice(self.resources)


STATEMENT, BUNDLE, MODEL, CERTIFICATE, ENTRY = {}, {}, {}, {}, {}


def mutation(table):
    def register(function):
        table[function.__name__.replace("_", "-")] = function
        return function

    return register


# The files, after signing


@mutation(MODEL)
def byte_of_a_file(case):
    path = case.pick_file()
    data = bytearray(path.read_bytes())
    case.need(data)
    data[case.rng.randrange(len(data))] ^= 1 << case.rng.randrange(8)
    path.write_bytes(data)


@mutation(MODEL)
def longer_file(case):
    path = case.pick_file()
    path.write_bytes(path.read_bytes() + bytes(case.rng.randrange(1, 20)))


@mutation(MODEL)
def shorter_file(case):
    path = case.pick_file()
    data = path.read_bytes()
    case.need(data)
    path.write_bytes(data[: case.rng.randrange(len(data))])


@mutation(MODEL)
def missing_file(case):
    case.pick_file().unlink()


@mutation(MODEL)
def extra_file(case):
    name = case.rng.choice(
        ("evil.py", "sub/evil.py", "new/evil.py", ".hidden", "config.json.bak", "sub/.gitignore")
    )
    (case.model / name).parent.mkdir(exist_ok=True)
    (case.model / name).write_bytes(b"x")


@mutation(MODEL)
def extra_empty_file(case):
    (case.model / "__init__.py").write_bytes(b"")


@mutation(MODEL)
def extra_folder(case):
    (case.model / "empty").mkdir()


@mutation(MODEL)
def extra_git_file(case):
    name = case.rng.choice((".gitignore", ".gitattributes", ".github/run.yml", ".git/config"))
    (case.model / name).parent.mkdir(exist_ok=True)
    (case.model / name).write_bytes(b"x")


@mutation(MODEL)
def renamed_file(case):
    path = case.pick_file()
    path.rename(path.with_name(path.name + "x"))


@mutation(MODEL)
def exchanged_files(case):
    one, two = case.pick_file(), case.pick_file()
    case.need(one.read_bytes() != two.read_bytes())
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


@mutation(MODEL)
def extra_link(case):
    (case.model / "link").symlink_to(case.rng.choice(("config.json", "/etc/hostname", "nowhere", "sub")))


@mutation(MODEL)
def file_became_link(case):
    path = case.pick_file()
    moved = case.model.parent / "moved"
    path.rename(moved)
    path.symlink_to(moved)


@mutation(MODEL)
def link_in_an_ignored_folder(case):
    (case.model / ".git").mkdir(exist_ok=True)
    (case.model / ".git/link").symlink_to("../config.json")


@mutation(MODEL)
def case_of_a_name(case):
    path = case.pick_file()
    path.rename(path.with_name(path.name.swapcase()))


@mutation(MODEL)
def folder_became_file(case):
    shutil.rmtree(case.model / "sub", ignore_errors=True)
    (case.model / "sub").write_bytes(b"x")


# The statement, before signing


@mutation(STATEMENT)
def other_order_of_resources(case):
    case.rng.shuffle(case.resources)
    case.re_root()


@mutation(STATEMENT)
def order_without_the_root(case):
    case.need(len({each["digest"] for each in case.resources}) > 1)
    case.resources.sort(key=lambda each: each["digest"])
    case.need(oms.root_of(case.resources) != case.value["subject"][0]["digest"]["sha256"])


@mutation(STATEMENT)
def resource_left_out(case):
    case.resources.remove(case.pick_resource())
    case.re_root()


@mutation(STATEMENT)
def resource_added(case):
    each = case.pick_resource()
    case.resources.append({**each, "name": each["name"].replace("o", "0").replace("b", "d") + "2"})
    case.re_root()


@mutation(STATEMENT)
def resource_twice(case):
    case.resources.append(copy.deepcopy(case.pick_resource()))
    case.re_root()


@mutation(STATEMENT)
def digest_of_a_resource(case):
    each = case.pick_resource()
    each["digest"] = each["digest"][:-2] + f"{int(each['digest'][-2:], 16) ^ 1:02x}"
    case.re_root()


@mutation(STATEMENT)
def digest_in_upper_case(case):
    each = case.pick_resource()
    case.need(each["digest"] != each["digest"].upper())
    each["digest"] = each["digest"].upper()


@mutation(STATEMENT)
def digest_with_spaces(case):
    each = case.pick_resource()
    each["digest"] = each["digest"][:2] + " " + each["digest"][2:]


@mutation(STATEMENT)
def short_digest(case):
    each = case.pick_resource()
    each["digest"] = each["digest"][:-2]
    case.re_root()


@mutation(STATEMENT)
def algorithm_of_a_resource(case):
    each = case.pick_resource()
    each["algorithm"] = case.rng.choice(
        ("sha512", "SHA256", "blake2b", "blake3", "sha256", "sha256-sharded-9", "")
    )
    # The plain hash is right for whole files, and for shards a mutation of its own.
    case.need(each["algorithm"] != case.options.get("hash_type", "sha256"))


@mutation(STATEMENT)
def plain_algorithm_for_shards(case):
    case.need("shard_size" in case.options)
    for each in case.resources:
        each["algorithm"] = each["algorithm"].split("-")[0]


@mutation(STATEMENT)
def other_spelling_of_a_name(case):
    each = case.pick_resource()
    name = each["name"]
    each["name"] = case.rng.choice((f"./{name}", name.replace("/", "//", 1), f"sub/../{name}", f"/{name}"))
    case.need(each["name"] != name)


@mutation(STATEMENT)
def plainer_spelling_of_a_name(case):
    """What pathlib makes the same of."""
    each = case.pick_resource()
    name = each["name"]
    each["name"] = case.rng.choice((f"./{name}", name.replace("/", "//", 1), name.replace("/", "/./", 1)))
    case.need(each["name"] != name)


@mutation(STATEMENT)
def other_hash_type(case):
    case.serialization["hash_type"] = case.rng.choice(("sha512", "md5", "SHA256", "", "tensor"))


@mutation(STATEMENT)
def other_method(case):
    case.serialization["method"] = case.rng.choice(("tensors", "", "FILES"))


@mutation(STATEMENT)
def files_for_shards(case):
    case.need("shard_size" not in case.options)
    case.serialization.update(method="shards", shard_size=8)


@mutation(STATEMENT)
def shards_for_files(case):
    case.need("shard_size" in case.options)
    case.serialization["method"] = "files"


@mutation(STATEMENT)
def other_shard_size(case):
    case.need("shard_size" in case.options)
    case.serialization["shard_size"] = case.rng.choice((1, 3, 1000, 0, -8, 8.5, "8"))
    case.need(case.serialization["shard_size"] != case.options["shard_size"])


@mutation(STATEMENT)
def whole_shard_size(case):
    case.need("shard_size" in case.options)
    case.serialization["shard_size"] = case.options["shard_size"]


@mutation(STATEMENT)
def no_shard_size(case):
    case.need("shard_size" in case.options)
    del case.serialization["shard_size"]
    for each in case.resources:
        each["algorithm"] = each["algorithm"].split("-")[0]


@mutation(STATEMENT)
def shard_left_out(case):
    case.need("shard_size" in case.options)
    several = [each for each in case.resources if each["name"].startswith("weights.bin:")]
    case.need(len(several) > 1)
    case.resources.remove(case.rng.choice(several))
    case.re_root()


@mutation(STATEMENT)
def numbers_of_a_shard(case):
    case.need("shard_size" in case.options)
    each = case.pick_resource()
    path, start, end = each["name"].rsplit(":", 2)
    changed = case.rng.choice(((start, int(end) + 1), (int(start) + 1, end), (end, start)))
    each["name"] = f"{path}:{changed[0]}:{changed[1]}"


@mutation(STATEMENT)
def spelling_of_a_shards_number(case):
    case.need("shard_size" in case.options)
    each = case.pick_resource()
    path, start, end = each["name"].rsplit(":", 2)
    each["name"] = f"{path}:{start}:{case.rng.choice(('+', ' ', '0'))}{end}"


@mutation(STATEMENT)
def shards_of_another_size(case):
    """Rightly hashed, but not where the shard size puts them."""
    case.need("shard_size" in case.options)
    listed = oms.resources_of(case.model, case.options["hash_type"], case.options["shard_size"] + 1)
    for each in listed:
        each["algorithm"] = case.resources[0]["algorithm"] if case.resources else each["algorithm"]
    case.value["predicate"]["resources"] = listed
    case.re_root()


@mutation(STATEMENT)
def ignores_an_extra_file(case):
    case.serialization["ignore_paths"] = [*oms.GIT, "evil.py", "sub", "__init__.py", "new/", "./.hidden"]
    (case.model / "evil.py").write_bytes(b"x")


@mutation(STATEMENT)
def ignores_a_listed_file(case):
    case.serialization["ignore_paths"] = ["config.json"]


@mutation(STATEMENT)
def ignores_everything(case):
    case.serialization["ignore_paths"] = [case.rng.choice((".", "", "./"))]


@mutation(STATEMENT)
def ignores_paths_outside(case):
    case.serialization["ignore_paths"] = case.rng.choice(
        (["../other"], ["/etc"], ["sub/../config.json"], [".."])
    )


@mutation(STATEMENT)
def ignores_an_absolute_path_within(case):
    case.serialization["ignore_paths"] = [str(case.model / "evil.py")]
    (case.model / "evil.py").write_bytes(b"x")


@mutation(STATEMENT)
def ignores_no_list(case):
    case.serialization["ignore_paths"] = case.rng.choice((None, 5, [1], {"a": 1}, [["a"]]))


@mutation(STATEMENT)
def ignores_one_text(case):
    """A string, whose letters pathlib takes one by one."""
    case.serialization["ignore_paths"] = "model.sig"


@mutation(STATEMENT)
def ignores_nothing(case):
    case.serialization.pop("ignore_paths", None)


@mutation(STATEMENT)
def allows_links(case):
    case.serialization["allow_symlinks"] = True


@mutation(STATEMENT)
def lists_a_link(case):
    """As a signer does who allows links."""
    case.need("shard_size" not in case.options)
    each = case.pick_resource()
    case.need(not (case.model / "alias").is_symlink() and (case.model / each["name"]).is_file())
    case.serialization["allow_symlinks"] = True
    case.resources.append({**each, "name": "alias"})
    (case.model / "alias").symlink_to(each["name"])
    case.re_root()


@mutation(STATEMENT)
def lists_a_git_file(case):
    digest = oms.DIGESTS[case.options.get("hash_type", "sha256")](b"x").hexdigest()
    each = {"name": ".gitignore", "algorithm": case.resources[0]["algorithm"], "digest": digest}
    if "shard_size" in case.options:
        each["name"] += ":0:1"
    case.resources.append(each)
    (case.model / ".gitignore").write_bytes(b"x")
    case.re_root()


@mutation(STATEMENT)
def says_nothing_of_links(case):
    case.serialization.pop("allow_symlinks", None)


@mutation(STATEMENT)
def no_name_of_the_subject(case):
    case.need(case.value["predicateType"] == oms.SIGNATURE_V1)
    case.value["subject"][0].pop("name", None)


@mutation(STATEMENT)
def two_subjects(case):
    case.need(case.value["predicateType"] == oms.SIGNATURE_V1)
    case.value["subject"].append(case.value["subject"][0])


@mutation(STATEMENT)
def other_root(case):
    case.need(case.value["predicateType"] == oms.SIGNATURE_V1)
    case.value["subject"][0]["digest"]["sha256"] = "0" * 64


@mutation(STATEMENT)
def root_in_upper_case(case):
    case.need(case.value["predicateType"] == oms.SIGNATURE_V1)
    digest = case.value["subject"][0]["digest"]
    digest["sha256"] = digest["sha256"].upper()


@mutation(STATEMENT)
def other_statement_type(case):
    case.value["_type"] = case.rng.choice(
        ("https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v2", "x")
    )


@mutation(STATEMENT)
def other_predicate_type(case):
    case.value["predicateType"] = case.rng.choice(
        (
            "https://model_signing/signature/v2.0",
            "https://slsa.dev/provenance/v1",
            "https://model_signing/Digest/v0.1",
        )
    )


@mutation(STATEMENT)
def unknown_fields_of_the_statement(case):
    case.value["predicate"]["more"] = {"a": [1]}
    case.value["more"] = None


@mutation(STATEMENT)
def a_key_twice_in_the_statement(case):
    case.dump = lambda value: json.dumps(value)[:-1] + ', "predicateType": "' + value["predicateType"] + '"}'


@mutation(STATEMENT)
def deep_unknown_field(case):
    deep = None
    for _ in range(100):
        deep = [deep]
    case.value["predicate"]["more"] = deep


@mutation(STATEMENT)
def colon_in_a_name(case):
    digest = oms.DIGESTS[case.options.get("hash_type", "sha256")](b"colon").hexdigest()
    name = "ab:c:0:5" if "shard_size" in case.options else "ab:c"
    case.resources.append({"name": name, "algorithm": case.resources[0]["algorithm"], "digest": digest})
    (case.model / "ab:c").write_bytes(b"colon")
    case.re_root()


@mutation(STATEMENT)
def drive_letter_in_a_name(case):
    case.need("shard_size" not in case.options)
    digest = oms.DIGESTS[case.options.get("hash_type", "sha256")](b"drive").hexdigest()
    case.resources.append({"name": "C:x", "algorithm": case.resources[0]["algorithm"], "digest": digest})
    (case.model / "C:x").write_bytes(b"drive")
    case.re_root()


@mutation(STATEMENT)
def subject_of_old_statement(case):
    case.need(case.value["predicateType"] == oms.DIGESTS_V01)
    each = case.rng.choice(case.value["subject"])
    how = case.rng.choice(("digest", "name", "drop", "twice"))
    if how == "digest":
        each["digest"]["sha256"] = "0" * 64
    elif how == "name":
        each["name"] += "x"
    elif how == "drop":
        case.value["subject"].remove(each)
    else:
        case.value["subject"].append({**each, "name": each["name"] + "2"})


@mutation(STATEMENT)
def old_subject_twice(case):
    case.need(case.value["predicateType"] == oms.DIGESTS_V01)
    case.value["subject"].append(copy.deepcopy(case.value["subject"][0]))


@mutation(STATEMENT)
def old_annotation(case):
    case.need(case.value["predicateType"] == oms.DIGESTS_V01)
    case.value["subject"][0]["annotations"] = case.rng.choice(
        (
            {"actual_hash_algorithm": "file-md5"},
            {"actual_hash_algorithm": 5},
            {"actual_hash_algorithm": "file-blake2b"},
        )
    )


@mutation(STATEMENT)
def old_annotation_left_out(case):
    case.need(case.value["predicateType"] == oms.DIGESTS_V01)
    del case.value["subject"][0]["annotations"]


# The bundle, after signing


def flip(text, rng):
    place = rng.randrange(len(text) - 4)
    letter = "A" if text[place] != "A" else "B"
    return text[:place] + letter + text[place + 1 :]


@mutation(BUNDLE)
def byte_of_the_payload(case):
    case.envelope["payload"] = flip(case.envelope["payload"], case.rng)


@mutation(BUNDLE)
def byte_of_the_signature(case):
    case.envelope["signatures"][0]["sig"] = flip(case.envelope["signatures"][0]["sig"], case.rng)


@mutation(BUNDLE)
def other_payload_type(case):
    case.envelope["payloadType"] = case.rng.choice(("text/plain", "application/vnd.in-toto+JSON", ""))


@mutation(BUNDLE)
def second_signature(case):
    case.envelope["signatures"].append({"sig": oms.b64(b"other"), "keyid": ""})


@mutation(BUNDLE)
def second_signature_first(case):
    case.envelope["signatures"].insert(0, {"sig": oms.b64(b"other"), "keyid": ""})


@mutation(BUNDLE)
def no_signature(case):
    case.envelope["signatures"] = []


@mutation(BUNDLE)
def other_keyid(case):
    case.envelope["signatures"][0]["keyid"] = case.rng.choice(("", None, "abc"))


@mutation(BUNDLE)
def other_media_type(case):
    case.bundle["mediaType"] = case.rng.choice(
        (
            "application/vnd.dev.sigstore.bundle.v0.4+json",
            "application/json",
            "",
            "application/vnd.dev.sigstore.bundle+json",
        )
    )


@mutation(BUNDLE)
def older_media_type(case):
    version = case.rng.choice(("0.1", "0.2", "0.3"))
    case.bundle["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version={version}"


@mutation(BUNDLE)
def unknown_field_of_the_bundle(case):
    place = case.rng.choice((case.bundle, case.material, case.envelope, case.envelope["signatures"][0]))
    place["unknown"] = 1


@mutation(BUNDLE)
def message_signature_as_well(case):
    case.bundle["messageSignature"] = {
        "messageDigest": {"algorithm": "SHA2_256", "digest": ""},
        "signature": "",
    }


@mutation(BUNDLE)
def no_envelope(case):
    del case.bundle["dsseEnvelope"]


@mutation(BUNDLE)
def no_log_entries(case):
    case.need(case.method != "sigstore")
    case.material.pop("tlogEntries", None)


@mutation(BUNDLE)
def hint_of_another_key(case):
    case.need("publicKey" in case.material)
    case.material["publicKey"] = {"hint": "0" * 64}


@mutation(BUNDLE)
def hint_of_the_der(case):
    case.need("publicKey" in case.material)
    case.material["publicKey"] = {"hint": oms.spki_sha256(case.options["key"]).hex()}


@mutation(BUNDLE)
def no_hint(case):
    case.need("publicKey" in case.material)
    case.material["publicKey"] = case.rng.choice(({}, {"hint": ""}, {"hint": None}))


@mutation(BUNDLE)
def another_key_within(case):
    case.need("publicKey" in case.material)
    case.material["publicKey"] = {"rawBytes": oms.b64(oms.public_pem(oms.new_key()))}


@mutation(BUNDLE)
def no_material(case):
    for name in ("publicKey", "x509CertificateChain", "certificate"):
        case.material.pop(name, None)


@mutation(BUNDLE)
def base64_without_padding(case):
    place = case.rng.choice(((case.envelope, "payload"), (case.envelope["signatures"][0], "sig")))
    text = place[0][place[1]]
    case.need(text.endswith("="))
    place[0][place[1]] = text.rstrip("=")


@mutation(BUNDLE)
def base64_with_a_line_break(case):
    text = case.envelope["payload"]
    case.envelope["payload"] = text[:40] + "\n" + text[40:]


@mutation(BUNDLE)
def signature_of_another_statement(case):
    other = case.sign(json.dumps({**case.value, "other": 1}).encode())
    case.envelope["signatures"] = other["dsseEnvelope"]["signatures"]


# The certificate, before it signs: each returns what the leaf has in place of the usual


@mutation(CERTIFICATE)
def certificate_expired(case):
    return {"start": oms.NOON.replace(year=2020), "days": 1}


@mutation(CERTIFICATE)
def certificate_without_extended_usage(case):
    return {"extensions": (oms.LEAF[0], oms.LEAF[2])}


@mutation(CERTIFICATE)
def certificate_without_usage(case):
    return {"extensions": oms.LEAF[1:]}


@mutation(CERTIFICATE)
def certificate_for_servers(case):
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return {"extensions": (oms.LEAF[0], (server, False), oms.LEAF[2])}


@mutation(CERTIFICATE)
def certificate_for_neither(case):
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return {"extensions": ((oms.usage(key_agreement=True), True), (server, False), oms.LEAF[2])}


@mutation(CERTIFICATE)
def certificate_with_unknown_critical_extension(case):
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    return {"extensions": (*oms.LEAF, (unknown, True))}


@mutation(CERTIFICATE)
def certificate_of_an_authority(case):
    both = oms.usage(digital_signature=True, key_cert_sign=True)
    return {"extensions": ((both, True), (oms.CODE, False), (x509.BasicConstraints(True, None), True))}


@mutation(CERTIFICATE)
def certificate_on_another_curve(case):
    return {"key": oms.new_key(case.rng.choice((ec.SECP384R1, ec.SECP521R1)))}


@mutation(CERTIFICATE)
def certificate_with_an_rsa_key(case):
    return {"key": oms.rsa_key()}


@mutation(CERTIFICATE)
def certificate_by_a_stranger(case):
    return {"issuer": oms.authority("Root")}


@mutation(CERTIFICATE)
def certificate_by_a_leaf(case):
    return {"issuer": oms.certify("not an authority", case.options["root"])}


@mutation(CERTIFICATE)
def certificate_without_its_intermediate(case):
    return {"issuer": oms.authority("Middle", case.options["root"]), "chain": False}


@mutation(CERTIFICATE)
def certificate_by_an_expired_intermediate(case):
    old = {"start": oms.NOON.replace(year=2019), "days": 10}
    return {"issuer": oms.authority("Middle", case.options["root"], **old)}


@mutation(CERTIFICATE)
def certificate_past_a_path_length(case):
    short = (oms.AUTHORITY[0], (x509.BasicConstraints(True, 0), True))
    first = oms.authority("First", case.options["root"], extensions=short)
    return {"issuer": oms.authority("Second", first)}


@mutation(CERTIFICATE)
def certificate_by_an_issuer_that_may_not_sign_certificates(case):
    wrong = ((oms.usage(digital_signature=True), True), oms.AUTHORITY[1])
    return {"issuer": oms.authority("Middle", case.options["root"], extensions=wrong)}


@mutation(CERTIFICATE)
def certificate_under_an_intermediate(case):
    return {"issuer": oms.authority("Middle", case.options["root"])}


@mutation(CERTIFICATE)
def certificate_under_an_anchor_that_is_no_root(case):
    return {"issuer": case.options["root"], "anchor": "intermediate"}


# The log entry of a keyless signature


@mutation(ENTRY)
def entry_index(case):
    case.material["tlogEntries"][0]["logIndex"] = "7"


@mutation(ENTRY)
def entry_time(case):
    entry = case.material["tlogEntries"][0]
    entry["integratedTime"] = str(int(entry["integratedTime"]) + case.rng.choice((-100_000, 1, 100_000)))


@mutation(ENTRY)
def entry_without_promise(case):
    del case.material["tlogEntries"][0]["inclusionPromise"]


@mutation(ENTRY)
def entry_promise(case):
    promise = case.material["tlogEntries"][0]["inclusionPromise"]
    promise["signedEntryTimestamp"] = flip(promise["signedEntryTimestamp"], case.rng)


@mutation(ENTRY)
def entry_proof(case):
    proof = case.material["tlogEntries"][0]["inclusionProof"]
    change = case.rng.choice(
        (
            {"hashes": []},
            {"logIndex": "0"},
            {"hashes": [oms.b64(bytes(32))]},
            {"rootHash": oms.b64(bytes(32))},
        )
    )
    proof.update(change)


@mutation(ENTRY)
def entry_lying_size_and_index(case):
    case.material["tlogEntries"][0]["inclusionProof"].update(logIndex="2", treeSize="3")


@mutation(ENTRY)
def entry_lying_size(case):
    case.material["tlogEntries"][0]["inclusionProof"].update(treeSize=case.rng.choice(("3", "99")))


@mutation(ENTRY)
def entry_lying_root(case):
    case.material["tlogEntries"][0]["inclusionProof"]["rootHash"] = oms.b64(bytes(32))


@mutation(ENTRY)
def entry_checkpoint(case):
    checkpoint = case.material["tlogEntries"][0]["inclusionProof"]["checkpoint"]
    checkpoint["envelope"] = checkpoint["envelope"].replace("\n2\n", "\n3\n")


@mutation(ENTRY)
def entry_body(case):
    entry = case.material["tlogEntries"][0]
    entry["canonicalizedBody"] = flip(entry["canonicalizedBody"], case.rng)


@mutation(ENTRY)
def entry_of_another_signature(case):
    case.material["tlogEntries"] = case.sign(b"{}")["verificationMaterial"]["tlogEntries"]


@mutation(ENTRY)
def entry_of_another_kind(case):
    case.material["tlogEntries"][0]["kindVersion"] = {"kind": "hashedrekord", "version": "0.0.2"}


@mutation(ENTRY)
def entry_of_another_log(case):
    case.material["tlogEntries"][0]["logId"]["keyId"] = oms.b64(bytes(32))


@mutation(ENTRY)
def entry_twice(case):
    case.material["tlogEntries"] *= 2


@mutation(ENTRY)
def no_entry(case):
    case.material["tlogEntries"] = []


@mutation(ENTRY)
def entry_checkpoint_of_another_name(case):
    checkpoint = case.material["tlogEntries"][0]["inclusionProof"]["checkpoint"]
    checkpoint["envelope"] = checkpoint["envelope"].replace(
        "\u2014 rekor.demo.example ", "\u2014 other.example "
    )


@mutation(ENTRY)
def other_certificate(case):
    other = case.sign(b"{}")
    case.material["certificate"] = other["verificationMaterial"]["certificate"]
