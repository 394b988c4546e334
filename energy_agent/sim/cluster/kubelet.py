"""The kubelet of a simulated node: its PodResources API, v1, over a unix socket by grpcio's server, and its folders of logs.

It lists pods in another order each time, as a real one does, and can simulate faults while it runs: the file `kubelet-fault` in
the node's folder holds a fault: hang, slow, error, garbage or empty.
"""

import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from energy_agent.owners.kubernetes.device_ids import DRA_DRIVER
from energy_agent.sim.cluster.pods import PodNow

if TYPE_CHECKING:
    from energy_agent.owners.kubernetes import podresources_pb2

SOCKET: Final = "kubelet.sock"
LOGS: Final = "pod-logs"
_SLOW_S: Final = 3.0
_HANG_S: Final = 60.0


class Kubelet:
    """Serves in its own threads until `stop`. The driver of the node sets the pods with `show`."""

    def __init__(self, directory: Path, other_pods: int = 0, seed: int = 1) -> None:
        import grpc

        from energy_agent.owners.kubernetes.podresources_pb2 import ListPodResourcesRequest

        self.socket = directory / SOCKET
        self.socket.unlink(missing_ok=True)
        self._fault_file = directory / "kubelet-fault"
        self._pods: tuple[PodNow, ...] = ()
        self._logs = directory / LOGS
        self._logs.mkdir(mode=0o755, exist_ok=True)
        self._random = random.Random(seed)
        self._others = _serialise_other_pods(other_pods)
        self._stopping = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(8), options=(("grpc.max_send_message_length", -1),))
        method = grpc.unary_unary_rpc_method_handler(
            self._list, request_deserializer=ListPodResourcesRequest.FromString, response_serializer=lambda answer: answer
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": method}),)
        )
        self._server.add_insecure_port("unix:" + quote(str(self.socket)))
        self._server.start()

    def show(self, pods: list[PodNow]) -> None:
        """From now on these are the node's pods."""
        folders = {f"{now.pod.namespace}_{now.pod.name}_{now.uid}" for now in pods}
        present = {folder.name for folder in self._logs.iterdir()}
        for name in folders - present:
            (self._logs / name).mkdir()
        for name in present - folders:
            shutil.rmtree(self._logs / name, ignore_errors=True)
        self._pods = tuple(pods)

    def stop(self) -> None:
        """Answer no more."""
        self._stopping.set()
        self._server.stop(0.2).wait()
        self.socket.unlink(missing_ok=True)

    def _fault(self) -> str:
        try:
            return self._fault_file.read_text().strip()
        except OSError:
            return ""

    def _list(self, _request: object, context: Any) -> bytes:
        from energy_agent.owners.kubernetes.podresources_pb2 import ListPodResourcesResponse

        fault = self._fault()
        if fault in ("hang", "slow"):
            end_s = time.monotonic() + (_HANG_S if fault == "hang" else _SLOW_S)
            while time.monotonic() < end_s and context.is_active() and not self._stopping.wait(0.1):
                pass
        if fault == "error":
            import grpc

            context.abort(grpc.StatusCode.INTERNAL, "the kubelet has failed\x1b[31m today")
        if fault == "garbage":
            return b"\xff" * 4096
        pods = [] if fault == "empty" else [message(now) for now in self._pods if now.listed]
        self._random.shuffle(pods)
        return bytes(ListPodResourcesResponse(pod_resources=pods).SerializeToString()) + self._others


def message(now: PodNow) -> "podresources_pb2.PodResources":
    """A pod as a PodResources message."""
    from energy_agent.owners.kubernetes import podresources_pb2 as pb

    pod = now.pod
    container = pb.ContainerResources(name="main", cpu_ids=[0, 1])
    ids = pod.device_ids or now.gpus
    if pod.given == "plugin":
        suffix = "" if pod.replica is None else f"::{pod.replica}"
        container.devices.append(pb.ContainerDevices(resource_name=pod.resource, device_ids=[i + suffix for i in ids]))
    else:
        claim = pb.DynamicResource(claim_name=f"{pod.name}-gpu", claim_namespace=pod.namespace)
        for number, device in enumerate(ids):
            name = f"gpu-{number}" if not pod.device_ids else device
            cdi = f"nvidia.com/gpu={device}" if pod.given == "dra-cdi" else f"k8s.{DRA_DRIVER}/claim={now.uid}-{name}"
            one = pb.ClaimResource(driver_name=DRA_DRIVER, pool_name="node", device_name=name)
            one.cdi_devices.append(pb.CDIDevice(name=cdi))
            claim.claim_resources.append(one)
        container.dynamic_resources.append(claim)
    return pb.PodResources(name=pod.name, namespace=pod.namespace, containers=[container])


def _serialise_other_pods(count: int) -> bytes:
    """Serialised pods without GPUs; a message of repeated fields may be put together from pieces."""
    from energy_agent.owners.kubernetes import podresources_pb2 as pb

    pods = (
        pb.PodResources(
            name=f"web-{number}-7c5ddbdf54-x2x8q",
            namespace=f"team-{number % 97}",
            containers=[pb.ContainerResources(name="app", devices=[])],
        )
        for number in range(count)
    )
    return bytes(pb.ListPodResourcesResponse(pod_resources=pods).SerializeToString())
