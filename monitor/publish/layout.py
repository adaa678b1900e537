"""What lies where in a published folder (docs/reference/published.md).

No name that a stranger chose becomes the name of a file: a history lies under the SHA-256 of its key, a signer under the
digest of the identity, proofs under their leaf indices. So no name leaves the folder, none is too long for a file system, and
two that differ in case alone stay two. Whoever knows a model's name finds its files without asking for a list.
"""

import functools
import hashlib

OWNER = ".publication"
"""Which store the folder belongs to; of no use to readers."""
INDEX = "index.json"
PAGE = "index.html"
STYLE = "style.css"
FINDINGS = "findings"
EVIDENCE = "evidence"
STATEMENT, CHECKPOINT = "statement", "checkpoint"
LATEST_PROOF, LATEST_BUNDLE = "latest.tlog-proof", "latest.sigstore.json"
CHUNK = 128
"""Events of one page; older ones of a model lie in pages of their own that are not written again."""
PACK = 64
"""Proofs of one file. The last one is written again with each new entry: a quarter of a megabyte at most, as a page of entries."""


def of_log(log: str, rest: str = "") -> str:
    """Return the folder of a log, or what lies there. The name of a log is of the settings: letters, digits, hyphens."""
    return f"{log}/{rest}"


def of_model(log: str, name: str, rest: str = PAGE) -> str:
    """Return what lies in the folder of a model, by its recorded name."""
    return f"{_folder_of(log, name)}{rest}"


@functools.lru_cache(4096)
def _folder_of(log: str, name: str) -> str:
    return of_log(log, model(name))


def model(name: str, rest: str = "") -> str:
    """Return the folder of a model, or what lies there, in the folder of its log."""
    digest = hashlib.sha256(f"name:{name}".encode()).hexdigest()
    return f"models/{digest[:2]}/{digest[2:4]}/{digest}/{rest}"


def of_signer(log: str, identity: str) -> str:
    """Return the feed of a signer, by the hex digest of the canonical identity."""
    return of_log(log, f"signers/{identity[:2]}/{identity[2:4]}/{identity}.atom")


def pack(leaf_index: int) -> str:
    """Return the pack that holds the proof of an entry, in the folder of its log: at most a thousand files in each folder."""
    number = leaf_index // PACK
    return f"proofs/{_thousands(number)}/{number}.jsonl"


def of_proofs(log: str, leaf_index: int) -> str:
    """Return the pack that holds the proof of an entry."""
    return of_log(log, pack(leaf_index))


def bundle(number: int) -> str:
    """Return the Sigstore bundle of an entry in Rekor v1, in the folder of its log.

    A file for each, because a hub makes them as large as it likes, and none is written again.
    """
    return f"bundles/{_thousands(number)}/{number}.sigstore.json"


def of_bundle(log: str, number: int) -> str:
    """Return the Sigstore bundle of an entry in Rekor v1."""
    return of_log(log, bundle(number))


def of_shard(log: str, order: int, rest: str) -> str:
    """Return what is about one shard of a ledger in Rekor."""
    return of_log(log, shard(order, rest))


def shard(order: int, rest: str) -> str:
    """Return what is about one shard of a ledger in Rekor, in the folder of its log."""
    return f"shards/{order}/{rest}"


def of_part(statement: str, name: str = "") -> str:
    """Return the folder beside a statement with the parts of its list, or a part by its name."""
    return f"{statement}-parts/{name}"


def of_events(log: str, page: int) -> str:
    """Return the page of the entries from ``page * CHUNK`` on."""
    return of_log(log, f"events/{_thousands(page)}/{page}.html")


def of_names(log: str, prefix: str) -> str:
    """Return the page of the names that begin with ``prefix``."""
    digest = hashlib.sha256(prefix.encode()).hexdigest()
    return of_log(log, f"names/{digest[:2]}/{digest}.html")


def root_of(path: str) -> str:
    """Return the relative address of the whole folder, seen from one of its files."""
    return "../" * path.count("/")


def _thousands(number: int) -> str:
    return f"{number // 1_000_000_000:03d}/{number // 1_000_000 % 1000:03d}/{number // 1000 % 1000:03d}"
