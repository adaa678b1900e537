"""A small picture of who signed a model's newest revision. Text only, bounded, and nothing in it runs."""

from html import escape

from ledger.server.words import CHANGED, SIGNED, UNSIGNED, UNVERIFIED, Standing

MAX_CHARACTERS = 48
"""Of a signer's name: a badge stands beside others."""
_COLOURS = {SIGNED: "#1a6b3c", CHANGED: "#9a5b00", UNSIGNED: "#5a5f66", UNVERIFIED: "#a3262b"}
"""White text on each has a contrast of at least 5:1; the words say it without the colour."""
_HEIGHT, _PADDING, _CHARACTER = 20, 7, 7.0


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _safe(text: str) -> str:
    """Escape for XML, after taking out what XML cannot hold and what turns the direction of text."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text), quote=True)


def _width(text: str) -> float:
    """Estimate how wide text is; ``textLength`` then makes it exactly so in every font."""
    return sum(_CHARACTER if ord(c) < 0x1100 else 2 * _CHARACTER for c in text)


def draw(standing: Standing) -> bytes:
    """Return the SVG of a standing."""
    left, right = standing.word, _shorten(standing.who)
    colour = _COLOURS.get(standing.word, _COLOURS[UNVERIFIED])
    first, second = _width(left) + 2 * _PADDING, (_width(right) + 2 * _PADDING if right else 0)
    whole = first + second
    title = _safe(f"{left}: {right}" if right else left)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole:g}" height="{_HEIGHT}" role="img" aria-label="{title}">',
        f"<title>{title}</title>",
        f'<rect width="{whole:g}" height="{_HEIGHT}" rx="3" fill="{colour}"/>',
    ]
    if right:
        parts.append(f'<rect width="{first:g}" height="{_HEIGHT}" rx="3" fill="#24292f"/>')
        parts.append(f'<rect x="{first - 3:g}" width="3" height="{_HEIGHT}" fill="#24292f"/>')
    parts.append('<g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">')
    parts.append(_text(left, _PADDING))
    if right:
        parts.append(_text(right, first + _PADDING))
    return "".join([*parts, "</g></svg>\n"]).encode("utf-8", "replace")


def _text(text: str, x: float) -> str:
    return (
        f'<text x="{x:g}" y="14" textLength="{_width(text):g}" lengthAdjust="spacingAndGlyphs" '
        f'direction="ltr" unicode-bidi="isolate">{_safe(text)}</text>'
    )
