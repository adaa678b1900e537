"""A ledger in one directory: where everything lies, and how it is opened for reading.

::

    DIR/hubledger.toml   settings            DIR/log/        the public log: checkpoint, tile/…
    DIR/trust.toml       for clients         DIR/evidence/   bundles, manifests, policies by SHA-256
    DIR/keys/            private, 0600       DIR/ledger.db   commits: the truth
    DIR/anchors/         checkpoints in      DIR/index.db, DIR/digests.db  derived
                         another log         DIR/final-checkpoint   of a log that is retired

A ledger in Rekor has ``outbox.db`` in the place of ``ledger.db`` and ``log/``; ``ledger.embedded.remote`` is what differs.
"""

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization

from ledger.client.trust import MAX_TRUST_BYTES, TrustFile, parse_trust
from ledger.config import Config, load_config
from ledger.errors import ConfigError, UsageError
from ledger.log.fetch import fetch_from_folder
from ledger.log.published import PublishedLog

if TYPE_CHECKING:  # who has a log of their own does not pay for what Rekor needs
    from ledger.embedded.remote import AcceptedLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things are in a ledger directory."""

    root: pathlib.Path

    @property
    def trust(self) -> pathlib.Path:
        """The trust file for clients of this ledger."""
        return self.root / "trust.toml"

    @property
    def public(self) -> pathlib.Path:
        """The tlog-tiles log: serve this folder with any static web server."""
        return self.root / "log"

    @property
    def commits(self) -> pathlib.Path:
        """The commit store."""
        return self.root / "ledger.db"

    @property
    def outbox(self) -> pathlib.Path:
        """The outbox of a ledger in Rekor, in the place of the commit store and of the log."""
        return self.root / "outbox.db"

    @property
    def index(self) -> pathlib.Path:
        """The index."""
        return self.root / "index.db"

    @property
    def digests(self) -> pathlib.Path:
        """Which statements name which digest, and which manifests hold which file: derived, as the index is."""
        return self.root / "digests.db"

    @property
    def statements(self) -> pathlib.Path:
        """Of a ledger in Rekor: which entry is meant by a digest, derived."""
        return self.root / "statements.db"

    @property
    def identities(self) -> pathlib.Path:
        """The keys of committed identities, mode 0600: a secret, and not derived."""
        return self.root / "identities.db"

    @property
    def anchors(self) -> pathlib.Path:
        """Checkpoints that were anchored in another log."""
        return self.root / "anchors"

    @property
    def final(self) -> pathlib.Path:
        """The last checkpoint of a log that is retired: where it is, nothing is recorded."""
        return self.root / "final-checkpoint"

    @property
    def evidence(self) -> pathlib.Path:
        """Evidence by SHA-256."""
        return self.root / "evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLedger:
    """A ledger that this process only reads: its entries and the index; no key is touched.

    ``published`` is its own log, ``accepted`` the outbox of one in Rekor: it has one of them.
    """

    layout: Layout
    config: Config
    trust: TrustFile
    published: PublishedLog | None = None
    accepted: "AcceptedLog | None" = None

    @property
    def log(self) -> PublishedLog:
        """The ledger's own log. Raises UsageError: it is in Rekor."""
        if self.published is None:
            raise UsageError(
                f"log of {self.config.ledger}",
                expected="a log in this directory",
                actual=f"one in Rekor ({self.config.log})",
                next_step="`hubledger outbox status` says where the entries of such a ledger are",
            )
        return self.published

    @property
    def place(self) -> str:
        """What the place of an entry is called in facts: its leaf index, or in Rekor its number in the order of acceptance."""
        return "leafIndex" if self.accepted is None else "number"

    def size(self) -> int:
        """How many entries readers are shown: those published, or in Rekor those accepted."""
        return self.accepted.size() if self.accepted is not None else self.log.checkpoint().checkpoint.size

    def read(self, start: int, end: int, *, size: int) -> Iterator[bytes]:
        """Yield the entries ``[start, end)`` of the first ``size``, each checked against its leaf hash in a log of ours."""
        if self.accepted is not None:
            return self.accepted.read(start, min(end, size))
        return self.log.read(start, end, size=size)


def load_trust(layout: Layout) -> TrustFile:
    """Read the trust file of a ledger's directory. Raises ConfigError, LimitError."""
    try:
        with layout.trust.open("rb") as file:
            return parse_trust(file.read(MAX_TRUST_BYTES + 1))
    except OSError as error:
        raise ConfigError("trust file", expected="trust.toml", actual=error.strerror) from error


def open_for_reading(directory: pathlib.Path) -> ReadLedger:
    """Open a ledger for reading; a writer may run beside it. Raises ConfigError, LimitError."""
    config = load_config(directory)
    layout = Layout(root=directory)
    trust = load_trust(layout)
    if config.log != "local":
        from ledger.embedded.remote import AcceptedLog

        accepted = AcceptedLog(layout.outbox, config, trust, root=directory)
        return ReadLedger(layout=layout, config=config, trust=trust, accepted=accepted)
    log = PublishedLog(fetch_from_folder(layout.public), origin=config.ledger, keys=trust.log_keys)
    return ReadLedger(layout=layout, config=config, trust=trust, published=log)


def describe(directory: pathlib.Path) -> dict[str, Any]:
    """Return the public keys of a ledger as JSON facts. Raises ConfigError."""
    ledger = open_for_reading(directory)
    hub = ledger.trust.hub_keys[-1]
    pem = serialization.load_der_public_key(hub.spki).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    facts: dict[str, Any] = {"ledger": ledger.config.ledger, "hub": ledger.config.hub}
    if ledger.accepted is not None:
        facts |= {
            "log": ledger.config.log,
            "shards": [
                {
                    "origin": each.origin,
                    "key": each.keys[0].format() if each.keys else "none that can be used",
                }
                for each in ledger.trust.shards
            ],
        }
    else:
        witnesses = ledger.trust.policy.witnesses
        facts |= {
            "logKey": ledger.trust.log_keys[-1].format(),
            "cosignerKey": witnesses[0].key.format() if witnesses else "",
        }
    return facts | {"hubKeyId": hub.keyid, "hubKey": pem.decode("ascii")}
