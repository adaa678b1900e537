"""Names of strangers are shown readable where nobody can be deceived by it, and escaped everywhere else."""

import pytest

from ledger.event.names import escape_name
from ledger.event.readable import readable_name


@pytest.mark.parametrize(
    "name", ["acme/日本語モデル", "acme/データ-v2", "会社/tiny", "acme/한국어", "acme/tiny"]
)
def test_what_people_write_is_shown(name):
    assert readable_name(escape_name(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "acme/日本\u202eledom",
        "acme/日本\u2066x",
        "acme/日本\u200b語",
        "acme/日本\u3164",
        "acme/日本\x1b[31m",
        "acme/日本\x00",
        "acme/日本 語",
        "acme/日本\n語",
        "acme/100%日本",
        "acme/日本\ufe00",
        "\u0430cme/tiny",  # Cyrillic
        "acm\u0117/tiny",
        "acmeノtiny",
        "acme\u2215日本",
        "acme一tiny",
        "acme/\uff41日本",
        "入ロ/tiny",  # katakana in the place of a Chinese sign
        "口グ/tiny",
        "שלום/tiny",
        "日" * 100,
        b"\xff\xfe",
        b"\xe6\x97",
        "日本\ud800",
    ],
)
def test_what_could_deceive_stays_escaped(name):
    escaped = escape_name(name)
    assert "%" in escaped
    assert readable_name(escaped) == escaped


@pytest.mark.parametrize(
    "name", ["%E6%97%a5", "%41cme", "%3Cscript%3E", "%2525", "%", "%E6%97", "%E6%97%A5%3C"]
)
def test_what_no_recorder_writes_is_not_read(name):
    assert readable_name(name) == name
