"""docs/guides/verify.md has every reason code with its exact sentence, and no other; the code has no other either."""

import re

import pytest

from ledger.bundle.reasons import REASONS
from ledger.identity import _ISSUERS
from tests.conftest import REPOSITORY
from tests.test_docs import read_tables, section

GUIDE = (REPOSITORY / "docs/guides/verify.md").read_text(encoding="utf-8")
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("ledger/bundle", "ledger/verification")
    for path in sorted((REPOSITORY / folder).glob("*.py"))
    if path.name != "reasons.py"
)


@pytest.mark.parametrize("outcome", sorted({reason.outcome for reason in REASONS.values()}))
def test_every_code_is_in_the_guide_under_its_outcome(outcome):
    text, _ = section(GUIDE, f"### {outcome}")
    rows = {row[0].strip("`"): row[1:] for row in read_tables(text) if row[0].startswith("`")}
    wanted = {code: reason.text for code, reason in REASONS.items() if reason.outcome == outcome}
    assert {code: row[0] for code, row in rows.items()} == wanted
    assert all(len(row) == 2 and row[1] for row in rows.values()), "each says what to do"


def test_every_code_that_can_be_given_is_in_the_table_and_no_other():
    """Codes are literals where they are raised, yielded or remarked."""
    given = set(re.findall(r'(?:refused|refusing)\(\s*"([a-z0-9-]+)"', SOURCES))
    given |= set(re.findall(r'refused\(\s*"([a-z0-9-]+)" if', SOURCES))
    given |= {code for code in REASONS if re.search(rf'"{code}"', SOURCES)}
    assert given == set(REASONS)
    for outcome, code in re.findall(r'NotVerifiedError\(\s*"([A-Z_]+)",\s*"([a-z0-9-]+)"', SOURCES):
        assert REASONS[code].outcome == outcome


def test_every_provider_with_a_name_is_in_the_guide():
    text, _ = section(GUIDE, "## How a signer is shown")
    rows = {row[1].strip("`"): row[0] for row in read_tables(text) if row[1].startswith("`https")}
    assert rows == _ISSUERS
