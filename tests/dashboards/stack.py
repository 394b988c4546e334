"""All of Wattlens as processes on a simulated node, scraped by a real Prometheus and written on to VictoriaMetrics.

What is on the node: a training job on two GPUs, which is steered; a server of a model, which steering watches in shadow; a
notebook that forgot its GPU; a broken GPU that nobody holds; an A100 in MIG mode; an old board that supports less. Around it
meters of the node and of a building, one of which falls silent. All of it is known here by name, so that tests need not ask
Wattlens what should be there.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from energy_agent.sim import scenario
from energy_agent.sim.building import site
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.workloads.engine import ITL_BUCKETS, TTFT_BUCKETS
from tests.dashboards.bench import Target, scraping, started
from tests.energy_agent.agents import AgentProcess
from tests.support import free_port, need_program
from wattlens.companion_process import companion, metrics_url

CLUSTER, NODE, SITE, ZONE = "north", "gpu-node-1", "hall-1", "DE"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
TRAINING_GPUS, SERVING_GPU, FREE_GPU, NOTEBOOK_GPU, MIG_GPU, OLD_GPU = (0, 1), 2, 3, 4, 5, 6
GPUS = 7
WINDOW_S = 8
"""What the rules' five minutes are here, so that a test need not wait for them."""
SLOTS = 3  # MIG instances
PODS = {"research/train-0": "train", "serving/chat-0": "chat"}
_SCENARIO = """
boards:
  - {{count: 5, sku: H100-SXM5-80GB}}
  - {{count: 1, sku: A100-PCIE-40GB}}
  - {{count: 1, sku: V100-SXM2-16GB}}
seed: 5
host: {{}}
facility:
  cooling_lag_s: 5
  it_scale: 1
  other_it_w: 2000
  pv_peak_w: 1000
  reused_heat_ratio: 0.2
  faults: [{{at_s: 20, meter: heat, kind: offline}}]
workloads:
  - {{name: train, kind: training, gpus: [0, 1], cgroup: kubepods, step_s: 0.25, memory_boundness: 0.9, host_every_steps: 10,
     host_s: 0.2, checkpoint_every_s: 4, checkpoint_s: 0.6, agent_socket: {socket}}}
  - {{name: chat, kind: serving, gpus: [2], cgroup: kubepods, model: {model}, rate_per_s: 6, metrics_port: {port},
     prefix_cached_ratio: 0.3}}
  - {{name: notebook, kind: notebook, gpus: [4], every_s: 5}}
  - {{name: slice, kind: burst, gpus: [5], cgroup: docker, memory_gb: 2}}
  - {{name: old, kind: burst, gpus: [6], cgroup: docker, memory_gb: 2}}
faults:
  - {{at_s: 0, gpu: 5, kind: mig, value: {slots}}}
  - {{at_s: 0, gpu: 3, kind: pcie_width, value: 8}}
  - {{at_s: 0, gpu: 3, kind: nvlink_down, value: 2}}
  - {{at_s: 0, gpu: 3, kind: recovery_action, value: 1}}
  - {{at_s: 0, gpu: 3, kind: row_remap_failure}}
  - {{at_s: 0, gpu: 3, kind: ecc_uncorrected}}
  - {{at_s: 0, gpu: 6, kind: ecc_uncorrected}}
  - {{at_s: 0, gpu: 3, kind: no_permission, call: nvmlDeviceGetBAR1MemoryInfo}}
  - {{at_s: 25, gpu: 3, kind: xid, value: 94}}
kubelet:
  api_server: true
  pods:
    - name: train-0
      namespace: research
      workload: train
      labels: {{team: nlp, project: llm}}
      owner: {{kind: Job, name: train}}
    - name: chat-0
      namespace: serving
      workload: chat
      labels: {{team: assistants, precision: bf16}}
      annotations: {{wattlens.io/metrics-port: "{port}"}}
      owner: {{kind: StatefulSet, name: chat, api_version: apps/v1}}
"""


@dataclass
class Stack:
    """Addresses and processes of the stack. Tests may kill and restart `agent`; `node` accepts faults.

    Args:
        prometheus, victoria: addresses; `victoria` is "" if VictoriaMetrics was not requested.
    """

    folder: Path
    node: SimulatedNode
    agent: AgentProcess
    site_url: str
    prometheus: str
    victoria: str = ""
    targets: list[Target] = field(default_factory=list)


@contextmanager
def running(folder: Path, *, victoria: bool = False, blocks: bool = True) -> Iterator[Stack]:
    """Start the stack in `folder`, an empty folder with a short path; every process responds, but nothing is warm yet.

    Args:
        victoria: run VictoriaMetrics in addition to Prometheus, which feeds it by remote_write.
        blocks: prove the saving of the steered job: six consecutive pairs, and their analysis after a minute.
    """
    with ExitStack() as open_:
        node = open_.enter_context(_node(folder))
        _write_config(node, folder, blocks)
        open_.enter_context(_actuator(node, folder))
        site_url = open_.enter_context(_site(node, folder))
        agent = open_.enter_context(AgentProcess(folder / "state", node.directory, "--config", folder / "agent.yaml"))
        targets = [
            Target("wattlens", agent.port, (("instance", NODE), ("cluster", CLUSTER), ("site", SITE))),
            Target("wattlens-site", int(site_url.rpartition(":")[2]), (("instance", SITE), ("cluster", CLUSTER))),
        ]
        store = open_.enter_context(_victoria(folder)) if victoria else ""
        home = folder / "prometheus"
        home.mkdir()
        writes_to = store and f"{store}/api/v1/write"
        prometheus = open_.enter_context(scraping(home, targets, window_s=WINDOW_S, write_to=writes_to, alerts=True))
        yield Stack(folder, node, agent, site_url, prometheus, store, targets)


@contextmanager
def _node(folder: Path) -> Iterator[SimulatedNode]:
    text = _SCENARIO.format(socket=folder / "agent.sock", model=MODEL, port=free_port(), slots=SLOTS)
    with SimulatedNode.start(scenario.parse(text.encode(), "stack"), folder / "node", companion=True) as node:
        yield node


def _write_config(node: SimulatedNode, folder: Path, blocks: bool) -> None:
    here = node.directory
    redfish = {
        "url": node.state()["host"]["redfish_url"], "user_file": str(here / "redfish-user"),
        "password_file": str(here / "redfish-password"), "period_s": 1,
    }  # fmt: skip
    steering = {
        "mode": "enforce", "policy": "static", "options": {"static": {"clean_s": 1}}, "actuator": str(folder / "a.sock"),
        "auto_groups": True, "namespaces": {"serving": {"mode": "shadow", "slo": {"ttft_ms": 500, "itl_ms": 50}}},
    }  # fmt: skip
    if blocks:
        steering["blocks"] = {"pairs": 6, "seconds": 5, "settle_s": 2, "seed": 1}
    config = {
        "node": {"cluster": CLUSTER, "name": NODE},
        "sampling": {"health_period_s": 10},
        "sources": {"nvml": {"gpm": True}, "node": {"rapl": {"period_s": 1}, "redfish": redfish}},
        "holders": {
            "period_s": 1,
            "kubernetes": {"informer": "auto", "labels": {k: k for k in ("team", "project", "precision")}},
        },
        "client": {"socket": str(folder / "agent.sock")},
        "dvfs": steering,
    }
    (folder / "agent.yaml").write_text(json.dumps(config))
    allow = {"devices": list(TRAINING_GPUS), "knobs": ["clock"], "baseline": "unlocked"}
    (folder / "actuator.yaml").write_text(json.dumps({"allow": [allow]}))


@contextmanager
def _actuator(node: SimulatedNode, folder: Path) -> Iterator[None]:
    places = ["--socket", folder / "a.sock", "--state", folder / "actuator", "--simulate", node.directory]
    command = ["actuator", "--config", folder / "actuator.yaml", *places]
    with companion(command, folder / "actuator.log", (folder / "a.sock").exists, "the actuator did not start"):
        yield


@contextmanager
def _site(node: SimulatedNode, folder: Path) -> Iterator[str]:
    """`wattlens site` on the building's meters; its address without a path."""
    config = site.site_config(node, name=SITE, period_s=1)
    config |= {"grid": {"zone": ZONE, "country": "DEU", "boundary": "life-cycle"}, "web": {"listen": "127.0.0.1:0"}}
    config["site"]["cluster"] = CLUSTER
    (folder / "site.yaml").write_text(json.dumps(config))
    log = folder / "site.log"

    command = ["site", "--config", folder / "site.yaml", "--state", folder / "site", "--simulate", node.directory]
    with companion(command, log, lambda: metrics_url(log), "the site did not start"):
        yield metrics_url(log).removesuffix("/metrics")


@contextmanager
def _victoria(folder: Path) -> Iterator[str]:
    """A VictoriaMetrics that shows samples at once."""
    url, home = f"http://127.0.0.1:{free_port()}", folder / "victoria"
    home.mkdir()
    command = [need_program("victoria-metrics"), f"-storageDataPath={home / 'data'}", "-retentionPeriod=1d",
               f"-httpListenAddr={url.removeprefix('http://')}", "-search.latencyOffset=0s", "-loggerLevel=ERROR"]  # fmt: skip
    with started(command, home, f"{url}/health"):
        yield url


def choices(stack: Stack, uid: str) -> dict[str, set[str]]:
    """What the variables of a dashboard offer, by what was started here and not by what Wattlens says."""
    cgroups = {each["name"]: str(each["cgroup"]) for each in stack.node.workloads()}
    train, chat = (f"{pod}.{cgroups[name].partition('-pod')[2][:8]}" for pod, name in PODS.items())
    sliced, old = (f"container-{cgroups[name].rpartition('docker-')[2][:12]}" for name in ("slice", "old"))
    of_kind = {"wattlens-inference": {chat}, "wattlens-training": {train}}
    processes = uid in ("wattlens-fleet", "wattlens-stack")  # about sites as well as nodes
    return {
        "cluster": {CLUSTER},
        "job": {"wattlens"} | ({"wattlens-site"} if processes else set()),
        "instance": {NODE} | ({SITE} if processes else set()),
        "gpu": set(map(str, range(GPUS))),
        "workload": of_kind.get(uid, {train, chat, sliced, old, "notebook"}),
        "group": {train, chat, old, "notebook"},  # a GPU in MIG mode is not steered
        "model": {MODEL},
        "ttft_slo": set(map(str, TTFT_BUCKETS)),
        "itl_slo": set(map(str, ITL_BUCKETS)),
        "site": {SITE},
        "zone": {ZONE},
    }
