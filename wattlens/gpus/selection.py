"""The GPUs that `wattlens measure` measures, and other workloads that use them at the same time."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.runtime.threads import start_thread

if TYPE_CHECKING:
    from wattlens.gpus.processes import GpuProcess, GpuProcesses

T = TypeVar("T")
_NVML_S = 5.0
"""A process list that takes longer is not waited for: one hung GPU must not hold up a program."""
_FIRST_LOOK_S, _LOOK_S = 1.0, 5.0
_NAMES_LIMIT = 5
_NAME_THEM = "select the server's GPUs with --gpus, or its workload with --workload"


@dataclass(frozen=True, slots=True)
class MeasuredGpus:
    """The GPUs to measure, and why.

    Args:
        gpus: for `measure`; empty: all that the program may use.
        why: how they were chosen, after their names: "which the server uses"; "" where nobody chose.
        pids: processes which own them, with their descendants.
        workloads: workloads which own them.
        shared: others that are known to share them from the start.
        ports: other ports at which processes of the servers listen, where several of them use GPUs: other servers may be there.
    """

    gpus: tuple[str, ...] = ()
    why: str = ""
    pids: frozenset[int] = frozenset()
    workloads: frozenset[str] = frozenset()
    shared: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


def open_processes(simulated: Path | None) -> "GpuProcesses | None":
    """The process lists of the GPUs; None where NVML does not answer in time, for which the window has its own reason."""
    from energy_agent.devices.nvml.abi import NvmlError
    from wattlens.gpus.processes import GpuProcesses

    try:
        return _within(_NVML_S, lambda: GpuProcesses.open(simulated, time.time_ns()))
    except (NvmlError, OSError):
        return None


def select(processes: "GpuProcesses | None", gpus: str | None, workload: str | None, urls: Sequence[str]) -> MeasuredGpus:
    """The GPUs that the options mean.

    Args:
        processes: the process lists; None if they cannot be read.
        gpus: value of `--gpus`.
        workload: value of `--workload`.
        urls: values of `--tokens-from`.

    Raises:
        UsageError: an option names no GPU or workload, or the server's GPUs cannot be found and nothing names them.
    """
    if workload is not None:
        return _of_workload(processes, workload)
    if gpus is not None:
        from energy_agent.sdk.measure.visible import named_devices, parse_names

        try:
            if processes is None:
                parse_names(gpus)
                return MeasuredGpus(tuple(gpus.split(",")))
            named = tuple(named_devices(gpus, processes.uuids))
        except WattlensError as error:
            raise UsageError(f"measure: --gpus: {error}") from None
        selection = _own_job(processes)
        if urls:
            try:
                selection = _of_servers(processes, urls, named)
            except WattlensError:
                selection = MeasuredGpus()  # then whatever is alone on these GPUs is the server
        return MeasuredGpus(_names(named), "", selection.pids, selection.workloads, ports=selection.ports)
    if processes is None:
        return MeasuredGpus()
    return _of_servers(processes, urls) if urls else _own_job(processes)


def _own_job(processes: "GpuProcesses") -> MeasuredGpus:
    """The Slurm job that this process is in: `srun` starts its tasks as no descendants of ours."""
    process = processes.describe(os.getpid())
    return MeasuredGpus(workloads=frozenset({process.workload} if process.kind == "slurm" else ()))


def _of_servers(processes: "GpuProcesses", urls: Sequence[str], measured: Sequence[str] | None = None) -> MeasuredGpus:
    """The GPUs of the servers at `urls`; `measured` are those that the user named instead."""
    from wattlens.gpus.listener import ListenerError, descendants, other_ports, port_of, server_processes
    from wattlens.gpus.processes import SHARED_KINDS, gpus_of

    lists = _within(_NVML_S, processes.read) or {}
    gpus: dict[str, None] = {}
    pids: set[int] = set()
    workloads: set[str] = set()
    other: set[int] = set()
    for url in urls:
        try:
            listeners = server_processes(url)
        except ListenerError as error:
            raise UsageError(f"measure: --tokens-from: {error}; {_NAME_THEM}") from None
        family = descendants(listeners)
        described = [processes.describe(pid) for pid in listeners]
        names = {each.workload for each in described if each.kind in SHARED_KINDS}
        by_pid = gpus_of(lists, family, set())
        within = lists if measured is None else measured
        if len(family & {process.pid for uuid in within for process in lists.get(uuid, ())}) > 1:
            other |= other_ports(family, [port_of(each) for each in urls]).keys()
        used = by_pid or gpus_of(lists, set(), names)
        if not used:
            listener = ", ".join(map(str, described[:_NAMES_LIMIT]))
            raise UsageError(f"measure: --tokens-from: {url}: its server, {listener}, uses no visible GPU; {_NAME_THEM}")
        gpus |= dict.fromkeys(used)
        pids |= listeners
        workloads |= set() if by_pid else names
    order = {uuid: place for place, uuid in enumerate(processes.uuids)}
    chosen = sorted(gpus, key=lambda uuid: order.get(uuid, len(order)))
    why = "used by the server" if len(urls) == 1 else "used by the servers"
    return MeasuredGpus(_names(chosen), why, frozenset(pids), frozenset(workloads), ports=tuple(sorted(other)))


def _names(uuids: Iterable[str]) -> tuple[str, ...]:
    """Return UUIDs as `measure` accepts them; a GPU whose UUID is unknown is named by its position."""
    return tuple(uuid.removeprefix("gpu ") for uuid in uuids)


def _of_workload(processes: "GpuProcesses | None", name: str) -> MeasuredGpus:
    lists = {} if processes is None else _within(_NVML_S, processes.read) or {}
    used = [uuid for uuid, listed in lists.items() if any(process.workload == name for process in listed)]
    why = f"of workload {name}"
    if used:
        return MeasuredGpus(_names(used), why, workloads=frozenset({name}))
    # The agent knows pods and jobs by the names that their schedulers give them.
    from energy_agent.runtime.network.agent_socket import ask

    try:
        status, reply = ask("GET", f"/v1/workload/{quote(name, safe='')}")
    except (OSError, ValueError):
        status, reply = 0, {}
    devices = [device for device in reply.get("devices", ()) if device.get("held")] if status == 200 else []
    if devices:
        shared = (f"others in addition to {name}",) if any(device.get("shared") for device in devices) else ()
        return MeasuredGpus(tuple(str(device["uuid"]) for device in devices), why, shared=shared)
    if processes is None:
        raise UsageError(
            f"measure: --workload {name!r}: neither NVML nor an agent lists the workloads on this machine's GPUs; "
            "'wattlens doctor' checks both"
        )
    names = sorted({process.workload for listed in lists.values() for process in listed if process.workload})
    hint = f"workloads on GPUs: {', '.join(names[:20])}" if names else "no visible workload uses a GPU"
    raise UsageError(f"measure: --workload {name!r}: uses no GPU of this machine; {hint}")


@dataclass
class NeighbourMonitor:
    """Checks periodically who else uses the measured GPUs: `with NeighbourMonitor(...)` around the window.

    Args:
        processes: the process lists.
        uuids: the GPUs that are measured.
        selection: who owns them.
    """

    processes: "GpuProcesses | None"
    uuids: Sequence[str]
    selection: MeasuredGpus
    others: dict[str, set[str]] = field(default_factory=dict)
    """Processes of other workloads, as text, with the GPUs on which they were."""
    used: set[str] = field(default_factory=set)
    """GPUs on which there was a process."""
    unseen: set[str] = field(default_factory=set)
    """GPUs with a process of which nothing can be seen from here."""
    free: set[str] | None = None
    """GPUs of the machine, measured or not, on which there never was a process; None before the first reading."""
    _roots: set[int] = field(default_factory=set)
    _own_pids: set[int] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "NeighbourMonitor":
        """Begin to look."""
        self._roots = set(self.selection.pids)
        for name in self.selection.shared:
            self.others[name] = set(self.uuids)
        if self.processes is not None:
            self._thread = threading.Thread(target=self._look_on, name="neighbours", daemon=True)
            start_thread(self._thread)
        return self

    def __exit__(self, *_: object) -> None:
        """Look once more, and no more after."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_NVML_S)

    def add(self, pid: int) -> None:
        """A process which owns the GPUs, with its descendants."""
        self._roots.add(pid)

    def _look_on(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            self._look()
            wait_s = _LOOK_S if wait_s else _FIRST_LOOK_S
        self._look()

    def _look(self) -> None:
        from wattlens.gpus.listener import descendants

        assert self.processes is not None
        lists = self.processes.read()
        self._own_pids |= descendants(self._roots)
        empty = {uuid for uuid, listed in lists.items() if not listed}
        self.free = empty if self.free is None else self.free & empty
        by_owner: dict[str, dict[str, set[str]]] = {}
        for uuid in self.uuids:
            for process in lists.get(uuid, ()):
                self.used.add(uuid)
                if process.pid in self._own_pids or process.workload in self.selection.workloads:
                    continue
                if process.workload:
                    by_owner.setdefault(_owner(process), {}).setdefault(str(process), set()).add(uuid)
                else:
                    self.unseen.add(uuid)
        if not self._own_pids and not self.selection.workloads and len(by_owner) < 2:
            return  # nobody is known to own these GPUs: one workload alone does
        for named in by_owner.values():
            for name, uuids in named.items():
                self.others.setdefault(name, set()).update(uuids)


def _owner(process: "GpuProcess") -> str:
    """What processes of one workload have in common: its name, or of processes of a login their session."""
    from wattlens.gpus.processes import SHARED_KINDS

    if process.kind in SHARED_KINDS:
        return process.workload
    try:
        return f"session {os.getsid(process.pid)}"
    except OSError:
        return process.workload


def _within(seconds: float, function: Callable[[], T]) -> T | None:
    """What a function returns, or raises, within a time; None where it takes longer."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    start_thread(thread)
    thread.join(seconds)
    if errors:
        raise errors[0]
    return results[0] if results else None
