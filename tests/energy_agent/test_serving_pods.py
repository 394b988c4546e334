"""Pods that say where their page is, beside the configuration's entries: what is said of both."""

from pathlib import Path

from energy_agent.clock import clock_for
from energy_agent.config_tokens import TokenSource
from energy_agent.holders.joined import JoinedHolders
from energy_agent.holders.kube_api import Api
from energy_agent.holders.pod_facts import PodInformer
from energy_agent.serving_pods import ServingPods
from energy_agent.sim.kube_api_server import ApiServer
from energy_agent.sim.kubelet_model import Pod
from energy_agent.sim.kubelet_pods import PodNow
from energy_agent.sources.tokens._discovery import PORT, SERVER
from energy_agent.token_poller import TokenPoller
from tests.energy_agent.holders.test_device_ids import A
from tests.energy_agent.holders.test_joined import Said, claim, on
from tests.support import eventually

UID = "1a2b3c4d-0000-4000-8000-000000000001"
CHAT = f"ml/chat.{UID[:8]}"


def test_a_refused_annotation_and_the_entries_of_its_workload_are_told_apart(tmp_path: Path) -> None:
    server = ApiServer(tmp_path, "n1")
    said = {PORT: "8000", SERVER: "vlmm"}
    server.show([PodNow(Pod(name="chat", namespace="ml", address="10.1.2.3", annotations=said), UID, "Running", (), True)])
    informer = PodInformer(Api.simulated(tmp_path), "n1", clock_for({}), {})
    informer.start(10)
    poller, pods, source = TokenPoller(clock_for({})), ServingPods(), Said()
    try:
        eventually(lambda: informer.serving())
        joined = JoinedHolders((source,), 0, informer)
        source.say(1, claim(A, "chat", UID))
        joined.look(1)
        joined.holders(A, on(), 1)
        poller.configure([
            TokenSource(workload=CHAT, url="http://127.0.0.1:1/metrics"),
            TokenSource(workload="two", url="http://127.0.0.1:1/metrics", ports=(2,)),
        ])  # fmt: skip
        pods.follow(joined, poller, simulated=True)
        told = [row.source for row in (*poller.health(), *pods.health())]
        assert sorted(told) == [
            f"annotations:{CHAT}", f"tokens:{CHAT}",
            "tokens:two http://127.0.0.1:1/metrics", "tokens:two http://127.0.0.1:2/metrics",
        ]  # fmt: skip
    finally:
        poller.stop()
        informer.stop()
        server.stop()
