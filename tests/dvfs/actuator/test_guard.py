"""The guard's laws: within owner's and device's limits, no clock without a baseline, a lock is a range that can idle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.actuator.guard import ActuatorRefusalError, permit
from dvfs.types import Constraints, DeviceLimits, Setting

RANGES = st.none() | st.tuples(st.integers(1, 2500), st.integers(1, 2500)).map(lambda r: (min(r), max(r)))


@given(
    clock=st.none() | st.integers(1, 5000),
    power=st.none() | st.integers(1, 2_000_000),
    knobs=st.frozensets(st.sampled_from(["clock", "power"])),
    clock_range=RANGES,
    power_range=RANGES,
    baseline=st.sampled_from([None, "unlocked", (210, 1980)]),
    clocks=st.lists(st.integers(100, 2500), max_size=30),
    device_power=RANGES,
    original_mw=st.none() | st.integers(1, 2500),
)
def test_never_outside_limits(
    clock, power, knobs, clock_range, power_range, baseline, clocks, device_power, original_mw
) -> None:
    limits, can = DeviceLimits(knobs, clock_range, power_range, baseline), Constraints(tuple(clocks), device_power)
    try:
        allowed = permit(Setting(clock, power), limits, can, original_mw)
    except ActuatorRefusalError:
        return
    assert (allowed.power_mw is None) == (power is None)
    assert (allowed.clock_mhz is None) == (clock is None)
    if allowed.power_mw is not None:
        assert "power" in knobs
        for low, high in filter(None, (power_range, device_power)):
            assert low <= allowed.power_mw <= high
        assert original_mw is None or allowed.power_mw <= original_mw
    if allowed.clock_mhz is not None:
        low, high = allowed.clock_mhz
        assert "clock" in knobs
        assert baseline is not None
        assert low == min(clocks) < high
        assert high in clocks
        assert clock_range is None or clock_range[0] <= high <= clock_range[1]
        assert baseline == "unlocked" or high <= baseline[1]


@pytest.mark.parametrize(("requested_mw", "allowed_mw"), [(700_000, 500_000), (450_000, 450_000), (100_000, 200_000)])
def test_a_power_limit_is_never_raised_above_the_original(requested_mw: int, allowed_mw: int) -> None:
    limits, can = DeviceLimits(frozenset({"power"}), None, (200_000, 700_000)), Constraints((), (150_000, 700_000))
    assert permit(Setting(None, requested_mw), limits, can, 500_000).power_mw == allowed_mw


def test_between_two_steps_the_higher() -> None:
    limits = DeviceLimits(frozenset({"clock"}), None, None, "unlocked")
    assert permit(Setting(1000), limits, Constraints((345, 990, 1005, 1980))).clock_mhz == (345, 1005)
    assert permit(Setting(100), limits, Constraints((345, 990, 1005, 1980))).clock_mhz == (345, 990)


@pytest.mark.parametrize(
    ("limits", "code"),
    [(DeviceLimits(), "knob_not_allowed"), (DeviceLimits(frozenset({"clock"})), "no_baseline"),
     (DeviceLimits(frozenset({"clock"}), (2000, 2100), None, "unlocked"), "empty_range")],
)  # fmt: skip
def test_refusals_say_why(limits: DeviceLimits, code: str) -> None:
    with pytest.raises(ActuatorRefusalError) as refused:
        permit(Setting(1005), limits, Constraints((345, 1005, 1980)))
    assert refused.value.code == code
