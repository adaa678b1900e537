"""Parts of lists of open findings, beside the statements that name them: each under its SHA-256, so that none is ever written over.

They are in their places before the statement that names them. One that no statement names any more stays for an hour: whoever has the
statement before this one, or has it from a cache, can still ask for what that names. When that was, its file's time says.
"""

from collections.abc import Collection, Iterable, Mapping

from ledger.errors import LedgerError
from ledger.monitor_statement import unverified_statement
from monitor.publish import layout
from monitor.publish.writing import Writer

KEPT_SECONDS = 3600


def put_parts(writer: Writer, statements: Iterable[str], files: Mapping[str, bytes]) -> None:
    """Write the parts, by their names, beside each of these statements."""
    for statement in statements:
        for name, data in files.items():
            writer.put(layout.of_part(statement, name), data)


def leave_parts(writer: Writer, statement: str, named: Collection[str], *, now: float) -> None:
    """Note on their files which parts are named for the last time; to be called before the statement is replaced.

    Whoever has that statement relies on them, also where it is by an older key of ours.
    """
    if not writer.dates(layout.of_part(statement)):
        return
    try:
        before = unverified_statement(writer.read(statement))
    except LedgerError:
        return  # gone or damaged: nobody relies on it
    for part in before.parts:
        if part.name not in named:
            writer.date(layout.of_part(statement, part.name), now)


def remove_parts(writer: Writer, statement: str, named: Collection[str], *, now: float) -> None:
    """Remove the parts that no statement has named for an hour."""
    for name, dated in writer.dates(layout.of_part(statement)).items():
        if name not in named and dated < now - KEPT_SECONDS:
            writer.remove(layout.of_part(statement, name))
