"""The parts of statements, as values: who records, where in a history, which revision, which signatures."""

from dataclasses import dataclass

from ledger.encoding import Json
from ledger.identity import (
    Capped,
    Overflow,
    SignerFacts,
    plain,
    ref_class,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLink:
    """A statement's place in one history: its number, and the SHA-256 of the statement before.

    Both are absent in an observer's statement; ``previous`` is absent at number 0.
    """

    key: str
    sequence: int | None = None
    previous: bytes | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the element of ``histories``."""
        value: dict[str, Json] = {"key": self.key}
        if self.sequence is not None:
            value["sequence"] = self.sequence
        if self.previous is not None:
            value["previous"] = self.previous.hex()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBy:
    """Who signs the statement: the hub, or a registered observer."""

    id: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every statement but an anchor has. ``recorded_at`` is the recorder's word, not proof."""

    ledger: str
    hub_id: str
    recorded_by: RecordedBy
    histories: tuple[HistoryLink, ...]
    event_id: str
    recorded_at: str

    def as_json(self) -> dict[str, Json]:
        """Return the common fields of a predicate."""
        return {
            "ledger": self.ledger,
            "hub": {"id": self.hub_id},
            "recordedBy": {"id": self.recorded_by.id, "role": self.recorded_by.role},
            "histories": [link.as_json() for link in self.histories],
            "eventId": self.event_id,
            "recordedAt": self.recorded_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The revision: names are escaped (``escape_name``)."""

    name: str
    revision: str
    repo_id: str | None = None
    ref: str | None = None
    parents: tuple[str, ...] | Overflow | None = None
    revision_time: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the ``model`` object."""
        value: dict[str, Json] = {"name": self.name, "revision": self.revision}
        if self.repo_id is not None:
            value["repoId"] = self.repo_id
        if self.ref is not None:
            value["ref"] = self.ref
        if self.parents is not None:
            value["parents"] = (
                self.parents.as_json() if isinstance(self.parents, Overflow) else list(self.parents)
            )
        if self.revision_time is not None:
            value["revisionTime"] = self.revision_time
        return value

    @property
    def is_proposal(self) -> bool:
        """Whether the revision is a ``pull`` ref, which anybody may open: it never counts."""
        return self.ref is not None and ref_class(self.ref) == "pull"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRef:
    """The manifest of every file, and of the content without signatures; ``bytes`` is the sum of file sizes."""

    sha256: bytes
    content_sha256: bytes
    files: int
    bytes: int

    def as_json(self) -> dict[str, Json]:
        """Return the ``manifest`` object."""
        return {
            "sha256": self.sha256.hex(),
            "contentSha256": self.content_sha256.hex(),
            "files": self.files,
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLog:
    """Where the signature itself is logged, as proven by its bundle. ``index`` is the true leaf index or, for Rekor
    v1, the global index that the signed entry timestamp covers.
    """

    origin: Capped
    log_id: bytes
    kind: str
    index: int
    integrated_time: int | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the ``upstreamLog`` object."""
        value: dict[str, Json] = {
            "origin": plain(self.origin),
            "logId": self.log_id.hex(),
            "kind": self.kind,
            "index": self.index if self.index < 2**53 else str(self.index),
        }
        if self.integrated_time is not None:
            value["integratedTime"] = self.integrated_time
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureFact:
    """What was found about one signature bundle. ``signer`` only where it verified, else ``claimed_signer``."""

    bundle_sha256: bytes
    outcome: str
    account_link: str = "unknown"
    statement_sha256: bytes | None = None
    oms_root_sha256: bytes | None = None
    method: str | None = None
    location: str | None = None
    ignored_paths: tuple[str, ...] | Overflow | None = None
    signer: SignerFacts | None = None
    claimed_signer: SignerFacts | None = None
    upstream_log: UpstreamLog | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the element of ``signatures``."""
        value: dict[str, Json] = {
            "bundleSha256": self.bundle_sha256.hex(),
            "outcome": self.outcome,
            "accountLink": self.account_link,
        }
        if self.statement_sha256 is not None:
            value["statementSha256"] = self.statement_sha256.hex()
        if self.oms_root_sha256 is not None:
            value["omsRootSha256"] = self.oms_root_sha256.hex()
        if self.method is not None:
            value["method"] = self.method
        if self.location is not None:
            value["location"] = self.location
        if self.ignored_paths is not None:
            paths = self.ignored_paths
            value["ignoredPaths"] = paths.as_json() if isinstance(paths, Overflow) else list(paths)
        if self.signer is not None:
            value["signer"] = self.signer.as_json()
        if self.claimed_signer is not None:
            value["claimedSigner"] = self.claimed_signer.as_json()
        if self.upstream_log is not None:
            value["upstreamLog"] = self.upstream_log.as_json()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRef:
    """The policy in force, by the SHA-256 of its document, and what it decided."""

    sha256: bytes
    decision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """The program that verified."""

    name: str
    version: str
