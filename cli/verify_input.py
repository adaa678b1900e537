"""What `hubledger verify` is given: files, their digests, and whom the caller expects."""

import pathlib
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from ledger.client.expect import Expectation
from ledger.client.patterns import SubjectPattern
from ledger.encoding import parse_base64
from ledger.errors import InputError, LedgerError, NotFoundError, UsageError

if TYPE_CHECKING:
    from ledger.client.partial import PartialFiles
    from ledger.client.result import LocalFiles
    from ledger.client.trust import TrustFile
    from ledger.client.vouching import Stated
    from ledger.manifest import Manifest
    from ledger.verification import Content


def given_on(ctx: click.Context, option: str) -> bool:
    """Whether an option was given on the command line."""
    named = next(each for each in ctx.command.params if option in each.opts)
    return ctx.get_parameter_source(str(named.name)) is click.core.ParameterSource.COMMANDLINE


def refuse_beside(ctx: click.Context, option: str, others: Sequence[str]) -> None:
    """Refuse options that would be ignored beside another. Raises UsageError."""
    beside = [each for each in others if given_on(ctx, each)]
    if beside:
        raise UsageError(option, expected="no " + ", ".join(others) + " beside it", actual=beside[0])


def read_file(path: pathlib.Path, max_bytes: int) -> bytes:
    """Read a file, and one byte more than it may have: the parser refuses what is too large. Raises NotFoundError."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise NotFoundError(
            f"file {path}", expected="a readable file", actual=error.strerror, next_step="Check the path"
        ) from error


def read_statements(paths: Sequence[pathlib.Path], proof: bytes, trust: "TrustFile") -> "tuple[Stated, ...]":
    """Read what monitors signed, and of a list in parts those that the event needs, from the folder beside each.

    Raises NotFoundError, and UsageError where nobody would hear it. A part that cannot be used is for the check to tell of.
    """
    if not paths:
        return ()
    from ledger.client.stated_files import histories_of, stated_beside, with_parts
    from ledger.log.fetch import fetch_from_folder
    from ledger.monitor_statement import MAX_STATEMENT_BYTES

    if not trust.monitors:
        raise UsageError(
            "--statement",
            expected="a trust file with a table [[monitor]]",
            actual="one without",
            next_step="Put the monitor's vkey, which you have from somewhere else, into the trust file",
        )
    stated = stated_beside(proof, [read_file(each, MAX_STATEMENT_BYTES) for each in paths], trust)
    histories = histories_of(proof)
    return tuple(
        found
        for each, path in zip(stated, paths, strict=True)
        for found in with_parts(each, trust, histories, beside=fetch_from_folder(path.parent), path=path)
    )


_MAX_LISTED_BYTES = 8 << 20
"""Of a manifest that is read only to say which files differ: of a model of some 60,000 files."""


def hash_files(model: pathlib.Path | None, *, beside: pathlib.Path, quiet: bool) -> "LocalFiles | None":
    """Hash all files of a model. ``beside`` may be its manifest, to say which files differ."""
    if model is None:
        return None
    from cli.progress import progress_bar
    from ledger.client.files import links_outside
    from ledger.client.result import LocalFiles
    from ledger.verification import read_content

    with progress_bar("hashing", quiet=quiet, unit="bytes") as advance:
        found = read_content(model, progress=advance)
    _look_again(found)
    return LocalFiles(
        manifest_sha256=found.manifest.sha256,
        content_sha256=found.content.sha256,
        bundles=found.bundles,
        outside=links_outside(found.manifest.items),
        special=found.special,
        items=found.content.items,
        listed=_read_listed(beside),
    )


def _read_listed(path: pathlib.Path) -> "Manifest | None":
    from ledger.manifest import parse_manifest

    if not path.is_file():  # nobody named it: a pipe that lies there would be waited for without an end
        return None
    with suppress(LedgerError):
        return parse_manifest(read_file(path, _MAX_LISTED_BYTES), max_bytes=_MAX_LISTED_BYTES)
    return None


def read_partial(model: pathlib.Path, manifest: pathlib.Path, *, quiet: bool) -> "PartialFiles":
    """Hash some of the files of a model, and read the manifest that lists all. Raises NotFoundError."""
    from cli.progress import progress_bar
    from ledger.client.partial import PartialFiles
    from ledger.manifest import Manifest, read_items
    from ledger.verification import read_content

    try:
        with manifest.open("rb") as file:
            listed = Manifest(tuple(read_items(iter(lambda: file.read(1 << 20), b""))))
    except OSError as error:
        raise NotFoundError(
            f"manifest {manifest}",
            expected="a readable file",
            actual=error.strerror,
            next_step="Name it with --manifest; `hubledger evidence export` writes it beside the proof",
        ) from error
    with progress_bar("hashing", quiet=quiet, unit="bytes") as advance:
        found = read_content(model, progress=advance)
    _look_again(found)
    return PartialFiles(
        manifest=listed,
        present=found.manifest.items,
        single=not model.is_dir(),
        special=found.special,
        bundles=found.bundles,
    )


def _look_again(found: "Content") -> None:
    """Refuse files that changed while others were read. Raises SourceError."""
    from ledger.verification.second_look import look_again

    if found.seen is not None:
        look_again(found.seen)


def expectations(options: Sequence[tuple[str, str]]) -> list[Expectation]:
    """Pair each signer with the issuer that follows it. Raises UsageError where one stands alone."""
    found: list[Expectation] = []
    signer: tuple[str, str] | None = None
    for name, value in options:
        if (name == "--expect-issuer") != (signer is not None):
            raise _unpaired(name, signer)
        match name:
            case "--expect-signer" | "--expect-signer-pattern":
                signer = name, value
            case "--expect-issuer":
                found.append(_by(signer, value))
                signer = None
            case "--expect-key" | "--public-key":
                found.append(Expectation(key_sha256=_fingerprint(value, name)))
            case _:
                found.append(Expectation(anchor_sha256=_fingerprint(value, name)))
    if signer is not None:
        raise _unpaired("the end", signer)
    return found


def _by(signer: tuple[str, str] | None, issuer: str) -> Expectation:
    option, subject = signer or ("", "")
    if option == "--expect-signer":
        return Expectation(signer=subject, issuer=issuer)
    return Expectation(pattern=SubjectPattern(subject), issuer=issuer)


def _unpaired(name: str, signer: tuple[str, str] | None) -> UsageError:
    if signer is None:
        return UsageError("--expect-issuer", expected="an --expect-signer before it", actual="none")
    return UsageError(" ".join(signer), expected="an --expect-issuer right after it", actual=name)


_A_KEY = "SHA256:…, 64 hex digits, or a PEM file"


def _parse_fingerprint(text: str, option: str) -> bytes:
    """Read a fingerprint as `ledger.identity.fingerprint` writes it."""
    try:
        found = parse_base64(text.removeprefix("SHA256:") + "=", max_bytes=32)
    except InputError as error:
        raise UsageError(option, expected=_A_KEY, actual=text) from error
    if len(found) != 32:
        raise UsageError(option, expected=_A_KEY, actual=text)
    return found


def _fingerprint(value: str, option: str) -> bytes:
    """Return the SPKI's SHA-256 from its fingerprint, from hex, or from a PEM file."""
    import hashlib

    text = value.removeprefix("sha256:")
    if not text:
        raise UsageError(option, expected=_A_KEY, actual="nothing")
    if text.startswith("SHA256:"):
        return _parse_fingerprint(text, option)
    if len(text) == 64 and all(c in "0123456789abcdef" for c in text):
        return bytes.fromhex(text)
    from cryptography.hazmat.primitives import serialization

    key = _load_key(read_file(pathlib.Path(value), 1 << 20), value, option)
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def _load_key(data: bytes, value: str, option: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if b"PRIVATE KEY-----" in data:
        raise UsageError(
            option,
            expected="the public key",
            actual=f"a private one in {value}",
            next_step="Name the file of the public half; a private key is nobody's business but the signer's",
        )
    refused: tuple[type[Exception], ...] = (ValueError, UnsupportedAlgorithm)
    try:
        if b"BEGIN CERTIFICATE" in data:
            from cryptography import (
                x509,
            )  # as long to load as the whole check of a key: for certificates alone

            refused = (*refused, x509.InvalidVersion)
            return x509.load_pem_x509_certificate(data).public_key()
        return serialization.load_pem_public_key(data[max(0, data.find(b"-----BEGIN")) :])
    except refused as error:
        raise UsageError(option, expected=_A_KEY, actual=value) from error
