"""How far a workload is, on the boot clock: blocks of a proof are cut there, and UTC may be set between any two readings."""

import os
from pathlib import Path

import pytest

from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.config.tokens import TokenSource
from energy_agent.core.workloads.training_report import TrainingReport
from energy_agent.runtime.clock import RealClock
from energy_agent.tokens.poller import TokenPoller
from tests.support import eventually
from wattlens.steering.observer import progress_of

S = 10**9


class SteppedClock(RealClock):
    """The machine's clock, whose UTC is set by `step_ns`."""

    step_ns = 0

    def utc_ns(self) -> int:
        return super().utc_ns() + self.step_ns


@pytest.mark.parametrize("step_s", [-86_400, -3_600, -1, 1, 3_600, 86_400])
def test_when_a_step_ended_does_not_move_with_utc(step_s: int) -> None:
    clock = SteppedClock()
    intake, tokens = TrainingReports(clock, lambda identity: True, lambda: 10**15), TokenPoller(clock)
    before_ns = clock.boot_ns()
    intake.report((os.getpid(), 0), "job", TrainingReport("0123456789abcdef", 60.0, {"training": 7}, 4096, step_age_s=2.5))
    after_ns = clock.boot_ns()
    clock.step_ns = step_s * S
    progress = progress_of("job", tokens, intake, clock)
    assert progress is not None
    assert (progress.steps, progress.tokens) == (7, 4096)
    assert before_ns <= progress.boot_ns <= after_ns
    assert progress.step_end_ns == progress.boot_ns - 2.5 * S


def test_when_a_page_was_read_does_not_move_with_utc() -> None:
    clock = SteppedClock()
    page = 'vllm:generation_tokens_total{model_name="m",engine="0"} 9\n'
    tokens = TokenPoller(clock, lambda *_, **__: "# TYPE vllm:generation_tokens_total counter\n" + page)
    before_ns = clock.boot_ns()
    tokens.configure([TokenSource(workload="chat", url="http://127.0.0.1:9/metrics", server="vllm", period_s=60)])
    try:
        eventually(lambda: tokens.latest("chat"))
        after_ns = clock.boot_ns()
        clock.step_ns = 3_600 * S
        progress = progress_of("chat", tokens, None, clock)
    finally:
        tokens.stop()
    assert progress is not None
    assert before_ns <= progress.boot_ns <= after_ns


@pytest.mark.parametrize(("server", "page"), [("vllm", "vllm-0.32.0.txt"), ("ray_serve", "ray-2.60.0.txt")])
def test_only_an_exact_sum_of_latencies_is_one(server: str, page: str) -> None:
    text = (Path(__file__).parents[2] / "energy_agent/tokens/servers/pages" / page).read_text()
    clock = RealClock()
    tokens = TokenPoller(clock, lambda *_, **__: text)
    tokens.configure([TokenSource(workload="chat", url="http://127.0.0.1:9/metrics", server=server, period_s=0.5)])
    try:
        eventually(lambda: (latest := tokens.latest("chat")) is not None and latest.itl is not None)
        progress = progress_of("chat", tokens, None, clock)
    finally:
        tokens.stop()
    assert progress is not None
    assert progress.itl is not None
    assert (progress.latency_sum_s is None) == (server == "ray_serve")
