"""Which bundles an event kept: those up to 16 MiB, as its manifest says, and those that its list names."""

from collections.abc import Collection

from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.encoding import parse_canonical_json, parse_hex
from ledger.errors import LedgerError
from ledger.manifest import ManifestFile, read_items
from ledger.storage.evidence import Evidence

MAX_LIST_BYTES = 1 << 30


def kept_bundles(evidence: Evidence, manifest: bytes, bundles: Collection[bytes]) -> set[bytes]:
    """Return those of the bundles that a manifest lists with a size that is kept; none where it cannot be read.

    A statement says that some bundle was too large, and not which one.
    """
    wanted, found = set(bundles), set[bytes]()
    if not wanted:
        return found
    try:
        for item in read_items(evidence.read(manifest)):
            if isinstance(item, ManifestFile) and item.sha256 in wanted and item.size <= MAX_BUNDLE_BYTES:
                found.add(item.sha256)
    except LedgerError:  # withdrawn, or missing: which is for others to say
        return set()
    return found


def listed_bundles(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the bundles that a stored list of further signatures names: those that were parsed, and the others.

    Only one of the others may have been too large to be kept.

    Raises:
        MalformedError: it is no such list.
    """
    value = parse_canonical_json(data, what="list of further signatures", max_bytes=MAX_LIST_BYTES)
    parsed: list[bytes] = []
    others: list[bytes] = []
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict) and "bundleSha256" in each:
            sha256 = parse_hex(each["bundleSha256"], length=32, what="bundle of a further signature")
            (parsed if "method" in each else others).append(sha256)
    return parsed, others
