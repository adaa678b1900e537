"""A service whose checkpoints must be cosigned is killed while it publishes: nothing without its quorum is ever shown."""

import itertools
import threading

import httpx

from ledger.client.trust import parse_trust
from ledger.embedded.directory import open_for_reading
from ledger.server.tokens import TokenFile
from ledger.tlog.merkle import verify_consistency
from tests.fakes.witness import FakeWitness
from tests.fakes.witness import serving as witnessing
from tests.ledger.server.conftest import AT
from tests.ledger.server.events import body
from tests.ledger.server.test_witnessed import witnessed_ledger
from tests.system import peers
from tests.system.service import serving
from tests.system.test_service import KILLS, load


def test_a_kill_between_signing_and_showing_shows_nothing_without_its_quorum(tmp_path):
    """Every checkpoint that was ever served has its quorum, extends the one before, and covers what was answered."""
    with witnessing(FakeWitness()) as witness:
        folder = witnessed_ledger(tmp_path / "ledger", witness, required=True)
        settings = (folder / "hubledger.toml").read_text()
        (folder / "hubledger.toml").write_text(
            settings.replace("publish_interval = 1.0", "publish_interval = 0.1")
        )
        trust = parse_trust((folder / "trust.toml").read_bytes())
        token = TokenFile(folder).create(scopes=("record",), label="", now=AT)
        before = (folder / "log/checkpoint").read_bytes()  # of init, which no witness knew
        acknowledged, seen = {}, []
        for round_ in range(KILLS):
            over = threading.Event()
            with serving(folder) as (url, process):
                workers = [
                    threading.Thread(target=load, args=(url, token, f"{round_}-{n}", acknowledged, over))
                    for n in range(2)
                ]
                for each in workers:
                    each.start()
                wanted = len(acknowledged) + 20

                def enough(url=url, wanted=wanted):
                    seen.append(httpx.get(f"{url}/checkpoint").content)
                    return len(acknowledged) > wanted

                peers.wait_until(enough)
                if round_ % 2:
                    witness.hold.clear()  # a witness that is being asked when the process ends
                    size = witness.size
                    peers.wait_until(lambda size=size: witness.asked > size)
                process.kill()
                over.set()
                for each in workers:
                    each.join()
            seen.append((folder / "log/checkpoint").read_bytes())
            witness.hold.set()
        with serving(folder) as (url, _), httpx.Client(base_url=url, timeout=30) as hub:
            hub.headers["authorization"] = f"Bearer {token}"
            last = hub.post("/v1/events", json=body("last"), params={"wait": "witnessed"})
            assert last.status_code == 201
            seen.append(last.json()["checkpoint"].encode())
            for event_id, leaf_index in acknowledged.items():
                found = hub.post(
                    "/v1/events", json=body(event_id, revision=event_id), params={"wait": "durable"}
                )
                assert (found.status_code, found.json()["leafIndex"]) == (200, leaf_index), event_id
    log = open_for_reading(folder).log
    counted = [
        trust.policy.verify(each, origin=trust.origin) for each in dict.fromkeys(seen) if each != before
    ]
    assert len(counted) > KILLS
    for old, new in itertools.pairwise(each.verified.checkpoint for each in counted):
        assert old.size <= new.size
        proof = log.prove_consistency(old.size, new.size) if old.size < new.size else ()
        verify_consistency(
            old_size=old.size,
            old_root=old.root_hash,
            new_size=new.size,
            new_root=new.root_hash,
            proof=proof,
        )
