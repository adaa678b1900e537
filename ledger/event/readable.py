"""Escaped names, for people: Chinese, Japanese and Korean are shown as they are written, and all else stays escaped.

A name is shown in whole or not at all, so a ``%`` is always an escape, and no two names are shown alike. What is shown cannot
turn the direction of text, is never invisible, and does not pass for ASCII or, of two of these scripts, for the other.
"""

import re
from urllib.parse import unquote_to_bytes

from ledger.event.names import escape_name

_SCRIPTS = {
    "hiragana": "\u3041-\u3096",
    "katakana": "\u30a1-\u30fa\u30fc",
    "han": "\u3400-\u4dbf\u4e00-\u9fff",
    "hangul": "\uac00-\ud7a3",
}
"""Letters alone: no jamo, no fillers, no marks, no punctuation, none of the wide forms of ASCII."""
_RUN = re.compile("|".join(f"(?P<{name}>[{letters}]+)" for name, letters in _SCRIPTS.items()))
_ALLOWED = re.compile(f"[!-~{''.join(_SCRIPTS.values())}]+")
_ALIKE = frozenset(
    "へべぺりヘベペリカタトニハロエノーンソゾ一丨丶丿乀乁乙乚乛亅二八力十卜口夕工丁"
)  # they are the point
"""What passes for ASCII, for a stroke or a slash, or for a letter of another of these scripts."""


def readable_name(name: str) -> str:
    """Return an escaped name as people write it, or as it is where that is not safe. Of a name that was cut, as it is."""
    if "%" not in name:
        return name
    try:
        shown = unquote_to_bytes(name).decode("utf-8")
    except UnicodeDecodeError:
        return name
    whole = _ALLOWED.fullmatch(shown) and "%" not in shown and escape_name(shown) == name
    return shown if whole and all(_plain(run, shown) for run in _RUN.finditer(shown)) else name


def _plain(run: re.Match[str], text: str) -> bool:
    """Whether letters of one script cannot be taken for another: one of them is its own, and none alike stands at a seam."""
    letters = run[0]
    if all(each in _ALIKE for each in letters):
        return False
    before, after = text[: run.start()][-1:], text[run.end() :][:1]
    return not (
        (letters[0] in _ALIKE and not before.isascii()) or (letters[-1] in _ALIKE and not after.isascii())
    )
