"""The index of segments: headers once, days from it, and chains as strictly checked as by reading everything."""

import os
import re
import shutil
import signal
from dataclasses import replace
from datetime import date

import pytest

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.ledger import chain
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.rows.kinds import TokenRow
from energy_agent.ledger.segments import segment
from tests.energy_agent.ledger.cases import T0
from tests.energy_agent.ledger.shared_folder import H, book, shared

__all__ = ["shared"]
HERE = Sites({}, "here")
DAYS = [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)]


@pytest.fixture
def fleet(shared):
    hours = [(h * 60, h * 60 + 360) for h in range(0, 72, 6)]
    hours[3] = (18 * 60, 25 * 60)  # over midnight
    hours[4] = (25 * 60, 30 * 60)
    book(shared, "a", hours, hour_uj=1_000)
    book(shared, "b", [*hours[:6], (120, 180)], hour_uj=1_000)  # the last came late
    return shared


def path_of(folder, name, sequence):
    return folder / segment.file_name("lab", name, sequence)


def names(segment_index, day):
    return [[(entry.sequence, entry.path.rpartition("/")[2]) for entry in entries] for entries in segment_index.of_day(day)]


def test_each_day_gets_the_files_that_touch_it_in_the_order_of_their_chains(fleet):
    segment_index = index.build([fleet])
    assert (len(segment_index), segment_index.days, segment_index.faults) == (19, DAYS, [])
    assert [[n for n, _ in entries] for entries in names(segment_index, DAYS[0])] == [[0, 1, 2, 3], [0, 1, 2, 3, 6]]
    assert [[n for n, _ in entries] for entries in names(segment_index, DAYS[1])] == [[3, 4, 5, 6, 7], [3, 4, 5]]
    assert [[n for n, _ in entries] for entries in names(segment_index, DAYS[2])] == [[8, 9, 10, 11]]
    assert names(segment_index, DAYS[2])[0][0][1] == segment.file_name("lab", "a", 8)
    assert segment_index.of_day(date(2026, 2, 1)) == []
    assert segment_index.count(DAYS) == 21
    (first, *_), _ = segment_index.of_day(DAYS[0])
    after = segment.read(path_of(fleet, "a", 1)).header.previous
    assert (first.previous, first.names, first.follower.endswith("_00000001.jsonl.gz")) == ("0" * 64, after, True)


def test_days_read_their_own_files_and_no_other(fleet):
    """Progress counts files: 21 for three days, two of them in two days, not three days times 19."""
    calls = []
    results = list(compact_days(index.build([fleet]), fleet / "days", DAYS, HERE, progress=lambda *at: calls.append(at)))
    assert (len(calls), calls[0], calls[-1]) == (21, (0, 21), (20, 21))
    assert [sum(s.inputs for s in result.statements) for result in results] == [9, 8, 4]
    assert [sum(s.energy_uj for s in result.statements) for result in results] == [49_000, 36_000, 24_000]


def bytes_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.smoke
def test_any_number_of_processes_gives_the_same_bytes(fleet):
    segment_index = index.build([fleet])
    alone = list(compact_days(segment_index, fleet / "alone", DAYS, HERE))
    calls = []
    shared = list(compact_days(segment_index, fleet / "shared", DAYS, HERE, jobs=2, progress=lambda *at: calls.append(at)))
    assert [result.day for result in shared] == DAYS
    assert [[s.energy_uj for s in r.statements] for r in shared] == [[s.energy_uj for s in r.statements] for r in alone]
    assert bytes_of(fleet / "shared") == bytes_of(fleet / "alone") != {}
    assert calls[-1] == (21, 21)


@pytest.mark.smoke
def test_fault_in_one_process_is_reported_by_the_other(fleet):
    path = path_of(fleet, "a", 9)
    path.write_bytes(path.read_bytes()[:-9])
    first, second, last = compact_days(index.build([fleet]), fleet / "days", DAYS, HERE, jobs=2)
    assert (first.faults, second.faults, [f.kind for f in last.faults]) == ((), (), ["corrupted"])
    assert "_00000009.jsonl.gz: is corrupted" in last.faults[0].line
    assert (first.left_out, last.left_out, last.statements) == ((), ("lab_a",), ())
    assert not list((fleet / "days").rglob("*.tmp"))
    (*_, last) = compact_days(index.build([fleet]), fleet / "days", DAYS, HERE, jobs=2, accept_faults=True)
    assert ([f.kind for f in last.faults], last.statements[0].inputs) == (["corrupted"], 3)


class Deadly(Sites):
    """An inventory that kills its caller, as the system kills a process that uses too much memory."""

    def site_of(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)


def test_killed_process_is_reported(fleet):
    with pytest.raises(WattlensError, match="killed a compaction process"):
        list(compact_days(index.build([fleet]), fleet / "days", DAYS, Deadly({}, "here"), jobs=2))
    assert not list((fleet / "days").rglob("manifest.json"))


def test_a_changed_joule_is_seen_at_the_edge_of_the_day(fleet):
    """The next segment, which names what this one was, is of the next day, and its rows are not read."""
    path = path_of(fleet, "a", 7)
    data = segment.load(path).replace(b'"energy_uj":250', b'"energy_uj":251', 1)
    path.write_bytes(segment.compress(data))
    segment_index = index.build([fleet])
    (result,) = compact_days(segment_index, fleet / "days", DAYS[1:2], HERE)
    assert re.search(r"_00000008.jsonl.gz: names [0-9a-f]{12} as the previous segment, but segment 7 is", result.faults[0].line)
    assert (result.left_out, result.statements[0].inputs) == (("lab_a",), 3)
    (result,) = compact_days(segment_index, fleet / "days", DAYS[2:], HERE)
    assert result.faults == ()


def test_a_hole_is_a_fault_of_the_days_around_it(fleet):
    (path_of(fleet, "a", 10)).unlink()
    segment_index = index.build([fleet])
    assert [f.kind for f in segment_index.faults] == ["missing"]
    first, second, third = compact_days(segment_index, fleet / "days", DAYS, HERE)
    assert [r.left_out for r in (first, second, third)] == [(), (), ("lab_a",)]
    assert [f.kind for f in third.faults] == ["missing"]
    assert "segment 10 is missing; copy it" in third.faults[0].line
    assert [r.statements[0].inputs for r in (first, second)] == [9, 8]
    (result,) = compact_days(segment_index, fleet / "days", DAYS[2:], HERE, accept_faults=True)
    assert ([f.kind for f in result.faults], result.statements[0].inputs) == (["missing"], 3)


@pytest.mark.parametrize(("change", "same"), [(lambda data: data, "the same"), (lambda data: b"no", None)])
def test_two_copies_of_a_number(fleet, change, same):
    source = path_of(fleet, "a", 2)
    (fleet / "copy").mkdir()
    (fleet / "copy" / source.name).write_bytes(change(source.read_bytes()))
    segment_index = index.build([fleet])
    assert {(f.kind, f.line) for f in segment_index.faults} == {(f.kind, f.line) for f in chain.verify([fleet]).faults}
    if same:
        assert f"duplicate of segment 2, with {same} content" in segment_index.faults[0].line
    assert [n for n, _ in names(segment_index, DAYS[0])[0]] == ([0, 1, 2, 3] if same else [0, 1, 3])
    (result,) = compact_days(segment_index, fleet / "days", DAYS[:1], HERE)  # a copy takes nothing away
    assert (result.left_out, result.statements[0].inputs) == (((), 9) if same else (("lab_a",), 5))


def test_what_bears_anothers_name_is_no_ones(fleet):
    files = segment.list_files(fleet)
    shutil.copy(files[1], files[1].with_name(segment.file_name("lab", "z", 1)))
    shutil.copy(files[1], files[1].with_name("mine.jsonl.gz"))
    files[2].with_name(f".{files[2].name}.jsonl.gz").write_bytes(b"hidden")
    segment_index = index.build([fleet])
    assert [(f.kind, "rename or move the file" in f.line) for f in segment_index.faults] == [("alien", True)] * 2
    assert len(segment_index) == 19


def test_a_file_is_indexed_once_however_often_it_is_named(fleet):
    assert len(index.build([fleet, *segment.list_files(fleet), fleet])) == 19
    with pytest.raises(UsageError, match="no such file or folder"):
        index.build([fleet / "nothing"])


def test_a_file_that_changes_meanwhile_is_refused(fleet):
    segment_index = index.build([fleet])
    path = path_of(fleet, "b", 6)
    (fleet.parent / "other" / "segments").mkdir(parents=True)
    book(fleet.parent / "other" / "segments", "b", [0])
    content = segment.read(path_of(fleet.parent / "other" / "segments", "b", 0))
    header = segment.Header(**{f: getattr(content.header, f) for f in content.header.__slots__} | {"sequence": 6})
    path.write_bytes(segment.compress(segment.encode(header, content.rows)))
    (result,) = compact_days(segment_index, fleet / "days", DAYS[:1], HERE)
    assert [f.kind for f in result.faults] == ["changed"]
    assert "_00000006.jsonl.gz: changed while it was read" in result.faults[0].line
    assert (result.left_out, result.statements[0].inputs) == (("lab_b",), 4)


@pytest.mark.parametrize("years", [2, 30, 56])
def test_a_segment_over_years_is_a_fault_and_its_last_day_is_there(tmp_path, years):
    """As where a process claimed to be years old, or a clock stood at 1970."""
    from_ns = T0 - years * 365 * 24 * H
    count = TokenRow(T0, "w", "m", "training", from_ns, T0 + H // 4, 1)
    header = segment.Header(2, "lab", "a", "b", 0, segment.FIRST_PREVIOUS, "0", True, from_ns, T0 + H // 4, 1)
    path = tmp_path / segment.file_name("lab", "a", 0)
    path.write_bytes(segment.compress(segment.encode(header, [count])))
    segment_index = index.build([path])
    assert DAYS[0] in segment_index.days
    assert len(segment_index.days) <= 368
    assert [fault.kind for fault in segment_index.faults] == [fault.kind for fault in chain.verify([path]).faults] == ["span"]
    (result,) = compact_days(segment_index, tmp_path / "days", DAYS[:1], HERE)
    assert (result.left_out, result.statements, path.name in result.faults[0].line) == (("lab_a",), (), True)
    (result,) = compact_days(segment_index, tmp_path / "days", DAYS[:1], HERE, accept_faults=True)
    assert sum(statement.inputs for statement in result.statements) == 1


@pytest.mark.parametrize("sequence", [0, 2, 4])
def test_flipped_header_with_a_later_time_is_a_fault_of_the_original_day(shared, sequence):
    """Bits that flip in compressed data can leave a header that can be read; only the check sum of the file shows it."""
    book(shared, "b", range(5))
    path = segment.list_files(shared)[sequence]
    content = segment.read(path)
    month_ns = 30 * index.DAY_NS
    later = replace(content.header, from_ns=content.header.from_ns + month_ns, to_ns=content.header.to_ns + month_ns)
    path.write_bytes(segment.compress(segment.encode(later, content.rows))[:-8] + bytes(8))
    built = index.build([shared])
    assert any(f.fault.kind == "corrupted" and str(path) in f.fault.line for f in built.findings_of(DAYS[0]))
    assert built.findings_of(date(2026, 1, 31)) == []
