"""The files of a key that is being replaced: the one that signs, the next one, and those that signed before.

::

    keys/hub.key          the key that signs
    keys/hub.key.next     the next one, made when a rotation begins
    keys/hub.key.<id>     one that signed before, kept until the operator destroys it

The settings name the first alone and never change.
"""

import os
import pathlib
from collections.abc import Callable

from ledger.errors import UsageError, WriteError
from ledger.storage.directory import sync_folder, write_file_durably


class KeyFiles:
    """The files of one key. Every step may be repeated after a crash."""

    def __init__(self, current: pathlib.Path) -> None:
        self.current = current
        self.next = current.with_name(f"{current.name}.next")

    def kept(self, key_id: str) -> pathlib.Path:
        """Return where a key that signed before is kept."""
        return self.current.with_name(f"{self.current.name}.{key_id[:16]}")

    def make_next(self, make: Callable[[], bytes]) -> None:
        """Write the next key, readable by its owner. Raises UsageError: there is one; WriteError."""
        if self.next.exists():
            raise UsageError(
                f"next key {self.next}",
                expected="none, at the beginning of a rotation",
                actual="one that a rotation before made",
                next_step="Go on with it: the same command without --begin",
            )
        write_file_durably(self.next, make(), mode=0o600)

    def swap(self, key_id: str) -> None:
        """Put the next key in the place of the one that signs, whose id is given; that one is kept. Raises WriteError."""
        kept = self.kept(key_id)
        try:
            if not kept.exists():
                os.link(self.current, kept)
                sync_folder(kept.parent)
            # If we stop here, the old key has two names and still signs: the same again goes on.
            self.next.replace(self.current)
            sync_folder(kept.parent)
        except OSError as error:
            raise WriteError(
                f"replacing {self.current}",
                expected="a folder that this user can write",
                actual=error.strerror,
                next_step="Mend that, and run the command again: no key is lost",
            ) from error
