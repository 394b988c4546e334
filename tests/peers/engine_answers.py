"""Run by test_engines.py in a process of its own: `engine_answers.py ENGINE FOLDER` prints what an engine answers, as JSON.

A value that is not an integer, text, true, false or None is printed with its type, so that it equals no expectation.
"""

import json
import sys
from pathlib import Path

import pyarrow
from pyarrow import parquet

from energy_agent.core.errors import WattlensError
from energy_agent.query.engine import open_engine
from energy_agent.query.port import EngineOptions

BIG = 2**62
WIDE = 9 * 10**37
FILES = {"a b+c%20'd.parquet": [BIG, BIG, 5], "é.parquet": [BIG, -7, None]}
QUESTIONS = {
    "sum past 64 bits": "SELECT sum(n) AS total, count(*) AS rows, count(name) AS named FROM big",
    "sum of sums": "SELECT sum(s) AS s FROM (SELECT name, sum(n) AS s FROM big GROUP BY name UNION ALL SELECT 'x', 1) AS u",
    "by file": "SELECT filename, sum(uj) AS uj, max(uj) AS most FROM source GROUP BY filename ORDER BY filename",
    "no rows": "SELECT sum(n) AS total, count(*) AS rows FROM nothing",
    "order": "SELECT name FROM big ORDER BY name DESC",
    "best": "SELECT arg_max(name, place) AS name FROM big",
    "windows": "SELECT n, lag(n) OVER w AS before, row_number() OVER w AS number FROM big"
    " WINDOW w AS (ORDER BY place) ORDER BY place",
    "mixed": "SELECT coalesce(sum(n), 0) + 1 AS n, greatest(sum(n), 3) AS g,"
    " CASE WHEN sum(n) > 5 THEN sum(n) ELSE 0 END AS c FROM big",
    "text": "SELECT regexp_replace(left(name, 3), '[^a-z]', '?', 'g') AS t, name LIKE 'a%' AS a FROM big"
    " WHERE name IS NOT NULL ORDER BY place",
    "wide": "SELECT wide, wide + 1 AS more FROM big WHERE place = 1",
    "table of a query": "CREATE OR REPLACE TABLE made AS SELECT n AS m FROM big;"
    " CREATE OR REPLACE VIEW read_made AS SELECT m FROM made; SELECT sum(m) AS m FROM read_made",
    "past 38 digits": "SELECT sum(wide) AS wide FROM wides",
    "past 38 digits of 64": "SELECT sum(wide * 10) AS wide FROM big",
}  # fmt: skip


def plain(value):
    return value if value is None or type(value) in (int, str, bool) else f"{type(value).__name__} {value}"


def main(address, folder):
    for name, values in FILES.items():
        parquet.write_table(
            pyarrow.table({"uj": pyarrow.array(values, pyarrow.int64()), "more": ["x"] * 3}), Path(folder) / name
        )
    answers = {}
    with open_engine(EngineOptions(2, 1000, address)) as engine:
        columns = {"place": "INTEGER", "n": "BIGINT", "name": "VARCHAR", "wide": "HUGEINT"}
        engine.make_table("big", columns, [(1, BIG, "a'\"b", WIDE), (2, BIG, "é", 1), (3, BIG, None, None)])
        engine.make_table("nothing", columns, ())
        engine.make_table("wides", {"wide": "HUGEINT"}, [(WIDE,)] * 20)
        source = engine.parquet([str(Path(folder) / name) for name in FILES], ["uj"])
        engine.execute(f"CREATE OR REPLACE VIEW source AS SELECT uj, filename FROM {source}")
        for name, question in QUESTIONS.items():
            try:
                with engine.named_failures():
                    answer = engine.execute(question)
                    names = [column[0] for column in answer.description]
                    answers[name] = [names, *([plain(value) for value in row] for row in answer.fetchall())]
            except WattlensError as error:
                answers[name] = type(error).__name__
        with engine.named_failures():
            terms = engine.execute("SELECT place FROM big WHERE name = ? AND n = ?", ["a'\"b", BIG])
            answers["parameters"] = terms.fetchall()
            first, second = (engine.execute("SELECT place FROM big ORDER BY place", apart=apart) for apart in (True, False))
            answers["apart"] = [
                first.fetchmany(2),
                second.fetchmany(1),
                first.fetchmany(2),
                first.fetchmany(2),
                second.fetchall(),
            ]
            engine.make_table("big", {"n": "BIGINT"}, [(1,)])
            answers["replaced"] = engine.execute("SELECT n FROM big").fetchall()
        try:
            with engine.named_failures():
                engine.parquet([str(Path(folder) / "absent.parquet")], ["uj"])
                engine.execute("SELECT * FROM absent").fetchall()
        except WattlensError as error:
            answers["absent"] = type(error).__name__
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
