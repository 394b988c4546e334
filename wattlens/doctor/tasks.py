"""The doctor's child: asks NVML, read-only, and writes what it answered, one JSON object a line. The doctor is its only user.

look     NVML as a whole, and every GPU once, by the same DeviceReader that the agent uses
watch    counter, average and instant power of every GPU for some seconds, every 2 ms
edges    the counter of every GPU at a tick, at the two ends of each of a number of blocks
counter  the energy counter of every GPU for some seconds, all readings
capture  every answer there is, as a fixture (hw/nvml_capture)
"""

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.device import DeviceReader
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.devices.port import DeviceGone
from energy_agent.reader.main import forget_output
from energy_agent.reader.mark import Marker
from energy_agent.runtime.clock import clock_for
from energy_agent.runtime.parent import end_with_parent
from wattlens.doctor.watching import GpuWatcher, watch

EDGE_S = 1.0  # by then the counter of any board has ticked
_WAIT_S = 0.25
_PERIOD_S, _DENSE_PERIOD_S, _DENSE_S = 0.1, 0.01, 3.0  # of task counter: within _DENSE_S of an end the second
_ROWS = 2000  # of one message


class Task:
    """What the tasks share: NVML, the clock, the mark, the GPUs to leave alone."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Store the arguments; NVML is not called yet."""
        self.args = args
        self.clock: Clock = clock_for(os.environ)
        self.mark = Marker(args.mark_fd)
        self.nvml = RealNvml()

    def say(self, kind: str, **body: Any) -> None:
        """Send a message."""
        sys.stdout.write(json.dumps({"k": kind} | body, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def open(self) -> list[int]:
        """Start NVML and report it; return the indices of the GPUs to query."""
        self.mark.device = ""
        self.mark("Init")
        self.nvml.init()
        self.mark("SystemGetDriverVersion")
        driver = self.nvml.driver_version()
        try:
            nvml = _text(self.nvml.ask("nvmlSystemGetNVMLVersion"))
        except NvmlError:
            nvml = ""
        count = self.nvml.device_count()
        self.mark.clear()
        self.say("nvml", driver=driver, nvml=nvml, library=loaded_library(), count=count)
        return [i for i in range(count) if i not in self.args.exclude and self.args.gpu in (None, i)]

    def each(self, indices: list[int], do: Any) -> None:
        """`do(index, handle)` for every GPU, and a "gone" for one that does not answer."""
        for index in indices:
            self.mark.device = str(index)
            self.mark("GetHandleByIndex")
            try:
                do(index, self.nvml.device_by_index(index))
            except NvmlError as error:
                self.say("gone", index=index, reason=error.name, call=error.call)
            except DeviceGone as gone:
                self.say("gone", index=index, reason=gone.reason, call=gone.call)
        self.mark.clear()

    def look(self) -> None:
        """Read every GPU once."""

        def one(index: int, handle: object) -> None:
            self.mark("GetUUID")
            reader = DeviceReader(self.nvml, handle, self.clock, self.mark)
            began = time.perf_counter()
            sample = reader.read(full=True, list_processes=True)
            read_s = time.perf_counter() - began
            self.mark("GetPersistenceMode")
            persistence, why = None, ""
            try:
                persistence = self.nvml.persistence_mode(handle)
            except NvmlError as error:
                why = error.name
            self.say(
                "device", index=index, info=asdict(reader.info), sample=asdict(sample), read_s=read_s,
                persistence=persistence, persistence_absent=why,
            )  # fmt: skip

        self.each(self.open(), one)

    def _handles(self) -> dict[int, object]:
        """Every GPU that responds, reported."""
        handles: dict[int, object] = {}

        def one(index: int, handle: object) -> None:
            self.mark("GetUUID")
            self.say("board", index=index, uuid=self.nvml.uuid(handle), name=self.nvml.name(handle))
            handles[index] = handle

        self.each(self.open(), one)
        return handles

    def _watched(self) -> dict[int, GpuWatcher]:
        return {index: GpuWatcher(self.nvml, handle, self.clock, self.mark) for index, handle in self._handles().items()}

    def _at(self, index: int) -> None:
        self.mark.device = str(index)

    def watch(self) -> None:
        """Changes of counter, average and instant power."""
        watched = self._watched()
        said_ns = self.clock.boot_ns()

        def idle() -> None:
            nonlocal said_ns
            self.mark.clear()
            if self.clock.boot_ns() - said_ns > 1_000_000_000:
                said_ns = self.clock.boot_ns()
                self.say("wait")

        lost = watch(watched, self.clock, self.args.seconds, at=self._at, idle=idle)
        self.mark.clear()
        for index, reason in lost.items():
            self.say("gone", index=index, reason=reason, call="GetFieldValues")
        for index in watched.keys() - lost.keys():
            each = watched[index]
            for sensor, rows in each.changes.items():
                for start in range(0, len(rows), _ROWS):
                    self.say("changes", index=index, sensor=sensor, rows=rows[start : start + _ROWS])
            self.say("watched", index=index, read_ms=each.read_ms, absent=each.absent)

    def edges(self) -> None:
        """For each block: wait until it has settled, the counters at a tick, the block, the counters at a tick."""
        watched = self._watched()
        for _ in range(self.args.blocks):
            for name, seconds in (("start", self.args.settle), ("end", self.args.seconds)):
                end_ns = self.clock.boot_ns() + round(seconds * 1e9)
                while (left_s := (end_ns - self.clock.boot_ns()) / 1e9) > 0:
                    self.say("wait")
                    self.clock.sleep(min(left_s, _WAIT_S))
                self.say(name, edges=self._edges(watched))

    def _edges(self, watched: dict[int, GpuWatcher]) -> dict[int, tuple[float, int]]:
        """By GPU the instant of the next tick (the middle of what our looks leave open) and the counter from then on."""
        edges: dict[int, tuple[float, int]] = {}
        for each in watched.values():
            each.forget()
        end_ns = self.clock.boot_ns() + round(EDGE_S * 1e9)
        while len(edges) < len(watched) and self.clock.boot_ns() < end_ns:
            for index in watched.keys() - edges.keys():
                self._at(index)
                try:
                    if watched[index].look() and len(watched[index].changes["energy"]) > 1:
                        after_ns, by_ns, energy_mj = watched[index].changes["energy"][-1]
                        edges[index] = ((after_ns + by_ns) / 2, energy_mj)
                except NvmlError:
                    continue  # lost: it has no edge, and its blocks do not count
            self.mark.clear()
            self.clock.sleep(0.0005)
        return edges

    def counter(self) -> None:
        """Rows [index, UTC ns before and after, mJ], ten times per second; and the boot clock.

        Near both ends it reads more often, so that the counter at the agent's first and last reading is known to a tick.
        """
        handles = self._handles()
        rows: list[tuple[int, int, int, int]] = []
        began_ns = sent_ns = self.clock.boot_ns()
        while handles:
            now_ns = self.clock.boot_ns()
            passed_s = (now_ns - began_ns) / NS_PER_S
            for index, handle in list(handles.items()):
                self._at(index)
                self.mark("GetFieldValues")
                before_ns = self.clock.utc_ns()
                try:
                    energy_mj = self._energy_mj(handle)
                except NvmlError as error:
                    del handles[index]
                    self.say("gone", index=index, reason=error.name, call=error.call)
                    continue
                rows.append((index, before_ns, self.clock.utc_ns(), energy_mj))
            self.mark.clear()
            if now_ns - sent_ns >= _WAIT_S * NS_PER_S or passed_s >= self.args.seconds:
                sent_ns = now_ns
                self.say("counters", rows=rows, utc_ns=self.clock.utc_ns(), boot_ns=self.clock.boot_ns())
                rows = []
            if passed_s >= self.args.seconds:
                return
            is_near_end = min(passed_s, self.args.seconds - passed_s) < _DENSE_S
            self.clock.sleep(_DENSE_PERIOD_S if is_near_end else _PERIOD_S)

    def _energy_mj(self, handle: object) -> int:
        (answer,) = self.nvml.field_values(handle, (abi.FIELD_TOTAL_ENERGY,))
        return answer.value if answer.code == abi.SUCCESS else self.nvml.total_energy_mj(handle)

    def capture(self) -> None:
        """Every answer."""
        from energy_agent.devices.nvml.capture import take

        devices = self.open()
        taken = take(self.nvml, self.clock, devices, self.mark, self._at, self.args.seconds)
        self.mark.clear()
        self.say("capture", capture=taken)


def loaded_library() -> str:
    """Return the file behind libnvidia-ml.so.1 in this process; "" if the kernel does not show it."""
    try:
        maps = Path("/proc/self/maps").read_bytes().decode(errors="replace")
    except OSError:
        return ""
    return next((line.split(maxsplit=5)[5] for line in maps.split("\n") if "/libnvidia-ml.so" in line), "")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def main(argv: list[str] | None = None) -> int:
    """The child's command line."""
    parser = argparse.ArgumentParser(prog="wattlens-doctor-tasks", description=__doc__)
    parser.add_argument("task", choices=("look", "watch", "edges", "counter", "capture"))
    parser.add_argument("--mark-fd", type=int)
    parser.add_argument("--parent", type=int, help="process id of the doctor; this process ends together with it")
    parser.add_argument("--exclude", type=int, action="append", default=[])
    parser.add_argument("--gpu", type=int, help="this one alone")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--settle", type=float, default=2.0)
    parser.add_argument("--blocks", type=int, default=8)
    args = parser.parse_args(argv)
    end_with_parent(signal.SIGKILL)
    if args.parent is not None and os.getppid() != args.parent:
        return 1  # the parent ended before this process requested the kernel's parent-death signal
    task = Task(args)
    try:
        try:
            getattr(task, args.task)()
        except NvmlError as error:
            task.say("fatal", reason=error.name, call=error.call, library=loaded_library())
        task.say("done")
    except BrokenPipeError:
        forget_output()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
