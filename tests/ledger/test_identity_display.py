"""What people read about a signer (who it is: test_identity.py): a known name, a fingerprint in ssh's form, and in one line what changed."""

import base64
import hashlib
import subprocess

import pytest

from ledger.identity import (
    CertificateSigner,
    CommittedSigner,
    KeySigner,
    Overflow,
    SigstoreSigner,
    describe_change,
    display,
    fingerprint,
)
from tests import oms

ACTIONS = "https://token.actions.githubusercontent.com"
RELEASE = "https://github.com/acme/models/.github/workflows/release.yml"
A, B = bytes(32), bytes([255]) * 32
PRINT_A, PRINT_B = "SHA256:" + "A" * 43, "SHA256:" + "/" * 42 + "8"


def keyless(subject=RELEASE, issuer=ACTIONS, ref="tag", repository="17", owner="3", trigger="release"):
    return SigstoreSigner(
        issuer=issuer,
        subject=subject,
        ref_class=ref,
        repository_id=repository,
        owner_id=owner,
        trigger=trigger,
    )


def person(address, issuer):
    return keyless(address, issuer, None, None, None, None)


LONG = Overflow(count=9000, sha256=A)
SHOWN = {
    "a workflow": (keyless(), "workflow release.yml of acme/models, from a tag (GitHub Actions)"),
    "a pull request": (
        keyless(ref="pull"),
        "workflow release.yml of acme/models, from a pull request (GitHub Actions)",
    ),
    "GitLab": (
        keyless("https://gitlab.com/acme/team/models//.gitlab-ci.yml", "https://gitlab.com", "branch"),
        "workflow .gitlab-ci.yml of acme/team/models, from a branch (GitLab CI)",
    ),
    "a known issuer": (
        person("ann@acme.example", "https://accounts.google.com"),
        "ann@acme.example (Google)",
    ),
    "a person whose address is long": (
        person(LONG, "https://idp.example"),
        f"[9000 bytes, {PRINT_A}] (https://idp.example)",
    ),
    "an issuer that looks like a known one": (
        person("ann@acme.example", "https://accounts.google.com/"),
        "ann@acme.example (https://accounts.google.com/)",
    ),
    "a workflow by another issuer is not taken apart": (
        keyless(issuer="https://issuer.example"),
        f"{RELEASE}, from a tag (https://issuer.example)",
    ),
    "a workflow that only looks like one": (
        keyless("https://github.com.evil.example/acme/models/.github/workflows/release.yml"),
        "https://github.com.evil.example/acme/models/.github/workflows/release.yml, from a tag (GitHub Actions)",
    ),
    "a deeper path than GitHub has": (
        keyless("https://github.com/acme/models/.github/workflows/x/.github/workflows/release.yml"),
        "https://github.com/acme/models/.github/workflows/x/.github/workflows/release.yml, from a tag (GitHub Actions)",
    ),
    "no cursor is moved": (
        person("a\x1b[2J\u202eb", "https://i.example\n"),
        "a\\x1b[2J\\x202eb (https://i.example\\x0a)",
    ),
    "an address of 9 kB": (person(LONG, LONG), f"[9000 bytes, {PRINT_A}] ([9000 bytes, {PRINT_A}])"),
    "a key": (KeySigner(spki_sha256=B), f"key {PRINT_B}"),
    "a certificate": (
        CertificateSigner(anchor_spki_sha256=A, subject="CN=Release,O=Acme"),
        f"CN=Release,O=Acme (anchor {PRINT_A})",
    ),
    "a certificate that nobody vouches for": (
        CertificateSigner(anchor_spki_sha256=None, subject="CN=x"),
        "CN=x (no trusted anchor)",
    ),
    "a commitment": (CommittedSigner(commitment=A), f"committed identity {PRINT_A}"),
}


@pytest.mark.parametrize("case", SHOWN)
def test_a_signer_in_one_line(case):
    identity, text = SHOWN[case]
    assert display(identity) == text
    assert display(identity).isprintable()


CHANGES = {
    "nothing": (keyless(), keyless(), "unchanged"),
    "the ref": (keyless(), keyless(ref="branch"), "same workflow, now from a branch instead of a tag"),
    "the ref and what started it": (
        keyless(),
        keyless(ref="branch", trigger="push"),
        "same workflow, now from a branch instead of a tag, started by push instead of release",
    ),
    "the ref went away": (keyless(), keyless(ref=None), "same workflow, now from no ref instead of a tag"),
    "the repository behind the name": (
        keyless(),
        keyless(repository="99", owner="4"),
        "same workflow name, now in repository id 99 instead of 17, under owner id 4 instead of 3",
    ),
    "an id that is not known any more, and what started it": (
        keyless(),
        keyless(owner=None, trigger="manual"),
        "same workflow name, now started by manual instead of release, under owner id none instead of 3",
    ),
    "a workflow by an issuer that nobody knows": (
        keyless(issuer="https://i.example"),
        keyless(issuer="https://j.example"),
        "same workflow, now vouched for by https://j.example instead of https://i.example",
    ),
    "a workflow became a person": (
        keyless(issuer="https://i.example"),
        person("ann@acme.example", "https://i.example"),
        f"{RELEASE}, from a tag (https://i.example) → ann@acme.example (https://i.example)",
    ),
    "an id that was not known": (
        keyless(repository=None),
        keyless(),
        "same workflow name, now in repository id 17 instead of none",
    ),
    "the workflow": (
        keyless(),
        keyless(RELEASE.replace("release", "nightly"), ref="branch"),
        "same repository acme/models, now workflow nightly.yml instead of release.yml, from a branch instead of a tag",
    ),
    "the repository": (
        keyless(),
        keyless(RELEASE.replace("acme", "evil")),
        (
            "workflow release.yml of acme/models, from a tag (GitHub Actions) → "
            "workflow release.yml of evil/models, from a tag (GitHub Actions)"
        ),
    ),
    "the provider of a person": (
        person("ann@acme.example", "https://accounts.google.com"),
        person("ann@acme.example", "https://i.example"),
        "same signer, now vouched for by https://i.example instead of Google",
    ),
    "the person": (
        person("ann@acme.example", "https://accounts.google.com"),
        person("eve@acme.example", "https://accounts.google.com"),
        "ann@acme.example (Google) → eve@acme.example (Google)",
    ),
    "the key": (
        KeySigner(spki_sha256=A),
        KeySigner(spki_sha256=B),
        f"key {PRINT_A} → key {PRINT_B}",
    ),
    "the authority": (
        CertificateSigner(anchor_spki_sha256=A, subject="CN=x"),
        CertificateSigner(anchor_spki_sha256=B, subject="CN=x"),
        f"same name, now under another authority: CN=x (anchor {PRINT_A}) → CN=x (anchor {PRINT_B})",
    ),
    "the name under an authority": (
        CertificateSigner(anchor_spki_sha256=A, subject="CN=x"),
        CertificateSigner(anchor_spki_sha256=A, subject="CN=y"),
        "same authority, now CN=y instead of CN=x",
    ),
    "both": (
        CertificateSigner(anchor_spki_sha256=A, subject="CN=x"),
        CertificateSigner(anchor_spki_sha256=B, subject="CN=y"),
        f"CN=x (anchor {PRINT_A}) → CN=y (anchor {PRINT_B})",
    ),
    "the method": (
        keyless(),
        KeySigner(spki_sha256=A),
        (
            "now a key instead of a keyless signature: "
            f"workflow release.yml of acme/models, from a tag (GitHub Actions) → key {PRINT_A}"
        ),
    ),
    "a commitment": (
        CommittedSigner(commitment=A),
        CommittedSigner(commitment=B),
        f"committed identity {PRINT_A} → committed identity {PRINT_B}",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_changed_between_two_signers(case):
    old, new, text = CHANGES[case]
    assert describe_change(old, new) == text


def test_a_fingerprint_is_what_openssl_and_base64_print(tmp_path):
    """The command that docs/guides/verify.md gives."""
    key = oms.new_key()
    (tmp_path / "release.pub").write_bytes(oms.public_pem(key))
    command = (
        "openssl pkey -pubin -in release.pub -outform DER | openssl dgst -sha256 -binary | base64 | tr -d '='"
    )
    printed = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True).stdout
    assert fingerprint(oms.spki_sha256(key)) == "SHA256:" + printed.decode().strip()


def test_a_fingerprint_has_the_form_that_ssh_prints():
    digest = hashlib.sha256(b"x").digest()
    assert base64.b64decode(fingerprint(digest).removeprefix("SHA256:") + "=") == digest
