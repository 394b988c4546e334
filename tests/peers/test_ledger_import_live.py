"""An agent on a simulated node, scraped by a real Prometheus: the import against the plant, the raw samples and the agent's own
ledger. The period includes an interval in which Prometheus was stopped, and a restart of the agent.
"""

import json
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from dataclasses import replace

import pytest
import yaml

from benchmarks.running import AgentProcess
from energy_agent.core.boundary import is_gpu
from energy_agent.core.energy import Method, WorkloadFacts
from energy_agent.ledger import chain
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell, DeviceFacts, TokenRow
from energy_agent.ledger.segments import segment
from energy_agent.ledger.summary import bounds
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port, need_program
from wattlens.demo.run import _identity
from wattlens.history_import.request import ImportRequest
from wattlens.history_import.run import run
from wattlens.prometheus.access import PrometheusAccess
from wattlens.prometheus.history import PrometheusHistory
from wattlens.usage.compacted_days import read_days
from wattlens.usage.ledger_rows import read_ledger
from wattlens.usage.prometheus import read_counters
from wattlens.usage.statement import UNATTRIBUTED, GroupBy, RowKind
from wattlens.usage.sums import statement_of

pytestmark = [pytest.mark.prometheus, pytest.mark.smoke, pytest.mark.timeout(360)]

NODE = b"""
boards: [{count: 2, sku: H100-SXM5-80GB, gain: 1.0}]
workloads:
  - {name: bursts, kind: burst, gpus: [0], on_s: 1.0, off_s: 0.7}
  - {name: llm, kind: serving, gpus: [1], rate_per_s: 12.0, output_sigma: 0.2, prompt_median: 200, memory_gb: 36}
"""
CELL_NS = 900 * 10**9


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """Prometheus with what it scraped, the agent's state folder, and true energy near the first and last sample."""
    home, program = tmp_path_factory.mktemp("live"), need_program("prometheus")
    page, port = free_port(), free_port()
    with SimulatedNode.start(scenario.parse(NODE, "test"), home / "node") as node:
        llm = eventually(lambda: next((w for w in node.workloads() if w.get("metrics_url")), None))
        tokens = [{"workload": _identity(node, llm["pid"]), "url": llm["metrics_url"], "period_s": 0.5}]
        (home / "agent.yaml").write_text(yaml.safe_dump({"node": {"cluster": "lab", "name": "node-1"}, "tokens": tokens}))
        agent = AgentProcess(node.directory, home / "state", home / "agent.yaml", page)
        scrape = {"job_name": "wattlens", "static_configs": [{"targets": [f"127.0.0.1:{page}"]}]}
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]}
        (home / "prometheus.yml").write_text(json.dumps(config))
        where = [f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}"]
        with (home / "log").open("wb") as log:
            prometheus = subprocess.Popen([program, *where, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            eventually(lambda: raw(url, "up") is not None)
            agent.start()
            eventually(lambda: raw(url, "wattlens_gpu_energy_joules_total"))
            truth = [true_uj(node)]
            time.sleep(6)
            prometheus.send_signal(signal.SIGSTOP)
            time.sleep(5)
            prometheus.send_signal(signal.SIGCONT)
            time.sleep(2)
            agent.stop()
            agent.start()
            time.sleep(5)
            truth.append(true_uj(node))
            agent.stop()
            yield url, home / "state", truth
        finally:
            prometheus.kill()
            prometheus.wait()


def true_uj(node):
    """When, and what the boards have drawn."""
    with node.plant() as plant:
        return time.time(), sum(plant.truth(gpu).true_uj for gpu in range(plant.count))


def raw(url, query):
    """What Prometheus answers, asked apart from the product; None while it does not."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=5) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return None


def uj(text):
    whole, _, part = text.partition(".")
    return int(whole) * 10**6 + int(part[:6].ljust(6, "0"))


@pytest.fixture(scope="module")
def imported(past, tmp_path_factory):
    url, _, _ = past
    now = time.time_ns()
    start = (now - 300 * 10**9) // CELL_NS * CELL_NS
    request = ImportRequest("wattlens", start, (now // CELL_NS + 1) * CELL_NS, now)
    out = tmp_path_factory.mktemp("imported") / "out"
    result = run(request, PrometheusHistory(PrometheusAccess(url)), out)
    return out, result, [row for path in segment.list_files(out) for row in segment.read(path).rows]


def test_what_is_booked_is_the_difference_of_the_first_and_the_last_sample(past, imported):
    url, _, _ = past
    out, result, rows = imported
    samples = {
        (s["metric"]["uuid"], s["metric"]["method"]): s["values"] for s in raw(url, "wattlens_gpu_energy_joules_total[10m]")
    }
    wanted = {key: uj(values[-1][1]) - uj(values[0][1]) for key, values in samples.items()}
    booked = dict.fromkeys(wanted, 0)
    for row in rows:
        if isinstance(row, Cell) and is_gpu(row.device):
            booked[row.device, row.method] += row.energy_uj
    assert booked == wanted
    assert sum(wanted.values()) > 10**9
    assert chain.verify([out]).ok
    assert [(w.cluster, w.node) for w in result.nodes] == [("lab-imported", "node-1")]


def test_it_agrees_with_the_agents_own_ledger_and_the_plant(past, imported):
    url, state, truth = past
    _, _, rows = imported
    own = [located.row for located in read_rows(state)]
    times = [float(t) for s in raw(url, "wattlens_gpu_energy_joules_total[10m]") for t, _ in s["values"]]
    for uuid in {row.device for row in own if isinstance(row, Cell) and is_gpu(row.device)}:
        cells = [row for row in own if isinstance(row, Cell) and row.device == uuid]
        theirs = sum(row.energy_uj for row in cells)
        found = bounds(rows, device=uuid)
        # Energy recorded before the first scrape and after the last one, at most 700 W; and the maximum age of a response.
        begun_s, ended_s = min(row.run.start_ns for row in cells) / 1e9, max(row.run.end_ns for row in cells) / 1e9
        outside_s = max(0, min(times) - begun_s) + max(0, ended_s - max(times)) + 2 * 2.5
        assert theirs - round(outside_s * 700 * 10**6) <= found.energy_uj <= theirs
    ((first_s, first_uj), (last_s, last_uj)) = truth
    apart_s = abs(min(times) - first_s) + abs(max(times) - last_s) + 2 * 2.5  # and how old a page can be
    mine = sum(r.energy_uj for r in rows if isinstance(r, Cell) and is_gpu(r.device))
    assert abs(mine - (last_uj - first_uj)) <= apart_s * 2 * 700 * 10**6


def test_workloads_states_and_tokens_are_those_of_the_agent(past, imported):
    url, state, _ = past
    _, _, rows = imported
    own = [located.row for located in read_rows(state)]
    names = {row.workload for row in own if isinstance(row, Cell) and row.workload}
    assert len(names) == 2
    for name in names:
        samples = raw(url, f'wattlens_workload_energy_joules_total{{workload="{name}"}}[10m]')
        wanted = sum(uj(s["values"][-1][1]) - uj(s["values"][0][1]) for s in samples)
        mine = sum(row.energy_uj for row in rows if isinstance(row, Cell) and row.workload == name and is_gpu(row.device))
        # A series that was new on a page counts whole, from the page before it.
        assert wanted <= mine <= wanted + sum(uj(s["values"][0][1]) for s in samples)
        assert mine > 0.5 * sum(row.energy_uj for row in own if isinstance(row, Cell) and row.workload == name)
    counted = raw(url, 'wattlens_tokens_total{phase="generation"}[10m]')
    wanted = sum(int(s["values"][-1][1]) - int(s["values"][0][1]) for s in counted)
    mine = sum(row.tokens for row in rows if isinstance(row, TokenRow) and row.phase == "generation")
    assert wanted <= mine <= wanted + sum(int(s["values"][0][1]) for s in counted)
    assert mine > 0


def test_the_segments_say_whose_they_are(imported):
    out, _, rows = imported
    for path in segment.list_files(out):
        header = segment.read(path).header
        assert (header.boot_id, header.cluster, header.node, header.simulated) == (
            "import:prometheus:wattlens", "lab-imported", "node-1", True,
        )  # fmt: skip
    marked = {row.workload for row in rows if isinstance(row, WorkloadFacts) and row.kind == "import"}
    assert marked == {row.device for row in rows if isinstance(row, Cell)}
    assert {row.gain_ppm for row in rows if isinstance(row, DeviceFacts) and is_gpu(row.uuid)} == {50_000}  # the agent's own
    assert {row.sku for row in rows if isinstance(row, DeviceFacts) and is_gpu(row.uuid)} == {"NVIDIA H100 80GB HBM3"}
    assert {row.method for row in rows if isinstance(row, Cell) and is_gpu(row.device)} <= {Method.COUNTER, Method.BRIDGED}


@pytest.mark.parametrize("by", GroupBy)
def test_usage_is_the_same_from_ledger_days_and_prometheus(past, by):
    url, state, _ = past
    now = time.time_ns()
    period = (now - 300 * 10**9) // CELL_NS * CELL_NS, (now // CELL_NS + 1) * CELL_NS
    own = statement_of(read_ledger(state, *period), by)
    days = read_days(str(state), by, *period)
    assert replace(days, scope=replace(days.scope, source=own.scope.source)) == own
    assert own.total.energy.energy_uj == sum(item.row.energy_uj for item in read_rows(state) if isinstance(item.row, Cell))
    record = read_counters(PrometheusHistory(PrometheusAccess(url)), period[0], now, {})
    scraped = statement_of(record, by)
    # Prometheus has nothing of the time before its first scrape and after its last, at 700 W per GPU at most; see above.
    times = [float(t) for s in raw(url, "wattlens_gpu_energy_joules_total[10m]") for t, _ in s["values"]]
    outside_s = max(0, min(times) - own.scope.first_ns / 1e9) + max(0, own.scope.last_ns / 1e9 - max(times)) + 2 * 2.5
    missing_uj = own.total.energy.energy_uj - scraped.total.energy.energy_uj
    assert 0 <= missing_uj <= outside_s * 2 * 700 * 10**6
    theirs = {row.key: row.energy.energy_uj for row in scraped.rows}
    for row in own.rows:
        if row.key.kind is RowKind.GROUP:
            assert 0 <= row.energy.energy_uj - theirs[row.key] <= missing_uj + theirs.get(UNATTRIBUTED, 0)
