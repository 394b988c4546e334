"""Zeus's callbacks end to end: a process without privilege, the real agent and actuator, and a node with real physics."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

from energy_agent.sdk.zeus.selection import MaxSlowdownConstraint, PowerLimitMeasurement
from tests.dvfs.real_node import RealNode
from tests.energy_agent.sdk.zeus import worker as zeus_worker
from tests.support import eventually

FOUND_W, LOWEST_W = 650, 330
ALLOW = f"{{devices: all, knobs: [power], power_w: [{LOWEST_W}, 700]}}"
LIMIT = "import pynvml as n; n.nvmlInit(); n.nvmlDeviceSetPowerManagementLimit(n.nvmlDeviceGetHandleByIndex(0), {mw})"


@pytest.fixture
def node() -> Iterator[RealNode]:
    """Its board was found below its highest limit."""
    with (
        tempfile.TemporaryDirectory(prefix="wattlens-zeus-") as name,  # every user may enter it
        RealNode(Path(name), ALLOW, {"mode": "enforce", "auto_groups": True}) as running,
    ):
        done = running.node.run([sys.executable, "-c", LIMIT.format(mw=FOUND_W * 1000)], timeout_s=60)
        assert done.returncode == 0, done.stderr
        yield running


def worker(node: RealNode) -> subprocess.Popen[str]:
    """A training job; it has the client socket and no other, and as root it gives that up."""
    (node.folder / "profile").mkdir(exist_ok=True)
    (node.folder / "profile").chmod(0o777)
    return node.train(
        "-m", "tests.energy_agent.sdk.zeus.worker", str(node.folder / "profile/p.json"), str(node.folder / "profile/end")
    )


def by_limit(marks: list[tuple[int, int, int]]) -> dict[int, tuple[float, float]]:
    """The truth: (s, J) of a step at each limit in W, without the first second after a change."""
    found: dict[int, list[tuple[float, float]]] = {}
    since_ns = 0
    for before, after in pairwise(marks):
        since_ns = after[0] if before[2] != after[2] else since_ns
        if before[0] - since_ns > 1e9:
            found.setdefault(round(before[2] / 1000), []).append(((after[0] - before[0]) / 1e9, (after[1] - before[1]) / 1e6))
    return {w: (mean(s for s, _ in steps), mean(j for _, j in steps)) for w, steps in found.items() if len(steps) > 20}


@pytest.mark.smoke
@pytest.mark.timeout(600)
def test_an_unprivileged_job_sweeps_limits_keeps_the_right_one_and_leaves_the_board_as_found(node: RealNode) -> None:
    plant = node.plant
    child = worker(node)
    assert child.stdout is not None
    marks, result = [], None
    for line in child.stdout:
        said = json.loads(line)
        if isinstance(said, dict):
            result = said
            break
        marks.append(tuple(said))
    assert result is not None, child.communicate()[1]
    truth = by_limit(marks)
    rows = {row["power_limit"]: row for row in result["measurements"]}
    assert list(rows) == [650, 550, 450, 350, LOWEST_W]  # from what was found down to what the owner allows
    assert set(rows) <= set(truth)
    steps = {w: rows[w]["time"] / truth[w][0] for w in rows}
    for limit, row in rows.items():
        # What it measured is the plant's: a window is a whole number of steps, and its joules are those of as many steps.
        assert row["energy"] / steps[limit] == pytest.approx(truth[limit][1] * plant.truth(0).gain, rel=0.05), limit
    # How slow a limit is depends on what else the machine does: what was measured decides, and that is the plant's.
    measured = [PowerLimitMeasurement(**row) for row in rows.values()]
    assert result["kept_w"] == MaxSlowdownConstraint(zeus_worker.FACTOR).select(measured)
    assert result["kept_w"] < FOUND_W
    eventually(lambda: plant.truth(0).power_limit_mw == result["kept_w"] * 1000)

    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    eventually(lambda: plant.truth(0).power_limit_mw == FOUND_W * 1000)

    # The next run reads the profile of this one and ends normally: the GPU has its original setting again.
    child = worker(node)
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(json.loads(line))
        if isinstance(lines[-1], list) and lines[-1][2] == result["kept_w"] * 1000:
            (node.folder / "profile/end").touch()
    _, errors = child.communicate(timeout=60)
    assert lines[-1] == "over", errors
    assert errors == ""
    (again,) = (line for line in lines if isinstance(line, dict))
    assert (again["kept_w"], len(again["measurements"])) == (result["kept_w"], 5)
    eventually(lambda: plant.truth(0).power_limit_mw == FOUND_W * 1000)
