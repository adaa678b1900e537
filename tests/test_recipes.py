"""The recipes of the client's guide: what they run exists, and what they promise is in them."""

import re
import shlex

import pytest
import yaml

from cli.main import group
from tests.conftest import REPOSITORY

GUIDE = (REPOSITORY / "docs/guides/client.md").read_text(encoding="utf-8")
RECIPES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]
PIPELINE, POD = RECIPES
CONTAINER = (REPOSITORY / "deploy/Containerfile.client").read_text(encoding="utf-8")


def parse(arguments):
    """Parse a command line of ours as click does; an unknown option or command is refused."""
    context = group.make_context("hubledger", list(arguments))
    name, command, rest = group.resolve_command(context, list(arguments))
    return name, command.make_context(name, rest, parent=context).params


def runs(recipe):
    return [step["run"] for job in recipe["jobs"].values() for step in job["steps"] if "run" in step]


def test_the_step_of_a_pipeline_is_a_command_of_ours_with_the_trust_file_of_the_checkout():
    (line,) = (each for each in runs(PIPELINE) if each.startswith("hubledger "))
    assert "\n" not in line
    assert not re.search(r"\|\||;|&", line)
    name, given = parse(shlex.split(line)[1:])
    assert (name, str(given["trust_file"]), given["revision"]) == (
        "verify",
        "trust.toml",
        "${TINY_REVISION:?}",
    )


def test_nothing_of_the_pipeline_is_put_into_a_shell_unquoted():
    """A revision that somebody else chooses must not be code."""
    for line in runs(PIPELINE):
        assert "${{" not in line


def test_the_pipeline_caches_files_and_never_what_is_believed():
    steps = PIPELINE["jobs"]["deploy"]["steps"]
    cached = [step["with"]["path"] for step in steps if step.get("uses", "").startswith("actions/cache")]
    assert cached == ["model"]
    (data,) = (step["env"]["HUBLEDGER_DATA"] for step in steps if "HUBLEDGER_DATA" in step.get("env", {}))
    assert data.startswith("${{ runner.temp }}")


def test_the_check_of_the_pod_comes_last_before_the_model_is_loaded():
    names = [each["name"] for each in POD["spec"]["initContainers"]]
    assert names == ["download", "verify"]
    verify = POD["spec"]["initContainers"][1]
    assert verify["command"] == ["hubledger"]
    name, given = parse(verify["args"])
    assert (name, str(given["path"]), given["name"]) == ("verify", "/model", "hub.example/acme/tiny")
    download = POD["spec"]["initContainers"][0]
    assert given["revision"] in download["args"], "one revision is fetched and checked"
    assert POD["spec"]["restartPolicy"] == "Never", "a refusal is no crash"


def test_the_check_of_the_pod_has_no_rights_and_writes_in_one_place():
    verify = POD["spec"]["initContainers"][1]
    assert verify["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (user,) = re.findall(r"^USER (\d+):\d+$", CONTAINER, re.MULTILINE)
    assert int(user) > 0, "a number, since kubelet cannot tell who a name is"
    writable = [each["mountPath"] for each in verify["volumeMounts"] if not each.get("readOnly")]
    assert writable == ["/data"]
    assert "HUBLEDGER_DATA=/data" in CONTAINER
    assert {each["mountPath"] for each in verify["volumeMounts"]} == {"/model", "/trust", "/data"}
    assert "env" not in verify, "what the image sets is not set otherwise"


def test_only_the_downloader_of_the_pod_can_write_the_model():
    spec = POD["spec"]
    writers = [
        each["name"]
        for each in (*spec["initContainers"], *spec["containers"])
        for mount in each["volumeMounts"]
        if mount["name"] == "model" and not mount.get("readOnly")
    ]
    assert writers == ["download"]
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert "emptyDir" in volumes["model"]
    assert "configMap" in volumes["trust"]
    mounted = {each["name"] for each in spec["volumes"]}
    assert all(
        mount["name"] in mounted
        for each in (*spec["initContainers"], *spec["containers"])
        for mount in each["volumeMounts"]
    )


def test_every_image_of_the_pod_is_pinned_by_digest():
    for each in (*POD["spec"]["initContainers"], *POD["spec"]["containers"]):
        assert re.search(r"@sha256:[0-9a-f]{64}$", each["image"])


@pytest.mark.parametrize("words", [("USER", "65532:65532"), ("ENV", "HUBLEDGER_DATA=/data")])
def test_the_image_of_the_client_is_nobodys_and_keeps_in_one_place(words):
    lines = [line.split() for line in CONTAINER.splitlines()]
    assert any(line[:1] == [words[0]] and words[1] in line for line in lines)


def test_the_image_of_the_client_starts_a_command_that_exists():
    start = re.search(r"ENTRYPOINT (\[.*\])", CONTAINER)[1]
    assert yaml.safe_load(start) == ["hubledger"]
    default = yaml.safe_load(re.search(r"CMD (\[.*\])", CONTAINER)[1])
    assert default[0] in group.list_commands(None)
    assert "--require-hashes" in CONTAINER
