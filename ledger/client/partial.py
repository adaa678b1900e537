"""A part of a model against the manifest of the whole: what is there, what is not, what should not be. Pure.

The event names the manifest by its digest, so a manifest from anywhere will do. Files that are not here are not checked
and said so; a file that the manifest does not list is refused, also a signature, because a loader might read it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ledger.client.files import (
    LINKED_CAUSE,
    REAL_COPY,
    SPECIAL_CAUSE,
    links_outside,
    misnamed,
    not_a_signature,
    outside_row,
    special_files,
)
from ledger.client.result import MAX_NAMED, Check, Failure, name_some
from ledger.event import VerificationEvent
from ledger.manifest import Item, Manifest, ManifestFile, ManifestLink, portability_problems

PARTIAL_STEP = "files"
LEFT_OUT_STEP = "files not here"
NAMES_STEP = "names on other systems"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialFiles:
    """The manifest of a revision, and every file that is at hand, signatures and git's own files among them.

    ``single``: one file was named by itself, so its folder is not known; it may be any file of that name.
    ``special``: pipes, sockets and devices among them, which are no items. ``bundles``: those that are signature bundles.
    """

    manifest: Manifest
    present: tuple[Item, ...]
    single: bool = False
    special: tuple[str, ...] = ()
    bundles: tuple[ManifestFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came out. ``failure`` None and no ``matching``: nothing was there to be checked.

    ``only_special``: the files are those of the manifest, and a special file is beside them.
    """

    matching: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    failure: Failure | None = None
    content_differs: bool = False
    only_special: bool = False


def compare_partial(files: PartialFiles, event: VerificationEvent) -> Comparison:
    """Compare what is at hand with the manifest that the event names."""
    if files.manifest.sha256 != event.manifest.sha256:
        return Comparison(failure=_other_manifest(files.manifest, event))
    listed = {item.path: item for item in files.manifest.items}
    places = _single_place(files, listed) if files.single else {item.path: item for item in files.present}
    extra = [path for path in places if path not in listed]
    differing = [path for path, item in places.items() if path in listed and listed[path] != item]
    if extra or differing or files.special:
        linked = [path for path in differing if _is_link_for_file(places[path], listed[path])]
        return Comparison(
            failure=_differs(extra, differing, linked, files.special, event),
            content_differs=True,
            only_special=not (extra or differing),
        )
    digests = {each.sha256 for each in files.bundles}
    bundles = [replace(each, path=at) for at, each in places.items() if isinstance(each, ManifestFile)]
    if found := misnamed([each for each in bundles if each.sha256 in digests], event):
        return Comparison(failure=not_a_signature(found, event), content_differs=True)
    if not _content_paths(files.manifest, event) & places.keys():
        return Comparison(failure=_nothing_here(files))
    left = tuple(path for path in listed if path not in places)
    return Comparison(
        matching=tuple(places), not_checked=left, checks=tuple(_checks(files, tuple(places), left, listed))
    )


def _is_link_for_file(item: Item, listed: Item) -> bool:
    return isinstance(item, ManifestLink) and isinstance(listed, ManifestFile)


def _content_paths(manifest: Manifest, event: VerificationEvent) -> set[str]:
    """Return what is there to be loaded: not the signatures that the event names, not git's own files."""
    signatures = {each.bundle_sha256 for each in event.signatures}
    bundles = {path for path, item in manifest.files.items() if item.sha256 in signatures}
    return {item.path for item in manifest.content(bundles).items}


def _single_place(files: PartialFiles, listed: dict[str, Item]) -> dict[str, Item]:
    """Return the file at the path where the manifest has its bytes under its name, else where it has the name."""
    (item,) = files.present or (None,)
    if not isinstance(item, ManifestFile):
        return {}
    same_name = [path for path in listed if path.rpartition("/")[2] == item.path]
    for path in same_name:
        other = listed[path]
        if isinstance(other, ManifestFile) and (other.sha256, other.size) == (item.sha256, item.size):
            return {path: other}
    return {(same_name or [item.path])[0]: item}


def _checks(
    files: PartialFiles, matching: tuple[str, ...], left: tuple[str, ...], listed: dict[str, Item]
) -> Iterable[Check]:
    whole = f"manifest sha256:{files.manifest.sha256.hex()[:16]}…"
    what = name_some(matching) if files.single else f"{len(matching)} of {len(listed)}"
    yield Check(step=PARTIAL_STEP, passed=True, against=f"{what} in {whole}")
    if left:
        sizes = (item.size for item in (listed[path] for path in left) if isinstance(item, ManifestFile))
        yield Check(
            step=LEFT_OUT_STEP,
            passed=None,
            against=f"{len(left)} of {len(listed)}, {sum(sizes)} bytes: {name_some(left)}",
        )
    yield from outside_row(links_outside(listed[path] for path in matching))
    if problems := list(portability_problems(matching)):
        yield Check(step=NAMES_STEP, passed=None, against="; ".join(problems[:MAX_NAMED]))


def _other_manifest(manifest: Manifest, event: VerificationEvent) -> Failure:
    return Failure(
        step="manifest",
        expected=f"sha256:{event.manifest.sha256.hex()}, which the event names",
        actual=f"sha256:{manifest.sha256.hex()}",
        causes=("the manifest is of another revision", "the manifest was changed"),
        next_step="Take the manifest of this event: `hubledger evidence export` writes it, and it needs no trust",
    )


def _differs(
    extra: list[str],
    differing: list[str],
    linked: list[str],
    special: tuple[str, ...],
    event: VerificationEvent,
) -> Failure:
    other = [path for path in differing if path not in linked]
    found = [f"a link in the place of {name_some(linked)}"] if linked else []
    found += [f"other bytes in {name_some(other)}"] if other else []
    found += [f"not in the manifest: {name_some(extra)}"] if extra else []
    found += [special_files(special)] if special else []
    again = f"Download what you need of {event.model.name} at {event.model.revision} into an empty folder and check it"
    return Failure(
        step=PARTIAL_STEP,
        expected="files of the manifest, as it lists them",
        actual="; ".join(found),
        causes=(
            *((LINKED_CAUSE,) if linked else ()),
            *((SPECIAL_CAUSE,) if special else ()),
            "a download was interrupted",
            "files of another revision are in the same folder",
            "a file was changed or added after the hub saw it",
        ),
        next_step=REAL_COPY if linked and not (other or extra or special) else again,
    )


def _nothing_here(files: PartialFiles) -> Failure:
    return Failure(
        step=PARTIAL_STEP,
        expected=f"at least one of the {len(files.manifest.items)} files of the manifest",
        actual="none",
        causes=("the folder is empty, or holds signatures only",),
        next_step="Name the folder or the file that was downloaded",
    )
