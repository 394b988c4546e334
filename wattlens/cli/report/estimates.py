"""`wattlens report import`: estimates of other software, for machines without a meter, as an input of a report."""

from argparse import Namespace
from pathlib import Path

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions, print_json, print_lines
from wattlens.cli._options import write_new


def _configure(add: CommandOptions) -> None:
    add("format FORMAT", "codecarbon: emissions.csv of CodeCarbon", choices=("codecarbon",))
    add("files FILE", "its files", nargs="+")
    add("--out FILE", "the file to create (default estimates.csv)", default=Path("estimates.csv"))
    add("--force", "overwrite an existing file")
    add("--time-zone NAME", "time zone of the machines, whose local time the files have", default="UTC")
    add("--host NAME", "name of the machine, so that a metered node is refused", default="")
    add("--team NAME", "team of all runs (default: each run's project)", default="")
    add("--json", "print JSON")


def _run(args: Namespace) -> int:
    """Read the files, write the estimates, print their sums by place."""
    from zoneinfo import ZoneInfo

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
        print_json({"file": str(args.out), "runs": len(runs), "places": rows}, 1)
        return 0
    print_lines(
        f"{kind:<6} {place:<24} {count:>6} runs {uj / UJ_PER_KWH:>14.6f} kWh"
        for (kind, place), (count, uj) in sorted(places.items())
    )
    unnamed = sum(each.kind == HOST and not each.host for each in runs)
    if unnamed:
        print(f"{unnamed} runs have no host name, so a run on a metered node is not recognised; give --host NAME per machine")
    print(f"{args.out}: {len(runs)} runs. Next: `estimates: {args.out}` in org.yaml, or estimates_file in sheet Organisation")
    return 0


COMMAND = Command("read CodeCarbon's files of laptops and cloud jobs as estimates for a report", _configure, _run)
