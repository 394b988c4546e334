"""NVML's calls for shared devices over pynvml, mixed into `RealNvml`; made every few seconds on shared devices alone."""

from contextlib import suppress
from typing import Any

from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.health_calls import MAX_MIG_DEVICES, Gpm
from energy_agent.devices.nvml.sharing_abi import InstanceProcess, MigShape

_NO_INSTANCE = 0xFFFFFFFF


class SharingCalls:
    """Needs `_call` and `_nvml` of the class that it is mixed into."""

    _nvml: Any

    def _call(self, name: str, *arguments: Any) -> Any:
        raise NotImplementedError

    def instance_processes(self, device: object) -> list[InstanceProcess]:
        """Each process with a compute context, with the MIG instance that it is on."""
        found = []
        for process in self._call("nvmlDeviceGetComputeRunningProcesses", device):
            memory = None if process.usedGpuMemory is None else int(process.usedGpuMemory)
            ids = (getattr(process, name, _NO_INSTANCE) for name in ("gpuInstanceId", "computeInstanceId"))
            gpu, compute = (None if i is None or int(i) == _NO_INSTANCE else int(i) for i in ids)
            found.append(InstanceProcess(int(process.pid), memory, gpu, compute))
        return found

    def mig_slices(self, device: object) -> int:
        """Compute slices of the whole GPU: as many MIG devices can be made of it."""
        return int(self._call("nvmlDeviceGetMaxMigDeviceCount", device))

    def mig_shapes(self, device: object) -> list[MigShape]:
        """The MIG devices there are now, with their size. One that goes while it is asked is left out."""
        found = []
        for index in range(min(self.mig_slices(device), MAX_MIG_DEVICES)):
            with suppress(NvmlError):  # NOT_FOUND: no device at this index
                mig = self._call("nvmlDeviceGetMigDeviceHandleByIndex", device, index)
                size = self._call("nvmlDeviceGetAttributes_v2", mig)
                uuid = self._call("nvmlDeviceGetUUID", mig)
                found.append(
                    MigShape(
                        uuid.decode(errors="replace") if isinstance(uuid, bytes) else str(uuid),
                        int(self._call("nvmlDeviceGetGpuInstanceId", mig)),
                        int(self._call("nvmlDeviceGetComputeInstanceId", mig)),
                        int(size.computeInstanceSliceCount),
                        int(size.multiprocessorCount),
                    )
                )
        return found

    def gpm_instance(self, device: object, gpu_instance: int) -> Gpm:
        """Start sampling GPM of one GPU instance.

        Raises:
            NvmlError: NOT_SUPPORTED before Hopper.
        """
        if not int(self._call("nvmlGpmQueryDeviceSupport", device).isSupportedDevice):
            raise NvmlError(abi.NOT_SUPPORTED, "nvmlGpmQueryDeviceSupport")
        return Gpm(self._nvml, self._call, device, gpu_instance)
