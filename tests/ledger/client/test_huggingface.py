"""The two functions have the parameters of the library's own, and hand on each that was given, as it was given."""

import inspect
import typing

import pytest

from ledger.client import huggingface
from ledger.client.huggingface import Verify, hf_hub_download, snapshot_download
from ledger.client.trust_store import Origin, StoredTrust
from ledger.client.trust_writing import format_trust
from ledger.errors import UsageError
from tests.conftest import missing
from tests.world import World

try:
    import huggingface_hub
except ImportError:
    huggingface_hub = None

OURS = (snapshot_download, hf_hub_download)
REFUSED = {"repo_type": "dataset", "dry_run": True}
"""What there is a parameter for, because the library has it, and no check."""


@pytest.fixture
def library():
    if huggingface_hub is None:
        missing("no huggingface_hub: install the extra hf")
    return huggingface_hub


@pytest.fixture
def verify():
    trust = World().trust()
    return Verify(
        trust=StoredTrust(data=format_trust(trust), trust=trust, source="", origin=Origin.CONFIRMED)
    )


class ReachedError(Exception):
    """The library was called."""


def parameters(function):
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


def passed_on(function, library, monkeypatch, **given):
    """What the library's function gets of a call of ours."""
    theirs = getattr(library, function.__name__)
    got = {}

    def record(*args, **named):
        got.update(inspect.signature(theirs).bind(*args, **named).arguments)
        raise ReachedError

    record.__signature__ = inspect.signature(theirs)
    with monkeypatch.context() as patch:
        patch.setattr(library, function.__name__, record)
        with pytest.raises(ReachedError):
            function(**given)
    return got


@pytest.mark.parametrize("ours", OURS, ids=lambda each: each.__name__)
def test_the_signature_is_the_librarys_own_and_verify(ours, library):
    """Where this fails, the library has a new parameter: decide what it means for the check before it is passed on."""
    assert parameters(ours) == [
        *parameters(getattr(library, ours.__name__)),
        ("verify", inspect.Parameter.KEYWORD_ONLY, None),
    ]


@pytest.mark.parametrize("ours", OURS, ids=lambda each: each.__name__)
def test_what_is_not_given_is_left_to_the_library(ours, library, verify, monkeypatch, tmp_path):
    """An older library is not asked for what it does not have."""
    required = {"repo_id": "acme/tiny"} | ({"filename": "x"} if ours is hf_hub_download else {})
    monkeypatch.setattr(library.constants, "HF_HUB_CACHE", str(tmp_path))
    assert passed_on(ours, library, monkeypatch, **required, verify=verify) == required


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (each, name)
        for each in OURS
        for name in inspect.signature(each).parameters
        if name not in {*REFUSED, "verify"}
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_what_is_given_is_passed_on(ours, name, library, verify, monkeypatch, tmp_path):
    class Given(str):
        """A value that is like no other; the paths among the parameters must be something like a path."""

        __slots__ = ()

    value = Given(tmp_path) if name == "cache_dir" else Given("x/y")
    given = {"repo_id": "acme/tiny", "cache_dir": str(tmp_path)}
    given |= {"filename": "x"} if ours is hf_hub_download else {}
    got = passed_on(ours, library, monkeypatch, **(given | {name: value}), verify=verify)
    assert got.keys() == given.keys() | {name}
    assert got[name] is value


@pytest.mark.parametrize("ours", OURS, ids=lambda each: each.__name__)
def test_what_cannot_be_checked_is_refused_before_anything_is_downloaded(ours, library, verify, monkeypatch):
    filename = {"filename": "x"} if ours is hf_hub_download else {}
    monkeypatch.setattr(library, ours.__name__, None)
    for name, value in REFUSED.items():
        with pytest.raises(UsageError, match=f"^{name}: expected a"):
            ours("acme/tiny", **filename, **{name: value}, verify=verify)


def test_a_type_checker_is_told_what_is_refused():
    for ours in OURS:
        hints = typing.get_type_hints(ours)
        assert hints["return"] is str
        assert hints["repo_type"] == typing.Literal["model"] | None
        assert hints["dry_run"] == typing.Literal[False]


def test_a_library_that_is_older_than_a_parameter_is_named(library, verify, monkeypatch):
    def snapshot_download(repo_id, *, revision=None):
        raise ReachedError

    monkeypatch.setattr(library, "snapshot_download", snapshot_download)
    with pytest.raises(ReachedError):
        huggingface.snapshot_download("acme/tiny", revision="main", verify=verify)
    with pytest.raises(UsageError, match=r"^headers: expected a parameter that huggingface_hub \S+ has, got"):
        huggingface.snapshot_download("acme/tiny", headers={}, verify=verify)
