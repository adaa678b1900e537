"""The log whose publication is killed, and somebody who reads what is there."""

import json

from ledger.monitor_statement import verify_monitor_statement
from ledger.open_findings import OpenList, verify_part
from ledger.tlog.proof import parse_proof
from ledger.tlog.signed_note import VerifierKey
from monitor.publish import logs
from monitor.publish.packs import parse_pack
from tests.monitor.hub import Hub
from tests.world import key_signer, signed_by

A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))


def hub_of(size):
    """A log of so many entries, the same ones every time; now and then a signer changes."""
    hub = Hub()
    for at in range(size):
        hub.record(B if at % 7 == 6 else A, revision=str(at), name=f"acme/{at % 3}")
    return hub


class DividedList(OpenList):
    """Has each open history in a part of its own: a monitor of this log has too few for that otherwise."""

    @classmethod
    def of(cls, ledger, findings):
        return OpenList.of(ledger, findings, most=0, most_in_part=1)


def divide_lists(patch=setattr):
    """Let every list of open findings be in parts from here on."""
    patch(logs, "OpenList", DividedList)


def look_for_parts(public, note):
    """Return how many parts a statement names, having found all of them: what a client needs that fetched it before."""
    vkey = json.loads((public / "index.json").read_bytes())["monitor"]
    parts = verify_monitor_statement(note, vkeys=[VerifierKey.parse(vkey)]).parts
    for each in parts:
        verify_part((public / "models/statement-parts" / each.name).read_bytes(), each)
    return len(parts)


def look_as_reader(public, layout):
    """Return the size of the statement that is there, having found all that it speaks of; 0 where there is none."""
    if not (public / "models/statement").exists():
        return 0
    # The key is the monitor's own; the index comes last, so a first statement may be there before it.
    index = public / "index.json"
    vkey = json.loads(index.read_bytes())["monitor"] if index.exists() else None
    if vkey is None:
        return 0
    statement = verify_monitor_statement(
        (public / "models/statement").read_bytes(), vkeys=[VerifierKey.parse(vkey)]
    )
    assert json.loads(index.read_bytes())["logs"][0]["size"] <= statement.size
    seen = set()
    for name in {f"acme/{at % 3}" for at in range(statement.size)}:
        history = json.loads((public / layout.of_model("models", name, "history.json")).read_bytes())
        seen |= {each["leafIndex"] for each in history["rows"]}
        for each in history["rows"]:
            proofs = parse_pack((public / each["proof"]).read_bytes())
            assert parse_proof(proofs[each["leafIndex"]]).index == each["leafIndex"]
        page = (public / layout.of_model("models", name)).read_text()
        assert page.endswith("</html>")
    assert seen >= set(range(statement.size))
    return statement.size
