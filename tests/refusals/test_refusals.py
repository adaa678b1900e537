"""Every refusal says what was checked, what was expected, what was found and what to do next, and changes nothing.

The tables ``of_*.py`` bring about each place that refuses and hold every word of it. The census makes sure that no
place is left out: a new one without a case fails here, with its file and line.
"""

import ast
import pathlib
import re

import pytest

from ledger import errors
from ledger.bundle.reasons import REASONS, NotVerifiedError
from tests.refusals import (
    of_anchors,
    of_attestation,
    of_bundle,
    of_bundles,
    of_client,
    of_client_faults,
    of_client_store,
    of_demo,
    of_downloads,
    of_evidence,
    of_formats,
    of_keyless,
    of_ledger,
    of_log,
    of_monitor,
    of_monitor_statement,
    of_newcomer,
    of_operating,
    of_outbox,
    of_packs,
    of_publishing,
    of_receipts,
    of_rekor,
    of_rekor_v1,
    of_remote,
    of_retiring,
    of_serve_rekor,
    of_server,
    of_storage,
    of_telling,
    of_tlog,
    of_watching,
    of_witness,
)
from tests.refusals.census import find_sites, watching
from tests.refusals.table import numbered, refused

CASES = dict(
    named
    for module in (
        of_formats,
        of_tlog,
        of_client,
        of_client_faults,
        of_client_store,
        of_bundle,
        of_bundles,
        of_keyless,
        of_storage,
        of_evidence,
        of_log,
        of_outbox,
        of_packs,
        of_ledger,
        of_receipts,
        of_rekor,
        of_anchors,
        of_rekor_v1,
        of_demo,
        of_downloads,
        of_remote,
        of_retiring,
        of_serve_rekor,
        of_server,
        of_monitor,
        of_monitor_statement,
        of_newcomer,
        of_attestation,
        of_operating,
        of_watching,
        of_telling,
        of_witness,
        of_publishing,
        of_watching,
    )
    for named in numbered(module.__name__.rpartition("_")[2], module.CASES)
)

IMPOSSIBLE = {
    (
        "ledger/event/fitting.py",
        "fit",
        "'statement'",
    ): "the caps of the table leave no event that is larger",
    (
        "ledger/tlog/checkpoint.py",
        "parse_checkpoint",
        "'checkpoint'",
    ): "each part was held to its one form before",
    (
        "ledger/monitor_statement.py",
        "_parse",
        '"monitor\'s statement"',
    ): "each part was held to its one form before",
    ("ledger/tlog/proof.py", "parse_proof", "'proof file'"): "each part was held to its one form before",
}
"""Places that nothing can reach, and why they stay: the last line of a check that others made before."""


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_says_exactly_this_and_changes_nothing(name):
    CASES[name].check()


def test_every_place_that_refuses_has_a_case():
    reached = frozenset().union(*(case.check() for case in CASES.values()))
    missing = [
        site
        for site in find_sites()
        if site.place not in reached
        and not site.is_outcome
        and (site.path, site.function, site.what) not in IMPOSSIBLE
    ]
    assert not missing, "no case of tests/refusals asserts\n" + "\n".join(map(str, missing))


def test_every_reason_why_a_signature_is_not_accepted_has_a_case():
    """By code: a case of this table, or a test of tests/ledger/bundle, whose uploads are judged whole."""
    of_this_table = {case.text.partition(":")[0] for case in CASES.values() if case.error is NotVerifiedError}
    asserted = of_this_table | strings_of(pathlib.Path(__file__).parent.parent / "ledger/bundle")
    assert not set(REASONS) - asserted


def strings_of(folder):
    """Every string in the tests of a folder; a text that only contains a code is not that code."""
    return {
        node.value
        for path in folder.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_code_in_the_program_is_one_of_the_table():
    """A code that is not would be a KeyError in front of whoever records."""
    codes = {
        each for site in find_sites() if site.is_outcome for each in re.findall(r"'([a-z0-9-]+)'", site.what)
    }
    assert codes
    assert codes <= set(REASONS)


def test_what_is_called_impossible_still_exists():
    known = {(site.path, site.function, site.what) for site in find_sites()}
    assert IMPOSSIBLE.keys() <= known


def test_the_census_finds_calls_of_error_classes_and_of_what_returns_errors():
    sites = {(site.path, site.function, site.error) for site in find_sites()}
    assert ("ledger/encoding.py", "parse_decimal", "MalformedError") in sites
    assert ("ledger/event/fields.py", "Pattern.check", "_refuse") in sites
    assert ("ledger/embedded/examining.py", "Examine.__call__", "type(error)") in sites
    assert ("ledger/client/verify.py", "_check_log", "CannotCheckError") in sites
    assert len(sites) > 200


def test_a_watched_error_knows_the_places_that_made_it():
    from ledger.event.fields import SHA256

    with watching() as made, pytest.raises(errors.MalformedError):
        SHA256.check("no", "digest")
    ((_, places),) = made
    assert {path for path, _ in places} == {"ledger/event/fields.py"}
    assert len(places) == 2, "the helper that makes the error, and the call of it"


def _refuse(**changes):
    raise errors.MalformedError("a", **{"expected": "b", "actual": "c", "next_step": "Do d"} | changes)


def _careless(scene):
    scene.watch(scene.folder)
    scene.write("left-over", b"")
    _refuse()


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (refused(errors.MalformedError, "a: expected b, got d", lambda _: _refuse()), "expected 'a"),
        (refused(errors.LimitError, "a: expected b, got c. Do <any>", lambda _: _refuse()), "is a Malformed"),
        (refused(errors.MalformedError, "a", lambda _: _refuse(next_step="")), "next step"),
        (refused(errors.MalformedError, "a", lambda _: _refuse(expected=None)), "expected"),
        (refused(errors.MalformedError, "a", lambda _: None), "nothing was refused"),
        (
            refused(errors.MalformedError, "a: expected b, got c. Do d", _careless),
            "changed",
        ),
    ],
)
def test_a_case_fails_for_other_words_another_class_no_next_step_or_a_change(case, why):
    with pytest.raises(AssertionError, match=why):
        case.check()


# The classes


def classes():
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LedgerError)
    ]


def test_every_class_has_its_own_exit_code():
    codes = [kind.exit_code for kind in classes()]
    assert len(set(codes)) == len(codes)


def test_every_class_is_a_group_or_is_used_and_knows_a_next_step():
    used = {site.error for site in find_sites()}
    for kind in classes():
        is_group = bool(kind.__subclasses__())
        assert is_group != (kind.__name__ in used), kind
        assert is_group != bool(kind.default_next_step), kind


def test_values_from_outside_are_shown_short_and_harmless():
    shown = str(errors.MalformedError("name", expected="a name", actual="\x1b[2J" + "x" * 1000, next_step=""))
    assert shown == "name: expected a name, got \\x1b[2J" + "x" * 193 + "…"
