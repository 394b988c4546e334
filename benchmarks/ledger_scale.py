"""Scale of the ledger: a day of a fleet's segments, written by the real segment writer, then compacted and summed.

`python -m benchmarks.ledger_scale --nodes 1250 --gpus 8` prints time and peak memory of compaction, and checks the sum against
what was booked. A second check has DuckDB sum the day so many times that the total is far beyond int64.
"""

import argparse
import json
import random
import resource
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

from energy_agent.core.types import Entry, Identity, Method, State, Tokens, WorkloadFacts
from energy_agent.ledger import segments
from energy_agent.ledger.book import Batch, Book, change_of
from energy_agent.ledger.compact import compact
from energy_agent.ledger.files import RealFiles
from energy_agent.ledger.rows import DeviceFacts
from energy_agent.ledger.sealing import take
from energy_agent.ledger.sites import Sites

T0 = 1_767_225_600_000_000_000  # 2026-01-01T00:00Z
CELL = 900_000_000_000


class _UnsyncedFiles(RealFiles):
    """Thirty thousand fsyncs would measure the disk, not the ledger."""

    def write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)

    def sync_folder(self, folder: Path) -> None:
        pass


def write_node(job: tuple[Path, int, int, int, int]) -> int:
    """Write one node's day; returns its energy in uJ."""
    folder, node, gpus, hours, watts = job
    rng = random.Random(node)
    identity = Identity("fleet", f"node-{node:05d}", "boot", "0.1.0", True)
    devices = [DeviceFacts(f"GPU-{node:05d}-{g}", "H100", 0.05, T0) for g in range(gpus)]
    facts = [WorkloadFacts(f"pod-{node}-{k}", T0, "pod", {"namespace": "ns", "team": "red"}) for k in range(2)]
    book, previous, total = Book(), segments.FIRST_PREVIOUS, 0
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
        book.take(change_of(book, Batch(entries, tokens=tokens, facts=facts, devices=devices)))
        item = take(book, None, identity, hour, previous)
        assert item is not None
        name = segments.file_name(identity.cluster, identity.node, hour)
        segments.store(_UnsyncedFiles(), folder, name, item.body, item.sha256)
        item.forget(book)
        previous = item.sha256
    return total


def main(argv: list[str] | None = None) -> int:
    """Write, compact, sum, print; an assertion fails where a sum is not exact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_250)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--watts", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="keep the files here (default: a temporary folder)")
    arguments = parser.parse_args(argv)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="ledger-scale-"))
    source, out = folder / "segments", folder / "days"
    source.mkdir(parents=True)
    try:
        began = time.perf_counter()
        jobs = [(source, node, arguments.gpus, arguments.hours, arguments.watts) for node in range(arguments.nodes)]
        with ProcessPoolExecutor() as pool:
            booked = sum(pool.map(write_node, jobs, chunksize=8))
        count = arguments.nodes * arguments.hours
        size = sum(p.stat().st_size for p in source.iterdir())
        print(f"wrote {count} segments, {size / 1e6:.1f} MB, in {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        (statement,), faults = compact([source], out, date(2026, 1, 1), Sites({}, "site-a"))
        seconds = time.perf_counter() - began
        assert not faults
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        children_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"verified and compacted {statement.rows} rows in {seconds:.1f} s ({count / seconds:.0f} segments/s)")
        print(f"peak memory {peak_mb:.0f} MiB, largest child {children_mb:.0f} MiB")
        parquet = sum(p.stat().st_size for p in statement.folder.iterdir())
        print(f"parquet {parquet / 1e6:.1f} MB; energy {statement.energy_uj} uJ, booked {booked} uJ")
        assert statement.energy_uj == booked
        check_beyond_int64(statement.folder, booked)
        manifest = json.loads((statement.folder / "manifest.json").read_text())
        assert len(manifest["inputs"]) == count
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)
    return 0


def check_beyond_int64(folder: Path, booked: int) -> None:
    """Sum the day as often as it takes to pass int64 (a quarter of 10,000 GPUs does: 7.9e19 uJ), exactly."""
    import duckdb

    times = max(92, 8 * 10**19 // max(1, booked) + 1)
    began = time.perf_counter()
    query = f"SELECT sum(energy_uj) FROM read_parquet('{folder}/cell.parquet'), range({times})"
    ((total,),) = duckdb.connect().execute(query).fetchall()
    assert total == booked * times > 2**63, (total, booked, times)
    seconds = time.perf_counter() - began
    print(f"summed {times} such days in DuckDB: {total} uJ ({total / 2**63:.1f} x int64), exact, {seconds:.1f} s")


if __name__ == "__main__":
    main()
