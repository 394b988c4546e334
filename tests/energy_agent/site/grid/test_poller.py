"""The grid's intensity, live: the best source's newest value, else the yearly factor that says so, else a reason."""

import time

from energy_agent.runtime.clock import RealClock
from energy_agent.site.config.grid import grid_model
from energy_agent.site.grid.poller import GridPoller
from energy_agent.site.grid.store import GridStore
from tests.support import eventually

HOUR = 3600


def poller(tmp_path, **more):
    return GridPoller(RealClock(), grid_model().model_validate({"zone": "DE", **more}), GridStore(tmp_path / "grid"))


def source(path):
    return {"csv_file": {"path": str(path), "publisher": "P", "licence": "L", "period_s": 60}}


def write_csv(path, *hours):
    head = "ts_utc,zone,g_per_kwh,kind,estimated,method,source\n"
    now = int(time.time()) // HOUR * HOUR
    rows = (f"{time.strftime('%Y-%m-%dT%H:00:00Z', time.gmtime(now + h * HOUR))},DE,{g},direct,false,,P\n" for h, g in hours)
    path.write_text(head + "".join(rows))
    return path


def test_the_newest_hour_of_a_source_is_shown_and_kept(tmp_path):
    path = write_csv(tmp_path / "supplier.csv", (-2, 300), (-1, 250))
    grid = poller(tmp_path, country="GBR", sources=[source(path)])
    grid.start()
    try:
        (intensity,) = eventually(lambda: (now := grid.now()) and now[0].grams_per_kwh == "250" and now)
        assert (intensity.zone, intensity.basis) == ("DE", "direct")
        (health, factors) = grid.health()
        assert (health.source, health.up, factors.source, factors.up) == ("grid:csv_file:DE", True, "grid:factors", True)
        assert list((tmp_path / "grid").rglob("*.jsonl"))
    finally:
        grid.stop()


def test_stale_intensity_is_replaced_by_the_yearly_factor(tmp_path):
    path = write_csv(tmp_path / "supplier.csv", (-30, 300))
    grid = poller(tmp_path, country="GBR", sources=[source(path)])
    grid.start()
    try:
        eventually(lambda: grid.health()[0].up)
        (intensity,) = grid.now()
        assert "yearly factor of 20" in intensity.basis
    finally:
        grid.stop()


def test_the_zone_is_that_of_the_file_whatever_the_factor_is_of(tmp_path):
    """Who reads the metric names the zone as the site file does."""
    path = write_csv(tmp_path / "supplier.csv", (-30, 300))
    grid = poller(tmp_path, zone="GB", country="GBR", sources=[source(path)])
    (intensity,) = grid.now()
    assert intensity.zone == "GB"
    assert intensity.basis.endswith(" of GBR")


def test_what_cannot_be_read_or_is_not_known_has_its_reason(tmp_path):
    grid = poller(tmp_path, zone="XX-NOWHERE", sources=[source(tmp_path / "none.csv") | {}])
    grid.start()
    try:
        down = eventually(lambda: (h := grid.health()) and "cannot read" in h[0].reason and h)
        assert not down[0].up
        assert not down[1].up
        assert "XX-NOWHERE" in down[1].reason
        assert grid.now() == ()
    finally:
        grid.stop()


def test_without_zone_and_country_there_is_nothing(tmp_path):
    grid = GridPoller(RealClock(), grid_model()(), None)
    grid.start()
    assert grid.now() == ()
    assert grid.health() == ()
    grid.stop()
