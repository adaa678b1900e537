"""The part of a model hub's API that `huggingface_hub` downloads with, on loopback: information, files, their headers."""

import contextlib
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from tests.fakes.web import answering

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>[^/?]+))?(/tree/.*)?(\?.*)?")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/?]+)(\?.*)?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>[^?]+)")


class Repository:
    """Models by name: each has commits, and each commit has files. ``main`` is the last commit.

    ``asked`` has each request: method, path and headers. ``instead`` has by path what is sent for a file under the file's own
    digest and size, as a bad mirror would.
    """

    def __init__(self):
        self.models = {}
        self.instead = {}
        self.asked = []

    def commit(self, repo, files):
        """Add a commit; returns its id."""
        sha = hashlib.sha1(repr(sorted(files.items())).encode(), usedforsecurity=False).hexdigest()
        self.models.setdefault(repo, {})[sha] = dict(files)
        return sha

    def find(self, repo, revision):
        """The commit that a revision means, with its files; None where there is none."""
        commits = self.models.get(repo, {})
        if revision in (None, "main") and commits:
            revision = list(commits)[-1]
        return (revision, commits[revision]) if revision in commits else None


def _handler(repository):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(body=True)

        def do_HEAD(self):
            self._answer(body=False)

        def _answer(self, *, body):
            repository.asked.append((self.command, self.path, self.headers))
            if match := _TREE.fullmatch(self.path):
                self._tree(match, body=body)
            elif match := _INFO.fullmatch(self.path):
                self._info(match, body=body)
            elif match := _FILE.match(self.path):
                self._file(match, body=body)
            else:
                self._send(404, b"")

        def _tree(self, match, *, body):
            found = repository.find(match["repo"], unquote(match["revision"]))
            if found is None:
                self._send(404, b"", **{"x-error-code": "RevisionNotFound"})
                return
            rows = [
                {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}
                for path, data in found[1].items()
            ]
            self._send(200, json.dumps(rows).encode(), body=body, **{"content-type": "application/json"})

        def _info(self, match, *, body):
            revision = match["revision"]
            found = repository.find(match["repo"], unquote(revision) if revision else None)
            if found is None:
                self._send(404, b"", **{"x-error-code": "RevisionNotFound"})
                return
            sha, files = found
            value = {
                "id": match["repo"],
                "modelId": match["repo"],
                "sha": sha,
                "siblings": [{"rfilename": path} for path in files],
                "private": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
            }
            self._send(200, json.dumps(value).encode(), body=body, **{"content-type": "application/json"})

        def _file(self, match, *, body):
            found = repository.find(match["repo"], unquote(match["revision"]))
            path = unquote(match["path"])
            if found is None or path not in found[1]:
                self._send(404, b"", **{"x-error-code": "EntryNotFound"})
                return
            data = found[1][path]
            headers = {"x-repo-commit": found[0], "etag": f'"{_git_oid(data)}"', "accept-ranges": "bytes"}
            self._send(200, repository.instead.get(path, data), body=body, **headers)

        def _send(self, status, data, *, body=True, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


def _git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def serve(repository):
    """Serve a repository; yields the address."""
    with answering(_handler(repository)) as url:
        yield url
