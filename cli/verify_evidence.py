"""Evidence of misbehaviour: checked by `hubledger verify --evidence`, and written where a check finds it."""

import pathlib

import click

from cli.output import columns, echo_json
from cli.verify_input import read_file
from ledger.errors import WriteError


def check_evidence(evidence_file: pathlib.Path, trust_file: pathlib.Path, *, as_json: bool) -> int:
    """Show what the evidence proves; what does not convict is refused with the reason (see `verify_evidence`)."""
    from cli import misbehaviour
    from ledger.client.evidence import MAX_EVIDENCE_BYTES, verify_evidence
    from ledger.client.reporting import recipients_of
    from ledger.client.trust import MAX_TRUST_BYTES, parse_trust

    trust = parse_trust(read_file(trust_file, MAX_TRUST_BYTES))
    found = verify_evidence(read_file(evidence_file, MAX_EVIDENCE_BYTES), trust=trust)
    if as_json:
        echo_json(misbehaviour.as_facts(found, recipients_of(trust)))
    else:
        click.echo(misbehaviour.as_text(found, recipients_of(trust), columns=columns()))
    return 0


def write_evidence(evidence: bytes, path: pathlib.Path) -> pathlib.Path:
    """Write evidence to a file that was not there: evidence found before is never overwritten."""
    for number in range(1000):
        free = path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            with free.open("xb") as file:
                file.write(evidence)
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
        "evidence of misbehaviour",
        expected="a free file name",
        actual=f"{path} and 999 more",
        next_step="The log contradicts itself: run this again with --evidence-out in another folder",
    )
