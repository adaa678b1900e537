"""Anchors for others: each as a Sigstore bundle v0.3, with the text that it is about and the key that signed it.

Whoever gets the folder needs nothing of ours: ``cosign verify-blob-attestation`` holds the bundle against the text, the key
and the other log's trusted root.
"""

import pathlib
from collections.abc import Iterator

from cryptography.hazmat.primitives import serialization

from ledger.bundle.export import format_sigstore_bundle
from ledger.embedded.anchor_list import AnchorReport, ListedAnchor
from ledger.errors import WriteError
from ledger.storage.directory import write_file_durably


def export_anchors(report: AnchorReport, folder: pathlib.Path) -> list[pathlib.Path]:
    """Write every anchor that holds and that somebody outside has answered; returns the files.

    Raises:
        WriteError: the folder or a file could not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"folder {folder}",
            expected="a writable folder",
            actual=error.strerror,
            next_step="Name another place",
        ) from error
    written = []
    for anchor in report.anchors:
        for name, data in _files(anchor):
            write_file_durably(folder / name, data, mode=0o644)
            written.append(folder / name)
    return list(dict.fromkeys(written))


def _files(anchor: ListedAnchor) -> Iterator[tuple[str, bytes]]:
    """Yield the files of one anchor: the bundle, the text whose digest is its subject, the signed note, the key."""
    stored, signed, checkpoint = anchor.stored, anchor.signed, anchor.checkpoint
    if anchor.problems or stored is None or signed is None or checkpoint is None:
        return
    if stored.log_entry is None and not stored.timestamps:
        return  # nobody but us says anything yet
    spki = signed.verifier.der
    yield (
        f"{anchor.name}.sigstore.json",
        format_sigstore_bundle(
            stored.new.envelope,
            spki=spki,
            log_entries=[] if stored.log_entry is None else [stored.log_entry],
            timestamps=stored.timestamps,
        ),
    )
    yield f"{anchor.name}.txt", checkpoint.parsed.text
    yield f"{anchor.name}.checkpoint", checkpoint.note
    yield f"anchor-{signed.keyid[:16]}.pub", _pem(spki)


def _pem(spki: bytes) -> bytes:
    key = serialization.load_der_public_key(spki)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
