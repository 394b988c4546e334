"""Contract with CodeCarbon: its own columns, its own readers, its own arithmetic with its own data."""

import csv
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import Entry, Method, State, WorkloadFacts
from energy_agent.factors.basis import EmissionBoundary
from energy_agent.factors.countries import country_factor
from energy_agent.factors.join import of_factor
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.figures.facts import Facts
from reports.inputs import ExpectedDevice, Organisation, SiteInputs
from reports.period import PeriodRequest
from reports.render.codecarbon import SITE, TEAM, TOTAL, write_emissions
from tests.reports import chains
from tests.reports.chains import CELL, KWH
from tests.reports.golden import DIRECT, at, cells, constant
from tests.support import need_module
from wattlens.report.build import with_country

START = at("2026-07-01")
COUNTRIES = ("DEU", "FRA", "USA", "IND", "NOR", "ZAF")
PUE = Fraction(5, 4)


@pytest.fixture(autouse=True, scope="module")
def _peer() -> None:
    need_module("codecarbon")


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of two GPUs and their host: red 1.75 kWh, nobody 0.5, in cells of unlike energy; the host 0.75."""
    folder = tmp_path_factory.mktemp("codecarbon")
    energies = [("GPU-1", "w", State.ACTIVE, n * KWH // 8) for n in (1, 3, 5, 5)]
    energies += [("GPU-2", "", State.UNALLOCATED, KWH // 8)] * 4
    energies += [("host:lab:n1", "w", State.ACTIVE, 3 * KWH // 16)] * 4
    entries = []
    for n, (device, workload, state, uj) in enumerate(energies):
        start = START + n % 4 * CELL
        entries.append(Entry(start, start + CELL, device, workload, state, Method.COUNTER, uj, 0, CELL if workload else 0))
    told = Batch(
        facts=[WorkloadFacts("w", START, "pod", {"team": "red"})],
        devices=[DeviceFacts(d, "H100", 0.01, START) for d in ("GPU-1", "GPU-2", "host:lab:n1")],
    )
    chains.write(folder / "segments", "lab", "n1", [told, Batch(entries)])
    return chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))


def facts_of(days: Path, country: str | None = "DEU") -> Facts:
    """The site in a country, with a PUE that its operator states."""
    told = SiteInputs("here", ZoneInfo("UTC"), stated=(PUE, Fraction(0)))
    if country:
        factor = country_factor(country)
        told = SiteInputs(
            "here", ZoneInfo("UTC"), stated=(PUE, Fraction(0)), location=(of_factor(factor),), location_lacking="",
            factors=((factor, "0" * 64),), country=country,
        )  # fmt: skip
    return chains.facts(days, Organisation(sites={"here": told}), PeriodRequest("2026Q3"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.smoke
def test_codecarbon_gives_the_same_grams_for_the_same_energy_country_and_pue(days: Path, tmp_path: Path) -> None:
    """By its own data of the country, with no factor of ours: its kWh times PUE, through its own Emissions.

    Our energy is exact: 1.75 + 0.5 + 0.75 = 3 kWh of the node, times 1.25. Agreement is to the digits that a figure has.
    """
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    engine = Emissions(DataSource())
    for country in COUNTRIES:
        facts = facts_of(days, country)
        theirs = engine.get_private_infra_emissions(
            Energy.from_energy(3.0) * float(PUE), GeoMetadata(country_iso_code=country, country_name="")
        )
        ours = facts.figures["co2e.lifecycle.location"]
        assert ours.boundary == "facility"
        assert ours.value is not None
        assert float(ours.value) == pytest.approx(theirs * 1000, rel=1e-8)
        # The rows are of the GPUs alone, at PUE 1, and to float accuracy: a country's factor has few digits.
        total = next(r for r in rows_of(write_emissions(facts, tmp_path)) if r["experiment_id"] == TOTAL)
        of_gpus = engine.get_private_infra_emissions(Energy.from_energy(2.25), GeoMetadata(country, country_name=""))
        assert float(total["energy_consumed"]) == 2.25
        assert float(total["emissions"]) == pytest.approx(of_gpus, rel=1e-12)


def test_a_country_takes_its_direct_factor_where_a_table_has_one() -> None:
    """Of the United States eGRID2024 has 751.269 lb per MWh of direct emissions; of India there is what CodeCarbon has."""
    for country, boundary in (
        ("USA", EmissionBoundary.DIRECT),
        ("GBR", EmissionBoundary.DIRECT),
        ("IND", EmissionBoundary.LIFE_CYCLE),
    ):
        site = with_country(Organisation(), ["here"], country, 2026).sites["here"]
        (source,), ((factor, _),) = site.location, site.factors
        assert (source.basis.boundary, source.id, factor.boundary) == (boundary, factor.id, boundary.value)
        if country == "USA":
            assert source.pieces[0].g_per_kwh == Decimal("751.269") * Decimal("0.45359237")
    named = SiteInputs("here", ZoneInfo("UTC"), grid_zone="DE", country="DEU")
    assert with_country(Organisation(sites={"here": named}), ["here"], "USA", 2026).sites["here"].location == ()


def test_water_is_theirs_times_the_overhead_twice(days: Path) -> None:
    """A known difference: CodeCarbon multiplies WUE by energy that has PUE in it; a WUE is per kWh of IT (ISO/IEC 30134-9)."""
    import inspect

    from codecarbon.emissions_tracker import BaseEmissionsTracker

    source = inspect.getsource(BaseEmissionsTracker)
    assert source.index("energy *= self._pue") < source.index("self._wue * energy.kWh")


def test_codecarbon_accepts_the_file_as_its_own(days: Path, tmp_path: Path) -> None:
    from codecarbon.output_methods.emissions_data import EmissionsData
    from codecarbon.output_methods.file import FileOutput

    path = write_emissions(facts_of(days), tmp_path)
    rows = rows_of(path)
    assert list(rows[0]) == list(EmissionsData.__dataclass_fields__)
    output = FileOutput(path.name, str(tmp_path), on_csv_write="update")
    again = EmissionsData(**rows[1])  # type: ignore[arg-type]
    assert output.has_valid_headers(again)
    output.out(again, again)  # its reader finds the run by its id, and replaces it
    assert len(rows_of(path)) == len(rows)
    assert not list(tmp_path.glob("*.bak*"))


def test_what_its_board_asks_of_each_row_is_there(days: Path, tmp_path: Path) -> None:
    """`carbonboard FILE` reads it by pandas; it takes what is not "N" for a cloud, and calls `upper` of the country's code."""
    import pandas

    frame = pandas.read_csv(write_emissions(facts_of(days), tmp_path))
    assert set(frame.on_cloud) == {"N"}
    assert set(frame.country_iso_code) == {"DEU"}
    assert set(frame.country_name) == {"Germany"}
    assert frame[frame.project_name == "total"].energy_consumed.sum() == 2.25
    assert not frame[["timestamp", "duration", "emissions", "energy_consumed"]].isna().any().any()


def test_its_board_makes_its_tables_and_maps(days: Path, tmp_path: Path) -> None:
    pytest.importorskip("dash", reason="CodeCarbon's board needs dash, which the report does not")
    import pandas
    from codecarbon.viz.data import Data

    frame = pandas.read_csv(write_emissions(facts_of(days), tmp_path))
    data = Data()
    for project in frame.project_name.unique():
        summary = data.get_project_summary(data.get_project_data(frame, project).data)
        assert data.get_cloud_emissions_barchart_data(1.0, summary["on_cloud"], "", "")[0] == ""
        assert data.get_regional_emissions_choropleth_data(1.0, summary["country_iso_code"])
    total = data.get_project_summary(data.get_project_data(frame, "total").data)
    assert total["total"]["energy_consumed"] == 2.25


def test_the_parts_add_up_to_the_total(days: Path, tmp_path: Path) -> None:
    rows = rows_of(write_emissions(facts_of(days), tmp_path))
    (total,) = [r for r in rows if r["experiment_id"] == TOTAL]
    teams = {r["project_name"]: r["energy_consumed"] for r in rows if r["experiment_id"] == TEAM}
    assert teams == {"red": "1.75", "unallocated": "0.5"}
    assert [r["project_name"] for r in rows if r["experiment_id"] == SITE] == ["here"]
    for column in ("energy_consumed", "gpu_energy", "emissions", "gpu_power"):
        for experiment in (TEAM, SITE):
            parts = sum(float(r[column]) for r in rows if r["experiment_id"] == experiment)
            assert parts == pytest.approx(float(total[column]), rel=1e-12)
    told = ("country_iso_code", "country_name", "on_cloud", "pue", "wue", "gpu_count", "gpu_model")
    assert [total[name] for name in told] == ["DEU", "Germany", "N", "1", "0", "2", "H100"]
    assert total["timestamp"] == "2026-07-01T01:00:00"  # the last reading: the quarter still runs


def test_what_is_not_known_is_an_empty_cell(days: Path, tmp_path: Path) -> None:
    rows = rows_of(write_emissions(facts_of(days, None), tmp_path))
    for column in ("emissions", "emissions_rate", "country_iso_code", "country_name", "cpu_energy", "ram_energy",
                   "water_consumed", "cpu_power"):  # fmt: skip
        assert {r[column] for r in rows} == {""}


def test_the_same_bytes_and_nothing_left_behind(days: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    facts = facts_of(days)
    path = write_emissions(facts, tmp_path)
    first = path.read_bytes()
    assert write_emissions(facts, tmp_path).read_bytes() == first  # replaced, not appended to
    assert sorted(p.name for p in tmp_path.iterdir()) == ["emissions.csv"]
    assert capfd.readouterr().out == ""


def two_sites(folder: Path, teams: tuple[str, str], grams: tuple[int, int | None] = (100, 300)) -> Facts:
    """2026Q4: 2 kWh in California, whose clocks go back in it, and 1 kWh in India."""
    at_ns, after_ns = at("2026-10-31T12:00"), at("2027-01-03")
    sites, stands = {}, []
    zones = ("America/Los_Angeles", "Asia/Kolkata")
    for name, zone, team, kwh, g in zip(("west", "east"), zones, teams, ("0.5", "0.25"), grams, strict=True):
        gpu = f"GPU-{name}"
        entries = cells(at_ns, gpu, name, State.ACTIVE, [kwh] * 4) + cells(after_ns, gpu, name, State.ACTIVE, ["0.1"] * 4)
        told = [WorkloadFacts(name, at_ns, "pod", {"team": team})]
        chains.write(
            folder / "segments", "lab", name, [Batch(entries, devices=[DeviceFacts(gpu, "=A1", 0.01, at_ns)], facts=told)]
        )
        location = () if g is None else (constant(f"of.{name}", DIRECT, g),)
        sites[name] = SiteInputs(name, ZoneInfo(zone), location=location)
        stands.append(ExpectedDevice("lab", name, gpu, "", name, 0, INT64_MAX))
    told_by = Organisation(sites=sites, expected=tuple(stands), least_coverage=Fraction(0))
    days = chains.compacted(folder / "segments", folder / "days", told_by.stays())
    return chains.facts(days, told_by, PeriodRequest("2026Q4"))


def test_several_sites_have_their_own_kilograms_and_periods(tmp_path: Path) -> None:
    """2 kWh x 100 g and 1 kWh x 300 g are 0.5 kg. 92 days in India, an hour more where clocks go back.

    The new year begins in Los Angeles (UTC-8 by then) at 08:00 UTC, in Kolkata at 18:30 UTC of the day before: from the first
    start to the last end it would be 92 days and 13.5 h.
    """
    rows = {
        (r["experiment_id"], r["project_name"]): r
        for r in rows_of(write_emissions(two_sites(tmp_path, ("red", "blue")), tmp_path))
    }
    assert {key: r["energy_consumed"] for key, r in rows.items() if float(r["energy_consumed"])} == {
        (TOTAL, "total"): "3.0", (SITE, "west"): "2.0", (SITE, "east"): "1.0", (TEAM, "red"): "2.0", (TEAM, "blue"): "1.0",
    }  # fmt: skip
    kg = {key: r["emissions"] for key, r in rows.items()}
    assert [float(kg[key]) for key in ((SITE, "west"), (SITE, "east"), (TOTAL, "total"))] == pytest.approx([0.2, 0.3, 0.5])
    assert {kg[key] for key in rows if key[0] == TEAM} == {""}  # a team's energy is not reported by grid
    days = 92 * 86_400
    duration = {key: float(r["duration"]) for key, r in rows.items()}
    assert (duration[SITE, "west"], duration[SITE, "east"]) == (days + 3600, days)
    assert {duration[key] for key in rows if key[0] != SITE} == {days + 3600}
    assert rows[SITE, "east"]["timestamp"] == "2026-12-31T18:30:00"
    assert rows[SITE, "west"]["timestamp"] == rows[TOTAL, "total"]["timestamp"] == "2027-01-01T08:00:00"
    assert float(rows[SITE, "east"]["gpu_power"]) == pytest.approx(3_600_000 / days)


def test_a_total_without_one_sites_kilograms_is_not_known(tmp_path: Path) -> None:
    rows = {r["project_name"]: r for r in rows_of(write_emissions(two_sites(tmp_path, ("red", "blue"), (100, None)), tmp_path))}
    assert float(rows["west"]["emissions"]) == pytest.approx(0.2)
    assert (rows["east"]["emissions"], rows["total"]["emissions"]) == ("", "")


def test_no_name_becomes_a_formula_or_a_second_line(tmp_path: Path) -> None:
    path = write_emissions(two_sites(tmp_path, ("=1+1|cmd", "a\nb\r=2")), tmp_path)
    teams = [r["project_name"] for r in rows_of(path) if r["experiment_id"] == TEAM and float(r["energy_consumed"])]
    assert sorted(teams) == ["'=1+1|cmd", "a b =2"]
    assert {r["gpu_model"] for r in rows_of(path)} == {"'=A1"}
    assert len(path.read_bytes().splitlines()) == 1 + len(rows_of(path))
