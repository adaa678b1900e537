"""`hubledger demo`: the whole story in a temporary directory: record, prove, tamper, and see each being caught."""

import contextlib
import json
import pathlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from cli.history import marks, who_signed
from cli.output import columns, echo_json, format_table, json_option
from ledger.encoding import format_base64, parse_base64
from ledger.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from ledger.embedded.remote import RekorSource

_NAME = "acme/tiny-llm"
_ISSUER = "https://accounts.example.org"
_RELEASES = "release-bot@acme.example"


@dataclass
class _Stage:
    """The temporary world, and the facts that it tells."""

    root: pathlib.Path
    as_json: bool
    rekor: "RekorSource | None" = None
    facts: dict[str, Any] = field(default_factory=lambda: {"recorded": [], "caught": []})

    @property
    def ledger(self) -> pathlib.Path:
        return self.root / "ledger"

    @property
    def trust(self) -> pathlib.Path:
        return self.ledger / "trust.toml"

    @property
    def proof(self) -> pathlib.Path:
        return self.root / ("v1.sigstore.json" if self.rekor else "v1.tlog-proof")

    def say(self, text: str = "") -> None:
        if not self.as_json:
            click.echo(text)


@click.command()
@click.option(
    "--log",
    "kind",
    type=click.Choice(("local", "rekor-v2", "rekor-v1")),
    default="local",
    show_default=True,
    help="Where events are logged: in a log of the demo's own, or in a Rekor that the demo starts.",
)
@json_option
def command(*, kind: str, as_json: bool) -> int:
    """Record signed, re-signed, unsigned and tampered versions of a model; prove one; then tamper with everything.

    Needs no network and no account. Exit code 0 if everything was caught that should be.

    With --log the servers of Rekor must be installed; they are started on this machine and thrown away.
    """
    try:
        import model_signing  # noqa: F401 - asked for before anything is made
    except ImportError as error:
        raise UsageError(
            "hubledger demo",
            expected="the extra oms, which signs models",
            actual=str(error),
            next_step='Install it with `pip install "hubledger[oms]"`',
        ) from error
    with contextlib.ExitStack() as world:
        folder = pathlib.Path(world.enter_context(tempfile.TemporaryDirectory(prefix="hubledger-demo-")))
        stage = _Stage(folder, as_json)
        if kind != "local":
            from cli.demo_rekor import local_rekor

            stage.say(f"Starting {kind} on this machine…\n")
            stage.rekor = world.enter_context(local_rekor(kind, folder / "rekor"))
        _record(stage)
        _show_history(stage)
        _prove(stage)
        _tamper(stage)
    missed = [each["what"] for each in stage.facts["caught"] if not each["caught"]]
    if as_json:
        echo_json(stage.facts)
    else:
        click.echo(f"\nNot caught: {', '.join(missed)}" if missed else "\nEverything was caught.")
    return 1 if missed else 0


def _record(stage: _Stage) -> None:
    """Five revisions: two by one signer, one by another, one unsigned, one changed after signing."""
    from cli.demo_world import DemoSigstore, oms_statement, sign_with_key, write_key_pair
    from ledger.embedded.making import init

    sigstore = DemoSigstore()
    (stage.root / "sigstore.json").write_bytes(sigstore.trusted_root())
    private, public = write_key_pair(stage.root, "stranger")
    init(stage.ledger, origin="log.demo.example", hub="hub.demo.example", rekor=stage.rekor)
    stage.say("1. A hub verifies each upload and records what it found\n")
    model = stage.root / "model"
    model.mkdir()
    for version in range(1, 6):
        (model / "config.json").write_text(f'{{"version": {version}}}\n')
        (model / "weights.bin").write_bytes(bytes([version]) * 4096)
        (model / "model.sig").unlink(missing_ok=True)
        if version in (1, 2, 5):
            bundle = sigstore.sign(oms_statement(model), identity=_RELEASES, issuer=_ISSUER)
            (model / "model.sig").write_bytes(bundle)
        if version == 3:
            sign_with_key(model, private)
        if version == 5:
            (model / "weights.bin").write_bytes(b"changed after signing")
        _record_version(stage, model, f"v{version}", public)
        if version == 1:
            shutil.copytree(model, stage.root / "downloaded")


def _record_version(stage: _Stage, model: pathlib.Path, revision: str, public: pathlib.Path) -> None:
    from ledger.embedded.recording import RecordRequest, record_revision

    request = RecordRequest(
        name=_NAME,
        revision=revision,
        model=model,
        repo_id="4711",
        ref="refs/heads/main",
        public_keys=[public],
        trust_config=stage.root / "sigstore.json",
    )
    receipt = record_revision(stage.ledger, request)
    stage.facts["recorded"].append(receipt)
    stage.say(
        f"   {revision}  leaf {receipt.get('leafIndex', 'pending')}  {receipt['outcome']:<16}  {receipt['decision']:<10}  "
        f"{', '.join(receipt['reasons'])}".rstrip()
    )


def _show_history(stage: _Stage) -> None:
    from ledger.embedded.reading import model_history

    rows = model_history(stage.ledger, _NAME)
    stage.facts["history"] = rows
    stage.say(
        f"\n2. Anybody reads the history of {_NAME}; `!` marks a change of signer, `*` what is not by a pinned one\n"
    )
    table = [(marks(row), row["revision"], row["outcome"], who_signed(row)) for row in rows]
    stage.say(format_table(("", "REVISION", "OUTCOME", "WHO SIGNED"), table, columns=columns(), indent="   "))


def _prove(stage: _Stage) -> None:
    from ledger.embedded.reading import write_proof

    write_proof(stage.ledger, "1", since=None, output=stage.proof)
    log, model, _ = _verify(stage, stage.proof.read_bytes(), stage.root / "downloaded")
    stage.facts["verified"] = {"log": log, "model": model}
    stage.say(
        "\n3. A user checks version 1 offline, with the proof, a trust file, and the signer that they expect\n"
    )
    stage.say(f"   log: {log}   model: {model}")


def _verify(stage: _Stage, proof: bytes, model: pathlib.Path) -> tuple[str, str, str]:
    from ledger.client.trust import parse_trust
    from ledger.client.verify import Expectation, LocalFiles, check_proof
    from ledger.embedded.clock import posix_now
    from ledger.verification import read_content

    found = read_content(model)
    known: dict[str, Any] = {
        "trust": parse_trust(stage.trust.read_bytes()),
        "now": posix_now(),
        "files": LocalFiles(manifest_sha256=found.manifest.sha256, content_sha256=found.content.sha256),
        "expected": [Expectation(signer=_RELEASES, issuer=_ISSUER)],
    }
    if stage.rekor is None:
        result = check_proof(proof, **known)
    else:
        from ledger.bundle.any_bundle import parse_any_bundle
        from ledger.client.event_bundle import check_event_bundle

        result = check_event_bundle(parse_any_bundle(proof), **known)
    return result.log.value, result.model.value, f" at {result.failure.step}" if result.failure else ""


def _tamper(stage: _Stage) -> None:
    """Change one thing at a time; each must be caught, by somebody who is named."""
    proof = stage.proof.read_bytes()
    model = stage.root / "downloaded"
    bend_hash, bend_size = (_bend_hash, _bend_size) if stage.rekor is None else (_bend_path, _bend_tree)
    stage.say("\n4. Somebody tampers\n")
    _caught(stage, "one hash of the proof", "the client", lambda: _verify(stage, bend_hash(proof), model))
    _caught(
        stage,
        "the tree size in the proof's checkpoint",
        "the client",
        lambda: _verify(stage, bend_size(proof), model),
    )
    _caught(stage, "one byte of the model", "the client", lambda: _verify(stage, proof, _bend_model(stage)))
    if stage.rekor is not None:
        _caught(
            stage,
            "the event that the log entry is about",
            "the client",
            lambda: _verify(stage, _swap_event(stage, proof), model),
        )
        _caught(stage, "one byte of a stored receipt", "the auditor", lambda: _audit_bent_receipt(stage))
        return
    _caught(stage, "one byte of an entry in the log", "the auditor", lambda: _audit_bent_log(stage))
    _caught(
        stage,
        "a copied-back directory, to write another history",
        "the writer",
        lambda: _write_restored(stage),
    )


def _caught(stage: _Stage, what: str, who: str, attempt: Callable[[], tuple[str, str, str] | None]) -> None:
    try:
        results = attempt()
        verdict = f"{results[0]} / {results[1]}{results[2]}" if results else "nothing noticed"
        caught = results is not None and results[:2] != ("INCLUDED_ONLY", "ACCEPTED")
    except LedgerError as error:
        verdict, caught = f"{type(error).__name__}: {error.what}", True
    stage.facts["caught"].append({"what": what, "by": who, "verdict": verdict, "caught": caught})
    stage.say(f"   {'caught' if caught else 'MISSED'} by {who:<12} {what}\n{'':24}{verdict}")


def _bend_hash(proof: bytes) -> bytes:
    """Swap two characters of the first hash for others of base64."""
    head, line, rest = proof.partition(b"index 1\n")
    return head + line + (b"A" if rest[:1] != b"A" else b"B") + rest[1:]


def _bend_size(proof: bytes) -> bytes:
    return proof.replace(b"log.demo.example\n6\n", b"log.demo.example\n5\n", 1)


def _bend_path(bundle: bytes) -> bytes:
    """Swap the first hash of the log entry's proof for another one; a tree of one leaf has none, and gets it."""
    value = json.loads(bundle)
    hashes = value["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"]
    hashes[:1] = [format_base64(bytes(32))]
    return json.dumps(value).encode()


def _bend_tree(bundle: bytes) -> bytes:
    value = json.loads(bundle)
    checkpoint = value["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]
    origin, size, rest = checkpoint["envelope"].split("\n", 2)
    checkpoint["envelope"] = f"{origin}\n{int(size) + 1}\n{rest}"
    return json.dumps(value).encode()


def _swap_event(stage: _Stage, bundle: bytes) -> bytes:
    """Put another event of the same hub, correctly signed, beside the log entry of this one."""
    from ledger.embedded.reading import write_proof

    other = stage.root / "v2.sigstore.json"
    write_proof(stage.ledger, "2", since=None, output=other)
    value = json.loads(bundle)
    value["dsseEnvelope"] = json.loads(other.read_bytes())["dsseEnvelope"]
    return json.dumps(value).encode()


def _audit_bent_receipt(stage: _Stage) -> None:
    from ledger.embedded.auditing import audit_ledger

    bent = stage.root / "bent-ledger"
    shutil.copytree(stage.ledger, bent)
    with contextlib.closing(sqlite3.connect(bent / "outbox.db")) as outbox, outbox:
        (entry,) = outbox.execute("SELECT log_entry FROM receipts WHERE number = 1").fetchone()
        outbox.execute("UPDATE receipts SET log_entry = ? WHERE number = 1", (_bend_receipt(entry),))
    audit_ledger(bent, workers=1, progress=lambda _done, _total: None)


def _bend_receipt(entry: bytes) -> bytes:
    value = json.loads(entry)
    body = bytearray(parse_base64(value["canonicalizedBody"]))
    body[-20] ^= 1
    return json.dumps(value | {"canonicalizedBody": format_base64(bytes(body))}).encode()


def _bend_model(stage: _Stage) -> pathlib.Path:
    bent = stage.root / "bent"
    shutil.copytree(stage.root / "downloaded", bent)
    (bent / "weights.bin").write_bytes(b"\x01" * 4095 + b"\x02")
    return bent


def _audit_bent_log(stage: _Stage) -> None:
    from ledger.embedded.auditing import audit_ledger

    bent = stage.root / "bent-ledger"
    shutil.copytree(stage.ledger, bent)
    bundle = max((bent / "log/tile/entries").rglob("*.p/*"), key=lambda path: int(path.name))
    data = bytearray(bundle.read_bytes())
    data[-20] ^= 1
    bundle.write_bytes(data)
    audit_ledger(bent, workers=1, progress=lambda _done, _total: None)


def _write_restored(stage: _Stage) -> None:
    """Write to an old copy while somebody remembers a newer checkpoint."""
    from ledger.embedded.recording import RecordRequest, record_revision

    copy = stage.root / "copied-back"
    shutil.copytree(stage.ledger, copy)
    request = RecordRequest(name=_NAME, revision="v6", model=stage.root / "downloaded", repo_id="4711")
    record_revision(stage.ledger, request)
    newest = stage.ledger / "log" / "checkpoint"
    record_revision(copy, request, not_older_than=[newest])
