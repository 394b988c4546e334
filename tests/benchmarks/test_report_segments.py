"""Test the generator of a fleet's quarter against the real writer: the same numbers recorded as entries give the same bytes."""

import pytest

from benchmarks.report_fleet import (
    BOUND_UJ_S,
    CELL_NS,
    DEAD,
    DEAD_REASON,
    GPUS,
    HELD,
    HOLE_NS,
    HOLE_REASON,
    HOLED,
    SHARED,
    UNHELD,
    SyntheticFleet,
    device_name,
    edge_uj,
    node_day,
    node_name,
    start_ns,
)
from benchmarks.report_segments import BOOT, CLUSTER, VERSION, ChainEnd, host_name, host_shares, labels, node_lines, write
from energy_agent.core.energy import Entry, Gap, Identity, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.units import split_integer
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.rows.kinds import DeviceFacts
from energy_agent.ledger.segments import segment

S = 10**9


def entries_of(node, cell):
    """Yield a node's cell as the entries that its agent would have recorded: GPU energy while the GPU was busy and idle."""
    start = start_ns(cell.cell)
    entries, gaps = [], []
    for gpu, use in enumerate(cell.uses):
        device, edge = device_name(node, gpu), edge_uj(node, gpu)

        def book(at, ns, who, state, uj, held, bound=edge, device=device):
            entries.append(Entry(at, at + ns, device, who, state, Method.COUNTER, uj, bound, held))

        if use.form == UNHELD:
            book(start, CELL_NS, "", State.UNALLOCATED, use.idle_uj, 0)
        elif use.form == DEAD:
            gaps.append(Gap(device, start, start + CELL_NS, 900 * BOUND_UJ_S, DEAD_REASON))
        elif use.form == SHARED:
            one, other = (stay.workload for stay in use.holders)
            book(start, CELL_NS, one, State.ACTIVE, use.active_uj, use.active_ns, edge - edge // 3)
            book(start, CELL_NS, other, State.ACTIVE, use.idle_uj, use.idle_ns, edge // 3)
        elif use.form == HELD:
            who, at = use.holders[0].workload, start
            busy = split_integer(use.active_uj, [1] * use.pieces)
            waiting = split_integer(use.idle_uj, [1] * use.pieces)
            for active_uj, idle_uj in zip(busy, waiting, strict=True):
                ns = use.active_ns // use.pieces
                book(at, ns, who, State.ACTIVE, active_uj, ns)
                at += ns
                if use.idle_ns:
                    ns = use.idle_ns // use.pieces
                    book(at, ns, who, State.IDLE, idle_uj, ns)
                    at += ns
            assert at == start + CELL_NS
        else:
            who, half = use.holders[0].workload, use.active_uj // 2
            book(start, HOLE_NS, who, State.ACTIVE, half, HOLE_NS)
            book(start + 2 * HOLE_NS, HOLE_NS, who, State.ACTIVE, use.active_uj - half, HOLE_NS)
            gaps.append(Gap(device, start + HOLE_NS, start + 2 * HOLE_NS, 300 * BOUND_UJ_S, HOLE_REASON))
    shares = host_shares(cell)
    weights = [weight for _, weight in shares]
    parts = zip(shares, split_integer(cell.host_uj, weights), split_integer(edge_uj(node, GPUS), weights), strict=True)
    for (who, _), uj, edge in parts:
        state = State.ACTIVE if who else State.UNALLOCATED
        entries.append(Entry(start, start + CELL_NS, host_name(node), who, state, Method.COUNTER, uj, edge))
    return entries, gaps


def node_segments(fleet, node, days):
    """(name, bytes, SHA-256) of every segment of a node, by the product's own book."""
    identity = Identity(CLUSTER, node_name(node), BOOT, VERSION, True)
    facts = ("NVIDIA H100 80GB HBM3", 0.05, start_ns(0), "gpu:stated")
    devices = [DeviceFacts(device_name(node, gpu), *facts) for gpu in range(GPUS)]
    devices.append(DeviceFacts(host_name(node), "node meter", 0.02, start_ns(0)))
    book, head = Book(), ChainEnd()
    for day in days:
        cells = list(node_day(fleet, node, day))
        for first in range(0, len(cells), 4):
            for cell in cells[first : first + 4]:
                start = start_ns(cell.cell)
                end = start + CELL_NS
                entries, gaps = entries_of(node, cell)
                tokens = [
                    Tokens(start, end, stay.workload, stay.job.model, phase, count)
                    for stay, *counts in cell.tokens
                    for phase, count in zip(("generation", "prompt"), counts, strict=True)
                ]
                steps = [Steps(start, end, stay.workload, "train", count) for stay, count in cell.steps]
                stays = {stay.workload: stay for use in cell.uses for stay in use.holders}.values()
                facts = [WorkloadFacts(s.workload, start_ns(s.start), "pod", labels(s)) for s in stays]
                book.add(Batch(entries, gaps, tokens, facts=facts, devices=devices, steps=steps))
            item = take(book, None, identity, head.sequence, head.sha256)
            book = book.without(item.rows)
            yield segment.file_name(CLUSTER, node_name(node), head.sequence), item.body, item.sha256
            head = ChainEnd(head.sequence + 1, item.sha256)


CASES = [(9, range(2)), (89, range(1, 3)), (0, range(2)), (3, range(40, 42)), (1249, range(92, 94))]
"""Nodes and days, the two half days among them."""


@pytest.mark.smoke
def test_the_real_writer_gives_the_same_bytes_of_the_same_numbers(tmp_path):
    """All five forms of a GPU's cell, jobs that come and go within the hour, engines and training."""
    fleet = SyntheticFleet()
    forms, tokens, steps, changes = set(), 0, 0, 0
    for node, days in CASES:
        head, wanted = ChainEnd(), node_segments(fleet, node, days)
        for day in days:
            cells = list(node_day(fleet, node, day))
            for first in range(0, len(cells), 4):
                hour = cells[first : first + 4]
                start = start_ns(hour[0].cell)
                span = (start, start + 4 * CELL_NS)
                head, size = write(tmp_path, node_name(node), head, span, node_lines(node, hour))
                name, body, digest = next(wanted)
                assert (tmp_path / name).read_bytes() == body
                assert (head.sha256, size) == (digest, len(body))
                forms |= {use.form for cell in hour for use in cell.uses}
                tokens += sum(len(cell.tokens) for cell in hour)
                steps += sum(len(cell.steps) for cell in hour)
                changes += len({tuple(use.holders for use in cell.uses) for cell in hour}) > 1
        assert next(wanted, None) is None
    assert forms == {HELD, UNHELD, SHARED, HOLED, DEAD}
    assert min(tokens, steps, changes) > 0
