"""The events that are measured: a hub of many models, uploads signed by CI workflows and by keys, a new signer now and then."""

import hashlib

from ledger.event import ManifestRef, Model, SignatureFact, UpstreamLog
from ledger.identity import KeyFacts, SigstoreFacts
from ledger.recorder import Facts

EVENTS_A_MODEL = 5
"""Of five events one is of a new model, from the first on: a name and a repository each have a history of about five."""


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def _workflow(model):
    return SigstoreFacts(
        issuer="https://token.actions.example",
        san=f"https://git.example/org-{model % 997}/model-{model}/.github/workflows/release.yml@refs/tags/v1",
        san_type="uri",
        claims=(
            (
                "buildSignerUri",
                f"https://git.example/org-{model % 997}/model-{model}/release.yml@refs/tags/v1",
            ),
            ("buildTrigger", "push"),
            ("runnerEnvironment", "hosted"),
            ("sourceRepositoryIdentifier", str(100_000 + model)),
            ("sourceRepositoryRef", "refs/tags/v1"),
            ("sourceRepositoryUri", f"https://git.example/org-{model % 997}/model-{model}"),
        ),
        certificate_sha256=digest(f"certificate {model}"),
    )


def _signature(model, number):
    keyless = model % 2 == 0
    return SignatureFact(
        bundle_sha256=digest(f"bundle {number}"),
        outcome="VERIFIED",
        statement_sha256=digest(f"statement {number}"),
        oms_root_sha256=digest(f"root {number}"),
        method="sigstore" if keyless else "key",
        location="model.sig",
        ignored_paths=("model.sig",),
        signer=_workflow(model) if keyless else KeyFacts(spki_sha256=digest(f"key {model % 4999}")),
        upstream_log=UpstreamLog(
            origin="rekor.example - 1193050959916656506",
            log_id=digest("rekor"),
            kind="dsse:0.0.1",
            index=100_000_000 + number,
            integrated_time=1_767_323_045,
        )
        if keyless
        else None,
    )


def facts(number):
    """Event ``number`` of a growing hub: every fifth is the first of a model, the others are of any model so far."""
    newest = number // EVENTS_A_MODEL
    model = newest if number % EVENTS_A_MODEL == 0 else number * 7919 % (newest + 1)
    return Facts(
        event_id=f"upload-{number}",
        model=Model(
            name=f"org-{model % 997}/model-{model}",
            revision=digest(f"revision {number}").hex()[:40],
            repo_id=f"{100_000 + model}",
            ref="refs/heads/main",
        ),
        manifest=ManifestRef(
            sha256=digest(f"manifest {number}"),
            content_sha256=digest(f"content {number}"),
            files=12,
            bytes=4_000_000_000,
        ),
        outcome="VERIFIED",
        signatures=(_signature(model, number),),
        uploader_account=f"user-{model % 1009}",
    )
