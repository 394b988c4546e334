"""Files of readings: each row once and as it was written, whatever happens to the file; faults are named with file and row."""

import contextlib
import datetime
import itertools
import os
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energy_agent.core.meters.reading import MeterError
from energy_agent.runtime.clock import RealClock
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters import _import_files
from energy_agent.site.meters import imported as module
from energy_agent.site.meters.imported import SPEC, Imported, time_ns
from tests.support import need_module

S = 10**9
KWH_UJ = 3_600_000_000_000
START_S = 1_700_000_000
METER = MeterConfig(id="m", role="total", accuracy_percent=1, max_power_w=1e6)


class SteppedClock(RealClock):
    """The machine's, but for a UTC that can be set back or forward, and a boot clock that can be moved on."""

    step_ns = boot_step_ns = 0

    def utc_ns(self):
        return super().utc_ns() + self.step_ns

    def boot_ns(self):
        return super().boot_ns() + self.boot_step_ns


def meter(path, clock=None, **more):
    return SPEC.open(Imported(path=path, **more), METER, clock or RealClock())


def lines(*rows):
    return "".join(f"{row}\n" for row in rows)


def rows(first, last):
    """Rows of the seconds from `first` up to `last`, with a kWh each."""
    return [f"{START_S + i},{i}" for i in range(first, last)]


def kwh(readings):
    return [Decimal(r.energy_uj) / KWH_UJ for r in readings]


def test_rows_are_readings_of_their_own_time(tmp_path):
    path = tmp_path / "meter.csv"
    path.write_text(
        "\ufeff"
        + lines("power_w,note,time,energy_kwh", '500.5,"a, b",2026-03-29T01:59:59.5+01:00,10.250', "", "0,,1774746001,")
    )
    clock = RealClock()
    first, second = meter(path).read()
    assert (first.energy_uj, first.power_mw, first.step_uj, first.step_mw) == (
        10_250 * KWH_UJ // 1000,
        500_500,
        KWH_UJ // 1000,
        100,
    )
    assert (second.energy_uj, second.power_mw) == (None, 0)
    wanted = datetime.datetime(2026, 3, 29, 0, 59, 59, 500_000, tzinfo=datetime.UTC)
    assert first.t_ns == round(wanted.timestamp() * 10) * S // 10
    assert second.t_ns - first.t_ns == second.boot_ns - first.boot_ns == S + S // 2
    utc_ns, boot_ns, utc_later_ns = clock.utc_ns(), clock.boot_ns(), clock.utc_ns()
    most_ns, least_ns = ((boot_ns - first.boot_ns) - (t_ns - first.t_ns) for t_ns in (utc_ns, utc_later_ns))
    assert most_ns >= 0  # as long ago by both clocks, to the second, and never too late
    assert least_ns < S + S // 10
    assert first.max_mw == 10**9


def test_a_file_that_grows_is_read_on_and_one_that_was_replaced_anew(tmp_path):
    path = tmp_path / "meter.csv"
    path.write_text(lines("time,energy_kwh", *rows(0, 3)))
    reader = meter(path)
    assert kwh(reader.read()) == [0, 1, 2]
    assert reader.read() == ()
    with path.open("a") as file:
        file.write(lines(*rows(3, 5)) + "17000")  # a row that is still being written
    assert kwh(reader.read()) == [3, 4]
    with path.open("a") as file:
        file.write("00005,5\n")
    assert kwh(reader.read()) == [5]
    new = tmp_path / "new"
    new.write_text(lines("energy_kwh,time", *(f"{i},{START_S + i}" for i in range(4, 8))))  # other columns, some rows again
    new.rename(path)
    assert kwh(reader.read()) == [6, 7]
    path.write_text(lines("energy_kwh,time", f"8,{START_S + 8}"))  # shorter, in place
    assert kwh(reader.read()) == [8]
    path.unlink()
    with pytest.raises(MeterError, match=r"meter\.csv: No such file"):
        reader.read()
    path.write_text(lines("time,energy_kwh", *rows(0, 10)))
    assert kwh(reader.read()) == [9]


def test_file_with_reordered_columns_is_read_by_its_new_header(tmp_path):
    path = tmp_path / "meter.csv"
    same = [f"{START_S + i},{i},{i}" for i in range(200)]
    path.write_text(lines("time,a_kwh,b_kwh", *same))
    reader = meter(path, energy_column="a_kwh")
    assert len(reader.read()) == 200
    path.write_text(lines("time,b_kwh,a_kwh", *same, f"{START_S + 200},7,200"))  # to the byte as long up to there
    assert kwh(reader.read()) == [200]


def test_incomplete_last_row_is_read_after_writing_ends(tmp_path):
    path = tmp_path / "meter.csv"
    clock = SteppedClock()
    path.write_text(lines("time,energy_kwh", *rows(0, 2)) + f"{START_S + 2},2")
    reader = meter(path, clock)
    assert kwh(reader.read()) == [0, 1]
    clock.step_ns = 3600 * S
    os.utime(path, (time.time() - 3600,) * 2)
    assert reader.read() == (), "half a number, whatever the clock and the file's time are set to"
    with path.open("a") as file:
        file.write("5")
    clock.boot_step_ns = 40 * S
    assert reader.read() == ()
    clock.boot_step_ns = 121 * S
    assert kwh(reader.read()) == [25]
    assert reader.read() == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-01-01T00:00:00,5", r"meter\.csv:4: its time .* has no offset"),
        ("yesterday,5", r"meter\.csv:4: expected a time in .*, got 'yesterday'"),
        ("2099-01-01T00:00:00Z,5", r"meter\.csv:4: its time is .* s in the future"),
        ("1700000001,5", r"meter\.csv:4: its time is not later than that of the previous row"),
        ("1700000000.5,5", r"meter\.csv:4: its time is not later"),
        ("20260101,5", r"meter\.csv:4: expected a time from 2000 on"),
        ("1700000002,five", r"meter\.csv:4: expected a number, got 'five'"),
        ("1700000002,NaN", r"meter\.csv:4: implausible reading: energy NaN"),
        ("1700000002,-5", r"meter\.csv:4: .* is negative"),
        ("1700000002,1e999999999", r"meter\.csv:4: expected a number of moderate size, got .*"),
        ("1700000002", r"meter\.csv:4: has 1 cells, but the header has 2"),
        ('1700000002,"5', r"meter\.csv:4: is not a CSV row"),
        ("1700000002,\udcff", r"meter\.csv:4: is not UTF-8"),
        ("1700000002," + "5" * 5000, r"meter\.csv:4: is longer than 4096 bytes"),
    ],
)
def test_a_row_at_fault_is_named_after_what_was_before_it_and_can_be_mended(tmp_path, text, reason):
    path = tmp_path / "meter.csv"

    def write(middle):
        body = lines("time,energy_kwh", *rows(0, 2), middle, *rows(3, 5))
        path.write_bytes(body.encode(errors="surrogateescape"))

    write(text)
    reader = meter(path)
    assert kwh(reader.read()) == [0, 1]
    for _ in range(2):
        with pytest.raises(MeterError, match=reason) as error:
            reader.read()
    assert "\n" not in str(error.value)
    write("1700000002,2")
    assert kwh(reader.read()) == [2, 3, 4]


@pytest.mark.parametrize(
    ("text", "more", "reason"),
    [
        ("", {}, "got an empty file"),
        ("time,kwh\n", {}, "no column 'energy_kwh' or 'power_w'; its columns: 'time', 'kwh'"),
        ("energy_kwh\n", {}, "no column 'time'"),
        ("time,energy_kwh\n", {"power_column": "watts"}, "no column 'watts'"),
        ("time,energy_kwh,time\n", {}, ":1: duplicate column"),
        ("a" * 5000, {}, ":1: is longer than 4096 bytes"),
        ("time;energy_kwh\n", {}, "no column 'time'; its columns: 'time;energy_kwh'"),
    ],
)
def test_invalid_header_is_reported(tmp_path, text, more, reason):
    path = tmp_path / "meter.csv"
    path.write_text(text)
    with pytest.raises(MeterError, match=reason):
        meter(path, **more).read()


def test_irregular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(MeterError, match="not a regular file"):
            meter(path).read()
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(_import_files.FILE_LIMIT_B + 1)
    with pytest.raises(MeterError, match="more than 1024 MiB"):
        meter(huge).read()


@pytest.mark.smoke
def test_a_long_file_is_given_in_parts(tmp_path, monkeypatch):
    path = tmp_path / "meter.csv"
    count = module.ROWS_AT_ONCE + 5
    path.write_text(lines("time,energy_kwh", *rows(0, count)))
    reader = meter(path)
    first, second = reader.read(), reader.read()
    assert (len(first), len(second), reader.read()) == (module.ROWS_AT_ONCE, 5, ())
    assert kwh(first + second) == list(range(count))
    monkeypatch.setattr(_import_files, "ROWS_LIMIT", 3)
    path.write_text(lines("energy_kwh,time", *(f"{i},{START_S + count + i}" for i in range(5))))
    assert len(reader.read()) == 3
    with pytest.raises(MeterError, match=":5: exceeds the maximum of"):
        reader.read()


def test_row_distances_follow_the_file_if_the_clock_is_stepped(tmp_path):
    path, clock = tmp_path / "meter.csv", SteppedClock()
    path.write_text(lines("time,energy_kwh", *rows(0, 1)))
    reader = meter(path, clock)
    readings = list(reader.read())
    for step_s in (-3600, 3600):
        clock.step_ns += step_s * S
        with path.open("a") as file:
            file.write(lines(*rows(len(readings), len(readings) + 1)))
        readings += reader.read()
    assert [b.boot_ns - a.boot_ns for a, b in itertools.pairwise(readings)] == [S, S]
    again = meter(path).read()  # as after a restart
    assert [r.boot_ns for r in again] == [r.boot_ns for r in readings]


def test_file_without_new_rows_is_down_if_configured(tmp_path):
    path = tmp_path / "meter.csv"
    path.write_text(lines("time,energy_kwh", *rows(0, 2)))
    reader = meter(path, max_age_s=3600)
    assert len(reader.read()) == 2
    with pytest.raises(MeterError, match=r"its newest row is \d+ s old, but max_age_s is 3600"):
        reader.read()
    with path.open("a") as file:
        file.write(f"{time.time() - 1:.3f},9\n")
    assert kwh(reader.read()) == [9]
    assert reader.read() == ()


def parquet(path, **columns):
    need_module("pyarrow")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)


def test_parquet_gives_what_csv_does(tmp_path):
    need_module("pyarrow")
    import pyarrow

    times = [START_S * S + i * S // 4 for i in range(5)]
    instants = pyarrow.array(times, pyarrow.timestamp("ns", "Europe/Berlin"))
    texts = [datetime.datetime.fromtimestamp(t / S, datetime.UTC).isoformat() for t in times]
    energy = [0.5, 1.25, None, 3.0, 4.0]
    power = pyarrow.array([Decimal("1.50"), None, None, Decimal("2.50"), Decimal("3.50")], pyarrow.decimal128(9, 2))
    for column in (instants, pyarrow.array(texts), pyarrow.array([t / S for t in times])):
        path = tmp_path / "meter.parquet"
        parquet(path, other=[[1]] * 5, energy_kwh=energy, power_w=power, time=column)
        reader = meter(path)
        readings = reader.read()
        assert [(r.t_ns, r.energy_uj, r.power_mw) for r in readings] == [
            (times[0], KWH_UJ // 2, 1_500),
            (times[1], KWH_UJ * 5 // 4, None),
            (times[3], KWH_UJ * 3, 2_500),
            (times[4], KWH_UJ * 4, 3_500),
        ]
        assert reader.read() == ()
        parquet(path, energy_kwh=[*energy, 5.5], time=[*(t / S for t in times), START_S + 9.0])
        assert kwh(reader.read()) == [Decimal("5.5")]


def test_parquet_that_does_not_serve_is_one_reason(tmp_path):
    need_module("pyarrow")
    import pyarrow

    path = tmp_path / "meter.parquet"
    reader = meter(path)

    def refused(reason, **columns):
        if columns:
            parquet(path, **columns)
        with pytest.raises(MeterError, match=reason) as error:
            reader.read()
        assert "\n" not in str(error.value)

    refused("expected timestamps with a time zone", time=pyarrow.array([START_S], pyarrow.timestamp("s")), energy_kwh=[1])
    refused("got type bool", time=[START_S], energy_kwh=[True])
    refused("got type list", time=[START_S], energy_kwh=[[1]])
    refused("a text of 100 bytes", time=["a" * 100] * 9, energy_kwh=[1] * 9)
    refused(r"meter\.parquet:1: expected a time from 2000 on", time=[5], energy_kwh=[1])
    refused(r"meter\.parquet:1: implausible reading: energy NaN", time=[START_S], energy_kwh=[float("nan")])
    refused("no column 'time'", energy_kwh=[1])
    categories = pyarrow.array(["x" * 1000, "y"]).dictionary_encode()
    refused("a text of 1000 bytes", time=[START_S, START_S + 1], energy_kwh=categories)
    parquet(path, time=[START_S, START_S + 1], energy_kwh=[1, 2])
    whole = path.read_bytes()
    for at in range(4, len(whole) - 4, 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with contextlib.suppress(MeterError):
            meter(path).read()
    path.write_bytes(whole[: len(whole) // 2])
    refused("cannot be read as Parquet")


@given(st.datetimes(datetime.datetime(2000, 1, 2), datetime.datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_a_time_is_read_as_it_was_written(moment, minutes):
    aware = moment.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=minutes)))
    whole = aware - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    wanted = whole // datetime.timedelta(microseconds=1) * 1000
    assert time_ns(aware.isoformat()) == wanted
    assert time_ns(f"{wanted // S}.{wanted % S:09d}") == wanted


@given(st.text(max_size=60) | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?([+-]\d\d:\d\d|Z)?", fullmatch=True))
def test_any_text_is_a_time_or_refused(text):
    with contextlib.suppress(MeterError):
        assert time_ns(text) >= 946_684_800 * S


def test_columns_are_three():
    with pytest.raises(ValidationError, match="three different columns"):
        Imported(path="x.csv", energy_column="time")
