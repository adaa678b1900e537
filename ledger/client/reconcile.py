"""Which revisions that a hub serves have no event: asked of the ledger's service, a hundred at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice

import httpx

from ledger.encoding import Json, format_canonical_json, parse_json
from ledger.errors import MalformedError, SourceError

MAX_LINE_BYTES = 1 << 20
MAX_ANSWER_BYTES = 16 << 20
PAIRS = 100
Pair = tuple[str, str]


def parse_pairs(lines: Iterable[bytes]) -> Iterator[Pair]:
    """Parse lines of ``{"model", "revision"}``; empty ones are left out. Raises MalformedError, LimitError."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match parse_json(line, what=f"line {number}", max_bytes=MAX_LINE_BYTES):
            case {"model": str(model), "revision": str(revision)} if model and revision:
                yield model, revision
            case other:
                raise MalformedError(
                    f"line {number}",
                    expected='{"model": …, "revision": …}',
                    actual=other,
                    next_step="Write one JSON object a line for each revision that the hub serves",
                )


def find_missing(pairs: Iterable[Pair], client: httpx.Client) -> Iterator[Pair]:
    """Yield those that the ledger has no published event of, in their order. Raises SourceError."""
    rest = iter(pairs)
    while asked := list(islice(rest, PAIRS)):
        for pair, standing in zip(asked, _ask(asked, client), strict=True):
            if "leafIndex" not in standing:
                yield pair


def _ask(pairs: list[Pair], client: httpx.Client) -> list[dict[str, Json]]:
    body = {"pairs": [{"model": model, "revision": revision} for model, revision in pairs]}
    try:
        response = client.post(
            "/v1/standings",
            content=format_canonical_json(body),
            headers={"content-type": "application/json"},
        )
    except httpx.HTTPError as error:
        raise _away(type(error).__name__) from error
    if response.status_code == httpx.codes.OK:
        answer = parse_json(response.content, what="standings", max_bytes=MAX_ANSWER_BYTES)
        match answer:
            case {"standings": list(standings)} if len(standings) == len(pairs):
                return standings
    raise _away(f"status {response.status_code}")


def _away(actual: str) -> SourceError:
    return SourceError(
        "the ledger's service",
        expected="how each revision stands",
        actual=actual,
        next_step="Check the address; its /health/ready says how it is",
    )
