"""Kills, freezes, faults, reboots and kill switches on steered nodes: applied settings, time to restore, and records.

Run from the repository's root: python -m benchmarks dvfs_safety [--events 150] [--kills 40] [--nodes 2] [--seed 1]

Node, actuator, agent and job are real processes on simulated GPUs; the plant reports the applied settings 50 times per second.
First a random sequence of events on one node:

- a device has its original setting or the one that the policy requests, and never anything else;
- once the agent is dead or frozen or the kill switch is on, and the actuator is undisturbed for as long, nothing is set after
  20 s: the design's 15 s plus a poll and a busy machine;
- after about every third event, and at the end, all faults are cleared and steering is back within 90 s;
- all processes stop in order and nothing is set; the ledger verifies and has every observed setting, except at most one per
  killed process.

Then rounds of SIGKILL and SIGSTOP to one process, two, or all four, on some nodes at a time. Every original setting is back

- within 6 s after kills, and within 15 s where a process was frozen, as long as supervisor or worker is untouched;
- otherwise by the time the next actuator serves, which this program starts as systemd would: after killing remaining processes;
- a killed reader alone restores nothing, since the agent replaces it and continues steering.

There each GPU's recorded energy must equal the change of the driver's counter to the microjoule.
"""

import math
import os
import random
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

from benchmarks.hostile.rig import CounterRecorder
from benchmarks.runner import Row, say
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from tests.dvfs.steered_node import FREE, KNEE, SteeredNode
from tests.support import added_s, eventually, stalled_s

OWED_S = 20.0
AGAIN_S = 90.0
PAUSES_S = (0.2, 1.0, 4.0, 12.0, 25.0)
LOOK_S = 0.02
KILLED_S, FROZEN_S, START_S = 6.0, 15.0, 30.0
PROCESSES = ("agent", "reader", "supervisor", "worker")
ACTUATOR = ("supervisor", "worker")
FAULTS = ("timeout", "no_permission", "unknown_error", "reset_required", "hang", "lost")
CALLS = ("", "nvmlDeviceSetGpuLockedClocks", "nvmlDeviceResetGpuLockedClocks", "nvmlDeviceGetClockInfo")


@dataclass
class SafetyResult:
    """Events and breaches. `strange`, `late` and `unsteered` are breaches, with the event before them."""

    events: list[str] = field(default_factory=list)
    settings_seen: int = 0
    killed: int = 0
    strange: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    longest_back_s: float = 0.0
    unsteered: list[str] = field(default_factory=list)


def is_strange(locks: list[tuple[int, int]]) -> bool:
    """Whether a GPU has anything but its original or the requested setting, or the free one any setting."""
    return any(lock not in (FREE, KNEE) for lock in locks) or locks[2] != FREE


class PromptCounterRecorder(CounterRecorder):
    """Before other threads where it may be: a value of the counter that it misses, the judgement lacks."""

    def run(self) -> None:
        """Until `ended`."""
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        super().run()


class SettingsMonitor(threading.Thread):
    """Reads the simulated node's settings 50 times per second."""

    def __init__(self, node: SteeredNode, result: SafetyResult) -> None:
        super().__init__(daemon=True)
        self._node, self._result = node, result
        self.lock, self.back_s = threading.Lock(), 0.0
        self._since: float | None = None
        self._stalled_s = 0.0
        self._last = [FREE] * 3
        self.ended = False

    def owe(self) -> None:
        """Nothing may stay set from now on."""
        with self.lock:
            self._since, self.back_s, self._stalled_s = time.monotonic(), 0.0, stalled_s()

    def pause(self) -> None:
        """Nothing is owed."""
        with self.lock:
            self._since = None

    def run(self) -> None:
        """Look until ended."""
        while not self.ended:
            with self.lock:
                self._look()
            time.sleep(LOOK_S)

    def _look(self) -> None:
        locks, result = self._node.locks(), self._result
        after = result.events[-1] if result.events else "start"
        if is_strange(locks):
            result.strange.append(f"{locks} after {after}")
        result.settings_seen += sum(a == FREE and b == KNEE for a, b in zip(self._last, locks, strict=True))
        self._last = locks
        if self._since is None or self.back_s:
            return
        took_s = time.monotonic() - self._since
        if set(locks) == {FREE}:
            self.back_s, result.longest_back_s = took_s, max(result.longest_back_s, took_s)
        elif took_s > OWED_S + added_s(self._stalled_s):
            self.back_s = took_s
            result.late.append(f"{locks} for {took_s:.1f} s after {after}")


class FaultInjector:
    """One node and the faults that can be injected into it."""

    def __init__(self, node: SteeredNode, draw: random.Random, result: SafetyResult, watch: SettingsMonitor) -> None:
        self._node, self._draw, self._result, self._watch = node, draw, result, watch
        self._agent = self._actuator = self._on = True
        self._fault: tuple[int, str] | None = None
        self._events: list[Callable[[], str]] = [
            self._end("killed"), self._end("ended"), self._end("frozen"), self._start_agent, self._start_agent,
            self._send("worker", signal.SIGKILL), self._send("worker", signal.SIGSTOP), self._kill_supervisor,
            self._kill_actuator, self._start_actuator, self._start_actuator, self._send("reader", signal.SIGKILL),
            self._send("reader", signal.SIGSTOP), self._send("job", signal.SIGKILL), self._fail, self._fail,
            self._reload_driver, self._reboot, self._switch, self._switch,
        ]  # fmt: skip

    def _send(self, process: str, number: signal.Signals) -> Callable[[], str]:
        """Kill or freeze a process of the node that its parent, which runs, replaces."""

        def send() -> str:
            parent = {"worker": self._actuator, "reader": self._agent, "job": True}[process]
            pid = parent and getattr(self._node, process)()
            return f"{process} gets {number.name}" if pid and self._kill(pid, how=number) else ""

        return send

    def event(self) -> str:
        """Cause an event that is possible now and return the requirement after it."""
        text = ""
        while not text:
            text = self._draw.choice(self._events)()
        self._result.events.append(text)
        owed = self._actuator and not self._fault and not (self._agent and self._on)
        (self._watch.owe if owed else self._watch.pause)()
        return text

    def _kill(self, *pids: int, how: int = signal.SIGKILL) -> bool:
        if not all(pids):
            return False
        for pid in pids:
            os.kill(pid, how)
        self._result.killed += how == signal.SIGKILL
        return True

    def _agent_pid(self) -> int:
        process = self._node.agent.process
        return process.pid if process is not None and process.poll() is None else 0

    def _end(self, how: str) -> Callable[[], str]:
        """Kill, end or freeze the agent that runs."""

        def end() -> str:
            if not (self._agent_pid() if how == "killed" else self._agent):  # a frozen one can be killed
                return ""
            if how == "frozen":
                os.kill(self._agent_pid(), signal.SIGSTOP)
            else:
                (self._node.kill_agent if how == "killed" else self._node.end_agent)()
            self._agent, self._result.killed = False, self._result.killed + (how == "killed")
            return f"agent {how}"

        return end

    def _start_agent(self) -> str:
        if self._agent:
            return ""
        if pid := self._agent_pid():
            os.kill(pid, signal.SIGCONT)
        else:
            self._node.start_agent()
        self._agent = True
        return "agent goes on"

    def _kill_supervisor(self) -> str:
        if not self._actuator or not self._kill(self._node.supervisor):
            return ""
        self._node.actuator.wait(60)
        self._actuator = False  # its worker puts back and ends
        return "supervisor killed"

    def _kill_actuator(self) -> str:
        both = self._node.supervisor, self._node.worker()
        if not self._actuator or not all(both):
            return ""
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that neither sees the other die
            self._kill(*both, how=number)
        self._node.actuator.wait(60)
        self._actuator = False
        return "actuator killed, both of it"

    def _start_actuator(self) -> str:
        if self._actuator:
            return ""
        self._node.start_actuator()
        self._actuator = True
        return "actuator started"

    def _fail(self) -> str:
        """A fault, or the end of the one there is."""
        if self._fault is not None:
            gpu, kind = self._fault
            self._node.node.clear(gpu, kind)
            self._fault = None
            return f"GPU {gpu}: {kind} is over"
        gpu, kind = self._fault = self._draw.randrange(3), self._draw.choice(FAULTS)
        call = "" if kind in ("lost", "reset_required") else self._draw.choice(CALLS)
        self._node.node.fault(gpu, kind, call=call)
        return f"GPU {gpu}: {kind} {call}".rstrip()

    def _reload_driver(self) -> str:
        self._node.node.fault(0, "driver_reload")
        return "driver reloaded"

    def _reboot(self) -> str:
        if not (self._agent and self._actuator) or self._fault or not self._node.worker():
            return ""
        with self._watch.lock:  # the plant is another one
            self._node.reboot()
        self._result.killed += 3
        self._node.start_actuator()
        self._agent = False
        return "reboot"

    def _switch(self) -> str:
        if not self._actuator:
            return ""
        word = "off" if self._on else "on"
        done = self._node.cli("dvfs", word, "--socket", str(self._node.folder / "a.sock"))
        if done.returncode:  # no worker yet
            return ""
        self._on = not self._on
        return f"switched {word}"

    def well(self) -> None:
        """Make everything well again, and note whether the node is then steered in time."""
        self._watch.pause()
        if self._fault is not None:
            self._fail()
        self._start_actuator()
        self._start_agent()
        if not self._on:
            eventually(self._switch, every=1.0)
        end = time.monotonic() + AGAIN_S
        while not (steered := self._node.steered()) and time.monotonic() < end:
            time.sleep(0.2)
        if not steered:
            self._result.unsteered.append(f"after {self._result.events[-1:]}")

    def strike(self) -> Row:
        """Signal some of the four processes of a steered node; seconds count from then, or from the next actuator's start."""
        node, draw = self._node, self._draw
        pids = dict(
            zip(PROCESSES, (self._agent_pid(), eventually(node.reader), node.supervisor, eventually(node.worker)), strict=True)
        )
        targets = draw.sample(PROCESSES, draw.choice([1, 1, 1, 2, 2, len(PROCESSES)]))
        numbers = {name: draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]) for name in targets}
        if len(targets) == len(PROCESSES):
            numbers = dict.fromkeys(targets, signal.SIGKILL)
        both = [name for name in ACTUATOR if set(targets) >= set(ACTUATOR)]
        # Both actuator processes are stopped first, so that neither sees the other die; systemd kills the rest of a unit.
        order = [(name, signal.SIGSTOP) for name in both] + list(numbers.items()) + [(name, signal.SIGKILL) for name in both]
        for name, number in order:
            with suppress(ProcessLookupError):
                os.kill(pids[name], number)
        limit_s = FROZEN_S if signal.SIGSTOP in numbers.values() else KILLED_S
        kind = f"{'one' if len(targets) == 1 else 'two'} {'killed' if limit_s == KILLED_S else 'frozen or killed'}"
        row: Row = {"kind": kind, "processes": len(targets), "limit_s": limit_s, "back_s": None}
        if both:
            node.actuator.wait(10)
            time.sleep(draw.choice([0.0, 1.0]))
            row |= {"kind": "all dead" if len(targets) == len(PROCESSES) else "actuator dead", "limit_s": START_S}
        self._watch.owe()
        if both:
            node.start_actuator()
        if targets == ["reader"]:
            self._watch.pause()
            time.sleep(draw.choice([0.0, 0.5, 2.0]))
            row |= {"kind": "reader alone", "limit_s": None}
        else:
            end_s = time.monotonic() + row["limit_s"] + 20
            while not self._watch.back_s and time.monotonic() < end_s:
                time.sleep(LOOK_S)
            row["back_s"] = self._watch.back_s or math.inf
        self._result.events.append(str(numbers))
        for name in {"agent", "supervisor"} & numbers.keys():
            with suppress(ProcessLookupError):  # frozen processes continue or are killed
                os.kill(pids[name], draw.choice([signal.SIGCONT, signal.SIGKILL]) if numbers[name] == signal.SIGSTOP else 0)
        for process in (node.agent.process, node.actuator):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        self._agent, self._actuator = bool(self._agent_pid()), node.actuator.poll() is None
        end_s = time.monotonic() + 20
        while not self._actuator and Path(f"/proc/{pids['worker']}").exists() and time.monotonic() < end_s:
            time.sleep(0.05)
        return row


def play(events: int, kills: int, seed: str) -> tuple[list[Row], Row]:
    """Run `events` on a node, 0.2 to 25 s apart, then rounds until `kills` processes got signals; return rounds and end."""
    draw, result, rounds = random.Random(seed), SafetyResult(), list[Row]()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as exits:
        node = SteeredNode(Path(folder))
        node.boot()
        counters = PromptCounterRecorder(node.plant)
        if kills:  # before the agent, whose first reading it has to know; a reboot is the end of a plant
            counters.start()
            time.sleep(0.5)
        node.start_actuator()
        exits.push(node)  # ends all of it
        node.start_agent()
        watch = SettingsMonitor(node, result)
        watch.start()
        chaos = FaultInjector(node, draw, result, watch)
        for number in range(events):
            if draw.random() < 0.35:
                chaos.well()
            say(f"{number + 1} of {events}: {chaos.event()}")
            time.sleep(draw.choice(PAUSES_S))
        while sum(row["processes"] for row in rounds) < kills:
            chaos.well()
            rounds.append(chaos.strike())
            say(f"node {seed}: {rounds[-1]}")
        chaos.well()
        time.sleep(15)  # the agent fetches the actuator's history in this time
        node.end_agent()
        node.end_actuator()
        time.sleep(0.2)
        watch.ended = True
        watch.join()
        energy: Row = {}
        if kills:
            counters.ended.set()
            counters.join()
            rows = [located.row for located in read_rows(node.folder / "state")]
            cells = [row for row in rows if isinstance(row, Cell) and row.device.startswith("GPU-")]
            energy = dict(zip(("recorded_uj", "counter_difference_uj"), counters.judge(cells), strict=False))
        original = node.free() and node.limits() == [700_000] * 3
        recorded = sum(1 for _, action, outcome in node.actions() if action == "set" and outcome.startswith("ok"))
        verifies = node.cli("ledger", "verify", str(node.folder / "state")).returncode == 0
    whole = (
        original and verifies and not (result.strange or result.late or result.unsteered or energy.get("counter_difference_uj"))
    )
    return rounds, asdict(result) | energy | {
        "settings_recorded": recorded, "original_settings_at_end": original, "ledger_verifies": verifies,
        "ok": whole and (kills > 0 or recorded >= result.settings_seen - result.killed),
    }  # fmt: skip


def run(events: int = 150, kills: int = 40, nodes: int = 2, seed: int = 1) -> Iterator[Row]:
    """Run `events` on one node, then kill or freeze `kills` processes over all nodes, which run at the same time."""
    if events:
        yield play(events, 0, str(seed))[1]
    if not kills:
        return
    with ProcessPoolExecutor(nodes, get_context("spawn")) as pool:
        names = [f"{seed}-{number}" for number in range(nodes)]
        outcomes = list(pool.map(play, [0] * nodes, [-(-kills // nodes)] * nodes, names))
    rounds = sorted((row for node, _ in outcomes for row in node), key=lambda row: str(row["kind"]))
    for kind, group in groupby(rounds, key=lambda row: str(row["kind"])):
        rows = list(group)
        times, limit_s = [row["back_s"] for row in rows if row["back_s"] is not None], rows[0]["limit_s"]
        late = sum(back_s > limit_s for back_s in times)
        yield {
            "kind": kind, "rounds": len(rows), "processes": sum(row["processes"] for row in rows), "limit_s": limit_s,
            "median_s": statistics.median(times) if times else None, "worst_s": max(times, default=None), "late": late,
            "ok": not late,
        }  # fmt: skip
    yield from (ending for _, ending in outcomes)
