"""The real agent on a simulated node of Kubernetes: a real kubelet API over its socket, real processes, real ends of pods."""

import json
import subprocess
import sys
from contextlib import ExitStack

import pytest

from energy_agent.sim import roots
from energy_agent.sim.cluster.kubelet import Kubelet
from tests.energy_agent.agents import AgentProcess
from tests.energy_agent.owners.kubernetes.kubelet_node import BARE, by_workload, make_pod, node_uuid, started
from tests.support import eventually

pytestmark = pytest.mark.timeout(360)

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


@pytest.mark.smoke
def test_pods_are_named_share_by_claim_and_hold_without_a_process(tmp_path):
    with started(SCENARIO, tmp_path / "node") as node, AgentProcess(tmp_path / "state", node.directory) as agent:
        eventually(lambda: sum(j for w, j in by_workload(agent).items() if w.startswith("web/infer-b.")) > 300, seconds=120)
        facts, page = info(agent), agent.counters()
        energy = joules(page, "wattlens_workload_energy_joules_total", "workload")
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
        # A device's energy is recorded once, however many pods share it.
        parts = ("workload_energy", "gpu_unallocated_energy", "gpu_unattributed_energy")
        total = sum(joules(page, "wattlens_gpu_energy_joules_total", "uuid").values())
        in_parts = sum(sum(joules(page, f"wattlens_{part}_joules_total", "uuid").values()) for part in parts)
        assert in_parts == pytest.approx(total, rel=0.05)
        assert joules(page, "wattlens_gpu_unallocated_energy_joules_total", "uuid")[node_uuid(node, 3)] > 0, "GPU 3 is nobody's"


def joules(page, name, label):
    """Sums of a metric of one page, by the value of a label."""
    sums = {}
    for (metric, labels), value in page.items():
        if metric == name:
            sums[dict(labels)[label]] = sums.get(dict(labels)[label], 0) + value
    return sums


def unallocated(agent):
    return sum(agent.series("wattlens_gpu_unallocated_energy_joules_total").values())


@pytest.mark.smoke
def test_a_short_pod_stays_in_its_namespace_and_an_ended_one_takes_no_more(tmp_path):
    with started(BARE, tmp_path / "node") as node:
        kubelet = Kubelet(node.directory)
        with AgentProcess(tmp_path / "state", node.directory) as agent:
            kubelet.show([make_pod(node, "quick", 0), make_pod(node, "ended", 1)])
            eventually(lambda: min(by_workload(agent).get(f"ci/{n}", 0) for n in ("quick", "ended")) > 0)
            kubelet.show([])
            begin_j = unallocated(agent)
            eventually(lambda: unallocated(agent) > begin_j + 300)
            first = by_workload(agent)
            eventually(lambda: unallocated(agent) > begin_j + 900)
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
        eventually(lambda: by_workload(agent).get(name, 0) > 500)
        assert {k: info(agent)[name][k] for k in ("owner", "group", "team", "namespace")} == {
            "owner": "JobSet/llm", "group": "JobSet/llm", "team": "nlp", "namespace": "ml",
        }  # fmt: skip
        assert set(by_workload(agent)) == {name}, "the pod that has ended is listed still, and holds nothing"
        page = agent.counters()
        owners = joules(page, "wattlens_owner_energy_joules_total", "owner")
        assert list(owners) == ["JobSet/llm"]
        assert list(joules(page, "wattlens_owner_energy_joules_total", "namespace")) == ["ml"]
        assert owners["JobSet/llm"] >= joules(page, "wattlens_workload_energy_joules_total", "workload")[name] * 0.9

        def down():
            series = agent.series("wattlens_source_down_info")
            return {dict(labels).get("device"): dict(labels)["reason"] for labels in series}

        # A device that was given away and is not known: named, and a GPU that looks free may be it.
        eventually(lambda: down() == {"gpu.nvidia.com/node/gpu-0": "unknown device, assigned to ml/odd"})
        unallocated = agent.series("wattlens_gpu_unallocated_energy_joules_total")
        assert sum(unallocated.values()) == 0


LISTED = """
boards: [{count: 1, sku: H100-SXM5-80GB}]
seed: 11
workloads:
  - {name: batch, kind: burst, gpus: [0], cgroup: kubepods, on_s: 3.0, off_s: 0.2, end_s: 30}
kubelet:
  pods:
    - {name: batch-0, namespace: ml, workload: batch, lingers_s: 10000}
"""


@pytest.mark.smoke
def test_ended_pod_gets_no_more_energy_without_an_informer(tmp_path):
    (tmp_path / "agent.yaml").write_text("holders: {period_s: 1}\n")
    with (
        started(LISTED, tmp_path / "node") as node,
        AgentProcess(tmp_path / "state", node.directory, "--config", tmp_path / "agent.yaml") as agent,
    ):
        name = f"ml/batch-0.{node.workload('batch')['cgroup'].partition('-pod')[2][:8]}"
        eventually(lambda: by_workload(agent).get(name, 0) > 300)
        eventually(lambda: node.workload("batch")["phase"] == "ended")
        eventually(lambda: sum(agent.series("wattlens_gpu_unallocated_energy_joules_total").values()) > 200)
        assert set(by_workload(agent)) == {name}


STRANGER = """
import json, socket, sys
for _ in sys.stdin:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(sys.argv[1])
        client.sendall(b"GET /v1/me HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n\\r\\n")
        print(b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\\r\\n\\r\\n")[2].decode().strip(), flush=True)
"""
IDLE = """
boards: [{count: 2, sku: H100-SXM5-80GB}]
kubelet: {pods: [{name: notebook, namespace: victim, gpus: [0]}, {name: own, namespace: other, gpus: [1]}]}
"""


@pytest.mark.parametrize("logs", [pytest.param(True, marks=pytest.mark.smoke), False], ids=["uids known", "uids not known"])
def test_a_stranger_on_the_idle_gpu_of_a_pod_gets_neither_its_name_nor_its_figures(tmp_path, logs):
    """A container reaches every GPU by NVIDIA_VISIBLE_DEVICES=all, whatever its pod was given."""
    uid, socket_path = "99998888-0000-4000-8000-000000000002", tmp_path / "s"
    (tmp_path / "agent.yaml").write_text(f"holders: {{period_s: 1}}\nclient: {{socket: {socket_path}}}\n")
    with ExitStack() as stack:
        node = stack.enter_context(started(IDLE, tmp_path / "node"))
        if not logs:
            (node.directory / "pod-logs").chmod(0o777)
        plant = stack.enter_context(node.plant())
        agent = stack.enter_context(AgentProcess(tmp_path / "state", node.directory, "--config", tmp_path / "agent.yaml"))
        command = [sys.executable, "-I", "-c", STRANGER, str(socket_path)]
        stranger = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        roots.add_process(node.directory, stranger.pid, f"/kubepods/besteffort/pod{uid}/{'a' * 64}")

        def me():
            stranger.stdin.write("\n")
            stranger.stdin.flush()
            reply = json.loads(stranger.stdout.readline())
            return reply["workload"], {device["gpu"] for device in reply["devices"]}

        victim = "victim/notebook"
        eventually(lambda: any(w.startswith(victim) and j > 100 for w, j in by_workload(agent).items()))
        assert me() == (f"pod-{uid}", set())
        before_j = by_namespace(agent)
        for gpu in (0, 1):
            slot = plant.attach_process(gpu, stranger.pid, memory_b=1 << 30)
            eventually(lambda gpu=gpu: gpu in me()[1])
            plant.detach_process(gpu, slot)
        assert me() == (f"pod-{uid}", {0, 1})
        eventually(lambda: by_workload(agent).get(f"pod-{uid}", 0) > 0)
        after_j = by_namespace(agent)
        assert all(after_j[namespace] >= joules > 0 for namespace, joules in before_j.items())
        assert set(after_j) == {"victim", "other"}
        stranger.stdin.close()


def by_namespace(agent):
    return {dict(labels)["namespace"]: j for labels, j in agent.series("wattlens_namespace_energy_joules_total").items()}
