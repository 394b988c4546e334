"""`wattlens job`: energy of one job over its whole life, on all its nodes."""

import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions, print_lines
from wattlens.cli._ledger_source import (
    SITE_CARBON,
    add_rates,
    add_source,
    carbon_intensity,
    electricity_price,
    energy_source,
    prometheus_access,
)
from wattlens.terminal_line import count_progress

if TYPE_CHECKING:
    from wattlens.job.statement import JobReport
    from wattlens.usage.job_address import JobAddress

_TIMES = "24h, 7d, yesterday, monday or 2026-01-31"


def _configure(add: CommandOptions) -> None:
    add("job JOB", "k8s/NAMESPACE/NAME, k8s/NAMESPACE/KIND/NAME or slurm/JOB")
    add_source(add)
    period = add.group("period (UTC, in quarters of an hour)")
    everything = "all of a ledger, 7d of Prometheus"
    period("--since TIME", f"ignore earlier energy: {_TIMES} (default: {everything})")
    period("--to TIME", "end of the period, not included (default: now)", dest="end")
    add_rates(add.group("cost and carbon"), of_site=True)
    output = add.exclusive()
    output("--seff", "print the job as Slurm's seff does, one value per line")
    output("--json", "print a JSON object")


def _run(arguments: Namespace) -> int:
    from wattlens.job.output import efficiency_lines, text_lines, write_json
    from wattlens.usage.job_address import parse_address

    address = parse_address(arguments.job)
    check_rates(arguments)
    report = rate(arguments, read_report(arguments, address, *_period(arguments)))
    if arguments.json:
        write_json(report, sys.stdout)
        return 0
    print_lines(efficiency_lines(report) if arguments.seff else text_lines(report))
    return 0


def _period(arguments: Namespace) -> tuple[int, int]:
    from wattlens.usage.period import DEFAULT_SINCE, read_period

    now_ns = time.time_ns()
    since = arguments.since
    if since is None and arguments.prometheus is not None:
        since = DEFAULT_SINCE
    start_ns, end_ns = read_period(None if since is None else ("--since", since), arguments.end, now_ns)
    return start_ns, end_ns if arguments.prometheus is None else min(end_ns, now_ns)


def read_report(arguments: Namespace, address: "JobAddress", start_ns: int, end_ns: int) -> "JobReport":
    """The statement of a job from the source that the options name.

    Raises:
        WattlensError: the source cannot be read, or holds nothing of the job.
    """
    from wattlens.job.statement import report_of

    source = energy_source(arguments)
    with source.open(start_ns, end_ns, address=address, progress=count_progress("compacted")) as ledger:
        return report_of(ledger, address)


def check_rates(arguments: Namespace) -> None:
    """Refuse a wrong `--price` or `--carbon` before anything is read.

    Raises:
        UsageError: one of them cannot be used.
    """
    electricity_price(arguments)
    if not SITE_CARBON.fullmatch(arguments.carbon or ""):
        carbon_intensity(arguments)
    elif arguments.prometheus is None:
        raise UsageError(f"--carbon {arguments.carbon}: expected together with --prometheus")


def rate(arguments: Namespace, report: "JobReport") -> "JobReport":
    """The job with its cost and CO2e, where `--price` and `--carbon` are given.

    Raises:
        WattlensError: the Prometheus has no grid carbon intensity of that time.
    """
    from wattlens.job.statement import with_rates

    price, site = electricity_price(arguments), SITE_CARBON.fullmatch(arguments.carbon or "")
    if site is None:
        return with_rates(report, price, carbon_intensity(arguments))
    from wattlens.job.grid import mean_intensity
    from wattlens.prometheus.history import PrometheusHistory

    history = PrometheusHistory(prometheus_access(arguments))
    carbon = mean_intensity(history, site[1] or "", report.first_ns, report.last_ns)
    return with_rates(report, price, carbon)


SPEC = Command("show energy, J/step, J/token and idle energy of one job, over all its nodes and restarts", _configure, _run)
