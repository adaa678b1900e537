"""Bends every value of a Sigstore bundle, also inside the log entry's body and the checkpoint's text.

A mutation is (its name, the bent bundle). A name is the path of what was bent, and how: ``…/treeSize +1``.
"""

import base64
import copy
import json

BODY = ("verificationMaterial", "tlogEntries", 0, "canonicalizedBody")
NOTE = ("verificationMaterial", "tlogEntries", 0, "inclusionProof", "checkpoint", "envelope")


def mutations(bundle, other, *, bits=16):
    """Yield every mutation; of an entry that is promised and not proven, none of a checkpoint. ``other`` is another bundle, whose values are put in place of these."""
    yield from _of_tree(bundle, other, bits, ())
    body = json.loads(base64.b64decode(_get(bundle, BODY)))
    other_body = json.loads(base64.b64decode(_get(other, BODY)))
    for name, bent in _of_tree(body, other_body, bits, ("body",)):
        raw = json.dumps(bent, sort_keys=True, separators=(",", ":")).encode()
        yield name, _with(bundle, BODY, base64.b64encode(raw).decode())
    if "inclusionProof" in _get(bundle, NOTE[:3]):
        for name, note in _of_note(_get(bundle, NOTE), _get(other, NOTE)):
            yield f"note/{name}", _with(bundle, NOTE, note)


def _get(value, path):
    for step in path:
        value = value[step]
    return value


def _with(value, path, new):
    bent = copy.deepcopy(value)
    _get(bent, path[:-1])[path[-1]] = new
    return bent


def _without(value, path):
    bent = copy.deepcopy(value)
    del _get(bent, path[:-1])[path[-1]]
    return bent


def _paths(value, path=()):
    """Every path to a value, containers too."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from _paths(child, (*path, key))


def _of_tree(tree, other, bits, prefix):
    for path in _paths(tree):
        name = "/".join(map(str, (*prefix, *path)))
        value = _get(tree, path)
        yield f"{name} removed", _without(tree, path)
        if isinstance(path[-1], int):
            bent = copy.deepcopy(tree)
            _get(bent, path[:-1]).insert(path[-1], copy.deepcopy(value))
            yield f"{name} twice", bent
        try:
            foreign = _get(other, path)
        except (KeyError, IndexError, TypeError):
            foreign = value
        if foreign != value:
            yield f"{name} swapped", _with(tree, path, copy.deepcopy(foreign))
        if not isinstance(value, (dict, list)):
            for how, new in _of_leaf(value, bits):
                yield f"{name} {how}", _with(tree, path, new)


def _of_leaf(value, bits):
    if isinstance(value, int):
        yield from (("+1", value + 1), ("-1", value - 1))
        return
    if value.isdecimal():
        yield from (("+1", str(int(value) + 1)), ("-1", str(int(value) - 1)), ("padded", f"0{value}"))
        return
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        raw = b""
    for at in sorted({len(raw) * step // bits for step in range(bits)}) if raw else ():
        bent = bytearray(raw)
        bent[at] ^= 1 << at % 8
        yield f"bit {at}", base64.b64encode(bent).decode()
    # Text of several lines is bent line by line.
    for at in sorted({0, len(value) // 2, len(value) - 1}) if value and "\n" not in value else ():
        yield f"character {at}", value[:at] + ("B" if value[at] != "B" else "C") + value[at + 1 :]
    yield "with a space", value + " "


def _of_note(note, other):
    """Bend the text of a checkpoint line by line; the lines after the blank one are signatures."""
    lines = note.split("\n")
    blank = lines.index("")
    for number, line in enumerate(lines):
        kind = "text" if number < blank else "signature" if line else "blank"
        name = f"{kind} {number if number < blank else number - blank - 1}"
        yield f"{name} removed", "\n".join([*lines[:number], *lines[number + 1 :]])
        yield f"{name} twice", "\n".join([*lines[:number], line, *lines[number:]])
        for at in sorted({0, len(line) // 3, len(line) // 2, len(line) - 1}) if line else ():
            bent = line[:at] + ("1" if line[at] != "1" else "2") + line[at + 1 :]
            yield f"{name} character {at}", "\n".join([*lines[:number], bent, *lines[number + 1 :]])
    if other != note:
        yield "with the text of another", "\n".join([*other.split("\n")[:3], *lines[3:]])
        yield "with the signatures of another", "\n".join([*lines[:blank], *other.split("\n")[3:]])
    yield "with an extension line", "\n".join([*lines[:blank], "Timestamp: 1", *lines[blank:]])
    yield "with a signature by a stranger", note + "— witness.example O8PH5AAAAABopO8+\n"
