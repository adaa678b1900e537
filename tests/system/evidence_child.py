"""Records with evidence and withdraws it, under a trace; says on standard output what it promised, at once."""

import hashlib
import pathlib
import sys

from ledger.embedded.opening import open_for_recording
from ledger.embedded.recording import RecordRequest, record_findings
from ledger.embedded.withdrawing import Plan, withdraw
from ledger.verification import verify_manifest
from tests.events import NOW
from tests.system.crash_child import say
from tests.system.test_evidence_crash import BUNDLES, MANIFEST, TRUST


def main():
    with open_for_recording(pathlib.Path(sys.argv[1]), now=lambda: NOW) as ledger:
        request = RecordRequest(name="acme/tiny", revision="r1", event_id="e1", model=pathlib.Path())
        record_findings(ledger, request, verify_manifest(MANIFEST, BUNDLES, trust=TRUST))
        say("RECORDED")
        digests = tuple(hashlib.sha256(raw).digest() for _, raw in BUNDLES[:2])
        plan = Plan(digests=digests, reason="personal-data", histories=("name:acme/tiny",))
        say("WITHDRAWING")
        withdraw(plan, evidence=ledger.evidence, recorder=ledger.recorder)
        say("WITHDRAWN")
        ledger.log.publish()


if __name__ == "__main__":
    main()
