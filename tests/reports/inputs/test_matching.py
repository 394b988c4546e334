"""Contracts matched with consumption: at most the period's consumption, own zone only, no duplicates, and the rest reported."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import UJ_PER_KWH
from reports.inputs.matching import (  # fmt: skip
    ContractCoverage,
    InstrumentKind,
    Lot,
    Technology,
    certified,
    cover,
    hourly_lots,
)
from reports.inputs.records import refuse_duplicates

CELL_NS = 900 * 10**9
HOUR_NS = 4 * CELL_NS
DAY_NS = 24 * HOUR_NS


def lot(uj: int, start: int = 0, end: int = DAY_NS, contract: str = "c", zone: str = "DE",
        kind: InstrumentKind = InstrumentKind.PPA,
        technology: Technology = Technology.WIND, grams: str = "0", objection: str = "") -> Lot:  # fmt: skip
    return Lot(contract, kind, zone, technology, Decimal(grams), start, end, uj, objection)


def covered(cells: dict[int, int], *lots: Lot, start: int = 0, end: int = DAY_NS) -> ContractCoverage:
    return cover(cells, lots, "DE", start, end)


DAY = {n * CELL_NS: 100 for n in range(96)}


def test_a_baseload_contract_covers_no_more_than_each_hour_consumed() -> None:
    """1 hour of 800, then hours of 400 uJ: a delivery of 500 an hour covers 500 and then 400 each."""
    cells = DAY | {n * CELL_NS: 200 for n in range(4)}
    lots = [lot(uj, start, end) for start, end, uj in hourly_lots(24 * 500, 0, DAY_NS)]
    coverage = covered(cells, *lots)
    (claim,) = coverage.claims
    assert claim.covered_uj == 500 + 23 * 400
    assert claim.unused == {"more than was consumed in its period": 23 * 100}
    assert sum(coverage.remaining.values()) == 300
    assert coverage.renewable_share == Fraction(9700, 10_000)


def test_a_volume_of_a_year_may_cover_any_hour_of_it() -> None:
    coverage = covered(DAY, lot(9_000))
    assert (coverage.covered_uj, sum(coverage.remaining.values())) == (9_000, 600)


def test_another_market_and_what_was_not_retired_cover_nothing_and_say_so() -> None:
    coverage = covered(
        DAY, lot(50, contract="far", zone="US-CA"), lot(60, contract="open", kind=InstrumentKind.GO, objection="not retired"),
        lot(70, contract="done", kind=InstrumentKind.GO), lot(80, contract="ppa"),
    )  # fmt: skip
    assert {c.contract: (c.covered_uj, dict(c.unused), c.same_zone) for c in coverage.claims} == {
        "far": (0, {"another market": 50}, False),
        "open": (0, {"not retired": 60}, True),
        "done": (70, {}, True),
        "ppa": (80, {}, True),
    }
    assert coverage.covered_uj == 150


def test_short_periods_go_first_so_that_nothing_is_covered_twice() -> None:
    coverage = covered(DAY, lot(9_600, contract="year", end=365 * DAY_NS), lot(400, 0, HOUR_NS, contract="hour"))
    claims = {c.contract: c.covered_uj for c in coverage.claims}
    assert claims == {"hour": 400, "year": 9_600 // 365}  # a day's share of the year
    assert all(coverage.remaining[n * CELL_NS] == 0 for n in range(4))


def test_nuclear_has_its_grams_and_is_not_renewable() -> None:
    coverage = covered({0: UJ_PER_KWH}, lot(UJ_PER_KWH // 2, technology=Technology.NUCLEAR, grams="12.5", end=HOUR_NS))
    assert (coverage.grams, coverage.renewable_uj, coverage.covered_uj) == (Fraction("6.25"), 0, UJ_PER_KWH // 2)
    assert coverage.renewable_share == 0
    assert covered({}, lot(5)).renewable_share is None


def test_quarters_side_by_side_use_a_year_s_certificates_once() -> None:
    start = int(datetime(2028, 1, 1, tzinfo=UTC).timestamp()) * 10**9  # a leap year
    edges = [start + days * DAY_NS for days in (0, 91, 182, 274, 366)]
    year = lot(10**9 + 7, start, edges[-1])
    cells = {start + n * CELL_NS: 10**6 for n in range(366 * 96)}
    parts = [cover(cells, [year], "DE", a, b) for a, b in pairwise(edges)]
    assert sum(p.covered_uj for p in parts) == 10**9 + 7
    assert sum(p.consumed_uj for p in parts) == sum(cells.values())


lots = st.lists(
    st.builds(
        lambda begin, length, uj, contract, zone, kind, technology, objection: Lot(
            contract, kind, zone, technology, Decimal(5), begin * CELL_NS, (begin + length) * CELL_NS, uj, objection
        ),
        st.integers(-10, 100),
        st.sampled_from([1, 4, 8, 96, 400]),
        st.integers(0, 3000),
        st.sampled_from("abc"),
        st.sampled_from(["DE", "DE", "GB"]),
        st.sampled_from([InstrumentKind.PPA, InstrumentKind.GO]),
        st.sampled_from([Technology.WIND, Technology.NUCLEAR]),
        st.sampled_from(["", "", "not retired"]),
    ).map(
        lambda x: Lot(
            f"{x.contract}-{x.zone}-{x.kind}-{x.technology}-{x.objection}", *[getattr(x, n) for n in Lot.__slots__[1:]]
        )
    ),
    max_size=12,
)
cells = st.dictionaries(st.integers(0, 95).map(lambda n: n * CELL_NS), st.integers(0, 500), max_size=96)


@given(cells, lots)
def test_energy_is_covered_or_remains_and_each_lot_is_used_or_listed(energy: dict[int, int], bought: Sequence[Lot]) -> None:
    coverage = covered(energy, *bought)
    assert coverage.consumed_uj == sum(energy.values()) == coverage.covered_uj + sum(coverage.remaining.values())
    assert all(0 <= coverage.remaining[t] <= uj for t, uj in energy.items())
    for claim in coverage.claims:
        assert claim.available_uj == claim.covered_uj + sum(claim.unused.values())
        assert claim.grams == Fraction(5 * claim.covered_uj, UJ_PER_KWH)
        if not claim.same_zone:
            assert claim.covered_uj == 0
    assert 0 <= coverage.renewable_uj <= coverage.covered_uj


@given(cells, lots)
def test_no_lot_covers_more_than_was_consumed_in_its_own_period(energy: dict[int, int], bought: Sequence[Lot]) -> None:
    for one in bought:
        coverage = covered(energy, one)
        inside = sum(uj for t, uj in energy.items() if one.start_ns <= t < one.end_ns)
        assert coverage.covered_uj <= inside
        outside = {t for t in energy if not one.start_ns <= t < one.end_ns}
        assert all(coverage.remaining[t] == energy[t] for t in outside)


@given(cells, lots, st.randoms(use_true_random=False))
def test_the_order_of_contracts_changes_no_total(energy: dict[int, int], bought: list[Lot], chance) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(bought)
    chance.shuffle(shuffled)
    assert covered(energy, *shuffled) == covered(energy, *bought)


@given(st.integers(0, 10**15), st.integers(0, 200), st.integers(1, 400))
def test_a_delivery_by_the_hour_adds_up_and_its_hours_are_utc_s(uj: int, begin: int, length: int) -> None:
    start, end = begin * CELL_NS, (begin + length) * CELL_NS
    parts = list(hourly_lots(uj, start, end))
    assert sum(part for _, _, part in parts) == uj
    assert (parts[0][0], parts[-1][1]) == (start, end)
    assert all(a[1] == b[0] and b[0] % HOUR_NS == 0 for a, b in pairwise(parts))


def test_a_contract_is_listed_once() -> None:
    refuse_duplicates("contract", ["a", "b"])
    with pytest.raises(ValueError, match="duplicate contract 'a'"):
        refuse_duplicates("contract", ["a", "a"])


def test_certificates_go_before_contracts_of_the_same_period() -> None:
    """Table 6.3 of the Scope 2 Guidance: of 3 kWh that an hour used, 2 are of the certificate and 1 of the contract."""
    of_hour = {"start": 0, "end": HOUR_NS}
    certificate = lot(2, of_hour["start"], of_hour["end"], contract="z", kind=InstrumentKind.GO)
    bought = lot(2, of_hour["start"], of_hour["end"], contract="a", kind=InstrumentKind.PPA)
    claims = cover({0: 3}, [bought, certificate], "DE", 0, HOUR_NS).claims
    assert {c.contract: c.covered_uj for c in claims} == {"z": 2, "a": 1}


def test_nothing_negative_is_matched() -> None:
    with pytest.raises(ValueError, match="negative"):
        covered({0: -1})
    with pytest.raises(ValueError, match="negative"):
        covered({0: 1}, lot(-1))


@given(
    st.lists(st.integers(0, 5 * 10**15), min_size=1, max_size=12),
    st.integers(0, 8),
    st.lists(st.integers(0, 10**15), min_size=96, max_size=96),
    st.sets(st.integers(1, 95), max_size=4),
    st.booleans(),
)
def test_windows_together_cover_at_most_1_mwh_per_certificate(
    volumes: list[int], certificates: int, energies: list[int], cuts: set[int], hourly: bool
) -> None:
    """Deliveries by the hour or of the whole day, in a day that is reported as several windows side by side."""
    proven = certified(volumes, certificates)
    spans = [(n * HOUR_NS, (n + 1) * HOUR_NS) if hourly else (0, DAY_NS) for n in range(len(volumes))]
    lots = [replace(lot(uj, *span), uncertified_uj=uj - part) for uj, part, span in zip(volumes, proven, spans, strict=True)]
    cells = {n * CELL_NS: uj for n, uj in enumerate(energies)}
    windows = list(pairwise([0, *sorted(n * CELL_NS for n in cuts), DAY_NS]))
    coverages = [covered(cells, *lots, start=start, end=end) for start, end in windows]
    assert sum(each.covered_uj for each in coverages) <= certificates * 1000 * UJ_PER_KWH
    assert sum(each.covered_uj + sum(each.remaining.values()) for each in coverages) == sum(energies)
    for each in coverages:
        for claim in each.claims:
            assert claim.covered_uj + sum(claim.unused.values()) == claim.available_uj
    for part, volume in zip(proven, volumes, strict=True):
        assert 0 <= part <= volume


def test_what_certificates_do_not_prove_takes_the_residual_mix() -> None:
    """3 MWh were used and delivered, with one certificate: 1 MWh is covered, 2 MWh are left."""
    mwh = 1000 * UJ_PER_KWH
    coverage = covered({0: 3 * mwh}, replace(lot(3 * mwh), uncertified_uj=2 * mwh))
    (claim,) = coverage.claims
    assert (claim.covered_uj, sum(coverage.remaining.values())) == (mwh, 2 * mwh)
    assert claim.unused == {"more than its certificates of 1 MWh each": 2 * mwh}
