"""The description of the service: OpenAPI 3.1 and a page for people, both from the table of routes.

The page is one string without scripts, and loads nothing from anywhere.
"""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from typing import Any

from ledger import __version__
from ledger.encoding import format_canonical_json
from ledger.errors import NotFoundError
from ledger.server import messages
from ledger.server.messages import Request, Response
from ledger.server.problems import BY_SLUG, PROBLEMS, Problem
from ledger.server.routes import Parameter, Route, problems_of
from ledger.server.schemas import schemas


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI description of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hubledger",
            "version": __version__,
            "description": "Who signed each version of each model, from a log that nobody can rewrite.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(status): {"description": words, "content": {media.partition(";")[0]: {"schema": _ref(schema)}}}
        for status, (media, schema, words) in route.answers.items()
    }
    if route.method == "GET":
        answers["304"] = {"description": "As the caller has it already."}
    for status in sorted({each.status for each in problems_of(route)} - route.answers.keys()):
        answers[str(status)] = _problem_answer([each for each in problems_of(route) if each.status == status])
    if 503 in route.answers:
        answers["503"]["content"][messages.PROBLEM] = {"schema": _ref("Problem")}
    value: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.says,
        "parameters": [*_path_parameters(route), *[_parameter(each) for each in route.parameters]],
        "responses": answers,
    }
    if route.body is not None:
        media, schema = route.body
        value["requestBody"] = {"required": True, "content": {media: {"schema": _ref(schema)}}}
    if route.scope:
        value["security"] = [{"token": []}]
        value["description"] = f"Needs a token with the scope `{route.scope}`."
    return value


def _problem_answer(found: Sequence[Problem]) -> dict[str, Any]:
    words = " ".join(f"`{each.type}`: {each.title}." for each in found)
    return {"description": words, "content": {messages.PROBLEM: {"schema": _ref("Problem")}}}


_PATH_SCHEMAS: dict[str, dict[str, Any]] = {
    "leaf": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "tile": {"type": "string"},
    "slug": {"type": "string"},
}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in _PATH_SCHEMAS.items()
        if f"{{{name}}}" in route.path
    ]


def _parameter(each: Parameter) -> dict[str, Any]:
    return {
        "name": each.name,
        "in": "query",
        "required": each.required,
        "description": each.says,
        "schema": each.schema(),
    }


def _ref(schema: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"}


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
h2 code { overflow-wrap: anywhere; } h2 b { font: inherit; font-weight: 700; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
dl { margin: .5rem 0; } dt { margin-top: .5rem; } dd { margin: 0 0 0 1.25rem; overflow-wrap: anywhere; }
nav ul { list-style: none; padding: 0; } nav li { margin: .25rem 0; overflow-wrap: anywhere; }
section { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_CSP = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"


def page(routes: Sequence[Route]) -> bytes:
    """Return the description as one page of HTML."""
    listed = "".join(
        f'<li><a href="#{route.name}"><code>{route.method} {escape(route.path)}</code></a></li>'
        for route in routes
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>hubledger: HTTP reference</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>HTTP reference</h1>"
        '<p>The same as <a href="/openapi.json"><code>/openapi.json</code></a>. Names of models and ids of events are '
        "in the query, percent-encoded, never in a path.</p>"
        f'<nav aria-label="Addresses"><ul>{listed}</ul></nav>{"".join(map(_section, routes))}'
        f'<section><h2 id="problems">Problems</h2>{_definitions([(each.type, f"{each.status}. {each.title}. {each.says}") for each in PROBLEMS])}</section>'
        "</main></body></html>\n"
    ).encode()


def _section(route: Route) -> str:
    token = f"<p>Needs a token with the scope <code>{route.scope}</code>.</p>" if route.scope else ""
    body = (
        f"<p>Body: <code>{route.body[0]}</code>, at most {route.max_body:,} bytes.</p>" if route.body else ""
    )
    given = [(f"{each.name}{'' if each.required else '?'}", each.says) for each in route.parameters]
    answers = [(f"{status} {media}", words) for status, (media, _, words) in route.answers.items()]
    problems = ", ".join(f'<a href="{each.type}">{each.slug}</a>' for each in problems_of(route))
    return (
        f'<section><h2 id="{route.name}"><b>{route.method}</b> <code>{escape(route.path)}</code></h2>'
        f"<p>{_text(route.says)}</p>{token}{body}{_definitions(given)}{_definitions(answers)}<p>Problems: {problems}</p></section>"
    )


def _definitions(rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return ""
    return (
        "<dl>" + "".join(f"<dt><code>{escape(a)}</code></dt><dd>{_text(b)}</dd>" for a, b in rows) + "</dl>"
    )


def _text(text: str) -> str:
    """Escape a sentence of ours, with what stands between backticks as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{each}</code>" if at % 2 else each for at, each in enumerate(pieces))


class Descriptions:
    """Answers about the service itself; made once."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._json, self._page = format_canonical_json(describe(routes)), page(routes)

    def openapi(self, request: Request) -> Response:
        """Return the OpenAPI description."""
        del request
        return Response(body=self._json, etag=hashlib.sha256(self._json).hexdigest()[:32])

    def reference(self, request: Request) -> Response:
        """Return the page."""
        del request
        return Response(
            body=self._page,
            content_type="text/html; charset=utf-8",
            etag=hashlib.sha256(self._page).hexdigest()[:32],
            headers=(("content-security-policy", PAGE_CSP),),
        )

    def problem(self, request: Request) -> Response:
        """Say what a type of problem means."""
        found = BY_SLUG.get(request.captured)
        if found is None:
            raise NotFoundError(
                f"problem {request.captured}",
                expected="a type of problem",
                actual="none such",
                next_step="/docs lists them",
            )
        text = f"{found.title} ({found.status})\n\n{found.says}\n"
        return Response(body=text.encode(), content_type=messages.TEXT)
