"""Serving policies judged on a model of vLLM's engine that was written without knowledge of them.

It shares no code with Wattlens' own simulators and policies; policy.py gives a policy what the agent would read. engine.c is
the engine; systems.py has GPUs and models with the origin of each number; cells.py draws 44 cells from a seed; judge.py plays
them. 44 cells with three policies take about 5 minutes. With --long a seed has 24 cells of 100,000 requests instead.

Target of a cell: the user's share of requests within each limit where the highest clock reaches it, else the highest clock's
less 0.1 points. *short* are the points that the worse of both shares is below it; in a prefill or decode pool, its own latency
counts alone. *best* is the fixed clock of least energy that is not short, chosen with the whole run known. *of best* is the sum
of savings over the sum of the best fixed clocks'. *over NAME* is the mean difference of saving to a baseline in points, with
95 % bounds over cells.

With --log FILE, each row is appended to FILE as a JSON line with the seed and a hash of the policy's source, and a seed that
was judged with another source of the policy is refused. Several seeds have common totals.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import SystemRandom

from benchmarks.runner import Row, say
from benchmarks.vllm_plant.cells import ServingCell, draw_cells, draw_long_cells
from benchmarks.vllm_plant.engine import build_library
from benchmarks.vllm_plant.judge import play_cell
from benchmarks.vllm_plant.judging_log import JudgingLog
from benchmarks.vllm_plant.policy import find_policy
from benchmarks.vllm_plant.totals import sum_by_group, sum_cells
from benchmarks.vllm_plant.traces import read_trace
from energy_agent.core.errors import UsageError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
POLICIES = ("slo", "aimd", "bisect")
_Job = tuple[ServingCell, tuple[str, ...], Path, int | None]


def run(
    data: Path = DATA,
    seed: tuple[int, ...] = (),
    only: str = "",
    policy: tuple[str, ...] = POLICIES,
    requests: int | None = None,
    jobs: int = 1,
    log: Path | None = None,
    long: bool = False,
) -> Iterator[Row]:
    """Cells of the seeds whose name matches the pattern `only`; at most `requests` per cell. A seed is drawn unless given."""
    if jobs < 1 or (requests is not None and requests < 1):
        raise UsageError("--jobs, --requests: expected at least 1")
    seeds = seed or (SystemRandom().randrange(10**9),)
    try:
        pattern = re.compile(only)
    except re.error as error:
        raise UsageError(f"--only: expected a regular expression, got {only!r}: {error}") from error
    draw = draw_long_cells if long else draw_cells
    cells = {seed: [cell for cell in draw(seed) if pattern.search(cell.name)] for seed in seeds}
    if not any(cells.values()):
        raise UsageError(f"--only: {only!r} matches none of the cells, such as {draw(seeds[0])[0].name}")
    build_library()
    for trace in {cell.trace for seed_cells in cells.values() for cell in seed_cells}:
        read_trace(trace, data)
    judged = JudgingLog(log, seeds, policy) if log is not None else None
    rows: list[Row] = []
    with ProcessPoolExecutor(jobs) as pool:
        for number, seed_cells in cells.items():
            say(f"seed {number}")
            for cell_rows in pool.map(_play, [(cell, policy, data, requests) for cell in seed_cells]):
                say(_progress(cell_rows))
                for row in cell_rows:
                    rows.append(row)
                    if judged is not None:
                        judged.append(number, row)
                    yield {"seed": number, **row}
    yield from sum_by_group(rows, policy)
    yield from sum_cells(rows, policy)


def _play(job: _Job) -> list[Row]:
    cell, policies, data, requests = job
    return play_cell(cell, {name: find_policy(name) for name in policies}, data, requests)


def _progress(rows: list[Row]) -> str:
    parts = (f"{row['policy']} {row['saving_percent']:.1f} % -{row['short_points']:.2f}" for row in rows)
    return f"{rows[0]['cell']}: best {rows[0]['best_saving_percent']:.1f} %, {', '.join(parts)}"
