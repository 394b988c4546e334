"""Questions of docs/report-sql.md, asked of DuckDB by the page's own views; and the grammar of all SQL in every dialect."""

from pathlib import Path

import pytest

from energy_agent.query.translation import DATAFUSION, SPARK, translate
from reports.ledger.store import sql
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


@pytest.mark.parametrize("dialect", [SPARK, DATAFUSION, "trino"])
def test_the_reports_sql_can_be_written_for_every_engine(dialect: str) -> None:
    need_module("sqlglot")
    import sqlglot

    for name in OWN:
        for statement in translate(sql(name), dialect, ["parameter"] * 20):
            (tree,) = sqlglot.parse(statement.query, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
            assert "Command" not in {type(node).__name__ for node in tree.walk()}, name
            sums = [node.this for node in tree.walk() if isinstance(node, sqlglot.expressions.Sum)]
            assert all(isinstance(each, sqlglot.expressions.Cast) for each in sums), name
