"""What each result of `hubledger verify` exits with."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What each result that does not satisfy the trust file exits with: 10 to 19 the log, 20 to 29 the model.

    0 satisfies the trust file; 1 is a bug, 2 a usage error, and 30 to 69 are errors (``ledger.errors``).
    """

    STALE = 10
    NOT_LOGGED = 11
    CANNOT_CHECK = 12
    INVALID = 13
    MISBEHAVIOUR = 14
    NOT_ENOUGH = 15
    NOT_ACCEPTED = 20
    UNEXPECTED_SIGNER = 21
    CONTENT_DIFFERS = 22
    SUPERSEDED = 23
    NOT_CHECKED = 24
