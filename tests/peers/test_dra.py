"""The chart's claim with administrative access on a real API server, and claims there as the informer reads them.

No DRA driver and no kubelet run: ResourceSlice and allocation are written as NVIDIA's driver and the scheduler write them.
"""

import json

import pytest
import yaml

from deploy import manifests
from energy_agent.owners.kubernetes.grants import Grant, Naming, grants
from energy_agent.owners.kubernetes.informer import PodInformer
from energy_agent.runtime.clock import RealClock
from tests.deploy.kubernetes_tools import need_tools
from tests.peers.kube.api_server import ApiServer
from tests.support import eventually, need_module, need_peer, need_program

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

NODE, DRIVER = "gpu-node-1", "gpu.nvidia.com"
GPU = "GPU-8f6d2b1c-0000-4a3b-9c8d-001122334455"
MIG = "MIG-1c9f2b6d-0000-5b4c-8d7e-556677889900"
DEVICES = {"gpu-0": (GPU, "gpu"), "gpu-1-mig-1g10gb-19-0": (MIG, "mig")}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need_program("etcd")
    for peer in ("kube-apiserver", "kubectl"):
        need_peer(peer)
    running = ApiServer(tmp_path_factory.mktemp("api"))
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def chart():
    helm, _ = need_tools()
    values = ("--set", "deviceAccess=dra,informer.enabled=true", "--set", "dra.deviceClasses={gpu.nvidia.com,mig.nvidia.com}")
    return manifests.template(helm, "--skip-tests", *values)


def test_the_namespace_has_to_allow_administrative_access(server, chart):
    server.kubectl("create", "namespace", "wattlens")
    refusal = server.kubectl("apply", "--validate=strict", "--filename", "-", stdin=chart, fails=True)
    assert "resource.kubernetes.io/admin-access" in refusal
    server.kubectl("label", "namespace", "wattlens", "resource.kubernetes.io/admin-access=true")
    server.kubectl("apply", "--validate=strict", "--filename", "-", stdin=chart)
    path = "/apis/apps/v1/namespaces/wattlens/daemonsets/wattlens-agent"
    pod = json.loads(server.request("GET", path))["spec"]["template"]["spec"]
    assert pod["resourceClaims"] == [{"name": "devices", "resourceClaimTemplateName": "wattlens-agent"}]
    assert [c["resources"]["claims"] for c in pod["containers"]] == [[{"name": "devices"}]]
    assert "runtimeClassName" not in pod
    path = "/apis/resource.k8s.io/v1/namespaces/wattlens/resourceclaimtemplates/wattlens-agent"
    template = json.loads(server.request("GET", path))
    requests = [request["exactly"] for request in template["spec"]["spec"]["devices"]["requests"]]
    assert [request["deviceClassName"] for request in requests] == ["gpu.nvidia.com", "mig.nvidia.com"]
    assert all(request["adminAccess"] and request["allocationMode"] == "All" for request in requests)


def make_claim(server, namespace, name, device, admin):
    """A claim, allocated as the scheduler allocates it."""
    request = {"deviceClassName": DRIVER, "allocationMode": "All" if admin else "ExactCount"}
    request |= {"adminAccess": True} if admin else {"count": 1}
    claim = {
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": name, "namespace": namespace},
        "spec": {"devices": {"requests": [{"name": "devices", "exactly": request}]}},
    }  # fmt: skip
    path = f"/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims"
    resource = server.create(path, claim)
    result = {"request": "devices", "driver": DRIVER, "pool": NODE, "device": device} | ({"adminAccess": True} if admin else {})
    resource["status"] = {"allocation": {"devices": {"results": [result]}}}
    server.request("PUT", f"{path}/{name}/status", resource)


def test_claims_and_slices_name_the_owner_of_each_gpu_and_mig_device(server):
    need_module("google.protobuf")
    from energy_agent.owners.kubernetes.podresources_pb2 import ListPodResourcesResponse

    labels = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    for name, extra in (("monitoring", labels), ("research", {})):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        namespace["metadata"] |= extra.get("metadata", {})
        server.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump(namespace))
    devices = [
        {"name": name, "attributes": {"uuid": {"string": uuid}, "type": {"string": kind}}}
        for name, (uuid, kind) in DEVICES.items()
    ]
    pool = {"name": NODE, "generation": 1, "resourceSliceCount": 1}
    slice_path = "/apis/resource.k8s.io/v1/resourceslices"
    server.create(slice_path, {
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "slice"},
        "spec": {"driver": DRIVER, "nodeName": NODE, "pool": pool, "devices": devices},
    })  # fmt: skip
    make_claim(server, "monitoring", "all", "gpu-0", admin=True)
    make_claim(server, "research", "whole", "gpu-0", admin=False)
    make_claim(server, "research", "part", "gpu-1-mig-1g10gb-19-0", admin=False)
    response = ListPodResourcesResponse()
    for namespace, pod, claim, device in (
        ("monitoring", "agent", "all", "gpu-0"), ("research", "train", "whole", "gpu-0"),
        ("research", "notebook", "part", "gpu-1-mig-1g10gb-19-0"),
    ):  # fmt: skip
        container = response.pod_resources.add(name=pod, namespace=namespace).containers.add(name="main")
        resource = container.dynamic_resources.add(claim_name=claim, claim_namespace=namespace)
        resource.claim_resources.add(driver_name=DRIVER, pool_name=NODE, device_name=device)
    informer = PodInformer(server.api, NODE, RealClock(), {})
    informer.start()
    try:
        eventually(informer.answers, 30, every=0.2)
        naming = Naming(dra=informer.device, is_admin=informer.is_admin)
        given = list(grants(response.SerializeToString(), naming))
        assert given == [Grant("research", "train", (GPU,)), Grant("research", "notebook", (MIG,))]
    finally:
        informer.stop()
