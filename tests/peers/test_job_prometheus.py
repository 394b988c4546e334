"""`wattlens job --prometheus` against a real Prometheus that scrapes three agents: one is lost, one starts again elsewhere."""

import json
import subprocess
import time

import pytest

from tests.doubles.page_server import PageServer
from tests.support import eventually, free_port, need_program
from wattlens.cli import main

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

SECONDS = 12


class AgentPage:
    """`/metrics` of one agent whose only workload is the job; its counters grow until `stop`."""

    def __init__(self, node, number):
        self.node, self.number, self.seconds, self.port = node, number, 0, free_port()
        self.serve()

    def serve(self):
        self.server = PageServer(lambda: self.text().encode(), self.port)

    def move(self):
        """The agent starts again under another address; its counters go on."""
        self.close()
        self.port = self.other_port
        self.serve()

    def close(self):
        self.server.close()

    def joules(self):
        """(active, idle) of the GPU."""
        return 400.5 * self.seconds, 20.25 * self.seconds

    def text(self):
        uuid = f"GPU-0000000{self.number}-0000-4000-8000-000000000000"
        active_j, idle_j = self.joules()
        of, other = 'workload="slurm-4711"', 'workload="slurm-47110"'
        return "\n".join(
            [
                f'wattlens_node_info{{cluster="prod",node="{self.node}",simulated="false"}} 1',
                f'wattlens_workload_info{{{of},kind="slurm",owner="Job/4711",team="nlp"}} 1',
                'wattlens_workload_info{workload="slurm-47110",kind="slurm",owner="Job/47110"} 1',
                f'wattlens_workload_energy_joules_total{{{of},uuid="{uuid}",state="active",method="counter"}} {active_j}',
                f'wattlens_workload_energy_joules_total{{{of},uuid="{uuid}",state="idle",method="counter"}} {idle_j}',
                f'wattlens_workload_energy_joules_total{{{other},uuid="{uuid}",state="idle",method="counter"}} 9e9',
                f'wattlens_workload_gpu_seconds_total{{{of},state="active"}} {self.seconds * 0.75}',
                f'wattlens_workload_gpu_seconds_total{{{of},state="idle"}} {self.seconds * 0.25}',
                f'wattlens_training_steps_total{{{of},phase="training"}} {self.seconds * 2}',
                f'wattlens_tokens_total{{{of},model="llama",phase="training"}} {self.seconds * 100}',
                'wattlens_grid_carbon_intensity_grams_per_kilowatt_hour{zone="DE",basis="direct"} 400',
                'wattlens_grid_carbon_intensity_grams_per_kilowatt_hour{zone="DE",basis="life-cycle"} 500',
                'wattlens_grid_carbon_intensity_grams_per_kilowatt_hour{zone="FR",basis="direct, yearly 2025"} 50',
                f'wattlens_gpu_energy_gain_uncertainty_ratio{{uuid="{uuid}"}} 0.05',
                f'wattlens_gpu_energy_edge_uncertainty_joules{{uuid="{uuid}"}} 35',
                "",
            ]
        )


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """URL of a Prometheus, and the agents with the last counters that it can have seen."""
    home, program, port = tmp_path_factory.mktemp("job"), need_program("prometheus"), free_port()
    agents = [AgentPage(f"gpu{number}", number) for number in range(3)]
    agents[2].other_port = free_port()
    targets = [f"127.0.0.1:{each}" for each in (*(agent.port for agent in agents), agents[2].other_port)]
    scrapes = [{"job_name": "wattlens", "static_configs": [{"targets": targets}]}]
    scrapes.append({"job_name": "replica", "static_configs": [{"targets": targets[:1]}]})  # the same agent, scraped twice
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": scrapes}
    (home / "prometheus.yml").write_text(json.dumps(config))
    options = [
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)
    try:
        time.sleep(2)
        for second in range(SECONDS):
            for agent in agents if second < SECONDS // 2 else agents[1:]:
                agent.seconds += 1
            time.sleep(1)
            if second == SECONDS // 2:
                time.sleep(2)  # scraped at its end
                agents[0].close()
                agents[2].move()
        time.sleep(3)
        yield f"http://127.0.0.1:{port}", agents
    finally:
        process.terminate()
        process.wait(30)
        for agent in agents[1:]:
            agent.close()


def job(capsys, url, *words):
    capsys.readouterr()
    assert main(["job", "slurm/4711", "--prometheus", url, "--since", "1h", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_job_is_the_sum_of_the_last_counters_of_its_nodes(past, capsys):
    url, agents = past
    document = eventually(lambda: job(capsys, url), 60)
    expected = [agent.joules() for agent in agents]
    assert int(document["energy_uj"]) == round(sum(map(sum, expected)) * 1e6)
    assert int(document["active_uj"]) == round(sum(active for active, _ in expected) * 1e6)
    nodes = {node["node"]: int(node["energy_uj"]) for node in document["nodes"]}
    assert nodes == {agent.node: round(sum(agent.joules()) * 1e6) for agent in agents}
    assert document["gpu_hours_active"] + document["gpu_hours_idle"] == pytest.approx(sum(a.seconds for a in agents) / 3600)
    assert document["tokens"] == {"training": 100 * sum(agent.seconds for agent in agents)}
    assert document["steps"] == {"training": 2 * SECONDS}, "every node counted the same steps"
    assert document["labels"] == {"team": "nlp"}
    energy_kwh = int(document["energy_uj"]) / 3.6e12
    edge_kwh = 3 * 2 * 35 / 3.6e6
    assert document["energy_kwh_lower"] == pytest.approx(energy_kwh * (1 - 0.05 / 0.95) - edge_kwh)
    assert document["boundary"] == "gpu"


def test_grid_carbon_intensity_is_the_mean_that_the_site_exported(past, capsys):
    url, _ = past
    document = job(capsys, url, "--carbon", "site=DE")
    assert document["co2e_g"] == pytest.approx(int(document["energy_uj"]) / 3.6e12 * 400, rel=1e-6)
    assert main(["job", "slurm/4711", "--prometheus", url, "--carbon", "site"]) == 1
    assert "several zones; choose one with --carbon site=ZONE: DE, FR" in capsys.readouterr().err
    assert main(["job", "slurm/4711", "--prometheus", url, "--carbon", "site=XX"]) == 1
    assert "no direct grid carbon intensity of zone XX while the job ran" in capsys.readouterr().err
    assert main(["job", "slurm/4711", "--carbon", "site"]) == 2
    assert "--carbon site: expected together with --prometheus" in capsys.readouterr().err


def test_match_selects_series(past, capsys):
    url, agents = past
    document = job(capsys, url, "--match", f"instance=127.0.0.1:{agents[1].port}")
    assert [node["node"] for node in document["nodes"]] == ["gpu1"]


def test_a_job_that_prometheus_does_not_have_is_an_error(past, capsys):
    assert main(["job", "slurm/12", "--prometheus", past[0]]) == 1
    assert "slurm/12: no energy of this job found in Prometheus" in capsys.readouterr().err
