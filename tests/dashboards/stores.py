"""What a panel gets: its queries at one instant on every store that speaks PromQL, as Grafana sends them."""

import math
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from dashboards.rules import model
from tests.dashboards.bench import RULES_S, RefusedError, api
from tests.dashboards.boards import BoardPanel, PanelQuery
from tests.dashboards.promtool import substituted

RATE_S, RANGE_S, STEP_S = 8, 20, 2
"""Durations that Grafana puts into queries, and the step of a graph."""
_THREADS = 8

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Series:
    """A series of an answer: its labels without its name, and its points (instant: one)."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def key(self) -> Labels:
        return tuple(sorted(self.labels.items()))

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.points]

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True)
class Store:
    """A Prometheus, or what answers like one."""

    name: str
    url: str

    def instant(self, expr: str, at: float, **choices: str) -> list[Series]:
        """A query as of `at` (unix seconds); `choices` are values of the dashboard's variables, All unless said."""
        result = api(self.url, "query", query=sent(expr, choices), time=f"{at:.3f}")["result"]
        return [Series(_nameless(s["metric"]), (_point(s["value"]),)) for s in result]

    def range(self, expr: str, at: float, **choices: str) -> list[Series]:
        """The same over the chosen time until `at`, as a graph asks."""
        span = {"start": f"{at - RANGE_S:.3f}", "end": f"{at:.3f}", "step": str(STEP_S), "nocache": "1"}
        result = api(self.url, "query_range", query=sent(expr, choices), **span)["result"]
        return [Series(_nameless(s["metric"]), tuple(map(_point, s["values"]))) for s in result]

    def label_values(self, label: str, selector: str, at: float) -> set[str]:
        """What a variable offers: as Grafana asks for `label_values(selector, label)`."""
        asked = {"match[]": sent(selector, {}), "start": f"{at - RANGE_S:.0f}", "end": f"{at + 1:.0f}"}
        return set(api(self.url, f"label/{label}/values", **asked))


def sent(expr: str, choices: Mapping[str, str]) -> str:
    """A query with its variables put in. What a recorded rate adds up to is so many of the rules' intervals, shorter here."""
    expr = expr.replace(f"]) * {model.STEP_S})", f"]) * {RULES_S})")
    durations = {"__rate_interval": f"{RATE_S}s", "__range": f"{RANGE_S}s"}
    return substituted(expr, {**durations, **choices})


@dataclass
class Scene:
    """The answers to all queries of all boards as of one instant."""

    at: float
    stores: tuple[Store, ...]
    choices: Mapping[str, str] = field(default_factory=dict)
    instants: dict[tuple[str, str], list[Series]] = field(default_factory=dict)
    ranges: dict[tuple[str, str], list[Series]] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)

    def ask(self, queries: Iterable[tuple[BoardPanel, PanelQuery]]) -> "Scene":
        """Fill in the answers."""
        kinds = {query.expr: panel.kind for panel, query in queries}
        with ThreadPoolExecutor(_THREADS) as pool:
            now = {
                (store.name, expr): pool.submit(store.instant, expr, self.at, **self.choices)
                for store in self.stores
                for expr in kinds
            }
            drawn = {
                (store.name, expr): pool.submit(store.range, expr, self.at, **self.choices)
                for store in self.stores
                for expr, kind in kinds.items()
                if kind in ("timeseries", "state-timeline")
            }
        self.instants = {key: self._answer(key, answer) for key, answer in now.items()}
        self.ranges = {key: self._answer(key, answer) for key, answer in drawn.items()}
        return self

    def _answer(self, key: tuple[str, str], answer: "Future[list[Series]]") -> list[Series]:
        try:
            return answer.result()
        except RefusedError as error:
            self.refused[key] = str(error)
            return []

    def now(self, store: Store, query: PanelQuery) -> list[Series]:
        """What is there at the instant."""
        return self.instants[store.name, query.expr]

    def panel_series(self, store: Store, panel: BoardPanel, query: PanelQuery) -> list[Series]:
        """What the panel draws: the chosen time, or the instant."""
        return self.ranges.get((store.name, query.expr), self.now(store, query))


def templates(legend: str) -> set[str]:
    """Labels that a legend names."""
    return set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend))


def _nameless(labels: Mapping[str, str]) -> dict[str, str]:
    # Which functions keep the name of a metric differs; nothing on a dashboard shows it.
    return {name: value for name, value in labels.items() if name != "__name__"}


def _point(pair: tuple[float, str]) -> tuple[float, float]:
    return float(pair[0]), math.nan if pair[1] == "NaN" else float(pair[1])
