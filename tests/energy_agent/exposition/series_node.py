"""A real agent on a simulated Kubernetes node with every kind of series.

Eight H100 with a meter of the whole node: a training job on three that DVFS steers and proves, two inference servers on three,
a notebook with a forgotten GPU, and one unallocated GPU.
"""

import json
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.running import AgentProcess, Series, running_agent, running_role
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port

GPUS = 8
FACTS = {fact: f"wattlens.io/{fact}" for fact in ("team", "project", "model", "precision", "group", "class")}
TRAIN, CHAT, SMALL, NOTEBOOK = "train-0", "chat-0", "assist-0", "notebook-ana"
BOTH = ("train", "chat")
"""Workloads of a node as it is installed: no labels of owners, no meter of the whole node, no DVFS."""


@contextmanager
def running(folder: Path, *, as_installed: bool = False) -> Iterator[AgentProcess]:
    """The agent; `as_installed`: the node has only the workloads of BOTH."""
    with ExitStack() as stack:
        node_scenario, agent_config = _scenario(folder), _config
        if as_installed:
            node_scenario["workloads"] = [w for w in node_scenario["workloads"] if w["name"] in BOTH]
            pods = node_scenario["kubelet"]["pods"]
            node_scenario["kubelet"]["pods"] = [pod for pod in pods if pod["workload"] in BOTH]
            agent_config = _config_as_installed
        text = json.dumps(node_scenario)
        node = stack.enter_context(SimulatedNode.start(scenario.parse(text.encode(), "fleet"), folder / "node"))
        (folder / "actuator.yaml").write_text("allow: [{devices: all, knobs: [clock, power], baseline: unlocked}]\n")
        simulate = ("--simulate", folder / "node")
        stack.enter_context(running_role("actuator", folder, "--socket", folder / "a.sock", *simulate))
        agent = stack.enter_context(running_agent(node, folder / "agent", agent_config(folder, node)))
        eventually(lambda: page(agent), every=0.2)
        yield agent


def show(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Change `web.metrics` of the agent that runs there; it reloads its configuration by itself."""
    path = folder / "agent.yaml"
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({**json.loads(path.read_text()), "web": {"metrics": dict(metrics)}}))
    draft.replace(path)


def page(agent: AgentProcess) -> Series:
    """Series of the current response; none while the endpoint has no response."""
    try:
        return agent.page(60)
    except urllib.error.HTTPError:
        return {}


def _scenario(folder: Path) -> dict[str, Any]:
    gpu_specs = [{"count": GPUS, "sku": "H100-SXM5-80GB"}]
    train = {"kind": "training", "gpus": [0, 1, 2], "step_s": 0.3, "memory_boundness": 0.9, "checkpoint_every_s": 30}
    workloads: list[dict[str, Any]] = [
        {"name": "train", "cgroup": "kubepods", "agent_socket": str(folder / "agent.sock"), **train},
        {"name": "chat", "gpus": [3, 4], "model": "Qwen/Qwen3-32B", "rate_per_s": 4.0, **_engine()},
        {"name": "assist", "gpus": [5], "rate_per_s": 6.0, "arrivals": "bursty", **_engine()},
        {"name": "notebook", "kind": "notebook", "gpus": [6], "cgroup": "kubepods"},
    ]
    ports = {w["name"]: w["metrics_port"] for w in workloads if "metrics_port" in w}
    names = {"train": TRAIN, "chat": CHAT, "assist": SMALL, "notebook": NOTEBOOK}
    namespaces = {"train": "research", "chat": "serving", "assist": "serving", "notebook": "people"}
    facts = {
        "train": {"team": "foundation", "project": "llm", "precision": "bf16", "group": "train", "class": "batch"},
        "chat": {"team": "chat", "project": "assistant", "precision": "fp8", "group": "chat", "class": "interactive"},
        "assist": {"team": "chat", "project": "assistant", "precision": "bf16", "class": "interactive"},
        "notebook": {"team": "people", "project": "exploration"},
    }
    pods = [
        {
            "name": names[w], "namespace": namespaces[w], "workload": w,
            "labels": {FACTS[fact]: value for fact, value in facts[w].items()},
            "annotations": {"wattlens.io/metrics-port": str(ports[w])} if w in ports else {},
            "owner": {"kind": "Job" if w == "train" else "StatefulSet", "name": names[w].rpartition("-")[0],
                      "api_version": "batch/v1" if w == "train" else "apps/v1"},
        }
        for w in names
    ]  # fmt: skip
    kubelet = {"pods": pods, "other_pods": 40, "api_server": True}
    return {"boards": gpu_specs, "seed": 11, "workloads": workloads, "kubelet": kubelet, "host": {}}


def _engine() -> dict[str, object]:
    return {"kind": "serving", "cgroup": "kubepods", "metrics_port": free_port()}


def _config_as_installed(folder: Path, _node: SimulatedNode) -> dict[str, object]:
    kubernetes = {"period_s": 1, "kubernetes": {"informer": "auto"}}
    return {
        "node": {"cluster": "cluster-0", "name": "gpu-0000"},
        "sampling": {"health_period_s": 10},
        "holders": kubernetes,
        "client": {"socket": str(folder / "agent.sock")},
    }


def _config(folder: Path, node: SimulatedNode) -> dict[str, object]:
    redfish = {
        "url": node.state()["host"]["redfish_url"], "user_file": str(folder / "node/redfish-user"), "insecure": True,
        "password_file": str(folder / "node/redfish-password"), "max_power_w": 12_000, "auth": "basic",
    }  # fmt: skip
    steering = {
        "mode": "enforce", "actuator": str(folder / "a.sock"), "auto_groups": True, "policy": "static",
        "options": {"static": {"clean_s": 1}}, "blocks": {"seconds": 2, "settle_s": 0.5, "every_s": 5},
    }  # fmt: skip
    return {
        "node": {"cluster": "cluster-0", "name": "gpu-0000"},
        "sampling": {"health_period_s": 10},
        "sources": {"node": {"redfish": redfish}},
        "holders": {"period_s": 1, "kubernetes": {"informer": "auto", "labels": FACTS}},
        "client": {"socket": str(folder / "agent.sock")},
        "dvfs": steering,
    }
