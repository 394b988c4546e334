"""`wattlens site` on a simulated building over real Modbus TCP: killed, misconfigured, its meters silent; against the truth."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.sim import scenario
from energy_agent.sim.building import site as facility_site
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, said_here
from wattlens.top.metrics import parse

pytestmark = pytest.mark.timeout(360)

NODE = b"""
boards: [{count: 2, sku: H100-SXM5-80GB}]
rate: 10
workloads: [{name: load, kind: burst, gpus: [0, 1], memory_gb: 1, on_s: 3, off_s: 3}]
facility: {cooling_lag_s: 5, meters: {lighting: {absent: true}}}
"""
MAIN = {"meter": "main"}


@pytest.fixture
def node(tmp_path):
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path / "node") as running:
        yield running


class Site:
    """A site process, its file and its page."""

    def __init__(self, node, folder):
        self.node, self.state, self.file, self.log = node, folder / "site", folder / "site.yaml", folder / "site.log"
        self.config = facility_site.site_config(node, name="dc1", period_s=5.0)
        self.write()

    def write(self):
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.config))  # which is YAML too
        fresh.replace(self.file)

    def start(self):
        command = [
            "site",
            "--config",
            self.file,
            "--state",
            self.state,
            "--listen",
            "127.0.0.1:0",
            "--simulate",
            self.node.directory,
        ]
        offset = len(self.log.read_text()) if self.log.exists() else 0
        with self.log.open("ab") as file:
            self.process = subprocess.Popen([sys.executable, "-m", "wattlens", *map(str, command)], stdout=file, stderr=file)

        def url():
            fresh = self.log.read_text()[offset:].split()
            return next((word.rstrip(",") for word in fresh if word.endswith("/metrics,")), None)

        self.url = eventually(url)
        self.page()

    def page(self):
        """The page, as soon as it is served."""

        def read():
            try:
                with urllib.request.urlopen(self.url, timeout=60) as answer:
                    return parse(answer.read().decode(), time.monotonic())
            except OSError:
                return None

        return eventually(read)

    def grown(self, beyond_j):
        return eventually(
            lambda: (e := self.page().total("facility_energy_joules_total", **MAIN)) is not None and e > beyond_j and e
        )


def states(page):
    """Whether two meters answer."""
    return {source: page.total("source_up", source=source) for source in ("facility:main", "facility:ups")}


@contextmanager
def running(node, tmp_path):
    site = Site(node, tmp_path)
    site.start()
    try:
        yield site
    finally:
        if site.process.poll() is None:
            site.process.terminate()
            site.process.wait(60)


@pytest.mark.smoke
def test_the_page_and_the_statement_hold_the_truth_and_nothing_is_lost_by_kills(node, tmp_path):
    with running(node, tmp_path) as site:
        before = facility_site.truth(node)
        first = site.grown(0)
        for _ in range(2):
            site.process.send_signal(signal.SIGKILL)
            site.process.wait()
            site.start()
            again = site.grown(0)
            assert again >= first, "a counter fell over a kill"
            first = again
        begun = before.facility.energy_uj

        def true():
            now = facility_site.truth(node).facility.energy_uj
            return (now.total - begun.total) / (now.it_input - begun.it_input)

        eventually(lambda: site.page().total("pue_ratio", category="3", window="15m"))
        truths = [true()]  # before the page is read and afterwards, as a busy machine takes seconds for it
        page = site.page()
        truths.append(true())
        low, high = (page.total(f"pue_ratio_{end}", category="3", window="15m") for end in ("lower", "upper"))
        assert low <= max(truths)
        assert min(truths) <= high
        assert page.total("facility_meter_info", meter="ups", position="ups_output", parent="main") == 1
        assert page.total("pue_absent_info", category="3", window="30d") == 1
        site.process.terminate()
        assert site.process.wait(60) == 0
    rows = list(read_rows(site.state))
    assert all(located.simulated for located in rows)
    booked = sum(
        located.row.energy_uj for located in rows if isinstance(located.row, Cell) and located.row.device == "meter:dc1:main"
    )
    assert booked >= first * 1e6
    truth_uj = facility_site.truth(node).facility.energy_uj.total
    assert booked <= truth_uj * 1.01 + 3.6e9  # its class, and a step of its register
    # How long two kills took of these seconds depends on the machine.
    document = json.loads(said_here("pue", "--ledger", site.state, "--accept-coverage", "0%", "--json").stdout)
    assert document["simulated"] is True
    assert document["site"] == "dc1"
    assert float(document["pue"]["lower"]) <= float(document["pue"]["value"]) <= float(document["pue"]["upper"])
    assert [each["category"] for each in document["by_position"]] == [1, 2, 3]


@pytest.mark.smoke
def test_a_meter_that_is_silent_is_absent_with_its_reason_and_its_energy_comes_whole_afterwards(node, tmp_path):
    with running(node, tmp_path) as site:
        site.grown(0)
        facility_site.fault(node, "main", "offline")
        page = eventually(lambda: states(p := site.page()) == {"facility:main": 0, "facility:ups": 1} and p)
        assert page.total("facility_power_watts", **MAIN) is None
        assert page.total("source_down_info", source="facility:main") == 1
        silent_j = page.total("facility_energy_joules_total", **MAIN)
        truth_uj = facility_site.truth(node).facility.energy_uj.total
        facility_site.clear(node, "main")
        whole = site.grown(silent_j)
        eventually(lambda: site.page().total("facility_power_watts", **MAIN))
        assert whole * 1e6 <= facility_site.truth(node).facility.energy_uj.total * 1.01 + 3.6e9
        assert truth_uj > 0


@pytest.mark.smoke
def test_a_file_that_is_wrong_keeps_the_old_one_and_a_right_one_is_taken_over(node, tmp_path):
    with running(node, tmp_path) as site:
        kept = site.grown(0)
        good = site.config
        twice = [*good["meters"], {**good["meters"][0], "id": "again", "parent": "main"}]
        site.config = {**good, "meters": twice}
        site.write()
        os.kill(site.process.pid, signal.SIGHUP)
        eventually(lambda: site.page().total("config_last_reload_successful") == 0)
        eventually(lambda: "main > again" in site.log.read_text())
        site.config = {**good, "meters": [m for m in good["meters"] if m["id"] != "cooling"]}
        site.write()
        eventually(lambda: site.page().total("config_last_reload_successful") == 1)
        eventually(lambda: site.page().total("facility_energy_joules_total", meter="cooling") is None)
        assert site.grown(kept) >= kept
        site.config = {**site.config, "site": {"name": "dc2"}}
        site.write()
        eventually(lambda: "site.name needs a restart to take effect" in site.log.read_text())


@pytest.mark.smoke
def test_there_is_one_process_a_site(node, tmp_path):
    with running(node, tmp_path) as site:
        command = [
            "site",
            "--config",
            site.file,
            "--state",
            site.state,
            "--listen",
            "127.0.0.1:0",
            "--simulate",
            node.directory,
        ]
        second = subprocess.run(
            [sys.executable, "-m", "wattlens", *map(str, command)], capture_output=True, text=True, check=False
        )
        assert second.returncode == 2
        assert "is in use by another site" in second.stderr


@pytest.mark.smoke
def test_a_receiver_of_otlp_gets_meters_and_pue_under_the_names_of_metrics(node, tmp_path):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otlp")
    from tests.energy_agent.otlp.test_sender import Receiver

    with Receiver() as receiver:
        site = Site(node, tmp_path)
        site.config["otlp"] = {"endpoint": f"http://127.0.0.1:{receiver.server_port}", "period_s": 1}
        site.write()
        site.start()
        try:
            eventually(lambda: site.page().total("source_up", source="otlp") == 1)
            eventually(lambda: {"wattlens.facility.energy", "wattlens.facility.power"} <= names_of(receiver))
        finally:
            site.process.terminate()
            assert site.process.wait(60) == 0


def names_of(receiver):
    """Names of all metrics that it received."""
    resources = [r for _, _, request in list(receiver.requests) for r in request.resource_metrics]
    return {metric.name for resource in resources for scope in resource.scope_metrics for metric in scope.metrics}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("meters: [{id: a, role: it, accuracy_percent: 1, max_power_w: 1}]", "requires a position"),
        ("meters: [{id: a, role: total, accuracy_percent: 1, max_power_w: 1}]", "has no source"),
        ("meters: [{id: a, role: heat, accuracy_percent: 1, max_power_w: 1}]", "one of 'total', 'it', 'cooling'"),
        ("site: {time_zone: Mars/Base}", "expected an IANA time zone"),
        ("sites: {}", "unknown key 'sites'; did you mean 'site'?"),
        ("contracts: [{id: a, kind: ppa, zone: DE, technology: wind, hourly_file: x}]", "grid.zone"),
        ("water: [{start: 2026-02-01, end: 2026-01-01, liters: 1, accuracy_percent: 1, source: x}]", "before it begins"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "site.yaml").write_text(text)
    done = said_here("site", "--check", "--config", tmp_path / "site.yaml")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
