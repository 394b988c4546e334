"""Policy static: slow to set, quick to let go, and never anything but the knee."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs import knees
from dvfs.policies.static import SPEC
from dvfs.types import DeviceObservation, Observation, Setting, WorkCounters

CONFIG = SPEC.configure({"clean_s": 3, "stale_s": 5}, knees.load())
NS = 1_000_000_000


def observe(t_s: float, **device: object) -> Observation:
    one = DeviceObservation("GPU-0", "NVIDIA H100 80GB HBM3", int(t_s * NS), sm_clock_mhz=1980, event_reasons=0)
    return Observation("g", int(t_s * NS), (replace(one, **device),))


def run(*observations: Observation) -> list[tuple[str, str]]:
    state, decisions = SPEC.start(), []
    for observation in observations:
        decision, state = SPEC.decide(observation, state, CONFIG)
        decisions.append((decision.action, decision.reason))
    return decisions


def test_sets_the_knee_after_clean_time_and_holds() -> None:
    state = SPEC.start()
    for t in (0, 1, 2):
        decision, state = SPEC.decide(observe(t), state, CONFIG)
        assert decision.action == "hold"
    decision, state = SPEC.decide(observe(3), state, CONFIG)
    assert (decision.action, decision.settings) == ("set", {"GPU-0": Setting(sm_clock_max_mhz=1005)})
    assert SPEC.decide(observe(4), state, CONFIG)[0].action == "hold"


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"sm_clock_mhz": None}, "missing"),
        ({"event_reasons": None}, "missing"),
        ({"boot_ns": 0}, "stale"),
        ({"event_reasons": 0x40}, "hw_thermal_slowdown"),
        ({"event_reasons": 0x80 | 0x4}, "hw_power_brake"),
        ({"sku": "Voodoo 2"}, "unknown_sku"),
    ],
)
def test_trouble_releases_at_once_and_delays_the_next_set(trouble: dict[str, object], reason: str) -> None:
    decisions = run(
        observe(10),
        observe(13),
        observe(14, **trouble),
        observe(15, **(trouble if reason != "stale" else {})),
        observe(16),
        observe(18.5),
        observe(19),
    )
    assert decisions[1] == ("set", "knee")
    assert decisions[2] == ("release", reason)
    assert decisions[5] in {("hold", "settling"), ("set", "knee")}
    assert decisions[6] in {("set", "knee"), ("hold", "at_knee")}


def test_power_cap_is_no_trouble() -> None:
    assert run(observe(0, event_reasons=0x4), observe(3, event_reasons=0x4))[1] == ("set", "knee")


def test_queue_growth_releases() -> None:
    def queue(t: float, waiting: int | None, age: float = 0) -> Observation:
        return replace(observe(t), progress=WorkCounters(int((t - age) * NS), queue=waiting), progress_expected=True)

    assert run(queue(10, 0), queue(13, 0), queue(14, 2))[2] == ("release", "queue_growth")
    assert run(queue(10, 0), queue(13, 0), queue(14, 0, age=6))[2] == ("release", "stale_progress")
    assert run(queue(10, 0), queue(13, 0), replace(observe(14), progress_expected=True))[2] == ("release", "no_progress")


@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from([{}, {"event_reasons": 0x20}, {"sm_clock_mhz": None}])), max_size=20)
)
def test_never_sets_within_the_clean_time_of_trouble(events: list[tuple[float, dict[str, object]]]) -> None:
    state, trouble_s = SPEC.start(), None
    for t, trouble in sorted(events, key=lambda e: e[0]):
        decision, state = SPEC.decide(observe(t, **trouble), state, CONFIG)
        if trouble:
            assert decision.action != "set"
            trouble_s = t
        if decision.action == "set":
            assert trouble_s is None or t - trouble_s > 0
            assert set(decision.settings.values()) == {Setting(sm_clock_max_mhz=1005)}
