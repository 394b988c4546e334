"""`wattlens usage`: who used how much energy, what it cost and emitted."""

import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import list_first
from wattlens.cli._command import Command, CommandOptions, print_lines
from wattlens.cli._ledger_source import add_rates, add_source, carbon_intensity, electricity_price, energy_source
from wattlens.cli._options import number
from wattlens.terminal_line import count_progress

if TYPE_CHECKING:
    from wattlens.usage.statement import GroupBy, RowKey, Usage

_GROUPS = ("workload", "owner", "namespace", "user", "team", "model", "gpu", "node")
_TIMES = "24h, 7d, yesterday, monday or 2026-01-31"


def _configure(add: CommandOptions) -> None:
    add_source(add)
    period = add.group("period (UTC, in quarters of an hour)")
    period("--since TIME", f"{_TIMES} (default: 7d)")
    period("--from TIME", "start of the period, like --since", dest="start")
    period("--to TIME", "end of the period, not included (default: now)", dest="end")

    rows = add.group("rows")
    rows("--by", "key of the rows (default: workload)", choices=_GROUPS, default="workload")
    rows("--workload NAME", "show only this workload")
    rows("--rows N", "maximum number of rows (default 25)", type=number(int, 1, 1_000_000), default="25")

    value = add.group("cost and carbon")
    value("--org FILE", "org.xlsx or org.yaml of `wattlens report`: tariffs, grid factors, teams")
    value("--accept-old", "with --org: also use yearly emission factors that are more than five years older than the energy")
    add_rates(value)

    output = add.exclusive()
    output("--csv", "print CSV")
    output("--json", "print a JSON object")


def _run(arguments: Namespace) -> int:
    from wattlens.usage import output
    from wattlens.usage.rates import with_carbon, with_price
    from wattlens.usage.statement import GroupBy

    by = GroupBy(arguments.by)
    if arguments.workload is not None and by is not GroupBy.WORKLOAD:
        raise UsageError(f"--workload: cannot be combined with --by {by.value}")
    price, carbon = electricity_price(arguments), carbon_intensity(arguments)
    start_ns, end_ns, now_ns = _period(arguments)
    usage = _read(arguments, by, start_ns, end_ns, now_ns)
    usage = usage if price is None else with_price(usage, price)
    usage = usage if carbon is None else with_carbon(usage, carbon)
    only = None if arguments.workload is None else _find_workload(usage, arguments.workload)
    if arguments.json:
        output.write_json(usage, sys.stdout, only)
    elif arguments.csv:
        output.write_csv(usage, sys.stdout, only)
    else:
        print_lines(output.table_lines(usage, arguments.rows, only))
    return 0


def _period(arguments: Namespace) -> tuple[int, int, int]:
    """(start, end, now) in UTC ns."""
    from wattlens.usage.period import DEFAULT_SINCE, read_period

    if arguments.since is not None and (arguments.start is not None or arguments.end is not None):
        raise UsageError("--since: cannot be combined with --from or --to")
    if arguments.start is None and arguments.end is not None:
        raise UsageError("--to: expected together with --from")
    start = ("--since", DEFAULT_SINCE if arguments.since is None else arguments.since)
    if arguments.start is not None:
        start = ("--from", arguments.start)
    now_ns = time.time_ns()
    return *read_period(start, arguments.end, now_ns), now_ns


def _read(arguments: Namespace, by: "GroupBy", start_ns: int, end_ns: int, now_ns: int) -> "Usage":
    from energy_agent.core.units import NS_PER_DAY

    source, organisation = energy_source(arguments), None
    if arguments.org is not None:
        from wattlens.report.inputs.org import load_organisation

        if arguments.prometheus is not None:
            raise UsageError("--prometheus: cannot be combined with --org; give --price and --carbon")
        ends = start_ns - NS_PER_DAY, end_ns + NS_PER_DAY
        organisation = load_organisation(arguments.org, *ends, now_ns, accept_old=arguments.accept_old)
    progress = count_progress("compacted") if arguments.prometheus is None else count_progress("read", "nodes")
    return source.usage(by, start_ns, end_ns, organisation=organisation, progress=progress)


def _find_workload(usage: "Usage", name: str) -> "RowKey":
    """The row of a workload.

    Raises:
        WattlensError: no workload has that name; the message lists those that there are.
    """
    from wattlens.usage.statement import RowKind

    keys = {row.key.name: row.key for row in usage.rows if row.key.kind is RowKind.GROUP}
    if name not in keys:
        listed = list_first(list(keys), 20) or "none"
        raise WattlensError(f"--workload {name}: not found in the period; workloads: {listed}")
    return keys[name]


SPEC = Command("show energy, cost and CO2e by workload, owner, namespace, user, team, model, GPU or node", _configure, _run)
