"""The whole of a model against the event: the same files, or the same content beside other signatures. Pure.

What the digests do not cover is said in rows of its own: signature files that the hub did not see, and what links that
lead out of the folder lead to.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping

from ledger.client.differing import NOT_OURS, Differing, find_differing
from ledger.client.result import Check, Failure, LocalFiles, count, name_some
from ledger.event import VerificationEvent, escape_name
from ledger.manifest import Item, ManifestFile, ManifestLink

FILES_STEP = "files"
UNSEEN_STEP = "unseen signatures"
OUTSIDE_STEP = "links outside"
_SIGNATURE_NAME = re.compile(r"\.(sig|sigstore|bundle|intoto|dsse)(\.jsonl?)?\Z")
"""What signatures are called, and nothing that a loader reads."""
_MAX_LINKS = 40
"""Symbolic links that are followed for one path, as Linux does."""

LINKED_CAUSE = "the files here are links, as a download cache makes them; links are never followed"
SPECIAL_CAUSE = (
    "a pipe, a socket or a device was put among the files: what a loader reads from it, nobody signed"
)
REAL_COPY = "Copy the files themselves into an empty folder (cp -rL FOLDER COPY) and check the copy"


def compare_whole(files: LocalFiles, event: VerificationEvent) -> Iterator[Check | Failure]:
    """Yield what was found: steps that hold or were skipped, or the one failure."""
    same = event.manifest.content_sha256 == files.content_sha256
    if files.special and (same or files.manifest_sha256 == event.manifest.sha256):
        yield _special(files.special, event)
        return
    listed = files.manifest_sha256 == event.manifest.sha256
    if (same or listed) and (named_otherwise := misnamed(files.bundles, event)):
        yield not_a_signature(named_otherwise, event)
        return
    if listed:
        digest = event.manifest.sha256.hex()[:16]
        yield _passed(f"manifest sha256:{digest}…, {count(event.manifest.files, 'file')}")
    elif same:
        digest = event.manifest.content_sha256.hex()[:16]
        yield _passed(f"content sha256:{digest}… (signatures and git files differ)")
        yield from _unseen(files, event)
    else:
        yield _other_content(files, event)
        return
    yield from outside_row(files.outside)


def _passed(against: str) -> Check:
    return Check(step=FILES_STEP, passed=True, against=against)


def misnamed(bundles: Iterable[ManifestFile], event: VerificationEvent) -> list[str]:
    """Return those of the bundles that have a name which a loader may read, where the hub did not verify them.

    The content digest leaves out every file that parses as a bundle, and anybody can make one with a sentence of their own in it. Called
    ``chat_template.jinja`` it would be what a model is asked, in the place of what its user says. Whoever uploads can let the hub see
    it, too, beside a signature of somebody else.
    """
    recorded = {
        (each.bundle_sha256, each.location) for each in event.signatures if each.outcome == "VERIFIED"
    }
    return [
        each.path
        for each in bundles
        if not _SIGNATURE_NAME.search(each.path) and (each.sha256, escape_name(each.path)) not in recorded
    ]


def not_a_signature(paths: Iterable[str], event: VerificationEvent) -> Failure:
    """Return the failure of what is ``misnamed``."""
    return Failure(
        step=FILES_STEP,
        expected="signatures that the hub verified there, or under a name of signatures (*.sig, *.sigstore.json, *.bundle)",
        actual=f"a bundle that a loader may read as something else: {name_some(paths)}",
        causes=(
            "somebody added a file that passes for a signature",
            "a signature was made after the hub saw the model, and is named as other files are",
        ),
        next_step=_again(event),
    )


def _unseen(files: LocalFiles, event: VerificationEvent) -> Iterator[Check]:
    """Name the bundles that the event does not: by digest, because their names do not matter."""
    seen = {each.bundle_sha256 for each in event.signatures}
    unseen = [each.path for each in files.bundles if each.sha256 not in seen]
    if unseen:
        yield Check(
            step=UNSEEN_STEP,
            passed=None,
            against=f"{name_some(unseen)}: not seen by the hub; the event says nothing of them",
        )


def outside_row(paths: Iterable[str]) -> Iterator[Check]:
    """Name links whose target is not in the folder: where they point is covered, what is there is not."""
    named = list(paths)
    if named:
        yield Check(
            step=OUTSIDE_STEP,
            passed=None,
            against=f"{name_some(named)}: what is there is not part of the model",
        )


def special_files(paths: Iterable[str]) -> str:
    """Name special files in a sentence about what was found."""
    return f"a special file: {name_some(paths)}"


def _again(event: VerificationEvent) -> str:
    return f"Download {event.model.name} at {event.model.revision} again into an empty folder and check it"


def _special(paths: Iterable[str], event: VerificationEvent) -> Failure:
    """Refuse what no digest covers: a loader would open it all the same."""
    return Failure(
        step=FILES_STEP,
        expected="files, folders and links alone",
        actual=special_files(paths),
        causes=(SPECIAL_CAUSE, "a program that runs in the folder keeps a socket or a pipe there"),
        next_step=_again(event),
    )


def _other_content(files: LocalFiles, event: VerificationEvent) -> Failure:
    linked = f"; links that lead out of the folder: {name_some(files.outside)}" if files.outside else ""
    found = find_differing(files, event)
    special = f"; {special_files(files.special)}" if files.special else ""
    causes, next_step = _why(found, event)
    return Failure(
        step=FILES_STEP,
        expected=f"content sha256:{event.manifest.content_sha256.hex()}",
        actual=f"sha256:{files.content_sha256.hex()}{found}{linked}{special}",
        causes=(
            *((LINKED_CAUSE,) if linked else ()),
            *((SPECIAL_CAUSE,) if special else ()),
            *causes,
        ),
        next_step=REAL_COPY if linked and not special else next_step,
    )


def _why(found: Differing, event: VerificationEvent) -> tuple[tuple[str, ...], str]:
    """Return likely causes and what to do, by what is known of the files."""
    again = f"ownload {event.model.name} at {event.model.revision} again into an empty folder and check it"
    out = "Move what is not the model's out of the folder, and check it again"
    if found.only_additional:
        return (NOT_OURS,), out
    causes = (
        "another revision was downloaded",
        "the download is incomplete",
        "a file was changed after the hub saw it",
    )
    if found.guessed:
        return (NOT_OURS, *causes), f"{out}; if it differs still, d{again}"
    if found.changed or found.missing:
        return causes, f"D{again}"
    return (*causes, NOT_OURS), f"D{again}"


def links_outside(items: Iterable[Item]) -> tuple[str, ...]:
    """Return the paths of the links that lead out of the folder, also by way of another link."""
    links = {item.path: item.link for item in items if isinstance(item, ManifestLink)}
    return tuple(path for path in links if _leaves(path, links))


def _leaves(path: str, links: Mapping[str, str]) -> bool:
    """Whether a path, with links followed part by part, is outside. A circle of links leads nowhere."""
    pending, done = path.split("/")[::-1], ""
    followed = 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                return True
            done = posixpath.dirname(done)
            continue
        place = posixpath.join(done, part)
        link = links.get(place)
        if link is None:
            done = place
            continue
        followed += 1
        if link.startswith("/"):
            return True
        if followed > _MAX_LINKS:
            return False
        pending += link.split("/")[::-1]
    return False
