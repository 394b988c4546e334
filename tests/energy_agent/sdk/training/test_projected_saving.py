"""After training, in mode shadow: what steering would have saved, in one line, by the one rank that speaks."""

import os
import subprocess
import sys
from pathlib import Path

from energy_agent.sdk.training.reporter import shadow_hint
from tests.doubles.agent import Agent, serving

SHADOW = {"mode": "shadow", "predicted_saving": {"ratio": 0.118, "lower": 0.052, "upper": 0.2}}
LINE = "steering would have saved 12 % (5.2 to 20 %) of this run's energy; docs/dvfs.md"


def test_a_promise_is_one_line() -> None:
    saving = {"ratio": 0.004, "lower": 0.0, "upper": 0.01}
    for reply, line in (
        (SHADOW, LINE), (SHADOW | {"slowdown": 0.03}, LINE.replace("energy;", "energy within a slowdown of 3 %;")),
        (SHADOW | {"mode": "enforce"}, ""), ({"mode": "shadow"}, ""), ({}, ""), (SHADOW | {"predicted_saving": saving}, ""),
        (SHADOW | {"predicted_saving": {"ratio": "x", "lower": None, "upper": float("nan")}}, ""),
        (SHADOW | {"predicted_saving": [1]}, ""),
    ):  # fmt: skip
        assert shadow_hint(reply) == line


def trained(agent: Agent, environ: dict[str, str] | None = None, options: str = "", then: str = "") -> str:
    """What a short training says on stderr."""
    code = f"""
import functools, time, wattlens
from energy_agent.runtime.network import agent_socket
from energy_agent.sdk.training import reporter
agent_socket.ask = functools.partial(agent_socket.ask, within_s=60.0)  # as long as a busy machine may need for an answer
reporter._FLUSH_S = 60.0  # a machine that is busy takes longer than a second for the last report
run = wattlens.training(model="m"{options})
for _ in range(20):
    run.step(tokens=10)
    time.sleep(0.02)
{then}
"""
    ours = {"WATTLENS_AGENT_SOCKET": str(agent.path), "WATTLENS_SUMMARY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | ours | (environ or {}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_first_rank_prints_projected_saving_at_process_end(tmp_path: Path) -> None:
    for n, (environ, options, line) in enumerate((
        ({}, "", f"wattlens: {LINE}\n"), ({"RANK": "0", "WORLD_SIZE": "2"}, "", f"wattlens: {LINE}\n"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "", ""), ({}, ", quiet=True", ""),
    )):  # fmt: skip
        with serving(Agent(tmp_path / f"s{n}")) as agent:
            agent.more = SHADOW
            assert trained(agent, environ, options) == line


def test_nothing_is_printed_without_a_projected_saving(tmp_path: Path) -> None:
    for n, answer in enumerate([(404, b'{"reason": "steers nothing"}'), (200, b"nonsense")]):
        with serving(Agent(tmp_path / f"s{n}")) as agent:
            original = agent.answer

            def other(method: str, path: str, body: bytes, answer=answer, original=original) -> tuple[int, bytes]:  # type: ignore[no-untyped-def]
                return answer if path == "/v1/dvfs" else original(method, path, body)

            agent.answer = other  # type: ignore[method-assign]
            assert trained(agent) == ""


def test_projected_saving_during_training_is_printed_after_its_steps_end(tmp_path: Path) -> None:
    with serving(Agent(tmp_path / "s")) as agent:
        agent.more = SHADOW
        gone = f"""
import pathlib
while not pathlib.Path({str(tmp_path / "promised")!r}).exists():
    time.sleep(0.02)
pathlib.Path({str(tmp_path / "gone")!r}).touch()
time.sleep(1)
"""
        original = agent._status

        def describe_until_gone() -> dict[str, object]:
            if (tmp_path / "gone").exists():
                return {"workload": "w", "reason": "no group of this workload is steered"}
            (tmp_path / "promised").touch()
            return original()

        agent._status = describe_until_gone  # type: ignore[method-assign]
        assert trained(agent, then=gone) == f"wattlens: {LINE}\n"
