"""Compares the files of a revision with what a signature lists: whole files, shards, links, and what is ignored."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.bundle.statement import WHOLE_MODEL, Resource, SignedFiles
from ledger.event import escape_name
from ledger.manifest import Manifest, ManifestLink, escape_path
from ledger.verification.reading import Files

_ALWAYS_IGNORED = (".git", ".gitignore", ".gitattributes", ".github")
"""model-signing leaves these out by default, at the top level, whether or not the statement lists them."""
_MAX_LINKS = 40
"""Symbolic links that are followed for one file, as Linux does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The files that signatures are held against."""

    manifest: Manifest
    files: Files
    links: Mapping[str, str]
    present: frozenset[str]
    """Every path that a signature must list or ignore: all but the bundles themselves."""

    @classmethod
    def of(cls, manifest: Manifest, sound: set[str], files: Files) -> "Revision":
        """Look up once what every signature asks for."""
        return cls(
            manifest=manifest,
            files=files,
            links={item.path: item.link for item in manifest.items if isinstance(item, ManifestLink)},
            present=frozenset(item.path for item in manifest.items if item.path not in sound),
        )

    def is_empty(self, path: str) -> bool:
        """Whether a path is a file of no bytes."""
        return path in self.manifest.files and self.manifest.files[path].size == 0

    def resolve(self, path: str, *, follow: bool) -> str | None:
        """Return the regular file at ``path``; links count only if the signer allowed them and they stay inside."""
        for _ in range(_MAX_LINKS):
            if path in self.manifest.files:
                return path
            link = self.links.get(path) if follow else None
            if link is None or link.startswith("/"):
                return None
            path = os.path.normpath(os.path.join(os.path.dirname(path), link))
        return None


Why = tuple[str, str]
"""A reason code, and an example."""


def compare(signed: SignedFiles, revision: Revision) -> Iterator[Why]:
    """Yield a reason code and an example for each way in which the files differ from what was signed."""
    listed: dict[str, list[Resource]] = {}
    for resource in signed.resources:
        listed.setdefault(_in_manifest(resource.path), []).append(resource)
    unignored = _not_ignored(revision.present, signed.ignored_paths)
    if set(listed) == {WHOLE_MODEL}:
        if len(unignored) != 1:
            yield ("unsigned-file", f"{len(unignored)} files") if unignored else ("missing-file", WHOLE_MODEL)
            return
        listed = {next(iter(unignored)): listed[WHOLE_MODEL]}
    extra = unignored - listed.keys() - _unlisted_empty(signed, revision, unignored)
    if extra:
        yield "unsigned-file", _example(extra)
    targets = {path: revision.resolve(path, follow=signed.allow_symlinks) for path in listed}
    missing = {path for path, target in targets.items() if target is None}
    if missing:
        yield "missing-file", _example(missing)
    different = {
        path for path, target in targets.items() if target and _differs(target, listed[path], revision.files)
    }
    if different:
        yield "content-differs", _example(different)


def _example(paths: set[str]) -> str:
    """Name the first path, and how many more there are."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{escape_name(min(paths))}{more}"


def _unlisted_empty(signed: SignedFiles, revision: Revision, paths: set[str]) -> set[str]:
    """Return the empty files, where the signature is over shards: an empty file has none, so nobody can list it."""
    return {path for path in paths if revision.is_empty(path)} if signed.shards else set()


def remarks(signed: SignedFiles, revision: Revision) -> Iterator[Why]:
    """Yield what is to be said about files that are those signed."""
    unignored = _not_ignored(revision.present, signed.ignored_paths)
    empty = _unlisted_empty(signed, revision, unignored)
    if empty:
        yield "unlisted-empty-file", _example(empty)


def _in_manifest(name: str) -> str:
    """Return a statement's name as the manifest escapes it."""
    return name if name == WHOLE_MODEL else escape_path(name.encode())


def _not_ignored(paths: frozenset[str], ignored: Sequence[str]) -> set[str]:
    """Return the paths that are neither ignored nor below a path that is."""
    roots = {*_ALWAYS_IGNORED, *filter(None, map(_ignored_root, ignored))}
    return {path for path in paths if not _is_below(path, roots)}


def _ignored_root(path: str) -> str | None:
    """Return an ignored path in its plain form, or None where it is not one below the model.

    A path that is absolute or leads upwards ignores nothing, and neither does the model itself.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not parts:
        return None
    try:
        return _in_manifest("/".join(parts))
    except UnicodeEncodeError:  # half a surrogate pair: no path has that name
        return None


def _is_below(path: str, roots: set[str]) -> bool:
    if path in roots:
        return True
    end = path.find("/")
    while end != -1:
        if path[:end] in roots:
            return True
        end = path.find("/", end + 1)
    return False


def _differs(path: str, resources: Sequence[Resource], files: Files) -> bool:
    """Whether a file is not the one signed: the shards must cover it without gap or overlap, and all digests agree."""
    size = files.manifest.files[path].size
    position = 0
    for each in sorted(resources, key=lambda resource: resource.start or 0):
        end = size if each.end is None else each.end
        if (each.start or 0) != position or end > size:
            return True
        position = end
    return position != size or any(
        files.digest(path, each.hash_type, each.start, each.end) != each.digest for each in resources
    )
