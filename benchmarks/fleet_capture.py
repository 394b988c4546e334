"""The `/metrics` response that a fleet's responses are generated from: a real agent on a simulated node with every kind of
series, and a real site.

Eight H100 in a Kubernetes node with a meter of the whole of it: a training job on three that DVFS steers and proves, two
inference servers on three, a notebook with a forgotten GPU, and one unallocated GPU. The site process reads the meters of the
surrounding building. Two responses of each, some seconds apart, show every series and its rate.
"""

import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.running import AgentProcess, running_agent, running_role, url_in
from energy_agent.core.errors import UsageError
from energy_agent.sim import scenario
from energy_agent.sim.building.site import site_config
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port

GPUS = 8
FACTS = {fact: f"wattlens.io/{fact}" for fact in ("team", "project", "model", "precision", "group", "class")}
TRAIN, CHAT, SMALL, NOTEBOOK = "train-0", "chat-0", "assist-0", "notebook-ana"
BOTH = ("train", "chat")
"""Workloads of a node as it is installed: no labels of owners, no meter of the whole node, no DVFS."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A `/metrics` response of the agent or of the site process, and its time, UTC s."""

    text: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Capture:
    """Two responses of each, the earlier one first."""

    node: tuple[Shot, Shot]
    site: tuple[Shot, Shot]


def take(warm_s: float = 120.0, apart_s: float = 30.0) -> Capture:
    """Run the node and its agent for as long."""
    with tempfile.TemporaryDirectory(prefix="wattlens-fleet-") as name, running(Path(name)) as (agent, site):
        time.sleep(warm_s)
        first = page(agent.url), page(site)
        time.sleep(apart_s)
        second = page(agent.url), page(site)
        return Capture((first[0], second[0]), (first[1], second[1]))


def pages(path: Path | None) -> Capture:
    """The responses stored in a file; captured and stored first if it does not exist."""
    if path is None or not path.exists():
        capture = take()
        if path is not None:
            save(capture, path)
        return capture
    try:
        shots = json.loads(path.read_text())
        node, site = (tuple(Shot(*each) for each in shots[name]) for name in ("node", "site"))
        return Capture((node[0], node[1]), (site[0], site[1]))
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise UsageError(f"{path} holds no captured pages: {error}") from None


def save(capture: Capture, path: Path) -> None:
    """Keep a capture for another run."""
    path.write_text(json.dumps({name: [[s.text, s.at_s] for s in getattr(capture, name)] for name in ("node", "site")}))


@contextmanager
def running(folder: Path, *, as_installed: bool = False) -> Iterator[tuple[AgentProcess, str]]:
    """The agent, and the address of the site's metrics endpoint; `as_installed`: the node has only the workloads of BOTH."""
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
        site_yaml = site_config(node, name="site-0") | {"grid": {"zone": "DE", "country": "DEU"}}
        (folder / "site.yaml").write_text(json.dumps(site_yaml))
        _, log = stack.enter_context(running_role("site", folder, "--listen", "127.0.0.1:0"))
        agent = stack.enter_context(running_agent(node, folder / "agent", agent_config(folder, node)))
        site = url_in(log)
        for url in (agent.url, site):
            eventually(lambda url=url: page(url).text, every=0.2)  # type: ignore[misc]
        yield agent, site


def show(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Change `web.metrics` of the agent that runs there; it reloads its configuration by itself."""
    path = folder / "agent.yaml"
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({**json.loads(path.read_text()), "web": {"metrics": dict(metrics)}}))
    draft.replace(path)


def page(url: str) -> Shot:
    """The current response; empty while the endpoint has none."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return Shot(answer.read().decode(), time.time())
    except urllib.error.HTTPError:
        return Shot("", time.time())


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
    return {"boards": gpu_specs, "seed": 11, "workloads": workloads, "kubelet": kubelet, "host": {}, "facility": {}}


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
