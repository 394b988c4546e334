"""Parts of a sweep without a node: whom it is about, what counts the work, its words, and what the command line refuses."""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import pytest

from dvfs.actuator.client import ActuatorClient, ActuatorError
from dvfs.knees import load as load_knees
from dvfs.sweep.estimate import points
from dvfs.sweep.profile import REFERENCE, SettingInterval, SweepPlan, SweepProfile
from dvfs.sweep.reading import Sample
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.runtime.clock import RealClock
from tests.doubles.agent import Agent, serving
from tests.raw_server import OK, RawServer
from tests.support import eventually
from wattlens.cli import main
from wattlens.sweep.gpu import describe_gpus, energy, on_gpus, read_device
from wattlens.sweep.hold import EndedError, Hold, RefusalError
from wattlens.sweep.measuring import Measuring, SpoiledError
from wattlens.sweep.planning import PlanOptions, named, resume_profile, start_profile
from wattlens.sweep.shown import SweepProgress, duration, name_of, rows, summary
from wattlens.sweep.target import SweepTarget, TargetRequest, settings, target
from wattlens.sweep.work import AgentPage, StepEnds, metric_page, of_agent, server_page, spread_over_nodes
from wattlens.top.metrics import MetricsResponse, parse

FACTS = 'name="NVIDIA H100 80GB HBM3",driver="570"'


def page(
    booked: Mapping[tuple[str, int], float],
    *,
    gpus: int = 3,
    mig: str = "",
    limits: Mapping[int, float] | None = None,
    more: str = "",
) -> MetricsResponse:
    """A page of the agent on which each workload has used that much on each GPU."""
    lines = []
    for gpu in range(gpus):
        ids, limit = f'gpu="{gpu}",uuid="GPU-{gpu}"', (limits or {}).get(gpu, 700)
        mine = "true" if str(gpu) in mig else "false"
        lines += [
            f'wattlens_gpu_info{{{ids},{FACTS},mig="{mine}",simulated="true"}} 1',
            f"wattlens_gpu_up{{{ids}}} 1",
            f"wattlens_gpu_sm_clock_max_hertz{{{ids}}} 1980000000",
            f"wattlens_gpu_power_limit_watts{{{ids}}} {limit}",
            f"wattlens_gpu_power_limit_min_watts{{{ids}}} 200",
            f'wattlens_gpu_energy_joules_total{{{ids},method="counter"}} 100.5',
            f'wattlens_gpu_energy_joules_total{{{ids},method="bridged"}} 2',
            f'wattlens_source_last_success_timestamp_seconds{{source="nvml",device="GPU-{gpu}"}} 1795610018.002743050',
            f'wattlens_gpu_clock_event_seconds_total{{{ids},reason="sw_power_cap"}} 12.5',
        ]
    for (workload, gpu), joules in booked.items():
        labels = f'workload="{workload}",uuid="GPU-{gpu}",method="counter"'
        lines.append(f'wattlens_workload_energy_joules_total{{{labels},state="active"}} {joules}')
        lines.append(f'wattlens_workload_energy_joules_total{{{labels},state="idle"}} 5')
    lines += ["wattlens_ledger_last_commit_timestamp_seconds 1795610018.009934165", more]
    return parse("\n".join(lines) + "\n", 0.0)


def about(
    wanted: TargetRequest, booked: Mapping[tuple[str, int], float], *, named_work: bool = False, **more: object
) -> SweepTarget | str:
    return target(page(dict.fromkeys(booked, 1.0)), page(booked, **more), wanted, named_work=named_work)  # type: ignore[arg-type]


def select(
    wanted: TargetRequest, booked: Mapping[tuple[str, int], float], **more: object
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    sweep_target = about(wanted, booked, **more)  # type: ignore[arg-type]
    assert isinstance(sweep_target, SweepTarget), sweep_target
    return tuple(board.index for board in sweep_target.gpus), sweep_target.workloads


def test_metrics_list_gpus_and_readings_with_their_times() -> None:
    response = page({})
    (board, *_) = describe_gpus(response)
    assert (board.index, board.sku, board.driver) == (0, "NVIDIA H100 80GB HBM3", "570")
    assert (board.simulated, board.mig) == (True, False)
    assert (board.clock_max_mhz, board.limit_w, board.limit_min_w) == (1980, 700.0, 200.0)
    counter, now = energy(response, "GPU-1"), read_device(response, "GPU-1")
    assert counter is not None
    assert now is not None
    assert (counter.count, abs(counter.t_ns - 1795610018002743050) < 1000) == (102.5, True)
    assert (now.event_s, now.power_limit_mw, now.sm_clock_mhz) == ({"sw_power_cap": 12.5}, 700_000, None)
    assert energy(response, "GPU-9") is None
    assert read_device(response, "GPU-9") is None


def test_a_workload_is_found_by_name_by_gpu_or_as_the_only_one() -> None:
    assert select(TargetRequest(), {("a", 0): 9, ("a", 1): 9}) == ((0, 1), ("a",))
    assert select(TargetRequest(workloads=("b",)), {("a", 0): 9, ("b", 2): 9}) == ((2,), ("b",))
    assert select(TargetRequest(gpus=("2",)), {("a", 0): 9, ("b", 2): 9}) == ((2,), ("b",))
    assert select(TargetRequest(gpus=("GPU-2",)), {("a", 0): 9, ("b", 2): 9}) == ((2,), ("b",))
    assert select(TargetRequest(workloads=("b", "a")), {("a", 0): 9, ("b", 2): 9}) == ((0, 2), ("b", "a"))
    assert select(TargetRequest(gpus=("1",)), {("a", 0): 9}, named_work=True) == ((1,), ())
    assert on_gpus(page({("a", 0): 3.0}), page({("a", 0): 3.0})) == {}  # it has ended: its series stay, and stand still


@pytest.mark.parametrize(
    ("wanted", "booked", "says"),
    [
        (
            TargetRequest(),
            {("a", 0): 9, ("b", 2): 9},
            "several workloads run here: a, b; select one with --workload or its GPUs",
        ),
        (TargetRequest(), {}, "reports no workload on a GPU"),
        (TargetRequest(gpus=("1",)), {("a", 0): 9}, "reports no workload on these GPUs"),
        (TargetRequest(workloads=("x",)), {("a", 0): 9}, "workload 'x' not found on the GPUs of this node; workloads: a"),
        (TargetRequest(workloads=("a",)), {("a", 0): 9, ("b", 0): 9}, "b also uses these GPUs"),
        (TargetRequest(gpus=("0",)), {("a", 0): 9, ("b", 0): 9}, "several workloads run here: a, b"),
    ],
)
def test_what_may_still_come_is_waited_for_with_a_reason(
    wanted: TargetRequest, booked: dict[tuple[str, int], float], says: str
) -> None:
    reason = about(wanted, booked)
    assert isinstance(reason, str)
    assert says in reason


@pytest.mark.parametrize(
    ("wanted", "booked", "more", "says"),
    [
        (TargetRequest(gpus=("0",)), {("a", 0): 9, ("a", 1): 9}, {}, "a sweep needs all of them: --gpus 0,1"),
        (TargetRequest(gpus=("0", "2")), {("a", 0): 9}, {}, "a sweep needs all of them: --gpus 0"),
        (TargetRequest(gpus=("7",)), {}, {}, "--gpus: expected one of 0, 1, 2, got '7'"),
        (TargetRequest(), {("a", 0): 9}, {"mig": "0"}, "GPU 0 is in MIG mode"),
        (TargetRequest(), {("a", 0): 9, ("a", 1): 9}, {"limits": {1: 500}}, "of one model with one power limit"),
    ],
)
def test_what_no_time_will_mend_is_refused(
    wanted: TargetRequest, booked: dict[tuple[str, int], float], more: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        about(wanted, booked, **more)  # type: ignore[arg-type]


def test_settings_are_spread_from_the_knee_and_from_the_lowest_limit() -> None:
    (board, *_), knees = describe_gpus(page({})), load_knees()
    assert [clock for clock, _ in settings(board, knees, "clock", None, (), ())] == [1005, 1200, 1395, 1590, 1785]
    assert [limit for _, limit in settings(board, knees, "power", 5, (), ())] == [200, 300, 400, 500, 600]
    assert len(settings(board, knees, "both", None, (), ())) == 15
    assert settings(board, knees, "clock", None, (705,), ()) == ((705, None),)  # below the knee only on request
    with pytest.raises(UsageError, match="at most the current power limit"):
        settings(board, knees, "power", None, (), (800.0,))
    with pytest.raises(UsageError, match=r"the knee of .* is unknown"):
        settings(board, (), "clock", None, (), ())


def test_the_name_of_a_workload_is_that_of_its_next_run() -> None:
    (board, *_) = describe_gpus(page({}))
    assert named(SweepTarget((board,), ("process-python-123-4567",)), "", ()) == "process-python"
    assert named(SweepTarget((board,), ("ns/pod",)), "", ()) == "ns/pod"
    assert named(SweepTarget((board,), ()), "", ()) == "GPU 0"
    assert named(SweepTarget((board,), ("x",)), "", ("python", "train.py", "a b")) == "python train.py 'a b'"
    assert named(SweepTarget((board,), ("x",)), "mine", ("python",)) == "mine"


def test_a_profile_goes_on_only_where_everything_is_as_it_was() -> None:
    (board, *_) = describe_gpus(page({}))
    whole = SweepTarget((board,), ("a",))
    sweep_profile = start_profile(whole, "a", "steps", ((1005, None),), PlanOptions(repeats=2), 7, 0.05)
    assert resume_profile(sweep_profile, whole, "a", "steps", PlanOptions(), Path("p")) == sweep_profile
    more = resume_profile(sweep_profile, whole, "a", "steps", PlanOptions(repeats=9, precision_ratio=0.5), Path("p"))
    assert more.plan is not None
    assert (more.plan.repeats, more.plan.precision_ratio, more.plan.seed) == (9, 0.5, 7)
    for name, work, sweep_target, says in (
        ("b", "steps", whole, "expected workload 'b', got 'a'"),
        ("a", "tokens", whole, "expected work 'tokens', got 'steps'"),
        ("a", "steps", SweepTarget((board, board), ("a",)), "expected number of GPUs 2, got 1"),
    ):
        with pytest.raises(UsageError, match=says):
            resume_profile(sweep_profile, sweep_target, name, work, PlanOptions(), Path("p"))


# Work.


def test_the_agents_page_counts_steps_else_tokens() -> None:
    steps = 'wattlens_training_steps_total{workload="a",phase="training"} 7\n'
    steps += 'wattlens_training_steps_total{workload="a",phase="evaluation"} 100\n'
    tokens = 'wattlens_tokens_total{workload="a",model="m",phase="generation"} 30\n'
    tokens += 'wattlens_tokens_total{workload="a",model="n",phase="generation"} 12\n'
    for text, wanted, what, count in (
        (steps, None, "steps", 7),
        (tokens, None, "tokens", 42),
        (steps + tokens, "tokens", "tokens", 42),
    ):
        work = of_agent(("a",), wanted, page({}, more=text))
        assert work is not None
        sample = work.sample(page({}, more=text))
        assert sample is not None
        assert (work.what, sample.count, isinstance(work, AgentPage)) == (what, count, True)
    assert of_agent(("b",), None, page({}, more=steps + tokens)) is None
    assert of_agent(("a",), "steps", page({}, more=tokens)) is None


def test_steps_without_reported_ends_have_no_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "none.sock"))
    assert StepEnds("a").sample(page({})) is None


def test_other_pages_are_read_at_an_instant_of_our_own() -> None:
    clock, nothing = RealClock(), page({})
    text = 'done_total{kind="a"} 5\ndone_total{kind="b"} 2\nvllm:generation_tokens_total{engine="0",model_name="m"} 40\n'
    with RawServer([OK + f"Content-Length: {len(text)}\r\n\r\n{text}".encode()]) as server:
        url = f"{server.url}/metrics"
        before_ns = clock.utc_ns()
        sample = eventually(lambda: metric_page(url, "done_total", clock).sample(nothing))
        assert (sample.count, before_ns <= sample.t_ns <= clock.utc_ns()) == (7, True)
        assert metric_page(url, "other_total", clock).sample(nothing) is None
        assert eventually(lambda: server_page(url, "vllm", clock).sample(nothing)).count == 40
    assert metric_page(url, "done_total", clock).sample(nothing) is None  # nobody is there any more
    assert server_page(url, "vllm", clock).sample(nothing) is None
    with pytest.raises(UsageError, match=r"--token-server: expected one of .*, got 'none'"):
        server_page(url, "none", clock)
    with pytest.raises(UsageError, match="--work-from: expected an http:// or https:// URL without user"):
        metric_page("https://user:secret@x", "done_total", clock)


class Workloads(Agent):
    """An agent's client socket that answers for workloads alone."""

    statuses: Mapping[str, object] = {}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        status = self.statuses.get(unquote(path).removeprefix("/v1/workload/"))
        return (200, json.dumps(status).encode()) if status else (404, b'{"reason": "no"}')


def test_step_ends_come_with_what_else_the_job_did(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "agent.sock"))
    rank = {"rank": 0, "world": 2, "steps": {"training": 7}, "waits": {}, "doing": "training"}
    rank["step_ended_ns"] = 1795610018002743050
    agent = Workloads(tmp_path / "agent.sock")
    agent.statuses = {"ns/job": {"ranks": [rank]}, "ns/other": {"ranks": [rank]}}
    with serving(agent):
        work = StepEnds("ns/job")
        assert eventually(lambda: work.sample(page({}))) == Sample(1795610018002743050, 7.0)
        rank["waits"] = {"checkpoint": 3.5}
        assert eventually(lambda: work.sample(page({}))) == Sample(1795610018002743050, 7.0, "checkpoint")
        assert eventually(lambda: work.sample(page({}))) == Sample(1795610018002743050, 7.0)
        rank["doing"] = "evaluation"
        assert eventually(lambda: work.sample(page({}))) == Sample(1795610018002743050, 7.0, "evaluation")
        assert "only 1 of the job's 2 ranks are in ns/job" in spread_over_nodes(("ns/job",))
        assert spread_over_nodes(("ns/job", "ns/other")) == ""
        assert spread_over_nodes(("nobody",)) == ""
        text = 'wattlens_training_steps_total{workload="ns/job",phase="training"} 7\n'
        assert isinstance(of_agent(("ns/job",), None, page({}, more=text)), StepEnds)
        del rank["step_ended_ns"]
        assert isinstance(of_agent(("ns/job",), None, page({}, more=text)), AgentPage)


# One interval, with a simulated clock.


class Job:
    """A job, its agent and the time, which only a pause moves: a step every `step_s`, at 300 W on each of two GPUs."""

    period_s = 0.5

    def __init__(self, step_s: float = 0.4, ends_s: float = 1e9, doing: Mapping[int, str] | None = None) -> None:
        self.now_s, self.step_s, self.ends_s, self.doing = 1000.0, step_s, ends_s, doing or {}

    what = "steps"

    def sample(self, _page: MetricsResponse) -> Sample:
        done = int(min(self.now_s, self.ends_s) / self.step_s)
        return Sample(round(done * self.step_s * 1e9), done, self.doing.get(int(self.now_s), ""))

    def read(self) -> MetricsResponse:
        at_s = int(self.now_s)
        rows = "".join(
            f'wattlens_gpu_up{{uuid="{u}"}} 1\nwattlens_gpu_energy_joules_total{{uuid="{u}"}} {300 * at_s}\n'
            f'wattlens_gpu_temperature_celsius{{uuid="{u}"}} 60\n'
            f'wattlens_source_last_success_timestamp_seconds{{source="nvml",device="{u}"}} {at_s}\n'
            for u in ("A", "B")
        )
        return parse(rows, 0.0)

    def utc_ns(self) -> int:
        return round(self.now_s * 1e9)

    def pause(self, seconds: float) -> None:
        self.now_s += seconds

    def stretch(self, *, strict: bool = True) -> SettingInterval:
        plan = SweepPlan(((1005, None),), 3, 20, 5, 0.01, 1)
        return Measuring(("A", "B"), self, self.read, self, self, plan, self.period_s).stretch(
            (1005, None), 2, print, strict=strict
        )


def test_a_stretch_is_of_the_time_after_it_settled() -> None:
    interval = Job().stretch()
    assert (interval.key, interval.session, interval.temperature_c, interval.binding) == ((1005, None), 2, 60.0, ())
    assert interval.time_s == pytest.approx(0.4)
    assert interval.power_w == pytest.approx(600)
    assert 18 < interval.seconds <= 20
    assert interval.utc_s == pytest.approx(1015, abs=1)


def test_long_steps_make_it_longer_and_still_exact() -> None:
    job = Job(step_s=13.0)
    interval = job.stretch()
    assert interval.time_s == pytest.approx(13.0)
    assert 1025 < job.now_s < 1000 + 5 + 4 * 20


def test_a_stretch_with_something_else_in_it_is_measured_again_or_at_last_taken_as_it_is() -> None:
    with pytest.raises(SpoiledError, match="not training all the time: checkpoint"):
        Job(doing={1015: "checkpoint"}).stretch()
    assert Job(doing={1015: "data_wait"}).stretch().time_s == pytest.approx(0.4)
    assert Job(doing={1002: "evaluation"}).stretch().time_s == pytest.approx(0.4)  # while it settled
    assert Job(doing={1015: "checkpoint"}).stretch(strict=False).time_s == pytest.approx(0.4)


def test_a_job_that_ends_spoils_it() -> None:
    job = Job(ends_s=1000.0)
    with pytest.raises(SpoiledError, match="no steps were counted"):
        job.stretch()
    assert job.now_s <= 1000 + 5 + 4 * 20 + 1


# Holding on.


def test_a_program_that_ends_and_a_signal_end_the_wait(tmp_path: Path) -> None:
    client, before = ActuatorClient(tmp_path / "none.sock"), signal.getsignal(signal.SIGTERM)
    with Hold(client, print) as hold:
        assert signal.getsignal(signal.SIGTERM) != before
        hold.start(("sh", "-c", "exit 3"), os.environ)
        with pytest.raises(WattlensError, match="'sh' ended with code 3 before the sweep was done"):
            hold.pause(60)
    with Hold(client, print) as hold:
        hold.start(("sleep", "100"), os.environ)
        hold.pause(0.05)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(EndedError, match="SIGTERM"):
            hold.pause(60)
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(UsageError, match="cannot run '/no/such'"), Hold(client, print) as hold:
        hold.start(("/no/such",), os.environ)
    with pytest.raises(WattlensError, match="no response at"), Hold(client, print) as hold:
        hold.require_actuator()


# Words.


def test_settings_and_times_in_words() -> None:
    assert [name_of(key) for key in (REFERENCE, (1005, None), (None, 300.0), (1005, 312.5))] == [
        "original", "1005 MHz", "300 W", "1005 MHz, 312.5 W",
    ]  # fmt: skip
    seconds = {0.4: "0 s", 45: "45 s", 99.4: "99 s", 754: "13 min", 5999: "1 h 40 min", 7800: "2 h 10 min"}
    assert [duration(s) for s in seconds] == list(seconds.values())


class Answers(ActuatorClient):
    """Refuses with these codes, one after another, and then grants."""

    def __init__(self, *codes: str) -> None:
        super().__init__(Path("/nowhere"))
        self.codes = [*codes]

    def acquire(self, devices: Sequence[str], ttl_s: float = 10.0) -> str:
        if self.codes:
            code = self.codes.pop(0)
            raise ActuatorError(code, f"GPU-0 could not be read ({code})")
        return "lease"

    def release(self, lease: str, reason: str = "") -> list[tuple[str, str, str]]:
        assert lease == "lease"
        return []


def test_slow_driver_is_retried_and_a_refusal_is_final() -> None:
    messages: list[str] = []
    with Hold(Answers("timeout", "busy", "failed"), messages.append) as hold:
        hold.lease(["GPU-0"])
    assert messages == ["actuator: GPU-0 could not be read (timeout); trying again for 30 s"]
    client = Answers("not_supported", "busy")
    with pytest.raises(RefusalError, match="not_supported"), Hold(client, messages.append) as hold:
        hold.lease(["GPU-0"])
    assert client.codes == ["busy"]  # no second request


def test_progress_is_one_line_on_a_terminal_and_a_line_a_stretch_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    live, plain = SweepProgress(in_place=True), SweepProgress(in_place=False)
    live.at(2, 9, (1005, None), 61)
    live.finish(2, 9, (1005, None), 40, "0.5 s")
    live.say("hello")
    assert capsys.readouterr().err == "\r\033[Kinterval 2 of 9: 1005 MHz; 61 s left\r\033[Khello\n"
    plain.at(2, 9, (1005, None), 61)
    plain.finish(2, 9, (1005, None), 40, "0.5 s")
    plain.clear()
    assert capsys.readouterr().err == "interval 2 of 9: 1005 MHz: 0.5 s; 40 s left\n"


def test_the_table_and_what_to_take_from_it() -> None:
    keys = [REFERENCE, (1005, None), (1500, None), REFERENCE, (1500, None), (1005, None), REFERENCE]
    truth = {REFERENCE: (0.5, 600.0), (1005, None): (0.7, 300.0), (1500, None): (0.51, 500.0)}
    done = tuple(SettingInterval(*key, 1, 25.0 * i, 20, *truth[key], 60.0, ("sw_power_cap",)) for i, key in enumerate(keys))
    sweep_profile = SweepProfile("job", "H100", "570", True, "steps", 1980, 700.0, points=points(done), stretches=done)
    head, original_row, low, high = rows(sweep_profile)
    assert head[2:5] == ("TIME/STEP", "POWER", "ENERGY/STEP")
    assert original_row == ("original", "3", "500 ms ±0.0 %", "600.0 W ±0.0 %", "300 J", "-", "-", "sw_power_cap")
    assert low[5:7] == ("40.0 % (40.0 to 40.0)", "30.0 % (30.0 to 30.0)")
    assert high[0] == "1500 MHz"
    assert summary(sweep_profile)[0] == "Within 3 % slowdown: 1500 MHz saves 15.0 % (15.0 to 15.0) of the energy per step"
    empty = SweepProfile("job", "H100", "570", True, "x_total", 1980, 700.0, plan=SweepPlan(((1, None),), 2, 20, 5, 0.01, 1))
    assert rows(empty)[0][2] == "TIME/UNIT"
    assert "No setting has an interval yet" in summary(empty)[0]


# The command line.


def test_a_file_that_is_there_is_neither_overwritten_nor_taken_for_a_sweep(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for text, options, says in (
        ("{}", (), "already exists: continue it with --resume"),
        ("{}", ("--resume",), "p.json: workload"),
        ("[", ("--resume",), "p.json: Invalid JSON"),
    ):
        Path("p.json").write_text(text)
        assert main(["dvfs", "sweep", "--out", "p.json", *options]) == 2
        assert says in capsys.readouterr().err
        assert Path("p.json").read_text() == text
