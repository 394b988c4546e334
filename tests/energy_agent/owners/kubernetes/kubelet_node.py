"""Simulated nodes with a kubelet, and what an agent says of their workloads."""

from energy_agent.sim import scenario
from energy_agent.sim.cluster.model import Pod
from energy_agent.sim.cluster.pods import PodNow
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode

BARE = "boards: [{count: 2, sku: H100-SXM5-80GB}]"


def started(text, folder):
    return SimulatedNode.start(scenario.parse(text.encode(), "test"), folder)


def by_workload(agent, metric="wattlens_workload_energy_joules_total"):
    sums = {}
    for labels, value in agent.series(metric).items():
        sums[dict(labels)["workload"]] = sums.get(dict(labels)["workload"], 0) + value
    return sums


def node_uuid(node, gpu):
    plant = Plant.attach(node.directory / "plant")
    try:
        return plant.uuid(gpu)
    finally:
        plant.close()


def make_pod(node, name, gpu):
    return PodNow(Pod(name=name, namespace="ci"), f"uid-{name}", "Running", (node_uuid(node, gpu),), True)
