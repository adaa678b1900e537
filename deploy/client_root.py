"""Puts into one folder what the client runs with, and nothing else: Python, the libraries that both load, the client.

    VENV/bin/python deploy/client_root.py ROOT

VENV has hubledger; every path below ROOT is as it was, so ROOT can be the whole of a container image (`deploy/Containerfile.client`).
There is no shell in it, no package manager and no compiled copy of a module.
"""
# ruff: noqa: INP001 - a script, in no package

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator

LEFT_OUT = (
    "__pycache__",
    "config-*",
    "*-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "test",
    "tkinter",
    "turtledemo",
    "venv",
    # modules for terminals, windows and old databases, each of which loads libraries of its own
    "_curses*.so",
    "_dbm*.so",
    "_gdbm*.so",
    "_test*.so",
    "_tkinter*.so",
    "nis.*.so",
    "readline*.so",
)
"""Of Python itself: nothing in the client imports these."""
INSTALLERS = (
    "__pycache__",
    "[aA]ctivate*",
    "_distutils_hack",
    "distutils-precedence.pth",
    "pip",
    "pip-*",
    "pip3*",
    "pkg_resources",
    "setuptools",
    "setuptools-*",
)
"""Of the environment: what made it."""
SYSTEM = ("/etc/ld.so.cache", "/etc/ssl/certs/ca-certificates.crt")
"""Where libraries are found, and whom TLS trusts where somebody sets SSL_CERT_FILE to it."""


def main(root: pathlib.Path) -> None:
    """Fill ROOT, which must not exist."""
    venv, python = pathlib.Path(sys.prefix), pathlib.Path(sys.executable)
    stdlib = pathlib.Path(sysconfig.get_path("stdlib"))
    root.mkdir()
    put_tree(stdlib, root, leave_out=LEFT_OUT)
    put_tree(venv, root, leave_out=INSTALLERS)
    for link in chain(python):
        if not link.is_relative_to(venv):
            put(link, root, follow=False)
    for path in libraries([python, *root.rglob("*.so*")], root):
        put(path, root)
    for path in filter(pathlib.Path.exists, map(pathlib.Path, SYSTEM)):
        put(path, root)
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n", encoding="ascii")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def put_tree(folder: pathlib.Path, root: pathlib.Path, *, leave_out: tuple[str, ...]) -> None:
    """Copy a folder to its own place below ROOT; links stay links."""
    shutil.copytree(folder, below(folder, root), symlinks=True, ignore=shutil.ignore_patterns(*leave_out))


def put(path: pathlib.Path, root: pathlib.Path, *, follow: bool = True) -> None:
    """Copy a file to its own place below ROOT; of a link what it leads to, under the link's name, or the link itself."""
    target = below(path, root)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target, follow_symlinks=follow)


def chain(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a path and, of a link, what it leads to, one by one."""
    yield path
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path


def below(path: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
    """Return the place of an absolute path below ROOT."""
    return root / path.relative_to("/")


def libraries(programs: list[pathlib.Path], root: pathlib.Path) -> set[pathlib.Path]:
    """Return the shared libraries that programs and modules load, the loader among them."""
    done = subprocess.run(["ldd", *map(str, programs)], check=True, capture_output=True, text=True)
    if missing := re.findall(r"^\s+(\S+) => not found", done.stdout, re.MULTILINE):
        sys.exit(f"not found: {' '.join(sorted(set(missing)))}")
    found = re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.MULTILINE)
    paths = {pathlib.Path(os.path.normpath(each)) for each in found}  # of `bin/../lib` too
    return {each for each in paths if not each.is_relative_to(root)}


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).absolute())
