"""Where the vectors of other projects are found, and what a missing one means."""

import os
import pathlib
import shutil

import pytest

from cli.main import run

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def missing(reason: str) -> None:
    """Skip on a laptop; in CI a skip is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must run this test: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def vectors() -> pathlib.Path:
    """The folder with `vectors/` and `samples/`: HUBLEDGER_VECTORS, or `../shared` beside the repository."""
    folder = pathlib.Path(os.environ.get("HUBLEDGER_VECTORS", REPOSITORY.parent / "shared"))
    if not (folder / "vectors").is_dir():
        missing(
            f"no vectors in {folder.name}: set HUBLEDGER_VECTORS to the folder that holds vectors/ and samples/"
        )
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_user_data(tmp_path_factory):
    """No test reads or writes what the user who runs the tests has; those that keep something name a folder of their own."""
    folder = tmp_path_factory.mktemp("user") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUBLEDGER_DATA", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def no_grudge(no_user_data):
    """A log that contradicted itself in one test is named in no other."""
    yield
    shutil.rmtree(no_user_data / "misbehaviour", ignore_errors=True)


@pytest.fixture
def hubledger(capsys):
    """Run a command in this process; returns (exit code, standard output, standard error in one line)."""

    def call(*arguments):
        code = run([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split())

    return call
