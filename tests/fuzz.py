"""``make fuzz``: bends bundles, statements, log entries and manifests at random; whatever comes must be a typed answer.

Verification must return findings, a parser must return or raise one of our input errors; anything else is a bug, is
printed with its seed and kept in ``.fuzz/``. ``FUZZ_SECONDS=3600 make fuzz`` runs for an hour, ``FUZZ_SEED=n`` begins at one case.
Each case is made from its number alone.
"""

import copy
import json
import os
import pathlib
import random
import sys
import tempfile
import time
import traceback

from cli.demo_world import DemoSigstore
from ledger.bundle.trust_material import TrustMaterial
from ledger.errors import InputError
from ledger.event.schemas import SIGNATURE
from ledger.manifest import parse_manifest
from ledger.verification import Findings, verify_manifest, verify_revision
from tests import oms

KEPT = pathlib.Path(".fuzz")
JUNK = (
    None, True, -1, 0, 8.5, 1e308, 2**53, 2**64, "", "x", ".", "..", "/", "a\0b", "\ud800", "\udcff", "é" * 300,
    "A" * 100_000, "9" * 400, [], {}, [[]], [None], {"": None}, {"rawBytes": "MAA="}, {"certificates": []},
    "https://model_signing/signature/v1.0", "https://model_signing/Digests/v0.1", "sha256", "shards", "files",
)  # fmt: skip
BYTES = (b"", b"\x00", b"\xff", b"{", b"[", b'"', b",", b":", b"\\u", b"1e999", b"[" * 2000, b'{"a":' * 200)


class World:
    """One model with a signature of each method, and everything that verifies them."""

    def __init__(self, folder):
        self.model = oms.write_model(folder / "model")
        self.key = oms.new_key()
        root = oms.authority()
        self.leaf = oms.certify("leaf", root)
        self.sigstore = DemoSigstore()
        self.trust = TrustMaterial(
            public_keys=[oms.public_pem(self.key)],
            anchors=[root.pem],
            sigstore_json=self.sigstore.trusted_root(),
        )
        self.statements = [
            *(
                oms.statement(self.model, **each)
                for each in ({}, {"shard_size": 8}, {"hash_type": "blake2b"})
            ),
            oms.statement_v02(self.model),
        ]
        self.signers = [
            lambda payload: oms.key_bundle(payload, self.key),
            lambda payload: oms.certificate_bundle(payload, self.leaf),
            lambda payload: json.loads(
                self.sigstore.sign(payload, identity="a@b.example", issuer="https://i")
            ),
        ]
        self.bundles = [sign(oms.raw(self.statements[0])) for sign in self.signers]
        self.bundles.append(oms.key_bundle_v02(self.statements[-1], self.key))
        self.manifest = verify_revision(self.model, trust=self.trust).manifest


def places(value, found=None):
    """Every (container, key) of a JSON value."""
    found = [] if found is None else found
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        found.append((value, key))
        places(child, found)
    return found


def bend_value(rng, value):
    """Bend one to four places of a JSON value."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 4)):
        found = places(value)
        if not found:
            return value
        container, key = rng.choice(found)
        match rng.randrange(6):
            case 0:
                del container[key]
            case 1:
                container[key] = copy.deepcopy(rng.choice(JUNK))
            case 2:
                other, its = rng.choice(found)
                container[key] = (
                    copy.deepcopy(other[its]) if its in other or isinstance(other, list) else None
                )
            case 3 if isinstance(container[key], str) and container[key]:
                text = container[key]
                at = rng.randrange(len(text))
                container[key] = text[:at] + rng.choice(("", "A", "=", "/", "\n", "é", ":")) + text[at + 1 :]
            case 4 if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case _ if isinstance(container, dict):
                container[rng.choice(("unknown", "tlogEntries", "publicKey", "certificate", ""))] = (
                    copy.deepcopy(rng.choice(JUNK))
                )
            case _:
                pass
    return value


def bend_bytes(rng, raw):
    """Bend one to four places of bytes."""
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(4):
            case 0:
                raw[at : at + rng.randint(1, 40)] = b""
            case 1:
                raw[at:at] = rng.choice(BYTES)
            case 2:
                raw[at:at] = raw[max(0, at - rng.randint(1, 200)) : at]
            case _:
                raw[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(raw)


def make(world, number):
    """Return what a case tries, and the bytes that it tries."""
    rng = random.Random(number)
    match rng.randrange(5):
        case 0:
            return "manifest", bend_bytes(rng, world.manifest.data)
        case 1:
            return "manifest", oms.raw(bend_value(rng, json.loads(world.manifest.data)))
        case 2:
            return "bundle", bend_bytes(rng, oms.raw(rng.choice(world.bundles)))
        case 3:
            return "bundle", oms.raw(bend_value(rng, rng.choice(world.bundles)))
        case _:
            payload = oms.raw(bend_value(rng, rng.choice(world.statements)))
            return "bundle", oms.raw(rng.choice(world.signers)(payload))


def attempt(world, target, raw):
    """Try one case; returns the answer in a word. Raises what must not be raised."""
    if target == "manifest":
        try:
            return f"manifest of {len(parse_manifest(raw).items) > 0}"
        except InputError as error:
            return type(error).__name__
    (world.model / "model.sig").write_bytes(raw)
    findings = verify_revision(world.model, trust=world.trust, received=oms.NOON)
    known = verify_manifest(world.manifest, [("model.sig", raw)], trust=world.trust, received=oms.NOON)
    assert isinstance(findings, Findings)
    for each in (findings, known):
        for fact in each.signatures:
            SIGNATURE.check(fact.as_json(), "signature")
        for why in each.explanations:
            str(why).encode()
    return ",".join((findings.outcome, *findings.reasons))


def run(seconds, seed=None):
    """Run cases until the time is over; returns how often each answer came. Raises SystemExit at the first bug."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        world = World(pathlib.Path(folder))
        number = seed if seed is not None else random.SystemRandom().randrange(2**40)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            target, raw = make(world, number)
            try:
                answer = attempt(world, target, raw)
            except Exception:
                KEPT.mkdir(exist_ok=True)
                (KEPT / f"{target}-{number}").write_bytes(raw)
                traceback.print_exc()
                raise SystemExit(
                    f"case {number}: not a typed answer; its input is in {KEPT}/{target}-{number}"
                ) from None
            answers[answer] = answers.get(answer, 0) + 1
            number += 1
    return answers


def main():
    seed = os.environ.get("FUZZ_SEED")
    found = run(float(os.environ.get("FUZZ_SECONDS", "60")), int(seed) if seed else None)
    for answer, times in sorted(found.items(), key=lambda each: -each[1]):
        print(f"{times:8,}  {answer}")
    print(f"{sum(found.values()):8,}  cases, each with a typed answer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
