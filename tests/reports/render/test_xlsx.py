"""The workbook: sheets of all that sites used, and of what workloads held, each under its own name; sums that are live."""

import io
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import Piece
from energy_agent.factors.sets import catalogue
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.figures.facts import Facts, UsedFactor
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.language import LANGUAGES, say_in
from reports.period import PeriodRequest
from reports.render.xlsx import xlsx
from tests.reports import chains
from tests.reports.chains import HOUR
from tests.reports.golden import at, cells

JULY = at("2026-07-01")
DIRECT, WHOLE = Basis(EmissionBoundary.DIRECT), Basis(EmissionBoundary.LIFE_CYCLE)


def facts(folder: Path, second: Basis = DIRECT) -> Facts:
    """A GPU at each of two sites: team a holds it for 2 kWh in the first hour, nobody for 1 kWh in the next; 100 g/kWh."""
    stands, sites = [], {}
    for name, basis in (("one", DIRECT), ("two", second)):
        gpu = f"GPU-{name}"
        allocated = cells(JULY, gpu, "w", State.ACTIVE, ["0.5"] * 4, 0)
        unallocated = cells(JULY + HOUR, gpu, "", State.UNALLOCATED, ["0.25"] * 4, 0)
        devices = [DeviceFacts(gpu, "H100", 0.02, JULY)]
        who = [WorkloadFacts("w", JULY, "pod", {"team": "a"})]
        chains.write(folder / "segments", "lab", name, [Batch([*allocated, *unallocated], devices=devices, facts=who)])
        stands.append(ExpectedDevice("lab", name, gpu, "", name, 0, INT64_MAX))
        source = IntensitySource(f"of.{name}", basis, 4, (Piece(0, 1 << 63, Decimal(100), estimated=False),))
        sites[name] = SiteInputs(name, ZoneInfo("UTC"), location=(source,), location_lacking="")
    organisation = Organisation(sites=sites, expected=tuple(stands), least_coverage=Fraction(0))
    days = chains.compacted(folder / "segments", folder / "days", organisation.stays())
    return chains.facts(days, organisation, PeriodRequest("2026Q3"))


def rows(report_facts: Facts, sheet: str, language: str = "en") -> list[dict[str, object]]:
    """The rows of a sheet by their heads, with the values of formulas."""
    book = openpyxl.load_workbook(io.BytesIO(xlsx(report_facts, say_in(language))), data_only=True)
    head, *lines = book[sheet].values
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_the_sheet_of_sites_has_all_that_they_used_and_no_part_of_it(tmp_path: Path) -> None:
    one, two, total = rows(facts(tmp_path), "Sites")
    assert (one["Site"], two["Site"], total["Site"]) == ("one", "two", "total")
    assert [row["GPUs, kWh"] for row in (one, two, total)] == [3, 3, 6]
    assert [row["CO2e, location-based, kg"] for row in (one, two, total)] == [0.3, 0.3, 0.6]
    assert [row["Building, kWh"] for row in (one, two, total)] == ["–", "–", "–"]
    assert Decimal(str(one["at most, kWh"])).quantize(Decimal("0.001")) == Decimal("3.061")  # 3 and a 49th of it


def test_what_workloads_held_is_called_so(tmp_path: Path) -> None:
    report_facts = facts(tmp_path)
    team, unallocated, total = rows(report_facts, "Teams, allocated")
    assert (team["Teams"], unallocated["Teams"], total["Teams"]) == ("a", "unallocated", "total")
    for column, each in (
        ("GPU energy, kWh", (4, 2, 6)),
        ("GPU hours", (2, 2, 4)),
        ("CO2e, location-based, kg", (0.4, 0.2, 0.6)),
    ):
        assert tuple(row[column] for row in (team, unallocated, total)) == each
    assert [row["GPU energy, kWh"] for row in rows(report_facts, "Sites, allocated")] == [2, 2, 2, 6]
    assert [row["at most, kWh"] for row in (unallocated, total)] == [
        "–",
        float(Fraction(report_facts.figures["energy.gpu"].high) / 3_600_000),
    ]


def test_grams_of_different_emissions_are_not_summed(tmp_path: Path) -> None:
    *_, total = rows(facts(tmp_path, WHOLE), "Sites")
    assert (total["GPUs, kWh"], total["CO2e, location-based, kg"], total["CO2e, market-based, kg"]) == (6, "–", "–")


def test_numbers_of_factors_and_answers_are_numbers(tmp_path: Path) -> None:
    report_facts = facts(tmp_path)
    match = catalogue().factor("US-ERCT", 2024, DIRECT)
    changed_facts = replace(report_facts, factors=(UsedFactor(match.factor, match.csv_sha256, (), ""),))
    (factor,) = rows(changed_facts, "Factors")
    assert (factor["Value"], factor["Year"]) == (float(match.factor.value), 2024)
    index = rows(changed_facts, "Framework index")
    for head in ("Value", "at least", "at most", "share of estimates"):
        texts = [row[head] for row in index if isinstance(row[head], str) and not str(row["Figures"]).startswith("declared.")]
        assert texts == []


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_heads_and_names_of_sheets_are_in_the_readers_language(tmp_path: Path, language: str) -> None:
    """But for a unit, an id, and a name of the field."""
    book = openpyxl.load_workbook(io.BytesIO(xlsx(facts(tmp_path), say_in(language))))
    texts = [*book.sheetnames, *(cell for sheet in book.sheetnames[1:] for cell in next(book[sheet].values))]
    assert [text for text in texts if text is not None and text.isascii()] == ["id", "id", "SHA-256"]


def test_framework_index_has_values_in_the_requested_unit_and_their_figures(tmp_path: Path) -> None:
    """6 kWh at 100 g/kWh in a quarter: 600 g are 0.0006 t, and a quarter answers a part of the year."""
    lines = rows(facts(tmp_path), "Framework index")
    row, *parts = [row for row in lines if (row["Framework"], row["Datapoint"]) == ("GHG Protocol", "Scope 2, location-based")]
    assert (row["Value"], row["Unit"], row["State"]) == (0.0006, "t CO2e", "partly")
    assert [row["Figures"], *(part["Figures"] for part in parts)] == [
        "co2e.location", "co2e.location/site/one", "co2e.location/site/two",
    ]  # fmt: skip
    assert [part["Value"] for part in parts] == [0.0003, 0.0003]
    need = "the energy of hosts and building where only GPUs or nodes are metered"
    assert row["Input"] == f"twelve months of data; {need}"
