"""A real Prometheus scrapes a monitor: every panel of the dashboard shows something, and every rule is one that it can evaluate."""

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse

import pytest

from ledger.client.trust_writing import format_trust
from monitor.config import load_config
from monitor.daemon import answering, init, open_monitor
from tests.conftest import REPOSITORY, missing
from tests.monitor.hub import Hub
from tests.monitor.test_follow import A, B
from tests.system.peers import free_port, get, wait_until
from tests.world import NOW

DASHBOARD = json.loads((REPOSITORY / "deploy/grafana-monitor.json").read_text())
RULES = REPOSITORY / "deploy/alerts.yml"
SHOWN = [
    (target["expr"], target["legendFormat"])
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """The address of a Prometheus that has scraped a monitor twice, whose log changed a signer and has a witness."""
    if shutil.which("prometheus") is None:
        missing("no prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    with watched(folder) as monitored, scraping(folder, monitored) as url:
        wait_until(lambda: ask(url, "count_over_time(up[1m]) > 1"))
        yield url


@contextlib.contextmanager
def watched(folder):
    """The port of a monitor that has looked, warned, and sent a canary that arrived."""
    hub = Hub()
    for at in range(3):
        hub.record(A if at < 2 else B, revision=str(at))
    hub.publish(folder / "log", note=hub.world.checkpoint(cosigned={"w1": NOW}))
    (folder / "trust.toml").write_bytes(format_trust(hub.world.trust(witnesses=("w1",))))
    (folder / "hooks").mkdir()
    hook = folder / "hooks" / "arrived"
    hook.write_text("#!/bin/sh\ncat > /dev/null\n")
    hook.chmod(0o755)
    (folder / "monitor.toml").write_text(
        'listen = "127.0.0.1:0"\n[[log]]\nname = "models"\nfolder = "log"\ntrust = "trust.toml"\n'
        '[[sink]]\nname = "desk"\nhooks = "hooks"\n[canary]\nsink = "desk"\n'
    )
    config = load_config(folder / "monitor.toml")
    init(config, pinned={"models": None}, now=NOW)
    with open_monitor(config, clock=lambda: NOW) as monitor, answering(monitor) as port:
        monitor.look()
        monitor.check_canary()
        monitor.deliver()
        monitor.check_canary()
        yield port


@contextlib.contextmanager
def scraping(folder, monitored):
    port = free_port()
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 100ms, evaluation_interval: 100ms}\n"
        f"rule_files: [{RULES}]\n"
        f"scrape_configs: [{{job_name: monitor, static_configs: [{{targets: ['127.0.0.1:{monitored}']}}]}}]\n"
    )
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: get(f"http://127.0.0.1:{port}/-/ready") is not None, running=process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def ask(url, query):
    """What an expression is now: the labels and the value of each series."""
    answer = json.loads(get(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]


@pytest.mark.parametrize(("expression", "legend"), SHOWN)
def test_a_panel_shows_something_and_its_legend_names_labels_that_there_are(prometheus, expression, legend):
    found = ask(prometheus, expression)
    assert found, "nothing is shown"
    wanted = set(re.findall(r"\{\{(\w+)\}\}", legend))
    for labels, _ in found:
        assert wanted <= labels.keys()


def test_what_is_open_is_counted_as_the_monitor_counts_it(prometheus):
    counts = {labels["severity"]: value for labels, value in ask(prometheus, SHOWN[4][0])}
    assert counts["high"] == 1


def test_every_rule_can_be_evaluated(prometheus):
    def rules():
        groups = json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules()))
    found = rules()
    assert len(found) == len(re.findall(r"(?m)^ +- alert:", RULES.read_text()))
    assert {rule["health"] for rule in found} == {"ok"}, [rule.get("lastError") for rule in found]
