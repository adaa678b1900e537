"""Refusals of a service whose ledger is in Rekor."""

from ledger.errors import UsageError
from ledger.server.places import refuse_since
from ledger.server.views import View
from tests.refusals.table import refused

CASES = (
    refused(
        UsageError,
        "since: expected nothing, of a ledger in Rekor, got 7. Leave it out: a proof from Rekor links to no checkpoint that you keep",
        lambda _scene: refuse_since(7),
    ),
    refused(
        UsageError,
        "outbox of log.example/models: expected a ledger in Rekor, got one with a log of its own. Its log is beside it: ask for its checkpoint",
        lambda scene: View(scene.ledger()).accepted,
    ),
)
