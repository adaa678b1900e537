"""One shard of Rekor v2 (rekor-tiles): entries are submitted over HTTP, and answered when a checkpoint has them.

An entry is ``hashedrekord`` 0.0.2 over the digest of a DSSE envelope; only digests go to Rekor. An answer counts once
all of it is checked: it is about what was sent, in the tree that this shard signed, at the place that it names. The log
is read at its read address, where a duplicate is looked up too: a 409 only hints where its entry is.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ledger.bundle.bodies import SignedPayload, Verifier
from ledger.bundle.log_entry import LogEntry, LogKeys
from ledger.encoding import parse_decimal, parse_json
from ledger.entry import MAX_ENTRY_BYTES
from ledger.errors import (
    MAX_SHOWN,
    ConfigError,
    FrozenError,
    InputError,
    LedgerError,
    NotFoundError,
    ProofError,
    RejectedError,
    SourceError,
    UsageError,
)
from ledger.log import Committed, Submission
from ledger.log.authentic import AuthenticLog
from ledger.log.fetch import Fetch, fetch_from_url
from ledger.log.hashedrekord import (
    KIND,
    MAX_ANSWER_BYTES,
    format_body,
    format_request,
    prove_entry,
    read_answer,
)
from ledger.log.posting import Answer, Poster
from ledger.log.published import PublishedLog
from ledger.log.remote import LogReceipt, Shard
from ledger.log.timestamping import Authority, request_timestamp
from ledger.tlog.checkpoint import VerifiedCheckpoint
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.signed_note import KeyType, VerifierKey

if TYPE_CHECKING:
    import httpx

LOOKS = 8
"""How often a duplicate is looked for: the checkpoint that covers it may be younger than the answer."""
LOOK_PAUSE = 2.0
"""Seconds between two looks: with ``LOOKS``, longer than the ten seconds between two checkpoints of the public log."""
LOOKS_AT_ONCE = 2
"""Each of them holds a thread of those in which an outbox is written, too, and a read address may be slow."""
LOOKED_THROUGH = 1 << 18
"""Leaves of a shard in which an entry was tried that are looked through for it: eight megabytes of tiles, half an hour
of the public log, read once for all entries. What was logged before that, ``index rebuild --scan`` finds."""
MAX_REASON_BYTES = 1 << 16
_LOG_INDEX = "x-log-index"
_FINAL = (400, 413, 422)
_FROZEN = b"frozen"
"""What the text of a shard says that takes no entries; it is the one answer that is not JSON."""


class RekorV2:
    """Writes and reads one shard of Rekor v2: a ``RemoteLog``, and what of ``ledger.log.Log`` applies to one.

    ``keys`` are those of the trusted root. With ``tsa_urls``, each receipt carries a timestamp over its signature by
    the first of them that answers, verified against ``authorities``. ``append`` takes entries that the key ``signer``
    signed. ``transport`` and ``fetch`` are for tests.
    """

    def __init__(
        self,
        shard: Shard,
        keys: LogKeys,
        *,
        in_flight: int = 64,
        timeout: float = 60.0,
        tsa_urls: Sequence[str] = (),
        authorities: Sequence[Authority] = (),
        signer: Verifier | None = None,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        transport: "httpx.AsyncBaseTransport | None" = None,
        fetch: Fetch | None = None,
    ) -> None:
        self.shard = shard
        self._keys = keys
        self._url = f"{shard.write_url}/api/v2/log/entries"
        self._open = partial(
            Poster, in_flight, max_bytes=MAX_ANSWER_BYTES, timeout=timeout, transport=transport
        )
        self._poster = self._open()
        self._signer = signer
        self._tsa_urls, self._authorities = tuple(tsa_urls), tuple(authorities)
        self._pause = pause
        self._looking = asyncio.Semaphore(LOOKS_AT_ONCE)
        source = fetch or fetch_from_url(shard.read_url)
        self._log = AuthenticLog(PublishedLog(source, origin=shard.origin, keys=[note_key(shard)]))

    async def submit(self, signed: SignedPayload, *, again: bool = False) -> LogReceipt:
        """Submit one envelope; see ``RemoteLog``. One that comes ``again`` is told by the log itself."""
        del again
        if self.shard.write_url is None:
            raise FrozenError(
                f"shard {self.shard.origin}", expected="a place in the signing config", actual="none"
            )
        try:
            request, body = format_request(signed), format_body(signed)
        except ConfigError as error:  # a kind of key that no Rekor takes: asking it would change nothing
            raise RejectedError(error.what, expected=error.expected, actual=error.actual) from error
        if not self._tsa_urls:
            return await self._submit(request, body)
        stamping = asyncio.ensure_future(self._stamp(signed.signature))
        try:
            receipt = await self._submit(request, body)
        except BaseException:
            stamping.cancel()
            await asyncio.gather(stamping, return_exceptions=True)
            raise
        # Without its timestamp the entry does not count yet: the next try finds it, and asks again.
        return replace(receipt, timestamps=(await stamping,))

    async def _submit(self, request: bytes, body: bytes) -> LogReceipt:
        answer = await self._poster.post(self._url, content=request)
        match answer.status:
            case 201:
                return read_answer(answer.body, body=body, shard=self.shard, keys=self._keys)
            case 409:
                return await self._find(body, answer)
            case _:
                raise self._refusal(answer)

    async def find(self, signed: SignedPayload) -> LogReceipt | None:
        """Return the place of an envelope among the newest ``LOOKED_THROUGH`` entries; None: it is not there.

        A shard that takes nothing any more answers no question: its leaf hashes are looked through, the newest first.
        """
        body = format_body(signed)
        async with self._looking:
            return await asyncio.to_thread(self._look_through, body)

    def _look_through(self, body: bytes) -> LogReceipt | None:
        with self._reading():
            checkpoint = self._log.checkpoint()
            index = self._log.find_leaf(leaf_hash(body), tree=checkpoint.checkpoint, newest=LOOKED_THROUGH)
            return None if index is None else self._receipt(body, index, checkpoint)

    def _refusal(self, answer: Answer) -> LedgerError:
        """Return what a status other than success means. Only the log's own words are final, never those of a proxy."""
        what, reason = f"POST {self._url}", _reason(answer)
        if reason and answer.status in _FINAL:
            return RejectedError(what, expected="status 201", actual=f"{answer.status}: {reason}")
        if answer.status == 405 and _FROZEN in answer.body[:MAX_REASON_BYTES]:
            return FrozenError(what, expected="a shard that takes entries", actual="one that is frozen")
        return SourceError(what, expected="status 201", actual=f"{answer.status} {reason}".strip())

    async def _find(self, body: bytes, answer: Answer) -> LogReceipt:
        """Return the place of an entry that is there already, as if it were new.

        Raises:
            SourceError: it is not where the answer says, or no checkpoint covers it yet.
        """
        near = self._hint(answer)
        for attempt in range(LOOKS):
            if attempt:
                await self._pause(LOOK_PAUSE)
            async with self._looking:
                found = await asyncio.to_thread(self._look, body, near)
            if found is not None:
                return found
        raise SourceError(
            f"checkpoint of {self.shard.origin}", expected=f"a tree with leaf {near}", actual="a smaller one"
        )

    def _hint(self, answer: Answer) -> int:
        try:
            return parse_decimal(answer.headers.get(_LOG_INDEX, ""), what=f"header {_LOG_INDEX}")
        except InputError as error:
            raise SourceError(
                f"header {_LOG_INDEX} of {self._url}", expected=error.expected, actual=error.actual
            ) from error

    def _look(self, body: bytes, near: int) -> LogReceipt | None:
        """Look for an entry near a leaf index; None where no checkpoint covers that leaf yet."""
        with self._reading():
            covering = self._log.covering(near)
            if covering is None:
                return None
            tree = covering.checkpoint
            index = self._log.find(body, near=near, tree=tree)
            if index is None:
                raise SourceError(
                    f"entries of {self.shard.origin} near {near}",
                    expected="the one that the log says to have",
                    actual="others only",
                )
            return self._receipt(body, index, covering)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Read the log's objects, which its operator publishes: one that is missing says nothing.

        A tree that cannot be read, or does not hold, is forgotten. It was signed, and may be larger than any that follows:
        as long as it is remembered, no later checkpoint would be asked for, and no duplicate found.
        """
        try:
            yield
        except LedgerError as error:
            self._log.forget(tiles=isinstance(error, ProofError))
            if isinstance(error, NotFoundError):
                raise SourceError(error.what, expected=error.expected, actual=error.actual) from error
            raise

    def _receipt(self, body: bytes, index: int, checkpoint: VerifiedCheckpoint) -> LogReceipt:
        """Return the receipt of a leaf of a signed tree, its proof built from tiles and checked as an answer is."""
        tree = checkpoint.checkpoint
        entry = LogEntry(
            log_id=self.shard.log_id,
            index=index,
            kind=KIND,
            body=body,
            integrated_time=0,
            promise=None,
            proof_index=index,
            hashes=self._log.prove_inclusion(index, tree.size, tree=tree),
            note=checkpoint.note,
        )
        return prove_entry(entry, shard=self.shard, keys=self._keys)

    async def _stamp(self, signature: bytes) -> bytes:
        """Return a timestamp by the first authority that answers with one that verifies.

        Raises:
            SourceError: none does; what each of them answered. The error of the only one, where there is one.
        """
        failed: dict[str, LedgerError] = {}
        for url in self._tsa_urls:
            try:
                return await self._ask(url, signature)
            except LedgerError as error:
                failed[url] = error
        errors = list(failed.values())
        if len(errors) == 1:
            raise errors[0]
        share = MAX_SHOWN // len(errors) - 2  # a message shows so much of ``actual``: a part for each
        raise SourceError(
            "timestamp",
            expected=f"one by any of {len(errors)} authorities",
            actual="; ".join(f"{url}: {error.actual}"[:share] for url, error in failed.items()),
        ) from ExceptionGroup("timestamps", errors)

    async def _ask(self, url: str, signature: bytes) -> bytes:
        return await request_timestamp(signature, url=url, authorities=self._authorities, poster=self._poster)

    async def close(self) -> None:
        """Close connections."""
        await self._poster.close()

    # What of ``ledger.log.Log`` applies

    def append(self, submissions: Sequence[Submission]) -> list[Committed | LedgerError]:
        """Submit entries of ours, all at once; each is answered on its own, when it is published.

        Raises:
            UsageError: an entry that is still to be admitted: that needs a writer who sees every entry, and others write
                this log too. Or no key to submit them with.
        """
        if self._signer is None or any(each.admit is not None for each in submissions):
            raise UsageError(
                "submission to Rekor",
                expected="entries that were admitted before, and the key that signed them",
                actual="no key" if self._signer is None else "one to admit",
            )
        return asyncio.run(self._append([each.entry for each in submissions], self._signer))

    async def _append(self, entries: Sequence[bytes], signer: Verifier) -> list[Committed | LedgerError]:
        here = copy(self)
        # Connections and turns cannot leave their event loop.
        here._poster, here._looking = self._open(), asyncio.Semaphore(LOOKS_AT_ONCE)  # noqa: SLF001
        try:
            return list(await asyncio.gather(*(here._append_one(entry, signer) for entry in entries)))  # noqa: SLF001
        finally:
            await here.close()

    async def _append_one(self, entry: bytes, signer: Verifier) -> Committed | LedgerError:
        try:
            envelope = parse_json(entry, what="entry", max_bytes=MAX_ENTRY_BYTES)
            signed = replace(SignedPayload.of_entry(envelope, signer.der), verifier=signer)
            return Committed(leaf_index=(await self.submit(signed)).proven.leaf_index)
        except LedgerError as error:
            return error

    def checkpoint(self) -> VerifiedCheckpoint:
        """Return the newest published checkpoint, its origin and signature checked."""
        return self._log.checkpoint()

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bodies of the published entries ``[start, end)``, each proven to be that leaf."""
        return self._log.read(start, end, tree=self._covering(end).checkpoint)

    def prove_inclusion(self, leaf_index: int, size: int) -> tuple[bytes, ...]:
        """Prove that the leaf is in the tree of ``size``."""
        return self._log.prove_inclusion(leaf_index, size, tree=self._covering(size).checkpoint)

    def prove_consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Prove that the tree of ``old_size`` is a prefix of that of ``new_size``."""
        return self._log.prove_consistency(old_size, new_size, tree=self._covering(new_size).checkpoint)

    def _covering(self, size: int) -> VerifiedCheckpoint:
        """Return a checkpoint of at least this size. Raises NotFoundError: none is published."""
        covering = self._log.covering(size - 1)
        if covering is None:
            raise NotFoundError(
                f"tree of {self.shard.origin}", expected=f"size {size} or more", actual="less"
            )
        return covering


def note_key(shard: Shard) -> VerifierKey:
    """Return the key of a shard as checkpoints name it."""
    key = serialization.load_der_public_key(shard.spki)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return VerifierKey(name=shard.origin, kind=KeyType.ED25519, public_key=key.public_bytes_raw())
    return VerifierKey(name=shard.origin, kind=KeyType.ECDSA, public_key=shard.spki)


def _reason(answer: Answer) -> str:
    """Return the log's own words, as its gateway puts them into JSON. Empty: somebody else answered."""
    try:
        value = parse_json(answer.body, what="answer of the log", max_bytes=MAX_REASON_BYTES)
    except InputError:
        return ""
    match value:
        case {"message": str(text)}:
            return text
    return ""
