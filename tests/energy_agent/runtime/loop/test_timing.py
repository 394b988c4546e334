"""Laws of the loops' schedule: a step of UTC costs no reading, adds none, and moves nothing but the phase."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import NS_PER_MS, NS_PER_S
from energy_agent.reader.main import Schedule, until_edge_ns
from energy_agent.runtime.loop import STEP_BACK_NS, UtcOrder

T0 = 1_800_000_000 * NS_PER_S
HOUR, DAY = 3600 * NS_PER_S, 86_400 * NS_PER_S
STEPS = st.sampled_from([HOUR, -HOUR, DAY, -DAY, 1, -1, NS_PER_S // 2, -NS_PER_S // 3]) | st.integers(-(10**18), 10**18)


class SteppedClock:
    """A clock whose UTC may be set while its boot clock goes on."""

    def __init__(self, utc_ns=T0):
        self.utc, self.boot = utc_ns, 10**12

    def utc_ns(self):
        return self.utc

    def boot_ns(self):
        return self.boot

    def step(self, by_ns):
        self.utc += by_ns

    def sleep(self, seconds):
        self.utc += round(seconds * NS_PER_S)
        self.boot += round(seconds * NS_PER_S)


def readings(clock, seconds, period_ns, full_ns, steps=()):
    """Boot-clock instants of the readings of so many seconds, and whether each was full; `steps` are (after, by) in ns."""
    schedule, begun, waiting = Schedule(clock, period_ns, full_ns), clock.boot, sorted(steps)
    taken = []
    while clock.boot - begun < seconds * NS_PER_S:
        taken.append((clock.boot, schedule.begin()))
        clock.sleep(0.004)
        schedule.end()
        while waiting and clock.boot - begun >= waiting[0][0]:
            clock.step(waiting.pop(0)[1])
        clock.sleep(schedule.left_s())
    return taken


@given(
    st.sampled_from([NS_PER_S, 50 * NS_PER_MS, 5 * NS_PER_S]),
    st.lists(st.tuples(st.integers(0, 40 * NS_PER_S), STEPS), max_size=5),
)
def test_steps_of_utc_cost_no_reading_and_add_none(period_ns, steps):
    full_ns = max(period_ns, NS_PER_S)
    taken = readings(SteppedClock(T0 + 123_456_789), 40, period_ns, full_ns, steps)
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(taken)]
    assert max(gaps) <= period_ns * 5 // 4 + 10 * NS_PER_MS
    whole = 40 * NS_PER_S // period_ns
    assert whole - len(steps) - 1 <= len(taken) <= whole + 10 * len(steps) + 2
    full = [at for at, is_full in taken if is_full]
    assert max((b - a for a, b in itertools.pairwise(full)), default=0) <= 2 * full_ns
    assert 40 * NS_PER_S // full_ns - len(steps) - 1 <= len(full) <= 40 * NS_PER_S // full_ns + len(steps) + 2


def test_readings_lie_at_whole_periods_of_utc():
    clock = SteppedClock(T0 + 300 * NS_PER_MS)
    offset = clock.utc - clock.boot
    taken = readings(clock, 20, NS_PER_S, NS_PER_S)
    assert all((at + offset) % NS_PER_S == 0 for at, _ in taken[1:])
    assert all(full for _, full in taken)


@given(st.integers(0, 1 << 62), st.sampled_from([50 * NS_PER_MS, NS_PER_S, 15 * 60 * NS_PER_S]))
def test_the_next_edge_is_whole_and_not_the_one_just_served(utc_ns, period_ns):
    left_ns = until_edge_ns(utc_ns, period_ns)
    assert (utc_ns + left_ns) % period_ns == 0
    assert period_ns // 10 < left_ns <= period_ns + period_ns // 10


@given(st.lists(STEPS | st.integers(-STEP_BACK_NS, STEP_BACK_NS), max_size=20))
def test_utc_that_was_set_back_is_noticed_once(moves):
    now_ns, latest_ns = T0, T0
    order = UtcOrder(T0)
    for move in moves:
        now_ns += move
        back = now_ns < latest_ns - STEP_BACK_NS
        assert order.went_back(now_ns) == back
        assert not order.went_back(now_ns)
        latest_ns = now_ns if back else max(latest_ns, now_ns)
