"""The image of the client: made as its recipe says, started as the init container of the guide is, on a real model.

The lines of `deploy/Containerfile.client` are run here, over this machine's Python in the place of the base image; the folder
that becomes the image is entered with `chroot`, its volumes mounted as the pod of `docs/guides/client.md` mounts them.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ledger.embedded.recording import RecordRequest, record_revision
from tests.conftest import REPOSITORY, missing
from tests.oms import sign_with_a_new_key, write_model
from tests.system.service import serving
from tests.system.test_pipeline import config_map
from tests.test_recipes import CONTAINER, POD

INSIDE = re.compile(r"(?<![\w./])/(src|wheels|opt|client|data)\b")
VERIFY = POD["spec"]["initContainers"][1]
MAX_BYTES = 150_000_000
"""Some 90 MB with a Python that is stripped, as that of distributions is."""
UNWANTED = {"sh", "bash", "busybox", "apt", "dpkg", "pip", "setuptools", "ensurepip", "test", "__pycache__"}


@pytest.fixture
def image(tmp_path):
    """The folder that becomes the image, and the environment that the recipe sets."""
    if not os.environ.get("CI"):
        pytest.skip("downloads 70 MB and needs root: CI=true runs it")
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("no root, or no unshare")
    build = tmp_path / "build"
    build.mkdir()
    sources(build / "src")
    place = lambda text: INSIDE.sub(rf"{build}/\1", text)  # noqa: E731
    joined = CONTAINER.replace("\\\n", " ")
    (commands,) = re.findall(r"^RUN (.*)$", joined, re.MULTILINE)
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", place(commands)], env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = re.findall(r"^ENV (.*)$", joined, re.MULTILINE)
    environment = dict(each.split("=", 1) for each in line.split())
    environment["PATH"] = place(environment["PATH"])
    return build / "client", build / "opt/hubledger", environment


def sources(folder):
    """What the recipe copies before it builds."""
    (copied,) = re.findall(r"^COPY (?!--from)(.*) /src/$", CONTAINER, re.MULTILINE)
    dist = folder.with_name("dist")
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        str(dist),
        str(REPOSITORY),
    ]
    subprocess.run(command, check=True, capture_output=True)
    folder.mkdir()
    for name in copied.split():
        found = list(dist.glob("*.whl")) if name.startswith("dist/") else [REPOSITORY / name]
        assert len(found) == 1
        shutil.copy2(found[0], folder)


def closure(name, extras=(), seen=None):
    """The names of a package and all that it needs, as their metadata in this environment say."""
    seen = set() if seen is None else seen
    if (canonicalize_name(name), tuple(extras)) in seen:
        return set()
    seen.add((canonicalize_name(name), tuple(extras)))
    found = {canonicalize_name(name)}
    for text in metadata.requires(name) or ():
        wanted = Requirement(text)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": each}) for each in ("", *extras)):
            found |= closure(wanted.name, sorted(wanted.extras), seen)
    return found


def run(image, container, volumes, *arguments):
    """Start the image as a container of a pod is started; returns what it did."""
    root, _, environment = image
    script = [f"mount --bind {root} {root}"]
    for mount in container["volumeMounts"]:
        place = f"{root}{mount['mountPath']}"
        script += [f"mount --bind {volumes[mount['name']]} {place}"]
        script += [f"mount -o remount,bind,ro {place}"] if mount.get("readOnly") else []
    context = container["securityContext"]
    script += [f"mount -o remount,bind,ro {root}"] if context["readOnlyRootFilesystem"] else []
    rights = "setpriv --no-new-privs " if not context["allowPrivilegeEscalation"] else ""
    assert context["runAsNonRoot"], "a user without rights has no capabilities either"
    (user,) = re.findall(r"^USER (\S+)$", CONTAINER, re.MULTILINE)
    script += [f'exec {rights}chroot --userspec={user} {root} "$@"']
    return subprocess.run(
        ["unshare", "--mount", "sh", "-ec", "\n".join(script), "sh", *arguments],
        env=environment | {"PATH": f"{environment['PATH']}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def hub(hubledger, tmp_path):
    """A ledger with a signed model; yields its address and the volumes of the pod, as a cluster makes them."""
    ledger, model = tmp_path / "ledger", tmp_path / "volumes/model"
    assert hubledger("init", ledger, "--origin", "log.example/models", "--hub", "hub.example")[0] == 0
    model.mkdir(parents=True)
    write_model(model)
    pem = tmp_path / "key.pub"
    pem.write_bytes(sign_with_a_new_key(model))
    record_revision(ledger, RecordRequest(name="acme/tiny", revision="r1", model=model, public_keys=[pem]))
    volumes = {each["name"]: model.with_name(each["name"]) for each in POD["spec"]["volumes"]}
    config_map(volumes["trust"], ledger / "trust.toml")
    for each in volumes.values():
        each.mkdir(exist_ok=True)
        each.chmod(0o777)  # as an emptyDir
    with serving(ledger, "--read-only") as (url, _):
        yield url, volumes


def test_the_image_has_what_the_client_needs_and_checks_a_model_in_a_pod(image, hub):
    """One test, since the image takes half a minute."""
    root, venv, _ = image
    holds_the_closure(root, venv)
    holds_nothing_else(root)

    url, volumes = hub
    for mount in VERIFY["volumeMounts"]:
        (root / mount["mountPath"].lstrip("/")).mkdir(exist_ok=True)
    places = {"https://ledger.hub.example": url, "REVISION": "r1"}
    arguments = [places.get(each, each) for each in VERIFY["args"]]
    assert url in arguments
    command = [*VERIFY["command"], *arguments]
    done = run(image, VERIFY, volumes, *command, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert (facts["log"], facts["model"]) == ("INCLUDED_ONLY", "ACCEPTED")

    writes = "import sys; open(sys.argv[1], 'w')"
    for name, allowed in {"/x": False, "/model/x": False, "/trust/x": False, "/data/x": True}.items():
        assert (run(image, VERIFY, volumes, "python", "-c", writes, name).returncode == 0) is allowed, name

    (volumes["model"] / "weights.bin").write_bytes(b"other")
    done = run(image, VERIFY, volumes, *command, "--json")
    assert (done.returncode, json.loads(done.stdout)["model"]) == (22, "CONTENT_DIFFERS")
    (volumes["trust"] / "trust.toml").unlink()
    assert run(image, VERIFY, volumes, *command).returncode not in (0, 22)


def holds_the_closure(root, venv):
    (site,) = (root / venv.relative_to("/")).glob("lib/python*/site-packages")
    installed = {
        canonicalize_name(each.name): each.version for each in metadata.distributions(path=[str(site)])
    }
    # sqlite-utils asks for pip, for a command of its own that installs plugins.
    assert installed.keys() == closure("hubledger") - {"pip"}
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    locked = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE)
    }
    assert {name: locked[name] for name in installed.keys() - {"hubledger"}} == {
        name: version for name, version in installed.items() if name != "hubledger"
    }


def holds_nothing_else(root):
    files = [each for each in root.rglob("*") if not each.is_dir() or each.is_symlink()]
    left = [each for each in root.rglob("*") if each.name in UNWANTED or each.suffix == ".pyc"]
    assert left == []
    for each in files:
        target = each
        while target.is_symlink():  # as it will be read once the folder is the root
            link = target.readlink()
            target = root / str(link).lstrip("/") if link.is_absolute() else target.parent / link
        assert target.exists(), each
    assert sum(each.lstat().st_size for each in files) < MAX_BYTES
