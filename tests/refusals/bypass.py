"""What no message may suggest: to switch a check off, to forget what was seen, or to ask for less.

The options stay, and the reference documents them; but whoever reads a failure is in a hurry, and does what it says.
"""

import ast
import pathlib
import re
from collections.abc import Iterator

from tests.refusals.census import ROOT

FORBIDDEN = (
    r"--accept-less|--start-unchecked|--insecure\S*",
    r"pins forget|trust remove|\bforget\b|\bis then forgotten\b|begin anew",
    r"\b(remove|delete|erase|discard|reset) (it|them|this|that|the (file|pin|trust file|store|folder)|your)\b",
    r"\b(leave|leaving) out --(trust|pin|expect\S*|name|model|proof)",
    r"\b(disable|ignore|bypass|override|suppress|switch(ed)? off|turn(ed)? off|opt out)\b",
    r"\b(lower|raise|increase|relax|loosen|drop) (`|the )?(require|max_age|monitors_needed|quorum|limit)",
    r"\brequire = .?(included|complete)\b",
    r"\bskip (the|this|that|a) (check|step|verification)|\bdo not (check|verify)\b",
    r"(?<!not )\b(take|use|load|trust|accept) (it|them) (as it is|anyway|all the same|nevertheless)|\banyway\b|\ball the same\b",
    r"\bname another with HUBLEDGER_DATA",
)
IN_A_NEXT_STEP = (r"--log-only", r"\bwithout --(trust|pin|expect\S*)")
"""Words that a message may need to say what was wrong, and that are no way on."""

_PACKAGES = ("ledger/client", "ledger/attestation")
_FILES = (
    "ledger/errors.py",
    "cli/attestation.py",
    "cli/evidence.py",
    "cli/fetch_proof.py",
    "cli/identity.py",
    "cli/misbehaviour.py",
    "cli/options.py",
    "cli/output.py",
    "cli/pins.py",
    "cli/trust.py",
)
_SHOWN_ONLY_IN_HELP = ("_MEANINGS", "_CODES", "_EPILOG")


def find_bypasses(text: str, *, next_step: bool = False) -> list[str]:
    """Return what a text suggests that it may not."""
    flat = " ".join(text.split())
    patterns = (*FORBIDDEN, *(IN_A_NEXT_STEP if next_step else ()))
    return [found[0] for each in patterns if (found := re.search(each, flat, re.IGNORECASE))]


def client_path() -> list[pathlib.Path]:
    """Every module whose texts somebody who checks a model can see."""
    packages = (path for each in _PACKAGES for path in (ROOT / each).rglob("*.py"))
    return sorted({*packages, *(ROOT / "cli").glob("verify*.py"), *(ROOT / each for each in _FILES)})


def texts_of(path: pathlib.Path) -> Iterator[tuple[int, str, bool]]:
    """Yield each text of a module with its line, and whether it is a next step; what a reference shows is left out.

    That is docstrings, the names of options, and the help of commands.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden: set[int] = set()
    next_steps: set[int] = set()
    for node in ast.walk(tree):
        for shown_elsewhere in _documentation(node):
            hidden |= {id(each) for each in ast.walk(shown_elsewhere)}
        if isinstance(node, ast.keyword) and node.arg in ("next_step", "when_damaged"):
            next_steps |= {id(each) for each in ast.walk(node.value)}
        if _assigns(node, "default_next_step", "_WHEN_DAMAGED"):
            next_steps |= {id(each) for each in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) not in hidden and (text := _text(node)) is not None:
            yield node.lineno, text, id(node) in next_steps


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _documentation(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    if isinstance(node, ast.keyword) and node.arg in ("help", "epilog"):
        yield node.value
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("click."):
        yield from node.args
    if _assigns(node, *_SHOWN_ONLY_IN_HELP):
        yield node


def _assigns(node: ast.AST, *names: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(each, ast.Name) and each.id in names for each in targets)
