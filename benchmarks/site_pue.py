"""iPUE compared with a simulated building's truth: coverage and width of the 95 % interval.

Many buildings, air-cooled and liquid-cooled (about 1.04), each with meters of random gains within their classes,
read once per minute for a day; windows of 1, 4 and 24 hours at three positions of IT. Once with every meter's own calibration
configured, as it is in the simulator, once with the defaults: meters of one kind of source share their error.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby

from benchmarks.runner import Row
from benchmarks.site_building import AIR, LIQUID, SimulatedSite
from energy_agent.core.meters.facility import Position
from energy_agent.site.building.pue import pue

DAY_S = 86_400
WINDOWS = ((7200, 3600), (28_800, 14_400), (0, DAY_S))
METERS = {Position.UPS_OUTPUT: ("ups",), Position.PDU_OUTPUT: ("pdu-a", "pdu-b"), Position.IT_INPUT: ("it-a", "it-b")}
COVERAGE_BAR, WIDTH_BAR = 0.95, 2.0


def building(job: tuple[str, int, bool]) -> list[Row]:
    """The windows of one building."""
    cooling, seed, independent = job
    played = SimulatedSite(AIR if cooling == "air" else LIQUID, seed, independent=independent)
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
            result = {"value": float(amount.value), "low": float(amount.low), "high": float(amount.high)}
            key = {"calibrations": "named" if independent else "default", "cooling": cooling, "category": position.category}
            rows.append({"key": key, "truth": truth, **result})
    return rows


def summed(rows: list[Row]) -> Row:
    """Coverage, mean half-width, the 95th percentile of the error, and their ratio."""
    errors = sorted(abs(r["value"] - r["truth"]) for r in rows)
    p95 = errors[math.ceil(0.95 * len(errors)) - 1]
    half = sum((r["high"] - r["low"]) / 2 for r in rows) / len(rows)
    coverage = sum(r["low"] <= r["truth"] <= r["high"] for r in rows) / len(rows)
    return {
        "windows": len(rows), "truth": sum(r["truth"] for r in rows) / len(rows), "coverage": coverage, "half": half,
        "p95": p95, "ratio": half / p95, "ok": coverage >= COVERAGE_BAR,
    }  # fmt: skip


def run(buildings: int = 60, seed: int = 0, jobs: int = 2) -> Iterator[Row]:
    """Run `buildings` of each kind; an interval is at most WIDTH_BAR times the errors' 95th percentile."""
    work = [(cooling, seed + n, named) for named in (True, False) for cooling in ("air", "liquid") for n in range(buildings)]
    with ProcessPoolExecutor(jobs) as pool:
        rows = sorted((row for results in pool.map(building, work) for row in results), key=lambda r: tuple(r["key"].values()))
    for _, group in groupby(rows, key=lambda r: tuple(r["key"].values())):
        mine = list(group)
        row = mine[0]["key"] | summed(mine)
        yield row | {"ok": row["ok"] and (row["calibrations"] == "default" or row["ratio"] <= WIDTH_BAR)}
