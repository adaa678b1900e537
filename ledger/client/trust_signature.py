"""The signature of a trust file, by the offline key that the file before it names (docs/spec/trust.md). Pure.

A signature is a C2SP signed note over four lines: what it is, the ledger, the version, and the SHA-256 of the file. Its
first line has spaces, which no origin has, so it can never be taken for a checkpoint.
"""

import hashlib
from collections.abc import Sequence

from ledger.client.trust import TrustFile, parse_trust
from ledger.errors import ConfigError, SignatureError
from ledger.tlog.signed_note import NoteSigner, VerifierKey, parse_note, sign_note, verify_signatures

MAX_SIGNATURE_BYTES = 16 << 10
"""A few lines; a hundred signatures of Ed25519 fit."""
_WHAT = "hubledger trust file v1"


def signed_text(trust: TrustFile, data: bytes) -> bytes:
    """Return the text that is signed for a trust file of these bytes."""
    return f"{_WHAT}\n{trust.ledger}\n{trust.version}\n{hashlib.sha256(data).hexdigest()}\n".encode()


def sign_trust(data: bytes, signers: Sequence[NoteSigner]) -> bytes:
    """Sign a trust file by its own key, and the one before it where the key changes.

    Raises:
        ConfigError, LimitError: no trust file, or one that does not name the key of a signer. MalformedError: no signer.
    """
    trust = parse_trust(data)
    if trust.update_key not in [each.verifier for each in signers]:
        raise ConfigError(
            "update_key of the trust file",
            expected=", ".join(_show(each.verifier) for each in signers) or "the key that signs it",
            actual=_show(trust.update_key) if trust.update_key else "none",
            next_step="Write the line that `hubledger trust key` printed into the trust file",
        )
    return sign_note(signed_text(trust, data), signers)


def verify_signed(data: bytes, signature: bytes, *, key: VerifierKey) -> TrustFile:
    """Return the trust file that this key signed, and its own key too where that is another.

    Raises:
        ConfigError, LimitError: no trust file. MalformedError: no signature. SignatureError: another file's, or one that
            a key did not make.
    """
    trust = parse_trust(data)
    wanted = tuple(dict.fromkeys(each for each in (key, trust.update_key) if each is not None))
    note = parse_note(signature)
    signers = verify_signatures(note, wanted)
    # Section 8: by the old and the new key when it changes. The old one alone could name a key that nobody holds; the
    # new one alone is anybody's.
    if missing := [_show(each) for each in wanted if each not in signers]:
        raise SignatureError(
            "signatures of the trust file",
            expected=" and ".join(_show(each) for each in wanted),
            actual="none by " + " and ".join(missing),
        )
    if note.text != signed_text(trust, data):
        raise SignatureError(
            "signature of the trust file",
            expected=signed_text(trust, data).decode().replace("\n", " ").rstrip(),
            actual=note.text.decode().replace("\n", " ").rstrip(),
        )
    return trust


def verify_update(old: TrustFile, data: bytes, signature: bytes) -> TrustFile:
    """Return the next version of a trust file: of the same ledger and hub, version + 1, signed by the old one's key.

    Raises:
        ConfigError: the old one names no key, the new one cannot be read or names none. LimitError, MalformedError.
        SignatureError: another ledger or version, or a signature that does not hold.
    """
    if old.update_key is None:
        raise ConfigError(
            "update_key of your trust file",
            expected="the key that signs the next version",
            actual="none",
            next_step="Keep the one that you have, and ask the publisher, over another channel, how it is replaced",
        )
    new = verify_signed(data, signature, key=old.update_key)
    if (new.ledger, new.hub) != (old.ledger, old.hub):
        raise SignatureError(
            "ledger and hub of the new trust file",
            expected=f"{old.ledger} and {old.hub}",
            actual=f"{new.ledger} and {new.hub}",
        )
    if new.version != old.version + 1:
        raise SignatureError(
            "version of the new trust file",
            expected=f"{old.version + 1}, the one after yours",
            actual=new.version,
            next_step="Keep the one that you have: an older one may bring back keys that were withdrawn",
        )
    if new.update_key is None:
        raise ConfigError(
            "update_key of the new trust file",
            expected="the key that signs the version after it",
            actual="none",
            next_step="Keep the one that you have, and tell the publisher",
        )
    return new


def _show(key: VerifierKey) -> str:
    return f"{key.name}+{key.key_id.hex()}"
