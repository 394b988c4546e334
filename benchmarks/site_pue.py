"""iPUE against a simulated building's truth: does the 95 % interval hold it, and is it no wider than it has to be?

Many buildings, air-cooled and liquid-cooled (about 1.04), each with meters whose gains are drawn anew within their classes,
read once a minute for a day; windows of 1, 4 and 24 hours at three positions of IT. Once with every meter's own calibration
named, as it is in the simulator, once with what a site that says nothing gets: meters of one kind of source err together.
"""

import argparse
import json
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

from benchmarks.site_building import AIR, LIQUID, Played
from energy_agent.core.facility import Position
from energy_agent.site.building.pue import pue

DAY_S = 86_400
WINDOWS = ((7200, 3600), (28_800, 14_400), (0, DAY_S))
METERS = {Position.UPS_OUTPUT: ("ups",), Position.PDU_OUTPUT: ("pdu-a", "pdu-b"), Position.IT_INPUT: ("it-a", "it-b")}
COVERAGE_BAR, WIDTH_BAR = (0.95, 1.0), 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """One window: the truth, and what was said of it."""

    cooling: str
    independent: bool
    hours: float
    category: int
    truth: float
    value: float
    low: float
    high: float


def building(job: tuple[str, int, bool]) -> list[Row]:
    """The windows of one building."""
    cooling, seed, independent = job
    played = Played(AIR if cooling == "air" else LIQUID, seed, independent=independent)
    book = played.run(DAY_S)
    rows = []
    for start_s, seconds in WINDOWS:
        meters = played.window(book, start_s, seconds)
        for position, names in METERS.items():
            it_uj = sum(played.true_uj(name, start_s, seconds) for name in names)
            amount = pue(meters, position).amount
            assert amount.value is not None
            assert amount.low is not None
            assert amount.high is not None
            truth = played.true_uj("main", start_s, seconds) / it_uj
            said = (float(amount.value), float(amount.low), float(amount.high))
            rows.append(Row(cooling, independent, seconds / 3600, position.category, truth, *said))
    return rows


def summed(rows: list[Row]) -> dict[str, float]:
    """Coverage, mean half-width, the 95th percentile of the error, and their ratio."""
    errors = sorted(abs(r.value - r.truth) for r in rows)
    p95 = errors[math.ceil(0.95 * len(errors)) - 1]
    half = sum((r.high - r.low) / 2 for r in rows) / len(rows)
    inside = sum(r.low <= r.truth <= r.high for r in rows) / len(rows)
    return {
        "windows": len(rows),
        "truth": sum(r.truth for r in rows) / len(rows),
        "coverage": inside,
        "half": half,
        "p95": p95,
        "ratio": half / p95,
    }


def main(arguments: list[str]) -> int:
    """Print a table; 1 where an interval covers less than 95 % or is wider than twice the errors' 95th percentile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buildings", type=int, default=60, help="of each kind (default 60: 2,160 windows)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    jobs = [
        (cooling, args.seed + n, independent)
        for independent in (True, False)
        for cooling in ("air", "liquid")
        for n in range(args.buildings)
    ]
    with ProcessPoolExecutor(args.jobs) as pool:
        rows = [row for found in pool.map(building, jobs) for row in found]
    short, table = False, []
    for independent in (True, False):
        for cooling in ("air", "liquid"):
            for category in (1, 2, 3):
                mine = [r for r in rows if (r.independent, r.cooling, r.category) == (independent, cooling, category)]
                table.append(
                    (
                        {"calibrations": "named" if independent else "default", "cooling": cooling, "category": category},
                        summed(mine),
                    )
                )
    if args.json:
        print(json.dumps({"table": table, "rows": [asdict(r) for r in rows]}, indent=1))
    else:
        print("calibrations  cooling  category  windows  true iPUE  coverage  half-width  p95 of |error|  ratio")
    for key, found in table:
        short |= found["coverage"] < COVERAGE_BAR[0] or (key["calibrations"] == "named" and found["ratio"] > WIDTH_BAR)
        if not args.json:
            print(
                f"{key['calibrations']:12}  {key['cooling']:7}  {key['category']:8}  {found['windows']:7}  "
                f"{found['truth']:9.3f}  {found['coverage']:8.1%}  {found['half']:10.4f}  "
                f"{found['p95']:14.4f}  {found['ratio']:5.2f}"
            )
    return int(short)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
