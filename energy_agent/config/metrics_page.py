"""Configuration of /metrics: include and exclude lists of metric families and GPUs."""

import difflib
from fnmatch import fnmatchcase

from pydantic import Field, field_validator

from energy_agent.config.section import Section
from energy_agent.core.catalogue.node import BY_NAME
from energy_agent.core.selection import Selection

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
PREFIX = "wattlens_"
_GPUS = "GPUs by index, UUID or glob"


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
    def _families(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(checked_family, patterns))

    @field_validator("include_gpus", "exclude_gpus")
    @classmethod
    def _gpus(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(checked_gpu, patterns))

    @property
    def selection(self) -> Selection:
        """The same for the page."""
        return Selection(self.include, self.exclude, self.include_gpus, self.exclude_gpus)


def checked_family(pattern: str) -> str:
    """The pattern of a family without the prefix, where it names at least one.

    Raises:
        ValueError: it names none; the message has the nearest.
    """
    name = pattern.removeprefix(PREFIX)
    if any(fnmatchcase(known, name) for known in BY_NAME):
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
