"""The compose stack for real: healthy, confined, found by name; killed part by part, taken down and up again; energy unbroken.

The truth is the plant's: what the GPUs drew and what their counters published, asked in its own container. A stub stands where
Grafana would (grafana_stub.py), whose image cannot be made from packages.
"""

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.deploy.engine import make_wheels
from tests.deploy.stack import IMAGES, SERVICES, Stack, stack
from tests.support import eventually
from wattlens.cli import main

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
ENERGY = "wattlens_gpu_energy_joules_total"
MOST_W = 8 * 700.0  # eight boards at their limit
AGE_S = 3.0  # of what a page shows: a sample a second, a commit a second, a page
HOLE_J = 2 * AGE_S * MOST_W  # of a time without agent: more than the age of a page can hide, whatever the power of the moment


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("docker")) as docker_stack:
        yield docker_stack


def test_every_service_is_healthy_and_confined(running: Stack) -> None:
    for service in SERVICES:
        assert running.healthy(service)
        about = running.inspect(service)
        host = about["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapAdd"], host["Privileged"]) == (True, None, False)
        assert 0 < host["Memory"] <= 1 << 30
        assert host["NanoCpus"] > 0
        assert host["PidsLimit"] == 256
        published = [entry for entries in (about["NetworkSettings"]["Ports"] or {}).values() for entry in entries or []]
        assert {entry["HostIp"] for entry in published} <= {"127.0.0.1"}
        status = Path(f"/proc/{about['State']['Pid']}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (int(fields["CapEff"], 16), int(fields["CapBnd"], 16), fields["NoNewPrivs"]) == (0, 0, "1")
        root = {"victoria-metrics"}  # its image runs as root, and its volume is root's
        assert (fields["Uid"].split()[0] == "0") is (service in root)


def test_the_agent_image_has_no_compiler_and_no_pip(running: Stack) -> None:
    image = IMAGES["WATTLENS_IMAGE"]
    assert running.docker.run("run", "--rm", "--network", "none", image, "--version").startswith("wattlens ")
    look = "command -v cc || command -v gcc || command -v pip || ls -d /opt/cache || echo none"
    assert running.docker.run("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", look).strip() == "none"


def test_services_find_each_other_by_name(running: Stack) -> None:
    targets = json.loads(running.get("prometheus", "/api/v1/targets"))["data"]["activeTargets"]
    assert {(t["labels"]["job"], t["labels"]["instance"], t["scrapeUrl"], t["health"]) for t in targets} == {
        ("wattlens", "gpu-node-1", "http://agent:9479/metrics", "up"),
        ("wattlens-site", "lab", "http://site:9480/metrics", "up"),
    }
    grafana = json.loads(running.get("grafana", "/found"))
    assert grafana["answers"] == ["prometheus", "victoria-metrics"]
    files = [json.loads(path.read_text()) for path in (ROOT / "dashboards/grafana").glob("*.json")]
    assert grafana["dashboards"] == {d["uid"]: d["title"] for d in files}


def test_every_gpu_workload_token_and_meter_is_seen(running: Stack) -> None:
    eventually(lambda: running.value("count(wattlens_gpu_up == 1)") == 8, every=0.5)
    eventually(lambda: running.value('sum(wattlens_workload_energy_joules_total{workload="train-llama"})') > 0, every=0.5)
    eventually(lambda: running.value('wattlens_tokens_total{workload="chat-qwen", phase="generation"}') > 0, every=0.5)
    (info,) = running.query('wattlens_node_info{job="wattlens"}')
    wanted = {"simulated": "true", "instance": "gpu-node-1", "cluster": "compose", "site": "lab"}
    assert wanted.items() <= info["metric"].items()
    meters = {"main", "ups-loss", "ups", "pdu-a", "pdu-b", "it-a", "it-b", "cooling", "lighting"}
    eventually(
        lambda: {r["metric"]["meter"] for r in running.query("wattlens_facility_energy_joules_total")} == meters, every=0.5
    )
    eventually(lambda: running.query("wattlens_source_up == 0") == [], every=0.5)


def test_rules_have_no_error_and_the_pue_of_the_site_reaches_the_node(running: Stack) -> None:
    groups = json.loads(running.get("prometheus", "/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["type"] for rule in rules} == {"recording", "alerting"}
    eventually(lambda: running.value("max(wattlens_pue_ratio_upper)") > 0, every=0.5)
    facility = 'count({__name__=~"instance_workload:.*",boundary="facility"})'
    eventually(lambda: running.value(facility) > 0, 90, 1)
    groups = json.loads(running.get("prometheus", "/api/v1/rules"))["data"]["groups"]
    assert not [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]
    ends = [f'wattlens_pue_ratio_{end}{{category="3"}}' for end in ("lower", "upper")]
    low, high = eventually(lambda: all(bounds := [running.value(end) for end in ends]) and bounds, every=0.5)  # absent in a gap
    truth = running.status()["facility"]
    it = sum(meter["true_j"] for meter in truth["meters"] if meter["id"] in ("it-a", "it-b"))
    (total,) = (meter["true_j"] for meter in truth["meters"] if meter["id"] == "main")
    assert low <= total / it <= high


def test_every_joule_that_prometheus_shows_is_booked_once(running: Stack) -> None:
    devices = f"sum({ENERGY})"
    buckets = (
        "sum(wattlens_workload_energy_joules_total) + sum(wattlens_gpu_unallocated_energy_joules_total)"
        " + sum(wattlens_gpu_unattributed_energy_joules_total)"
    )
    assert running.value(devices) > 0
    assert running.value(f"({buckets}) - ({devices})") == pytest.approx(0, abs=1e-3)


def test_the_long_term_store_has_the_same_counters(running: Stack) -> None:
    at = {"time": str(time.time() - 1)}
    energy_j = {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in running.query(ENERGY, **at)}
    assert len(energy_j) == 8 * 3  # by the methods that a sensor permits

    def query_energy() -> dict[tuple[tuple[str, str], ...], float]:
        rows = running.query(ENERGY, "victoria-metrics", latency_offset="1s", nocache="1", **at)
        return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in rows}

    eventually(lambda: query_energy() == energy_j, every=0.5)


def test_crashed_services_restart_and_become_healthy(running: Stack) -> None:
    """All but the node, one after another and sooner than the one before is back."""
    services = [service for service in SERVICES if service != "node"]
    before, booked_j = {service: running.inspect(service)["RestartCount"] for service in services}, running.booked_j()
    for service in services:
        running.crash(service)
    for service, count in before.items():
        eventually(lambda s=service, c=count: running.inspect(s)["RestartCount"] > c, every=0.2)
        eventually(lambda s=service: running.healthy(s), every=0.2)
    assert running.booked_j() >= booked_j
    assert running.booked_j() <= running.published_j(), "no joule is recorded that no counter published"


def test_energy_of_a_time_without_agent_is_booked_when_it_is_back(running: Stack) -> None:
    booked_j, before_j = running.booked_j(), running.published_j()
    running.docker.compose("kill", "agent")
    eventually(lambda: running.published_j() > before_j + HOLE_J, every=0.5)
    running.up()

    def missing_j() -> float:
        drawn_j = running.published_j() - before_j
        return drawn_j - (running.booked_j() - booked_j)

    eventually(lambda: missing_j() <= AGE_S * MOST_W, every=0.5)
    assert running.booked_j() <= running.published_j()


def test_a_machine_that_dies_takes_all_on_it_along_and_books_no_joule_twice(running: Stack) -> None:
    """The plant is recreated in this case, and its counters restart at 0."""
    booked_j, read_s, before_j = running.booked_j(), time.time(), running.published_j()
    running.crash("node")
    eventually(lambda: running.inspect("node")["RestartCount"] > 0, every=0.2)
    running.up()
    made_s = datetime.fromisoformat(running.inspect("node")["State"]["StartedAt"][:26] + "+00:00").timestamp()
    most_j = before_j + (made_s - read_s) * MOST_W
    eventually(lambda: running.booked_j() > booked_j, every=0.5)
    assert running.booked_j() <= most_j + running.published_j()
    gap = "sum(wattlens_gpu_energy_gap_bound_joules_total)"
    eventually(lambda: running.value(gap) > 0, every=0.5)  # what died with the old counters is unseen, and has a bound

    def missing_j() -> float:
        anew = running.published_j()
        return anew - (running.booked_j() - booked_j) - running.value(gap)

    eventually(lambda: missing_j() <= AGE_S * MOST_W, every=0.5)


def test_volumes_outlive_the_containers(running: Stack) -> None:
    every, newest = f"sum({ENERGY})", f"max(timestamp({ENERGY}))"
    eventually(lambda: running.value(every) > 0, every=0.5)
    now_s = time.time()
    at = {"time": str(now_s)}
    eventually(lambda: running.value(newest) > now_s, every=0.5)  # nothing of before comes any more
    booked_j, starts = running.booked_j(), json.loads(running.get("grafana", "/found"))["starts"]
    was = running.value(every, **at)
    eventually(lambda: running.value(every, "victoria-metrics", nocache="1", latency_offset="1s", **at) == was, every=0.5)
    running.docker.compose("down", "--timeout", "10")
    assert running.docker.run("ps", "--all", "--quiet") == ""
    running.up()
    assert running.value(every, **at) == was > 0
    assert running.value(every, "victoria-metrics", nocache="1", **at) == was
    assert json.loads(running.get("grafana", "/found"))["starts"] == starts + 1
    eventually(lambda: running.booked_j() > booked_j, every=0.5)


def test_no_counter_ever_fell(running: Stack) -> None:
    for store in ("prometheus", "victoria-metrics"):

        def evaluate(function: str, store: str = store) -> list[float]:
            return [float(r["value"][1]) for r in running.query(f"{function}({ENERGY}[1h])", store, latency_offset="1s")]

        eventually(lambda evaluate=evaluate: len(changes := evaluate("changes")) == 8 * 3 and max(changes) > 1, every=0.5)
        assert set(evaluate("resets")) == {0}


def test_what_they_log_is_no_trouble(running: Stack) -> None:
    """Of the last life of each: what died, died by our hand."""
    for service in SERVICES:
        since = running.inspect(service)["State"]["StartedAt"]
        log = running.docker.compose("logs", "--no-color", "--since", since, service)
        assert [line for line in log.splitlines() if any(w in line.lower() for w in ("warn", "error", "traceback"))] == []


def test_the_ledgers_make_a_report_that_verifies(running: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ledgers, closed, as the report job has them."""
    booked_j = running.booked_j()
    running.docker.compose("stop", "--timeout", "15", "agent", "site")
    ledger, out, org = tmp_path / "ledger", tmp_path / "report", ROOT / "deploy/compose/org.yaml"
    ledger.mkdir()
    running.docker.run("cp", "wattlens-test-agent-1:/var/lib/wattlens", ledger / "gpu-node-1")
    running.docker.run("cp", "wattlens-test-site-1:/var/lib/wattlens-site", ledger / "site")
    words = ["report", "--quarter=current", f"--ledger={ledger}", f"--org={org}", f"--out={out}", "--accept-coverage=0"]
    assert main([*words, "--formats=csv"]) == 0
    facts = json.loads((out / "facts.json").read_text())
    assert (facts["simulated"], facts["status"]) == (True, "interim")
    figures = {figure["id"]: figure for figure in facts["figures"]}
    workloads = {figure["dims"].get("workload") for name, figure in figures.items() if name.startswith("largest/")}
    assert {"train-llama", "chat-qwen"} <= workloads
    more_j = round(float(figures["energy.gpu"]["value"]) - booked_j, 3)
    assert more_j >= 0, "all that the last page had, from before each kill too"
    assert main(["report", "verify", str(out), f"--ledger={ledger}", f"--org={org}"]) == 0
    assert "All checks passed." in capsys.readouterr().out


@pytest.mark.proof
@pytest.mark.timeout(2400)
def test_the_report_job_makes_a_report_that_verifies(running: Stack, tmp_path: Path) -> None:
    """The job's own image, on the ledgers of what was stopped and then of what runs."""
    make_wheels(running.folder / "wheels", "3.13", "facility", "ledger", "reports")
    running.build("report")
    running.docker.compose("stop", "--timeout", "15", "agent", "site")
    job = ("run", "--rm", "-T", "report")
    for _ in range(2):
        output = running.docker.compose(*job, timeout=240)
        assert re.search(r"^/var/lib/wattlens-report/\d{4}Q\d-interim/report.pdf$", output, re.M)
        (folder,) = {line.rpartition("/")[0] for line in output.splitlines() if line.startswith("/var/lib/")}
        verify = ("report", "verify", folder, "--ledger=/ledger", "--org=/etc/wattlens/org.yaml")
        assert "All checks passed." in running.docker.compose(*job, *verify, timeout=240)
        running.up()
