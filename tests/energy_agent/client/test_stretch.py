"""Joules, steps and tokens of a run are of one time and one run, whatever the source does. Truth is plain arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.client.direct import Direct
from energy_agent.client.stretch import DIRECT, NOTHING, Base, Totals, View, answered, status

STEP_J, STEP_TOKENS = 3, 50


class Work:
    """A loop that uses 3 J and trains 50 tokens a step, and whose windows are exact."""

    def __init__(self):
        self.steps = 0
        self.readable = True

    def counted(self):
        return self.steps, self.steps * STEP_TOKENS

    def window(self):
        return Window(self)


class Window:
    seconds = 1.0
    by_device = {"GPU-1": None}  # noqa: RUF012

    def __init__(self, work):
        self._work, self.joules, self.reason = work, None, ""

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
    direct, read = Direct(work.counted, work.window), 0
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


def test_a_run_is_told_from_its_own_begin_or_that_of_the_stretch_where_it_is_later():
    first = View(4, DIRECT, Totals(), Totals(300.0, 100, 5_000, 4), 60.0)
    began = Base(4, Totals(240.0, 80, 4_000, 3))
    told = status(began, first, (500, 25_000), 0.5)
    assert (told.joules, told.steps, told.tokens) == (60.0, 20, 1_000)
    assert (told.joules_per_step, told.joules_per_token) == (STEP_J, STEP_J / STEP_TOKENS)
    whole = status(Base(3, Totals(9e9, 9, 9, 9)), first, (500, 25_000), 0.5)
    assert (whole.joules, whole.steps) == (300.0, 100)


def test_a_run_of_which_no_window_is_closed_has_all_its_steps_and_no_joules():
    view = View(4, DIRECT, Totals(), Totals(300.0, 100, 5_000, 4), 60.0)
    for base in (Base(4, None), Base(4, view.last)):
        told = status(base, view, (7, 350), None)
        assert (told.joules, told.joules_per_step, told.steps, told.tokens, told.reason) == (None, None, 7, 350, NOTHING)


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
    """Steps that it booked without their joules, while it was away, are in no stretch."""
    view = answered(View(), answer(STEP_J * before, before), afresh=False)
    base, joules, steps, name = Base(view.stretch, view.last), STEP_J * before, before, "w"
    for move, done, _ in sequence:
        afresh = False
        if move == "answer":
            joules, steps = joules + STEP_J * done, steps + done
        elif move == "lost ledger":
            joules, steps = 0, 0
        elif move == "other name":
            joules, steps, name = joules * 7 + 1, steps, name + "w"
        else:
            steps, afresh = steps + done, True
        view = answered(view, answer(joules, steps, name), afresh=afresh)
        told = status(base, view, (0, 0), None)
        assert told.joules == STEP_J * told.steps
        assert told.tokens == told.steps * STEP_TOKENS
        assert told.workload == name


def test_a_workload_that_the_ledger_does_not_know_yet_begins_at_nothing():
    view = answered(View(), {"workload": "w", "node": "n", "reason": "holds no GPU"}, afresh=False)
    assert status(Base(0, Totals()), view, (3, 1), None).reason == "holds no GPU"
    view = answered(view, answer(30, 10), afresh=False)
    told = status(Base(0, Totals()), view, (12, 1), None)
    assert (told.joules, told.steps) == (30, 10)
