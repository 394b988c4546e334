"""Scale of `wattlens usage` and `wattlens report`: a quarter of 10,000 GPUs from compacted days, within 60 s and 2 GiB.

`python -m benchmarks fleet_scale [--copies 714]` writes and compacts the sample report's fleet of 14 GPUs, then the days of its
quarter as many times as large: the nodes, GPUs, workloads and pods of each copy differ. Rows of cells and spans are copied for
days at the ends of the quarter alone; others are not read. Each total must be that of the one fleet times the copies, to the
microjoule.
"""

import csv
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Final

from benchmarks import sample_report
from benchmarks.runner import Row, say
from benchmarks.running import cpu_s, of_family
from energy_agent.core.errors import UsageError

NAMES: Final = ("cluster", "node", "device", "workload")
CELLS: Final = ("cell.parquet", "span.parquet")
FIRST, LAST = "2026-06-30", "2026-09-30"
"""The quarter's UTC days; local midnights of the sites part these two."""
PERIOD: Final = ("--from", "2026-07-01", "--to", "2026-10-01")
SECONDS_MAX, PEAK_MAX_MIB = 60.0, 2048
_POLL_S: Final = 0.02


def multiply_days(days: Path, target: Path, copies: int) -> int:
    """Copy compacted days of a fleet `copies` times with different nodes, GPUs and workloads; return the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for path in sorted(days.glob("*/*/r0000/manifest.json")):
        manifest = json.loads(path.read_text())
        if not FIRST <= manifest["day"] <= LAST:
            continue
        folder = target / manifest["site"] / manifest["day"] / "r0000"
        folder.mkdir(parents=True)
        files = {}
        for name in manifest["files"]:
            if name in CELLS and FIRST < manifest["day"] < LAST:
                continue
            table = pq.read_table(path.parent / name)
            table = pa.concat_tables(_renamed(table, f"-{number:04d}") for number in range(copies))
            pq.write_table(table, folder / name, compression="zstd")
            files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            rows += table.num_rows
        changed = manifest | {"files": files, "inputs": manifest["inputs"] * copies}
        (folder / "manifest.json").write_text(json.dumps(changed))
    return rows


def _renamed(table: Any, suffix: str) -> Any:
    import pyarrow.compute as pc

    for place, column in enumerate(table.schema.names):
        values = table.column(column)
        if column in NAMES:
            values = pc.if_else(pc.not_equal(values, ""), pc.binary_join_element_wise(values, suffix, ""), values)
        elif column == "labels":
            values = pc.replace_substring_regex(values, '"pod":"([^"]*)"', f'"pod":"\\1{suffix}"')
        table = table.set_column(place, table.schema.field(place), values)
    return table


def multiply_inventory(path: Path, copies: int) -> None:
    """Name the GPUs of each copy in the inventory."""
    with path.open(newline="") as file:
        first, *rows = csv.reader(file)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(first)
        for number in range(copies):
            writer.writerows([*(f"{value}-{number:04d}" for value in row[:3]), *row[3:]] for row in rows)


def measure(*words: object) -> tuple[Row, str]:
    """Run a command as a user does: seconds and peak memory of its processes, and its output."""
    command = [sys.executable, "-m", "wattlens", *map(str, words)]
    with tempfile.TemporaryFile("w+") as output:
        began, used, held = time.perf_counter(), [0.0], [0.0]
        with Popen(command, stdout=output, stderr=PIPE, text=True) as process:
            while process.poll() is None:
                used.append(of_family(cpu_s, process.pid))
                held.append(of_family(_resident_b, process.pid))
                time.sleep(_POLL_S)
            assert process.stderr is not None
            errors = process.stderr.read()
        seconds, peak_mib = time.perf_counter() - began, max(held) / 2**20
        if process.returncode:
            raise UsageError(f"wattlens {words[0]} ended with {process.returncode}: {errors.strip()}")
        output.seek(0)
        text = output.read()
    ok = seconds <= SECONDS_MAX and peak_mib <= PEAK_MAX_MIB
    return {"s": seconds, "cpu_s": max(used), "peak_mib": peak_mib, "ok": ok}, text


def _resident_b(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _usage(days: Path, by: str) -> tuple[Row, Row]:
    row, text = measure("usage", days, *PERIOD, "--by", by, "--json")
    return row, json.loads(text)


def _report(days: Path, inputs: Path, out: Path) -> tuple[Row, Fraction]:
    words = ("--quarter", sample_report.QUARTER, "--org", inputs / "org.yaml", "--as-of", sample_report.AS_OF, "--out", out)
    row, _ = measure("report", "--ledger", days, *words)
    figures = json.loads((out / "facts.json").read_text())["figures"]
    return row, next(Fraction(figure["value"]) for figure in figures if figure["id"] == "energy.gpu")


def run(copies: int = 714) -> Iterator[Row]:
    """Usage by team, workload and GPU, and a report, on two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory(prefix="fleet-scale-") as scratch:
        folder = Path(scratch)
        inputs, fleet = folder / "inputs", folder / "fleet"
        sample_report.prepare(folder)
        sample_report.compact(folder)
        rows = multiply_days(folder / "days", fleet, copies)
        say(f"{rows} rows of {copies} copies written")
        yield {"copies": copies, "rows read": rows, "parquet_b": sum(path.stat().st_size for path in fleet.rglob("*.parquet"))}
        _, small = _usage(folder / "days", "team")
        for by in ("team", "workload", "gpu"):
            row, result = _usage(fleet, by)
            summed, total = sum(int(each["energy_uj"]) for each in result["rows"]), int(result["total"]["energy_uj"])
            exact = summed == total == copies * int(small["total"]["energy_uj"])
            yield {"by": by, "GPUs": result["gpus"], "rows": len(result["rows"]), **row, "ok": row["ok"] and exact}
        _, one_j = _report(folder / "days", inputs, folder / "one")
        multiply_inventory(inputs / "inventory.csv", copies)
        row, energy_j = _report(fleet, inputs, folder / "all")
        yield {"report of": "the quarter", **row, "ok": row["ok"] and energy_j == copies * one_j}
