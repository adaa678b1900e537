"""A list of what the hub serves against the log: what was never recorded, no sooner than that is known."""

import json
import tracemalloc

import pytest

from ledger.errors import LimitError, MalformedError, SourceError
from ledger.event import escape_name
from monitor.checks import CrosscheckConfig
from monitor.config import load_config
from monitor.crosscheck import MAX_FINDINGS, Crosscheck, Served, parse_served
from tests.fakes.web import showing
from tests.monitor.test_follow import A, Everybody, Scene
from tests.world import NOW

GRACE = 3600


def line(model, revision, created=NOW):
    from datetime import UTC, datetime

    return f"{model}\t{revision}\t{datetime.fromtimestamp(created, UTC).isoformat()}"


@pytest.fixture
def scene(tmp_path):
    """Two models, one of them with a repository's id."""
    scene = Scene(tmp_path)
    scene.hub.record(A, name="acme/one", revision="r1")
    scene.hub.record(A, name="acme/two", revision="r1", repo_id="42")
    scene.begin().publish()
    scene.look()
    return scene


def check(scene, *lines, later=GRACE, fetch=None):
    scene.time = NOW + later
    scene.look()
    return Crosscheck(
        CrosscheckConfig(log="models", list="served", grace=GRACE),
        scene.state,
        fetch=fetch or (lambda name, /, *, max_bytes: "\n".join(lines).encode()),
        trees=("models",),
        name="served",
        routes=Everybody(),
        clock=lambda: scene.time,
    ).look()


def missing(scene, *states):
    return [
        (each.facts["model"], each.facts["facts"]["revision"])
        for each in scene.state.record.findings(states=states)
        if each.facts["kind"] == "not-recorded"
    ]


def test_what_is_recorded_is_found_by_name_and_by_repository(scene):
    done = check(scene, line("acme/one", "r1"), line("acme/two", "r1"))
    assert (done.recorded, done.missing, done.waiting) == (2, 0, 0)
    assert missing(scene) == []


def test_what_is_not_is_a_finding_once_and_over_when_it_is_recorded(scene):
    lines = [line("acme/one", "r2"), line("acme/none", "r1"), line("acme/one", "r1")]
    assert check(scene, *lines).new_findings == 2
    assert check(scene, *lines, later=GRACE + 10).new_findings == 0
    assert sorted(missing(scene, "open")) == [("acme/none", "r1"), ("acme/one", "r2")]
    scene.hub.record(A, name="acme/one", revision="r2")
    scene.publish()
    check(scene, *lines, later=GRACE + 20)
    assert missing(scene, "open") == [("acme/none", "r1")]
    assert missing(scene, "resolved") == [("acme/one", "r2")]
    check(scene, later=GRACE + 30)
    assert missing(scene, "open") == [], "what is served no more is nobody's question"


def test_in_the_time_of_grace_nothing_is_said(scene):
    done = check(scene, line("acme/none", "r1"), later=GRACE - 1)
    assert (done.missing, done.waiting) == (0, 1)


def test_while_the_log_cannot_be_verified_nothing_is_said(scene):
    """Its event may be in what we have not seen: that the log is away is another finding."""
    (scene.folder / "log/checkpoint").unlink()
    done = check(scene, line("acme/none", "r1"), later=10 * GRACE)
    assert (done.missing, done.waiting) == (0, 1)


def test_from_a_pin_only_what_is_served_since(tmp_path):
    scene = Scene(tmp_path).grow(3).publish()
    scene.begin(pinned=scene.hub.world.checkpoint())
    done = check(scene, line("acme/old", "r1", NOW - 1), line("acme/new", "r1", NOW))
    assert (done.waiting, done.missing) == (1, 1)


def test_names_are_those_of_the_log(scene):
    scene.hub.record(A, name=escape_name("acme/ж"), revision="r1")
    scene.publish()
    assert check(scene, line("acme/ж", "r1")).recorded == 1


def test_a_list_of_another_hub_does_not_fill_the_record_at_once(scene):
    lines = [line(f"acme/x{at}", "r1") for at in range(MAX_FINDINGS + 5)]
    assert check(scene, *lines).new_findings == MAX_FINDINGS
    assert check(scene, *lines, later=GRACE + 1).new_findings == 5


def test_a_long_list_is_judged_some_lines_at_a_time(scene):
    """The hub may write as many lines as it likes; what is held of them at a time is little beside the list itself."""
    data = "\n".join(line("acme/one", "r1") for _ in range(50_000)).encode()
    tracemalloc.start()
    try:
        done = check(scene, fetch=lambda name, /, *, max_bytes: data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (done.listed, done.recorded) == (50_000, 50_000)
    assert most < 2 * len(data)


def test_a_list_by_its_address(scene):
    (scene.folder / "lists").mkdir()
    (scene.folder / "lists/served").write_text(line("acme/one", "r1") + "\n" + line("acme/one", "r9"))
    with showing(scene.folder / "lists") as url:
        config = load_config(
            write(
                scene.folder / "monitor.toml",
                '[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
                f'[crosscheck]\nlog = "models"\nlist = "{url}/served"\n',
            )
        )
        fetch, name = config.served(config.crosscheck)
        assert name == "served"
        done = check(scene, fetch=fetch)
    assert (done.recorded, done.missing) == (1, 1)


def write(path, text):
    path.write_text(text)
    return path


def test_a_list_that_cannot_be_read_is_said_and_settles_nothing(scene):
    check(scene, line("acme/none", "r1"))

    def away(name, /, *, max_bytes):
        raise SourceError("list", expected="an answer", actual="none")

    assert "list: expected an answer, got none" in check(scene, fetch=away).problem
    assert "line 1 of the list" in check(scene, "nonsense").problem
    assert missing(scene, "open") == [("acme/none", "r1")]
    assert scene.kinds("open")[-1] == "source-unreachable"
    check(scene, line("acme/none", "r1"))
    assert scene.kinds("open")[-1] == "not-recorded"


def test_both_forms_of_a_line():
    value = {"model": "a/b", "revision": "r", "created": "2026-01-02T03:04:05Z"}
    lines = [json.dumps(value).encode(), b"", b"a/b\tr\t2026-01-02T03:04:05+00:00\r\n"]
    assert list(parse_served(lines)) == [Served(model="a/b", revision="r", created=1767323045)] * 2


@pytest.mark.parametrize(
    "text",
    [
        b"a/b\tr",
        b"a/b\tr\t2026-01-02T03:04:05Z\tx",
        b"\tr\t2026-01-02T03:04:05Z",
        b"a/b\tr\tyesterday",
        b"a/b\tr\t2026-01-02T03:04:05",
        b"{}",
        b"[1]",
        b'{"model": 1, "revision": "r", "created": "2026-01-02T03:04:05Z"}',
        b'{"model": "a/b", "revision": "r\\ud800", "created": "2026-01-02T03:04:05Z"}',
        b'{"model": "a/b", "revision": "r", "created": "\\ud800"}',
        b"{" + b"[" * 100_000,
    ],
)
def test_lines_that_are_none_are_refused_with_their_number(text):
    with pytest.raises((MalformedError, LimitError), match="line 2 of the list") as refused:
        list(parse_served([b"a/b\tr\t2026-01-02T03:04:05Z", text]))
    refused.value.finding.encode()  # it is stored, and sent
