"""A published folder behind a plain web server: proofs that others verify, pages that people see, and a kill at any step."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager

import pytest

from monitor.publish import layout
from tests import second_reader
from tests.conftest import REPOSITORY, missing
from tests.monitor.publish.scene import Publication
from tests.system.publish_world import divide_lists, hub_of
from tests.world import key_signer, signed_by

KILLS = int(os.environ.get("HUBLEDGER_PUBLISH_KILLS", "100"))
A, B = signed_by(key_signer("a")), signed_by(key_signer("b"))
HOSTILE = "<script>document.title='x'</script>/\"'&%E2%80%AE" + "n" * 100


class _Asked(http.server.SimpleHTTPRequestHandler):
    """The standard library's file server; it notes what is asked for."""

    def log_message(self, *arguments):
        pass

    def send_response(self, code, message=None):
        self.server.asked.append((self.path, code))
        super().send_response(code, message)


@contextmanager
def served(folder):
    handler = functools.partial(_Asked, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.asked
        finally:
            server.shutdown()
            thread.join()


def get(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def test_a_proof_from_a_plain_web_server_verifies_here_and_with_a_second_reader(tmp_path, hubledger):
    published = Publication(tmp_path, hub=hub_of(300)).begin()
    published.step()
    trust = published.hub.world.trust()
    with served(published.public) as (url, _):
        proof = get(f"{url}/{layout.of_model('models', 'acme/1', 'latest.tlog-proof')}")
        statement = get(f"{url}/models/statement")
        code, out, _ = hubledger(
            "proof", f"{url}/models", "7", "--published", "-o", tmp_path / "old.tlog-proof"
        )
    assert (code, "Leaf 7 is in" in out) == (0, True), out
    (tmp_path / "x.tlog-proof").write_bytes(proof)
    code, out, _ = hubledger(
        "verify", "--proof", tmp_path / "x.tlog-proof", "--trust", tmp_path / "trust.toml", "--log-only"
    )
    assert (code, "INCLUDED_ONLY" in out) == (0, True), out
    old = (tmp_path / "old.tlog-proof").read_bytes()
    index, size, _, entry = second_reader.proof(old, trust.log_keys[0].format())
    assert (index, size, entry) == (7, 300, published.hub.world.entries[7])
    index, size, root, entry = second_reader.proof(proof, trust.log_keys[0].format())
    assert (index, size, root) == (298, 300, published.hub.world.tree(300).root_hash.hex())
    assert entry == published.hub.world.entries[298]
    read = second_reader.monitor_statement(statement, published.vkey.format())
    assert int(read["size"]) == 300


@pytest.mark.parametrize("who", ["alone", "beside", "process"])
def test_killed_at_any_step_it_shows_nothing_that_is_not_there_and_the_next_run_heals(
    tmp_path, who, monkeypatch
):
    divide_lists(monkeypatch.setattr)
    killed_folder, plain_folder = tmp_path / "killed", tmp_path / "plain"
    killed_folder.mkdir()
    plain_folder.mkdir()
    Publication(killed_folder, hub=hub_of(0)).begin()
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.publish_child", str(killed_folder), who, "0", str(KILLS)],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=300,
        check=False,
    )
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr.decode()
    assert len(lines) == KILLS
    assert sum(line.startswith("KILLED") for line in lines) > KILLS // 3
    assert [line for line in lines if line.startswith("DONE") and not line.startswith("DONE 0 ")] == []
    sizes = [int(line.split()[-1]) for line in lines]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 3
    assert max(int(line.split()[-2]) for line in lines) > 1, "lists are in parts"
    size = 3 + KILLS // 2
    healed = Publication(killed_folder, hub=hub_of(size))
    healed.step()
    plain = Publication(plain_folder, hub=hub_of(size)).begin()
    plain.step()
    ours, theirs = healed.contents(), plain.contents()
    assert {path for path in theirs if "statement-parts/" in path} <= ours.keys()
    # Parts of older statements stay for an hour.
    ours = {path: digest for path, digest in ours.items() if "parts/" not in path or path in theirs}
    # Proofs lead to the checkpoint that first covered them, so they differ; all that is derived is the same.
    changing = re.compile(r"proofs/|latest\.tlog-proof|\.publication")
    assert ours.keys() == theirs.keys()
    assert {path for path in ours if ours[path] != theirs[path]} == {
        path for path in ours if ours[path] != theirs[path] and changing.search(path)
    }


# In a browser


def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        missing("Chromium is not installed: apt-get install chromium")
    return found


FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_FRAME = '<iframe width="{width}" height="900" src="/{path}"></iframe>'
_MEASURE = """
<script>onload = () => { document.title = "!" + [...document.querySelectorAll("iframe")].map(each => {
const d = each.contentDocument; return [d.documentElement.scrollWidth, d.title].join(); }).join("|") + "!"; };</script>
"""


def measure(url, public, pages, width, profile):
    """Lay pages out in frames of a width; returns of each how wide it came out. The page around them is the test's own."""
    frames = "".join(_FRAME.format(width=width, path=each) for each in pages)
    (public / "measure.html").write_text(f"<!doctype html>{frames}{_MEASURE}")
    done = subprocess.run(
        [browser(), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"{url}/measure.html"],
        capture_output=True,
        timeout=120,
        check=False,
    )
    (public / "measure.html").unlink()
    match = re.search(r"<title>!(.*?)!</title>", done.stdout.decode(), re.DOTALL)
    assert match, done.stderr.decode()[-2000:]
    return [each.partition(",")[::2] for each in match[1].split("|")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    browser()
    folder = tmp_path_factory.mktemp("site")
    published = Publication(folder).begin()
    for at in range(300):
        published.hub.record(A if at % 20 < 15 else B, revision=f"{at:040x}", name="acme/tiny")
    published.hub.record(A, revision="<b>1</b>", name=HOSTILE)
    published.hub.record(B, revision="x" * 60, name=HOSTILE)
    published.step()
    return published


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen_or_runs_a_script_of_a_name(site, tmp_path, width):
    pages = [
        "index.html",
        "models/index.html",
        "findings/index.html",
        layout.of_model("models", "acme/tiny"),
        layout.of_model("models", HOSTILE),
        layout.of_events("models", 2),
        layout.of_names("models", ""),
    ]
    with served(site.public) as (url, asked):
        found = measure(url, site.public, pages, width, tmp_path / "profile")
        assert len(found) == len(pages)
        for path, (wide, title) in zip(pages, found, strict=True):
            assert int(wide) <= width, path
            assert title != "x"
        missed = [path for path, code in asked if code == 404 and path != "/favicon.ico"]
        assert missed == []
        assert any(path.endswith("/style.css") for path, _ in asked)
