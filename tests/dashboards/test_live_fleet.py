"""The figures of the fleet, the facility and the stack on a real Prometheus, against what was fed in, worked out by hand.

The node's four GPUs draw 600 W each: `train` holds two (1080 W active, 120 W idle), `chat` one (480 W, 120 W), nobody the last
one. Its meter reads twice as much. Its site has a PUE of 1.5 and 360 g/kWh; the site's meters are those of `tests.site_player`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from dashboards.board import Panel
from dashboards.build import boards
from energy_agent.core.snapshot import Snapshot
from tests.dashboards.bench import GONE, NODE, Bench, playing_fleet, scraping
from tests.site_player import BASIS, SILENCE, SILENT, TOO_SHORT, ZONE
from tests.snapshots import Player
from tests.support import eventually

pytestmark = pytest.mark.prometheus
GPUS, LOST = 4, 1
GPU_W, HOST_W = 2400, 2400
GPU_ERROR_W, HOST_ERROR_W = 0.05 * GPU_W, 0.03 * (GPU_W + HOST_W)
WINDOW_S, WARM_S, CHOSEN_S = 4, 13.0, 10
PRICE = 0.20  # the first choice


@dataclass
class OldBoards(Player):
    """A player whose boards do not have one of the readings."""

    def now(self) -> Snapshot:
        """The snapshot of this instant."""
        snapshot = super().now()
        devices = [
            replace(v, sample=v.sample and replace(v.sample, absent={"memory_c": "NOT_SUPPORTED"})) for v in snapshot.devices
        ]
        return replace(snapshot, devices=tuple(devices))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    player, home = OldBoards(gpus=GPUS, node=True), tmp_path_factory.mktemp("prometheus")
    with playing_fleet(player) as targets, scraping(home, targets, window_s=WINDOW_S, alerts=True) as url:
        time.sleep(WARM_S)
        yield Bench(player, url)


def panel(uid: str, title: str) -> Panel:
    """The panel of a board whose title begins so."""
    (found,) = [p for board in boards() if board.uid == f"wattlens-{uid}" for p in board.panels() if p.title.startswith(title)]
    return found


def shown(bench: Bench, uid: str, title: str, *labels: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Of each query of a panel: values by some labels."""
    return {
        query.legend: {
            tuple(s["metric"].get(name, "") for name in labels): float(s["value"][1]) for s in bench.query(query.expr, CHOSEN_S)
        }
        for query in panel(uid, title).queries
    }


def figures(bench: Bench, uid: str, title: str) -> dict[str, float]:
    """Of each query of a panel of single figures: its value."""
    found = shown(bench, uid, title)
    assert all(len(values) == 1 for values in found.values())
    return {legend: values[()] for legend, values in found.items()}


def test_power_of_the_fleet_and_of_its_facility(bench: Bench) -> None:
    assert figures(bench, "fleet", "GPUs that answer") == {"answering": GPUS, "known": GPUS}
    power = figures(bench, "fleet", "Power")
    assert power == pytest.approx({"GPUs": GPU_W, "around them, where metered": HOST_W}, rel=0.1)
    it, error = GPU_W + HOST_W, GPU_ERROR_W + HOST_ERROR_W
    wanted = {"estimate": it * 1.5, "at least": (it - error) * 1.375, "at most": (it + error) * 1.625}
    assert figures(bench, "fleet", "With the sites' overhead") == pytest.approx(wanted, rel=0.1)
    carbon = {text: watts / 1000 * 360 for text, watts in wanted.items()}
    assert figures(bench, "fleet", "Carbon an hour") == pytest.approx(carbon, rel=0.1)


def test_parts_of_the_power_sum_to_what_nodes_draw(bench: Bench) -> None:
    parts = figures(bench, "fleet", "Where the power goes")
    wanted = {
        "workloads, a kernel ran": 1560,
        "workloads, no kernel ran": 240,
        "nobody held the GPU": 600,
        "holder not known": 0,
    }
    assert parts == pytest.approx(wanted | {"around the GPUs, where metered": HOST_W}, rel=0.1)


def test_energy_of_the_chosen_time_has_its_band(bench: Bench) -> None:
    fed_j = GPU_W * CHOSEN_S
    energy = figures(bench, "fleet", "Energy of GPUs")
    assert energy["estimate"] == pytest.approx(fed_j, rel=0.1)
    error = 0.05 * energy["estimate"] + 2 * GPUS * 70
    assert energy["at most"] - energy["at least"] == pytest.approx(2 * error, rel=0.05)
    assert energy["at least"] < fed_j < energy["at most"]
    node = figures(bench, "gpu", "Energy of the node")
    assert node["estimate"] == pytest.approx((GPU_W + HOST_W) * CHOSEN_S, rel=0.2)
    assert node["at most"] / node["estimate"] == pytest.approx(1 + (GPU_ERROR_W + HOST_ERROR_W) / (GPU_W + HOST_W), rel=0.01)


def test_idle_share_cost_and_joules_a_token(bench: Bench) -> None:
    assert figures(bench, "fleet", "Idle share") == pytest.approx({"held by nobody": 0.25, "held, no kernel": 0.1}, rel=0.02)
    cost = figures(bench, "fleet", "Cost")
    assert cost["nodes"] == pytest.approx((GPU_W + HOST_W) * CHOSEN_S / 3.6e6 * PRICE, rel=0.2)
    assert cost["with overhead"] / cost["nodes"] == pytest.approx(1.5, rel=0.05)
    per_token = {"estimate": 0.625, "at least": 0.59375, "at most": 0.65625}
    assert figures(bench, "fleet", "Joules a generated token") == pytest.approx(per_token, rel=0.01)
    carbon, hourly = (figures(bench, "fleet", title)["estimate"] for title in ("Carbon (estimate)", "Carbon an hour"))
    assert carbon == pytest.approx(hourly / 3600 * CHOSEN_S, rel=0.2)


def test_who_uses_and_who_wastes_most(bench: Bench) -> None:
    teams = shown(bench, "fleet", "The 10 teams with most energy", "team")
    assert set(teams["energy"]) == {("science",), ("(none)",)}
    assert teams["energy"]["science",] == pytest.approx(1200 * CHOSEN_S, rel=0.2)
    assert teams["energy"]["science",] / teams["energy"]["(none)",] == pytest.approx(2, rel=0.02)
    assert teams["at most"]["science",] / teams["energy"]["science",] == pytest.approx(1.05, rel=0.01)
    assert teams["idle share"] == pytest.approx({("science",): 0.1, ("(none)",): 0.2}, rel=0.02)
    models = shown(bench, "fleet", "The 10 models with most joules", "model")
    assert models["J/token"] == pytest.approx({("llama-70b",): 0.625}, rel=0.01)
    assert models["tokens"]["llama-70b",] == pytest.approx(960 * CHOSEN_S, rel=0.2)
    worst = shown(bench, "fleet", "The 10 nodes that waste most", "instance")
    assert worst["share"] == pytest.approx({(NODE,): 0.35}, rel=0.02)
    idle = shown(bench, "fleet", "The 10 teams and namespaces that hold", "team", "namespace")
    assert idle["share"] == pytest.approx({("science", "research"): 0.1, ("(none)", "serving"): 0.2}, rel=0.02)


def test_pue_says_what_it_is(bench: Bench) -> None:
    by = ("site", "category", "window", "basis")
    table = shown(bench, "facility", "PUE by category and window", *by)
    assert table["estimate"] == pytest.approx(
        {
            ("here", "2", "15m", "measured"): 1.5,
            ("here", "2", "365d", "measured"): 1.4,
            ("here", "1, partly stated", "15m", "partly stated: an estimate"): 1.6,
            ("there", "stated", "", "stated: an estimate"): 1.6,
        }
    )
    year = shown(bench, "facility", "PUE over twelve months", "site", "category")
    assert list(year.values()) == [{("here", "2"): v} for v in (pytest.approx(1.4), pytest.approx(1.35), pytest.approx(1.45))]
    (states,) = shown(bench, "facility", "Measured or stated", "site", "category").values()
    texts = panel("facility", "Measured or stated").states
    assert {key: texts[f"{value:.0f}"][0] for key, value in states.items()} == {
        ("here", "2"): "measured",
        ("here", "1, partly stated"): "partly stated: an estimate",
        ("there", "stated"): "stated: an estimate",
    }
    (why,) = shown(bench, "facility", "Why there is none", "site", "category", "window", "reason").values()
    assert why == {("here", "1", "365d", TOO_SHORT): 1}


def test_the_tree_of_meters_counts_nothing_twice(bench: Bench) -> None:
    parts_w = {"IT at ups_output": 200, "IT at pdu_output": 5000, "cooling": 1200, "ups_loss": 300, "lighting": 100,
               "not explained by a meter": 800}  # fmt: skip
    (power,) = shown(bench, "facility", "Where the power goes", "part").values()
    assert power == pytest.approx({(part,): watts for part, watts in parts_w.items()})
    energy = shown(bench, "facility", "Where the energy of the chosen time", "part")
    assert energy["share"] == pytest.approx({(part,): watts / 7600 for part, watts in parts_w.items()}, rel=0.02)
    tree = shown(bench, "facility", "The tree of meters", "meter", "role")
    assert {key for key, up in tree["state"].items() if not up} == {(SILENT, "lighting")}
    assert set(tree["declared"]) - set(tree["power"]) == {(SILENT, "lighting")}
    (silent,) = shown(bench, "facility", "Silent meters", "meter", "reason").values()
    assert silent == {(SILENT, SILENCE): 1}


def test_the_ledgers_against_the_meters(bench: Bench) -> None:
    lines = shown(bench, "facility", "The nodes' ledgers", "site")
    assert lines["{{site}}: meters of IT"] == {("here",): 5200}
    assert lines["{{site}}: nodes"] == pytest.approx({("here",): GPU_W + HOST_W}, rel=0.1)
    assert figures(bench, "facility", "Share of IT")["share"] == pytest.approx((GPU_W + HOST_W) / 5200, rel=0.1)
    (carbon,) = shown(bench, "facility", "Carbon an hour, at the meters", "site", "zone", "basis").values()
    assert carbon == pytest.approx({("here", ZONE, BASIS): 7200 * 0.36}, rel=0.1)


def test_the_stack_tells_what_is_wrong(bench: Bench) -> None:
    assert figures(bench, "stack", "Agents and sites that are scraped") == {"scraped": 3, "known": 4}
    (gone,) = shown(bench, "stack", "Agents and sites that are not scraped", "instance").values()
    assert gone == {(GONE,): 0}
    down = shown(bench, "stack", "Sources that are down, why", "source", "reason")["down"]
    assert ("tokens", "connection refused") in down
    assert (f"facility:{SILENT}", SILENCE) in down
    (firing,) = shown(bench, "stack", "Alerts that fire", "alertname", "instance").values()
    assert {("WattlensAgentDown", GONE), ("WattlensSourceDown", NODE)} <= set(firing)
    wrong = figures(bench, "stack", "Where something is wrong")
    assert wrong == {"a configuration was rejected": 0, "a journal cannot be written": 0, "a source is down": 3}
    (cpu,) = shown(bench, "stack", "Processor time of a node", "instance").values()
    assert cpu[NODE,] == pytest.approx(0.008, rel=0.1)  # 5 ms and 3 ms a second
    (lacking,) = shown(bench, "stack", "Readings that boards do not have", "field", "reason").values()
    assert lacking == {("memory_c", "NOT_SUPPORTED"): GPUS}
    assert shown(bench, "stack", "Readings that fail") == {"GPUs that fail": {}}
    (versions,) = shown(bench, "stack", "Versions", "version").values()
    assert versions == {("0.1.0",): 3}


def test_a_lost_gpu_is_told_as_a_failure(bench: Bench) -> None:
    """Last in this file: it takes a GPU away from the module's bench."""
    bench.player.lost = {LOST}
    lost = {(NODE, str(LOST), "GPU_IS_LOST"): 1}
    eventually(lambda: shown(bench, "fleet", "GPUs that do not", "instance", "gpu", "reason") == {"GPU lost": lost}, 10)
    assert figures(bench, "fleet", "GPUs that answer") == {"answering": GPUS - 1, "known": GPUS}
    failing = shown(bench, "stack", "Readings that fail", "field", "reason")
    assert failing == {"GPUs that fail": {("device", "GPU_IS_LOST"): 1}}
