"""The parts of policy slo that play out what could have been and what may come, against queues that are simulated here."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.policies.slo._account import MissAccount, StepTimes, answers, later_extra
from dvfs.policies.slo._ahead import Scene, misses
from dvfs.policies.slo._attainment import AttainmentWindow, judged, proven
from dvfs.policies.slo._draws import draw_numbers
from dvfs.policies.slo._interval import ServerReading, ServingInterval
from dvfs.policies.slo._late import IntervalStart, expected_late_tokens
from dvfs.policies.slo._open import Candidate, LatencyLimits, PromptLength
from energy_agent.core.workloads.tokens import Latencies

LIMITS = LatencyLimits(0.5, 0.05)
EDGES = (0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
PER_TOKEN_S = 1e-4  # of work


def work(prompt: float) -> float:
    return PER_TOKEN_S * prompt


def length(prompt: float) -> PromptLength:
    return PromptLength(prompt, work(prompt), LIMITS.first_s)


def interval(times: list[float], prompts: list[int], pending: int = 0, seconds: float = 1.0) -> ServingInterval:
    """An interval in which these first tokens came, and nothing else."""
    counts = [0] * (len(EDGES) + 1)
    for one in times:
        counts[sum(one > edge for edge in EDGES)] += 1
    ttft = Latencies(EDGES, tuple(counts), sum(times))
    ends = [
        ServerReading(at, at, None, 0, 0, 0, 0, 0, 0, Latencies(EDGES, (0,) * len(counts), 0.0), 0, 0.0, 0)
        for at in (0.0, seconds)
    ]
    return ServingInterval(ends[0], ends[1], seconds, len(times) - pending, len(times), sum(prompts), ttft, 0, 0, 0, 0.0, None)


def before(
    speed: float = 1.0, late_s: float = 0.0, ages: tuple[float, ...] = (), prompts: tuple[float, ...] = (1000.0,)
) -> IntervalStart:
    return IntervalStart(ages, late_s, speed, 0.0, work, prompts, 1.0)


@pytest.mark.parametrize(
    ("took_s", "speed", "late_s", "ours"),
    [
        (0.45, 0.5, 0.0, 0.0),  # in time
        (0.55, 0.5, 0.0, 1.0),  # by 0.1 s of a slower clock
        (0.55, 1.0, 0.1, 1.0),  # by what the server was late
        (0.55, 1.0, 0.0, 0.0),  # not ours
        (0.80, 0.5, 0.0, 0.0),  # too late with any clock
    ],
)
def test_of_one_alone_it_is_certain(took_s: float, speed: float, late_s: float, ours: float) -> None:
    assert expected_late_tokens(interval([took_s], [1000]), LIMITS, before(speed, late_s)) == ours


def test_a_long_prompt_has_its_own_limit() -> None:
    seen = (500.0, 600.0, 700.0, 6000.0)
    found = expected_late_tokens(interval([0.05, 0.07, 0.7], [500, 700, 6000]), LIMITS, before(0.9, prompts=seen))
    assert found < 0.05  # 0.7 s is early for 6000 tokens, and no prompt but a long one explains the sum


def queued(random: Random, speed: float) -> tuple[list[float], list[int], int]:
    """A second at an open server, one after another: times, prompts, and misses that the highest clock would not have had."""
    n = random.randint(2, 5)
    arrive, prompts = sorted(random.random() for _ in range(n)), [random.choice([300, 900, 1500, 2000, 4000]) for _ in range(n)]
    done = top = 0.0
    times, ours = [], 0
    for at, prompt in zip(arrive, prompts, strict=True):
        done, top = max(done, at) + work(prompt) / speed, max(top, at) + work(prompt)
        times.append(done - at)
        ours += top - at <= LIMITS.first_s < done - at
    return times, prompts, ours


@pytest.mark.parametrize("speed", [0.5, 0.7])
def test_of_several_the_sum_over_many_seconds_is_about_right(speed: float) -> None:
    random, seen, true = Random(7), 0.0, 0
    kinds = (300.0, 900.0, 1500.0, 2000.0, 4000.0)
    for _ in range(400):
        times, prompts, ours = queued(random, speed)
        seen += expected_late_tokens(interval(times, prompts), LIMITS, before(speed, prompts=kinds))
        true += ours
    assert true > 40
    assert 0.6 * true < seen < 1.6 * true


def test_of_very_many_a_part_stands_for_all() -> None:
    """Eighty a second for a hundred seconds are a hundred times what eighty of one second are."""
    few = interval([0.4, 0.7] * 40, [1000] * 80)
    many = interval([0.4, 0.7] * 4000, [1000] * 8000, seconds=100.0)
    one = expected_late_tokens(few, LIMITS, before(0.5))
    assert 0 < one <= 40
    assert expected_late_tokens(many, LIMITS, before(0.5)) == pytest.approx(100 * one)


def times(within: int, over: int) -> Latencies:
    """So many within 500 ms, and so many between 500 and 750 ms."""
    counts = [0] * (len(EDGES) + 1)
    counts[1], counts[3] = within, over
    return Latencies(EDGES, tuple(counts), 0.2 * within + 0.6 * over)


@pytest.mark.parametrize(
    ("within", "over", "limit_s", "says"),
    [
        (1000, 0, 0.5, "kept"),  # Wilson's lower bound is 0.9962
        (200, 0, 0.5, "open"),  # it is 0.981
        (180, 20, 0.5, "missed"),
        (180, 20, 0.6, "open"),  # they may be within 600 ms
        (180, 20, 0.8, "open"),  # and these are within 1 s
        (1000, 20, 0.8, "kept"),
        (0, 0, 0.5, "open"),
    ],
)
def test_what_a_histogram_proves(within: int, over: int, limit_s: float, says: str) -> None:
    assert proven(times(within, over), limit_s, 0.99) == says


def test_a_window_is_of_200_requests_or_60_s() -> None:
    window = judged(AttainmentWindow(), 0.0, times(1000, 0), 0.5, 0.99)
    assert judged(window, 59.0, times(1199, 0), 0.5, 0.99) == window
    full = judged(window, 59.0, times(1150, 50), 0.5, 0.99)
    assert (full.since_s, full.verdict) == (59.0, "missed")
    assert judged(full, 119.0, times(1151, 50), 0.5, 0.99).since_s == 119.0
    assert judged(full, 60.0, times(10, 0), 0.5, 0.99) == AttainmentWindow(60.0, times(10, 0))  # a restarted server


scenes = st.builds(
    Scene,
    front=st.lists(
        st.builds(Candidate, st.floats(0.01, 1), st.floats(0.1, 10), st.floats(0.001, 5), st.floats(0, 3)), max_size=4
    ),
    ages=st.lists(st.floats(0, 5), max_size=4),
    seen=st.lists(st.floats(1, 60_000).map(length), min_size=1, max_size=8),
    rate=st.floats(0.01, 30),
    clustering=st.floats(0.02, 1),
    late_s=st.floats(0, 2),
    done_s=st.floats(0, 5),
    start_s=st.floats(0, 0.05),
)


@settings(max_examples=100, deadline=None)
@given(scenes, st.integers(0, 10**12))
def test_a_slower_clock_never_misses_less_than_the_highest(scene: Scene, start: int) -> None:
    """Between slower clocks no order holds: of a prompt that outlasts the second, a slower one does a smaller share."""
    found = misses(scene, (0.4, 0.7, 1.0), start)
    assert min(found[:2]) >= found[2] - 1e-9 >= -1e-9
    assert found == misses(scene, (0.4, 0.7, 1.0), start)


def test_an_open_prompt_that_only_the_highest_clock_does_in_time_is_a_miss_with_every_other() -> None:
    front = [Candidate(1.0, 1.0, 0.75, 0.2)]
    slow, fast = misses(Scene(front, (), [length(10)], 0.01, 1.0, 0.0, 0.0, 0.0), (0.6, 1.0), 0)
    assert slow == pytest.approx(1.0, abs=0.1)
    assert fast < 0.1


def test_a_request_that_a_router_held_back_waits_for_a_slower_clock() -> None:
    """The router sends the next one when the highest clock would be done; at half the speed it then waits for 0.4 s."""
    queue = [Candidate(1.0, 100.0, 0.45, 0.0)]
    scene = Scene(queue, (), [length(1000)], 20.0, 0.0, 0.0, 0.0, 0.0)
    slow, fast = misses(scene, (0.5, 1.0), 0)
    assert slow > fast + 0.3


def test_what_came_corrects_what_was_reckoned_for_each_kind_of_second() -> None:
    account = MissAccount()
    for _ in range(20):
        account = account.reckoned(0, 1.0, 0.0).came(1.0, 1, 3, 1.0, 0.0)
    assert account.bias(0)[0] < 0.2  # much was reckoned where nothing was open, and nothing came
    assert account.bias(1)[0] > 5.0  # and the other way round
    assert account.bias(2) == (1.0, 1.0)
    assert account.spent_ratio(0.35) == pytest.approx(1.0, abs=0.1)
    assert account.spent_ratio(0.01) > 9.0


def test_an_answer_that_slower_steps_pushed_over_its_limit_is_ours() -> None:
    steady = tuple(StepTimes(20.0, 0.055, 0.045) for _ in range(40))
    assert later_extra(steady, 100.0, 0.05, 2, 0.0) == pytest.approx(2.0)
    anyway = tuple(StepTimes(20.0, 0.055, 0.052) for _ in range(40))
    assert later_extra(anyway, 100.0, 0.05, 2, 0.0) == 0.0


def test_with_the_highest_clock_an_answer_ends_before_the_slow_steps_come() -> None:
    """100 steps at 20 ms all end within the 2.5 s before a long prompt slows later steps to 0.2 s per step."""
    calm, then = StepTimes(80.0, 0.03, 0.02), StepTimes(20.0, 0.2, 0.2)
    assert sum(weight for n, weight in answers(125.0) if n == 100.0) == 0.25
    assert later_extra((calm, then), 125.0, 0.05, 1, 99.0) > 0.0
    assert later_extra((StepTimes(80.0, 0.03, 0.03), then), 125.0, 0.05, 1, 99.0) == 0.0


@given(st.integers(0, 10**15))
def test_draws_are_the_same_from_a_place_on_and_between_none_and_one(start: int) -> None:
    one, other = draw_numbers(start), draw_numbers(start)
    for _ in range(50):
        number = next(one)
        assert 0.0 < number < 1.0
        assert number == next(other)
