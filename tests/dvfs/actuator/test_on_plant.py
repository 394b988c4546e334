"""The actuator core through the real NVML binding on the simulator's library; applied settings are read from the plant."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from tests.dvfs.actuator.test_core import DEVICES, ActuatorMachine, World
from tests.support import examples

SETTLED_NS = 200_000_000  # a setting takes tens of ms to apply, as on real GPUs
KINDS = ("no_permission", "not_supported", "unknown_error", "timeout", "reset_required")
CALLS = (
    "nvmlDeviceGetPowerManagementLimit",
    "nvmlDeviceSetPowerManagementLimit",
    "nvmlDeviceSetGpuLockedClocks",
    "nvmlDeviceResetGpuLockedClocks",
)


class PlantBoards(RealNvml):
    """The real binding, with short names for UUIDs and a hook before and after each setter, to crash there."""

    def __init__(self, plant: Plant, before: Callable[[str], None]) -> None:
        super().__init__(library_path())
        self.plant, self.before = plant, before
        self.init()
        self.names = {plant.uuid(i): name for i, name in enumerate(DEVICES)}

    def device_by_uuid(self, uuid: str) -> object:
        return super().device_by_uuid(next((u for u, name in self.names.items() if name == uuid), uuid))

    def uuid(self, device: object) -> str:
        return self.names[super().uuid(device)]

    def set_power_limit_mw(self, device: object, limit_mw: int) -> None:
        self._around(lambda: super(PlantBoards, self).set_power_limit_mw(device, limit_mw))

    def set_locked_sm_clocks_mhz(self, device: object, low_mhz: int, high_mhz: int) -> None:
        self._around(lambda: super(PlantBoards, self).set_locked_sm_clocks_mhz(device, low_mhz, high_mhz))

    def reset_locked_sm_clocks(self, device: object) -> None:
        self._around(lambda: super(PlantBoards, self).reset_locked_sm_clocks(device))

    def _around(self, act: Callable[[], None]) -> None:
        self.before("")
        act()
        self.before("")

    def state(self, name: str) -> dict[str, object]:
        self.plant.advance_to(self.plant.now_ns() + SETTLED_NS)
        truth = self.plant.truth(DEVICES.index(name))
        return {"limit": truth.power_limit_mw, "lock": None if truth.locked_mhz == (0, 0) else list(truth.locked_mhz)}

    def change(self, name: str, *, limit: int = 0, requested: int = 0, faults: object = None) -> None:
        """Cure a board, or set its limit as another program would."""
        if faults is not None:
            self.plant.clear(DEVICES.index(name))
        if limit:
            try:
                super().set_power_limit_mw(self.device_by_uuid(name), limit)
            except NvmlError:
                return


class PlantWorld(World):
    def make_boards(self, folder: Path) -> PlantBoards:
        os.environ["WATTLENS_SIM"] = str(folder)
        plant = Plant.create(folder / "plant", [BoardSpec("H100-SXM5-80GB")] * len(DEVICES), seed=4, manual=True)
        return PlantBoards(plant, self.before)


class PlantMachine(ActuatorMachine):
    """Faults are the simulator's. A lost GPU that comes back is at its defaults, as after a reset."""

    make_world = PlantWorld

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()

    @rule(device=st.sampled_from(DEVICES), call=st.sampled_from(CALLS), kind=st.sampled_from(KINDS))
    def fault(self, device, call, kind) -> None:
        self.world.boards.plant.fault(DEVICES.index(device), kind, call=call)

    @rule(device=st.sampled_from(DEVICES))
    def lose(self, device) -> None:
        self.world.boards.plant.fault(DEVICES.index(device), "lost")
        self.lost.add(device)

    @rule(device=st.sampled_from(DEVICES))
    def cure(self, device) -> None:
        super().cure(device)
        if device in self.lost:
            self.lost.discard(device)
            self.original_mw[device] = 700_000

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.world.boards.shutdown()
            self.world.boards.plant.close()


@pytest.fixture(autouse=True, scope="module")
def _environment() -> Iterator[None]:
    before = os.environ.get("WATTLENS_SIM")
    yield
    if before is None:
        os.environ.pop("WATTLENS_SIM", None)
    else:
        os.environ["WATTLENS_SIM"] = before


TestActuatorOnPlant = PlantMachine.TestCase
TestActuatorOnPlant.settings = settings(
    max_examples=examples(40), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
