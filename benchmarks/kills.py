"""Random kills and freezes of agent, reader, supervisor and worker: what the ledger lost, and when settings were back.

Run from the repository's root: python -m benchmarks kills [--kills 40] [--nodes 2] [--seed 1]

Each node is three simulated GPUs, two of them steered, with a real agent and actuator. Each round waits until the node is
steered, then sends SIGKILL or SIGSTOP to one process, two, or all four, and measures until the plant has every original setting
back:

- within 6 s after kills, and within 15 s where a process was frozen, as long as supervisor or worker is untouched;
- otherwise by the time the next actuator serves, which this program starts as systemd would: after killing what is left;
- a reader alone owes nothing, since the agent replaces it and steers on.

At the end each GPU's recorded energy must equal the change of the driver's counter to the microjoule, and the ledger verifies.
"""

import os
import random
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from multiprocessing import get_context
from pathlib import Path

from benchmarks.dvfs_safety import is_strange
from benchmarks.hostile.rig import CounterRecorder
from benchmarks.runner import Row, say
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from tests.dvfs.steered_node import FREE, SteeredNode

KILLED_S, FROZEN_S = 6.0, 15.0
AGAIN_S = 120.0
START_S = 30.0  # for the next actuator to serve
SAMPLE_S = 0.02
PROCESSES = ("agent", "reader", "supervisor", "worker")
ACTUATOR = {"supervisor", "worker"}


class PromptCounterRecorder(CounterRecorder):
    """Before other threads where it may be: a value of the counter that it misses, the judgement lacks."""

    def run(self) -> None:
        """Until `ended`."""
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        super().run()


class SettingRecorder(threading.Thread):
    """When the plant last had every original setting, 50 times per second."""

    def __init__(self, node: SteeredNode) -> None:
        super().__init__(daemon=True)
        self._node, self.ended = node, threading.Event()
        self.free_s: list[float] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(SAMPLE_S):
            locks = self._node.locks()
            if is_strange(locks):
                self.wrong.append(str(locks))
            if set(locks) == {FREE}:
                self.free_s.append(time.monotonic())

    def wait(self, since_s: float, longest_s: float) -> float | None:
        """Seconds from `since_s` until all was back; None if it took longer than `longest_s`."""
        while time.monotonic() < since_s + longest_s:
            if self.free_s and self.free_s[-1] >= since_s:
                return next(t for t in self.free_s if t >= since_s) - since_s
            time.sleep(SAMPLE_S)
        return None


class Attacker:
    """Kills on one node, round by round."""

    def __init__(self, node: SteeredNode, draw: random.Random, settings: SettingRecorder) -> None:
        self._node, self._draw, self._settings = node, draw, settings

    def make_well(self) -> bool:
        """Wait until the node is steered; start what has ended."""
        node, end_s = self._node, time.monotonic() + AGAIN_S
        if node.actuator.poll() is not None:
            node.start_actuator()
        if node.agent.process is None or node.agent.process.poll() is not None:
            node.start_agent()
        while time.monotonic() < end_s:
            if node.steered() and node.worker() and node.reader():
                self._settings.free_s.clear()
                return True
            time.sleep(0.1)
        return False

    def attack(self) -> Row:
        """One round on a steered node: its kind, the processes, the limit, and when every setting was back.

        Seconds count from the signals, or from the start of the next actuator.
        """
        node, draw = self._node, self._draw
        assert node.agent.process is not None
        pids = dict(zip(PROCESSES, (node.agent.process.pid, node.reader(), node.supervisor, node.worker()), strict=True))
        targets = draw.sample(PROCESSES, draw.choice([1, 1, 1, 2, 2, len(PROCESSES)]))
        numbers = {name: draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]) for name in targets}
        if len(targets) == len(PROCESSES):
            numbers = dict.fromkeys(targets, signal.SIGKILL)
        both = [name for name in ACTUATOR if set(targets) >= ACTUATOR]
        # Both of the actuator are stopped first, so that neither sees the other die; what is left of a unit, systemd kills.
        order = [(name, signal.SIGSTOP) for name in both] + list(numbers.items()) + [(name, signal.SIGKILL) for name in both]
        for name, number in order:
            with suppress(ProcessLookupError):
                os.kill(pids[name], number)
        began_s, limit_s = time.monotonic(), FROZEN_S if signal.SIGSTOP in numbers.values() else KILLED_S
        kind = f"{'one' if len(targets) == 1 else 'two'} {'killed' if limit_s == KILLED_S else 'frozen or killed'}"
        row: Row = {"kind": kind, "processes": len(targets), "limit_s": limit_s, "back_s": None}
        if both:
            node.actuator.wait(10)
            time.sleep(draw.choice([0.0, 1.0]))
            began_s = time.monotonic()
            node.start_actuator()
            row |= {"kind": "all dead" if len(targets) == len(PROCESSES) else "actuator dead", "limit_s": START_S}
        if targets == ["reader"]:
            time.sleep(draw.choice([0.0, 0.5, 2.0]))
            row |= {"kind": "reader alone", "limit_s": None}
        else:
            row["back_s"] = self._settings.wait(began_s, row["limit_s"] + 20)
        self._clean_up(pids, numbers)
        return row

    def _clean_up(self, pids: dict[str, int], numbers: dict[str, signal.Signals]) -> None:
        """Let what was frozen go on, or kill it; processes that were killed are reaped."""
        node = self._node
        for name, number in numbers.items():
            if name in ("agent", "supervisor") and number == signal.SIGSTOP:
                with suppress(ProcessLookupError):
                    os.kill(pids[name], self._draw.choice([signal.SIGCONT, signal.SIGKILL]))
        for process in (node.agent.process, node.actuator):
            assert process is not None
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        if node.actuator.poll() is not None and "supervisor" in numbers:
            end_s = time.monotonic() + 20
            while Path(f"/proc/{pids['worker']}").exists() and time.monotonic() < end_s:
                time.sleep(0.05)


def run_node(kills: int, seed: str) -> tuple[list[Row], Row]:
    """Rounds on one node until so many processes were killed or frozen, and what its ledger has at the end."""
    rounds, unsteered = list[Row](), 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as exits:
        node = SteeredNode(Path(folder))
        node.boot()
        settings, counters = SettingRecorder(node), PromptCounterRecorder(node.plant)
        counters.start()  # before the agent, whose first reading it has to know
        time.sleep(0.5)
        node.start_actuator()
        exits.push(node)  # ends all of it
        node.start_agent()
        settings.start()
        attacker = Attacker(node, random.Random(seed), settings)
        while sum(row["processes"] for row in rounds) < kills:
            unsteered += not attacker.make_well()
            rounds.append(attacker.attack())
            say(f"node {seed}: {rounds[-1]}")
        unsteered += not attacker.make_well()
        node.end_agent()
        node.end_actuator()
        time.sleep(0.2)
        for thread in (settings, counters):
            thread.ended.set()
            thread.join()
        state, original = node.folder / "state", node.free() and node.limits() == [700_000] * 3
        cells = [row for located in read_rows(state) if isinstance(row := located.row, Cell) and row.device.startswith("GPU-")]
        recorded_uj, difference_uj, _ = counters.judge(cells)
        verifies = node.cli("ledger", "verify", str(state)).returncode == 0
    broken = difference_uj or settings.wrong or unsteered
    return rounds, {
        "node": seed, "recorded_uj": recorded_uj, "counter_difference_uj": difference_uj, "wrong_settings": settings.wrong,
        "not_steered_again": unsteered, "original_settings_at_end": original, "ledger_verifies": verifies,
        "ok": not broken and original and verifies and recorded_uj > 0,
    }  # fmt: skip


def run(kills: int = 40, nodes: int = 2, seed: int = 1) -> Iterator[Row]:
    """So many processes killed or frozen over all nodes, which run at a time."""
    with ProcessPoolExecutor(nodes, get_context("spawn")) as pool:
        names = [f"{seed}-{number}" for number in range(nodes)]
        outcomes = list(pool.map(run_node, [-(-kills // nodes)] * nodes, names))
    rounds = [row for node, _ in outcomes for row in node]
    for kind in sorted({row["kind"] for row in rounds}):
        own = [row for row in rounds if row["kind"] == kind]
        times = [row["back_s"] for row in own if row["back_s"] is not None]
        limit_s = own[0]["limit_s"]
        late = sum(row["back_s"] is None or row["back_s"] > limit_s for row in own) if limit_s else 0
        yield {
            "kind": kind, "rounds": len(own), "processes": sum(row["processes"] for row in own), "limit_s": limit_s,
            "median_s": statistics.median(times) if times else None, "worst_s": max(times, default=None), "late": late,
            "ok": not late,
        }  # fmt: skip
    yield from (ending for _, ending in outcomes)
