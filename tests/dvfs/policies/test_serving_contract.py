"""What every policy that keeps a server's latency limits does: follow the user's attainment, and let go where it cannot see."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from dvfs import knees
from dvfs.policies.aimd import SPEC as AIMD
from dvfs.policies.slo import SPEC as SLO
from dvfs.types import Decision, DvfsPolicy, Observation
from tests.dvfs.policies.serving_load import TOP, Load

KNEE = 1005
each_policy = pytest.mark.parametrize("policy", [AIMD, SLO], ids=["aimd", "slo"])


def load(policy: DvfsPolicy, **more: object) -> Load:
    return Load(policy, policy.configure({}, knees.load()), ttft_s=0.05, itl_s=0.01, **more)


@each_policy
@pytest.mark.parametrize("attainment", [0.9, 0.99, 0.999])
def test_it_goes_by_the_attainment_as_the_user_wrote_it(policy: DvfsPolicy, attainment: float) -> None:
    server = load(policy, attainment=attainment, miss_every=50)  # 2 % of first tokens are late at any clock
    server.run(1200)
    assert (server.clock() < TOP) == (attainment == 0.9)


@each_policy
def test_a_step_that_brings_several_tokens_is_judged_by_the_time_per_token(policy: DvfsPolicy) -> None:
    clocks = []
    for drafts in (0, 3):
        server = Load(policy, policy.configure({}, knees.load()), ttft_s=0.05, itl_s=0.06, drafts=drafts)  # limit: 50 ms
        clocks.append(server.run(300).clock())
    assert clocks == [TOP, KNEE]


@each_policy
def test_tokens_that_are_counted_when_a_request_ends_do_not_shorten_gaps(policy: DvfsPolicy) -> None:
    server = Load(policy, policy.configure({}, knees.load()), ttft_s=0.05, itl_s=0.06)
    server.spoil = lambda seen: replace(seen, progress=replace(seen.progress, tokens=5000 * (server.requests // 50)))
    assert server.run(300).clock() == TOP


def without(**changes: object) -> Callable[[Observation], Observation]:
    return lambda seen: replace(seen, progress=replace(seen.progress, **changes))


def device_with(**changes: object) -> Callable[[Observation], Observation]:
    return lambda seen: replace(seen, devices=(replace(seen.devices[0], **changes),))


TROUBLES: dict[str, Callable[[Observation], Observation]] = {
    "missing_ttft": without(ttft=None),
    "missing_itl": without(itl=None),
    "missing_queue": without(queue=None),
    "stale_progress": without(boot_ns=0),
    "no_progress": lambda seen: replace(seen, progress=None),
    "no_slo": lambda seen: replace(seen, terms=replace(seen.terms, ttft_s=None, itl_s=None)),
    "no_devices": lambda seen: replace(seen, devices=()),
    "stale": device_with(boot_ns=0),
    "missing": device_with(sm_clock_mhz=None),
    "hw_power_brake": device_with(event_reasons=0x80 | 0x4),
    "hw_thermal_slowdown": device_with(event_reasons=0x40),
    "sw_thermal_slowdown": device_with(event_reasons=0x20),
    "unknown_sku": device_with(sku="Voodoo 2"),
    "no_room": device_with(sm_clock_max_mhz=KNEE),
}


@each_policy
@pytest.mark.parametrize("reason", TROUBLES)
def test_what_it_cannot_see_or_must_not_steer_releases_at_once_and_is_named(policy: DvfsPolicy, reason: str) -> None:
    server = load(policy)
    server.run(120)
    assert server.clock() < TOP
    server.spoil = TROUBLES[reason]
    assert server.second() == Decision("release", reason)
    assert server.second() == Decision("hold", reason)


@each_policy
@pytest.mark.parametrize(("reason", "name", "value"), [("restarted", "requests", 0), ("gap", "t_s", 1e6)])
def test_a_restart_and_a_gap_release_and_it_starts_again(policy: DvfsPolicy, reason: str, name: str, value: float) -> None:
    server = load(policy)
    server.run(120)
    setattr(server, name, value)
    assert server.second() == Decision("release", reason)
    server.run(120)
    assert server.clock() == KNEE
