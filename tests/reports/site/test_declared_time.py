"""Meters that start late, end early, change their class or are reported by two chains; nodes that are moved to another site."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.core.energy import Entry, Method, State, WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.core.meters.facility import METER_GONE, METER_KIND, MeterFacts, Position, Role
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.figures.facts import Facts
from reports.inputs.organisation import Organisation
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.chains import CELL, DAY, HOUR, KWH
from tests.reports.golden import at, cells

JULY = at("2026-07-01")
END = JULY + 10 * DAY
ASKED = PeriodRequest(None, "2026-07-01", "2026-07-11")
MAIN = MeterFacts("main", Role.TOTAL, max_mw=16_000_000)  # it draws half of that
IT = MeterFacts("it", Role.IT, Position.UPS_OUTPUT, "main", max_mw=8_000_000)


def gpus(start: int = JULY, end: int = END) -> list[Batch]:
    """Four of 1 kW, a batch a day."""
    names = [f"GPU-{number}" for number in range(1, 5)]
    batches = [Batch(devices=[DeviceFacts(name, "H100", 0.02, start) for name in names])]
    for t in range(start, end, DAY):
        quarters = ["0.25"] * min(96, (end - t) // CELL)
        batches.append(Batch([entry for name in names for entry in cells(t, name, "", State.UNALLOCATED, quarters)]))
    return batches


def building(
    start: int, end: int = END, *, meters: Sequence[tuple[MeterFacts, int]] = ((MAIN, 2), (IT, 1)), gone: int = 0
) -> list[Batch]:
    """2 kWh of the building and 1 of its IT in each cell that was read, by an error of nothing."""
    workload_facts = [WorkloadFacts(m.device("here"), start, METER_KIND, m.labels) for m, _ in meters]
    batches = [Batch(facts=workload_facts, devices=[DeviceFacts(m.device("here"), "meter", 0, start) for m, _ in meters])]
    for day in range(start - start % DAY, end, DAY):
        cut = range(max(start, day), min(day + DAY, end), CELL)
        batches.append(
            Batch(
                [
                    Entry(t, t + CELL, m.device("here"), "", State.UNALLOCATED, Method.COUNTER, kwh * KWH, 0, CELL)
                    for m, kwh in meters
                    for t in cut
                ]
            )
        )
    if gone:
        batches.append(Batch(facts=[WorkloadFacts(m.device("here"), gone, METER_GONE, {}) for m, _ in meters]))
    return batches


def make_facts(folder: Path, *nodes: list[Batch], asked: PeriodRequest = ASKED) -> Facts:
    for number, batches in enumerate(nodes):
        chains.write(folder / "segments", "lab", f"n{number}", batches)
    days = chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))
    return chains.facts(days, Organisation(least_coverage=Fraction(0)), asked)


def kwh(facts: Facts, identity: str) -> tuple[Fraction | None, ...]:
    figure = facts.figures[identity]
    return tuple(None if text is None else Fraction(text) / 3_600_000 for text in (figure.value, figure.low, figure.high))


def test_a_building_that_was_metered_at_the_end_alone_has_no_energy(tmp_path: Path) -> None:
    """Nodes for ten days, meters for two of them: what the building drew before is not known, and not nothing."""
    facts = make_facts(tmp_path, gpus(), building(END - 2 * DAY))
    why = "its meters covered 20.0% of the time in which nodes used energy"
    for identity in ("energy.facility/site/here", "energy.it/site/here"):
        assert (facts.figures[identity].value, facts.figures[identity].reason) == (None, why)
    assert facts.figures["co2e.location/site/here"].boundary != "facility"
    assert not facts.by_prefix("energy.part/")


@pytest.mark.smoke
@pytest.mark.parametrize("late", [True, False])
def test_half_a_day_without_its_meters_is_put_in_and_bounded(tmp_path: Path, late: bool) -> None:
    """Of ten days at 8 kW half a one is not metered, the first or the last: 96 kWh, which may have been none or 192."""
    of = building(JULY + DAY // 2) if late else building(JULY, END - DAY // 2, gone=END - DAY // 2)
    facts = make_facts(tmp_path, gpus(), of)
    assert kwh(facts, "energy.facility/site/here") == (1920, 1824, 1824 + 192)
    assert kwh(facts, "energy.it/site/here") == (960, 912, 912 + 96)
    figure = facts.figures["energy.facility/site/here"]
    assert (figure.method, figure.dims["imputed_j"]) == ("metered, in part imputed", str(96 * 3_600_000))
    assert facts.figures["pue/site/here"].text == "2"
    assert facts.figures["pue/site/here"].coverage == Fraction("0.95")


def test_a_meter_of_the_total_that_came_later_than_those_of_it(tmp_path: Path) -> None:
    """The feed is metered for 9.5 of ten days, IT for all of them: 48 kWh in the half day, at which the feed has 48 more.

    So 96 kWh are put in at the feed alone, and they can have been 48 to 96.
    """
    late = JULY + DAY // 2
    facts = make_facts(tmp_path, gpus(), [*building(JULY, meters=((IT, 1),)), *building(late, meters=((MAIN, 2),))])
    assert kwh(facts, "energy.facility/site/here") == (1920, 1824 + 48, 1824 + 96)
    assert kwh(facts, "energy.it/site/here") == (960, 960, 960)


def test_a_second_feed_that_came_later_is_new(tmp_path: Path) -> None:
    """Another main meter of 1 kWh per cell from the fifth day on: it did not exist before, so nothing is imputed for it."""
    other = MeterFacts("main-2", Role.TOTAL, max_mw=16_000_000)
    facts = make_facts(tmp_path, gpus(), [*building(JULY), *building(JULY + 5 * DAY, meters=((other, 1),))])
    assert kwh(facts, "energy.facility/site/here") == (1920 + 480,) * 3


def test_a_site_that_opened_in_the_period_has_all_of_its_time(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, gpus(END - 2 * DAY), building(END - 2 * DAY))
    assert kwh(facts, "energy.facility/site/here") == (384, 384, 384)


def test_an_error_that_was_wider_before_bounds_what_was_read_before(tmp_path: Path) -> None:
    """5 % until the last half day, then 0.2 %: the bound is that of 5 % (a register of a / (1 - a) of what it shows)."""
    coarse, fine = (replace(MAIN, accuracy_ppm=ppm) for ppm in (50_000, 2_000))
    meter_fact = WorkloadFacts(MAIN.device("here"), END - DAY // 2, METER_KIND, fine.labels)
    of = [*building(JULY, meters=((coarse, 2), (IT, 1))), Batch(facts=[meter_fact])]
    value, low, high = kwh(make_facts(tmp_path, gpus(), of), "energy.facility/site/here")
    assert value == 1920
    assert high - value >= 1920 * Fraction(1, 19) <= value - low


def test_meter_of_two_site_processes_is_in_no_figure(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, gpus(), building(JULY, meters=((MAIN, 2),)), building(JULY))
    assert "energy.facility/site/here" not in facts.figures or facts.figures["energy.facility/site/here"].value is None


def test_a_site_process_that_took_over_from_another_is_not(tmp_path: Path) -> None:
    """The second goes on in the middle of a day, which its first reading begins."""
    over = JULY + 5 * DAY + 7 * HOUR
    facts = make_facts(tmp_path, gpus(), building(JULY, over), building(over))
    assert kwh(facts, "energy.facility/site/here") == (1920, 1920, 1920)


@pytest.mark.smoke
def test_twelve_months_end_where_a_quarter_that_still_runs_does(tmp_path: Path) -> None:
    """The ledger holds a year to the fifth of July, in the first half of it a PUE of 3: the mean is that of all of it."""
    until, year = JULY + 4 * DAY, 365 * DAY
    half = until - 182 * DAY
    of = [*building(until - year, half, meters=((MAIN, 3), (IT, 1))), *building(half, until)[1:]]
    facts = make_facts(tmp_path, gpus(JULY, until), of, asked=PeriodRequest("2026Q3"))
    figure = facts.figures["pue.trailing/site/here"]
    assert Fraction(figure.value or 0) == round(Fraction(3 * 183 + 2 * 182, 365), 8)
    assert (figure.coverage, figure.dims["imputed_j"]) == (1, "0")


@pytest.mark.parametrize("whole", [True, False])
def test_a_node_that_turns_out_to_stand_elsewhere_counts_once(tmp_path: Path, whole: bool) -> None:
    """The inventory is corrected: a node belongs to another site. If a day cannot be restated, the report refuses it."""
    chains.write(tmp_path / "segments", "lab", "n1", gpus(JULY, JULY + DAY))
    other = Batch(cells(JULY, "GPU-9", "", State.UNALLOCATED, ["0.5"]), devices=[DeviceFacts("GPU-9", "H100", 0.05, JULY)])
    chains.write(tmp_path / "other", "lab", "n2", [other])
    if not whole:
        for path in (tmp_path / "other").iterdir():
            path.rename(tmp_path / "segments" / path.name)
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites({}, "here"))
    for path in (tmp_path / "segments").glob("*n2*"):
        path.rename(tmp_path / "other" / path.name)
    chains.compacted(tmp_path / "segments", days, Sites({}, "there"))
    chains.compacted(tmp_path / "segments", days, Sites({}, "there"))
    assert sorted(path.parent.name for path in days.glob("here/2026-07-01/*/manifest.json")) == ["r0000", "r0001"][: 1 + whole]
    if whole:
        facts = chains.facts(days, Organisation(least_coverage=Fraction(0)), ASKED)
        assert Fraction(facts.figures["energy.gpu"].value or 0) == 96 * 3_600_000
        return
    with pytest.raises(WattlensError, match="GPU-1 of lab/n1: belongs to site here and to site there at 2026-07-01T00:00:00Z"):
        chains.facts(days, Organisation(least_coverage=Fraction(0)), ASKED)
