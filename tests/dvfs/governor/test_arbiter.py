"""The arbiter: a request of lower priority never exceeds or undoes one of higher priority."""

import math

from hypothesis import given
from hypothesis import strategies as st

from dvfs.governor.arbiter import settle
from dvfs.types import Setting

KNOBS = st.none() | st.integers(1, 2000)
SETTINGS = st.lists(st.builds(Setting, KNOBS, KNOBS), max_size=3)


def bound(value: int | None) -> float:
    return math.inf if value is None else value


@given(st.booleans(), st.lists(st.integers(1, 2000), max_size=3), SETTINGS, SETTINGS)
def test_no_request_exceeds_one_of_higher_priority(
    hot: bool, caps_mw: list[int], slo: list[Setting], efficiency: list[Setting]
) -> None:
    setting = settle(hot=hot, caps_mw=caps_mw, slo=slo, efficiency=efficiency)
    clock, power = bound(setting.sm_clock_max_mhz), bound(setting.power_limit_mw)
    assert power <= min(caps_mw, default=math.inf)
    assert not hot or setting.sm_clock_max_mhz is None
    if slo:
        assert hot or clock == bound(slo[0].sm_clock_max_mhz)
        assert power == min([bound(slo[0].power_limit_mw), *caps_mw])
    else:
        assert hot or clock == min([bound(other.sm_clock_max_mhz) for other in efficiency], default=math.inf)
        assert power == min([*(bound(other.power_limit_mw) for other in efficiency), *caps_mw], default=math.inf)
