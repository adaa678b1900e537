"""Names from outside, made safe and bounded: the escapes of docs/spec/event.md."""

import hashlib
import re
import unicodedata

MAX_NAME_BYTES = 256
_PLAIN = re.compile(f"[!-$&-~]{{1,{MAX_NAME_BYTES}}}")
"""What is its own escape: ASCII is in NFC, and nothing in it is escaped."""
_KEPT_BYTES = 180
"""Bytes of a longer name that stay readable before its digest."""


def escape_name(name: str | bytes) -> str:
    """Escape a name: NFC, then ``%`` and every byte outside 0x21-0x7E as ``%XX``, at most 256 bytes.

    A longer result keeps its first 180 bytes, cut before a partial ``%XX``, then ``%~`` and the hex SHA-256 of
    the whole escaped name. Bytes that are not UTF-8 (or lone surrogates) are escaped as they are.
    """
    if isinstance(name, str):
        if _PLAIN.fullmatch(name):
            return name
        raw = unicodedata.normalize("NFC", name).encode(
            "utf-8", "surrogateescape" if _escaped(name) else "surrogatepass"
        )
    else:
        raw = _normalise(name)
    return _bound(escape_bytes(raw))


def _escaped(name: str) -> bool:
    return any("\udc80" <= c <= "\udcff" for c in name)


def _normalise(raw: bytes) -> bytes:
    try:
        return unicodedata.normalize("NFC", raw.decode("utf-8")).encode()
    except UnicodeDecodeError:
        return raw


_TABLE = [chr(byte) if 0x21 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in range(256)]


def escape_bytes(raw: bytes) -> str:
    """Escape ``%`` and every byte outside 0x21-0x7E, without a bound."""
    return "".join([_TABLE[byte] for byte in raw])


def _bound(text: str) -> str:
    if len(text) <= MAX_NAME_BYTES:
        return text
    kept = text[:_KEPT_BYTES]
    cut = kept.rfind("%", _KEPT_BYTES - 2)
    if cut >= 0:
        kept = kept[:cut]
    return f"{kept}%~{hashlib.sha256(text.encode()).hexdigest()}"
