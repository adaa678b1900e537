"""A hub with a log, a monitor that follows it, and the folder that it publishes. Everything in it is the real thing."""

import hashlib
import json

from ledger.monitor_statement import verify_monitor_statement
from ledger.tlog.signed_note import VerifierKey
from monitor.config import load_config
from monitor.daemon import init, open_monitor
from monitor.findings import Finding, Kind
from monitor.publish import layout
from monitor.publish.publishing import make_key, publish
from tests.monitor.hub import Hub
from tests.world import NOW

SETTINGS = """\
[[log]]
name = "models"
folder = "log"
trust = "trust.toml"
[publish]
folder = "public"
key = "monitor.key"
"""


class Publication:
    def __init__(self, folder, *, settings=SETTINGS, hub=None):
        self.folder, self.hub, self.now = folder, hub or Hub(), NOW
        self.hub.trust_file(folder / "trust.toml")
        (folder / "monitor.toml").write_text(settings)
        self.vkey = make_key(folder / "monitor.key", "monitor.example", b"\1" * 32)
        self.public = folder / "public"

    @property
    def config(self):
        return load_config(self.folder / "monitor.toml")

    def begin(self, pinned=None):
        init(self.config, pinned={"models": pinned}, now=self.now)
        return self

    def step(self, size=None, *, serve=True, later=0):
        """Serve the log, look at it once, and publish so many seconds later; returns what the publication came to."""
        if serve:
            self.hub.publish(self.folder / "log", size)
        with open_monitor(self.config, clock=lambda: self.now) as monitor:
            self.looks = monitor.look()
            return publish(self.config, monitor.state, now=self.now + later)

    def resolve(self, *numbers):
        self.move(*numbers, to="resolved")

    def move(self, *numbers, to):
        with open_monitor(self.config, clock=lambda: self.now) as monitor:
            monitor.state.move(numbers, to=to, note="a private note", now=self.now)

    def read(self, path):
        return (self.public / path).read_bytes()

    def json(self, path):
        return json.loads(self.read(path))

    def history(self, name="acme/model"):
        return self.json(layout.of_model("models", name, "history.json"))

    def page(self, name="acme/model"):
        return self.read(layout.of_model("models", name)).decode()

    def statement(self):
        return verify_monitor_statement(
            self.read("models/statement"), vkeys=[VerifierKey.parse(self.vkey.format())]
        )

    def contents(self):
        """The digest of every file that readers see."""
        return {
            path.relative_to(self.public).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.public.rglob("*"))
            if path.is_file() and ".aside" not in path.parts
        }


def found_everywhere(published, many, first=0):
    """Findings about so many models, as a log that nobody tends has them."""
    with open_monitor(published.config, clock=lambda: published.now) as monitor:
        database = monitor.state.record._database
        with database.transaction() as execute:
            for at in range(first, first + many):
                found = Finding(log="models", kind=Kind.NOT_RECORDED, text="x", model=f"acme/m{at}")
                monitor.state.record.add(execute, found, published.now)
