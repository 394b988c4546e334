"""Laws of `wattlens job`: the energy of a job is that of its row in `usage`, its parts sum to it, whatever nodes it had."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import REQUEST, Entry, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.rows.kinds import CELL_NS, DeviceFacts, PhaseRow
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN
from energy_agent.ledger.segments import table
from tests.support import examples
from tests.wattlens.usage.statements import job_report, usage_of
from wattlens.usage.job_address import parse_address
from wattlens.usage.ledger_rows import SegmentAdder, SegmentColumns
from wattlens.usage.record import EnergyRecord
from wattlens.usage.statement import GroupBy

START_NS = 1_782_864_000 * NS_PER_S  # 2026-07-01T00:00:00Z
END_NS = START_NS + 48 * CELL_NS
STEP_NS = 300 * NS_PER_S
JOBS = ("JobSet/llama", "JobSet/qwen")
FREE = (State.UNALLOCATED, State.UNKNOWN_OWNER)


@st.composite
def nodes(draw):
    """Batches of up to three nodes with two GPUs, on which pods of two jobs and free time take turns."""
    batches = {}
    for number in range(draw(st.integers(1, 3))):
        entries, steps, tokens, phases, facts = [], [], [], [], {}
        for gpu in range(2):
            at = 0
            for turn in range(draw(st.integers(1, 4))):
                job = draw(st.sampled_from((*JOBS, "")))
                pod = f"pod:{number}-{gpu}-{turn}" if job else ""
                length, edge = draw(st.integers(1, 8)), draw(st.integers(0, 10**5))
                for _ in range(length):
                    state = draw(st.sampled_from((State.ACTIVE, State.IDLE) if job else FREE))
                    start, uj = START_NS + at * STEP_NS, draw(st.integers(0, 10**10))
                    end = start + STEP_NS
                    entries.append(Entry(start, end, f"GPU-{number}{gpu}", pod, state, Method.COUNTER, uj, edge, STEP_NS))
                    if job:
                        steps.append(Steps(start, end, pod, "training", draw(st.integers(1, 50))))
                        tokens.append(Tokens(start, end, pod, "m", "training", draw(st.integers(0, 10**6))))
                        tokens.append(Tokens(start, end, pod, "m", REQUEST, 7))  # which are not tokens
                        phases.append(PhaseRow(start - start % CELL_NS, pod, "checkpoint", start, end, uj // 2, STEP_NS // 2))
                    at += 1
                if job:
                    labels = {"namespace": "research", "pod": pod[4:], "owner": job}
                    facts[pod] = WorkloadFacts(pod, START_NS, "pod", labels)
        devices = [DeviceFacts(f"GPU-{number}{gpu}", "H100", 0.05, START_NS) for gpu in range(2)]
        entries.sort(key=lambda entry: entry.start_ns)
        batches[f"n{number}"] = Batch(
            entries, (), tokens, facts=list(facts.values()), devices=devices, steps=steps, rows=phases
        )
    return batches


def segments_of(batches):
    for node, batch in batches.items():
        book = Book()
        book.add(batch)
        rows = [
            replace(row, run=replace(row.run, last_ppm=SHARE_UNKNOWN))
            if getattr(row, "workload", "") and hasattr(row, "run")
            else row
            for row in [*book.open_rows(), *book.facts.values()]
        ]
        yield SegmentColumns("prod", node, True, 1, table.columns_of(rows))


def record_of(batches, address=None, start_ns=START_NS, end_ns=END_NS):
    record = EnergyRecord("test", start_ns, end_ns)
    adder = SegmentAdder(record, address)
    for part in segments_of(batches):
        adder.add(part)
    adder.finish()
    return record


def report_of_job(batches, text, *period):
    address = parse_address(text)
    return job_report(record_of(batches, address, *period), address)


@settings(max_examples=examples(40, 8), deadline=None)
@given(nodes())
def test_a_job_is_its_row_of_usage_and_its_parts_sum_to_it(batches):
    rows = {row.key.name: row for row in usage_of(record_of(batches), GroupBy.OWNER).rows}
    for job in JOBS:
        address = f"k8s/research/{job}"
        if address not in rows:
            with pytest.raises(WattlensError, match="no energy of this job found"):
                report_of_job(batches, address)
            continue
        report = report_of_job(batches, address)
        mine = [e for b in batches.values() for e in b.entries if e.workload and job in labels_of(b, e.workload)]
        assert report.energy == rows[address].energy
        assert report.energy.energy_uj == sum(entry.energy_uj for entry in mine)
        assert (report.active_uj, report.idle_uj) == rows[address].parts.values[:2]
        assert report.idle_uj == sum(entry.energy_uj for entry in mine if entry.state is State.IDLE)
        assert report.active_ns + report.idle_ns == sum(entry.gpu_ns for entry in mine)
        assert report.workloads == len({entry.workload for entry in mine})
        assert sum(report.tokens.values()) == rows[address].tokens.get("training", 0)
        phases = [row for b in batches.values() for row in b.rows if job in labels_of(b, row.workload)]
        assert report.phases == {"checkpoint": (sum(p.energy_uj for p in phases), sum(p.gpu_ns for p in phases))}
        assert report.phases["checkpoint"][0] <= report.energy.energy_uj
        steps = [s.steps for b in batches.values() for s in b.steps if job in labels_of(b, s.workload)]
        assert max(steps) <= report.step_count <= sum(steps)


def labels_of(batch, workload):
    return next(fact.labels["owner"] for fact in batch.facts if fact.workload == workload)


@settings(max_examples=examples(30, 6), deadline=None)
@given(nodes(), st.integers(1, 12))
def test_two_periods_that_meet_have_the_energy_of_both(batches, cells):
    middle_ns, energy_uj = START_NS + cells * CELL_NS, []
    for start_ns, end_ns in ((START_NS, middle_ns), (middle_ns, END_NS), (START_NS, END_NS)):
        try:
            energy_uj.append(report_of_job(batches, f"k8s/research/{JOBS[0]}", start_ns, end_ns).energy.energy_uj)
        except WattlensError:
            energy_uj.append(0)
    assert energy_uj[0] + energy_uj[1] == energy_uj[2]
