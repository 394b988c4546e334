"""`wattlens slurm`: energy of ended jobs in Slurm's accounting record."""

import time
from argparse import Namespace
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import printable
from wattlens.cli._command import Command, CommandOptions, warn
from wattlens.cli._ledger_source import add_rates, add_source
from wattlens.cli._options import duration
from wattlens.cli._rounds import repeat
from wattlens.cli.job import check_rates, rate, read_report

if TYPE_CHECKING:
    from wattlens.slurm import EndedJob, SlurmAccounting


def _configure(add: CommandOptions) -> None:
    add("--job JOB", "only this job; may be repeated", action="append", default=[])
    add_source(add)
    add_rates(add.group("cost and carbon"), of_site=True)
    add("--slurm FOLDER", "folder of sacct, sacctmgr and scontrol (default: PATH)")
    add(
        "--look-back TIME",
        "ignore jobs that ended before this time, such as 12h (default: 3d)",
        type=duration(60, 90 * 86_400),
        default=3 * 86_400.0,
    )
    add(
        "--settle TIME",
        "wait until a job has ended for this time, so that its last second is in the source (default: 2m)",
        type=duration(0, 86_400),
        default=120.0,
    )
    add("--every TIME", "keep running, and look for ended jobs at this interval", type=duration(1, 86_400))
    add("--dry-run", "print the comments without writing them")


def _record(arguments: Namespace) -> int:
    from wattlens.slurm import SlurmAccounting

    check_rates(arguments)
    accounting = SlurmAccounting(arguments.slurm)
    if arguments.every is None:
        return _record_once(arguments, accounting)
    repeat(lambda: _record_once(arguments, accounting), arguments.every)
    return 0


def _record_once(arguments: Namespace, accounting: "SlurmAccounting") -> int:
    """Write what is missing; 1 if a job's energy could not be read or written."""
    from energy_agent.core.units import NS_PER_S
    from wattlens.slurm import jobs_to_record

    now_ns = time.time_ns()
    since_ns = now_ns - round(arguments.look_back * NS_PER_S)
    ended = accounting.ended_jobs(since_ns, arguments.job)
    failed = 0
    waiting = jobs_to_record(ended, now_ns, round(arguments.settle * NS_PER_S))
    tracking = accounting.process_tracking() if waiting else ""
    for job in waiting:
        try:
            _record_job(arguments, accounting, job, tracking)
        except UsageError:
            raise
        except WattlensError as error:
            failed += 1
            warn(f"job {job.job_id}: {error}")
    return 1 if failed else 0


def _record_job(arguments: Namespace, accounting: "SlurmAccounting", job: "EndedJob", tracking: str) -> None:
    from energy_agent.core.units import NS_PER_S
    from energy_agent.ledger.rows.kinds import CELL_NS
    from wattlens.slurm import comment_of
    from wattlens.usage.job_address import exact_address

    address = exact_address(job.raw_id)
    start_ns = job.submit_ns - job.submit_ns % CELL_NS
    end_ns = -(-(job.end_ns + round(arguments.settle * NS_PER_S)) // CELL_NS) * CELL_NS
    report = rate(arguments, read_report(arguments, address, start_ns, end_ns))
    comment = comment_of(job, report, tracking)
    if not arguments.dry_run:
        accounting.write(job, comment)
    print(f"{job.job_id}: {printable(comment)}", flush=True)


_RECORD = "write energy, gCO2e and J/step of ended jobs into their accounting record, once per job"
SPEC = Command("add energy to ended jobs in Slurm's accounting", actions={"record": Command(_RECORD, _configure, _record)})
