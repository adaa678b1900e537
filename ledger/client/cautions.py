"""What a check that succeeds leaves open, because the proof may be old or the log was convicted before: plain sentences. Pure.

Being in the log does not expire, so none of these is a failure unless the trust file asks for more than inclusion; but whoever
reads only "ACCEPTED" must not take last month's truth, or one of two, for today's.
"""

from ledger.tlog.checkpoint import Checkpoint

_UNSEEN = "a later event, such as one that takes this back, would not be seen here"
_UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))


def older_than_pin(old: Checkpoint, new: Checkpoint) -> str:
    """Say that what is shown is from before what was seen."""
    return (
        f"not linked to your pin: this proof is from when the log had {new.size} entries, and you have seen {old.size}; "
        f"{_UNSEEN}"
    )


def not_linked(old: Checkpoint, new: Checkpoint) -> str:
    """Say that nothing shows that the log only grew."""
    return (
        f"not linked to your pin: nothing shows that the log of {new.size} entries begins with the {old.size} that you "
        "have seen; your pin stays as it is"
    )


def other_shard(old: Checkpoint, new: Checkpoint) -> str:
    """Say that the pin is of another shard, about which this proof says nothing."""
    return f"not linked to your pin: that is of {old.origin}, and this proof is of {new.origin}"


def too_old(age: int, max_age: int) -> str:
    """Say that the checkpoint is older than the trust file's ``max_age``, which decides nothing here."""
    return f"the checkpoint is {_long(age)} old, and your trust file's max_age is {_long(max_age)}; {_UNSEEN}"


def age_unknown(max_age: int) -> str:
    """Say that the trust file's ``max_age`` could be held against nothing."""
    return (
        f"nobody whom your trust file names says how old the checkpoint is, so its max_age of {_long(max_age)} was held against "
        f"nothing; {_UNSEEN}"
    )


def kept(at: str, away: str) -> str:
    """Say that the service was not heard and what was kept counted."""
    return f"the service was not heard ({away}); what it said on {at} was checked, and {_UNSEEN}"


def contradicted(day: str, evidence: str) -> str:
    """Say that the log was convicted before: what it shows now holds, and is one of two histories."""
    return (
        f"this log was seen to contradict itself on {day} (evidence: {evidence}), and nothing that it shows can be relied on until "
        "that is explained"
    )


def memory_damaged(what: str) -> str:
    """Say that something is remembered of this log's misbehaviour, and cannot be read."""
    return (
        f"this log was seen to contradict itself, and what was kept of that is damaged ({what}): nothing that it shows can be relied "
        "on until that is explained"
    )


def _long(seconds: int) -> str:
    """Say a duration as a person would, rounded down; seconds where it is short."""
    for unit, name in _UNITS:
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
