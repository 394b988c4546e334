"""Pods that say where their metrics page is: what the informer keeps of them, and under which name they are followed."""

import pytest

from energy_agent.owners.join import PATIENCE_NS
from energy_agent.owners.kubernetes.api_client import Api
from energy_agent.owners.kubernetes.informer import PodInformer
from energy_agent.owners.resolver import OwnerResolver
from energy_agent.runtime.clock import clock_for
from energy_agent.sim.cluster.api_server import ApiServer
from energy_agent.sim.cluster.model import Pod
from energy_agent.sim.cluster.pods import PodNow
from energy_agent.tokens.discovery import GROUP, PATH, PORT, PodFacts
from tests.energy_agent.owners.kubernetes.test_device_ids import A
from tests.energy_agent.owners.test_resolver import Said, claim, on
from tests.support import eventually

U1, U2 = "1a2b3c4d-0000-4000-8000-000000000001", "99998888-0000-4000-8000-000000000002"


def pod(name="chat", uid=U1, phase="Running", annotations=None, **fields):
    annotations = {PORT: "8000"} if annotations is None else annotations
    return PodNow(
        Pod(name=name, namespace="ml", annotations=annotations, **({"address": "10.1.2.3"} | fields)), uid, phase, (), True
    )


@pytest.fixture
def server(tmp_path):
    server = ApiServer(tmp_path, "n1")
    yield server
    server.stop()


@pytest.fixture
def informer(server, tmp_path):
    pod_informer = PodInformer(Api.simulated(tmp_path), "n1", clock_for({}), {"precision": "precision"})
    pod_informer.start(60)
    yield pod_informer
    pod_informer.stop()


def pages(informer):
    return {name: fact.endpoint for (_, name), fact in informer.serving().items()}


def test_only_a_running_pod_with_address_and_annotation_has_an_endpoint(server, informer):
    server.show([
        pod(), pod("waits", "u2", "Pending"), pod("over", "u3", "Failed"), pod("nowhere", "u4", address=""),
        pod("silent", "u5", annotations={"prometheus.io/port": "80"}), pod("other", "u6", annotations={PATH: "/metrics"}),
    ])  # fmt: skip
    eventually(lambda: informer.pod("ml", "silent") is not None and informer.pod("ml", "other") is not None)
    assert pages(informer) == {"chat": PodFacts("", "10.1.2.3", {PORT: "8000"})}
    server.show([pod(annotations={PORT: "8001"})])
    eventually(lambda: pages(informer) == {"chat": PodFacts("", "10.1.2.3", {PORT: "8001"})})
    server.show([pod(annotations={})])
    eventually(lambda: pages(informer) == {})
    server.show([pod()])
    eventually(lambda: pages(informer) != {})
    server.show([])
    eventually(lambda: pages(informer) == {})


def test_a_pod_on_the_hosts_network_has_the_ports_that_it_declares_alone(server, informer):
    server.show([pod(host_network=True, ports=(8000, 8001)), pod("none", "u2", host_network=True)])
    eventually(lambda: len(pages(informer)) == 2)
    assert pages(informer)["chat"].ports == {8000, 8001}
    assert pages(informer)["none"].ports == frozenset()


def test_annotations_are_bounded_and_one_that_is_cut_is_not_taken_for_the_whole(server, informer):
    server.show([pod(annotations={PORT: "8000," + " " * 5000 + "9"} | {f"wattlens.io/{n:03}": "x" for n in range(60)})])
    eventually(lambda: pages(informer))
    assert pages(informer)["chat"].annotations == {PORT: "8000," + " " * 507 + "…"}


def test_the_group_is_a_fact_of_every_member_and_a_mapped_label_goes_first(server, tmp_path, informer):
    labels = {"jobset.sigs.k8s.io/jobset-name": "j"}
    server.show([
        pod(annotations={GROUP: "big"}, labels=labels), pod("odd", "u2", annotations={GROUP: "a b"}, labels=labels),
    ])  # fmt: skip
    eventually(lambda: informer.pod("ml", "chat") is not None and informer.pod("ml", "odd") is not None)
    assert informer.pod("ml", "chat").labels == {"owner": "JobSet/j", "group": "big"}
    assert informer.pod("ml", "odd").labels["group"] == "JobSet/j"
    pod_informer = PodInformer(Api.simulated(tmp_path), "n1", clock_for({}), {"group": "team"})
    server.show([pod(annotations={GROUP: "big"}, labels={"team": "mine"})])
    pod_informer.start(60)
    pod_informer.stop()
    assert pod_informer.pod("ml", "chat").labels["group"] == "mine"


class Node:
    """Holders joined with what the informer says."""

    def __init__(self, informer):
        self.source = Said()
        self.joined = OwnerResolver((self.source,), 0, informer)

    def hold(self, boot_ns, *claims, by_process=None):
        self.source.say(boot_ns, *claims)
        self.joined.look(boot_ns)
        self.joined.owners(A, by_process or on(), boot_ns)
        return self.names()

    def names(self):
        pods = self.joined.serving()
        return None if pods is None else [name for name, _ in pods]


def test_a_pod_is_followed_once_it_was_given_a_device_and_as_its_joules_are_named(server, informer):
    server.show([pod(), pod("gateway", "u2")])
    eventually(lambda: len(pages(informer)) == 2)
    node = Node(informer)
    node.joined.look(1)
    assert node.names() is None, "the kubelet was not heard yet"
    assert node.hold(2) == []
    assert node.hold(3, claim(A, "chat", U1)) == [f"ml/chat.{U1[:8]}"]
    assert node.hold(4) == [f"ml/chat.{U1[:8]}"], "it runs still, whatever the kubelet forgets"
    server.show([pod("chat", U2)])
    eventually(lambda: informer.pod("ml", "chat").uid == U2)
    assert node.hold(5, claim(A, "chat", U1)) == [], "another life of the name holds it"
    assert node.hold(6, claim(A, "chat", U2)) == [f"ml/chat.{U2[:8]}"]
    server.show([])
    eventually(lambda: pages(informer) == {})
    assert node.names() == []


def test_a_name_under_which_joules_were_booked_is_the_name_of_its_tokens(server, informer):
    server.show([pod()])
    eventually(lambda: len(pages(informer)) == 1)
    node = Node(informer)
    assert node.hold(1, claim(A, "chat")) == ["ml/chat"], "its uid was not known when it first held"
    assert node.hold(2, claim(A, "chat", U1)) == ["ml/chat"]


def test_only_current_owners_are_followed_while_the_api_server_is_silent(server, informer):
    server.show([pod()])
    eventually(lambda: len(pages(informer)) == 1)
    node = Node(informer)
    assert node.hold(1, claim(A, "chat", U1)) == [f"ml/chat.{U1[:8]}"]
    (server.folder / "fault").write_text("error")
    eventually(lambda: not informer.answers())
    assert node.hold(2, claim(A, "chat", U1)) == [f"ml/chat.{U1[:8]}"]
    assert node.hold(3) == []


def test_no_pods_are_followed_without_an_informer(server):
    node = OwnerResolver((Said(),))
    node.look(PATIENCE_NS)
    assert node.serving() == []
