"""`wattlens dashboards diff`: what in a Grafana is not what is built."""

import argparse
import json

from wattlens.cli.dashboards import grafana as common
from wattlens.terminal_line import count_progress

SUMMARY = "show how Grafana differs from the built dashboards"
DESCRIPTION = (
    "Show how Grafana differs from the built dashboards, object by object, and who changed it. An outdated object was "
    "changed by a newer build, an edited one in Grafana. Exits with 1 if an object differs."
)
_WORDS = {"create": "missing", "update": "outdated", "edited": "edited", "locked": "locked"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dashboards diff`."""
    common.add_access(parser)
    common.add_objects(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare: 0 where all is as built, 1 where not."""
    from energy_agent.core.text import printable
    from wattlens.grafana.client import Grafana
    from wattlens.grafana.survey import survey

    wanted, access = common.wanted_objects(arguments), common.grafana_access(arguments)
    grafana = Grafana(access)
    result = survey(grafana, wanted, count_progress("compared", "dashboards"))
    differ = [each for each in result.changes if each.state != "same"]
    common.print_notes(result.notes)
    if arguments.json:
        changes = [common.as_json(each) for each in result.changes]
        differences = {"same": not differ, "changes": changes, "theirs": result.theirs, "notes": result.notes}
        print(json.dumps(common.head_json(access.url, result) | differences))
        return 1 if differ else 0
    for each in differ:
        print(f"{_WORDS[each.state]} {common.describe_change(each)}")
        for detail in each.details:
            print(f"  {printable(detail)}")
    if result.theirs:
        print(f"Dashboards that people created in the folder, which push never changes: {printable(', '.join(result.theirs))}")
    total = len(result.changes)
    print(f"{len(differ)} of {total} objects differ" if differ else f"All {total} objects match the build")
    return 1 if differ else 0
