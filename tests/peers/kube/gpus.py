"""The GPUs of the cluster's node: the simulated plant, a device plugin that offers them, and the pods that compute on them.

`python -m tests.peers.kube.gpus FOLDER`. The plugin offers each GPU as one nvidia.com/gpu, by its UUID, as NVIDIA's does. A
container with WL_LOAD in its environment keeps its GPUs busy at that intensity; without it a GPU is allocated and idle.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from energy_agent.core.errors import WattlensError
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.plant import Plant

COUNT = 8
KUBELET = Path("/var/lib/kubelet/device-plugins")
SOCKET = "nvidia-gpu.sock"
PERIOD_S = 0.2
AHEAD_NS = 1_500_000_000


def field(number: int, value: bytes | str) -> bytes:
    """A string, bytes or message in a message of protobuf; below 16,384 bytes."""
    data = value.encode() if isinstance(value, str) else value
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


def fields(data: bytes) -> Iterator[bytes]:
    """Values of a message whose fields are strings or messages."""
    at = 0
    while at < len(data):
        size, at = data[at + 1], at + 2
        if size & 128:
            size, at = size & 127 | data[at] << 7, at + 1
        yield data[at : at + size]
        at += size


class DevicePlugin:
    """v1beta1.DevicePlugin on a socket that is registered with the kubelet."""

    def __init__(self, uuids: list[str]) -> None:
        self._uuids = uuids
        (KUBELET / SOCKET).unlink(missing_ok=True)
        self._server = grpc.server(ThreadPoolExecutor(8))
        calls = {
            "GetDevicePluginOptions": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b""),
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(self._list),
            "Allocate": grpc.unary_unary_rpc_method_handler(self._allocate),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", calls),))
        self._server.add_insecure_port(f"unix:{KUBELET / SOCKET}")
        self._server.start()
        request = field(1, "v1beta1") + field(2, SOCKET) + field(3, "nvidia.com/gpu")
        with grpc.insecure_channel(f"unix:{KUBELET / 'kubelet.sock'}") as channel:
            channel.unary_unary("/v1beta1.Registration/Register")(request, timeout=5)

    def _list(self, _request: bytes, context: Any) -> Iterator[bytes]:
        yield b"".join(field(1, field(1, uuid) + field(2, "Healthy")) for uuid in self._uuids)
        while context.is_active():
            time.sleep(1)

    @staticmethod
    def _allocate(request: bytes, _context: Any) -> bytes:
        answers = []
        for container in fields(request):
            uuids = ",".join(sorted(uuid.decode() for uuid in fields(container)))
            answers.append(field(1, field(1, field(1, "NVIDIA_VISIBLE_DEVICES") + field(2, uuids))))
        return b"".join(answers)


class Driver:
    """Work of the containers that were given GPUs, by the pids of their processes."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._number = {plant.uuid(gpu): gpu for gpu in range(plant.count)}
        self._slots: dict[int, list[tuple[int, int, float]]] = {}

    def advance(self) -> None:
        """Find new processes, forget those that ended, keep every slot busy for a little longer than a period."""
        for pid in {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()} - self._slots.keys():
            with suppress(OSError, WattlensError):
                self._attach(pid)
        self._slots = {pid: slots for pid, slots in self._slots.items() if Path(f"/proc/{pid}").exists()}
        for gpu, slot, load in (each for slots in self._slots.values() for each in slots):
            with suppress(WattlensError):
                ticket = self._plant.submit(gpu, slot, reference_ns=1, memory_boundness=0.5, intensity=load)
                missing_ns = AHEAD_NS - (ticket - self._plant.done_ns(gpu, slot))
                if missing_ns > 0:
                    self._plant.submit(gpu, slot, reference_ns=missing_ns, memory_boundness=0.5, intensity=load)

    def _attach(self, pid: int) -> None:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        environ = dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs if pair)
        devices = environ.get("NVIDIA_VISIBLE_DEVICES", "")
        program = Path(f"/proc/{pid}/exe").readlink().name  # runc has the environment for an instant
        if devices.startswith("GPU-") and "WL_LOAD" in environ and program.startswith("python"):
            gpus, load = [self._number[uuid] for uuid in devices.split(",")], float(environ["WL_LOAD"])
            self._slots[pid] = [(gpu, self._plant.attach_process(gpu, pid, memory_b=40 << 30), load) for gpu in gpus]


def main(folder: Path) -> None:
    """Never returns; raises while the kubelet does not listen, and is started again."""
    path = folder / "gpus/plant"
    if not path.exists():
        path.parent.mkdir()
        Plant.create(path, [BoardSpec("H100-SXM5-80GB")] * COUNT, seed=7).close()
        path.chmod(0o666)  # as the driver's device files
    with Plant.attach(path) as plant:
        DevicePlugin([plant.uuid(gpu) for gpu in range(plant.count)])
        driver = Driver(plant)
        while True:
            driver.advance()
            time.sleep(PERIOD_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
