"""Pods whose annotations name their metrics endpoints, in addition to configured endpoints: the status of both."""

from pathlib import Path

from energy_agent.config.tokens import TokenSource
from energy_agent.node.inference_pods import ServingPods
from energy_agent.owners.kubernetes.api_client import Api
from energy_agent.owners.kubernetes.informer import PodInformer
from energy_agent.owners.resolver import OwnerResolver
from energy_agent.runtime.clock import clock_for
from energy_agent.sim.cluster.api_server import ApiServer
from energy_agent.sim.cluster.model import Pod
from energy_agent.sim.cluster.pods import PodNow
from energy_agent.tokens.discovery import PORT, SERVER
from energy_agent.tokens.poller import TokenPoller
from tests.energy_agent.owners.kubernetes.test_device_ids import A
from tests.energy_agent.owners.test_resolver import Said, claim, on
from tests.support import eventually

UID = "1a2b3c4d-0000-4000-8000-000000000001"
CHAT = f"ml/chat.{UID[:8]}"


def test_refused_annotation_and_its_configured_entries_are_distinguished(tmp_path: Path) -> None:
    server = ApiServer(tmp_path, "n1")
    annotations = {PORT: "8000", SERVER: "vlmm"}
    server.show(
        [PodNow(Pod(name="chat", namespace="ml", address="10.1.2.3", annotations=annotations), UID, "Running", (), True)]
    )
    informer = PodInformer(Api.simulated(tmp_path), "n1", clock_for({}), {})
    informer.start(60)
    poller, pods, source = TokenPoller(clock_for({})), ServingPods(), Said()
    try:
        eventually(lambda: informer.serving())
        joined = OwnerResolver((source,), 0, informer)
        source.say(1, claim(A, "chat", UID))
        joined.look(1)
        joined.owners(A, on(), 1)
        poller.configure([
            TokenSource(workload=CHAT, url="http://127.0.0.1:1/metrics"),
            TokenSource(workload="two", url="http://127.0.0.1:1/metrics", ports=(2,)),
        ])  # fmt: skip
        pods.follow(joined, poller, simulated=True)
        row_sources = [row.source for row in (*poller.health(), *pods.health())]
        assert sorted(row_sources) == [
            f"annotations:{CHAT}", f"tokens:{CHAT}",
            "tokens:two http://127.0.0.1:1/metrics", "tokens:two http://127.0.0.1:2/metrics",
        ]  # fmt: skip
    finally:
        poller.stop()
        informer.stop()
        server.stop()
