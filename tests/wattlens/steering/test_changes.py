"""A workload that names other jobs all the time makes few groups and few lines of log, and changes nothing of others."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.config.dvfs import Dvfs
from energy_agent.tokens.poller import TokenPoller
from tests.wattlens.steering.test_isolation import Acts, Clock, Report, Workload, act, identity, snapshot_of, uuids
from wattlens.steering.change_limit import CHANGES_MAX
from wattlens.steering.groups import SteeringGroup
from wattlens.steering.observer import Observer
from wattlens.steering.requests import SteeringRequests

ATTACKER = Workload(identity("process", 1, 1), frozenset({3}))
VICTIM = Workload(identity("process", 0, 1), frozenset({0}), Acts(Report("10.1.2.3:29500", 0, 1, 5)))


def play(history: Sequence[tuple[int, Report | None]]) -> list[tuple[SteeringGroup, ...]]:
    """The groups after each report of the attacker; the first of a pair is how long that one comes again each second."""
    clock = Clock()
    asks, training = SteeringRequests(clock), TrainingReports(clock, lambda _: True)  # type: ignore[arg-type]
    config = Dvfs.model_validate({"mode": "shadow", "auto_groups": True})
    observer = Observer(config, clock, asks, TokenPoller(clock), training)  # type: ignore[arg-type]
    rounds, second = [], 0
    for seconds, report in history:
        for _ in range(seconds):
            clock.now_s, second = clock.now_s + 1, second + 1
            workloads = [VICTIM, replace(ATTACKER, acts=Acts(report))]
            for pid, workload in enumerate(workloads):
                act(workload, pid, second, training, asks)
            observer.observe(snapshot_of(workloads, clock, {}))
            assert not observer.failures
            rounds.append(observer.groups)
    return rounds


reports = st.builds(Report, st.integers(0, 1 << 30).map("h{}:1".format), st.integers(0, 1), st.integers(1, 1 << 24), st.just(1))


@pytest.mark.smoke
@given(history=st.lists(st.tuples(st.sampled_from([1, 2, 59, 61, 200]), st.none() | reports), min_size=20, max_size=40))
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_one_workload_makes_few_groups_reasons_and_lines(
    history: list[tuple[int, Report | None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    caplog.clear()
    rounds = play(history)
    hours = len(rounds) // 3600 + 1
    of_attacker = {(group.name, group.reason) for groups in rounds for group in groups if "GPU-3" in uuids(group)}
    assert len({name for name, _ in of_attacker}) <= (CHANGES_MAX + 1) * hours + 1
    assert len(of_attacker) <= 2 * (CHANGES_MAX + 1) * hours + 2
    assert len(caplog.records) <= len(rounds) // 60 + 2 * (CHANGES_MAX + 1) * hours + 2
    of_victim = {(group.name, group.reason) for groups in rounds for group in groups if "GPU-0" in uuids(group)}
    assert len(of_victim) == 1


@pytest.mark.smoke
def test_a_job_that_changes_again_and_again_is_not_steered_until_it_stays() -> None:
    rounds = play([*((1, Report(f"h{n}:1", 0, 1, 1)) for n in range(300)), (3600, Report("last:1", 0, 1, 1))])
    reasons = [group.reason for groups in rounds for group in groups if "GPU-3" in uuids(group)]
    assert reasons[0] == reasons[1] == ""
    assert len(set(reasons)) == 2
    assert all(reasons[10:50])
    assert reasons[-1] == ""
    assert any("last" in group.name for group in rounds[-1])
