"""The pages: templates filled with facts, escaped without exception. They load nothing from elsewhere and run nothing."""

import functools
import hashlib
import pathlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ledger.errors import ConfigError
from ledger.event.readable import readable_name
from monitor.publish import layout

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = pathlib.Path(__file__).parent / "templates"


class Pages:
    """Fills templates. ``url`` is where the folder is served, or nothing; ``name`` is that of the monitor."""

    def __init__(self, *, name: str, url: str) -> None:
        self._name, self._url = name, url
        self._environment = _environment()
        self._templates: dict[str, jinja2.Template] = {}

    @property
    def look(self) -> str:
        """What every page depends on beside its facts: where it differs, pages are written again."""
        digest = hashlib.sha256(f"{self._name}\n{self._url}\n".encode())
        for path in sorted(_TEMPLATES.iterdir()):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    @property
    def style(self) -> bytes:
        """The style sheet that all pages use."""
        return (_TEMPLATES / layout.STYLE).read_bytes()

    def render(self, template: str, path: str, **facts: Any) -> bytes:
        """Return a page that lies at ``path``."""
        if template not in self._templates:
            self._templates[template] = self._environment.get_template(template)
        page = self._templates[template].render(
            root=layout.root_of(path), monitor=self._name, layout=layout, **facts
        )
        return page.encode("utf-8", "replace")


@functools.cache
def _environment() -> "jinja2.Environment":
    try:
        import jinja2
    except ImportError as error:
        raise ConfigError(
            "pages of the monitor",
            expected="the package jinja2",
            actual="not installed",
            next_step="Install `hubledger[publish]`",
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"visible": visible, "moment": moment, "name": readable_name}
    return environment


def visible(text: object) -> str:
    """Return a text in which nothing is hidden: control and formatting characters show as their code."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in shown)


def moment(seconds: int | None) -> str:
    """Return POSIX seconds as a time in UTC."""
    return (
        "never" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    )
