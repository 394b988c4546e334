"""Scale of `wattlens usage` and `wattlens report`: a quarter of 10,000 GPUs from compacted days.

`python -m benchmarks fleet_scale [--copies 714]` writes and compacts the sample report's fleet of 14 GPUs, then the days of its
quarter as many times as large: the nodes, GPUs, workloads and pods of each copy differ, and a building's meters count as much
more. Rows of cells and spans are written only where a report reads them: of the days that a site's quarter cuts. Each total of
usage must be that of the one fleet times the copies, to the microjoule.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Final

from benchmarks import sample_report
from benchmarks.runner import Row, say
from benchmarks.running import of_family
from energy_agent.core.errors import UsageError

NAMES: Final = ("cluster", "node", "device", "workload")
EDGES: Final = ("cell.parquet", "span.parquet")
METERED: Final = ("energy_uj", "edge_first_uj", "edge_inner_uj", "edge_last_uj", "gap_bound_uj", "bound_uj")
"""Amounts of a building's meters, which grow with the fleet."""
BEFORE, FIRST, LAST, END = "2026-06-30", "2026-07-01", "2026-09-30", "2026-10-01"
SECONDS_MAX, PEAK_MAX_MIB = 25.0, 1024
_POLL_S: Final = 0.02


def multiply_days(days: Path, target: Path, copies: int) -> int:
    """Copy compacted days of a fleet `copies` times with different nodes, GPUs and workloads; return the number of rows."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = 0
    for path in sorted(days.glob("*/*/r0000/manifest.json")):
        manifest = json.loads(path.read_text())
        if not BEFORE <= manifest["day"] < END:
            continue
        folder = target / manifest["site"] / manifest["day"] / "r0000"
        folder.mkdir(parents=True)
        files = {}
        for name in manifest["files"]:
            if name in EDGES and manifest["day"] not in (BEFORE, LAST):
                continue
            table = pq.read_table(path.parent / name)
            of_meters = pc.equal(table.column("node"), manifest["site"])
            nodes = table.filter(pc.invert(of_meters))
            tables = [_renamed(nodes, f"-{number:04d}") for number in range(copies)]
            table = pa.concat_tables([*tables, _scaled(table.filter(of_meters), copies)])
            pq.write_table(table, folder / name, compression="zstd", row_group_size=131_072)
            files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            rows += table.num_rows
        changed = manifest | {"files": files, "inputs": manifest["inputs"] * copies}
        (folder / "manifest.json").write_text(json.dumps(changed))
    return rows


def multiply_inputs(inputs: Path, target: Path, copies: int) -> None:
    """Copy the report's inputs, with the inventory of a multiplied fleet."""
    shutil.copytree(inputs, target)
    header, *lines = (inputs / "inventory.csv").read_text().splitlines()
    with (target / "inventory.csv").open("w") as file:
        print(header, file=file)
        for number in range(copies):
            for cluster, node, uuid, rest in (line.split(",", 3) for line in lines):
                print(*(f"{name}-{number:04d}" for name in (cluster, node, uuid)), rest, sep=",", file=file)


def _scaled(table: Any, factor: int) -> Any:
    import pyarrow.compute as pc

    for place, column in enumerate(table.schema.names):
        if column in METERED:
            table = table.set_column(place, table.schema.field(place), pc.multiply_checked(table.column(column), factor))
    return table


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


def measure(*words: object) -> tuple[Row, dict[str, Any]]:
    """Run a command as a user does: seconds, CPU seconds and peak memory of its processes, and its JSON output."""
    with tempfile.TemporaryFile("w+") as output:
        began, resident_b = time.perf_counter(), [0.0]
        before = os.times()
        with Popen(
            [sys.executable, "-m", "wattlens", *map(str, words), "--json"], stdout=output, stderr=PIPE, text=True
        ) as process:
            while process.poll() is None:
                resident_b.append(of_family(_resident_b, process.pid))
                time.sleep(_POLL_S)
            assert process.stderr is not None
            errors = process.stderr.read()
        seconds, peak_mib, after = time.perf_counter() - began, max(resident_b) / 2**20, os.times()
        if process.returncode:
            raise UsageError(f"wattlens {words[0]} ended with {process.returncode}: {errors.strip()}")
        output.seek(0)
        result: dict[str, Any] = json.load(output)
    used_s = after.children_user - before.children_user + after.children_system - before.children_system
    ok = seconds <= SECONDS_MAX and peak_mib <= PEAK_MAX_MIB
    return {"command": words[0], "s": seconds, "cpu_s": used_s, "peak_mib": peak_mib, "ok": ok}, result


def usage(days: Path, by: str) -> tuple[Row, dict[str, Any]]:
    """Usage of the quarter by one label."""
    row, result = measure("usage", days, "--from", FIRST, "--to", END, "--by", by)
    return row | {"by": by, "GPUs": result["gpus"], "rows": len(result["rows"])}, result


def _resident_b(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(copies: int = 714, formats: str = "html,pdf,xlsx,csv,emissions") -> Iterator[Row]:
    """Report of the copies, and their usage by team, workload and GPU, on two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory(prefix="fleet-scale-") as scratch:
        folder, fleet = Path(scratch), Path(scratch) / "fleet"
        sample_report.prepare(folder)
        sample_report.compact(folder)
        rows = multiply_days(folder / "days", fleet, copies)
        multiply_inputs(folder / "inputs", folder / "fleet-inputs", copies)
        say(f"{rows} rows of {copies} copies written")
        yield {"copies": copies, "rows read": rows, "parquet_b": sum(path.stat().st_size for path in fleet.rglob("*.parquet"))}
        options = ("--quarter", sample_report.QUARTER, "--as-of", sample_report.AS_OF, "--out", folder / "report")
        yield measure("report", "--ledger", fleet, "--org", folder / "fleet-inputs/org.yaml", *options, "--formats", formats)[0]
        _, one = usage(folder / "days", "team")
        for by in ("team", "workload", "gpu"):
            row, result = usage(fleet, by)
            summed, total = sum(int(each["energy_uj"]) for each in result["rows"]), int(result["total"]["energy_uj"])
            yield row | {"ok": row["ok"] and summed == total == copies * int(one["total"]["energy_uj"])}
