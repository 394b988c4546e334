"""The inventory: the lines that `ledger compact --inventory` reads, and nothing counted twice."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.ledger.fleet.sites import read_inventory
from energy_agent.ledger.rows.kinds import INT64_MAX
from reports.inputs.organisation import Organisation
from tests.wattlens.report.books import CSV
from wattlens.report.inputs.files import InputFiles
from wattlens.report.inputs.inventory import csv_lines, expected
from wattlens.report.inputs.model import InventoryLine

DAY_NS = 86_400 * 10**9
JULY_2 = 1_782_950_400 * 10**9  # 2026-07-02T00:00:00Z
HEAD = "cluster,node,uuid,sku,site,from,to\n"


def read(tmp_path, text, sites=()):
    (tmp_path / "inventory.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return expected(csv_lines(Path("inventory.csv"), InputFiles(tmp_path)), sites)


def test_it_places_devices_as_the_ledger_s_own_reader_does(tmp_path):
    """The peer is energy_agent.ledger.fleet.sites, which compaction uses."""
    ours = Organisation(expected=read(tmp_path, CSV)).stays()
    theirs = read_inventory(tmp_path / "inventory.csv")
    assert ours.stays.keys() == theirs.stays.keys()
    for key, stays in theirs.stays.items():
        assert sorted(ours.stays[key], key=lambda s: s.from_ns) == sorted(stays, key=lambda s: s.from_ns)


def test_columns_may_stand_in_any_order_and_a_byte_order_mark_is_no_name(tmp_path):
    devices = read(
        tmp_path, b"\xef\xbb\xbfsite,uuid,node,cluster,sku,to,from\r\nfra1,GPU-1,n1,c,H100,2026-07-03,2026-07-02\r\n"
    )
    assert [(e.site, e.uuid, e.sku, e.start_ns, e.end_ns) for e in devices] == [
        ("fra1", "GPU-1", "H100", JULY_2, JULY_2 + DAY_NS)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: is empty; expected the columns cluster,node,uuid,sku,site,from,to"),
        ("cluster,node\n", ":1: expected the columns cluster,node,uuid,sku,site,from,to"),
        (HEAD + "c,n,GPU-1,H100,fra1,\n", ":2: expected 7 cells as in the first line, got 6"),
        (HEAD + "c,n,GPU-1,H100,fra1,,\n\nc,,GPU-2,H100,fra1,,\n", ":4: key 'node' is missing"),
        (HEAD + "c,n,GPU-1,H100,fra1,2026-02-30,\n", ":2: key 'from': the day 2026-02-30 does not exist"),
        (HEAD + "c,n,GPU-1,H100,fra1,01.02.2026,\n", ":2: key 'from': expected a day such as 2026-01-31, got '01.02.2026'"),
        (HEAD + "c,n,GPU-1,H100,fra1,2026-02-02,2026-02-02\n", ":2: removed on 2026-02-02, before its first day"),
        (
            HEAD + "c,n,GPU-1,H100,fra1,,\nc,m,GPU-1,H100,fra1,,\n",
            ":3: GPU-1 is listed twice for the same time, also in inventory.csv:2",
        ),
        (HEAD + "c,n,,,fra1,,\nc,n,,,pnq1,,\n", ":3: node n is listed twice for the same time"),
        (HEAD + 'c,n,"GPU,H100,fra1,,\n', ":2: not valid CSV"),
        (b"\xff\xfe", ": expected a CSV file in UTF-8"),
        (HEAD + "c,n,GPU-1,H100,a b,,\n", ":2: key 'site': expected a name of at most 63 letters"),
    ],
)
def test_invalid_line_error_names_its_number(tmp_path, text, message):
    with pytest.raises(UsageError) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith("inventory.csv:")
    assert message in str(refused.value)


def test_every_wrong_line_is_named_at_once(tmp_path):
    with pytest.raises(UsageError) as refused:
        read(tmp_path, HEAD + "c,,GPU-1,H100,fra1,soon,\nc,n,GPU-2,H100,fra1,,\nc,n\nc,n,GPU-4,,a b,,\n")
    lines = [line.partition(": ") for line in str(refused.value).splitlines()]
    assert [where for where, _, _ in lines] == [f"inventory.csv:{n}" for n in (2, 2, 4, 5)]
    for word, (_, _, text) in zip(("'node'", "'soon'", "got 2", "'a b'"), lines, strict=True):
        assert word in text


def test_file_with_a_first_line_that_is_not_csv_is_not_called_empty(tmp_path):
    with pytest.raises(UsageError) as refused:
        read(tmp_path, '"cluster,node')
    (line,) = str(refused.value).splitlines()
    assert line.startswith("inventory.csv:1: ")
    assert "not valid CSV" in line


def test_unknown_site_is_refused_if_sites_are_configured(tmp_path):
    line = HEAD + "c,n,GPU-1,H100,fra2,,\n"
    assert len(read(tmp_path, line)) == 1
    with pytest.raises(UsageError, match=r"inventory.csv:2: unknown site 'fra2'; did you mean 'fra1'"):
        read(tmp_path, line, ["fra1", "pnq1"])
    with pytest.raises(UsageError, match="expected one of x"):
        read(tmp_path, line, ["x"])


DAYS = st.integers(0, 40)


@given(st.lists(st.tuples(st.sampled_from("ab"), DAYS, DAYS).filter(lambda t: t[1] < t[2]), max_size=6))
def test_no_instant_of_a_board_is_counted_twice(stays):
    """Refused if and only if two stays of one board share a day, by trying every day."""
    first = date(2026, 1, 1).toordinal()
    devices = [
        InventoryLine(
            cluster="c", node="n", uuid=uuid, site="s", first=date.fromordinal(first + a), gone=date.fromordinal(first + b)
        )
        for uuid, a, b in stays
    ]
    double = any(sum(u == uuid and a <= day < b for u, a, b in stays) > 1 for uuid in "ab" for day in range(41))
    lines = [(f"line {n}", device) for n, device in enumerate(devices)]
    if double:
        with pytest.raises(UsageError, match="listed twice for the same time"):
            expected(lines, [])
    else:
        entries = expected(lines, [])
        assert sum(e.end_ns - e.start_ns for e in entries) == sum(b - a for _, a, b in stays) * DAY_NS


def test_an_open_end_is_open():
    (only,) = expected([("x", InventoryLine(cluster="c", node="n", site="s"))], [])
    assert (only.start_ns, only.end_ns, only.uuid) == (0, INT64_MAX, "")
