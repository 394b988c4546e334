"""Traces as they are published, excerpts of each; and what is wrong with a file, in one line with file and line."""

import gzip
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.replay.serving import trace
from dvfs.replay.serving.trace import Trace, read
from energy_agent.core.errors import UsageError

SAMPLES = Path(__file__).parent / "traces"


def test_azure() -> None:
    found = read(SAMPLES / "azure-2023.csv")
    assert found.arrive_s == pytest.approx((0.0, 4.314579, 4.541877, 4.710427, 5.892655), abs=1e-6)
    assert (found.prompt, found.output) == ((374, 396, 879, 91, 91), (44, 109, 55, 16, 16))
    assert found.name == "azure-2023.csv"


def test_mooncake_as_json_lines_and_as_csv() -> None:
    lines = read(SAMPLES / "mooncake.jsonl")
    assert lines == Trace("mooncake.jsonl", (0.0, 3.0, 3.0, 5.999), (2290, 2012, 915, 1053), (316, 354, 355, 26))
    rows = read(SAMPLES / "mooncake-slim.csv")
    assert (rows.arrive_s, rows.prompt[:2], rows.output[:2]) == ((0.0,) * 5, (6758, 7322), (500, 490))


def test_gzip_a_byte_order_mark_windows_line_ends_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfat_ms,prompt,output\r\n1500,1,2\r\n\r\n2500,3,4\r\n"))
    assert read(path) == Trace("t.csv.gz", (0.0, 1.0), (1, 3), (2, 4))


def test_a_time_without_a_zone_is_utc_wherever_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour that summer time leaves out in New York is there all the same."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    path = tmp_path / "t.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-03-10 01:30:00,1,1\n2024-03-10 03:30:00,1,1\n"
        "2024-03-10T05:30:00+01:00,1,1\n"
    )
    try:
        assert read(path).arrive_s == (0.0, 7200.0, 10800.0)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_cut_and_faster() -> None:
    whole = Trace("t", (0.0, 1.0, 2.0, 10.0), (1, 2, 3, 4), (5, 6, 7, 8))
    assert whole.cut(1.0, 5.0) == Trace("t", (0.0, 1.0), (2, 3), (6, 7))
    assert whole.cut(2.0) == Trace("t", (0.0, 8.0), (3, 4), (7, 8))
    assert whole.faster(4.0).arrive_s == (0.0, 0.25, 0.5, 2.5)
    with pytest.raises(UsageError, match="trace t: no request after 20 s; the last one arrives at 10 s"):
        whole.cut(20.0)


CSV, JSON = b"at_ms,prompt,output\n", b'{"timestamp": 1, "input_length": %s, "output_length": 5}\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "line 1: expected the columns TIMESTAMP"),
        (CSV, "has no requests"),
        (CSV + b"1,2,3\n0,2,3\n", "line 3: is earlier than the line before; sort"),
        (CSV + b"1,2\n", "line 2: has no output"),
        (b"at_ms,prompt,output,prompt\n1,2,3,4\n", "line 1: expected the columns"),
        (CSV + b"1,2,3\n" * 9999 + b"\xff,2,3\n", "cannot read: 'utf-8'"),
        (CSV + b"x,2,3\n", "line 2: could not convert string to float: 'x'"),
        (CSV + b"1,0,3\n", "line 2: tokens: expected numbers from 1 to 10000000, got 0 and 3"),
        (CSV + b"1,2,-3\n", "tokens: expected integers, got '-3'"),
        (CSV + b"1,2,10000001\n", "tokens: expected numbers from"),
        (CSV + b"inf,2,3\n", "line 2: inf is not a valid arrival time"),
        (CSV + b"nan,2,3\n", "line 2: nan is not a valid arrival time"),
        (CSV + b"1," + b"9" * 5000 + b",3\n", "line 2: tokens: expected integers"),
        (CSV + b'"' + b"9" * 200_000 + b'",1,3\n', "field larger than field limit"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,2,3\n", "line 2: Invalid isoformat"),
        (b'{"timestamp": 1, "input_length": 5}\n', "line 1: has no output_length"),
        (JSON % b"5" + b"[]\n", "line 2: is not a JSON object"),
        (JSON % b"5" + b'\n{"timestamp"\n', "line 3: Expecting"),
        (JSON % b"true", "tokens: expected integers, got True"),
        (JSON % b"1.9", "tokens: expected integers, got 1.9"),
        (JSON % b"1e999", "line 1: tokens: expected integers, got inf"),
        ((JSON % b"5").replace(b"1", b"null"), "line 1: float"),
        (b'{"a":' + b"[" * 50_000 + b"\n", "line 1: .*(recursion|Expecting value)"),
        (b"\xff\xfe\x00", "cannot read: 'utf-8' codec"),
        (gzip.compress(CSV + b"1,2,3\n", mtime=0)[:-9], "cannot read: Compressed file ended"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_no_file_a_folder_and_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"none\.csv: cannot read: No such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="cannot read: Is a directory"):
        read(tmp_path)
    monkeypatch.setattr(trace, "ROWS_LIMIT", 2)
    for head, row in ((CSV, b"1,2,3\n"), (b"", JSON % b"2")):
        (tmp_path / "t").write_bytes(head + 2 * row)
        assert len(read(tmp_path / "t")) == 2
        (tmp_path / "t").write_bytes(head + 3 * row)
        with pytest.raises(UsageError, match="expected at most 2 requests"):
            read(tmp_path / "t")


@given(st.binary(max_size=300))
def test_whatever_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("t") / "t"
    path.write_bytes(CSV + content)
    try:
        found = read(path)
    except UsageError:
        return
    assert len(found) > 0
    assert found.arrive_s == tuple(sorted(found.arrive_s))
