"""Contract with CodeCarbon: its own columns, its own readers, its own arithmetic with its own data."""

import csv
import json
import zipfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import Entry, Method, State, WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.factors.basis import EmissionBoundary
from energy_agent.factors.countries import country_factor
from energy_agent.factors.join import of_factor
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.figures.facts import Facts
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.period import PeriodRequest
from reports.render.allocated import site_total
from reports.render.codecarbon import write_boamps, write_emissions
from tests.reports import chains, golden
from tests.reports.chains import CELL, KWH
from tests.reports.golden import DIRECT, at, cells, constant
from tests.support import need_module
from wattlens.report.build import with_country

START = at("2026-07-01")
COUNTRIES = ("DEU", "FRA", "USA", "IND", "NOR", "ZAF")
PUE = Fraction(5, 4)
BOAMPS_REQUIRED = {
    "header": {"reportDatetime"},
    "task": {"taskStage", "taskFamily", "algorithms", "dataset"},
    "infrastructure": {"infraType", "components"},
    "environment": {"country"},
}
"""What each section requires, by report_schema.json of BoAmps."""


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
    metadata = Batch(
        facts=[WorkloadFacts("w", START, "pod", {"team": "red"})],
        devices=[DeviceFacts(d, "H100", 0.01, START) for d in ("GPU-1", "GPU-2", "host:lab:n1")],
    )
    chains.write(folder / "segments", "lab", "n1", [metadata, Batch(entries)])
    return chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))


def facts_of(days: Path, country: str | None = "DEU") -> Facts:
    """The site in a country, with a PUE that its operator states."""
    inputs = SiteInputs("here", ZoneInfo("UTC"), stated=(PUE, Fraction(0)))
    if country:
        factor = country_factor(country)
        inputs = SiteInputs(
            "here", ZoneInfo("UTC"), stated=(PUE, Fraction(0)), location=(of_factor(factor),), location_lacking="",
            factors=((factor, "0" * 64),), country=country,
        )  # fmt: skip
    return chains.facts(days, Organisation(sites={"here": inputs}), PeriodRequest("2026Q3"))


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
        rows = rows_of(write_emissions(facts, tmp_path))
        assert sum(Decimal(r["energy_consumed"]) for r in rows) == Decimal("3.75")  # (2.25 + 0.75) x 1.25
        assert float(sum(Decimal(r["emissions"]) for r in rows)) == pytest.approx(theirs, rel=1e-8)


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
    again = EmissionsData(**rows[0])  # type: ignore[arg-type]
    assert output.has_valid_headers(again)
    output.out(again, again)  # its reader finds the run by its id, and replaces it
    assert len(rows_of(path)) == len(rows)
    assert not list(tmp_path.glob("*.bak*"))


def test_a_site_s_rows_sum_to_its_figures(days: Path, tmp_path: Path) -> None:
    """1.75 kWh of red's GPUs and 0.75 of its host, at PUE 1.25; 0.5 kWh of a free GPU; no row is a total."""
    facts = facts_of(days)
    rows = {r["project_name"]: r for r in rows_of(write_emissions(facts, tmp_path))}
    assert {name: r["energy_consumed"] for name, r in rows.items()} == {"red": "3.125", "unallocated": "0.625"}
    assert {name: r["gpu_energy"] for name, r in rows.items()} == {"red": "1.75", "unallocated": "0.5"}
    assert sum(Decimal(r["emissions"]) for r in rows.values()) * 1000 == Decimal(facts.figures["co2e.lifecycle.location"].text)
    for row in rows.values():
        place = [row[name] for name in ("experiment_id", "region", "country_iso_code", "country_name", "on_cloud")]
        assert place == ["here", "here", "DEU", "Germany", "N"]
        assert [row[name] for name in ("pue", "wue", "water_consumed", "gpu_model")] == ["1.25", "", "", "H100"]
        assert row["timestamp"] == "2026-07-01T01:00:00"  # the last reading: the quarter still runs


@pytest.mark.smoke
def test_rows_sum_to_the_report_in_decimal_arithmetic(golden_days: Path, tmp_path: Path) -> None:
    """Of a quarter with a metered building, contracts and water: every site's figures, to the file's last digit."""
    facts = chains.facts(golden_days, golden.organisation(), PeriodRequest("2026Q3"))
    rows = rows_of(write_emissions(facts, tmp_path))
    assert {(r["experiment_id"], r["project_name"]) for r in rows} >= {
        ("alfa", "nlp"),
        ("alfa", "unallocated"),
        ("beta", "nlp"),
    }
    for site in facts.sites:
        site_rows = [r for r in rows if r["experiment_id"] == site]
        for column, quantity, scale in (
            ("energy_consumed", "energy", Fraction(1, 3_600_000)),
            ("gpu_energy", "energy.gpu", Fraction(1, 3_600_000)),
            ("emissions", "co2e.location", Fraction(1, 1000)),
            ("water_consumed", "water", Fraction(1)),
        ):
            total = site_total(facts, quantity, site)
            if total is None:
                assert {r[column] for r in site_rows} == {""}, (site, column)
                continue
            written = sum(Fraction(Decimal(r[column])) for r in site_rows)
            assert abs(written - total * scale) <= Fraction(1, 2 * 10**6), (site, column)
            assert sum(float(r[column]) for r in site_rows) == pytest.approx(float(total * scale), rel=1e-12)


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


def two_sites(
    folder: Path,
    teams: tuple[str, str],
    grams: tuple[int, int | None] = (100, 300),
    countries: tuple[str, str] = ("", ""),
) -> Facts:
    """2026Q4: 2 kWh in California, whose clocks go back in it, and 1 kWh in India."""
    at_ns, after_ns = at("2026-10-31T12:00"), at("2027-01-03")
    sites, stands = {}, []
    zones = ("America/Los_Angeles", "Asia/Kolkata")
    for name, zone, team, kwh, g, country in zip(
        ("west", "east"), zones, teams, ("0.5", "0.25"), grams, countries, strict=True
    ):
        gpu = f"GPU-{name}"
        entries = cells(at_ns, gpu, name, State.ACTIVE, [kwh] * 4) + cells(after_ns, gpu, name, State.ACTIVE, ["0.1"] * 4)
        workload_facts = [WorkloadFacts(name, at_ns, "pod", {"team": team})]
        chains.write(
            folder / "segments",
            "lab",
            name,
            [Batch(entries, devices=[DeviceFacts(gpu, "=A1", 0.01, at_ns)], facts=workload_facts)],
        )
        location = () if g is None else (constant(f"of.{name}", DIRECT, g),)
        sites[name] = SiteInputs(name, ZoneInfo(zone), location=location, country=country)
        stands.append(ExpectedDevice("lab", name, gpu, "", name, at("2026-01-01"), INT64_MAX))
    told_by = Organisation(sites=sites, expected=tuple(stands), least_coverage=Fraction(0))
    days = chains.compacted(folder / "segments", folder / "days", told_by.stays())
    return chains.facts(days, told_by, PeriodRequest("2026Q4"))


def test_several_sites_have_their_own_kilograms_and_periods(tmp_path: Path) -> None:
    """2 kWh x 100 g and 1 kWh x 300 g are 0.5 kg. 92 days in India, an hour more where clocks go back.

    The new year begins in Los Angeles (UTC-8 by then) at 08:00 UTC, in Kolkata at 18:30 UTC of the day before: from the first
    start to the last end it would be 92 days and 13.5 h.
    """
    facts = two_sites(tmp_path, ("red", "blue"))
    rows = {(r["experiment_id"], r["project_name"]): r for r in rows_of(write_emissions(facts, tmp_path))}
    assert {key: r["energy_consumed"] for key, r in rows.items()} == {
        ("west", "red"): "2.0", ("west", "unallocated"): "0.0", ("east", "blue"): "1.0", ("east", "unallocated"): "0.0",
    }  # fmt: skip
    assert {key: r["emissions"] for key, r in rows.items()} == {
        ("west", "red"): "0.2", ("west", "unallocated"): "0.0", ("east", "blue"): "0.3", ("east", "unallocated"): "0.0",
    }  # fmt: skip
    days = 92 * 86_400
    duration = {site: float(rows[site, team]["duration"]) for site, team in (("west", "red"), ("east", "blue"))}
    assert duration == {"west": days + 3600, "east": days}
    assert rows["east", "blue"]["timestamp"] == "2026-12-31T18:30:00"
    assert rows["west", "red"]["timestamp"] == "2027-01-01T08:00:00"
    assert float(rows["east", "blue"]["gpu_power"]) == pytest.approx(3_600_000 / days)


def test_one_team_at_two_sites_has_a_row_at_each(tmp_path: Path) -> None:
    rows = rows_of(write_emissions(two_sites(tmp_path, ("red", "red"), (100, None)), tmp_path))
    assert [(r["region"], r["emissions"]) for r in rows if r["project_name"] == "red"] == [("east", ""), ("west", "0.2")]


def test_no_name_becomes_a_formula_or_a_second_line(tmp_path: Path) -> None:
    path = write_emissions(two_sites(tmp_path, ("=1+1|cmd", "a\nb\r=2")), tmp_path)
    teams = [r["project_name"] for r in rows_of(path) if float(r["energy_consumed"])]
    assert sorted(teams) == ["'=1+1|cmd", "a?b?=2"]
    assert {r["gpu_model"] for r in rows_of(path)} == {"'=A1"}
    assert len(path.read_bytes().splitlines()) == 1 + len(rows_of(path))


@pytest.mark.smoke
def test_boamps_reports_of_models_and_training_runs(golden_days: Path, tmp_path: Path) -> None:
    """Golden quarter: chat served llama at alfa with 7 M generated tokens and 1 M of prompts; vision trained resnet."""
    facts = chains.facts(golden_days, golden.organisation(), PeriodRequest("2026Q3"))
    path = write_boamps(facts, tmp_path)
    first = path.read_bytes()
    assert write_boamps(facts, tmp_path).read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["boamps.zip"]
    with zipfile.ZipFile(path) as archive:
        reports = [json.loads(archive.read(name)) for name in archive.namelist()]
    served = next(r for r in reports if r["task"]["taskStage"] == "inference")
    data = {each["dataUsage"]: each["dataQuantity"] for each in served["task"]["dataset"]}
    assert data == {"input": 1_000_000, "output": 7_000_000}
    model = served["task"]["algorithms"][0]["foundationModelName"]
    (energy,) = [f for f in facts.by_prefix("energy.allocated/alfa/") if f.dims["model"] == model]
    assert energy.value is not None
    assert served["measures"][0]["powerConsumption"] == pytest.approx(float(energy.value / 3_600_000), rel=1e-12)
    assert served["measures"][0]["measurementMethod"] == "wattlens"
    assert [each["componentType"] for each in served["infrastructure"]["components"]] == ["gpu"]
    trained = next(r for r in reports if r["task"]["taskStage"] == "training")
    assert trained["task"]["taskDescription"].startswith("1000 steps")
    for report in reports:
        for section, needed in BOAMPS_REQUIRED.items():
            assert section not in report or needed <= report[section].keys(), section
        assert {"task", "measures", "infrastructure"} <= report.keys()


def test_boamps_without_a_task_is_refused(days: Path, tmp_path: Path) -> None:
    with pytest.raises(WattlensError, match="no tokens and no training run"):
        write_boamps(facts_of(days), tmp_path)
    assert list(tmp_path.iterdir()) == []
