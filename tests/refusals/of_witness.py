"""Refusals of witnesses: what they answer, what they know, what settings and trust files say of them."""

import contextlib
from dataclasses import replace

from ledger.client.trusted_keys import TrustedLog
from ledger.config import Config, WitnessConfig, load_config
from ledger.embedded.recording import record_revision
from ledger.embedded.witnesses import check_policy, load_policy, with_witnesses
from ledger.errors import (
    ConfigError,
    LimitError,
    MalformedError,
    QuorumError,
    RestoredError,
    SignatureError,
    SourceError,
    UsageError,
)
from ledger.log.witnessing import Witnesses, WitnessingConfig
from ledger.tlog.checkpoint import Checkpoint, verify_checkpoint
from ledger.tlog.merkle import EMPTY_ROOT
from ledger.tlog.trust_policy import TrustPolicy, Witness, parse_policy
from ledger.tlog.witness import (
    MAX_ANSWER_BYTES,
    SIZE_TYPE,
    format_request,
    parse_cosignatures,
    parse_size,
    verify_answer,
)
from tests.fakes.witness import FakeWitness, format_line, serving
from tests.ledger.log.test_witnessing import always_409, endless
from tests.refusals.of_log import KEY, ORIGIN, append, create, opened, sign
from tests.refusals.table import refused, request, turned
from tests.world import World, digest

AGAIN = "Get it again from where it came; if it stays the same, tell whoever wrote it"
KEYS = "Check that the keys are those of this log and hub; if they are, do not use what was signed"
CORRECT = "Correct what is named, and try again"
REACH = "Make it reachable and readable, and try again"
ASKED = "It is asked again; see that its address in the policy is right"
TREE = Checkpoint(origin=ORIGIN, size=7, root_hash=digest("root"))
W1, W2 = FakeWitness("w1"), FakeWitness("w2")


def _line(witness, at, tree=TREE):
    return format_line(witness.cosigner.cosign(tree, timestamp=at))


def _answered(body):
    return verify_answer(body, key=W1.key, checkpoint=TREE, now=1000)


SPOKEN = (
    refused(
        LimitError,
        "proof for a witness: expected at most 63 hashes, got 64. Check that it is what you meant: the limit cannot be changed",
        lambda _: format_request(old_size=1, proof=[bytes(32)] * 64, note=b""),
    ),
    refused(
        MalformedError,
        f"size that a witness knows: expected a decimal and a newline, got 12. {AGAIN}",
        lambda _: parse_size(b"12"),
    ),
    refused(
        LimitError,
        f"answer of a witness: expected at most {MAX_ANSWER_BYTES} bytes, got more. "
        "Check that it is what you meant: the limit cannot be changed",
        lambda _: parse_cosignatures(bytes(MAX_ANSWER_BYTES + 1), TREE),
    ),
    refused(
        MalformedError,
        f"answer of a witness: expected signature lines, got an empty line. {AGAIN}",
        lambda _: parse_cosignatures(b"another text\n\n" + _line(W1, 1000), TREE),
    ),
    refused(
        SignatureError,
        f"cosignature: expected one by witness.example/w1+<hex>, got witness.example/w2+<hex>. {KEYS}",
        lambda _: _answered(_line(W2, 1000)),
    ),
    refused(
        SignatureError,
        f"time of the cosignature by witness.example/w1: expected within 300 s of 1000, got 1301. {KEYS}",
        lambda _: _answered(_line(W1, 1301)),
    ),
)

# Asking


def asking(scene, *, lie=None, timeout=5.0, **settings):
    """Witnesses of one that answers as it is told to, and the empty checkpoint of a log."""
    fake = FakeWitness(logs=[KEY.verifier])
    scene.after.enter_context(serving(fake))
    fake.lie, scene.witness = lie, fake
    policy = parse_policy(f"{fake.line()}\nquorum w1\n".encode())
    asked = Witnesses(
        WitnessingConfig(
            origin=ORIGIN, keys=[KEY.verifier], policy=policy, timeout=timeout, interval=0.0, **settings
        )
    )
    scene.after.callback(asked.close)
    return asked


def signed(size=0, root="root"):
    tree = Checkpoint(origin=ORIGIN, size=size, root_hash=digest(root) if size else EMPTY_ROOT)
    return verify_checkpoint(sign(tree), origin=ORIGIN, keys=[KEY.verifier])


def _sizes(scene, **settings):
    return asking(scene, **settings).newest_sizes(signed())


def _asked(scene, **settings):
    return asking(scene, **settings).ask(signed(1), lambda _old, _new: ())


def _gone(scene):
    """Nobody listens at the address of the policy."""
    policy = parse_policy(f"witness w1 {W1.key.format()} http://127.0.0.1:1\nquorum w1\n".encode())
    asked = Witnesses(WitnessingConfig(origin=ORIGIN, keys=[KEY.verifier], policy=policy))
    scene.after.callback(asked.close)
    asked.newest_sizes(signed())


def _behind(scene):
    """The log is written on, and a witness saw more of it than its store knows."""
    create(scene.folder)
    asked = asking(scene, lie=(409, SIZE_TYPE, b"9\n"))
    return append(scene.after.enter_context(opened(scene.watch(scene.folder), witnesses=asked)))


def _waiting(scene, count, **settings):
    """A log that may show nothing without its witness, which answers nothing."""
    create(scene.folder)
    asked = asking(scene, lie=(503, "text/plain", b""), required=True, **settings)
    log = scene.after.enter_context(opened(scene.folder, witnesses=asked, start_unchecked=True))
    append(log, count)
    return log


def _full(scene):
    log = _waiting(scene, 2, backlog=2)
    try:
        log.publish()
    except QuorumError:
        append(log)


def _sign_again(scene):
    """Other keys do not make up for cosignatures."""
    log = _waiting(scene, 1)
    with contextlib.suppress(QuorumError):
        log.publish()
    log.sign_again()


def _not_taken(scene):
    """It knew the log before it was written, and knows nothing of it when the keys are to change."""
    create(scene.folder)
    asked, lies = asking(scene), (lambda handler, _body: handler.send(503, "text/plain", b""))
    log = scene.after.enter_context(opened(scene.folder, witnesses=asked))
    append(log, 1)
    log.publish()
    scene.witness.lie = lies
    log.check_taken(KEY.verifier)


def _again(scene):
    """Nobody may be asked just now, so nothing larger is signed."""
    log = _waiting(scene, 1)
    try:
        log.publish()
    except QuorumError:
        append(log)
        log.publish()


def _signed_again(scene):
    """Other keys sign nothing that may not be shown."""
    log = _waiting(scene, 1)
    try:
        log.publish()
    except QuorumError:
        log.sign_again()


NOT_YET = (
    "cosignatures of the checkpoint of size 1: expected the quorum w1, got w1: witness w1: expected a cosignature (200), "
    "or the size that it knows (409), got 503. What was recorded is durable; it is shown as soon as enough witnesses answer"
)
NEWER = "This directory is older than the log that was shown: restore the newest copy, or start a successor log; writing here would fork the log"

ASKING = (
    turned(
        SourceError,
        f"witness w1: expected an answer, got <any>. {REACH}",
        _gone,
    ),
    turned(
        SourceError,
        f"answer of the witness w1: expected at most {MAX_ANSWER_BYTES} bytes within 5 s, got more to come. {REACH}",
        lambda scene: _sizes(scene, lie=endless(None)),
    ),
    turned(
        SourceError,
        "witness w1: expected a cosignature (200), or the size that it knows (409), got 404, it does not know this log. "
        "Give the log's verifier key to the operator of the witness",
        lambda scene: _sizes(scene, lie=(404, "text/plain", b"")),
    ),
    turned(
        SourceError,
        "witness w1: expected a cosignature (200), or the size that it knows (409), got 302, redirects are not followed. "
        + ASKED,
        lambda scene: _sizes(scene, lie=(302, "text/plain", b"")),
    ),
    turned(
        SourceError,
        "witness w1: expected a cosignature after a proof from the size that it named, got another size, 1. "
        + REACH,
        lambda scene: _asked(scene, lie=always_409(None)),
    ),
    turned(
        SourceError,
        "size that the witness w1 knows: expected at most 1, the newest that we signed, got 9, and no checkpoint that shows "
        "it. Ask its operator what it holds for this log; it is asked again after a restart",
        lambda scene: _asked(scene, lie=(409, SIZE_TYPE, b"9\n")),
    ),
    refused(
        RestoredError,
        "newest checkpoint of this log, which the witness w1 knows: expected at most size 1, the newest that we signed, "
        f"got size 9. {NEWER}",
        lambda scene: _asked(scene, lie=(409, SIZE_TYPE, b"9\n"), newest=[lambda: signed(9).note]),
    ),
    refused(
        RestoredError,
        "checkpoint of size 1, which others know: expected a beginning of our log of size 1, got another tree, with root <hex>. "
        "The log has been forked: stop, keep both checkpoints as evidence, and tell your monitors",
        lambda scene: _asked(scene, lie=(422, "text/plain", b""), newest=[lambda: signed(1, "another").note]),
    ),
    refused(
        RestoredError,
        "size that the witness w1 saw last: expected at most 0, the newest that we signed, got 9. This directory is older "
        "than what was cosigned: restore the newest copy. Where that is the newest, the witness is wrong: take it out of the "
        "policy, or start once with --start-unchecked",
        _behind,
    ),
    refused(QuorumError, NOT_YET, lambda scene: _waiting(scene, 1).publish()),
    refused(QuorumError, NOT_YET, _again),
    refused(QuorumError, NOT_YET, _signed_again),
    refused(QuorumError, NOT_YET, lambda scene: _waiting(scene, 1).await_quorum(0)),
    refused(QuorumError, NOT_YET, _sign_again),
    refused(
        QuorumError,
        "entries that wait for the quorum of witnesses: expected fewer than 2, got 2. Nothing of this was recorded: try again "
        "when enough witnesses answer",
        _full,
    ),
    refused(
        QuorumError,
        f"witnesses that take the key {KEY.verifier.format()} alone: expected the quorum w1, got w1: witness w1: expected a "
        "cosignature (200), or the size that it knows (409), got 503. Give the new key to the operators of the witnesses, and "
        "run this again. Nothing was changed",
        _not_taken,
    ),
)

# Settings and trust files

WORLD = World()
OWN = WORLD.log_signer.verifier


def _policy(*, url="https://w.example", key=W1.key, quorum="w1", logs=()):
    return TrustPolicy(logs=logs, witnesses=(Witness(name="w1", key=key, url=url),), quorum=quorum)


def _checked(policy, *, required=False):
    return check_policy(policy, own=[OWN], required=required)


def _misnamed(scene):
    """The settings name a policy that is not there."""
    folder = scene.watch(scene.ledger())
    config = replace(load_config(folder), witness=WitnessConfig(policy="witness.policy"))
    load_policy(config, folder)


def _clock_of_the_same_name(_scene):
    """The trust file has a cosigner of its own under the name of the new witness."""
    trust = WORLD.trust(witnesses=("w1",))
    with_witnesses(trust, _policy(key=FakeWitness("w1", key="another").key))


def _in_rekor(_scene):
    shard = TrustedLog(origin="rekor.example", keys=(OWN,))
    with_witnesses(replace(WORLD.trust(), origin="", shards=(shard,)), _policy())


def _witnessed(scene):
    folder = scene.watch(scene.ledger())
    record_revision(folder, request(scene.folder / "model"), witnessed=True)


SETTINGS = (
    refused(
        ConfigError,
        f'witness.policy: expected nothing, unless log = "local", got log = "rekor-v2". {CORRECT}',
        lambda _: Config(ledger="l", hub="h", log="rekor-v2", witness=WitnessConfig(policy="w")),
    ),
    refused(
        ConfigError,
        f"witness.required: expected false without witness.policy, got true. {CORRECT}",
        lambda _: WitnessConfig(required=True),
    ),
    refused(
        ConfigError,
        f"witness.timeout: expected 0.1 to 60 seconds, got 61. {CORRECT}",
        lambda _: WitnessConfig(timeout=61),
    ),
    refused(
        ConfigError,
        f"witness.backlog: expected 1 to 10000000, got 0. {CORRECT}",
        lambda _: WitnessConfig(backlog=0),
    ),
    refused(
        ConfigError,
        "witness.policy: file <folder>/ledger/witness.policy: expected a readable file, got No such file or directory. "
        + CORRECT,
        _misnamed,
    ),
    refused(
        ConfigError,
        f"address of the witness w1: expected an http(s) address, got ftp://w.example. {CORRECT}",
        lambda _: _checked(_policy(url="ftp://w.example")),
    ),
    refused(
        ConfigError,
        f"key of the witness w1: expected somebody else's, got a key of this log. {CORRECT}",
        lambda _: _checked(_policy(key=replace(W1.key, public_key=OWN.public_key))),
    ),
    refused(
        ConfigError,
        f"witness.policy: expected a witness with an address, got none. {CORRECT}",
        lambda _: _checked(_policy(url=None)),
    ),
    refused(
        ConfigError,
        f"log of witness.policy: expected <vkey>+<any>, got <vkey>+<any>. {CORRECT}",
        lambda _: _checked(_policy(logs=World(log_key="another").trust().policy.logs)),
    ),
    refused(
        ConfigError,
        f"quorum of witness.policy: expected a name, since it is required, got none. {CORRECT}",
        lambda _: _checked(_policy(quorum=None), required=True),
    ),
    refused(
        ConfigError,
        f"trust file: expected of a log of its own, got of a ledger in Rekor. {CORRECT}",
        _in_rekor,
    ),
    refused(
        ConfigError,
        f"name in a policy: expected a new name other than none, got w1. {CORRECT}",
        _clock_of_the_same_name,
    ),
    refused(
        UsageError,
        "--wait-witnessed: expected a log of its own whose witness.policy names a quorum, got none. "
        "Compare with the command's --help",
        _witnessed,
    ),
)

CASES = (*SPOKEN, *ASKING, *SETTINGS)
