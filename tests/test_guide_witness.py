"""The guide to witnesses runs as it is written, with a witness of ours at the address of the one that it names."""

from dataclasses import replace

from tests.fakes.witness import FakeWitness, serving
from tests.test_docs import DOCS, read_session, run_session


def test_the_guide_to_witnesses_runs_as_it_is_written(tmp_path):
    text = (DOCS / "guides" / "witness.md").read_text(encoding="utf-8")
    # Sessions inside a list are indented.
    commands = read_session("\n".join(line.removeprefix("   ") for line in text.split("\n")))
    assert len(commands) > 10
    with serving(FakeWitness(logs=None)) as witness:
        assert f"witness w1 {witness.key.format()} https://witness.example" in text
        run_session(
            [
                replace(each, text=each.text.replace("https://witness.example", witness.url))
                for each in commands
            ],
            tmp_path,
        )
