"""Scale of the report: a fleet quarter from the segments that agents leave, compacted, then reported in every form.

`python -m benchmarks report_scale` generates 10,000 GPUs x 92 days in 15-minute cells (hours), and separately a tenth of the
nodes for 10 days. Then `wattlens report` runs twice over each: wall clock and memory of all its processes on two cores,
identical output of both builds, and every figure against the generator's own numbers. Further builds, of half of the days and
of all, show whether the cost per row is constant.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Final

from benchmarks import report_expected, report_ledger
from benchmarks.report_fleet import QUARTER, UTC_DAYS, SyntheticFleet
from benchmarks.report_ledger import CompactedLedger
from benchmarks.runner import Row
from benchmarks.running import cpu_s, of_family
from energy_agent.core.errors import UsageError

SECONDS_MAX: Final = 60.0
PEAK_MAX_MIB: Final = 2048
AS_OF: Final = "2026-02-01T00:00Z"
_LOOK_S: Final = 0.02
_PAGE_B: Final = os.sysconf("SC_PAGE_SIZE")


def build(ledger: CompactedLedger, out: Path, period: Sequence[str] = ("--quarter", QUARTER)) -> Row:
    """Make the report of a fleet as a user does."""
    return report(ledger.folder, out, *period, "--org", str(ledger.org), "--as-of", AS_OF)


def report(days: Path, out: Path, *options: str) -> Row:
    """Create a report as a user does, whatever its coverage: seconds, and peak memory of all its processes together."""
    command = [sys.executable, "-m", "wattlens", "report", "--ledger", str(days), *options]
    command += ["--accept-coverage", "0%", "--out", str(out)]
    began, used, held = time.perf_counter(), [0.0], [0.0]
    with Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, text=True) as process:
        while process.poll() is None:  # its output fits in a pipe
            used.append(of_family(cpu_s, process.pid))
            held.append(of_family(resident_b, process.pid))
            time.sleep(_LOOK_S)
        assert process.stderr is not None
        errors = process.stderr.read()
    if process.returncode:
        raise UsageError(f"the report ended with {process.returncode}: {errors.strip()}")
    seconds, peak_mib = time.perf_counter() - began, max(held) / 2**20
    return {"s": seconds, "cpu_s": max(used), "peak_mib": peak_mib, "ok": seconds <= SECONDS_MAX and peak_mib <= PEAK_MAX_MIB}


def resident_b(pid: int) -> int:
    """What processes share counts for each."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_B


def part(ledger: CompactedLedger, out: Path, share: Fraction) -> Row:
    """A report of a share of the quarter's days of UTC that there are, from a morning to another, and their rows."""
    names = sorted({path.name for path in ledger.folder.glob("*/*")})[1:]
    names = names[: max(2, int(len(names) * share))]
    manifests = (path for name in names for path in ledger.folder.glob(f"*/{name}/r0000/manifest.json"))
    rows = sum(int(json.loads(path.read_text())["rows"]) for path in manifests)
    row = build(ledger, out, ("--from", f"{names[0]}T08:00Z", "--to", f"{names[-1]}T08:00Z"))
    return {"report of": f"{rows} rows, from a morning to another", "rows": rows, **row, "ok": True}


def measure(nodes: int, folder: Path, *, days: int = UTC_DAYS, jobs: int = 2) -> tuple[CompactedLedger, list[Row]]:
    """Make the ledger and its report, twice, and those of parts of it."""
    ledger = report_ledger.make(SyntheticFleet(nodes), folder, days, jobs)
    outs = [folder / "report-a", folder / "report-b"]
    runs = [{"report of": "all", "rows": sum(cost["rows"] for cost in ledger.costs), **build(ledger, out)} for out in outs]
    names = [sorted(path.name for path in out.iterdir()) for out in outs]
    alike = names[0] == names[1] and all((outs[0] / name).read_bytes() == (outs[1] / name).read_bytes() for name in names[0])
    facts = json.loads((outs[0] / "facts.json").read_text())
    wrong, equal, _ = report_expected.differences(facts, ledger)
    cost = {key: sum(cost[key] for cost in ledger.costs) for key in ledger.costs[0]}
    parquet = sum(path.stat().st_size for path in ledger.folder.rglob("*.parquet"))
    made = cost | {"nodes": nodes, "parquet_b": parquet, "compact_cpu_us_a_row": cost["compact_cpu_s"] / cost["rows"] * 1e6}
    checks = {"figures and bounds equal": equal, "wrong": wrong, "two builds identical": alike, "ok": alike and not wrong}
    return ledger, [
        made,
        *runs,
        *(part(ledger, folder / "report-part", share) for share in (Fraction(1, 2), Fraction(1))),
        checks,
    ]


def run(nodes: int = 1_250, days: int = UTC_DAYS, jobs: int = 2, nice: int = 0) -> Iterator[Row]:
    """Both scales; `days` of UTC, of which a whole quarter's need two halves more."""
    if not 3 <= days <= UTC_DAYS:
        raise UsageError(f"--days {days}: expected 3 to {UTC_DAYS}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    os.nice(nice)
    with tempfile.TemporaryDirectory(prefix="report-scale-") as scratch:
        yield from measure(max(3, nodes // 10), Path(scratch) / "small", days=min(10, days), jobs=jobs)[1]
        _, rows = measure(nodes, Path(scratch) / "large", days=days, jobs=jobs)
    first, second = rows[3:5]
    yield from rows
    further = (second["cpu_s"] - first["cpu_s"]) / (second["rows"] - first["rows"])
    yield {"CPU of a further row, ns": further * 1e9, "of the first half, ns": first["cpu_s"] / first["rows"] * 1e9}
