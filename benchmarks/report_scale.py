"""Scale of the report: a fleet quarter from the segments that agents leave, compacted, then reported in every form.

`python -m benchmarks.report_scale` makes 10,000 GPUs x 92 days in 15-minute cells (hours; what is there in `--dir` is kept, so
it may be stopped and goes on), and a tenth of the nodes for ten days beside it. Then `wattlens report` is run twice over each:
wall clock and memory of all its processes on two cores, both builds alike, and every figure against what the generator's own
numbers come to. Further builds, of half of the days and of all, show whether further rows cost what the first ones did.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Final

from benchmarks import report_expected, report_ledger
from benchmarks.report_fleet import QUARTER, UTC_DAYS, Fleet
from benchmarks.report_ledger import Ledger
from benchmarks.running import cpu_s, family

SECONDS_MAX: Final = 60.0
PEAK_MAX_B: Final = 2 << 30
AS_OF: Final = "2026-02-01T00:00Z"
_LOOK_S: Final = 0.02
_PAGE_B: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Run:
    """One build: wall and CPU seconds, and the most that all its processes held at a time."""

    seconds: float
    cpu_s: float
    peak_b: int


@dataclass(frozen=True)
class Result:
    """A fleet's report.

    Args:
        wrong: figures that are not what they should be.
        equal: figures that are, to the last digit.
        alike: two builds are the same files, byte for byte.
        parts: builds of half of the days and of all, from an instant to another that cut days, and their rows.
    """

    nodes: int
    ledger: Ledger
    runs: tuple[Run, ...]
    wrong: tuple[str, ...]
    equal: int
    alike: bool
    parts: tuple[tuple[Run, int], ...]

    @property
    def rows(self) -> int:
        """Rows of the compacted days."""
        return sum(cost.rows for cost in self.ledger.costs)

    @property
    def ok(self) -> bool:
        """Right, and twice the same."""
        return not self.wrong and self.alike


def build(ledger: Ledger, out: Path, period: Sequence[str] = ("--quarter", QUARTER)) -> Run:
    """Make the report of a fleet as a user does."""
    return report(ledger.folder, out, *period, "--org", str(ledger.org), "--as-of", AS_OF)


def report(days: Path, out: Path, *options: str) -> Run:
    """Make a report as a user does, whatever its coverage."""
    command = [sys.executable, "-m", "wattlens", "report", "--ledger", str(days), *options]
    command += ["--accept-coverage", "0", "--out", str(out)]
    began = time.perf_counter()
    with Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, text=True) as process:
        looks: list[tuple[float, int]] = []

        def watch() -> None:
            while process.poll() is None:
                looks.append(_held(process.pid))
                time.sleep(_LOOK_S)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        _, errors = process.communicate()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"the report ended with {process.returncode}: {errors.strip()}")
    return Run(time.perf_counter() - began, max(used for used, _ in looks), max(held for _, held in looks))


def _held(pid: int) -> tuple[float, int]:
    """CPU seconds of a process, and resident bytes of it and all below it; what they share counts for each."""
    used, held = 0.0, 0
    for each in family(pid):
        try:
            used += cpu_s(each)
            held += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE_B
        except (OSError, IndexError):  # it just ended
            continue
    return used, held


def part(ledger: Ledger, out: Path, share: Fraction) -> tuple[Run, int]:
    """A report of a share of the quarter's days of UTC that there are, from a morning to another, and their rows."""
    names = sorted({path.name for path in ledger.folder.glob("*/*")})[1:]
    names = names[: max(2, int(len(names) * share))]
    manifests = (path for name in names for path in ledger.folder.glob(f"*/{name}/r0000/manifest.json"))
    rows = sum(int(json.loads(path.read_text())["rows"]) for path in manifests)
    return build(ledger, out, ("--from", f"{names[0]}T08:00Z", "--to", f"{names[-1]}T08:00Z")), rows


def run(nodes: int, folder: Path, *, days: int = UTC_DAYS, jobs: int = 2) -> Result:
    """Make the ledger and its report, twice, and those of parts of it."""
    ledger = report_ledger.make(Fleet(nodes), folder, days, jobs)
    outs = [folder / "report-a", folder / "report-b"]
    runs = tuple(build(ledger, out) for out in outs)
    names = [sorted(path.name for path in out.iterdir()) for out in outs]
    alike = names[0] == names[1] and all((outs[0] / name).read_bytes() == (outs[1] / name).read_bytes() for name in names[0])
    facts = json.loads((outs[0] / "facts.json").read_text())
    wrong, equal, _ = report_expected.differences(facts, ledger)
    parts = tuple(part(ledger, folder / "report-part", share) for share in (Fraction(1, 2), Fraction(1)))
    return Result(nodes, ledger, runs, tuple(wrong), equal, alike, parts)


def show(result: Result, before: Result | None) -> None:
    """One fleet as rows of a table; `before` is a smaller one."""
    costs, rows = result.ledger.costs, result.rows
    cpu = sum(cost.compact_cpu_s for cost in costs)
    parquet = sum(path.stat().st_size for path in result.ledger.folder.rglob("*.parquet"))
    made, compacted = sum(cost.generate_s for cost in costs), sum(cost.compact_s for cost in costs)
    made_cpu = sum(cost.generate_cpu_s for cost in costs)
    lines = [
        ("fleet", f"{result.nodes} nodes, {result.nodes * 8} GPUs, {sum(cost.days for cost in costs)} days of UTC"),
        ("segments", f"{sum(cost.segments for cost in costs)}, {sum(cost.bytes for cost in costs) / 1e9:.2f} GB, {rows} rows"),
        ("made in", f"{made:.0f} s ({made_cpu:.0f} s of CPU)"),
        ("compacted in", f"{compacted:.0f} s ({cpu:.0f} s of CPU, {cpu / rows * 1e6:.2f} us a row) to {parquet / 1e9:.2f} GB"),
    ]
    for run_ in result.runs:
        text = f"{run_.seconds:.1f} s ({run_.cpu_s:.1f} s of CPU), {run_.peak_b / 2**20:.0f} MiB at the peak"
        lines.append(("report in", text))
    for each, count in result.parts:
        lines.append((f"{count} rows", f"{each.seconds:.1f} s ({each.cpu_s:.1f} s of CPU), from a morning to another"))
    (first, few), (second, many) = result.parts
    if before is not None:
        lines.append(("a further row", f"{(second.cpu_s - first.cpu_s) / (many - few) * 1e9:.0f} ns of CPU"))
        lines.append(("of the first half", f"{first.cpu_s / few * 1e9:.0f} ns, with what a report costs anyway"))
    told = f"{result.equal} of {result.equal + len(result.wrong)}"
    lines.append(("equal", f"{'NO' if result.wrong else 'yes'}: {told} figures and bounds, to the last integer"))
    lines.append(("two builds identical", "yes" if result.alike else "NO"))
    print("\n" + "\n".join(f"{name:<22}{text}" for name, text in lines), flush=True)
    for line in result.wrong[:20]:
        print(f"  {line}")


def main(argv: list[str] | None = None) -> int:
    """Run both scales; 1 where something falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_250)
    parser.add_argument("--days", type=int, default=UTC_DAYS, help="days of UTC; a whole quarter's need two halves more")
    parser.add_argument("--dir", type=Path, help="keep everything here, and go on from what is there")
    parser.add_argument("--jobs", type=int, default=2, help="processes that generate and compact")
    parser.add_argument("--nice", type=int, default=0, help="how nice these are")
    arguments = parser.parse_args(argv)
    if not 3 <= arguments.days <= UTC_DAYS:
        parser.error(f"--days {arguments.days}: 3 to {UTC_DAYS}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    os.nice(arguments.nice)
    with tempfile.TemporaryDirectory(prefix="report-scale-") as scratch:
        folder = arguments.dir or Path(scratch)
        small = run(max(3, arguments.nodes // 10), folder / "small", days=min(10, arguments.days), jobs=arguments.jobs)
        show(small, None)
        large = run(arguments.nodes, folder / "large", days=arguments.days, jobs=arguments.jobs)
        show(large, small)
    held = max(r.seconds for r in large.runs) <= SECONDS_MAX and max(r.peak_b for r in large.runs) <= PEAK_MAX_B
    print(f"\n{SECONDS_MAX:.0f} s and {PEAK_MAX_B >> 20} MiB: {'held' if held else 'NOT held'}")
    return 0 if held and large.ok and small.ok else 1


if __name__ == "__main__":
    sys.exit(main())
