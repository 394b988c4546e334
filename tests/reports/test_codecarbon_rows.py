"""Contract with CodeCarbon: its own columns, its own reader, its own arithmetic."""

import csv
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.factors.countries import country_factor
from reports.codecarbon_rows import PART, TOTAL, write_emissions
from reports.facts import Facts, build_facts
from reports.period import Period
from reports.reading import read_ledger
from tests.reports import ledgers
from tests.support import need_module


@pytest.fixture(autouse=True, scope="module")
def _peer() -> None:
    need_module("codecarbon")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    ledgers.write(tmp_path / "state")
    return tmp_path / "state"


def facts_of(state: Path, country: str | None = "DEU") -> Facts:
    return build_facts(read_ledger(state, Period()), country_factor(country) if country else None)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_codecarbon_accepts_the_file_as_its_own(state: Path, tmp_path: Path) -> None:
    from codecarbon.output_methods.emissions_data import EmissionsData
    from codecarbon.output_methods.file import FileOutput

    path = write_emissions(facts_of(state), tmp_path)
    rows = rows_of(path)
    assert list(rows[0]) == list(EmissionsData.__dataclass_fields__)
    output = FileOutput(path.name, str(tmp_path), on_csv_write="update")
    again = EmissionsData(**rows[1])  # type: ignore[arg-type]
    assert output.has_valid_headers(again)
    output.out(again, again)  # its reader finds the run by its id, and replaces it
    assert len(rows_of(path)) == len(rows)
    assert not list(tmp_path.glob("*.bak*"))


def test_the_parts_add_up_to_the_total_and_agree_with_the_facts(state: Path, tmp_path: Path) -> None:
    facts = facts_of(state)
    rows = rows_of(write_emissions(facts, tmp_path))
    (total,) = [r for r in rows if r["experiment_id"] == TOTAL]
    parts = [r for r in rows if r["experiment_id"] == PART]
    assert {r["project_name"] for r in parts} == {"chat", ledgers.TRAIN, "not held"}
    for column in ("energy_consumed", "gpu_energy", "emissions", "gpu_power"):
        assert sum(float(r[column]) for r in parts) == pytest.approx(float(total[column]), rel=1e-12)
    assert float(total["energy_consumed"]) == pytest.approx(facts.conservation.device_uj / 3.6e12, rel=1e-12)
    grams = facts.figures["co2e.location.total"].value
    assert grams is not None
    assert float(total["emissions"]) * 1000 == pytest.approx(float(Fraction(grams)), rel=1e-8)
    assert (total["country_iso_code"], total["country_name"], total["pue"], total["wue"]) == ("DEU", "Germany", "1", "0")
    assert total["gpu_count"] == "2"


def test_its_country_path_gives_the_same_as_our_dated_factor(state: Path, tmp_path: Path) -> None:
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    engine = Emissions(DataSource())
    for country in ("DEU", "FRA", "USA", "IND"):
        (total, *_) = rows_of(write_emissions(facts_of(state, country), tmp_path))
        energy = Energy.from_energy(float(total["energy_consumed"]))
        theirs = engine.get_private_infra_emissions(energy, GeoMetadata(country, country_name=""))
        assert float(total["emissions"]) == pytest.approx(theirs, rel=1e-12)


def test_what_is_not_known_is_an_empty_cell(state: Path, tmp_path: Path) -> None:
    rows = rows_of(write_emissions(facts_of(state, None), tmp_path))
    for column in (
        "emissions",
        "emissions_rate",
        "country_iso_code",
        "cpu_energy",
        "ram_energy",
        "water_consumed",
        "cpu_power",
    ):
        assert {r[column] for r in rows} == {""}


def test_the_same_bytes_and_nothing_left_behind(state: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    facts = facts_of(state)
    path = write_emissions(facts, tmp_path)
    first = path.read_bytes()
    assert write_emissions(facts, tmp_path).read_bytes() == first  # replaced, not appended to
    assert sorted(p.name for p in tmp_path.iterdir()) == ["emissions.csv", "state"]
    assert capfd.readouterr().out == ""
