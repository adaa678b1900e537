"""Compares the index of a ledger with what its log gives."""

import pathlib

from ledger.embedded.directory import ReadLedger
from ledger.index import Index
from ledger.index.staging import Staged, compare
from ledger.storage.readonly import read_only_uri


def index_problems(ledger: ReadLedger, folder: pathlib.Path, leaves: int, *, least: int) -> list[str]:
    """Compare the index with what was staged in ``folder``; returns a sentence for each difference."""
    Index(ledger.layout.index, read_only=True).close()  # refuses what is no index at all
    staged = Staged(folder)
    try:
        return list(compare(staged, read_only_uri(ledger.layout.index), leaves, least=least))
    finally:
        staged.close()
