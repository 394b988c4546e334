"""What top reads of its own machine: processes on GPUs by NVML's process list, their users and commands, CPU, memory by /proc.

It is read only if the agent's GPUs are this machine's, by their UUIDs: behind a forwarded port on 127.0.0.1 may be any node.
NVML is closed while no GPU answers, so that top does not hold the driver during an update.
"""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.owners.processes import read_proc
from wattlens.top.frame import HostStatus, LocalStatus, ProcessStatus, TopFrame

PERIOD_S = 2.0
MAX_PROCESSES = 1000
COMMAND_MAX, USER_MAX = 500, 32
PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_B = os.sysconf("SC_PAGE_SIZE")
_OTHER_MACHINE = "the agent's GPUs are not on this machine"
_NO_DRIVER = ("LIBRARY_NOT_FOUND", "DRIVER_NOT_LOADED")


@dataclass(slots=True)
class HostReader:
    """CPU and memory of the machine; CPU is over the time between two readings."""

    procfs: Path = PROC
    _before: tuple[int, int] | None = None  # busy and total ticks

    def read(self) -> HostStatus | None:
        """None where /proc cannot be read."""
        try:
            ticks = [int(n) for n in (self.procfs / "stat").read_text().partition("\n")[0].split()[1:9]]
            memory = _parse_meminfo((self.procfs / "meminfo").read_text())
            one, five, fifteen = map(float, (self.procfs / "loadavg").read_text().split()[:3])
            total = sum(ticks)
            busy = total - ticks[3] - ticks[4]  # idle and waiting for disks
            memory_total_b = memory["MemTotal"]
        except (OSError, ValueError, LookupError):
            return None
        before, self._before = self._before, (busy, total)
        ratio = (busy - before[0]) / (total - before[1]) if before and total > before[1] else None
        available = memory.get("MemAvailable", memory.get("MemFree", 0))
        return HostStatus(
            cpu_ratio=ratio,
            cores=os.cpu_count() or 1,
            load=(one, five, fifteen),
            memory_used_b=memory_total_b - available,
            memory_total_b=memory_total_b,
            swap_used_b=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
            swap_total_b=memory.get("SwapTotal", 0),
        )


def _parse_meminfo(text: str) -> dict[str, int]:
    fields = (line.split() for line in text.splitlines())
    return {parts[0].rstrip(":"): int(parts[1]) * 1024 for parts in fields if len(parts) >= 2}


@dataclass(frozen=True, slots=True)
class ListedProcess:
    """A process on a GPU, or on a MIG instance of it, as NVML lists it."""

    gpu: str
    pid: int
    memory_b: int | None
    instance: int | None


@dataclass(slots=True)
class ProcessReader:
    """User, command, CPU and memory of processes by /proc; what does not change is read once per process."""

    procfs: Path = PROC
    _identities: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)  # pid and start -> user, command
    _cpu: dict[tuple[int, str], tuple[float, int]] = field(default_factory=dict)  # when and ticks
    _users: dict[int, str] = field(default_factory=dict)

    def read(self, listed: list[ListedProcess]) -> tuple[ProcessStatus, ...]:
        """The processes, one row for all GPUs of a process."""
        identities, cpu, now_s = self._identities, self._cpu, time.monotonic()
        self._identities, self._cpu = {}, {}
        uptime_s = _uptime_s(self.procfs)
        processes = []
        rows: dict[tuple[int, str], list[ListedProcess]] = {}
        for each in listed:
            rows.setdefault((each.pid, "" if each.instance is None else f"{each.gpu}/{each.instance}"), []).append(each)
        for (pid, instance), uses in list(rows.items())[:MAX_PROCESSES]:
            fields = (read_proc(self.procfs, pid, "stat") or "").rpartition(")")[2].split()
            gpus = tuple(dict.fromkeys(use.gpu for use in uses))
            memory_b = [float(use.memory_b) for use in uses if use.memory_b is not None]
            base = (sum(memory_b) if memory_b else None, instance.partition("/")[2])
            if len(fields) < 22:
                processes.append(ProcessStatus(gpus, pid, "-", "not visible from here", *base))
                continue
            key = (pid, fields[19])
            user, command = self._identities[key] = identities.get(key) or (self._user(pid), self._command(pid))
            ticks = int(fields[11]) + int(fields[12])
            before = cpu.get(key)
            self._cpu[key] = (now_s, ticks)
            ratio = (ticks - before[1]) / _TICKS_PER_S / (now_s - before[0]) if before and now_s > before[0] else None
            age_s = None if uptime_s is None else max(0.0, uptime_s - int(fields[19]) / _TICKS_PER_S)
            processes.append(ProcessStatus(gpus, pid, user, command, *base, ratio, float(int(fields[21]) * _PAGE_B), age_s))
        return tuple(processes)

    def _user(self, pid: int) -> str:
        try:
            uid = os.stat(f"{self.procfs}/{pid}").st_uid  # noqa: PTH116 - without pathlib: often
        except OSError:
            return "-"
        if uid not in self._users:
            import pwd

            try:
                name = pwd.getpwuid(uid).pw_name
            except KeyError:
                name = str(uid)
            self._users[uid] = printable(name)[:USER_MAX]
        return self._users[uid]

    def _command(self, pid: int) -> str:
        command = (read_proc(self.procfs, pid, "cmdline") or "").replace("\0", " ").strip()
        command = command or f"[{(read_proc(self.procfs, pid, 'comm') or '?').strip()}]"
        return printable(command[:COMMAND_MAX])


def _uptime_s(procfs: Path) -> float | None:
    try:
        return float((procfs / "uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


@dataclass(slots=True)
class GpuProcessList:
    """NVML's process list of all GPUs of this machine; `library` is a simulated node's."""

    library: Path | None = None
    _nvml: RealNvml | None = None
    _devices: dict[str, Any] = field(default_factory=dict)  # handles by UUID

    def open(self) -> set[str]:
        """UUIDs of this machine's GPUs; raises NvmlError or UsageError."""
        if self._nvml is None:
            nvml = RealNvml(self.library)
            nvml.init()
            self._nvml = nvml
            for index in range(nvml.device_count()):
                try:
                    device = nvml.device_by_index(index)
                    self._devices[nvml.uuid(device)] = device
                except NvmlError:
                    continue  # a lost GPU
        return set(self._devices)

    def read(self, gpus: dict[str, str]) -> list[ListedProcess]:
        """Each process on the GPUs, whose indexes are given by UUID."""
        listed: list[ListedProcess] = []
        failed = 0
        local_gpus = {uuid: gpu for uuid, gpu in gpus.items() if uuid in self._devices}
        for uuid, gpu in local_gpus.items():
            if self._nvml is None:
                break
            try:
                processes = self._nvml.instance_processes(self._devices[uuid])
            except NvmlError:
                failed += 1
                continue
            listed += [ListedProcess(gpu, p.pid, p.memory_b, p.gpu_instance) for p in processes]
        if failed and failed == len(local_gpus):
            self.close()  # the driver was loaded again: the next reading opens it
        return listed

    def close(self) -> None:
        """Release the driver."""
        nvml, self._nvml, self._devices = self._nvml, None, {}
        if nvml is not None:
            try:
                nvml.shutdown()
            except NvmlError:
                return


class LocalReader:
    """Reads this machine every two seconds in a thread of its own: a driver that hangs stops neither keys nor readings."""

    def __init__(self, library: Path | None = None, procfs: Path = PROC) -> None:
        self._list, self._host, self._processes = GpuProcessList(library), HostReader(procfs), ProcessReader(procfs)
        self._gpus: dict[str, str] = {}  # GPUs that answer: index by UUID
        self._ended = threading.Event()
        self.status = LocalStatus(reason="not read yet")

    def follow(self, frame: TopFrame) -> None:
        """Take the GPUs of the agent's latest response."""
        self._gpus = {gpu.uuid: gpu.gpu for gpu in frame.gpus if gpu.up}

    def read(self) -> LocalStatus:
        """Read now."""
        gpus = self._gpus
        if not gpus:
            self._list.close()
            return LocalStatus(reason="no GPU of the agent responds")
        try:
            local_uuids = self._list.open()
        except NvmlError as error:
            reason = _OTHER_MACHINE if error.name in _NO_DRIVER else f"NVML: {error.name}"
            return LocalStatus(reason=reason)
        except UsageError as error:
            return LocalStatus(reason=printable(str(error)))
        if local_uuids.isdisjoint(gpus):
            self._list.close()
            return LocalStatus(reason=_OTHER_MACHINE)
        return LocalStatus(self._host.read(), self._processes.read(self._list.read(gpus)))

    def run(self) -> None:
        """Read until `end`."""
        while True:
            self.status = self.read()
            if self._ended.wait(PERIOD_S):
                self._list.close()
                return

    def end(self) -> None:
        """Stop `run` after its present reading."""
        self._ended.set()
