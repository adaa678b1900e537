"""What a user runs before a model is loaded: ``check`` in Python, ``hubledger verify`` on the command line."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger.client.named import NamedResult
    from ledger.client.trust_store import StoredTrust


def check(
    path: "str | pathlib.Path",
    *,
    name: str,
    revision: str | None = None,
    trust: "StoredTrust | None" = None,
    expected: Sequence[Any] = (),
    **options: Any,
) -> "NamedResult":
    """Check the model in ``path`` against the hub's ledger; see ``ledger.client.checking.check_model_at``.

    Raises:
        CheckFailedError: something does not hold, or is not enough; its ``result`` says what. LedgerError: the check
            did not take place.
    """
    # Imported here: whoever imports one module of this package does not pay for all of them.
    from ledger.client.checking import check_model_at

    return check_model_at(
        pathlib.Path(path), name=name, revision=revision, trust=trust, expected=expected, **options
    )
