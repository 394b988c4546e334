"""Laws of `wattlens usage`: rows sum to the total, whatever they are; bounds are those of the ledger's own sums."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Gap, Method, State, Tokens, WorkloadFacts
from energy_agent.core.units import NS_PER_DAY, NS_PER_S
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.rows.kinds import CELL_NS, DeviceFacts
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN
from energy_agent.ledger.segments import table
from energy_agent.ledger.summary import bounds
from tests.support import examples
from tests.wattlens.usage.statements import usage_of
from wattlens.usage.ledger_rows import SegmentAdder, SegmentColumns
from wattlens.usage.opened import open_record
from wattlens.usage.rates import parse_carbon, parse_price, with_carbon, with_price
from wattlens.usage.record import EnergyRecord
from wattlens.usage.statement import DEVICE_GROUPS, GroupBy, RowKind
from wattlens.usage.sums import statement_of

START_NS = 1_782_864_000 * NS_PER_S  # 2026-07-01T00:00:00Z
STEP_NS = 450 * NS_PER_S
STEPS = 2 * NS_PER_DAY // STEP_NS
GPUS = ("GPU-1", "GPU-2")
WORKLOADS = ("pod:a", "pod:b", "pod:c")
FREE = (State.UNALLOCATED, State.UNKNOWN_OWNER, State.STARTING)
LABELS = st.dictionaries(st.sampled_from(("namespace", "pod", "user", "team", "model")), st.sampled_from(("x", "y", "z")))


@st.composite
def books(draw):
    """Two days of two GPUs, each allocated to workloads or to none by turns, with gaps, labels that change and tokens."""
    entries, gaps, tokens = [], [], []
    for device in GPUS:
        at = draw(st.integers(0, STEPS - 20))
        for _ in range(draw(st.integers(1, 5))):
            owner = draw(st.sampled_from((*WORKLOADS, "")))
            state = draw(st.sampled_from((State.ACTIVE, State.IDLE) if owner else FREE))
            length = draw(st.integers(1, 30))
            edge, energy = draw(st.integers(0, 10**6)), draw(st.integers(0, 10**12))
            for step in range(at, min(at + length, STEPS)):
                start, uj = START_NS + step * STEP_NS, energy * (step + 1) // STEPS
                entries.append(Entry(start, start + STEP_NS, device, owner, state, Method.COUNTER, uj, edge, STEP_NS))
            at += length
            if draw(st.booleans()):
                start = START_NS + min(at, STEPS - 1) * STEP_NS
                gaps.append(Gap(device, start, start + STEP_NS, draw(st.integers(0, 10**9)), "gpu_lost"))
                at += 1
    for owner in {entry.workload for entry in entries if entry.workload}:
        if draw(st.booleans()):
            model = draw(st.sampled_from(("m", "n")))
            tokens.append(Tokens(START_NS, START_NS + STEP_NS, owner, model, "generation", draw(st.integers(0, 10**6))))
    facts = [
        WorkloadFacts(owner, START_NS + draw(st.integers(0, 2)) * NS_PER_DAY, "pod", draw(LABELS))
        for owner in WORKLOADS
        for _ in range(draw(st.integers(0, 2)))
    ]
    devices = [DeviceFacts(uuid, "H100", draw(st.integers(0, 100_000)) / 10**6, START_NS) for uuid in GPUS]
    return Batch(sorted(entries, key=lambda entry: entry.start_ns), gaps, tokens, facts=facts, devices=devices)


def record_of(batch, start_ns=START_NS, end_ns=START_NS + 2 * NS_PER_DAY):
    book = Book()
    book.add(batch)
    # As a ledger is read: shares of a GPU are not stored.
    rows = [
        replace(row, run=replace(row.run, last_ppm=SHARE_UNKNOWN))
        if getattr(row, "workload", "") and hasattr(row, "run")
        else row
        for row in [*book.open_rows(), *book.facts.values()]
    ]
    record = EnergyRecord("test", start_ns, end_ns)
    adder = SegmentAdder(record)
    adder.add(SegmentColumns("demo", "n1", True, 1, table.columns_of(rows)))
    adder.finish()
    return record, rows


@settings(max_examples=examples(20, 4), deadline=None)
@given(books())
def test_rows_sum_to_the_total_and_every_grouping_has_the_same_total(batch):
    record, _ = record_of(batch)
    expected = sum(entry.energy_uj for entry in batch.entries)
    by_state = {
        "active": sum(e.energy_uj for e in batch.entries if e.state is State.ACTIVE),
        "idle": sum(e.energy_uj for e in batch.entries if e.state is State.IDLE),
        "unallocated": sum(e.energy_uj for e in batch.entries if e.state is State.UNALLOCATED),
    }
    totals = []
    with open_record(record) as ledger:
        statements = {by: statement_of(ledger, by) for by in GroupBy}
    for by, usage in statements.items():
        assert sum(row.energy.energy_uj for row in usage.rows) == usage.total.energy.energy_uj == expected
        assert tuple(map(sum, zip(*(row.parts.values for row in usage.rows), strict=True))) == usage.total.parts.values
        assert usage.total.parts.values[:3] == tuple(by_state.values())
        assert len({row.key for row in usage.rows}) == len(usage.rows)
        totals.append(usage.total)
        if by not in DEVICE_GROUPS:
            assert sum(sum(row.tokens.values()) for row in usage.rows) == sum(usage.total.tokens.values())
            of_kind = {row.key.kind: row.energy.energy_uj for row in usage.rows}
            assert of_kind.get(RowKind.UNALLOCATED, 0) == by_state["unallocated"]
    assert all(total == totals[0] for total in totals)


@settings(max_examples=examples(60, 6), deadline=None)
@given(books())
def test_bounds_are_those_of_the_ledgers_own_sums(batch):
    record, rows = record_of(batch)
    usage = usage_of(record, GroupBy.GPU)
    whole = bounds(rows)
    assert (usage.total.energy.low_uj, usage.total.energy.high_uj) == (whole.low_uj, whole.high_uj)
    for row in usage.rows:
        expected = bounds(rows, device=row.key.name.split()[-1])
        assert (row.energy.low_uj, row.energy.high_uj) == (expected.low_uj, expected.high_uj)
    bare = replace(batch, facts=[])  # then a workload is called by its identity
    record, rows = record_of(bare)
    for row in usage_of(record, GroupBy.WORKLOAD).rows:
        assert row.energy.low_uj <= row.energy.energy_uj <= row.energy.high_uj
        if row.key.kind is RowKind.GROUP:
            expected = bounds(rows, workload=row.key.name)
            assert (row.energy.energy_uj, row.energy.low_uj) == (expected.energy_uj, expected.low_uj)
            assert row.energy.high_uj == expected.high_uj + row.energy.gap_uj


@settings(max_examples=examples(30, 6), deadline=None)
@given(books(), st.integers(0, 2 * 96), st.integers(1, 2 * 96))
def test_two_periods_that_meet_have_the_energy_of_both(batch, cells, more):
    middle, end = START_NS + cells * CELL_NS, START_NS + (cells + more) * CELL_NS
    energy = [0, 0, 0]
    for place, (start_ns, end_ns) in enumerate(((START_NS, middle), (middle, end), (START_NS, end))):
        record, _ = record_of(batch, start_ns, end_ns)
        if record.days():
            energy[place] = usage_of(record, GroupBy.TEAM).total.energy.energy_uj
    assert energy[0] + energy[1] == energy[2]


@settings(max_examples=examples(30, 6), deadline=None)
@given(books())
def test_cost_and_co2e_sum_to_the_total_exactly(batch):
    record, _ = record_of(batch)
    usage = usage_of(record, GroupBy.WORKLOAD)
    usage = with_carbon(with_price(usage, parse_price("0.18EUR/kWh")), parse_carbon("380"))
    measured_rows = [row for row in usage.rows if not row.energy.unseen]  # energy that no sensor saw has no cost
    assert sum(row.cost.value for row in measured_rows) == (usage.total.cost.value or 0)
    assert sum(row.carbon.value for row in measured_rows) == (usage.total.carbon.value or 0)
    assert all(row.cost.low <= row.cost.value <= row.cost.high for row in measured_rows)
    assert all(row.cost.value is None for row in usage.rows if row.energy.unseen)
