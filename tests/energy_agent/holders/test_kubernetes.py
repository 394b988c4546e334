"""The real agent on a simulated node of Kubernetes: a real kubelet API over its socket, real processes, real ends of pods."""

import pytest

from energy_agent.sim.kubelet import Kubelet
from tests.energy_agent.agents import AgentProcess
from tests.energy_agent.holders.kubelet_node import BARE, by_workload, given, node_uuid, started
from tests.support import eventually

pytestmark = pytest.mark.timeout(180)

pytest.importorskip("grpc")

SCENARIO = """
boards: [{count: 4, sku: H100-SXM5-80GB}]
seed: 5
workloads:
  - {name: train, kind: burst, gpus: [0], cgroup: kubepods, on_s: 3.0, off_s: 0.2}
  - {name: infer-a, kind: burst, gpus: [1], cgroup: kubepods, on_s: 2.0, off_s: 0.1, memory_gb: 10}
  - {name: infer-b, kind: burst, gpus: [1], cgroup: kubepods, on_s: 2.0, off_s: 0.1, memory_gb: 10, start_s: 25}
kubelet:
  other_pods: 500
  pods:
    - {name: train-0, namespace: ml, workload: train}
    - {name: infer-a, namespace: web, workload: infer-a, replica: 0}
    - {name: infer-b, namespace: web, workload: infer-b, replica: 3, lead_s: 4}
    - {name: forgotten, namespace: lab, gpus: [2]}
"""


def info(agent):
    return {dict(labels)["workload"]: dict(labels) for labels in agent.series("wattlens_workload_info")}


def test_pods_are_named_share_by_claim_and_hold_without_a_process(tmp_path):
    with started(SCENARIO, tmp_path / "node") as node, AgentProcess(tmp_path / "state", node.directory) as agent:
        eventually(lambda: sum(j for w, j in by_workload(agent).items() if w.startswith("web/infer-b.")) > 300, seconds=70)
        facts, energy = info(agent), by_workload(agent)
        pods = {fact["pod"]: workload for workload, fact in facts.items()}
        uids = {w["name"]: w["cgroup"].partition("-pod")[2][:8] for w in node.workloads() if w["pid"]}
        assert pods.pop("train-0") == f"ml/train-0.{uids['train']}"  # its process was there before its first joule
        forgotten = next((node.directory / "pod-logs").glob("lab_forgotten_*")).name.rpartition("_")[2][:8]
        assert pods == {
            "infer-a": f"web/infer-a.{uids['infer-a']}",
            "infer-b": f"web/infer-b.{uids['infer-b']}",
            "forgotten": f"lab/forgotten.{forgotten}",
        }
        assert energy[pods["infer-b"]] < energy[pods["infer-a"]]
        # A device's energy is booked once, whoever shares it.
        total = sum(agent.series("wattlens_gpu_energy_joules_total").values())
        unheld = sum(agent.series("wattlens_gpu_idle_energy_joules_total").values())
        unattributed = sum(agent.series("wattlens_gpu_unattributed_energy_joules_total").values())
        assert sum(energy.values()) + unheld + unattributed == pytest.approx(total, rel=0.05)
        free = node_uuid(node, 3)
        (idle,) = [v for labels, v in agent.series("wattlens_gpu_idle_energy_joules_total").items() if ("uuid", free) in labels]
        assert idle > 0, "GPU 3 is nobody's"


def unheld(agent):
    return sum(agent.series("wattlens_gpu_idle_energy_joules_total").values())


def test_a_short_pod_stays_in_its_namespace_and_an_ended_one_takes_no_more(tmp_path):
    with started(BARE, tmp_path / "node") as node:
        kubelet = Kubelet(node.directory)
        with AgentProcess(tmp_path / "state", node.directory) as agent:
            kubelet.show([given(node, "quick", 0), given(node, "ended", 1)])
            eventually(lambda: min(by_workload(agent).get(f"ci/{n}", 0) for n in ("quick", "ended")) > 0, seconds=30)
            kubelet.show([])
            begin_j = unheld(agent)
            eventually(lambda: unheld(agent) > begin_j + 300, seconds=30)
            first = by_workload(agent)
            eventually(lambda: unheld(agent) > begin_j + 900, seconds=30)
            assert by_workload(agent) == first, "both pods have ended"
            spaces = agent.series("wattlens_namespace_energy_joules_total")
            assert spaces == {(("namespace", "ci"),): pytest.approx(sum(first.values()))}
        kubelet.stop()


INFORMED = """
boards: [{count: 3, sku: H100-SXM5-80GB}]
seed: 9
workloads:
  - {name: worker, kind: burst, gpus: [0], cgroup: kubepods, on_s: 3.0, off_s: 0.2}
kubelet:
  api_server: true
  pods:
    - name: llm-w-0-0-x7x9d
      namespace: ml
      workload: worker
      labels: {jobset.sigs.k8s.io/jobset-name: llm, team: nlp}
      owner: {kind: Job, name: llm-w-0}
    - {name: old, namespace: ml, gpus: [1], end_s: 0, lingers_s: 10000, labels: {jobset.sigs.k8s.io/jobset-name: llm}}
    - {name: odd, namespace: ml, gpus: [2], given: dra}
"""
CONFIG = """
holders:
  period_s: 2
  kubernetes: {informer: auto, labels: {team: team}}
"""


def test_the_informer_names_owners_and_a_pod_that_ended_takes_no_more_though_it_is_listed(tmp_path):
    (tmp_path / "agent.yaml").write_text(CONFIG)
    with (
        started(INFORMED, tmp_path / "node") as node,
        AgentProcess(tmp_path / "state", node.directory, "--config", tmp_path / "agent.yaml") as agent,
    ):
        uid = node.workload("worker")["cgroup"].partition("-pod")[2][:8]
        name = f"ml/llm-w-0-0-x7x9d.{uid}"
        eventually(lambda: by_workload(agent).get(name, 0) > 500, seconds=25)
        assert {k: info(agent)[name][k] for k in ("owner", "group", "team", "namespace")} == {
            "owner": "JobSet/llm", "group": "JobSet/llm", "team": "nlp", "namespace": "ml",
        }  # fmt: skip
        assert set(by_workload(agent)) == {name}, "the pod that has ended is listed still, and holds nothing"
        owners = {
            (dict(labels)["namespace"], dict(labels)["owner"]): value
            for labels, value in agent.series("wattlens_owner_energy_joules_total").items()
        }
        assert list(owners) == [("ml", "JobSet/llm")]
        assert owners["ml", "JobSet/llm"] >= by_workload(agent)[name] * 0.9
        # A device that was given away and is not known: named, and a GPU that looks free may be it.
        down = {dict(labels).get("device"): dict(labels)["reason"] for labels in agent.series("wattlens_source_down_info")}
        assert down == {"gpu.nvidia.com/node/gpu-0": "unknown device, given to ml/odd"}
        unheld = agent.series("wattlens_gpu_idle_energy_joules_total")
        assert sum(unheld.values()) == 0


LISTED = """
boards: [{count: 1, sku: H100-SXM5-80GB}]
seed: 11
workloads:
  - {name: batch, kind: burst, gpus: [0], cgroup: kubepods, on_s: 3.0, off_s: 0.2, end_s: 14}
kubelet:
  pods:
    - {name: batch-0, namespace: ml, workload: batch, lingers_s: 10000}
"""


def test_a_pod_that_ended_takes_no_more_though_the_kubelet_lists_it_and_nobody_tells(tmp_path):
    (tmp_path / "agent.yaml").write_text("holders: {period_s: 1}\n")
    with (
        started(LISTED, tmp_path / "node") as node,
        AgentProcess(tmp_path / "state", node.directory, "--config", tmp_path / "agent.yaml") as agent,
    ):
        name = f"ml/batch-0.{node.workload('batch')['cgroup'].partition('-pod')[2][:8]}"
        eventually(lambda: by_workload(agent).get(name, 0) > 300, seconds=20)
        eventually(lambda: node.workload("batch")["phase"] == "ended", seconds=30)
        eventually(lambda: sum(agent.series("wattlens_gpu_idle_energy_joules_total").values()) > 200, seconds=20)
        assert set(by_workload(agent)) == {name}
