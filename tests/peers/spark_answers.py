"""Run by the Spark test in a process of its own: `spark_answers.py JOB.json ANSWERS.json`, in the folder that holds `days`.

The job has the Python of docs/report-sql.md, the example's questions, and the report's own SQL with its small tables and files.
"""

import json
import runpy
import sys
from decimal import Decimal
from pathlib import Path

KINDS = {"VARCHAR": "string", "BIGINT": "bigint", "INTEGER": "int", "HUGEINT": "decimal(38, 0)", "BOOLEAN": "boolean"}
SPELLED = {
    "CREATE OR REPLACE TABLE": "CREATE OR REPLACE TEMPORARY VIEW",
    "CREATE OR REPLACE VIEW": "CREATE OR REPLACE TEMPORARY VIEW",
    "HUGEINT": "DECIMAL(38, 0)",
    "//": "div",
}
"""The table of docs/report-sql.md."""


def spelled(text):
    for duckdb, spark in SPELLED.items():
        text = text.replace(duckdb, spark)
    return text


def plain(rows):
    return [[str(value) if isinstance(value, Decimal) else value for value in row] for row in rows]


def wide(column):
    return f"CAST({column} AS DECIMAL(38, 0)) AS {column}" if column.endswith("_uj") else column


def main(job, target):
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import col, regexp_replace

    job_spec = json.loads(Path(job).read_text())
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.shuffle.partitions", "2").config("spark.sql.warehouse.dir", "warehouse").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    Path("page.py").write_text(job_spec["python"])
    runpy.run_path("page.py")
    answers = {name: plain(spark.sql(text).collect()) for name, text in job_spec["questions"].items()}
    for name, (columns, kinds, rows) in job_spec["tables"].items():
        kinds = [KINDS[kind] for kind in kinds]
        typed = [
            [Decimal(v) if k.startswith("dec") and v is not None else v for v, k in zip(row, kinds, strict=True)]
            for row in rows
        ]
        schema = ", ".join(f"{column} {kind}" for column, kind in zip(columns, kinds, strict=True))
        spark.createDataFrame(typed, schema).createOrReplaceTempView(name)
    for name, (columns, kinds, paths) in job_spec["files"].items():
        if paths:
            path = regexp_replace(col("_metadata.file_path"), "^file:(//)?", "")
            rows = spark.read.parquet(*paths).withColumn("filename", path)
        else:
            rows = spark.createDataFrame([], ", ".join(f"{c} {KINDS[k]}" for c, k in zip(columns, kinds, strict=True)))
        rows.selectExpr(*map(wide, columns)).createOrReplaceTempView(name)
    for text in job_spec["views"]:
        spark.sql(spelled(text))
    for name in ("used", "spanned"):
        spark.table(name).cache()
    answers |= {name: plain(spark.sql(spelled(text)).collect()) for name, text in job_spec["report"].items()}
    Path(target).write_text(json.dumps(answers))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
