"""Policy asked: a word is passed on while it holds, and never on a board in trouble."""

from dataclasses import replace

from dvfs.policies.asked import SPEC
from dvfs.types import DeviceObservation, Observation, Setting

NS = 1_000_000_000
CONFIG = SPEC.configure({}, ())


def test_a_word_is_passed_on_changed_and_ended() -> None:
    state, actions = SPEC.start(), []
    words = [None, Setting(1200), Setting(1200), Setting(1005), None, Setting(), Setting(1005)]
    for t_s, asked in enumerate(words, 100):
        devices = tuple(DeviceObservation(f"GPU-{i}", "H100", t_s * NS, 1980, event_reasons=0) for i in range(2))
        decision, state = SPEC.decide(Observation("g", t_s * NS, devices, asked=asked), state, CONFIG)
        actions.append((decision.action, dict(decision.settings)))
    both = ("GPU-0", "GPU-1")
    assert actions == [
        ("hold", {}), ("set", dict.fromkeys(both, Setting(1200))), ("hold", {}), ("set", dict.fromkeys(both, Setting(1005))),
        ("release", {}), ("hold", {}), ("set", dict.fromkeys(both, Setting(1005))),
    ]  # fmt: skip


def test_heat_ends_a_word_and_it_comes_back_afterwards() -> None:
    device = DeviceObservation("GPU-0", "H100", 100 * NS, 1980, event_reasons=0)
    observation = Observation("g", 100 * NS, (device,), asked=Setting(1200))
    _, state = SPEC.decide(observation, SPEC.start(), CONFIG)
    decision, state = SPEC.decide(replace(observation, devices=(replace(device, event_reasons=0x20),)), state, CONFIG)
    assert (decision.action, decision.reason) == ("release", "sw_thermal_slowdown")
    assert SPEC.decide(observation, state, CONFIG)[0].action == "set"
