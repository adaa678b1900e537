"""A thin ``POST /add`` in front of the local log: raw bytes in, decimal index out, once it is durable.

Run by ``append.py`` behind granian (RSGI). Callers that come while a commit runs are committed together by the next.
"""

import os
import pathlib
import threading

from ledger.errors import LedgerError
from ledger.log import Committed, Submission
from ledger.log.local import MAX_BATCH_ENTRIES, LocalLog
from ledger.log.local_config import LocalLogConfig
from ledger.storage.directory import DirectoryObjects
from ledger.storage.sqlite import SqliteCommits
from tests.ledger.log import test_local as local

_PLAIN = [("content-type", "text/plain")]
_BYTES = [("content-type", "application/octet-stream")]


class Adder:
    """Collects entries and commits them in a thread of their own."""

    def __init__(self, folder):
        if not (folder / "ledger.db").exists():
            local.create(folder)
        config = LocalLogConfig(origin=local.ORIGIN, keys=[local.KEY.verifier], sign=local.sign)
        self.public = folder / "log"
        self.log = LocalLog(SqliteCommits(folder / "ledger.db"), DirectoryObjects(self.public), config)
        self.waiting = []
        self.some = threading.Condition()

    def start(self, loop):
        self.loop = loop
        threading.Thread(target=self._commit, daemon=True).start()
        threading.Thread(target=self._publish, daemon=True).start()

    def add(self, entry):
        future = self.loop.create_future()
        with self.some:
            self.waiting.append((entry, future))
            self.some.notify()
        return future

    def _commit(self):
        while True:
            with self.some:
                while not self.waiting:
                    self.some.wait()
                batch, self.waiting = self.waiting[:MAX_BATCH_ENTRIES], self.waiting[MAX_BATCH_ENTRIES:]
            answers = self.log.append([Submission(entry=entry) for entry, _ in batch])
            self.loop.call_soon_threadsafe(_answer, batch, answers)

    def _publish(self):
        while True:
            self.log.publish()
            threading.Event().wait(0.2)


def _answer(batch, answers):
    for (_, future), answer in zip(batch, answers, strict=True):
        if not future.done():
            future.set_result(answer)


class App:
    """The RSGI application."""

    def __init__(self):
        self.adder = Adder(pathlib.Path(os.environ["ADD_SERVER_FOLDER"]))
        self.public = str(self.adder.public)

    def __rsgi_init__(self, loop):
        self.adder.start(loop)

    async def __rsgi__(self, scope, protocol):
        if scope.method == "POST" and scope.path == "/add":
            answer = await self.adder.add(await protocol())
            if isinstance(answer, Committed):
                protocol.response_str(200, _PLAIN, str(answer.leaf_index))
            elif isinstance(answer, LedgerError):
                protocol.response_str(400, _PLAIN, str(answer))
            return
        path = f"{self.public}{scope.path}"
        if ".." in scope.path or not os.path.isfile(path):  # noqa: ASYNC240, PTH113 - quicker than a thread
            protocol.response_empty(404, [])
        else:
            protocol.response_file(200, _BYTES, path)


if __name__ != "__main__":
    app = App()
