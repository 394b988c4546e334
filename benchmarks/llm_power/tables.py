"""Measured power of LLM inference, from benchmarks/data; each folder's SOURCE.md has origin and licence.

Each point belongs to the half that parameters were fitted to, or to the other one. Fitted are every second row of a sweep of
caps, the depths of speculation 0, 2, 4 and 6, and the batches in `FITTED_BATCHES`.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.llm_power.workloads import Workload
from energy_agent.core.errors import UsageError

DATA = Path(__file__).resolve().parents[1] / "data"
FITTED_BATCHES = {"operators": (1, 2, 8, 64, 256), "Llama 3.1 8B Instruct": (8, 32, 128, 256)}
"""Batches that the decode intensities of a GPU were fitted to, by source; no other source was fitted to."""


@dataclass(frozen=True, slots=True)
class BatchPoint:
    """Power per GPU at its highest clock, by tokens in a step."""

    gpu: str
    phase: str
    source: str
    tokens: int
    power_w: float
    is_fitted: bool


@dataclass(frozen=True, slots=True)
class CapPoint:
    """Power, throughput and, where it was measured, SM clock under a power cap."""

    cap_w: float
    depth: int
    power_w: float
    tokens_per_s: float
    clock_mhz: float | None
    is_fitted: bool


@dataclass(frozen=True, slots=True)
class CapTable:
    """File of one sweep, with the workload that was fitted to half of it."""

    gpu: str
    phase: str
    path: str
    speed: str  # column of the throughput
    workload: Workload
    power: str = "power_w"

    @property
    def name(self) -> str:
        """File name without its ending."""
        return Path(self.path).stem

    def points(self, data: Path) -> list[CapPoint]:
        """Rows of the file.

        Raises:
            UsageError: the file cannot be read.
        """
        points = []
        for number, row in enumerate(_rows(data / self.path)):
            depth, clock = int(row.get("draft_depth", "0")), row.get("sm_clock_mhz")
            is_fitted = (depth if "draft_depth" in row else number) % 2 == 0
            values = float(row["cap_w"]), depth, float(row[self.power]), float(row[self.speed])
            points.append(CapPoint(*values, float(clock) if clock else None, is_fitted))
        return points


_NARRATIVE, _PROMPT = "tokens_per_s_narrative", "prefill_tokens_per_s"
_DRAFTS = Workload(0.702, 0.853, boundness_per_draft=-0.15, intensity_per_draft=0.078, drafts_max=4.2)
CAP_TABLES = (
    CapTable("rtx-3090", "decode by cap", "club-3090/power-cap-3090-qwen36.csv", _NARRATIVE, Workload(0.404, 1.159)),
    CapTable("rtx-3090", "decode by cap", "club-3090/power-cap-3090-a3b-decode.csv", _NARRATIVE, Workload(0.67, 0.707)),
    CapTable("rtx-3090", "prefill by cap", "club-3090/power-cap-3090-prefill.csv", _PROMPT, Workload(0.323, 0.89)),
    CapTable("rtx-3090", "prefill by cap", "club-3090/power-cap-3090-a3b-prefill.csv", _PROMPT, Workload(0.466, 0.854)),
    CapTable(
        "rtx-4090", "decode by cap", "club-3090/power-cap-4090-qwen36-decode-single.csv", _NARRATIVE, Workload(0.838, 0.856)
    ),
    CapTable(
        "rtx-4090", "decode by cap", "club-3090/power-cap-4090-qwen36-decode-concurrent.csv", _NARRATIVE, Workload(0.807, 0.841)
    ),
    CapTable("rtx-5090", "decode by cap", "club-3090/power-cap-5090-gemma4.csv", _NARRATIVE, Workload(0.582, 0.8)),
    CapTable("rtx-5090", "prefill by cap", "club-3090/power-cap-5090-qwen36-prefill.csv", _PROMPT, Workload(0.229, 1.182)),
    CapTable(
        "rtx-5090",
        "decode by cap and drafts",
        "qwen38-mtp/rtx5090_cap_by_draft_depth.csv",
        "tokens_per_s",
        _DRAFTS,
        power="power_p95_w",
    ),
)
"""Sweeps of power caps. The workloads are fitted to the fitted half of each file, together with the curve of the GPU."""


def batch_points(data: Path) -> Iterator[BatchPoint]:
    """Power by batch: GEMMs of aiconfigurator, then servers of the ML.ENERGY leaderboard.

    Raises:
        UsageError: a file cannot be read.
    """
    for row in _rows(data / "aiconfigurator" / "gemm_power.csv"):
        tokens, power_w = int(row["tokens"]), float(row["power_p75_w"])
        is_fitted = row["phase"] == "decode" and tokens in FITTED_BATCHES["operators"]
        yield BatchPoint(row["gpu"], row["phase"], "operators", tokens, power_w, is_fitted)
    for row in _rows(data / "ml-energy-v3" / "serving_power.csv"):
        model, tokens = row["model"], int(row["requests_max"])
        phase = "decode, waits for host" if row["waits_for_host"] == "yes" else "decode"
        is_fitted = row["gpu"] == "h100-sxm" and tokens in FITTED_BATCHES.get(model, ())
        yield BatchPoint(row["gpu"], phase, model, tokens, float(row["power_w"]) / int(row["gpus"]), is_fitted)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the measured table: {error}") from error
