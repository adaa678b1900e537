"""The versions of a ledger's trust file, for clients of every age.

::

    DIR/trust.toml         the version that counts
    DIR/trust/<N>.toml     each version that was published with `hubledger trust publish`
    DIR/trust/<N>.toml.sig its signature by the offline key

A client goes from its version to the next, and so on, each signed by the key that the one before names.
"""

import pathlib

from ledger.client.trust import MAX_TRUST_BYTES, TrustFile, parse_trust
from ledger.client.trust_signature import MAX_SIGNATURE_BYTES, verify_signed, verify_update
from ledger.embedded.directory import Layout, load_trust
from ledger.errors import ConfigError, NotFoundError
from ledger.log.lock import writer_lock
from ledger.storage.directory import DirectoryObjects, read_file, write_file_durably


def publish_trust(directory: pathlib.Path, data: bytes, signature: bytes) -> TrustFile:
    """Make a signed trust file the one that counts. Raises as ``verify_update``; WriterLockedError, WriteError.

    A running service shows it to clients from the next request on, and uses it itself when it starts again.
    """
    layout = Layout(root=directory)
    store = _store(layout)
    with writer_lock(directory / "trust.lock"):
        old = load_trust(layout)
        if old.update_key is None:
            # The first that has a key: whoever has the old one cannot check the step, so nothing is signed for them.
            new = _first_with_key(old, data, signature)
        else:
            new = verify_update(old, data, signature)
        store.put([(f"{old.version}.toml", read_file(layout.trust, max_bytes=MAX_TRUST_BYTES))])
        # If we stop here, an old version can be had under its number: nothing changed for anybody.
        store.replace(f"{new.version}.toml", data)
        store.replace(f"{new.version}.toml.sig", signature)
        # If we stop here, the new version is not shown yet; publishing it again goes on.
        write_file_durably(layout.trust, data, mode=0o644)
    return new


def _first_with_key(old: TrustFile, data: bytes, signature: bytes) -> TrustFile:
    new = parse_trust(data)
    if new.update_key is None or (new.ledger, new.hub, new.version) != (
        old.ledger,
        old.hub,
        old.version + 1,
    ):
        raise ConfigError(
            "new trust file",
            expected=f"version {old.version + 1} of {old.ledger} and {old.hub}, with an update_key",
            actual=f"version {new.version} of {new.ledger} and {new.hub}, "
            + ("without one" if new.update_key is None else "with one"),
        )
    return verify_signed(data, signature, key=new.update_key)


def read_trust(layout: Layout, version: int | None) -> bytes:
    """Return the trust file that counts, or one version of it. Raises NotFoundError."""
    current = read_file(layout.trust, max_bytes=MAX_TRUST_BYTES)
    newest = parse_trust(current).version
    if version is None or version == newest:
        return current
    return _get(layout, version, newest, max_bytes=MAX_TRUST_BYTES, suffix=".toml")


def read_trust_signature(layout: Layout, version: int | None) -> bytes:
    """Return the signature of the trust file that counts, or of one version. Raises NotFoundError."""
    newest = parse_trust(read_file(layout.trust, max_bytes=MAX_TRUST_BYTES)).version
    wanted = newest if version is None else version
    return _get(layout, wanted, newest, max_bytes=MAX_SIGNATURE_BYTES, suffix=".toml.sig")


def _get(layout: Layout, version: int, newest: int, *, max_bytes: int, suffix: str) -> bytes:
    """Return a file of a version that counts or counted: one that is only being published is not shown."""
    name = f"{version}{suffix}"
    missing = NotFoundError(
        f"trust/{name}",
        expected="a published version of the trust file, signed",
        actual="none such",
        next_step="Whoever runs the ledger publishes one with `hubledger trust publish`",
    )
    if version > newest:
        raise missing
    try:
        return _store(layout).get(name, max_bytes=max_bytes)
    except NotFoundError as error:
        raise missing from error


def _store(layout: Layout) -> DirectoryObjects:
    return DirectoryObjects(layout.root / "trust")
