"""Asks a ledger's service for the proof of one event: one request as a rule, more where the history is long or the event not the last."""

from urllib.parse import quote, urlencode

from ledger.client.proof_bundle import MAX_CLAIMS, Claim, ProofBundle, choose
from ledger.client.result import count
from ledger.encoding import Json, parse_json, parse_whole
from ledger.errors import LimitError, MalformedError, NotFoundError
from ledger.log.fetch import Fetch
from ledger.tlog.proof import MAX_PROOF_BYTES

_PAGE = 1000
"""Events of one answer, as many as a service gives."""
_MAX_PAGES = 4 * MAX_CLAIMS // _PAGE
"""A server decides what is on a page: pages with nothing that counts need not come to an end."""
_MAX_PAGE_BYTES = 16 << 20


def fetch_bundle(
    fetch: Fetch,
    name: str,
    *,
    now: int,
    revision: str | None = None,
    content: bytes | None = None,
    manifest: bytes | None = None,
    since: int | None = None,
) -> ProofBundle:
    """Fetch the proof of the latest event of a revision, or of the files with this content, and what else there is.

    ``name`` and ``revision`` are as they are recorded; ``since`` is the size of a checkpoint that the caller knows.

    Raises:
        NotFoundError: the hub shows no event of this name, or of this revision. SourceError, LimitError, MalformedError.
    """
    if (at_once := _at_once(fetch, name, revision=revision, since=since)) is not None:
        claims, leaf_index, proof = at_once
        chosen = choose(claims, revision=revision, content=content, manifest=manifest)
        if chosen is not None:
            if chosen.leaf_index != leaf_index:
                proof = fetch_proof(fetch, chosen.leaf_index, since)
            return ProofBundle(name=name, proof=proof, claims=claims, fetched_at=now)
    try:
        claims = _read_claims(fetch, name)
    except NotFoundError as error:
        raise _unknown(name, "no event of this name") from error
    chosen = choose(claims, revision=revision, content=content, manifest=manifest)
    if chosen is None:
        what = name if revision is None else f"{name} at {revision}"
        raise _unknown(what, f"none among {count(len(claims), 'event')} of this name")
    proof = fetch_proof(fetch, chosen.leaf_index, since)
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


def _unknown(what: str, actual: str) -> NotFoundError:
    return NotFoundError(
        f"event of {what}",
        expected="one that the hub shows",
        actual=actual,
        next_step="Check name and revision; what was uploaded just now is there within seconds",
    )


def _read_claims(fetch: Fetch, name: str) -> tuple[Claim, ...]:
    claims: list[Claim] = []
    after: int | None = None
    pages = 0
    while True:
        found, following = _read_page(fetch, name, after)
        pages += 1
        claims += found
        if len(claims) > MAX_CLAIMS or pages > _MAX_PAGES:
            raise LimitError(
                f"events of {name}",
                expected=f"at most {MAX_CLAIMS}",
                actual="more",
                next_step="Ask the hub for the proof of the event, and check it with hubledger verify --proof",
            )
        if following is None:
            return tuple(claims)
        if after is not None and following <= after:
            raise _strange("the next page of a history", f"page {following} after {after}")
        after = following


def _read_page(fetch: Fetch, name: str, after: int | None) -> tuple[list[Claim], int | None]:
    query: dict[str, str | int] = {"model": name, "as": "recorded", "limit": _PAGE}
    if after is not None:
        query["after"] = after
    data = fetch(f"v1/history?{urlencode(query, quote_via=quote)}", max_bytes=_MAX_PAGE_BYTES)
    match _parse(data, f"the history of {name}", max_bytes=_MAX_PAGE_BYTES):
        case {"events": list(rows), "model": str(model), **rest} if model == name:
            found = [claim for row in rows if (claim := Claim.of(row)) is not None]
            following = rest.get("next")
            return found, None if following is None else parse_whole(following, what="next")
    raise _strange(f"the history of {name}", "another answer")


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
