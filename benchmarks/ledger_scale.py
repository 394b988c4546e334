"""Scale of the ledger: days of a fleet's segments, written by the real segment writer, then read, compacted and summed.

`python -m benchmarks ledger_scale --nodes 1250 --gpus 8 --days 2 --jobs 2` prints time, CPU time of a row and peak memory of
reading (every check, nothing written) and of compaction, and checks the sums, of rows and of day sums, against the recorded
energy. Then DuckDB sums the days repeatedly until the total is far beyond int64.
"""

import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb

from benchmarks.chain import SegmentChainWriter
from benchmarks.runner import Row
from benchmarks.running import own_cpu_s
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
    chained, total = SegmentChainWriter(folder, identity), 0
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


def run(nodes: int = 1_250, gpus: int = 8, days: int = 1, hours: int = 0, jobs: int = 1, watts: int = 1_000) -> Iterator[Row]:
    """Write, read, compact and sum; `hours` in place of days, `jobs` processes of compaction, which share the days."""
    with tempfile.TemporaryDirectory(prefix="ledger-scale-") as name:
        source, out, hours = Path(name) / "segments", Path(name) / "days", hours or 24 * days
        source.mkdir()
        began = time.perf_counter()
        with ProcessPoolExecutor() as pool:
            booked = sum(pool.map(write_node, [(source, node, gpus, hours, watts) for node in range(nodes)], chunksize=8))
        size = sum(p.stat().st_size for p in source.iterdir())
        yield {"segments": nodes * hours, "mb": size / 1e6, "written in s": time.perf_counter() - began}
        began, cpu = time.perf_counter(), own_cpu_s()
        rows = read(source)
        yield {"step": "read and checked", **took(began, cpu, rows)}
        began, cpu = time.perf_counter(), own_cpu_s()
        segment_index = index.build([source])
        headers_s = time.perf_counter() - began
        results = list(compact_days(segment_index, out, segment_index.days, Sites({}, "site-a"), jobs=jobs))
        compacted = sum(statement.rows for result in results for statement in result.statements)
        yield {"step": "verified and compacted", **took(began, cpu, rows)}
        folders = sorted(out.glob("site-a/*/r0000"))
        parquet = [p for day in folders for p in day.glob("*.parquet")]
        inputs = sum(len(json.loads((day / "manifest.json").read_text())["inputs"]) for day in folders)
        yield {
            "headers_s": headers_s, "parquet_mb": sum(p.stat().st_size for p in parquet) / 1e6,
            "day_sums_mb": sum(p.stat().st_size for p in parquet if p.stem in DAY_COLUMNS) / 1e6,
            "ok": compacted == rows and not any(result.faults for result in results) and inputs == nodes * hours,
        }  # fmt: skip
        # Rows and each of the day sums have all recorded energy: every device is a GPU that is always allocated. A quarter of
        # 10,000 GPUs passes int64: 7.9e19 uJ.
        amounts = {"cell": "energy_uj", "holder_day": "energy_uj", "workload_cell": "active_uj + idle_uj"}
        yield from (total(out, kind, amount, booked, 1) for kind, amount in amounts.items())
        yield total(out, "cell", "energy_uj", booked, max(92, 8 * 10**19 // max(1, booked) + 1))


def took(began: float, cpu: float, rows: int) -> Row:
    """Time since then, whole and CPU of each row, and the peak of memory so far of this process and of a child."""
    used_s = own_cpu_s() - cpu
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = time.perf_counter() - began
    return {"rows": rows, "s": seconds, "cpu_s": used_s, "cpu_us_a_row": used_s / rows * 1e6, "peak_mib, of a child": peaks}


def read(source: Path) -> int:
    """Verify every segment; returns how many rows they have."""
    rows, node, prefix = 0, chain.Chain("", ""), ""
    for path in chain.find([source]):
        name, number = chain.split_name(path)
        if name != prefix:
            node, prefix = chain.Chain("", ""), name
        content = chain.add_file(node, path, number)
        assert content is not None
        rows += content.header.rows
        assert not node.faults
    return rows


def total(out: Path, kind: str, amount: str, booked: int, times: int) -> Row:
    """The sum in DuckDB over `times` repetitions of these days."""
    began = time.perf_counter()
    source = f"read_parquet('{out}/site-a/*/r0000/{kind}.parquet'), range({times})"
    ((total,),) = duckdb.connect().execute(f"SELECT sum(CAST({amount} AS HUGEINT)) FROM {source}").fetchall()
    sums = {"sum of": kind, "times": times, "uj": total, "of int64": total / 2**63, "s": time.perf_counter() - began}
    return sums | {"ok": total == booked * times}
