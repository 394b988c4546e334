"""Records of groups: decisions with reasons, error budgets, and what policies would have done in mode shadow."""

import json
import logging
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dvfs.governor.loop import Governor
from dvfs.types import DeviceObservation, Mode, Observation, SteeringSettings, WorkCounters
from energy_agent.config.dvfs import Dvfs
from energy_agent.core.energy import Action, Identity
from energy_agent.core.snapshot import DvfsDevice, Snapshot
from energy_agent.core.steering import GroupStatus
from energy_agent.core.workloads.tokens import Latencies
from energy_agent.exposition.openmetrics import families
from wattlens.steering.build import configured
from wattlens.steering.group_records import GroupRecords
from wattlens.steering.group_text import budget_rows, decision_rows, describe_groups, shadow_lines, summary_rows

NS = 1_000_000_000
TTFT_EDGES, ITL_EDGES = (0.25, 0.5, 1.0), (0.025, 0.05)
TERMS = SteeringSettings(Mode.SHADOW, ("static", "limiter"), ttft_s=0.5, itl_s=0.05, attainment_ratio=0.99)


@dataclass
class Server:
    """A group of one GPU that serves; it is also the clock, one second per round."""

    terms: SteeringSettings = TERMS
    now_s: int = 1000
    ttft: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    itl: list[int] = field(default_factory=lambda: [0, 0, 0])
    itl_s: float = 0.0
    answers: bool = True
    has_itl: bool = True
    workload: str = "serving/chat"
    is_limited: bool = False  # at the power limit, with a request that waits
    tpot: list[int] | None = None  # requests by mean time between tokens, where the server has this histogram
    status: GroupStatus = field(default_factory=GroupStatus)

    def __post_init__(self) -> None:
        policies = configured(Dvfs.model_validate({"options": {"static": {"clean_s": 0}}}))
        self.governor = Governor(policies, None, self)
        self.records = GroupRecords(self)

    def boot_ns(self) -> int:
        return self.now_s * NS

    def utc_ns(self) -> int:
        return (1_800_000_000 + self.now_s) * NS

    def serve(self, *buckets: int, gap_s: float = 0.02, gaps: int = 50, refusals: tuple[Action, ...] = ()) -> None:
        """A second with first tokens by bucket, and gaps of `gap_s`."""
        self.now_s += 1
        self.ttft = [a + b for a, b in zip(self.ttft, (*buckets, 0, 0, 0, 0), strict=False)]
        self.itl[sum(gap_s > edge for edge in ITL_EDGES)] += gaps
        self.itl_s += gaps * gap_s
        ttft = Latencies(TTFT_EDGES, tuple(self.ttft), 0.1 * sum(self.ttft))
        itl = Latencies(ITL_EDGES, tuple(self.itl), self.itl_s) if self.has_itl else None
        progress = WorkCounters(
            self.boot_ns(), tokens=sum(self.itl), queue=int(self.is_limited), requests=sum(self.ttft), ttft=ttft, itl=itl
        )
        if self.tpot is not None:
            progress = replace(progress, tpot=Latencies(ITL_EDGES, tuple(self.tpot), 0.03 * sum(self.tpot)))
        device = DeviceObservation(
            "GPU-0", "NVIDIA H100 80GB HBM3", self.boot_ns(), 1980, 400_000, 700_000, 4 * self.is_limited, 100,
            400_000_000 * self.now_s, sm_clock_max_mhz=1980,
        )  # fmt: skip
        observation = Observation(
            "chat", self.boot_ns(), (device,), progress if self.answers else None, True, self.workload, terms=self.terms
        )
        self.governor.step([observation])
        self.status = self.records.add([observation], self.governor.policies(), refusals)["chat"]

    def view(self) -> DvfsDevice:
        [view] = self.governor.views()
        return replace(view, status=self.status)

    def described(self) -> dict[str, Any]:
        [group] = describe_groups([self.view()])
        return json.loads(json.dumps(group))

    def samples(self) -> dict[tuple[str, ...], str | None]:
        snapshot = Snapshot(1, 0, Identity("c", "n", "b", "0.1.0", simulated=True), dvfs=(self.view(),))
        return {(name, *labels[2:]): value for name, samples in families(snapshot).items() for labels, value in samples}


def test_error_budget_of_both_latencies() -> None:
    server = Server()
    server.serve(0)
    for _ in range(10):
        server.serve(90, 9, 1)  # 1 of 100 above 500 ms
    server.serve(0, gap_s=0.06, gaps=5)  # 5 of 505 gaps in a second whose mean is above 50 ms
    ttft, itl = server.described()["error_budget"].values()
    nothing = pytest.approx(0)
    assert ttft["hour"] == ttft["requests"] == {
        "observations": 1000, "missed_lower": 10, "missed_upper": 10, "left": {"lower": nothing, "upper": nothing},
    }  # fmt: skip
    budget_left = itl["requests"]["left"]
    assert (itl["requests"]["missed_upper"], itl["requests"]["observations"]) == (5, 505)
    assert budget_left["lower"] == budget_left["upper"] == pytest.approx(1 - 5 / 5.05)
    samples = server.samples()
    assert samples["dvfs_slo_missed_total", "ttft"] == samples["dvfs_slo_surely_missed_total", "ttft"] == "10"
    assert samples["dvfs_slo_budget_left_hour_ratio_lower", "itl"] == f"{budget_left['lower']:.4f}"
    rows = budget_rows(server.described())
    assert rows[1][:6] == ("TTFT", "500 ms", "99 %", "last 1,000 requests", "1000", "10")
    assert rows[3][-1] == "1 %"


def test_means_of_requests_count_where_the_server_has_them() -> None:
    server = Server(tpot=[0, 0, 0])
    server.serve(0)
    server.tpot = [90, 8, 2]
    server.serve(100, gap_s=0.02)  # the mean of all gaps is within the limit
    itl = server.described()["error_budget"]["itl"]["hour"]
    assert (itl["observations"], itl["missed_lower"], itl["missed_upper"]) == (100, 2, 2)


def test_a_limit_between_two_edges_leaves_the_budget_unknown_where_the_edges_decide() -> None:
    server = Server(replace(TERMS, ttft_s=0.4))
    server.serve(0)
    server.serve(100, 50, 0)
    hour = server.described()["error_budget"]["ttft"]["hour"]
    assert hour["reason"] == "the histogram has no edge at the limit of 0.4 s"
    assert "left" not in hour
    assert ("dvfs_slo_budget_absent_info", "ttft", "hour", hour["reason"]) in server.samples()
    server.serve(0, 0, 40)  # overspent wherever in its bucket an observation is
    assert server.described()["error_budget"]["ttft"]["hour"]["left"] == {
        "lower": pytest.approx(1 - 90 / 1.9), "upper": pytest.approx(1 - 40 / 1.9),
    }  # fmt: skip


def test_missing_metrics_and_a_new_limit() -> None:
    server = Server(has_itl=False)
    server.serve(0)
    server.serve(10)
    budgets = server.described()["error_budget"]
    assert budgets["itl"]["hour"]["reason"] == "the inference server has no histogram of this latency"
    assert budgets["ttft"]["hour"]["left"] == {"lower": 1, "upper": 1}
    server.answers = False
    server.serve(10)
    assert server.described()["error_budget"]["ttft"]["hour"]["reason"] == "no inference server responds"
    server.answers, server.terms = True, replace(TERMS, ttft_s=1.0, itl_s=None)
    server.serve(10)
    budgets = server.described()["error_budget"]
    assert list(budgets) == ["ttft"]
    assert budgets["ttft"]["hour"]["observations"] == 20, "of the new limit, with what came while the server did not respond"


def test_a_group_without_a_workload_has_no_latencies_and_the_configuration_is_named() -> None:
    server = Server(workload="")
    server.answers = False
    server.serve(10)
    assert "dvfs.groups" in server.described()["error_budget"]["ttft"]["hour"]["reason"]


def test_decisions_that_change_a_request_are_kept_with_their_reasons() -> None:
    server = Server()
    for _ in range(5):
        server.serve(10)
    server.answers = False
    for _ in range(10):
        server.serve(0)
    refusal = Action(1, "GPU-0+GPU-1", "static", "refuse", "{}", "no_baseline: the clock knob needs a baseline")
    server.serve(0, refusals=(refusal,))
    rows = decision_rows(server.described())
    assert rows[1][2:] == ("refuse", "-", refusal.outcome)
    assert rows[-1] == ("2027-01-15T08:16:41Z", "static", "set", "1005 MHz", "knee")
    assert {row[4] for row in rows[1:]} > {"knee"}
    server.answers = True
    for n in range(30):
        server.terms = replace(TERMS, mode=(Mode.SHADOW, Mode.OBSERVE)[n % 2])
        server.serve(0)
    assert len(server.status.decisions) == 10


@pytest.mark.parametrize(("policies", "setting"), [(("static",), "1005 MHz"), (("static", "slo"), "-")])
def test_the_setting_of_a_group_is_what_the_policies_result_in(policies: tuple[str, ...], setting: str) -> None:
    """With `slo` the SLO decides, which has not lowered the clock yet; and without an actuator nothing is applied."""
    server = Server(terms=replace(TERMS, policies=policies))
    for _ in range(5):
        server.serve(10)
    assert server.described()["current"][0]["setting"] == {"sm_clock_max_mhz": 1005}
    assert summary_rows([server.described()])[1][4] == setting
    assert summary_rows([server.described() | {"mode": "enforce"}])[1][4] == "-"


@pytest.mark.smoke
def test_an_hour_in_shadow_is_summarised_once_with_bounds_or_reasons(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wattlens.dvfs")
    server = Server()
    for second in range(3700):
        server.serve(95, 4, 1 if second % 10 == 0 else 0)
    shadow = server.described()["shadow"]
    static, limiter = shadow["policies"]
    assert shadow["joules"] == pytest.approx(400 * shadow["seconds"])
    # Static locks the knee, 1005 of 1980 MHz: times up to 1.97 times as long put the bucket up to 500 ms in doubt.
    assert static["saving_reason"] == "it has no model of energy"
    assert static["missed"]["ttft"]["lower"] == pytest.approx(0.1 / 99.1, rel=1e-2)
    assert static["missed"]["ttft"]["upper"] == pytest.approx(4.1 / 99.1, rel=1e-2)
    assert static["missed"]["itl"] == {"observations": pytest.approx(3698 * 50, rel=0.01), "lower": 0, "upper": 0}
    assert limiter["saving_reason"] == "it requests no setting (not_saturated)"
    assert (limiter["missed"], limiter["missed_reason"]) == ({}, limiter["saving_reason"])
    lines = [record.message for record in caplog.records if record.message.startswith("group chat: ")]
    assert lines[0] == "group chat: 60 min in mode shadow, 1.44 MJ used"
    assert len(lines) == 3
    assert lines[1].endswith("time between tokens: 0.00 to 0.00 % over the limit")
    assert shadow_lines(shadow)[2] == f"limiter: saving unknown: {limiter['saving_reason']}"
    assert summary_rows([server.described()])[1][-1] == "nothing is applied in mode shadow"
    samples = server.samples()
    assert float(samples["dvfs_shadow_missed_ratio_upper", "static", "ttft"] or 0) == pytest.approx(4.1 / 99.1, rel=1e-2)
    assert samples["dvfs_shadow_absent_info", "limiter", limiter["saving_reason"]] == "1"


def test_policy_that_goes_by_measurements_has_no_forecast_in_mode_shadow() -> None:
    server = Server(replace(TERMS, policies=("limiter",)), is_limited=True)
    for _ in range(60):
        server.serve(10)
    [limiter] = server.described()["shadow"]["policies"]
    assert "measured effect" in limiter["saving_reason"]


def test_a_prediction_has_its_interval_in_joules() -> None:
    server = Server(replace(TERMS, policies=("slo",)))
    for _ in range(200):
        server.serve(5)
    [policy] = server.described()["shadow"]["policies"]
    if "saving" in policy:
        assert policy["saving"]["lower"] <= policy["saving"]["ratio"] <= policy["saving"]["upper"]
        used = server.described()["shadow"]["joules"]
        assert policy["saved_joules"]["upper"] == pytest.approx(used * policy["saving"]["upper"])
    else:
        assert policy["saving_reason"].startswith("not enough is measured yet (")
