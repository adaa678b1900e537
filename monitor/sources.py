"""Where a log of the settings is read: an address of the web, or a folder."""

import pathlib

from ledger.errors import SourceError, StorageError
from ledger.log.fetch import Fetch, fetch_from_folder, fetch_from_url
from monitor.log_config import LogConfig

OBJECT_SECONDS = 120.0
"""Seconds within which one object must have come whole: the largest bundle, of 16 MB, at 1 Mbit/s."""


def open_address(url: str, log: LogConfig) -> Fetch:
    """Return what reads a log at an address of the web, as politely as its settings say. Raises UsageError."""
    return fetch_from_url(
        url,
        seconds=OBJECT_SECONDS,
        per_second=log.max_requests_per_second,
        conditional=frozenset(("checkpoint",)),
    )


class Folder:
    """A folder of somebody else's: that it cannot be read says nothing about our own storage."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._fetch = fetch_from_folder(folder)

    def __call__(self, name: str, /, *, max_bytes: int) -> bytes:
        """Read the file ``name``. Raises SourceError: it cannot be read."""
        try:
            return self._fetch(name, max_bytes=max_bytes)
        except StorageError as error:
            raise SourceError(error.what, expected=error.expected, actual=error.actual) from error
