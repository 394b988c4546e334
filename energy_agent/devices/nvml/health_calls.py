"""NVML's calls for health over pynvml, mixed into `RealNvml`; they are made seldom, so pynvml's own wrappers serve."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import FieldValue, NvmlError
from energy_agent.devices.nvml.health_abi import MigDevice

MAX_MIG_DEVICES = 64  # far more than any board has; bounds the loop over what a driver says


class HealthCalls:
    """Needs `_call`, `answers` and `_nvml` of the class that it is mixed into."""

    _nvml: Any

    def __init__(self) -> None:
        self._scoped: dict[tuple[tuple[int, int], ...], Any] = {}  # arrays of fields that were asked before

    def _call(self, name: str, *arguments: Any) -> Any:
        raise NotImplementedError

    def answers(self, device: object, fields: Any) -> list[FieldValue]:  # noqa: D102 - of the class below
        raise NotImplementedError

    def scoped_field_values(self, device: object, fields: Sequence[tuple[int, int]]) -> list[FieldValue]:
        """Fields with their scopes, such as the number of a link; in the order asked."""
        key = tuple(fields)
        asked = self._scoped.get(key)
        if asked is None:
            asked = self._scoped[key] = (self._nvml.c_nvmlFieldValue_t * len(key))()
            for answer, (field, scope) in zip(asked, key, strict=True):
                answer.fieldId, answer.scopeId = field, scope
        return self.answers(device, asked)

    def ecc_errors(self, device: object, uncorrected: int, aggregate: int, location: int) -> int:
        """ECC errors of a location; flags are NVML's numbers: 0 corrected, 1 uncorrected; 0 volatile, 1 aggregate."""
        return int(self._call("nvmlDeviceGetMemoryErrorCounter", device, uncorrected, aggregate, location))

    def ecc_mode(self, device: object) -> tuple[int, int]:
        """ECC now, and after the next reset: 1 on, 0 off."""
        current, pending = self._call("nvmlDeviceGetEccMode", device)
        return int(current), int(pending)

    def pcie_replays(self, device: object) -> int:
        """PCIe packets that were sent again."""
        return int(self._call("nvmlDeviceGetPcieReplayCounter", device))

    def pcie_link(self, device: object) -> tuple[int, int, int, int]:
        """Generation now and at most, lanes now and at most."""
        names = ("CurrPcieLinkGeneration", "MaxPcieLinkGeneration", "CurrPcieLinkWidth", "MaxPcieLinkWidth")
        generation, most, lanes, most_lanes = (int(self._call(f"nvmlDeviceGet{name}", device)) for name in names)
        return generation, most, lanes, most_lanes

    def pcie_throughput_kib_s(self, device: object, receive: int) -> int:
        """KiB/s sent (0) or received (1) in the 20 ms for which the call blocks. NVML says KB, not which; we take 1024."""
        return int(self._call("nvmlDeviceGetPcieThroughput", device, receive))

    def nvlink_up(self, device: object, link: int) -> bool:
        """Whether a link is active."""
        return int(self._call("nvmlDeviceGetNvLinkState", device, link)) == 1

    def encoder_percent(self, device: object) -> int:
        """Utilisation of the video encoders."""
        return int(self._call("nvmlDeviceGetEncoderUtilization", device)[0])

    def decoder_percent(self, device: object) -> int:
        """Utilisation of the video decoders."""
        return int(self._call("nvmlDeviceGetDecoderUtilization", device)[0])

    def fans_percent(self, device: object) -> list[int]:
        """Intended speed of each fan; empty where the board has none of its own.

        Raises:
            NvmlError: NOT_SUPPORTED where fans are not told.
        """
        count = int(self._call("nvmlDeviceGetNumFans", device))
        return [int(self._call("nvmlDeviceGetFanSpeed_v2", device, fan)) for fan in range(min(count, 16))]

    def bar1_b(self, device: object) -> tuple[int, int]:
        """BAR1 in use and in total, in bytes."""
        answer = self._call("nvmlDeviceGetBAR1MemoryInfo", device)
        return int(answer.bar1Used), int(answer.bar1Total)

    def memory_reserved_b(self, device: object) -> int:
        """Device memory that driver and firmware keep, in bytes."""
        return int(self._call("nvmlDeviceGetMemoryInfo", device, self._nvml.nvmlMemory_v2).reserved)

    def mig_mode(self, device: object) -> tuple[int, int]:
        """MIG mode now, and after the next reset: 1 on, 0 off."""
        current, pending = self._call("nvmlDeviceGetMigMode", device)
        return int(current), int(pending)

    def mig_devices(self, device: object) -> list[MigDevice]:
        """The MIG devices there are now. One that goes while it is asked is left out."""
        found = []
        for index in range(min(int(self._call("nvmlDeviceGetMaxMigDeviceCount", device)), MAX_MIG_DEVICES)):
            with suppress(NvmlError):  # NOT_FOUND: no device at this index
                mig = self._call("nvmlDeviceGetMigDeviceHandleByIndex", device, index)
                name = _text(self._call("nvmlDeviceGetName", mig))
                found.append(
                    MigDevice(
                        _text(self._call("nvmlDeviceGetUUID", mig)),
                        name.rpartition("MIG ")[2],
                        int(self._call("nvmlDeviceGetGpuInstanceId", mig)),
                        int(self._call("nvmlDeviceGetComputeInstanceId", mig)),
                    )
                )
        return found

    def gpm(self, device: object) -> "Gpm":
        """Start sampling GPM.

        Raises:
            NvmlError: NOT_SUPPORTED before Hopper.
        """
        if not int(self._call("nvmlGpmQueryDeviceSupport", device).isSupportedDevice):
            raise NvmlError(abi.NOT_SUPPORTED, "nvmlGpmQueryDeviceSupport")
        return Gpm(self._nvml, self._call, device)


class Gpm:
    """Two GPM samples in turn, of a GPU or of one of its GPU instances: what lies between the last two is the reading."""

    def __init__(self, nvml: Any, call: Any, device: object, gpu_instance: int | None = None) -> None:
        self._nvml, self._call = nvml, call
        self._take = ("nvmlGpmSampleGet", device) if gpu_instance is None else ("nvmlGpmMigSampleGet", device, gpu_instance)
        self._samples: list[Any] = []
        try:
            for _ in range(2):
                self._samples.append(call("nvmlGpmSampleAlloc"))
            call(*self._take, self._samples[0])
        except NvmlError:
            self.close()
            raise

    def read(self, ids: Sequence[int]) -> Mapping[int, float]:
        """Metrics since the last read or the start: percentages, and MiB/s of traffic; what is not supported is left out."""
        first, second = self._samples
        self._call(*self._take, second)
        self._samples.reverse()
        get = self._nvml.c_nvmlGpmMetricsGet_t()
        get.version, get.numMetrics = self._nvml.NVML_GPM_METRICS_GET_VERSION, len(ids)
        get.sample1, get.sample2 = first, second
        for place, metric in enumerate(ids):
            get.metrics[place].metricId = metric
        self._call("nvmlGpmMetricsGet", get)
        answers = (get.metrics[place] for place in range(len(ids)))
        return {int(a.metricId): float(a.value) for a in answers if a.nvmlReturn == abi.SUCCESS}

    def close(self) -> None:
        """Free the samples. A second time does nothing."""
        while self._samples:
            with suppress(NvmlError):  # the driver may be gone, and its memory with it
                self._call("nvmlGpmSampleFree", self._samples.pop())


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
