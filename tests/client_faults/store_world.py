"""What the processes of ``store_child`` see: one log that grows, one history, and twelve versions of a trust file."""

from ledger.client.trust_signature import sign_trust
from ledger.client.trust_writing import format_trust
from ledger.errors import NotFoundError
from ledger.tlog.signed_note import Ed25519NoteSigner
from tests.ledger.client.test_pins import event_pin, tree
from tests.world import LEDGER, World, ed25519_key

SIZES, VERSIONS = 40, 12
ORIGIN, KEY = LEDGER, "name:acme/tiny"
OFFLINE = Ed25519NoteSigner("hub.example/trust", ed25519_key("offline"))
TRUST = World().trust()
FILES = {
    version: format_trust(World().trust(version=version, update_key=OFFLINE.verifier))
    for version in range(1, VERSIONS + 1)
}

__all__ = ["FILES", "KEY", "LEDGER", "ORIGIN", "SIZES", "TRUST", "VERSIONS", "event_at", "fetch", "tree"]


def event_at(size):
    """The event that is at this place of the history."""
    return event_pin(size, str(size))


def fetch(name, /, *, max_bytes):
    """Answer as a hub that shows the last version."""
    address, _, query = name.partition("?version=")
    version = int(query) if query else VERSIONS
    if version not in FILES:
        raise NotFoundError(name, expected="a version", actual="none")
    return sign_trust(FILES[version], [OFFLINE]) if address.endswith(".sig") else FILES[version]
