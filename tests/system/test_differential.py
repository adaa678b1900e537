"""Thousands of bent models and signatures, judged by us and by model-signing: every disagreement has its written reason.

The reasons are the table of docs/decisions/0003-where-we-differ-from-model-signing.md, which this test reads: a row
names a mutation, who accepts what it made, and the code with which we refuse where they accept. A disagreement
without a row fails, and so does a row that never occurred. ``HUBLEDGER_DIFFERENTIAL=N`` runs N cases; the seed of
each is its number.
"""

import collections
import copy
import hashlib
import itertools
import json
import os
import random
import shutil
import warnings

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cli.demo_world import DemoSigstore
from ledger.bundle.trust_material import TrustMaterial
from ledger.verification import judge
from ledger.verification.reading import FoundBundle, read_revision
from tests import oms
from tests.conftest import REPOSITORY
from tests.system.mutations import BUNDLE, CERTIFICATE, ENTRY, FILES, MODEL, STATEMENT, Case, DoesNotApply

DECISION = REPOSITORY / "docs/decisions/0003-where-we-differ-from-model-signing.md"
CASES = int(os.environ.get("HUBLEDGER_DIFFERENTIAL", "5000"))
SIGNER, ISSUER = "signer@acme.example", "https://accounts.example.org"

SERIALISATIONS = [
    {"hash_type": "sha256"},
    {"hash_type": "blake2b"},
    {"hash_type": "blake3"},
    {"hash_type": "sha256", "shard_size": 8},
    {"hash_type": "sha256", "shard_size": 5},
    {"hash_type": "blake2b", "shard_size": 16},
]
FORMS = [
    *({"method": "key", **each} for each in SERIALISATIONS),
    *({"method": "key", "curve": curve, "hash_type": "sha256"} for curve in (ec.SECP384R1, ec.SECP521R1)),
    *({"method": "certificate", **each} for each in SERIALISATIONS[:4:3]),
    *({"method": "sigstore", **each} for each in SERIALISATIONS[:4:3]),
    {"method": "old-key"},
    {"method": "old-key", "curve": ec.SECP384R1},
    {"method": "old-encoding-of-a-new-statement"},
]


class World:
    """Keys, an authority and a Sigstore instance, made once; and the two judges."""

    def __init__(self, folder):
        self.folder = folder
        self.keys = {curve: oms.new_key(curve) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)}
        self.root = oms.authority()
        self.sigstore = DemoSigstore()
        trust_config = client_trust_config(json.loads(self.sigstore.trusted_root()))
        (folder / "trust.json").write_text(json.dumps(trust_config))
        (folder / "root.pem").write_bytes(self.root.pem)
        self.trust = TrustMaterial(
            public_keys=[oms.public_pem(key) for key in self.keys.values()],
            anchors=[self.root.pem],
            sigstore_json=self.sigstore.trusted_root(),
        )

    def make(self, number, chosen=None):
        """Make the case of a number: a form, and one to three mutations of it, or the one that is asked for."""
        rng = random.Random(number)
        form = rng.choice(FORMS)
        wanted = [chosen] if chosen else [rng.choice(ALL) for _ in range(rng.choice((0, 1, 1, 1, 2, 3)))]
        model = oms.write_model(self.folder / f"m{number}", FILES)
        case = self._new(rng, model, form)
        leaf_options = {}
        for name in wanted:
            if name in CERTIFICATE and case.method == "certificate":
                leaf_options |= self._try(case, name, CERTIFICATE[name]) or {}
        self._choose_signer(case, leaf_options)
        for name in wanted:
            if name in STATEMENT:
                self._try(case, name, STATEMENT[name])
        case.payload = case.dump(case.value).encode()
        case.bundle = case.sign(case.payload)
        for name in wanted:
            for table in (BUNDLE, MODEL, ENTRY if case.method == "sigstore" else {}):
                if name in table:
                    self._try(case, name, table[name])
        return case

    @staticmethod
    def _try(case, name, function):
        before = copy.deepcopy((case.value, case.bundle))
        try:
            made = function(case)
        except (DoesNotApply, KeyError, IndexError, TypeError, AttributeError, ValueError, OSError):
            case.value, case.bundle = before  # an earlier mutation took away what this one bends
            return None
        case.done.append(name)
        return made

    def _new(self, rng, model, form):
        options = {key: form[key] for key in ("hash_type", "shard_size") if key in form}
        key = self.keys[form.get("curve", ec.SECP256R1)]
        old = form["method"] == "old-key"
        value = oms.statement_v02(model) if old else oms.statement(model, **options)
        return Case(
            rng=rng,
            model=model,
            method=form["method"],
            options={**options, "key": key, "root": self.root, "form": form},
            value=value,
            sign=None,
        )

    def _choose_signer(self, case, leaf_options):
        case.options["anchor"] = self.root
        key = case.options["key"]
        match case.method:
            case "key":
                case.sign = lambda payload: oms.key_bundle(payload, key)
            case "old-key" | "old-encoding-of-a-new-statement":
                case.sign = lambda payload: old_bundle(payload, key)
            case "certificate":
                case.sign = self._certified(case, **leaf_options)
            case "sigstore":
                case.sign = lambda payload: json.loads(
                    self.sigstore.sign(payload, identity=SIGNER, issuer=ISSUER)
                )

    def _certified(self, case, issuer=None, chain=True, anchor=None, **leaf_options):
        issuer = issuer or self.root
        if anchor == "intermediate":
            issuer = case.options["anchor"] = oms.authority("Middle", self.root)
        leaf = oms.certify("leaf", issuer, **leaf_options)
        above = []
        while (
            chain and issuer is not self.root and issuer is not None and issuer is not case.options["anchor"]
        ):
            above.append(issuer)
            issuer = issuer.issuer
        return lambda payload: oms.certificate_bundle(payload, leaf, *above)

    def ours(self, case):
        """Our outcome and reason codes; the bundle lies beside the model, not in it."""
        manifest, _, files = read_revision(case.model)
        raw = json.dumps(case.bundle).encode()
        found = FoundBundle(path="model.sig", sha256=hashlib.sha256(raw).digest(), raw=raw)
        trust = self.trust
        if case.options["anchor"] is not self.root:
            trust = TrustMaterial(anchors=[case.options["anchor"].pem])
        findings = judge(manifest, [found], files, trust=trust, received=oms.NOON)
        return findings.outcome, findings.reasons

    def theirs(self, case):
        """None where model-signing accepts, else what it said. A fresh Config each time: one that is used again leaks."""
        from model_signing import verifying

        path = self.folder / "theirs.sig"
        path.write_text(json.dumps(case.bundle))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                config = self._their_verifier(verifying.Config(), case)
                hashing = their_hashing(case.options)
                if hashing is not None:
                    config.set_hashing_config(hashing)
                config.verify(case.model, path)
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:200]
        return None

    def _their_verifier(self, config, case):
        match case.method:
            case "certificate":
                anchor = self.folder / "anchor.pem"
                anchor.write_bytes(case.options["anchor"].pem)
                return config.use_certificate_verifier(certificate_chain=[anchor])
            case "sigstore":
                return config.use_sigstore_verifier(
                    identity=SIGNER, oidc_issuer=ISSUER, trust_config=self.folder / "trust.json"
                )
            case _:
                public = self.folder / "key.pub"
                public.write_bytes(oms.public_pem(case.options["key"]))
                return config.use_elliptic_key_verifier(public_key=public)


ALL = sorted({**STATEMENT, **BUNDLE, **MODEL, **CERTIFICATE, **ENTRY})


def old_bundle(payload, key):
    signature = oms.sign(key, payload, message=oms.pae_v02(payload), algorithm=hashes.SHA256())
    return oms.bundle(payload, signature, {"publicKey": {"rawBytes": oms.b64(oms.public_pem(key))}})


def their_hashing(options):
    """The configuration that model-signing cannot guess from its own statements; None where it can."""
    from model_signing import hashing

    algorithm = {"blake2b": "blake2"}.get(options.get("hash_type"), options.get("hash_type"))
    if "shard_size" in options:
        size = options["shard_size"]
        return hashing.Config().use_shard_serialization(hashing_algorithm=algorithm, shard_size=size)
    if algorithm == "blake2":
        return hashing.Config().use_file_serialization(hashing_algorithm=algorithm)
    return None


def client_trust_config(trusted_root):
    """What model-signing wants around a trusted root; it signs nothing here, so the addresses lead nowhere."""
    service = {"validFor": {"start": "2020-01-01T00:00:00Z"}, "operator": "x", "majorApiVersion": 1}
    return {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": trusted_root,
        "signingConfig": {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [{**service, "url": "http://127.0.0.1:1"}],
            "oidcUrls": [{**service, "url": "http://127.0.0.1:2"}],
            "rekorTlogUrls": [{**service, "url": "http://127.0.0.1:3"}],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": [],
            "tsaConfig": {"selector": "ANY"},
        },
    }


# The written reasons


def read_rows():
    """Rows of the decision: (mutation or form, who accepts, our codes) to how often the row explained something."""
    rows = {}
    for line in DECISION.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            for name in cells[0].replace("`", "").split(", "):
                rows[name, cells[1]] = {code.strip(" `") for code in cells[2].split(",")}
    return rows


def explain(rows, case, accepts, reasons):
    """The rows that account for a disagreement, or nothing."""
    names = [*case.done, case.method, *(["old-key-on-p384"] if is_old_p384(case) else [])]
    return [
        (name, accepts)
        for name in names
        if (name, accepts) in rows and (accepts == "we" or rows[name, accepts] & set(reasons))
    ]


def is_old_p384(case):
    return case.method == "old-key" and case.options["form"].get("curve") is ec.SECP384R1


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    pytest.importorskip("model_signing", reason="the extra oms is not installed")
    return World(tmp_path_factory.mktemp("differential"))


ALONE = 12
"""Cases of each mutation by itself, on forms that it can bend."""
ATTEMPTS = 100


def cases(world):
    """Yield numbered cases: each mutation by itself first, then several at random."""
    made = 0
    for place, name in enumerate(ALL):
        for number, case in itertools.islice(bent_by(world, place, name), ALONE):
            made += 1
            yield number, case
    for number in range(CASES - made):
        yield number, world.make(number)


def bent_by(world, place, name):
    """Yield cases that one mutation did bend; the others are thrown away unjudged."""
    for number in range(10**9 + place * ATTEMPTS, 10**9 + (place + 1) * ATTEMPTS):
        case = world.make(number, name)
        if case.done:
            yield number, case
        else:
            shutil.rmtree(case.model)


def test_we_and_model_signing_agree_but_where_it_is_written(world):
    rows = read_rows()
    used, wrong, verdicts = collections.Counter(), collections.defaultdict(list), collections.Counter()
    for number, case in cases(world):
        (outcome, reasons), theirs = world.ours(case), world.theirs(case)
        shutil.rmtree(case.model)
        we, they = outcome == "VERIFIED", theirs is None
        verdicts[we, they] += 1
        if we == they:
            continue
        accepts = "we" if we else "they"
        found = explain(rows, case, accepts, reasons)
        used.update(found)
        if not found:
            wrong[f"{case.method} {case.done} {accepts} accept, {reasons} {theirs}"].append(number)
    assert not wrong, "\n".join(f"cases {numbers[:3]}: {what}" for what, numbers in sorted(wrong.items()))
    assert not rows.keys() - used.keys(), "rows that nothing shows"
    assert verdicts[True, True] > CASES / 20, "both accept often enough for the rest to mean something"
    assert verdicts[False, False] > CASES / 4


def test_every_mutation_bends_something(world):
    """None is a name without effect: on some form it changes the bundle, the model or who signed."""
    assert not [name for place, name in enumerate(ALL) if not next(bent_by(world, place, name), None)]


def test_a_row_names_a_mutation_or_a_form():
    names = {*ALL, "old-encoding-of-a-new-statement", "old-key-on-p384"}
    assert {name for name, _ in read_rows()} <= names
