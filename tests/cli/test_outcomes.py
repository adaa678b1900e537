"""Every way in which `hubledger verify` fails, brought about by real logs through the command, and every word that it ends with.

docs/reference/results.md has one row for each; tests/test_docs.py holds its texts and codes to this table.
"""

import dataclasses
import os
import re
import time

import pytest

from cli.main import run
from ledger.attestation import EXTENSION
from ledger.client.proof_bundle import ProofBundle
from ledger.client.trust_writing import format_trust
from ledger.client.trusted_keys import HubKey
from ledger.client.trusted_monitor import TrustedMonitor
from ledger.client.vouching import Stated
from ledger.manifest import format_items
from ledger.open_findings import OpenClass, OpenFindings, OpenSeverity
from ledger.verification import read_content
from tests.ledger.attestation.test_attestation import bent, sign, statement
from tests.ledger.client.test_named import NAME, PLAN, events
from tests.oms import key_bundle, new_key, put
from tests.refusals.bypass import find_bypasses
from tests.refusals.table import ANY
from tests.world import ISSUER, NOW, World, make_event, p256_key, signed_by, sigstore_signer, spki_of

AT = 5
LOG, MODEL = ("--log-only",), ("--model", "model")


class Place:
    """A folder with a model, and a log in which it is leaf 5 of 13."""

    def __init__(self, folder):
        self.folder, self.now = folder, NOW
        (folder / "model").mkdir()
        (folder / "model/weights").write_bytes(bytes(64))
        self.digests = digests(folder / "model")
        self.log = self.recorded(make_event(signed_by(sigstore_signer())))

    def recorded(self, event):
        """A log with this event about the files here."""
        event = dataclasses.replace(event, manifest=dataclasses.replace(event.manifest, **self.digests))
        log = World().grow(AT)
        log.record(event)
        return log.grow(7)

    def verify(self, *words, proof=None, pin=None, **trust):
        """Check a proof file."""
        (self.folder / "trust.toml").write_bytes(format_trust(self.log.trust(**trust)))
        (self.folder / "a.tlog-proof").write_bytes(proof or self.log.proof(AT))
        if pin is not None:
            (self.folder / "pin").write_bytes(pin)
            words = (*words, "--pin", "pin")
        return run(["verify", "--proof", "a.tlog-proof", "--trust", "trust.toml", *words])

    def by_name(self, log, index, *words, stated=(), since=None, name=NAME, **trust):
        """Check by name, from a file of fetch-proof."""
        proof = log.proof(index, since=since)
        bundle = ProofBundle(name=name, proof=proof, claims=(), fetched_at=NOW, stated=stated)
        (self.folder / "trust.toml").write_bytes(format_trust(log.trust(**trust)))
        (self.folder / "bundle").write_bytes(bundle.format())
        asked = words if "--attestation" in words else (*words, "--name", f"hub.example/{name}")
        return run(["verify", *asked, "--from", "bundle", "--trust", "trust.toml", "--log-only"])

    def watched(self, *stated, index=0, **more):
        """Check by name where one monitor must vouch."""
        monitor = TrustedMonitor(key=self.log.monitor().verifier, max_age=60)
        more = {"monitors": (monitor,), "require": "audited"} | more
        return self.by_name(self.log, index, stated=stated, name=f"other/model-{index}", **more)

    def attested(self, payload, log=None, index=4):
        """Check what an attestation of the event at leaf 4 points at."""
        log = log or chain()
        (self.folder / "a.vsa").write_bytes(sign(payload(log)))
        return self.by_name(log, index, "--attestation", "a.vsa")


def chain(*more):
    log = World().grow(3)
    for each in events(*PLAN, *more):
        log.record(each)
    return log.grow(2)


def history_signed_twice(place):
    log = chain()
    assert place.by_name(log, 3) == 0
    at = log.record(events(("r0", "mallory", "observed", "files"), PLAN[1])[1])
    return place.by_name(log, at, since=7)


def taken_back(place):
    log = World()
    for each in events(*PLAN, ("r2", "alice", "rejected", "files")):
        log.record(each)
    assert place.by_name(log, 2) == 0
    return place.by_name(log, 1)


def no_signature(place):
    place.log = place.recorded(make_event())
    return place.verify(*MODEL)


def attestation_that_lies(place):
    return place.attested(
        lambda log: bent(statement(log), "predicate", EXTENSION, "leafHash", value="0" * 64)
    )


def attestation_expired(place):
    place.now += 14 * 86_400
    return place.attested(statement)


def attestation_of_an_earlier_event(place):
    return place.attested(statement, chain(("r2", "alice", "accepted", "files")), 5)


def attestation_of_a_later_event(place):
    return place.attested(lambda log: bent(statement(log), "predicate", EXTENSION, "leafIndex", value=5))


def fork():
    return World().grow(2).grow(11, word="forked")


def bare(proof):
    return b"\n".join(line for line in proof.split(b"\n") if not line.startswith(b"extra "))


def rejected(place, **changes):
    event = make_event(signed_by(sigstore_signer()), **changes)
    place.log = place.recorded(event)
    return place.verify(*MODEL)


def challenged(place):
    event = dataclasses.replace(
        make_event(signed_by(sigstore_signer()), decision="challenged"), reasons=("signer-changed",)
    )
    place.log = place.recorded(event)
    return place.verify(*MODEL)


def other_files_of_a_refused_revision(place):
    place.log = place.recorded(make_event(signed_by(sigstore_signer()), decision="challenged"))
    return place.verify("--model", "trust.toml")


def a_pipe_beside_the_files(place):
    os.mkfifo(place.folder / "model/pipe")
    return place.verify(*MODEL)


def a_bundle_called_as_a_template(place):
    bundle = key_bundle({"predicateType": "an added sentence"}, new_key())
    put(place.folder / "model", bundle, name="chat_template.jinja")
    return place.verify(*MODEL)


def downloaded(place):
    (place.folder / "model/.cache").mkdir()
    for name in "abcd":
        (place.folder / "model/.cache" / name).write_bytes(b"")
    return place.verify(*MODEL)


def listed(place):
    manifest = read_content(place.folder / "model").manifest
    (place.folder / "manifest.json").write_bytes(b"".join(format_items(manifest.items)))


def damaged(place):
    (place.folder / "model/more").write_bytes(b"")
    place.digests = digests(place.folder / "model")
    place.log = place.recorded(make_event(signed_by(sigstore_signer())))
    listed(place)
    (place.folder / "model/more").unlink()
    (place.folder / "model/weights").write_bytes(b"x")
    return place.verify(*MODEL)


def digests(folder):
    found = read_content(folder)
    return {"sha256": found.manifest.sha256, "content_sha256": found.content.sha256}


DATED = {"witnesses": ("w.example",), "max_age": 60, "require": "complete"}
OUTCOMES = {
    "an older checkpoint than the pin": (
        10,
        (
            "log: STALE   model: NOT_CHECKED\n"
            "Caution: not linked to your pin: this proof is from when the log had 9 entries, and you have seen "
            "13; a later event, such as one that takes this back, would not be seen here.\n"
            "Failed: link to your pin: expected a checkpoint not older than your pin, got an older one\n"
            "  possible: the proof was fetched a while ago\n"
            "  possible: the log has stopped publishing\n"
            "  next: Fetch a new proof of the same event\n"
        ),
        lambda place: place.verify(
            *LOG, proof=place.log.proof(AT, size=9), pin=place.log.checkpoint(), require="complete"
        ),
    ),
    "a checkpoint that is too old": (
        10,
        (
            "log: STALE   model: NOT_CHECKED\n"
            "Failed: age limit: expected at most 60 s, got 3600 s old by its newest counted cosignature\n"
            "  possible: nothing was recorded since: the log does not date itself anew without witnesses\n"
            "  possible: the proof was fetched a while ago\n"
            "  possible: the log has stopped publishing\n"
            "  next: Fetch a new proof of the same event; if that is as old, ask whoever runs the log who dates its "
            "checkpoints, and how often\n"
        ),
        lambda place: place.verify(
            *LOG, proof=place.log.proof(AT, cosigned={"w.example": NOW - 3600}), **DATED
        ),
    ),
    "a checkpoint without a date": (
        10,
        (
            "log: STALE   model: NOT_CHECKED\n"
            "Failed: age limit: expected at most 60 s, got age unknown: no timestamped cosignature by a key of "
            "the trust file\n"
            "  possible: the proof was made before a witness had cosigned the checkpoint\n"
            "  possible: the trust file names nobody who dates the checkpoints of this log\n"
            "  next: Fetch a new proof of the same event; if that has no date either, ask the publisher of the "
            "trust file who dates its checkpoints\n"
        ),
        lambda place: place.verify(*LOG, **DATED),
    ),
    "a proof without its entry": (
        12,
        (
            "log: CANNOT_CHECK   model: NOT_CHECKED\n"
            "Failed: proof file: expected the entry in extra, got a proof without extra\n"
            "  possible: the proof was made by another tool\n"
            "  possible: the hub runs a newer version\n"
            "  next: Ask for a proof that carries its entry: hubledger proof writes one\n"
        ),
        lambda place: place.verify(*MODEL, proof=bare(place.log.proof(AT))),
    ),
    "a proof that does not hold": (
        13,
        (
            "log: INVALID   model: NOT_CHECKED\n"
            "Failed: inclusion of leaf 6 in size 13: expected root <hex>, got <hex>\n"
            "  possible: the proof file was changed or damaged\n"
            "  possible: the trust file is of another ledger, or older than a key change\n"
            "  next: Fetch the proof again; if it fails again, compare your trust file with the publisher's\n"
        ),
        lambda place: place.verify(*MODEL, proof=place.log.proof(AT).replace(b"index 5", b"index 6")),
    ),
    "a page in the place of a proof": (
        13,
        (
            "log: INVALID   model: NOT_CHECKED\n"
            "Failed: proof file: expected c2sp.org/tlog-proof@v1, and a checkpoint after a blank line, got "
            "<html>\n"
            "  possible: the proof file is damaged or of another kind\n"
            "  next: Fetch the proof again; if it fails again, compare your trust file with the publisher's\n"
        ),
        lambda place: place.verify(*MODEL, proof=b"<html>"),
    ),
    "a log with another key": (
        13,
        (
            "log: INVALID   model: NOT_CHECKED\n"
            "Failed: signatures of the note: expected one by <vkey>, got <vkey>\n"
            "  possible: the trust file is of another ledger, or older than a key change\n"
            "  possible: somebody else made the proof, or changed it\n"
            "  next: Fetch the proof again; if it fails again, compare your trust file with the publisher's\n"
        ),
        lambda place: place.verify(*MODEL, proof=World(log_key="thief").grow(13).proof(AT)),
    ),
    "a hub key that does not count": (
        20,
        (
            "log: INCLUDED_ONLY   model: NOT_ACCEPTED\n"
            "Failed: leaf index of an entry by key <hex>…: expected 9 to …, got 5\n"
            "  possible: the hub changed its key and your trust file is older than that\n"
            "  possible: a retired or revoked key was used\n"
            "  next: Ask the hub for its trust file over another channel and compare the key ranges\n"
        ),
        lambda place: place.verify(*MODEL, hub_keys=(HubKey(spki=spki_of(p256_key("hub")), first=9),)),
    ),
    "another model": (
        13,
        (
            "log: INVALID   model: NOT_CHECKED\n"
            "Failed: name and revision: expected acme/model at 1111111111111111111111111111111111111111, got "
            "other/model-0 at 1111111111111111111111111111111111111111\n"
            "  possible: the proof is of another model or revision\n"
            "  possible: the name is misspelt, or only looks like the other\n"
            "  next: Ask for the proof of the model that you have\n"
        ),
        lambda place: place.by_name(chain(), 0),
    ),
    "a history that was signed twice": (
        13,
        (
            "log: INVALID   model: NOT_CHECKED\n"
            "Failed: what you saw before: expected event 1 of name:acme/model: one that follows <hex>, which you "
            "saw, got one that follows <hex>\n"
            "  possible: the hub signed two histories of this model\n"
            "  possible: the log holds back what it showed before\n"
            "  next: Keep the copy that you have, and ask the hub for an explanation in public\n"
        ),
        history_signed_twice,
    ),
    "two roots for one size": (
        14,
        (
            "log: MISBEHAVIOUR   model: NOT_CHECKED\n"
            "Failed: two signed checkpoints of size 13: expected root <hex>, signed before, got <hex>\n"
            "  possible: the log shows different people different histories\n"
            "  possible: the log was put back to an older copy and went on from there\n"
            "  possible: the log's key was stolen\n"
            "  next: Keep the evidence and show it in public, and to whoever gave you the trust file, which "
            "names no monitor and no witness; not to the hub alone. It convinces anybody who has the log's key\n"
            "Evidence: misbehaviour.json\n"
            "  anybody can check it: hubledger verify --evidence misbehaviour.json --trust FILE\n"
        ),
        lambda place: place.verify(*LOG, pin=fork().checkpoint()),
    ),
    "a root that the log never had": (
        14,
        (
            "log: MISBEHAVIOUR   model: NOT_CHECKED\n"
            "Failed: the first 3 leaves of the signed tree of 13: expected root <hex>, signed before, got <hex>\n"
            "  possible: the log shows different people different histories\n"
            "  possible: the log was put back to an older copy and went on from there\n"
            "  possible: the log's key was stolen\n"
            "  next: Keep the evidence and show it in public, and to whoever gave you the trust file, which "
            "names no monitor and no witness; not to the hub alone. It convinces anybody who has the log's key\n"
            "Evidence: misbehaviour.json\n"
            "  anybody can check it: hubledger verify --evidence misbehaviour.json --trust FILE\n"
        ),
        lambda place: place.verify(*LOG, proof=place.log.proof(AT, since=3), pin=fork().checkpoint(3)),
    ),
    "evidence that cannot be written": (
        14,
        (
            "log: MISBEHAVIOUR   model: NOT_CHECKED\n"
            "Failed: two signed checkpoints of size 13: expected root <hex>, signed before, got <hex>\n"
            "  possible: the log shows different people different histories\n"
            "  possible: the log was put back to an older copy and went on from there\n"
            "  possible: the log's key was stolen\n"
            "  next: Keep the evidence and show it in public, and to whoever gave you the trust file, which "
            "names no monitor and no witness; not to the hub alone. It convinces anybody who has the log's key\n"
            "Evidence: could not be written to nowhere/misbehaviour.json (No such file or directory)\n"
            "  next: The log contradicts itself: run this again with --evidence-out in another folder\n"
        ),
        lambda place: place.verify(
            *LOG, "--evidence-out", "nowhere/misbehaviour.json", pin=fork().checkpoint()
        ),
    ),
    "no proof that the history is complete": (
        15,
        (
            "log: INCLUDED_ONLY   model: ACCEPTED\n"
            "Failed: completeness: expected a proof that the history is complete, got a proof of inclusion only\n"
            "  possible: no log makes such a proof yet, so no model satisfies a trust file that requires "
            "complete\n"
            "  next: Ask whoever gave you the trust file how they mean `complete` to be met until there are such "
            "proofs\n"
        ),
        lambda place: place.verify(*MODEL, require="complete"),
    ),
    "an old word of a monitor": (
        10,
        (
            "log: STALE   model: NOT_CHECKED\n"
            "Failed: monitor monitor.example: expected a statement at most 60 s old, got one 3600 s old\n"
            "  possible: it was fetched a while ago\n"
            "  possible: the monitor has stopped, or cannot reach the log\n"
            "  next: Fetch it again, with a new proof of the same event; if it is as old, ask whoever runs the monitor\n"
        ),
        lambda place: place.watched(Stated(note=place.log.stated(at=NOW - 3600))),
    ),
    "a monitor that saw another tree": (
        13,
        (
            "log: INVALID   model: NOT_CHECKED\n"
            "Failed: monitor monitor.example: expected root <hex> at size 13, which it verified, got root <hex> "
            "in the signed tree of 13\n"
            "  possible: the log showed you another tree than the monitor\n"
            "  possible: the monitor is wrong, or its key was stolen\n"
            "  next: Do not load the model. Ask the monitor for the signed checkpoint that it saw and keep this "
            "proof: two checkpoints that the log signed convict it, the monitor's word does not\n"
        ),
        lambda place: place.watched(Stated(note=fork().stated())),
    ),
    "no word of a monitor": (
        15,
        (
            "log: INCLUDED_ONLY   model: NOT_CHECKED\n"
            "Failed: monitor monitor.example: expected a statement about log.example/models, signed by the "
            "monitor, got none\n"
            "  possible: nobody asked the monitor: a check without network has only what it is given\n"
            "  next: With --proof, give a copy of the file `statement` of what it publishes: --statement FILE. By name, fetch the "
            "proof again, with the url of the monitor in the trust file\n"
        ),
        lambda place: place.watched(),
    ),
    "an open finding about the log": (
        15,
        (
            "log: INCLUDED_ONLY   model: NOT_CHECKED\n"
            "Failed: monitor monitor.example: expected no open finding, got open for the log itself: 1 high "
            "finding\n"
            "  possible: the log or the hub did what the monitor cannot accept, and nobody has explained it yet\n"
            "  next: Read what the monitor found, and ask the hub or the publisher about it before you load the "
            "model\n"
        ),
        lambda place: place.watched(
            Stated(
                note=place.log.stated(
                    log=OpenFindings(count=1, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)
                )
            )
        ),
    ),
    "no monitor in the trust file": (
        15,
        (
            "log: INCLUDED_ONLY   model: NOT_CHECKED\n"
            "Failed: monitors: expected a monitor that vouches for the event, got none in the trust file\n"
            "  possible: the trust file requires audited, and has no table [[monitor]]\n"
            "  next: Add the monitors whose word counts for you to the trust file\n"
        ),
        lambda place: place.watched(monitors=()),
    ),
    "an attestation that says something else": (
        13,
        (
            "log: INVALID   model: NOT_CHECKED\n"
            "Failed: attestation: expected predicate.https://hubledger/attestation/v1.leafHash <hex>, as the event "
            "says, got predicate.https://hubledger/attestation/v1.leafHash <hex>\n"
            "  possible: the attestation was changed, or is of another hub\n"
            "  possible: the hub says one thing in the log and another here\n"
            "  next: Ask the hub for a new attestation of the revision that you have\n"
        ),
        attestation_that_lies,
    ),
    "an attestation that has expired": (
        10,
        (
            "log: STALE   model: NOT_CHECKED\n"
            "Failed: attestation: expected an attestation that has not expired, got one that expired 604860 s "
            "ago\n"
            "  possible: it was made a while ago\n"
            "  next: Ask the hub for a new attestation of the revision that you have\n"
        ),
        attestation_expired,
    ),
    "an attestation of an earlier event": (
        23,
        (
            "log: INCLUDED_ONLY   model: SUPERSEDED\n"
            "Failed: attestation: expected the latest event of the revision, which is at leaf 5, got an "
            "attestation about leaf 4\n"
            "  possible: the hub looked at the revision again since\n"
            "  next: Ask the hub for a new attestation of the revision that you have\n"
        ),
        attestation_of_an_earlier_event,
    ),
    "an attestation of a later event": (
        12,
        (
            "log: CANNOT_CHECK   model: NOT_CHECKED\n"
            "Failed: attestation: expected the proof of leaf 5, which the attestation is about, got that of leaf 4, "
            "which came before\n"
            "  possible: the proof is older than the attestation\n"
            "  next: Fetch the newer proof, with `hubledger fetch-proof` or from the service, and check again\n"
        ),
        attestation_of_a_later_event,
    ),
    "a model without a signature": (
        20,
        (
            "log: INCLUDED_ONLY   model: NOT_ACCEPTED\n"
            "Failed: accepted by the hub: expected VERIFIED, observed or accepted, no proposal, got outcome "
            "UNSIGNED\n"
            "  possible: the revision was uploaded without a signature\n"
            "  next: Do not load this revision: ask the publisher of acme/model about it, over another channel\n"
        ),
        no_signature,
    ),
    "a proposal": (
        20,
        (
            "log: INCLUDED_ONLY   model: NOT_ACCEPTED\n"
            "Failed: accepted by the hub: expected VERIFIED, observed or accepted, no proposal, got a proposal "
            "(pull ref)\n"
            "  possible: the revision was proposed, which anybody may do\n"
            "  next: Do not load this revision: ask the publisher of acme/model about it, over another channel\n"
        ),
        lambda place: rejected(place, ref="refs/pull/7/head"),
    ),
    "a change of signer that nobody confirmed": (
        20,
        (
            "log: INCLUDED_ONLY   model: NOT_ACCEPTED\n"
            "Failed: accepted by the hub: expected VERIFIED, observed or accepted, no proposal, got decision "
            "challenged (signer-changed)\n"
            "  possible: the signer changed and nobody has confirmed it\n"
            "  next: Do not load this revision: ask the publisher of acme/model about it, over another channel\n"
        ),
        challenged,
    ),
    "a stranger's signature": (
        21,
        (
            "log: INCLUDED_ONLY   model: UNEXPECTED_SIGNER\n"
            "Failed: expected signer: expected mallory (https://token.actions.example), got "
            "https://git.example/acme/model/.github/workflows/release.yml, from a tag "
            "(https://token.actions.example)\n"
            "  possible: the model has a new signer\n"
            "  possible: the expectation names another model's signer\n"
            "  possible: somebody else published under this name\n"
            "  next: Ask the publisher, over another channel, who signs this model now\n"
        ),
        lambda place: place.verify(*MODEL, "--expect-signer", "mallory", "--expect-issuer", ISSUER),
    ),
    "other files": (
        22,
        (
            "log: INCLUDED_ONLY   model: CONTENT_DIFFERS\n"
            "Failed: files: expected content sha256:<hex>, got sha256:<hex>\n"
            "  possible: another revision was downloaded\n"
            "  possible: the download is incomplete\n"
            "  possible: a file was changed after the hub saw it\n"
            "  possible: a file that is not the model's, such as .cache of hf download --local-dir\n"
            "  next: Download acme/model at 1111111111111111111111111111111111111111 again into an empty folder "
            "and check it\n"
        ),
        lambda place: place.verify("--model", "trust.toml"),
    ),
    "a pipe beside the files": (
        22,
        (
            "log: INCLUDED_ONLY   model: CONTENT_DIFFERS\n"
            "Failed: files: expected files, folders and links alone, got a special file: pipe\n"
            "  possible: a pipe, a socket or a device was put among the files: what a loader reads from it, nobody signed\n"
            "  possible: a program that runs in the folder keeps a socket or a pipe there\n"
            "  next: Download acme/model at 1111111111111111111111111111111111111111 again into an empty folder "
            "and check it\n"
        ),
        a_pipe_beside_the_files,
    ),
    "a signature that the hub did not see, called as a loader's file": (
        22,
        (
            "log: INCLUDED_ONLY   model: CONTENT_DIFFERS\n"
            "Failed: files: expected signatures that the hub verified there, or under a name of signatures (*.sig, *.sigstore.json, "
            "*.bundle), got a bundle that a loader may read as something else: chat_template.jinja\n"
            "  possible: somebody added a file that passes for a signature\n"
            "  possible: a signature was made after the hub saw the model, and is named as other files are\n"
            "  next: Download acme/model at 1111111111111111111111111111111111111111 again into an empty folder "
            "and check it\n"
        ),
        a_bundle_called_as_a_template,
    ),
    "other files of a revision that the hub refuses": (
        22,
        (
            "log: INCLUDED_ONLY   model: CONTENT_DIFFERS\n"
            "Failed: files: expected content sha256:<hex>, got sha256:<hex>\n"
            "  possible: the hub's latest event of this revision is about other files, which it does not accept\n"
            "  possible: another revision was downloaded\n"
            "  possible: the download is incomplete\n"
            "  possible: a file was changed after the hub saw it\n"
            "  possible: a file that is not the model's, such as .cache of hf download --local-dir\n"
            "  next: Do not load this revision: ask the publisher of acme/model about it, over another channel\n"
        ),
        other_files_of_a_refused_revision,
    ),
    "a downloader's notes among the files": (
        22,
        (
            "log: INCLUDED_ONLY   model: CONTENT_DIFFERS\n"
            "Failed: files: expected content sha256:<hex>, got sha256:<hex>; perhaps not the model's: .cache/a, .cache/b, "
            ".cache/c and 1 more\n"
            "  possible: a file that is not the model's, such as .cache of hf download --local-dir\n"
            "  possible: another revision was downloaded\n"
            "  possible: the download is incomplete\n"
            "  possible: a file was changed after the hub saw it\n"
            "  next: Move what is not the model's out of the folder, and check it again; if it differs still, download "
            "acme/model at 1111111111111111111111111111111111111111 again into an empty folder and check it\n"
        ),
        downloaded,
    ),
    "a downloader's notes among the files, with the manifest beside the proof": (
        22,
        (
            "log: INCLUDED_ONLY   model: CONTENT_DIFFERS\n"
            "Failed: files: expected content sha256:<hex>, got sha256:<hex>; not the model's: .cache/a, .cache/b, "
            ".cache/c and 1 more\n"
            "  possible: a file that is not the model's, such as .cache of hf download --local-dir\n"
            "  next: Move what is not the model's out of the folder, and check it again\n"
        ),
        lambda place: listed(place) or downloaded(place),
    ),
    "a changed and a missing file, with the manifest beside the proof": (
        22,
        (
            "log: INCLUDED_ONLY   model: CONTENT_DIFFERS\n"
            "Failed: files: expected content sha256:<hex>, got sha256:<hex>; other bytes: weights; missing: more\n"
            "  possible: another revision was downloaded\n"
            "  possible: the download is incomplete\n"
            "  possible: a file was changed after the hub saw it\n"
            "  next: Download acme/model at 1111111111111111111111111111111111111111 again into an empty folder "
            "and check it\n"
        ),
        damaged,
    ),
    "a revision that was taken back": (
        23,
        (
            "log: INCLUDED_ONLY   model: SUPERSEDED\n"
            "Failed: what you saw before: expected the latest event of r2, which you saw at leaf 2, got an "
            "earlier one\n"
            "  possible: the hub looked at the revision again, and does not accept it any more\n"
            "  next: Fetch the proof of the latest event of this revision\n"
        ),
        taken_back,
    ),
    "no files": (
        24,
        (
            "log: INCLUDED_ONLY   model: NOT_CHECKED\n"
            "Failed: files: expected the model's files, got none given\n"
            "  possible: --model was left out\n"
            "  next: Name the files with --model\n"
        ),
        lambda place: place.verify(),
    ),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_failure_ends_with_exactly_these_words(name, tmp_path, monkeypatch, capsys):
    code, said, trigger = OUTCOMES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUBLEDGER_DATA", str(tmp_path / "data"))
    place = Place(tmp_path)
    monkeypatch.setattr(time, "time", lambda: float(place.now))
    capsys.readouterr()
    got = trigger(place)
    ended = "log: " + capsys.readouterr().out.rpartition("\nlog: ")[2]
    assert re.fullmatch(pattern(said), ended), ended
    assert got == code
    assert not find_bypasses(ended)


def pattern(text):
    pieces = re.split("(" + "|".join(ANY) + ")", text)
    return "".join(ANY.get(piece, re.escape(piece)) for piece in pieces)
