"""Policy slo follows the user's attainment, and releases the clock where readings are missing or the GPU is in trouble."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from dvfs import knees
from dvfs.policies.slo import SPEC
from dvfs.types import Decision, Observation
from tests.dvfs.policies.serving_load import TOP, Load

KNEE = 1005
CONFIG = SPEC.configure({}, knees.load())


def load(**more: object) -> Load:
    return Load(SPEC, CONFIG, ttft_s=0.05, itl_s=0.01, **more)


@pytest.mark.parametrize("attainment", [0.9, 0.99, 0.999])
def test_it_goes_by_the_attainment_as_the_user_wrote_it(attainment: float) -> None:
    server = load(attainment=attainment, miss_every=50)  # 2 % of first tokens are late at any clock
    server.run(1200)
    assert (server.clock() < TOP) == (attainment == 0.9)


def test_a_step_that_brings_several_tokens_is_judged_by_the_time_per_token() -> None:
    clocks = []
    for drafts in (0, 3):
        server = Load(SPEC, CONFIG, ttft_s=0.05, itl_s=0.06, drafts=drafts)  # limit: 50 ms
        clocks.append(server.run(300).clock())
    assert clocks == [TOP, KNEE]


def test_tokens_that_are_counted_when_a_request_ends_do_not_shorten_gaps() -> None:
    server = Load(SPEC, CONFIG, ttft_s=0.05, itl_s=0.06)
    server.spoil = lambda observation: replace(
        observation, progress=replace(observation.progress, tokens=5000 * (server.requests // 50))
    )
    assert server.run(300).clock() == TOP


def without(**changes: object) -> Callable[[Observation], Observation]:
    return lambda observation: replace(observation, progress=replace(observation.progress, **changes))


def device_with(**changes: object) -> Callable[[Observation], Observation]:
    return lambda observation: replace(observation, devices=(replace(observation.devices[0], **changes),))


TROUBLES: dict[str, Callable[[Observation], Observation]] = {
    "missing_ttft": without(ttft=None),
    "missing_itl": without(itl=None),
    "missing_queue": without(queue=None),
    "stale_progress": without(boot_ns=0),
    "no_progress": lambda observation: replace(observation, progress=None),
    "no_slo": lambda observation: replace(observation, terms=replace(observation.terms, ttft_s=None, itl_s=None)),
    "no_devices": lambda observation: replace(observation, devices=()),
    "stale": device_with(boot_ns=0),
    "missing": device_with(sm_clock_mhz=None),
    "hw_power_brake": device_with(event_reasons=0x80 | 0x4),
    "hw_thermal_slowdown": device_with(event_reasons=0x40),
    "sw_thermal_slowdown": device_with(event_reasons=0x20),
    "unknown_sku": device_with(sku="Voodoo 2"),
    "no_room": device_with(sm_clock_max_mhz=KNEE),
}


@pytest.mark.parametrize("reason", TROUBLES)
def test_what_it_cannot_see_or_must_not_steer_releases_at_once_and_is_named(reason: str) -> None:
    server = load()
    server.run(120)
    assert server.clock() < TOP
    server.spoil = TROUBLES[reason]
    assert server.second() == Decision("release", reason)
    assert server.second() == Decision("hold", reason)


@pytest.mark.parametrize(("reason", "name", "value"), [("restarted", "requests", 0), ("gap", "t_s", 1e6)])
def test_a_restart_and_a_gap_release_and_it_starts_again(reason: str, name: str, value: float) -> None:
    server = load()
    server.run(120)
    setattr(server, name, value)
    assert server.second() == Decision("release", reason)
    server.run(120)
    assert server.clock() == KNEE


def test_a_limit_that_is_added_releases_the_clock_for_one_reading() -> None:
    server = load()
    server.spoil = lambda observation: replace(observation, terms=replace(observation.terms, ttft_s=None))
    server.run(120)
    assert server.clock() < TOP
    server.spoil = None
    assert server.second() == Decision("release", "learning")


def test_it_chooses_from_the_clocks_that_are_possible() -> None:
    server = load()
    server.spoil = lambda observation: replace(observation, clocks_mhz=(700, 1200, 1980))
    server.run(120)
    assert server.clock() == 700
