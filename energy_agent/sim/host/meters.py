"""The meters of a simulated node while it runs: what the plant and the host draw goes into files and a Redfish service."""

import os
import threading
from collections import deque
from decimal import Decimal
from pathlib import Path

from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.threads import start_thread
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.truth import EnergyTruth
from energy_agent.sim.host import power
from energy_agent.sim.host.power import RAPL_RANGE_UJ, HostTruth
from energy_agent.sim.host.redfish_service import SimulatedRedfish
from energy_agent.sim.scenario_model import HostModel

_PERIOD_S = 0.05  # real time: how old a file is at most
_WINDOW_NS = NS_PER_S  # a controller's power is a mean over about a second


class HostMeters:
    """Keeps the meters of one node current, in a thread of its own."""

    def __init__(self, directory: Path, plant: Plant, host: HostModel) -> None:
        self._directory, self._plant, self._host = directory, plant, host
        self._begin = self._truths()
        self._past: deque[tuple[int, int]] = deque([(self._begin[0].t_ns, 0)])  # (UTC ns, true node energy in uJ)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._update()
        self.service = SimulatedRedfish(directory, host.redfish_port, self.read)
        self._thread = threading.Thread(target=self._run, name="host-meters", daemon=True)
        start_thread(self._thread)

    def describe(self) -> dict[str, object]:
        """For node.json: where the service is, and from when and what its energies count."""
        begin = [{"true_uj": t.true_uj, "busy_ns": t.busy_ns, "t_ns": t.t_ns} for t in self._begin]
        return {"redfish_url": self.service.url, "begin": begin}

    def read(self) -> tuple[Decimal, int]:
        """What the node's meter reads now: power in W over the last second, and energy in uJ since the start."""
        with self._lock:
            truth = self._look()
            return Decimal(self._power_uw()) / 1_000_000, round(truth.node_uj * self._host.gain)

    def stop(self) -> None:
        """End the thread and the service."""
        self._stop.set()
        self._thread.join()
        self.service.stop()

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            self._update()

    def _update(self) -> None:
        with self._lock:
            truth = self._look()
            write_files(self._directory, self._host, truth, self._power_uw())

    def _look(self) -> HostTruth:
        truths = self._truths()
        truth, t_ns = power.of(self._host, truths, self._begin), truths[0].t_ns
        if t_ns > self._past[-1][0]:
            self._past.append((t_ns, truth.node_uj))
        while len(self._past) > 2 and self._past[1][0] <= t_ns - _WINDOW_NS:
            self._past.popleft()
        return truth

    def _power_uw(self) -> int:
        (t0, e0), (t1, e1) = self._past[0], self._past[-1]
        return round((e1 - e0) * NS_PER_S / max(1, t1 - t0) * self._host.gain) if t1 > t0 else 0

    def _truths(self) -> list[EnergyTruth]:
        return [self._plant.truth(gpu) for gpu in range(self._plant.count)]


def write_files(root: Path, host: HostModel, truth: HostTruth, node_uw: int) -> None:
    """Write the files below `root`/sys in which a kernel shows its meters; `node_uw` is what the node's meter reads, in uW.

    As on real machines a psys zone that contains the packages and a `core` zone within each are there too, so that a reader
    that adds everything up is wrong here as it would be there.
    """
    powercap, hwmon = root / "sys/class/powercap", root / "sys/class/hwmon"
    for socket in range(host.sockets):
        zone = f"intel-rapl:{socket}"
        _counter(powercap / zone, f"package-{socket}", truth.package_uj)
        _counter(powercap / f"{zone}:0", "core", truth.package_uj * 7 // 10)
        _counter(powercap / f"{zone}:1", "dram", truth.dram_uj)
    both = host.sockets * (truth.package_uj + truth.dram_uj)
    _counter(powercap / f"intel-rapl:{host.sockets}", "psys", both)
    share, rest = divmod(node_uw, host.supplies)
    for supply in range(host.supplies):
        folder = hwmon / f"hwmon{supply}"
        power_uw = share + (rest if supply == 0 else 0)
        _put(folder / "name", "pmbus")
        _put(folder / "power1_label", "pin")
        _put(folder / "power1_input", str(power_uw))
        _put(folder / "power2_label", "pout1")
        _put(folder / "power2_input", str(round(power_uw * (1 - host.psu_loss_ratio))))


def _counter(folder: Path, name: str, energy_uj: int) -> None:
    _put(folder / "name", name)
    _put(folder / "max_energy_range_uj", str(RAPL_RANGE_UJ))
    _put(folder / "energy_uj", str(energy_uj % (RAPL_RANGE_UJ + 1)))


def _put(path: Path, text: str) -> None:
    """In one step: a reader never sees half a number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_text(text + "\n")
    os.replace(new, path)  # noqa: PTH105 - twenty times a second
