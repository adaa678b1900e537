"""The witnesses that a ledger's settings name: their policy is read, checked, and put to use."""

import contextlib
import pathlib
from collections.abc import Sequence
from dataclasses import replace

from ledger.client.trust import TrustFile
from ledger.config import Config
from ledger.embedded.keys import Keys
from ledger.errors import ConfigError, LedgerError
from ledger.log.fetch import fetch_from_url
from ledger.log.witnessing import Witnesses, WitnessingConfig
from ledger.storage.directory import read_file
from ledger.tlog.signed_note import MAX_NOTE_BYTES, VerifierKey
from ledger.tlog.trust_policy import MAX_POLICY_BYTES, TrustPolicy, parse_policy


def load_policy(config: Config, root: pathlib.Path) -> TrustPolicy:
    """Read the policy of ``[witness]``. Raises ConfigError, LimitError."""
    text = config.witness.policy
    try:
        if "\n" in text:
            return parse_policy(text.encode())
        return parse_policy(read_file(root / text, max_bytes=MAX_POLICY_BYTES))
    except LedgerError as error:
        raise ConfigError(
            f"witness.policy: {error.what}", expected=error.expected, actual=error.actual
        ) from error


def has_quorum(config: Config, root: pathlib.Path) -> bool:
    """Whether the settings name witnesses and ask for a quorum of them. Raises ConfigError, LimitError."""
    return bool(config.witness.policy) and load_policy(config, root).quorum is not None


def open_witnesses(
    config: Config,
    root: pathlib.Path,
    keys: Keys,
    stack: contextlib.ExitStack,
    *,
    log_keys: Sequence[VerifierKey],
) -> Witnesses | None:
    """Return who is to be asked to cosign; None where the settings name nobody.

    A checkpoint that they show us is ours by any of ``log_keys``. Raises ConfigError, LimitError.
    """
    settings = config.witness
    if not settings.policy:
        return None
    policy = load_policy(config, root)
    check_policy(policy, own=(keys.verifier, keys.clock.verifier), required=settings.required)
    newest = []
    if config.public_url:
        fetch = fetch_from_url(config.public_url, timeout=settings.timeout, tries=1)
        newest.append(lambda: fetch("checkpoint", max_bytes=MAX_NOTE_BYTES))
    witnesses = Witnesses(
        WitnessingConfig(
            origin=config.ledger,
            keys=log_keys,
            policy=policy,
            required=settings.required,
            timeout=settings.timeout,
            interval=settings.interval,
            refresh=settings.refresh,
            backlog=settings.backlog,
            newest=newest,
        )
    )
    stack.callback(witnesses.close)
    return witnesses


def check_policy(policy: TrustPolicy, *, own: Sequence[VerifierKey], required: bool) -> None:
    """Check that a policy is one for this log: who is asked has an address, and no key of ours counts as a witness.

    Raises:
        ConfigError: it is not.
    """
    for each in policy.witnesses:
        if each.url is not None and not each.url.startswith(("https://", "http://")):
            raise ConfigError(
                f"address of the witness {each.name}", expected="an http(s) address", actual=each.url
            )
        if any(each.key.public_key == key.public_key for key in own):
            raise ConfigError(
                f"key of the witness {each.name}", expected="somebody else's", actual="a key of this log"
            )
    if not any(each.url for each in policy.witnesses):
        raise ConfigError("witness.policy", expected="a witness with an address", actual="none")
    if policy.logs and own[0] not in [each.key for each in policy.logs]:
        raise ConfigError(
            "log of witness.policy", expected=own[0].format(), actual=policy.logs[0].key.format()
        )
    if required and policy.quorum is None:
        raise ConfigError("quorum of witness.policy", expected="a name, since it is required", actual="none")


def with_witnesses(trust: TrustFile, policy: TrustPolicy) -> TrustFile:
    """Return the next version of a trust file, which counts the witnesses of ``policy`` and asks for its quorum.

    Cosigners that are in no quorum stay: the log's own clock. Addresses are left out: clients ask no witness.

    Raises:
        ConfigError: a ledger in Rekor, or names or keys that both have for different witnesses.
    """
    if trust.is_rekor:
        raise ConfigError("trust file", expected="of a log of its own", actual="of a ledger in Rekor")
    own = tuple(each.key for each in trust.policy.logs)
    check_policy(policy, own=own, required=False)
    grouped = {member for group in trust.policy.groups for member in group.members} | {trust.policy.quorum}
    new = {each.key.public_key for each in policy.witnesses}
    kept = [
        each for each in trust.policy.witnesses if each.name not in grouped and each.key.public_key not in new
    ]
    try:
        merged = replace(
            trust.policy,
            witnesses=(*kept, *(replace(each, url=None) for each in policy.witnesses)),
            groups=policy.groups,
            quorum=policy.quorum,
        )
    except LedgerError as error:
        raise ConfigError(error.what, expected=error.expected, actual=error.actual) from error
    return replace(trust, version=trust.version + 1, policy=merged)
