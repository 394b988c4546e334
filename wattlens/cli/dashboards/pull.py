"""`wattlens dashboards pull`: what people changed in a Grafana, as files to review."""

import argparse
import json
from pathlib import Path

from wattlens.cli.dashboards import grafana as common
from wattlens.terminal_line import count_progress

SUMMARY = "write changes made in Grafana to files for review"
DESCRIPTION = (
    "Write changes made in Grafana to files for review: edited dashboards and alert rules, and new dashboards in the "
    "folder. Dashboards have the form of the built files, without fields that the server adds."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dashboards pull`."""
    common.add_access(parser)
    common.add_objects(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder for dashboards/ and alerts/")
    parser.add_argument("--all", action="store_true", help="also write unchanged objects")
    parser.add_argument("--replace", action="store_true", help="overwrite existing files that differ")


def run(arguments: argparse.Namespace) -> int:
    """Read, and write the files."""
    from wattlens.grafana.client import Grafana
    from wattlens.grafana.pull import pull
    from wattlens.grafana.survey import survey

    wanted, access = common.wanted_objects(arguments), common.grafana_access(arguments)
    grafana = Grafana(access)
    result = survey(grafana, wanted, count_progress("read", "dashboards"))
    pulled = pull(result, arguments.out, everything=arguments.all, replace=arguments.replace)
    common.print_notes(pulled.notes)
    if arguments.json:
        files = {"written": [str(p) for p in pulled.written], "unchanged": [str(p) for p in pulled.unchanged]}
        print(json.dumps(common.head_json(access.url, result) | files | {"notes": pulled.notes}))
        return 0
    for path in pulled.written:
        print(path)
    if not pulled.written and not pulled.unchanged:
        print("Grafana matches the build")
    else:
        print(f"{len(pulled.written)} written, {len(pulled.unchanged)} unchanged in {arguments.out}")
    return 0
