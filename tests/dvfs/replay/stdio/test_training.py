"""The open protocol, as a judge would use it: by the real command, with runs one after another."""

import json
import random
import subprocess
import sys

import pytest

from benchmarks.physics import job
from dvfs.policies.progress import SPEC
from dvfs.replay.stdio.lines import JsonLines
from dvfs.replay.stdio.training import serve
from energy_agent.core.errors import UsageError


def judge(seed: int, steps: int, talk) -> tuple[float, list[int]]:
    """Play a job of 12 limits; return the chosen limit and the number of steps of each request."""
    table, draw, asked = job("A100", "power_limit_w", 12, seed), random.Random(seed), []
    rows = {int(r.setting): r for r in table.rows}
    answer = talk({"knob": "power_limit_w", "settings": list(rows), "slowdown": 0.05, "steps": steps})
    left = steps
    while left:
        n = answer["steps"]
        asked.append(n)
        row, left = rows[answer["setting"]], left - n
        times = [row.time_s * (1 + draw.gauss(0, 0.02)) for _ in range(n)]
        answer = talk({"step_s": times, "power_w": [row.power_w] * n, "left": left}, answers=left > 0)
    chosen = talk({"left": 0})["chosen"]
    assert rows[chosen].time_s <= table.default.time_s * 1.05
    return chosen, asked


def test_runs_one_after_another_by_the_command() -> None:
    command = [sys.executable, "-m", "wattlens", "dvfs", "policy", "progress", "--stdio"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def talk(message: dict[str, object], *, answers: bool = True) -> dict:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline()) if answers else {}

        first = judge(1, 1000, talk)
        other = judge(2, 500, talk)
        again = judge(1, 1000, talk)
        assert first == again  # no memory of what was between
        assert sum(first[1]) == 1000
        assert other != first
        process.stdin.close()
        assert process.wait(60) == 0


def talked(*lines: object) -> list[dict]:
    said: list[dict] = []
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    serve(SPEC.trials, JsonLines(texts), lambda text: said.append(json.loads(text)))
    return said


FIRST = {"settings": [100, 150.5, 200], "slowdown": 0.05, "steps": 60}


def test_settings_are_told_as_they_were_given_blank_lines_are_none_and_steps_may_be_unknown() -> None:
    said = talked({**FIRST, "settings": [150.5, 100, 200]}, "", {"left": 0}, "  ", {"settings": [7]})
    assert [json.dumps(s.get("setting", s.get("chosen"))) for s in said] == ["200", "200", "7"]
    said = talked({"settings": [100, 200]}, {"step_s": [1.0] * 20, "power_w": [150.0] * 20}, {"left": 0})
    assert (set(said[1]), said[2]) == ({"setting", "steps"}, {"chosen": 200})


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["{"], "line 1: Invalid JSON"),
        (["[1]"], "line 1: Input should be an object"),
        ([{}], "line 1: settings: Field required"),
        ([{"settings": []}], "settings: List should have at least 1 item"),
        ([{"settings": [1, "x"]}], "settings.1.float: Input should be a valid number"),
        ([{"settings": [1, True]}], "settings.1"),
        ([{**FIRST, "slowdown": 0}], "slowdown"),
        ([{**FIRST, "steps": 0}], "steps: Input should be greater than or equal to 1"),
        ([{**FIRST, "knob": 3}], "knob: Input should be 'power_limit_w' or 'sm_clock_mhz'"),
        ([FIRST, {"left": 5}], "line 2: expected"),
        ([FIRST, {"left": -1}], "line 2: left: Input should be greater than or equal to 0"),
        ([FIRST, {"step_s": [1.0], "power_w": []}], "power_w: List should have at least 1 item"),
        ([FIRST, {"step_s": [1.0]}], "one time per power value"),
        ([FIRST, {"step_s": [1.0, 2.0], "power_w": [3.0]}], "line 2: a trial needs one time per power value"),
        ([FIRST, {"step_s": [-1.0], "power_w": [3.0]}], "step_s.0"),
        ([FIRST, {"step_s": [1.0], "power_w": [3.0], "left": 0}, {"left": 3}], "line 3: expected"),
        (['{"settings": [1e999]}'], "settings.0"),
        (["[" * 5000], "line 1"),
        (["x" * 2_000_000], "line 1: expected at most"),
    ],
)
def test_a_wrong_line_is_named(lines: list[object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        talked(*lines)
