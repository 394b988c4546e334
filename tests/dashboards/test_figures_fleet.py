"""Figures of the board of a fleet on hand-computed input: a bound may be wider than it need be, never narrower."""

from pathlib import Path

import pytest

from tests.dashboards.boards import query
from tests.dashboards.promtool import Asked, named, promtool, rising

pytestmark = pytest.mark.prometheus

ENERGY, LEAST, MOST = (query("wattlens-fleet", "GPU energy", legend) for legend in ("estimate", "at least", "at most"))


def a_gpu(node: str, uuid: str, *, watts: float, gain: str, steps: int = 80, **more: str) -> dict[str, str]:
    """A GPU of a node that is known to a share `gain` and to no edge; after `steps` it is gone."""
    where = {"instance": node, **more}
    gpu, energy = {"gpu": uuid[1:], "uuid": uuid}, rising(watts, steps)
    of = {"gpu_energy_joules_total": energy, "gpu_energy_edge_uncertainty_joules": f"0x{steps}"}
    if gain:
        of["gpu_energy_gain_uncertainty_ratio"] = f"{gain}x{steps}"
    ends = " stale" if steps < 80 else ""
    return {
        named(name, where, gpu, {"method": "counter"} if values == energy else {}): values + ends for name, values in of.items()
    }


def shares(less: float, more: float) -> list[Asked]:
    """How far below and above the estimate the ends of the band have to be at the end, as shares of it."""
    return [(f"1 - ({LEAST}) / ({ENERGY})", 1200, less), (f"({MOST}) / ({ENERGY}) - 1", 1200, more)]


def test_the_error_of_a_gpu_that_was_lost_stays_in_the_band(tmp_path: Path) -> None:
    lost = a_gpu("a", "u0", watts=1000, gain="0.05", steps=60)
    assert promtool(tmp_path, lost | a_gpu("a", "u1", watts=100, gain="0.01"), shares(0.05, 0.05)) == ""


def test_a_node_that_gets_a_site_is_one_node(tmp_path: Path) -> None:
    before = a_gpu("a", "u0", watts=100, gain="0.05", steps=60)
    after = {name: "_x61 " + values for name, values in a_gpu("a", "u0", watts=100, gain="0.05", site="fra1").items()}
    assert promtool(tmp_path, before | after, shares(0.05, 0.05)) == ""


def test_a_node_without_an_error_is_in_the_energy_and_in_both_ends(tmp_path: Path) -> None:
    given = a_gpu("a", "u0", watts=100, gain="0.05") | a_gpu("b", "u1", watts=100, gain="")
    assert promtool(tmp_path, given, shares(0.025, 0.025)) == ""
