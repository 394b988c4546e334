import contextlib
import json
import random
from datetime import date

import duckdb
import pyarrow.parquet
import pytest

from energy_agent.core.energy import Entry, Gap, Identity, Method, State
from energy_agent.core.errors import ChainError, UsageError
from energy_agent.ledger import reading
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.sites import Sites, read_inventory
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.journal.journal import DeviceFacts, Journal
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.ledger.rows.text import to_json
from energy_agent.ledger.segments import segment
from tests.energy_agent.ledger.cases import T0, S, compact_day
from tests.energy_agent.ledger.shared_folder import H, inventory

DAY = date(2026, 1, 1)
HERE = Sites({}, "here")


def node(folder, name, hours, uj=10**9, seed=0, device="{}-GPU-{}"):
    """Write a node's segments, one per hour; return the open journal."""
    rng = random.Random(seed)
    journal = Journal.open(folder / name / "journal.db", Identity("lab", name, "b", "0", True))
    for hour in hours:
        start = T0 + hour * H
        entries = [
            Entry(
                start, start + H, device.format(name, g), "job", State.ACTIVE, Method.COUNTER, uj + rng.randrange(1_000), 5, H
            )
            for g in range(2)
        ]
        facts = [DeviceFacts(device.format(name, g), "H100", 0.05, T0) for g in range(2)]
        journal.commit(Batch(entries, gaps=[Gap(f"{name}-GPU-0", start, start + S, 7, "lost")], devices=facts))
        journal.seal(None)
    return journal


def come_late(journal, uj):
    late = T0 + 23 * H
    journal.commit(Batch([Entry(late, late + H, "b-GPU-0", "job", State.ACTIVE, Method.COUNTER, uj, 5, H)]))
    journal.seal(None)


def recorded_energy(*journals):
    return sum(sum(j.totals().energy.values()) for j in journals)


def duck(query):
    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def make_node(tmp_path):
    with contextlib.ExitStack() as journals:
        yield lambda *arguments, **named: journals.enter_context(contextlib.closing(node(tmp_path, *arguments, **named)))


@pytest.fixture
def fleet(tmp_path, make_node):
    return tmp_path, recorded_energy(make_node("a", range(24)), make_node("b", range(24), seed=1))


def run(folder, day=DAY, sites=HERE, out="days", **options):
    return compact_day([folder / "a" / "segments", folder / "b" / "segments"], folder / out, day, sites, **options)


def test_a_day_holds_every_row_of_its_segments(fleet):
    folder, total = fleet
    (statement,), faults = run(folder)
    assert (faults, statement.energy_uj, statement.gap_bound_uj, statement.inputs) == ([], total, 2 * 24 * 7, 48)
    written = sorted(json.dumps(to_json(r.row), sort_keys=True) for r in reading.read_rows(folder / "days"))
    source = [p for name in "ab" for p in segment.list_files(folder / name / "segments")]
    assert written == sorted(json.dumps(to_json(r), sort_keys=True) for p in source for r in segment.read(p).rows)
    ((summed,),) = duck(f"SELECT sum(energy_uj) FROM '{statement.folder}/cell.parquet'")
    assert summed == total
    assert str(pyarrow.parquet.read_schema(statement.folder / "cell.parquet").field("energy_uj").type) == "int64"


def test_the_same_input_gives_the_same_bytes_and_is_written_once(fleet):
    folder, _ = fleet
    (first,), _ = run(folder)
    (again,), _ = run(folder)
    (elsewhere,), _ = run(folder, out="elsewhere")
    assert (first.written, again.written, again.folder) == (True, False, first.folder)
    names = sorted(p.name for p in first.folder.iterdir())
    rows = ["cell.parquet", "device.parquet", "gap.parquet", "span.parquet"]
    sums = ["holder_day.parquet", "span_day.parquet", "workload_cell.parquet"]
    assert names == sorted([*rows, *sums, "manifest.json"])
    for name in names:
        assert (first.folder / name).read_bytes() == (elsewhere.folder / name).read_bytes()
    assert [p.name for p in (folder / "days" / "here").iterdir()] == ["2026-01-01"]


def test_late_data_becomes_a_restatement_with_its_reason(tmp_path, make_node):
    a, b = make_node("a", range(24)), make_node("b", range(20))
    (first,), _ = run(tmp_path)
    before = {p: p.read_bytes() for p in first.folder.iterdir()}
    come_late(b, 77)
    (second,), _ = run(tmp_path)
    assert (second.number, second.written, second.energy_uj) == (1, True, first.energy_uj + 77)
    assert second.reason.startswith("input changed: 1 segments added")
    assert {p: p.read_bytes() for p in first.folder.iterdir()} == before
    cells = [r.row.energy_uj for r in reading.read_rows(tmp_path / "days") if isinstance(r.row, Cell)]
    assert sum(cells) == recorded_energy(a, b)
    come_late(b, 1)
    (third,), _ = run(tmp_path, reason="meter repaired")
    assert (third.number, third.reason) == (2, "meter repaired")


def test_a_segment_over_midnight_is_parted_between_its_days(tmp_path, make_node):
    journal = make_node("a", [])
    (tmp_path / "b" / "segments").mkdir(parents=True)
    midnight = T0 + 24 * H
    entry = Entry(midnight - H, midnight + 2 * H, "a-GPU-0", "", State.UNALLOCATED, Method.COUNTER, 3_000, 5)
    journal.commit(Batch([entry], devices=[DeviceFacts("a-GPU-0", "H100", 0.05, T0)]))
    journal.seal(None)
    files = segment.list_files(tmp_path / "a" / "segments")
    assert index.build(files).days == [DAY, date(2026, 1, 2)]
    (one,), _ = run(tmp_path)
    (two,), _ = run(tmp_path, day=date(2026, 1, 2))
    assert (one.energy_uj, two.energy_uj) == (1_000, 2_000)


def test_other_days_count_for_the_chain_but_are_not_read(tmp_path, make_node):
    make_node("a", range(48))
    make_node("b", range(1))
    (statement, *_), faults = run(tmp_path, day=date(2026, 1, 2))
    assert (statement.inputs, faults) == (24, [])


def manifest(statement):
    return json.loads((statement.folder / "manifest.json").read_text())


def test_a_broken_chain_is_left_out_and_its_files_that_are_whole_are_taken_where_accepted(fleet):
    folder, total = fleet
    files = segment.list_files(folder / "a" / "segments")
    whole = [path.read_bytes() for path in files]
    files[5].unlink()
    files[9].write_bytes(b"damaged")
    (statement,), faults = run(folder)
    assert sorted(f.kind for f in faults) == ["corrupted", "missing"]
    assert (statement.inputs, len(manifest(statement)["faults"]), manifest(statement)["left_out"]) == (24, 2, ["lab_a"])
    assert {located.node for located in reading.read_rows(folder / "days")} == {"b"}
    (accepted,), faults = run(folder, accept_faults=True)
    assert (accepted.number, accepted.inputs, manifest(accepted)["left_out"]) == (1, 46, [])
    assert len(manifest(accepted)["faults"]) == len(faults) == 2
    for path, data in zip(files, whole, strict=True):
        path.write_bytes(data)
    (repaired,), faults = run(folder)
    assert (repaired.number, repaired.energy_uj, faults, manifest(repaired)["faults"]) == (2, total, [], [])


def test_what_was_stated_of_a_node_stays_when_its_files_are_damaged_later(tmp_path, make_node):
    _, b = make_node("a", range(24)), make_node("b", range(20))
    (first,), _ = run(tmp_path)
    path = segment.list_files(tmp_path / "a" / "segments")[3]
    path.write_bytes(path.read_bytes()[:-9])
    come_late(b, 77)
    (kept,), (fault,) = run(tmp_path)
    assert (kept.number, kept.written, kept.energy_uj, kept.kept_for) == (0, False, first.energy_uj, ("lab_a",))
    assert path.name in fault.line
    (second,), _ = run(tmp_path, accept_faults=True)
    assert (second.number, second.written, second.inputs) == (1, True, 44)


def test_devices_go_to_the_site_where_they_stood(fleet):
    folder, total = fleet
    stays = ("a,a-GPU-0,H100,oslo,2025-01-01,2026-01-01", "a,a-GPU-0,H100,paris,2026-01-01,", "a,a-GPU-1,H100,oslo,,")
    lines = [f"lab,{stay}" for stay in (*stays, "b,,H100,paris,,")]
    statements, _ = run(folder, sites=read_inventory(inventory(folder / "a", *lines)))
    assert [s.site for s in statements] == ["oslo", "paris"]
    assert sum(s.energy_uj for s in statements) == total
    cells = [r.row for r in reading.read_rows(folder / "days" / "oslo") if isinstance(r.row, Cell)]
    assert {c.device for c in cells} == {"a-GPU-1"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cluster,node\n", ":1: expected the columns"),
        ("cluster,node,uuid,sku,site,from,to\nlab,a,,,here,soon,\n", ":2: expected a day such as"),
        ("cluster,node,uuid,sku,site,from,to\nlab,a,,,\n", ":2: expected 7 fields"),
        ("cluster,node,uuid,sku,site,from,to\nlab,a,,,,,\n", "with a site"),
        ("\udcff", "not a CSV file in UTF-8"),
    ],
)
def test_a_bad_inventory_is_one_line(tmp_path, text, says):
    path = tmp_path / "inventory.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=says):
        read_inventory(path)


def test_a_device_that_is_not_in_the_inventory_leaves_out_its_node_alone(fleet):
    folder, _ = fleet
    path = inventory(folder / "a", "lab,a,a-GPU-0,H100,here,,", "lab,b,,H100,here,,")
    (statement,), faults = run(folder, sites=read_inventory(path))
    assert {located.node for located in reading.read_rows(folder / "days")} == {"b"}
    assert {fault.kind for fault in faults} == {"site"}
    assert "no site for lab/a/a-GPU-1 on 2026-01-01" in faults[0].line
    assert statement.inputs == 24


def test_a_device_that_stands_nowhere_is_named(fleet):
    folder, _ = fleet
    with pytest.raises(UsageError, match="no site for lab/a/a-GPU-0 on 2026-01-01"):
        run(folder, sites=Sites({}))
    with pytest.raises(UsageError, match="is also a folder name"):
        run(folder, sites=Sites({}, "../up"))


def test_a_fleet_quarter_is_past_int64_and_exact(tmp_path, make_node):
    """10,000 GPUs x 1 kW x 92 d = 7.9e19 uJ, here in few cells that are large: of a building's meters."""
    largest = (1 << 62) - 12_345
    journals = [make_node(name, range(5), uj=largest // 6, seed=3, device="meter:{}:{}") for name in "ab"]
    statements, _ = run(tmp_path)
    expected = recorded_energy(*journals)
    for _ in range(8):
        expected += expected
    assert sum(statement.energy_uj for statement in statements) == recorded_energy(*journals) > 2**63
    ((summed,),) = duck(f"SELECT sum(energy_uj) FROM '{tmp_path}/days/*/*/*/cell.parquet', range(256)")
    assert summed == expected > 7.9e19


def test_parquet_that_is_not_ours_is_refused(tmp_path, fleet):
    folder, _ = fleet
    (statement,), _ = run(folder)
    path = statement.folder / "cell.parquet"
    data = path.read_bytes()
    other = tmp_path / "other.parquet"
    duck(f"COPY (SELECT 1 AS x) TO '{other}' (FORMAT parquet)")
    with pytest.raises(ChainError, match="not a compacted file"):
        list(reading.read_rows(other))
    for broken in (b"", b"PAR1", data[:-8], bytes(len(data)), data[:4] + bytes(200) + data[204:]):
        path.write_bytes(broken)
        with pytest.raises(ChainError, match=r"cell\.parquet"):
            list(reading.read_rows(path))
