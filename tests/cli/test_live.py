"""The live view: a line for each log that is behind, gone when it has caught up, and nothing where nobody watches."""

import io

from rich.console import Console

from cli.live import catching_up


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def test_each_log_that_is_behind_is_shown_with_how_far_it_is():
    console = terminal()
    with catching_up(console=console) as advance:
        advance("models", 4096, 10_000)
        advance("other[red]", 10, 20)
        advance("models", 8192, 10_000)
    shown = console.file.getvalue()
    assert "8192/10000" in shown
    assert "other[red]" in shown, "a name is no markup"


def test_what_was_verified_before_is_no_part_of_the_rate():
    console = terminal()
    with catching_up(console=console) as advance:
        advance("models", 900_000, 1_000_000)
    assert "900000/1000000" in console.file.getvalue()
    assert "/s" not in console.file.getvalue()


def test_a_log_that_has_caught_up_is_not_shown():
    console = terminal()
    with catching_up(console=console) as advance:
        advance("models", 5, 5)
    assert "models" not in console.file.getvalue()


def test_nothing_is_drawn_where_nobody_watches(capfd):
    with catching_up() as advance:
        advance("models", 1, 2)
    assert capfd.readouterr() == ("", "")
