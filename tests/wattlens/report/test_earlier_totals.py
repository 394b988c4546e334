"""Earlier totals of the inputs against the ledger, and the records that were typed in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from energy_agent.core.energy import State
from energy_agent.core.errors import UsageError
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.figures.facts_json import facts_json
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.chains import DAY
from tests.reports.golden import at, cells
from wattlens.report.build import Options, build
from wattlens.report.inputs.model import PeriodTotals

JULY = at("2026-07-01")
ORG = """
organisation: {name: Example AI, prepared_by: ESG team, approved_by: CFO, issued: 2026-10-12, base_year: 2025}
least_coverage_percent: 0
reported:
  - {period: 2026Q2, electricity_mwh: 0.0018, source: "edition 1"REASON}
sites:
  - site: {name: one, time_zone: UTC}
    pue: {value: 1.5, uncertainty_percent: 8, source: "the landlord, 2026"}
    meters:
      - {id: main, role: total, accuracy_percent: 0.5, max_power_w: 9000, accuracy_class: 0.5S, calibrated: 2025-03-14}
    tariffs:
      - {id: city, currency: EUR, default_per_kwh: 0.2, valid_from: 2026-01-01, source: "contract 7"}
"""


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 kWh of a GPU in 2026Q2 and 4 kWh in 2026Q3."""
    folder = tmp_path_factory.mktemp("earlier")
    devices = [DeviceFacts("GPU-one", "H100", 0.02, JULY - 90 * DAY)]
    hours = [cells(t, "GPU-one", "w", State.ACTIVE, [kwh] * 4, 0) for t, kwh in ((JULY - 30 * DAY, "0.5"), (JULY, "1"))]
    chains.write(folder / "segments", "lab", "one", [Batch(hours[0], devices=devices), Batch(hours[1])])
    return chains.compacted(folder / "segments", folder / "days", Sites({}, "one"))


def options(days: Path, folder: Path, reason: str) -> Options:
    org = folder / "org.yaml"
    org.write_text(ORG.replace("REASON", reason))
    return Options(str(days), PeriodRequest("2026Q3"), org, as_of_ns=JULY + 100 * DAY)


def test_a_total_that_the_ledger_no_longer_gives_needs_a_reason(days: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^reported 2026Q2: energy\.\w+ was reported as 1\.800 kWh, and the ledger with "):
        build(options(days, tmp_path, ""))


@pytest.mark.parametrize(
    ("period", "expected"), [("2026-Q2", "2026Q2"), ("FY2026-Q2", "FY2026Q2"), ("FY2026", "FY2026"), ("2026-07", "2026-07")]
)
def test_the_label_of_earlier_totals_is_that_of_the_report(period: str, expected: str) -> None:
    assert PeriodTotals(period=period, cost=1, source="edition 1").period == expected


def test_a_label_that_no_report_has_is_refused() -> None:
    with pytest.raises(ValueError, match="period"):
        PeriodTotals(period="FY2026-07", cost=1, source="edition 1")


def test_site_name_that_differs_from_the_ledger_gives_a_warning(days: Path, tmp_path: Path) -> None:
    warnings: list[str] = []
    asked = replace(options(days, tmp_path, ", reason: a meter was read twice"), warn=warnings.append)
    build(asked)
    assert warnings == []
    (tmp_path / "org.yaml").write_text(ORG.replace("REASON", ", reason: new").replace("name: one", "name: uno"))
    build(asked)
    assert warnings == [
        "the ledger has site one, which the inputs do not have: no grid, PUE, contracts or cost apply to it; "
        "the inputs have uno, which the ledger does not have"
    ]


def test_statement_stated_records_and_reason_are_in_the_facts(days: Path, tmp_path: Path) -> None:
    facts = build(options(days, tmp_path, ", reason: a meter was read twice"))
    document = json.loads(facts_json(facts))
    assert document["statement"] == {
        "prepared_by": "ESG team", "approved_by": "CFO", "issued": "2026-10-12", "consolidation": "", "base_year": 2025,
    }  # fmt: skip
    records = {(each["site"], each["kind"], each["name"]): each["values"] for each in document["stated_inputs"]}
    assert records["one", "meter", "main"] == {
        "role": "total", "source": "declared", "accuracy_percent": "0.5", "accuracy_class": "0.5S", "calibrated": "2025-03-14",
        "max_power_w": "9000",
    }  # fmt: skip
    assert records["one", "pue", ""] == {"value": "1.5", "uncertainty_percent": "8", "source": "the landlord, 2026"}
    assert records["one", "tariff", "city"]["source"] == "contract 7"
    (reported,) = (each for each in document["figures"] if each["id"].startswith("total.reported/"))
    assert reported["dims"]["reason"] == "a meter was read twice"
