"""What is said to a witness and what it answers: c2sp.org/tlog-witness, ``add-checkpoint``.

The request is the size that the witness saw last, a proof from there, and the signed checkpoint. The answer is one or more
signature lines, or, with status 409, the size that the witness saw last.
"""

import hashlib
from collections.abc import Sequence

from ledger.encoding import format_base64, parse_decimal
from ledger.errors import LimitError, MalformedError, SignatureError
from ledger.tlog.checkpoint import Checkpoint, format_checkpoint
from ledger.tlog.cosignature import verify_cosignature
from ledger.tlog.signed_note import NoteSignature, VerifierKey, parse_note

MAX_ANSWER_BYTES = 64 << 10
"""An ML-DSA-44 line takes 3.3 KB, and a witness may have several keys."""
MAX_PROOF_HASHES = 63
"""What the specification allows in a request."""
MAX_SKEW_SECONDS = 300
"""How far a cosignature's time may be from ours. A clock that is further off would date our log wrongly for everybody:
backwards it looks older than it is, forwards a later standstill is not noticed."""
SIZE_TYPE = "text/x.tlog.size"
"""The content type of a 409 that says which size the witness saw last."""


def format_request(*, old_size: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Format the body of ``add-checkpoint``. Raises LimitError: a longer proof than a witness takes."""
    if len(proof) > MAX_PROOF_HASHES:
        raise LimitError(
            "proof for a witness", expected=f"at most {MAX_PROOF_HASHES} hashes", actual=f"{len(proof)}"
        )
    lines = [f"old {old_size}", *(format_base64(each) for each in proof), ""]
    return "".join(f"{line}\n" for line in lines).encode() + note


def parse_size(body: bytes) -> int:
    """Parse the body of a 409. Raises MalformedError: not one canonical decimal and a newline."""
    text = body.decode("ascii", "replace")
    if not text.endswith("\n"):
        raise MalformedError("size that a witness knows", expected="a decimal and a newline", actual=text)
    return parse_decimal(text[:-1], what="size that a witness knows")


def parse_cosignatures(body: bytes, checkpoint: Checkpoint) -> tuple[NoteSignature, ...]:
    """Parse the body of a 200: signature lines for ``checkpoint``, nothing else. Nothing is verified.

    Raises:
        MalformedError, LimitError: anything else than signature lines, or too much of them.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise LimitError("answer of a witness", expected=f"at most {MAX_ANSWER_BYTES} bytes", actual="more")
    if body.startswith(b"\n") or b"\n\n" in body:
        # Another blank line would move the end of the note's text: the lines before it would be no signatures.
        raise MalformedError("answer of a witness", expected="signature lines", actual="an empty line")
    return parse_note(format_checkpoint(checkpoint) + b"\n" + body).signatures


def verify_answer(body: bytes, *, key: VerifierKey, checkpoint: Checkpoint, now: int) -> NoteSignature:
    """Return the line by ``key`` over ``checkpoint`` at about ``now`` (POSIX seconds); lines by other keys are left out.

    Raises:
        MalformedError, LimitError: not signature lines, or a cosignature of another form.
        SignatureError: no line by this key, one that fails, or one from another time.
    """
    lines = parse_cosignatures(body, checkpoint)
    ours = [line for line in lines if (line.name, line.key_id) == (key.name, key.key_id)]
    if not ours:
        raise SignatureError(
            "cosignature",
            expected=f"one by {key.name}+{key.key_id.hex()}",
            actual=", ".join(f"{line.name}+{line.key_id.hex()}" for line in lines),
        )
    cosignature = verify_cosignature(ours[0], key=key, checkpoint=checkpoint)
    if abs(cosignature.timestamp - now) > MAX_SKEW_SECONDS:
        raise SignatureError(
            f"time of the cosignature by {key.name}",
            expected=f"within {MAX_SKEW_SECONDS} s of {now}",
            actual=str(cosignature.timestamp),
        )
    return ours[0]


def checkpoint_path(origin: str) -> str:
    """Return where a witness shows the newest checkpoint of a log that it cosigned, below its monitoring prefix."""
    return f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
