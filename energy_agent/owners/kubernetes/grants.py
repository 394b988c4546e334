"""The kubelet's answer to `List`, pod by pod: which devices each was given. No I/O.

The answer is taken apart one pod at a time, so that one of 100,000 pods costs its bytes and no tree of 100,000 objects; pods in
whose bytes nothing of a GPU stands are passed over as they are. The order of pods, containers and devices means nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from energy_agent.core.errors import WattlensError
from energy_agent.owners.kubernetes.device_ids import DRA_DRIVER, device_in_cdi, device_of, is_gpu_resource

if TYPE_CHECKING:
    from energy_agent.owners.kubernetes import podresources_pb2

MAX_CLAIMS = 4_096  # 16 GPUs of 7 slices, each shared by 36
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # what the API server lets a pod and a namespace be called
_VENDOR = b"nvidia.com"
_POD, _WIRE_SIZES = 0x0A, {1: 8, 5: 4}  # field 1 with a length; wire types of a fixed size

DraDevice = tuple[str, str, str]
"""Driver, pool and device name."""
ClaimName = tuple[str, str]
"""Namespace and name of a ResourceClaim."""


class AnswerError(WattlensError, ValueError):
    """An answer that is not one of PodResources."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one pod was given. `unknown` are devices that no UUID is known of."""

    namespace: str
    pod: str
    devices: tuple[str, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Naming:
    """What is needed to tell which device is meant."""

    resources: tuple[str, ...] = ()  # beside NVIDIA's own names
    minors: Mapping[int, str] = field(default_factory=dict)
    dra: Callable[[DraDevice], str | None] = lambda _: None
    is_admin: Callable[[ClaimName, DraDevice], bool] = lambda _claim, _device: False
    """Whether a claim has only administrative access: its pod monitors the device, and the pods that use it pay."""


def grants(answer: bytes, naming: Naming) -> Iterator[Grant]:
    """Pods that were given GPUs, from a serialised ListPodResourcesResponse.

    Raises:
        AnswerError: it is none, or gives more away than a node can have.
    """
    from google.protobuf.message import DecodeError

    from energy_agent.owners.kubernetes.podresources_pb2 import PodResources

    needles = (_VENDOR, *(name.encode() for name in naming.resources))
    left = MAX_CLAIMS
    for body in _pods(answer):
        if not any(needle in body for needle in needles):
            continue
        try:
            grant = _grant(PodResources.FromString(body), naming)
        except DecodeError as error:
            raise AnswerError("an answer that is no PodResources") from error
        left -= len(grant.devices) + len(grant.unknown)
        if left < 0:
            raise AnswerError(f"more than {MAX_CLAIMS} devices given to pods")
        if grant.devices or grant.unknown:
            yield grant


def _grant(pod: "podresources_pb2.PodResources", naming: Naming) -> Grant:
    devices: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for container in pod.containers:
        for given in container.devices:
            if not is_gpu_resource(given.resource_name, naming.resources):
                continue
            for device_id in given.device_ids:
                device = device_of(device_id, naming.minors)
                (unknown if device is None else devices)[device or device_id] = None
        for claim in container.dynamic_resources:
            for one in claim.claim_resources:
                if one.driver_name != DRA_DRIVER:
                    continue
                key = (one.driver_name, one.pool_name, one.device_name)
                if naming.is_admin((claim.claim_namespace, claim.claim_name), key):
                    continue
                device = device_in_cdi(cdi.name for cdi in one.cdi_devices) or naming.dra(key)
                (unknown if device is None else devices)[device or "/".join(key)] = None
    if not (_NAME.fullmatch(pod.name) and _NAME.fullmatch(pod.namespace)):
        return Grant("", "", (), (*devices, *unknown))  # nothing that the API server would have let in
    return Grant(pod.namespace, pod.name, tuple(devices), tuple(unknown))


def _pods(answer: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(answer):
        tag, at = _varint(answer, at)
        wire = tag & 7
        if wire == 0:
            _, at = _varint(answer, at)
            continue
        size, at = (_WIRE_SIZES[wire], at) if wire in _WIRE_SIZES else _varint(answer, at) if wire == 2 else (-1, at)
        if size < 0 or at + size > len(answer):
            raise AnswerError("an answer that is no PodResources")
        if tag == _POD:
            yield answer[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise AnswerError("an answer that is no PodResources")
