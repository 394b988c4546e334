"""Scale of `wattlens usage`: a fleet quarter of 10,000 GPUs, by team, workload and GPU, within 60 s and 2 GiB.

`python -m benchmarks usage_scale` generates and compacts a tenth of the fleet as `report_scale` does, and writes its days
ten times as large, each copy with different nodes, GPUs and workloads. `--ledger` names such days of a tenth. A copy has the
tables that are read for a period of whole UTC days; it omits rows of cells and spans, which are not read.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Final

from benchmarks import report_ledger
from benchmarks.report_fleet import UTC_DAYS, SyntheticFleet
from benchmarks.report_scale import PEAK_MAX_MIB, SECONDS_MAX, resident_b
from benchmarks.runner import Row, say
from benchmarks.running import cpu_s, of_family
from energy_agent.core.errors import UsageError

NAMES: Final = ("cluster", "node", "device", "workload")
UNREAD: Final = ("cell.parquet", "span.parquet")
PERIOD: Final = ("--from", "2025-10-01", "--to", "2026-01-01")
_POLL_S: Final = 0.02


def multiply_days(days: Path, target: Path, copies: int) -> int:
    """Copy compacted days of a fleet `copies` times with different nodes, GPUs and workloads; return the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for manifest in sorted(days.glob("*/*/r0000/manifest.json")):
        said = json.loads(manifest.read_text())
        folder = target / said["site"] / said["day"] / "r0000"
        folder.mkdir(parents=True)
        files = {}
        for name in said["files"]:
            if name in UNREAD:
                continue
            table = pq.read_table(manifest.parent / name)
            table = pa.concat_tables(_renamed(table, f"-{number:02d}") for number in range(copies))
            pq.write_table(table, folder / name, compression="zstd")
            files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            rows += table.num_rows
        changed = said | {"files": files, "inputs": said["inputs"] * copies}
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


def measure(days: Path, by: str) -> tuple[Row, dict[str, Any]]:
    """Run the command as a user does: seconds, peak memory of its processes, and its output."""
    command = [sys.executable, "-m", "wattlens", "usage", str(days), *PERIOD, "--by", by, "--json"]
    with tempfile.TemporaryFile("w+") as output:
        began, used, held = time.perf_counter(), [0.0], [0.0]
        with Popen(command, stdout=output, stderr=PIPE, text=True) as process:
            while process.poll() is None:
                used.append(of_family(cpu_s, process.pid))
                held.append(of_family(resident_b, process.pid))
                time.sleep(_POLL_S)
            assert process.stderr is not None
            errors = process.stderr.read()
        seconds, peak_mib = time.perf_counter() - began, max(held) / 2**20
        if process.returncode:
            raise UsageError(f"wattlens usage ended with {process.returncode}: {errors.strip()}")
        output.seek(0)
        result: dict[str, Any] = json.load(output)
    row: Row = {
        "by": by,
        "GPUs": result["gpus"],
        "rows": len(result["rows"]),
        "s": seconds,
        "cpu_s": max(used),
        "peak_mib": peak_mib,
        "ok": seconds <= SECONDS_MAX and peak_mib <= PEAK_MAX_MIB,
    }
    return row, result


def run(ledger: str = "", nodes: int = 125, copies: int = 10, days: int = UTC_DAYS, jobs: int = 2) -> Iterator[Row]:
    """A tenth of the fleet, then all of it."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory(prefix="usage-scale-") as scratch:
        part = Path(ledger) if ledger else report_ledger.make(SyntheticFleet(nodes), Path(scratch) / "part", days, jobs).folder
        fleet = Path(scratch) / "fleet"
        rows = multiply_days(part, fleet, copies)
        say(f"{rows} rows of {copies} copies written")
        yield {"copies": copies, "rows read": rows, "parquet_b": sum(p.stat().st_size for p in fleet.rglob("*.parquet"))}
        _, small = measure(part, "team")
        totals = set()
        for by in ("team", "workload", "gpu"):
            row, result = measure(fleet, by)
            summed = sum(int(each["energy_uj"]) for each in result["rows"])
            totals.add(result["total"]["energy_uj"])
            exact = summed == int(result["total"]["energy_uj"]) == copies * int(small["total"]["energy_uj"])
            yield row | {"exact": exact, "ok": row["ok"] and exact and len(totals) == 1}
