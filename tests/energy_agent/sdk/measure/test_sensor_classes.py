"""Windows on GPUs with sensors drawn at random: the stated interval holds the truth, whatever the sensor and the load."""

import pytest

from benchmarks.sensors import run
from benchmarks.sensors.plant import CLASSES

OFTEN = {"integrating", "sampled counter"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.smoke) for name in CLASSES])
def test_the_interval_holds_the_truth(name):
    for row in run(name, windows=60, seed=22):
        assert row["covers"] >= 0.9, row
        assert row["j_token"] >= 0.9, row
        assert row["score"] < row["line_score"], row
        if name == "integrating":
            assert row["error"] <= {100: 1.5, 300: 0.6, 1000: 0.25}[row["ms"]], row


def test_a_sensor_of_another_kind_is_noticed_within_ten_windows():
    rows = list(run("sampled counter", windows=10, seed=23))
    assert all(row["noticed"] > 0.5 for row in rows)
