"""Everything that can be asked, as one table: it routes, checks parameters, and is what ``openapi`` describes.

A path is fixed, or ends in one variable part of a strict form; what strangers choose (names, event ids) is in the query.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ledger.encoding import parse_decimal
from ledger.errors import LimitError, MalformedError
from ledger.server import messages
from ledger.server import problems as p
from ledger.server.problems import Problem

MAX_QUERY_CHARS = 2048
"""A name of up to some 600 bytes, percent-encoded; a longer one is asked for as it was recorded."""
MAX_BODY_BYTES = 32 << 20
"""One event with its bundles and manifest, in base64; what is larger is stored first, with PUT."""
MAX_BATCH_BYTES = 64 << 20
MAX_PUT_BYTES = 1 << 30
"""As evidence is limited everywhere: the manifest of a very large repository."""
MAX_PAIRS_BYTES = 1 << 20
MAX_ENTRIES_BYTES = 8 << 20
"""A hundred entries at their largest, in base64."""

_VARIABLE = {
    "{leaf}": "(0|[1-9][0-9]{0,18})",
    "{sha256}": "([0-9a-f]{64})",
    "{tile}": "([a-z0-9./]{1,64})",
    "{slug}": "([a-z-]{1,40})",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a query. ``kind``: ``name`` (any bytes), ``text`` (ASCII without spaces), ``hex`` (a SHA-256),
    ``number`` (up to ``most``) or ``word`` (one of ``words``).
    """

    name: str
    kind: str
    says: str
    required: bool = False
    words: tuple[str, ...] = ()
    most: int = 0

    def check(self, value: bytes) -> None:
        """Refuse a value of another kind. Raises MalformedError, LimitError."""
        match self.kind:
            case "name":
                fits = bool(value)
            case "text":
                fits = re.fullmatch(rb"[\x21-\x7e]{1,256}", value) is not None
            case "hex":
                fits = re.fullmatch(rb"[0-9a-f]{64}", value) is not None
            case "word":
                fits = value in [word.encode() for word in self.words]
            case _:
                if parse_decimal(value.decode("ascii", "replace"), what=self.name) > self.most:
                    raise LimitError(self.name, expected=f"at most {self.most}", actual=value.decode())
                return
        if not fits:
            raise MalformedError(self.name, expected=self.wanted, actual=value.decode("utf-8", "replace"))

    @property
    def wanted(self) -> str:
        """What a value must be, in words."""
        return {
            "name": "at least one byte",
            "text": "1 to 256 bytes of 0x21-0x7E",
            "hex": "64 lower-case hex digits",
            "word": "one of " + ", ".join(self.words),
        }.get(self.kind, f"a number up to {self.most}")

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of a value."""
        match self.kind:
            case "hex":
                return {"type": "string", "pattern": "^[0-9a-f]{64}$"}
            case "word":
                return {"type": "string", "enum": list(self.words)}
            case "number":
                return {"type": "integer", "minimum": 0, "maximum": self.most}
            case "text":
                return {"type": "string", "pattern": "^[\\x21-\\x7E]{1,256}$"}
            case _:
                return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One address and method. ``name`` is that of its handler; ``scope`` what a token must have, "" where none is needed.

    ``answers``: for each status what comes, as (media type, schema name, words); ``problems``: what else may come, beside
    those that may come from every address. ``streamed``: the handler reads the body itself.
    """

    method: str
    path: str
    name: str
    says: str
    answers: dict[int, tuple[str, str, str]]
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[Problem, ...] = ()
    scope: str = ""
    body: tuple[str, str] | None = None
    max_body: int = 0
    streamed: bool = False
    _by_name: dict[str, Parameter] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {each.name: each for each in self.parameters})

    def check(self, wanted: dict[str, bytes]) -> None:
        """Refuse parameters that this address does not have, or that miss. Raises MalformedError, LimitError."""
        for name, value in wanted.items():
            if name not in self._by_name:
                known = ", ".join(self._by_name) or "no parameter"
                raise MalformedError("query", expected=known, actual=name)
            self._by_name[name].check(value)
        for each in self.parameters:
            if each.required and each.name not in wanted:
                raise MalformedError(f"query {each.name}", expected=each.wanted, actual="nothing")


def _limit(default: int, most: int) -> Parameter:
    return Parameter(
        name="limit", kind="number", most=most, says=f"How many at most, up to {most}; {default} if absent."
    )


_AS = Parameter(
    name="as",
    kind="word",
    words=("name", "recorded"),
    says="`recorded`: the name is given as statements carry it, with its `%XX`; only so a name of more than 256 bytes can be asked for. `name`, the default: as the hub calls it.",
)
_MODEL = Parameter(name="model", kind="name", required=True, says="The model's name.")
_MAYBE_MODEL = Parameter(name="model", kind="name", says="Only of this model.")
_SIGNER = Parameter(
    name="signer", kind="hex", says="Only what this identity signed, by the SHA-256 of its canonical form."
)
_MAX_LEAF = 2**53 - 1
_AFTER_LEAF = Parameter(
    name="after",
    kind="number",
    most=_MAX_LEAF,
    says="Only what follows this leaf index: `next` of the page before.",
)
_WAIT = Parameter(
    name="wait",
    kind="word",
    words=("durable", "included", "witnessed"),
    says="What is waited for. `durable`: the event cannot be lost any more. `included`, the default: it is in a published checkpoint, and the answer has the proof. `witnessed`: that checkpoint has its quorum of witnesses too. In a ledger in Rekor `durable` is accepted, `included` logged there, and nothing is `witnessed`.",
)
_WAIT_ENTRIES = replace(
    _WAIT,
    says=_WAIT.says.replace("included`, the default:", "included`:") + " Here `durable` is the default.",
)
_VERSION = Parameter(
    name="version", kind="number", most=_MAX_LEAF, says="This version, not the one that counts now."
)
_EVIDENCE = Parameter(
    name="evidence",
    kind="word",
    words=("required", "later"),
    says="`required`, the default: what the event names must be stored, or be in the request. `later`: it is recorded all the same, and the hub stores the pieces soon.",
)

_FEED_NOTE = "Newest first, fifty at most; of everything, of one model, or of what one identity signed."
_ATTESTED = (
    _MODEL,
    _AS,
    Parameter(
        name="revision",
        kind="name",
        says="This revision, in the same form as the name; the newest if absent.",
    ),
)
_JSON = messages.JSON
_GONE = (p.NOT_FOUND, p.WITHDRAWN, p.WITHHELD)


def _get(path: str, name: str, says: str, answer: tuple[str, str, str], **more: object) -> Route:
    return Route(method="GET", path=path, name=name, says=says, answers={200: answer}, **more)  # type: ignore[arg-type]


READ_ROUTES: tuple[Route, ...] = (
    _get(
        "/checkpoint",
        "checkpoint",
        "The newest signed checkpoint (c2sp.org/tlog-checkpoint).",
        (messages.TEXT, "bytes", "A signed note."),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/tile/{tile}",
        "tile",
        "A tile of hashes or a bundle of entries (c2sp.org/tlog-tiles): `<L>/<N>[.p/<W>]`, `entries/<N>[.p/<W>]`.",
        (messages.BYTES, "bytes", "The object."),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/log",
        "log",
        "What the log is, how large, and how far the index has come.",
        (_JSON, "Log", "The state."),
    ),
    _get(
        "/v1/models",
        "models",
        "The names that have events, in the order of their bytes.",
        (_JSON, "Models", "One page; `next` is absent on the last."),
        parameters=(
            Parameter(name="search", kind="name", says="Only names that contain this, whatever its case."),
            Parameter(
                name="after", kind="text", says="Only names after this one: `next` of the page before."
            ),
            _limit(50, 200),
        ),
    ),
    _get(
        "/v1/history",
        "history",
        "A model's events in log order, each with its signers and what changed.",
        (_JSON, "History", "One page of events, and how the model stands now."),
        parameters=(_MODEL, _AS, _AFTER_LEAF, _limit(100, 1000)),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/badge.svg",
        "badge",
        "A small picture: who signed the model's newest revision, or that the signer changed.",
        ("image/svg+xml", "bytes", "The picture."),
        parameters=(_MODEL, _AS),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/entries/{leaf}",
        "entry",
        "What one leaf of the log says.",
        (_JSON, "Entry", "The statement, its signed envelope and its leaf hash."),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/event",
        "event",
        "An event by the id that the hub gave it.",
        (_JSON, "Entry", "As of `/v1/entries/{leaf}`."),
        parameters=(Parameter(name="id", kind="text", required=True, says="The event id."),),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/entries/{leaf}/proof",
        "proof",
        "The proof that a leaf is in the log (c2sp.org/tlog-proof), with its entry: `hubledger verify` takes it.",
        (messages.TEXT, "bytes", "A `.tlog-proof` file."),
        parameters=(
            Parameter(
                name="since",
                kind="number",
                most=_MAX_LEAF,
                says="Also prove that the log of this size, which the caller knows, only grew.",
            ),
        ),
        problems=(p.NOT_FOUND, p.NOT_IMPLEMENTED),
    ),
    _get(
        "/v1/entries/{leaf}/bundle",
        "bundle",
        "Of a ledger in Rekor: the proof that an entry is logged, as a Sigstore bundle v0.3. `hubledger verify --bundle` and cosign take it.",
        (messages.BUNDLE, "Bundle", "A Sigstore bundle with envelope and log entry."),
        problems=(p.NOT_FOUND, p.NOT_IMPLEMENTED),
    ),
    _get(
        "/v1/statements/{sha256}",
        "statement",
        "Of a ledger in Rekor: the signed envelope of the statement that Rekor has under this digest, the SHA-256 of the DSSE pre-authentication encoding.",
        (_JSON, "Envelope", "The stored bytes."),
        problems=(p.NOT_FOUND, p.WITHDRAWN, p.NOT_IMPLEMENTED),
    ),
    _get(
        "/v1/check",
        "check",
        "All that a check by name needs: what there is of the model's events, and the proof of the newest one, or of the newest of a revision.",
        (
            _JSON,
            "Check",
            "The proof is a `.tlog-proof`; `claims` are empty where there are more than 200 events.",
        ),
        parameters=(
            *_ATTESTED,
            Parameter(
                name="since",
                kind="number",
                most=_MAX_LEAF,
                says="Also prove that the log of this size, which the caller knows, only grew.",
            ),
        ),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/attestations/vsa",
        "attestation_vsa",
        "What the hub signs about a revision's latest event: a SLSA Verification Summary v1, which points at the event.",
        (messages.BUNDLE, "Attestation", "A Sigstore bundle with a DSSE envelope."),
        parameters=_ATTESTED,
        problems=(p.NOT_FOUND, p.NOT_IMPLEMENTED),
    ),
    _get(
        "/v1/attestations/svr",
        "attestation_svr",
        "The same as a Simple Verification Result v0.2, of a revision that the hub accepts.",
        (messages.BUNDLE, "Attestation", "A Sigstore bundle with a DSSE envelope."),
        parameters=_ATTESTED,
        problems=(p.NOT_FOUND, p.NOT_IMPLEMENTED),
    ),
    _get(
        "/v1/evidence/{sha256}",
        "evidence",
        "A piece of evidence by its digest: a manifest, a bundle, a policy, a text.",
        (messages.BYTES, "bytes", "The bytes, of which this is the SHA-256."),
        problems=_GONE,
    ),
    _get(
        "/v1/evidence/{sha256}/events",
        "naming",
        "What a piece of evidence is, and which statements name it.",
        (_JSON, "Naming", "The facts; bytes need not be here."),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/contents/{sha256}/events",
        "content",
        "The events whose content (`contentSha256`, or a whole manifest) this is, under every name.",
        (_JSON, "Found", "The events in log order."),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/files/{sha256}/events",
        "file",
        "The events whose manifest lists a file with this SHA-256.",
        (_JSON, "Found", "The events in log order."),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/signers/{sha256}",
        "signer",
        "What an identity signed, newest first.",
        (_JSON, "Signed", "Events whose signature by this identity verified."),
        parameters=(
            Parameter(
                name="before",
                kind="number",
                most=_MAX_LEAF,
                says="Only what precedes this leaf index: `next` of the page before.",
            ),
            _limit(50, 200),
        ),
        problems=(p.NOT_FOUND,),
    ),
    Route(
        method="POST",
        path="/v1/standings",
        name="standings",
        says="How up to 100 revisions stand, at once: for the list page of a hub.",
        answers={200: (_JSON, "Standings", "One answer for each pair, in their order.")},
        body=(_JSON, "Pairs"),
        max_body=MAX_PAIRS_BYTES,
    ),
    _get(
        "/v1/feed.atom",
        "feed_atom",
        f"Events as an Atom feed. {_FEED_NOTE}",
        ("application/atom+xml; charset=utf-8", "bytes", "RFC 4287."),
        parameters=(_MAYBE_MODEL, _AS, _SIGNER),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/v1/feed.json",
        "feed_json",
        f"Events as a JSON feed. {_FEED_NOTE}",
        ("application/feed+json", "Feed", "jsonfeed.org, version 1.1."),
        parameters=(_MAYBE_MODEL, _AS, _SIGNER),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/.well-known/hubledger/trust",
        "trust",
        "The trust file for clients (TOML): `hubledger trust add` takes this address.",
        (messages.TEXT, "bytes", "A trust file."),
        parameters=(_VERSION,),
        problems=(p.NOT_FOUND,),
    ),
    _get(
        "/.well-known/hubledger/trust.sig",
        "trust_signature",
        "The signature of a trust file by its own offline key.",
        (messages.TEXT, "bytes", "A signed note (c2sp.org/signed-note)."),
        parameters=(_VERSION,),
        problems=(p.NOT_FOUND,),
    ),
    _get("/openapi.json", "openapi", "This description (OpenAPI 3.1).", (_JSON, "bytes", "The description.")),
    _get(
        "/docs", "reference", "This description for people.", ("text/html; charset=utf-8", "bytes", "A page.")
    ),
    _get(
        "/problems/{slug}",
        "problem",
        "What a type of problem means and what to do.",
        (messages.TEXT, "bytes", "A few sentences."),
        problems=(p.NOT_FOUND,),
    ),
    _get("/health/live", "live", "Whether the process answers.", (_JSON, "Health", "It does.")),
    Route(
        method="GET",
        path="/health/ready",
        name="ready",
        says="Whether it can do its work, and how far index and publication are behind.",
        answers={200: (_JSON, "Health", "It can."), 503: (_JSON, "Health", "It cannot; `state` says why.")},
    ),
)

_RECORDING = (p.CONFLICT, p.EVIDENCE_MISSING, p.NOT_IMPLEMENTED)
WRITE_ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/v1/events",
        name="record",
        says="Record one event: what the hub found out about a revision. The ledger decides, signs as the hub, and appends.",
        answers={
            201: (_JSON, "Receipt", "Recorded."),
            200: (_JSON, "Receipt", "Recorded before with the same facts, or skipped because it is private."),
            202: (
                _JSON,
                "Receipt",
                "Recorded, and the witnesses, or Rekor, did not answer in time: `reached` says that it is durable.",
            ),
        },
        parameters=(_WAIT, _EVIDENCE),
        problems=_RECORDING,
        scope="record",
        body=(_JSON, "Event"),
        max_body=MAX_BODY_BYTES,
    ),
    Route(
        method="POST",
        path="/v1/events/batch",
        name="batch",
        says="Record up to 1,000 events, one a line, in this order. Every line has an answer of its own.",
        answers={
            200: (messages.NDJSON, "Line", "For each line, in order: a receipt, or a problem document.")
        },
        parameters=(_WAIT, _EVIDENCE),
        problems=(p.NOT_IMPLEMENTED,),
        scope="record",
        body=(messages.NDJSON, "Event"),
        max_body=MAX_BATCH_BYTES,
    ),
    Route(
        method="POST",
        path="/v1/entries",
        name="submit",
        says="Append signed envelopes of a hub that holds its own key: chained to the heads and decided by the policy in force. Or of a registered observer: in no chain, and deciding nothing.",
        answers={
            200: (_JSON, "Appended", "A leaf index for each; appended together, or none of them."),
            202: (_JSON, "Appended", "Appended, and the witnesses did not answer in time."),
        },
        parameters=(_WAIT_ENTRIES, _EVIDENCE),
        problems=(
            p.NOT_IMPLEMENTED,
            p.HEAD_MOVED,
            p.CONFLICT,
            p.UNPROCESSABLE,
            p.REJECTED,
            p.EVIDENCE_MISSING,
        ),
        scope="observe",
        body=(_JSON, "Entries"),
        max_body=MAX_ENTRIES_BYTES,
    ),
    Route(
        method="PUT",
        path="/v1/evidence/{sha256}",
        name="store",
        says="Store a piece of evidence under its digest, before the event that names it.",
        answers={201: (_JSON, "Stored", "Stored, or there already; `withheld` where it was withdrawn.")},
        scope="observe",
        body=(messages.BYTES, "bytes"),
        max_body=MAX_PUT_BYTES,
        streamed=True,
    ),
)

EVERYWHERE = (p.MALFORMED, p.TOO_LARGE, p.UNAVAILABLE, p.INTERNAL)
"""Problems that may come from every address."""
WITH_A_BODY = (p.TIMEOUT, p.UNSUPPORTED_MEDIA)
WITH_A_TOKEN = (p.UNAUTHORIZED, p.FORBIDDEN)


def problems_of(route: Route) -> tuple[Problem, ...]:
    """Return every type of problem that an address may answer with."""
    more = (WITH_A_BODY if route.body else ()) + (WITH_A_TOKEN if route.scope else ())
    # What does not have the form of the variable part is no address at all.
    more += (p.NOT_FOUND,) if "{" in route.path else ()
    return tuple(sorted({*EVERYWHERE, *route.problems, *more}, key=lambda each: (each.status, each.slug)))


class Router:
    """Finds the route of a path. Built once from the table."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            variable = next((each for each in _VARIABLE if each in route.path), None)
            if variable is None:
                self._fixed.setdefault(route.path, {})[route.method] = route
            else:
                before, after = route.path.split(variable)
                pattern = re.escape(before) + _VARIABLE[variable] + re.escape(after)
                patterns.setdefault(pattern, {})[route.method] = route
        self._patterns = [(re.compile(pattern), found) for pattern, found in patterns.items()]

    def find(self, path: str) -> tuple[dict[str, Route], str]:
        """Return the routes of a path by method, and its variable part; no route at all where there is no such path."""
        if (fixed := self._fixed.get(path)) is not None:
            return fixed, ""
        for pattern, found in self._patterns:
            if (match := pattern.fullmatch(path)) is not None:
                return found, match[1]
        return {}, ""
