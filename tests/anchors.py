"""A ledger in a directory whose log is anchored in a Rekor that the test controls, over loopback."""

import asyncio
import pathlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ledger.config import FILE_NAME, AnchorConfig, format_config, load_config
from ledger.embedded.anchor_list import list_anchors
from ledger.embedded.anchoring import anchor
from ledger.embedded.making import init
from ledger.embedded.recording import RecordRequest, record_revision
from ledger.log.trusted_root import load_instance
from ledger.storage.anchors import AnchorStore
from tests.fakes.rekor import FakeRekor
from tests.system.rekor import TrustedLog, write_trust

AT = "2026-01-02T03:04:05Z"
NOW = 1_767_323_045


def later(seconds):
    return datetime.fromtimestamp(NOW + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class AnchoredLedger:
    """The directory, and what of its life a test needs in one line."""

    folder: pathlib.Path
    now: int = NOW

    def configure(self, **anchor_settings):
        config = load_config(self.folder)
        table = replace(config.anchor, **anchor_settings)
        (self.folder / FILE_NAME).write_bytes(format_config(replace(config, anchor=table)))
        return self

    def record(self, revision, *, at=0, **more):
        """Record an event, ``at`` seconds after the ledger was made."""
        model = self.folder.parent / "model"
        model.mkdir(exist_ok=True)
        (model / "weights").write_bytes(revision.encode())
        request = RecordRequest(name="acme/tiny", revision=revision, model=model)
        return record_revision(self.folder, request, now=lambda: later(at), **more)

    def anchor(self, *, forced=True, budget=20.0, **more):
        """One run, ten seconds after the last one unless the test moves the clock."""
        self.now += 10
        return asyncio.run(anchor(self.folder, budget=budget, forced=forced, now=self.now, **more))

    def list(self, **more):
        return list_anchors(self.folder, **more)

    @property
    def store(self):
        return AnchorStore(self.folder / "anchors")

    @property
    def instance(self):
        return load_instance(load_config(self.folder).anchor, self.folder)

    @property
    def instance_root(self):
        """The trusted root's file."""
        return load_config(self.folder).anchor.trusted_root

    def problems(self, **more):
        """What does not hold: (step, class of the error) of each."""
        report = self.list(**more)
        return [(each.step, type(each.error).__name__) for one in report.anchors for each in one.problems]


def new_ledger(folder):
    """A ledger with one recorded event."""
    folder.mkdir(exist_ok=True)
    ledger = AnchoredLedger(folder / "ledger")
    init(ledger.folder, origin="log.example/models", hub="hub.example", now=lambda: AT)
    ledger.record("r1")
    return ledger


def trust_of(folder, rekor: FakeRekor, url, authorities=()):
    """Write the trust files of a fake; returns the settings of ``[anchor]`` that name them."""
    log = TrustedLog(
        base_url=f"http://{rekor.tree.origin}", spki=rekor.tree.spki, log_id=rekor.tree.log_id, write_url=url
    )
    root, signing = write_trust(folder, [log], authorities)
    return AnchorConfig(
        log="rekor-v2", trusted_root=str(root), signing_config=str(signing), read_url=f"{url}/read"
    )


def settings(config: AnchorConfig):
    """The settings as arguments of ``configure``."""
    return {name: getattr(config, name) for name in AnchorConfig.__dataclass_fields__}
