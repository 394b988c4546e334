"""The sections of contracts and tariffs: what is missing or contradicts itself is one line; periods are the site's own days."""

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import Field

from energy_agent.config.agent import parse_as
from energy_agent.config.section import Section
from energy_agent.core.errors import UsageError
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.factors.basis import EmissionBoundary
from reports.inputs.beneficiaries import Beneficiaries
from reports.inputs.contracts import Contract, refuse_unsound
from reports.inputs.matching import Technology
from reports.inputs.tariffs import Tariff, ended


class Site(Section):
    """What a site's file will hold of these."""

    contracts: tuple[Contract, ...] = Field((), description="contracts")
    tariffs: tuple[Tariff, ...] = Field((), description="tariffs")


def contract(text: str = "", **change: object) -> Contract:
    fields = {"id": "w", "kind": "go", "zone": "DE", "technology": "wind", "volume_kwh": 1000, "start": "2026-03-01",
              "end": "2026-03-31", "granularity": "month"} | change  # fmt: skip
    lines = "".join(f"  {k}: {v}\n" for k, v in fields.items() if v is not None) + text
    return parse_as(Site, f"contracts:\n- {lines[2:]}".encode(), "site.yaml").contracts[0]


def tariff(text: str = "", **change: object) -> Tariff:
    fields = {"id": "t", "currency": "EUR", "default_per_kwh": 0.1, "valid_from": "2026-01-01", "source": "invoice"} | change
    lines = "".join(f"  {k}: {v}\n" for k, v in fields.items() if v is not None) + text
    return parse_as(Site, f"tariffs:\n- {lines[2:]}".encode(), "site.yaml").tariffs[0]


PROVEN = {"retired": "2026-05-01", "retirement_id": "R-1", "registry": "HKNR", "serials": "DE-1..DE-2", "plant": "P",
          "beneficiary": "us"}  # fmt: skip
OF_REPORT = (date(2026, 10, 5), EmissionBoundary.DIRECT)
"""Day of the report, and what its total counts."""


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("Europe/Berlin", "2026-02-28T23:00", "2026-03-31T22:00"),  # 743 hours: the clocks change in it
        ("Asia/Kolkata", "2026-02-28T18:30", "2026-03-31T18:30"),
        ("America/Los_Angeles", "2026-03-01T08:00", "2026-04-01T07:00"),
    ],
)
def test_a_month_is_the_site_s_own(zone: str, start: str, end: str) -> None:
    (lot,) = contract().lots(ZoneInfo(zone), *OF_REPORT)
    assert (lot.start_ns, lot.end_ns, lot.uj) == (utc(start), utc(end), 1000 * UJ_PER_KWH)


def test_a_delivery_by_the_hour_has_as_many_as_the_month() -> None:
    assert len(contract(granularity="hour").lots(ZoneInfo("Europe/Berlin"), *OF_REPORT)) == 743
    lots = contract(granularity="hour", start="2028-02-29", end="2028-02-29").lots(ZoneInfo("Europe/Berlin"), *OF_REPORT)
    assert (len(lots), sum(x.uj for x in lots)) == (24, 1000 * UJ_PER_KWH)
    half = contract(granularity="hour", start="2026-03-01", end="2026-03-01").lots(ZoneInfo("Asia/Kolkata"), *OF_REPORT)
    assert (len(half), half[0].end_ns - half[0].start_ns, sum(x.uj for x in half)) == (25, 1800 * 10**9, 1000 * UJ_PER_KWH)


def test_a_file_of_hours_is_a_contract_s_volume(tmp_path: Path) -> None:
    path = tmp_path / "ppa.csv"
    path.write_text("ts_utc,kwh\n2026-03-01T00:00:00Z,2\n")
    hourly_contract = contract(
        kind="ppa", volume_kwh=None, start=None, end=None, hourly_file=path, g_per_kwh=11, g_source="EPD"
    )
    (lot,) = hourly_contract.lots(ZoneInfo("UTC"), *OF_REPORT)
    assert (lot.start_ns, lot.uj, lot.g_per_kwh) == (utc("2026-03-01T00:00"), 2 * UJ_PER_KWH, 11)
    path.write_text("nonsense")
    with pytest.raises(UsageError, match=r"contract 'w': .*ppa\.csv, line 1"):
        hourly_contract.lots(ZoneInfo("UTC"), *OF_REPORT)
    path.unlink()
    with pytest.raises(UsageError, match=r"contract 'w': cannot read .*ppa\.csv: No such file"):
        hourly_contract.lots(ZoneInfo("UTC"), *OF_REPORT)
    os.mkfifo(path)
    with pytest.raises(UsageError, match="expected a regular file"):
        hourly_contract.lots(ZoneInfo("UTC"), *OF_REPORT)


def test_contract_fields_and_renewable_technologies() -> None:
    done = contract(retired="2026-05-01", retirement_id="R-1")
    assert done.retired == date(2026, 5, 1)
    assert {t.value for t in Technology if t.renewable} == {"wind", "solar", "hydro", "geothermal", "biomass", "ocean"}
    for value in (t.value for t in Technology if t.renewable):
        assert value in (Contract.model_fields["technology"].description or "")


PROOF: dict[str, object] = {"registry": "HKNR", "serials": "DE-1", "plant": "North", "beneficiary": "us"}


def objection(change: dict[str, object], boundary: EmissionBoundary = EmissionBoundary.DIRECT) -> str:
    lots = contract(**({"retired": "2026-05-01", "retirement_id": "R-1"} | PROOF | change)).lots(
        ZoneInfo("Europe/Berlin"), date(2026, 10, 5), boundary
    )
    assert len({lot.objection for lot in lots}) == 1
    return lots[0].objection


@pytest.mark.parametrize("kind", ["ppa", "go", "rec", "i-rec", "other"])
def test_only_what_was_retired_within_its_dates_counts(kind: str) -> None:
    """Production is of March 2026 in Berlin, and the report of 5 October 2026."""
    assert objection({"kind": kind, "retired": None, "retirement_id": None}) == "not retired"
    for retired, counts in (
        ("2020-01-01", False), ("2026-02-28", False), ("2026-03-01", True), ("2026-04-01", True), ("2026-10-05", True),
        ("2026-10-06", False), ("2099-01-01", False),
    ):  # fmt: skip
        reason = objection({"kind": kind, "retired": retired})
        assert (reason == "") == counts, retired
        assert counts or retired in reason
    by_hour = {"kind": kind, "granularity": "hour", "retired": "2026-02-28"}
    assert objection(by_hour) == "retired on 2026-02-28, before its production began (2026-03-01)"


@pytest.mark.parametrize("name", PROOF)
@pytest.mark.parametrize("kind", ["ppa", "go", "other"])
def test_a_retirement_counts_only_with_all_of_its_proof(name: str, kind: str) -> None:
    assert objection({"kind": kind}) == ""
    assert objection({"kind": kind, name: None}) == f"its retirement is not proven: {name} missing"


def test_biogenic_co2_is_of_biomass_with_its_source() -> None:
    wood = {"technology": "biomass", "g_per_kwh": 20, "g_source": "the seller"}
    stated = contract(**wood, biogenic_g_per_kwh=1050.5, biogenic_source="the seller")
    lots = stated.lots(ZoneInfo("Europe/Berlin"), date(2026, 10, 5), EmissionBoundary.DIRECT)
    assert {lot.biogenic_g_per_kwh for lot in lots} == {Decimal("1050.5")}
    unstated = contract(**wood).lots(ZoneInfo("Europe/Berlin"), date(2026, 10, 5), EmissionBoundary.DIRECT)
    assert {lot.biogenic_g_per_kwh for lot in unstated} == {None}
    for change, message in (
        ({"biogenic_g_per_kwh": 1050}, "biogenic_source is missing: state the source of 1050 g/kWh"),
        ({"biogenic_g_per_kwh": 0, "biogenic_source": "x"}, "biomass electricity has more than 0 g/kWh of biogenic CO2"),
        ({"biogenic_source": "x"}, "biogenic_source requires biogenic_g_per_kwh"),
        ({"technology": "wind", "biogenic_g_per_kwh": 5, "biogenic_source": "x"}, "wind electricity has no biogenic CO2"),
    ):
        with pytest.raises(UsageError, match=message):
            contract(**(wood | change))


@pytest.mark.parametrize("kind", ["GO", "I-REC", "Ppa"])
def test_a_kind_may_be_in_capitals(kind: str) -> None:
    assert contract(kind=kind).kind.value == kind.lower()
    with pytest.raises(UsageError, match="kind"):
        contract(kind="GOO")


def test_certificates_of_another_organisation_cover_nothing() -> None:
    done = contract(**{"retired": "2026-05-01", "retirement_id": "R-1"} | PROOF)
    reason = "retired for 'us', which is neither the organisation nor an accepted beneficiary"
    for names, wanted in (
        (Beneficiaries(("Us",)), ""), (Beneficiaries(("them",)), reason), (Beneficiaries(("them",), ("us",)), ""),
        (Beneficiaries(), ""),
    ):  # fmt: skip
        lots = done.lots(ZoneInfo("Europe/Berlin"), date(2026, 10, 5), EmissionBoundary.DIRECT, names)
        assert {lot.objection for lot in lots} == {wanted}


@pytest.mark.parametrize("kind", ["go", "rec", "i-rec", "ppa", "other"])
def test_a_contract_of_any_kind_covers_1_mwh_per_certificate(kind: str) -> None:
    """Of 6,000 kWh two certificates prove 2,000, so 4,000 cover nothing."""
    (lot,) = contract(kind=kind, volume_kwh=6000, **PROVEN).lots(ZoneInfo("UTC"), *OF_REPORT)
    assert (lot.uj, lot.uncertified_uj) == (6000 * UJ_PER_KWH, 4000 * UJ_PER_KWH)
    (lot,) = contract(kind=kind, volume_kwh=2000, **PROVEN).lots(ZoneInfo("UTC"), *OF_REPORT)
    assert lot.uncertified_uj == 0


def test_certificates_prove_each_hour_of_a_delivery_in_proportion(tmp_path: Path) -> None:
    """1,000 + 2,000 + 3,000 kWh and 2 certificates: a third of each hour, the rest of 2,000 kWh nothing."""
    path = tmp_path / "ppa.csv"
    path.write_text("ts_utc,kwh\n2026-03-01T00:00:00Z,1000\n2026-03-01T01:00:00Z,2000\n2026-03-01T02:00:00Z,3000\n")
    bought = contract(kind="ppa", volume_kwh=None, start=None, end=None, granularity=None, hourly_file=path, **PROVEN)
    lots = bought.lots(ZoneInfo("UTC"), *OF_REPORT)
    assert sum(lot.uj - lot.uncertified_uj for lot in lots) == 2000 * UJ_PER_KWH
    assert [round((lot.uj - lot.uncertified_uj) / UJ_PER_KWH, 6) for lot in lots] == [333.333333, 666.666667, 1000]


def test_serial_numbers_are_ranges_of_one_prefix() -> None:
    assert contract(volume_kwh=2000, serials="DE-1..DE-2").retirement.serials[0].count == 2
    for text in ("DE-4..DE-1", "DE-1..FR-2", "DE", "1..2..3", "DE-1..DE-4; DE-4"):
        with pytest.raises(UsageError, match="contract 'w': serials: "):
            contract(serials=f"'{text}'")


def test_only_deliveries_with_time_stamps_are_timed(tmp_path: Path) -> None:
    for granularity in ("hour", "month", "year"):
        assert not any(lot.timed for lot in contract(granularity=granularity).lots(ZoneInfo("UTC"), *OF_REPORT))
    path = tmp_path / "hours.csv"
    path.write_text("ts_utc,kwh\n2026-03-01T00:00:00Z,5\n")
    hourly_contract = contract(volume_kwh=None, start=None, end=None, granularity=None, hourly_file=path)
    assert [lot.timed for lot in hourly_contract.lots(ZoneInfo("UTC"), *OF_REPORT)] == [True]


def test_a_contract_without_a_factor_is_0_only_where_nothing_burns() -> None:
    """Fossil, mixed, biomass and geothermal electricity is not 0 g/kWh because nobody wrote a figure."""
    for technology in Technology:
        reason = objection({"technology": technology.value})
        burns = technology.value in ("fossil", "mixed", "biomass", "geothermal")
        assert (reason != "") == burns, technology
        if burns:
            assert technology.value in reason
            assert objection({"technology": technology.value, "g_per_kwh": 700, "g_source": "the supplier"}) == ""
    assert objection({"technology": "geothermal", "g_per_kwh": 0, "g_source": "the plant's meter"}) == ""


def test_a_contract_s_factor_is_of_what_the_total_counts() -> None:
    """Wind emits 0 g at the plant but more over its life cycle, which only a life-cycle figure covers."""
    life_cycle = {"g_per_kwh": 11, "g_source": "EPD", "g_boundary": "life-cycle"}
    assert objection({}, EmissionBoundary.LIFE_CYCLE) == "its emission factor is direct, but the total is life-cycle"
    assert objection(life_cycle) == "its emission factor is life-cycle, but the total is direct"
    assert objection(life_cycle, EmissionBoundary.LIFE_CYCLE) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"technology": "fossil", "g_per_kwh": 0}, "fossil electricity has more than 0 g/kWh"),
        ({"technology": "mixed", "g_per_kwh": 0, "g_source": "us"}, "mixed electricity has more than 0 g/kWh"),
        ({"technology": "biomass", "g_per_kwh": 0}, "g_source is missing"),
        ({"g_per_kwh": 0, "g_boundary": "life-cycle"}, "wind electricity has more than 0 g/kWh over its life cycle"),
        ({"g_boundary": "life-cycle"}, "g_boundary requires g_per_kwh"),
        ({"volume_kwh": None}, "expected either volume_kwh with start and end, or hourly_file"),
        ({"hourly_file": "/x"}, "or hourly_file"),
        ({"end": None}, "volume_kwh requires start and end"),
        ({"volume_kwh": None, "hourly_file": "/x"}, "start and end are allowed only with volume_kwh"),
        ({"end": "2026-02-01"}, "ends on 2026-02-01, before it begins"),
        ({"end": "2026-04-01"}, "one contract per month"),
        ({"granularity": "year", "end": "2027-01-01"}, "one contract per year"),
        ({"commissioned": "2026-03-02"}, "before its plant was commissioned"),
        ({"g_per_kwh": 5}, "g_source is missing"),
        ({"retired": "2026-05-01"}, "retired and retirement_id require each other"),
        ({"retirement_id": "R"}, "retired and retirement_id require each other"),
        ({"start": 20260301}, "expected a day such as 2026-01-31"),
        ({"start": "'2026-02-30'"}, "the day 2026-02-30 does not exist"),
        ({"start": "0001-01-01"}, "expected a year from 1990 to 2200, got 0001-01-01"),
        ({"start": "'2026-03-01T00:00'"}, "expected a day such as 2026-01-31"),
        ({"volume_kwh": "yes"}, "expected a number"),
        ({"volume_kwh": -1}, "expected a number above 0"),
        ({"kind": "goo"}, "expected one of "),
        ({"granularity": "day"}, "expected one of 'hour', 'month' or 'year'"),
        ({"zones": "DE"}, "did you mean 'zone'"),
    ],
)
def test_a_contract_that_contradicts_itself_is_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        contract(**change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("day", ["1898-09-01", "1989-12-31"])
def test_a_plant_may_be_older_than_any_contract(day: str) -> None:
    """The hydropower plant of Rheinfelden of 1898 is one of the first of its kind."""
    assert contract(commissioned=f"'{day}'").commissioned == date.fromisoformat(day)
    with pytest.raises(UsageError, match="expected a year from 1850 to 2200, got 1849-12-31"):
        contract(commissioned="'1849-12-31'")
    with pytest.raises(UsageError, match="expected a year from 1990 to 2200, got 1989-12-31"):
        contract(retired="'1989-12-31'", retirement_id="R")


def test_a_tariff_is_as_written() -> None:
    parsed_tariff = tariff('  prices:\n  - {times: ["Mon-Fri 08:00-20:00", "Sat 08:00-12:00"], per_kwh: 0.3127}\n')
    assert (parsed_tariff.default_per_kwh, parsed_tariff.prices[0].per_kwh, len(parsed_tariff.prices[0].spans)) == (
        Decimal("0.1"),
        Decimal("0.3127"),
        2,
    )


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        ('  prices:\n  - {times: ["Mon-Fri 08:10-20:00"], per_kwh: 1}\n', {}, "08:10: expected a quarter of an hour"),
        ('  prices:\n  - {times: ["Monday 08:00-20:00"], per_kwh: 1}\n', {}, "expected DAYS HH:MM-HH:MM, such as"),
        ('  prices:\n  - {times: ["08:00-24:30"], per_kwh: 1}\n', {}, "ends after 24:00"),
        ("  prices:\n  - {times: [], per_kwh: 1}\n", {}, "at least 1"),
        ("", {"currency": "euro"}, "ISO 4217 currency code such as EUR, got 'euro'"),
        ("", {"currency": "ZZZ"}, "expected an ISO 4217 currency code such as EUR, got 'ZZZ'"),
        ("", {"source": None}, "key 'tariffs.0.source' is missing"),
        ("", {"default_per_kwh": "no"}, "expected a number"),
        ("", {"valid_from": "soon"}, "expected a day such as 2026-01-31"),
    ],
)
def test_a_wrong_tariff_is_one_line(text: str, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        tariff(text, **change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tariff_without_an_end_ends_when_the_next_begins() -> None:
    first, second = tariff(id="a"), tariff(id="b", valid_from="2027-01-01")
    assert [(t.id, t.valid_to) for t in ended([second, first])] == [("a", date(2026, 12, 31)), ("b", None)]
    refuse_unsound([], [first, second])
    with pytest.raises(ValueError, match="both valid"):
        refuse_unsound([], [tariff(id="a", valid_to="2027-06-01"), second])
    with pytest.raises(ValueError, match="both valid"):
        refuse_unsound([], [tariff(id="a"), tariff(id="b")])


def test_a_certificate_is_used_once_over_all_contracts() -> None:
    used = {"retired": "2026-05-01", "retirement_id": "R-1"}
    with pytest.raises(ValueError, match="a certificate counts only once"):
        refuse_unsound([contract(**used), contract(id="v", **used)], [])
