"""The real agent, a kubelet, an API server and busy engines: pod annotations add tokens to the pods' joules."""

import http.server
import re
import threading
import urllib.request
from dataclasses import replace

import pytest

from energy_agent.core.saved_state import Component
from energy_agent.ledger.journal.view import read_journal
from energy_agent.sim import scenario
from energy_agent.sim.cluster.api_server import ApiServer
from energy_agent.sim.cluster.kubelet import Kubelet
from energy_agent.sim.cluster.model import Pod
from energy_agent.sim.cluster.pods import PodNow
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode
from energy_agent.tokens.discovery import MODEL, PATH, PORT, PRECISION
from tests.energy_agent.agents import AgentProcess
from tests.support import eventually, free_port

pytest.importorskip("grpc")

UID = "1a2b3c4d-0000-4000-8000-000000000001"
SLICE = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"
SCENARIO = f"""
boards: [{{count: 3, sku: H100-SXM5-80GB}}]
seed: 3
workloads:
  - {{name: left, kind: serving, gpus: [0], rate_per_s: 6, cgroup: {SLICE}/cri-containerd-{"a" * 64}.scope}}
  - {{name: right, kind: serving, gpus: [1], rate_per_s: 6, cgroup: {SLICE}/cri-containerd-{"b" * 64}.scope}}
"""
CONFIG = "holders: {period_s: 1, kubernetes: {informer: auto}}\n"
CHAT, DEAD = f"ml/chat.{UID[:8]}", "ml/dead.deadbeef"


class Redirecting(http.server.ThreadingHTTPServer):
    """A server that redirects every client to another URL, and counts requests."""

    daemon_threads = True
    asked = 0
    target = ""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        self.send_response(302)
        self.send_header("Location", self.server.target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        return


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    with SimulatedNode.start(scenario.parse(SCENARIO.encode(), "test"), tmp_path_factory.mktemp("pods") / "node") as running:
        yield running


@pytest.fixture
def node(engines):
    return Cluster(engines)


class Cluster:
    """A node whose pods the test creates; both doubles return the same pods, and are new in each test."""

    def __init__(self, node):
        self.node, self.folder = node, node.directory
        self.kubelet, self.api = Kubelet(node.directory), ApiServer(node.directory)
        plant = Plant.attach(node.directory / "plant")
        self.uuids = [plant.uuid(gpu) for gpu in range(3)]
        plant.close()
        self.urls = [node.workload(name)["metrics_url"] for name in ("left", "right")]
        self.ports = ",".join(url.rpartition(":")[2].partition("/")[0] for url in self.urls)

    def show(self, *pods):
        self.api.show(list(pods))
        self.kubelet.show(list(pods))

    def pod(self, name, uid, gpus, **annotations):
        return PodNow(
            Pod(name=name, namespace="ml", annotations=annotations), uid, "Running", tuple(self.uuids[g] for g in gpus), True
        )

    def chat(self, **annotations):
        return self.pod("chat", UID, (0, 1), **annotations)

    def generated(self):
        """What the engines themselves say."""
        return sum(
            int(float(number))
            for url in self.urls
            for number in re.findall(r"^vllm:generation_tokens_total\{.*\} (\S+)$", fetched(url), re.MULTILINE)
        )

    def stop(self):
        self.kubelet.stop()
        self.api.stop()


def fetched(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def tokens(agent, workload=CHAT, **wanted):
    return sum(
        value
        for labels, value in agent.series("wattlens_tokens_total").items()
        if {"workload": workload, "phase": "generation", **wanted}.items() <= dict(labels).items()
    )


def served(agent):
    """Wait until more was generated, and counted."""
    before = tokens(agent)
    eventually(lambda: tokens(agent) > before + 100)


def up(agent):
    up_by_source = {dict(labels)["source"]: value for labels, value in agent.series("wattlens_source_up").items()}
    return {source: value for source, value in up_by_source.items() if source.startswith(("tokens:", "annotations:"))}


def commits(agent):
    return sum(agent.series("wattlens_ledger_commits_total").values())


def reasons(agent):
    return {dict(labels)["source"]: dict(labels)["reason"] for labels in agent.series("wattlens_source_down_info")}


@pytest.fixture
def agent(node, tmp_path):
    (tmp_path / "agent.yaml").write_text(CONFIG)
    agent = AgentProcess(tmp_path / "state", node.folder, "--config", tmp_path / "agent.yaml")
    node.show(
        node.chat(**{PORT: node.ports, PRECISION: "fp8"}), node.pod("dead", "deadbeef-0000", (2,), **{PORT: str(free_port())})
    )
    with agent:
        yield agent
    node.stop()


def test_an_annotated_pod_has_tokens_beside_its_joules_until_it_ends(node, agent, tmp_path):
    eventually(lambda: tokens(agent) > 500)

    def with_joules():
        return {dict(labels)["workload"] for labels in agent.series("wattlens_workload_energy_joules_total")}

    eventually(lambda: len(with_joules()) > 1)
    assert with_joules() == {CHAT, DEAD}, "tokens and joules have one workload"
    joules = sum(v for k, v in agent.series("wattlens_workload_energy_joules_total").items() if ("workload", CHAT) in k)
    assert 0 < joules / tokens(agent) < 1000
    assert tokens(agent) <= node.generated()
    (chat,) = [dict(k) for k in agent.series("wattlens_workload_info") if ("workload", CHAT) in k]
    assert (chat["precision"], chat["pod"]) == ("fp8", "chat")
    # The agent polls each engine independently; the port without a listener is named, and does not stop the others.
    eventually(lambda: up(agent) == {f"tokens:{CHAT} {url}": 1 for url in node.urls} | {f"tokens:{DEAD}": 0})
    eventually(lambda: "refused" in reasons(agent).get(f"tokens:{DEAD}", ""))

    # The annotation disappears and returns with another model: the agent drops the endpoints and follows them again.
    gone = node.pod("dead", "deadbeef-0000", (2,))
    node.show(node.chat(), gone)
    eventually(lambda: up(agent) == {})
    committed = commits(agent)
    eventually(lambda: commits(agent) > committed + 1)  # what was counted last is shown by then
    still = tokens(agent)
    begin = node.generated()
    eventually(lambda: node.generated() > begin + 200)
    assert tokens(agent) == still
    node.show(node.chat(**{PORT: node.ports, MODEL: "mine"}), gone)
    eventually(lambda: tokens(agent, model="mine") > 200)
    assert tokens(agent, model="mine") <= node.generated() - begin

    # The pod ends.
    node.show(replace(node.chat(**{PORT: node.ports}), phase="Succeeded", listed=False), gone)
    eventually(lambda: up(agent) == {})
    agent.terminate(60)
    states = read_journal(tmp_path / "state/journal.db").book.states
    assert Component.TOKENS not in states
    assert all(text for texts in states.values() for text in texts.values())


@pytest.mark.smoke
def test_what_an_annotated_pod_generates_while_the_agent_is_down_is_not_lost(node, agent):
    eventually(lambda: tokens(agent) > 200)
    agent.kill()
    down = node.generated()
    eventually(lambda: node.generated() > down + 500)
    before = node.generated()
    agent.start()
    counted = eventually(
        lambda: tokens(agent) > 0 and all(up(agent).get(f"tokens:{CHAT} {u}") == 1 for u in node.urls) and tokens(agent)
    )
    assert counted > 200
    eventually(lambda: tokens(agent) >= before - down)


@pytest.mark.smoke
def test_hostile_annotations_lead_nowhere_else_and_stop_no_other(node, agent):
    with Redirecting(("127.0.0.1", 0), _Handler) as trap:
        threading.Thread(target=trap.serve_forever, args=(0.05,), daemon=True).start()
        trap.target = node.urls[0]
        port = str(trap.server_address[1])
        pods = [
            node.pod(f"evil-{n:03}", f"{n:08}-0000", (2,), **{PORT: ",".join(str(10_000 + 16 * n + k) for k in range(16))})
            for n in range(40)
        ]
        pods += [node.pod("zz-trap", "55555555-0000", (2,), **{PORT: port})]
        pods += [node.pod("path", "77777777-0000", (2,), **{PORT: port, PATH: "@evil.example/"})]
        pods += [node.pod("odd", "88888888-0000", (2,), **{PORT: f"{port}@evil.example"})]
        node.show(node.chat(**{PORT: node.ports}), *pods[-3:])
        eventually(lambda: trap.asked > 1)
        eventually(lambda: "302" in reasons(agent).get("tokens:ml/zz-trap.55555555", ""))
        assert tokens(agent, "ml/zz-trap.55555555") == 0
        eventually(lambda: "metrics-path" in reasons(agent).get("annotations:ml/path.77777777", ""))
        eventually(lambda: "metrics-port" in reasons(agent).get("annotations:ml/odd.88888888", ""))
        node.show(node.chat(**{PORT: node.ports}), *pods)
        eventually(lambda: any("more than 256" in why for why in reasons(agent).values()))
        served(agent)
        assert len(up(agent)) <= 256 + 16
        node.show(node.chat(**{PORT: node.ports}))
        eventually(lambda: all(CHAT in source for source in up(agent)))
        served(agent)  # by then a request that was on its way has come
        asked = trap.asked
        served(agent)
        assert trap.asked == asked, "an ended pod is no longer scraped"
        trap.shutdown()
