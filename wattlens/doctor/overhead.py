"""`wattlens doctor --overhead`: the watts that the agent's reading adds, and the CPU time that it takes.

Blocks with the agent's reader on and off, in pairs of random order, so that a drift of the load falls on both. The energy of a
block is the difference of the counter between two of its ticks, taken with the same few readings in both kinds of block.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import wattlens
from energy_agent.core.errors import WattlensError
from energy_agent.core.interval import t_quantile
from energy_agent.core.units import NS_PER_S
from energy_agent.reader.child import ReaderOptions, ReaderProcess
from wattlens.doctor import child

SCHEMA = "wattlens-overhead/1"
SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class PowerBlock:
    """Mean power in W of each GPU (by index) over one block."""

    reading: bool
    power_w: Mapping[int, float]


@contextmanager
def running_reader(environ: Mapping[str, str], period_s: float) -> Iterator[ReaderProcess]:
    """The agent's reader at work."""
    period_ns = round(period_s * NS_PER_S)
    process = ReaderProcess(ReaderOptions(period_ns, max(period_ns, NS_PER_S), 5 * NS_PER_S, environ), {})
    try:
        yield process
    finally:
        process.stop()


def _cpu_s(reader: ReaderProcess) -> float:
    """CPU seconds so far, by the scheduler's own count."""
    return int(Path(f"/proc/{reader.pid}/schedstat").read_text().split()[0]) / 1e9


def order(pairs: int, seed: int) -> list[bool]:
    """Whether the reader runs, block by block: each pair has one block of each kind, in an order that `seed` draws."""
    draw = random.Random(seed)
    return [on for _ in range(pairs) for on in draw.choice(([True, False], [False, True]))]


def measure(environ: Mapping[str, str], period_s: float, seconds: float, pairs: int, seed: int) -> dict[str, Any]:
    """Measure it on whatever load runs. Takes about 2 pairs (seconds + 2 s).

    Raises:
        WattlensError: NVML or a GPU does not answer.
    """
    kinds = order(pairs, seed)
    blocks, gpus, cpu = run_blocks(environ, kinds, seconds, SETTLE_S, lambda: running_reader(environ, period_s))
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "wattlens": wattlens.__version__,
        "simulated": bool(environ.get("WATTLENS_SIM")),
        "period_s": period_s,
        "block_s": seconds,
        "pairs": pairs,
        "seed": seed,
        "order": kinds,
        "gpus": [gpus[i] | added(blocks, [i]) for i in sorted(gpus)],
        "node": added(blocks, sorted(gpus)),
    }
    if cpu:
        result["reader_cpu_ms_per_s"] = round(fmean(cpu) * 1e3, 3)
    return result


def run_blocks(
    environ: Mapping[str, str],
    kinds: Sequence[bool],
    seconds: float,
    settle_s: float,
    reading: Callable[[], AbstractContextManager[ReaderProcess]],
) -> tuple[list[PowerBlock], dict[int, dict[str, Any]], list[float]]:
    """Return blocks, GPUs by index, and CPU seconds per second of the reader in each block in which it ran."""
    blocks: list[PowerBlock] = []
    gpus: dict[int, dict[str, Any]] = {}
    cpu: list[float] = []
    began: Mapping[str, Any] = {}
    cpu_began = (0.0, 0.0)
    reader: ReaderProcess | None = None
    task = ["edges", f"--seconds={seconds}", f"--settle={settle_s}", f"--blocks={len(kinds)}"]
    messages = child.measure(
        task, environ, "blocks with and without the reader", len(kinds) * (seconds + settle_s),
        lambda: f", block {len(blocks) + 1} of {len(kinds)}",
    )  # fmt: skip
    with ExitStack() as running:
        for message in messages:
            if reader is None and len(blocks) < len(kinds) and kinds[len(blocks)]:
                reader = running.enter_context(reading())
            if reader is not None and reader.messages() is None:  # read, so that it never waits for us
                raise WattlensError("the reader ended during the measurement; see wattlens doctor")
            match message["k"]:
                case "board":
                    gpus[message["index"]] = {k: message[k] for k in ("index", "uuid", "name")}
                case "gone":
                    raise WattlensError(f"GPU {message['index']}: {message['reason']}; see wattlens doctor")
                case "start":
                    began = message["edges"]
                    cpu_began = _cpu_s(reader) if reader is not None else 0.0, time.monotonic()
                case "end":
                    if reader is not None:
                        cpu.append((_cpu_s(reader) - cpu_began[0]) / (time.monotonic() - cpu_began[1]))
                    blocks.append(PowerBlock(reader is not None, _powers(began, message["edges"])))
                    running.close()
                    reader = None
    return blocks, gpus, cpu


def _powers(start: Mapping[str, Sequence[float]], end: Mapping[str, Sequence[float]]) -> dict[int, float]:
    """Mean power in W; mJ per ns is MW."""
    both = start.keys() & end.keys()
    return {int(i): (end[i][1] - start[i][1]) / (end[i][0] - start[i][0]) * 1e6 for i in both}


def added(blocks: Sequence[PowerBlock], gpus: Sequence[int]) -> dict[str, Any]:
    """What reading adds to the power of `gpus` together, from pairs of blocks: mean difference with Student's 95 % interval."""
    differences, base = [], []
    for first, second in zip(blocks[::2], blocks[1::2], strict=False):
        if first.power_w.keys() >= set(gpus) and second.power_w.keys() >= set(gpus):
            on, off = (first, second) if first.reading else (second, first)
            without = sum(off.power_w[i] for i in gpus)
            differences.append(sum(on.power_w[i] for i in gpus) - without)
            base.append(without)
    if len(differences) < 2 or not gpus:
        return {
            "added_w": {"absent": "fewer than two complete pairs of blocks: the energy counter is missing or did not change"},
            "without_w": None,
        }
    n = len(differences)
    half = t_quantile(n - 1, 0.025) * stdev(differences) / math.sqrt(n)
    mean = fmean(differences)
    value = {"value": round(mean, 4), "lower": round(mean - half, 4), "upper": round(mean + half, 4), "n": n}
    return {"added_w": value, "without_w": round(fmean(base), 3)}


def text(result: Mapping[str, Any]) -> str:
    """For people."""
    lines = [
        f"Overhead of one reading per {result['period_s']:g} s: {result['pairs']} pairs of blocks of {result['block_s']:g} "
        f"s in random order (seed {result['seed']})",
        "",
        f"{'':8}{'without':>11}{'added':>11}   95 % interval",
    ]
    for name, part in [*((f"GPU {g['index']}", g) for g in result["gpus"]), ("node", result["node"])]:
        value = part["added_w"]
        if "absent" in value:
            lines.append(f"{name:8}absent: {value['absent']}")
        else:
            bounds = f"[{value['lower']:+.3f}, {value['upper']:+.3f}] W"
            lines.append(f"{name:8}{part['without_w']:>9.2f} W{value['value']:>+9.3f} W   {bounds}")
    lines += ["", conclusion(result["node"]["added_w"])]
    if "reader_cpu_ms_per_s" in result:
        lines.append(f"The reader takes {result['reader_cpu_ms_per_s']:.2f} ms of CPU time per second.")
    if result["simulated"]:
        lines.append("Simulated: reading a simulated GPU adds no power, so no difference is expected.")
    return "\n".join(lines)


def conclusion(added_w: Mapping[str, Any]) -> str:
    """One sentence that says no more than the interval does."""
    if "absent" in added_w:
        return "No conclusion is possible."
    low, high = added_w["lower"], added_w["upper"]
    if low > 0:
        return f"Reading adds {low:.3f} to {high:.3f} W to the GPUs of this node."
    if high < 0:
        return (
            f"With the reader on, power was {-high:.3f} to {-low:.3f} W lower. Reading cannot save power: the load "
            "changed with the blocks by chance, or persistence mode is off. Measure again for longer."
        )
    return f"No difference shown: reading adds at most {high:.3f} W on this node under this load."
