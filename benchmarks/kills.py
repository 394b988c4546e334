"""Random kills and freezes of agent, reader, supervisor and worker: what the ledger lost, and when settings were back.

Run from the repository's root: python -m benchmarks.kills [--kills 40] [--nodes 2] [--seed 1] [--json]

Each node is three simulated GPUs, two of them steered, with a real agent and actuator. Each round waits until the node is
steered, then sends SIGKILL or SIGSTOP to one process, two, or all four, and measures until the plant has every original setting
back:

- within 6 s after kills, and within 15 s where a process was frozen, as long as supervisor or worker is untouched;
- otherwise by the time the next actuator serves, which this program starts as systemd would: after killing what is left;
- a reader alone owes nothing, since the agent replaces it and steers on.

At the end each GPU's recorded energy must equal the change of the driver's counter to the microjoule, and the ledger verifies.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.hostile.rig import CounterRecorder
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from tests.dvfs.steered_node import FREE, KNEE, SteeredNode

KILLED_S, FROZEN_S = 6.0, 15.0
AGAIN_S = 120.0
START_S = 30.0  # for the next actuator to serve
SAMPLE_S = 0.02
PROCESSES = ("agent", "reader", "supervisor", "worker")
ACTUATOR = {"supervisor", "worker"}


@dataclass(frozen=True, slots=True)
class Round:
    """What was done, and when every setting was back: seconds after it, or after the start of the next actuator."""

    kind: str
    signals: dict[str, str]
    limit_s: float | None
    back_s: float | None

    @property
    def is_late(self) -> bool:
        """Whether settings were owed and not back in time."""
        return self.limit_s is not None and (self.back_s is None or self.back_s > self.limit_s)


@dataclass(slots=True)
class Outcome:
    """One node's rounds, and what its ledger has at the end. Energy in µJ."""

    rounds: list[Round] = field(default_factory=list)
    recorded_uj: int = 0
    counter_difference_uj: int = 0
    wrong_settings: list[str] = field(default_factory=list)
    unsteered: int = 0
    original_settings_at_end: bool = False
    ledger_verifies: bool = False

    @property
    def kills(self) -> int:
        """Processes that were killed or frozen."""
        return sum(len(r.signals) for r in self.rounds)

    @property
    def ok(self) -> bool:
        """Every law was kept."""
        broken = self.counter_difference_uj or self.wrong_settings or self.unsteered or any(r.is_late for r in self.rounds)
        return not broken and self.original_settings_at_end and self.ledger_verifies and self.recorded_uj > 0


class PromptCounterRecorder(CounterRecorder):
    """Before other threads where it may be: a value of the counter that it misses, the judgement lacks."""

    def run(self) -> None:
        """Until `ended`."""
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        super().run()


class SettingRecorder(threading.Thread):
    """When the plant last had every original setting, 50 times per second."""

    def __init__(self, node: SteeredNode, outcome: Outcome) -> None:
        super().__init__(daemon=True)
        self._node, self._outcome = node, outcome
        self.ended = threading.Event()
        self.free_s: list[float] = []

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(SAMPLE_S):
            locks = self._node.locks()
            if any(lock not in (FREE, KNEE) for lock in locks) or locks[2] != FREE:
                self._outcome.wrong_settings.append(str(locks))
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

    def attack(self) -> Round:
        """One round, on a node that is steered."""
        node, draw = self._node, self._draw
        assert node.agent.process is not None
        pids = {
            "agent": node.agent.process.pid, "reader": node.reader(), "supervisor": node.supervisor, "worker": node.worker(),
        }  # fmt: skip
        count = draw.choice([1, 1, 1, 2, 2, len(PROCESSES)])
        targets = draw.sample(PROCESSES, count)
        numbers = {name: draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]) for name in targets}
        if count == len(PROCESSES):
            numbers = dict.fromkeys(targets, signal.SIGKILL)
        if set(targets) >= ACTUATOR:  # stopped first, so that neither sees the other die
            for name in ACTUATOR:
                os.kill(pids[name], signal.SIGSTOP)
        for name, number in numbers.items():
            with suppress(ProcessLookupError):
                os.kill(pids[name], number)
        began_s = time.monotonic()
        signals = {name: number.name for name, number in numbers.items()}
        if set(targets) >= ACTUATOR:
            for name in ACTUATOR:  # what is left of a unit, systemd kills before it starts another
                with suppress(ProcessLookupError):
                    os.kill(pids[name], signal.SIGKILL)
            node.actuator.wait(10)
            time.sleep(draw.choice([0.0, 1.0]))
            began_s = time.monotonic()
            node.start_actuator()
            back = Round("all dead" if count == 4 else "actuator dead", signals, START_S, self._settings.wait(began_s, START_S))
        elif set(targets) == {"reader"}:
            time.sleep(draw.choice([0.0, 0.5, 2.0]))
            back = Round("reader alone", signals, None, None)
        else:
            limit_s = FROZEN_S if signal.SIGSTOP in numbers.values() else KILLED_S
            kind = f"{'one' if count == 1 else 'two'} {'killed' if limit_s == KILLED_S else 'frozen or killed'}"
            back = Round(kind, signals, limit_s, self._settings.wait(began_s, limit_s + 20))
        self._clean_up(pids, numbers)
        return back

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
            _await_end(pids["worker"])


def _await_end(pid: int) -> None:
    """Wait until a process that is not ours has ended, for at most 20 s."""
    end_s = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end_s:
        time.sleep(0.05)


def run(kills: int, seed: int, number: int = 0) -> Outcome:
    """Rounds on one node until so many processes were killed or frozen."""
    outcome, draw = Outcome(), random.Random(f"{seed}-{number}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as exits:
        node = SteeredNode(Path(folder))
        node.boot()
        settings, counters = SettingRecorder(node, outcome), PromptCounterRecorder(node.plant)
        counters.start()  # before the agent, whose first reading it has to know
        time.sleep(0.5)
        node.start_actuator()
        exits.push(node)  # ends all of it
        node.start_agent()
        settings.start()
        attacker = Attacker(node, draw, settings)
        while outcome.kills < kills:
            if not attacker.make_well():
                outcome.unsteered += 1
            this = attacker.attack()
            outcome.rounds.append(this)
            done = " ".join(f"{name} {sent}" for name, sent in this.signals.items())
            back = "-" if this.back_s is None else f"{this.back_s:.2f} s"
            print(
                f"node {number}: {outcome.kills} of {kills}: {done}: back {back}{' LATE' * this.is_late}",
                file=sys.stderr,
                flush=True,
            )
        outcome.unsteered += not attacker.make_well()
        node.end_agent()
        node.end_actuator()
        time.sleep(0.2)
        for thread in (settings, counters):
            thread.ended.set()
            thread.join()
        outcome.original_settings_at_end = node.free() and node.limits() == [700_000] * 3
        _judge_energy(node.folder / "state", counters, outcome)
        outcome.ledger_verifies = node.cli("ledger", "verify", str(node.folder / "state")).returncode == 0
    return outcome


def _judge_energy(state: Path, counters: CounterRecorder, outcome: Outcome) -> None:
    cells = [row for located in read_rows(state) if isinstance(row := located.row, Cell) and row.device.startswith("GPU-")]
    for uuid in sorted({cell.device for cell in cells}):
        own = [cell for cell in cells if cell.device == uuid]
        energy = sum(cell.energy_uj for cell in own)
        span = min(cell.run.start_ns for cell in own), max(cell.run.end_ns for cell in own)
        outcome.recorded_uj += energy
        outcome.counter_difference_uj += abs(counters.difference_uj(uuid, *span, energy))


def describe(outcomes: list[Outcome]) -> str:
    """The table of all nodes."""
    rounds = [r for o in outcomes for r in o.rounds]
    lines = [f"{'':<24}{'rounds':>8}{'kills':>8}{'median s':>10}{'worst s':>10}{'limit s':>10}{'late':>6}"]
    for kind in sorted({r.kind for r in rounds}):
        own = [r for r in rounds if r.kind == kind]
        times = [r.back_s for r in own if r.back_s is not None]
        figures = f"{statistics.median(times):10.2f}{max(times):10.2f}" if times else f"{'-':>10}{'-':>10}"
        limit = f"{own[0].limit_s:g}" if own[0].limit_s is not None else "-"
        count = sum(len(r.signals) for r in own)
        lines.append(f"{kind:<24}{len(own):8}{count:8}{figures}{limit:>10}{sum(r.is_late for r in own):6}")
    lines += [
        f"{sum(o.kills for o in outcomes)} processes killed or frozen",
        f"recorded {sum(o.recorded_uj for o in outcomes)} µJ, "
        f"minus driver counters {sum(o.counter_difference_uj for o in outcomes)} µJ",
        f"wrong settings {sum(len(o.wrong_settings) for o in outcomes)}, "
        f"not steered again {sum(o.unsteered for o in outcomes)}, "
        f"original settings at the end {all(o.original_settings_at_end for o in outcomes)}, "
        f"ledgers verify {all(o.ledger_verifies for o in outcomes)}",
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="processes to kill or freeze, over all nodes")
    parser.add_argument("--nodes", type=int, default=2, help="nodes at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--node", type=int, help="run this node alone, and print its JSON")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.node is not None:
        print(json.dumps(asdict(run(options.kills, options.seed, options.node))))
        return 0
    share = str(-(-options.kills // options.nodes))
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", share, "--seed", str(options.seed), "--node"]
    nodes = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE) for number in range(options.nodes)]
    answers = [node.communicate()[0] for node in nodes]
    outcomes = [Outcome(**fields | {"rounds": [Round(**r) for r in fields["rounds"]]}) for fields in map(json.loads, answers)]
    print(json.dumps([asdict(o) | {"ok": o.ok} for o in outcomes]) if options.json else describe(outcomes))
    return not all(o.ok for o in outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
