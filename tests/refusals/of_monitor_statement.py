"""Refusals of ledger.monitor_statement: what a monitor signs."""

import hashlib

from ledger.errors import LimitError, MalformedError, NotFoundError, SignatureError
from ledger.monitor_statement import (
    MAX_STATEMENT_BYTES,
    MonitorStatement,
    format_monitor_statement,
    verify_monitor_statement,
)
from ledger.open_findings import (
    MAX_PART_BYTES,
    HistoryFindings,
    ListPart,
    OpenClass,
    OpenFindings,
    OpenList,
    OpenSeverity,
    parse_parts,
    verify_part,
)
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import Cosigner
from ledger.tlog.signed_note import Ed25519NoteSigner, parse_note, sign_note
from tests.refusals.table import refused
from tests.world import ed25519_key

KEY = Ed25519NoteSigner("monitor.example", ed25519_key("monitor.example"))
ONE = OpenFindings(count=1, severity=OpenSeverity.HIGH, kind=OpenClass.FINDING)
TREE = Checkpoint(origin="log.example", size=3, root_hash=bytes(32))
STATEMENT = MonitorStatement.of(TREE, OpenList.of("log.example", {"name:a": ONE}), checked_at=1_000)
TEXT = parse_note(format_monitor_statement(STATEMENT, KEY)).text
AGAIN = "Get it again from where it came; if it stays the same, tell whoever wrote it"


def _made(**changes):
    known = {
        "ledger": "log.example",
        "origin": "log.example",
        "size": 3,
        "root_hash": bytes(32),
        "checked_at": 1,
    }
    return lambda scene: MonitorStatement(**known | changes)


def _read(before, after):
    assert before in TEXT
    note = sign_note(TEXT.replace(before, after), [KEY])
    return lambda scene: verify_monitor_statement(note, vkeys=[KEY.verifier])


def _malformed(text, trigger):
    return refused(MalformedError, f"{text}. {AGAIN}", trigger)


def _part(data, *, count=1):
    part = ListPart(first=0, bits=0, count=count, sha256=hashlib.sha256(data).digest())
    return lambda scene: verify_part(data, part)


ROW = b"0" * 64 + b" 1 high finding\n"
ANY_PART = ListPart(first=0, bits=0, count=1, sha256=bytes(32))
CASES = (
    _malformed(
        "part of a monitor's statement: expected 0 to 256 bits, where such a part begins, and at most 1024 histories, "
        f"got 0 1025 {'0' * 64}",
        lambda scene: ListPart(first=0, bits=0, count=1025, sha256=bytes(32)),
    ),
    _malformed(
        "part of a monitor's statement: expected bits, count and SHA-256, got 1 2",
        lambda scene: parse_parts(["1 2"]),
    ),
    _malformed(
        "parts of a monitor's statement: expected at most 4096, which hold every digest once, got 2 others",
        _made(parts=(ANY_PART, ANY_PART)),
    ),
    refused(
        LimitError,
        f"part of a monitor's list: expected at most {MAX_PART_BYTES} bytes, got {MAX_PART_BYTES + 1} bytes. "
        "Check that it is what you meant: the limit cannot be changed",
        lambda scene: verify_part(bytes(MAX_PART_BYTES + 1), ANY_PART),
    ),
    _malformed(
        f"part of a monitor's list: expected SHA-256 {'0' * 64}, as signed, got {hashlib.sha256(ROW).hexdigest()}",
        lambda scene: verify_part(ROW, ANY_PART),
    ),
    _malformed(
        "part of a monitor's list: expected at most 1024, sorted, each once, got 2 histories",
        _part(ROW + ROW, count=2),
    ),
    _malformed(
        "part of a monitor's list: expected 2 histories of this part, got 1, or one of another part",
        _part(ROW, count=2),
    ),
    _malformed("part of a monitor's list: expected its own formatting, got other bytes", _part(ROW + b"x")),
    refused(
        NotFoundError,
        f"part of a monitor's list: expected one with the SHA-256 {'0' * 64}, got none among 0. Ask the monitor for it",
        lambda scene: MonitorStatement(
            ledger="log.example",
            origin="log.example",
            size=3,
            root_hash=bytes(32),
            checked_at=1,
            parts=(ANY_PART,),
        ).open_for(["name:a"]),
    ),
    _malformed(
        "open findings: expected 1 to 9007199254740991, got 0",
        lambda scene: OpenFindings(count=0, severity=OpenSeverity.LOW, kind=OpenClass.FINDING),
    ),
    _malformed(
        "digest of a history: expected 32 bytes, got 3 bytes",
        lambda scene: HistoryFindings(history=b"abc", open=ONE),
    ),
    _malformed(
        "ledger of a monitor's statement: expected a non-empty line, got a\\x0ab", _made(ledger="a\nb")
    ),
    _malformed(
        "time of a monitor's statement: expected POSIX seconds up to 253402300799, got -1",
        _made(checked_at=-1),
    ),
    _malformed(
        "histories of a monitor's statement: expected at most 4096, sorted, each once, got 2 histories",
        _made(histories=(HistoryFindings(history=bytes(32), open=ONE),) * 2),
    ),
    _malformed(
        "histories of a monitor's statement: expected a list, its parts, or how many are not listed, got 1 listed, 0 parts, 7 not",
        _made(histories=(HistoryFindings(history=bytes(32), open=ONE),), not_listed=7),
    ),
    _malformed(
        "key of a monitor: expected an Ed25519 key (0x01), got COSIGNATURE_V1",
        lambda scene: format_monitor_statement(
            STATEMENT, Cosigner(name="monitor.example", key=ed25519_key("monitor.example"))
        ),
    ),
    refused(
        LimitError,
        "monitor's statement: expected at most 524288 bytes, got 524289 bytes. "
        "Check that it is what you meant: the limit cannot be changed",
        lambda scene: verify_monitor_statement(bytes(MAX_STATEMENT_BYTES + 1), vkeys=[KEY.verifier]),
    ),
    refused(
        SignatureError,
        "key of the monitor monitor.example: expected an Ed25519 key (0x01), got COSIGNATURE_V1. "
        "Check that the keys are those of this log and hub; if they are, do not use what was signed",
        lambda scene: verify_monitor_statement(
            format_monitor_statement(STATEMENT, KEY),
            vkeys=[Cosigner(name="monitor.example", key=ed25519_key("monitor.example")).verifier],
        ),
    ),
    _malformed(
        "first line of a monitor's statement: expected hubledger/monitor-statement/v1, got hubledger/monitor-statement/v2",
        _read(b"/v1", b"/v2"),
    ),
    _malformed(
        "line 4 of a monitor's statement: expected size and its value, got seize 3", _read(b"size", b"seize")
    ),
    _malformed(
        "histories of a monitor's statement: expected listed 1, parts 1, or not-listed and how many, got listed 2",
        _read(b"listed 1", b"listed 2"),
    ),
    _malformed(
        "open findings of a monitor's statement: expected count, severity and class, got 01 high finding",
        _read(b"1 high", b"01 high"),
    ),
)
