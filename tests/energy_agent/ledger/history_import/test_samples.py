"""Scraped counters and powers become entries: by hand, and as laws. One mJ is 1,000 uJ; 100 W for 1 s are 100,000,000 uJ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import Method, State
from energy_agent.ledger.history_import.gpu import CounterAccount, PowerAccount
from energy_agent.ledger.history_import.samples import ExporterBounds, ExporterReading, joined, pick
from energy_agent.ledger.rows import cells
from energy_agent.ledger.rows.kinds import fold

S = 1_000_000_000
T0 = 1_767_225_600 * S
W = 1_000  # mW
MAX = ExporterBounds(800 * W, 30 * S)
UNKNOWN = ExporterBounds(None, 30 * S)
POD, OTHER = frozenset({"import:ml/a"}), frozenset({"import:ml/b"})


def at(second, joules, owners=frozenset(), source=""):
    return ExporterReading(T0 + second * S, joules * 1_000_000, owners, source)


def account_of(*readings, terms=MAX):
    account = CounterAccount("GPU-1", terms)
    account.take(readings)
    account.end()
    return account


def scraped(first, last, watts=100, every=15, start_joules=1_000):
    """A load of whole watts, scraped every so often."""
    return [at(s, start_joules + (s - first) * watts) for s in range(first, last + 1, every)]


def test_successive_scrapes_are_entries_of_the_counter():
    account = account_of(*scraped(0, 45))
    assert [(e.start_ns, e.end_ns, e.energy_uj, e.method) for e in account.entries] == [
        (T0 + s * S, T0 + (s + 15) * S, 1_500_000_000, Method.COUNTER) for s in (0, 15, 30)
    ]
    # 800 W in the 30 s that a reading can be old and in two ticks of 100 ms
    assert {e.edge_uj for e in account.entries} == {800 * 30_200_000}
    assert account.gaps == []


def test_a_hole_of_more_than_two_and_a_half_scrapes_is_bridged():
    account = account_of(*scraped(0, 60), at(98, 10_800), at(113, 12_300))
    assert [(e.energy_uj, e.method) for e in account.entries[4:]] == [
        (3_800_000_000, Method.BRIDGED),
        (1_500_000_000, Method.COUNTER),
    ]
    account = account_of(*scraped(0, 60), at(97, 10_700), at(112, 12_200))
    assert account.entries[4].method is Method.COUNTER  # 37 s: 2.5 x 15 s and no more


def test_readings_that_stand_still_for_a_collection_are_one_stretch():
    """The exporter asks every 30 s, Prometheus every 15 s: each value comes twice."""
    pairs = [(0, 1_000), (15, 1_000), (30, 4_000), (45, 4_000), (60, 7_000), (75, 7_000), (90, 10_000)]
    account = account_of(*(at(s, j) for s, j in pairs))
    assert [(e.start_ns - T0, e.end_ns - T0, e.energy_uj) for e in account.entries] == [
        (a * S, (a + 30) * S, 3_000_000_000) for a in (0, 30, 60)
    ]
    assert {e.method for e in account.entries} == {Method.COUNTER}


RUN = [1_500_000_000] * 2  # uJ of two scrapes
STUCK = [at(0, 1_000), *(at(s, 2_500) for s in range(15, 601, 15))]


@pytest.mark.parametrize(
    ("readings", "energies", "gaps"),
    [
        # A decrease is a reset: the import records the new count, and the rest of 800 W for 15.2 s is a gap.
        ([*scraped(0, 30), at(45, 700), at(60, 2_200)], [*RUN, 700_000_000, RUN[0]],
         [("counter reset", 800 * 15_200_000 - 700_000_000)]),
        ([*scraped(0, 30), at(45, 0), at(60, 1_500)], [*RUN, RUN[0]], [("counter reset", 800 * 15_200_000)]),
        # After 15 s it shows 40 kJ, of which 800 W can have given 12: another board's, or an old value.
        ([*scraped(0, 30, start_joules=1_000_000), at(45, 40_000), at(60, 41_500)], [*RUN, RUN[0]],
         [("counter reset", 800 * 15_200_000)]),
        # A jump that stays is a gap.
        ([*scraped(0, 30), at(45, 10**6), at(60, 10**6 + 1_500)], [*RUN, RUN[0]],
         [("impossible counter difference", 800 * 15_200_000)]),
        # Before a hole: the one reading after the reset is far from the next, when the counter may have passed its old value.
        ([*scraped(0, 60), at(75, 500), at(10_875, 1_080_500)], [*RUN, *RUN, 500_000_000, 1_080_000_000_000],
         [("counter reset", 800 * 15_200_000 - 500_000_000)]),
        # 3 h of 800 W are more than 2^32 mJ: it may have wrapped, or begun again; the bound holds a wrap as well.
        ([at(0, 850), at(15, 1_000), at(10_815, 500), at(10_830, 2_000)], [150_000_000, 500_000_000, RUN[0]],
         [("counter reset", 800 * 10_800_200_000 - 500_000_000)]),
        # It stands still for minutes and moves by what 15 s can hold: frozen since its last move, 585 s at 800 W.
        ([*STUCK, at(615, 4_000), at(630, 5_500)], [*RUN, RUN[0]], [("sensor stuck", 800 * 585_200_000)]),
        # By 100 W of all the time: it went on behind its face.
        ([*STUCK, at(615, 62_500), at(630, 64_000)], [RUN[0], 60_000_000_000, RUN[0]], []),
        (STUCK, [RUN[0]], [("sensor stuck", 800 * 585_200_000)]),
    ],
)  # fmt: skip
def test_falls_jumps_and_stillness_are_booked_or_bounded(readings, energies, gaps):
    account = account_of(*readings)
    assert [e.energy_uj for e in account.entries] == energies
    assert [(g.reason, g.bound_uj) for g in account.gaps] == gaps
    unbounded = account_of(*readings, terms=UNKNOWN)
    assert all(g.reason.startswith(UNBOUNDED) and g.bound_uj == 0 for g in unbounded.gaps)


@pytest.mark.parametrize("terms", [MAX, UNKNOWN])
def test_a_gap_is_over_the_time_of_the_fall(terms):
    account = account_of(*scraped(0, 30), at(45, 700), at(60, 2_200), terms=terms)
    assert [e.energy_uj for e in account.entries] == [*RUN, 700_000_000, RUN[0]]
    (gap,) = account.gaps
    assert (gap.start_ns, gap.end_ns) == (T0 + 30 * S, T0 + 45 * S)
    assert account.event_counts["counter restarts"] == 1
    assert account.entries[-1].start_ns == T0 + 45 * S


@pytest.mark.parametrize("wrong", [0, 900, 10**9, 9_223_372_036_854])
def test_one_reading_that_cannot_be_is_passed_over(wrong):
    right = scraped(0, 90, start_joules=50_000)
    account = account_of(*right[:3], at(45, wrong), *right[4:])
    assert sum(e.energy_uj for e in account.entries) == 9_000_000_000
    assert account.gaps == []
    assert account.event_counts == {"single implausible readings ignored": 1}


def test_owner_is_named_by_every_reading():
    account = account_of(at(0, 1_000, POD), at(15, 2_500, POD), at(30, 4_000, OTHER), at(45, 5_500, OTHER), at(60, 7_000))
    got = [(e.workload, e.state, e.gpu_ns) for e in account.entries]
    assert got == [
        ("import:ml/a", State.ACTIVE, 15 * S),
        ("", State.UNKNOWN_OWNER, 0),
        ("import:ml/b", State.ACTIVE, 15 * S),
        ("", State.UNKNOWN_OWNER, 0),
    ]


def test_energy_of_a_shared_board_is_unattributed():
    both = POD | OTHER
    account = account_of(at(0, 1_000, both), at(15, 2_500, both), at(30, 4_000, both | {""}))
    assert {(e.workload, e.state) for e in account.entries} == {("", State.UNKNOWN_OWNER)}


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        (POD, ("", State.GAP)),  # a name that a later pod may have
        (frozenset({"import:ml/a@0123abcd"}), ("import:ml/a@0123abcd", State.ACTIVE)),  # the pod's uid: the same life
        (frozenset(), ("", State.UNKNOWN_OWNER)),
    ],
)
def test_over_a_hole_the_same_name_is_not_the_same_pod(owners, expected):
    near = [at(s, 1_000 + 100 * s, owners) for s in (0, 15, 30)]
    account = account_of(*near, at(3_630, 364_000, owners), at(3_645, 365_500, owners))
    assert account.entries[2].method is Method.BRIDGED
    assert (account.entries[2].workload, account.entries[2].state) == expected


def test_power_alone_is_a_trapezoid_and_a_hole_a_gap():
    account = PowerAccount("GPU-1", MAX)
    powers = [(0, 100), (15, 200), (30, 200), (45, 100), (200, 100), (215, 10**9), (230, 100)]
    account.take([ExporterReading(T0 + s * S, w * W) for s, w in powers])
    assert [(e.energy_uj, e.edge_uj, e.method) for e in account.entries] == [
        (2_250_000_000, 750_000_000, Method.INTEGRATED),  # 150 W x 15 s; half of 100 W x 15 s
        (3_000_000_000, 0, Method.INTEGRATED),
        (2_250_000_000, 750_000_000, Method.INTEGRATED),
        (3_000_000_000, 0, Method.INTEGRATED),  # over the 1 GW value, which is not a valid reading
    ]
    assert [(g.reason, g.bound_uj) for g in account.gaps] == [("no energy counter and no power readings", 800 * 155_200_000)]


def test_one_source_is_picked_for_each_quarter_of_an_hour():
    a = [at(s, 100 * s, source="a") for s in range(0, 1_800, 15)]
    b = [at(s, 100 * s, source="b") for s in range(7, 1_800, 15)]
    chosen, source, skipped_sources = pick({"a": a, "b": b})
    assert (chosen, source, skipped_sources) == (a, "a", {"b"})
    assert pick({"a": a, "b": b}, "b") == (b, "b", {"a"})  # it stays with whom it has
    chosen, source, skipped_sources = pick({"a": a[:20], "b": b})  # a falls silent in the first quarter, with 20 of 60 readings
    assert (chosen, source, skipped_sources) == (b, "b", {"a"})
    chosen, source, skipped_sources = pick({"a": a[:40], "b": b}, "a")  # with 40 of 60 it is kept, until it says nothing
    assert (chosen, source, skipped_sources) == ([*a[:40], *b[60:]], "b", {"b"})


def test_consecutive_series_are_not_reported_as_duplicates():
    a, b = scraped(0, 450), [at(s, 100 * s, source="b") for s in range(465, 1_800, 15)]
    assert pick({"a": a, "b": b})[2] == set()


def test_a_source_that_lags_behind_the_one_before_is_no_reset():
    readings = [*scraped(0, 60), at(62, 6_000, source="b"), at(77, 8_600, source="b"), at(92, 10_100, source="b")]
    account = account_of(*readings)
    assert sum(e.energy_uj for e in account.entries) == 9_100_000_000
    assert account.gaps == []
    assert account.event_counts == {"older readings of another series ignored": 1}


# Laws. Powers up to 800 W, scrapes at any distance of whole seconds, each lost or not.

steps = st.lists(
    st.tuples(st.one_of(st.integers(1, 90), st.integers(1, 20_000)), st.integers(0, 800_000), st.booleans()),
    min_size=1,
    max_size=60,
)


@st.composite
def histories(draw):
    """What a counter in mJ showed at each scrape that came through, and who was named."""
    t, mj, readings = T0, draw(st.integers(0, 10**12)), []
    owner = draw(st.sampled_from([frozenset(), POD, POD | OTHER]))
    for seconds, mw, lost in draw(steps):
        if not lost:
            readings.append(ExporterReading(t, mj * 1_000, owner))
        t, mj = t + seconds * S, mj + mw * seconds // 1_000
        if draw(st.integers(0, 5)) == 0:
            owner = draw(st.sampled_from([frozenset(), POD, OTHER]))
    return [*readings, ExporterReading(t, mj * 1_000, owner)]


@given(histories(), st.integers(1, 8), st.sampled_from([MAX, UNKNOWN]))
def test_without_resets_cells_sum_to_the_last_value_minus_the_first(readings, parts, terms):
    account = CounterAccount("GPU-1", terms)
    size = max(1, len(readings) // parts)
    for i in range(0, len(readings), size):  # slices of any size
        account.take(readings[i : i + size])
    account.end()
    folded = fold({}, cells.cell_rows(account.entries))
    assert sum(cell.energy_uj for cell in folded.values()) == readings[-1].value - readings[0].value
    assert all(g.reason.endswith("sensor stuck") for g in account.gaps)


@given(histories(), st.sampled_from([MAX, UNKNOWN]))
def test_joined_entries_make_the_same_rows(readings, terms):
    entries = account_of(*readings, terms=terms).entries
    few = joined(entries)
    assert len(few) <= len(entries)
    assert fold({}, cells.entry_rows(few)) == fold({}, cells.entry_rows(entries))


def test_a_quarter_of_an_hour_of_one_holder_is_one_entry():
    entries = account_of(*scraped(0, 1_800)).entries
    assert [(e.start_ns, e.end_ns, e.energy_uj) for e in joined(entries)] == [
        (T0 + s * S, T0 + (s + 900) * S, 90_000_000_000) for s in (0, 900)
    ]


@given(histories(), st.data())
def test_with_a_reset_what_is_booked_and_the_bound_hold_the_truth(readings, data):
    cut = data.draw(st.integers(0, len(readings) - 1))
    at_reset = data.draw(st.integers(0, 10**6))
    base = readings[cut].value
    lost = base - (readings[cut - 1].value if cut else base)
    after = [ExporterReading(r.t_ns, r.value - base + min(at_reset, lost), r.owners) for r in readings[cut:]]
    account = account_of(*readings[:cut], *after)
    recorded = sum(e.energy_uj for e in account.entries)
    truth = readings[-1].value - readings[0].value
    assert recorded <= truth
    assert recorded + sum(g.bound_uj for g in account.gaps) >= truth or _unseen(readings[:cut], after)


def _unseen(before, after):
    """A reset that nobody can see: the counter was past its old value when it was read again (docs/ledger.md)."""
    return bool(before and after) and after[0].value >= before[-1].value


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4_000)), max_size=80))
def test_of_each_quarter_of_an_hour_all_readings_are_of_one_source(samples):
    streams = {}
    for source, second in sorted(set(samples), key=lambda pair: pair[1]):
        streams.setdefault(source, []).append(at(second, second, source=source))
    chosen, _, _ = pick(streams)
    by_cell = {}
    for reading in chosen:
        by_cell.setdefault(cells.cell_start(reading.t_ns), set()).add(reading.source)
    assert all(len(sources) == 1 for sources in by_cell.values())
    assert set(by_cell) == {cells.cell_start(T0 + second * S) for _, second in samples}
    assert [r.t_ns for r in chosen] == sorted(r.t_ns for r in chosen)
