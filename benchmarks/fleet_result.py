"""Result of the fleet benchmark: figures, checks against the fleet's formulas, and the time of each query."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.fleet_queries import DashboardQuery, QueryResult
from benchmarks.runner import Row

QUANTILES = {"median_s": 0.5, "p95_s": 0.95, "most_s": 1.0}
BAR_S = 1.0
"""Each query of a dashboard, at the 95th percentile of its repetitions."""


@dataclass(slots=True)
class FleetResult:
    """Figures and checks of one run."""

    nodes: int
    figures: dict[str, float] = field(default_factory=dict)
    checks: dict[str, tuple[float, float]] = field(default_factory=dict)  # measured value, and that of the fleet's formulas
    failures: list[str] = field(default_factory=list)
    timings: list[Row] = field(default_factory=list)

    def slow(self, store: str = "prometheus") -> list[Row]:
        """Queries beyond the bar, the slowest first."""
        late = [t for t in self.timings if t["store"] == store and t["p95_s"] > BAR_S]
        return sorted(late, key=lambda t: -float(t["p95_s"]))

    def wrong(self) -> list[str]:
        """Failed checks other than response times."""
        off = [
            f"{name}: {figure:g}, not {true:g}"
            for name, (figure, true) in self.checks.items()
            if not math.isclose(figure, true, rel_tol=0.01)
        ]
        refused = [f"{t['store']}, {t['board']}: {t['where']}: {t['error']}" for t in self.timings if t["error"]]
        return self.failures + off + refused


def timing(store: str, query: DashboardQuery, range_h: float, answers: Sequence[QueryResult], cpu: float) -> Row:
    """How long a query took on a server, s; `cpu_s` is the server's CPU time in that interval, including scrapes and rules."""
    seconds = sorted(a.seconds for a in answers)
    p95 = seconds[min(len(seconds) - 1, math.ceil(0.95 * len(seconds)) - 1)]
    return {
        "store": store, "range_h": range_h, "median_s": seconds[len(seconds) // 2], "p95_s": p95, "most_s": seconds[-1],
        "cpu_s": cpu, "series": answers[-1].series, "body_b": answers[-1].body_b, "board": query.dashboard,
        "where": query.where,
        "error": next((a.error for a in answers if a.error), ""),
    }  # fmt: skip


def report(result: FleetResult) -> Iterator[Row]:
    """Figures, checks, the times of all queries of a server, each slow one, and failed checks."""
    yield {"nodes": result.nodes, **dict(sorted(result.figures.items()))}
    yield from ({"check": name, "found": value, "true": true} for name, (value, true) in result.checks.items())
    pairs = sorted({(t["store"], t["range_h"]) for t in result.timings})
    for store, range_h in pairs:
        own = [t for t in result.timings if (t["store"], t["range_h"]) == (store, range_h) and not t["error"]]
        chosen = sorted(t["p95_s"] for t in own)
        cuts = {name: chosen[min(len(chosen) - 1, int(q * len(chosen)))] if chosen else None for name, q in QUANTILES.items()}
        within = sum(p95_s <= BAR_S for p95_s in chosen)
        yield {"store": store, "range_h": range_h, "queries": len(chosen), **cuts, f"p95 within {BAR_S:g} s": within}
    yield from (t | {"ok": t["store"] != "prometheus"} for store in sorted({s for s, _ in pairs}) for t in result.slow(store))
    empty = [t for t in result.timings if t["store"] == "prometheus" and not (t["series"] or t["error"])]
    yield from ({"no series": where} for where in sorted({f"{t['board']}: {t['where']}" for t in empty}))
    yield from ({"wrong": each, "ok": False} for each in result.wrong())
