"""Every form that is drawn has the same bytes whatever the hash seed, the time zone and the day on which it is drawn."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRAW = """
import datetime, hashlib, sys
from reports.render.charts.chart import svg
from reports.render.html import html
from reports.render.pdf import pdf
from tests.reports.render import sample
charts = (sample.bars(), sample.HOURS, sample.BRIDGE, sample.DAILY, sample.RANGES)
made = {
    "charts": "".join(svg(chart, sample.DOCUMENT.words, "a") for chart in charts).encode(),
    "html": html(sample.DOCUMENT).encode(),
    "pdf": pdf(sample.PLAIN, "a4", (), b'{"a": 1}', datetime.date(2026, 9, 30)),
}
assert "matplotlib.pyplot" not in sys.modules, "its figures are global"
for name, raw in made.items():
    assert len(raw) > 10_000, name
    print(name, hashlib.sha256(raw).hexdigest())
"""


@pytest.mark.smoke
def test_the_same_bytes_whatever_the_hash_seed_and_the_time_zone() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", DRAW],
            env=os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "SOURCE_DATE_EPOCH": seed * 9},
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.splitlines()
        for seed, zone in (("1", "UTC"), ("2", "Asia/Kolkata"))
    ]
    assert len(outputs[0]) == 3
    assert outputs[0] == outputs[1]
