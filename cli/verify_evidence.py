"""Evidence of misbehaviour: checked by `hubledger verify --evidence`, and written where a check finds it."""

import contextlib
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from cli.output import columns, echo_json
from cli.verify_input import read_file
from ledger.encoding import parse_canonical_json
from ledger.errors import UsageError, WriteError

if TYPE_CHECKING:
    from ledger.client.trust import TrustFile


def check_evidence(
    evidence_file: pathlib.Path,
    trust_file: pathlib.Path | None,
    policy_file: pathlib.Path | None,
    *,
    as_json: bool,
) -> int:
    """Show what the evidence proves; what does not convict is refused with the reason (see `verify_evidence`).

    Raises:
        UsageError: not one of trust file and policy.
    """
    from cli import misbehaviour
    from ledger.client.evidence import MAX_EVIDENCE_BYTES, verify_evidence
    from ledger.client.reporting import recipients_of

    trust = _read_trust(trust_file, policy_file)
    found = verify_evidence(read_file(evidence_file, MAX_EVIDENCE_BYTES), trust=trust)
    if as_json:
        echo_json(misbehaviour.as_facts(found, recipients_of(trust)))
    else:
        click.echo(misbehaviour.as_text(found, recipients_of(trust), columns=columns()))
    return 0


def _read_trust(trust_file: pathlib.Path | None, policy_file: pathlib.Path | None) -> "TrustFile":
    """Read who signs a log: from a trust file, or from the policy of a log of anybody's."""
    from ledger.client.trust import MAX_TRUST_BYTES, parse_trust, trust_in_log
    from ledger.tlog.trust_policy import parse_policy

    match trust_file, policy_file:
        case pathlib.Path() as path, None:
            return parse_trust(read_file(path, MAX_TRUST_BYTES))
        case None, pathlib.Path() as path:
            return trust_in_log(parse_policy(read_file(path, MAX_TRUST_BYTES)))
    given = "none" if trust_file is None else "both"
    raise UsageError("hubledger verify --evidence", expected="one of --trust and --policy", actual=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where evidence was written, or was to be: then ``problem`` says why it is not there."""

    evidence: bytes
    path: pathlib.Path
    problem: WriteError | None = None

    @property
    def said(self) -> str:
        """Where it is, or why it is nowhere."""
        if self.problem is None:
            return str(self.path)
        return f"could not be written to {self.path} ({self.problem.actual})"

    def as_facts(self) -> dict[str, Any]:
        """Return as JSON facts where it is; where it could not be written, the evidence itself."""
        if self.problem is None:
            return {"evidence": str(self.path)}
        from ledger.client.evidence import MAX_EVIDENCE_BYTES

        value = parse_canonical_json(self.evidence, what="evidence", max_bytes=MAX_EVIDENCE_BYTES)
        return {"evidence": value, "evidenceProblem": self.said}


def keep_evidence(evidence: bytes | None, path: pathlib.Path) -> Kept | None:
    """Write the evidence of a check, if it has any. A disk that is full or read-only never hides what was found."""
    if evidence is None:
        return None
    try:
        return Kept(evidence=evidence, path=write_evidence(evidence, path))
    except WriteError as error:
        return Kept(evidence=evidence, path=path, problem=error)


def write_evidence(evidence: bytes, path: pathlib.Path) -> pathlib.Path:
    """Write evidence to a file that was not there: evidence found before is never overwritten. Raises WriteError."""
    for number in range(1000):
        free = path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            with free.open("xb") as file:
                _write_whole(file, evidence, free)
        except FileExistsError:
            continue
        except OSError as error:
            raise WriteError(
                f"evidence of misbehaviour for {free}",
                expected="a file that can be written",
                actual=error.strerror,
                next_step="The log contradicts itself: run this again with --evidence-out in another folder",
            ) from error
        return free
    raise WriteError(
        f"evidence of misbehaviour for {path}",
        expected="a free file name",
        actual="1000 files of that name",
        next_step="The log contradicts itself: run this again with --evidence-out in another folder",
    )


def _write_whole(file: BinaryIO, evidence: bytes, path: pathlib.Path) -> None:
    """Write, and leave no half of it where the disk is full. Raises OSError."""
    try:
        file.write(evidence)
        file.flush()
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
