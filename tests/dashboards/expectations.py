"""What each panel is expected to show on the stack: data or none, finite, within its bounds, with the labels that it names."""

import math
import re
from collections.abc import Iterator

from tests.dashboards.boards import Board, BoardPanel, PanelQuery
from tests.dashboards.stores import Scene, templates

LOST_GPUS = r"gpu_absent_info\{[^}]*field=\"device\""
NOT_SCRAPED = r"\(50, up\{[^}]*\} == 0"
EMPTY = {
    LOST_GPUS: "every GPU answers",
    r"GPUs lost during a run\|": "every GPU answers",
    NOT_SCRAPED: "everything is scraped",
    r"config_last_reload_successful\{[^}]*\} == 0": "no configuration is rejected",
    r'source_down_info\{[^}]*source=~"(grid|tokens)': "the grid's factors are there, and the engine answers",
    r'window="365d"': "the site has not been there for a year",
    r"wattlens_(prefill|decode)_joules_per_token": "an hour of load distinguishes them",
    r"\|(?!.*dvfs_clock_limit_hertz)[^|]*dvfs_(requested_)?power_limit_watts": "the job is steered by its clocks",
    r"dvfs_(predicted|shadow)_saving_ratio": "its policy predicts nothing",
    r"dvfs_slo_budget_absent_info": "every error budget is known",
    r"rejected_draft|aborted_request": "its server counts neither drafts nor aborted requests",
    r"Ineffective settings over time\|": "every setting has effect",
    r"Groups that need attention, ": "no lease is orphaned, no setting without effect, none at a loss",
    r"SM clock.*DVFS limit.*wattlens_tokens:rate5m": "steering only watches the server",
}
"""`panel|legend|query` of what has no data on this stack, and why."""
EARLY = {"wattlens_serving_steady": "a minute has to be seen"}
"""What may have none yet: only as long as nobody has scraped any."""
EDGE = 0.25
"""As much of a rate over such short windows may lie at their edges, as a share."""


def excused(scene: Scene, panel: BoardPanel, query: PanelQuery) -> bool:
    """Whether a query may be empty; then it has to be."""
    early = any(name in query.expr and not scene.stores[0].instant(name, scene.at) for name in EARLY)
    return early or any(re.search(pattern, f"{panel.title}|{query.legend}|{query.expr}") for pattern in EMPTY)


def empty(scene: Scene, panel: BoardPanel, query: PanelQuery) -> list[str]:
    """What is wrong with whether it has data."""
    none, faults = excused(scene, panel, query), []
    for store in scene.stores:
        if bool(scene.panel_series(store, panel, query)) == none:
            faults.append(f"{store.name}: {panel.title}: {query.legend}: {'has data' if none else 'is empty'}: {query.expr}")
    return faults


def unlinked(scene: Scene, panel: BoardPanel) -> list[str]:
    """Labels that the links of a panel take and no query of it has in all its series."""
    wanted = {label for _, choices in panel.links for label in choices.values()}
    answers = [scene.panel_series(scene.stores[0], panel, query) for query in panel.queries]
    good = any(all(wanted <= {k for k, v in series.labels.items() if v} for series in answer) for answer in answers)
    return [] if good else [f"{panel.title}: links take {wanted}"]


def misplaced(scene: Scene, board: Board) -> Iterator[str]:
    """Columns of tables that nobody has given a place."""
    for panel in board.panels:
        if panel.kind == "table":
            (options,) = (t["options"] for t in panel.json["transformations"] if t["id"] == "organize")
            placed = options["indexByName"].keys() | {name for name, out in options["excludeByName"].items() if out}
            columns = {
                name for query in panel.queries for series in scene.now(scene.stores[0], query) for name in series.labels
            }
            if columns - placed:
                yield f"{panel.title}: columns without a place: {columns - placed}"


def has_state(panel: BoardPanel, value: float) -> bool:
    """Whether the panel has a word for the value."""
    named = {float(state.rstrip("+")): state.endswith("+") for state in panel.states}
    return value in named or any(value >= least for least, more in named.items() if more)


def wrong(scene: Scene, panel: BoardPanel, query: PanelQuery) -> Iterator[str]:
    """What is wrong with what a query gives for its panel."""
    wanted, edge = templates(query.legend), EDGE if "rate(" in query.expr else 0
    for store in scene.stores:
        if reason := scene.refused.get((store.name, query.expr)):
            yield f"{panel.title}: {query.legend}: {reason}"
        for series in scene.panel_series(store, panel, query):
            where = f"{store.name}: {panel.title}: {query.legend}: {dict(series.labels)}"
            if not all(map(math.isfinite, series.values)):
                yield f"{where}: {series.values}"
            low, high = min(series.values), max(series.values)
            if low < _bound(panel.minimum, -1) or high > _bound(panel.maximum, 1) * (1 + edge):
                yield f"{where}: {low} to {high}, beyond {panel.minimum} to {panel.maximum}"
            if panel.kind == "state-timeline" and not all(has_state(panel, value) for value in series.values):
                yield f"{where}: a value without a word: {set(series.values)}"
            # Grafana writes the name of a label that is not there.
            missing = {label for label in wanted if not series.labels.get(label)}
            if missing:
                yield f"{where}: no label {missing}"


def _bound(value: float | None, sign: int) -> float:
    return sign * math.inf if value is None else value
