"""What is read over HTTP: the same facts as everywhere, and nothing hostile in any of it."""

import gzip
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from urllib.parse import urlencode

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import errors
from ledger.embedded.digests import mirror_digests
from ledger.embedded.directory import open_for_reading
from ledger.embedded.evidence import withdraw_evidence
from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.reading import (
    model_history,
    read_entry_at,
    read_own_statement_at,
    read_statement_at,
)
from ledger.entry import parse_entry
from ledger.errors import LedgerError
from ledger.event import escape_name, parse_audited_statement, parse_statement
from ledger.identity import CommittedFacts
from ledger.server.app import Limits
from ledger.server.badge import MAX_CHARACTERS, draw
from ledger.server.histories import Histories
from ledger.server.openapi import describe
from ledger.server.problems import PROBLEM_OF, PROBLEMS
from ledger.server.routes import READ_ROUTES, WRITE_ROUTES, problems_of
from ledger.server.schemas import schemas
from ledger.server.service import make_app, read_handlers
from ledger.server.views import View
from ledger.server.words import CHANGED, SIGNED, UNSIGNED, UNVERIFIED, Standing
from ledger.tlog.proof import parse_proof
from tests.conftest import REPOSITORY
from tests.events import digest, key, signed_by
from tests.ledger.server.conftest import HOSTILE, READABLE, Service, facts

SVG = "{http://www.w3.org/2000/svg}"
ATOM = "{http://www.w3.org/2005/Atom}"


IN_REKOR = {"bundle", "statement"}
"""What only a ledger in Rekor answers: test_rekor.py asks for it."""


@pytest.fixture
def samples(service):
    """A question for every route that reads."""
    statement = service.get("/v1/entries/1").json["statement"]["predicate"]
    manifest = statement["manifest"]["sha256"]
    signer = service.ask(
        "POST", "/v1/standings", body={"pairs": [{"model": "acme/signed", "revision": "r1"}]}
    ).json["standings"][0]["signers"][0]["identity"]
    return {
        "checkpoint": ("/checkpoint", {}),
        "tile": (f"/tile/0/000.p/{3 + 5 + len(HOSTILE)}", {}),
        "log": ("/v1/log", {}),
        "models": ("/v1/models", {"search": "acme", "limit": "2"}),
        "history": ("/v1/history", {"model": "acme/changed"}),
        "badge": ("/v1/badge.svg", {"model": "acme/signed"}),
        "entry": ("/v1/entries/1", {}),
        "event": ("/v1/event", {"id": statement["eventId"]}),
        "proof": ("/v1/entries/1/proof", {"since": "1"}),
        "check": ("/v1/check", {"model": "acme/signed", "revision": "r1", "since": "1"}),
        "attestation_vsa": ("/v1/attestations/vsa", {"model": "acme/signed", "revision": "r1"}),
        "attestation_svr": ("/v1/attestations/svr", {"model": "acme/signed", "as": "recorded"}),
        "evidence": (f"/v1/evidence/{manifest}", {}),
        "naming": (f"/v1/evidence/{manifest}/events", {}),
        "content": (f"/v1/contents/{manifest}/events", {}),
        "file": (f"/v1/files/{digest('weights').hex()}/events", {}),
        "signer": (f"/v1/signers/{signer}", {"limit": "3"}),
        "feed_atom": ("/v1/feed.atom", {"signer": signer}),
        "feed_json": ("/v1/feed.json", {"model": "acme/changed"}),
        "trust": ("/.well-known/hubledger/trust", {"version": "1"}),
        "trust_signature": ("/.well-known/hubledger/trust.sig", {}),
        "openapi": ("/openapi.json", {}),
        "reference": ("/docs", {}),
        "problem": ("/problems/withdrawn", {}),
        "live": ("/health/live", {}),
        "ready": ("/health/ready", {}),
    }


def parse_xml(data):
    return ET.fromstring(data)  # noqa: S314 - what we wrote ourselves


def schema_of(name):
    """A named schema with those that it refers to."""
    text = json.dumps({"$defs": schemas(), **schemas()[name]}).replace("#/components/schemas/", "#/$defs/")
    return json.loads(text)


def test_every_route_has_somebody_who_answers(filled):
    assert {each.name for each in READ_ROUTES} == set(read_handlers(View(filled)))
    assert len({each.name for each in (*READ_ROUTES, *WRITE_ROUTES)}) == len(READ_ROUTES) + len(WRITE_ROUTES)


def test_every_route_answers_as_its_description_says(service, samples):
    for route in READ_ROUTES:
        if route.method != "GET":
            continue
        if route.name in IN_REKOR:
            continue
        path, query = samples[route.name]
        found = service.get(path, **query)
        assert found.status == 200, (route.name, found.body)
        media, schema, _ = route.answers[200]
        assert found.headers["content-type"] == media, route.name
        if schema != "bytes":
            jsonschema.validate(found.json, schema_of(schema))
        whole = service.ask("HEAD", path, **query)
        assert (whole.status, whole.headers["content-type"]) == (200, media)
        if "etag" in found.headers:
            again = service.ask("GET", path, headers={"if-none-match": found.headers["etag"]}, **query)
            assert (again.status, again.body) == (304, b""), route.name
            other = service.ask("GET", path, headers={"if-none-match": '"another"'}, **query)
            assert other.status == 200


def test_every_answer_may_be_read_by_pages_of_others_and_runs_nothing(service, samples):
    for path, query in [*samples.values(), ("/nowhere", {})]:
        headers = service.get(path, **query).headers
        assert headers["access-control-allow-origin"] == "*"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"]
    preflight = service.ask("OPTIONS", "/v1/history")
    assert (preflight.status, preflight.headers["access-control-allow-methods"]) == (
        204,
        "GET, HEAD, OPTIONS",
    )


def test_history_says_what_the_command_says(service, filled):
    rows = service.get("/v1/history", model="acme/changed").json["events"]
    for mine, theirs in zip(rows, model_history(filled, "acme/changed"), strict=True):
        assert {name: mine[name] for name in theirs} == theirs
    assert [row["standing"].partition(":")[0] for row in rows][1] == "Signer changed"


def test_a_long_history_comes_in_pages(service):
    first = service.get("/v1/history", model="acme/signed", limit="1").json
    assert [row["revision"] for row in first["events"]] == ["r1"]
    second = service.get("/v1/history", model="acme/signed", limit="1", after=str(first["next"])).json
    assert [row["revision"] for row in second["events"]] == ["r2"]
    assert "next" not in second


def test_models_are_listed_page_by_page_each_once(service):
    seen, after = [], {}
    for _ in range(50):
        page = service.get("/v1/models", limit="3", **after).json
        seen += [each["model"] for each in page["models"]]
        if "next" not in page:
            break
        after = {"after": page["next"]}
    wanted = {"acme/tiny", "acme/signed", "acme/changed", "acme/broken", *map(escape_name, HOSTILE)}
    assert seen == sorted(wanted)


def test_standings_answer_for_each_pair_in_order(service):
    pairs = [
        {"model": "acme/changed", "revision": "r2"},
        {"model": "acme/none", "revision": "r1"},
        {"model": "acme/signed", "revision": "r1"},
        {"model": "acme/tiny", "revision": "r1"},
        {"model": "acme/broken", "revision": "r1"},
    ]
    found = service.ask("POST", "/v1/standings", body={"pairs": pairs}).json
    jsonschema.validate(found, schema_of("Standings"))
    changed, none, signed, tiny, broken = found["standings"]
    assert changed["standing"].startswith("Signer changed: key SHA256:")
    assert changed["changed"]["since"] == "2026-01-02T03:04:05Z"
    assert none["standing"] == "Not recorded"
    assert (signed["uploadedBy"], signed["decision"]) == ("user-1", "observed")
    assert (tiny["standing"], broken["standing"]) == ("Unsigned", "Could not verify")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"pairs": 1}',
        b'{"pairs": [{"model": "a"}]}',
        b'{"pairs": [], "as": "x"}',
        b'{"pairs": [], "pairs": []}',
        b'{"pairs": [{"model": "", "revision": "r"}]}',
        b'{"pairs": [{"model": "\\ud800", "revision": "r"}], "as": "recorded"}',
        b"\xff",
    ],
)
def test_standings_refuse_another_form(service, body):
    found = service.ask("POST", "/v1/standings", body=body)
    assert (found.status, found.json["type"]) == (400, "/problems/malformed")


def test_standings_take_names_that_are_no_text(service):
    data = (
        b'{"pairs": [{"model": "\\ud800", "revision": "\\u0000"}, {"model": "\\udc80raw", "revision": "r1"}]}'
    )
    first, raw = service.ask("POST", "/v1/standings", body=data).json["standings"]
    assert (first["model"], first["standing"]) == ("%ED%A0%80", "Not recorded")
    assert raw["standing"].startswith("Signed by")


def test_standings_refuse_too_many_pairs(service):
    found = service.ask("POST", "/v1/standings", body={"pairs": [{"model": "m", "revision": "r"}] * 101})
    assert (found.status, found.json["type"]) == (413, "/problems/too-large")


@pytest.mark.parametrize("name", [name for name in HOSTILE if len(name) < 600])
def test_a_hostile_name_is_found_by_itself_and_inert_everywhere(service, name):
    raw = name.encode("utf-8", "surrogateescape")
    recorded = escape_name(name)
    shown = name if name == READABLE else recorded
    for query in ({"model": raw}, {"model": recorded, "as": "recorded"}):
        assert service.get("/v1/history", **query).json["model"] == recorded
        badge = service.get("/v1/badge.svg", **query)
        assert {each.tag for each in parse_xml(badge.body).iter()} <= {
            f"{SVG}{tag}" for tag in ("svg", "title", "rect", "g", "text")
        }
        feed = service.get("/v1/feed.atom", **query)
        assert parse_xml(feed.body).find(f"{ATOM}entry/{ATOM}title").text.startswith(shown)
        assert service.get("/v1/feed.json", **query).json["items"][0]["title"].startswith(shown)
        for answer in (badge, feed):
            assert all("\r" not in value and "\n" not in value for value in answer.headers.values())


def test_a_name_too_long_for_an_address_is_found_as_it_was_recorded(service):
    found = service.get("/v1/history", model="n" * 10_000)
    assert (found.status, found.json["type"]) == (413, "/problems/too-large")
    recorded = escape_name("n" * 10_000)
    assert service.get("/v1/history", model=recorded, **{"as": "recorded"}).json["model"] == recorded


def test_a_literal_escape_is_another_name_than_what_it_escapes(service):
    """Somebody who calls a model `caf%C3%A9` must not be taken for `café`."""
    assert service.get("/v1/history", raw_query="model=caf%C3%A9").status == 200
    assert service.get("/v1/history", model="caf%C3%A9").status == 404
    assert service.get("/v1/history", model="a%2Fb").json["model"] == "a%252Fb"
    assert service.get("/v1/history", raw_query="model=a%2Fb").status == 404


@given(
    word=st.sampled_from((SIGNED, CHANGED, UNSIGNED, UNVERIFIED)),
    who=st.text(st.characters(codec=None), max_size=100),
)
def test_a_badge_is_small_text_whatever_a_signer_is_called(word, who):
    drawn = draw(Standing(word, who))
    root = parse_xml(drawn)
    shown = root.findall(f".//{SVG}text")
    assert shown[0].text == word
    assert all(len(each.text or "") <= MAX_CHARACTERS for each in shown)
    assert len(drawn) < 2500
    assert all(c.isprintable() for c in "".join(root.itertext()).strip())


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("model", 400),
        ("model=a&model=b", 400),
        ("model=a&other=b", 400),
        ("model=%", 400),
        ("model=%g1", 400),
        ("model=", 400),
        ("as=name", 400),
        ("model=a&as=other", 400),
        ("model=a&limit=01", 400),
        ("model=a&limit=1001", 413),
        ("model=a&limit=-1", 400),
        ("model=a&after=%D9%A3", 400),
        ("model=%FF%00", 404),
        ("model=" + "a" * 2048, 413),
        ("model=%20&as=recorded", 400),
    ],
)
def test_a_query_that_no_caller_means_is_refused(service, query, status):
    found = service.get("/v1/history", raw_query=query)
    assert (found.status, found.headers["content-type"]) == (status, "application/problem+json")
    jsonschema.validate(found.json, schema_of("Problem"))


@pytest.mark.parametrize(
    "path",
    ["/", "//v1/log", "/v1/log/", "/V1/log", "/v1/entries/01", "/v1/entries/1/", "/v1/entries/-1", "/tile/../x",
     "/v1/evidence/" + "A" * 64, "/v1/evidence/" + "a" * 63, "/tile/0/00", "/tile/0/x000/001", "/tile/0/000.p/0",
     "/tile/0/000.p/256", "/tile/64/000", "/tile/entries/000.p/01", "/problems/other", "/v1/signers/" + "a" * 64],
)  # fmt: skip
def test_another_spelling_of_a_path_is_no_path(service, path):
    found = service.get(path)
    assert (found.status, found.json["type"]) == (404, "/problems/not-found")


def test_the_problems_of_the_table_are_those_that_come(service):
    assert service.ask("DELETE", "/v1/log").headers["allow"] == "GET, HEAD, OPTIONS"
    assert service.ask("DELETE", "/v1/log").status == 405
    assert service.ask("POST", "/v1/standings", headers={"content-type": "text/plain"}).status == 415
    assert service.ask("POST", "/v1/standings", headers={"content-length": "99999999"}).status == 413
    assert service.ask("POST", "/v1/standings", headers={"content-length": "x"}).status == 400
    for route in WRITE_ROUTES:
        found = service.ask(route.method, route.path.replace("{sha256}", "a" * 64))
        assert (found.status, found.json["type"]) == (403, "/problems/forbidden")
        assert "access-control-allow-origin" not in found.headers


def test_every_type_of_problem_has_a_page_and_a_place_in_the_description(service):
    described = describe((*READ_ROUTES, *WRITE_ROUTES))
    for problem in PROBLEMS:
        assert problem.title in service.get(problem.type).body.decode()
    for route in (*READ_ROUTES, *WRITE_ROUTES):
        statuses = described["paths"][route.path][route.method.lower()]["responses"]
        assert {str(each.status) for each in problems_of(route)} <= statuses.keys()


# The log


def test_the_checkpoint_and_the_tiles_are_the_files(service, filled):
    assert service.get("/checkpoint").body == (filled / "log/checkpoint").read_bytes()
    for path in (filled / "log/tile").rglob("*"):
        if path.is_file():
            found = service.get(f"/{path.relative_to(filled / 'log')}")
            assert found.body == path.read_bytes()
            assert "immutable" not in found.headers["cache-control"]  # all are partial here


def test_a_bundle_comes_packed_to_whoever_takes_that(service):
    size = service.get("/v1/log").json["size"]
    path = f"/tile/entries/000.p/{size}"
    plain = service.get(path)
    packed = service.ask("GET", path, headers={"accept-encoding": "br, gzip;q=0.5"})
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "content-encoding" not in service.ask("GET", path, headers={"accept-encoding": "gzip;q=0"}).headers


def test_an_object_beyond_the_checkpoint_is_not_shown(ledger):
    """Tiles are written before the checkpoint that needs them."""
    app = make_app(ledger, limits=Limits())
    size = Service(app).get("/v1/log").json["size"]
    folder = ledger / "log/tile/0/000.p"
    (folder / str(size + 1)).write_bytes(b"early")
    assert Service(app).get(f"/tile/0/000.p/{size + 1}").status == 404
    assert Service(app).get(f"/tile/0/000.p/{size}").status == 200
    app.pool.close()


def test_a_proof_is_one_that_verifies(service, hubledger, filled, tmp_path):
    (tmp_path / "p.tlog-proof").write_bytes(service.get("/v1/entries/3/proof").body)
    assert parse_proof((tmp_path / "p.tlog-proof").read_bytes()).index == 3
    code, out, _ = hubledger(
        "verify", "--proof", tmp_path / "p.tlog-proof", "--trust", filled / "trust.toml", "--log-only"
    )
    assert code == 0, out
    assert service.get("/v1/entries/3/proof", since="1000").status == 404


# Evidence


def manifest(service):
    return service.get("/v1/entries/1").json["statement"]["predicate"]["manifest"]["sha256"]


def test_evidence_is_a_download_and_gone_once_withdrawn(ledger):
    app = make_app(ledger, limits=Limits())
    service = Service(app)
    sha256 = manifest(service)
    found = service.get(f"/v1/evidence/{sha256}")
    assert json.loads(found.body)[0]["path"] == "weights"
    assert found.headers["content-disposition"] == f'attachment; filename="{sha256}"'
    withdraw_evidence(ledger, [bytes.fromhex(sha256)], reason="personal-data", reference="case 17")
    gone = service.get(f"/v1/evidence/{sha256}")
    assert (gone.status, gone.json["reason"], gone.json["reference"]) == (410, "personal-data", "case 17")
    assert (
        service.ask("GET", f"/v1/evidence/{sha256}", headers={"if-none-match": found.headers["etag"]}).status
        == 410
    )
    app.pool.close()


def test_what_no_published_statement_names_is_not_handed_out(ledger):
    stray = digest("stray")
    folder = ledger / "evidence" / stray.hex()[:2]
    folder.mkdir(exist_ok=True)
    (folder / stray.hex()).write_bytes(b"stray")
    app = make_app(ledger, limits=Limits())
    assert Service(app).get(f"/v1/evidence/{stray.hex()}").status == 404
    app.pool.close()


def test_damaged_evidence_is_not_handed_out(ledger):
    app = make_app(ledger, limits=Limits())
    sha256 = manifest(Service(app))
    (ledger / "evidence" / sha256[:2] / sha256).write_bytes(b"other")
    found = Service(app).get(f"/v1/evidence/{sha256}")
    assert (found.status, found.json["type"]) == (500, "/problems/internal")
    assert "other" not in found.body.decode()
    app.pool.close()


def test_a_bundle_is_withheld_where_its_signer_is(ledger):
    bundle = b"a bundle that names somebody"
    sha256 = hashlib.sha256(bundle).digest()
    (signed,) = signed_by(CommittedFacts(commitment=digest("commitment")))
    held_back = replace(
        facts("acme/private", "r1"), signatures=(replace(signed, bundle_sha256=sha256),), outcome="VERIFIED"
    )
    with open_for_recording(ledger) as opened:
        opened.evidence.put([bundle])
        opened.recorder.record(held_back)
        opened.recorder.publish()
        mirror_digests(opened)
    app = make_app(ledger, limits=Limits())
    found = Service(app).get(f"/v1/evidence/{sha256.hex()}")
    assert (found.status, found.json["type"]) == (403, "/problems/withheld")
    assert b"somebody" not in found.body
    app.pool.close()


def test_every_address_parameter_and_problem_is_in_the_reference():
    text = (REPOSITORY / "docs/reference/http.md").read_text(encoding="utf-8")
    for route in (*READ_ROUTES, *WRITE_ROUTES):
        row = next(line for line in text.split("\n") if line.startswith(f"| `{route.method} {route.path}` |"))
        assert all(f"`{each.name}`" in row for each in route.parameters)
    for problem in PROBLEMS:
        row = next(line for line in text.split("\n") if line.startswith(f"| `{problem.type}` |"))
        assert f"| {problem.status} |" in row
        assert all(f"`{kind.__name__}`" in row for kind, found in PROBLEM_OF.items() if found is problem)
    described = {line.split("`")[1] for line in text.split("\n") if re.match(r"\| `(GET|POST|PUT) ", line)}
    assert described == {f"{each.method} {each.path}" for each in (*READ_ROUTES, *WRITE_ROUTES)}


def test_every_class_of_error_is_a_problem():
    classes = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LedgerError)
    }
    assert set(PROBLEM_OF) == classes


def test_single_entries_are_those_of_the_log_and_a_damaged_one_is_noticed(tmp_path):
    init(tmp_path / "ledger", origin="log.example/models", hub="hub.example")
    with open_for_recording(tmp_path / "ledger") as opened:
        opened.recorder.record_batch([facts("acme/many", f"r{number}") for number in range(600)])
        opened.recorder.publish()
    view = View(tmp_path / "ledger")
    log, size = view.ledger.log, view.size
    whole = list(open_for_reading(tmp_path / "ledger").log.read(0, size, size=size))
    for leaf_index in (0, 1, 255, 256, 511, 512, 600):
        assert list(log.read(leaf_index, leaf_index + 1, size=size)) == [whole[leaf_index]]
    bundle = tmp_path / "ledger/log/tile/entries/001"
    data = bytearray(bundle.read_bytes())
    data[2000] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(errors.CorruptError):
        list(log.read(257, 258, size=size))
    bundle.write_bytes(b"")
    with pytest.raises(errors.LedgerError):
        list(log.read(300, 301, size=size))


JUNK = st.one_of(
    st.sampled_from(("", "0", "1", "-1", "2048", "9" * 30, "a" * 64, "acme/tiny", "name", "recorded", "r1")),
    st.text(max_size=40),
    st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_nothing_that_is_asked_brings_an_answer_that_is_not_described(service, data):
    """What comes is always one of the statuses of the description, with its media type, and never a 5xx."""
    route = data.draw(st.sampled_from(READ_ROUTES))
    known = [each.name for each in route.parameters] + ["other"]
    query = data.draw(st.dictionaries(st.sampled_from(known), JUNK, max_size=3))
    path = route.path
    for variable in ("{leaf}", "{sha256}", "{tile}", "{slug}"):
        if variable in path:
            path = path.replace(variable, data.draw(JUNK))
    body = data.draw(
        st.one_of(JUNK.map(lambda text: text.encode("utf-8", "surrogatepass")), st.just(b'{"pairs":[]}'))
    )
    encoded = (
        urlencode(query, errors="surrogatepass")
        if data.draw(st.booleans())
        else "&".join(f"{name}={value}" for name, value in query.items())
    )
    found = service.ask(route.method, path, raw_query=encoded, body=body)
    described = {*route.answers, 404, *(each.status for each in problems_of(route))}
    assert found.status < 500
    assert found.status in described
    if found.status >= 400:
        jsonschema.validate(found.json, schema_of("Problem"))
        assert found.headers["content-type"] == "application/problem+json"


def test_what_the_service_reads_of_its_own_log_is_what_a_strict_reader_finds(filled):
    ledger = open_for_reading(filled)
    size = ledger.size()
    for at in range(size):
        assert read_own_statement_at(ledger, at, size) == read_statement_at(ledger, at, size)
    event = next(
        payload
        for at in range(size)
        if b"verification-event" in (payload := parse_entry(read_entry_at(ledger, at, size)).payload)
    )
    unknown = event.replace(b'"outcome"', b'"more":1,"outcome"', 1)
    for data in (unknown, event[:-1], b"{}", b"[]", b'{"predicate":1,"predicateType":[]}'):
        assert said_of(parse_audited_statement, data) == said_of(parse_statement, data)


def said_of(parse, data):
    try:
        return parse(data)
    except LedgerError as error:
        return str(error)


def test_histories_are_remembered_packed_and_made_again_when_something_is_added(ledger):
    with open_for_recording(ledger) as opened:
        for number in range(3):
            opened.recorder.record(facts("acme/new", f"r{number}", key("a")))
        opened.recorder.publish()
        opened.recorder.await_index()
        histories = Histories(View(ledger))
        first = histories.of("acme/new")
        assert histories.of("acme/new") is first
        opened.recorder.record(facts("acme/other", "r1", key("a")))
        opened.recorder.publish()
        opened.recorder.await_index()
        assert histories.of("acme/new") is first, "nothing was added to this one"
        opened.recorder.record(facts("acme/new", "r3", key("b")))
        opened.recorder.publish()
        opened.recorder.await_index()
        second = histories.of("acme/new")
    assert (len(first.leaves), len(second.leaves)) == (3, 4)
    assert [json.loads(each)["revision"] for each in second.rows()] == ["r0", "r1", "r2", "r3"]
    assert second.rows()[:3] == first.rows()
    assert list(second.standings()) == ["r0", "r1", "r2", "r3"]
    assert json.loads(second.standings()["r3"])["standing"].startswith("Signer changed")
