"""Refusals that a newcomer meets first: a mistyped name, the wrong file, a command that would compare with nothing."""

import contextlib
import os
import pathlib
from unittest import mock

from cli.main import group, run
from cli.verify_input import expectations
from ledger.client.asking import fetch_bundle
from ledger.client.checking import check, read_keys
from ledger.client.contradictions import Contradictions
from ledger.client.patterns import SubjectPattern
from ledger.client.proof_bundle import ProofBundle, parse_bundle
from ledger.client.trust_store import Origin, StoredTrust
from ledger.client.trust_writing import format_trust
from ledger.client.user_store import default_folder
from ledger.errors import ConfigError, CorruptError, MalformedError, UsageError, WriteError
from tests.refusals.of_attestation import _bundle as bundle
from tests.refusals.of_attestation import _format as format_vsa
from tests.refusals.table import refused, turned
from tests.world import World, key_signer, make_event, signed_by


def _command(*words):
    def trigger(scene):
        data = {"HUBLEDGER_DATA": str(scene.folder / "data")}
        with contextlib.chdir(scene.folder), mock.patch.dict(os.environ, data):
            group.main([str(each) for each in words], standalone_mode=False)

    return trigger


def _damaged_memory(scene):
    seen = Contradictions(scene.folder / "data")
    seen.keep("log.example/models", "log.example/models", b"{}", now=0)
    (record,) = (scene.folder / "data/misbehaviour").glob("*.json")
    record.write_bytes(b"{}")
    seen.known()


def _check_live(scene, **more):
    check(scene.folder, name="hub.example/acme/tiny", trust=STORED, live=True, **more)


def _without_a_home():
    raise RuntimeError("Could not determine home directory.")


def _print_to_a_full_disk(_):
    with (
        contextlib.suppress(OSError),  # of closing it, which tries once more
        pathlib.Path("/dev/full").open("w", encoding="utf-8") as full,
        contextlib.redirect_stdout(full),
    ):
        run(["--version"])


LIVE = "a live answer: expected a service that may be asked, got"
STORED = StoredTrust(data=b"", trust=World().trust(), source="https://hub.example", origin=Origin.CONFIRMED)


def _attested(*more):
    def trigger(scene):
        event = make_event(signed_by(key_signer("alice")))
        path = scene.write("a.vsa", bundle(format_vsa(event)))
        trust = scene.write("trust.toml", format_trust(World().trust()))
        _command("verify", "model", "--attestation", path, "--trust", trust, *more)(scene)

    return trigger


def _proof_file(data):
    def trigger(scene):
        path = scene.write("a", data)
        trust = scene.write("trust.toml", format_trust(World().trust()))
        _command("verify", "--proof", path, "--trust", trust, "--log-only")(scene)

    return trigger


def _pattern(text):
    return lambda _scene: SubjectPattern(text)


_AS = ". Write an address such as https://git.example/acme/*/.github/workflows/release.yml@refs/tags/*, or *@acme.example"
TINY = "r"
PRIVATE = b"-----BEGIN EC PRIVATE KEY-----\n"
CASES = (
    refused(
        UsageError,
        f"pattern of signers: expected a star, or an exact subject, got bot@acme.example{_AS}",
        _pattern("bot@acme.example"),
    ),
    refused(
        UsageError,
        f"pattern of signers: expected at most 2048 characters, got 2049{_AS}",
        _pattern("*" * 2049),
    ),
    refused(
        UsageError,
        f"pattern of signers: expected printable ASCII, got '*\\u0430@acme.example'{_AS}",
        _pattern("*\u0430@acme.example"),
    ),
    refused(
        UsageError,
        f"pattern of signers: expected no star in the host, or behind the @, got bot@*.example{_AS}",
        _pattern("bot@*.example"),
    ),
    refused(
        UsageError,
        "--expect-signer-pattern: expected no --opening beside it: of who is opened, the whole subject is not known, got "
        "--opening. Use --expect-signer",
        lambda scene: _command(
            *("verify", "--proof", scene.write("p", b""), "--trust", scene.write("t", b"")),
            *("--expect-signer-pattern", "*@acme.example", "--expect-issuer", "https://idp.example"),
            *("--opening", scene.write("o", b"")),
        )(scene),
    ),
    refused(
        UsageError,
        "--expect-key: expected the public key, got a private one in <folder>/release.key. Name the file of the public "
        "half; a private key is nobody's business but the signer's",
        lambda scene: expectations([("--expect-key", str(scene.write("release.key", PRIVATE)))]),
    ),
    refused(
        UsageError,
        f"--attestation: expected one about hub.example/acme/uns at {TINY}, which you asked for, got one about "
        f"hub.example/acme/model at {TINY}. Name the attestation of the revision that you have",
        _attested("--name", "hub.example/acme/uns"),
    ),
    refused(
        UsageError,
        "--attestation: expected one about hub.example/acme/model at v1, which you asked for, got one about "
        f"hub.example/acme/model at {TINY}. Name the attestation of the revision that you have",
        _attested("--revision", "v1"),
    ),
    refused(
        MalformedError,
        "proof bundle: expected a file of hubledger fetch-proof (hubledger-proof-bundle/v1), got a .tlog-proof file. "
        "Check it with --proof in the place of --name and --from",
        lambda _: parse_bundle(World().grow(3).proof(1)),
    ),
    refused(
        MalformedError,
        "proof bundle: expected a file of hubledger fetch-proof (hubledger-proof-bundle/v1), got another. Fetch it again "
        "with hubledger fetch-proof",
        lambda _: parse_bundle(b"<html>"),
    ),
    refused(
        MalformedError,
        "proof file <folder>/a: expected a .tlog-proof file (c2sp.org/tlog-proof@v1), got a file of hubledger fetch-proof. "
        "Check it with --name and --from in the place of --proof",
        _proof_file(ProofBundle(name="acme/tiny", proof=b"\xc3\xa9", claims=(), fetched_at=0).format()),
    ),
    refused(
        MalformedError,
        "proof file <folder>/a: expected a .tlog-proof file (c2sp.org/tlog-proof@v1), got a Sigstore bundle. Check it with "
        "--bundle in the place of --proof",
        _proof_file(b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}'),
    ),
    refused(
        UsageError,
        "public_keys: expected a list of keys: PEM as bytes, or paths, got str. Put it into a list",
        lambda _: read_keys("publisher.pub"),
    ),
    refused(
        UsageError,
        f"{LIVE} offline beside it. Leave one of the two out",
        lambda scene: _check_live(scene, offline=True),
    ),
    refused(
        UsageError,
        f"{LIVE} a file with the proof. Leave one of the two out",
        lambda scene: _check_live(scene, proof_file=scene.folder),
    ),
    refused(
        MalformedError,
        "answer of the ledger's service: expected the events of acme/tiny, got no JSON. Check that the address is that of a "
        "hubledger service; else tell whoever runs it",
        lambda _: fetch_bundle(lambda name, /, *, max_bytes: b"<html>", "acme/tiny", now=0),
    ),
    refused(
        CorruptError,
        "memory of misbehaviour <folder>/data/misbehaviour/<hex>.json: expected what hubledger wrote, got another object. "
        "The evidence is in the file of the same name that ends with .evidence: check it with `hubledger verify --evidence`",
        _damaged_memory,
    ),
    refused(
        ConfigError,
        "folder of this user's trust files and pins: expected $HUBLEDGER_DATA, or a home, got neither. Set HUBLEDGER_DATA to a "
        "folder that this user alone can write",
        lambda _: default_folder({"XDG_DATA_HOME": "relative"}, _without_a_home),
    ),
    turned(
        WriteError,
        "standard output: expected a place that takes what is printed, got No space left on device. Make room, or print "
        "elsewhere, and run it again: what was found was not said",
        _print_to_a_full_disk,
    ),
    refused(
        UsageError,
        "hubledger trust confirm: expected --sha256 with the digest that the publisher shows elsewhere, or "
        "--compared-by-hand, got neither. Look at `hubledger trust show hub.example`, and get the digest from the "
        "publisher over another channel",
        _command("trust", "confirm", "hub.example"),
    ),
)
