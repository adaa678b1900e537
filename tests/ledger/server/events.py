"""Events as a hub sends them over HTTP."""

import base64
import hashlib
import json

MANIFEST = b"[]"
DIGEST = hashlib.sha256(MANIFEST).hexdigest()


def body(event_id="u-1", *, name="acme/new", revision="r1", with_manifest=True, **more):
    """The smallest event: of a revision without files or signatures."""
    event = {
        "eventId": event_id,
        "model": {"name": name, "revision": revision},
        "manifest": {"sha256": DIGEST, "contentSha256": DIGEST, "files": 0, "bytes": 0},
        "outcome": "UNSIGNED",
    }
    if with_manifest:
        event["evidence"] = [base64.b64encode(MANIFEST).decode()]
    return event | more


def lines(*events):
    return b"".join(json.dumps(each).encode() + b"\n" for each in events)
