"""`wattlens usage --prometheus` against a real Prometheus: samples that promtool put there, and an agent on a simulated node.

The agent's energy is compared with the plant, the raw samples and its own ledger. The period includes an interval in which
Prometheus was stopped, and a restart of the agent.
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
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.peers.prometheus_blocks import Text, prometheus, scrapes
from tests.support import eventually, free_port, need_program
from tests.wattlens.usage.statements import read_days, usage_of
from wattlens.cli import main
from wattlens.demo.run import _identity
from wattlens.prometheus.access import PrometheusAccess
from wattlens.prometheus.history import PrometheusHistory
from wattlens.usage.ledger_rows import read_ledger
from wattlens.usage.prometheus import read_counters
from wattlens.usage.statement import UNATTRIBUTED, GroupBy, RowKind

pytestmark = [pytest.mark.prometheus, pytest.mark.smoke, pytest.mark.timeout(360)]

NODE = b"""
boards: [{count: 2, sku: H100-SXM5-80GB, gain: 1.0}]
workloads:
  - {name: bursts, kind: burst, gpus: [0], on_s: 1.0, off_s: 0.7}
  - {name: llm, kind: serving, gpus: [1], rate_per_s: 12.0, output_sigma: 0.2, prompt_median: 200, memory_gb: 36}
"""
CELL_NS = 900 * 10**9


T0 = 1_767_225_600  # 2026-01-01T00:00Z
HOUR = 3_600


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    text = Text()
    pages(text)
    labelled(text)
    with prometheus(tmp_path_factory.mktemp("prometheus"), text) as address:
        yield address


def pages(text):
    """Two hours of an agent's page by two replicas, from a target with labels of its own: 300 W of a GPU, 100 W of its host.

    A pod holds the GPU from 01:00 on. The address belongs to another node from 02:00 on.
    """
    for replica, offset in (("a", 0), ("b", 5_000)):
        times = list(scrapes(T0, T0 + 4 * HOUR, offset_ms=offset))
        mine = [t for t in times if t < (T0 + 2 * HOUR) * 1_000]
        base = {"instance": "10.1.2.3:9479", "job": "wattlens", "replica": replica, "node": "target", "cluster": "target"}
        gpu = base | {"gpu": "0", "uuid": "GPU-w"}
        began = (T0 + HOUR) * 1_000
        j = {t: 1_000_000 + (t / 1_000 - T0) * 300 for t in times}
        used = {t: (t - began) / 1_000 * 300 for t in mine if t >= began}
        for node, when in (("n1", mine), ("n2", times[len(mine) :])):
            info = base | {"exported_node": node, "exported_cluster": "lab", "simulated": "false"}
            text.add("wattlens_node_info", info, [(t, 1) for t in when])
        text.add("wattlens_gpu_energy_joules_total", gpu | {"method": "counter"}, [(t, j[t]) for t in times])
        text.add("wattlens_gpu_unallocated_energy_joules_total", gpu, [(t, j[t] - used.get(t, 0)) for t in mine])
        text.add("wattlens_gpu_energy_gain_uncertainty_ratio", gpu, [(t, 0.04) for t in times])
        text.add(
            "wattlens_node_nongpu_energy_joules_total",
            base | {"domain": "host", "method": "counter"},
            [(t, j[t] / 3) for t in mine],
        )
        text.add("wattlens_node_nongpu_energy_gain_uncertainty_ratio", base | {"domain": "host"}, [(t, 0.02) for t in mine])
        workload_labels = base | {"workload": "ml/train-0.0123abcd"}
        text.add(
            "wattlens_workload_energy_joules_total",
            workload_labels | {"uuid": "GPU-w", "state": "active", "method": "counter"},
            used.items(),
        )
        text.add(
            "wattlens_workload_gpu_seconds_total",
            workload_labels | {"state": "active"},
            [(t, (t - began) / 1_000) for t in used],
        )
        facts = {"kind": "pod", "namespace": "ml", "pod": "train-0", "team": "red"}
        text.add("wattlens_workload_info", workload_labels | facts, [(t, 1) for t in used])
        tokens = workload_labels | {"model": "llama", "phase": "generation"}
        text.add("wattlens_tokens_total", tokens, [(t, (t - began) // 100) for t in used])


LABELLED_S = 3_600


def labelled(text):
    """Two hours of a node whose agent knew no pod in the first: its counters go on with more labels.

    300 W of a GPU, 200 W of which a pod uses; 100 W around it: 60 W for the pod, 30 W unallocated, 10 W not attributed.
    """
    times = list(scrapes(T0, T0 + 2 * HOUR))
    base = {"instance": "10.1.2.4:9479", "job": "wattlens"}
    gpu, workload_labels = base | {"gpu": "0", "uuid": "GPU-x"}, base | {"workload": "ml/train-0.0123abcd"}
    host, pod = base | {"domain": "host"}, {"namespace": "ml", "pod": "train-0"}
    text.add("wattlens_node_info", base | {"node": "n3", "cluster": "lab", "simulated": "false"}, [(t, 1) for t in times])

    def add(name, labels, per_s, new=None, begin=1_000_000):
        values = [(t, begin + (t / 1_000 - T0) * per_s) for t in times]
        old, rest = ([v for v in values if (v[0] / 1_000 - T0 < LABELLED_S) is before] for before in (True, False))
        text.add(f"wattlens_{name}", labels, old)
        text.add(f"wattlens_{name}", labels | (new or {}), rest)

    add("gpu_energy_joules_total", gpu | {"method": "counter"}, 300)
    add("gpu_unallocated_energy_joules_total", gpu, 100)
    add("gpu_energy_gain_uncertainty_ratio", gpu, 0, begin=0.04)
    add("workload_energy_joules_total", workload_labels | {"uuid": "GPU-x", "state": "active", "method": "counter"}, 200, pod)
    add("workload_gpu_seconds_total", workload_labels | {"state": "active"}, 0.5, pod)
    add("node_nongpu_energy_joules_total", host | {"method": "counter"}, 100)
    add("node_nongpu_unallocated_energy_joules_total", host, 30)
    add("node_nongpu_unattributed_energy_joules_total", host | {"reason": "unknown_holder"}, 10)
    add("node_nongpu_energy_gap_bound_joules_total", host, 1)
    add("node_nongpu_energy_gain_uncertainty_ratio", host, 0, begin=0.02)
    add("workload_nongpu_energy_joules_total", workload_labels | {"domain": "host", "state": "active"}, 60, pod)


def printed(capsys, url, instance, end, by="workload"):
    words = ["usage", "--prometheus", url, "--match", f"instance={instance}", "--from", "2026-01-01", "--to", end, "--by", by]
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def energy_of(document):
    return {row["name"]: int(row["energy_uj"]) for row in document["rows"]}


def test_responses_under_labels_of_the_target_by_two_replicas_count_once(blocks, capsys):
    document = printed(capsys, blocks, "10.1.2.3:9479", "2026-01-01T02:00")
    # From the first scrape at 00:00:00 to the last of either replica at 01:59:50.
    assert energy_of(document) == {
        "ml/train-0": 3_590 * 300 * 10**6,
        "unallocated": 3_600 * 300 * 10**6,
        "unattributed": 7_190 * 100 * 10**6,  # that response does not name the host's workload
    }
    assert (document["boundary"], document["nodes"], document["simulated"]) == ("node", 1, False)
    assert document["rows"][0]["generation_tokens"] == 35_900
    assert document["last_reading"] == "2026-01-01T01:59:50Z"
    assert printed(capsys, blocks, "10.1.2.3:9479", "2026-01-01T02:00", "team")["rows"][0]["name"] == "red"


def test_an_address_gives_each_node_its_own_scrapes(blocks, capsys):
    document = printed(capsys, blocks, "10.1.2.3:9479", "2026-01-01T06:00", "node")
    # The second node has the address from 02:00:00 to 03:59:50.
    assert energy_of(document) == {"n1": 7_190 * 300 * 10**6, "n2": 7_190 * 300 * 10**6}
    assert document["boundary_reason"] == "1 of 2 nodes have a whole-node meter"


def test_counters_that_get_more_labels_within_the_time_lose_nothing(blocks, capsys):
    document = printed(capsys, blocks, "10.1.2.4:9479", "2026-01-01T06:00")
    seconds = 7_185  # from 00:00:00 to 01:59:45, over the change of labels at 01:00:00
    assert energy_of(document) == {
        "ml/train-0.0123abcd": seconds * 260 * 10**6,
        "unallocated": seconds * 130 * 10**6,
        "unattributed": seconds * 10 * 10**6,
    }
    by_gpu = printed(capsys, blocks, "10.1.2.4:9479", "2026-01-01T06:00", "gpu")
    (host,) = (row for row in by_gpu["rows"] if row["kind"] == "node")
    assert host["energy_kwh_upper"] * 3.6e6 > seconds * 101  # with the gaps that the agent reported


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


def scraped_usage(url, by):
    """The statement of the last quarters of an hour, by the counters in Prometheus."""
    now = time.time_ns()
    record = read_counters(PrometheusHistory(PrometheusAccess(url)), (now - 300 * 10**9) // CELL_NS * CELL_NS, now, {})
    return usage_of(record, by)


def first_and_last(url, select, *labels):
    """The first and the last value in uJ of each counter, whatever the agent added to its labels later."""
    values = {}
    for series in raw(url, f"{select}[10m]"):
        counter = values.setdefault(tuple(series["metric"][label] for label in labels), [])
        counter += [uj(value) for _, value in series["values"]]
    return {key: (min(counter), max(counter)) for key, counter in values.items()}


def test_energy_of_a_gpu_is_the_difference_of_the_first_and_the_last_sample(past):
    url, _, truth = past
    usage = scraped_usage(url, GroupBy.GPU)
    expected: dict[str, int] = {}
    for (uuid, _), (first, last) in first_and_last(url, "wattlens_gpu_energy_joules_total", "uuid", "method").items():
        expected[uuid] = expected.get(uuid, 0) + last - first
    assert {row.key.name.split()[-1]: row.energy.energy_uj for row in usage.rows} == expected
    assert sum(expected.values()) > 10**9
    assert usage.scope.simulated
    ((first_s, first_uj), (last_s, last_uj)) = truth
    times = [float(t) for s in raw(url, "wattlens_gpu_energy_joules_total[10m]") for t, _ in s["values"]]
    apart_s = abs(min(times) - first_s) + abs(max(times) - last_s) + 2 * 2.5  # and how old a response can be
    assert abs(usage.total.energy.energy_uj - (last_uj - first_uj)) <= apart_s * 2 * 700 * 10**6


def test_energy_and_tokens_of_a_workload_are_those_of_its_counters(past):
    url, _, _ = past
    usage = scraped_usage(url, GroupBy.WORKLOAD)
    counters = first_and_last(url, "wattlens_workload_energy_joules_total", "workload", "uuid", "state", "method")
    rows = {row.key.name: row for row in usage.rows if row.key.kind is RowKind.GROUP}
    assert len(rows) == 2
    for name, row in rows.items():
        (workload,) = {key[0] for key in counters if name in (key[0], key[0].split("/")[-1])} or {name}
        growth = sum(last - first for key, (first, last) in counters.items() if key[0] == workload)
        whole = sum(last for key, (_, last) in counters.items() if key[0] == workload)
        assert growth <= row.energy.energy_uj <= whole
    generated = raw(url, 'wattlens_tokens_total{phase="generation"}[10m]')
    first, last = (sum(int(series["values"][at][1]) for series in generated) for at in (0, -1))
    assert last - first <= usage.total.tokens["generation"] <= last


@pytest.mark.parametrize("by", GroupBy)
def test_usage_is_the_same_from_ledger_days_and_prometheus(past, by):
    url, state, _ = past
    now = time.time_ns()
    period = (now - 300 * 10**9) // CELL_NS * CELL_NS, (now // CELL_NS + 1) * CELL_NS
    ledger_usage = usage_of(read_ledger(state, *period), by)
    days = read_days(str(state), by, *period)
    assert replace(days, scope=replace(days.scope, source=ledger_usage.scope.source)) == ledger_usage
    assert ledger_usage.total.energy.energy_uj == sum(
        item.row.energy_uj for item in read_rows(state) if isinstance(item.row, Cell)
    )
    record = read_counters(PrometheusHistory(PrometheusAccess(url)), period[0], now, {})
    scraped = usage_of(record, by)
    # Prometheus has nothing of the time before its first scrape and after its last, at 700 W per GPU at most; see above.
    times = [float(t) for s in raw(url, "wattlens_gpu_energy_joules_total[10m]") for t, _ in s["values"]]
    outside_s = (
        max(0, min(times) - ledger_usage.scope.first_ns / 1e9) + max(0, ledger_usage.scope.last_ns / 1e9 - max(times)) + 2 * 2.5
    )
    missing_uj = ledger_usage.total.energy.energy_uj - scraped.total.energy.energy_uj
    assert 0 <= missing_uj <= outside_s * 2 * 700 * 10**6
    theirs = {row.key: row.energy.energy_uj for row in scraped.rows}
    for row in ledger_usage.rows:
        if row.key.kind is RowKind.GROUP:
            assert 0 <= row.energy.energy_uj - theirs[row.key] <= missing_uj + theirs.get(UNATTRIBUTED, 0)
