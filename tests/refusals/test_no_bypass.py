"""No message of the client path suggests a way around a check: by its sources, and by every refusal that is brought about."""

import pytest

from tests.refusals.bypass import client_path, find_bypasses, texts_of
from tests.refusals.census import ROOT
from tests.refusals.test_refusals import CASES

FOR_WHO_RUNS_A_LEDGER = (
    "comparing this log with what the outside",  # the operator's own start, after a restored backup
    "--not-older-than and --start-unchecked:",
    "entry 1 of rekor.example, by our anchor",
    "size that the witness w1 saw last",
    "anchor key <folder>/anchor.key",  # a key that the next anchor makes anew
    "public key <folder>/anchor-",
    "file tokens.json",
    "statement that key <hex> is added",  # a rotation that its own operator dropped
    "next signer <folder>/ledger/keys/hub-next.toml",  # where a rotation goes, which its own operator changed
    "monitor.db of the monitor",  # made again from the log, entry by entry
)
"""How refusals begin that no client meets, and that name what only an operator can decide."""


def test_no_text_of_the_client_path_suggests_a_bypass():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {bypass!r} in {text!r}"
        for path in client_path()
        for line, text, next_step in texts_of(path)
        for bypass in find_bypasses(text, next_step=next_step)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", CASES)
def test_no_refusal_suggests_a_bypass(name):
    text = CASES[name].text
    assert text.startswith(FOR_WHO_RUNS_A_LEDGER) or not bypasses_of(text)


def bypasses_of(text):
    next_step = text.rpartition(", got ")[2].partition(". ")[2]
    return find_bypasses(text) + find_bypasses(next_step, next_step=True)


@pytest.mark.parametrize("begins", FOR_WHO_RUNS_A_LEDGER)
def test_what_is_left_out_is_needed(begins):
    assert any(case.text.startswith(begins) and bypasses_of(case.text) for case in CASES.values())


OLD = (
    "Put what you ask for into a copy, and add that after `hubledger trust remove`",
    "or take it as it is, with --accept-less",
    "compare its checkpoint with a monitor's, then `hubledger pins forget`",
    "Restore the file, or remove it: what it remembered is then forgotten",
    "Leave out --trust to check a bundle that is not an event of this ledger",
    "Remove it and add the new one",
    "Make it writable, or name another with HUBLEDGER_DATA",
    'Set require = "included" in the trust file',
    "Raise max_age, or turn off the age limit",
    "Ignore this warning\n and load the model anyway",
    "Delete the pin and try again",
)


@pytest.mark.parametrize("text", OLD)
def test_what_suggests_one_is_found(text):
    assert find_bypasses(text)


def test_a_next_step_never_asks_for_less_than_the_model():
    assert find_bypasses("Ask about the log alone with --log-only", next_step=True)
    assert not find_bypasses("--log-only: expected no --expect options, got both")


def test_a_planted_text_is_found_where_it_stands(tmp_path):
    """In a next step that is put together, in a table of causes, and in a default; not in help or a docstring."""
    module = tmp_path / "planted.py"
    module.write_text(
        '"""Says: pins forget."""\n'
        'option("--accept-less", help="pins forget")\n'
        'raise Error("a", next_step=f"Ask {who}, or " "pins forget")\n'
        'CAUSES = {"a": "or remove it"}\n'
        'default_next_step: str = "Use --log-only"\n'
        '@click.option("--accept-less", help="pins forget")\n'
        "def command(): pass\n"
    )
    found = {
        (line, bypass)
        for line, text, next_step in texts_of(module)
        for bypass in find_bypasses(text, next_step=next_step)
    }
    assert found == {(2, "--accept-less"), (3, "pins forget"), (4, "remove it"), (5, "--log-only")}


def test_the_whole_client_path_is_read():
    names = {str(path.relative_to(ROOT)) for path in client_path()}
    assert {"ledger/client/huggingface.py", "ledger/client/vouching.py", "cli/verify_named.py"} <= names
    assert sum(1 for path in client_path() for _, _, next_step in texts_of(path) if next_step) > 60
