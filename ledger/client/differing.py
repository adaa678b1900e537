"""Which files are not those of an event, by name: for whoever must find out why a check said CONTENT_DIFFERS. Pure.

The names are of help where the manifest that the event names is at hand; without it, files that downloaders leave behind are guessed by
their names. Neither decides anything: the digests do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.client.result import LocalFiles
from ledger.event import VerificationEvent
from ledger.manifest import Item

_MAX_NAMED = 3
"""Paths of each kind: enough to see what it is, few enough for one sentence."""
NOT_OURS = "a file that is not the model's, such as .cache of hf download --local-dir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """Paths of content that differ, that are missing here, and that are here in addition. ``guessed``: they only look additional."""

    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()

    def __str__(self) -> str:
        kinds = {
            "other bytes": self.changed,
            "missing": self.missing,
            "not the model's": self.additional,
            "perhaps not the model's": self.guessed,
        }
        return "".join(f"; {what}: {_some(paths)}" for what, paths in kinds.items() if paths)

    @property
    def only_additional(self) -> bool:
        """Whether the model itself is whole, and something lies beside it."""
        return bool(self.additional) and not self.changed and not self.missing


def find_differing(files: LocalFiles, event: VerificationEvent) -> Differing:
    """Compare by path with the manifest that the event names, if that is at hand; else guess what is not the model's."""
    if files.listed is None or files.listed.sha256 != event.manifest.sha256:
        return Differing(guessed=tuple(each.path for each in files.items if _is_hidden(each.path)))
    signatures = {each.bundle_sha256 for each in event.signatures}
    bundles = {path for path, item in files.listed.files.items() if item.sha256 in signatures}
    listed, here = _by_path(files.listed.content(bundles).items), _by_path(files.items)
    return Differing(
        changed=tuple(path for path in listed if path in here and here[path] != listed[path]),
        missing=tuple(path for path in listed if path not in here),
        additional=tuple(path for path in here if path not in listed),
    )


def _by_path(items: Iterable[Item]) -> dict[str, Item]:
    return {each.path: each for each in items}


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _MAX_NAMED} more" if len(paths) > _MAX_NAMED else ""
    return ", ".join(paths[:_MAX_NAMED]) + more
