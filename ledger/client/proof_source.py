"""Where the proof of a model comes from: the hub's service, a file that somebody fetched, or what was fetched before.

A copy of each proof that holds is kept for when the hub is away. It is checked as everything else is: whoever changes it can make a
check fail, and cannot make one succeed; whoever answers in the place of the hub can put
a newer one in its place, and none of a smaller log.
"""

import pathlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from ledger.client import cautions
from ledger.client.asking import fetch_bundle, fetch_proof
from ledger.client.pins import Pins
from ledger.client.proof_bundle import MAX_BUNDLE_BYTES, ProofBundle, parse_bundle
from ledger.client.result import LocalFiles
from ledger.client.trust_source import is_address, open_source
from ledger.client.trust_store import StoredTrust
from ledger.client.user_store import UserFolder, file_name
from ledger.client.verify import check_proof
from ledger.client.vouching import Stated
from ledger.encoding import Json
from ledger.errors import (
    CorruptError,
    InputError,
    LedgerError,
    NotFoundError,
    SourceError,
    UsageError,
    WriteError,
)
from ledger.event import VerificationEvent
from ledger.log.fetch import Fetch
from ledger.storage.directory import read_file
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.proof import parse_proof
from ledger.tlog.signed_note import parse_note

_TOO_MANY, _FAILS = 429, 500
"""HTTP: too many requests; from here on, it is the server that fails."""
_MAX_ASKED = 3
"""How often the service is asked where others move the pin meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which proof: of a model by its recorded name, at a revision, or of the files with these digests."""

    name: str
    revision: str | None = None
    files: LocalFiles | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """A proof bundle, and in words where it came from and whether a copy was kept; ``caution`` where it was only kept."""

    bundle: ProofBundle
    source: str
    caution: str | None = None


def service_of(stored: StoredTrust, url: str | None) -> Fetch:
    """Return what asks the hub's service. Raises UsageError: nobody said where it is."""
    address = url or (stored.source if is_address(stored.source) else None)
    if address is None:
        raise UsageError(
            f"service of {stored.trust.hub}",
            expected="an address",
            actual="a trust file that came from a file",
            next_step="Name the service with --url, or a file of `hubledger fetch-proof` with --from",
        )
    return open_source(address)


def ask(
    fetch: Fetch,
    wanted: Wanted,
    stored: StoredTrust,
    pins: Pins,
    *,
    now: int,
    kept: Sequence[Stated] = (),
) -> ProofBundle:
    """Ask the service, with proof that the log only grew since the remembered checkpoint, and the monitors.

    ``kept`` is what monitors said before. Monitors are asked first, so that the log's checkpoint is not older than theirs. Where
    another process moved the pin while the service was asked, the service is asked again, from where that is now: what is not
    linked to the pin is not remembered.

    Raises:
        NotFoundError, SourceError, LimitError, MalformedError: see ``fetch_bundle``. CorruptError: the pin is damaged.
    """
    since = _pinned_size(stored, pins)
    for _ in range(_MAX_ASKED):
        bundle = _ask_from(since, fetch, wanted, stored, now=now, kept=kept)
        moved = _pinned_size(stored, pins)
        if moved == since:
            break
        since = moved
    return bundle


def _pinned_size(stored: StoredTrust, pins: Pins) -> int | None:
    pin = None if stored.trust.is_rekor else pins.log(stored.trust.ledger, stored.trust.origin)
    return None if pin is None else parse_checkpoint(parse_note(pin.note).text).size


def _ask_from(
    since: int | None,
    fetch: Fetch,
    wanted: Wanted,
    stored: StoredTrust,
    *,
    now: int,
    kept: Sequence[Stated],
) -> ProofBundle:
    files = wanted.files
    stated = _hear(stored, kept)
    bundle = fetch_bundle(
        fetch,
        wanted.name,
        now=now,
        revision=wanted.revision,
        content=files.content_sha256 if files else None,
        manifest=files.manifest_sha256 if files else None,
        since=since,
    )
    if not stated:
        return bundle
    from ledger.client.monitor_source import add_parts, link_statements

    linked = link_statements(bundle, stated, stored.trust, since=since, ask=partial(fetch_proof, fetch))
    return add_parts(linked, stored.trust, kept)


def _hear(stored: StoredTrust, kept: Sequence[Stated]) -> tuple[Stated, ...]:
    if not stored.trust.monitors:
        return ()
    from ledger.client.monitor_source import hear_monitors  # only those who have monitors pay for it

    return hear_monitors(stored.trust, kept)


class ProofCache:
    """Proofs that were fetched: the last of each model, and of each of its revisions or contents that was asked for."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = UserFolder(
            folder / "proofs",
            what="kept proof",
            max_bytes=2 * MAX_BUNDLE_BYTES,
            when_damaged="Check it with the network: the proof that the service gives takes its place",
        )

    def get(self, wanted: Wanted, stored: StoredTrust) -> ProofBundle | None:
        """Return the proof that was kept of these files or this revision, else of the model, or None. Raises CorruptError.

        The proof of other files is of use: it says that these are not the ones.
        """
        found = self._read(_file(wanted, stored))
        if found is None and wanted.revision is None:
            found = self._read(_file(Wanted(name=wanted.name), stored))
        return found

    def put(self, wanted: Wanted, stored: StoredTrust, bundle: ProofBundle) -> None:
        """Keep a proof in the place of the one before, in each place where that is of no larger tree. Raises WriteError, LimitError."""
        value: dict[str, Json] = {"bundle": bundle.format().decode()}
        with self._folder.changing():
            for each in (wanted, Wanted(name=wanted.name)):
                name = _file(each, stored)
                if not self._has_later(name, bundle):
                    self._folder.write(name, value)

    def _has_later(self, name: str, bundle: ProofBundle) -> bool:
        """Whether what was kept is of a larger tree: a service that lags, or replays, must not take that away."""
        try:
            kept = self._read(name)
            return kept is not None and _size_of(bundle) < _size_of(kept)
        except LedgerError:
            return False  # what is damaged may be replaced

    def _read(self, name: str) -> ProofBundle | None:
        match self._folder.read(name):
            case None:
                return None
            case {"bundle": str(text)}:
                try:
                    return parse_bundle(text.encode())
                except InputError as error:
                    raise self._folder.damaged(name, str(error)) from error
        raise self._folder.damaged(name, "another object")


def _file(wanted: Wanted, stored: StoredTrust) -> str:
    content = wanted.files.content_sha256.hex() if wanted.files else ""
    return file_name(f"{stored.trust.ledger}\n{wanted.name}\n{wanted.revision or content}")


def find_proof(
    wanted: Wanted,
    stored: StoredTrust,
    *,
    pins: Pins,
    cache: ProofCache,
    now: int,
    url: str | None = None,
    offline: bool = False,
    live: bool = False,
) -> Sourced:
    """Get a proof from the service, and from what was kept if that is away or ``offline`` says so; never that with ``live``.

    One that does not answer, or answers that it cannot now (429, 5xx), is away. One that answers anything else is not: that it has no such
    event, that it does not want to be asked (4xx), or what is none of ours. That is raised.

    Raises:
        SourceError: it is away and nothing was kept. NotFoundError, UsageError, LimitError, MalformedError, CorruptError.
    """
    if live and offline:
        raise UsageError(
            "a live answer",
            expected="a service that may be asked",
            actual="offline beside it",
            next_step="Leave one of the two out",
        )
    away = "asked not to"
    if not offline:
        try:
            fetch = service_of(stored, url)
            kept_words = _kept_words(cache, wanted, stored)
            bundle = ask(fetch, wanted, stored, pins, now=now, kept=kept_words)
            return Sourced(
                bundle=bundle, source=f"{url or stored.source}{_keep(cache, wanted, stored, bundle, now=now)}"
            )
        except SourceError as error:
            kept = None if live or not _is_away(error) else cache.get(wanted, stored)
            if kept is None:
                raise
            away = error.finding if error.status is None else f"answered {error.status}"
    else:
        kept = cache.get(wanted, stored)
    if kept is None:
        raise NotFoundError(
            f"kept proof of {wanted.name}",
            expected="one that was fetched before",
            actual="none",
            next_step="Check it once with the network, or name a file of `hubledger fetch-proof` with --from",
        )
    at = _time(kept)
    return Sourced(
        bundle=kept,
        source=f"kept on this machine since {at}; the service was not heard ({away})",
        caution=cautions.kept(at, away),
    )


def _is_away(error: SourceError) -> bool:
    return error.status is None or error.status == _TOO_MANY or error.status >= _FAILS


def _kept_words(cache: ProofCache, wanted: Wanted, stored: StoredTrust) -> tuple[Stated, ...]:
    """Return what monitors said when this was asked before; a damaged copy is as good as none here."""
    if stored.trust.monitors:
        with suppress(CorruptError):
            if (kept := cache.get(wanted, stored)) is not None:
                return kept.stated
    return ()


def _keep(cache: ProofCache, wanted: Wanted, stored: StoredTrust, bundle: ProofBundle, *, now: int) -> str:
    """Keep a copy, and say so where that failed: the check goes on without it.

    What does not hold must not take the place of what does: the check says what is wrong with it, and the old copy is of use.
    """
    found = check_proof(bundle.proof, trust=stored.trust, now=now, log_only=True)
    if found.event is None or found.event.model.name != wanted.name:
        return ""
    # Of another revision or content than was asked for, it is the last of its model all the same.
    place = wanted if _is_wanted(found.event, wanted) else Wanted(name=wanted.name)
    try:
        cache.put(place, stored, bundle)
    except (WriteError, InputError) as error:
        return f"; no copy was kept ({error.finding})"
    return ""


def _is_wanted(event: VerificationEvent, wanted: Wanted) -> bool:
    """Whether an event is about what was asked for, and no other revision or content of the same model."""
    files = wanted.files
    if wanted.revision is not None or files is None:
        return wanted.revision in (None, event.model.revision)
    return (
        event.manifest.sha256 == files.manifest_sha256
        or event.manifest.content_sha256 == files.content_sha256
    )


def _size_of(bundle: ProofBundle) -> int:
    return parse_checkpoint(parse_note(parse_proof(bundle.proof).checkpoint_note).text).size


def read_bundle(path: pathlib.Path) -> Sourced:
    """Read a file of `hubledger fetch-proof`. Raises NotFoundError, MalformedError, LimitError."""
    bundle = parse_bundle(read_file(path, max_bytes=MAX_BUNDLE_BYTES))
    return Sourced(bundle=bundle, source=f"file {path}, fetched {_time(bundle)}")


def _time(bundle: ProofBundle) -> str:
    return datetime.fromtimestamp(bundle.fetched_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
