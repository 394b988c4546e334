"""Tables out of files: Zeus's two forms, ours, and what is wrong with a file in one line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.replay.table_files import load
from dvfs.sweep import profile
from dvfs.tables import SettingRow, SettingTable
from energy_agent.core.errors import UsageError

ZEUS = Path(__file__).parents[3] / "benchmarks/data/zeus"


def test_zeus_summaries_are_read_whole() -> None:
    """Counts and one row as they stand in the published file."""
    tables = {table.name: table for table in load(ZEUS / "summary_power_v100.csv")}
    assert len(tables) == 68
    assert sum(len(t.rows) for t in tables.values()) == 476
    rows = tables["cifar100 shufflenetv2 1024 adadelta"].rows
    assert rows[0] == SettingRow(100.0, 11.276666666666666, 86.86460850784009)
    assert [r.setting for r in rows] == [100, 125, 150, 175, 200, 225, 250]


def test_zeus_profiler_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "A40+x.csv"
    path.write_text(
        "start_time,window_name,elapsed_time,gpu0_energy,gpu1_energy\n1,__Optimizer_300,10,2000,1000\n2,__Optimizer_275,11,1900,1000\n"
    )
    (table,) = load(path)
    assert (table.name, table.knob) == ("A40+x", "power_limit_w")
    assert table.rows == (SettingRow(275.0, 11.0, 2900 / 11), SettingRow(300.0, 10.0, 300.0))


def test_a_profile_has_a_table_of_each_knob(tmp_path: Path) -> None:
    def point(clock: int | None, limit: float | None, time_s: float, power_w: float) -> profile.SettingEstimate:
        return profile.SettingEstimate(
            clock, limit, 5, time_s, time_s, time_s, power_w, power_w, power_w, 60.0, ("sw_power_cap",)
        )

    sweep_profile = profile.SweepProfile(
        "job", "NVIDIA A100", "570", True, "steps", 1410, 400.0, 2,
        (point(None, None, 1.0, 390.0), point(1200, None, 1.1, 300.0), point(None, 250.0, 1.2, 250.0),
         point(1200, 250.0, 1.3, 240.0)),
    )  # fmt: skip
    path = tmp_path / "p.json"
    path.write_text(profile.dump(sweep_profile))
    assert profile.load(path) == sweep_profile
    clock, limit = load(path)
    assert clock.rows == (SettingRow(1200.0, 1.1, 300.0), SettingRow(1410.0, 1.0, 390.0))
    assert limit.rows == (SettingRow(250.0, 1.2, 250.0), SettingRow(400.0, 1.0, 390.0))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "expected one of the columns power_limit"),
        ("power_limit,x\n1,2\n", "needs a time"),
        ("power_limit,time,power\n100,1,2\n", "expected a workload with two or more settings"),
        ("power_limit,time,power\n100,1,2\n100,1,3\n", ":3: duplicate power_limit 100"),
        ("power_limit,time,power\n100,-1,2\n", ":2: time: expected a number from 1e-09 to 1e.12, got '-1'"),
        ("power_limit,time,power\n100,1\n", ":2: power: expected a number from 1e-09 to 1e.12, got None"),
        ("power_limit,time,power\nnan,1,2\n", ":2: power_limit: expected a number from"),
        ("window_name,elapsed_time,gpu0_energy\nfoo,1,2\n", ":2: expected a window_name that ends in _LIMIT"),
        ('{"schema": 2}', "workload"),
        ("{", "p.csv: "),
        ("\xff", "expected one of the columns"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=says) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read: No such file"):
        load(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00power")
    with pytest.raises(UsageError, match="expected a profile or a CSV file"):
        load(tmp_path / "b.csv")


ROWS = st.lists(st.tuples(st.floats(0.1, 10), st.floats(10, 500)), min_size=2, max_size=9).map(
    lambda pairs: SettingTable("x", "power_limit_w", tuple(SettingRow(float(i), t, p) for i, (t, p) in enumerate(pairs)))
)


@given(ROWS)
def test_isotonic_is_monotone_keeps_the_default_and_what_was_monotone(table: SettingTable) -> None:
    isotonic_table = table.isotonic()
    assert isotonic_table.default == table.default
    assert [r.time_s for r in isotonic_table.rows] == sorted((r.time_s for r in isotonic_table.rows), reverse=True)
    assert [r.power_w for r in isotonic_table.rows] == sorted(r.power_w for r in isotonic_table.rows)
    assert isotonic_table.isotonic() == isotonic_table


@given(ROWS, st.floats(0.01, 1))
def test_best_is_within_the_slowdown_and_nothing_within_it_is_cheaper(table: SettingTable, slowdown: float) -> None:
    best = table.best(slowdown)
    assert best.time_s <= table.default.time_s * (1 + slowdown) * 1.000001
    for row in table.rows:
        if row.time_s <= table.default.time_s * (1 + slowdown):
            assert best.time_s * best.power_w <= row.time_s * row.power_w
