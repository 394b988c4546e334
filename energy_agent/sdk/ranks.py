"""Rank and group of a training process, from its launcher's environment variables.

torchrun, Slurm and Open MPI are supported. The group's name is equal on all its ranks and nodes; "" for a single process. A
rendezvous at a loopback address names a group of one workload's ranks only, which the agent shows to nobody else.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
_LOCAL = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
_MOST = 1 << 24


@dataclass(frozen=True, slots=True)
class RankPosition:
    """A process's rank within its group of `world` ranks."""

    rank: int = 0
    world: int = 1
    group: str = ""


def place_of(environ: Mapping[str, str]) -> RankPosition:
    """The rank position from an environment; a single process if the environment has none or an invalid one."""
    for rank_name, world_name in _LAUNCHERS:
        rank, world = _number(environ.get(rank_name)), _number(environ.get(world_name))
        if rank is not None and world is not None and rank < world:
            return RankPosition(rank, world, _group(environ) if world > 1 else "")
    return RankPosition()


def initialized_torch() -> Any:
    """`torch.distributed` where this process has imported and initialized it, else None."""
    distributed = sys.modules.get("torch.distributed")
    return distributed if distributed is not None and distributed.is_available() and distributed.is_initialized() else None


def local_rank_of(environ: Mapping[str, str]) -> int:
    """Which rank of its own node a process is; 0 where its launcher does not say."""
    return next((rank for name in _LOCAL if (rank := _number(environ.get(name))) is not None), 0)


def _group(environ: Mapping[str, str]) -> str:
    elastic = environ.get("TORCHELASTIC_RUN_ID", "").strip()
    if elastic.lower() not in ("", "none"):  # torchrun's own word for a job that was given no id
        return elastic[:120]
    if job := environ.get("SLURM_JOB_ID"):
        return f"slurm-{job}.{environ.get('SLURM_STEP_ID', '0')}"[:120]
    if job := environ.get("OMPI_MCA_ess_base_jobid"):
        return f"mpi-{job}"[:120]
    address = environ.get("MASTER_ADDR")
    return f"{address}:{environ.get('MASTER_PORT', '')}"[:120] if address else ""


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 9 and int(text) < _MOST else None
