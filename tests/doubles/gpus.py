"""GPUs of a plant whose time stands until a test moves it, with NVML on them."""

import os
from pathlib import Path

from energy_agent.devices.nvml.abi import SUCCESS, NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.truth import EnergyTruth

S = 10**9
START_NS = 1_700_000_000 * S
H100, A100, V100 = "H100-SXM5-80GB", "A100-SXM4-80GB", "V100-SXM2-16GB"
PLENTY_S = 10_000


class Gpus:
    """Each board is given by its SKU or its specification. `folder` is what WATTLENS_SIM names."""

    def __init__(self, folder: Path, *boards: str | BoardSpec, seed: int = 5) -> None:
        specs = [BoardSpec(board) if isinstance(board, str) else board for board in boards]
        self.plant = Plant.create(folder / "plant", specs, seed=seed, manual=True, start_utc_ns=START_NS)
        self.nvml = RealNvml(library_path())
        self.nvml.init()
        self.devices = [self.nvml.device_by_index(gpu) for gpu in range(len(specs))]

    def close(self) -> None:
        self.nvml.shutdown()
        self.plant.close()

    def truth(self, gpu: int = 0) -> EnergyTruth:
        return self.plant.truth(gpu)

    def step(self, seconds: float) -> None:
        self.plant.advance_to(self.plant.now_ns() + round(seconds * S))

    def attach(self, gpu: int = 0, memory_b: int = 0) -> int:
        """The slot of one more workload of this process."""
        return self.plant.attach_process(gpu, os.getpid(), memory_b=memory_b)

    def load(self, boundness: float = 0.5, intensity: float = 1.0, gpu: int = 0, seconds: float = PLENTY_S) -> int:
        """The slot of one more workload, with work for so many seconds."""
        slot = self.attach(gpu)
        self.plant.submit(gpu, slot, reference_ns=round(seconds * S), memory_boundness=boundness, intensity=intensity)
        return slot


def code_of(call, *arguments: object) -> int:  # type: ignore[no-untyped-def]
    """The NVML code with which a call ends."""
    try:
        call(*arguments)
    except NvmlError as error:
        return error.code
    return SUCCESS
