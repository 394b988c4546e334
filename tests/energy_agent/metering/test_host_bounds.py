"""The bounds that the ledger states of a host and of workloads' shares of it hold the truth and are not wider than need be.

Truth is made here: what the GPUs and the host drew in each quarter of a second, and the errors of every reading.
"""

import itertools
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Method, State
from energy_agent.ledger.rows.cells import cell_rows, span_rows
from energy_agent.ledger.rows.kinds import fold
from energy_agent.ledger.rows.uncertainty import bound_of
from energy_agent.metering.gpu_curve import GpuCurve
from energy_agent.metering.host import HostBook
from energy_agent.metering.node import DomainInterval
from tests.energy_agent.ledger.cases import T0
from tests.support import examples

law = settings(deadline=None, max_examples=examples(150))
S = 10**9
SLOT = S // 4
SLOTS = 240
EDGE = 30 * 10**6


class Board:
    """A GPU's true power in each slot, and a curve of it, read at instants and with errors of its own, held by turns."""

    def __init__(self, rng, owners):
        self.true = [rng.choice([0, rng.randint(0, 175 * 10**6)]) for _ in range(SLOTS)]  # uJ in a slot
        self.curve, self.owner_spans = GpuCurve(0), []  # held: (start, end, owner)
        t, error = 0, 0
        while t < SLOTS * SLOT:
            nxt = min(SLOTS, t // SLOT + rng.randint(1, 8)) * SLOT
            true = sum(self.true[t // SLOT : nxt // SLOT])
            read = max(0, true + rng.randint(-EDGE, EDGE) - error)
            error += read - true
            owner = rng.choice(owners)
            edge = max(EDGE, abs(error))
            row = Entry(t, nxt, "gpu", owner[0], owner[1], Method.COUNTER, read, edge, nxt - t if owner[0] else 0)
            self.curve.extend(nxt, [row])
            self.owner_spans.append((t, nxt, owner))
            t = nxt

    def energy_between(self, start, end):
        return sum(self.true[start // SLOT : end // SLOT])

    def weights(self, start, end):
        overlaps = Counter()
        for a, b, owner in self.owner_spans:
            overlaps[owner[0]] += max(0, min(b, end) - max(a, start))
        return overlaps


def recorded_energy(rng, boards, edges, method, worst):
    """Return entries of each interval between `edges` with the host's true energy in it, by workload; host power is random."""
    names = {f"g{i}": board.curve for i, board in enumerate(boards)}
    book = HostBook("host", True, node_gain_ppm=900_000, gpu_gain_ppm=900_000)
    error, got = 0, []
    for start, end in itertools.pairwise(edges):
        true = sum(rng.randint(0, 100 * 10**6) for _ in range(start // SLOT, end // SLOT))
        node = true + sum(board.energy_between(start, end) for board in boards)
        if method is Method.COUNTER:
            after = rng.choice([-worst, worst, rng.randint(-worst, worst)])
            uj, edge, doubt = max(0, node + after - error), worst, 0
            error += uj - node
            edge = max(edge, abs(error))
        else:
            uj, edge, doubt = max(0, node + rng.randint(-worst, worst)), 0, worst
        interval = DomainInterval(T0 + start, T0 + end, start, end, uj, method, edge, doubt, 0, 1)
        taken = book.take(interval, names, set(names))
        assert taken.gap is None
        weights = sum((board.weights(start, end) for board in boards), Counter())
        got.append((taken.entries, true, {w: ns / (len(boards) * (end - start)) for w, ns in weights.items()}))
    return got


OWNERS = [("a", State.ACTIVE), ("a", State.IDLE), ("b", State.ACTIVE), ("b", State.IDLE), ("", State.UNALLOCATED)]


@law
@given(
    st.integers(0, 2**32), st.integers(1, 4), st.lists(st.integers(1, SLOTS - 1), min_size=1, max_size=25, unique=True),
    st.sampled_from([Method.COUNTER, Method.INTEGRATED]), st.sampled_from([0, 10**6, 10**9]), st.data(),
)  # fmt: skip
def test_any_stretches_of_a_host_and_of_a_share_of_it_hold_the_truth(seed, gpus, instants, method, worst, data):
    rng = random.Random(seed)
    boards = [Board(rng, OWNERS) for _ in range(gpus)]
    got = recorded_energy(rng, boards, [0, *(slot * SLOT for slot in sorted(instants)), SLOTS * SLOT], method, worst)
    first = data.draw(st.integers(0, len(got) - 1))
    window = got[first : data.draw(st.integers(first + 1, len(got)))]
    entries = [entry for some, _, _ in window for entry in some]
    spans = fold({}, span_rows(cell_rows(entries))).values()
    for name in ("", "a", "b"):
        true = sum(uj * (shares.get(name, 0) if name else 1) for _, uj, shares in window)
        energy = sum(entry.energy_uj for entry in entries if name in ("", entry.workload))
        assert abs(energy - true) <= bound_of(span.run for span in spans if span.workload == name) + 2 * len(entries)


@law
@given(
    st.integers(0, 2**32), st.lists(st.integers(1, SLOTS - 1), min_size=2, max_size=25, unique=True),
    st.sampled_from([Method.COUNTER, Method.INTEGRATED]),
)  # fmt: skip
def test_constant_share_keeps_only_the_outermost_edges(seed, instants, method):
    """`a` uses one of four GPUs, sometimes active and sometimes idle; the edges are those of the first and last intervals."""
    rng = random.Random(seed)
    boards = [Board(rng, OWNERS[:2] if i == 0 else OWNERS[2:4]) for i in range(4)]
    got = recorded_energy(rng, boards, [0, *(slot * SLOT for slot in sorted(instants)), SLOTS * SLOT], method, 10**9)
    entries = [entry for some, _, _ in got for entry in some]
    ends = [sum(e.edge_uj for e in got[i][0] if e.workload == "a" and e.method is Method.COUNTER) for i in (0, -1)]
    within = 2 * sum(e.edge_uj for e in entries if e.workload == "a" and e.method is Method.INTEGRATED)
    (span,) = (s for s in fold({}, span_rows(cell_rows(entries))).values() if s.workload == "a")
    largest = max(sum(e.edge_uj for e in some) for some, _, _ in got)
    assert span.run.bound_uj <= sum(ends) + within + len(got) * (10 + 2 * largest // 10**6)


@law
@given(st.integers(0, 2**32))
def test_a_row_of_a_host_holds_its_truth(seed):
    """Active, idle and unallocated energy each have a row, whose share changes while the workload's does not."""
    rng = random.Random(seed)
    boards = [Board(rng, OWNERS) for _ in range(2)]
    got = recorded_energy(
        rng, boards, [slot * SLOT for slot in [0, *sorted(rng.sample(range(1, SLOTS), 9)), SLOTS]], Method.COUNTER, 10**8
    )
    entries = [entry for some, _, _ in got for entry in some]
    cells = [cell for cell in fold({}, cell_rows(entries)).values() if cell.workload == "" and cell.state is State.UNALLOCATED]
    true = sum(uj * shares.get("", 0) for _, uj, shares in got)
    assert abs(sum(c.energy_uj for c in cells) - true) <= sum(c.run.bound_uj for c in cells) + 2 * len(entries)
