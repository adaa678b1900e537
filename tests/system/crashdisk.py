"""Rebuilds what a disk may hold after a crash, from a trace of a process's system calls.

``kill -9`` keeps the page cache, so it says little about what survives a power failure. Here a child runs under
``strace``; its operations on files below one folder are read back, and every state that the disk may be in after a
crash is made:

* data writes that no ``fsync`` of their file covered may be lost, each on its own, in any combination;
* changes of names (create, rename, unlink, mkdir) that no ``fsync`` of their folder covered may be lost from some
  point on: file systems journal them in order. An ``fsync`` of a file says nothing about its name.

A rename can survive while the bytes of the renamed file do not, which is the classic mistake. Lines that the child
writes to standard output are markers: they tie a state to what had been promised before it. SQLite's ``-shm`` files are
memory-mapped and rebuilt by SQLite: they are in no state.
"""

import os
import pathlib
import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_CALLS = (
    "openat,creat,write,pwrite64,writev,pwritev,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,lseek"
)
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_FD = re.compile(r"(\d+)<([^>]*)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One step: ``kind`` is write, truncate, create, mkdir, rename, unlink, sync, marker."""

    kind: str
    path: str = ""
    other: str = ""
    offset: int = 0
    data: bytes = b""


def trace(command: Sequence[str], root: pathlib.Path, *, env: dict[str, str]) -> list[Operation]:
    """Run a command under strace and return its operations below ``root`` and its markers."""
    log = root.with_name(root.name + ".strace")
    existing = {path: len(data) for path, data in read_folder(root)[0].items()}
    subprocess.run(
        ["strace", "-f", "-y", "-xx", "-s", "100000000", "-o", str(log), "-e", f"trace={_CALLS}", *command],
        check=True,
        env=env,
        stdout=subprocess.PIPE,
    )
    operations = list(_parse(log.read_text(), str(root), existing))
    log.unlink()
    return operations


def _decode(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _join(text: str) -> Iterator[str]:
    """Put calls that strace split between threads together again, at the place where they ended."""
    unfinished: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        if line.endswith("<unfinished ...>"):
            pid, rest = line.split(" ", 1)
            unfinished[pid, rest.strip().split("(", 1)[0]] = line.removesuffix("<unfinished ...>").rstrip()
        elif match := _RESUMED.match(line):
            yield unfinished.pop((match[1], match[2])) + match[3].lstrip()
        else:
            yield line


def _parse(text: str, root: str, existing: dict[str, int]) -> Iterator[Operation]:
    ends = dict(existing)
    positions: dict[tuple[int, str], int] = {}

    def inside(path: str) -> str | None:
        if path == root:
            return "."
        return path[len(root) + 1 :] if path.startswith(root + "/") and not path.endswith("-shm") else None

    for line in _join(text):
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        call, arguments, result = match[1], match[2], int(match[3])
        strings = [_decode(each) for each in _STRING.findall(arguments)]
        descriptor = _FD.match(arguments)
        target = (
            _decode(descriptor[2]).decode("utf-8", "surrogateescape")
            if descriptor and "\\x" in descriptor[2]
            else ""
        )
        if call == "write" and descriptor and descriptor[1] == "1":
            for marker in strings[0].decode().splitlines():
                yield Operation(kind="marker", path=marker)
            continue
        if call in ("openat", "creat"):
            path = inside(strings[0].decode("utf-8", "surrogateescape")) if strings else None
            if path is None:
                continue
            positions[result, path] = 0
            if "O_TRUNC" in arguments and path in ends:
                yield Operation(kind="truncate", path=path)
                ends[path] = 0
            elif "O_CREAT" in arguments and path not in ends:
                yield Operation(kind="create", path=path)
                ends[path] = 0
            continue
        path = inside(target) if target else None
        if call in ("write", "pwrite64"):
            if path is None:
                continue
            number = int(descriptor[1])
            if call == "pwrite64":
                offset = int(arguments.rsplit(",", 1)[1])
            else:
                offset = positions.get((number, path), 0)
                positions[number, path] = offset + result
            ends[path] = max(ends.get(path, 0), offset + result)
            yield Operation(kind="write", path=path, offset=offset, data=strings[-1][:result])
        elif call == "ftruncate" and path is not None:
            ends[path] = int(arguments.rsplit(",", 1)[1])
            yield Operation(kind="truncate", path=path, offset=ends[path])
        elif call in ("fsync", "fdatasync") and path is not None:
            yield Operation(kind="sync", path=path)
        elif call in ("mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"):
            name = inside(strings[-1].decode("utf-8", "surrogateescape"))
            if name is not None:
                ends.pop(name, None)
                yield Operation(kind="mkdir" if call.startswith("mkdir") else "unlink", path=name)
        elif call.startswith("rename"):
            old, new = (inside(each.decode("utf-8", "surrogateescape")) for each in strings)
            if old is not None and new is not None:
                ends[new] = ends.pop(old, 0)
                yield Operation(kind="rename", path=old, other=new)
        elif call in ("writev", "pwritev", "link", "linkat", "fallocate", "truncate") and path is not None:
            raise AssertionError(f"the machinery does not know {call} on {path}")


@dataclass
class State:
    """What may be on the disk, and the markers that had been written before."""

    why: str
    files: dict[str, bytes]
    folders: set[str]
    markers: list[str]

    def write(self, folder: pathlib.Path) -> None:
        """Make the state in a folder."""
        for name in sorted(self.folders):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if "keys" in path.parts:
                path.chmod(0o600)


@dataclass
class _Disk:
    """Files by identity, so that a rename moves what is known about the bytes."""

    names: dict[str, int] = field(default_factory=dict)
    content: dict[int, bytearray] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"."})

    def create(self, path: str, number: int) -> None:
        self.names[path] = number
        self.content.setdefault(number, bytearray())

    def apply_name(self, operation: Operation, number: int | None) -> None:
        match operation.kind:
            case "create":
                self.create(operation.path, number or 0)
            case "mkdir":
                self.folders.add(operation.path)
            case "unlink":
                self.names.pop(operation.path, None)
                self.folders.discard(operation.path)
            case "rename" if operation.path in self.names:
                self.names[operation.other] = self.names.pop(operation.path)

    def apply_data(self, operation: Operation, number: int) -> None:
        data = self.content.setdefault(number, bytearray())
        if operation.kind == "truncate":
            del data[operation.offset :]
            data.extend(bytes(operation.offset - len(data)))
        else:
            data.extend(bytes(max(0, operation.offset - len(data))))
            data[operation.offset : operation.offset + len(operation.data)] = operation.data


class Crashes:
    """Every state of a traced run that starts from the files of ``before``."""

    def __init__(self, before: dict[str, bytes], folders: set[str], operations: Sequence[Operation]) -> None:
        self._before, self._folders = before, folders
        self._operations = operations
        self._numbers = self._identify()

    def _identify(self) -> list[int | None]:
        """Give each data operation and creation the identity of the file that it had when it ran."""
        names = {path: number for number, path in enumerate(self._before)}
        following = len(names)
        numbers: list[int | None] = []
        for operation in self._operations:
            match operation.kind:
                case "create":
                    names[operation.path] = following
                    following += 1
                    numbers.append(names[operation.path])
                case "write" | "truncate" | "sync":
                    numbers.append(names.get(operation.path))
                case "rename":
                    names[operation.other] = names.pop(operation.path, -1)
                    numbers.append(None)
                case "unlink":
                    names.pop(operation.path, None)
                    numbers.append(None)
                case _:
                    numbers.append(None)
        return numbers

    def unsynced(self, end: int) -> tuple[list[int], list[int]]:
        """Return the data and the name operations before ``end`` that no sync covers."""
        data: list[int] = []
        names: list[int] = []
        for at, operation in enumerate(self._operations[:end]):
            if operation.kind in ("write", "truncate"):
                data.append(at)
            elif operation.kind in ("create", "mkdir", "rename", "unlink"):
                names.append(at)
            elif operation.kind == "sync":
                number = self._numbers[at]
                data = [each for each in data if self._numbers[each] != number or number is None]
                names = [
                    each for each in names if not self._in_folder(self._operations[each], operation.path)
                ]
        return data, names

    @staticmethod
    def _in_folder(operation: Operation, folder: str) -> bool:
        touched = [path for path in (operation.path, operation.other) if path]
        return all((os.path.dirname(path) or ".") == folder for path in touched)

    def state(self, end: int, lost: frozenset[int], why: str, torn: int | None = None) -> State:
        """Return the disk after the operations before ``end`` without those in ``lost``; ``torn`` kept half."""
        disk = _Disk(folders=set(self._folders) | {"."})
        for number, (path, data) in enumerate(self._before.items()):
            disk.create(path, number)
            disk.content[number] = bytearray(data)
        markers = []
        for at, operation in enumerate(self._operations[:end]):
            if operation.kind == "marker":
                markers.append(operation.path)
            elif at in lost or operation.kind == "sync":
                continue
            elif operation.kind in ("write", "truncate"):
                number = self._numbers[at]
                if number is not None:
                    half = Operation(
                        kind="write",
                        path=operation.path,
                        offset=operation.offset,
                        data=operation.data[: len(operation.data) // 2],
                    )
                    disk.apply_data(half if at == torn else operation, number)
            else:
                disk.apply_name(operation, self._numbers[at])
        files = {path: bytes(disk.content[number]) for path, number in disk.names.items()}
        return State(why=why, files=files, folders=disk.folders, markers=markers)

    def every(self, *, subsets: int, seed: int) -> Iterator[State]:
        """Yield every prefix, every single lost or torn unsynced write, and seeded subsets of them."""
        ends = [at for at in range(1, len(self._operations) + 1) if self._operations[at - 1].kind != "sync"]
        for end in ends:
            yield self.state(end, frozenset(), f"prefix {end}")
        barriers = [at for at, each in enumerate(self._operations) if each.kind == "sync"] + [
            len(self._operations)
        ]
        for end in barriers:
            data, names = self.unsynced(end)
            for at in data:
                yield self.state(end, frozenset((at,)), f"{self._say(at)} lost before {end}")
                yield self.state(end, frozenset(), f"{self._say(at)} torn before {end}", torn=at)
            for cut in range(len(names)):
                yield self.state(
                    end, frozenset(names[cut:]), f"names from {self._say(names[cut])} lost before {end}"
                )
        chance = random.Random(seed)
        for number in range(subsets):
            end = chance.choice(ends)
            data, names = self.unsynced(end)
            lost = {at for at in data if chance.random() < 0.5}
            cut = chance.randint(0, len(names))
            yield self.state(
                end, frozenset(lost | set(names[cut:])), f"subset {number} of seed {seed} before {end}"
            )

    def _say(self, at: int) -> str:
        operation = self._operations[at]
        return f"{operation.kind} {operation.path}@{operation.offset}"


def read_folder(folder: pathlib.Path) -> tuple[dict[str, bytes], set[str]]:
    """Return the files and folders below a folder, as a run starts from them."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }
    folders = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_dir()}
    return files, folders
