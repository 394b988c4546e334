"""A period over several years takes each year's factor, from midnight in the site's time zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.by_year import sources
from energy_agent.factors.join import CELL_NS, join
from energy_agent.factors.sets import catalogue

DIRECT = Basis(EmissionBoundary.DIRECT)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def test_new_year_in_kolkata_is_at_half_past_six_in_the_evening_utc() -> None:
    start, end, edge = utc("2023-12-01T00:00"), utc("2024-02-01T00:00"), utc("2023-12-31T18:30")
    factor_sources, matches, why = sources(catalogue(), "GBR", "", DIRECT, start, end, ZoneInfo("Asia/Kolkata"))
    assert [f.factor.year for f in matches] == [2023, 2024]
    assert why == ""
    joined = join({edge - CELL_NS: 1000, edge: 3000}, factor_sources)
    assert [(s.id, s.uj) for s in joined.statements] == [
        ("grid.location.GBR.2023.desnz-2023-2025", 1000), ("grid.location.GBR.2024.desnz-2023-2025", 3000)
    ]  # fmt: skip


def test_years_with_the_same_factor_share_one_source_with_all_reasons() -> None:
    (result,), _, _ = sources(catalogue(), "GBR", "", DIRECT, utc("2027-06-01"), utc("2029-01-01"), ZoneInfo("UTC"))
    edge = utc("2028-01-01")
    assert result.id == "grid.location.GBR.2026.desnz-2026"
    assert [(p.start_ns, p.end_ns) for p in result.pieces] == [(utc("2027-06-01"), edge), (edge, utc("2029-01-01"))]
    assert [r[:24] for r in result.reasons] == ["GBR: no factor of 2027; ", "GBR: no factor of 2028; "]
    result, matches, why = sources(catalogue(), "KOR", "", DIRECT, utc("2026-01-01"), utc("2028-01-01"), ZoneInfo("UTC"))
    assert (result, matches) == ((), ())
    assert why.startswith("KOR: no factor that is direct, location, CO2e; there is one that is life-cycle")
    assert why.count("KOR") == 1
