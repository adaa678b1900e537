"""Where trust files come from: a hub's well-known address, or a file that somebody handed over."""

import pathlib
from collections.abc import Callable

from ledger.client.trust import MAX_TRUST_BYTES, parse_trust
from ledger.client.trust_signature import MAX_SIGNATURE_BYTES
from ledger.client.trust_store import FetchVersion
from ledger.errors import NotFoundError, SignatureError, SourceError, UsageError
from ledger.log.fetch import Fetch, fetch_from_url
from ledger.storage.directory import read_file

WELL_KNOWN = ".well-known/hubledger/trust"
SIGNATURE = f"{WELL_KNOWN}.sig"
SUFFIX = ".sig"
"""What is added to a trust file's name for that of its signature."""
MAX_SECONDS = 60.0
"""For the whole of one answer, however it trickles."""
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


def is_address(source: str) -> bool:
    """Whether a source is an address, not a file."""
    return "://" in source


def _connect(url: str) -> Fetch:
    """Try twice, and not for long: somebody waits for the answer, and what was kept may do."""
    return fetch_from_url(url, timeout=10.0, tries=2, seconds=MAX_SECONDS)


def open_source(url: str, *, what: str = "trust file", connect: Callable[[str], Fetch] = _connect) -> Fetch:
    """Return what fetches from a hub's address. Redirects are not followed, to whomever they lead.

    Raises:
        UsageError: no address, one with a name or password in it, or one without TLS that is not of this machine.
    """
    import httpx

    fetch = connect(url)
    address = httpx.URL(url)
    if address.scheme != "https" and address.host not in _LOOPBACK:
        raise UsageError(
            f"address of a {what}",
            expected="https://…",
            actual=url,
            next_step="Name the address with https: whoever sits between could hand you keys of their own",
        )
    if address.userinfo or address.query or address.fragment:
        raise UsageError(f"address of a {what}", expected="https://host/…", actual="more than that")
    return fetch


def fetch_first(fetch: Fetch) -> bytes:
    """Return the trust file that a hub shows now. Raises NotFoundError, LimitError, SourceError."""
    return fetch(WELL_KNOWN, max_bytes=MAX_TRUST_BYTES)


def versions_at(fetch: Fetch, *, known: int) -> FetchVersion:
    """Return what asks a hub for one version after another, having looked that it does not show an older one.

    Raises:
        SignatureError: it shows an older version than the one that is known. ConfigError: it shows none.
    """
    shown = parse_trust(fetch_first(fetch)).version
    if shown < known:
        raise SignatureError(
            "version of the trust file that the hub shows",
            expected=f"{known}, which you have, or a later one",
            actual=shown,
            next_step="Keep the one that you have: an older one may bring back keys that were withdrawn",
        )

    def take(version: int) -> tuple[bytes, bytes] | None:
        if version > shown:
            return None
        query = f"?version={version}"
        try:
            return (
                fetch(WELL_KNOWN + query, max_bytes=MAX_TRUST_BYTES),
                fetch(SIGNATURE + query, max_bytes=MAX_SIGNATURE_BYTES),
            )
        except NotFoundError as error:
            # It shows a later version, so this one was there: that is no end, it is a gap.
            raise SourceError(
                f"version {version} of the trust file",
                expected=f"file and signature, since version {shown} is shown",
                actual="404",
                next_step="Ask the hub to publish every version with its signature",
            ) from error

    return take


def version_in(path: pathlib.Path) -> FetchVersion:
    """Return what offers one file, with its signature beside it. Raises NotFoundError, ConfigError, LimitError."""
    data = read_file(path, max_bytes=MAX_TRUST_BYTES)
    parse_trust(data)
    signature = read_file(path.with_name(path.name + SUFFIX), max_bytes=MAX_SIGNATURE_BYTES)
    left = [(data, signature)]
    return lambda _: left.pop() if left else None
