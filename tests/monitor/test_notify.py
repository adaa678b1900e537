"""Chat and paging, through the library: its real JSON service against a real server."""

import json
import logging

import pytest

from ledger.errors import ConfigError, SourceError
from monitor.notify import Notify, plain
from tests.monitor.test_deliver import STORED, receiver


def addresses(tmp_path, text, mode=0o600):
    path = tmp_path / "addresses"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_every_address_of_the_file_is_told(tmp_path):
    with receiver(200) as (one, got_one), receiver(200) as (two, got_two):
        text = "# the desk\n" + "".join(f"json://{url.removeprefix('http://')}/\n\n" for url in (one, two))
        Notify(addresses(tmp_path, text), name="chat").send(STORED)
    for got in (got_one, got_two):
        ((_, _, body),) = got
        told = json.loads(body)
        assert told["title"] == "[high] signer-changed (models)"
        assert told["message"] == f"It changed. Ask. (finding {STORED.id})"
        assert told["type"] == "failure"


def test_one_that_does_not_take_it_is_a_problem_without_its_token(tmp_path, capfd, caplog):
    with receiver(500) as (url, got):
        sink = Notify(
            addresses(tmp_path, f"json://user:hunter2@{url.removeprefix('http://')}/t0ken\n"), name="chat"
        )
        with caplog.at_level(logging.INFO), pytest.raises(SourceError) as caught:
            sink.send(STORED)
    assert got
    said = str(caught.value) + capfd.readouterr().err + capfd.readouterr().out + caplog.text
    assert "hunter2" not in said
    assert "t0ken" not in said


def test_an_address_that_is_none_is_refused_without_repeating_it(tmp_path):
    with pytest.raises(ConfigError, match="line 2 of") as caught:
        Notify(addresses(tmp_path, "json://localhost\nnosuch://hunter2\n"), name="chat")
    assert "hunter2" not in str(caught.value)


def test_addresses_that_others_may_read_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="readable by others"):
        Notify(addresses(tmp_path, "json://localhost\n", mode=0o644), name="chat")


@pytest.mark.parametrize(
    "text", ["@everyone", "<!channel>", "<@U1>", "[here](https://evil.example)", "https://evil.example"]
)
def test_names_mention_nobody_and_lead_nowhere(text):
    shown = plain(f"acme/{text} changed")
    assert text not in shown
    assert shown.replace("\u200b", "") == f"acme/{text} changed"
