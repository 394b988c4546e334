"""Selection of the jobs that get a comment, and its text. Pure.

A job gets one comment, once: a part that begins with `wattlens ` marks a job that has it. Earlier text stays in front.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from wattlens.job.output import NS_PER_HOUR
from wattlens.job.statement import JobReport
from wattlens.slurm.accounting import EndedJob

MARK: Final = "wattlens "
SEPARATOR: Final = "; "


def is_recorded(comment: str) -> bool:
    """Whether a comment has the energy of its job."""
    return any(part.startswith(MARK) for part in comment.split(SEPARATOR))


def jobs_to_record(jobs: Iterable[EndedJob], now_ns: int, settle_ns: int) -> list[EndedJob]:
    """Jobs with GPUs that ended at least `settle_ns` ago and have no energy in their record yet."""
    return [job for job in jobs if job.has_gpus and job.end_ns + settle_ns <= now_ns and not is_recorded(job.comment)]


def comment_of(job: EndedJob, report: JobReport, process_tracking: str = "cgroup") -> str:
    """The comment of a job: its earlier text, then words NAME=VALUE; figures that are not available are left out.

    Without cgroups a process that left the job's process tree is not found: the energy is then marked `partial=proctrack`.
    """
    energy = report.energy
    values: dict[str, str | None] = {
        "energy_j": None if energy.unseen else _joules(energy.energy_uj),
        "energy_j_low": None if energy.low_uj is None else _joules(energy.low_uj),
        "energy_j_high": None if energy.high_uj is None else _joules(energy.high_uj),
        "idle_j": None if energy.unseen else _joules(report.idle_uj),
        "gpu_h": f"{(report.active_ns + report.idle_ns) / NS_PER_HOUR:.4g}",
        "nodes": str(len(report.nodes)),
        "allocated_nodes": str(job.nodes) if job.nodes > len(report.nodes) else None,  # of these, some have no energy here
        "steps": str(report.step_count) if report.step_count else None,
        "j_per_step": _number(report.joules_per_step.value),
        "tokens": str(report.token_count[0]) if report.token_count[0] else None,
        "j_per_token": _number(report.joules_per_token.value),
        "co2e_g": _number(report.carbon.value),
        "partial": None if process_tracking == "cgroup" else "proctrack",
        "boundary": "node" if report.whole_nodes else "gpu",
        "simulated": "yes" if report.simulated else None,
    }
    text = MARK + " ".join(f"{name}={value}" for name, value in values.items() if value is not None)
    return f"{job.comment}{SEPARATOR}{text}" if job.comment else text


def _joules(uj: int) -> str:
    return str(round(Fraction(uj, 10**6)))


def _number(value: Fraction | None) -> str | None:
    return None if value is None else f"{float(value):.4g}"
