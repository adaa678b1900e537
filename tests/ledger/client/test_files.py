"""The whole of a model: what its digests do not cover is said, and a folder of links is told from other files."""

from dataclasses import replace

import pytest

from ledger.client.files import links_outside
from ledger.client.verify import LocalFiles, ModelResult, check_proof
from ledger.manifest import ManifestFile, ManifestLink
from tests.world import NOW, World, digest, make_event, signed_by, sigstore_signer

EVENT = make_event(signed_by(sigstore_signer()))
UNSEEN = "unseen signatures"
OUTSIDE = "links outside"


def check(*, manifest="other", content="content files", **more):
    world = World()
    proof = world.proof(world.record(EVENT))
    files = LocalFiles(manifest_sha256=digest(manifest), content_sha256=digest(content), **more)
    return check_proof(proof, trust=world.trust(), now=NOW, files=files)


def rows(result, step):
    return [(each.passed, each.against) for each in result.checks if each.step == step]


def bundle(path, sha256):
    return ManifestFile(path=path, sha256=sha256, size=1)


def test_a_signature_that_the_event_does_not_name_has_a_row_of_its_own():
    """By digest: a signature of the event is known under any name."""
    seen = bundle("moved.sig", EVENT.signatures[0].bundle_sha256)
    result = check(bundles=(bundle("b.sigstore.json", digest("b")), seen, bundle("a.sig", digest("a"))))
    assert result.model is ModelResult.ACCEPTED
    assert rows(result, UNSEEN) == [
        (None, "b.sigstore.json, a.sig: not seen by the hub; the event says nothing of them")
    ]
    assert UNSEEN in [each.step for each in result.skipped]
    assert rows(check(bundles=(seen,)), UNSEEN) == []


@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "generation_config.json", "sig", "a.sig/x.txt", "x.sig\n"]
)
@pytest.mark.parametrize(
    "sha256", [digest("added"), EVENT.signatures[0].bundle_sha256], ids=["added", "copied"]
)
def test_what_passes_for_a_signature_has_no_name_that_a_loader_reads(name, sha256):
    """The content digest says nothing of it, and it can have any sentence in it; also a copy of a signature is no template."""
    result = check(bundles=(bundle(name, sha256),))
    assert (result.model, result.satisfied) == (ModelResult.CONTENT_DIFFERS, False)
    assert result.failure.actual == f"a bundle that a loader may read as something else: {name}"
    assert rows(result, UNSEEN) == []


@pytest.mark.parametrize("manifest", ["other", "manifest files"])
@pytest.mark.parametrize(
    ("outcome", "model"),
    [("VERIFIED", ModelResult.ACCEPTED), ("UNKNOWN_KEY", ModelResult.CONTENT_DIFFERS)],
)
def test_a_signature_may_have_any_name_under_which_the_hub_verified_it(outcome, model, manifest):
    """Who uploads without a key can add what passes for a signature, too: that the hub saw it there is not enough."""
    there = replace(
        signed_by(sigstore_signer()),
        location="signature.json",
        outcome=outcome,
        **(
            {}
            if outcome == "VERIFIED"
            else {"signer": None, "upstream_log": None, "bundle_sha256": digest("other")}
        ),
    )
    event = make_event(signed_by(sigstore_signer()), there)
    world = World()
    files = LocalFiles(
        manifest_sha256=digest(manifest),
        content_sha256=digest("content files"),
        bundles=(bundle("signature.json", there.bundle_sha256),),
    )
    proof = world.proof(world.record(event))
    assert check_proof(proof, trust=world.trust(), now=NOW, files=files).model is model


def test_what_the_whole_manifest_covers_needs_no_row():
    result = check(manifest="manifest files", bundles=(bundle("a.sig", digest("a")),))
    assert (result.model, rows(result, UNSEEN)) == (ModelResult.ACCEPTED, [])


@pytest.mark.parametrize("manifest", ["manifest files", "other"])
def test_links_that_lead_outside_are_named(manifest):
    result = check(manifest=manifest, outside=("vocab", "data/x"))
    assert result.model is ModelResult.ACCEPTED
    assert rows(result, OUTSIDE) == [(None, "vocab, data/x: what is there is not part of the model")]


@pytest.mark.parametrize("manifest", ["manifest files", "other"])
def test_special_files_beside_the_right_ones_are_refused_by_name(manifest):
    """No digest covers them, and a loader that opens all files would read from them."""
    result = check(manifest=manifest, special=("code/pipe", "socket"))
    assert (result.model, result.satisfied) == (ModelResult.CONTENT_DIFFERS, False)
    assert result.failure.expected == "files, folders and links alone"
    assert result.failure.actual == "a special file: code/pipe, socket"
    assert result.failure.next_step.endswith(" again into an empty folder and check it")


def test_special_files_beside_wrong_ones_are_named_too():
    result = check(content="other", special=("pipe",), outside=("weights",))
    assert result.model is ModelResult.CONTENT_DIFFERS
    assert result.failure.actual.endswith(
        "; links that lead out of the folder: weights; a special file: pipe"
    )
    assert "cp -rL" not in result.failure.next_step, "which would wait for the pipe"


def test_a_folder_of_links_needs_a_real_copy():
    result = check(content="links", outside=("config.json", "weights"))
    assert result.model is ModelResult.CONTENT_DIFFERS
    failure = result.failure
    assert failure.actual.endswith("; links that lead out of the folder: config.json, weights")
    assert failure.causes[0] == (
        "the files here are links, as a download cache makes them; links are never followed"
    )
    assert failure.next_step == (
        "Copy the files themselves into an empty folder (cp -rL FOLDER COPY) and check the copy"
    )
    plain = check(content="changed").failure
    assert "links" not in plain.actual + plain.causes[0] + plain.next_step


LINKS = {
    "absolute": ({"a": "/etc/passwd"}, ["a"]),
    "upwards": ({"a": "../x", "d/b": "../../x"}, ["a", "d/b"]),
    "upwards and in again": ({"a": "../model/x"}, ["a"]),
    "inside": ({"a": "x", "d/b": "../x", "d/c": "./e/../f", "d/d": ".."}, []),
    "nowhere": ({"a": "missing"}, []),
    "by way of another": ({"a": "b", "b": "/x", "c": "d/y", "d": "../z"}, ["a", "b", "c", "d"]),
    "up through a link": ({"a": "d/e/up/../../../x", "d/e/up": "."}, ["a"]),
    "a link to a folder is followed before what comes after": ({"a": "d/../x", "d": "e/f/g"}, []),
    "a circle": ({"a": "b", "b": "a", "c": "c"}, []),
}


@pytest.mark.parametrize("name", LINKS)
def test_where_a_link_leads(name):
    links, outside = LINKS[name]
    items = [ManifestLink(path=path, link=link) for path, link in links.items()]
    assert sorted(links_outside([*items, bundle("x", digest("x"))])) == outside
