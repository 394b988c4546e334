"""`wattlens report import`: estimates of other software, for machines without a meter, as an input of a report."""

import argparse
import json
from pathlib import Path

from energy_agent.core.errors import UsageError
from wattlens.cli._options import write_new

SUMMARY = "read CodeCarbon's files of laptops and cloud jobs as estimates for a report"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `wattlens report import`."""
    parser.add_argument("format", choices=("codecarbon",), metavar="FORMAT", help="codecarbon: emissions.csv of CodeCarbon")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="its files")
    parser.add_argument(
        "--out", type=Path, default=Path("estimates.csv"), metavar="FILE", help="the file to create (default estimates.csv)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument(
        "--time-zone", default="UTC", metavar="NAME", help="time zone of the machines, whose local time the files have"
    )
    parser.add_argument("--host", default="", metavar="NAME", help="name of the machine, so that a metered node is refused")
    parser.add_argument("--team", default="", metavar="NAME", help="team of all runs (default: each run's project)")
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Read the files, write the estimates, print their sums by place."""
    from zoneinfo import ZoneInfo

    from energy_agent.core.text import printable
    from energy_agent.core.units import UJ_PER_KWH
    from wattlens.report.inputs.codecarbon import HOST, estimates_csv, read_runs

    try:
        zone = ZoneInfo(args.time_zone)
    except (KeyError, ValueError, OSError):
        raise UsageError(f"--time-zone: expected a name such as Europe/Berlin, got {args.time_zone[:40]!r}") from None
    runs = read_runs(args.files, zone, args.host, args.team)
    if not runs:
        raise UsageError("the files have no runs")
    write_new(args.out, estimates_csv(runs).encode(), force=args.force)
    places: dict[tuple[str, str], tuple[int, int]] = {}
    for each in runs:
        count, uj = places.get((each.kind, each.place), (0, 0))
        places[each.kind, each.place] = count + 1, uj + each.energy_uj
    if args.json:
        rows = [{"kind": k, "place": p, "runs": n, "kwh": uj / UJ_PER_KWH} for (k, p), (n, uj) in sorted(places.items())]
        print(json.dumps({"file": str(args.out), "runs": len(runs), "places": rows}, indent=1))
        return 0
    for (kind, place), (count, uj) in sorted(places.items()):
        print(printable(f"{kind:<6} {place:<24} {count:>6} runs {uj / UJ_PER_KWH:>14.6f} kWh"))
    unnamed = sum(each.kind == HOST and not each.host for each in runs)
    if unnamed:
        print(f"{unnamed} runs have no host name, so a run on a metered node is not recognised; give --host NAME per machine")
    print(f"{args.out}: {len(runs)} runs. Next: `estimates: {args.out}` in org.yaml, or estimates_file in sheet Organisation")
    return 0
