"""The rows of a job from an agent's state folder, or from folders of segments of any number of nodes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from energy_agent.ledger.fleet.day_sums import NodeDay
from wattlens.job.address import JobAddress
from wattlens.job.record import JobRecord
from wattlens.usage.ledger_rows import Columns, LedgerPeriod, SegmentColumns, column_rows, read_segments

_OF_WORKLOADS: Final = ("cell", "time", "span", "tokens", "steps", "phase", "workload")
_WHOLE: Final = {"span": ("",)}
_RUN: Final = ("start_ns", "end_ns", "edge_first_uj", "edge_inner_uj", "edge_last_uj")


def read_record(source: Path, address: JobAddress, start_ns: int, end_ns: int) -> JobRecord:
    """What a ledger holds of a job within [start_ns, end_ns); without workloads where it holds nothing.

    Raises:
        UsageError: the source is not a ledger.
        ChainError, JournalError: the ledger is damaged.
    """
    period = LedgerPeriod(start_ns, end_ns)
    record = JobRecord(f"ledger {source}", start_ns, end_ns)
    for part in read_segments(source, period):
        add_segment(record, period, part, address)
    add_days(record, period)
    return record


def add_segment(record: JobRecord, period: LedgerPeriod, part: SegmentColumns, address: JobAddress) -> None:
    """Add the rows of the job's workloads, and those of whole devices; every segment has the labels of its workloads."""
    members = {
        workload
        for workload, kind, labels in column_rows(part.kinds, "workload", "workload", "workload_kind", "labels")
        if address.matches(workload, kind, json.loads(labels))
    }
    period.add(replace(part, kinds=_select(part.kinds, members)))
    for workload, phase, cell_ns, start_ns, end_ns, steps in column_rows(
        part.kinds, "steps", "workload", "phase", "cell_start_ns", "start_ns", "end_ns", "steps"
    ):
        if workload in members and period.start_ns <= cell_ns < period.end_ns:
            record.add_steps((part.cluster, part.node, workload), phase, start_ns, end_ns, steps)
    for workload, phase, cell_ns, energy_uj, gpu_ns in column_rows(
        part.kinds, "phase", "workload", "phase", "cell_start_ns", "energy_uj", "gpu_ns"
    ):
        if workload in members and period.start_ns <= cell_ns < period.end_ns:
            record.add_phase(phase, energy_uj, gpu_ns)


def _select(kinds: Mapping[str, Columns], members: Iterable[str]) -> dict[str, Columns]:
    """Rows of these workloads, with spans of whole devices, gaps and devices."""
    selected = dict(kinds)
    for kind in _OF_WORKLOADS:
        if kind in kinds:
            kept = {*members, *_WHOLE.get(kind, ())}
            places = [at for at, workload in enumerate(kinds[kind]["workload"]) if workload in kept]
            selected[kind] = {name: _pick(column, places) for name, column in kinds[kind].items()}
    return {kind: columns for kind, columns in selected.items() if len(next(iter(columns.values())))}


def _pick(column: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [column[at] for at in places]


def add_days(record: JobRecord, period: LedgerPeriod) -> None:
    """Add the day sums, tokens and labels of what was read."""
    record.simulated |= period.simulated
    record.gain_ppm |= period.gain_ppm
    for _, of_day in sorted(period.days.items(), key=lambda each: each[0][2]):
        _add_day(record, of_day)
    for (_, _, phase, model), count in period.tokens.items():
        record.add_tokens(phase, model, count)
    for owner, facts in period.facts.items():
        _, _, kind, labels = max(facts, key=lambda fact: fact[:2])
        record.workloads[owner] = kind, labels
    record.open_places |= period.open


def _add_day(record: JobRecord, of_day: NodeDay) -> None:
    tables = of_day.columns()
    for cluster, node, device, workload, state, energy_uj, gpu_ns in column_rows(
        tables, "holder_day", "cluster", "node", "device", "workload", "state", "energy_uj", "gpu_ns"
    ):
        record.add_energy((cluster, node, workload), device, state, energy_uj, gpu_ns)
    is_used = bool(tables["holder_day"]["workload"])
    for cluster, node, device, workload, gap_uj, metered_ns, gap_ns, *run in column_rows(
        tables, "span_day", "cluster", "node", "device", "workload", "gap_bound_uj", "metered_ns", "gap_ns", *_RUN
    ):
        if workload:
            record.add_span((cluster, node, workload), device, run, gap_uj)
        elif is_used:
            record.add_metered((cluster, node, device), metered_ns, gap_ns)
            record.metered_at.setdefault(device, []).append((run[0], run[1], cluster, node))
    for cell_start_ns, gpu_ns in column_rows(tables, "workload_cell", "cell_start_ns", "gpu_ns"):
        record.add_cell(cell_start_ns, gpu_ns)
