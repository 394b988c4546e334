"""Scale of `wattlens usage`: a quarter of 10,000 GPUs from compacted days, by team, workload and GPU, within 60 s and 2 GiB.

`python -m benchmarks fleet_scale [--copies 714]` writes and compacts the sample report's fleet of 14 GPUs, then the days of its
quarter as many times as large: the nodes, GPUs, workloads and pods of each copy differ. Rows of cells and spans, which are not
read for whole UTC days, are left out. Each total must be that of the one fleet times the copies, to the microjoule.
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

from benchmarks import sample_report
from benchmarks.runner import Row, say
from benchmarks.running import cpu_s, of_family
from energy_agent.core.errors import UsageError

NAMES: Final = ("cluster", "node", "device", "workload")
UNREAD: Final = ("cell.parquet", "span.parquet")
FIRST, END = "2026-07-01", "2026-10-01"
SECONDS_MAX, PEAK_MAX_MIB = 60.0, 2048
_POLL_S: Final = 0.02


def multiply_days(days: Path, target: Path, copies: int) -> int:
    """Copy compacted days of a fleet `copies` times with different nodes, GPUs and workloads; return the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for path in sorted(days.glob("*/*/r0000/manifest.json")):
        manifest = json.loads(path.read_text())
        if not FIRST <= manifest["day"] < END:
            continue
        folder = target / manifest["site"] / manifest["day"] / "r0000"
        folder.mkdir(parents=True)
        files = {}
        for name in manifest["files"]:
            if name in UNREAD:
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


def measure(days: Path, by: str) -> tuple[Row, dict[str, Any]]:
    """Run the command as a user does: seconds, peak memory of its processes, and its output."""
    command = [sys.executable, "-m", "wattlens", "usage", str(days), "--from", FIRST, "--to", END, "--by", by, "--json"]
    with tempfile.TemporaryFile("w+") as output:
        began, used, resident_b = time.perf_counter(), [0.0], [0.0]
        with Popen(command, stdout=output, stderr=PIPE, text=True) as process:
            while process.poll() is None:
                used.append(of_family(cpu_s, process.pid))
                resident_b.append(of_family(_resident_b, process.pid))
                time.sleep(_POLL_S)
            assert process.stderr is not None
            errors = process.stderr.read()
        seconds, peak_mib = time.perf_counter() - began, max(resident_b) / 2**20
        if process.returncode:
            raise UsageError(f"wattlens usage ended with {process.returncode}: {errors.strip()}")
        output.seek(0)
        result: dict[str, Any] = json.load(output)
    ok = seconds <= SECONDS_MAX and peak_mib <= PEAK_MAX_MIB
    counts = {"by": by, "GPUs": result["gpus"], "rows": len(result["rows"])}
    return counts | {"s": seconds, "cpu_s": max(used), "peak_mib": peak_mib, "ok": ok}, result


def _resident_b(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(copies: int = 714) -> Iterator[Row]:
    """Usage of the copies by team, workload and GPU, on two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory(prefix="fleet-scale-") as scratch:
        folder, fleet = Path(scratch), Path(scratch) / "fleet"
        sample_report.prepare(folder)
        sample_report.compact(folder)
        rows = multiply_days(folder / "days", fleet, copies)
        say(f"{rows} rows of {copies} copies written")
        yield {"copies": copies, "rows read": rows, "parquet_b": sum(path.stat().st_size for path in fleet.rglob("*.parquet"))}
        _, one = measure(folder / "days", "team")
        for by in ("team", "workload", "gpu"):
            row, result = measure(fleet, by)
            summed, total = sum(int(each["energy_uj"]) for each in result["rows"]), int(result["total"]["energy_uj"])
            yield row | {"ok": row["ok"] and summed == total == copies * int(one["total"]["energy_uj"])}
