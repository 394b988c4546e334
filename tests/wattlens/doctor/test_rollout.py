"""Why a GPU node has no ready agent, from what the API server returns. A real one is in tests/peers/test_kubernetes.py."""

from typing import Any

from wattlens.doctor.rollout import missing_agents


def daemonset(nodes: int, scheduled: int, ready: int, observed_generation: int = 1) -> dict[str, Any]:
    status = {"desiredNumberScheduled": nodes, "currentNumberScheduled": scheduled, "numberReady": ready}
    status["observedGeneration"] = observed_generation
    return {"metadata": {"name": "agents", "generation": 1}, "status": status}


def pod(name: str, ready: bool, *containers: dict[str, Any]) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"conditions": conditions, "containerStatuses": list(containers)}
    return {"metadata": {"name": name}, "spec": {"nodeName": f"node-{name}"}, "status": status}


def test_every_node_has_a_ready_agent() -> None:
    assert missing_agents(daemonset(2, 2, 2), [pod("a", True), pod("b", True)], []) == []


def test_each_reason_is_one_line() -> None:
    running = {"name": "agent", "state": {"running": {}}}
    waiting, terminated = {"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"reason": "OOMKilled"}}
    killed = running | {"state": waiting, "lastState": terminated}
    refused = {"reason": "FailedCreate", "involvedObject": {"kind": "DaemonSet"}, "message": 'RuntimeClass "nvidia" not found'}
    unplaced = pod("c", False)
    unplaced["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "Insufficient memory"}]
    for words, reasons in (
        (["no matching node", "kubectl label node"], missing_agents(daemonset(0, 0, 0), [], [])),
        (["has not seen"], missing_agents(daemonset(0, 0, 0, observed_generation=0), [], [])),
        (["2 of 3 nodes have no pod", "RuntimeClass"], missing_agents(daemonset(3, 1, 1), [pod("a", True)], [refused])),
        (["node-b", "CrashLoopBackOff", "OOMKilled"], missing_agents(daemonset(1, 1, 0), [pod("b", False, killed)], [])),
        (["Insufficient memory"], missing_agents(daemonset(1, 1, 0), [unplaced], [])),
        (["node-d"], missing_agents(daemonset(1, 1, 0), [pod("d", False, running)], [])),
        (["0 of 1"], missing_agents(daemonset(1, 1, 0), [], [])),
    ):
        (line,) = reasons
        assert all(word in line for word in words), line
