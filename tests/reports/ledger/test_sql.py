"""Questions of docs/report-sql.md, asked of DuckDB by the page's own views; and the grammar of all SQL in three dialects."""

from pathlib import Path

import pytest

from reports.ledger.store import sql
from tests.peers.spark_answers import SPELLED, spelled
from tests.reports.ledger import sql_days
from tests.support import need_module

OWN = (
    "within", "by_day", "pieces", "used", "classed", "cells", "parts", "devices", "rest", "proof", "saved", "job", "job_used",
    "job_rest",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sql_days.make(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_questions_are_answered_to_the_microjoule(folder: Path) -> None:
    import duckdb

    db = duckdb.connect()
    db.execute(sql_days.block("sql"))
    asked = sql_days.questions()
    teams = {
        (day, team): (int(uj), int(active), hours)
        for day, team, uj, active, hours in db.sql(asked["energy_by_team"]).fetchall()
    }
    assert {key: uj for key, (uj, _, _) in teams.items()} == sql_days.by_team(folder / "segments")
    assert len(teams) == 3 * 4
    assert {round(hours, 9) for (_, team), (_, _, hours) in teams.items() if team == "assistants"} == {
        72.0
    }  # three GPUs, all day
    ((devices, energy, low, high),) = db.sql(asked["total_with_bounds"]).fetchall()
    expected, at_least, at_most = sql_days.total(folder / "segments")
    assert (devices, int(energy)) == (12, expected)
    assert abs(low - at_least) <= 1e-12 * expected
    assert abs(high - at_most) <= 1e-12 * expected
    assert at_least < expected < at_most


@pytest.mark.parametrize("dialect", ["duckdb", "spark", "trino"])
def test_the_questions_are_sql_of_every_engine(dialect: str) -> None:
    need_module("sqlglot")
    import sqlglot

    for text in sql_days.questions().values():
        (statement,) = sqlglot.parse(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
        assert statement is not None
        assert "Command" not in {type(node).__name__ for node in statement.walk()}


def test_the_reports_sql_is_plain() -> None:
    """Nothing that Spark would spell in another way than the page says."""
    need_module("sqlglot")
    import sqlglot

    text = {name: sql(name) for name in OWN}
    page = (sql_days.ROOT / "docs/report-sql.md").read_text()
    for duckdb, spark in SPELLED.items():
        assert f"`{duckdb}" in page or f"`a {duckdb} b`" in page
        assert spark in page
        assert any(duckdb in each for each in text.values()), f"{duckdb} is spelled nowhere; take it out of the page"
    for name, each in text.items():
        assert sqlglot.parse(each, read="duckdb", error_level=sqlglot.ErrorLevel.RAISE)
        assert sqlglot.parse(spelled(each), read="spark", error_level=sqlglot.ErrorLevel.RAISE), name
        for word in ("arg_max", "::", "QUALIFY", "FILTER (", "OVER (pieces"):
            assert word not in each, f"{name}: {word} is not plain"
