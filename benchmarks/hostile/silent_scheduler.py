"""A scheduler's commands close their output and go on for ever, or write without end."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.hostile.rig import Attack, Rig
from benchmarks.running import family

_COMMAND = """#!/bin/sh
case $(( $(date +%s) % 2 )) in
0) exec >&- 2>&-; exec sleep 600 ;;
*) exec yes ;;
esac
"""


def configuration(folder: Path) -> Mapping[str, Any]:
    """A Slurm whose commands are ours."""
    for name in ("scontrol", "squeue"):
        (folder / name).write_text(_COMMAND)
        (folder / name).chmod(0o755)
    return {"holders": {"slurm": {"scontrol": str(folder / "scontrol"), "period_s": 1, "timeout_s": 1}}}


def run(rig: Rig) -> None:
    """Count the agent's processes all the time."""
    most, end_s = 0, time.monotonic() + rig.seconds
    while time.monotonic() < end_s:
        most = max(most, len(list(family(rig.agent.pid))))
        time.sleep(0.1)
    page = rig.agent.fetch(timeout_s=5.0).decode()
    rig.figures["most processes at a time"] = most
    rig.figures["reasons"] = [line for line in page.splitlines() if "source_down_info{" in line]
    rig.require("no command piles up", most <= 4)
    rig.require("the scheduler is a source that is down", any("holders:slurm" in line for line in rig.figures["reasons"]))


SPEC = Attack(
    name="silent_scheduler",
    summary="a scheduler's commands close their output and never end, or never stop writing",
    run=run,
    configuration=configuration,
    injects_faults=True,
)
