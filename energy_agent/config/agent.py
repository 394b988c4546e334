"""The agent's YAML file as a typed model. No file is needed: every default is safe and useful.

An unknown key is an error that names the nearest known one; a wrong value names its key.
"""

import difflib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator

from energy_agent.config.dvfs import Dvfs
from energy_agent.config.formats import EntryName, Listen
from energy_agent.config.messages import explain
from energy_agent.config.node_meters import NodeMeters
from energy_agent.config.otlp import Otlp
from energy_agent.config.owners import OwnersConfig
from energy_agent.config.section import Ratio, Section
from energy_agent.config.tokens import TokenSource
from energy_agent.core.catalogue.node import BY_NAME
from energy_agent.core.errors import UsageError
from energy_agent.core.selection import Selection
from energy_agent.runtime.files import yaml_file

PREFIX = "wattlens_"
DETAILS = (
    "gpu_ecc_*enabled",
    "gpu_ecc_location_errors_total",
    "gpu_ecc_volatile_*",
    "gpu_remapped_rows_total",
    "gpu_memory_utilization_ratio",
    "gpu_encoder_utilization_ratio",
    "gpu_decoder_utilization_ratio",
    "gpu_power_limit_default_watts",
    "gpu_power_limit_requested_watts",
    "gpu_memory_reserved_bytes",
    "gpu_bar1_*",
    "gpu_persistence_enabled",
    "gpu_mig_*enabled",
    "gpu_pcie_errors_total",
    "gpu_pcie_link_*generation",
    "gpu_nvlink_links",
    "gpu_nvlink_kind_errors_total",
)
"""Half of what a GPU can report: no dashboard and no alert needs it."""
_GPUS = "GPUs by index, UUID or glob"
Model = TypeVar("Model", bound=BaseModel)
_WHAT = {list: "a list", str: "text", int: "a number", float: "a number"}


def checked_family(pattern: str) -> str:
    """The pattern of a family without the prefix, where it names at least one.

    Raises:
        ValueError: it names none; the message has the nearest.
    """
    name = pattern.removeprefix(PREFIX)
    if any(fnmatchcase(family, name) for family in BY_NAME):
        return name
    near = difflib.get_close_matches(name.strip("*?"), BY_NAME, 1, 0.4)
    hint = f"did you mean {PREFIX + near[0]!r}?" if near else "docs/metrics.md lists them"
    raise ValueError(f"unknown metric {pattern!r}; {hint}")


def checked_gpu(pattern: str) -> str:
    """The pattern of a GPU, where it can be one.

    Raises:
        ValueError: neither an index, nor a UUID, nor a glob.
    """
    if pattern.isascii() and (pattern.isdigit() or pattern.startswith("GPU-") or any(c in pattern for c in "*?[")):
        return pattern
    raise ValueError(f"expected a GPU by index, UUID (GPU-...), or a glob of either, got {pattern!r}")


class Metrics(Section):
    """Selection of the exported metrics. Metrics that are not exported are still read and recorded."""

    include: tuple[str, ...] = Field((), description="metric families to export, by name or glob; empty: all")
    exclude: tuple[str, ...] = Field(
        DETAILS, description="metric families to leave out, by name or glob; takes precedence over include"
    )
    include_gpus: tuple[str, ...] = Field((), description=f"{_GPUS} to export; empty: all")
    exclude_gpus: tuple[str, ...] = Field((), description=f"{_GPUS} to leave out; takes precedence over include_gpus")

    @field_validator("include", "exclude")
    @classmethod
    def _check_families(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(checked_family, patterns))

    @field_validator("include_gpus", "exclude_gpus")
    @classmethod
    def _check_gpus(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(checked_gpu, patterns))

    @property
    def selection(self) -> Selection:
        """The same for the page."""
        return Selection(self.include, self.exclude, self.include_gpus, self.exclude_gpus)


class NodeConfig(Section):
    """Identity of the node, and the path of its proc file system."""

    cluster: EntryName = Field("default", description="cluster name, a label of every metric and segment")
    name: EntryName | None = Field(None, description="node name; else $NODE_NAME, else the host name")
    procfs: Path = Field(Path("/proc"), description="root of the proc file system")


class Sampling(Section):
    """How often devices are read."""

    period_s: float = Field(1.0, ge=0.05, le=60, description="seconds between readings of energy and power (20 Hz at most)")
    health_period_s: float = Field(
        60.0,
        ge=0,
        le=300,
        description="seconds between readings of slowly changing values (ECC, links, MIG), at least 10; 0: never",
    )

    @field_validator("health_period_s")
    @classmethod
    def _check_slow_period(cls, seconds: float) -> float:
        if 0 < seconds < 10:
            raise ValueError(f"expected at least 10 s, or 0 to turn these readings off, got {seconds:g}")
        return seconds


class NvmlSource(Section):
    """The GPUs of this node."""

    on_start_failure: Literal["fail", "skip", "retry"] = Field(
        "fail", description="what to do when NVML is not available at start: end, go on without GPUs, or try again"
    )
    gain_uncertainty_ratio: Ratio = Field(
        0.05, description="systematic error of the power sensor of an uncalibrated GPU, as a ratio"
    )
    gpm: bool = Field(
        False, description="read tensor, memory and pipe activity by GPM (Hopper and later); conflicts with profilers"
    )
    pcie_throughput: bool = Field(False, description="sample PCIe throughput; each reading blocks the driver for 40 ms per GPU")
    calibration: dict[str, Ratio] = Field(
        default_factory=dict, description="GPU UUID -> gain uncertainty of its calibrated sensor"
    )
    counter_scope: Literal["gpu", "module"] | None = Field(
        None,
        description=(
            "what the energy counters of the GPUs include: the GPU, or its module with processor and memory (RAPL is then a "
            "metric, not in the ledger)"
        ),
    )
    sensor_profile: Path | None = Field(
        None,
        description="file that `wattlens doctor --sensors --json` wrote; replaces the assumed timing of the energy counters",
    )


class Sources(Section):
    """Sources of readings, owners and node energy."""

    nvml: NvmlSource = NvmlSource()
    node: NodeMeters = NodeMeters()


class LedgerConfig(Section):
    """The energy ledger."""

    disk_budget_mib: int = Field(
        512,
        ge=16,
        le=1 << 20,
        description="size limit of the journal; the agent deletes sealed rows first, and never deletes unsealed rows",
    )
    keep_hours: int = Field(48, ge=1, le=24 * 366, description="how long sealed rows stay in the journal")
    segment_s: int = Field(3600, ge=900, le=24 * 3600, multiple_of=900, description="length of a segment: a multiple of 900 s")


class Web(Section):
    """/metrics, /healthz, /readyz."""

    listen: Listen = Field("127.0.0.1:9479", description="ADDRESS:PORT; port 0 selects a free port")
    metrics: Metrics = Metrics()
    config_file: Path | None = Field(None, description="TLS and basic auth: a file in exporter-toolkit's web-config format")
    bearer_token_file: Path | None = Field(
        None, description="file with the bearer token that clients must send; it must not be readable by everyone"
    )
    probe_listen: Listen | None = Field(
        None, description="ADDRESS:PORT that serves only /healthz and /readyz, over plain HTTP, for probes"
    )


class Client(Section):
    """A socket for programs on this node (docs/measure.md). Off unless a socket is named."""

    socket: Path | None = Field(None, description="Unix socket that every user may connect to; a missing folder is created")


class Config(Section):
    """The whole file."""

    node: NodeConfig = NodeConfig()
    sampling: Sampling = Sampling()
    sources: Sources = Sources()
    holders: OwnersConfig = OwnersConfig()
    tokens: tuple[TokenSource, ...] = ()
    ledger: LedgerConfig = LedgerConfig()
    web: Web = Web()
    client: Client = Client()
    otlp: Otlp = Otlp()
    dvfs: Dvfs = Dvfs()


def load(path: Path | None) -> Config:
    """Read and check a configuration file; None: the defaults.

    Raises:
        UsageError: a line per fault, with file, key, expected and actual value.
    """
    if path is None:
        return Config()
    return parse(yaml_file.read(path, "configuration"), str(path))


def parse(raw: bytes, name: str = "configuration") -> Config:
    """Check the text of a configuration; `name` stands in messages.

    Raises:
        UsageError: not UTF-8, not YAML, an unknown key or a wrong value.
    """
    return parse_as(Config, raw, name)


def parse_as(model: type[Model], raw: bytes, name: str) -> Model:
    """A YAML text as `model`, an empty one as its defaults; raises as `parse` does."""
    data = yaml_file.parse(raw, name)
    if not isinstance(data, dict):
        sections = ", ".join(f"'{key}:'" for key in list(model.model_fields)[1:3])
        raise UsageError(
            f"{name} must be a mapping of sections such as {sections}, not {_WHAT.get(type(data), 'a single value')}"
        )
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UsageError("\n".join(f"{name}: {line}" for line in explain(error, model))) from None
    except RecursionError:
        raise UsageError(f"{name}: nested too deeply") from None
