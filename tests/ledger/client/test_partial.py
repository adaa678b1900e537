"""A part of a model: what is there must be as the manifest lists it, the rest is named as not checked."""

import hashlib
from dataclasses import replace

import pytest

from ledger.client.files import LINKED_CAUSE
from ledger.client.partial import PartialFiles, compare_partial
from ledger.client.verify import LogResult, ModelResult, check_proof
from ledger.event import ManifestRef, SignatureFact
from ledger.manifest import Manifest, ManifestFile, ManifestLink
from tests.world import NOW, World, make_event


def file(path, content="x"):
    return ManifestFile(path=path, sha256=hashlib.sha256(content.encode()).digest(), size=len(content))


LINK = ManifestLink(path="latest", link="weights/1")
WHOLE = Manifest.of(
    [file("config.json", "c"), file("weights/1", "one"), file("weights/2", "two"), LINK, file("a/1", "other")]
)


def event_of(manifest):
    event = make_event()
    reference = ManifestRef(sha256=manifest.sha256, content_sha256=bytes(32), files=5, bytes=1)
    return replace(event, manifest=reference)


def compare(*present, single=False, manifest=WHOLE, event=None):
    return compare_partial(
        PartialFiles(manifest=manifest, present=present, single=single), event or event_of(WHOLE)
    )


def test_a_special_file_is_refused_beside_files_that_match():
    files = PartialFiles(manifest=WHOLE, present=(file("weights/1", "one"),), special=("weights/pipe",))
    found = compare_partial(files, event_of(WHOLE))
    assert found.content_differs
    assert found.only_special
    assert found.failure.actual == "a special file: weights/pipe"


@pytest.mark.parametrize("single", [False, True])
def test_what_passes_for_a_signature_is_no_file_of_the_manifest_that_a_loader_may_read(single):
    """The hub saw it, because whoever uploads put it there, and no signature that it verified covers it."""
    added = file("a/config.json" if single else "config.json", "c")
    whole = Manifest.of([added, file("weights/1", "one")])
    there = file("config.json", "c")
    files = PartialFiles(manifest=whole, present=(there,), single=single, bundles=(there,))
    found = compare_partial(files, event_of(whole))
    assert found.content_differs
    assert found.failure.actual == f"a bundle that a loader may read as something else: {added.path}"
    assert compare_partial(replace(files, bundles=()), event_of(whole)).failure is None


def test_what_is_there_matches_and_the_rest_is_named():
    found = compare(file("weights/1", "one"), LINK)
    assert found.failure is None
    assert found.matching == ("weights/1", "latest")
    assert found.not_checked == ("a/1", "config.json", "weights/2")
    first, second = found.checks
    assert (first.step, first.passed) == ("files", True)
    assert first.against.startswith("2 of 5 in manifest sha256:")
    assert (second.step, second.passed) == ("files not here", None)
    assert second.against == "3 of 5, 9 bytes: a/1, config.json, weights/2"


def test_all_of_them_leave_nothing_unchecked():
    found = compare(*WHOLE.items)
    assert (found.not_checked, len(found.checks)) == ((), 1)


STORIES = {
    "other bytes": ([file("config.json", "C")], "other bytes in config.json"),
    "another size, same digest": (
        [replace(file("config.json", "c"), size=2)],
        "other bytes in config.json",
    ),
    "a file that nobody listed": (
        [file("config.json", "c"), file("evil.py")],
        "not in the manifest: evil.py",
    ),
    "listed bytes under another name": ([file("weights/3", "one")], "not in the manifest: weights/3"),
    "a file in the place of a link": ([file("latest", "one")], "other bytes in latest"),
    "a link in the place of a file": (
        [ManifestLink(path="config.json", link="/etc/passwd")],
        "a link in the place of config.json",
    ),
    "a link to elsewhere": ([replace(LINK, link="weights/2")], "other bytes in latest"),
    "several": (
        [file("config.json", "C"), *(file(f"x{n:02}") for n in range(12))],
        "other bytes in config.json; not in the manifest: "
        + ", ".join(f"x{n:02}" for n in range(10))
        + " and 2 more",
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_what_differs_or_should_not_be_there_is_refused(story):
    present, said = STORIES[story]
    found = compare(*present)
    assert found.content_differs
    assert not found.only_special
    assert (found.failure.expected, found.failure.actual) == ("files of the manifest, as it lists them", said)
    assert found.matching == ()


def test_links_in_the_place_of_files_need_a_real_copy():
    """A download cache's folder: every file is a link to a blob elsewhere."""
    cached = [ManifestLink(path=path, link="../../blobs/x") for path in ("config.json", "weights/1")]
    found = compare(*cached).failure
    assert found.actual == "a link in the place of config.json, weights/1"
    assert found.causes[0] == LINKED_CAUSE
    assert (
        found.next_step
        == "Copy the files themselves into an empty folder (cp -rL FOLDER COPY) and check the copy"
    )
    with_more = compare(*cached, file("evil.py")).failure
    assert with_more.actual == "a link in the place of config.json, weights/1; not in the manifest: evil.py"
    assert with_more.next_step.startswith("Download what you need of "), "a copy would not help"


def test_a_signature_that_the_manifest_lists_is_here_and_any_other_is_refused():
    """Found by its digest in the event; alone it is nothing to be loaded."""
    bundle = file("model.sig", "signature")
    manifest = Manifest.of([*WHOLE.items, bundle])
    fact = SignatureFact(bundle_sha256=bundle.sha256, outcome="UNKNOWN_KEY")
    event = replace(event_of(manifest), signatures=(fact,), outcome="UNKNOWN_KEY")
    found = compare(file("config.json", "c"), bundle, manifest=manifest, event=event)
    assert found.matching == ("config.json", "model.sig")
    assert found.not_checked == ("a/1", "latest", "weights/1", "weights/2")
    found = compare(bundle, manifest=manifest, event=event)
    assert (found.content_differs, found.matching) == (False, ())
    assert found.failure.expected == "at least one of the 6 files of the manifest"
    found = compare(
        file("config.json", "c"), replace(bundle, path="copy.sig"), manifest=manifest, event=event
    )
    assert (found.content_differs, found.failure.actual) == (True, "not in the manifest: copy.sig")


def test_a_link_of_the_manifest_that_leads_outside_is_named():
    out = ManifestLink(path="vocab", link="../vocab.txt")
    manifest = Manifest.of([*WHOLE.items, out])
    found = compare(file("config.json", "c"), LINK, out, manifest=manifest, event=event_of(manifest))
    assert [(each.step, each.passed, each.against) for each in found.checks[2:]] == [
        ("links outside", None, "vocab: what is there is not part of the model")
    ]
    assert len(compare(file("config.json", "c"), LINK).checks) == 2


@pytest.mark.parametrize(
    ("present", "path"),
    [(file("1", "one"), "weights/1"), (file("1", "other"), "a/1"), (file("config.json", "c"), "config.json")],
)
def test_one_file_is_found_under_its_name_in_any_folder(present, path):
    found = compare(present, single=True)
    assert found.matching == (path,)
    assert found.checks[0].against.startswith(f"{path} in manifest sha256:")
    assert len(found.not_checked) == 4


@pytest.mark.parametrize(
    ("present", "said"),
    [(file("1", "three"), "other bytes in a/1"), (file("9", "one"), "not in the manifest: 9")],
)
def test_one_file_with_other_bytes_or_another_name_is_refused(present, said):
    found = compare(present, single=True)
    assert (found.content_differs, found.failure.actual) == (True, said)


def test_the_manifest_must_be_the_one_that_the_event_names():
    other = Manifest.of([file("config.json", "evil")])
    found = compare(file("config.json", "evil"), manifest=other)
    assert not found.content_differs
    assert found.failure.expected == f"sha256:{WHOLE.sha256.hex()}, which the event names"
    assert found.failure.actual == f"sha256:{other.sha256.hex()}"


def test_nothing_there_is_nothing_checked():
    found = compare()
    assert (found.content_differs, found.matching) == (False, ())
    assert found.failure.expected == "at least one of the 5 files of the manifest"


def test_names_that_collide_elsewhere_are_told():
    manifest = Manifest.of([file("Readme.md"), file("README.md"), file("c:evil")])
    found = compare(*manifest.items, manifest=manifest, event=event_of(manifest))
    assert found.checks[-1].step == "names on other systems"
    assert "Readme.md is the same file as README.md" in found.checks[-1].against
    assert "c:evil leads elsewhere on Windows" in found.checks[-1].against


@pytest.mark.parametrize(
    ("present", "model", "satisfied"),
    [
        ((file("weights/1", "one"),), ModelResult.NOT_ACCEPTED, False),
        ((file("weights/1", "two"),), ModelResult.CONTENT_DIFFERS, False),
        ((), ModelResult.NOT_CHECKED, False),
    ],
)
def test_a_partial_check_is_a_check_like_any_other(present, model, satisfied):
    """The event is unsigned, so the best that it can be is not accepted."""
    world = World()
    index = world.record(event_of(WHOLE))
    files = PartialFiles(manifest=WHOLE, present=present)
    result = check_proof(world.proof(index), trust=world.trust(), now=NOW, files=files)
    assert (result.log, result.model, result.satisfied) == (LogResult.INCLUDED_ONLY, model, satisfied)
    assert result.failure.next_step.startswith("Do not load" if present else "Name the folder")
    assert (len(result.not_checked) == 4) == (model is ModelResult.NOT_ACCEPTED)
