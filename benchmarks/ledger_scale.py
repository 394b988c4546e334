"""Scale of the ledger: days of a fleet's segments, written by the real segment writer, then read, compacted and summed.

`python -m benchmarks.ledger_scale --nodes 1250 --gpus 8 --days 2 --jobs 2` prints time, time a row and peak memory of reading
(every check, nothing written) and of compaction, and checks the sums, of rows and of day sums, against what was booked. Then
DuckDB sums the days so many times that the total is far beyond int64.
"""

import argparse
import json
import random
import resource
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.chain import Chain
from energy_agent.core.energy import Entry, Identity, Method, State, Tokens, WorkloadFacts
from energy_agent.ledger import chain
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from energy_agent.ledger.fleet.day_sums import DAY_COLUMNS
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts

T0 = 1_767_225_600_000_000_000  # 2026-01-01T00:00Z
CELL = 900_000_000_000


def write_node(job: tuple[Path, int, int, int, int]) -> int:
    """Write one node's day; returns its energy in uJ."""
    folder, node, gpus, hours, watts = job
    rng = random.Random(node)
    identity = Identity("fleet", f"node-{node:05d}", "boot", "0.1.0", True)
    devices = [DeviceFacts(f"GPU-{node:05d}-{g}", "H100", 0.05, T0) for g in range(gpus)]
    facts = [WorkloadFacts(f"pod-{node}-{k}", T0, "pod", {"namespace": "ns", "team": "red"}) for k in range(2)]
    chained, total = Chain(folder, identity), 0
    for hour in range(hours):
        entries, tokens = [], []
        for quarter in range(4):
            start = T0 + (hour * 4 + quarter) * CELL
            middle = start + CELL * 2 // 3
            for g, device in enumerate(devices):
                for a, b, state in ((start, middle, State.ACTIVE), (middle, start + CELL, State.IDLE)):
                    energy = watts * (b - a) // 1_000 - rng.randrange(10**9)
                    total += energy
                    pod = facts[g % 2].workload
                    entries.append(Entry(a, b, device.uuid, pod, state, Method.COUNTER, energy, 10**7, b - a))
            tokens.append(Tokens(start, start + CELL, facts[0].workload, "llama", "generation", rng.randrange(10**6)))
        chained.add(Batch(entries, tokens=tokens, facts=facts, devices=devices))
    return total


def main(argv: list[str] | None = None) -> int:
    """Write, read, compact, sum, print; an assertion fails where a sum is not exact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_250)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--hours", type=int, help="so many hours instead of days")
    parser.add_argument("--jobs", type=int, default=1, help="processes of compaction, which share the days")
    parser.add_argument("--watts", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="keep the files here (default: a temporary folder)")
    arguments = parser.parse_args(argv)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="ledger-scale-"))
    source, out = folder / "segments", folder / "days"
    source.mkdir(parents=True)
    try:
        began = time.perf_counter()
        hours = arguments.hours or 24 * arguments.days
        jobs = [(source, node, arguments.gpus, hours, arguments.watts) for node in range(arguments.nodes)]
        with ProcessPoolExecutor() as pool:
            booked = sum(pool.map(write_node, jobs, chunksize=8))
        count = arguments.nodes * hours
        size = sum(p.stat().st_size for p in source.iterdir())
        print(f"wrote {count} segments, {size / 1e6:.1f} MB, in {time.perf_counter() - began:.1f} s", flush=True)
        rows = measure_reading(source)
        compact(source, out, rows, arguments)
        folders = sorted(out.glob("site-a/*/r0000"))
        assert len(folders) == -(-hours // 24)
        parquet = sum(p.stat().st_size for day in folders for p in day.glob("*.parquet"))
        sums = sum(p.stat().st_size for day in folders for kind in DAY_COLUMNS for p in day.glob(f"{kind}.parquet"))
        print(f"parquet {parquet / 1e6:.1f} MB, {sums / 1e6:.1f} of them day sums")
        check_sums(out, booked)
        check_beyond_int64(out, booked)
        assert sum(len(json.loads((day / "manifest.json").read_text())["inputs"]) for day in folders) == count
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)
    return 0


def cpu_s() -> float:
    """CPU time of this process and of its children that have ended: what a busy machine does not change much."""
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def took(began: float, cpu: float, rows: int) -> str:
    """Time since then, whole and for each row."""
    seconds, used = time.perf_counter() - began, cpu_s() - cpu
    return f"{seconds:.1f} s, {seconds / rows * 1e6:.2f} us a row (CPU {used:.1f} s, {used / rows * 1e6:.2f} us a row)"


def measure_reading(source: Path) -> int:
    """Verify every segment; returns how many rows they have."""
    began, cpu = time.perf_counter(), cpu_s()
    rows = 0
    files = chain.find([source])
    node, prefix = chain.Chain("", ""), ""
    for path in files:
        if chain.split_name(path)[0] != prefix:
            node, prefix = chain.Chain("", ""), chain.split_name(path)[0]
        content = chain.add_file(node, path, chain.split_name(path)[1])
        assert content is not None
        rows += content.header.rows
        assert not node.faults
    print(f"read and checked {rows} rows in {took(began, cpu, rows)}", flush=True)
    return rows


def compact(source: Path, out: Path, rows: int, arguments: argparse.Namespace) -> None:
    """Compact every day; prints time and memory."""
    began, cpu = time.perf_counter(), cpu_s()
    found = index.build([source])
    indexed = time.perf_counter() - began
    statements = []
    for result in compact_days(found, out, found.days, Sites({}, "site-a"), jobs=arguments.jobs):
        assert not result.faults
        statements += result.statements
    assert sum(s.rows for s in statements) == rows
    jobs = f"{arguments.jobs} process{'es' * (arguments.jobs > 1)}"
    print(f"verified and compacted {rows} rows in {took(began, cpu, rows)}, by {jobs}", end="")
    print(f"; of this {indexed:.1f} s for the headers of {len(found)} segments")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    children_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory {peak_mb:.0f} MiB, largest child {children_mb:.0f} MiB", flush=True)


def check_sums(out: Path, booked: int) -> None:
    """Rows and each of the day sums have all that was booked (every device here is a GPU, held all the time)."""
    import duckdb

    for kind, amount in (("cell", "energy_uj"), ("holder_day", "energy_uj"), ("workload_cell", "active_uj + idle_uj")):
        query = f"SELECT sum(CAST({amount} AS HUGEINT)) FROM read_parquet('{out}/site-a/*/r0000/{kind}.parquet')"
        began = time.perf_counter()
        ((total,),) = duckdb.connect().execute(query).fetchall()
        assert total == booked, (kind, total, booked)
        print(f"{kind} sums to {total} uJ, as booked, in {time.perf_counter() - began:.2f} s")


def check_beyond_int64(out: Path, booked: int) -> None:
    """Sum the days as often as it takes to pass int64 (a quarter of 10,000 GPUs does: 7.9e19 uJ), exactly."""
    import duckdb

    times = max(92, 8 * 10**19 // max(1, booked) + 1)
    began = time.perf_counter()
    query = f"SELECT sum(energy_uj) FROM read_parquet('{out}/site-a/*/r0000/cell.parquet'), range({times})"
    ((total,),) = duckdb.connect().execute(query).fetchall()
    assert total == booked * times > 2**63, (total, booked, times)
    seconds = time.perf_counter() - began
    print(f"summed {times} times these days in DuckDB: {total} uJ ({total / 2**63:.1f} x int64), exact, {seconds:.1f} s")


if __name__ == "__main__":
    main()
