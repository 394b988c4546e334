"""Numbers of `wattlens job` for people."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import NS_PER_S
from wattlens.job.output import duration_text, energy_text, joules_text, number_text
from wattlens.job.statement import gpus_peak


@pytest.mark.parametrize(
    ("joules", "text"),
    [(0, "0 J"), (Fraction(2197, 10_000), "219.7 mJ"), (450, "450.0 J"), (27_000, "27.00 kJ"), (5 * 10**12, "5.000 TJ")],
)
def test_joules_have_a_prefix_and_four_digits(joules, text):
    assert joules_text(Fraction(joules)) == text


def test_energy_is_in_kwh_from_one_kwh_on():
    assert energy_text(3_600_000 * 10**6) == "1.000 kWh"
    assert energy_text(3_600_000 * 10**6 - 1) == "3.600 MJ"


@given(st.integers(1, 10**15), st.integers(1, 10**9))
def test_a_number_keeps_four_digits_and_has_no_exponent(numerator, denominator):
    value = Fraction(numerator, denominator)
    text = number_text(value)
    assert "e" not in text
    assert abs(Fraction(text.replace(",", "")) - value) <= value / 1_900


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00:00"), (3_661, "01:01:01"), (93_784, "1-02:03:04")])
def test_durations_are_those_of_slurm(seconds, text):
    assert duration_text(seconds * 10**9 + 5) == text


@pytest.mark.parametrize(
    ("first_s", "last_s", "cells", "gpus"),
    [
        (30, 54, {0: 48}, 2),  # 24 s of two GPUs
        (600, 1_200, {0: 300, 900: 600}, 2),  # five minutes of one GPU, five of two
        (0, 3_600, {0: 900, 900: 3_600, 1_800: 900, 2_700: 900}, 4),
    ],
)
def test_gpus_at_once_is_the_mean_of_the_jobs_part_of_a_quarter_of_an_hour(first_s, last_s, cells, gpus):
    quarters_ns = {start_s * NS_PER_S: gpu_s * NS_PER_S for start_s, gpu_s in cells.items()}
    assert gpus_peak(quarters_ns, first_s * NS_PER_S, last_s * NS_PER_S) == gpus
