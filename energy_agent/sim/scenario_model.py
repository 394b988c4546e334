"""The parts of a scenario as the YAML file has them: boards, workloads by kind, faults; keys, defaults and ranges."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from energy_agent.config.section import checked_numbers
from energy_agent.core.errors import UsageError
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.boards import boards as known_boards
from energy_agent.sim.gpu.faults import KINDS, check_fault
from energy_agent.sim.gpu.sensor_capture import shipped_captures
from energy_agent.sim.gpu.sensors import SENSOR_CLASSES, SENSOR_PARAMETERS, random_board, sensor_number
from energy_agent.sim.workloads.models import MODELS

GPUS_MAX = 64

Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0, le=1e6)]
Positive = Annotated[float, Field(gt=0.0, le=1e6)]


def unknown(what: str, value: str, choices: Iterable[str]) -> str:
    """One line: `value` is no `what`; the nearest one, or all of them."""
    choices = list(choices)
    near = difflib.get_close_matches(value, choices, 1, 0.4)
    near = [k for k in choices if value and k.lower().startswith(value.lower())] or near
    hint = f"did you mean {near[0]!r}?" if near else f"available: {', '.join(choices)}"
    return f"unknown {what} {value[:64]!r}; {hint}"


class ScenarioSection(BaseModel):
    """A mapping of the file: an unknown key is an error that names the nearest one; yes and no are no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key, value in data.items():
                if key not in cls.model_fields:
                    raise ValueError(unknown("key", str(key), cls.model_fields))
                try:  # not by a validator of fields: a discriminator may have none
                    checked_numbers(cls, value, key)
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None
        return data


class Boards(ScenarioSection):
    """`count` boards of one SKU. Without `gain`, each board draws its own from the seed."""

    count: int = Field(ge=1, le=GPUS_MAX)
    sku: str
    counter_model: Literal["full", "sampled"] = "full"
    gain: float | None = Field(default=None, ge=0.8, le=1.2)
    capture: str | None = Field(default=None, max_length=4096)  # name of a shipped one, or a path from the scenario's folder
    random: str | None = None  # a class of sensors, drawn from the seed: per GPU, or with `in_step` once for the group
    in_step: bool = False  # the sensors of the group tick at the same instants
    sensors: dict[str, float | str] = Field(default_factory=dict, max_length=len(SENSOR_PARAMETERS))

    @field_validator("sku")
    @classmethod
    def _check_sku(cls, value: str) -> str:
        if value not in known_boards():
            raise ValueError(unknown("board", value, known_boards()))
        return value

    @field_validator("random")
    @classmethod
    def _check_random_class(cls, value: str | None) -> str | None:
        classes = ("any", *SENSOR_CLASSES)
        if value is not None and value not in classes:
            raise ValueError(unknown("class of sensors", value, classes))
        return value

    @field_validator("sensors")
    @classmethod
    def _check_sensors(cls, value: dict[str, float | str]) -> dict[str, float | str]:
        for name, setting in value.items():
            if name not in SENSOR_PARAMETERS:
                raise ValueError(unknown("sensor parameter", name, SENSOR_PARAMETERS))
            try:
                sensor_number(name, setting)
            except UsageError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _check_board_source(self) -> "Boards":
        if self.random is not None and self.capture is not None:
            raise ValueError("random and capture exclude each other")
        return self

    def specs(self, seed: str) -> list[BoardSpec]:
        """The GPUs of the group; `seed` is that of their random sensors."""
        given = {"clock_shared": float(self.in_step)}
        given |= {name: sensor_number(name, value) for name, value in self.sensors.items()}
        if self.random is None:
            capture = None if self.capture is None else shipped_captures().get(self.capture, Path(self.capture))
            spec = BoardSpec(self.sku, counter_model=self.counter_model, gain=self.gain, capture=capture, overrides=given)
            return [spec] * self.count
        draws = [Random(f"{seed}/{0 if self.in_step else gpu}") for gpu in range(self.count)]
        specs = [random_board(draw, self.random, sku=self.sku) for draw in draws]
        return [replace(spec, gain=self.gain, overrides={**spec.overrides, **given}) for spec in specs]


class WorkloadBase(ScenarioSection):
    """What every workload has. `cgroup` is a path, or `systemd`, `docker` or `kubepods` for a path of that form."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")
    gpus: tuple[int, ...] = Field(min_length=1, max_length=GPUS_MAX)
    cgroup: str = "systemd"
    memory_gb: float = Field(default=40.0, ge=0.0, le=1000.0)  # on each of its GPUs
    start_s: Seconds = 0.0  # after the node started
    end_s: Seconds | None = None  # None: with the node
    restart: Literal["never", "on-failure"] = "never"

    @property
    def memory_b(self) -> int:
        """What it holds on each of its GPUs, in bytes."""
        return round(self.memory_gb * 1e9)

    @field_validator("cgroup")
    @classmethod
    def _check_cgroup(cls, value: str) -> str:
        if value in {"systemd", "docker", "kubepods"} or re.fullmatch(r"(/[A-Za-z0-9._:@-]{1,255}){1,16}", value):
            return value
        raise ValueError("expected 'systemd', 'docker', 'kubepods' or an absolute cgroup path")

    @model_validator(mode="after")
    def _check_gpus_and_times(self) -> "WorkloadBase":
        if len(set(self.gpus)) != len(self.gpus):
            raise ValueError(f"workload {self.name!r}: duplicate GPU in gpus")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"workload {self.name!r}: end_s must be after start_s")
        return self


class Training(WorkloadBase):
    """Data-parallel training. Times are those at the reference clock; the slowest rank counts."""

    kind: Literal["training"]
    step_s: Positive = 0.5  # forward and backward, gradients exchanged, optimizer
    micro_batches: int = Field(default=2, ge=1, le=64)
    memory_boundness: Ratio = 0.25
    intensity: float = Field(default=1.0, ge=0.0, le=2.0)
    jitter: float = Field(default=0.01, ge=0.0, le=0.5)  # relative spread of a micro batch
    host_every_steps: int = Field(default=20, ge=0)  # 0: never
    host_s: Seconds = 0.3
    checkpoint_every_s: Seconds = 60.0  # 0: never
    checkpoint_s: Seconds = 2.0
    samples_per_step: int = Field(default=64, ge=1)
    steps: int | None = Field(default=None, ge=1)  # None: without end
    agent_socket: str | None = Field(default=None, max_length=100)  # of the agent that gets each step, as from wattlens.step


class ServingWorkload(WorkloadBase):
    """An LLM engine with continuous batching, tensor parallel over its GPUs, and the requests that arrive at it."""

    kind: Literal["serving"]
    memory_gb: float = Field(default=72.0, ge=0.0, le=1000.0)  # 0.9 of 80 GB, as vLLM takes by default
    model: str = "meta-llama/Llama-3.1-8B-Instruct"
    arrivals: Literal["poisson", "bursty", "trace", "none"] = "poisson"  # none: only requests over HTTP
    rate_per_s: Positive = 4.0
    trace: str | None = None  # CSV with TIMESTAMP, ContextTokens, GeneratedTokens; a relative path starts at the scenario
    prompt_median: int = Field(default=1020, ge=1, le=1_000_000)
    prompt_sigma: float = Field(default=0.5, ge=0.0, le=3.0)
    output_median: int = Field(default=129, ge=1, le=100_000)
    output_sigma: float = Field(default=0.99, ge=0.0, le=3.0)
    prefix_cached_ratio: Ratio = 0.0
    max_num_seqs: int = Field(default=256, ge=1, le=4096)
    max_batched_tokens: int = Field(default=8192, ge=64, le=1_000_000)
    kv_tokens: int | None = Field(default=None, ge=1024)  # None: what the memory of the boards holds
    decode_memory_boundness: Ratio = 0.9
    prefill_memory_boundness: Ratio = 0.1
    metrics_port: int = Field(default=0, ge=0, le=65535)  # 0: one that is free

    @field_validator("model")
    @classmethod
    def _check_model(cls, value: str) -> str:
        if value not in MODELS:
            raise ValueError(unknown("model", value, MODELS))
        return value

    @model_validator(mode="after")
    def _check_trace(self) -> "ServingWorkload":
        if (self.arrivals == "trace") != (self.trace is not None):
            raise ValueError("arrivals 'trace' and the key 'trace' require each other")
        return self


class Notebook(WorkloadBase):
    """Holds its GPUs and rarely uses them."""

    kind: Literal["notebook"]
    memory_gb: float = Field(default=4.0, ge=0.0, le=1000.0)
    every_s: Positive = 20.0  # mean time between two cells
    cell_s: Positive = 0.5
    memory_boundness: Ratio = 0.5
    intensity: float = Field(default=0.6, ge=0.0, le=2.0)


class Burst(WorkloadBase):
    """Works for `on_s`, rests for `off_s`, again and again; each is drawn again within +-`jitter`."""

    kind: Literal["burst"]
    on_s: Positive = 1.0
    off_s: Seconds = 1.0
    jitter: float = Field(default=0.3, ge=0.0, le=1.0)
    memory_boundness: Ratio = 0.3
    intensity: float = Field(default=1.0, ge=0.0, le=2.0)


class Levels(WorkloadBase):
    """Random levels of power, each for a random time (log-uniform), without a pause between them."""

    kind: Literal["levels"]
    in_step: bool = True  # its GPUs have the same levels at the same time; else each has its own
    hold_min_s: float = Field(default=0.01, ge=0.005, le=60.0)
    hold_max_s: float = Field(default=3.0, ge=0.005, le=60.0)
    memory_boundness: Ratio = 1.0  # then no level lasts longer when the clock is lower
    intensity_min: float = Field(default=0.0, ge=0.0, le=2.0)
    intensity_max: float = Field(default=1.0, ge=0.0, le=2.0)

    @model_validator(mode="after")
    def _check_ranges(self) -> "Levels":
        for low, high in (("hold_min_s", "hold_max_s"), ("intensity_min", "intensity_max")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} of workload {self.name!r} is above its {high}")
        return self


Workload = Annotated[Training | ServingWorkload | Notebook | Burst | Levels, Field(discriminator="kind")]


class HostModel(ScenarioSection):
    """The node around its GPUs, with meters of its own: RAPL and power supplies in its `sys`, and a Redfish service.

    Powers are per socket where the comment names a socket. All values are assumed; see energy_agent/sim/README.md.
    """

    sockets: int = Field(default=2, ge=1, le=8)
    package_idle_w: float = Field(default=110.0, ge=1.0, le=1000.0)  # a socket, no GPU busy
    package_busy_w: float = Field(default=240.0, ge=1.0, le=1000.0)  # a socket, all GPUs busy
    dram_w: float = Field(default=30.0, ge=0.0, le=500.0)  # memory of a socket
    other_w: float = Field(default=350.0, ge=0.0, le=10_000.0)  # network cards, switches, disks, board
    fans_w: float = Field(default=150.0, ge=0.0, le=10_000.0)  # at least
    fan_ratio: float = Field(default=0.06, ge=0.0, le=1.0)  # more for each watt of the GPUs
    psu_loss_ratio: float = Field(default=0.06, ge=0.0, lt=0.5)
    supplies: int = Field(default=6, ge=1, le=16)
    gain: float = Field(default=1.0, ge=0.5, le=2.0)  # what the meter of the node reads for each true watt
    redfish_port: int = Field(default=0, ge=0, le=65535)  # 0: one that is free


class ScheduledFault(ScenarioSection):
    """A fault at `at_s` after the start. With `for_s` it is cleared again; kind `clear` clears everything on the GPU."""

    at_s: Seconds
    gpu: int = Field(ge=0)
    kind: str
    call: str = ""
    value: int = 0
    for_s: Positive | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> "ScheduledFault":
        try:
            if self.kind != "clear":
                check_fault(self.kind, self.call, self.value)
        except UsageError as error:
            raise ValueError(str(error)) from error
        if self.for_s is not None and (self.kind == "clear" or KINDS[self.kind].once):
            raise ValueError(f"{self.kind!r} happens once: for_s is not allowed")
        return self
