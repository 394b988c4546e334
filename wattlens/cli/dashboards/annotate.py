"""`wattlens dashboards annotate`: changes of DVFS and editions of the report as annotations in a Grafana."""

import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.units import NS_PER_S
from wattlens.cli._command import CommandOptions, print_json
from wattlens.cli._options import add_period
from wattlens.cli.dashboards import grafana as common
from wattlens.terminal_line import count_progress

if TYPE_CHECKING:
    from wattlens.grafana.events import PlannedAnnotation

SUMMARY = "write DVFS actions and reports to Grafana as annotations"
DESCRIPTION = (
    "Write DVFS actions and reports to Grafana as annotations. Repeated runs create no duplicates. Each "
    "annotation has the tag wattlens, and dvfs or report."
)
MOST = 10_000
_DAY_S = 86_400
_SETTLED_S = 5
"""What the last seconds hold may not be all of them yet."""


def configure(add: CommandOptions) -> None:
    """Options of `wattlens dashboards annotate`."""
    common.add_access(add)
    add(
        "--ledger SOURCE",
        "a state folder, a folder of segments, or compacted days; may be repeated",
        action="append",
        type=Path,
        default=[],
    )
    add("--report DIR", "folder of a report; may be repeated", action="append", default=[])
    add_period(add, start="1d", end="now")
    add("--dry-run", "show the number of annotations without writing them")
    add("--json", "print JSON")


def run(arguments: Namespace) -> int:
    """Read events, and write those that are not there."""
    from wattlens.grafana.annotate import annotate
    from wattlens.grafana.client import Grafana

    if not arguments.ledger and not arguments.report:
        raise UsageError("expected a ledger with --ledger or a report with --report")
    access, events = common.grafana_access(arguments), _events(arguments)
    grafana = Grafana(access)
    done = annotate(grafana, events, dry=arguments.dry_run, progress=count_progress("annotated", "events"))
    if arguments.json:
        counts = {"created": done.created, "unchanged": done.unchanged, "dry_run": arguments.dry_run}
        print_json({"url": access.url, "events": len(events), **counts}, None)
        return 0
    print(f"{done.created} annotations {'would be ' * arguments.dry_run}created, {done.unchanged} already present")
    return 0


def _events(arguments: Namespace) -> "list[PlannedAnnotation]":
    from energy_agent.ledger import export, reading
    from reports.audit.edition import read_edition
    from wattlens.grafana.events import dvfs_events, report_event

    now_s = int(time.time())
    start_s = int(arguments.start.timestamp()) if arguments.start else now_s - _DAY_S
    end_s = int(arguments.end.timestamp()) if arguments.end else now_s
    end_s = min(end_s, now_s - _SETTLED_S)
    if end_s <= start_s:
        raise UsageError("--to: expected a time after --from")
    choice = export.CellFilter(start_s * NS_PER_S, end_s * NS_PER_S)
    actions = [row for source in arguments.ledger for row in export.of_kind(reading.read_rows(source), "action", choice)]
    events = dvfs_events(actions)
    if len(events) > MOST:
        raise WattlensError(
            f"{len(events)} actions to annotate, expected at most {MOST}; select a shorter period with --from and --to"
        )
    for folder in arguments.report:
        edition = read_edition(folder)
        if not edition.sites:
            raise WattlensError(f"{folder}: the report has no site and therefore no period to annotate")
        start_ns, end_ns = min(s for s, _, _ in edition.sites.values()), max(e for _, e, _ in edition.sites.values())
        events.append(report_event(edition.label, edition.number, edition.sha256, start_ns, end_ns))
    return events
