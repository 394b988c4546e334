"""Query engines: each answers as computed by hand, and gives the same report of a ledger, byte for byte.

WATTLENS_ENGINES names the Python of an environment with pyspark and DataFusion (tests/peers/environments.sh); they are added to
this environment's packages in child processes. Spark needs Java.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import engine_answers
from tests.reports.ledger import sql_days
from tests.support import need_environment, need_program

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]
BIG, WIDE = 2**62, 9 * 10**37
SPARK = "local-cluster[2,1,1024]"
EXPECTED = {
    "sum past 64 bits": [["total", "rows", "named"], [3 * BIG, 3, 2]],
    "sum of sums": [["s"], [3 * BIG + 1]],
    "by file": [["filename", "uj", "most"], ["a b+c%20'd.parquet", 2 * BIG + 5, BIG], ["é.parquet", BIG - 7, BIG]],
    "no rows": [["total", "rows"], [None, 0]],
    "order": [["name"], ["é"], ["a'\"b"], [None]],
    "best": [["name"], ["é"]],
    "windows": [["n", "before", "number"], [BIG, None, 1], [BIG, BIG, 2], [BIG, BIG, 3]],
    "mixed": [["n", "g", "c"], [3 * BIG + 1, 3 * BIG, 3 * BIG]],
    "text": [["t", "a"], ["a??", True], ["?", False]],
    "wide": [["wide", "more"], [WIDE, WIDE + 1]],
    "table of a query": [["m"], [3 * BIG]],
    "past 38 digits": "ChainError",
    "past 38 digits of 64": "ChainError",
    "parameters": [[1]],
    "apart": [[[1], [2]], [[1]], [[3]], [], [[2], [3]]],
    "replaced": [[1]],
    "absent": "ChainError",
}


def child(engine: str, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run Python with the packages of the engine."""
    environ = dict(os.environ, SPARK_LOCAL_IP="127.0.0.1", PYTHONPATH=str(sql_days.ROOT))
    if engine != "duckdb":
        python = need_environment("WATTLENS_ENGINES", "a Python with pyspark and datafusion")
        paths = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.run([python, "-c", paths], capture_output=True, text=True, check=True).stdout.strip()
        environ["PYTHONPATH"] += os.pathsep + packages
    if engine == SPARK:
        need_program("java")
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("engine", ["duckdb", "datafusion", SPARK])
def test_an_engine_answers_as_computed_by_hand(tmp_path: Path, engine: str) -> None:
    done = child(engine, sql_days.ROOT, engine_answers.__file__, engine, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    for row in answers["by file"][1:]:
        row[0] = str(Path(row[0]).relative_to(tmp_path))
    assert answers == EXPECTED


def test_every_engine_gives_the_same_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sql_days.make(tmp_path, monkeypatch)
    org = sql_days.ROOT / "deploy/examples/report/org.yaml"
    period = ("--from", "2026-03-31T18:00", "--to", "2026-04-02T12:00", "--accept-coverage", "0.1", "--as-of", "2026-04-05")
    facts = {}
    for engine in ("duckdb", "datafusion", SPARK):
        out = tmp_path / engine
        words = ("report", "--ledger", folder / "days", "--org", org, *period, "--formats", "csv", "--out", out)
        done = child(engine, tmp_path, "-m", "wattlens", *words, "--engine", engine)
        assert done.returncode == 0, done.stderr[-3000:]
        facts[engine] = (out / "facts.json").read_bytes()
    assert len(set(facts.values())) == 1
    assert len(json.loads(facts["duckdb"])["figures"]) > 50


def test_the_page_on_sql_is_right_for_spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sql_days.make(tmp_path, monkeypatch)
    shutil.copy(Path(__file__).with_name("spark_page.py"), folder)
    (folder / "page.py").write_text(sql_days.block("python"))
    (folder / "questions.json").write_text(json.dumps(sql_days.questions()))
    done = child(SPARK, folder, "spark_page.py")
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    teams = {(day, team): int(uj) for day, team, uj, _, _ in answers["energy_by_team"]}
    assert teams == sql_days.by_team(folder / "segments")
    energy, low, high = sql_days.total(folder / "segments")
    ((devices, total, at_least, at_most),) = answers["total_with_bounds"]
    assert (devices, int(total)) == (12, energy)
    assert abs(float(at_least) - low) <= 1e-12 * energy
    assert abs(float(at_most) - high) <= 1e-12 * energy
