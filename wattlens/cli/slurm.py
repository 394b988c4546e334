"""`wattlens slurm`: energy of ended jobs in Slurm's accounting record."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import printable
from wattlens.cli._command import Command, as_sentence
from wattlens.cli._ledger_source import add_rates, add_source
from wattlens.cli._options import duration
from wattlens.cli._rounds import repeat
from wattlens.cli.job import check_rates, rate, read_report

if TYPE_CHECKING:
    from wattlens.slurm import EndedJob, SlurmAccounting


def _configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    summary = "write energy, gCO2e and J/step of ended jobs into their accounting record, once per job"
    record = commands.add_parser("record", help=summary, description=as_sentence(summary))
    record.set_defaults(action=_record)
    record.add_argument("--job", action="append", default=[], metavar="JOB", help="only this job; may be repeated")
    add_source(record)
    add_rates(record.add_argument_group("cost and carbon"), of_site=True)
    record.add_argument("--slurm", type=Path, metavar="FOLDER", help="folder of sacct, sacctmgr and scontrol (default: PATH)")
    record.add_argument(
        "--look-back", type=duration(60, 90 * 86_400), default=3 * 86_400.0, metavar="TIME",
        help="ignore jobs that ended before this time, such as 12h (default: 3d)",
    )  # fmt: skip
    record.add_argument(
        "--settle", type=duration(0, 86_400), default=120.0, metavar="TIME",
        help="wait until a job has ended for this time, so that its last second is in the source (default: 2m)",
    )  # fmt: skip
    record.add_argument(
        "--every", type=duration(1, 86_400), metavar="TIME", help="keep running, and look for ended jobs at this interval"
    )
    record.add_argument("--dry-run", action="store_true", help="print the comments without writing them")


def _run(arguments: argparse.Namespace) -> int:
    return int(arguments.action(arguments))


def _record(arguments: argparse.Namespace) -> int:
    from wattlens.slurm import SlurmAccounting

    check_rates(arguments)
    accounting = SlurmAccounting(arguments.slurm)
    if arguments.every is None:
        return _record_once(arguments, accounting)
    repeat(lambda: _record_once(arguments, accounting), arguments.every)
    return 0


def _record_once(arguments: argparse.Namespace, accounting: "SlurmAccounting") -> int:
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
            print(printable(f"wattlens: job {job.job_id}: {error}"), file=sys.stderr, flush=True)
    return 1 if failed else 0


def _record_job(arguments: argparse.Namespace, accounting: "SlurmAccounting", job: "EndedJob", tracking: str) -> None:
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


SPEC = Command("energy of ended jobs in Slurm's accounting record", _configure, _run)
