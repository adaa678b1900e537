"""What an in-toto statement of any type is about: its predicate type and the digests of its subjects."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ledger.bundle import MAX_BUNDLE_BYTES, check_containers
from ledger.bundle.any_bundle import SignedEnvelope
from ledger.bundle.reasons import NotVerifiedError
from ledger.encoding import parse_hex, parse_json
from ledger.entry import PAYLOAD_TYPE
from ledger.errors import InputError

MAX_CONTAINERS = 100_000
"""Lists and objects of a statement; more is a statement without subjects for us."""
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """``digests`` are pairs of a hash's name and a digest; none where the payload is no in-toto statement."""

    predicate_type: str
    digests: tuple[tuple[str, bytes], ...] = ()

    def __str__(self) -> str:
        listed = [f"{name}:{digest.hex()}" for name, digest in self.digests[:_SHOWN]]
        more = f" and {len(self.digests) - _SHOWN} more" if len(self.digests) > _SHOWN else ""
        return f"{self.predicate_type or 'a payload that is no statement'} about {', '.join(listed) or 'no digest'}{more}"


def parse_subjects(content: SignedEnvelope) -> Subjects:
    """Read what a signed statement is about; what cannot be read there is about nothing."""
    if content.payload_type != PAYLOAD_TYPE:
        return Subjects(predicate_type=content.payload_type[:100])
    try:
        check_containers(content.payload, MAX_CONTAINERS, "statement-malformed")
        value = parse_json(content.payload, what="signed statement", max_bytes=MAX_BUNDLE_BYTES)
    except (InputError, NotVerifiedError):
        return Subjects(predicate_type="")
    match value:
        case {"predicateType": str(kind), "subject": list(subjects)}:
            return Subjects(predicate_type=kind[:100], digests=tuple(_digests(subjects)))
    return Subjects(predicate_type="")


def _digests(subjects: list[Any]) -> Iterator[tuple[str, bytes]]:
    for each in subjects:
        listed = each.get("digest") if isinstance(each, dict) else None
        for name, text in listed.items() if isinstance(listed, dict) else ():
            try:
                yield name, parse_hex(text)
            except InputError:
                continue
