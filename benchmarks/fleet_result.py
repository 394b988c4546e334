"""What a run of the fleet benchmark found: figures, checks against the fleet's formulas, and how long each query took."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.fleet_queries import Answer, Query

BAR_S = 1.0
"""Each query of a dashboard, at the 95th percentile of its repetitions."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a query took on a server, s; `cpu_s` is what the server worked meanwhile, scrapes and rules among it."""

    store: str
    board: str
    where: str
    kind: str
    range_h: float
    median_s: float
    p95_s: float
    most_s: float
    cpu_s: float
    series: int
    body_b: int
    error: str
    expr: str


@dataclass(slots=True)
class Result:
    """What came out."""

    nodes: int
    figures: dict[str, float] = field(default_factory=dict)
    checks: dict[str, tuple[float, float]] = field(default_factory=dict)  # found, and what the fleet's formulas say
    failures: list[str] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)

    def slow(self, store: str = "prometheus") -> list[Timing]:
        """Queries beyond the bar, the slowest first."""
        found = [t for t in self.timings if t.store == store and t.p95_s > BAR_S]
        return sorted(found, key=lambda t: -t.p95_s)

    def wrong(self) -> list[str]:
        """What is not as it must be, apart from time."""
        off = [
            f"{name}: {found:g}, not {true:g}"
            for name, (found, true) in self.checks.items()
            if not math.isclose(found, true, rel_tol=0.01)
        ]
        refused = [f"{t.store}, {t.board}: {t.where}: {t.error}" for t in self.timings if t.error]
        return self.failures + off + refused


def timing(store: str, query: Query, range_h: float, answers: Sequence[Answer], cpu: float) -> Timing:
    """Of the repetitions of a query."""
    seconds = sorted(a.seconds for a in answers)
    p95 = seconds[min(len(seconds) - 1, math.ceil(0.95 * len(seconds)) - 1)]
    last = answers[-1]
    return Timing(
        store, query.board, query.where, query.kind, range_h, seconds[len(seconds) // 2], p95, seconds[-1], cpu, last.series,
        last.body_b, next((a.error for a in answers if a.error), ""), query.expr,
    )  # fmt: skip


def report(result: Result) -> str:
    """For a person."""
    lines = [f"{result.nodes} nodes"]
    lines += [f"{name:45} {value:,.3f}" for name, value in sorted(result.figures.items())]
    lines += [f"{name:45} {found:,.6g} of {true:,.6g}" for name, (found, true) in result.checks.items()]
    for store in sorted({t.store for t in result.timings}):
        for range_h in sorted({t.range_h for t in result.timings}):
            chosen = sorted(t.p95_s for t in result.timings if (t.store, t.range_h) == (store, range_h) and not t.error)
            if not chosen:
                lines.append(f"{store}, {range_h:g} h: every query was refused")
                continue
            within = sum(s <= BAR_S for s in chosen)
            middle, p95, most = (chosen[min(len(chosen) - 1, int(q * len(chosen)))] for q in (0.5, 0.95, 1.0))
            lines.append(
                f"{store}, {range_h:g} h: {len(chosen)} queries, p95 of each: median {middle:.3f} s, 95th {p95:.3f} s,"
                f" most {most:.3f} s; {within} within {BAR_S:g} s"
            )
        for t in result.slow(store):
            took = f"{t.p95_s:7.3f} s, CPU {t.cpu_s:.2f} s, over {t.range_h:g} h"
            lines.append(f"  slow {took}: {t.board}: {t.where} ({t.series} series, {t.body_b:,} B)")
    empty = sorted({f"{t.board}: {t.where}" for t in result.timings if t.store == "prometheus" and not (t.series or t.error)})
    lines += [f"  no series: {each}" for each in empty]
    lines += [f"WRONG {each}" for each in result.wrong()]
    return "\n".join(lines)
