"""Manifests as bytes: in pieces, item by item, from others, and what their names may do elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import LedgerError, LimitError, MalformedError
from ledger.manifest import (
    Manifest,
    ManifestFile,
    ManifestLink,
    parse_listing,
    parse_manifest,
    portability_problems,
    read_items,
)

parts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
paths = st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)
items = st.one_of(
    st.builds(
        ManifestFile,
        path=paths,
        sha256=st.binary(min_size=32, max_size=32),
        size=st.integers(0, 2**53 - 1),
    ),
    st.builds(ManifestLink, path=paths, link=st.text(st.characters(exclude_categories=["Cs"]), max_size=12)),
)
manifests = st.lists(items, max_size=30, unique_by=lambda item: item.path).map(Manifest.of)


def cut(data, size):
    return (data[at : at + size] for at in range(0, len(data), size))


@given(manifests, st.integers(1, 200))
def test_a_manifest_reads_as_it_was_written_however_it_is_cut(manifest, size):
    data = b"".join(manifest.chunks())
    assert data == manifest.data
    assert tuple(read_items(cut(data, size))) == parse_manifest(data).items == manifest.items


@given(manifests, st.integers(0, 10_000), st.binary(max_size=3), st.integers(0, 3), st.integers(1, 50))
def test_reading_in_pieces_refuses_what_reading_whole_refuses(manifest, at, inserted, removed, size):
    data = manifest.data
    at %= len(data) + 1
    bent = data[:at] + inserted + data[at + removed :]

    def whole():
        return parse_manifest(bent).items

    def pieces():
        return tuple(read_items(cut(bent, size)))

    answers = []
    for read in (whole, pieces):
        try:
            answers.append(read())
        except LedgerError:
            answers.append(None)
    assert answers[0] == answers[1]


def test_a_manifest_of_many_items_is_written_in_several_pieces():
    manifest = Manifest.of(ManifestFile(path=f"{n:05}", sha256=bytes(32), size=n) for n in range(5000))
    pieces = list(manifest.chunks())
    assert len(pieces) == 6
    assert tuple(read_items(pieces)) == manifest.items


def test_an_item_without_an_end_is_refused_before_it_fills_the_memory():
    def endless():
        yield b'[{"path":"'
        while True:
            yield b"a" * (1 << 20)

    with pytest.raises(MalformedError, match="manifest: expected a list of items"):
        list(read_items(endless()))


def test_an_endless_manifest_is_refused(monkeypatch):
    monkeypatch.setattr("ledger.manifest.MAX_MANIFEST_BYTES", 10_000)
    manifest = Manifest.of(ManifestFile(path=f"{n:05}", sha256=bytes(32), size=n) for n in range(500))
    with pytest.raises(LimitError, match="manifest: expected at most 10000 bytes, got more"):
        list(read_items(cut(manifest.data, 1000)))


LISTED = '[ {"size": 3, "sha256": "%s", "path": "b%%25"}, {"path": "a", "link": "../x"} ]' % ("0" * 64)


def test_a_list_by_somebody_else_may_have_any_layout_and_order():
    assert parse_listing(LISTED.encode()).items == (
        ManifestLink(path="a", link="../x"),
        ManifestFile(path="b%25", sha256=bytes(32), size=3),
    )


@pytest.mark.parametrize(
    ("listed", "refusal"),
    [
        ("{}", "list of files: expected a list, got dict"),
        ("[[]]", "item of a manifest: expected {path, sha256, size} or {path, link}"),
        ('[{"path":"a","sha256":"00","size":1}]', "sha256 of a: expected 64 lower-case hex digits, got 00"),
        ('[{"path":"a","link":"x"},{"path":"a","link":"y"}]', "manifest: expected distinct paths"),
        (
            '[{"path":"100%","link":"x"}]',
            "path 100%: expected % and two upper-case hex digits, %25 for a percent",
        ),
        ('[{"path":"a","link":"%zz"}]', "path %zz: expected % and two upper-case hex digits"),
        ('[{"path":"a","sha256":"%s","size":true}]' % ("0" * 64), "item of a manifest"),
        ('[{"path":"a","sha256":"%s","size":1.5}]' % ("0" * 64), "item of a manifest"),
        ('[{"path":"a","path":"b","link":"x"}]', "expected each key once, got a duplicate key"),
        ('[{"path":"\\ud800","link":"x"}]', "canonical JSON"),
        *(
            (
                f'[{{"path":"{path}","link":"x"}}]',
                "path: expected a relative path without empty, . or .. parts",
            )
            for path in ("", "/etc/passwd", "a//b", "../a", "a/..", "./a", "a/.", "a\\u0000b", "a/")
        ),
    ],
)
def test_a_list_that_is_none_is_refused(listed, refusal):
    with pytest.raises(MalformedError) as caught:
        _ = parse_listing(listed.encode()).data
    assert str(caught.value).startswith(refusal) or refusal in str(caught.value)


def test_names_that_do_something_else_elsewhere_are_kept_and_told():
    listed = [
        "C:/Windows/x",
        "README.md",
        "Readme.md",
        "a\\b",
        "aux.txt",
        "caf\u00e9",
        "cafe\u0301",
        "dot.",
        "ok",
    ]
    problems = list(portability_problems(listed))
    assert problems == [
        "C:/Windows/x leads elsewhere on Windows",
        "Readme.md is the same file as README.md where case or Unicode form is folded",
        "a\\b leads elsewhere on Windows",
        "aux.txt cannot be made on Windows",
        "cafe\u0301 is the same file as caf\u00e9 where case or Unicode form is folded",
        "dot. cannot be made on Windows",
    ]
    assert len(Manifest.of(ManifestLink(path=path, link="x") for path in listed).items) == len(listed)
    assert len(list(portability_problems("x" * n + "." for n in range(200)))) == 100
