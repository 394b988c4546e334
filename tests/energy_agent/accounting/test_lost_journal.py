"""Journal and snapshot are lost or of another format, segments are left: each device has one gap up to its next reading.

No energy is counted twice, and none of that time is invented.
"""

import itertools

import pytest

from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.accounting.node import NEVER, NodeAccount
from energy_agent.accounting.pending import PENDING_MAX, Pending
from energy_agent.core.boundary import JOURNAL_LOST, UNBOUNDED
from energy_agent.core.energy import Entry, Gap, Method, State
from energy_agent.core.saved_state import Component
from energy_agent.ledger import chain
from energy_agent.ledger.journal.journal import Journal, Totals
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell, GapRow
from energy_agent.owners.processes import ProcessOwners
from tests.energy_agent.accounting.test_accountant import SECOND, T0, UUIDS, Node, full_disk
from tests.energy_agent.accounting.test_node import HOST, IDENTITY, S, node, plan
from tests.energy_agent.ledger.cases import set_format
from tests.energy_agent.node import test_clock_steps as agents
from tests.energy_agent.runtime.loop.test_timing import HOUR

BOARD_UJ_PER_S = 300_000_000
MAX_UJ_PER_S = 840_000_000  # the power limit of 700 W, and a fifth for transients
EDGES_UJ = 2 * 126_000_000  # a tick of 150 ms at both ends


def lose_journal(folder):
    """All that the journal leaves; the segments stay."""
    lost = list(folder.glob("journal.*"))
    assert {path.name for path in lost} >= {"journal.db", "journal.snapshot"}
    for path in lost:
        path.unlink()


def rows_of(folder, kind, device):
    rows = [each.row for each in read_rows(folder) if isinstance(each.row, kind) and each.row.device == device]
    return sorted(rows, key=lambda row: row.start_ns if kind is GapRow else row.run.start_ns)


def gap_of(folder, device):
    """(start, end, bound in uJ) of the device's one gap, whose rows meet at the edges of cells."""
    rows = rows_of(folder, GapRow, device)
    assert {row.reason for row in rows} == {JOURNAL_LOST}
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(rows))
    return rows[0].start_ns, rows[-1].end_ns, sum(row.bound_uj for row in rows)


def is_whole(folder):
    return chain.verify([folder / "segments"], read_journal(folder / "journal.db")).faults == ()


@pytest.fixture(params=[lose_journal, lambda folder: set_format(folder / "journal.db", 5)], ids=["lost", "of another format"])
def lost(request, tmp_path):
    """A node with 10 seconds sealed and 20 more in the journal, which is lost; and the UTC ns at which its segment ends."""
    new_node = Node(tmp_path)
    for _ in range(11):
        new_node.sweep()
        new_node.commit()
    new_node.journal.seal(None)
    end_ns = T0 + new_node.now_s * SECOND
    for _ in range(20):
        new_node.sweep()
        new_node.commit()
    new_node.journal.close()
    request.param(tmp_path)
    new_node.open()
    yield new_node, end_ns
    new_node.journal.close()


def test_each_device_has_a_gap_from_its_last_row_to_its_next_reading_and_no_energy_is_invented(lost):
    node, end_ns = lost
    assert node.recorded_uj() == 2 * 10 * BOARD_UJ_PER_S
    node.sweep(seconds=100)
    node.commit()
    seconds = 20 + 100
    for uuid in UUIDS:
        bound_uj = seconds * MAX_UJ_PER_S + EDGES_UJ
        assert gap_of(node.folder, uuid) == (end_ns, end_ns + seconds * SECOND, bound_uj)
        assert bound_uj >= seconds * BOARD_UJ_PER_S  # what it really drew
    assert node.recorded_uj() == 2 * 10 * BOARD_UJ_PER_S
    for _ in range(5):
        node.sweep()
        node.commit()
    node.open()
    node.sweep()
    node.commit()
    node.journal.seal(None)
    assert node.recorded_uj() == 2 * (10 + 6) * BOARD_UJ_PER_S
    for uuid in UUIDS:  # one gap, and the rows around it meet it
        start_ns, gap_end_ns, _ = gap_of(node.folder, uuid)
        cells = rows_of(node.folder, Cell, uuid)
        assert sum(cell.energy_uj for cell in cells) == 16 * BOARD_UJ_PER_S
        assert all(cell.run.end_ns <= start_ns or cell.run.start_ns >= gap_end_ns for cell in cells)
    assert is_whole(node.folder)


def test_a_device_that_comes_back_later_has_its_gap_then(lost):
    node, end_ns = lost
    node.sweep(uuids=UUIDS[:1])
    node.commit()
    node.open()
    node.sweep(seconds=50, uuids=UUIDS[:1])
    node.commit()
    assert rows_of(node.folder, GapRow, UUIDS[1]) == []
    node.sweep()
    node.commit()
    assert gap_of(node.folder, UUIDS[0])[:2] == (end_ns, end_ns + 21 * SECOND)
    assert gap_of(node.folder, UUIDS[1])[:2] == (end_ns, end_ns + 72 * SECOND)
    assert Component.LOST_READINGS not in node.journal.states()


def test_an_agent_that_is_killed_before_it_commits_closes_the_gap_at_the_next_start(lost):
    node, end_ns = lost
    node.sweep()
    with full_disk(1):
        assert not node.commit()
    node.open()
    node.sweep()
    node.commit()
    assert gap_of(node.folder, UUIDS[0])[:2] == (end_ns, end_ns + 22 * SECOND)


def test_a_clock_that_went_back_leaves_a_gap_without_a_bound(lost):
    node, end_ns = lost
    node.now_s -= 25
    node.sweep()
    node.commit()
    (row,) = rows_of(node.folder, GapRow, UUIDS[0])
    at_ns = end_ns - 4 * SECOND
    assert (row.start_ns, row.end_ns, row.bound_uj, row.reason) == (at_ns, at_ns, 0, UNBOUNDED + JOURNAL_LOST)
    assert node.recorded_uj() == 2 * 10 * BOARD_UJ_PER_S


def test_rows_that_are_let_go_leave_the_gap_that_no_reading_brings_again():
    kept = [Gap("GPU-a", 0, 9, 7, JOURNAL_LOST), Gap("GPU-b", 0, 9, 0, UNBOUNDED + JOURNAL_LOST)]
    entry = Entry(9, 10, "GPU-a", "", State.UNALLOCATED, Method.COUNTER, 1, 0)
    pending = Pending([entry] * PENDING_MAX, [Gap("GPU-a", 9, 9, 7, "sensor stuck"), *kept])
    assert pending.let_go()
    assert (pending.entries, pending.gaps) == ([], kept)


def test_a_hosts_rows_that_are_let_go_widen_its_gap_to_the_next_reading(tmp_path, monkeypatch):
    monkeypatch.setattr("energy_agent.accounting.pending.PENDING_MAX", 1)
    account = NodeAccount(IDENTITY, plan())
    accountant = Accountant(IDENTITY, ProcessOwners(tmp_path), SensorFor(2_500_000_000), {}, 0.05, account)
    assert accountant.restore({Component.LOST_READINGS: {HOST: "0"}}, Totals(), (), 100 * S) == []

    def feed(t_s):
        accountant.add_node([("redfish", (node(t_s, uj=t_s * 10**6),))], t_s * S, t_s * S, set())
        return accountant.batch()

    feed(110)
    assert feed(120).entries
    accountant.not_committed()
    batch = feed(130)
    assert batch.entries == []
    assert batch.gaps == [Gap(HOST, 0, 130 * S, 130 * 10_000 * 10**6, JOURNAL_LOST)]
    assert batch.states[Component.LOST_READINGS] == {HOST: ""}
    accountant.committed()
    assert [(row.start_ns, row.end_ns) for row in feed(140).entries] == [(130 * S, 140 * S)]


@pytest.mark.parametrize("most", [None, 5_000_000])
def test_a_meter_that_does_not_answer_for_long_shares_no_time_with_the_gap_before_it(most):
    account = NodeAccount(IDENTITY, plan(most=most), lost={HOST: 0})
    gaps = []
    for t in (100, 110, 150, 190):
        gaps += account.unseen(t * S, t * S)
    account.feed("redfish", [node(200, uj=7)])
    gaps += account.settle(200 * S, set())[1]
    assert [(gap.start_ns // S, gap.end_ns // S) for gap in gaps] == [(0, 100), (100, 150), (150, 190), (190, 200)]
    first, *rest = [gap.reason.removeprefix(UNBOUNDED) for gap in gaps]
    assert (first, set(rest)) == (JOURNAL_LOST, {NEVER})
    assert (gaps[0].bound_uj > 0) == (most is not None)


def test_agent_goes_on_with_a_gap_after_journal_deletion(tmp_path):
    clock = agents.Boot()
    agents.run_agent(tmp_path, clock, {}, 40)
    lose_journal(tmp_path)
    sealed = rows_of(tmp_path, Cell, agents.INFO.uuid)
    clock.sleep(HOUR / SECOND)
    agents.run_agent(tmp_path, clock, {}, 20)
    start_ns, end_ns, bound_uj = gap_of(tmp_path, agents.INFO.uuid)
    assert start_ns == sealed[-1].run.end_ns
    assert HOUR < end_ns - start_ns < HOUR + 10 * SECOND
    assert bound_uj >= (end_ns - start_ns) // SECOND * agents.UJ_PER_S
    cells = rows_of(tmp_path, Cell, agents.INFO.uuid)
    assert cells[: len(sealed)] == sealed
    assert cells[len(sealed)].run.start_ns == end_ns
    Journal.open(tmp_path / "journal.db", agents.IDENTITY).close()
    assert is_whole(tmp_path)
