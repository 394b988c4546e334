"""Figures of the boards of inference and training on hand-computed input."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from dashboards.rules import alerts
from dashboards.rules.model import WORKLOAD_POWER, joules_per_token
from dashboards.rules.runs import ENERGY, GPU_TIME
from tests.dashboards.boards import query
from tests.dashboards.promtool import AT, STEP_S, Asked, Labels, figures, named, promtool, rising

pytestmark = pytest.mark.prometheus


def a_server(node: str, workload: str, gpu: str, *, active: float, idle: float, tokens: float) -> dict[str, str]:
    """A workload on one GPU that serves model `m`: watts and tokens a second."""
    where, who = {"instance": node}, {"workload": workload}
    energy = {"uuid": gpu, "method": "counter"}
    return {
        named("gpu_up", where, {"gpu": "0", "uuid": gpu}): "1x80",
        named("gpu_energy_gain_uncertainty_ratio", where, {"gpu": "0", "uuid": gpu}): "0.05x80",
        named("workload_energy_joules_total", where, who, energy, {"state": "active"}): rising(active),
        named("workload_energy_joules_total", where, who, energy, {"state": "idle"}): rising(idle),
        named("tokens_total", where, who, {"model": "m", "phase": "generation"}): rising(tokens),
    }


def test_joules_a_token_are_joules_by_tokens_and_no_mean_of_ratios(tmp_path: Path) -> None:
    """3 J and 1/3 J per token at 100 and 300 tokens/s are 400 W divided by 400 tokens/s."""
    given = a_server("a", "one", "u1", active=280, idle=20, tokens=100) | a_server(
        "b", "two", "u2", active=90, idle=10, tokens=300
    )
    # around the first node another 100 W, known to a tenth of what the meter of the node reads
    given[
        named("workload_nongpu_energy_joules_total", {"instance": "a", "workload": "one", "domain": "host", "state": "active"})
    ] = rising(100)
    given[named("node_nongpu_energy_gain_uncertainty_ratio", {"instance": "a", "domain": "host"})] = "0.1x80"
    # one that waits: it has no ratio, and takes none from the others
    given |= a_server("c", "still", "u3", active=0, idle=50, tokens=0)
    uid, by_model = "wattlens-inference", {"model": "m"}
    gpu, node = ({"model": "m", "boundary": boundary} for boundary in ("gpu", "node"))
    wanted = figures(
        uid,
        900,
        ("Energy per generated token", "estimate", 1),
        ("Energy per generated token by model", "{{model}}", (by_model, 1)),
        ("Energy per generated token by model", "{{model}}, at least", (by_model, 0.95)),
        ("Energy per generated token by model", "{{model}}, at most", (by_model, 1.05)),
        ("Energy per generated token by boundary", "{{model}}, {{boundary}}", (gpu, 1), (node, 4)),
        # 300 W of GPUs to 5 %, and the 400 W of the node to 10 %
        ("Current energy per token by model and boundary", "at most", (gpu, 1.05), (node, 4.55)),
        ("Busy and total energy", "{{model}}, busy", (by_model, 0.925)),
        ("Tokens/s", "generation", 400),
        ("Power", "power", 400),
    )
    assert promtool(tmp_path, given, wanted) == ""
    assert "1.0001E+05" in promtool(tmp_path, given, [(wanted[0][0], 900, 1.0001)])  # and the test can fail


def histogram(family: str, workload: str, buckets: Mapping[str, float], sum_s: float) -> dict[str, str]:
    """Cumulative observations a second up to each edge, and the seconds that they add up to."""
    who = {"instance": "a", "workload": workload, "model": "m"}
    counts = {named(f"{family}_bucket", who, {"le": edge}): rising(n) for edge, n in buckets.items()}
    return counts | {
        named(f"{family}_sum", who): rising(sum_s),
        named(f"{family}_count", who): rising(buckets["+Inf"]),
    }


def test_percentiles_and_what_is_within_the_limit(tmp_path: Path) -> None:
    """The limit of the first choice is 0.5 s, which is an edge of one engine that answers and of one that does not."""
    fine = {"0.1": 10, "0.25": 40, "0.5": 60, "1.0": 90, "2.0": 100, "+Inf": 100}
    given = (
        histogram("time_to_first_token_seconds", "fine", fine, 70)
        | histogram("time_to_first_token_seconds", "coarse", {"0.2": 5, "0.4": 8, "2.0": 10, "+Inf": 10}, 4)
        | histogram("time_to_first_token_seconds", "blind", {"1.0": 20, "+Inf": 20}, 9)
        | histogram(
            "time_to_first_token_seconds", "still", {"0.5": 0, "+Inf": 0}, 0
        )  # answers nothing now: it has no percentile, no mean
    )
    uid, which, of = "wattlens-inference", "{{workload}} {{model}}", {"quantile": "0.95"}

    def who(workload: str) -> Labels:
        return {**AT, "instance": "a", "workload": workload, "model": "m"}

    wanted = figures(
        uid,
        600,
        (
            "Time to first token, ",
            f"{which} percentile",
            (who("fine") | of, 1.5),  # half way from the 90th at 1 s to the 100th at 2 s
            (who("coarse") | of, 0.4 + 1.6 * (9.5 - 8) / 2),
            (who("blind") | of, 0.95),
        ),
        ("Time to first token, ", f"{which} mean", (who("fine"), 0.7), (who("blind"), 0.45), (who("coarse"), 0.4)),
        ("Time to first token, ", "limit", 0.5),
        ("Time to first token: share", which, (who("fine"), 0.6)),
        ("Within limits", "first token", 0.6),
        ("Within limits", "between tokens"),
    )
    assert promtool(tmp_path, given, wanted) == ""
    busy = {
        named("tokens_total", {"instance": "a", "workload": name, "model": "m", "phase": "generation"}): rising(10)
        for name in ("fine", "coarse")
    }
    table = query(uid, "Top 20 workloads", "TTFT within")
    assert promtool(tmp_path, given | busy, [(table, 600, (who("fine"), 0.6))]) == ""


def a_rank(node: str, gpu: str, *, watts: float, tokens: float, gpus: int, begin: str = "") -> dict[str, str]:
    """A workload of run `g` on a node, 2 steps/s: `begin` are samples before it is there."""
    where, who = {"instance": node}, {"workload": f"rank-{node}"}
    steps = 80 - int(begin.partition("x")[2] or 0)
    info = {"kind": "pod", "group": "g", "run": "job:ml/Job/x:g"}

    def since(values: str) -> str:
        return f"{begin} {values}".strip()

    energy = {"uuid": gpu, "method": "counter", "state": "active"}
    return {
        named("gpu_up", where, {"gpu": "0", "uuid": gpu}): "1x80",
        named("gpu_energy_gain_uncertainty_ratio", where, {"gpu": "0", "uuid": gpu}): "0.05x80",
        named("workload_info", where, who, info): since(f"1x{steps}"),
        named("workload_energy_joules_total", where, who, energy): since(rising(watts, steps)),
        named("workload_gpu_seconds_total", where, who, {"state": "active"}): since(rising(gpus * 0.75, steps)),
        named("workload_gpu_seconds_total", where, who, {"state": "idle"}): since(rising(gpus * 0.25, steps)),
        named("training_steps_total", where, who, {"phase": "training"}): since(rising(2, steps)),
        named("tokens_total", where, who, {"model": "m", "phase": "training"}): since(rising(tokens, steps)),
    }


def test_a_run_over_two_nodes(tmp_path: Path) -> None:
    """Both nodes take the same 2 steps/s at 300 and 100 W; the second joins after 5 minutes, and loses its GPU after 15."""
    given = a_rank("a", "u1", watts=300, tokens=100, gpus=4)
    given |= a_rank("b", "u2", watts=100, tokens=100, gpus=2, begin="_x20")
    # Workloads of others report the same group, and one has no owner: neither is of the run.
    for workload, run in (("alien", "job:dev/Job/x:g"), ("container-1", "")):
        where, who = {"instance": "b"}, {"workload": workload}
        given[named("workload_info", where, who, {"kind": "pod", "group": "g"} | ({"run": run} if run else {}))] = "1x80"
        given[named("workload_energy_joules_total", where, who, {"uuid": "u3", "method": "counter", "state": "active"})] = (
            "0x80"
        )
        given[named("training_steps_total", where, who, {"phase": "training"})] = rising(900)
        given[named("tokens_total", where, who, {"model": "m", "phase": "training"})] = rising(9e6)
    given[named("gpu_up", {"instance": "b"}, {"gpu": "0", "uuid": "u2"})] = "1x60 0x20"
    uid, run = "wattlens-training", {**AT, "run": "job:ml/Job/x:g"}
    step, size = ("Energy per step, 10", "{{run}}"), ("GPUs and nodes", "{{run}} GPUs")
    nodes, lost = ("GPUs and nodes", "{{run}} nodes"), ("GPUs", "lost")
    wanted = [
        *figures(uid, 240, (*step, (run, 150)), (*size, (run, 4)), (*nodes, (run, 1))),
        *figures(
            uid,
            720,
            (*step, (run, 200)),
            ("Energy per step, 10", "{{run}}, at least", (run, 190)),
            ("Energy per step, 10", "{{run}}, at most", (run, 210)),
            ("Energy per token, 10", "{{run}}", (run, 2)),
            ("Steps per second", "{{run}}", (run, 2)),
            (*size, (run, 6)),
            (*nodes, (run, 2)),
            ("Active GPU time", "{{run}}", (run, 0.75)),
            ("GPUs", "allocated", 6),
            (*lost, 0),
        ),
        # ten minutes of it: all steps of the first node, and the energy of both
        *figures(
            uid,
            1200,
            ("Top 20 runs", "steps", (run, 1200)),
            ("Top 20 runs", "energy", (run, 600 * 400)),
            ("Top 20 runs", "energy, at most", (run, 600 * 400 * 1.05)),
        ),
        # without the energy of one of its GPUs it has no joules a step, and goes on otherwise
        *figures(
            uid,
            1020,
            step,
            (*lost, 1),
            ("GPUs lost during a run", "lost GPU", ({**run, "instance": "b", "workload": "rank-b", "gpu": "0"}, 1)),
            ("Steps per second", "{{run}}", (run, 2)),
        ),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_clusters_with_nodes_and_groups_of_the_same_names_are_kept_apart(tmp_path: Path) -> None:
    """A store with two clusters: on node a of each runs w of group g, at 100 W in one and 300 W in the other, 10 tokens/s."""
    given: dict[str, str] = {}
    wanted: dict[str, list[tuple[Labels, float]]] = {"group_model": [], "model_precision": []}
    of = {"boundary": "gpu", "energy": "active_idle", "tokens": "generation", "model": "m"}
    for cluster, watts in (("north", 100), ("south", 300)):
        at, who, gpu = {"cluster": cluster, "instance": "a"}, {"workload": "w"}, {"uuid": "u"}
        given |= {
            named("workload_energy_joules_total", at, who, gpu, {"state": "active", "method": "counter"}): rising(watts),
            named("gpu_up", at, gpu): "1x80",
            named("workload_info", at, who, {"group": "g", "run": "job:ml/Job/x:g", "precision": "bf16"}): "1x80",
            named("tokens_total", at, who, {"model": "m", "phase": "generation"}): rising(10),
        }
        wanted["group_model"].append(({**of, "cluster": cluster, "group": "g", "run": "job:ml/Job/x:g"}, watts / 10))
        wanted["model_precision"].append(({**AT, **of, "cluster": cluster, "precision": "bf16"}, watts / 10))
    chosen = '{energy="active_idle",tokens="generation"}'
    asked: list[Asked] = [(f"{joules_per_token(level)}{chosen}", 600, *samples) for level, samples in wanted.items()]
    assert promtool(tmp_path, given, asked) == ""


def test_late_pod_name_keeps_power_and_counters_and_loses_one_scrape_of_energy(
    tmp_path: Path,
) -> None:
    """100 W all the time; after five minutes the series has namespace and pod, and goes on where the other one ended."""
    at, late = {"instance": "a", "workload": "pod-1"}, {"namespace": "research", "pod": "train-0"}
    given = {named("gpu_up", {"instance": "a", "gpu": "0", "uuid": "u"}): "1x80"}
    counters = (("energy_joules", 100, {"uuid": "u", "method": "counter"}), ("gpu_seconds", 1, {}))
    for name, per_s, labels in counters:
        given |= {
            named(f"workload_{name}_total", at, labels, {"state": "active"}): f"{rising(per_s, 20)} stale",
            named(f"workload_{name}_total", at, late, labels, {"state": "active"}): (
                f"_x21 {rising(per_s, 59, begin=21 * STEP_S * per_s)}"
            ),
        }
    counter, scrape_j = "wattlens_workload_energy_joules_total", 1_500
    power = f'sum({WORKLOAD_POWER}{{boundary="gpu",energy="active_idle"}})'
    asked: list[Asked] = [
        (f"sum by (namespace, pod) (rate({counter}[1m]))", 900, (late, 100)),
        (f"abs(sum(increase({counter}[10m])) - 60000) <= bool {scrape_j}", 600, 1),
        (f"abs({power} - 100) <= bool 5", 480, 1),
        (f"increase({ENERGY}[10m])", 900, ({**AT, **at, "uuid": "u"}, 60_000)),
        (f"increase({GPU_TIME}[10m])", 900, ({**AT, **at}, 600)),
    ]
    assert promtool(tmp_path, given, asked) == ""


def test_late_pod_name_does_not_make_its_first_minute_wasteful(tmp_path: Path) -> None:
    """Idle for the minute in which its name was not known, active for nine: a tenth of its energy is idle."""
    (waste,) = [alert.expr for alert in alerts.alerts() if alert.name == "WattlensIdleWaste"]
    at, of = {"instance": "a", "workload": "pod-1"}, {"uuid": "u", "method": "counter"}
    late = {"namespace": "research", "pod": "train-0"}
    given = {
        named("workload_energy_joules_total", at, of, {"state": "idle"}): f"{rising(100, 4)} stale",
        named("workload_energy_joules_total", at, of, {"state": "active"}): "0x4 stale",
        named("workload_energy_joules_total", at, late, of, {"state": "idle"}): "_x5 6000x55",
        named("workload_energy_joules_total", at, late, of, {"state": "active"}): f"_x5 {rising(100, 55)}",
    }
    assert promtool(tmp_path, given, [(waste, 600)]) == ""
