"""What is in deploy/ is held to the program: commands that exist, addresses that answer, a unit and rules that parse."""

import configparser
import json
import re
import shlex
import shutil
import subprocess

import click
import pytest
import yaml

import cli.main
from ledger import errors
from ledger.config import ServeConfig
from ledger.server.routes import READ_ROUTES
from tests.conftest import REPOSITORY, missing

DEPLOY = REPOSITORY / "deploy"


def parse_command(words):
    """Parse a command line as the program does, without running it; an option that there is not ends the test."""
    assert words[0].rpartition("/")[2] == "hubledger"
    command, context, rest = cli.main.group, None, words[1:]
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context)
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None, name
        command = found
    return command.make_context(command.name, rest, parent=context).params


def read_unit(name):
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(DEPLOY / name)
    return parser


@pytest.fixture
def unit():
    return read_unit("hubledger.service")


def test_the_unit_starts_what_there_is(unit):
    started = parse_command(shlex.split(unit["Service"]["ExecStart"]))
    assert started["listen"] == ServeConfig().listen
    assert str(started["directory"]) == f"/var/lib/{unit['Service']['StateDirectory']}"


def test_the_unit_gives_up_only_on_what_does_not_mend_itself(unit):
    codes = {int(code) for code in unit["Service"]["RestartPreventExitStatus"].split()}
    kinds = (
        errors.ConfigError,
        errors.WriterLockedError,
        errors.CorruptError,
        errors.RestoredError,
    )
    assert codes == {2, *(each.exit_code for each in kinds)}
    assert errors.SourceError.exit_code not in codes  # the public address may be away at boot


def test_the_monitors_unit_gives_up_only_on_what_does_not_mend_itself():
    unit = read_unit("hubledger-monitor.service")
    codes = {int(code) for code in unit["Service"]["RestartPreventExitStatus"].split()}
    kinds = (errors.ConfigError, errors.NotFoundError, errors.WriterLockedError, errors.CorruptError)
    assert codes == {2, *(each.exit_code for each in kinds)}
    assert errors.SourceError.exit_code not in codes  # `listen` may be taken for a moment
    assert errors.WriteError.exit_code not in codes  # a full disk has room again
    assert unit["Unit"]["StartLimitIntervalSec"] == "0", "nothing else makes it give up"


def test_the_monitors_unit_says_in_order_how_it_is_begun_by_the_user_that_it_runs_as():
    text = (DEPLOY / "hubledger-monitor.service").read_text(encoding="utf-8")
    user = read_unit("hubledger-monitor.service")["Service"]["User"]
    steps = ["useradd --system", f"systemd-run --uid={user} ", "systemctl enable --now", "[Unit]"]
    places = [text.index(each) for each in steps]
    assert places == sorted(places)
    assert re.search(rf"^#   useradd .* {user}$", text, re.MULTILINE)


def test_the_unit_waits_for_an_orderly_end(unit):
    from ledger.server.serving import STOP_SECONDS

    assert int(unit["Service"]["TimeoutStopSec"]) > STOP_SECONDS
    assert unit["Service"]["KillSignal"] == "SIGTERM"


@pytest.mark.parametrize("name", ["hubledger.service", "hubledger-monitor.service"])
def test_the_units_are_as_closed_as_they_say(name):
    if shutil.which("systemd-analyze") is None:
        missing("no systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", str(DEPLOY / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Overall exposure level for .*?: ([0-9.]+) ", done.stdout)
    if found is None:
        missing("this systemd-analyze judges no files")
    assert float(found[1]) <= 1.5


def complaints(unit, tmp_path):
    """What systemd says about a unit whose program is there. It ends with 0 where it ignores a line, so words count."""
    program = tmp_path / "hubledger"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={program}", unit.read_text(encoding="utf-8")))
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    # Units of the machine that this one waits for are read too, and may be ill for themselves.
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    return [line.replace(str(tmp_path), "") for line in said]


@pytest.mark.parametrize("name", ["hubledger.service", "hubledger-monitor.service"])
def test_systemd_takes_each_line_of_the_units(name, tmp_path):
    if shutil.which("systemd-analyze") is None:
        missing("no systemd-analyze")
    assert complaints(DEPLOY / name, tmp_path) == []
    bent = tmp_path / "bent" / name
    bent.parent.mkdir()
    bent.write_text((DEPLOY / name).read_text(encoding="utf-8").replace("ProtectClock=", "ProtectClok="))
    assert "Unknown key 'ProtectClok'" in "".join(complaints(bent, tmp_path)), "it reads the file"


@pytest.fixture
def container():
    """The instructions of the last stage, with continued lines joined."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    last = max(at for at, line in enumerate(lines) if line.startswith("FROM "))
    return [tuple(line.strip().split(" ", 1)) for line in lines[last:]]


def test_the_container_starts_what_there_is_as_a_user_without_rights(container):
    last = dict(container)
    started = parse_command(json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"]))
    assert started["listen"].rpartition(":")[2] == last["EXPOSE"] == ServeConfig().listen.rpartition(":")[2]
    assert str(started["directory"]).startswith(last["VOLUME"] + "/")
    assert int(last["USER"]) > 0


def test_the_container_asks_for_an_address_that_answers(container):
    asked = re.search(r"http://127\.0\.0\.1:8470(/[a-z/]+)", dict(container)["HEALTHCHECK"])
    assert asked[1] in {each.path for each in READ_ROUTES}


def test_what_the_container_copies_is_there():
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (REPOSITORY / name).exists(), name


def test_the_alert_rules_parse_and_each_says_what_to_do():
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    names = [each["alert"] for each in group["rules"]]
    assert len(names) == len(set(names)) > 5
    for each in group["rules"]:
        assert each["labels"]["severity"] in ("page", "ticket")
        assert each["annotations"].keys() == {"summary", "action"}
        assert each["expr"].count("(") == each["expr"].count(")")
