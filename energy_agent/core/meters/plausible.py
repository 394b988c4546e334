"""The physical limits of a node, which the agent asks of its meters and the fleet's ledger asks of each chain. Pure.

One place has them, so that no row which an agent accepts is refused by compaction.
"""

from typing import Final

from energy_agent.core.workloads.training_report import RATE_MAX

GPU_LIMIT_W: Final = {
    "Tesla T4": 70,
    "Tesla V100-PCIE-16GB": 250,
    "Tesla V100-PCIE-32GB": 250,
    "Tesla V100-SXM2-16GB": 300,
    "Tesla V100-SXM2-32GB": 300,
    "NVIDIA A10": 150,
    "NVIDIA A30": 165,
    "NVIDIA A40": 300,
    "NVIDIA A100-PCIE-40GB": 250,
    "NVIDIA A100 80GB PCIe": 300,
    "NVIDIA A100-SXM4-40GB": 400,
    "NVIDIA A100-SXM4-80GB": 500,
    "NVIDIA L4": 72,
    "NVIDIA L40": 300,
    "NVIDIA L40S": 350,
    "NVIDIA H100 PCIe": 350,
    "NVIDIA H100 NVL": 400,
    "NVIDIA H100 80GB HBM3": 700,
    "NVIDIA H200": 700,
    "NVIDIA H200 NVL": 600,
    "NVIDIA GH200 480GB": 1000,
    "NVIDIA B200": 1200,
    "NVIDIA GB200": 1200,
}
"""Highest power limit of any variant of a GPU, by the name that NVML reports, from NVIDIA's data sheets."""
GPU_LIMIT_UNKNOWN_MW: Final = 4_000_000
"""Above the power limit of any GPU package that is announced (3.6 kW): for one that the table does not have."""
NODE_MAX_MW: Final = 200_000_000
"""More than any single node of 2026 draws."""
ENGINES_MAX: Final = 10
"""As many engines of one workload may be at RATE_MAX at once."""


def gpu_max_mw(name: str = "", limit_mw: int | None = None) -> int:
    """Maximum power of a GPU, transients included: a fifth above its highest limit.

    Args:
        name: as NVML reports it.
        limit_mw: the highest limit that its driver reports; None: not known.
    """
    known_mw = GPU_LIMIT_W[name] * 1000 if name in GPU_LIMIT_W else GPU_LIMIT_UNKNOWN_MW
    return min(limit_mw or known_mw, known_mw) * 6 // 5


def count_max(duration_s: float) -> int:
    """Maximum of tokens or steps that one workload can count in a time."""
    return int(RATE_MAX * ENGINES_MAX * (duration_s + 1))
