"""Manifests: every path once, in the order of its bytes, escaped so that it reads back; what is content and what not."""

import hashlib
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import format_canonical_json
from ledger.errors import LedgerError, LimitError, MalformedError
from ledger.manifest import (
    MAX_PATH_BYTES,
    Manifest,
    ManifestFile,
    ManifestLink,
    check_path,
    escape_path,
    parse_manifest,
)

part = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda text: text not in (".", ".."))
paths = st.lists(part, min_size=1, max_size=3).map("/".join)


def file(path, data=b"data"):
    return ManifestFile(path=path, sha256=hashlib.sha256(data).digest(), size=len(data))


def link(path, target="weights"):
    return ManifestLink(path=path, link=target)


items = st.lists(st.one_of(st.builds(file, paths, st.binary(max_size=4)), st.builds(link, paths)), max_size=8)


def distinct(items):
    return list({item.path: item for item in items}.values())


# Paths


@given(raw=st.binary(max_size=60))
def test_an_escaped_path_reads_back_and_is_text(raw):
    """Two rules only: ``%`` and what is not UTF-8. Any percent-decoder gives the bytes again."""
    escaped = escape_path(raw)
    escaped.encode()
    assert urllib.parse.unquote_to_bytes(escaped) == raw


@given(raw=st.binary(max_size=60))
def test_an_escaped_path_is_that_of_the_rule_byte_by_byte(raw):
    expected, rest = "", raw
    while rest:
        for length in (1, 2, 3, 4):
            try:
                char = rest[:length].decode()
            except UnicodeDecodeError:
                continue
            if len(char) == 1:
                expected += "%25" if char == "%" else char
                rest = rest[length:]
                break
        else:
            expected += f"%{rest[0]:02X}"
            rest = rest[1:]
    assert escape_path(raw) == expected


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        (b"weights.bin", "weights.bin"),
        (b"100%", "100%25"),
        ("modèle".encode(), "modèle"),
        ("mode\u0300le".encode(), "mode\u0300le"),
        (b"\xff", "%FF"),
        (b"\xed\xa0\x80", "%ED%A0%80"),
        (b"a b\n", "a b\n"),
    ],
)
def test_paths_are_not_normalised(raw, escaped):
    assert escape_path(raw) == escaped


@given(path=paths)
def test_a_path_inside_its_tree_is_taken_as_it_is(path):
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "./a",
        "a/.",
        "a/../b",
        "../a",
        "a/..",
        "a\0b",
        "a/\0",
        "x" * 65_536,
    ],
)
def test_a_path_that_leaves_its_tree_or_names_nothing_is_refused(path):
    with pytest.raises(MalformedError, match="path: expected a relative path"):
        check_path(path)


@pytest.mark.parametrize(
    "path", ["...", "a/..b", ".git", "a\\..\\b", "C:", "~", "%2e%2e/a", "é" * (MAX_PATH_BYTES // 2)]
)
def test_what_only_looks_like_one_is_a_name_like_any_other(path):
    assert check_path(path) == path


# Order


@given(found=items)
def test_the_order_of_the_disk_does_not_matter(found):
    listed = distinct(found)
    manifest = Manifest.of(listed)
    assert manifest == Manifest.of(reversed(listed))
    assert [item.path.encode() for item in manifest.items] == sorted(item.path.encode() for item in listed)


def test_the_order_is_that_of_bytes_and_not_of_utf_16_or_of_folders():
    """U+FFFF is before U+10000 in UTF-8 and after it in UTF-16; ``a-b`` is before ``a/b``."""
    paths = ["a", "a-b", "a/b", "aa", "\uffff", "\U00010000"]
    assert [item.path for item in Manifest.of([file(path) for path in reversed(paths)]).items] == paths


@pytest.mark.parametrize(
    "listed", [["b", "a"], ["a", "a"], ["\U00010000", "\uffff"], ["a", "c", "b"], ["a", "b", "b", "c"]]
)
def test_another_order_or_a_path_twice_is_refused(listed):
    with pytest.raises(MalformedError, match="manifest: expected distinct paths in the order of their bytes"):
        Manifest(tuple(file(path) for path in listed))


def test_a_file_and_a_link_cannot_share_a_path():
    with pytest.raises(MalformedError, match="got a before a"):
        Manifest.of([file("a"), link("a")])


# Bytes


@given(found=items)
def test_a_manifest_reads_back_and_has_the_digest_of_its_bytes(found):
    manifest = Manifest.of(distinct(found))
    assert parse_manifest(manifest.data) == manifest
    assert manifest.sha256 == hashlib.sha256(manifest.data).digest()
    listed = [
        {"path": item.path, "link": item.link}
        if isinstance(item, ManifestLink)
        else {"path": item.path, "sha256": item.sha256.hex(), "size": item.size}
        for item in manifest.items
    ]
    assert manifest.data == format_canonical_json(listed)
    assert manifest.total_bytes == sum(item["size"] for item in listed if "size" in item)
    assert set(manifest.files) == {item["path"] for item in listed if "size" in item}


GOOD = {"path": "a", "sha256": "0" * 64, "size": 1}


@pytest.mark.parametrize(
    "item",
    [
        GOOD | {"path": "../a"},
        GOOD | {"path": 7},
        GOOD | {"sha256": "A" * 64},
        GOOD | {"sha256": "0" * 62},
        GOOD | {"size": -1},
        GOOD | {"size": "1"},
        GOOD | {"size": None},
        GOOD | {"mode": 0o644},
        GOOD | {"link": "b"},
        {"path": "a", "sha256": "0" * 64},
        {"path": "a", "link": 7},
        {"path": "/a", "link": "b"},
        {"link": "b"},
        "a",
        [],
    ],
    ids=str,
)
def test_an_item_of_another_form_is_refused(item):
    with pytest.raises(MalformedError):
        parse_manifest(format_canonical_json([item]))


@pytest.mark.parametrize("size", [True, False])
def test_truth_is_no_size(size):
    with pytest.raises(MalformedError, match="item of a manifest"):
        parse_manifest(format_canonical_json([GOOD | {"size": size}]))


def test_a_manifest_has_a_limit_and_one_form():
    data = Manifest.of([file("a"), file("b")]).data
    with pytest.raises(LimitError, match=r"manifest: expected at most 10 bytes, got \d+ bytes"):
        parse_manifest(data, max_bytes=10)
    for other in (b" " + data, data + b"\n", data.replace(b",", b", ", 1), data[:-1]):
        with pytest.raises(LedgerError):
            parse_manifest(other)


# Content


def test_content_is_what_forks_share():
    """Bundles go by path, wherever they are; git's own files only at the top."""
    kept = [file("README.md"), file("a/.gitignore"), file("a/.github/x"), file(".gitmodules"), link("latest")]
    left = [
        file("model.sig"),
        file("sub/other.sig"),
        file(".gitignore"),
        file(".gitattributes"),
        file(".github/ci.yml"),
    ]
    manifest = Manifest.of([*kept, *left])
    content = manifest.content({"model.sig", "sub/other.sig"})
    assert content == Manifest.of(kept)
    assert manifest.content(set()).sha256 != content.sha256
    assert Manifest.of([*kept, file("new.sig", b"other")]).content({"new.sig"}) == content


@given(found=items)
def test_content_without_bundles_is_the_whole_where_git_left_nothing(found):
    listed = [item for item in distinct(found) if not item.path.startswith(".git")]
    assert Manifest.of(listed).content(set()) == Manifest.of(listed)


@pytest.mark.parametrize("name", ["a.gitignore", ".gitignore2", ".githubx", ".github"])
def test_what_only_looks_like_gits_files_is_content(name):
    manifest = Manifest.of([file(name)])
    assert manifest.content(set()) == manifest
