"""Whoever answers in the place of the hub lies about each field of each answer, and has none of the hub's keys.

A check may then succeed only with the facts that the hub signed, and only where a table here says why the lie does not matter.
It never accuses anybody, never fails with what is no error of ours, and never leaves anything that a later check believes.
"""

import base64
import json
import shutil
import time

import pytest

from ledger.attestation.envelope import parse_attestation
from ledger.bundle.trust_material import TrustMaterial
from ledger.client import check
from ledger.client.attested import check_attested
from ledger.client.checking import Question, answer
from ledger.client.pins import LogPin, Pins
from ledger.client.proof_bundle import parse_bundle
from ledger.client.trust import parse_trust
from ledger.client.trust_signature import sign_trust
from ledger.client.trust_store import Origin, TrustStore
from ledger.monitor_statement import MonitorStatement, format_monitor_statement
from ledger.open_findings import OpenList
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.signed_note import Ed25519NoteSigner, parse_note
from tests.client_faults.hub import MODEL, NAME, facts_of, outcome, stored
from tests.client_faults.lies import Lie, as_bytes, b64, canonical, lies_about, lies_in_text
from tests.system.test_client import MONITOR
from tests.world import ed25519_key

REFUSED = {
    *("MalformedError", "LimitError", "SourceError", "NotFoundError"),
    *("INVALID NOT_CHECKED", "CANNOT_CHECK NOT_CHECKED"),
    "INCLUDED_ONLY NOT_CHECKED",  # a sound proof of an entry that is no event
    "INCLUDED_ONLY CONTENT_DIFFERS",  # of another revision
    "INVALID CONTENT_DIFFERS",  # of another model
}
"""How a check ends that such a lie kept from success."""
CHECK, HISTORY, PROOF = "/v1/check", "/v1/history", "/v1/entries/1/proof"


@pytest.fixture(params=["at first sight", "with a pin"])
def ask(request, hub, early, proxy, data):
    """Check the new files; with a pin, what the log showed before the last event is remembered, and the proof has a link to that."""
    text = hub.trust.replace(b"quorum none", b"quorum log-clock")
    trust = stored(text, proxy.url)

    def call(model=hub.new, **more):
        shutil.rmtree(
            data / "proofs", ignore_errors=True
        )  # what was kept would stand in for a service that is away
        return outcome(lambda: check(model, name=NAME, **{"trust": trust, **more}))

    pins = {
        "at first sight": lambda: shutil.rmtree(data / "pins", ignore_errors=True),
        "with a pin": lambda: (shutil.rmtree(data / "pins", ignore_errors=True), call(hub.old, url=early)),
    }[request.param]
    call.begin, call.trust = pins, trust
    pins()
    assert call().satisfied
    call.true = remembered(data)
    pins()
    call.true |= remembered(data)
    assert call(hub.old, url=early).satisfied
    call.true |= remembered(data)
    assert any("/v1/check" in each and "since=3" in each for each in proxy.seen) is (
        request.param == "with a pin"
    )
    return call


def remembered(data):
    """What is remembered of logs and histories, without when and how it was shown."""
    return {
        (each.origin, each.note.split(b"\n\n")[0])
        if isinstance(each, LogPin)
        else (each.key, each.sequence, each.sha256)
        for each in Pins(data).known()
    }


def tell(lies, bend, ask, data, *, harmless, count=20, call=None):
    """Tell each lie, and return what should not have come of it.

    ``bend`` makes of a lie what answers; ``harmless``: fields about which a lie makes no difference, and why.
    """
    call = call or ask
    ask.begin()
    honest = facts_of(call().result)
    ask.begin()
    before, wrong, used, told = remembered(data), [], set(), 0
    for lie in lies:
        bend(lie)
        found = call()
        told += 1
        if found.satisfied:
            used.add(lie.place)
            if facts_of(found.result) != honest:
                wrong.append(f"{lie}: other facts")
            elif lie.place not in harmless:
                wrong.append(f"{lie}: made no difference")
        elif found.word not in REFUSED:
            wrong.append(f"{lie}: {found.word}")
        if (now := remembered(data)) != before:
            if not now <= ask.true:
                wrong.append(f"{lie}: was remembered")
            ask.begin()
    assert told >= count
    wrong += [f"{place}: every lie about it was refused" for place in harmless if place not in used]
    return wrong


def answering_with(proxy, make, *paths):
    """Return what puts a lie into the answers of one address; ``absent`` ones are not there."""
    path, *absent = paths

    def bend(lie):
        def instead(asked):
            if asked.startswith(path):
                return 200, make(lie.value)
            return (404, b"") if asked.startswith(tuple(absent)) else None

        proxy.bend = instead

    return bend


def heard(proxy, path):
    return next(each for asked, each in reversed(proxy.heard.items()) if asked.startswith(path))


def judged(wrong):
    assert not wrong, "\n".join(wrong)


# What the service says of the history: chooses, and proves nothing


_CHOOSES = "it chooses which event is asked for, and that is proven like any other"
_COUNTS = "events that are not listed are asked for page by page"
_LATER = "what a later service may say beside it"
CLAIMS = {
    "contentSha256": _CHOOSES,
    "leafIndex": "where the event is said to be: what is there is proven, and must be of this model with these files",
    "manifestSha256": _CHOOSES,
    "revision": _CHOOSES,
}
CHECK_HARMLESS = {
    "": _LATER,
    "claims": _COUNTS,
    "claims[]": _COUNTS,
    **{f"claims[].{name}": why for name, why in CLAIMS.items()},
    "count": _COUNTS,
    "leafIndex": "of which event the proof is said to be: where it is not the one that is wanted, that one is asked for",
}


def test_the_answer_to_a_check(ask, proxy, data):
    value = json.loads(heard(proxy, CHECK))
    judged(
        tell(lies_about(value), answering_with(proxy, as_bytes, CHECK), ask, data, harmless=CHECK_HARMLESS)
    )


SHOWN = "shown to people who read the history; a client does not read it"
HISTORY_HARMLESS = {
    "": _LATER,
    "events": _CHOOSES,
    "events[]": _CHOOSES,
    "events[].type": "an event that is said to be none is left out of the choice",
    **{f"events[].{name}": why for name, why in CLAIMS.items()},
    **dict.fromkeys(("asOf", "count", "standing"), SHOWN),
}


def test_a_history(ask, proxy, data):
    """Of a service that has no `/v1/check`, or whose answer would be too long."""
    proxy.bend = lambda asked: (404, b"") if asked.startswith(CHECK) else None
    assert ask().satisfied
    value = json.loads(heard(proxy, HISTORY))
    read = {"type", *CLAIMS}
    shown = [name for name in value["events"][0] if name not in read]
    value = {name: each for name, each in value.items() if name not in ("asOf", "standing")}
    value["events"] = [{name: each for name, each in row.items() if name in read} for row in value["events"]]
    harmless = {name: why for name, why in HISTORY_HARMLESS.items() if name not in ("asOf", "standing")}
    assert {"outcome", "signers", "signedBy", "decision"} <= set(shown), SHOWN
    judged(
        tell(lies_about(value), answering_with(proxy, as_bytes, HISTORY, CHECK), ask, data, harmless=harmless)
    )


# The proof


def signatures(text):
    """The lines that sign: a note's signatures are a set, so one may stand twice or elsewhere. Without the quorum's there is no success."""
    lines = text.split("\n")
    return {
        f"line {at + 1}": "twice, or in another order"
        for at, each in enumerate(lines)
        if each.startswith("— ")
    }


def test_the_lines_of_a_proof(ask, proxy, data):
    value = json.loads(heard(proxy, CHECK))

    def bend(lie):
        proxy.bend = lambda asked: (
            (200, as_bytes({**value, "proof": lie.value})) if asked.startswith(CHECK) else None
        )

    harmless = signatures(value["proof"])
    judged(tell(lies_in_text(value["proof"]), bend, ask, data, harmless=harmless))


def test_the_proof_of_one_entry(ask, proxy, data, hub):
    """The one that is asked for where the newest event is not the one that is wanted."""
    call = lambda: ask(hub.old)  # noqa: E731 - one name for what is asked
    assert call().satisfied
    text = heard(proxy, PROOF).decode()
    judged(
        tell(
            lies_in_text(text),
            answering_with(proxy, lambda said: said.encode("utf-8", "replace"), PROOF),
            ask,
            data,
            harmless=signatures(text),
            call=call,
        )
    )


def parts(proof):
    """The lines of a proof, and which of them has the entry."""
    lines = proof.split("\n")
    (at,) = [at for at, each in enumerate(lines) if each.startswith("extra ")]
    return lines, at, json.loads(base64.b64decode(lines[at].removeprefix("extra ")))


def in_extra(proxy):
    """Return the JSON beside the proof, and what puts another in its place."""
    value = json.loads(heard(proxy, CHECK))
    lines, at, extra = parts(value["proof"])

    def bend(lie):
        changed = "\n".join([*lines[:at], "extra " + b64(canonical(lie.value)), *lines[at + 1 :]])
        proxy.bend = lambda asked: (
            (200, as_bytes({**value, "proof": changed})) if asked.startswith(CHECK) else None
        )

    return extra, bend


def test_the_envelope_and_the_link_beside_a_proof(ask, proxy, data):
    """A link to the pin that is none, or is missing, is refused: whoever shows more has the way there. Nothing is accused."""
    extra, bend = in_extra(proxy)
    judged(tell(lies_about(extra), bend, ask, data, harmless={}))


@pytest.mark.parametrize("ask", ["with a pin"], indirect=True)
def test_every_field_of_the_statement(ask, proxy, data):
    """None of them can be changed by who has not the hub's key and the log's."""
    extra, bend_extra = in_extra(proxy)
    envelope = extra.get("entry", extra)
    payload = json.loads(base64.b64decode(envelope["payload"]))

    def bend(lie):
        changed = {**envelope, "payload": b64(canonical(lie.value))}
        bend_extra(
            type(lie)(lie.place, lie.how, {**extra, "entry": changed} if "entry" in extra else changed)
        )

    judged(tell(lies_about(payload), bend, ask, data, harmless={}, count=500))


def test_a_proof_bundle_from_a_file(ask, proxy, data, hub, hubledger, tmp_path):
    """`hubledger fetch-proof` writes the same things once more, in a form of its own."""
    source, path = tmp_path / "trust.toml", tmp_path / "proof.json"
    source.write_bytes(ask.trust.data)
    assert hubledger("fetch-proof", NAME, "--trust", source, "--url", proxy.url, "-o", path)[0] == 0
    value, lied = json.loads(path.read_bytes()), tmp_path / "lied.json"
    assert parse_bundle(path.read_bytes()).name == MODEL
    lied.write_bytes(path.read_bytes())
    harmless = {
        "name": "what somebody asked for; the event itself names its model",
        "fetchedAt": "the clock of whoever fetched it: said where the proof came from, and judges nothing",
        "claims": "the file has one proof; what the hub says of other events is counted for people",
        "claims[]": "as claims",
        **{f"claims[].{name}": "as claims" for name in CLAIMS},
    }
    bend = lambda lie: lied.write_bytes(canonical(lie.value))  # noqa: E731
    call = lambda: ask(proof_file=lied)  # noqa: E731
    judged(tell(lies_about(value), bend, ask, data, harmless=harmless, call=call))


# What else is asked for


def test_the_manifest_of_a_model_of_which_some_files_are_here(ask, proxy, data, hub, tmp_path):
    some = tmp_path / "some"
    some.mkdir()
    (some / "weights").write_bytes((hub.new / "weights").read_bytes())
    question = Question(path=some, name=MODEL, partial=True)

    def call():
        shutil.rmtree(data / "proofs", ignore_errors=True)
        now = int(time.time())
        return outcome(lambda: answer(question, ask.trust, material=TrustMaterial(), folder=data, now=now))

    assert call().satisfied
    value = json.loads(heard(proxy, "/v1/evidence/"))

    judged(
        tell(
            lies_about(value),
            answering_with(proxy, canonical, "/v1/evidence/"),
            ask,
            data,
            harmless={},
            call=call,
        )
    )


def audited(hub, proxy):
    text = hub.trust.decode().replace('"included"', '"audited"')
    table = f'\n[[monitor]]\nvkey = "{MONITOR.verifier.format()}"\nmax_age = 3600\nurl = "{proxy.url}/statement"\n'
    return stored((text + table).encode(), proxy.url)


def text_of(statement):
    """What a monitor signed, as text."""
    return statement.decode()


def test_what_a_monitor_says(proxy, data, hub):
    """Who stands between user and monitor has not its key: then nobody vouches, which is not enough, and no accusation."""
    trust = audited(hub, proxy)
    tree = parse_checkpoint(parse_note((hub.ledger / "log/checkpoint").read_bytes()).text)
    said = MonitorStatement.of(tree, OpenList.of("log.example/models", {}), checked_at=int(time.time()))
    statement = format_monitor_statement(said, MONITOR)

    def call():
        shutil.rmtree(data / "proofs", ignore_errors=True)
        return outcome(lambda: check(hub.new, name=NAME, trust=trust))

    def answer_with(text):
        proxy.bend = lambda asked: (200, text.encode("utf-8", "replace")) if asked == "/statement" else None

    answer_with(text_of(statement))
    honest = call()
    assert honest.satisfied
    lies = list(lies_in_text(text_of(statement)))
    assert len(lies) > 50
    for lie in lies:
        answer_with(lie.value)
        found = call()
        if lie.place == f"line {text_of(statement).count(chr(10))}" and lie.how == "twice":
            assert found.satisfied, "a signature is one of a set"
            continue
        assert (found.word, found.satisfied) == ("INCLUDED_ONLY NOT_CHECKED", False) or not found.satisfied, (
            str(lie)
        )
        assert found.result.result.failure.step == "monitor monitor.example", str(lie)


# Attestations


BUNDLE_HARMLESS = dict.fromkeys(
    (
        "",
        "dsseEnvelope",
        "dsseEnvelope.signatures[]",
        "verificationMaterial",
        "verificationMaterial.publicKey",
    ),
    "what a later version of Sigstore's bundle may have beside what is signed",
)


@pytest.mark.parametrize("form", ["vsa", "svr"])
def test_an_attestation(proxy, hub, hubledger, tmp_path, form):
    """Beside a check that succeeded: it never makes more of that, and never says that the hub signed what it did not."""
    path = tmp_path / form
    assert hubledger("attestation", hub.ledger, MODEL, "--form", form, "-o", path)[0] == 0
    trust, now = stored(hub.trust, proxy.url), int(time.time())
    checked = check(hub.new, name=NAME, trust=trust)
    value = json.loads(path.read_bytes())
    payload = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))

    def held(data):
        return outcome(lambda: check_attested(checked, parse_attestation(data), trust=trust.trust, now=now))

    honest = facts_of(held(path.read_bytes()).result)
    assert held(path.read_bytes()).satisfied
    wrong, used = [], set()
    for lie, data in [
        *((lie, as_bytes(lie.value)) for lie in lies_about(value)),
        *((lie, as_bytes(with_payload(value, lie.value))) for lie in lies_about(payload)),
    ]:
        found = held(data)
        if found.satisfied:
            used.add(lie.place)
            if facts_of(found.result) != honest or lie.place not in BUNDLE_HARMLESS:
                wrong.append(f"{lie}: made no difference")
        elif found.word not in {"MalformedError", "LimitError", "INVALID NOT_CHECKED"}:
            wrong.append(f"{lie}: {found.word}")
    judged([*wrong, *(each for each in BUNDLE_HARMLESS if each not in used)])


def with_payload(value, payload):
    """Put another statement into an envelope, under the old signature."""
    return {**value, "dsseEnvelope": {**value["dsseEnvelope"], "payload": b64(as_bytes(payload))}}


# Trust files


def test_a_trust_file_that_is_fetched_for_the_first_time(proxy, data, hub, hubledger):
    """Over TLS alone it is whatever the server says: then a check must fail, or the file asks for as much and names the same keys."""
    text = hub.trust.decode().replace("first = 0", "first = 0\nend = 9007199254740991")
    honest = None
    for lie in [Lie("", "told honestly", text), *lies_in_text(text)]:
        proxy.bend = lambda asked, lie=lie: (
            (200, lie.value.encode("utf-8", "replace")) if asked.startswith("/.well-known") else None
        )
        shutil.rmtree(data, ignore_errors=True)
        code, _, err = hubledger("trust", "add", proxy.url)
        if code:
            assert code in (31, 32, 33, 51), f"{lie}: {code} {err}"
            continue
        found = outcome(lambda: check(hub.new, name=NAME))
        if honest is None:
            honest = facts_of(found.result)
        elif found.satisfied:
            assert facts_of(found.result) == honest, str(lie)
            (added,) = TrustStore(data).list()
            assert keys(added.trust) == keys(parse_trust(text.encode())), f"{lie}: {added.data.decode()}"
        else:
            assert found.word in {*REFUSED, "INCLUDED_ONLY NOT_ACCEPTED"}, f"{lie}: {found.word}"


def test_the_next_version_of_a_trust_file(proxy, data, hub, hubledger):
    """Signed by the offline key: whatever is changed in the file or in its signature, the old one stays."""
    offline = Ed25519NoteSigner("hub.example/trust", ed25519_key("offline"))
    first = f'update_key = "{offline.verifier.format()}"\n{hub.trust.decode()}'.encode()
    second = first.replace(b"version = 1", b"version = 2").replace(b"first = 0", b"first = 0\nend = 1000")
    honest = {"": second.decode(), ".sig": sign_trust(second, [offline]).decode()}
    again = f"line {honest['.sig'].count(chr(10))}"
    for which, text in honest.items():
        lies = [each for each in lies_in_text(text) if (each.place, each.how) != (again, "twice")]
        for lie in [*lies, Lie("", "told honestly", text)]:
            told = {
                name: text.encode("utf-8", "replace") for name, text in {**honest, which: lie.value}.items()
            }
            proxy.bend = lambda asked, told=told: (
                (200, told[".sig" if "trust.sig" in asked else ""])
                if asked.startswith("/.well-known")
                else None
            )
            shutil.rmtree(data, ignore_errors=True)
            TrustStore(data).add(first, source=proxy.url, origin=Origin.CONFIRMED)
            code, _, err = hubledger("trust", "update", "hub.example")
            (kept,) = TrustStore(data).list()
            if lie.how == "told honestly":
                assert (code, kept.data) == (0, second)
                continue
            assert kept.data == first, str(lie)
            older = lie.place == "line 3" and "version" not in lie.value
            assert code in (31, 32, 33, 41) or (code == 0 and "version = 1\n" in lie.value), (
                f"{lie}: {code} {err} {older}"
            )


def keys(trust):
    """Whose word counts by a trust file: what makes a check succeed."""
    return trust.ledger, trust.hub, trust.log_keys, {each.spki for each in trust.hub_keys}
