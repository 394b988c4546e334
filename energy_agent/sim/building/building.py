"""The building of a simulated node while it runs: follows the plant, plays faults, writes its truth, serves its meters."""

import threading
from dataclasses import asdict
from pathlib import Path
from typing import Final

from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.threads import start_thread
from energy_agent.sim.building.faults import MeterFault, MeterFaultLog
from energy_agent.sim.building.meters import MeteredFacility, MeterRegisters
from energy_agent.sim.building.modbus_meters import ADDRESSES, HOST, ModbusMeters
from energy_agent.sim.building.site import FAULTS_FILE, LATE_S, TRUTH_FILE, described
from energy_agent.sim.gpu.boards import boards
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.truth import EnergyTruth
from energy_agent.sim.host import power
from energy_agent.sim.scenario import Scenario
from energy_agent.sim.scenario_model import HostModel
from energy_agent.sim.workloads.worker import write_json

_PERIOD_S: Final = 0.1  # real time: how old the truth in the file is at most
_STEP_MIN_NS: Final = round(LATE_S * NS_PER_S)  # the plant's times are whole ms, so a shorter interval has no accurate power
_PJ_PER_UJ: Final = 1_000_000


class BuildingSimulator:
    """Moves on by itself, in a thread of its own, and whenever a meter is read."""

    def __init__(self, directory: Path, plant: Plant, scenario: Scenario, started_ns: int) -> None:
        """Begin.

        Raises:
            WattlensError: the port of the meters is taken.
        """
        assert scenario.facility is not None
        self._directory, self._plant = directory, plant
        self._host = scenario.host or HostModel()
        self.params = scenario.facility.sized(node_max_w(self._host, scenario.skus))
        self._log = MeterFaultLog(directory / FAULTS_FILE)
        self._timeline = self.params.fault_events()
        self._waiting: list[MeterFault] = []
        self._begin = self._truths()
        self._begin_ns, self._started_ns = self._begin[0].t_ns, started_ns
        self._given_pj = 0  # node energy passed to the building so far
        self._metered = MeteredFacility(self.params, scenario.seed, self._begin_ns)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._write()
        self._modbus = ModbusMeters([point.id for point in self.params.points], self._read_registers, self.params.modbus_port)
        self._thread = threading.Thread(target=self._run, name="building", daemon=True)
        start_thread(self._thread)

    def describe(self) -> dict[str, object]:
        """For node.json: where the meters are read, and what each one is."""
        return {"host": HOST, "port": self._modbus.port, "meters": described(self.params, self._modbus.units, ADDRESSES)}

    def stop(self) -> None:
        """End the thread and the service."""
        self._stop.set()
        self._thread.join()
        self._modbus.stop()

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            with self._lock:
                self._look()

    def _read_registers(self, meter_id: str) -> MeterRegisters:
        with self._lock:
            self._look()
            return self._metered.registers(meter_id)

    def _look(self) -> None:
        """Follow the plant up to now; faults come at their instant, or at once where that has passed."""
        truths = self._truths()
        elapsed_ns = truths[0].t_ns - self._begin_ns
        late_ns = self._begin_ns - self._started_ns  # faults are timed from the start of the node
        due = [event for event in self._timeline if event.at_ns - late_ns <= elapsed_ns]
        if due:
            self._log.append(due)
            del self._timeline[: len(due)]
        self._waiting += [event for event in self._log.fresh() if event.meter in self._metered.gains_ppb]
        dt_ns, power_mw = elapsed_ns - self._metered.elapsed_ns, 0
        if dt_ns < _STEP_MIN_NS and not self._waiting:
            return
        if dt_ns > 0:
            node_uj = power.of(self._host, truths, self._begin).node_uj
            power_mw = max(0, node_uj * _PJ_PER_UJ - self._given_pj) // dt_ns  # what is left over comes next time
            self._given_pj += power_mw * dt_ns
        for event in sorted(self._waiting, key=lambda e: e.at_ns):
            self._advance(min(event.at_ns - late_ns, elapsed_ns), power_mw)
            self._play(event)
        self._waiting = []
        self._advance(elapsed_ns, power_mw)
        self._write()

    def _advance(self, to_ns: int, power_mw: int) -> None:
        self._metered.advance(max(0, to_ns - self._metered.elapsed_ns), power_mw)

    def _play(self, event: MeterFault) -> None:
        if event.clear:
            self._metered.clear(event.meter, event.kind)
        else:
            self._metered.fault(event.meter, event.kind, event.value)

    def _write(self) -> None:
        truth = self._metered.truth()
        data = {"t_ns": self._begin_ns + truth.elapsed_ns, "truth": asdict(truth), "gains_ppb": self._metered.gains_ppb}
        write_json(self._directory / TRUTH_FILE, data)

    def _truths(self) -> list[EnergyTruth]:
        return [self._plant.truth(gpu) for gpu in range(self._plant.count)]


def node_max_w(host: HostModel, skus: tuple[str, ...]) -> float:
    """The maximum that the node can draw: every GPU at its highest limit, every processor busy."""
    gpus_uj = sum(round(boards()[sku].values["limit_max_w"] * 1e6) for sku in skus)
    return power.energy(host, gpus_uj, len(skus) * NS_PER_S, len(skus), NS_PER_S).node_uj / 1e6
