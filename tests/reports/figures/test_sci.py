"""SCI per token against hand calculation, and absent with its reason where a term is open."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary
from energy_agent.factors.embodied import EmbodiedEmissions
from reports.figures.sci import FACILITY, Sci, sci_per_token

LOCATION = Basis(EmissionBoundary.DIRECT)
KWH_UJ = 3_600_000_000_000


ENERGY, INTENSITY = Fraction(1000 * KWH_UJ), Fraction(381)
EMBODIED = EmbodiedEmissions(Fraction(19_000), Fraction(39_000))
TOKENS = 4_000_000_000


def test_the_worked_example() -> None:
    """1,000 kWh x 381 g + 19,000 to 39,000 g, over 4 x 10^9 tokens: 100 to 105 g for 10^6 tokens."""
    result = sci_per_token(ENERGY, FACILITY, INTENSITY, LOCATION, EMBODIED, TOKENS)
    assert result == Sci((Fraction(1, 10_000), Fraction(105, 1_000_000)))


def test_the_example_of_sci_for_ai_is_130_g_for_a_million_tokens() -> None:
    """6,500 kg over 50 x 10^9 tokens: 6.5 x 10^6 g / 5 x 10^10 = 1.3 x 10^-4 g; the specification prints 0.13 g for 10^6."""
    energy = Fraction(6_500_000, 1000) * KWH_UJ  # 6,500 kWh at 1,000 g/kWh
    nothing = EmbodiedEmissions(Fraction(0), Fraction(0))
    result = sci_per_token(energy, FACILITY, Fraction(1000), LOCATION, nothing, 50_000_000_000)
    assert result.per_token is not None
    assert result.per_token[0] * 10**6 == 130


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ({"energy_uj": None}, "no energy with bounds (E)"),
        ({"g_per_kwh": None}, "no location-based intensity (I)"),
        ({"embodied": None}, "no embodied emissions (M)"),
        ({"embodied": EmbodiedEmissions(None, None, "no footprint of X")}, "no embodied emissions (M): no footprint of X"),
        ({"tokens": None}, "no tokens were counted (R)"),
        ({"tokens": 0}, "no token was generated (R)"),
        ({"energy_uj": None, "tokens": None}, "no energy with bounds (E); no tokens were counted (R)"),
    ],
)
def test_an_open_term_leaves_it_absent_with_the_reason(missing: dict[str, None], reason: str) -> None:
    terms = {
        "energy_uj": ENERGY, "boundary": FACILITY, "g_per_kwh": INTENSITY, "basis": LOCATION, "embodied": EMBODIED,
        "tokens": TOKENS,
    } | missing  # fmt: skip
    assert sci_per_token(**terms) == Sci(None, reason)


def test_other_boundary_has_a_note() -> None:
    result = sci_per_token(ENERGY, "node", INTENSITY, LOCATION, EMBODIED, TOKENS)
    assert result.per_token is not None
    assert result.note == "energy at the node boundary: facility overhead is not included"


@pytest.mark.parametrize("accounting", [Accounting.RESIDUAL, Accounting.CONTRACT])
def test_a_market_instrument_is_refused(accounting: Accounting) -> None:
    with pytest.raises(UsageError, match="pass the location-based one"):
        sci_per_token(ENERGY, FACILITY, INTENSITY, replace(LOCATION, accounting=accounting), EMBODIED, TOKENS)


sizes = st.integers(0, 10**20)


@given(sizes, st.integers(0, 2000), st.integers(1, 10**15), sizes, sizes)
def test_tokens_times_sci_are_all_grams(uj: int, g: int, tokens: int, low_g: int, more_g: int) -> None:
    embodied = EmbodiedEmissions(Fraction(low_g), Fraction(low_g + more_g))
    per_token = sci_per_token(Fraction(uj), FACILITY, Fraction(g), LOCATION, embodied, tokens).per_token
    assert per_token is not None
    assert [each * tokens * KWH_UJ for each in per_token] == [uj * g + low_g * KWH_UJ, uj * g + (low_g + more_g) * KWH_UJ]
