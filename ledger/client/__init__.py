"""What a user runs before a model is loaded: ``check`` in Python, ``hubledger verify`` on the command line."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.client.checking import CheckFailedError, check, check_async
    from ledger.client.expect import Expectation
    from ledger.client.patterns import SubjectPattern
    from ledger.client.trust_store import trust_from_file

__all__ = ["CheckFailedError", "Expectation", "SubjectPattern", "check", "check_async", "trust_from_file"]


def __getattr__(name: str) -> object:
    """Import what is asked for: whoever needs one module of this package does not pay for all of them (PEP 562)."""
    if name not in __all__:
        raise AttributeError(name)
    homes = {"Expectation": "expect", "SubjectPattern": "patterns", "trust_from_file": "trust_store"}
    home = homes.get(name, "checking")
    return getattr(importlib.import_module(f"ledger.client.{home}"), name)
