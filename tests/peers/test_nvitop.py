"""nvitop and nvitop-exporter, unchanged, show the simulated node: eight GPUs, who holds them, what they draw."""

import os
import re
import subprocess
import sys
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port, need_module

pytestmark = pytest.mark.peer

NODE = b"""
boards: [{count: 8, sku: H100-SXM5-80GB}]
workloads:
  - {name: train, kind: training, gpus: [0, 1, 2], memory_gb: 32, host_every_steps: 0, checkpoint_every_s: 0}
  - {name: bursts, kind: burst, gpus: [5], on_s: 5, off_s: 0, jitter: 0}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    need_module("nvitop")
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path_factory.mktemp("nvitop") / "node") as running:
        yield running


def list_processes(node: SimulatedNode) -> set[tuple[int, int]]:
    """(GPU, pid) of every holder, as the plant has them."""
    with node.plant() as plant:
        return {(gpu, s.pid) for gpu in range(plant.count) for s in plant.truth(gpu).slots if s.live}


def test_one_look(node):
    done = node.run([sys.executable, "-m", "nvitop", "--once", "--ascii"], timeout_s=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("H100 80GB HBM3") == 8
    processes = {(int(gpu), int(pid)) for gpu, pid in re.findall(r"^\|\s+(\d+)\s+(\d+) C ", done.stdout, re.MULTILINE)}
    assert processes == list_processes(node)
    assert len(processes) == 4


def test_the_exporter_serves_power_and_processes(node):
    need_module("nvitop_exporter")
    port = free_port()
    command = [sys.executable, "-m", "nvitop_exporter", "--bind-address", "127.0.0.1", "--port", str(port), "--interval", "0.5"]
    exporter = subprocess.Popen(command, env=os.environ | node.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def samples():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    page = answer.read().decode()
            except OSError:
                return None
            all_samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
            names = [s.name for s in all_samples]
            complete = names.count("gpu_power_usage_W") == 8 and names.count("process_info_info") == 4
            working = [s.value for s in all_samples if s.name == "gpu_power_usage_W" and s.labels["uuid"] in at_work]
            return all_samples if complete and min(working) > 300 else None  # on a busy machine the work rests now and then

        with node.plant() as plant:
            at_work = {plant.uuid(gpu) for gpu in (0, 5)}
        page_samples = eventually(samples)
        with node.plant() as plant:
            power_w = {s.labels["uuid"]: s.value for s in page_samples if s.name == "gpu_power_usage_W"}
            assert set(power_w) == {plant.uuid(gpu) for gpu in range(8)}
            for gpu in (3, 4, 6, 7):  # steady: nobody is there
                truth = plant.truth(gpu)
                assert power_w[plant.uuid(gpu)] == pytest.approx(truth.power_w * truth.gain, rel=0.02)
        processes = {(int(s.labels["index"]), int(s.labels["pid"])) for s in page_samples if s.name == "process_info_info"}
        assert processes == list_processes(node)
    finally:
        exporter.terminate()
        exporter.wait(60)
