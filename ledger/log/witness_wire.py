"""The wire to the witnesses of a log (c2sp.org/tlog-witness): one request, and an answer that comes in time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.errors import SourceError
from ledger.log.fetch import retry_after_of
from ledger.tlog.trust_policy import Witness
from ledger.tlog.witness import (
    MAX_ANSWER_BYTES,
    SIZE_TYPE,
    parse_size,
)

if TYPE_CHECKING:
    import httpx


@dataclass(slots=True)
class Body:
    """What a witness answered, as far as it is read. ``retry_after``: seconds that it asks us to stay away."""

    status: int
    content_type: str = ""
    retry_after: int = 0
    data: bytearray = field(default_factory=bytearray)


class Wire:
    """The connection to the witnesses of one log. Thread-safe. ``timeout``: seconds for a whole answer."""

    def __init__(self, client: "httpx.Client", *, timeout: float, clock: Callable[[], float]) -> None:
        self._client, self._timeout, self._clock = client, timeout, clock

    def close(self) -> None:
        """Close the connection: who waits for an answer is told so."""
        self._client.close()

    def post(self, witness: Witness, body: bytes) -> Body:
        """Send ``add-checkpoint``; the whole answer must come within the timeout. Raises SourceError."""
        import httpx

        url = f"{(witness.url or '').rstrip('/')}/add-checkpoint"
        try:
            with self._client.stream("POST", url, content=body) as response:
                answer = Body(response.status_code, response.headers.get("content-type", ""))
                if answer.status in (429, 503):
                    answer.retry_after = retry_after_of(response.headers.get("retry-after", ""))
                if answer.status in (200, 409):
                    for chunk in self._in_time(witness, response.iter_raw()):
                        answer.data += chunk
                return answer
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, RuntimeError) as error:
            # RuntimeError: the client was closed meanwhile.
            raise SourceError(
                f"witness {witness.name}", expected="an answer", actual=str(error) or type(error).__name__
            ) from error

    def _in_time(self, witness: Witness, chunks: Iterator[bytes]) -> Iterator[bytes]:
        began, size = self._clock(), 0
        for chunk in chunks:
            size += len(chunk)
            if size > MAX_ANSWER_BYTES or self._clock() - began > self._timeout:
                raise SourceError(
                    f"answer of the witness {witness.name}",
                    expected=f"at most {MAX_ANSWER_BYTES} bytes within {self._timeout:g} s",
                    actual="more to come",
                )
            yield chunk


_MEANS = {
    400: "the request is malformed",
    403: "no signature by a key that it trusts",
    404: "it does not know this log",
    422: "the proof does not hold for what it saw",
    429: "too many requests",
}


def known_size(witness: Witness, answer: Body) -> int:
    """Return the size that a 409 names. Raises SourceError: another answer. MalformedError: another body."""
    if answer.status == 409 and answer.content_type.partition(";")[0].strip() == SIZE_TYPE:
        return parse_size(bytes(answer.data))
    means = _MEANS.get(answer.status, "redirects are not followed" if answer.status // 100 == 3 else "")
    raise SourceError(
        f"witness {witness.name}",
        expected="a cosignature (200), or the size that it knows (409)",
        actual=f"{answer.status}" + (f", {means}" if means else ""),
        next_step="Give the log's verifier key to the operator of the witness"
        if answer.status in (403, 404)
        else "It is asked again; see that its address in the policy is right",
    )
