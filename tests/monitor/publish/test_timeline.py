"""The picture of who signed: in order, within its frame, and few enough segments to be seen."""

import pytest

from monitor.publish.timeline import MAX_SEGMENTS, WIDTH, draw


def version(*names, change=False, **more):
    word = "Signed by" if names else "Unsigned"
    return {
        "word": word,
        "outcome": "VERIFIED" if names else "UNSIGNED",
        "signers": [{"name": each, "verified": True} for each in names],
        **({"change": "it changed"} if change else {}),
        **more,
    }


def test_versions_of_one_signer_are_one_segment_and_changes_are_marked():
    picture = draw([version("a"), version("a"), version("b", change=True), version()])
    assert [(each.label, each.versions, each.changed) for each in picture.segments] == [
        ("a", 2, False),
        ("b", 1, True),
        ("Unsigned", 1, False),
    ]
    assert [look for look, _ in picture.legend] == ["s0", "s1", "unsigned"]


def test_a_signer_keeps_its_colour():
    looks = [each.look for each in draw([version("a"), version("b"), version("a")]).segments]
    assert looks == ["s0", "s1", "s0"]


def test_proposals_and_observers_are_not_in_the_picture():
    picture = draw([version("a"), version("b", proposal=True), version("b", observer="w"), {"standing": "x"}])
    assert [each.label for each in picture.segments] == ["a"]


@pytest.mark.parametrize("count", [1, 2, MAX_SEGMENTS, MAX_SEGMENTS + 1, 5000])
def test_all_segments_lie_beside_each_other_within_the_frame(count):
    picture = draw([version(f"signer {at}") for at in range(count)])
    assert len(picture.segments) == min(count, MAX_SEGMENTS + 1)
    assert picture.segments[0].x == 0
    for one, other in zip(picture.segments, picture.segments[1:], strict=False):
        assert abs(one.x + one.width - other.x) < 0.2
        assert one.width >= 5.9
    assert abs(picture.segments[-1].x + picture.segments[-1].width - WIDTH) < 0.2
    assert sum(each.versions for each in picture.segments) == count


def test_nothing_is_drawn_of_nothing():
    assert draw([]).segments == ()
