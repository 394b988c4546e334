"""`wattlens dashboards pull`: what people changed in a Grafana, as files to review."""

import argparse
import json
from pathlib import Path

from wattlens.cli.dashboards import grafana as common
from wattlens.terminal_line import count_progress

SUMMARY = "write what people changed in Grafana to files for review"
DESCRIPTION = (
    "Write what people changed in Grafana to files for review: edited dashboards and alert rules, and dashboards that "
    "people made in the folder. Dashboards have the form of the built files, without what the server writes into them."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dashboards pull`."""
    common.add_access(parser)
    common.add_objects(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that gets dashboards/ and alerts/")
    parser.add_argument("--all", action="store_true", help="unchanged objects too")
    parser.add_argument("--replace", action="store_true", help="overwrite existing files with other content")


def run(arguments: argparse.Namespace) -> int:
    """Read, and write the files."""
    from wattlens.grafana.client import Grafana
    from wattlens.grafana.pull import pull
    from wattlens.grafana.survey import survey

    wanted, access = common.wanted_objects(arguments), common.grafana_access(arguments)
    grafana = Grafana(access)
    found = survey(grafana, wanted, count_progress("read", "dashboards"))
    pulled = pull(found, arguments.out, everything=arguments.all, replace=arguments.replace)
    common.print_notes(pulled.notes)
    if arguments.json:
        files = {"written": [str(p) for p in pulled.written], "unchanged": [str(p) for p in pulled.unchanged]}
        print(json.dumps(common.head_json(access.url, found) | files | {"notes": pulled.notes}))
        return 0
    for path in pulled.written:
        print(path)
    if not pulled.written and not pulled.unchanged:
        print("Nothing in Grafana differs from what is built")
    else:
        print(f"{len(pulled.written)} written, {len(pulled.unchanged)} unchanged in {arguments.out}")
    return 0
