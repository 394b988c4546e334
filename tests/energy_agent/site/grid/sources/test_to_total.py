"""From a source through the files to grams: the double's values, stored, revised, and joined as of their time."""

from fractions import Fraction
from pathlib import Path

from energy_agent.core.units import UJ_PER_KWH
from energy_agent.factors.join import CELL_NS, join, of_series
from energy_agent.site.grid.sources.electricity_maps import SPEC, ElectricityMaps
from energy_agent.site.grid.store import GridStore
from tests.energy_agent.site.grid.sources.electricity_maps_double import KEY, Double, intensity, say
from tests.energy_agent.site.grid.sources.test_electricity_maps import HOUR_NS, NOW_NS, Clock, utc


def test_a_revision_changes_later_reports_alone(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    double, clock, store = Double(), Clock(), GridStore(tmp_path / "grid")
    config = {"zone": "DE", "boundary": "life-cycle", "key_file": tmp_path / "key", "lookback_h": 4}
    try:
        source = SPEC.open(ElectricityMaps(url=double.url, **config), clock)
        assert store.append(source.about, source.read()) == 4
        assert store.append(source.about, source.read()) == 0
        first_hour = NOW_NS // HOUR_NS * HOUR_NS - 4 * HOUR_NS
        energy = {first_hour + n * CELL_NS: UJ_PER_KWH // 4 for n in range(16)}
        truth = sum(Fraction(str(intensity(utc(first_hour + n * HOUR_NS)))) for n in range(4))
        before = join(energy, [of_series(store.read(source.about).series, clock.now_ns)])
        assert before.grams == truth

        revised = [
            {"datetime": utc(first_hour + n * HOUR_NS).strftime("%Y-%m-%dT%H:00:00Z"), "carbonIntensity": 200} for n in range(4)
        ]
        double.lie = lambda handler: say(handler, 200, {"data": revised})
        clock.now_ns += 60 * 10**9
        assert store.append(source.about, source.read()) == 4
        intensities = GridStore(tmp_path / "grid").read(source.about).series
        assert join(energy, [of_series(intensities, clock.now_ns)]).grams == 800
        assert join(energy, [of_series(intensities, NOW_NS)]) == before
    finally:
        double.stop()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.jsonl"))
    assert KEY.encode() not in kept
