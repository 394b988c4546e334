"""Day sums that are stored next to the rows of a compacted day, against energy and times summed by hand, row by row."""

import json
from collections import defaultdict
from datetime import date

import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Gap, Identity, Method, State
from energy_agent.core.errors import ChainError
from energy_agent.ledger import reading
from energy_agent.ledger.fleet import day_sums
from energy_agent.ledger.fleet.sites import DeviceLocation, Sites
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.rows.kinds import INT64_MAX, PPM, Cell, DeviceFacts, EdgeRow, GapRow
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN, EdgeRun, follow
from energy_agent.ledger.segments import segment
from energy_agent.ledger.summary import bounds, cell_bounds
from tests.energy_agent.ledger.cases import T0, S, batches, compact_day
from tests.support import examples

DAY = date(2026, 1, 1)
HERE = Sites({}, "n1")  # the site that METER names
M = 60 * S
Q = 15 * M
HOST, PART, METER = "host:lab:n1", "host:lab:n1/package-0", "meter:n1:main"


def write(folder, *parts, cluster="lab", node="n1"):
    """A node's chain, one segment for each batch; returns the rows of each segment, in the order of the chain."""
    folder.mkdir(parents=True, exist_ok=True)
    previous, rows, book = segment.FIRST_PREVIOUS, [], Book()
    for batch in parts:
        book.add(batch)
        item = take(book, None, Identity(cluster, node, "b", "0", True), len(rows), previous)
        if item is None:
            continue
        (folder / segment.file_name(cluster, node, len(rows))).write_bytes(item.body)
        rows.append(segment.read(folder / segment.file_name(cluster, node, len(rows))).rows)
        previous, book = item.sha256, book.without(item.rows)
    return rows


def sums_of(folder, paths, **options):
    """(statement, its three tables as lists of dicts)."""
    (statement,), _ = compact_day(paths, folder / "days", DAY, HERE, **options)
    return statement, tables(statement)


def one(tmp_path, *entries, gaps=(), devices=("GPU-a",)):
    """(statement, tables) of a day of one segment."""
    write(tmp_path / "s", Batch(list(entries), gaps=list(gaps), devices=facts(*devices)))
    return sums_of(tmp_path, [tmp_path / "s"])


def tables(statement):
    return {kind: pyarrow.parquet.read_table(statement.folder / f"{kind}.parquet").to_pylist() for kind in day_sums.DAY_COLUMNS}


def by(rows, *names):
    by_key = {tuple(row[name] for name in names): row for row in rows}
    assert len(by_key) == len(rows), "a key is there twice"
    return by_key


def entry(start, end, uj, device="GPU-a", workload="", state=State.UNALLOCATED, method=Method.COUNTER, edge=10, gpu_ns=0):
    return Entry(T0 + start, T0 + end, device, workload, state, method, uj, edge, gpu_ns)


def facts(*devices):
    return [DeviceFacts(device, "H100", 0.05, T0) for device in devices]


@given(st.lists(batches, min_size=1, max_size=4))
@settings(max_examples=examples(60, quick=12), deadline=None)
def test_energy_and_times_are_those_of_the_rows(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("sums")
    rows = [row for part in write(folder / "s", *parts) for row in part]
    if not any(isinstance(row, Cell | EdgeRow | GapRow) for row in rows):
        return
    ends = [segment.read(path).header.to_ns for path in segment.list_files(folder / "s")]
    assume(ends == sorted(ends))  # no agent seals an earlier hour after a later one
    _, day_tables = sums_of(folder, [folder / "s"])
    cells = [row for row in rows if isinstance(row, Cell)]
    spans = [row for row in rows if isinstance(row, EdgeRow)]
    gap_rows = [row for row in rows if isinstance(row, GapRow)]
    energy, held_ns, used = defaultdict(int), defaultdict(int), defaultdict(lambda: [0, 0, 0, 0])
    for c in cells:
        key = (c.device, c.workload, c.state.value, c.method.value)
        energy[key] += c.energy_uj
        held_ns[key] += c.gpu_ns
        use = used[c.cell_start_ns, c.workload]
        use[0 if c.state is State.ACTIVE else 1 if c.state is State.IDLE else 2] += c.energy_uj
        use[3] += c.gpu_ns
    owners = by(day_tables["holder_day"], "device", "workload", "state", "method")
    assert {key: (row["energy_uj"], row["gpu_ns"]) for key, row in owners.items()} == {
        key: (energy[key], held_ns[key]) for key in energy
    }
    uses = by(day_tables["workload_cell"], "cell_start_ns", "workload")
    assert {k: [r["active_uj"], r["idle_uj"], r["other_uj"], r["gpu_ns"]] for k, r in uses.items()} == used
    assert not any(row["host_uj"] for row in uses.values())
    span_days = by(day_tables["span_day"], "device", "workload")
    assert set(span_days) == {(s.device, s.workload) for s in spans} | {(g.device, "") for g in gap_rows}
    for (device, workload), row in span_days.items():
        mine = [g for g in gap_rows if g.device == device]
        owner_spans = [s for s in spans if (s.device, s.workload) == (device, workload)]
        if workload:
            in_cells = {s.cell_start_ns for s in owner_spans}
            assert row["gap_bound_uj"] == sum(g.bound_uj for g in mine if g.cell_start_ns in in_cells)
            assert (row["metered_ns"], row["gap_ns"]) == (0, 0)
        else:
            assert row["gap_bound_uj"] == sum(g.bound_uj for g in mine)
            assert row["gap_ns"] == sum(g.end_ns - g.start_ns for g in mine)
            assert row["metered_ns"] == metered(owner_spans, mine)
        if owner_spans:
            assert (row["start_ns"], row["end_ns"]) == (
                min(s.run.start_ns for s in owner_spans),
                max(s.run.end_ns for s in owner_spans),
            )


def metered(spans, gap_rows):
    total = 0
    for cell in {s.cell_start_ns for s in spans}:
        ones = [s.run for s in spans if s.cell_start_ns == cell]
        metered_ns = sum(run.end_ns - run.start_ns for run in ones)
        for gap in gap_rows:
            if gap.cell_start_ns == cell:
                metered_ns -= sum(max(0, min(run.end_ns, gap.end_ns) - max(run.start_ns, gap.start_ns)) for run in ones)
        total += max(0, metered_ns)
    return total


@st.composite
def orderly(draw):
    """Draw one device's day as an agent records it: consecutive intervals with some gaps in between, sealed now and then."""
    parts, at = [[]], draw(st.integers(0, 3)) * M
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0, 0, 0, 30 * S]))
        end = at + draw(st.integers(1, 25)) * M
        workload = draw(st.sampled_from(["", "w1", "w2"]))
        state = draw(st.sampled_from([State.ACTIVE, State.IDLE])) if workload else State.UNALLOCATED
        method = draw(st.sampled_from([Method.COUNTER, Method.COUNTER, Method.INTEGRATED, Method.BRIDGED]))
        parts[-1].append(
            entry(at, end, draw(st.integers(0, 10**9)), "GPU-a", workload, state, method, draw(st.sampled_from([0, 10, 700])))
        )
        if draw(st.integers(0, 3)) == 0:
            parts.append([])
        at = end
    return [Batch(part, devices=facts("GPU-a")) for part in parts]


@pytest.mark.smoke
@given(orderly())
@settings(max_examples=examples(80), deadline=None)
def test_edges_are_those_that_the_ledger_states_of_the_days_rows(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("edges")
    rows = [row for part in write(folder / "s", *parts) for row in part]
    _, day_tables = sums_of(folder, [folder / "s"])
    for row in day_tables["span_day"]:
        stated = bounds(rows, device=row["device"], workload=row["workload"] or None)
        assert edge(row) == stated.edge_uj
    for row in day_tables["holder_day"]:
        key = tuple(row[name] for name in ("device", "workload", "state", "method"))
        cells = [c for c in rows if isinstance(c, Cell) and (c.device, c.workload, c.state.value, c.method.value) == key]
        assert edge(row) == cell_bounds(cells, {"GPU-a": 0}).edge_uj
        assert (row["start_ns"], row["end_ns"]) == (cells[0].run.start_ns, cells[-1].run.end_ns)


def edge(row):
    return row["edge_first_uj"] + row["edge_inner_uj"] + row["edge_last_uj"]


runs = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 3), *[st.sampled_from([0, 1, 5, 9])] * 3), min_size=1, max_size=8
).map(lambda intervals: [(start, start + length, *edges) for start, length, *edges in intervals])


@given(runs, st.booleans())
def test_pieces_in_any_order_fold_by_the_ledgers_own_rule(pieces, whole):
    """Late pieces keep all their edges; what meets cancels as far as shares are known."""
    start, end, first, inner, last = pieces[0]
    for s, e, f, i, o in pieces[1:]:
        if s < start:
            start, first, inner = s, f, inner + first + i + o
        elif s < end:
            inner += f + i + o
        else:
            meets = s == end and last and f
            residual = (0 if whole or last == f else max(last, f)) if meets else last + f
            inner, last = inner + residual + i, o
        end = max(end, e)
    assert span_of(pieces, whole) == [start, end, first, inner, last]


in_order = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), *[st.sampled_from([0, 1, 5, 9])] * 3), min_size=2, max_size=9
).map(lambda intervals: list(laid(intervals)))


def laid(pieces):
    at = 0
    for hole, length, *edges in pieces:
        at += hole
        yield (at, at + length, *edges)
        at += length


@given(in_order, st.booleans(), st.data())
def test_days_join_as_rows_do(pieces, whole, data):
    """The sum of two days is the two days' sums, one following the other, wherever midnight is."""
    cut = data.draw(st.integers(1, len(pieces) - 1))
    share = PPM if whole else SHARE_UNKNOWN
    one, other, both = (span_of(part, whole) for part in (pieces[:cut], pieces[cut:], pieces))
    assert follow(EdgeRun(*one, share), EdgeRun(*other, share)) == EdgeRun(*both, share)


def span_of(pieces, whole):
    node, count = day_sums.NodeDay("lab", "n1"), len(pieces)
    names = ("start_ns", "end_ns", "edge_first_uj", "edge_inner_uj", "edge_last_uj")
    column = dict(zip(names, zip(*pieces, strict=True), strict=True))
    node.add(
        {"span": column | {"cell_start_ns": [0] * count, "device": ["g"] * count, "workload": ["" if whole else "w"] * count}}
    )
    row = node.columns()["span_day"]
    return [row[name][0] for name in names]


def test_a_file_of_sums_is_no_file_of_rows(tmp_path):
    statement, _ = one(tmp_path, entry(0, Q, 60))
    with pytest.raises(ChainError, match=r"span_day\.parquet: contains the sums of a day, not rows"):
        list(reading.read_rows(statement.folder / "span_day.parquet"))
    assert sum(r.row.energy_uj for r in reading.read_rows(statement.folder) if isinstance(r.row, Cell)) == 60


def test_hosts_parts_and_meters_go_where_they_belong(tmp_path):
    statement, day_tables = one(
        tmp_path,
        entry(0, 10 * M, 600, "GPU-a", "w1", State.ACTIVE, gpu_ns=10 * M),
        entry(10 * M, Q, 50, "GPU-a", "w1", State.IDLE, gpu_ns=5 * M),
        entry(0, Q, 70, "GPU-b"),
        entry(0, Q, 9, "GPU-b", "", State.GAP, Method.BRIDGED),
        entry(0, Q, 300, HOST, "w1", State.ACTIVE, Method.INTEGRATED, gpu_ns=Q),
        entry(0, Q, 40, HOST, "", State.UNALLOCATED, Method.INTEGRATED),
        entry(0, Q, 110, PART, "w1", State.ACTIVE),
        entry(0, Q, 5_000, METER, "", State.UNALLOCATED, gpu_ns=Q),
        devices=("GPU-a", "GPU-b", HOST, PART, METER),
    )
    assert day_tables["workload_cell"] == [
        use(T0, "", other_uj=79, host_uj=40),
        use(T0, "w1", active_uj=600, idle_uj=50, host_uj=300, gpu_ns=Q),
    ]
    owners = by(day_tables["holder_day"], "device", "workload", "state", "method")
    assert owners[PART, "w1", "active", "counter"]["energy_uj"] == 110
    assert owners[METER, "", "unheld", "counter"]["energy_uj"] == 5_000
    assert sum(row["energy_uj"] for row in day_tables["holder_day"]) == statement.energy_uj == 6_179
    assert by(day_tables["span_day"], "device", "workload")[METER, ""]["metered_ns"] == Q


def use(start, workload, **amounts):
    nothing = dict.fromkeys(("active_uj", "idle_uj", "other_uj", "host_uj", "gpu_ns"), 0)
    return {"cell_start_ns": start, "cluster": "lab", "node": "n1", "workload": workload} | nothing | amounts


def test_unmetered_time_widens_the_bounds_of_its_owners(tmp_path):
    lost = [("GPU-a", M, 3 * M, 40), ("GPU-a", Q, Q + M, 2), ("GPU-z", 2 * M, 5 * M, 7)]
    _, day_tables = one(
        tmp_path,
        *(entry(i * Q, (i + 1) * Q, 100, workload=name, state=State.ACTIVE) for i, name in enumerate(("w1", "w2"))),
        gaps=[Gap(device, T0 + start, T0 + end, bound_uj, "lost") for device, start, end, bound_uj in lost],
        devices=("GPU-a", "GPU-z"),
    )
    spans = by(day_tables["span_day"], "device", "workload")
    assert {key: (row["metered_ns"], row["gap_bound_uj"], row["gap_ns"]) for key, row in spans.items()} == {
        ("GPU-a", ""): (2 * Q - 3 * M, 42, 3 * M),
        ("GPU-a", "w1"): (0, 40, 0),
        ("GPU-a", "w2"): (0, 2, 0),
        ("GPU-z", ""): (0, 7, 3 * M),  # never metered, but still listed
    }
    alone = spans["GPU-z", ""]
    assert (alone["start_ns"], alone["end_ns"], edge(alone)) == (T0 + 2 * M, T0 + 5 * M, 0)


def test_two_clusters_may_name_a_node_alike(tmp_path):
    for cluster, uj in (("east", 100), ("west", 7)):
        parts = [[entry(i * Q // 2, (i + 1) * Q // 2, uj, f"GPU-{cluster}", "w", State.ACTIVE)] for i in range(2)]
        write(tmp_path / "s", *(Batch(part, devices=facts(f"GPU-{cluster}")) for part in parts), cluster=cluster)
    _, day_tables = sums_of(tmp_path, [tmp_path / "s"])
    for kind, name in (("holder_day", "energy_uj"), ("workload_cell", "active_uj")):
        assert [(r["cluster"], r["node"], r[name]) for r in day_tables[kind]] == [("east", "n1", 200), ("west", "n1", 14)]


def test_late_data_restates_the_sums(tmp_path):
    parts = [Batch([entry(Q, 2 * Q, 100)], devices=facts("GPU-a")), Batch([entry(0, Q, 11)], devices=facts("GPU-a"))]
    write(tmp_path / "s", *parts[:1])
    first, _ = sums_of(tmp_path, [tmp_path / "s"])
    write(tmp_path / "s", *parts)
    second, day_tables = sums_of(tmp_path, [tmp_path / "s"])
    assert (first.number, second.number, second.reason.partition(":")[0]) == (0, 1, "input changed")
    (row,) = day_tables["holder_day"]
    assert (row["energy_uj"], row["start_ns"], row["end_ns"]) == (111, T0, T0 + 2 * Q)
    assert edge(row) == 4 * 10  # what comes after later readings shares none for certain
    assert [r["energy_uj"] for r in tables(first)["holder_day"]] == [100]


def test_the_manifest_names_every_file_by_its_hash(tmp_path):
    import hashlib

    statement, _ = one(tmp_path, entry(0, Q, 60))
    manifest = json.loads((statement.folder / "manifest.json").read_text())
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in statement.folder.glob("*.parquet")}
    assert (manifest["day_sums"], manifest["files"]) == (1, digests)
    assert {f"{kind}.parquet" for kind in day_sums.DAY_COLUMNS} <= digests.keys()


def test_a_day_from_before_there_were_sums_is_brought_up_to_date(tmp_path):
    first, before = one(tmp_path, entry(0, Q, 60))
    path = first.folder / "manifest.json"
    old = json.loads(path.read_text())
    del old["day_sums"], old["files"]
    path.write_text(json.dumps(old))
    for kind in day_sums.DAY_COLUMNS:
        (first.folder / f"{kind}.parquet").unlink()
    second, after = sums_of(tmp_path, [tmp_path / "s"])
    assert (second.number, second.written, second.reason) == (1, True, "day sums were added")
    assert after == before
    third, _ = sums_of(tmp_path, [tmp_path / "s"])
    assert (third.number, third.written) == (1, False)


@pytest.mark.parametrize(("more", "fits"), [((1 << 62) - 1, True), (1 << 62, False)])
def test_a_sum_past_int64_is_refused(tmp_path, more, fits):
    gaps = [Gap("GPU-a", T0 + i * Q, T0 + (i + 1) * Q, uj, "lost") for i, uj in enumerate((1 << 62, more))]
    write(tmp_path / "s", *(Batch(gaps=[gap], devices=facts("GPU-a")) for gap in gaps))
    if fits:
        assert sums_of(tmp_path, [tmp_path / "s"])[1]["span_day"][0]["gap_bound_uj"] == 2**63 - 1
        return
    statements, (fault,) = compact_day([tmp_path / "s"], tmp_path / "days", DAY, HERE)
    assert (statements, fault.kind) == ([], "sum")
    assert "lab/n1: a sum of the day exceeds int64 in span_day: 9223372036854775808" in fault.line
    assert not list((tmp_path / "days").rglob("*.parquet"))


def test_a_meter_that_was_read_twice_was_not_read_for_longer(tmp_path):
    """Of four cells the first twice, the second for a half, the third not at all: 2.5, however much time the readings had."""
    read = [(0, Q), (0, Q), (Q, Q + Q // 2), (3 * Q, 4 * Q)]
    _, day_tables = one(tmp_path, *(entry(a, b, 7, METER, gpu_ns=b - a) for a, b in read), devices=(METER,))
    assert day_tables["holder_day"][0]["gpu_ns"] == 3 * Q + Q // 2
    assert day_tables["span_day"][0]["metered_ns"] == 2 * Q + Q // 2


def test_a_building_of_a_gigawatt_is_summed_in_several_rows(tmp_path):
    """22 h of 1 GW are 7.92e19 uJ, nine times int64; for 2 h, of which the bound is as much, nobody saw anything."""
    hour = 4 * Q
    entries = [entry(i * hour, (i + 1) * hour, 36 * 10**17 + i, METER, edge=3) for i in range(22)]
    gaps = [Gap(METER, T0 + i * Q, T0 + (i + 1) * Q, 5 * 10**18, "no readings") for i in range(88, 96)]
    statement, day_tables = one(tmp_path, *entries, gaps=gaps, devices=(METER,))
    assert statement.energy_uj == sum(row["energy_uj"] for row in day_tables["holder_day"]) == sum(e.energy_uj for e in entries)
    assert sum(row["gap_bound_uj"] for row in day_tables["span_day"]) == 40 * 10**18
    assert (len(day_tables["holder_day"]), len(day_tables["span_day"])) == (9, 5)
    for kind, name in (("holder_day", "gpu_ns"), ("span_day", "gap_ns")):
        assert {row["start_ns"] for row in day_tables[kind]} == {T0}
        assert all(row[name] == row["edge_first_uj"] == row["edge_last_uj"] == 0 for row in day_tables[kind][1:])
    assert sum(row["edge_inner_uj"] for row in day_tables["holder_day"][1:]) == 0


def test_a_node_that_moves_within_a_day_is_summed_at_both_sites(tmp_path):
    quarters = [(i * Q, (i + 1) * Q, 10**i) for i in range(4)]
    entries = [e for start, end, uj in quarters for e in (entry(start, end, uj), entry(start, end, 5, HOST))]
    write(tmp_path / "s", Batch(entries, devices=facts("GPU-a", HOST)))
    moved = Sites({("lab", "n1", ""): (DeviceLocation("oslo", 0, T0 + 3 * Q), DeviceLocation("paris", T0 + 3 * Q, INT64_MAX))})
    statements, _ = compact_day([tmp_path / "s"], tmp_path / "days", DAY, moved)
    assert [(s.site, s.energy_uj) for s in statements] == [("oslo", 126), ("paris", 1_005)]
    for statement, count in zip(statements, (3, 1), strict=True):
        day_tables = tables(statement)
        assert sum(r["energy_uj"] for r in day_tables["holder_day"]) == statement.energy_uj
        assert [(r["other_uj"], r["host_uj"]) for r in day_tables["workload_cell"]][-1] == (
            (100, 5) if count == 3 else (1_000, 5)
        )
        assert [r["metered_ns"] for r in day_tables["span_day"]] == [count * Q] * 2
