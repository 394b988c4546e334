"""Laws of docs/decisions/0005: the host's energy telescopes, is never negative, and waits for every GPU."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Method, State
from energy_agent.metering.gpu_curve import SEGMENTS_MAX, GpuCurve
from energy_agent.metering.host import BELOW_GPUS, NOT_KNOWN, HostBook
from energy_agent.metering.node import DomainInterval

S = 10**9


def entry(start, end, uj, workload="a", state=State.ACTIVE):
    return Entry(start, end, "gpu", workload, state, Method.COUNTER, uj, 1000, end - start if workload else 0)


def interval(start, end, uj, method=Method.COUNTER, **more):
    return DomainInterval(start, end, start, end, uj, method, more.pop("edge_uj", 10**6), **more)


@st.composite
def curves(draw, end=60 * S):
    by_name = {}
    for name in draw(st.sampled_from([("g0",), ("g0", "g1", "g2")])):
        curve, t = GpuCurve(0), 0
        while t < end:
            nxt = t + draw(st.integers(S // 3, 7 * S))
            owner = draw(st.sampled_from([("a", State.ACTIVE), ("b", State.IDLE), ("", State.UNALLOCATED), ("", State.GAP)]))
            curve.extend(nxt, [entry(t, nxt, draw(st.integers(0, 700 * 10**6)), *owner)])
            t = nxt
        by_name[name] = curve
    return by_name


@given(curves(), st.lists(st.integers(1, 60 * S), min_size=1, max_size=12, unique=True), st.data())
def test_host_and_gpus_telescope_to_the_meter(gpu_curves, edges, data):
    edges = [0, *sorted(edges)]
    book = HostBook("host", True, node_gain_ppm=900_000, gpu_gain_ppm=900_000)
    node_uj, host_uj = 0, 0
    for start, end in itertools.pairwise(edges):
        gpus = sum(c.at(end) - c.at(start) for c in gpu_curves.values())
        uj = max(0, gpus + data.draw(st.integers(-gpus // 2, 10**9)))
        got = book.take(interval(start, end, uj), gpu_curves, set(gpu_curves))
        assert got.gap is None
        node_uj += uj
        host_uj += sum(e.energy_uj for e in got.entries)
        assert all(e.energy_uj >= 0 and e.gpu_ns == 0 for e in got.entries)
    gpus_uj = sum(c.at(edges[-1]) for c in gpu_curves.values())
    assert host_uj + gpus_uj - book.carried_uj == node_uj


@given(curves(), st.integers(1, 59 * S))
def test_an_instant_gives_the_same_energy_whatever_is_forgotten(gpu_curves, t):
    for curve in gpu_curves.values():
        before = curve.at(t)
        curve.forget(t)
        assert curve.at(t) == before
        assert curve.at(curve.end_ns) == curve.energy_uj


def test_unread_curve_stays_bounded_and_exact():
    curve = GpuCurve(0)
    for n in range(3 * SEGMENTS_MAX):
        curve.extend((n + 1) * S, [entry(n * S, (n + 1) * S, 7)])
    assert len(curve.segments) <= SEGMENTS_MAX
    assert curve.energy_uj == curve.at(curve.end_ns) == 7 * 3 * SEGMENTS_MAX


def test_a_gpu_that_is_not_known_makes_a_bounded_gap_and_comes_back_without_being_counted_twice():
    a, b = GpuCurve(0), GpuCurve(0)
    a.extend(30 * S, [entry(0, 30 * S, 3000)])
    b.extend(5 * S, [entry(0, 5 * S, 500)])
    gpu_curves, book = {"a": a, "b": b}, HostBook("host", True)
    first = interval(0, 10 * S, 10_000, edge_uj=0)
    assert not book.covered(first, gpu_curves, {"a", "b"})
    got = book.take(first, gpu_curves, {"a", "b"})
    assert got.gap is not None
    assert (got.gap.reason, got.gap.bound_uj, got.entries) == (NOT_KNOWN, 9_000, ())
    b.extend(30 * S, [entry(5 * S, 30 * S, 2500)])  # its counter bridges: 100 uJ per second throughout
    assert book.covered(interval(10 * S, 20 * S, 10_000), gpu_curves, {"a", "b"})
    got = book.take(interval(10 * S, 20 * S, 10_000), gpu_curves, {"a", "b"})
    assert sum(e.energy_uj for e in got.entries) == 10_000 - 1000 - 1000


def test_meter_reading_below_its_gpus_is_a_gap_and_not_carried():
    curve = GpuCurve(0)
    curve.extend(10 * S, [entry(0, 10 * S, 7_000_000_000)])
    book = HostBook("host", True, node_gain_ppm=50_000, gpu_gain_ppm=50_000)
    got = book.take(interval(0, 10 * S, 3_000_000_000), {"g": curve}, {"g"})
    assert got.gap is not None
    assert got.gap.reason == BELOW_GPUS
    assert book.carried_uj == 0


@pytest.mark.parametrize(
    ("end_s", "curves_of", "method", "expected"),
    [
        (10, [[(5, "w", State.ACTIVE), (5, "w", State.IDLE)], [(10, "", State.UNALLOCATED)]], Method.COUNTER,
         {("w", State.ACTIVE): 1000, ("w", State.IDLE): 1000, ("", State.UNALLOCATED): 2000}),
        (10, [[(5, "w", State.ACTIVE)]], Method.COUNTER,  # it fell silent, and a part waits for no GPU
         {("w", State.ACTIVE): 2000, ("", State.UNKNOWN_OWNER): 2000}),
        (900, [], Method.BRIDGED, {("", State.GAP): 4000}),
    ],
)  # fmt: skip
def test_shares_of_a_part_follow_device_time(end_s, curves_of, method, expected):
    gpu_curves = {}
    for name, pieces in enumerate(curves_of):
        gpu_curves[str(name)], t = GpuCurve(0), 0
        for seconds, *owner in pieces:
            gpu_curves[str(name)].extend((t + seconds) * S, [entry(t * S, (t + seconds) * S, 10**9, *owner)])
            t += seconds
    got = HostBook("host/package-0", False).take(interval(0, end_s * S, 4_000, method), gpu_curves, set(gpu_curves))
    assert {(e.workload, e.state): e.energy_uj for e in got.entries} == expected


def test_the_integration_error_of_the_gpus_is_in_the_bound():
    """Off at both readings, 100 W in between: a trapezoid sees nothing of it."""
    curve = GpuCurve(0)
    for start, uj in ((0, 0), (1, 800_000_000), (9, 0)):
        end = {0: 1, 1: 9, 9: 10}[start]
        curve.extend(end * S, [entry(start * S, end * S, uj)])
    meter = interval(0, 10 * S, 1_000_000_000, Method.INTEGRATED, edge_uj=0)
    recorded, edges = HostBook("host", True).take(meter, {"g": curve}, {"g"}).entries
    assert 2 * recorded.edge_uj >= 800_000_000
    assert (edges.method, edges.energy_uj, edges.edge_uj) == (Method.COUNTER, 0, 1000)


def test_the_account_begins_with_the_first_reading_at_which_all_gpus_are_known():
    """A GPU is known only from 2 s on: the earlier interval is neither recorded nor a gap; the next one is recorded."""
    curve = GpuCurve(2 * S)
    curve.extend(20 * S, [entry(2 * S, 20 * S, 1800)])
    book = HostBook("host", True)
    first = book.take(interval(0, 10 * S, 5000), {"g": curve}, {"g"})
    assert (first.entries, first.gap) == ((), None)
    second = book.take(interval(10 * S, 20 * S, 5000), {"g": curve}, {"g"})
    assert sum(e.energy_uj for e in second.entries) == 4000
    late = HostBook("host", True, started=True).take(interval(0, 10 * S, 5000), {"g": curve}, {"g"})
    assert late.gap is not None


def test_what_the_gpus_drew_between_two_intervals_that_do_not_touch_is_in_neither():
    """400 uJ in one step at 1 s to 2 s: an instant within it is uncertain by up to 300 uJ, one at its end is exact."""
    curve = GpuCurve(0)
    for start, end, uj in ((0, 1, 0), (1, 2, 400), (2, 4, 20)):
        curve.extend(end * S, [Entry(start * S, end * S, "gpu", "", State.UNALLOCATED, Method.COUNTER, uj, 0)])
    book = HostBook("host", True)

    def take(start_quarters, end_quarters):
        (got,) = book.take(
            interval(start_quarters * S // 4, end_quarters * S // 4, 1000, edge_uj=0), {"g": curve}, {"g"}
        ).entries
        return got.energy_uj, got.edge_uj

    assert take(0, 5) == (1000 - 100, 300)
    assert take(8, 12) == (1000 - 10, 10)
    book.skip()
    assert take(12, 16) == (1000 - 10, 10)
