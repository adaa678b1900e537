"""Text for people: tables, and lines that a terminal must not break."""

import pytest

from cli.output import format_table, wrap
from ledger.embedded.wording import plural

WORDS = "Signed by https://git.example/acme/release.yml, tag (https://ci.example)"


@pytest.mark.parametrize("columns", [40, 60, 80, None])
def test_wrapping_loses_no_word_and_breaks_none(columns):
    text = wrap(WORDS, columns=columns, first="   ")
    assert text.split() == WORDS.split()
    for line in text.split("\n"):
        assert line.startswith("   ")
        assert columns is None or len(line) <= columns or len(line.split()) == 1


def test_into_a_pipe_every_line_stays_whole():
    assert wrap(WORDS, columns=None) == WORDS
    assert "\n" in wrap(WORDS, columns=40)


def test_further_lines_begin_under_the_first():
    assert wrap("  next: one two three four five", columns=24) == "  next: one two three\n  four five"
    table = format_table(("A", "B"), [("1", "one two three four five six")], columns=23)
    assert table == "A  B\n1  one two three four\n   five six"


def test_a_terminal_too_narrow_for_text_gets_it_whole():
    assert wrap("one two three four five six", columns=10) == "one two three four five six"


def test_control_characters_are_shown_not_sent():
    assert format_table(("A",), [("\x1b[31mred\n",)]) == "A\n\\x1b[31mred\\x0a"


@pytest.mark.parametrize(("count", "text"), [(0, "0 tiles"), (1, "1 tile"), (2, "2 tiles")])
def test_plurals(count, text):
    assert plural(count, "tile") == text


def test_an_irregular_plural_is_given():
    assert plural(2, "entry", "entries") == "2 entries"
