"""Joules, steps and tokens of a run are of one time and one run, whatever the source does. Truth is plain arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sdk.training.progress import (
    DIRECT,
    NOTHING,
    ReturnedAgent,
    RunBaseline,
    RunTotals,
    SourceView,
    Status,
    advance_view,
    run_attributes,
    status,
)
from energy_agent.sdk.training.reporter import Direct
from wattlens.model_cards import model_card

STEP_J, STEP_TOKENS = 3, 50


class Work:
    """A loop that uses 3 J and trains 50 tokens per step, and whose windows are exact."""

    steps, readable = 0, True

    def counts(self):
        return self.steps, self.steps * STEP_TOKENS

    def window(self):
        return Window(self)


class Window:
    seconds, edge_joules, gain_uncertainty_ratio, gpus = 1.0, 0.5, 0.05, "GPU 0"
    by_device = {"GPU-1": None}  # noqa: RUF012
    joules, reason = None, ""
    simulated = False

    def __init__(self, work):
        self._work = work

    def __enter__(self):
        self._began = self._work.steps
        return self

    def __exit__(self, *_):
        if self._work.readable:
            self.joules = float(STEP_J * (self._work.steps - self._began))
        else:
            self.reason = "the driver does not answer"


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans(), st.booleans())))
def test_windows_bring_their_own_counts_and_those_that_fail_take_them_along(windows):
    work = Work()
    direct, read = Direct(work.counts, work.window), 0
    for steps, readable, cut in windows:
        work.steps += steps
        work.readable = readable
        direct.turn(cut=cut)
        direct.turn(cut=True)
        read += steps if readable else 0
        work.readable = True
        direct.turn(cut=True)
        assert direct.totals.joules == STEP_J * direct.totals.steps
        assert (direct.totals.steps, direct.totals.tokens) == (read, read * STEP_TOKENS)


def test_run_is_measured_from_the_later_of_run_and_interval_start():
    first = SourceView(4, DIRECT, RunTotals(), RunTotals(300.0, 100, 5_000, 4), 60.0)
    run_status = status(RunBaseline(4, RunTotals(240.0, 80, 4_000, 3)), first, (500, 25_000), 0.5)
    assert (run_status.joules, run_status.measured_steps, run_status.measured_tokens) == (60.0, 20, 1_000)
    assert (run_status.steps, run_status.tokens) == (500, 25_000)
    assert (run_status.joules_per_step, run_status.joules_per_token) == (STEP_J, STEP_J / STEP_TOKENS)
    whole = status(RunBaseline(3, RunTotals(9e9, 9, 9, 9)), first, (500, 25_000), 0.5)
    assert (whole.joules, whole.measured_steps) == (300.0, 100)
    for base in (RunBaseline(4, None), RunBaseline(4, first.last)):  # no window is closed
        run_status = status(base, first, (7, 350), None)
        assert (run_status.joules, run_status.joules_per_step, run_status.steps, run_status.tokens, run_status.reason) == (
            None,
            None,
            7,
            350,
            NOTHING,
        )


def answer(joules, steps, workload="w"):
    return {
        "workload": workload, "node": "n", "joules": joules, "tokens": steps * STEP_TOKENS, "steps": {"training": steps},
        "devices": [{"power_w": 60.0}],
    }  # fmt: skip


moves = st.lists(
    st.tuples(st.sampled_from(["answer", "lost ledger", "other name", "away"]), st.integers(1, 50), st.booleans()), max_size=20
)


@given(moves, st.integers(0, 10**6))
def test_whatever_an_agent_does_joules_are_of_the_steps_beside_them(sequence, before):
    """Steps that the agent recorded without joules, while it was away, are in no interval."""
    view = advance_view(SourceView(), answer(STEP_J * before, before), afresh=False)
    base, joules, steps, name = RunBaseline(view.interval, view.last), STEP_J * before, before, "w"
    for move, done, _ in sequence:
        if move == "answer":
            joules, steps = joules + STEP_J * done, steps + done
        elif move == "lost ledger":
            joules, steps = 0, 0
        elif move == "other name":
            joules, name = joules * 7 + 1, name + "w"
        else:
            steps += done
        view = advance_view(view, answer(joules, steps, name), afresh=move == "away")
        run_status = status(base, view, (0, 0), None)
        assert (run_status.joules, run_status.measured_tokens) == (
            STEP_J * run_status.measured_steps,
            run_status.measured_steps * STEP_TOKENS,
        )
        assert run_status.workload == name


def test_a_workload_that_the_ledger_does_not_know_yet_begins_at_nothing():
    view = advance_view(SourceView(), {"workload": "w", "node": "n", "reason": "holds no GPU"}, afresh=False)
    assert status(RunBaseline(0, RunTotals()), view, (3, 1), None).reason == "holds no GPU"
    view = advance_view(view, answer(30, 10), afresh=False)
    run_status = status(RunBaseline(0, RunTotals()), view, (12, 1), None)
    assert (run_status.joules, run_status.measured_steps, run_status.steps) == (30, 10, 12)


def test_time_of_a_run_starts_with_the_first_answer_that_has_a_reason_instead_of_joules():
    not_seen = {"workload": "w", "node": "n", "devices": [], "reason": "not on a GPU yet", "t_ns": 1_796_185_000 * 10**9}
    view = advance_view(SourceView(), not_seen, afresh=False)
    base = RunBaseline(view.interval, view.last or view.first)
    view = advance_view(view, answer(30.0, 10) | {"t_ns": 1_796_185_021 * 10**9}, afresh=False)
    for of in (base, RunBaseline(-1, None)):
        run_status = status(of, view, (10, 500), None)
        assert (run_status.joules, run_status.seconds) == (30.0, 21.0)
    assert " in 21 s by w" in str(run_status)
    assert "**Hours used:** 0.005833 (0.01167 GPU hours)" in model_card(run_status, gpus=2).text
    assert run_attributes(run_status)["wattlens.energy.seconds"] == 21.0


def test_time_of_a_run_is_absent_where_the_first_answer_has_no_time():
    view = advance_view(SourceView(), {"workload": "w", "node": "n", "reason": "not on a GPU yet"}, afresh=False)
    view = advance_view(view, answer(30.0, 10) | {"t_ns": 1_796_185_021 * 10**9}, afresh=False)
    run_status = status(RunBaseline(-1, None), view, (10, 500), None)
    assert (run_status.joules, run_status.seconds) == (30.0, None)
    assert "wattlens.energy.seconds" not in run_attributes(run_status)
    assert "**Hours used:** not available" in model_card(run_status, gpus=2).text


def test_energy_of_a_gpu_that_was_silent_when_the_run_began_is_not_counted_from_zero():
    """The workload used 5,000 J before; the agent reports them again once the GPU responds."""
    silent = {"workload": "w", "node": "n", "devices": [{"uuid": "GPU-1", "held": True}], "reason": "does not respond"}
    view = advance_view(SourceView(), silent | {"t_ns": 10**9}, afresh=False)
    base = RunBaseline(view.interval, view.last or view.first)
    view = advance_view(view, answer(5_000.0, 100) | {"t_ns": 2 * 10**9}, afresh=False)
    view = advance_view(view, answer(5_030.0, 110) | {"t_ns": 5 * 10**9}, afresh=False)
    run_status = status(base, view, (12, 1), None)
    assert (run_status.joules, run_status.measured_steps, run_status.seconds) == (30.0, 10, 3.0)


def test_the_interval_is_of_the_joules_and_time_since_the_run_began():
    start, last = RunTotals(100.0, 10, 500, 2, 3.0, 0.05, 7.0), RunTotals(400.0, 110, 5_500, 5, 9.0, 0.05, 19.0)
    run_status = status(RunBaseline(1, start), SourceView(1, DIRECT, RunTotals(), last), (100, 5_000), None)
    assert (run_status.joules, run_status.seconds) == (300.0, 12.0)
    assert (run_status.low, run_status.high) == ((300.0 - 6.0) / 1.05, (300.0 + 6.0) / 0.95)
    by_agent = answer(30.0, 10) | {"edge_joules": 2.0, "gain_uncertainty_ratio": 0.1, "t_ns": 5 * 10**9}
    view = advance_view(SourceView(), by_agent, afresh=False)
    view = advance_view(view, by_agent | answer(90.0, 30) | {"t_ns": 8 * 10**9}, afresh=False)
    run_status = status(RunBaseline(-1, None), view, (20, 1_000), None)
    assert (run_status.joules, run_status.seconds, run_status.low, run_status.high) == (60.0, 3.0, 58.0 / 1.1, 62.0 / 0.9)
    assert status(RunBaseline(-1, None), advance_view(SourceView(), answer(30.0, 10), afresh=False), (1, 1), None).low is None


def test_a_status_prints_joules_per_step_and_token_of_the_same_time():
    text = str(Status("nvml", 2472.0, 600.0, 20, 81_920, None, "", "", 2350.0, 2604.0, 3.1, 20, 81_920, "all 8 GPUs"))
    assert text == (
        "20 steps, 81,920 tokens, 2,472 J (2,350 to 2,604) in 3.1 s on all 8 GPUs: 123.6 J/step (117.5 to 130.2), "
        "0.03018 J/token (0.02869 to 0.03179)"
    )
    part = Status("nvml", 1000.0, 600.0, 20, 200, None, "", "", measured_steps=10, measured_tokens=100, gpus="GPU 0")
    assert "1,000 J on GPU 0 for 10 of the steps: 100 J/step, 10 J/token" in str(part)
    assert "energy not measured: no driver" in str(Status("", None, None, 3, 0, None, "", "no driver"))
    alone = Status("nvml", 100.0, 1.0, 10, 100, None, "", "", world=8)  # one rank has no joules of all GPUs
    assert (alone.joules_per_token, alone.joules_per_step) == (None, 10.0)
    assert Status("agent", 100.0, 1.0, 10, 100, None, "w", "", world=8).joules_per_token == 1.0


def test_returned_agent_is_trusted_after_new_commits_with_the_workload_on_a_gpu():
    """Each commit takes 10 s here: what was counted meanwhile may be in the second one."""
    returned, gpu_devices = ReturnedAgent(100.0), [{"uuid": "GPU-0", "held": True}]
    replies = [(5, []), (6, []), *((7 + t // 10, gpu_devices) for t in range(21))]
    settled = [returned.is_settled({"joules": 1.0, "t_ns": t_ns, "devices": devices}, 101.0) for t_ns, devices in replies]
    assert settled == [False] * 22 + [True]


def test_agent_without_a_gpu_of_the_workload_is_trusted_later():
    returned = ReturnedAgent(100.0)
    assert [returned.is_settled({"joules": 1.0, "t_ns": t, "devices": []}, 100.0 + t) for t in (1, 10, 29, 30)] == [
        False, False, False, True,
    ]  # fmt: skip
