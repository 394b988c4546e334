"""Windows on GPUs with sensors and loads drawn at random: the stated interval holds the truth, whatever the sensor."""

import pytest

from benchmarks.sensors import run
from benchmarks.sensors.plant import SENSORS

OFTEN = {"counter 100 ms", "100 ms late", "samples 25 of 100 ms", "power alone"}
OUTSIDE_ASSUMPTION = {"late power"}
"""Instant power that is itself 10 to 100 ms late: no reading shows that, and docs/accuracy.md names it as a limit."""
LOADS = ("square 200 ms", "telegraph", "training")
WINDOWS = ("300 ms", "1 s", "1 s at edges")


def _marks(name):
    marks = [] if name in OFTEN else [pytest.mark.smoke]
    return [*marks, *([pytest.mark.xfail(strict=True, reason="power is late")] if name in OUTSIDE_ASSUMPTION else [])]


@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(name)) for name in SENSORS])
def test_the_interval_holds_the_truth(name):
    rows = list(run(sensor=(name,), load=LOADS, window=WINDOWS, seed=22, quick=True))
    together = [row for row in rows if row.get("sensor") == name and row["load"] == "all"]
    assert [row["window"] for row in together] == list(WINDOWS)
    assert all(row["ok"] for row in together), together
