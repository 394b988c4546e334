"""Figures of the boards of inference, training and DVFS on hand-computed input, by promtool: no server, no clock."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from dashboards import rules
from dashboards.build import boards, substituted
from tests.support import need_program

pytestmark = pytest.mark.prometheus
DURATIONS = {"$__rate_interval": "1m", "$__range": "10m"}
STEP_S, SCALE = 15, 100_000
AT = {"job": "wattlens"}

Labels = Mapping[str, str]
Rule = dict[str, object]
Asked = tuple[str, int, list[tuple[Labels, float]]]
"""A query, the second at which it is asked, and its samples."""


def named(name: str, *labels: Labels) -> str:
    """A series of job `wattlens` as a selector has it."""
    pairs = {key: value for each in (AT, *labels) for key, value in each.items()}
    return f"wattlens_{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in pairs.items())}}}"


def rising(per_s: float, steps: int = 80, *, begin: float = 0) -> str:
    """A counter that gains so much a second."""
    return f"{begin}+{per_s * STEP_S}x{steps}"


def query(uid: str, title: str, legend: str) -> str:
    """The query of a panel, the beginning of whose title and legend are given."""
    (board,) = [board for board in boards() if board.uid == uid]
    found = [q.expr for p in board.panels() if p.title.startswith(title) for q in p.queries if q.legend == legend]
    assert len(found) == 1, (title, legend, len(found))
    return found[0]


def promtool(home: Path, given: Mapping[str, str], wanted: Iterable[Asked]) -> str:
    """What promtool says of the samples of queries on the series given, to five decimals; "" where all is so."""
    asked = [
        {
            "expr": f"round({SCALE} * ({substituted(expr, DURATIONS)}))",  # whole numbers, which promtool compares exactly
            "eval_time": f"{at_s}s",
            "exp_samples": [
                {
                    "labels": "{" + ",".join(f"{k}={json.dumps(v)}" for k, v in labels.items()) + "}",
                    "value": round(SCALE * value),
                }
                for labels, value in samples
            ],
        }
        for expr, at_s, samples in wanted
    ]
    series = [{"series": name, "values": values} for name, values in given.items()]
    test = {"interval": f"{STEP_S}s", "input_series": series, "promql_expr_test": asked}
    group = {"name": "needed", "interval": "30s", "rules": needed(str(asked))}
    (home / "rules.yml").write_text(json.dumps({"groups": [group]}))
    (home / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [test]}))
    command = [need_program("promtool"), "test", "rules", "test.yml"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def needed(queries: str) -> list[Rule]:
    """The rules that queries stand on, directly or by other rules: all of them would take promtool ten times as long."""
    known: list[Rule] = [rule for group in rules.content()["groups"] for rule in group["rules"]]  # type: ignore[attr-defined]
    chosen: list[Rule] = []
    for rule in reversed(known):
        if str(rule["record"]) in queries or any(str(rule["record"]) in str(other["expr"]) for other in chosen):
            chosen.insert(0, rule)
    return chosen


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
    """3 J and 1/3 J a token at 100 and 300 tokens/s are 400 W by 400 tokens/s."""
    given = a_server("a", "one", "u1", active=280, idle=20, tokens=100) | a_server(
        "b", "two", "u2", active=90, idle=10, tokens=300
    )
    # around the first node another 100 W, known to a tenth of what the meter of the node reads
    given[
        named("workload_host_energy_joules_total", {"instance": "a", "workload": "one", "domain": "host", "state": "active"})
    ] = rising(100)
    given[named("host_energy_gain_uncertainty_ratio", {"instance": "a", "domain": "host"})] = "0.1x80"
    # one that waits: it has no ratio, and takes none from the others
    given |= a_server("c", "still", "u3", active=0, idle=50, tokens=0)
    uid, by_model = "wattlens-inference", {"model": "m"}
    gpu, node = ({"model": "m", "boundary": boundary} for boundary in ("gpu", "node"))
    wanted: list[Asked] = [
        (query(uid, "Joules a generated token", "estimate"), 900, [({}, 1)]),
        (query(uid, "Joules a generated token by model", "{{model}}"), 900, [(by_model, 1)]),
        (query(uid, "Joules a generated token by model", "{{model}}, at least"), 900, [(by_model, 0.95)]),
        (query(uid, "Joules a generated token by model", "{{model}}, at most"), 900, [(by_model, 1.05)]),
        (query(uid, "Joules a generated token by boundary", "{{model}}, {{boundary}}"), 900, [(gpu, 1), (node, 4)]),
        # 300 W of GPUs to 5 %, and the 400 W of the node to 10 %
        (query(uid, "By model and boundary, now", "at most"), 900, [(gpu, 1.05), (node, 4.55)]),
        (query(uid, "Busy, and with", "{{model}}, busy"), 900, [(by_model, 0.925)]),
        (query(uid, "Tokens/s", "generation"), 900, [({}, 400)]),
        (query(uid, "Power", "power"), 900, [({}, 400)]),
    ]
    assert promtool(tmp_path, given, wanted) == ""
    assert "1.0001E+05" in promtool(tmp_path, given, [(wanted[0][0], 900, [({}, 1.0001)])])  # and the test can fail


def histogram(family: str, workload: str, buckets: Mapping[str, float], sum_s: float) -> dict[str, str]:
    """Cumulative observations a second up to each edge, and the seconds that they add up to."""
    who = {"instance": "a", "workload": workload, "model": "m"}
    counts = {named(f"{family}_bucket", who, {"le": edge}): rising(n) for edge, n in buckets.items()}
    return counts | {
        named(f"{family}_sum", who): rising(sum_s),
        named(f"{family}_count", who): rising(buckets["+Inf"]),
    }


def test_percentiles_and_what_is_within_the_limit(tmp_path: Path) -> None:
    """The limit of the first choice is 0.5 s: one engine has this edge, one has 0.4 s, one none at all."""
    fine = {"0.1": 10, "0.25": 40, "0.5": 60, "1.0": 90, "2.0": 100, "+Inf": 100}
    given = (
        histogram("ttft_seconds", "fine", fine, 70)
        | histogram("ttft_seconds", "coarse", {"0.2": 5, "0.4": 8, "2.0": 10, "+Inf": 10}, 4)
        | histogram("ttft_seconds", "blind", {"1.0": 20, "+Inf": 20}, 9)
        | histogram("ttft_seconds", "still", {"0.5": 0, "+Inf": 0}, 0)  # answers nothing now: it has no percentile, no mean
    )
    uid, which = "wattlens-inference", "{{workload}} {{model}}"

    def who(workload: str) -> Labels:
        return {**AT, "instance": "a", "workload": workload, "model": "m"}

    wanted: list[Asked] = [
        (
            query(uid, "Time to first token, ", f"{which} percentile"),
            600,
            [
                (who("fine"), 1.5),  # half way from the 90th at 1 s to the 100th at 2 s
                (who("coarse"), 0.4 + 1.6 * (9.5 - 8) / 2),
                (who("blind"), 0.95),
            ],
        ),
        (
            query(uid, "Time to first token, ", f"{which} mean"),
            600,
            [(who("fine"), 0.7), (who("blind"), 0.45), (who("coarse"), 0.4)],
        ),
        (query(uid, "Time to first token, ", "limit"), 600, [({}, 0.5)]),
        (query(uid, "Time to first token: share", which), 600, [(who("fine"), 0.6), (who("coarse"), 0.8)]),
        (query(uid, "In the limits", "first token"), 600, [({}, 68 / 110)]),
        (query(uid, "In the limits", "between tokens"), 600, []),
    ]
    assert promtool(tmp_path, given, wanted) == ""
    busy = {
        named("tokens_total", {"instance": "a", "workload": name, "model": "m", "phase": "generation"}): rising(10)
        for name in ("fine", "coarse")
    }
    edges = query(uid, "Where the limits are counted", "edge of TTFT")
    table = query(uid, "The 20 workloads", "TTFT within")
    plain: list[Asked] = [
        (edges, 600, [(who("fine"), 0.5), (who("coarse"), 0.4)]),
        (table, 600, [(who("fine"), 0.6), (who("coarse"), 0.8)]),
    ]
    assert promtool(tmp_path, given | busy, plain) == ""


def a_rank(node: str, gpu: str, *, watts: float, tokens: float, gpus: int, begin: str = "") -> dict[str, str]:
    """A workload of run `g` on a node, 2 steps/s: `begin` are samples before it is there."""
    where, who = {"instance": node}, {"workload": f"rank-{node}"}
    steps = 80 - int(begin.partition("x")[2] or 0)
    info = {"kind": "pod", "group": "g"}

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
        named("steps_total", where, who, {"phase": "training"}): since(rising(2, steps)),
        named("tokens_total", where, who, {"model": "m", "phase": "training"}): since(rising(tokens, steps)),
    }


def test_a_run_over_two_nodes(tmp_path: Path) -> None:
    """Both nodes take the same 2 steps/s at 300 and 100 W; the second joins after 5 minutes, and loses its GPU after 15."""
    given = a_rank("a", "u1", watts=300, tokens=100, gpus=4)
    given |= a_rank("b", "u2", watts=100, tokens=100, gpus=2, begin="_x20")
    given[named("gpu_up", {"instance": "b"}, {"gpu": "0", "uuid": "u2"})] = "1x60 0x20"
    uid, run = "wattlens-training", {**AT, "run": "g"}
    step, token = (query(uid, f"Joules a {what}, 10", "{{run}}") for what in ("step", "token"))
    size, busy = query(uid, "GPUs and nodes", "{{run}} GPUs"), query(uid, "GPU time in which", "{{run}}")
    wanted: list[Asked] = [
        (step, 240, [(run, 150)]),
        (size, 240, [(run, 4)]),
        (query(uid, "GPUs and nodes", "{{run}} nodes"), 240, [(run, 1)]),
        (step, 720, [(run, 200)]),
        (query(uid, "Joules a step, 10", "{{run}}, at least"), 720, [(run, 190)]),
        (query(uid, "Joules a step, 10", "{{run}}, at most"), 720, [(run, 210)]),
        (token, 720, [(run, 2)]),
        (query(uid, "Steps a second", "{{run}}"), 720, [(run, 2)]),
        (size, 720, [(run, 6)]),
        (query(uid, "GPUs and nodes", "{{run}} nodes"), 720, [(run, 2)]),
        (busy, 720, [(run, 0.75)]),
        (query(uid, "GPUs", "held"), 720, [({}, 6)]),
        (query(uid, "GPUs", "lost"), 720, [({}, 0)]),
        # ten minutes of it: all steps of the first node, and the energy of both
        (query(uid, "In the chosen time", "steps"), 1200, [(run, 1200)]),
        (query(uid, "In the chosen time", "energy"), 1200, [(run, 600 * 400)]),
        (query(uid, "In the chosen time", "energy, at most"), 1200, [(run, 600 * 400 * 1.05)]),
        # without the energy of one of its GPUs it has no joules a step, and goes on otherwise
        (step, 1020, []),
        (query(uid, "GPUs", "lost"), 1020, [({}, 1)]),
        (
            query(uid, "GPUs lost under a run", "lost under a run"),
            1020,
            [({**run, "instance": "b", "workload": "rank-b", "gpu": "0"}, 1)],
        ),
        (query(uid, "Steps a second", "{{run}}"), 1020, [(run, 2)]),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def steered(gpu: str, **of: str) -> dict[str, str]:
    """A GPU of group `g` that is under a lease all the time."""
    where = {"instance": "a", "gpu": "0", "uuid": gpu}
    info = named("dvfs_group_info", where, {"group": "g", "workload": "w", "policy": "progress"})
    return {named("dvfs_lease_active", where): "1x80", info: "1x80"} | {
        named(f"dvfs_{name}", where): values for name, values in of.items()
    }


def test_proven_savings_count_from_their_first_look_on(tmp_path: Path) -> None:
    """The first look at 6 minutes proves 3000 J, which then grow by 1 J/s, and losses of 100 J that stay."""
    given = steered("u1", saved_joules_total="_x24 3000+15x56", extra_joules_total="_x24 100x56")
    group = {**AT, "instance": "a", "group": "g"}
    uid, proven, table = "wattlens-dvfs", "Proven in the chosen time", "Proven by group"
    wanted: list[Asked] = [
        (query(uid, proven, "saved, at least"), 300, []),
        (query(uid, proven, "saved, at least"), 600, [({}, 3000 + 240)]),
        (query(uid, proven, "lost"), 600, [({}, 100)]),
        (query(uid, proven, "net"), 600, [({}, 3000 + 240 - 100)]),
        (query(uid, table, "net"), 600, [(group, 3000 + 240 - 100)]),
        # ten minutes later the look is outside of the chosen time
        (query(uid, proven, "net"), 1200, [({}, 600)]),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_a_prometheus_that_is_younger_than_a_counter_credits_nothing_to_the_chosen_time(tmp_path: Path) -> None:
    given = steered("u1", saved_joules_total="90000+15x80")
    saved = query("wattlens-dvfs", "Proven in the chosen time", "saved, at least")
    assert promtool(tmp_path, given, [(saved, 300, [({}, 307.5)])]) == ""  # `increase` adds half an interval


def test_a_decision_that_was_made_once_is_marked_and_what_holds_is_not(tmp_path: Path) -> None:
    where = {"instance": "a", "gpu": "0", "uuid": "u1"}
    once, holds, often = (
        {"policy": "progress", "action": action, "reason": reason}
        for action, reason in (("set", "chosen"), ("hold", "waiting"), ("set", "queue"))
    )
    given = steered("u1") | {
        named("dvfs_decisions_total", where, once): "_x40 1x40",
        named("dvfs_decisions_total", where, holds): rising(1),
        named("dvfs_decisions_total", where, often): f"_x50 {rising(1, 30, begin=1)}",
    }
    (marks,) = [a.expr for b in boards() for a in b.annotations if b.uid == "wattlens-dvfs"]
    mark, begun = ({**AT, "instance": "a", **each} for each in (once, often))
    wanted: list[Asked] = [
        (marks, 585, []),
        (marks, 630, [(mark, 1)]),
        (marks, 750, [(begun, 1)]),
        (marks, 1140, []),  # it goes on in every round
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_a_setting_that_nobody_holds_is_an_orphan_and_names_its_runbook(tmp_path: Path) -> None:
    where = {"instance": "a", "gpu": "0", "uuid": "u1"}
    given = steered("u1") | {
        named("dvfs_lease_active", where): "1x40 0x40",
        named("dvfs_setting", where, {"setting": "power_limit_watts"}): "400x80",
        'up{job="wattlens",instance="b"}': "1x60 0x20",
        named("dvfs_lease_active", {"instance": "b", "gpu": "0", "uuid": "u2"}): "1x60",
    }
    uid, look = "wattlens-dvfs", query("wattlens-dvfs", "What to look at", "what")
    alert = {"alertname": "WattlensLeaseOrphaned"}
    unheld = {**AT, "instance": "a", "gpu": "0", "what": "set without a lease", **alert}
    gone = {**AT, "instance": "b", "what": "agent gone with a lease", **alert}
    wanted: list[Asked] = [
        (query(uid, "Orphaned leases", "settings"), 570, [({}, 0)]),
        (query(uid, "Orphaned leases", "settings"), 660, [({}, 1)]),
        (query(uid, "Orphaned leases", "agents"), 660, [({}, 0)]),
        (query(uid, "Orphaned leases", "agents"), 1000, [({}, 1)]),
        (look, 570, []),
        (look, 1000, [(unheld, 1), (gone, 1)]),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_what_is_in_force_has_three_states(tmp_path: Path) -> None:
    where = {"instance": "a", "gpu": "0", "uuid": "u1"}
    clock = {"setting": "sm_clock_max_hertz"}
    given = steered("u1") | {
        named("dvfs_wanted_setting", where, clock): "_x20 1e9x60",
        named("dvfs_setting", where, clock): "_x40 1e9x40",
    }
    state = query("wattlens-dvfs", "What is in force", "{{instance}} {{group}}")
    group = {**AT, "instance": "a", "group": "g"}
    wanted: list[Asked] = [(state, at_s, [(group, value)]) for at_s, value in ((150, 0), (450, 1), (750, 2))]
    assert promtool(tmp_path, given, wanted) == ""
