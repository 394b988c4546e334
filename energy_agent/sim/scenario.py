"""What a simulated node is made of: its boards, its workloads and its faults over time, read from one YAML file."""

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from energy_agent.config.agent import parse_as
from energy_agent.config.messages import explain
from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.files import yaml_file
from energy_agent.sim.building.model import FacilityModel
from energy_agent.sim.cluster.model import ClusterModel
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.boards import boards as known_boards
from energy_agent.sim.gpu.faults import FaultEvent
from energy_agent.sim.gpu.sensor_capture import captured_sensors, shipped_captures
from energy_agent.sim.scenario_model import (
    GPUS_MAX,
    Boards,
    HostModel,
    ScenarioSection,
    ScheduledFault,
    ServingWorkload,
    Workload,
    unknown,
)


class Scenario(ScenarioSection):
    """A whole node."""

    description: str = ""
    boards: tuple[Boards, ...] = Field(min_length=1, max_length=GPUS_MAX)
    seed: int = Field(default=1, ge=0, le=2**32 - 1)
    rate: float = Field(default=1.0, gt=0.0, le=20.0)  # simulated seconds per real second
    start: datetime | None = None  # the node's time at its start; None: now
    workloads: tuple[Workload, ...] = Field(default=(), max_length=64)
    faults: tuple[ScheduledFault, ...] = Field(default=(), max_length=10_000)
    host: HostModel | None = None  # None: the node has no meters next to its GPUs
    kubelet: ClusterModel | None = None  # None: no node of Kubernetes
    facility: FacilityModel | None = None  # None: no building around it

    @property
    def gpu_count(self) -> int:
        """Boards on the node."""
        return sum(b.count for b in self.boards)

    @property
    def skus(self) -> tuple[str, ...]:
        """SKU of each GPU, by index."""
        return tuple(b.sku for b in self.boards for _ in range(b.count))

    def board_specs(self) -> list[BoardSpec]:
        """Every GPU, by index."""
        return [spec for n, group in enumerate(self.boards) for spec in group.specs(f"{self.seed}/sensors/{n}")]

    @field_validator("start")
    @classmethod
    def _check_start(cls, value: datetime | None) -> datetime | None:
        if value is not None and (value.tzinfo is None or value.timestamp() < 0):
            raise ValueError(f"expected a time with its time zone, such as 2026-07-01T00:00:00Z, got {value.isoformat()}")
        return value

    @model_validator(mode="after")
    def _check_workloads(self) -> "Scenario":
        if self.gpu_count > GPUS_MAX:
            raise ValueError(f"boards: expected at most {GPUS_MAX} GPUs, got {self.gpu_count}")
        names = [w.name for w in self.workloads]
        for workload in self.workloads:
            if names.count(workload.name) > 1:
                raise ValueError(f"workloads: duplicate name {workload.name!r}")
            if not all(0 <= g < self.gpu_count for g in workload.gpus):
                raise ValueError(f"workloads: {workload.name!r}: expected GPU indices from 0 to {self.gpu_count - 1}")
        for gpu, sku in enumerate(self.skus):
            held_b = sum(w.memory_b for w in self.workloads if gpu in w.gpus)
            if held_b > known_boards()[sku].values["memory_b"]:
                raise ValueError(
                    f"workloads: together they use {held_b / 1e9:g} GB of gpu{gpu}, more than the memory of a {sku}"
                )
        for fault in self.faults:
            if fault.gpu >= self.gpu_count:
                raise ValueError(f"faults: GPU {fault.gpu}: expected an index from 0 to {self.gpu_count - 1}")
        for pod in self.kubelet.pods if self.kubelet is not None else ():
            if pod.workload is not None and pod.workload not in names:
                raise ValueError(f"kubelet: pod {pod.name!r} is {unknown('workload', pod.workload, names)}")
            if any(gpu >= self.gpu_count for gpu in pod.gpus):
                raise ValueError(f"kubelet: pod {pod.name!r}: expected GPU indices from 0 to {self.gpu_count - 1}")
        return self

    def fault_events(self) -> list[FaultEvent]:
        """The timeline of faults, each `for_s` as an event that clears."""
        events = []
        for fault in self.faults:
            at_ns = round(fault.at_s * NS_PER_S)
            clears = fault.kind == "clear"
            kind = "" if clears else fault.kind
            events.append(FaultEvent(at_ns, fault.gpu, kind, fault.call, fault.value, clears))
            if fault.for_s is not None:
                end_ns = at_ns + round(fault.for_s * NS_PER_S)
                events.append(FaultEvent(end_ns, fault.gpu, fault.kind, clear=True))
        return events


def shipped() -> dict[str, Path]:
    """The scenarios that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "scenarios").glob("*.yaml"))}


def locate(name_or_path: str) -> Path:
    """The file of a shipped scenario, or the path itself.

    Raises:
        UsageError: neither a shipped name nor a file.
    """
    scenarios = shipped()
    if name_or_path in scenarios:
        return scenarios[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path.resolve()
    raise UsageError(f"{unknown('scenario', name_or_path, scenarios)} (or give the path of a file)")


def load(name_or_path: str) -> Scenario:
    """Read a scenario by shipped name or path; a relative trace or capture is resolved next to the file.

    Raises:
        UsageError: not found, unreadable or wrong; names the file and the key.
    """
    path = locate(name_or_path)
    return parse(yaml_file.read(path, "scenario"), str(path), path.parent)


def parse(raw: bytes, name: str, folder: Path | None = None) -> Scenario:
    """A scenario from the bytes of a YAML file; `name` is for errors, `folder` is where a relative trace or capture lies.

    Raises:
        UsageError: not YAML, or not a scenario; one line that names the key.
    """
    scenario = parse_as(Scenario, raw, f"scenario {name}")
    return scenario if folder is None else _with_files(scenario, folder)


def dump(scenario: Scenario) -> str:
    """The scenario as YAML that `parse` reads back to the same."""
    return str(yaml.safe_dump(scenario.model_dump(mode="json"), sort_keys=False))


def override(scenario: Scenario, *, seed: int | None = None, rate: float | None = None) -> Scenario:
    """The scenario with another seed or rate.

    Raises:
        UsageError: out of range.
    """
    changes: dict[str, Any] = {k: v for k, v in (("seed", seed), ("rate", rate)) if v is not None}
    if any(isinstance(v, float) and not math.isfinite(v) for v in changes.values()):
        raise UsageError("rate must be a finite number")
    try:
        return Scenario.model_validate(scenario.model_dump(mode="json") | changes)
    except ValidationError as error:
        raise UsageError("\n".join(explain(error, Scenario))) from None


def _with_files(scenario: Scenario, folder: Path) -> Scenario:
    workloads = tuple(
        w.model_copy(update={"trace": str((folder / w.trace).resolve())}) if isinstance(w, ServingWorkload) and w.trace else w
        for w in scenario.workloads
    )
    boards = tuple(
        b.model_copy(update={"capture": str((folder / b.capture).resolve())})
        if b.capture and b.capture not in shipped_captures()
        else b
        for b in scenario.boards
    )
    for spec in (group.specs("")[0] for group in boards):
        if spec.capture is not None:
            captured_sensors(spec.capture)  # a wrong file is an error of the scenario
    return scenario.model_copy(update={"workloads": workloads, "boards": boards})
