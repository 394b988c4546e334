"""Figures of the board of steering on hand-computed input."""

from pathlib import Path
from typing import Final

import pytest

from tests.dashboards.boards import boards, query
from tests.dashboards.promtool import AT, Asked, figures, named, promtool, rising

pytestmark = pytest.mark.prometheus


def steered(gpu: str, **of: str) -> dict[str, str]:
    """A GPU of group `g` that is under a lease all the time."""
    where = {"instance": "a", "gpu": "0", "uuid": gpu}
    info = named("dvfs_group_info", where, {"group": "g", "workload": "w", "policy": "progress"})
    mode = named("dvfs_mode", where, {"mode": "enforce"})
    return {named("dvfs_lease_active", where): "1x80", mode: "1x80", info: "1x80"} | {
        named(f"dvfs_{name}", where): values for name, values in of.items()
    }


ANALYSED: Final = {"saved_joules": "_x24 3000x24 2000x32", "extra_joules": "_x24 0x24 100x32"}
"""The first analysis, at 6:00, claims 3000 J; another, at 12:15, restates the quarter: 2000 J, and a loss of 100 J."""
GROUP: Final = {**AT, "instance": "a", "group": "g"}
BOARD, PROVEN, TABLE = "wattlens-dvfs", "Proven saving in the selected range", "Proven saving by group"
SAVED, LOST, NET = (query(BOARD, PROVEN, legend) for legend in ("saved, at least", "lost", "net"))


def test_what_was_proven_is_the_difference_of_the_claims_at_both_ends(tmp_path: Path) -> None:
    """The chosen time is ten minutes, and the rules are evaluated every half."""
    given = steered("u1", **ANALYSED)
    wanted: list[Asked] = [
        (SAVED, 300),  # nothing is analysed, which is not 0
        *((expr, 600, joules) for expr, joules in ((SAVED, 3000), (LOST, 0), (NET, 3000))),
        (query(BOARD, TABLE, "net"), 600, (GROUP, 3000)),
        # all of it is within the time
        *((expr, 930, joules) for expr, joules in ((SAVED, 2000), (LOST, 100), (NET, 1900))),
        # the first analysis is before, the second one took a part back
        *((expr, 1140, joules) for expr, joules in ((SAVED, -1000), (LOST, 100), (NET, -1100))),
        (query(BOARD, TABLE, "net"), 1140, (GROUP, -1100)),
        (query("wattlens-fleet", "DVFS saving", "net"), 1140, -1100),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_a_claim_that_falls_to_nothing_is_taken_off_in_full(tmp_path: Path) -> None:
    given = steered("u1", saved_joules="_x24 3000x24 0x32", extra_joules="_x24 0x56")
    assert promtool(tmp_path, given, [(SAVED, 1140, -3000), (NET, 1140, -3000)]) == ""


def test_an_agent_that_was_down_at_the_start_goes_on_from_its_last_claim(tmp_path: Path) -> None:
    """It ends at 7:30 and comes back at 12:30 with what it had, which a later analysis halves; the start is at 9:00."""
    rest = dict.fromkeys(steered("u1"), "1x29 stale _x19 1x30")
    given = rest | {
        named("dvfs_saved_joules", {"instance": "a", "gpu": "0", "uuid": "u1"}): "1000x29 stale _x19 1000x10 500x20",
        named("dvfs_extra_joules", {"instance": "a", "gpu": "0", "uuid": "u1"}): "0x29 stale _x19 0x30",
    }
    wanted: list[Asked] = [(SAVED, 840, 0), (SAVED, 1140, -500)]
    assert promtool(tmp_path, given, wanted) == ""


def test_claims_of_gpus_add_up_and_one_without_an_analysis_shows_nothing_beside_them(tmp_path: Path) -> None:
    def at(number: int, **of: str) -> dict[str, str]:
        return {name.replace('gpu="0"', f'gpu="{number}"'): values for name, values in steered(f"u{number}", **of).items()}

    rose = {"saved_joules": "_x24 500x12 700x44", "extra_joules": "_x24 0x56"}
    given = at(1, **ANALYSED) | at(2, **rose) | at(3)
    table = query(BOARD, TABLE, "saved, at least")
    wanted: list[Asked] = [
        (table, 600, (GROUP, 3000 + 700)),
        (table, 1140, (GROUP, -1000 + 200)),
        (table.replace("$gpu", "2"), 600, (GROUP, 700)),
        (table.replace("$gpu", "3"), 600),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_a_gpu_that_gets_another_index_is_counted_once(tmp_path: Path) -> None:
    """At the same instant, as after a reset of its neighbour: its claim is the same under both."""
    before, after = (steered("u1", saved_joules="1000x80", extra_joules="0x80") for _ in range(2))
    given = {name: values.replace("x80", "x40 stale") for name, values in before.items()}
    given |= {name.replace('gpu="0"', 'gpu="1"'): "_x41 " + values.replace("x80", "x39") for name, values in after.items()}
    assert promtool(tmp_path, given, [(SAVED, 900, 0)]) == ""


def test_what_a_group_proved_stays_in_the_sums_when_the_group_is_gone(tmp_path: Path) -> None:
    given = steered("u1", **ANALYSED)
    given |= {name: "1x60 stale" for name in given if "joules" not in name}
    wanted: list[Asked] = [
        (query("wattlens-fleet", "DVFS saving", "saved"), 1140, -1000),
        (SAVED, 1140, -1000),
        (query(BOARD, TABLE, "saved, at least"), 1140),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_what_an_agent_proved_stays_in_the_sums_when_the_agent_is_gone(tmp_path: Path) -> None:
    given = {name: f"{values.replace('2000x32', '2000x9').replace('100x32', '100x9').replace('1x80', '1x58')} stale"
             for name, values in steered("u1", **ANALYSED).items()}  # fmt: skip
    assert promtool(tmp_path, given, [(SAVED, 1140, -1000), (LOST, 1140, 100)]) == ""


def test_a_prometheus_that_is_younger_than_a_claim_credits_nothing_to_the_chosen_time(tmp_path: Path) -> None:
    given = steered("u1", saved_joules="90000x12 90200x68", extra_joules="7x80")
    assert promtool(tmp_path, given, [(SAVED, 300, 200), (LOST, 300, 0)]) == ""


def test_a_claim_that_falls_is_nothing_to_look_at_and_a_loss_is(tmp_path: Path) -> None:
    given = steered("u1", **ANALYSED) | {
        name.replace('gpu="0"', 'gpu="1"'): values
        for name, values in steered("u2", saved_joules="_x24 3000x24 2000x32", extra_joules="_x24 0x56").items()
    }
    loses = {**AT, "instance": "a", "gpu": "0", "condition": "costs more than it saves", "alertname": "WattlensSteeringLoses"}
    look = query(BOARD, "Groups that need attention", "rounds or J")
    assert promtool(tmp_path, given, [(look, 600), (look, 1140, (loses, 1100))]) == ""


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
    (steering,) = [board.json for board in boards() if board.uid == "wattlens-dvfs"]
    (marks,) = [each["expr"] for each in steering["annotations"]["list"] if "expr" in each]
    mark, begun = ({**AT, "instance": "a", **each} for each in (once, often))
    wanted: list[Asked] = [
        (marks, 585),
        (marks, 630, (mark, 1)),
        (marks, 750, (begun, 1)),
        (marks, 1140),  # it goes on in every round
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_setting_without_lease_is_orphaned_and_links_its_runbook(tmp_path: Path) -> None:
    where = {"instance": "a", "gpu": "0", "uuid": "u1"}
    given = steered("u1") | {
        named("dvfs_lease_active", where): "1x40 0x40",
        named("dvfs_power_limit_watts", where): "400x80",
        'up{job="wattlens",instance="b"}': "1x60 0x20",
        named("dvfs_lease_active", {"instance": "b", "gpu": "0", "uuid": "u2"}): "1x60",
    }
    uid, look = "wattlens-dvfs", query("wattlens-dvfs", "Groups that need attention", "rounds or J")
    alert = {"alertname": "WattlensLeaseOrphaned"}
    unheld = {**AT, "instance": "a", "gpu": "0", "condition": "set without a lease", **alert}
    gone = {**AT, "instance": "b", "condition": "agent disappeared with a lease", **alert}
    wanted: list[Asked] = [
        (query(uid, "Orphaned leases", "settings"), 570, 0),
        *figures(
            uid,
            660,
            ("Orphaned leases", "settings", 1),
            ("Orphaned leases", "agents", 0),
        ),
        (query(uid, "Orphaned leases", "agents"), 1000, 1),
        (look, 570),
        (look, 1000, (unheld, 1), (gone, 1)),
    ]
    assert promtool(tmp_path, given, wanted) == ""


def test_what_is_in_force_has_three_states(tmp_path: Path) -> None:
    where = {"instance": "a", "gpu": "0", "uuid": "u1"}
    given = steered("u1") | {
        named("dvfs_requested_clock_limit_hertz", where): "_x20 1e9x60",
        named("dvfs_clock_limit_hertz", where): "_x40 1e9x40",
    }
    state = query("wattlens-dvfs", "Applied settings", "{{instance}} {{group}}")
    group = {**AT, "instance": "a", "group": "g"}
    wanted: list[Asked] = [(state, at_s, (group, value)) for at_s, value in ((150, 0), (450, 1), (750, 2))]
    assert promtool(tmp_path, given, wanted) == ""


def test_power_of_a_board_without_an_average_is_its_instant_reading(tmp_path: Path) -> None:
    one, two = ({"instance": "a", "gpu": gpu, "uuid": f"u{gpu}"} for gpu in "01")
    given = {
        named("gpu_power_watts", one): "300x80",
        named("gpu_power_instant_watts", one): "310x80",
        named("gpu_power_instant_watts", two): "75x80",
        named("gpu_power_limit_watts", one): "700x80",
        named("gpu_power_limit_watts", two): "70x80",
    }
    uid, panel = "wattlens-gpu", "Power and limit"
    power, limit = (query(uid, panel, legend) for legend in ("{{instance}} GPU {{gpu}}", "{{instance}} GPU {{gpu}} limit"))
    wanted: list[Asked] = [
        (query(uid, "Power", "power"), 600, 375),
        (f"sum without (__name__) ({power})", 600, ({**AT, **one}, 300), ({**AT, **two}, 75)),
        (f"sum without (__name__) ({limit})", 600, ({**AT, **one}, 700), ({**AT, **two}, 70)),
        (query("wattlens-fleet", "Power", "GPUs"), 600, 375),
    ]
    assert promtool(tmp_path, given, wanted) == ""
