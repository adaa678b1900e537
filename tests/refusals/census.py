"""Which places in the program refuse, and which of them made a given error.

The universe comes from the syntax trees of ``ledger``, ``monitor`` and ``cli``: every call that makes an error of
``ledger.errors``, and every call of a function that returns one. What a case reached comes from the frames that made
its error. Both are keyed by file and line of the call, so nothing has to be listed by hand.

Refusals of a signature (``NotVerifiedError``) are outcomes, known by their reason code: those are held code by code.
"""

import ast
import functools
import importlib
import pathlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ledger.errors import LedgerError

PACKAGES = ("ledger", "monitor", "cli")
ROOT = pathlib.Path(importlib.import_module("ledger").__file__).resolve().parent.parent

Place = tuple[str, int]
"""A file relative to the root of the packages, and the line on which a call begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One place that refuses: where it is, the error's class as written there, and what it says was checked."""

    path: str
    line: int
    function: str
    error: str
    what: str

    @property
    def place(self) -> Place:
        return self.path, self.line

    @property
    def is_outcome(self) -> bool:
        """Whether this place says why a signature did not verify: an outcome with a reason code."""
        return self.error in _OUTCOMES

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.error}({self.what}) in {self.function}"


_OUTCOMES = ("NotVerifiedError", "refused")
"""The class, and the function of ``ledger.bundle.reasons`` that makes one from its code."""


@functools.cache
def find_sites() -> tuple[Site, ...]:
    """Return every place that refuses, in the order of files and lines."""
    trees = {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    classes = _error_classes(trees.values())
    makers = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.returns, ast.Name)
        and node.returns.id in classes
    }
    return tuple(
        site
        for path, tree in trees.items()
        for site in _sites(path, tree, "", frozenset(classes | makers) - _foreign(tree))
    )


def _foreign(tree: ast.AST) -> set[str]:
    """Names that a file takes from elsewhere: sigstore has classes of the same name as ours."""
    return {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in PACKAGES
        for name in node.names
    }


def _error_classes(trees) -> set[str]:
    """Names of ``LedgerError`` and of all that inherit from it, private ones included, however deep."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"LedgerError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def _sites(path: str, node: ast.AST, function: str, names: frozenset[str]) -> Iterator[Site]:
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inside = f"{function}.{child.name}" if function else child.name
        if isinstance(child, ast.Call) and (name := _called(child.func)) in names | {"type(error)"}:
            what = ast.unparse(child.args[0]) if child.args else ""
            yield Site(path=path, line=child.lineno, function=function, error=name, what=what)
        yield from _sites(path, child, inside, names)


def _called(called: ast.expr) -> str:
    """The name that a call calls; an error of the class of another one is ``type(error)(…)``."""
    if isinstance(called, ast.Name):
        return called.id
    if isinstance(called, ast.Attribute):
        return called.attr  # a method that returns one
    again = isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id == "type"
    return "type(error)" if again else ""


@contextmanager
def watching() -> Iterator[list[tuple[LedgerError, frozenset[Place]]]]:
    """Collect every error that is made meanwhile, with the places that made it: the call, and calls of makers."""
    made: list[tuple[LedgerError, frozenset[Place]]] = []
    sites = {site.place: site for site in find_sites()}
    original = LedgerError.__init__

    def init(self, *arguments, **named):
        original(self, *arguments, **named)
        made.append((self, frozenset(_places(self, sites))))

    LedgerError.__init__ = init
    try:
        yield made
    finally:
        LedgerError.__init__ = original


def _places(error: LedgerError, sites: dict[Place, Site]) -> Iterator[Place]:
    frame = sys._getframe(2)
    while frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is error:
        frame = frame.f_back  # a subclass with facts of its own
    while (place := _place(frame)) in sites:
        yield place
        # The caller is a place too where this one is in a function that returns the error.
        frame = frame.f_back


def _place(frame) -> Place:
    path = pathlib.Path(frame.f_code.co_filename)
    return (str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)), frame.f_lineno
