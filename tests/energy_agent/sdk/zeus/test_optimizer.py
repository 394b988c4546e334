"""The sweep of energy_agent.sdk.zeus.optimizer, step by step, against an agent that is played over a real socket."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from energy_agent.sdk import requesting
from energy_agent.sdk.zeus import machine, power_limit
from energy_agent.sdk.zeus.optimizer import (
    Energy,
    GlobalPowerLimitOptimizer,
    MaxSlowdownConstraint,
    OptimumSelector,
    PowerLimitMeasurement,
    Time,
    ZeusCost,
)
from tests.doubles.agent import Agent, serving
from tests.support import eventually, refusal


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "s"))
    monkeypatch.setattr(power_limit, "_POLL_S", 0.005)
    monkeypatch.setattr(power_limit, "_WATCH_S", 0.01)
    with serving(Agent(tmp_path / "s")) as played:
        yield played
        if power_limit._speaker is not None:
            power_limit._speaker.hush()
            power_limit._speaker._thread.join()


def train(
    optimizer: GlobalPowerLimitOptimizer,
    agent: Agent,
    *,
    ends: Callable[[list[str]], bool] = lambda seen: False,
    steps: int = 20_000,
) -> list[str]:
    """Train until the sweep is over; the state that each step began in, with its limit. An epoch `ends` after what was seen."""
    seen: list[str] = []
    optimizer.on_epoch_begin()
    for _ in range(steps):
        optimizer.on_step_begin()
        seen.append(f"{optimizer._machine.doing} {optimizer._machine.limit_w:.0f}")
        if optimizer.done:
            return seen
        time.sleep(agent.step_s())
        optimizer.on_step_end()
        if ends(seen):
            optimizer.on_epoch_end()
            optimizer.on_epoch_begin()
    pytest.fail(f"the sweep does not end: {seen[-3:]}")


def runs(seen: list[str], state: str) -> list[tuple[int, int]]:
    """Return (limit, steps) of each interval in a state."""
    intervals = [(words.split(), len(list(same))) for words, same in groupby(seen)]
    return [(int(limit), steps) for (name, limit), steps in intervals if name == state]


def optimizer(**more: object) -> GlobalPowerLimitOptimizer:
    arguments: dict[str, object] = {"warmup_steps": 3, "profile_steps": 10, "pl_step": 100, "min_window_s": 0}
    return GlobalPowerLimitOptimizer(None, **(arguments | more))  # type: ignore[arg-type]


def test_limits_are_measured_from_high_to_low_and_the_right_one_is_kept(agent: Agent, capsys, monkeypatch) -> None:
    joules = agent.joules  # of any window only at 700 W, so that the training does not go on before
    monkeypatch.setattr(agent, "joules", lambda *window: joules(*window) if agent.limits[-1:] == [700.0] else None)
    made = optimizer(optimum_selector=MaxSlowdownConstraint(1.25))
    seen = train(made, agent)
    limits = [700, 600, 500, 400, 300, 200]
    assert runs(seen, "Profiling") == [(limit, 10) for limit in limits]
    assert runs(seen, "Warmup") == [(limit, 3) for limit in limits]
    assert [m.power_limit for m in made.measurements] == limits
    for m in made.measurements:
        assert m.energy == pytest.approx(0.9 * m.power_limit * m.time, rel=0.05)  # the board's own truth
        assert m.energy_half_width == 1.0
    slow = [m.time / made.measurements[0].time for m in made.measurements]
    assert made.optimal_power_limit_w == min(limit for limit, s in zip(limits, slow, strict=True) if s <= 1.25)
    kept = [limit for limit in [made.optimal_power_limit_w] if limit != 700]  # on a machine that stalls it can be 700
    # The highest while the last energy is awaited.
    eventually(lambda: agent.limits == [*limits, 700, *kept])
    made.on_train_end()
    eventually(lambda: agent.in_force_w is None)
    made.on_step_begin()
    eventually(lambda: agent.in_force_w == made.optimal_power_limit_w)
    assert capsys.readouterr().err == ""
    made._machine.asker.stop()
    assert agent.posts[-1] == {"ttl_s": 1}


def test_an_epoch_that_ends_amid_a_window_spoils_it_and_no_more(agent: Agent) -> None:
    made = optimizer(pl_step=250, profile_steps=20)
    seen = train(made, agent, ends=lambda seen: seen.count(seen[-1]) == 10 and seen[-1].startswith("Profiling"))
    assert runs(seen, "Profiling") == [(limit, steps) for limit in (700, 450, 200) for steps in (10, 20)]
    assert [m.power_limit for m in made.measurements] == [700, 450, 200]


@pytest.mark.parametrize(("setup", "limits"), [
    ({"allow_w": (330.0, 580.0)}, [580, 500, 400, 330]),  # what the owner does not allow is measured at what he does
    ({"found_w": 500.0}, [500, 400, 300, 200]),  # the optimizer requests no limit above the original one
    ({"cap_w": 450.0}, [450, 400, 300, 200]),  # a budget below the limits is measured once
])  # fmt: skip
def test_limits_that_cannot_come_into_force_are_not_measured(agent: Agent, monkeypatch, setup, limits) -> None:
    monkeypatch.setattr(power_limit, "_SETTLED_S", 1.0)
    for name, value in setup.items():
        setattr(agent, name, value)
    made = optimizer(optimum_selector=Energy())
    train(made, agent)
    assert [m.power_limit for m in made.measurements] == limits
    assert made.optimal_power_limit_w == Energy().select(made.measurements)  # which one costs least depends on the load
    assert max(post.get("power_limit_w", 0) for post in agent.posts) <= setup.get("found_w", 700)


def test_the_profile_is_written_and_read_instead_of_a_sweep(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    first = optimizer(profile_path=path, optimum_selector=Energy())
    train(first, agent)
    assert [row["power_limit"] for row in json.loads(path.read_text())["measurements"]] == [700, 600, 500, 400, 300, 200]
    eventually(lambda: agent.in_force_w == first.optimal_power_limit_w)  # which one costs least depends on the load
    first._machine.asker.stop()
    eventually(lambda: agent.in_force_w is None)
    agent.limits.clear()
    again = optimizer(profile_path=str(path), optimum_selector=Time())
    assert {name.split()[0] for name in train(again, agent)} <= {"Meeting", "Done"}
    assert again.measurements == first.measurements
    assert again.optimal_power_limit_w == Time().select(first.measurements)
    eventually(lambda: agent.limits == [again.optimal_power_limit_w])
    again._machine.asker.stop()


def test_wrong_arguments_and_files_are_refused_at_once(tmp_path: Path) -> None:
    for key, value in (("wait_steps", -1), ("warmup_steps", -1), ("profile_steps", 0), ("pl_step", 0), ("pl_step", -25),
                       ("profile_path", "/")):  # fmt: skip
        assert key in refusal(GlobalPowerLimitOptimizer, **{key: value}, error=ValueError)
    for selector, *arguments in ((ZeusCost, -0.1), (ZeusCost, 1.1), (ZeusCost, 0.5, 0), (MaxSlowdownConstraint, 0.99)):
        assert refusal(selector, *arguments, error=ValueError)
    path = tmp_path / "p.json"
    for text in ("", "[]", "{}", '{"measurements": []}', '{"measurements": [{"power_limit": 1}]}',
                 '{"measurements": [{"power_limit": 300, "energy": -1, "time": 1}]}'):  # fmt: skip
        path.write_text(text)
        assert "p.json" in refusal(GlobalPowerLimitOptimizer, profile_path=path, error=ValueError)


def test_a_limit_that_does_not_stay_in_force_is_measured_again_once(agent: Agent) -> None:
    made, seen = optimizer(pl_step=250, profile_steps=30), 0
    for _ in range(10_000):
        made.on_step_begin()
        seen += (made._machine.doing, made._machine.limit_w) == ("Profiling", 450)
        if seen == 15:
            seen += 1
            agent.drop()
            agent.asked.pop("power_limit_w")  # so that the same word, said again, counts
            before = len(agent.paths)
            eventually(lambda before=before: len(agent.paths) > before + 2)  # it has looked once more, and read the answer
        if made.done:
            break
        time.sleep(agent.step_s())
    assert seen > 15 + 30
    assert [m.power_limit for m in made.measurements] == [700, 450, 200]
    assert made.measurements[1].energy == pytest.approx(0.9 * 450 * made.measurements[1].time, rel=0.05)


@pytest.mark.parametrize(("setup", "says"), [
    ({"mode": "shadow"}, "mode is shadow for this workload; expected dvfs.mode: enforce and an actuator"),
    ({"mode": "observe"}, "mode is observe"),
    ({"refuses": True}, "its allow-list needs `knobs: [power]`"),
    ({"policy": "static"}, "dvfs.policy for this workload is 'static'; expected auto or asked"),
    ({"reason": "not steered: GPU 0 is in MIG mode"}, "MIG mode"),
])  # fmt: skip
def test_where_nothing_can_be_set_it_measures_as_found_and_says_once_what_it_needs(
    agent: Agent, capsys, monkeypatch, setup: dict[str, object], says: str
) -> None:
    monkeypatch.setattr(machine, "FORCE_S", 0.2)
    for name, value in setup.items():
        setattr(agent, name, value)
    made = optimizer(profile_path=agent.path.parent / "p.json")
    train(made, agent)
    for _ in range(20):
        made.on_step_begin()
    assert made.optimal_power_limit_w is None
    (one,) = made.measurements
    assert one.power_limit == 700
    assert one.energy == pytest.approx(0.9 * 700 * one.time, rel=0.05)
    assert agent.limits == []
    assert not (agent.path.parent / "p.json").exists()  # a later run is to sweep
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wattlens: power limits are not optimized: ")
    assert says in line


def test_without_an_agent_training_goes_on_with_one_line(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "none"))
    made = optimizer()
    for _ in range(50):
        made.on_step_begin()
        made.on_step_end()
    assert (made.done, made.measurements, made.optimal_power_limit_w) == (True, [], None)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no agent responds at {tmp_path}/none" in line


@pytest.mark.parametrize(
    "answer", [(200, b"not json"), (500, b"{}"), (200, b"[]"), (429, b"{}"), (403, b'{"reason": "hostPID"}')]
)
def test_an_agent_that_talks_nonsense_disturbs_nothing(agent: Agent, capsys, monkeypatch, answer) -> None:
    monkeypatch.setattr(machine, "MEET_S", 0.3)
    agent.answer_with = answer
    made = optimizer()
    train(made, agent)
    assert made.measurements == []
    assert capsys.readouterr().err.count("\n") == 1


def test_an_agent_that_goes_away_amid_the_sweep_disturbs_nothing(agent: Agent, capsys, monkeypatch) -> None:
    monkeypatch.setattr(machine, "FORCE_S", 0.3)
    monkeypatch.setattr(power_limit, "_WINDOW_S", 0.5)
    made = optimizer()
    for _ in range(10_000):
        made.on_step_begin()
        if len(made._machine._windows) == 2:
            agent.answer_with = (500, b"{}")
        if made.done:
            break
        time.sleep(agent.step_s())
    assert made.done
    assert len(made.measurements) <= 2


class Broken(OptimumSelector):
    def select(self, measurements: list[PowerLimitMeasurement]) -> int:
        raise RuntimeError("no")


def test_a_selector_that_raises_leaves_everything_as_found(agent: Agent, capsys) -> None:
    made = optimizer(optimum_selector=Broken(), pl_step=250)
    train(made, agent)
    assert (made.optimal_power_limit_w, len(made.measurements)) == (None, 3)
    assert capsys.readouterr().err == "wattlens: no power limit was selected: RuntimeError: no\n"
    eventually(lambda: agent.in_force_w is None)


def test_what_goes_wrong_inside_ends_the_sweep_and_not_the_training(agent: Agent, capsys, monkeypatch) -> None:
    made = optimizer()

    def breaks(_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(machine.RankConsensus, "together", breaks)
    for _ in range(20):
        made.on_step_begin()
    assert made.done
    assert capsys.readouterr().err.count("\n") == 1


def test_windows_are_long_enough_for_an_agent_that_reads_once_a_second(agent: Agent) -> None:
    made = optimizer(min_window_s=1.0, profile_steps=2, pl_step=250)
    (first, *others) = [count for _, count in runs(train(made, agent), "Profiling")]
    assert len(made.measurements) == 3
    assert others == [first] * 2  # or they could not be compared
    assert first > 2


PROGRAM = """
import os, sys, time
from energy_agent.sdk.zeus import power_limit
power_limit._POLL_S = 0.005
from energy_agent.sdk.zeus.optimizer import GlobalPowerLimitOptimizer
made = GlobalPowerLimitOptimizer(warmup_steps=1, profile_steps=2, pl_step=250, min_window_s=0)
while not made.done:
    made.on_step_begin()
    time.sleep(0.004)
print("done", flush=True)
sys.stdin.readline()  # until its limit is applied
"""


@pytest.mark.parametrize(("ending", "last"), [
    ("", {"ttl_s": 1}),  # it says that it is over
    ("if not os.fork(): sys.exit()\nos.wait(); os._exit(0)", None),  # what a fork does is not its parent's
    ("killed", None),  # its word ends by itself
])  # fmt: skip
def test_at_its_end_a_process_takes_back_its_word(agent: Agent, ending: str, last: dict[str, int] | None) -> None:
    command = [sys.executable, "-c", PROGRAM + ending]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        eventually(lambda: agent.in_force_w is not None)
        if ending == "killed":
            os.kill(child.pid, signal.SIGKILL)
            child.wait(60)
        child.communicate("\n", timeout=60)
    if last is not None:
        eventually(lambda: agent.posts[-1] == last)
        eventually(lambda: agent.in_force_w is None)
    else:
        assert agent.posts[-1]["ttl_s"] == power_limit.TTL_S
        assert "power_limit_w" in agent.posts[-1]


def test_a_step_costs_nothing_between_its_turns(agent: Agent, monkeypatch) -> None:
    """Not a timing: in warm-up, in the window and afterwards, the main thread neither sends requests nor waits."""
    asks, original = [], power_limit.ask

    def record_and_ask(*arguments: object, **more: object) -> object:
        asks.append(threading.current_thread().name)
        return original(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(power_limit, "ask", record_and_ask)
    train(optimizer(), agent)
    assert set(asks) == {"wattlens-asking"}


def test_a_limit_is_withdrawn_when_the_process_ends_right_after_the_training(agent: Agent) -> None:
    for limit_w in (450.0, 400.0, 350.0):
        asker = power_limit.PowerLimitClient()
        asker.start()
        asker.want(limit_w)
        eventually(lambda: agent.in_force_w == limit_w)  # noqa: B023
        asker.withdraw()
        asker.stop()
        assert "power_limit_w" not in agent.posts[-1]


def test_a_request_on_its_way_at_the_end_of_the_process_is_withdrawn(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requesting, "_WITHDRAW_S", 60.0)
    monkeypatch.setattr(power_limit, "ask", functools.partial(power_limit.ask, within_s=60.0))
    came, goes, answer = threading.Event(), threading.Event(), agent.answer

    def answer_late(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        came.set()
        goes.wait()
        return answer(method, path, body)

    monkeypatch.setattr(agent, "answer", answer_late)
    asker = power_limit.PowerLimitClient()
    asker.want(450.0)
    asker.start()
    came.wait()
    late = threading.Timer(0.2, goes.set)
    late.start()
    asker.stop()
    late.join()
    assert [post.get("power_limit_w") for post in agent.posts] == [450.0, None]


def test_an_interrupt_amid_a_step_ends_the_sweep_and_releases_the_limit(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        eventually(lambda: agent.in_force_w is not None)
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "synchronize", interrupt)  # which may wait for the GPU for long
    made = optimizer()
    with pytest.raises(KeyboardInterrupt):
        train(made, agent)
    eventually(lambda: agent.in_force_w is None)
    made.on_step_begin()
    assert (made.done, made.optimal_power_limit_w) == (True, None)
