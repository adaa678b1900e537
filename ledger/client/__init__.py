"""What a user runs before a model is loaded: ``check`` in Python, ``hubledger verify`` on the command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.client.checking import CheckFailedError, check, check_async

__all__ = ["CheckFailedError", "check", "check_async"]


def __getattr__(name: str) -> object:
    """Import what is asked for: whoever needs one module of this package does not pay for all of them (PEP 562)."""
    if name not in __all__:
        raise AttributeError(name)
    from ledger.client import checking

    return getattr(checking, name)
