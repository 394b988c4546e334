"""The serving baselines: to the lowest clock with slack, up again after misses, and released when a queue grows."""

import pytest

from benchmarks.baselines.aimd import SPEC as AIMD
from benchmarks.baselines.bisect import SPEC as BISECT
from dvfs import knees
from dvfs.types import Decision, DvfsPolicy
from tests.dvfs.policies.serving_load import TOP, Load

KNEE = 1005
each_baseline = pytest.mark.parametrize("baseline", [AIMD, BISECT], ids=["aimd", "bisect"])


def steered_server(baseline: DvfsPolicy, itl_s: float = 0.01, follows_clock: bool = False) -> Load:
    return Load(baseline, baseline.configure({}, knees.load()), ttft_s=0.05, itl_s=itl_s, follows_clock=follows_clock)


@each_baseline
def test_clock_falls_to_the_knee_with_slack_and_rises_after_misses(baseline: DvfsPolicy) -> None:
    server = steered_server(baseline).run(600)
    assert server.clock() == KNEE
    server.ttft_s = 0.9
    assert server.run(20).clock() == TOP


@each_baseline
def test_clock_stays_above_the_one_at_which_tokens_are_late(baseline: DvfsPolicy) -> None:
    server = steered_server(baseline, itl_s=0.035, follows_clock=True)  # 50 ms at 1386 MHz
    assert 1386 <= server.run(1200).clock() <= 1600


@each_baseline
def test_growing_queue_releases_the_clock(baseline: DvfsPolicy) -> None:
    server = steered_server(baseline).run(600)
    server.queue = 2
    assert server.second() == Decision("release", "queue")
    server.queue = 0
    server.run(20)
    assert KNEE <= server.clock() < 1300
