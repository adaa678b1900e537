"""Every exception that hubledger raises, split by who can act.

::

    LedgerError
    ├── InputError                 you sent nonsense
    │   ├── MalformedError             bytes that are not what their format demands
    │   ├── LimitError                 well formed, but larger than a named limit
    │   ├── UsageError                 arguments that contradict each other or miss something
    │   ├── ConfigError                a setting that is unknown, missing or impossible
    │   ├── NotFoundError              no such event, history, leaf or file
    │   ├── NotEmptyError              a directory that must be empty is not
    │   ├── ConflictError              an event id that was used with other facts
    │   ├── WithdrawnError             evidence whose bytes were withdrawn: why, and the leaf that says so
    │   └── RejectedError              an entry that a log refuses for good
    ├── VerificationError          it does not verify
    │   ├── SignatureError             a signature that fails, or a known key that did not sign
    │   ├── ProofError                 an inclusion or consistency proof that fails
    │   ├── ChainError                 a gap or a fork in a history
    │   └── MisbehaviourError          two signed statements of a log that contradict each other
    ├── UnavailableError           I could not reach it
    │   ├── SourceError                an outside source did not answer, or not in its protocol
    │   ├── WriterLockedError          another process writes this directory
    │   ├── HeadMovedError             a history grew between the decision and the commit: decide again
    │   ├── FrozenError                a log that takes no more entries, or none any more
    │   └── QuorumError                witnesses that must cosign a checkpoint have not: it is not shown
    └── StorageError               my storage is in doubt: stop
        ├── CorruptError               stored bytes that cannot be what was stored
        ├── RestoredError              this directory is older than what the log has already shown
        └── WriteError                 a write failed, or its fate is unknown

Anything else that escapes is a bug.
"""

from typing import ClassVar


class LedgerError(Exception):
    """What was being checked, what was expected, what was found, and the next step.

    ``exit_code`` is the process exit code of the command that met the error; each class has its own.
    ``default_next_step`` is right whatever the cause; a place that knows more gives its own.
    """

    exit_code: ClassVar[int] = 1
    default_next_step: ClassVar[str] = ""

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        actual: object = None,
        next_step: str | None = None,
    ) -> None:
        self.what = what
        self.expected = expected
        self.actual = actual
        self.next_step = self.default_next_step if next_step is None else next_step
        super().__init__(what)

    @property
    def finding(self) -> str:
        """The message without the next step: for another message to repeat, which has a next step of its own."""
        what = _printable(self.what)
        if self.expected is None:
            return what
        return f"{what}: expected {_short(self.expected)}, got {_short(self.actual)}"

    def __str__(self) -> str:
        return f"{self.finding}. {_printable(self.next_step)}" if self.next_step else self.finding


MAX_SHOWN = 200
"""Characters of a foreign value that a message repeats: enough to recognise it, too few to flood a log."""


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = _printable(text[: MAX_SHOWN + 1])
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _printable(text: str) -> str:
    """Escape what moves a cursor: names and words of strangers are in messages, and messages are shown on terminals."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


class InputError(LedgerError):
    """What was handed in cannot be used; nothing was changed."""

    exit_code = 30


class MalformedError(InputError):
    """Bytes that are not what their format demands."""

    exit_code = 31
    default_next_step = "Get it again from where it came; if it stays the same, tell whoever wrote it"


class LimitError(InputError):
    """Well formed, but larger than a named limit."""

    exit_code = 32
    default_next_step = "Check that it is what you meant: the limit cannot be changed"


class UsageError(InputError):
    """Arguments that contradict each other or miss something."""

    exit_code = 2
    default_next_step = "Compare with the command's --help"


class ConfigError(InputError):
    """A setting that is unknown, missing or impossible."""

    exit_code = 33
    default_next_step = "Correct what is named, and try again"


class NotFoundError(InputError):
    """There is no such event, history, leaf or file."""

    exit_code = 34
    default_next_step = "Check the name, and that it has been recorded and published"


class NotEmptyError(InputError):
    """A directory that must be empty is not."""

    exit_code = 35
    default_next_step = "Name a new directory"


class ConflictError(InputError):
    """An event id that was used before, with other facts."""

    exit_code = 36
    default_next_step = "Give the new observation an event id of its own"


class WithdrawnError(InputError):
    """Evidence whose bytes were withdrawn; every proof still verifies. Over HTTP: 410.

    ``reason`` is a code, ``reference`` where the decision is written down, as whoever withdrew it gave them.
    """

    exit_code = 37
    default_next_step = "The event and its proof still verify; ask the hub for the statement at that leaf"

    def __init__(self, sha256: bytes, *, reason: str, leaf_index: int, reference: str | None = None) -> None:
        self.sha256, self.reason, self.leaf_index, self.reference = sha256, reason, leaf_index, reference
        super().__init__(
            f"evidence {sha256.hex()}",
            expected="stored bytes",
            actual=f"withdrawn: {reason}, leaf {leaf_index}",
        )


class RejectedError(InputError):
    """An entry that a log refuses for good: sending it again cannot help."""

    exit_code = 38
    default_next_step = (
        "See what the log does not like; `hubledger outbox drop` gives the entry up, for all to see"
    )


class VerificationError(LedgerError):
    """Something that was checked does not hold."""

    exit_code = 40


class SignatureError(VerificationError):
    """A signature that fails, or a known key that did not sign."""

    exit_code = 41
    default_next_step = (
        "Check that the keys are those of this log and hub; if they are, do not use what was signed"
    )


class ProofError(VerificationError):
    """An inclusion or consistency proof that does not give the root."""

    exit_code = 42
    default_next_step = "Fetch it again, from another mirror if there is one; do not use it as it is"


class ChainError(VerificationError):
    """A gap or a fork in a history."""

    exit_code = 44
    default_next_step = "Keep the copy that you have, and ask the hub for an explanation in public"


class MisbehaviourError(VerificationError):
    """Two signed statements of one log that contradict each other."""

    exit_code = 45
    default_next_step = "Keep both as evidence, and send them to the monitors of this log"


class UnavailableError(LedgerError):
    """Something outside did not answer; trying again may help."""

    exit_code = 50


class SourceError(UnavailableError):
    """An outside source did not answer, or not in its protocol. ``status`` is what it answered over HTTP in the place of 200."""

    exit_code = 51
    status: int | None = None
    default_next_step = "Make it reachable and readable, and try again"


class WriterLockedError(UnavailableError):
    """Another process writes this directory."""

    exit_code = 52
    default_next_step = "Wait for the other process to end"


class HeadMovedError(UnavailableError):
    """A history grew between the decision and the commit: decide and sign again."""

    exit_code = 53
    default_next_step = "Try again with the same event id"


class FrozenError(UnavailableError):
    """A shard of a log that takes no more entries: the next one does."""

    exit_code = 54
    default_next_step = "Get the newest signing configuration: the log goes on in another shard"


class QuorumError(UnavailableError):
    """Witnesses whose cosignatures are required, or waited for, have not cosigned the checkpoint."""

    exit_code = 55
    default_next_step = "What was recorded is durable; it is shown as soon as enough witnesses answer"


class StorageError(LedgerError):
    """Our own storage is in doubt: the process stops writing."""

    exit_code = 60


class CorruptError(StorageError):
    """Stored bytes that cannot be what was stored."""

    exit_code = 61
    default_next_step = (
        "Keep the files as they are; fetch them again from a mirror, or restore the newest copy"
    )


class RestoredError(StorageError):
    """A directory that is older than what the log has already shown to others."""

    exit_code = 62
    default_next_step = "Restore the newest copy of the directory: writing here would fork the log"


class WriteError(StorageError):
    """A write failed, or its fate is unknown."""

    exit_code = 63
    default_next_step = "Repair the disk, then start again: nothing answered is lost"
