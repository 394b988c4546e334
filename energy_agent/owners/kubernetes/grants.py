"""Parse the kubelet's response to `List`: the devices of each pod. No I/O.

The order of pods, containers and devices has no meaning.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from energy_agent.core.errors import WattlensError
from energy_agent.owners.kubernetes.device_ids import DRA_DRIVER, device_in_cdi, device_of, is_gpu_resource
from energy_agent.tokens.discovery import PodFacts

if TYPE_CHECKING:
    from energy_agent.owners.kubernetes import podresources_pb2

MAX_CLAIMS = 4_096  # 16 GPUs of 7 slices, each shared by 36
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # what the API server lets a pod and a namespace be called

DraDevice = tuple[str, str, str]
"""Driver, pool and device name."""
ClaimName = tuple[str, str]
"""Namespace and name of a ResourceClaim."""


class PodResourcesError(WattlensError, ValueError):
    """An answer that is not one of PodResources."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one pod was given. `unknown` are devices that no UUID is known of."""

    namespace: str
    pod: str
    devices: tuple[str, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodFact:
    """What the API server says of a pod.

    Args:
        uid: of this life of the pod.
        ended: it runs no more.
        labels: facts of its workload, as workload_info has them.
        endpoint: where it runs and says that it has a metrics page, what is needed to find it; without workload and facts.
    """

    uid: str = ""
    ended: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    endpoint: PodFacts | None = None


@dataclass(frozen=True, slots=True)
class Naming:
    """What identifies the device behind a name."""

    resources: tuple[str, ...] = ()  # in addition to NVIDIA's own names
    minors: Mapping[int, str] = field(default_factory=dict)
    dra: Callable[[DraDevice], str | None] = lambda _: None
    is_admin: Callable[[ClaimName, DraDevice], bool] = lambda _claim, _device: False
    """Whether a claim has only administrative access: its pod monitors the device, and the pods that use it pay."""


def grants(answer: bytes, naming: Naming) -> Iterator[Grant]:
    """Pods that were given GPUs, from a serialised ListPodResourcesResponse.

    Raises:
        PodResourcesError: it cannot be parsed, or assigns more devices than a node can have.
    """
    from google.protobuf.message import DecodeError

    from energy_agent.owners.kubernetes.podresources_pb2 import ListPodResourcesResponse

    try:
        pods = ListPodResourcesResponse.FromString(answer).pod_resources
    except DecodeError as error:
        raise PodResourcesError("expected a PodResources response") from error
    remaining = MAX_CLAIMS
    for pod in pods:
        grant = _grant(pod, naming)
        remaining -= len(grant.devices) + len(grant.unknown)
        if remaining < 0:
            raise PodResourcesError(f"more than {MAX_CLAIMS} devices assigned to pods")
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
