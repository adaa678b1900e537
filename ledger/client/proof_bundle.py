"""All that is needed to check one event without network, in one file (``hubledger fetch-proof``). Pure.

The proof proves; all else is the hub's word, used to choose the event and to tell people what else the hub says. Nothing here
says which keys count: that is in the trust file, which travels another way.
"""

from dataclasses import dataclass
from typing import TypeGuard

from ledger.client.vouching import Stated
from ledger.encoding import (
    Json,
    format_base64,
    format_canonical_json,
    parse_base64,
    parse_canonical_json,
    parse_hex,
    parse_whole,
)
from ledger.errors import LimitError, MalformedError
from ledger.event.schemas import MAX_HISTORIES, VERIFICATION_EVENT
from ledger.open_findings import MAX_PART_BYTES
from ledger.tlog.proof import HEADER, MAX_PROOF_BYTES

FORMAT = "hubledger-proof-bundle/v1"
MAX_BUNDLE_BYTES = 4 << 20
"""A proof, and what the hub says of some ten thousand events."""
MAX_CLAIMS = 10_000
MAX_STATEMENTS = 16
"""Statements of monitors beside one proof."""
_MAX_TIME = 253_402_300_799
"""The last second of the year 9999, beyond which no calendar here goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a hub says of one event of a model; nothing of it is proven."""

    leaf_index: int
    revision: str
    content_sha256: bytes
    manifest_sha256: bytes

    def as_json(self) -> dict[str, Json]:
        """Return the row of the file."""
        return {
            "contentSha256": self.content_sha256.hex(),
            "leafIndex": self.leaf_index,
            "manifestSha256": self.manifest_sha256.hex(),
            "revision": self.revision,
        }

    @classmethod
    def of(cls, row: Json) -> "Claim | None":
        """Return what a row of a history says, None of another statement, or of an observer's. Raises MalformedError."""
        match row:
            case {"type": str(kind)} if kind != VERIFICATION_EVENT:
                return None
            case {"observer": str()}:
                return None  # a client asks for the hub's word; one that is left out so is missing, never accepted
            case {
                "leafIndex": leaf,
                "revision": str(revision),
                "contentSha256": content,
                "manifestSha256": manifest,
            }:
                return cls(
                    leaf_index=parse_whole(leaf, what="leafIndex"),
                    revision=revision,
                    content_sha256=parse_hex(content, length=32, what="contentSha256"),
                    manifest_sha256=parse_hex(manifest, length=32, what="manifestSha256"),
                )
        raise MalformedError("event of a history", expected="one as /v1/history has it", actual="another")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofBundle:
    """A proof, the name that was asked for (as it is recorded), and what the hub says of its events, in log order.

    ``fetched_at`` is in POSIX seconds, by the clock of whoever fetched it. ``stated`` is what monitors signed.
    """

    name: str
    proof: bytes
    claims: tuple[Claim, ...]
    fetched_at: int
    stated: tuple[Stated, ...] = ()

    def format(self) -> bytes:
        """Format the file. Raises LimitError."""
        value: dict[str, Json] = {
            "claims": [each.as_json() for each in self.claims],
            "fetchedAt": self.fetched_at,
            "format": FORMAT,
            "name": self.name,
            "proof": self.proof.decode(),
        }
        if stated := [each for each in self.stated if each.unheard is None]:
            value["statements"] = [_format_stated(each) for each in stated]
        data = format_canonical_json(value)
        if len(data) > MAX_BUNDLE_BYTES:
            raise LimitError(
                "proof bundle", expected=f"at most {MAX_BUNDLE_BYTES} bytes", actual=f"{len(data)} bytes"
            )
        return data


def parse_bundle(data: bytes) -> ProofBundle:
    """Parse the file. Raises MalformedError, LimitError."""
    if data.startswith(HEADER.encode()):
        raise MalformedError(
            "proof bundle",
            expected=f"a file of hubledger fetch-proof ({FORMAT})",
            actual="a .tlog-proof file",
            next_step="Check it with --proof in the place of --name and --from",
        )
    try:
        value = parse_canonical_json(data, what="proof bundle", max_bytes=MAX_BUNDLE_BYTES)
    except MalformedError:
        value = None  # of which no parser's words help: it is another file, or what is left of one
    match value:
        case {
            "format": "hubledger-proof-bundle/v1",
            "name": str(name),
            "proof": str(proof),
            "claims": list(claims),
            "fetchedAt": fetched,
        } if (
            len(value) == (6 if "statements" in value else 5)
            and len(claims) <= MAX_CLAIMS
            and len(proof) <= MAX_PROOF_BYTES
            and parse_whole(fetched, what="fetchedAt") <= _MAX_TIME
        ):
            rows = [Claim.of(each) for each in claims]
            return ProofBundle(
                name=name,
                proof=proof.encode(),
                claims=tuple(each for each in rows if each is not None),
                fetched_at=parse_whole(fetched, what="fetchedAt"),
                stated=_parse_all_stated(value.get("statements", [])),
            )
    raise MalformedError(
        "proof bundle",
        expected=f"a file of hubledger fetch-proof ({FORMAT})",
        actual="another",
        next_step="Fetch it again with hubledger fetch-proof",
    )


def refuse_bundle(data: bytes, path: object) -> None:
    """Refuse other files with proofs where a ``.tlog-proof`` is wanted, by how they begin. Raises MalformedError."""
    if data.startswith(b'{"claims":['):
        actual, option = "a file of hubledger fetch-proof", "--name and --from"
    elif data.lstrip().startswith(b"{") and b"application/vnd.dev.sigstore.bundle" in data:
        actual, option = "a Sigstore bundle", "--bundle"
    else:
        return
    raise MalformedError(
        f"proof file {path}",
        expected=f"a .tlog-proof file ({HEADER})",
        actual=actual,
        next_step=f"Check it with {option} in the place of --proof",
    )


def _format_stated(stated: Stated) -> dict[str, Json]:
    row: dict[str, Json] = {"note": stated.note.decode("utf-8", "replace")}
    if stated.consistency is not None:
        row["consistency"] = [format_base64(each) for each in stated.consistency]
    if stated.parts:
        row["parts"] = [each.decode("utf-8", "replace") for each in stated.parts]
    return row


def _parse_all_stated(rows: Json) -> tuple[Stated, ...]:
    if isinstance(rows, list) and len(rows) <= MAX_STATEMENTS:
        return tuple(_parse_stated(each) for each in rows)
    raise MalformedError(
        "statements of a proof bundle", expected=f"a list of at most {MAX_STATEMENTS}", actual=rows
    )


def _parse_stated(row: Json) -> Stated:
    match row:
        case {"note": str(note), **others} if others.keys() <= {"consistency", "parts"}:
            hashes, parts = others.get("consistency", []), others.get("parts", [])
            if (
                _are_texts(hashes)
                and _are_texts(parts)
                and _are_parts(parts)
                and ("parts" not in others or parts)
            ):
                proof = [
                    parse_base64(each, what="consistency of a statement", max_bytes=32) for each in hashes
                ]
                return Stated(
                    note=note.encode(),
                    consistency=tuple(proof) if "consistency" in others else None,
                    parts=tuple(each.encode() for each in parts),
                )
    raise MalformedError("statement of a proof bundle", expected="note, consistency and parts", actual=row)


def _are_texts(value: Json) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _are_parts(parts: list[str]) -> bool:
    """Whether they are no more, and no larger, than an event can have histories and a list parts."""
    return len(parts) <= MAX_HISTORIES and all(len(each) <= MAX_PART_BYTES for each in parts)


def choose(
    claims: tuple[Claim, ...], *, revision: str | None, content: bytes | None, manifest: bytes | None = None
) -> Claim | None:
    """Return the latest event of a revision; without one, of the latest revision with this content; and else of all.

    The event that was found by its content may not be the last word on its revision: the hub may have looked again. The
    last of all is for a refusal that says what the hub knows instead.
    """
    if revision is None:
        same = [each for each in claims if each.content_sha256 == content or each.manifest_sha256 == manifest]
        found = max(same or claims, key=_place, default=None)
        if found is None:
            return None
        revision = found.revision
    return max((each for each in claims if each.revision == revision), key=_place, default=None)


def _place(claim: Claim) -> int:
    return claim.leaf_index
