"""Shards in memory behind the real protocol: a real tree, real signatures, real proofs, and a log's moods.

What a shard takes and answers is Rekor v2's: one entry for the same body, a refusal once it is frozen. Its moods are
set by whoever tests: ``down``, ``frozen``, ``loses`` (entries taken and never answered), ``refuses`` and ``lies``.
"""

import asyncio
import hashlib
from dataclasses import replace

from cryptography.hazmat.primitives import serialization

from ledger.bundle.bodies import hashedrekord_v2
from ledger.bundle.log_entry import LogKeys, parse_log_entry, prove_log_entry
from ledger.encoding import format_base64, format_canonical_json, parse_json
from ledger.errors import FrozenError, RejectedError, SourceError
from ledger.log.receipts import check_body
from ledger.log.remote import LogReceipt, Shard
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.merkle import leaf_hash, node_hash
from ledger.tlog.signed_note import Ed25519NoteSigner, KeyType, sign_note
from tests.world import ed25519_key


class FakeShard:
    """One log with one key."""

    def __init__(self, order=0, *, origin=None, **changes):
        self.origin = origin or f"shard{order}.example"
        self.key = ed25519_key(self.origin)
        self.signer = Ed25519NoteSigner(self.origin, self.key)
        material = bytes([KeyType.ED25519]) + self.key.public_key().public_bytes_raw()
        self.log_id = hashlib.sha256(self.origin.encode() + b"\n" + material).digest()
        self.shard = Shard(
            **{
                "kind": "rekor-v2",
                "order": order,
                "origin": self.origin,
                "log_id": self.log_id,
                "spki": self.key.public_key().public_bytes(
                    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
                ),
                "write_url": f"https://{self.origin}",
                "read_url": f"https://{self.origin}",
            }
            | changes
        )
        self.bodies = []
        self.levels = [[]]
        self.places = {}
        self.sent = []
        self.down = False
        self.frozen = False
        self.loses = 0
        self.again = self.looked = 0
        self.unreadable = False
        self.refuses = lambda signed: False
        self.lies = lambda entry: entry
        self.gate = None
        self.under_way = self.most_under_way = 0
        self.closed = 0

    def add(self, body):
        """Append a body, whoever sends it; returns its leaf index, the first one if it is there."""
        if body in self.places:
            return self.places[body]
        at = self.places[body] = len(self.bodies)
        self.bodies.append(body)
        hash_, level = leaf_hash(body), 0
        self.levels[0].append(hash_)
        while len(self.levels[level]) % 2 == 0:
            hash_ = node_hash(*self.levels[level][-2:])
            level += 1
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(hash_)
        return at

    def root(self, start, end):
        """The hash of the leaves ``[start, end)``, from the complete subtrees that are kept."""
        width = end - start
        level = width.bit_length() - 1
        if width == 1 << level and start % width == 0:
            return self.levels[level][start >> level]
        k = 1 << (width - 1).bit_length() - 1
        return node_hash(self.root(start, start + k), self.root(start + k, end))

    def path(self, at, start, end):
        """PATH of RFC 6962 within the leaves ``[start, end)``."""
        if end - start == 1:
            return []
        k = 1 << (end - start - 1).bit_length() - 1
        if at < start + k:
            return [*self.path(at, start, start + k), self.root(start + k, end)]
        return [*self.path(at, start + k, end), self.root(start, start + k)]

    def log_entry(self, at):
        """The ``TransparencyLogEntry`` of a leaf, as JSON, in the tree as it is now."""
        size = len(self.bodies)
        tree = Checkpoint(origin=self.origin, size=size, root_hash=self.root(0, size))
        return {
            "canonicalizedBody": format_base64(self.bodies[at]),
            "inclusionProof": {
                "checkpoint": {"envelope": sign_note(format_checkpoint(tree), [self.signer]).decode()},
                "hashes": [format_base64(each) for each in self.path(at, 0, size)],
                "logIndex": str(at),
                "rootHash": format_base64(tree.root_hash),
                "treeSize": str(size),
            },
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "logId": {"keyId": format_base64(self.log_id)},
            "logIndex": str(at),
        }

    def receipt(self, at):
        """The receipt of a leaf."""
        data = format_canonical_json(self.log_entry(at))
        entry = parse_log_entry(parse_json(data, max_bytes=1 << 22))
        return LogReceipt(shard=self.shard, log_entry=data, proven=prove_log_entry(entry, keys_of([self])))

    def answer(self, signed):
        """What the log does with one submission."""
        self.sent.append(signed)
        if self.down:
            raise SourceError(self.origin, expected="an answer", actual="no connection")
        if self.frozen:
            raise FrozenError(self.origin, expected="a shard that takes entries", actual="405")
        if self.refuses(signed):
            raise RejectedError(self.origin, expected="an entry it takes", actual="400: no")
        at = self.add(hashedrekord_v2(signed.digest, signed.signature, signed.verifier))
        if self.loses:
            self.loses -= 1
            raise SourceError(self.origin, expected="an answer", actual="a connection that was cut")
        data = format_canonical_json(self.lies(self.log_entry(at)))
        entry = parse_log_entry(parse_json(data, max_bytes=1 << 22))
        proven = check_body(prove_log_entry(entry, keys_of([self])), signed)
        return LogReceipt(shard=self.shard, log_entry=data, proven=proven)


class FakeLog:
    """A connection to a shard: ``ledger.log.remote.RemoteLog``."""

    def __init__(self, fake):
        self.fake = fake
        self.shard = fake.shard

    async def submit(self, signed, *, again=False):
        fake = self.fake
        fake.again += again
        fake.under_way += 1
        fake.most_under_way = max(fake.most_under_way, fake.under_way)
        try:
            if fake.gate is not None:
                await asyncio.to_thread(fake.gate.wait)
            else:
                await asyncio.sleep(0)
            return fake.answer(signed)
        finally:
            fake.under_way -= 1

    async def find(self, signed):
        self.fake.looked += 1
        if self.fake.unreadable:
            raise SourceError(self.fake.origin, expected="an answer", actual="no connection")
        at = self.fake.places.get(hashedrekord_v2(signed.digest, signed.signature, signed.verifier))
        return None if at is None else self.fake.receipt(at)

    async def close(self):
        self.fake.closed += 1


def keys_of(fakes):
    return LogKeys({each.log_id: each.key.public_key() for each in fakes})


def connect_to(*fakes):
    """What opens the log of a shard."""
    by_order = {each.shard.order: each for each in fakes}
    return lambda shard: FakeLog(by_order[shard.order])


def until(fake, valid_until):
    """Give a shard an end."""
    fake.shard = replace(fake.shard, valid_until=valid_until)
    return fake
