"""Writes Rekor v1 (sigstore/rekor): ``dsse`` 0.0.1, or ``hashedrekord`` 0.0.1 where an operator does not take that.

What comes back is believed in nothing: the body must be the one that the submitted signature has, its leaf in a tree that
this log signed, time and global index under the log's signed entry timestamp. See ``rekor_v1_answers`` for the two indices.
``rekor_v1_reading`` reads the log.

The body of a ``dsse`` entry holds the SHA-256 of the envelope's text exactly as it was sent, so the same statement under
another spelling of its envelope would be another entry. We send RFC 8785 JSON and nothing else. Rekor calls an entry a
duplicate (409) only if it has the very same body, and we know the leaf hash of that body without being told. And only in
its active tree: after a change of trees the same body would be logged again. What may have been submitted before is
therefore asked for by its leaf hash first, for which the server looks in all of its trees.
"""

import asyncio
import hashlib
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from ledger.bundle.bodies import SignedPayload, dsse_v1, hashedrekord_v1
from ledger.bundle.log_entry import LogKeys
from ledger.encoding import format_base64, format_canonical_json
from ledger.errors import ConfigError, FrozenError, NotFoundError, ProofError, RejectedError
from ledger.log.rekor_v1_answers import (
    MAX_ANSWER_BYTES,
    Answered,
    NotYet,
    SignedTrees,
    giving_up,
    parse_answer,
    parse_list,
    prove_answer,
)
from ledger.log.rekor_v1_http import TIMEOUT, Ask, Send, ask_async, body_of, message_of, send_on, send_with
from ledger.log.remote import LogReceipt, Shard
from ledger.tlog.merkle import leaf_hash

KINDS = ("dsse", "hashedrekord")
ENTRIES = "/api/v1/log/entries"
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further look for an entry that the log has taken and not yet put into its tree."""

Pause = Callable[[float], Awaitable[object]]


class RekorV1:
    """Writes one shard of Rekor v1; a ``RemoteLog``. Up to ``in_flight`` submissions at once; more wait for their turn.

    ``kinds`` are tried in their order: when the log says that it does not take one, that one is not tried again. ``timeout``
    is in seconds for each request. ``pause`` waits between looks for an entry that is taken and not yet in the tree.
    """

    def __init__(
        self,
        shard: Shard,
        keys: LogKeys,
        *,
        in_flight: int = 64,
        timeout: float = TIMEOUT,
        kinds: Sequence[str] = KINDS,
        pause: Pause = asyncio.sleep,
    ) -> None:
        import httpx  # only what goes to the network pays for it

        from ledger.log.wire import WireTransport

        if not kinds or not set(kinds) <= set(KINDS):
            raise ConfigError("kinds of Rekor v1", expected=" or ".join(KINDS), actual=", ".join(kinds))
        self.shard = shard
        self._keys, self._kinds, self._pause = keys, tuple(kinds), pause
        self._turn, self._trees = asyncio.Semaphore(in_flight), SignedTrees()
        tls = httpx.create_ssl_context()
        if urllib.request.getproxies():  # which only httpx's own transport knows
            client = httpx.AsyncClient(follow_redirects=False, verify=tls)
            send: Send = partial(send_with, client)
            self._close: Callable[[], Awaitable[None]] = client.aclose
        else:
            # Without a client in between, which has cookies and redirects to think of.
            transport = WireTransport(max_bytes=MAX_ANSWER_BYTES, tls=tls)
            send, self._close = partial(send_on, transport), transport.aclose
        self._ask = partial(ask_async, send, seconds=timeout)

    async def submit(self, signed: SignedPayload, *, again: bool = False) -> LogReceipt:
        """Submit one envelope and return its place once that is completely verified; also where it was there before.

        ``again``: it may have been submitted before, its answer lost; then it is looked for first, in every tree.

        Raises:
            RejectedError: the log will never take it. FrozenError: this shard takes no more.
            SourceError: no answer, or one that says nothing about the entry; submit the same bytes again.
            SignatureError, ProofError, MalformedError, LimitError: an answer that does not hold.
        """
        async with self._turn:
            if again and (found := await self._find(signed)) is not None:
                return found
            *others, last = self._kinds_for(signed)
            for kind in others:
                try:
                    return await self._submit_as(kind, signed)
                except _KindRefused:
                    self._kinds = tuple(each for each in self._kinds if each != kind)
            try:
                return await self._submit_as(last, signed)
            except _KindRefused as refused:
                raise refused.refusal from refused

    async def find(self, signed: SignedPayload) -> LogReceipt | None:
        """Return the place of an envelope that may have been submitted before, in any tree; None: it is in none.

        Raises:
            SourceError: no answer, or one that says nothing. Else as ``submit``: an answer that does not hold.
        """
        async with self._turn:
            return await self._find(signed)

    async def _find(self, signed: SignedPayload) -> LogReceipt | None:
        # Also of a kind that the log took then and does not take now. Asked for one entry, the server names the active
        # tree's; asked like this, those of all its trees, and an entry that is nowhere is an empty answer, not a 404.
        bodies = {leaf_hash(body): body for body in (body_as(kind, signed) for kind in KINDS)}
        leaves = format_canonical_json({"entryUUIDs": [each.hex() for each in bodies]})
        url = f"{self.shard.read_url.rstrip('/')}{ENTRIES}/retrieve"
        answer = await self._ask(Ask(url=url, body=leaves))
        try:
            found = [
                self._prove_parsed(each, bodies.get(leaf_hash(each.entry.body), b""))
                for each in parse_list(body_of(answer, 200))
            ]
        except NotYet as late:
            raise late.refusal from late
        return min(found, key=lambda each: each.position, default=None)

    def _kinds_for(self, signed: SignedPayload) -> tuple[str, ...]:
        """Return the kinds to try. Rekor v1 checks every envelope with SHA-256, whatever the key.

        Raises:
            RejectedError: a kind of key that no Rekor takes.
        """
        try:
            algorithm = signed.verifier.algorithm.name
        except ConfigError as error:
            raise RejectedError(error.what, expected=error.expected, actual=error.actual) from error
        if algorithm != "sha256" and "hashedrekord" in self._kinds:
            return ("hashedrekord",)
        return self._kinds

    async def close(self) -> None:
        """Close connections."""
        await self._close()

    async def _submit_as(self, kind: str, signed: SignedPayload) -> LogReceipt:
        if self.shard.write_url is None:
            raise FrozenError(
                f"log {self.shard.origin}", expected="an address to submit to", actual="none: it is only read"
            )
        body = body_as(kind, signed)
        # 1. Submit. The very same body may be there already, from a try whose answer was lost.
        url = self.shard.write_url.rstrip("/") + ENTRIES
        answer = await self._ask(Ask(url=url, body=propose(kind, signed), proposes=True))
        said = message_of(answer) or "" if answer.status == 400 else ""
        if f"entry kind '{kind}' is not enabled" in said:
            raise _KindRefused(RejectedError(f"POST {url}", expected=f"a log that takes {kind}", actual=said))
        data = body_of(answer, 201, 409)
        if answer.status == 409:
            return await self._look_for(body)
        # 2. What came back is proven; where the tree has not grown over it yet, it is asked for again.
        try:
            return self._prove(data, body)
        except NotYet:
            return await self._look_for(body)

    async def _look_for(self, body: bytes) -> LogReceipt:
        """Return the entry of exactly this body, asked for by its own leaf hash, never by what an answer named."""
        url = f"{self.shard.read_url.rstrip('/')}{ENTRIES}/{leaf_hash(body).hex()}"
        for seconds in PAUSES:
            try:
                return await self._look(url, body)
            except NotYet:
                await self._pause(seconds)
        with giving_up():
            return await self._look(url, body)

    async def _look(self, url: str, body: bytes) -> LogReceipt:
        answer = await self._ask(Ask(url=url))
        try:
            return self._prove(body_of(answer, 200), body)
        except NotFoundError as error:
            raise NotYet(error.what, expected="the entry that the log has taken", actual="404") from error

    def _prove(self, data: bytes, body: bytes) -> LogReceipt:
        """Return a receipt of an answer that is about this body. Raises as ``submit``."""
        return self._prove_parsed(parse_answer(data), body)

    def _prove_parsed(self, answered: Answered, body: bytes) -> LogReceipt:
        proven, stored = prove_answer(answered, self.shard, self._keys, trees=self._trees)
        if proven.body != body:
            raise ProofError(
                "body of the log entry",
                expected=f"that of the submitted signature, SHA-256 {hashlib.sha256(body).hexdigest()}",
                actual=hashlib.sha256(proven.body).hexdigest(),
            )
        return LogReceipt(shard=self.shard, log_entry=stored, proven=proven)


class _KindRefused(Exception):  # noqa: N818 - not an error while there is another kind
    """The log takes no entries of this kind; it may take another."""

    def __init__(self, refusal: RejectedError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def body_as(kind: str, signed: SignedPayload) -> bytes:
    """Return the body that an entry of the kind must have: what the log hashes into its tree."""
    if kind == "hashedrekord":
        return hashedrekord_v1(signed.digest, signed.signature, signed.verifier)
    digest = hashlib.sha256(signed.envelope).hexdigest()
    return dsse_v1(signed.payload, signed.signature, signed.verifier, envelope_sha256=digest)


def propose(kind: str, signed: SignedPayload) -> bytes:
    """Return the request that proposes an entry of the kind."""
    import rekor_types  # takes longer to load than a whole offline check

    pem = format_base64(signed.verifier.pem)
    if kind == "dsse":
        content = {"envelope": signed.envelope.decode(), "verifiers": [pem]}
        entry: Any = rekor_types.Dsse.model_validate({"spec": {"proposedContent": content}})
    else:
        name = signed.verifier.algorithm.name
        entry = rekor_types.Hashedrekord.model_validate(
            {
                "spec": {
                    "data": {"hash": {"algorithm": name, "value": signed.digest.hex()}},
                    "signature": {
                        "content": format_base64(signed.signature),
                        "publicKey": {"content": pem},
                    },
                }
            }
        )
    return format_canonical_json(entry.model_dump(mode="json", by_alias=True, exclude_none=True))
