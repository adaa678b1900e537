"""Trust policies: c2sp.org/tlog-policy. Which log keys count, and which cosigners make a quorum."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledger.encoding import parse_decimal
from ledger.errors import LimitError, MalformedError, SignatureError
from ledger.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from ledger.tlog.cosignature import Cosignature, verify_cosignatures
from ledger.tlog.signed_note import KeyType, VerifierKey

MAX_POLICY_BYTES = 1 << 20
MAX_DEFINITIONS = 1000
"""Logs, witnesses and groups together; the specification asks for at least 32 of each."""

_LOG_KINDS = (KeyType.ED25519, KeyType.ECDSA)
_WITNESS_KINDS = (KeyType.COSIGNATURE_V1, KeyType.ML_DSA_44)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """A ``log`` line."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A ``witness`` line."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A ``group`` line: at least ``threshold`` of ``members`` (witnesses or groups defined before it)."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """Log keys, witnesses, groups, and the one name that must be satisfied (None: no quorum is asked for)."""

    logs: tuple[LogKey, ...]
    witnesses: tuple[Witness, ...] = ()
    groups: tuple[Group, ...] = ()
    quorum: str | None = None

    def __post_init__(self) -> None:
        _check(self)

    def keys_of(self, origin: str) -> tuple[VerifierKey, ...]:
        """Return the log keys whose name is ``origin``."""
        return tuple(log.key for log in self.logs if log.key.name == origin)

    def verify(self, note: bytes, *, origin: str) -> "CountedCheckpoint":
        """Return a checkpoint of ``origin`` that a listed log signed and the quorum cosigned.

        Raises:
            MalformedError, LimitError: not a checkpoint.
            SignatureError: no listed log key signed it, a known signature fails, or the quorum is missing.
        """
        verified = verify_checkpoint(note, origin=origin, keys=self.keys_of(origin))
        cosignatures = verify_cosignatures(verified, [witness.key for witness in self.witnesses])
        signed = {
            witness.name for witness in self.witnesses for each in cosignatures if each.key == witness.key
        }
        if not self.is_met_by(signed):
            raise SignatureError(
                "cosignatures of the checkpoint",
                expected=f"the quorum {self.quorum}",
                actual=", ".join(sorted(signed)) or "none by a known witness",
                next_step="Fetch a newer checkpoint: witnesses may sign a little later than the log",
            )
        return CountedCheckpoint(verified=verified, cosignatures=cosignatures, quorum=self.quorum)

    def is_met_by(self, witnesses: Iterable[str]) -> bool:
        """Whether cosignatures by these witnesses, by name, make the quorum; always where none is asked for."""
        return self.quorum is None or self._satisfied(self.quorum, set(witnesses))

    def time_of(self, cosignatures: Sequence[Cosignature]) -> int | None:
        """Return as of when cosignatures say that a checkpoint is the newest (POSIX seconds); None where they do not.

        Where a quorum is asked for, that is when the last cosigner without whom it is not met signed: the log's own clock,
        or one witness of three, cannot make an old checkpoint young.
        """
        names = {each.key: each.name for each in self.witnesses}
        for time in sorted({each.timestamp for each in cosignatures}, reverse=True):
            if self.is_met_by(names[each.key] for each in cosignatures if each.timestamp >= time):
                return time
        return None

    def _satisfied(self, name: str, signed: set[str]) -> bool:
        """Evaluate in the order of definition: members come before their group, so nothing recurses."""
        holds = {witness.name: witness.name in signed for witness in self.witnesses}
        for group in self.groups:
            holds[group.name] = sum(holds[member] for member in group.members) >= group.threshold
        return holds[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedCheckpoint:
    """A checkpoint that satisfies a policy, with the cosignatures of known witnesses."""

    verified: VerifiedCheckpoint
    cosignatures: tuple[Cosignature, ...]
    quorum: str | None


def _check(policy: TrustPolicy) -> None:
    names: set[str] = set()
    used: set[str] = set()
    for witness in policy.witnesses:
        _define(witness.name, names)
    for group in policy.groups:
        for member in group.members:
            if member not in names:
                raise MalformedError(
                    f"member of group {group.name}", expected="a name defined before", actual=member
                )
            if member in used:
                raise MalformedError(
                    f"member {member}", expected="to be in one group only", actual=f"also in {group.name}"
                )
            used.add(member)
        if not 1 <= group.threshold <= len(group.members):
            raise MalformedError(
                f"threshold of group {group.name}",
                expected=f"1 to {len(group.members)}",
                actual=group.threshold,
            )
        _define(group.name, names)
    if policy.quorum is not None and policy.quorum not in names:
        raise MalformedError("quorum", expected="a defined name, or none", actual=policy.quorum)
    _check_keys([log.key for log in policy.logs], _LOG_KINDS, "log")
    _check_keys([witness.key for witness in policy.witnesses], _WITNESS_KINDS, "witness")


def _define(name: str, names: set[str]) -> None:
    if name in names or name == "none" or not name or any(char <= " " for char in name):
        raise MalformedError("name in a policy", expected="a new name other than none", actual=name)
    names.add(name)


def _check_keys(keys: Sequence[VerifierKey], kinds: Sequence[KeyType], what: str) -> None:
    """One underlying public key counts once, whatever name or type it is given (it would vote twice)."""
    seen: set[bytes] = set()
    for key in keys:
        if key.kind not in kinds:
            wanted = " or ".join(f"0x{kind:02x}" for kind in kinds)
            raise MalformedError(
                f"key of {what} {key.name}", expected=f"type {wanted}", actual=f"type 0x{key.kind:02x}"
            )
        if key.public_key in seen:
            raise MalformedError(
                f"key of {what} {key.name}", expected="a public key listed once", actual="one listed before"
            )
        seen.add(key.public_key)


def parse_policy(data: bytes) -> TrustPolicy:
    """Parse a policy file.

    Raises:
        MalformedError: an unknown line, an undefined or repeated name, no quorum or two, a key listed twice.
        LimitError: more than ``MAX_POLICY_BYTES`` or ``MAX_DEFINITIONS``.
    """
    if len(data) > MAX_POLICY_BYTES:
        raise LimitError(
            "trust policy", expected=f"at most {MAX_POLICY_BYTES} bytes", actual=f"{len(data)} bytes"
        )
    logs: list[LogKey] = []
    witnesses: list[Witness] = []
    groups: list[Group] = []
    quorums: list[str] = []
    for number, words in _lines(data):
        if len(logs) + len(witnesses) + len(groups) >= MAX_DEFINITIONS:
            raise LimitError("trust policy", expected=f"at most {MAX_DEFINITIONS} definitions", actual="more")
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                logs.append(LogKey(key=VerifierKey.parse(vkey), url=next(iter(url), None)))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                witnesses.append(Witness(name=name, key=VerifierKey.parse(vkey), url=next(iter(url), None)))
                _check_order(name, groups)
            case ["group", name, threshold, first, *more]:
                groups.append(_group(name, threshold, (first, *more)))
            case ["quorum", name]:
                quorums.append(name)
            case _:
                raise MalformedError(
                    f"line {number} of the trust policy",
                    expected="log, witness, group or quorum",
                    actual=" ".join(words),
                )
    if len(quorums) != 1:
        raise MalformedError("trust policy", expected="exactly one quorum line", actual=f"{len(quorums)}")
    quorum = None if quorums[0] == "none" else quorums[0]
    return TrustPolicy(logs=tuple(logs), witnesses=tuple(witnesses), groups=tuple(groups), quorum=quorum)


def _check_order(name: str, groups: Iterable[Group]) -> None:
    if any(name in group.members or name == group.name for group in groups):
        raise MalformedError(
            f"witness {name}", expected="to be defined before its group", actual="defined after it"
        )


def _group(name: str, threshold: str, members: tuple[str, ...]) -> Group:
    words: Mapping[str, int] = {"all": len(members), "any": 1}
    count = (
        words[threshold]
        if threshold in words
        else parse_decimal(threshold, what=f"threshold of group {name}")
    )
    return Group(name=name, threshold=count, members=members)


def _lines(data: bytes) -> Iterable[tuple[int, list[str]]]:
    """Yield the words of each line. Bytes from 0x80 on are opaque: they are kept as they are."""
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if any(c < " " or c == "\x7f" for word in words for c in word):
            raise MalformedError(
                f"line {number} of the trust policy", expected="no control characters", actual="one"
            )
        if words and not words[0].startswith("#"):
            yield number, words


def format_policy(policy: TrustPolicy) -> str:
    """Format a policy as ``parse_policy`` reads it."""
    lines = [_join("log", log.key.format(), log.url) for log in policy.logs]
    lines += [_join("witness", each.name, each.key.format(), each.url) for each in policy.witnesses]
    lines += [_join("group", group.name, str(group.threshold), *group.members) for group in policy.groups]
    lines.append(_join("quorum", policy.quorum or "none"))
    return "\n".join(lines) + "\n"


def _join(*words: str | None) -> str:
    return " ".join(word for word in words if word)
