"""Any sequence of kills, freezes, faults, reboots and switches on a steered node: what was set, and what came back when.

Run from the repository's root: python -m benchmarks.dvfs_safety [--events 150] [--seed 1] [--json]

Node, actuator, agent and job are real processes on simulated GPUs; the plant says what is set. Twenty times a second:

- a device has what it was found with, or the one setting that the policy asks for, and never anything else;
- once the agent is dead or frozen or the kill switch is on, and the actuator was left alone for as long, nothing is set after
  20 s: the design's 15 s, a look and a busy machine.

After every third event or so, and at the end, everything is made well again and steering is back within 90 s. Then all is ended
in order and nothing is set; the ledger verifies, and tells of every setting that was seen, but for as many as processes were
killed.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.dvfs.steered_node import FREE, KNEE, SteeredNode
from tests.support import added_s, eventually, stalled_s

OWED_S = 20.0
AGAIN_S = 90.0
PAUSES_S = (0.2, 1.0, 4.0, 12.0, 25.0)
LOOK_S = 0.05
FAULTS = ("timeout", "no_permission", "unknown_error", "reset_required", "hang", "lost")
CALLS = ("", "nvmlDeviceSetGpuLockedClocks", "nvmlDeviceResetGpuLockedClocks", "nvmlDeviceGetClockInfo")


@dataclass
class Result:
    """What happened. `strange`, `late` and `unsteered` are breaches, with the event after which they were seen."""

    events: list[str] = field(default_factory=list)
    settings_seen: int = 0
    settings_told: int = 0
    killed: int = 0
    strange: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    longest_back_s: float = 0.0
    unsteered: list[str] = field(default_factory=list)
    left_as_found: bool = False
    ledger_verifies: bool = False

    @property
    def held(self) -> bool:
        """Every law held."""
        whole = self.left_as_found and self.ledger_verifies and not (self.strange or self.late or self.unsteered)
        return whole and self.settings_told >= self.settings_seen - self.killed


class Watch(threading.Thread):
    """Looks at the plant, twenty times a second."""

    def __init__(self, node: SteeredNode, result: Result) -> None:
        super().__init__(daemon=True)
        self._node, self._result = node, result
        self._lock, self._back = threading.Lock(), True
        self._since: float | None = None
        self._stalled_s = 0.0
        self._last = [FREE] * 3
        self.ended = False

    def owe(self) -> None:
        """Nothing may stay set from now on."""
        with self._lock:
            self._since, self._back, self._stalled_s = time.monotonic(), False, stalled_s()

    def pause(self) -> None:
        """Nothing is owed."""
        with self._lock:
            self._since = None

    def blind(self) -> "threading.Lock":
        """Held while the plant is another one."""
        return self._lock

    def run(self) -> None:
        """Look until ended."""
        while not self.ended:
            with self._lock:
                self._look()
            time.sleep(LOOK_S)

    def _look(self) -> None:
        locks, result = self._node.locks(), self._result
        after = result.events[-1] if result.events else "start"
        if any(lock not in (FREE, KNEE) for lock in locks) or locks[2] != FREE:
            result.strange.append(f"{locks} after {after}")
        result.settings_seen += sum(a == FREE and b == KNEE for a, b in zip(self._last, locks, strict=True))
        self._last = locks
        if self._since is None or self._back:
            return
        took_s = time.monotonic() - self._since
        if set(locks) == {FREE}:
            self._back, result.longest_back_s = True, max(result.longest_back_s, took_s)
        elif took_s > OWED_S + added_s(self._stalled_s):
            self._back = True
            result.late.append(f"{locks} for {took_s:.1f} s after {after}")


class Run:
    """One node and what may happen to it."""

    def __init__(self, node: SteeredNode, draw: random.Random, result: Result, watch: Watch) -> None:
        self._node, self._draw, self._result, self._watch = node, draw, result, watch
        self._agent = self._actuator = self._on = True
        self._fault: tuple[int, str] | None = None
        self._events: list[Callable[[], str]] = [
            self._kill_agent, self._end_agent, self._freeze_agent, self._start_agent, self._start_agent, self._kill_worker,
            self._freeze_worker, self._kill_supervisor, self._kill_actuator, self._start_actuator, self._start_actuator,
            self._kill_reader, self._freeze_reader, self._kill_job, self._fail, self._fail, self._reload_driver, self._reboot,
            self._switch, self._switch,
        ]  # fmt: skip

    def event(self) -> str:
        """One that can happen now, and what is owed after it."""
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

    def _kill_agent(self) -> str:
        if not self._agent_pid():
            return ""
        self._node.kill_agent()
        self._agent, self._result.killed = False, self._result.killed + 1
        return "agent killed"

    def _end_agent(self) -> str:
        if not self._agent:
            return ""
        self._node.end_agent()
        self._agent = False
        return "agent ended"

    def _freeze_agent(self) -> str:
        if not self._agent:
            return ""
        os.kill(self._agent_pid(), signal.SIGSTOP)
        self._agent = False
        return "agent frozen"

    def _start_agent(self) -> str:
        if self._agent:
            return ""
        if pid := self._agent_pid():
            os.kill(pid, signal.SIGCONT)
        else:
            self._node.start_agent()
        self._agent = True
        return "agent goes on"

    def _kill_worker(self) -> str:
        return "worker killed" if self._actuator and self._kill(self._node.worker()) else ""

    def _freeze_worker(self) -> str:
        return "worker frozen" if self._actuator and self._kill(self._node.worker(), how=signal.SIGSTOP) else ""

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

    def _kill_reader(self) -> str:
        return "reader killed" if self._agent and self._kill(self._node.reader()) else ""

    def _freeze_reader(self) -> str:
        return "reader frozen" if self._agent and self._kill(self._node.reader(), how=signal.SIGSTOP) else ""

    def _kill_job(self) -> str:
        return "job killed" if self._kill(self._node.job()) else ""

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
        return "driver loaded anew"

    def _reboot(self) -> str:
        if not (self._agent and self._actuator) or self._fault or not self._node.worker():
            return ""
        with self._watch.blind():
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

    def well(self) -> bool:
        """Make everything well again; whether the node is then steered in time."""
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
        return steered


def run(events: int, seed: int, say: Callable[[str], None] = lambda text: None) -> Result:
    """So many events, from 0.2 to 25 s apart."""
    draw, result = random.Random(seed), Result()
    with tempfile.TemporaryDirectory() as folder, SteeredNode(Path(folder)) as node:
        watch = Watch(node, result)
        watch.start()
        chaos = Run(node, draw, result, watch)
        for number in range(events):
            if draw.random() < 0.35 and not chaos.well():
                result.unsteered.append(f"after {result.events[-1:]}")
            say(f"{number + 1} of {events}: {chaos.event()}")
            time.sleep(draw.choice(PAUSES_S))
        if not chaos.well():
            result.unsteered.append("at the end")
        time.sleep(15)  # the agent has fetched what the actuator did meanwhile
        node.end_agent()
        node.end_actuator()
        watch.ended = True
        watch.join()
        result.left_as_found = node.free() and node.limits() == [700_000] * 3
        result.settings_told = sum(1 for _, action, outcome in node.actions() if action == "set" and outcome.startswith("ok"))
        result.ledger_verifies = node.cli("ledger", "verify", str(node.folder / "state")).returncode == 0
    return result


def main(arguments: list[str]) -> int:
    """1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dvfs_safety", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    result = run(options.events, options.seed, lambda text: print(text, file=sys.stderr, flush=True))
    if options.json:
        print(json.dumps(asdict(result) | {"held": result.held}))
        return not result.held
    print(
        f"{len(result.events)} events, seed {options.seed}; {result.killed} processes killed; {result.settings_seen} settings "
        f"seen, {result.settings_told} in the ledger;\nall was back at most {result.longest_back_s:.1f} s after it had to be"
    )
    for name, breaches in (
        ("nothing strange was set", result.strange),
        ("never late", result.late),
        ("steered again whenever all was well", result.unsteered),
        ("left as found", [] if result.left_as_found else ["at the end"]),
        ("the ledger verifies", [] if result.ledger_verifies else ["at the end"]),
    ):
        print(f"{'BROKEN' if breaches else 'holds':8}{name}{': ' if breaches else ''}{'; '.join(breaches[:5])}")
    return not result.held


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
