"""Translate device names of Kubernetes to NVML's. Pure; an unknown name stays unknown.

NVIDIA's device plugin names a GPU or MIG device by its UUID, before driver R470 a MIG device as `MIG-GPU-uuid/gi/ci`; shared by
time or MPS, each replica appends `::N`. GKE's plugin uses the minor number: `nvidia0`, `nvidia0/gi1`, with `/vgpuN` where it is
shared. A DRA device is (driver, pool, name), and the driver chooses the names: its UUID is in some CDI names, else only in a
ResourceSlice.
"""

import re
from collections.abc import Collection, Iterable, Mapping

DRA_DRIVER = "gpu.nvidia.com"
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_DEVICE = re.compile(rf"(?:GPU-{_UUID}|MIG-{_UUID}|MIG-GPU-{_UUID}/\d{{1,3}}/\d{{1,3}})")
_REPLICA = re.compile(r"::\d{1,6}\Z")
_GKE = re.compile(r"nvidia(\d{1,3})(?:/gi(\d{1,3}))?(?:/vgpu\d{1,6})?")
_OLD_MIG = re.compile(rf"MIG-(GPU-{_UUID})/\d+/\d+")
_IN_CDI = re.compile(rf"(?<![0-9A-Za-z])((?:GPU|MIG)-{_UUID})(?![0-9A-Za-z-])")


def is_gpu_resource(name: str, configured: Collection[str] = ()) -> bool:
    """Whether an extended resource is one of GPUs: NVIDIA's names, or one that the configuration has."""
    return name in ("nvidia.com/gpu", "nvidia.com/gpu.shared") or name.startswith("nvidia.com/mig-") or name in configured


def device_of(device_id: str, minors: Mapping[int, str]) -> str | None:
    """The device that a plugin's id means; None: not known. `minors` has the UUID of each GPU by its minor number."""
    plain = _REPLICA.sub("", device_id)
    if _DEVICE.fullmatch(plain):
        return plain
    by_minor = _GKE.fullmatch(plain)
    uuid = minors.get(int(by_minor[1])) if by_minor else None
    if by_minor is None or uuid is None:
        return None
    return uuid if by_minor[2] is None else f"MIG-{uuid}/{by_minor[2]}/0"  # GKE gives whole instances away


def device_in_cdi(names: Iterable[str]) -> str | None:
    """The one device whose UUID stands in the CDI names of a claim's device; None: none, or more than one."""
    devices = {match[1] for name in names for match in _IN_CDI.finditer(name.partition("=")[2])}
    return devices.pop() if len(devices) == 1 else None


def gpu_of(device: str) -> str:
    """UUID of the GPU whose slice an old MIG name (`MIG-GPU-uuid/gi/ci`) means; any other device is itself."""
    old = _OLD_MIG.fullmatch(device)
    return old[1] if old else device
