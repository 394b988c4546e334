"""The pod informer against an API server: TLS, tokens that rotate, history that is gone, answers that lie."""

import time

import pytest

from energy_agent.owners.kubernetes.api_client import Api, ApiError
from energy_agent.owners.kubernetes.informer import PodInformer
from energy_agent.runtime.clock import clock_for
from energy_agent.sim.cluster.api_server import ApiServer
from energy_agent.sim.cluster.model import Owner, Pod
from energy_agent.sim.cluster.pods import PodNow
from tests.certificates import Authority
from tests.energy_agent.runtime.test_poller import Waits
from tests.support import eventually

U = "1a2b3c4d-0000-4000-8000-00000000000"


def pod(number, phase="Running", **fields):
    return PodNow(Pod(name=f"p{number}", namespace="ml", **fields), f"{U}{number}", phase, (), True)


@pytest.fixture
def server(tmp_path):
    server = ApiServer(tmp_path, "n1")
    yield server
    server.stop()


def informer(folder, labels=None, kinds=(), node="n1"):
    api = Api.simulated(folder)
    pod_informer = PodInformer(api, node, clock_for({}), labels or {}, kinds)
    pod_informer.start(60)
    return pod_informer


def test_facts_come_by_list_and_watch_and_an_end_is_an_end(server, tmp_path):
    labels = {"team": "example.com/team", "model": "model"}
    metadata = {"labels": {"example.com/team": "nlp", "pod-template-hash": "abc"}, "annotations": {"model": "llama\x1b[31m"}}
    server.show([pod(1, owner=Owner(kind="ReplicaSet", name="chat-abc", api_version="apps/v1"), **metadata)])
    pod_informer = informer(tmp_path, labels)
    try:
        fact = pod_informer.pod("ml", "p1")
        assert (fact.uid, fact.ended) == (f"{U}1", False)
        assert fact.labels == {"owner": "Deployment/chat", "team": "nlp", "model": "llama?[31m"}
        server.show([pod(1, "Succeeded"), pod(2)])
        eventually(lambda: pod_informer.pod("ml", "p2") is not None and pod_informer.pod("ml", "p1").ended)
        server.show([])
        eventually(lambda: pod_informer.pod("ml", "p2").ended)
        assert pod_informer.pod("ml", "p3") is None
        assert pod_informer.health().up
        assert all("nodes/" not in path and "spec.nodeName%3Dn1" in path for path in server.asked)
    finally:
        pod_informer.stop()


def test_only_pods_of_this_node_are_requested(server, tmp_path):
    server.show([pod(1)])
    pod_informer = informer(tmp_path, node="n2")
    try:
        assert pod_informer.pod("ml", "p1") is None
    finally:
        pod_informer.stop()


def test_a_long_list_comes_by_pages(server, tmp_path):
    server.show([pod(n) for n in range(10)] + [PodNow(Pod(name=f"q{n}"), f"q{n}", "Running", (), True) for n in range(300)])
    pod_informer = informer(tmp_path)
    try:
        assert all(pod_informer.pod("default", f"q{n}") for n in range(300))
        assert sum("continue=" in path for path in server.asked) == 3
    finally:
        pod_informer.stop()


def test_a_history_that_is_gone_is_listed_anew(server, tmp_path):
    server.show([pod(1)])
    pod_informer = informer(tmp_path)
    try:
        (server.folder / "fault").write_text("gone")
        server.show([pod(1), pod(2)])
        eventually(lambda: pod_informer.pod("ml", "p2") is not None)
        (server.folder / "fault").unlink()
        server.show([pod(3)])
        eventually(lambda: pod_informer.pod("ml", "p3") is not None and pod_informer.pod("ml", "p1").ended)
    finally:
        pod_informer.stop()


@pytest.mark.parametrize("fault", ["forbidden", "error", "garbage"])
def test_a_server_that_misbehaves_is_named_what_was_known_stays_and_it_comes_back(server, tmp_path, fault):
    server.show([pod(1)])
    pod_informer = informer(tmp_path)
    try:
        (server.folder / "fault").write_text(fault)
        eventually(lambda: not pod_informer.health().up)
        reason = pod_informer.health().reason
        assert ("overlays/informer" in reason) == (fault == "forbidden"), reason
        assert pod_informer.pod("ml", "p1").uid == f"{U}1"
        (server.folder / "fault").unlink()
        eventually(lambda: pod_informer.health().up)
    finally:
        pod_informer.stop()


def test_a_token_that_was_rotated_is_read_again(server, tmp_path):
    api = Api.simulated(tmp_path)
    assert api.get("/api/v1/pods")["items"] == []
    server.rotate()
    assert api.get("/api/v1/pods")["items"] == []
    (server.folder / "token").write_text("stolen\n")
    with pytest.raises(ApiError, match="HTTP 401"):
        api.get("/api/v1/pods")


def test_the_server_is_known_by_the_clusters_authority_and_no_other(tmp_path):
    ours, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "other-ca")
    server = ApiServer(tmp_path, tls=(*ours.issue("api", "IP:127.0.0.1"), ours.ca))
    try:
        api = Api.simulated(tmp_path)
        assert api.address.startswith("https://")
        assert api.get("/api/v1/pods")["kind"] == "PodList"
        (server.folder / "ca.crt").write_bytes(other.ca.read_bytes())
        with pytest.raises(ApiError, match="certificate"):
            api.get("/api/v1/pods")
    finally:
        server.stop()


def test_only_listed_kinds_are_queried_for_owners(server, tmp_path):
    def above(kind, name, api):
        return {"metadata": {"ownerReferences": [{"apiVersion": api, "kind": kind, "name": name, "controller": True}]}}

    server.objects["/apis/batch/v1/namespaces/ml/jobs/j1"] = above("ModelTrainingJob", "llm", "ai.example/v1")
    server.objects["/apis/ai.example/v1/namespaces/ml/modeltrainingjobs/llm"] = {"metadata": {}}
    server.show([pod(1, owner=Owner(kind="Job", name="j1"))])
    for kinds, owner in (
        ((), "Job/j1"),
        (("Job.batch/v1",), "ModelTrainingJob/llm"),
        (("Job.batch/v1", "ModelTrainingJob.ai.example/v1"), "ModelTrainingJob/llm"),
    ):
        server.asked.clear()
        pod_informer = informer(tmp_path, kinds=kinds)
        pod_informer.stop()
        assert pod_informer.pod("ml", "p1").labels["owner"] == owner
        assert sum("/apis/" in path for path in server.asked) == len(kinds)


def test_dra_device_is_resolved_by_its_resource_slice(server, tmp_path):
    uuid = "GPU-8f6d2b1c-0000-4a3b-9c8d-001122334455"
    devices = [{"name": "gpu-3", "basic": {"attributes": {"uuid": {"string": uuid}}}}, {"name": "gpu-4"}]
    spec = {"driver": "gpu.nvidia.com", "pool": {"name": "n1"}, "devices": devices}
    server.objects["/apis/resource.k8s.io/v1beta1/resourceslices"] = {"items": [{"spec": spec}]}
    pod_informer = informer(tmp_path)
    pod_informer.stop()
    assert pod_informer.device(("gpu.nvidia.com", "n1", "gpu-3")) == uuid
    assert pod_informer.device(("gpu.nvidia.com", "n1", "gpu-4")) is None
    begun_s = time.monotonic()
    assert sum("resourceslices" in path for path in server.asked) == 2, f"asked again within {time.monotonic() - begun_s} s"


def test_refused_request_is_retried_within_half_a_minute(server, tmp_path):
    (server.folder / "fault").write_text("forbidden")
    clock = Waits()
    pod_informer = PodInformer(Api.simulated(tmp_path), "n1", clock, {})
    pod_informer.start()
    try:
        eventually(lambda: len(clock.waits_s) > 9)
        assert clock.waits_s[:4] == [0.5, 1, 2, 4]
        assert max(clock.waits_s) == 30
    finally:
        pod_informer.stop()


def test_a_pod_is_found_by_its_uid_for_as_long_as_its_name_is_not_anothers(server, tmp_path):
    server.show([pod(1)])
    pod_informer = informer(tmp_path)
    try:
        assert pod_informer.pod_of(f"{U}1")[0] == ("ml", "p1")
        assert pod_informer.pod_of(f"{U}2") is None
        server.show([PodNow(Pod(name="p1", namespace="ml"), f"{U}9", "Running", (), True)])
        eventually(lambda: pod_informer.pod_of(f"{U}9") is not None)
        assert pod_informer.pod_of(f"{U}1") is None
    finally:
        pod_informer.stop()


def claim(*results):
    return {"status": {"allocation": {"devices": {"results": list(results)}}}}


def result(device, **more):
    return {"request": "gpu", "driver": "gpu.nvidia.com", "pool": "n1", "device": device, **more}


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_admin_access_is_read_from_the_resource_claim(server, tmp_path, version):
    path = f"/apis/resource.k8s.io/{version}/namespaces/monitoring/resourceclaims/all-gpus"
    server.objects[path] = claim(result("gpu-0", adminAccess=True), result("gpu-1", adminAccess=False), result("gpu-2"))
    pod_informer = informer(tmp_path)
    pod_informer.stop()
    name = ("monitoring", "all-gpus")
    for _ in range(3):
        devices = [("gpu.nvidia.com", "n1", f"gpu-{n}") for n in range(3)]
        assert [pod_informer.is_admin(name, device) for device in devices] == [True, False, False]
    assert sum(asked == path for asked in server.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"status": None},
        {"status": {"allocation": None}},
        claim("x"),
        claim({}),
        claim({"adminAccess": True}),
        {"status": []},
    ],
)
def test_invalid_resource_claim_has_no_admin_access(server, tmp_path, answer):
    server.objects["/apis/resource.k8s.io/v1/namespaces/a/resourceclaims/b"] = answer
    pod_informer = informer(tmp_path)
    pod_informer.stop()
    assert not pod_informer.is_admin(("a", "b"), ("gpu.nvidia.com", "n1", "gpu-0"))


def test_a_role_that_may_not_read_claims_is_named_once_and_costs_no_question_per_claim(server, tmp_path, caplog):
    pod_informer = informer(tmp_path)
    pod_informer.stop()
    (server.folder / "fault").write_text("forbidden")
    for number in range(20):
        assert not pod_informer.is_admin(("a", f"claim-{number}"), ("gpu.nvidia.com", "n1", "gpu-0"))
    assert sum("resourceclaims" in path for path in server.asked) == 1
    assert "adminAccess" in caplog.text


def test_pods_of_llm_d_are_read_without_annotations_unless_these_say_off(server, tmp_path):
    labels = {"llm-d.ai/role": "decode", "llm-d.ai/model": "llama"}
    server.show([pod(1, labels=labels, ports=(8200, 5557)),
                 pod(2, labels=labels, ports=(8200,), annotations={"wattlens.io/metrics-port": "off"}),
                 pod(3, labels=labels, ports=(8200,), annotations={"wattlens.io/metrics-port": "9000"})])  # fmt: skip
    pod_informer = informer(tmp_path)
    try:
        first, second, third = (pod_informer.pod("ml", f"p{n}") for n in (1, 2, 3))
        assert first.labels == {"owner": "ModelService/llama", "group": "ml/ModelService/llama"}
        assert first.endpoint.annotations == {
            "wattlens.io/metrics-port": "8200", "wattlens.io/metrics-path": "/metrics", "wattlens.io/token-server": "vllm",
            "wattlens.io/role": "decode",
        }  # fmt: skip
        assert second.endpoint is None
        assert third.endpoint.annotations["wattlens.io/metrics-port"] == "9000"
    finally:
        pod_informer.stop()
