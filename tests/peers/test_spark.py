"""Spark over compacted days: the page's views and questions, and every answer of the report's own SQL, to the last integer.

pyspark is 430 MB and needs Java, so no extra installs it; where either is missing this is skipped, in CI too.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reports.ledger.days import DayStorage, find_days
from reports.ledger.reading import days_in, read_priced, read_sums, windows_of
from reports.ledger.store import open_store, sql, statements
from reports.ledger.sums import CellRates
from reports.period import PeriodRequest
from tests.peers import spark_answers
from tests.reports.ledger import sql_days
from wattlens.report.inputs.org import load_organisation

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]
FILES = ("holder_day", "span_day", "workload_cell", "edge_cell", "edge_span", "edge_gap", "all_tokens", "all_steps", "all_gap",
         "all_action")  # fmt: skip
TABLES = ("file", "who", "gain", "price")


def test_spark_answers_as_duckdb_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("pyspark") is None or shutil.which("java") is None:
        pytest.skip("pyspark or Java is not installed (pip install pyspark; apt-get install default-jre-headless)")
    folder = sql_days.make(tmp_path, monkeypatch)
    job, expected = asked_of_duckdb(folder / "days")
    job |= {"python": sql_days.block("python"), "questions": sql_days.questions()}
    (folder / "job.json").write_text(json.dumps(job, default=str))
    command = [sys.executable, spark_answers.__file__, "job.json", "answers.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads((folder / "answers.json").read_text())
    for name, rows in expected.items():
        assert ordered(answers[name]) == ordered(rows), name
    assert sum(map(len, expected.values())) > 300
    teams = {(day, team): int(uj) for day, team, uj, _, _ in answers["energy_by_team"]}
    assert teams == sql_days.by_team(folder / "segments")
    energy, low, high = sql_days.total(folder / "segments")
    ((devices, total, at_least, at_most),) = answers["total_with_bounds"]
    assert (devices, int(total)) == (12, energy)
    assert abs(float(at_least) - low) <= 1e-12 * energy
    assert abs(float(at_most) - high) <= 1e-12 * energy


def asked_of_duckdb(days_folder: Path) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the input for Spark, and DuckDB's results; the period cuts a day at each end."""
    system = DayStorage(str(days_folder))
    days = find_days(system)
    asked = PeriodRequest(None, "2026-03-31T18:00", "2026-04-02T12:00")
    organisation = load_organisation(
        sql_days.ROOT / "deploy/examples/report/org.yaml", days[0].start_ns, days[-1].end_ns, days[-1].end_ns
    )
    windows = windows_of(days, organisation, asked)
    used = days_in(days, windows)
    cell = 900 * 10**9
    worth = {
        site: CellRates({t: 300 + t // cell % 97 for t in range(w.start_ns, w.end_ns, cell)}, 7,
                    dict.fromkeys(range(w.start_ns, w.end_ns, 2 * cell), 11), 1)
        for site, w in windows.items()
    }  # fmt: skip
    with open_store(system, used, windows) as store:
        sums = read_sums(store, used, organisation, asked)
        read_priced(store, worth, sums)
        asks = {"parts": sql("parts"), "devices": sql("devices"), **statements("rest")}
        answers = {name: [list(row) for row in store.rows(text)] for name, text in asks.items()}
        job: dict[str, Any] = {"report": {name: text.rstrip().rstrip(";") for name, text in asks.items()}}
        job["tables"] = {name: [*shape(store, name), [list(r) for r in store.rows(f"SELECT * FROM {name}")]] for name in TABLES}
        job["files"] = {
            name: [*shape(store, name), [p for (p,) in store.rows(f"SELECT DISTINCT filename FROM {name}")]] for name in FILES
        }
    views = ";\n".join(sql(name) for name in ("within", "by_day", "pieces", "used", "classed", "cells"))
    job["views"] = [text for text in re.split(r";\s*\n", views) if "SELECT" in text]
    return job, json.loads(json.dumps(answers, default=str))


def shape(store: Any, name: str) -> tuple[list[str], list[str]]:
    """Columns of a table or view, and their types."""
    columns = store.rows(f"DESCRIBE {name}")
    return [row[0] for row in columns], [row[1] for row in columns]


def ordered(rows: list[Any]) -> list[Any]:
    """Rows as text in one order: engines order alike but for ties."""
    return sorted([["" if value is None else str(value) for value in row] for row in rows])
