"""Run by test_engines.py in a process of its own: the Python of docs/report-sql.md, then the example's questions."""

import json
import runpy
from decimal import Decimal
from pathlib import Path

from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
runpy.run_path("page.py")
answers = {}
for name, text in json.loads(Path("questions.json").read_text()).items():
    rows = spark.sql(text).collect()
    answers[name] = [[str(value) if isinstance(value, Decimal) else value for value in row] for row in rows]
print(json.dumps(answers))
