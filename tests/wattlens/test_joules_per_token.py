"""Joules per token of windows, and `wattlens compare`, on simulated engines, against what plant and engines know."""

import json
import subprocess
import sys

import pytest
import yaml

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.workloads.serving import QUANTUM_S
from tests.support import eventually, said_here

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(360)]

ENGINES = [  # name, GPU, how memory-bound it is: another precision takes other steps at the same load
    ("bf16", 0, 0.9),
    ("other", 1, 0.9),
    ("int8", 0, 0.3),
]
# What `wattlens measure --tokens-from` does, and what really was drawn and counted, just outside of the window and just inside.
PROGRAM = """
import json, os, sys, time, urllib.request
from pathlib import Path
from energy_agent.sdk.measure.measurement import measure
from energy_agent.sdk.measure.saved import saved
from energy_agent.sdk.measure.token_endpoints import TokenEndpoints
from energy_agent.runtime.clock import clock_for
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.workloads.serving import QUANTUM_S
url, gpu, name, path, seconds = sys.argv[1:]
node = SimulatedNode.attach(Path(os.environ["WATTLENS_SIM"]))
def counted():
    with urllib.request.urlopen(url) as page:
        lines = page.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("vllm:generation_tokens_total")).split()[-1])
window = measure(name, sync=False).prepare()
with node.plant() as plant, TokenEndpoints([url], "vllm", clock_for(os.environ)) as pages:
    tokens, joules = counted(), plant.truth(int(gpu)).true_uj
    with window:
        inside = counted()
        time.sleep(float(seconds))
        inside = counted() - inside
    joules, tokens = plant.truth(int(gpu)).true_uj - joules, counted() - tokens
    window_counts = pages.read_window(window.seconds, window.opened_ns)
run = saved(window, tokens=window_counts, labels={"precision": name})
run["truth"] = {"joules": joules / 1e6, "tokens": tokens, "inside": inside}
Path(path).write_text(json.dumps(run))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Saved runs and truths by engine: two at once on two boards, then, after a boot, the third on the first board."""
    folder = tmp_path_factory.mktemp("joules")
    boards = [{"count": 2, "sku": "H100-SXM5-80GB"}]
    for batch in (("bf16", "other"), ("int8",)):
        engines = [
            {"name": name, "kind": "serving", "gpus": [gpu], "rate_per_s": 12.0, "output_sigma": 0.2}
            | {"decode_memory_boundness": bound, "prompt_median": 200, "memory_gb": 36}
            for name, gpu, bound in ENGINES
            if name in batch
        ]
        text = yaml.safe_dump({"boards": boards, "workloads": engines, "seed": 5})
        with SimulatedNode.start(scenario.parse(text.encode(), "test"), folder / "node") as node:
            started = [_measured(node, folder, name) for name in batch]
            assert [process.wait(120) for process in started] == [0] * len(started)
    return folder, {name: json.loads((folder / f"{name}.json").read_text())["truth"] for name, *_ in ENGINES}


def _measured(node, folder, name):
    def serves():
        workload = next((w for w in node.workloads() if w["name"] == name), {})
        return workload.get("metrics_url") if workload.get("counters", {}).get("generation_tokens", 0) > 500 else None

    url = eventually(serves)
    gpu = next(gpu for each, gpu, _ in ENGINES if each == name)
    program = [sys.executable, "-W", "error", "-c", PROGRAM, url, str(gpu), name, str(folder / f"{name}.json"), "5"]
    return subprocess.Popen(program, env=node.environ() | {"CUDA_VISIBLE_DEVICES": str(gpu)})


def compared(folder, a, b):
    done = said_here("compare", "--json", folder / f"{a}.json", folder / f"{b}.json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("a", "b", "same"), [("bf16", "int8", True), ("bf16", "other", False), ("other", "int8", False)])
def test_the_true_ratio_lies_in_the_interval(runs, a, b, same):
    folder, truths = runs
    comparison = compared(folder, a, b)
    ratio = truths[b]["joules"] / truths[b]["tokens"] / (truths[a]["joules"] / truths[a]["tokens"])
    per = comparison["joules_per_token_generated"]
    assert per["lower"] <= ratio <= per["upper"]
    assert comparison["same_boards"] is same
    assert (comparison["gain_factor"] == [1.0, 1.0]) is same
    assert comparison["simulated"]
    assert comparison["labels"] == [{"precision": a}, {"precision": b}]
    assert min(comparison["batch"]) > 0


def test_each_run_holds_its_true_joules_per_token(runs):
    folder, truths = runs
    for name, truth in truths.items():
        run = json.loads((folder / f"{name}.json").read_text())
        per_token = run["joules_per_token"]["generated"]
        assert per_token["lower"] <= truth["joules"] / truth["tokens"] <= per_token["upper"]
        # The simulated engine joins its steps, so its page leaps at either end by more than the one step of a real engine.
        leap = QUANTUM_S * run["tokens"]["generation"] / run["seconds"]
        edge = run["tokens"]["edge_generation"] + 2 * leap
        assert truth["inside"] - edge <= run["tokens"]["generation"] <= truth["tokens"] + edge
        assert run["tokens"]["models"] == ["meta-llama/Llama-3.1-8B-Instruct"]
