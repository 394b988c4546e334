"""Check that every GPU node has a ready agent, and name the reason where not.

`python -m wattlens.doctor.rollout NAMESPACE DAEMONSET` in a pod; `helm test` runs it. It waits for agents that are starting.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from energy_agent.owners.kubernetes.api_client import Api, ApiError

WAIT_S = 120.0
EMPTY_WAIT_S = 10.0
"""While there is no pod: a new DaemonSet has none until its controller has seen it."""
_PERIOD_S = 2.0
_NO_NODE = (
    "no matching node. Agents run on nodes that match agent.nodeSelectorTerms. To label a node: kubectl label node NODE "
    "nvidia.com/gpu.present=true"
)


def missing_agents(
    daemonset: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What keeps agents from being ready, one line each; empty where every node has one. Arguments are Kubernetes' objects."""
    status = daemonset.get("status", {})
    if status.get("observedGeneration") != daemonset["metadata"].get("generation"):
        return ["the DaemonSet controller has not seen this DaemonSet yet"]
    nodes, scheduled = status.get("desiredNumberScheduled", 0), status.get("currentNumberScheduled", 0)
    if nodes == 0:
        return [_NO_NODE]
    lines = []
    if scheduled < nodes:
        failures = [
            e for e in events if e.get("reason") == "FailedCreate" and e.get("involvedObject", {}).get("kind") == "DaemonSet"
        ]
        failures.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        reason = f": {failures[-1].get('message', '')}" if failures else ""
        lines.append(f"{nodes - scheduled} of {nodes} nodes have no pod{reason}")
    lines += [line for pod in pods if (line := _describe_pod(pod))]
    ready = status.get("numberReady", 0)
    return lines or ([f"ready on {ready} of {nodes} nodes"] if ready < nodes else [])


def _describe_pod(pod: Mapping[str, Any]) -> str:
    """Why a pod is not ready; "" if it is."""
    status = pod.get("status", {})
    conditions = {c.get("type"): c for c in status.get("conditions", [])}
    if conditions.get("Ready", {}).get("status") == "True":
        return ""
    reasons = []
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        state = {**container.get("lastState", {}), **container.get("state", {})}
        for kind in ("waiting", "terminated"):
            detail = state.get(kind, {})
            if detail.get("reason"):
                reasons.append(": ".join(filter(None, (container["name"], detail["reason"], detail.get("message", "")))))
    scheduled = conditions.get("PodScheduled", {})
    reasons += [scheduled.get("message", "")] if scheduled.get("status") == "False" else []
    where = pod.get("spec", {}).get("nodeName", "no node")
    return f"{where}: pod {pod['metadata']['name']} is not ready{': ' if reasons else ''}{'; '.join(reasons)}"


def _ask(api: Api, namespace: str, name: str) -> tuple[int, list[str]]:
    """Number of pods, and what is missing."""
    core = f"/api/v1/namespaces/{quote(namespace)}"
    daemonset = api.get(f"/apis/apps/v1/namespaces/{quote(namespace)}/daemonsets/{quote(name)}")
    labels = ",".join(f"{key}={value}" for key, value in daemonset["spec"]["selector"]["matchLabels"].items())
    pods = api.get(f"{core}/pods?{urlencode({'labelSelector': labels})}")["items"]
    events = api.get(f"{core}/events?{urlencode({'fieldSelector': f'involvedObject.name={name}'})}")["items"]
    return len(pods), missing_agents(daemonset, pods, events)


def main() -> int:
    """Print the result and return 0 when every node has a ready agent."""
    parser = argparse.ArgumentParser(description="Check that every GPU node has a ready agent.")
    parser.add_argument("namespace")
    parser.add_argument("daemonset")
    arguments = parser.parse_args()
    api = Api.in_cluster()
    if api is None:
        print("wattlens: not in a pod with a service account", file=sys.stderr)
        return 2
    start_s = time.monotonic()
    while True:
        try:
            pods, lines = _ask(api, arguments.namespace, arguments.daemonset)
        except ApiError as error:
            pods, lines = 0, [f"the API server: {error}"]
        waited_s = time.monotonic() - start_s
        if not lines or waited_s > (WAIT_S if pods else EMPTY_WAIT_S):
            break
        time.sleep(_PERIOD_S)
    for line in lines:
        print(f"{arguments.daemonset}: {line}", file=sys.stderr)
    if not lines:
        print(f"{arguments.daemonset}: {pods} of {pods} nodes have a ready agent")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
