"""`wattlens dashboards push`: bring a Grafana to what is built, and lose nobody's work."""

import argparse
import json
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError
from wattlens.cli.dashboards import grafana as common
from wattlens.terminal_line import count_progress

if TYPE_CHECKING:
    from wattlens.grafana.push import PushResult

SUMMARY = "upload folder, dashboards, and optionally data source and alert rules to Grafana"
DESCRIPTION = (
    "Upload folder, dashboards, and optionally data source and alert rules to Grafana. A second push changes nothing. If "
    "somebody edited objects in Grafana since the last push, this command lists them and writes nothing, unless "
    "--overwrite or --keep-edited is given. Exits with 1 if Grafana does not match the build afterwards. Prefer "
    "provisioning from files, which needs no token: see docs/grafana.md."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dashboards push`."""
    common.add_access(parser)
    common.add_objects(parser)
    parser.add_argument(
        "--editable-alerts", action="store_true", help="let people edit alert rules in Grafana (default: locked)"
    )
    edits = parser.add_mutually_exclusive_group()
    edits.add_argument("--overwrite", action="store_true", help="overwrite edits made in Grafana")
    edits.add_argument("--keep-edited", action="store_true", help="keep edits made in Grafana, push the rest")
    parser.add_argument("--dry-run", action="store_true", help="show the changes without writing them")


def run(arguments: argparse.Namespace) -> int:
    """Push and print the changes. Returns 0 if everything is as built or skipped on purpose, 1 if another object conflicts."""
    from wattlens.grafana.client import Grafana
    from wattlens.grafana.push import push

    if arguments.editable_alerts and not arguments.alerts:
        raise UsageError("--editable-alerts: expected together with --alerts")
    wanted, access = common.wanted_objects(arguments), common.grafana_access(arguments)
    edits = "overwrite" if arguments.overwrite else "keep" if arguments.keep_edited else "stop"
    grafana = Grafana(access)
    outcome = push(grafana, wanted, edits, dry=arguments.dry_run, progress=count_progress("pushed", "objects"))  # type: ignore[arg-type]
    common.print_notes(outcome.notes)
    code = 1 if outcome.refused else 0
    if arguments.json:
        print(json.dumps(_json(outcome, access.url, arguments.dry_run)))
        return code
    _tell(outcome, access.url, arguments)
    return code


def _tell(outcome: "PushResult", url: str, arguments: argparse.Namespace) -> None:
    written = {*outcome.written}
    would = [each for each in outcome.changes if each.state in ("create", "update")]
    if arguments.dry_run or outcome.stopped:
        for each in would:
            print(f"would {each.state} {common.describe_change(each)}")
    for each in outcome.changes:
        if (each.kind, each.uid) in written:
            print(f"{'overwritten' if each.state == 'edited' else each.state + 'd'} {common.describe_change(each)}")
        elif each.state in ("edited", "locked"):
            print(f"{each.state} {common.describe_change(each)}")
    same = sum(each.state == "same" for each in outcome.changes)
    where = f"the folder {outcome.survey.folder_title} of {url}"
    if outcome.stopped:
        print(
            f"Nothing was written to {where}, because objects were edited in Grafana. Show the edits with wattlens "
            "dashboards diff, save them with pull, then push with --overwrite or --keep-edited."
        )
    elif arguments.dry_run:
        print(f"{len(would)} would change, {same} unchanged in {where}")
    else:
        print(f"{len(written)} changed, {same} unchanged in {where}")


def _json(outcome: "PushResult", url: str, dry: bool) -> dict[str, object]:
    written = {*outcome.written}
    return common.head_json(url, outcome.survey) | {
        "dry_run": dry,
        "stopped": outcome.stopped,
        "changed": len(written),
        "unchanged": sum(each.state == "same" for each in outcome.changes),
        "refused": len(outcome.refused),
        "changes": [common.as_json(each) | {"written": (each.kind, each.uid) in written} for each in outcome.changes],
        "notes": outcome.notes,
    }
