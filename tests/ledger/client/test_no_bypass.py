"""No next step that a client can show leads around a check: not one of its options, not forgetting, not removing.

Every text is found in the source, so that a new one is held to this without being listed.
"""

import ast
import pathlib
import re

import pytest

from ledger.errors import LedgerError
from tests.refusals.test_refusals import CASES

ROOT = pathlib.Path(__file__).parents[3]
PATHS = sorted(
    path
    for pattern in (
        *(
            "ledger/client/**/*.py",
            "ledger/bundle/**/*.py",
            "ledger/verification/**/*.py",
            "ledger/attestation/**/*.py",
        ),
        *("ledger/tlog/*.py", "ledger/errors.py", "ledger/monitor_statement.py"),
        *("cli/verify*.py", "cli/trust.py", "cli/pins.py", "cli/fetch_proof.py", "cli/attestation.py"),
    )
    for path in ROOT.glob(pattern)
)
AROUND = re.compile(
    r"--(log-only|accept-less|force|no-\w+|insecure|skip\w*|start-unchecked|partial)\b"
    r"|pins forget|trust remove|\bremove it\b|\bforget\b|[Ll]eave out --|\bignore\b|\bdisable\b|\bturn (it )?off\b"
    r"|take it as it is|nothing of it is checked|without (a |any )?check|\brequire = .included",
)
ALLOWED = {
    "Check the whole model, or use hubledger verify --proof with --partial and --manifest",  # which names what it leaves out
}


def constants(node, names):
    """Every string that can be part of the value of a keyword, through names of the module."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value
        elif isinstance(each, ast.Name) and each.id in names:
            yield names[each.id]


def next_steps(path):
    """The texts of `next_step=` and `default_next_step` in a file, each as one string."""
    tree = ast.parse(path.read_text())
    names = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="next_step", value=value):
                yield "".join(constants(value, names))
            case ast.AnnAssign(target=ast.Name(id="default_next_step"), value=ast.expr() as value):
                yield "".join(constants(value, names))
            case ast.Assign(targets=[ast.Name(id="default_next_step")], value=value):
                yield "".join(constants(value, names))


FOUND = sorted(
    {(path.relative_to(ROOT).as_posix(), text) for path in PATHS for text in next_steps(path) if text}
)


def test_the_texts_are_found():
    places = {place for place, _ in FOUND}
    assert {
        "ledger/client/pins.py",
        "ledger/client/trust_store.py",
        "ledger/client/result.py",
        "ledger/errors.py",
    } <= places
    assert len(FOUND) > 90


@pytest.mark.parametrize(("place", "text"), FOUND, ids=[f"{place}: {text[:40]}" for place, text in FOUND])
def test_no_next_step_leads_around_a_check(place, text):
    assert text in ALLOWED or not AROUND.search(text), place


OF_CLIENTS = {
    name: case.text
    for name, case in CASES.items()
    if name.split("-")[0] in ("client", "store", "bundle", "bundles", "keyless", "attestation", "statement")
}


def test_no_refusal_of_a_client_ends_with_a_way_around():
    """The whole texts, as they were provoked: behind the value that was found comes the next step."""
    assert len(OF_CLIENTS) > 100
    found = {name: text.rpartition(", got ")[2] for name, text in OF_CLIENTS.items()}
    assert {
        name: text
        for name, text in found.items()
        if AROUND.search(text) and not any(text.endswith(each) for each in ALLOWED)
    } == {}


def test_the_pattern_finds_what_was_said_before():
    for said in (
        "Restore the file, or remove it: what it remembered is then forgotten",
        "If the log changed its key, compare its checkpoint with a monitor's, then `hubledger pins forget`",
        "or take it as it is, with --accept-less",
        "Name the files with --model, or ask about the log alone with --log-only",
    ):
        assert AROUND.search(said)
    assert issubclass(LedgerError, Exception)
