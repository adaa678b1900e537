"""What one more failure makes of a result: never better, and explained by what the exit code is of."""

import pytest

from cli.exit_codes import ExitCode
from cli.verify import exit_code
from ledger.client.result import CheckResult, Failure, LogResult, ModelResult, with_failure

SOUND, STALE, CANNOT, INVALID = (
    LogResult.INCLUDED_ONLY,
    LogResult.STALE,
    LogResult.CANNOT_CHECK,
    LogResult.INVALID,
)
ACCEPTED, DIFFERS, NOT_CHECKED = (
    ModelResult.ACCEPTED,
    ModelResult.CONTENT_DIFFERS,
    ModelResult.NOT_CHECKED,
)
SUPERSEDED, REFUSED = ModelResult.SUPERSEDED, ModelResult.NOT_ACCEPTED


def failure(step):
    return Failure(step=step, expected="a", actual="b", causes=(), next_step="c")


def result(log, model, *, enough=True):
    """A result that failed before, unless both words are good."""
    fine = log is SOUND and enough
    failed = not fine or model is not ACCEPTED
    return CheckResult(
        log=log,
        model=model,
        log_satisfied=fine,
        satisfied=not failed,
        checks=(),
        failure=failure("before") if failed else None,
    )


@pytest.mark.parametrize(
    ("before", "made", "code", "explained"),
    [
        (result(SOUND, ACCEPTED), {"log": INVALID}, ExitCode.INVALID, "new"),
        (result(SOUND, DIFFERS), {"log": INVALID}, ExitCode.INVALID, "new"),
        (result(SOUND, DIFFERS), {"log": STALE}, ExitCode.STALE, "new"),
        (result(SOUND, ACCEPTED, enough=False), {"log": STALE}, ExitCode.STALE, "new"),
        (result(STALE, ACCEPTED), {"log": STALE}, ExitCode.STALE, "before"),
        (result(STALE, ACCEPTED), {"log": INVALID}, ExitCode.INVALID, "new"),
        (result(STALE, DIFFERS), {"log": CANNOT}, ExitCode.CANNOT_CHECK, "new"),
        (result(INVALID, NOT_CHECKED), {"log": CANNOT}, ExitCode.INVALID, "before"),
        (result(SOUND, ACCEPTED), {"model": SUPERSEDED}, ExitCode.SUPERSEDED, "new"),
        (result(SOUND, NOT_CHECKED), {"model": SUPERSEDED}, ExitCode.SUPERSEDED, "new"),
        (result(SOUND, DIFFERS), {"model": REFUSED}, ExitCode.CONTENT_DIFFERS, "before"),
        (result(SOUND, ACCEPTED, enough=False), {"model": SUPERSEDED}, ExitCode.NOT_ENOUGH, "before"),
        (result(STALE, ACCEPTED), {"model": REFUSED}, ExitCode.STALE, "before"),
    ],
)
def test_code_and_explanation_are_of_the_same_failure(before, made, code, explained):
    after = with_failure(before, failure("new"), **made)
    assert (exit_code(after), after.failure.step) == (code, explained)
    assert not after.satisfied
    assert [each.step for each in after.checks] == ["new"]
    if after.log in (CANNOT, INVALID):
        assert after.model is NOT_CHECKED
