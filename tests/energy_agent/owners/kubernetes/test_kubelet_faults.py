"""The real agent with a kubelet whose responses hang, fail or are garbage."""

import pytest

from energy_agent.sim.cluster.kubelet import Kubelet
from tests.energy_agent.agents import AgentProcess
from tests.energy_agent.owners.kubernetes.kubelet_node import BARE, by_workload, make_pod, started
from tests.support import eventually

pytestmark = pytest.mark.timeout(360)

pytest.importorskip("grpc")


@pytest.mark.smoke
def test_a_kubelet_that_misbehaves_is_named_and_its_last_answer_counts(tmp_path):
    with started(BARE, tmp_path / "node") as node:
        kubelet = Kubelet(node.directory)
        kubelet.show([make_pod(node, "notebook", 1)])
        with AgentProcess(tmp_path / "state", node.directory) as agent:
            eventually(lambda: by_workload(agent).get("ci/notebook", 0) > 0)
            key = (("source", "holders:pod_resources"),)
            for times, fault in enumerate(("hang", "error", "garbage"), 1):
                (node.directory / "kubelet-fault").write_text(fault)
                eventually(lambda: agent.series("wattlens_source_up").get(key) == 0)
                before = by_workload(agent)["ci/notebook"]
                eventually(lambda before=before: by_workload(agent)["ci/notebook"] > before)
                assert "\x1b" not in agent.page()
                (node.directory / "kubelet-fault").unlink()
                eventually(lambda: agent.series("wattlens_source_up").get(key) == 1)
                assert agent.log.count("the kubelet's PodResources: ") == 1 + 2 * times, "there; gone and back, once each"
                assert agent.log.count("the kubelet's PodResources: ok") == 1 + times
            assert "\x1b" not in agent.log
        kubelet.stop()
