"""A training job that knows only the agent's socket: a loop with Zeus's callbacks, whose steps a simulated GPU runs.

Arguments: the profile's file, and a file whose creation ends the job. If started as root, it becomes nobody first. Each line of
output is a JSON list: the plant's truth at the start of a step (ns, true uJ, applied limit in mW); after the sweep, one line
with its result.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from energy_agent.sdk.zeus.optimizer import GlobalPowerLimitOptimizer, MaxSlowdownConstraint
from energy_agent.sim.gpu.plant import Plant

STEP_NS = 20_000_000
FACTOR = 1.15
NOBODY = 65534


def become_nobody() -> None:
    """Give up every privilege; what is needed of Python is loaded by now."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def main() -> None:
    optimizer = GlobalPowerLimitOptimizer(
        optimum_selector=MaxSlowdownConstraint(FACTOR), pl_step=100, profile_path=Path(sys.argv[1]), min_window_s=3.0
    )
    with Plant.attach(Path(os.environ["WATTLENS_SIM"]) / "plant") as plant:
        become_nobody()
        print(json.dumps("up"), flush=True)
        sys.stdin.readline()  # until this process is in the node's table
        slot = plant.attach_process(0, os.getpid(), memory_b=1 << 30)
        told = False
        while not Path(sys.argv[2]).exists():
            truth = plant.truth(0)
            print(json.dumps([truth.t_ns, truth.true_uj, truth.power_limit_mw]), flush=True)
            optimizer.on_step_begin()
            plant.wait(0, slot, plant.submit(0, slot, reference_ns=STEP_NS, memory_boundness=0.2))
            optimizer.on_step_end()
            if optimizer.done and not told:
                told = True
                rows = [asdict(m) for m in optimizer.measurements]
                print(json.dumps({"kept_w": optimizer.optimal_power_limit_w, "measurements": rows}), flush=True)
        print(json.dumps("over"), flush=True)


if __name__ == "__main__":
    main()
