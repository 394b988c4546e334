"""Every panel and every rule on a real Prometheus that scrapes the real server, against the numbers that were fed in."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.rules.model import BANDS, PUE, PUE_ERROR, WORKLOAD_POWER, joules_per_token
from dashboards.rules.rules import groups
from tests.dashboards.bench import GONE, PACE, RATE_S, Bench, api, each_settles, playing_fleet, scraping, settles
from tests.dashboards.boards import BoardPanel, PanelQuery, boards, panel, queries, query
from tests.snapshots import CHAT_ACTIVE_UJ, CHAT_IDLE_UJ, CHAT_TOKENS, GAIN_RATIO, POWER_W, STEP_S, Player, uuid
from tests.support import eventually

pytestmark = pytest.mark.prometheus
ROOT = Path(__file__).parents[2]
GPUS = 4
LOST = 1
NEVER_ON_A_HEALTHY_NODE = {
    "reading",  # what is absent, and why
    "lost GPU",
    "GPU lost",
    "rejected",
    "failing GPUs",
    "GPUs without support",
}
QUERIES = tuple(queries(boards()))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    player = Player(gpus=GPUS, node=True)
    home = tmp_path_factory.mktemp("prometheus")
    with playing_fleet(player) as targets, scraping(home, targets, alerts=True, pace=PACE) as url:
        yield Bench(player, url, PACE)


def test_every_panel_shows_finite_numbers(bench: Bench) -> None:
    each_settles(QUERIES, lambda query: _wrong_values(bench, *query))


def _wrong_values(bench: Bench, panel: BoardPanel, query: PanelQuery) -> str:
    """What is wrong with the values that a panel draws, or ''."""
    if query.legend in NEVER_ON_A_HEALTHY_NODE:
        return "has values" if bench.query(query.expr) else ""
    if panel.kind in ("stat", "table"):
        values = [float(s["value"][1]) for s in bench.query(query.expr)]
    else:
        values = [float(v) for s in bench.range(query.expr) for _, v in s["values"]]
    if not values or not all(math.isfinite(v) for v in values):
        return f"not finite: {values[:5]}"
    # A time stamp may be some ms ahead of the moment that Prometheus asks for.
    low = panel.minimum is None or min(values) >= panel.minimum - 0.1
    high = panel.maximum is None or max(values) <= panel.maximum
    return "" if low and high else f"{min(values)} to {max(values)}, expected {panel.minimum} to {panel.maximum}"


def test_every_query_of_the_documentation_has_an_answer(bench: Bench) -> None:
    queries = re.findall(r"```promql\n(.*?)```", (ROOT / "docs/queries.md").read_text(), re.S)
    assert len(queries) == 12

    *answered, missing = queries
    each_settles(answered, lambda query: _not_finite(bench, query))
    assert bench.query(missing) == []  # of this fleet nothing is missing


def _not_finite(bench: Bench, expr: str) -> str:
    """What is wrong with the values of an expression, or ''."""
    values = [float(s["value"][1]) for s in bench.query(expr)]
    return "" if values and all(map(math.isfinite, values)) else f"not finite: {values[:5]}"


def test_every_rule_records_finite_numbers(bench: Bench) -> None:
    records = sorted({rule.record for group in groups() for rule in group.rules})

    each_settles(records, lambda record: _not_finite(bench, record))


def test_no_rule_sets_a_label_that_its_expression_has(bench: Bench) -> None:
    """Prometheus replaces such a label; vmalert keeps the original one as exported_NAME."""
    rules = [rule for group in groups() for rule in group.rules if rule.labels]
    assert rules
    assert [r.record for r in rules if any(r.labels.keys() & s["metric"].keys() for s in bench.query(r.expr))] == []


def test_no_rule_and_no_scrape_failed(bench: Bench) -> None:
    settles(lambda: [r["lastError"] for g in api(bench.url, "rules")["groups"] for r in g["rules"] if r["health"] != "ok"], [])

    def targets() -> list[tuple[str, str]]:
        """Health of each; a busy machine does not answer each scrape within half a second."""
        health = {t["labels"]["instance"]: (t["health"], t["lastError"]) for t in api(bench.url, "targets")["activeTargets"]}
        return [(health.pop(GONE)[0], ""), *health.values()]

    settles(targets, [("down", ""), *[("up", "")] * 4])


def test_the_pue_of_the_rules_is_the_sites(bench: Bench) -> None:
    for name, values in ((PUE, (1.5, 1.6)), (PUE_ERROR, (0.125, 0.16))):
        settles(
            lambda name=name: {(s["metric"]["site"], s["metric"]["category"]): float(s["value"][1]) for s in bench.query(name)},  # type: ignore[misc]
            {("here", "2"): pytest.approx(values[0]), ("there", "stated"): pytest.approx(values[1])},
        )


def test_a_hostile_name_arrives_as_text(bench: Bench) -> None:
    settles(
        lambda: {s["metric"]["namespace"] for s in bench.query("wattlens_namespace_energy_joules_total")},
        {"research", "serving", 'a"b\\c\nd\\x00e\\x0d\\xdc80{x="y"} 1 # EOF'},
    )


@pytest.mark.parametrize("band", BANDS)
def test_joules_per_token_are_those_fed_in(bench: Bench, band: str) -> None:
    gain = {"": 1, "_lower": 1 - GAIN_RATIO, "_upper": 1 + GAIN_RATIO}[band]
    energies = {"active": CHAT_ACTIVE_UJ, "active_idle": CHAT_ACTIVE_UJ + CHAT_IDLE_UJ}
    tokens = {"generation": CHAT_TOKENS["generation"], "processed": CHAT_TOKENS["generation"] + CHAT_TOKENS["prompt"]}
    wanted = {(e, t): uj / 1e6 / n * gain for e, uj in energies.items() for t, n in tokens.items()}
    for level, workload in (("instance_workload_model", "chat"), ("model", "")):
        expr = f'{joules_per_token(level, band)}{{boundary="gpu",tokens!="training"}}'
        expected = {(workload, "llama-70b", e, t, ""): pytest.approx(value, rel=0.02) for (e, t), value in wanted.items()}
        settles(lambda expr=expr: bench.values(expr), expected)  # type: ignore[misc]


def test_energy_of_each_gpu_is_that_fed_in_and_its_band_holds_it(bench: Bench) -> None:
    fed_j = POWER_W * RATE_S * PACE
    near = pytest.approx(fed_j, abs=2 * POWER_W * STEP_S + 0.02 * fed_j)

    def is_within(estimate: float, low: float, high: float) -> bool:
        half = GAIN_RATIO * fed_j + 2 * 70
        return bool(estimate == near) and low <= fed_j <= high and bool(high - low == pytest.approx(2 * half, rel=0.1))

    def all_held() -> bool:
        """The three queries run one after the other: a late scrape in between shifts their results."""
        results = [{k[4]: v for k, v in bench.values(q.expr).items()} for q in panel("gpu", "Energy by GPU").queries]
        has_all_gpus = all(set(each) == {str(gpu) for gpu in range(GPUS)} for each in results)
        return has_all_gpus and all(is_within(*(each[str(gpu)] for each in results)) for gpu in range(GPUS))

    eventually(all_held, every=0.3)


def test_parts_of_the_energy_sum_to_the_whole(bench: Bench) -> None:
    def summed() -> bool:
        parts = sum(float(s["value"][1]) for q in panel("gpu", "Energy breakdown").queries for s in bench.query(q.expr))
        return bool(parts == pytest.approx(POWER_W * GPUS, rel=0.05))

    eventually(summed, every=0.3)


def test_what_shadow_wants_is_shown_as_not_set(bench: Bench) -> None:
    """Before the test that takes a GPU away: the server is steered in thought alone for a while, the training run for real."""
    served = GPUS - 2

    def states(title: str) -> dict[str, float]:
        return {s["metric"]["group"]: float(s["value"][1]) for q in panel("dvfs", title).queries for s in bench.query(q.expr)}

    enforced = {"chat": 2, "train": 2}
    settles(lambda: (states("Mode"), states("Applied settings")), (enforced, enforced))
    bench.player.shadow = {served}
    try:
        shadowed = {"chat": 1, "train": 2}
        settles(lambda: (states("Mode"), states("Applied settings")), (shadowed, shadowed))
        settles(lambda: states("Lease, "), {"chat": 0, "train": 1})
    finally:
        bench.player.shadow = set()
    eventually(lambda: states("Applied settings") == {"chat": 2, "train": 2})


def test_a_lost_gpu_takes_its_series_away_and_comes_back_higher(bench: Bench) -> None:
    """Last in this file: it takes a GPU away from the module's bench."""
    lost = f'uuid="{uuid(LOST)}"'
    energy = f'wattlens_gpu_energy_joules_total{{{lost},method="counter"}}'
    before = float(eventually(lambda: bench.query(energy))[0]["value"][1])
    bench.player.lost = {LOST}
    lost_query = f'group by (__name__) ({{__name__=~"wattlens_.+",{lost}}})'
    facts = {"wattlens_gpu_info", "wattlens_gpu_up", "wattlens_gpu_absent_info"}
    eventually(lambda: {s["metric"]["__name__"] for s in bench.query(lost_query)} == facts)
    settles(lambda: bench.values("wattlens_gpu_up").get(("", "", "", "", str(LOST))), 0)
    missing = query("gpu", "Missing readings and reasons", "reading")
    settles(
        lambda: [(s["metric"]["field"], s["metric"]["reason"]) for s in bench.query(missing)],
        [("device", "GPU_IS_LOST")],
    )
    # `train` ran on it, so its energy is not known; `chat` did not
    eventually(lambda: {k[0] for k in bench.values(WORKLOAD_POWER)} == {"chat"})
    eventually(lambda: bench.query(joules_per_token("model")))
    bench.player.lost = set()
    after = eventually(lambda: bench.query(energy))
    assert float(after[0]["value"][1]) > before
    eventually(lambda: {k[0] for k in bench.values(WORKLOAD_POWER)} == {"chat", "train"})
