"""Documentation that cannot fall behind the program: its sessions run, its tables are complete, its links lead somewhere.

In a session, ``…`` stands for what differs from run to run. Hexadecimal digits before it are an example of a digest:
one example stands for one digest throughout a page, and another example for another digest.
"""

import ast
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import MISSING, dataclass, field, fields, is_dataclass

import click
import pytest

import cli.exit_codes
import cli.main
from ledger import errors
from ledger.client import result, trust_tables
from ledger.config import Config
from monitor.checks import CanaryConfig, CrosscheckConfig
from monitor.config import MonitorConfig, PublishConfig
from monitor.findings import CLASSES, Kind
from monitor.log_config import LogConfig
from monitor.sink_config import SinkConfig
from monitor.watch import WatchConfig
from tests.cli.test_outcomes import OUTCOMES
from tests.conftest import REPOSITORY, missing

DOCS = REPOSITORY / "docs"
REFERENCE = DOCS / "reference"


# Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a session, where it stands, and what it prints."""

    line: int
    text: str
    output: tuple[str, ...]


def read_session(text: str, *, first_line: int = 1) -> list[Command]:
    """Return the commands of every ```console block: `$ ` begins one, `> ` continues it, the rest is output."""
    commands: list[Command] = []
    inside = False
    for number, line in enumerate(text.split("\n"), first_line):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            commands.append(Command(line=number, text=line[2:], output=()))
        elif inside and line.startswith("> ") and not commands[-1].output:
            last = commands.pop()
            commands.append(Command(line=last.line, text=f"{last.text}\n{line[2:]}", output=()))
        elif inside:
            last = commands.pop()
            commands.append(Command(line=last.line, text=last.text, output=(*last.output, line)))
    return commands


def section(text: str, heading: str) -> tuple[str, int]:
    """Return the text below a heading up to the next of its level, and the line on which it begins."""
    lines = text.split("\n")
    start = lines.index(heading) + 1
    level = heading.split(" ", maxsplit=1)[0] + " "
    end = next((at for at in range(start, len(lines)) if lines[at].startswith(level)), len(lines))
    return "\n".join(lines[start:end]), start + 1


@dataclass(slots=True)
class Examples:
    """Which digest each example of the page stands for; digests are told apart by 16 digits, as the program does."""

    meant: dict[str, str] = field(default_factory=dict)

    def matches(self, expected: str, actual: str) -> bool:
        """Whether a line of output is what the page shows; runs of spaces count as one."""
        names: list[str] = []
        pattern = ""
        for piece in re.split(r"([0-9a-f]{4,}…|…)", _squeeze(expected)):
            if piece.endswith("…") and piece != "…":
                names.append(piece)
                pattern += r"([0-9a-f]{16,}|[A-Za-z0-9+/=]{16,})…?"
            else:
                pattern += ".*" if piece == "…" else re.escape(piece)
        found = re.fullmatch(pattern, _squeeze(actual))
        if found is None:
            return False
        for name, digest in zip(names, found.groups(), strict=True):
            if self.meant.setdefault(name, digest[:16]) != digest[:16]:
                return False
        return len(set(self.meant.values())) == len(self.meant)


def _squeeze(line: str) -> str:
    return re.sub(r"(?<=\S) +", " ", line).rstrip()


def same_output(expected: tuple[str, ...], actual: list[str], examples: Examples) -> bool:
    """Compare line by line; a line that is `…` alone, however indented, stands for any number of lines."""
    if not expected:
        return not actual
    if expected[0].strip() == "…":
        return any(same_output(expected[1:], actual[skip:], examples) for skip in range(len(actual) + 1))
    return (
        bool(actual)
        and examples.matches(expected[0], actual[0])
        and same_output(expected[1:], actual[1:], examples)
    )


def run_session(commands: list[Command], folder: pathlib.Path) -> None:
    """Run the commands in order; one that fails must be followed by `echo $?`, which shows its exit code."""
    tools = pathlib.Path(os.environ.get("HUBLEDGER_BIN", pathlib.Path(sys.executable).parent)).absolute()
    if not (tools / "model_signing").exists():
        missing("no model_signing beside hubledger: install the extra oms")
    if shutil.which("openssl") is None:
        missing("no openssl, which the session makes its keys with")
    environment = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
    }
    examples, code = Examples(), 0
    for command, after in itertools.zip_longest(commands, commands[1:]):
        script = f"(exit {code})\n{command.text}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        code = done.returncode
        printed = done.stdout.decode()
        where = f"line {command.line}: $ {command.text}\nexit code {code}, output:\n{printed}"
        assert same_output(command.output, printed.splitlines(), examples), where
        shown = after is not None and after.text == "echo $?"
        assert code == 0 or shown, f"the page does not show that this command fails\n{where}"


def test_the_tutorial_runs_as_it_is_written(tmp_path):
    commands = read_session((DOCS / "tutorial.md").read_text(encoding="utf-8"))
    assert len(commands) > 30
    run_session(commands, tmp_path)


def test_the_first_session_of_the_readme_runs_as_it_is_written(tmp_path):
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    text, first_line = section(readme, "## A first session")
    commands = read_session(text, first_line=first_line)
    assert len(commands) > 5
    run_session(commands, tmp_path)


def test_the_guide_of_the_monitor_runs_as_it_is_written(tmp_path):
    commands = read_session((DOCS / "guides" / "monitor.md").read_text(encoding="utf-8"))
    assert len(commands) > 8
    run_session(commands, tmp_path)


def test_the_guide_of_operating_runs_as_it_is_written(tmp_path):
    commands = read_session((DOCS / "guides" / "operate.md").read_text(encoding="utf-8"))
    assert len(commands) > 30
    run_session(commands, tmp_path)


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (("a  b",), ["a b"], True),
        (("a",), ["a", "b"], False),
        (("a", "…"), ["a", "b", "c"], True),
        (("…", "c"), ["a", "b"], False),
        (("at …Z",), ["at 12:00Z"], True),
        (("key beef…",), ["key 0123456789abcdef…"], True),
        (("key beef…",), ["key nobody"], False),
        (("beef… beef…",), ["0123456789abcdef… 0123456789abcdef0000"], True),
        (("beef… beef…",), ["0123456789abcdef… 1123456789abcdef…"], False),
        (("beef… cafe…",), ["0123456789abcdef… 0123456789abcdef…"], False),
    ],
)
def test_the_comparison_of_sessions_tells_right_from_wrong(expected, actual, same):
    assert same_output(expected, actual, Examples()) is same


# Tables


def read_tables(text: str) -> list[list[str]]:
    """Return the cells of every table row under the headers, tables one after another."""
    rows = []
    lines = text.split("\n")
    for before, line in itertools.pairwise(lines):
        if line.startswith("|") and before.startswith("|") and not line.startswith("|--"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def read_reference(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_every_error_is_in_the_reference_with_its_exit_code():
    described = {row[0].strip("`"): row[1:] for row in read_tables(read_reference("errors.md"))}
    known = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.LedgerError)
    }
    assert {name: int(row[0]) for name, row in described.items()} == known
    assert all(len(row) == 3 and row[1] and row[2] for row in described.values())


def walk(command: click.Command, path: tuple[str, ...]) -> list[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    if not isinstance(command, click.Group):
        return [(" ".join(path), command)]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        found += walk(below, (*path, name))
    return found


def test_every_command_and_option_is_in_the_reference():
    text = read_reference("commands.md")
    known = dict(walk(cli.main.group, ("hubledger",)))
    assert sorted(re.findall(r"^## (hubledger .+)$", text, re.MULTILINE)) == sorted(known)
    for name, command in known.items():
        described, _ = section(text, f"## {name}")
        rows = [row[0] for row in read_tables(described)]
        named = {word for row in rows for word in re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", row)}
        options = {word for each in command.params if isinstance(each, click.Option) for word in each.opts}
        assert named == options - {"--json"}, name
        arguments = [
            each.make_metavar(click.Context(command))
            for each in command.params
            if isinstance(each, click.Argument)
        ]
        usage = next(line for line in described.split("\n") if line.startswith(name))
        assert re.findall(r"\[?[A-Z][A-Z|-]+\]?(?:\.{3})?", re.split(r" -| \[-", usage)[0]) == arguments, name


def test_every_setting_is_in_the_reference_with_its_default():
    text, _ = section(read_reference("settings.md"), "## hubledger.toml")
    described = {row[0].strip("`"): row[1].strip("`") for row in read_tables(text)}
    example = Config(ledger="log.example/models", hub="hub.example")
    required = ("ledger", "hub")
    settings = {}
    for each in fields(Config):
        value = getattr(example, each.name)
        inner = fields(value) if is_dataclass(value) else ()
        settings |= {f"{each.name}.{one.name}": json.dumps(getattr(value, one.name)) for one in inner}
        if not inner:
            settings[each.name] = "required" if each.name in required else json.dumps(value)
    assert described == settings


def test_every_setting_of_a_monitor_is_in_the_reference_with_its_default():
    text, _ = section(read_reference("settings.md"), "## monitor.toml")
    described = {row[0].strip("`"): row[1].strip("`") for row in read_tables(text)}
    settings = {}
    tables = {
        "": MonitorConfig,
        "log.": LogConfig,
        "sink.": SinkConfig,
        "watch.": WatchConfig,
        "canary.": CanaryConfig,
        "crosscheck.": CrosscheckConfig,
        "publish.": PublishConfig,
    }
    for prefix, kind in tables.items():
        for each in fields(kind):
            if prefix or each.name not in ("base", *(name.rstrip(".") for name in tables)):
                settings[prefix + each.name] = (
                    "required" if each.default is MISSING else json.dumps(each.default)
                )
    assert described == settings


def test_every_kind_of_finding_is_in_the_guide_with_its_class_and_severity():
    text, _ = section((DOCS / "guides" / "monitor.md").read_text(encoding="utf-8"), "## What it finds")
    described = [tuple(cell.strip("`") for cell in row[:3]) for row in read_tables(text)]
    assert described == [(str(kind), *map(str, CLASSES[kind])) for kind in Kind]


def test_every_setting_of_a_trust_file_is_in_the_reference():
    text, _ = section(read_reference("settings.md"), "## trust.toml")
    tables = {
        f"{name}.{key}" if name else key for name in trust_tables.TABLES for key in trust_tables.TABLES[name]
    }
    assert {row[0].strip("`") for row in read_tables(text)} == tables - {"log", "hub", "hub.key"}


@pytest.mark.parametrize(
    ("heading", "known"),
    [
        ("## What the log proves", [each.value for each in result.LogResult]),
        ("## What the model is", [each.value for each in result.ModelResult]),
    ],
)
def test_every_result_is_in_the_reference(heading, known):
    text, _ = section(read_reference("results.md"), heading)
    assert [row[0].strip("`") for row in read_tables(text)] == known


def test_every_exit_code_of_verify_is_in_the_reference():
    text, _ = section(read_reference("results.md"), "## Exit codes")
    described = {int(row[0]): row[1].strip("`") for row in read_tables(text.partition("\n### ")[0])}
    assert described.pop(0) == "satisfied"
    assert described == {each.value: each.name for each in cli.exit_codes.ExitCode}


def outcome_rows() -> list[list[str]]:
    text, _ = section(read_reference("results.md"), "### What is printed, and a test of each")
    return read_tables(text.partition("\n## ")[0])


@pytest.mark.parametrize("named", sorted({row[2].strip("`") for row in outcome_rows()}))
def test_every_outcome_names_a_test_that_exists_and_is_run(named):
    """pytest collects it: by the file's name, its own, and because it is no part of another; and nothing always skips it."""
    path, _, name = named.partition("::")
    module = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    (found,) = [each for each in module.body if isinstance(each, ast.FunctionDef) and each.name == name]
    assert (path.startswith("tests/"), pathlib.Path(path).name[:5], name[:5]) == (True, "test_", "test_")
    assert not [each for each in found.decorator_list if re.search(r"\bskip\b|xfail", ast.unparse(each))]
    assert not re.search(r"^(pytestmark|collect_ignore|__test__)\b", ast.unparse(module), re.MULTILINE)


OF_ITS_TEST_ALONE = (
    "`log: INCLUDED_ONLY   model: ACCEPTED`, then one sentence",
    "`Caution: ",
    "`ok  reading of all files",
    "the same as without remembered digests",
    "`log: INCLUDED_ONLY`; `Failed: monitor …: expected a statement about …, signed by the monitor, got no answer",
    "`log: PROMISED`",
    "`model: NOT_ACCEPTED`; `Failed: signature, checked here",
    "the error: what was asked for",
    "`kept proof …",
    "`log: INVALID`; `Failed: attestation: expected levels",
    "`log: CANNOT_CHECK`; `Failed: attestation: expected an attestation that was made by now",
    "`log: CANNOT_CHECK`; `Failed: attestation: expected no …",
)
"""How rows begin that are no failure, no check, or need a service or a key: the test that they name holds them."""


def fits(row: list[str], outcome: tuple[int, str, object]) -> bool:
    """Say whether what a row promises is what is printed, piece for piece, with the same exit code."""
    code, said, _ = outcome
    pieces = re.findall("`([^`]+)`", row[1])
    patterns = [".*".join(map(re.escape, piece.split("…"))) for piece in pieces]
    return row[0] == str(code) and all(re.search(each, said) for each in patterns)


@pytest.mark.parametrize("row", outcome_rows(), ids=lambda row: f"{row[0]}-{row[1][:60]}")
def test_every_outcome_is_printed_as_its_row_says(row):
    held = [name for name, outcome in OUTCOMES.items() if fits(row, outcome)]
    assert bool(held) != row[1].startswith(OF_ITS_TEST_ALONE), held


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_outcome_has_a_row(name):
    assert [row for row in outcome_rows() if fits(row, OUTCOMES[name])]


def test_a_row_with_another_code_or_text_is_noticed():
    outcome = (13, "log: INVALID   model: NOT_CHECKED\nFailed: a: expected b, got c\n", None)
    assert fits(["13", "`log: INVALID`; `Failed: a: expected …, got c`"], outcome)
    assert not fits(["14", "`log: INVALID`; `Failed: a: expected …, got c`"], outcome)
    assert not fits(["13", "`log: INVALID`; `Failed: a: expected …, got d`"], outcome)


def test_every_exit_code_has_an_outcome():
    rows = outcome_rows()
    codes = {int(code) for row in rows for code in row[0].split(", ")}
    reached = {each.value for each in cli.exit_codes.ExitCode} - {cli.exit_codes.ExitCode.NOT_LOGGED}
    assert reached <= codes


# Links


def pages() -> list[pathlib.Path]:
    return sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")])


def anchors(text: str) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE):
        kept = [
            c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN"
        ]  # letters and numbers of any script
        found.add("".join(kept).replace(" ", "-"))
    return found


@pytest.mark.parametrize("package", ["ledger", "monitor", "cli"])
def test_every_module_is_in_the_architecture(package):
    """By its name: each but the commands, which are one module each and in the reference."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    known = {path.stem for path in (REPOSITORY / package).rglob("*.py")} - {"__init__", "main"}
    left_out = set(cli.main.COMMANDS) if package == "cli" else set()
    assert not {name for name in known - left_out if not re.search(rf"`(\w+\.)?{name}`", text)}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_relative_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:src|srcset|href)="([^"]+)"', prose)
    for link in links:
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if fragment and target.suffix == ".md":
            assert fragment in anchors(target.read_text(encoding="utf-8")), link
