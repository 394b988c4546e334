"""Ended jobs of Slurm's accounting database by sacct, and comments of them by sacctmgr, as an operator of Slurm.

A job gets one comment, once: a part that begins with `wattlens ` marks a job that has it. Earlier text stays in front.
"""

import os
import re
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import printable
from energy_agent.core.units import NS_PER_S
from wattlens.job.output import NS_PER_HOUR
from wattlens.job.statement import JobReport

TIMEOUT_S: Final = 120.0
STATES: Final = "BOOT_FAIL,CANCELLED,COMPLETED,DEADLINE,FAILED,NODE_FAIL,OUT_OF_MEMORY,PREEMPTED,TIMEOUT"
"""States of jobs that have ended."""
FIELD: Final = "AdminComment"
"""Set after the end of a job, by operators alone. A user could put the text of a record into any other such field."""
_JOB: Final = re.compile(r"\d+(?:[_+]\d+|_\[[^]|]*\])?")
_PROCESS_TRACKING: Final = re.compile(r"^ProctrackType\s*=\s*(?:proctrack/)?(\S+)", re.MULTILINE)
MARK: Final = "wattlens "
SEPARATOR: Final = "; "


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has ended.

    Args:
        job_id: as Slurm shows it: 12, 12_3 of an array, 12+1 of a heterogeneous job.
        raw_id: its own number, by which agents name its workload.
        cluster: of the accounting database.
        submit_ns: when it was submitted, before all of its runs, UTC.
        end_ns: end of its last run, UTC.
        has_gpus: it was allocated GPUs.
        nodes: number of nodes that it was allocated; 0 if sacct does not have it.
        comment: present text of the field.
    """

    job_id: str
    raw_id: str
    cluster: str
    submit_ns: int
    end_ns: int
    has_gpus: bool
    nodes: int
    comment: str


@dataclass(frozen=True, slots=True)
class SlurmAccounting:
    """The accounting database of one Slurm, by the programs in `folder` (None: those in PATH)."""

    folder: Path | None = None

    def ended_jobs(self, since_ns: int, job_ids: Sequence[str] = ()) -> list[EndedJob]:
        """Jobs that ended after a time, or these jobs alone, in the order of their end.

        Raises:
            WattlensError: sacct failed.
        """
        names = f"JobID,JobIDRaw,Cluster,Submit,End,AllocTRES%512,{FIELD}%65536"
        separator = f"|{secrets.token_hex(16)}|"  # which no comment can have, whose lines would else pass for other jobs
        command = ["sacct", "--allocations", "--noheader", "--parsable2", f"--delimiter={separator}", f"--format={names}"]
        command += [f"--jobs={','.join(job_ids)}"] if job_ids else ["--allusers", f"--state={STATES}"]
        command += [f"--starttime=uts{since_ns // NS_PER_S}", "--endtime=now"]
        jobs = list(parse_jobs(self._run(command), separator))
        return sorted(jobs, key=lambda job: (job.end_ns, job.raw_id))

    def process_tracking(self) -> str:
        """How Slurm finds the processes of a job: `cgroup`, `linuxproc` or another plugin's name; "" if it is missing.

        Raises:
            WattlensError: scontrol failed.
        """
        match = _PROCESS_TRACKING.search(self._run(["scontrol", "show", "config"]))
        return match[1] if match else ""

    def write(self, job: EndedJob, comment: str) -> None:
        """Set the field of a job's record.

        Raises:
            WattlensError: sacctmgr failed, or did not find the job.
        """
        where = [f"jobid={job.job_id}", *([f"cluster={job.cluster}"] if job.cluster else [])]
        self._run(["sacctmgr", "--immediate", "modify", "job", "where", *where, "set", f"{FIELD}={comment}"])

    def _run(self, command: list[str]) -> str:
        program = str(self.folder / command[0]) if self.folder is not None else command[0]
        environ = {**os.environ, "SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                [program, *command[1:]], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise UsageError(f"{program}: not found; name the folder of Slurm's programs with --slurm") from None
        except OSError as error:  # a comment may be longer than an argument can be
            raise WattlensError(f"{program}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise WattlensError(f"{program} did not respond within {TIMEOUT_S:g} s") from None
        if done.returncode:
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise WattlensError(printable(f"{command[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}"))
        return done.stdout


def parse_jobs(text: str, separator: str) -> Iterator[EndedJob]:
    """The jobs of sacct's output with epoch times; jobs without an end are skipped. A comment may have several lines.

    `separator` stands between the fields, and in no comment.

    Raises:
        WattlensError: the output does not begin with the fields that were requested.
    """
    records: list[str] = []
    for line in text.splitlines():
        if line.count(separator) == 6 and _JOB.fullmatch(line.partition(separator)[0]):
            records.append(line)
        elif records:
            records[-1] += f" {line}"
        else:
            raise WattlensError(printable(f"sacct: expected 7 fields, got {line[:80]!r}"))
    for record in records:
        job_id, raw_id, cluster, submit, end, resources, comment = record.split(separator, 6)
        if submit.isdecimal() and end.isdecimal():
            trackable = dict(part.split("=", 1) for part in resources.split(",") if "=" in part)
            has_gpus, nodes = any(name.startswith("gres/gpu") for name in trackable), trackable.get("node", "0")
            times_ns = int(submit) * NS_PER_S, int(end) * NS_PER_S
            yield EndedJob(job_id, raw_id, cluster, *times_ns, has_gpus, int(nodes) if nodes.isdecimal() else 0, comment)


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
