"""The names by which device plugins and DRA give GPUs away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.owners.gpu_minors import gpu_minors
from energy_agent.owners.kubernetes.device_ids import device_in_cdi, device_of, gpu_of, is_gpu_resource

A, B = "GPU-8f6d2b1c-0000-4a3b-9c8d-001122334455", "GPU-11111111-2222-3333-4444-555555555555"
MIG = "MIG-0a1b2c3d-1111-5222-8333-444455556666"
MINORS = {0: B, 3: A}  # not in the order of anything


@pytest.mark.parametrize(
    ("device_id", "device"),
    [
        (A, A), (f"{A}::7", A), (MIG, MIG), (f"{MIG}::0", MIG), (f"MIG-{A}/3/0", f"MIG-{A}/3/0"), ("nvidia0", B),
        ("nvidia3", A),
        ("nvidia3/vgpu2", A), ("nvidia3/gi1", f"MIG-{A}/1/0"), ("nvidia3/gi1/vgpu4", f"MIG-{A}/1/0"), ("nvidia1", None),
        ("0", None), ("", None), ("GPU-", None), (f"{A}::", None), (f"{A}\n", None), (f"x{A}", None), ("nvidia0/../../1", None),
    ],
)  # fmt: skip
def test_a_plugins_id_is_the_device_it_means_or_unknown(device_id, device):
    assert device_of(device_id, MINORS) == device


def test_an_old_mig_name_is_a_slice_of_its_gpu():
    assert [gpu_of(f"MIG-{A}/3/0"), gpu_of(A), gpu_of(MIG)] == [A, A, MIG]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("nvidia.com/gpu", True), ("nvidia.com/gpu.shared", True), ("nvidia.com/mig-1g.10gb", True), ("example.com/gpu", True),
        ("nvidia.com/gpu-memory", False), ("amd.com/gpu", False), ("cpu", False),
    ],
)  # fmt: skip
def test_which_resources_are_gpus(name, is_one):
    assert is_gpu_resource(name, ("example.com/gpu",)) is is_one


def test_uuid_in_a_cdi_name_identifies_one_device_only():
    assert device_in_cdi([f"nvidia.com/gpu={A}"]) == A
    assert device_in_cdi(["k8s.gpu.nvidia.com/claim=b0d3-gpu-0", f"nvidia.com/gpu={MIG}"]) == MIG
    assert device_in_cdi([f"nvidia.com/gpu={A}", f"nvidia.com/gpu={B}"]) is None
    assert device_in_cdi(["k8s.gpu.nvidia.com/claim=gpu-0", "nvidia.com/gpu=0", A]) is None


@given(st.text())
def test_any_text_is_a_device_or_unknown(text):
    device = device_of(text, MINORS)
    assert device is None or device.startswith(("GPU-", "MIG-"))


def test_minor_numbers_come_from_the_driver(tmp_path):
    assert gpu_minors(tmp_path) == {}
    for folder, minor, uuid in (("0000:01:00.0", 3, A), ("0000:c1:00.0", 0, B)):
        (tmp_path / "driver/nvidia/gpus" / folder).mkdir(parents=True)
        text = f"Model: \t\t NVIDIA H100\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\nGPU Excluded:\t No\n"
        (tmp_path / "driver/nvidia/gpus" / folder / "information").write_text(text)
    (tmp_path / "driver/nvidia/gpus/broken").mkdir()
    assert gpu_minors(tmp_path) == MINORS
