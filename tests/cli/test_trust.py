"""`hubledger trust`: from a publisher's key to a user's updated trust file, over the real service."""

import json

import httpx
import pytest

from ledger.client.trust_source import open_source, versions_at
from ledger.errors import ConfigError, LimitError, NotFoundError, SignatureError, SourceError, UsageError
from ledger.log.fetch import fetch_from_url
from tests.ledger.client.test_trust_store import chain, version
from tests.system.service import serving


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def next_version(folder, draft, update_key, number):
    """Write what the publisher edits: the ledger's trust file with a key and a higher version."""
    lines = [
        line
        for line in (folder / "trust.toml").read_text().splitlines()
        if not line.startswith(("update_key", "version"))
    ]
    draft.write_text("\n".join([lines[0], f"version = {number}", update_key, *lines[1:]]) + "\n")
    return draft


def test_a_trust_file_is_added_confirmed_and_updated_over_the_service(hubledger, ledger, tmp_path):
    _, line, _ = hubledger("trust", "key", tmp_path / "a.key", "--name", "hub.example/trust")
    _, other, _ = hubledger("trust", "key", tmp_path / "b.key", "--name", "hub.example/trust")
    draft = next_version(ledger, tmp_path / "new.toml", line.strip(), 2)
    assert hubledger("trust", "sign", draft, "--key", tmp_path / "a.key")[0] == 0
    assert hubledger("trust", "publish", ledger, draft)[0] == 0
    with serving(ledger, "--read-only") as (url, _):
        code, out, _ = hubledger("trust", "add", url)
        assert (code, "TLS_ONLY" in out) == (0, True)
        shown = json.loads(hubledger("trust", "show", "hub.example", "--json")[1])
        assert hubledger("trust", "confirm", "hub.example", "--sha256", "0" * 64)[0] == 41
        assert hubledger("trust", "confirm", "hub.example", "--sha256", shown["sha256"])[0] == 0
        assert "the newest that is shown" in hubledger("trust", "update", "hub.example")[1]

        signing = ("--key", tmp_path / "a.key", "--key", tmp_path / "b.key")
        for number in (3, 4):
            draft = next_version(ledger, tmp_path / f"{number}.toml", other.strip(), number)
            previous = ("--previous", ledger / "trust.toml")
            assert hubledger("trust", "sign", draft, *signing, *previous)[0] == 0
            assert hubledger("trust", "publish", ledger, draft)[0] == 0
            signing = ("--key", tmp_path / "b.key")
        code, out, _ = hubledger("trust", "update", "hub.example")
        assert (code, "from version 2 to 4" in out) == (0, True)
    assert "CONFIRMED" in hubledger("trust", "list")[1]
    assert hubledger("trust", "remove", "hub.example")[0] == 0
    assert hubledger("trust", "show", "hub.example")[0] == 34


def test_no_command_that_can_be_pasted_confirms_what_came_over_tls(hubledger, ledger):
    """What is printed to be run next must compare with something: our own digest of what came compares with itself."""
    with serving(ledger, "--read-only") as (url, _):
        _, out, _ = hubledger("trust", "add", url)
    digest = json.loads(hubledger("trust", "show", "hub.example", "--json")[1])["sha256"]
    assert digest in out, "the fingerprint is shown"
    commands = [line.split()[1:] for line in out.splitlines() if line.startswith("  hubledger ")]
    assert commands == [["trust", "confirm", "hub.example", "--sha256", "DIGEST-FROM-THE-PUBLISHER"]]
    assert hubledger(*commands[0])[0] == 31
    for words in ([], ["--sha256", digest, "--compared-by-hand"]):
        code, _, err = hubledger("trust", "confirm", "hub.example", *words)
        assert (code, "--compared-by-hand" in err) == (2, True)
    assert "TLS_ONLY" in hubledger("trust", "list")[1]
    assert hubledger("trust", "confirm", "hub.example", "--compared-by-hand")[0] == 0
    assert "CONFIRMED" in hubledger("trust", "list")[1]


def test_a_hub_that_shows_an_older_version_is_refused(hubledger, ledger, tmp_path):
    with serving(ledger, "--read-only") as (url, _):
        _, line, _ = hubledger("trust", "key", tmp_path / "a.key", "--name", "hub.example/trust")
        draft = next_version(ledger, tmp_path / "new.toml", line.strip(), 2)
        assert hubledger("trust", "add", draft)[0] == 0
        code, _, err = hubledger("trust", "update", "hub.example", "--from", url)
    assert (code, "expected 2, which you have, or a later one, got 1" in err) == (41, True)


def test_an_update_by_file_needs_its_signature_beside_it(hubledger, ledger, tmp_path):
    _, line, _ = hubledger("trust", "key", tmp_path / "a.key", "--name", "hub.example/trust")
    first = next_version(ledger, tmp_path / "1.toml", line.strip(), 1)
    second = next_version(ledger, tmp_path / "2.toml", line.strip(), 2)
    assert hubledger("trust", "add", first)[0] == 0
    assert hubledger("trust", "update", "hub.example", "--from", second)[0] == 34
    assert hubledger("trust", "sign", second, "--key", tmp_path / "a.key")[0] == 0
    facts = json.loads(hubledger("trust", "update", "hub.example", "--from", second, "--json")[1])
    assert (facts["before"], facts["version"], facts["origin"]) == (1, 2, "CONFIRMED")


def test_a_key_file_is_never_overwritten_and_is_its_owners_alone(hubledger, tmp_path):
    path = tmp_path / "a.key"
    assert hubledger("trust", "key", path, "--name", "hub.example/trust")[0] == 0
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert hubledger("trust", "key", path, "--name", "hub.example/trust")[0] == 2
    assert path.read_bytes() == before


def test_a_version_that_does_not_follow_is_not_published(hubledger, ledger, tmp_path):
    _, line, _ = hubledger("trust", "key", tmp_path / "a.key", "--name", "hub.example/trust")
    draft = next_version(ledger, tmp_path / "3.toml", line.strip(), 3)
    hubledger("trust", "sign", draft, "--key", tmp_path / "a.key")
    before = (ledger / "trust.toml").read_bytes()
    assert hubledger("trust", "publish", ledger, draft)[0] == 33
    assert (ledger / "trust.toml").read_bytes() == before


# Hubs that lie


def hub(answers):
    """A hub that answers as it likes: by target, bytes or a whole response."""

    def answer(request):
        found = answers.get(request.url.raw_path.decode(), 404)
        if isinstance(found, httpx.Response):
            return found
        return (
            httpx.Response(found)
            if isinstance(found, int)
            else httpx.Response(200, stream=httpx.ByteStream(found))
        )

    transport = httpx.MockTransport(answer)
    return open_source(
        "https://hub.example", connect=lambda url: fetch_from_url(url, transport=transport, tries=1)
    )


PATH = "/.well-known/hubledger/trust"
VERSIONS = chain("first", "first", "first")


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({}, NotFoundError),
        ({PATH: b"<html>busy</html>"}, ConfigError),
        ({PATH: VERSIONS[1][0]}, SignatureError),
        ({PATH: httpx.Response(302, headers={"location": "https://evil.example"})}, SourceError),
        ({PATH: b"#" * (2 << 20)}, LimitError),
    ],
    ids=["nothing", "html", "last month's", "a redirect", "endless"],
)
def test_what_a_hub_shows_is_not_taken_for_an_update(answers, error):
    with pytest.raises(error):
        versions_at(hub(answers), known=2)


def test_a_gap_is_no_end():
    take = versions_at(hub({PATH: VERSIONS[3][0], f"{PATH}?version=3": VERSIONS[3][0]}), known=1)
    with pytest.raises(SourceError, match="version 2 of the trust file"):
        take(2)
    assert take(4) is None


@pytest.mark.parametrize(
    "url", ["http://hub.example", "http://127.0.0.1.evil.example", "https://me:word@hub.example", "ftp://a"]
)
def test_an_address_is_https_and_nothing_more(url):
    with pytest.raises(UsageError) as refused:
        open_source(url)
    assert "word" not in str(refused.value)


def test_this_machine_needs_no_tls():
    open_source("http://127.0.0.1:8470")
    open_source("http://[::1]:8470")


def test_an_unknown_setting_is_refused_when_it_is_added(hubledger, tmp_path):
    path = tmp_path / "trust.toml"
    path.write_bytes(b"loud = true\n" + version(1))
    code, _, err = hubledger("trust", "add", path)
    assert (code, "setting loud of the trust file" in err) == (33, True)
