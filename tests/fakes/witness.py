"""A C2SP witness on loopback that keeps its own rules, and the ways in which one can be wrong."""

import contextlib
import http.server
import threading
import time

from ledger.encoding import format_base64, parse_base64
from ledger.errors import LedgerError
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.cosignature import Cosigner
from ledger.tlog.merkle import EMPTY_ROOT, verify_consistency
from ledger.tlog.signed_note import open_note, parse_note
from ledger.tlog.witness import SIZE_TYPE
from tests.world import ed25519_key


class FakeWitness:
    """Cosigns what extends what it saw. ``lie`` is how it misbehaves; ``wall`` is its clock."""

    def __init__(self, name="w1", logs=(), *, key=None, wall=time.time):
        self.cosigner = Cosigner(name=f"witness.example/{name}", key=ed25519_key(key or name))
        self.name, self.wall = name, wall
        self.logs = None if logs is None else tuple(logs)  # None: it cosigns for anybody
        self.size, self.root = 0, EMPTY_ROOT
        self.lie = None
        self.requests = []
        self.asked = 0  # the largest size that somebody wanted cosigned, also where it was not
        self.hold = threading.Event()
        self.hold.set()
        self.url = None
        self.guard = threading.Lock()

    @property
    def key(self):
        return self.cosigner.verifier

    def line(self):
        return f"witness {self.name} {self.key.format()} {self.url}"

    def answer(self, body):
        """(status, content type, body): the order of the checks is the specification's."""
        head, _, note = body.partition(b"\n\n")
        first, *lines = head.decode().split("\n")
        old = int(first.removeprefix("old "))
        proof = [parse_base64(line) for line in lines]
        try:
            parsed = parse_note(note) if self.logs is None else open_note(note, self.logs).note
        except LedgerError:
            return 403, "text/plain", b"no key that I trust\n"
        tree = parse_checkpoint(parsed.text)
        with self.guard:
            self.requests.append((old, tree.size))
            if old > tree.size:
                return 400, "text/plain", b""
            if old != self.size:
                return 409, SIZE_TYPE, b"%d\n" % self.size
            if old == tree.size:
                if proof or tree.root_hash != self.root:
                    return 422, "text/plain", b""
            elif old:
                try:
                    verify_consistency(
                        old_size=old,
                        old_root=self.root,
                        new_size=tree.size,
                        new_root=tree.root_hash,
                        proof=proof,
                    )
                except LedgerError:
                    return 422, "text/plain", b""
            elif proof:
                return 422, "text/plain", b""
            self.size, self.root = tree.size, tree.root_hash
        made = self.cosigner.cosign(tree, timestamp=int(self.wall()))
        return 200, "text/plain", format_line(made)


def format_line(made):
    return f"\u2014 {made.name} {format_base64(made.key_id + made.signature)}\n".encode()


@contextlib.contextmanager
def serving(*witnesses):
    """Run witnesses, each at an address of its own."""
    with contextlib.ExitStack() as stack:
        for each in witnesses:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(each))
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            each.url = f"http://127.0.0.1:{server.server_port}"

            def end(server=server, thread=thread, each=each):
                each.hold.set()
                server.shutdown()
                server.server_close()
                thread.join()

            stack.callback(end)
        yield witnesses[0] if len(witnesses) == 1 else witnesses


def _handler(witness):
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            witness.asked = max(witness.asked, int(body.partition(b"\n\n")[2].split(b"\n")[1]))
            witness.hold.wait(30)
            with contextlib.suppress(OSError):
                if callable(witness.lie):
                    witness.lie(self, body)
                else:
                    self.send(*(witness.lie or witness.answer(body)))

        def send(self, status, kind, body, *, headers=()):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler
