"""The figures of the fleet, the facility and the stack on a real Prometheus, against what was fed in, worked out by hand.

The node's four GPUs draw 600 W each: `train` holds two (1080 W active, 120 W idle), `chat` one (480 W, 120 W), nobody the last
one. Its meter reads twice as much. Its site has a PUE of 1.5 and 360 g/kWh; the site's meters are those of `tests.site_player`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from energy_agent.core.snapshot import Snapshot
from tests.dashboards.bench import GONE, NODE, PACE, SETTLED_S, Bench, playing_fleet, scraping, settles, settles_among_others
from tests.dashboards.boards import panel
from tests.site_player import BASIS, SILENCE, SILENT, TOO_SHORT, ZONE
from tests.snapshots import EXTRA_UJ, SAVED_UJ, STEP_S, Player
from tests.support import eventually

pytestmark = pytest.mark.prometheus
GPUS, LOST = 4, 1
GPU_W, HOST_W = 2400, 2400
GPU_ERROR_W, HOST_ERROR_W = 0.05 * GPU_W, 0.03 * (GPU_W + HOST_W)
WINDOW_S, CHOSEN_S = 6 * PACE, 12 * PACE
PRICE = 0.20  # the first choice
LOST_UJ = 10**12  # at first


@dataclass
class OldBoards(Player):
    """A player whose boards do not have one of the readings, and whose analyses find smaller losses every second."""

    def now(self) -> Snapshot:
        """The snapshot of this instant."""
        snapshot = super().now()
        devices = [
            replace(v, sample=v.sample and replace(v.sample, absent={"memory_c": "NOT_SUPPORTED"})) for v in snapshot.devices
        ]
        dvfs = [replace(v, extra_uj=v.extra_uj and LOST_UJ - v.extra_uj) for v in snapshot.dvfs]
        return replace(snapshot, devices=tuple(devices), dvfs=tuple(dvfs))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    player, home = OldBoards(gpus=GPUS, node=True), tmp_path_factory.mktemp("prometheus")
    with playing_fleet(player) as targets, scraping(home, targets, window_s=WINDOW_S, alerts=True, pace=PACE) as url:
        yield Bench(player, url, PACE)


def panel_values(bench: Bench, uid: str, title: str, *labels: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Of each query of a panel: values by some labels."""
    return {
        query.legend: {
            tuple(s["metric"].get(name, "") for name in labels): float(s["value"][1]) for s in bench.query(query.expr, CHOSEN_S)
        }
        for query in panel(uid, title).queries
    }


def values_settle(bench: Bench, uid: str, title: str, wanted: Mapping[str, object], *labels: str) -> None:
    """The values of these queries of a panel, by some labels, come to be the wanted ones."""
    settles_among_others(lambda: panel_values(bench, uid, title, *labels), wanted)


def figures(bench: Bench, uid: str, title: str) -> dict[str, float]:
    """Of each query of a panel of single figures: its value."""
    return {legend: value for legend, values in panel_values(bench, uid, title).items() for value in values.values()}


def figures_settle(bench: Bench, uid: str, title: str, wanted: Mapping[str, float], relative: float = 0) -> None:
    """These figures of a panel come to be near the wanted ones."""
    near = {key: pytest.approx(value, rel=relative, abs=1e-9) for key, value in wanted.items()}
    settles_among_others(lambda: figures(bench, uid, title), near)


def test_power_of_the_fleet_and_of_its_facility(bench: Bench) -> None:
    figures_settle(bench, "fleet", "GPUs", {"responsive": GPUS, "known": GPUS})
    figures_settle(bench, "fleet", "Power", {"GPUs": GPU_W, "non-GPU": HOST_W}, 0.05)
    it, error = GPU_W + HOST_W, GPU_ERROR_W + HOST_ERROR_W
    wanted = {"estimate": it * 1.5, "at least": (it - error) * 1.375, "at most": (it + error) * 1.625}
    figures_settle(bench, "fleet", "Facility power", wanted, 0.05)
    figures_settle(bench, "fleet", "Carbon per hour (", {k: watts / 1000 * 360 for k, watts in wanted.items()}, 0.05)


def test_parts_of_the_power_sum_to_what_nodes_draw(bench: Bench) -> None:
    wanted = {
        "workloads, active": 1560,
        "workloads, idle": 240,
        "unallocated": 600,
        "unattributed": 0,
    }
    wanted["non-GPU, where metered"] = HOST_W
    figures_settle(bench, "fleet", "Power breakdown", wanted, 0.05)


def test_energy_of_the_chosen_time_has_its_band(bench: Bench) -> None:
    fed_j, node_j = GPU_W * CHOSEN_S, (GPU_W + HOST_W) * CHOSEN_S
    error_j, node_error_j = 0.05 * fed_j + 2 * GPUS * 70, (GPU_ERROR_W + HOST_ERROR_W) * CHOSEN_S
    wanted = {"estimate": fed_j, "at least": fed_j - error_j, "at most": fed_j + error_j}
    figures_settle(bench, "fleet", "GPU energy", wanted, 0.03)
    wanted = {"estimate": node_j, "at least": node_j - node_error_j, "at most": node_j + node_error_j}
    figures_settle(bench, "gpu", "Node energy", wanted, 0.1)


def test_idle_share_cost_and_joules_a_token(bench: Bench) -> None:
    figures_settle(bench, "fleet", "Idle share", {"unallocated": 0.25, "allocated, idle": 0.1}, 0.02)
    cost = (GPU_W + HOST_W) * CHOSEN_S / 3.6e6 * PRICE
    figures_settle(bench, "fleet", "Cost", {"nodes": cost, "with overhead": 1.5 * cost}, 0.2)
    per_token = {"estimate": 0.625, "at least": 0.59375, "at most": 0.65625}
    figures_settle(bench, "fleet", "Energy per 1,000 generated tokens", per_token, 0.01)
    carbon = (GPU_W + HOST_W) * 1.5 * CHOSEN_S / 3.6e6 * 360
    figures_settle(bench, "fleet", "Carbon (estimate)", {"estimate": carbon}, 0.2)


def test_savings_are_the_difference(bench: Bench) -> None:
    steered = GPUS - 1  # all but the one that nobody holds
    saved_w, lost_w = (steered * uj / 1e6 / STEP_S for uj in (SAVED_UJ, -EXTRA_UJ))
    wanted = {"saved": saved_w * CHOSEN_S, "lost": lost_w * CHOSEN_S, "net": (saved_w - lost_w) * CHOSEN_S}
    figures_settle(bench, "fleet", "DVFS saving", wanted, 0.1)


def test_top_teams_by_energy_and_idle_share(bench: Bench) -> None:
    science, none, model = ("science",), ("(none)",), ("llama-70b",)
    energy = {science: 1200 * CHOSEN_S, none: 600 * CHOSEN_S}
    values_settle(
        bench,
        "fleet",
        "Top 10 teams by energy",
        {
            "energy": pytest.approx(energy, rel=0.2),
            "at least": pytest.approx({team: 0.95 * joules for team, joules in energy.items()}, rel=0.2),
            "at most": pytest.approx({team: 1.05 * joules for team, joules in energy.items()}, rel=0.2),
            "idle share": pytest.approx({science: 0.1, none: 0.2}, rel=0.02),
        },
        "team",
    )
    wanted = {"Wh": pytest.approx({model: 0.625}, rel=0.01), "tokens": pytest.approx({model: 960 * CHOSEN_S}, rel=0.2)}
    values_settle(bench, "fleet", "Top 10 models by energy per", wanted, "model")
    worst = {"share": pytest.approx({(NODE,): 0.35}, rel=0.02)}
    values_settle(bench, "fleet", "Top 10 nodes by idle energy", worst, "instance")
    idle = {"share": pytest.approx({("science", "research"): 0.1, ("(none)", "serving"): 0.2}, rel=0.02)}
    values_settle(bench, "fleet", "Top 10 teams and namespaces", idle, "team", "namespace")


def test_pue_panels_show_category_window_and_basis(bench: Bench) -> None:
    by = ("site", "category", "window", "basis")
    estimates = {
        ("here", "2", "15m", "measured"): 1.5,
        ("here", "2", "365d", "measured"): 1.4,
        ("here", "1, partly stated", "15m", "partly stated"): 1.6,
        ("there", "stated", "", "stated"): 1.6,
    }
    settles(lambda: panel_values(bench, "facility", "PUE by category and window", *by)["estimate"], pytest.approx(estimates))
    settles(
        lambda: list(panel_values(bench, "facility", "Twelve-month PUE", "site", "category").values()),
        [{("here", "2"): v} for v in (pytest.approx(1.4), pytest.approx(1.35), pytest.approx(1.45))],
    )
    texts = panel("facility", "PUE basis").states

    def states() -> dict[tuple[str, ...], str]:
        (values,) = panel_values(bench, "facility", "PUE basis", "site", "category").values()
        return {key: texts[f"{value:.0f}"] for key, value in values.items()}

    settles(
        states,
        {("here", "2"): "measured", ("here", "1, partly stated"): "partly stated", ("there", "stated"): "stated"},
    )
    settles(
        lambda: list(
            panel_values(bench, "facility", "Reasons for missing PUE", "site", "category", "window", "reason").values()
        ),
        [{("here", "1", "365d", TOO_SHORT): 1}],
    )


def test_the_tree_of_meters_counts_nothing_twice(bench: Bench) -> None:
    parts_w = {"IT at ups_output": 200, "IT at pdu_output": 5000, "cooling": 1200, "ups_loss": 300, "lighting": 100,
               "not explained by a meter": 800}  # fmt: skip
    settles(
        lambda: list(panel_values(bench, "facility", "Power by part of the meter tree", "part").values()),
        [pytest.approx({(part,): watts for part, watts in parts_w.items()})],
    )
    shares = {(part,): watts / 7600 for part, watts in parts_w.items()}
    values_settle(bench, "facility", "Energy by part", {"share": pytest.approx(shares, rel=0.02)}, "part")

    def silent() -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
        tree = panel_values(bench, "facility", "Meter tree", "meter", "role")
        return {key for key, up in tree["state"].items() if not up}, set(tree["declared"]) - set(tree["power"])

    settles(silent, ({(SILENT, "lighting")}, {(SILENT, "lighting")}))
    settles(
        lambda: list(panel_values(bench, "facility", "Unread meters", "meter", "reason").values()), [{(SILENT, SILENCE): 1}]
    )


def test_a_repair_is_named_in_words(bench: Bench) -> None:

    def calls() -> dict[tuple[str, ...], float]:
        (value,) = panel_values(bench, "gpu", "GPUs that need repair", "gpu", "condition", "link").values()
        return value

    settles(lambda: len({condition for gpu, condition, _ in calls() if gpu == "0"}), 6)
    settles(lambda: "the driver recommends drain_and_reset" in {condition for gpu, condition, _ in calls() if gpu == "0"}, True)
    settles(lambda: ("0", "NVLink is down or not in use", "3") in calls(), True)


def test_the_ledgers_against_the_meters(bench: Bench) -> None:
    it, nodes = 5200, GPU_W + HOST_W
    wanted = {"IT meters": {("here",): it}, "nodes": pytest.approx({("here",): nodes}, rel=0.05)}
    values_settle(bench, "facility", "Node ledgers", wanted, "site")
    figures_settle(bench, "facility", "Share of IT", {"share": 100 * nodes / it}, 0.05)
    carbon = {"{{site}}: {{zone}}, {{basis}}": pytest.approx({("here", ZONE, BASIS): 7200 * 0.36}, rel=0.05)}
    values_settle(bench, "facility", "Carbon per hour, site meters", carbon, "site", "zone", "basis")


def test_stack_dashboard_shows_faults(bench: Bench) -> None:
    figures_settle(bench, "stack", "Agents and sites", {"scraped": 3, "known": 4})
    settles(lambda: list(panel_values(bench, "stack", "Targets not scraped", "instance").values()), [{(GONE,): 0}])
    down = {("tokens", "connection refused"), (f"facility:{SILENT}", SILENCE)}
    eventually(lambda: down <= set(panel_values(bench, "stack", "Sources down, first", "source", "reason")["down"]))
    due = {("WattlensAgentDown", GONE), ("WattlensSourceDown", NODE)}
    eventually(lambda: due <= set(panel_values(bench, "stack", "Firing alerts", "alertname", "instance")["firing"]), SETTLED_S)
    settles(
        lambda: figures(bench, "stack", "Components with faults"),
        {"rejected configurations": 0, "journals not writable": 0, "sources down": 3},
    )
    cores = {(NODE,): 0.008, ("here",): 0.002, ("there",): 0.002}  # 5 ms and 3 ms per second; 2 ms
    values_settle(bench, "stack", "CPU time by node", {"{{instance}}": pytest.approx(cores, rel=0.1)}, "instance")
    settles(
        lambda: list(panel_values(bench, "stack", "Unsupported readings", "field", "reason").values()),
        [{("memory_c", "NOT_SUPPORTED"): GPUS}],
    )
    assert panel_values(bench, "stack", "Failed readings") == {"failing GPUs": {}}
    settles(lambda: list(panel_values(bench, "stack", "Versions", "version").values()), [{("0.1.0",): 3}])


def test_lost_gpu_is_reported_as_a_failure(bench: Bench) -> None:
    """Last in this file: it takes a GPU away from the module's bench."""
    bench.player.lost = {LOST}
    lost = {(NODE, str(LOST), "GPU_IS_LOST"): 1}
    values_settle(bench, "fleet", "Unresponsive GPUs", {"GPU lost": lost}, "instance", "gpu", "reason")
    figures_settle(bench, "fleet", "GPUs", {"responsive": GPUS - 1, "known": GPUS})
    failing = {"failing GPUs": {("device", "GPU_IS_LOST"): 1}}
    settles(lambda: panel_values(bench, "stack", "Failed readings", "field", "reason"), failing)
