"""Figures of the board of steering on hand-computed input."""

from pathlib import Path

import pytest

from dashboards.build.build import boards
from tests.dashboards.promtool import AT, Asked, named, promtool, query, rising

pytestmark = pytest.mark.prometheus


def steered(gpu: str, **of: str) -> dict[str, str]:
    """A GPU of group `g` that is under a lease all the time."""
    where = {"instance": "a", "gpu": "0", "uuid": gpu}
    info = named("dvfs_group_info", where, {"group": "g", "workload": "w", "policy": "progress"})
    mode = named("dvfs_mode", where, {"mode": "enforce"})
    return {named("dvfs_lease_active", where): "1x80", mode: "1x80", info: "1x80"} | {
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


def test_what_a_group_proved_stays_in_the_sums_when_the_group_is_gone(tmp_path: Path) -> None:
    given = steered("u1", saved_joules_total="_x24 3000+15x56", extra_joules_total="_x24 100x56")
    given |= {name: "1x60 stale" for name in given if "joules" not in name}
    group = query("wattlens-dvfs", "Proven by group", "saved, at least")
    wanted: list[Asked] = [
        (query("wattlens-fleet", "Saved by DVFS", "saved"), 1200, [({}, 600)]),
        (query("wattlens-dvfs", "Proven in the chosen time", "saved, at least"), 1200, [({}, 600)]),
        (group, 1200, []),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_a_gpu_on_which_nothing_was_proven_shows_nothing_beside_one_of_its_group(tmp_path: Path) -> None:
    other = {name.replace('gpu="0"', 'gpu="1"'): values for name, values in steered("u2").items()}
    given = steered("u1", saved_joules_total="_x24 3000+15x56", extra_joules_total="_x24 0x56") | other
    group = {**AT, "instance": "a", "group": "g"}
    table = query("wattlens-dvfs", "Proven by group", "net")
    wanted: list[Asked] = [(table, 600, [(group, 3000 + 240)]), (table.replace("$gpu", "1"), 600, [])]
    assert promtool(tmp_path, given, wanted) == ""


def test_a_prometheus_that_is_younger_than_a_counter_credits_nothing_to_the_chosen_time(tmp_path: Path) -> None:
    given = steered("u1", saved_joules_total="90000+15x80")
    saved = query("wattlens-dvfs", "Proven in the chosen time", "saved, at least")
    assert promtool(tmp_path, given, [(saved, 300, [({}, 315)])]) == ""  # `increase` adds half an interval


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
    (marks,) = [a.expr for b in boards() for a in b.annotations if b.uid == "wattlens-dvfs" and a.expr]
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
    uid, look = "wattlens-dvfs", query("wattlens-dvfs", "What to look at", "rounds or J")
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
