"""The kubelet's answer, also one that is huge, cut off, or made to hurt."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

pb = pytest.importorskip("energy_agent.owners.kubernetes.podresources_pb2")

from energy_agent.owners.kubernetes.grants import MAX_CLAIMS, Grant, Naming, PodResourcesError, grants  # noqa: E402
from tests.energy_agent.owners.kubernetes.test_device_ids import MIG, A, B  # noqa: E402


def pod(name, *ids, namespace="ml", resource="nvidia.com/gpu", claims=()):
    devices = [pb.ContainerDevices(resource_name=resource, device_ids=ids)] if ids else []
    container = pb.ContainerResources(name="main", devices=devices, dynamic_resources=claims)
    return pb.PodResources(name=name, namespace=namespace, containers=[container])


def answer(*pods):
    return pb.ListPodResourcesResponse(pod_resources=pods).SerializeToString()


def grants_of(*pods, **naming):
    return list(grants(answer(*pods), Naming(**naming)))


def test_devices_of_all_containers_each_once():
    both = pod("a", f"{A}::0", f"{A}::1")
    both.containers.append(
        pb.ContainerResources(
            name="side", devices=[pb.ContainerDevices(resource_name="nvidia.com/mig-1g.10gb", device_ids=[MIG])]
        )
    )
    assert grants_of(both, pod("web"), pod("b", B, resource="amd.com/gpu")) == [Grant("ml", "a", (A, MIG))]
    assert grants_of(pod("b", B, resource="example.com/gpu"), resources=("example.com/gpu",)) == [Grant("ml", "b", (B,))]


def dra(device, cdi="k8s.gpu.nvidia.com/claim=x", driver="gpu.nvidia.com"):
    one = pb.ClaimResource(driver_name=driver, pool_name="n1", device_name=device, cdi_devices=[pb.CDIDevice(name=cdi)])
    return pb.DynamicResource(claim_name="c", claim_namespace="ml", claim_resources=[one])


def test_dra_device_is_resolved_by_cdi_name_or_resource_slice():
    slices = {("gpu.nvidia.com", "n1", "gpu-1"): B}
    pods = pod(
        "a", claims=[dra("gpu-0", f"nvidia.com/gpu={A}"), dra("gpu-1"), dra("gpu-2"), dra("nic0", driver="nic.example.com")]
    )
    assert grants_of(pods, dra=slices.get) == [Grant("ml", "a", (A, B), ("gpu.nvidia.com/n1/gpu-2",))]


@pytest.mark.parametrize("name", ["", "A", "a" * 254, "a/b", "a\x1b[31m", "-a", "ä", "a\nb", "../../etc"])
def test_a_name_that_no_api_server_lets_in_holds_nothing(name):
    assert grants_of(pod(name, A)) == [Grant("", "", (), (A,))]
    assert grants_of(pod("a", A, namespace=name)) == [Grant("", "", (), (A,))]


READ = """
import resource, sys
from energy_agent.owners.kubernetes.grants import Naming, grants
data = sys.stdin.buffer.read()
list(grants(data[:0], Naming()))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(20):
    found = list(grants(data, Naming()))
print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(("pods", "most_kib"), [(110, 1_024), (500, 2_048)])
def test_a_full_node_costs_little_memory(pods, most_kib):
    """Each pod with a sidecar and pinned processors; one in ten holds a GPU."""
    others = [pod(f"web-{n}-7c5ddbdf54-x2x8q", *([f"{A}::{n}"] if n % 10 == 0 else ())) for n in range(pods)]
    for each in others:
        each.containers.add(name="sidecar", cpu_ids=range(32))
    done = subprocess.run([sys.executable, "-c", READ], input=answer(*others), capture_output=True, check=True)
    count, used_kib = map(int, done.stdout.split())
    assert count == pods // 10
    assert used_kib <= most_kib


def test_more_than_a_node_can_have_is_refused():
    with pytest.raises(PodResourcesError, match="more than 4096 devices"):
        grants_of(*(pod(f"p{n}", f"{A}::{n}") for n in range(MAX_CLAIMS + 1)))


@given(st.binary(max_size=64), st.integers(0, 200))
def test_an_answer_that_is_cut_off_or_nonsense_ends_in_an_error_or_pods(junk, cut):
    whole = answer(pod("a", A), pod("b", B))
    for data in (junk, whole[:cut], whole[:cut] + junk):
        try:
            for grant in grants(data, Naming()):
                assert grant.devices or grant.unknown
        except PodResourcesError:
            continue


def test_later_fields_are_passed_over():
    later = bytes([0x10, 0x96, 0x01]) + bytes([0x19]) + b"8 bytes!" + bytes([0x25]) + b"four" + bytes([0x2A, 3]) + b"abc"
    assert list(grants(later + answer(pod("a", A)) + later, Naming())) == [Grant("ml", "a", (A,))]


def test_a_claim_with_admin_access_holds_nothing_and_its_pods_other_devices_stay():
    monitor = dra("gpu-0", f"nvidia.com/gpu={A}")
    own_claim = dra("gpu-1", f"nvidia.com/gpu={B}")
    own_claim.claim_name = "own"
    pods = [pod("dcgm", claims=[monitor]), pod("both", claims=[monitor, own_claim]), pod("job", A)]
    asked = grants_of(*pods, is_admin=lambda claim, device: (claim, device[2]) == (("ml", "c"), "gpu-0"))
    assert asked == [Grant("ml", "both", (B,)), Grant("ml", "job", (A,))]
