import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Gap, Method, State, Steps, Tokens
from energy_agent.ledger.rows import cells
from energy_agent.ledger.rows.kinds import CELL_NS, INT64_MAX, fold
from energy_agent.ledger.rows.uncertainty import bound_of
from tests.energy_agent.ledger.cases import T0, S, entries, gaps, steps, tokens


def counter(start_s, end_s, uj, edge=50, workload="w", state=State.ACTIVE, gpu_share=1.0, method=Method.COUNTER):
    start, end = T0 + round(start_s * S), T0 + round(end_s * S)
    has_owner = workload != ""
    return Entry(start, end, "GPU-a", workload, state, method, uj, edge, round((end - start) * gpu_share) if has_owner else 0)


@given(entries())
def test_the_parts_of_an_entry_sum_to_it_and_lie_in_their_cells(entry):
    pieces = cells.cut(entry)
    assert sum(p.energy_uj for p in pieces) == entry.energy_uj
    assert sum(p.gpu_ns for p in pieces) == entry.gpu_ns
    assert (pieces[0].run.start_ns, pieces[-1].run.end_ns) == (entry.start_ns, entry.end_ns)
    for piece in pieces:
        assert piece.cell_start_ns % CELL_NS == 0
        assert piece.cell_start_ns <= piece.run.start_ns <= piece.run.end_ns <= piece.cell_start_ns + CELL_NS
    assert [p.run.start_ns for p in pieces[1:]] == [p.run.end_ns for p in pieces[:-1]]


@given(st.lists(entries(), max_size=12), st.integers(0, 12), st.randoms(use_true_random=False))
def test_cells_sum_to_entries_in_any_order_and_any_batches(recorded, split, order):
    def summed(rows):
        sums = Counter()
        for row in rows:
            for name in ("energy_uj", "gpu_ns"):
                sums[name, row.device, row.workload, row.state, row.method] += getattr(row, name)
        return sums

    expected = summed(recorded)
    order.shuffle(recorded)
    book = {}
    for batch in (recorded[:split], recorded[split:]):
        book |= fold(book, [p for e in batch for p in cells.cut(e)])
    assert summed(book.values()) == expected


@given(st.lists(gaps(), max_size=6), st.lists(tokens(), max_size=6), st.lists(steps(), max_size=6))
def test_gap_bounds_tokens_and_steps_are_split_without_loss(some_gaps, counts, done):
    assert sum(g.bound_uj for g in fold({}, cells.gap_rows(some_gaps)).values()) == sum(g.bound_uj for g in some_gaps)
    assert sum(t.tokens for t in fold({}, cells.token_rows(counts)).values()) == sum(t.tokens for t in counts)
    assert sum(s.steps for s in fold({}, cells.step_rows(done)).values()) == sum(s.steps for s in done)


def test_an_entry_over_two_cells_is_cut_in_proportion_to_time():
    pieces = cells.cut(counter(890, 930, 4_001))
    assert [(p.energy_uj, (p.run.end_ns - p.run.start_ns) // S) for p in pieces] == [(1_000, 10), (3_001, 30)]


def test_an_entry_from_a_wrong_clock_is_booked_whole_at_its_end():
    entry = Entry(0, T0, "GPU-a", "", State.GAP, Method.BRIDGED, 7, 1)
    (piece,) = cells.cut(entry)
    assert (piece.energy_uj, piece.cell_start_ns) == (7, T0 - CELL_NS)
    assert (piece.run.end_ns, T0 - piece.run.start_ns) == (T0, cells.CUTS_MAX * CELL_NS)


WEEK_NS = 7 * 86_400 * S


@given(st.integers(0, 40 * 365 * 86_400) | st.integers(0, WEEK_NS // S), st.integers(0, 90_000), st.integers(0, INT64_MAX))
def test_a_count_is_a_few_rows_however_long_it_took_and_of_its_own_days(long_s, at_s, amount):
    start, end = T0 + (at_s - long_s) * S, T0 + at_s * S
    folds = (
        fold({}, cells.token_rows([Tokens(start, end, "w", "m", "training", amount)])),
        fold({}, cells.step_rows([Steps(start, end, "w", "training", amount)])),
    )
    for rows in folds:
        sorted_rows = sorted(rows.values(), key=lambda row: row.start_ns)
        assert len(sorted_rows) <= cells.COUNT_ROWS_MAX
        assert sum(getattr(row, "tokens", 0) + getattr(row, "steps", 0) for row in sorted_rows) == amount
        assert sorted_rows[-1].end_ns == end
        assert [row.start_ns for row in sorted_rows[1:]] == [row.end_ns for row in sorted_rows[:-1]]
        assert end - sorted_rows[0].start_ns == min(end - start, cells.CUTS_MAX * CELL_NS)
        for row in sorted_rows:
            assert row.cell_start_ns == cells.cell_start(max(row.start_ns, row.end_ns - 1))
            if end - start < WEEK_NS - 86_400 * S:
                assert row.start_ns // (86_400 * S) == max(row.start_ns, row.end_ns - 1) // (86_400 * S)
            if end - start <= 6 * CELL_NS:
                assert row.cell_start_ns <= row.start_ns


def test_a_row_of_counts_stops_at_int64():
    two = [INT64_MAX, 5]
    (tokens_row,) = fold({}, cells.token_rows([Tokens(T0, T0, "w", "m", "training", n) for n in two])).values()
    (steps_row,) = fold({}, cells.step_rows([Steps(T0, T0, "w", "training", n) for n in two])).values()
    assert (tokens_row.tokens, steps_row.steps) == (INT64_MAX, INT64_MAX)


def test_a_gap_and_tokens_of_no_duration_keep_their_amount():
    (gap,) = fold({}, cells.gap_rows([Gap("GPU-a", T0, T0, 5, "lost")])).values()
    (count,) = fold({}, cells.token_rows([Tokens(T0, T0, "w", "m", "prompt", 5)])).values()
    assert (gap.cell_start_ns, gap.bound_uj, count.tokens) == (T0, 5, 5)


def spans(recorded):
    return fold({}, cells.span_rows(cells.cell_rows(recorded)))


def edge(recorded, workload):
    return bound_of(s.run for s in spans(recorded).values() if s.workload == workload)


def test_inner_edges_of_a_stretch_cancel_across_states_and_cells():
    interval = [counter(i, i + 1, 700, edge=40 + i % 7, state=State.IDLE if i % 2 else State.ACTIVE) for i in range(3_600)]
    assert edge(interval, "") == edge(interval, "w") == 40 + 40 + 3_599 % 7


SECONDS = [(i, i + 1) for i in range(10)]


@pytest.mark.parametrize(
    ("recorded", "edges"),
    [
        ([counter(*at, 700) for at in ((0, 1), (1, 2), (5, 6))], {"": 4 * 50}),  # a hole costs two
        ([counter(*at, 700, method=Method.INTEGRATED) for at in SECONDS], {"": 10 * 2 * 50}),  # integrated power never cancels
        # Another holder is an edge to holders, and none to the device.
        ([counter(*at, 700, workload="w" if at[0] < 5 else "v") for at in SECONDS], {"": 100, "w": 100, "v": 100}),
    ],
)
def test_edges_of_holes_and_of_changes(recorded, edges):
    assert {workload: edge(recorded, workload) for workload in edges} == edges


@given(st.integers(1, 10**9), st.floats(0, 1), st.floats(0.01, 0.99))
def test_a_cell_holds_its_truth_however_the_energy_lay_around_the_cut(uj, before_share, at):
    start = 900 - at * 3_000
    recorded = [counter(start, start + 3_000, uj, edge=0, method=Method.BRIDGED)]
    parts = [(p.cell_start_ns, p.energy_uj, p.run) for e in recorded for p in cells.cut(e)]
    before = sum(e for cell, e, _ in parts if cell < T0 + 900 * S)
    bound = bound_of(run for cell, _, run in parts if cell < T0 + 900 * S)
    assert abs(before - before_share * uj) <= bound
    assert bound_of(run for _, _, run in parts) == 0  # the whole is known


@given(st.integers(0, 2**32), st.integers(2, 40), st.floats(0.05, 1.0), st.booleans())
def test_the_bound_holds_for_every_error_that_the_readings_may_have(seed, count, share, late):
    """Truth: readings with errors drawn within their bounds, energy drawn freely within each second, shares that change."""
    rng = random.Random(seed)
    start = rng.uniform(880, 900)
    errors = [rng.randint(-10_000, 10_000) for _ in range(count + 1)]
    true = [rng.randint(100_000, 1_000_000) for _ in range(count)]
    shares = [rng.choice([1.0, share]) for _ in range(count)]
    recorded, truth = [], Counter()
    for i, (uj, w) in enumerate(zip(true, shares, strict=True)):
        measured = uj + errors[i + 1] - errors[i]
        mine, rest = round(measured * w), measured - round(measured * w)
        bound = max(abs(errors[i]), abs(errors[i + 1]))
        at = (start + i * 1.5, start + (i + 1) * 1.5)
        recorded.append(counter(*at, mine, edge=-(-bound * w // 1) + 1, workload="w", gpu_share=w))
        if w < 1:
            recorded.append(counter(*at, rest, edge=-(-bound * (1 - w) // 1) + 1, workload="v", gpu_share=1 - w))
        truth["w"] += uj * w
        truth[""] += uj
    recorded = [replace(e, edge_uj=int(e.edge_uj)) for e in recorded]
    if late:
        rng.shuffle(recorded)
    for name in ("", "w"):
        energy = sum(e.energy_uj for e in recorded if name in ("", e.workload))
        assert abs(energy - truth[name]) <= edge(recorded, name) + 2 * count  # two roundings of a share each second
