"""Worked examples that were published, to the last digit that they print.

Read: JCGM 100:2008 as quoted in public test suites, clauses 4.3.7, 5.1.5, 5.1.6 and 5.2.2; SCI for AI (SPEC.md of the Green
Software Foundation), clauses 9.1 and 9.2; metric cards of EN 50600-4 in the public guide kopja3/green_DC.

Not read, as no stored page has their text: the examples of the GHG Protocol's Scope 2 Guidance (2015), ISO/IEC 21031:2024 and
ISO/IEC 30134.
"""

from fractions import Fraction
from math import sqrt

from energy_agent.core.energy import Method
from energy_agent.core.meters.facility import MeterEnergy, MeterFacts, Role
from energy_agent.core.quantity import Quantity, about, bounded, sum_by_cause
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.embodied import EmbodiedEmissions
from energy_agent.site.building.ratio import energy, ratio
from reports.figures.sci import FACILITY, sci_per_token
from reports.figures.uncertainty import times_factor


def span(value: str, error: str) -> Quantity:
    middle, off = Fraction(value), Fraction(error)
    return about(middle, off)


def error_of(amount: Quantity) -> float:
    _, up = amount.errors
    assert up is not None
    return float(up)


def test_two_independent_inputs_of_a_voltage() -> None:
    """JCGM 100:2008, 5.1.5: u = 12 uV and 8.7 uV give uc(V) = 15 uV."""
    combined = bounded(Fraction("0.928571"), [Fraction("12e-6"), Fraction("8.7e-6")], [Fraction("12e-6"), Fraction("8.7e-6")])
    assert round(error_of(combined) * 10**6) == 15


def test_ten_resistors_of_one_standard() -> None:
    """JCGM 100:2008, 5.2.2: ten resistors of 1 000 ohm, u(Rs) = 100 mohm, one standard: uc(Rref) = 1 ohm.

    The 0.32 ohm that independent errors would give "is incorrect because it does not take into account that all of the
    calibrated values of the ten resistors are correlated".
    """
    resistors = [span("1000", "0.1")] * 10
    assert sum_by_cause([("standard", each) for each in resistors]).value == 10_000
    assert error_of(sum_by_cause([("standard", each) for each in resistors])) == 1
    assert round(error_of(sum_by_cause([(f"own {n}", each) for n, each in enumerate(resistors)])), 2) == 0.32


def test_relative_errors_of_a_product() -> None:
    """JCGM 100:2008, 5.1.6, equation (12): three factors of 10 % each give 17.3 %."""
    two = times_factor(span("10", "1"), Fraction(10), Fraction("0.1"))
    three = times_factor(two, Fraction(10), Fraction("0.1"))
    assert three.value == 1000
    assert round(error_of(three) / 1000, 3) == 0.173


def test_a_bound_of_a_handbook_is_a_uniform_error() -> None:
    """JCGM 100:2008, 4.3.7, example 1: an error that "should not exceed 0,40 x 10^-6" has u = 0,23 x 10^-6.

    A meter of class 0.40 % that reads 100 kWh has that u in kWh. Two of them have sqrt(2) u, and 1.96 times it at 95 %.
    """
    read = energy({"m": meter("m", 100), "n": meter("n", 100)}, {"m": 1, "n": 1})
    assert round(0.40 / sqrt(3), 2) == 0.23
    assert abs(error_of(read) / UJ_PER_KWH - 1.96 * sqrt(2) * 0.40 / sqrt(3)) < 0.01


def meter(name: str, kwh: int) -> MeterEnergy:
    facts = MeterFacts(name, Role.TOTAL, accuracy_ppm=4_000, calibration=name, max_mw=10**9)
    return MeterEnergy(facts, 1, 1, {Method.COUNTER: kwh * UJ_PER_KWH}, 0)


def test_ratios_of_a_data_centre() -> None:
    """EN 50600-4-3, metric card of the public guide kopja3/green_DC: 99 kWh of 147 kWh is a REF of 0.67.

    The guide's answers to exercises, module 4: IT of 800 kWh per day at a PUE of 1.5 is 1,200 kWh.
    """
    read = {"made": meter("made", 99), "all": meter("all", 147), "it": meter("it", 800), "site": meter("site", 1200)}
    assert round(float(ratio(read, {"made": 1}, {"all": 1}).value or 0), 2) == 0.67
    assert ratio(read, {"site": 1}, {"it": 1}).value == Fraction("1.5")


def sci(carbon_kg: int, units: int) -> Fraction:
    """All carbon as operational: at 1,000 g/kWh a kilogram is a kilowatt-hour."""
    nothing = EmbodiedEmissions(Fraction(0), Fraction(0))
    result = sci_per_token(
        Fraction(carbon_kg * UJ_PER_KWH), FACILITY, Fraction(1000), Basis(EmissionBoundary.DIRECT), nothing, units
    )
    assert result.per_token is not None
    return result.per_token[0]


def test_sci_for_ai() -> None:
    """SCI for AI, 9.1.1: (5,000 + 1,500) kg over 50 billion tokens; 9.2.1: 3,200 kg over 40 million inferences is 0.08 g.

    The text of 9.1.1 prints 0.13 g for a million tokens. Its own terms give 6,500,000 g / 50,000 = 130 g for a million.
    """
    embodied = EmbodiedEmissions(Fraction(1_500_000), Fraction(1_500_000))
    consumer = sci_per_token(
        Fraction(5_000 * UJ_PER_KWH), FACILITY, Fraction(1000), Basis(EmissionBoundary.DIRECT), embodied, 50 * 10**9
    )
    assert consumer.per_token is not None
    assert {each * 10**6 for each in consumer.per_token} == {Fraction(130)}
    assert sci(3_200, 40 * 10**6) == Fraction("0.08")
