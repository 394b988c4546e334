"""Every panel and choice of every dashboard on Prometheus and on VictoriaMetrics, fed by the real agent and site process.

The tests check the healthy stack first, then a stack with an unresponsive engine and a lost GPU, then one without its agent.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import fmean

import pytest

from dashboards.rules.model import joules_per_token
from tests.dashboards import stack as of
from tests.dashboards.boards import Board, boards, queries
from tests.dashboards.boards import query as panel_query
from tests.dashboards.expectations import (
    EARLY,
    EDGE,
    EMPTY,
    LOST_GPUS,
    NOT_SCRAPED,
    empty,
    misplaced,
    unlinked,
    wrong,
)
from tests.dashboards.live import Live
from tests.dashboards.plant_truth import watching
from tests.dashboards.stores import RANGE_S, Scene, Store
from tests.support import eventually, need_module

pytestmark = [pytest.mark.prometheus, pytest.mark.peer, pytest.mark.timeout(600)]

LOST = of.NOTEBOOK_GPU
BOARDS = [pytest.param(board, id=board.uid) for board in boards()]


TOLD_OF_LOST = r"gpu_(up|info|absent_info)|source_|ALERTS|\$__range"
"""Series that show a lost GPU, or that depend on the chosen time range, in which the GPU was present."""
SELDOM = r"gpu_(pcie|nvlink|ecc)|histogram_quantile"
"""Counters that move more seldom than a window is long, percentiles of few requests: not to be compared."""
TOLD_OVER_TIME = r"\$__range|\bup\{|\bscrape_"
"""What stays true when nothing comes any more: of the chosen time, and whether it is scraped."""
MAY_GO = r"dvfs_(requested_)?(clock|power)_limit|dvfs_predicted"
"""What changes by itself."""
OF_NODES = r"\$(job|instance)|cluster_site(_bucket)?:wattlens_(energy|facility_energy|carbon)"
"""What chooses nodes, or is made of their power."""
LAG_S = 6.0
"""How late the page may be behind the GPUs: a reading, a commit, a scrape."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    for module in ("grpc", "pymodbus"):
        need_module(module)
    with of.running(tmp_path_factory.mktemp("s"), victoria=True) as stack, watching(stack.node, "chat") as truth:
        yield Live(stack, truth)


@pytest.fixture(scope="module")
def healthy(live: Live) -> Scene:
    """As it should be: as soon as everything has data that will have it."""
    eventually(lambda: "wattlens_dvfs_saved_joules{" in live.page(), 120, every=0.5)
    end = time.monotonic() + 120
    while True:
        scene = live.scene()
        if time.monotonic() > end or not any(empty(scene, panel, query) for panel, query in queries(boards())):
            return scene


@pytest.fixture(scope="module")
def troubled(live: Live, healthy: Scene) -> Iterator[Scene]:
    """The engine does not answer and a GPU is lost, long enough that no rate knows it otherwise."""
    engine = live.stack.node.workload("chat")["pid"]
    os.kill(engine, signal.SIGSTOP)
    try:
        live.stack.node.fault(LOST, "lost")
        live.until_forgotten(f'wattlens_gpu_power_watts{{gpu="{LOST}"}}')
        live.until_forgotten('wattlens_requests_running{workload=~"serving/.*"}')
        yield live.scene()
    finally:
        os.kill(engine, signal.SIGCONT)  # so that it can handle the request to end


@pytest.fixture(scope="module")
def down(live: Live, troubled: Scene) -> Scene:
    """The agent is killed; only its node is chosen."""
    live.stack.agent.kill()
    live.until_forgotten('wattlens_build_info{job="wattlens"}')
    return live.scene(instance=of.NODE, job="wattlens")


@pytest.mark.parametrize("board", BOARDS)
def test_every_query_has_data_for_its_panel(healthy: Scene, board: Board) -> None:
    faults = [fault for panel, query in queries([board]) for each in (empty, wrong) for fault in each(healthy, panel, query)]
    faults += [fault for panel in board.panels for fault in unlinked(healthy, panel)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("board", BOARDS)
def test_every_column_of_a_table_has_its_place(healthy: Scene, board: Board) -> None:
    assert list(misplaced(healthy, board)) == []


def test_every_exception_is_needed() -> None:
    asked = [f"{panel.title}|{query.legend}|{query.expr}" for panel, query in queries(boards())]
    assert [pattern for pattern in (*EMPTY, *EARLY) if not any(re.search(pattern, each) for each in asked)] == []


@pytest.mark.parametrize("board", BOARDS)
def test_what_there_is_to_choose_is_what_there_is(live: Live, healthy: Scene, board: Board) -> None:
    choices = of.choices(live.stack, board.uid)
    for store in healthy.stores:
        for name, (selector, label) in board.choices.items():
            assert store.label_values(label, selector, healthy.at) == choices[name], selector


@pytest.mark.parametrize("board", BOARDS)
def test_both_stores_say_the_same(healthy: Scene, board: Board) -> None:
    """Readings are the same; rates as near as their edges let them: VictoriaMetrics takes in the sample before the window."""
    faults = []
    for panel, query in queries([board]):
        where = f"{panel.title}: {query.legend}"
        ours, theirs = ({s.key: s for s in healthy.panel_series(store, panel, query)} for store in healthy.stores)
        faults += [f"{where}: {dict(key)} is on one alone" for key in ours.keys() ^ theirs.keys()]
        both = [(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()]
        if not re.search(r"(rate|increase|_over_time)\(", query.expr):
            faults += [f"{where}: {a}, {b}" for a, b in both if a.last != pytest.approx(b.last, rel=1e-6, abs=1e-3)]
        elif not re.search(SELDOM, query.expr):
            means = [(fmean(a.values), fmean(b.values)) for a, b in both if a.points[0][0] == b.points[0][0]]
            apart, whole = sum(abs(a - b) for a, b in means), sum(max(abs(a), abs(b)) for a, b in means)
            if apart > EDGE * whole:
                faults.append(f"{where}: {apart} of {whole} apart: {both}")
    assert not faults, "\n".join(faults)


def _near(healthy: Scene, store: Store, uid: str, title: str, window_s: int, true: Callable[[float, float], float]) -> bool:
    """Whether the truth of the time, give or take how late the page is, is near the estimate and in its band."""
    low, estimate, high = (_figure(store, healthy.at, uid, title, legend) for legend in ("at least", "estimate", "at most"))
    ends = [healthy.at - n * LAG_S / 10 for n in range(11)]
    truths = [true(end - window_s, end) for end in ends]
    assert low < estimate < high
    assert estimate == pytest.approx(fmean(truths), rel=EDGE), (uid, title)
    return low <= max(truths) and high >= min(truths)


@pytest.mark.parametrize("store", [0, 1], ids=["prometheus", "victoria"])
def test_the_figures_are_the_plants(live: Live, healthy: Scene, store: int) -> None:
    on, truth = healthy.stores[store], live.truth

    def per_token(start: float, end: float) -> float:
        return truth.joules(start, end, [of.SERVING_GPU]) / truth.tokens(start, end)

    for uid, title, gpus in (
        ("wattlens-gpu", "Energy in the selected range", range(of.GPUS)),
        ("wattlens-fleet", "GPU energy", range(of.GPUS)),
        ("wattlens-training", "Energy in the selected range", of.TRAINING_GPUS),
    ):
        assert _near(healthy, on, uid, title, RANGE_S, partial(truth.joules, gpus=gpus)), (uid, title)
    # The band of a ratio is of the sensors alone, and a window of seconds has edges that one of minutes has not.
    _near(healthy, on, "wattlens-inference", "Energy per generated token", of.WINDOW_S, per_token)
    power = f"avg_over_time(({panel_query('fleet', 'Power', 'GPUs')})[{RANGE_S}s:1s])"
    mean_w = truth.joules(healthy.at - RANGE_S, healthy.at, range(of.GPUS)) / RANGE_S
    assert on.instant(power, healthy.at)[0].last == pytest.approx(mean_w, rel=0.15)


@pytest.mark.parametrize("board", BOARDS)
def test_a_lost_gpu_is_gone_and_the_others_stay(healthy: Scene, troubled: Scene, board: Board) -> None:
    faults = []
    for panel, query in queries([board]):
        for store in troubled.stores:
            before, after = ({s.labels["gpu"] for s in x.now(store, query) if "gpu" in s.labels} for x in (healthy, troubled))
            if str(LOST) in after and not re.search(TOLD_OF_LOST, query.expr):
                faults.append(f"{store.name}: {panel.title}: {query.legend}: shows the lost GPU")
            if not re.search(MAY_GO, query.expr) and not before - {str(LOST)} <= after:
                faults.append(f"{store.name}: {panel.title}: {query.legend}: {before - after} went too")
        faults += wrong(troubled, panel, query)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("board", BOARDS)
def test_without_tokens_there_are_no_joules_a_token(live: Live, healthy: Scene, troubled: Scene, board: Board) -> None:
    chat = {name: next(iter(of.choices(live.stack, "wattlens-inference")[name])) for name in ("workload", "model")}
    of_tokens = [q for _, q in queries([board]) if "J/token" in q.unit or "joules_per_token" in q.expr]
    for query in of_tokens:
        for store in troubled.stores:
            for series in troubled.now(store, query):
                assert series.last > 0, query.expr
                mine = [label for label, value in chat.items() if series.labels.get(label) == value]
                assert not mine or re.search(TOLD_OVER_TIME, query.expr), (store.name, query.expr, dict(series.labels))
    values = (s for q in of_tokens for s in healthy.now(healthy.stores[0], q))
    if any(series.labels.get("workload") == chat["workload"] for series in values):
        label_sets = [s.labels for _, q in queries([board]) for s in troubled.now(troubled.stores[0], q)]
        reasons = {t["reason"] for t in label_sets if "reason" in t and t.get("source", "").endswith(chat["workload"])}
        assert any(reasons), reasons


def test_lost_gpu_is_reported_with_its_reason(troubled: Scene) -> None:
    for store in troubled.stores:
        for how, count in (("sum", of.GPUS - 1), ("count", of.GPUS)):
            counted = [q for _, q in queries(boards()) if re.fullmatch(how + r"\(wattlens_gpu_up\{[^}]*\}\)", q.expr)]
            assert counted
            assert {series.last for query in counted for series in troubled.now(store, query)} == {count}
        label_sets = [
            s.labels for _, q in queries(boards()) for s in troubled.now(store, q) if s.labels.get("gpu") == str(LOST)
        ]
        assert any(labels.get("reason", "").startswith("GPU_IS_LOST") for labels in label_sets)


def test_no_joules_of_the_node_are_less_than_those_of_its_gpus(healthy: Scene, troubled: Scene) -> None:
    name = joules_per_token("instance_workload_model")
    for scene in (healthy, troubled):
        for store in scene.stores:
            energy_j = {s.key: s.last for s in store.instant(name, scene.at)}
            node = {key: value for key, value in energy_j.items() if ("boundary", "node") in key}
            for key, value in node.items():
                inner = energy_j[tuple(sorted({**dict(key), "boundary": "gpu"}.items()))]
                assert value > 1.1 * inner, (store.name, dict(key))
            assert scene is troubled or node


@pytest.mark.parametrize("board", BOARDS)
def test_without_the_agent_nothing_of_its_node_is_shown(healthy: Scene, down: Scene, board: Board) -> None:
    faults = []
    for panel, query in queries([board]):
        for store in down.stores:
            before, after = healthy.now(store, query), down.now(store, query)
            where = f"{store.name}: {panel.title}: {query.legend}"
            if not re.search(OF_NODES, query.expr):
                faults += [f"{where}: went too"] if before and not after else []
            elif after and not re.search(TOLD_OVER_TIME, query.expr):
                faults.append(f"{where}: {after}")
        faults += wrong(down, panel, query)
    assert not faults, "\n".join(faults)


def test_what_shows_trouble_shows_it(troubled: Scene, down: Scene) -> None:
    for scene, trouble in ((troubled, LOST_GPUS), (down, NOT_SCRAPED)):
        asked = [query for _, query in queries(boards()) if re.search(trouble, query.expr)]
        assert asked
        for store in scene.stores:
            for query in asked:
                (series,) = scene.now(store, query)
                assert series.labels["instance"] == of.NODE
    for store in troubled.stores:
        alerts = {s.labels.get("alertname") for _, q in queries(boards()) for s in troubled.now(store, q)}
        assert {"WattlensGpuLost", "WattlensSourceDown"} <= alerts


def _figure(store: Store, at: float, uid: str, title: str, legend: str) -> float:
    (series,) = store.instant(panel_query(uid, title, legend), at)
    return series.last
