"""Attestations of what changed, from the log over HTTP to a client that believes nothing else: pins, challenges, and lies.

The hub here decides by a policy of its own, which hubledger's does not: it challenges a change and accepts it. Its statements are
made with the code that any hub's are made with, and signed by the key that the service signs attestations with.
"""

import base64
import datetime as dt
import hashlib
import json
import re

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.attestation import EXTENSION, MAX_SECONDS
from ledger.attestation.envelope import format_bundle
from ledger.bundle.trust_material import TrustMaterial
from ledger.config import load_config
from ledger.embedded.clock import utc_now
from ledger.embedded.keys import load_hub_key, spki_of
from ledger.embedded.opening import open_for_recording
from ledger.embedded.recording import RecordRequest, facts_of, find_out, record_revision
from ledger.entry import keyid_of, pae
from ledger.event import HistoryLink, format_statement
from ledger.event.schemas import CHALLENGE, IDENTITY_POLICY
from ledger.history import history_keys
from ledger.identity import KeyFacts, canonical_identity, identity_digest
from ledger.policy.tofu import POLICY_SHA256, Decision
from ledger.recorder.drafts import Draft, Drafter, following
from ledger.recorder.signing import HubSigner
from ledger.storage.sqlite import event_key
from tests.oms import new_key, public_pem, spki_sha256
from tests.system import test_client
from tests.system.service import serving
from tests.system.test_client import row

data, ledger = test_client.data, test_client.ledger
HISTORY = "name:acme/tiny"
FORMS = ("vsa", "svr")
PLAIN = "HUBLEDGER_SIGNATURE_VERIFIED"
METHODS = {
    "old-signer": "HUBLEDGER_CHANGE_CHALLENGED_OLD_SIGNER",
    "totp": "HUBLEDGER_CHANGE_CHALLENGED_TOTP",
    "webauthn": "HUBLEDGER_CHANGE_CHALLENGED_WEBAUTHN",
    "hub": "HUBLEDGER_CHANGE_CHALLENGED_HUB",
}


class Hub(test_client.Hub):
    """A hub whose first signer is pinned; ``other_signer`` is another one from then on."""

    def __init__(self, ledger, tmp_path, hubledger):
        super().__init__(ledger, tmp_path)
        self._folder, self._hubledger, self._said = tmp_path, hubledger, 0

    def other_signer(self):
        self.key = new_key()
        self.pem = self._folder / "other.pub"
        self.pem.write_bytes(public_pem(self.key))

    @property
    def identity(self):
        """The digest of whoever signs now."""
        return identity_digest(canonical_identity(KeyFacts(spki_sha256=spki_sha256(self.key)))).hex()

    @property
    def hub_key(self):
        return load_hub_key(self.ledger / "keys/hub.key")

    def say(self, kind, history=HISTORY, **fields):
        """Record a policy, or a step of a challenge."""
        self._said += 1
        with open_for_recording(self.ledger) as ledger:
            ledger.recorder.record_statement(
                kind,
                {"policySha256": POLICY_SHA256.hex(), **fields},
                histories=[history],
                event_id=f"s-{self._said}",
            )
            ledger.publish()

    def decide(self, revision, model, decision, *reasons, name="acme/tiny", repo_id=None):
        """Record a revision by a decision that the hub makes itself."""
        request = RecordRequest(
            name=name, revision=revision, model=model, public_keys=[self.pem], repo_id=repo_id
        )
        trust = TrustMaterial(public_keys=[self.pem.read_bytes()])
        findings = find_out(request, trust, received=dt.datetime.now(dt.UTC))
        facts = facts_of(request, findings)
        config, key = load_config(self.ledger), self.hub_key
        signer = HubSigner(key=key, keyid=keyid_of(spki_of(key)))
        with open_for_recording(self.ledger) as ledger:
            ledger.evidence.put_stream(findings.manifest.sha256, findings.manifest.chunks())
            heads = ledger.log.lookup([], history_keys(name, repo_id))[1]
            links = tuple(
                HistoryLink(key=key, sequence=head.sequence + 1, previous=head.statement_sha256)
                for key, head in sorted(heads.items())
            )
            drafter = Drafter(ledger=config.ledger, hub=config.hub, now=utc_now)
            made = drafter.event(
                facts, links, now=utc_now(), decision=Decision(decision=decision, reasons=reasons)
            )
            statement = format_statement(made)
            sha256 = hashlib.sha256(statement).digest()
            moved = [(key, head, following(head, sha256, None)) for key, head in sorted(heads.items())]
            draft = Draft(0, made, statement, sha256, event_key(config.hub, facts.event_id), moved)
            ledger.log.append([draft.submission(entry) for entry in signer.sign_run([statement])])
            ledger.publish()
        assert self._hubledger("index", "rebuild", self.ledger)[0] == 0

    def sign_attestation(self, payload):
        """What whoever has the hub's key can sign."""
        key = self.hub_key
        signature = key.sign(pae(payload), ec.ECDSA(hashes.SHA256()))
        return format_bundle(payload, keyid=keyid_of(spki_of(key)), signature=signature)


@pytest.fixture
def hub(ledger, tmp_path, hubledger):
    return Hub(ledger, tmp_path, hubledger)


def statement_of(data):
    return json.loads(base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"]))


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def ask(url, form, revision, model="acme/tiny"):
    return httpx.get(f"{url}/v1/attestations/{form}", params={"model": model, "revision": revision})


def levels(answer):
    predicate = statement_of(answer.content)["predicate"]
    return predicate.get("verifiedLevels", predicate.get("properties"))


def verify(hubledger, model, file, *more):
    code, out, err = hubledger("verify", model, "--attestation", file, "--json", *more)
    return code, json.loads(out or err)


def check(hubledger, url, hub, revision, model, wanted, tmp_path):
    """Both forms say the levels, and our client finds the event for each and agrees."""
    hubledger("trust", "add", url)
    for form in FORMS:
        answer = ask(url, form, revision)
        assert (answer.status_code, levels(answer)) == (200, wanted)
        (tmp_path / form).write_bytes(answer.content)
        code, facts = verify(hubledger, model, tmp_path / form, "--public-key", hub.pem)
        assert (code, row(facts, "attestation")["result"]) == (0, "ok")
        assert f"it says {', '.join(wanted)}, by key" in row(facts, "attestation")["against"]


# What is true


def test_the_first_signer_and_then_the_one_who_is_pinned(hubledger, hub, tmp_path):
    second = hub.sign(tmp_path / "second", b"second")
    hub.record("r2", second)
    with serving(hub.ledger, "--read-only") as (url, _):
        check(hubledger, url, hub, "r1", hub.model, [PLAIN, "HUBLEDGER_SIGNER_FIRST_USE"], tmp_path)
        check(hubledger, url, hub, "r2", second, [PLAIN, "HUBLEDGER_SIGNER_PINNED"], tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_a_change_is_named_by_the_method_by_which_it_was_challenged(hubledger, hub, tmp_path, method):
    old = hub.identity
    hub.other_signer()
    changed, later = hub.sign(tmp_path / "changed", b"changed"), hub.sign(tmp_path / "later", b"later")
    assert hub.record("r2", changed)["decision"] == "challenged"
    hub.say(CHALLENGE, challengeId="c1", state="opened", expiresAt="2999-01-01T00:00:00Z")
    answered_by = old if method == "old-signer" else "owner"
    hub.say(CHALLENGE, challengeId="c1", state="answered", method=method, answeredBy=answered_by)
    agree(hub)
    hub.decide("r3", changed, "accepted", "signer-changed", f"challenged-by-{method}")
    hub.decide("r4", later, "observed")
    with serving(hub.ledger, "--read-only") as (url, _):
        assert levels(ask(url, "vsa", "r2")) == ["FAILED"]
        check(hubledger, url, hub, "r3", changed, [PLAIN, METHODS[method]], tmp_path)
        check(hubledger, url, hub, "r4", later, [PLAIN, "HUBLEDGER_SIGNER_PINNED"], tmp_path)


def agree(hub, history=HISTORY):
    hub.say(
        IDENTITY_POLICY,
        history,
        scope=history,
        change="rotate",
        requestedBy="owner",
        authorisedBy="owner",
        effectiveAt="2026-01-01T00:00:00Z",
        challengeId="c1",
        identities=[hub.identity],
    )


def test_what_is_said_in_the_history_of_the_repository_counts_under_its_new_name(hubledger, hub, tmp_path):
    """Pinned under the old name; challenged and agreed on where the repository alone is named."""
    record_revision(
        hub.ledger,
        RecordRequest(name="acme/old", revision="r1", model=hub.model, public_keys=[hub.pem], repo_id="7"),
    )
    again = RecordRequest(name="acme/new", revision="r2", model=hub.model, public_keys=[hub.pem], repo_id="7")
    record_revision(hub.ledger, again)
    hub.other_signer()
    changed = hub.sign(tmp_path / "changed", b"changed")
    hub.say(CHALLENGE, "repo:7", challengeId="c1", state="opened")
    hub.say(CHALLENGE, "repo:7", challengeId="c1", state="answered", method="totp", answeredBy="owner")
    agree(hub, "repo:7")
    reasons = ("signer-changed", "challenged-by-totp")
    hub.decide("r3", changed, "accepted", *reasons, name="acme/new", repo_id="7")
    with serving(hub.ledger, "--read-only") as (url, _):
        said = [levels(ask(url, "vsa", each, model="acme/new")) for each in ("r2", "r3")]
    assert said == [[PLAIN, "HUBLEDGER_SIGNER_PINNED"], [PLAIN, METHODS["totp"]]]


@pytest.mark.parametrize("answered", [None, "somebody"])
def test_a_change_that_nobody_was_asked_about_is_not_said_to_be_challenged(
    hubledger, hub, tmp_path, answered
):
    """Though the hub's event says so: accepted with no challenge, or one that a stranger answered as the old signer."""
    hub.other_signer()
    changed = hub.sign(tmp_path / "changed", b"changed")
    hub.say(CHALLENGE, challengeId="c1", state="opened")
    if answered is not None:
        hub.say(CHALLENGE, challengeId="c1", state="answered", method="old-signer", answeredBy=hub.identity)
    agree(hub)
    hub.decide("r2", changed, "accepted", "signer-changed", "challenged-by-old-signer")
    with serving(hub.ledger, "--read-only") as (url, _):
        check(hubledger, url, hub, "r2", changed, [PLAIN], tmp_path)


@pytest.mark.parametrize("decision", ["challenged", "rejected"])
def test_what_the_hub_does_not_accept_fails_in_one_form_and_has_no_other(hubledger, hub, tmp_path, decision):
    hub.other_signer()
    changed = hub.sign(tmp_path / "changed", b"changed")
    hub.decide("r2", changed, decision, "signer-changed", "challenged-by-totp")
    with serving(hub.ledger, "--read-only") as (url, _):
        answer = ask(url, "vsa", "r2")
        said = statement_of(answer.content)["predicate"]
        assert (said["verificationResult"], said["verifiedLevels"]) == ("FAILED", ["FAILED"])
        refused = ask(url, "svr", "r2")
        assert (refused.status_code, refused.json()["detail"]) == (
            422,
            f"simple verification result: expected a revision that the hub accepts: the form lists what has passed, got VERIFIED, {decision}",
        )
        hubledger("trust", "add", url)
        (tmp_path / "vsa").write_bytes(answer.content)
        code, facts = verify(hubledger, changed, tmp_path / "vsa")
        assert (code, row(facts, "attestation")["result"]) == (20, "ok")
        assert facts["failure"]["actual"] == f"decision {decision} (signer-changed, challenged-by-totp)"
        # The same, made to look as if it had passed.
        for form in FORMS:
            lie = statement_of(ask(url, form, "r1").content)
            lie["subject"] = statement_of(answer.content)["subject"]
            lie["predicate"][EXTENSION] = said[EXTENSION]
            (tmp_path / form).write_bytes(hub.sign_attestation(canonical(lie)))
            code, facts = verify(hubledger, changed, tmp_path / form)
            assert (code, row(facts, "attestation")["result"]) == (13, "FAILED")


def test_an_attestation_past_its_age_limit_is_stale(hubledger, hub, tmp_path):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        for form in FORMS:
            lie = statement_of(ask(url, form, "r1").content)
            made = {"vsa": "timeVerified", "svr": "timeCreated"}[form]
            at = dt.datetime.fromisoformat(lie["predicate"][made])
            for name, when in ((made, at - dt.timedelta(seconds=60)), (None, at - dt.timedelta(seconds=59))):
                where = lie["predicate"] if name else lie["predicate"][EXTENSION]
                where[name or "expires"] = when.isoformat().replace("+00:00", "Z")
            (tmp_path / form).write_bytes(hub.sign_attestation(canonical(lie)))
            code, facts = verify(hubledger, hub.model, tmp_path / form)
            assert (code, facts["log"], facts["failure"]["expected"]) == (
                10,
                "STALE",
                "an attestation that has not expired",
            )
            assert re.fullmatch(r"one that expired \d+ s ago", facts["failure"]["actual"])


# What is not true


def test_a_method_that_the_event_does_not_name_is_refused(hubledger, hub, tmp_path):
    """The log has a challenge by one method; the attestation names each other one, one that is none, and a pin."""
    hub.other_signer()
    changed = hub.sign(tmp_path / "changed", b"changed")
    hub.say(CHALLENGE, challengeId="c1", state="opened")
    hub.say(CHALLENGE, challengeId="c1", state="answered", method="totp", answeredBy="owner")
    agree(hub)
    hub.decide("r2", changed, "accepted", "signer-changed", "challenged-by-totp")
    others = [each for name, each in METHODS.items() if name != "totp"]
    others += ["HUBLEDGER_CHANGE_CHALLENGED_DNS", "HUBLEDGER_CHANGE_CHALLENGED", "HUBLEDGER_SIGNER_PINNED"]
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        for form in FORMS:
            lie = statement_of(ask(url, form, "r2").content)
            for level in others:
                lie["predicate"]["verifiedLevels" if form == "vsa" else "properties"] = [PLAIN, level]
                (tmp_path / form).write_bytes(hub.sign_attestation(canonical(lie)))
                code, facts = verify(hubledger, changed, tmp_path / form)
                assert (code, facts["failure"]["expected"], facts["failure"]["actual"]) == (
                    13,
                    f"levels that the event can have: [{PLAIN}] or [{PLAIN}, HUBLEDGER_CHANGE_CHALLENGED_TOTP]",
                    f"[{PLAIN}, {level}]",
                )


def test_the_first_event_of_a_model_was_signed_by_nobody_pinned(hubledger, hub, tmp_path):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        lie = statement_of(ask(url, "vsa", "r1").content)
        lie["predicate"]["verifiedLevels"] = [PLAIN, "HUBLEDGER_SIGNER_PINNED"]
        (tmp_path / "vsa").write_bytes(hub.sign_attestation(canonical(lie)))
        code, facts = verify(hubledger, hub.model, tmp_path / "vsa")
    assert (code, facts["failure"]["expected"]) == (
        13,
        f"levels that the event can have: [{PLAIN}] or [{PLAIN}, HUBLEDGER_SIGNER_FIRST_USE]",
    )


def nodes(value, path=()):
    """Every value of a statement, with where it is: the fields that there are, whichever they may be."""
    yield path, value
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, child in children:
        yield from nodes(child, (*path, step))


def lies(statement):
    """Every statement with one thing changed, left out or added; (what, path of it, bent statement)."""
    for path, value in nodes(statement):
        if isinstance(value, dict):
            for name in value:
                yield "left out", (*path, name), put(statement, (*path, name), None)
            yield "added", (*path, "extra"), put(statement, (*path, "extra"), "x")
        elif isinstance(value, list):
            yield "changed", path, put(statement, path, [*value, value[-1]])
            yield "changed", path, put(statement, path, value[1:])
        else:
            yield "changed", path, put(statement, path, other(value))


def put(statement, path, value):
    copy = json.loads(json.dumps(statement))
    at = copy
    for step in path[:-1]:
        at = at[step]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return copy


def other(value):
    """Another value of the same form, where it has one."""
    if isinstance(value, int):
        return value + 1
    if re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", value):
        return f"{int(value[:4]) + 2}{value[4:]}"
    if re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    return f"{value}x"


def get(statement, path):
    for step in path:
        statement = statement[step]
    return statement


def shown(value):
    text = value if isinstance(value, str) else canonical(value).decode()
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def dotted(path):
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


TYPES = "https://slsa.dev/verification_summary/v1 or https://in-toto.io/attestation/svr/v0.2"
NO_STATEMENT = (31, f"https://in-toto.io/Statement/v1 with {TYPES}", "another")
LONG = f"one that is good for 1 to {MAX_SECONDS} seconds"
LEVELS = f"levels that the event can have: [{PLAIN}] or [{PLAIN}, HUBLEDGER_SIGNER_FIRST_USE]"


ABOUT = {f"predicate.{EXTENSION}.hub", f"predicate.{EXTENSION}.revision", "subject[0].name"}
"""What an attestation is about: one about something else is refused before anybody is asked."""


def said_of(form, what, path, true, bent):
    """The exit code, and what is expected and got instead: for most fields the field itself."""
    at = dotted(path)
    made, listed = {"vsa": ("timeVerified", "verifiedLevels"), "svr": ("timeCreated", "properties")}[form]
    needed = {"subject", "subject[0].name", "_type", "predicateType", "predicate"}
    if (what == "left out" and at in needed) or (what == "changed" and at in needed - {"subject[0].name"}):
        return NO_STATEMENT
    if at == "predicate.verificationResult":  # neither of the two words
        return 31, f"a {form}", "another form"
    if what == "left out" and at in (f"predicate.{made}", f"predicate.{listed}"):
        return 31, f"a {form}", "another form"
    if what == "left out" and EXTENSION in path:
        left = bent["predicate"].get(EXTENSION)
        return 31, "where the event is", "None" if left is None else str(dict(sorted(left.items())))
    if what == "changed" and at.startswith(f"predicate.{listed}"):
        return 13, LEVELS, f"[{', '.join(bent['predicate'][listed])}]"
    if what == "changed" and at in (f"predicate.{made}", f"predicate.{EXTENSION}.expires"):
        seconds = dt.datetime.fromisoformat(bent["predicate"][EXTENSION]["expires"])
        seconds -= dt.datetime.fromisoformat(bent["predicate"][made])
        return 13, LONG, f"one for {int(seconds.total_seconds())} seconds"
    if what == "added":
        return 12, f"no {at}, which this version does not know", f"{at} x"
    if (
        what == "changed" and at == f"predicate.{EXTENSION}.leafIndex"
    ):  # could be one that is still to be fetched
        later, here = get(bent, path), get(true, path)
        proof = f"the proof of leaf {later}, which the attestation is about"
        return 12, proof, f"that of leaf {here}, which came before"
    if what == "changed" and at in ABOUT:
        about = bent["predicate"][EXTENSION]
        named = f"{about['hub']}/{bent['subject'][0]['name']} at {about['revision']}"
        return 2, f"one about {test_client.NAME} at r1, which you asked for", f"one about {named}"
    got = "none" if what == "left out" else f"{at} {shown(get(bent, path))}"
    return 13, f"{at} {shown(get(true, path))}, as the event says", got


@pytest.mark.parametrize("form", FORMS)
def test_an_attestation_that_lies_in_any_field_is_refused(hubledger, hub, tmp_path, form):
    """Signed by the hub's own key. What is asked for is named, so that no lie leads the client elsewhere."""
    asked = ("--name", test_client.NAME, "--revision", "r1")
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        true = statement_of(ask(url, form, "r1").content)
        file = tmp_path / "attestation"
        file.write_bytes(hub.sign_attestation(canonical(true)))
        assert verify(hubledger, hub.model, file, *asked)[0] == 0
        told = set()
        for what, path, bent in lies(true):
            file.write_bytes(hub.sign_attestation(canonical(bent)))
            code, facts = verify(hubledger, hub.model, file, *asked)
            said = facts.get("failure", facts)
            found = (code, said["expected"], str(said.get("actual")))
            assert found == said_of(form, what, path, true, bent), (what, path)
            told.add((what, path))
    # Each field that holds a value was changed, and each was left out.
    for path, value in nodes(true):
        assert isinstance(value, dict) or ("changed", path) in told
        assert not isinstance(path[-1] if path else 0, str) or ("left out", path) in told


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (("subject", 0, "name"), 34),
        (("predicate", EXTENSION, "revision"), 34),
        (("predicate", EXTENSION, "hub"), 34),
    ],
)
def test_a_pointer_to_what_is_not_there_leads_to_no_success(hubledger, hub, tmp_path, path, code):
    with serving(hub.ledger, "--read-only") as (url, _):
        hubledger("trust", "add", url)
        true = statement_of(ask(url, "vsa", "r1").content)
        (tmp_path / "vsa").write_bytes(
            hub.sign_attestation(canonical(put(true, path, other(get(true, path)))))
        )
        assert verify(hubledger, hub.model, tmp_path / "vsa")[0] == code
