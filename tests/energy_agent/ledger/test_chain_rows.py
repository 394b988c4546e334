"""Rows of a chain: no joule of a device stands in two segments, and nothing exceeds what a node can do."""

import json
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.boundary import CLOCK_WENT_BACK, host, meter
from energy_agent.core.energy import Entry, Identity, Method, State, Tokens
from energy_agent.core.meters.plausible import GPU_LIMIT_W, count_max, gpu_max_mw
from energy_agent.core.units import NS_PER_DAY, NS_PER_H
from energy_agent.ledger import chain
from energy_agent.ledger.fleet.sites import read_inventory
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.journal.journal import DeviceFacts
from energy_agent.ledger.rows.cells import entry_rows
from energy_agent.ledger.rows.kinds import Cell, GapRow
from energy_agent.ledger.segments import segment
from tests.energy_agent.ledger.cases import T0, S, opened
from tests.energy_agent.ledger.shared_folder import HOUR_UJ, H, book, compact, inventory, shared, signer_of
from tests.support import examples
from wattlens.cli import main

__all__ = ["shared"]
H100 = "NVIDIA H100 80GB HBM3"


def append(folder, name, rows, signer=None, **header):
    """Append a segment of these rows to a node's chain, as one who has its key and no agent."""
    last = segment.read(segment.list_files(folder)[-1])
    values = {"sequence": last.header.sequence + 1, "previous": last.sha256, "key": "", "schema": 2, "rows": len(rows)}
    path = folder / segment.file_name("lab", name, last.header.sequence + 1)
    path.write_bytes(segment.compress(segment.encode(replace(last.header, **(values | header)), rows, signer)))
    return path


def write_entries(folder, name, *entries, sku=H100, tokens=()):
    """A node's chain of one segment with these entries."""
    state = folder.parent / "states" / name
    with closing(opened(state, identity=Identity("lab", name, "b", "0", True))) as journal:
        devices = {entry.device for entry in entries}
        journal.commit(Batch(entries, tokens=tokens, devices=[DeviceFacts(device, sku, 0.05, T0) for device in devices]))
        journal.seal(None)
    for path in segment.list_files(journal.segments_folder):
        path.rename(folder / path.name)


def entry(start_ns, end_ns, uj, device="GPU-a", method=Method.COUNTER, gpu_ns=0):
    state, workload = (State.ACTIVE, "job") if gpu_ns else (State.UNALLOCATED, "")
    return Entry(T0 + start_ns, T0 + end_ns, device, workload, state, method, uj, 5, gpu_ns)


def kinds(folder, skus=None):
    return sorted({fault.kind for fault in chain.verify([folder], skus=skus).faults})


def test_the_same_quarter_in_two_segments_of_a_chain_counts_once(shared, capsys):
    signer = signer_of(shared.parent)
    book(shared, "b", [0])
    book(shared, "a", [0], signer=signer)
    rows = segment.read(segment.list_files(shared)[0]).rows
    assert kinds(shared) == []
    segment.list_files(shared)[1].rename(shared.parent / "b")
    append(shared, "a", rows, signer)
    assert kinds(shared) == ["twice"]
    code, energy, err = compact(shared, capsys)
    assert (code, energy.get("a", 0)) == (1, 0)
    assert "the node recorded no step of its clock" in err
    assert compact(shared, capsys, "--accept-faults")[:2] == (0, {"a": HOUR_UJ})


def test_a_clock_that_was_set_back_is_recorded_and_no_fault(shared, capsys):
    book(shared, "a", [5, 4, 6])  # the hour of segment 1 is before that of segment 0
    contents = [segment.read(path) for path in segment.list_files(shared)]
    notes = [[row for row in content.rows if isinstance(row, GapRow)] for content in contents]
    assert notes == [[], [GapRow(T0 + 4 * H, "GPU-a", CLOCK_WENT_BACK, T0 + 4 * H, T0 + 4 * H, 0)], []]
    assert kinds(shared, {}) == []
    assert compact(shared, capsys)[:2] == (0, {"a": 3 * HOUR_UJ})


def test_a_segment_that_ends_before_the_chain_has_reached_is_a_fault(shared, capsys):
    signer = signer_of(shared.parent)
    book(shared, "a", [0, 30], signer=signer)
    rows = [row for row in segment.read(segment.list_files(shared)[0]).rows if not isinstance(row, DeviceFacts)]
    rows = [replace(row, device="GPU-new") for row in rows]  # which the chain never had: nothing of it is there twice
    append(shared, "a", rows, signer, from_ns=T0, to_ns=T0 + H)
    (fault,) = chain.verify([shared]).faults
    assert (fault.kind, "but the chain has reached 2026-01-02T07:00" in fault.line) == ("time", True)
    code, energy, _ = compact(shared, capsys)
    assert (code, energy) == (1, {})


@pytest.mark.parametrize("device", [meter("a", "main"), "GPU-a"])
def test_only_meters_of_a_building_may_be_read_late(shared, device):
    book(shared, "a", [30], device=meter("a", "grid"))
    book(shared, "a", [0], device=device)
    contents = [segment.read(path) for path in segment.list_files(shared)]
    notes = [row.device for content in contents for row in content.rows if isinstance(row, GapRow)]
    assert notes == ([] if device.startswith("meter:") else [device])
    assert kinds(shared) == []


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (entry(0, H, 3_600 * 10**12), "used 900000000 J in 900 s"),  # an H100 of 1 MW
        (entry(0, H, 850 * 3_600 * 10**6), "more than"),
        (entry(0, H, 1_000, gpu_ns=100 * H), "was used for"),
        (entry(0, H, 300_000 * 3_600 * 10**6, host("lab", "a")), "more than"),
    ],
)
def test_what_no_device_can_do_is_a_fault_and_counts_nothing(shared, capsys, one, words):
    book(shared, "b", [0])
    write_entries(shared, "a", one)
    assert kinds(shared, {}) == ["impossible"]
    path = inventory(shared, "lab,a,GPU-a,,here,,", "lab,b,GPU-b,,here,,")
    assert main(["ledger", "verify", str(shared), "--inventory", str(path)]) == 1
    capsys.readouterr()
    code, energy, err = compact(shared, capsys)
    assert (code, energy) == (1, {"b": HOUR_UJ})
    assert words in err
    assert segment.file_name("lab", "a", 0) in err


@pytest.mark.parametrize(("sku", "watts"), [(H100, 840), ("a name that nobody knows", 3_000)])
def test_a_gpu_at_its_maximum_is_no_fault(shared, capsys, sku, watts):
    write_entries(shared, "a", entry(0, H, watts * 3_600 * 10**6, gpu_ns=H), sku=sku)
    assert kinds(shared, {}) == []
    assert compact(shared, capsys)[:2] == (0, {"a": watts * 3_600 * 10**6})


def test_the_name_in_the_inventory_wins_over_one_with_a_higher_limit(shared, capsys):
    write_entries(shared, "a", entry(0, H, 900 * 3_600 * 10**6), sku="NVIDIA GB200")
    assert compact(shared, capsys)[0] == 0
    path = inventory(shared, f"lab,a,GPU-a,{H100},here,,")
    assert read_inventory(path).skus == {"GPU-a": H100}
    assert kinds(shared, {"GPU-a": H100}) == ["impossible"]
    assert compact(shared, capsys, "--inventory", path)[0] == 1


def test_energy_that_a_stuck_sensor_owed_is_that_of_the_time_before_it(shared):
    stuck = entry(5 * H, 5 * H + S, 4 * 840 * 3_600 * 10**6, method=Method.BRIDGED)  # four hours, in the second after them
    write_entries(shared, "a", entry(0, H, HOUR_UJ), stuck)
    assert kinds(shared, {}) == []


def test_absurd_counts_of_tokens_are_left_out_and_the_energy_stays(shared, capsys):
    counts = [Tokens(T0, T0 + H // 4, "job", model, "generation", n) for model, n in (("good", 10**9), ("evil", 46 * 10**17))]
    write_entries(shared, "a", entry(0, H // 4, HOUR_UJ // 4, gpu_ns=H // 4), tokens=counts)
    assert kinds(shared, {}) == ["impossible"]
    code, energy, err = compact(shared, capsys)
    assert (code, energy) == (1, {"a": HOUR_UJ // 4})
    assert "counted 4600000000000000000 tokens" in err
    (table,) = (shared.parent / "days").rglob("tokens.parquet")
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(table).column("tokens").to_pylist() == [10**9]


def test_no_simulated_gpu_exceeds_the_limit_of_its_name():
    from pathlib import Path

    import energy_agent.sim.gpu as plant

    boards = json.loads((Path(plant.__file__).parent / "boards.json").read_text())
    for board in boards.values():
        (limit_w, _), name = board["values"]["limit_max_w"], board["name"]
        assert limit_w <= GPU_LIMIT_W[name]
        assert gpu_max_mw(name, limit_w * 1000) == limit_w * 1200 <= gpu_max_mw(name)


@st.composite
def histories(draw):
    """Intervals of two GPUs as an agent records them, over steps of the clock and restarts: (hours of the clock, length)."""
    at, parts = NS_PER_DAY, []
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0, 0, 0, S, NS_PER_H, -S, -20 * 60 * S, -5 * NS_PER_H, -2 * NS_PER_DAY]))
        at = max(at, 0)
        length = draw(st.sampled_from([S, 60 * S, 900 * S, NS_PER_H]))
        parts.append((at, length, draw(st.sampled_from(["keep", "seal", "restart"])), draw(st.integers(0, 840))))
        at += length
    return parts


@given(histories())
@settings(max_examples=examples(80, quick=20), deadline=None)
def test_whatever_the_clock_does_an_agents_chain_has_no_fault_and_all_its_energy(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("steps")
    journal, total = opened(folder), 0
    for at, length, then, watts in parts:
        uj = watts * length // 1_000
        both = [entry(at, at + length, uj, device, gpu_ns=length) for device in ("GPU-a", "GPU-b")]
        journal.commit(Batch(both, devices=[DeviceFacts(device, H100, 0.05, T0) for device in ("GPU-a", "GPU-b")]))
        total += 2 * uj
        if then == "seal":
            journal.seal(None)
        elif then == "restart":
            journal.close()
            journal = opened(folder)
    journal.seal(None)
    journal.close()
    assert chain.verify([folder / "segments"], skus={}).faults == ()
    rows = [row for path in segment.list_files(folder / "segments") for row in segment.read(path).rows]
    assert sum(row.energy_uj for row in rows if isinstance(row, Cell)) == total


@given(histories(), st.data())
@settings(max_examples=examples(60, quick=15), deadline=None)
def test_a_segment_added_once_more_is_a_fault_wherever_it_is_from(tmp_path_factory, parts, data):
    folder = tmp_path_factory.mktemp("again")
    with closing(opened(folder)) as journal:
        for at, length, _, _ in parts:
            journal.commit(Batch([entry(at, at + length, 1, gpu_ns=length)], devices=[DeviceFacts("GPU-a", H100, 0.05, T0)]))
            journal.seal(None)
    segments = folder / "segments"
    files = segment.list_files(segments)
    again = segment.read(data.draw(st.sampled_from(files)))
    rows = [row for row in again.rows if not isinstance(row, GapRow)]  # without the agent's word that the clock was set back
    last = segment.read(files[-1]).header
    header = replace(again.header, sequence=last.sequence + 1, previous=segment.read(files[-1]).sha256, rows=len(rows))
    path = segments / segment.file_name(header.cluster, header.node, header.sequence)
    path.write_bytes(segment.compress(segment.encode(header, rows)))
    ends = [at + length for at, length, _, _ in parts]
    is_later = again.header.from_ns >= T0 + ends[-1]  # of before a step back: its time is still to come
    assert is_later or not chain.verify([segments]).ok


@pytest.mark.parametrize(("entries", "is_fault"), [((entry(0, S, 1),), True), ((entry(S, 2 * S, 1), entry(0, S, 1)), False)])
def test_only_a_commit_of_both_sides_of_a_step_leaves_open_where_its_segment_ends(shared, entries, is_fault):
    with closing(opened(shared.parent / "state", identity=Identity("lab", "a", "b", "0", True))) as journal:
        for batch in ((entry(0, 2 * S, 1),), entries):
            journal.commit(Batch(batch, devices=[DeviceFacts("GPU-a", H100, 0.05, T0)]))
        journal.seal(None)
        first, second = segment.list_files(journal.segments_folder)
    first.rename(shared / first.name)
    rows = segment.read(second.rename(shared / second.name)).rows
    assert kinds(shared, {}) == []
    append(shared, "a", [row for row in rows if not isinstance(row, GapRow)])
    assert ("twice" in kinds(shared, {})) == is_fault


def test_the_limit_of_counts_is_that_of_ten_engines():
    assert count_max(0) == 10**8
    assert count_max(899) == 900 * 10**8


@pytest.mark.parametrize("shift_ns", [-NS_PER_DAY, -NS_PER_H, -900 * S, 900 * S, NS_PER_DAY])
def test_a_row_that_is_filed_under_another_time_is_a_fault(shared, capsys, shift_ns):
    """Filed a day off it would be in no day; four quarters under one would exceed what a GPU can draw."""
    book(shared, "a", [30])
    path = segment.list_files(shared)[0]
    content = segment.read(path)
    rows = [replace(row, cell_start_ns=row.cell_start_ns + shift_ns) if isinstance(row, Cell) else row for row in content.rows]
    path.write_bytes(segment.compress(segment.encode(content.header, rows, None)))
    assert kinds(shared, {}) == ["impossible"]
    assert compact(shared, capsys, day="2026-01-02")[:2] == (1, {})


@given(st.integers(0, 40 * 24 * 4), st.integers(1, 3 * NS_PER_DAY), st.integers(0, 900 * S))
@settings(max_examples=examples(200, quick=30), deadline=None)
def test_every_row_of_an_entry_is_filed_under_its_time(quarter, lasted_ns, late_ns):
    start_ns = T0 + quarter * 900 * S + late_ns
    rows = entry_rows([Entry(start_ns, start_ns + lasted_ns, "GPU-a", "", State.UNALLOCATED, Method.COUNTER, 10**6, 5)])
    for row in rows:
        assert row.cell_start_ns <= row.run.start_ns < row.run.end_ns <= row.cell_start_ns + 900 * S
