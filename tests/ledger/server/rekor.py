"""A ledger in a Rekor that is served on loopback, with events in every state, and the service of it."""

import contextlib

from ledger.embedded.making import init
from ledger.embedded.opening import open_for_recording
from ledger.embedded.remote import RekorSource
from ledger.embedded.submitting import retry_outbox
from tests.events import key
from tests.fakes.rekor import FakeRekor
from tests.fakes.rekor_v1 import FakeRekorV1
from tests.ledger.server.conftest import AT, facts
from tests.system.rekor import TrustedLog, write_trust
from tests.system.rekor_v1 import write_trust as write_v1_trust


@contextlib.contextmanager
def in_rekor(folder, *, kind="rekor-v2"):
    """Yield a new ledger's folder, and the fake that it is in."""
    rekor = FakeRekor() if kind == "rekor-v2" else FakeRekorV1()
    with rekor.serve() as url:
        if kind == "rekor-v2":
            tree = rekor.tree
            log = TrustedLog(
                base_url=f"http://{tree.origin}", spki=tree.spki, log_id=tree.log_id, write_url=url
            )
            root, signing = write_trust(folder, [log])
        else:
            root, signing = write_v1_trust(folder, rekor.tree.spki, rekor.url)
        source = RekorSource(
            kind=kind,
            trusted_root=root,
            signing_config=signing,
            read_url=f"{url}/read" if kind == "rekor-v2" else "",
        )
        init(folder / "ledger", origin="log.example/models", hub="hub.example", rekor=source, now=lambda: AT)
        yield folder / "ledger", rekor


def record(ledger, *events):
    """Accept events; nothing is submitted."""
    with open_for_recording(ledger, now=lambda: AT) as opened:
        for answer in opened.recorder.record_batch(list(events)):
            assert not isinstance(answer, Exception), answer
        opened.publish()
        from ledger.embedded.digests import mirror_digests

        mirror_digests(opened)


def drain(ledger):
    """Submit what waits."""
    return retry_outbox(ledger, (), seconds=30.0, progress=lambda _done, _total: None)


def fill(ledger):
    """Two logged revisions by one signer, and a pending one by another."""
    record(
        ledger, facts("acme/signed", "r1", key("a"), uploader="user-1"), facts("acme/signed", "r2", key("a"))
    )
    assert drain(ledger)["pending"] == 0
    record(ledger, facts("acme/signed", "r3", key("b")))
