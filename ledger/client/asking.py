"""Asks a ledger's service for the proof of one event: one request as a rule, more where the history is long or the event not the last."""

import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from ledger.client.proof_bundle import MAX_CLAIMS, Claim, ProofBundle, choose
from ledger.client.proof_extra import parse_extra
from ledger.client.result import count
from ledger.encoding import Json, parse_json, parse_whole
from ledger.errors import InputError, LimitError, MalformedError, NotFoundError, SourceError
from ledger.log.fetch import Fetch
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.proof import MAX_PROOF_BYTES, parse_proof
from ledger.tlog.signed_note import parse_note

_PAGE = 1000
"""Events of one answer, as many as a service gives."""
_MAX_PAGES = 4 * MAX_CLAIMS // _PAGE
"""A server decides what is on a page: pages with nothing that counts need not come to an end."""
_MAX_PAGE_BYTES = 16 << 20
_MAX_HISTORY_BYTES = 64 << 20
"""All pages together: ten thousand events of a hub that is in order take a tenth of it."""
_MAX_HISTORY_SECONDS = 120
"""All pages together, looked at before each: one page ends by itself (``log.fetch``)."""
_BY_PROOF = "Ask the hub for the proof of the event, and check it with hubledger verify --proof"


def fetch_bundle(
    fetch: Fetch,
    name: str,
    *,
    now: int,
    revision: str | None = None,
    content: bytes | None = None,
    manifest: bytes | None = None,
    since: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> ProofBundle:
    """Fetch the proof of the latest event of a revision, or of the files with this content, and what else there is.

    ``name`` and ``revision`` are as they are recorded; ``since`` is the size of a checkpoint that the caller knows. ``clock``, in
    seconds, ends a history of many pages.

    Raises:
        NotFoundError: the hub shows no event of this name, or of this revision. SourceError: also a tree that is larger than
            ``since`` and not linked to it. LimitError, MalformedError.
    """
    if (at_once := _at_once(fetch, name, revision=revision, since=since)) is not None:
        claims, leaf_index, proof = at_once
        chosen = choose(claims, revision=revision, content=content, manifest=manifest)
        if chosen is not None:
            if chosen.leaf_index != leaf_index:
                proof = fetch_proof(fetch, chosen.leaf_index, since)
            _check_linked(proof, since)
            return ProofBundle(name=name, proof=proof, claims=claims, fetched_at=now)
    try:
        claims = _read_claims(fetch, name, clock)
    except NotFoundError as error:
        raise _unknown(name, "no event of this name") from error
    chosen = choose(claims, revision=revision, content=content, manifest=manifest)
    if chosen is None:
        what = name if revision is None else f"{name} at {revision}"
        raise _unknown(what, f"none among {count(len(claims), 'event')} of this name")
    proof = fetch_proof(fetch, chosen.leaf_index, since)
    _check_linked(proof, since)
    return ProofBundle(name=name, proof=proof, claims=claims, fetched_at=now)


def _at_once(
    fetch: Fetch, name: str, *, revision: str | None, since: int | None
) -> tuple[tuple[Claim, ...], int, bytes] | None:
    """Ask for everything in one request: the events, and the proof of the one that is most likely to be wanted.

    None where the history is too long for that, or there is nothing of this name, or the service is older than the question.
    """
    query: dict[str, str | int] = {"model": name, "as": "recorded"}
    query |= {} if revision is None else {"revision": revision}
    query |= {"since": since} if since else {}
    try:
        data = fetch(f"v1/check?{urlencode(query, quote_via=quote)}", max_bytes=MAX_PROOF_BYTES)
    except NotFoundError:
        return None
    match _parse(data, f"the events of {name}", max_bytes=MAX_PROOF_BYTES):
        case {
            "claims": list(rows),
            "count": count,
            "leafIndex": leaf,
            "model": str(model),
            "proof": str(proof),
        } if model == name:
            claims = tuple(each for row in rows if (each := Claim.of(row)) is not None)
            whole = len(claims) == parse_whole(count, what="count")
            # What is no UTF-8 becomes a proof that does not hold, as any other that is none.
            data = proof.encode("utf-8", "replace")
            return (claims, parse_whole(leaf, what="leafIndex"), data) if whole else None
    raise _strange(f"the events of {name}", "another answer")


def fetch_proof(fetch: Fetch, leaf_index: int, since: int | None = None) -> bytes:
    """Fetch the proof of one leaf, with a consistency proof from the size ``since``.

    A service that has not come as far as that (a copy that lags behind, or was restored) has no such link: then the proof comes
    without, and the check says that it is older than the pin.

    Raises:
        NotFoundError: no such leaf. SourceError, LimitError. MalformedError: no proof.
    """
    name = f"v1/entries/{leaf_index}/proof"
    try:
        proof = fetch(f"{name}?since={since}" if since else name, max_bytes=MAX_PROOF_BYTES)
    except NotFoundError:
        if not since:
            raise
        proof = fetch(name, max_bytes=MAX_PROOF_BYTES)
    try:
        proof.decode()
    except UnicodeDecodeError as error:
        raise _strange("a proof", "bytes that are not UTF-8") from error
    return proof


def _check_linked(proof: bytes, since: int | None) -> None:
    """Refuse a service that shows more than the caller knows, and not that it is more of the same.

    A copy that lags shows less. One that has more has the way there as well: who leaves it out may show another log. Of a proof
    that cannot be read, the check says what is wrong.

    Raises:
        SourceError: a larger tree without the link that was asked for.
    """
    if not since:
        return
    try:
        parsed = parse_proof(proof)
        size = parse_checkpoint(parse_note(parsed.checkpoint_note).text).size
        link = parse_extra(parsed.extra or b"").consistency
    except InputError:
        return
    shown_by_path = since.bit_count() == 1 and parsed.index < since  # see ``evidence.prefix_by_inclusion``
    if size <= since or shown_by_path or (link is not None and link.size == since):
        return
    raise SourceError(
        f"link from your remembered checkpoint of size {since}",
        expected=f"a consistency proof to the log of {size} entries that the service shows",
        actual="none",
        next_step="Do not use what it shows until it is linked: ask the hub, and a monitor which checkpoint it has seen",
    )


def _unknown(what: str, actual: str) -> NotFoundError:
    return NotFoundError(
        f"event of {what}",
        expected="one that the hub shows",
        actual=actual,
        next_step="Check name and revision; what was uploaded just now is there within seconds",
    )


def _read_claims(fetch: Fetch, name: str, clock: Callable[[], float]) -> tuple[Claim, ...]:
    claims: list[Claim] = []
    after: int | None = None
    pages, received, began = 0, 0, clock()
    while True:
        data = _fetch_page(fetch, name, after)
        pages, received = pages + 1, received + len(data)
        if received > _MAX_HISTORY_BYTES:
            raise _too_long(f"history of {name}", f"at most {_MAX_HISTORY_BYTES} bytes")
        found, following = _parse_page(data, name)
        claims += found
        if len(claims) > MAX_CLAIMS or pages > _MAX_PAGES:
            raise _too_long(f"events of {name}", f"at most {MAX_CLAIMS}")
        if following is None:
            return tuple(claims)
        if after is not None and following <= after:
            raise _strange("the next page of a history", f"page {following} after {after}")
        if clock() - began > _MAX_HISTORY_SECONDS:
            raise SourceError(
                f"history of {name}",
                expected=f"all pages within {_MAX_HISTORY_SECONDS} s",
                actual="more to come",
                next_step="Try again later, or ask the hub for the proof of the event, and check it with hubledger verify --proof",
            )
        after = following


def _fetch_page(fetch: Fetch, name: str, after: int | None) -> bytes:
    query: dict[str, str | int] = {"model": name, "as": "recorded", "limit": _PAGE}
    if after is not None:
        query["after"] = after
    return fetch(f"v1/history?{urlencode(query, quote_via=quote)}", max_bytes=_MAX_PAGE_BYTES)


def _parse_page(data: bytes, name: str) -> tuple[list[Claim], int | None]:
    match _parse(data, f"the history of {name}", max_bytes=_MAX_PAGE_BYTES):
        case {"events": list(rows), "model": str(model), **rest} if model == name:
            found = [claim for row in rows if (claim := Claim.of(row)) is not None]
            following = rest.get("next")
            return found, None if following is None else parse_whole(following, what="next")
    raise _strange(f"the history of {name}", "another answer")


def _too_long(what: str, expected: str) -> LimitError:
    return LimitError(what, expected=expected, actual="more", next_step=_BY_PROOF)


def _parse(data: bytes, what: str, *, max_bytes: int) -> Json:
    try:
        return parse_json(data, what="answer of the ledger's service", max_bytes=max_bytes)
    except MalformedError as error:
        raise _strange(what, "no JSON") from error


def _strange(what: str, actual: str) -> MalformedError:
    """Return what to raise about an answer that is none of ours, whatever else it is: a page of HTML, or JSON of another form."""
    return MalformedError(
        "answer of the ledger's service",
        expected=what,
        actual=actual,
        next_step="Check that the address is that of a hubledger service; else tell whoever runs it",
    )
