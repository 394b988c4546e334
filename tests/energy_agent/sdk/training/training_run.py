"""Training with a hook on a simulated node whose agent may be killed: steps, tokens and joules of its ledger, and the truth."""

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from benchmarks.running import AgentProcess, running_agent, simulated

TICKS_S = 2 * 2 * 0.110
KILLS, KILL_AFTER_S = 2, 4.0  # once the framework is imported and steps are counted


def train(hook: str, steps: int, kill: bool) -> dict[str, Any]:
    """One hook on a separate node."""
    with simulated({"boards": [{"count": 1, "sku": "H100-SXM5-80GB", "counter_model": "full"}]}) as (folder, node):
        config = {"client": {"socket": f"{folder}/agent.sock"}, "holders": {"period_s": 1}}
        command = [sys.executable, "-m", "wattlens", "sim", "run", "--dir", str(folder / "node"), "--"]
        command += [sys.executable, "-m", "tests.energy_agent.sdk.training.training_worker", hook, str(steps)]
        command += [str(folder / "killed")] if kill else []
        environ = os.environ | {"WATTLENS_AGENT_SOCKET": f"{folder}/agent.sock"}
        ended, kills = threading.Event(), list[int]()
        with running_agent(node, folder / "state", config) as agent:
            killer = threading.Thread(target=_kill, args=(agent, ended, kills, folder / "killed"))
            try:
                with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
                    if kill:
                        killer.start()
                    out, errors = child.communicate(timeout=600)
            finally:
                ended.set()
                if kill:
                    killer.join()
    if child.returncode != 0:
        raise RuntimeError(errors[-2000:])
    return dict(json.loads(out.splitlines()[-1])) | {"killed": len(kills), "stderr": errors}


def _kill(agent: AgentProcess, ended: threading.Event, kills: list[int], over: Path) -> None:
    """Kill the agent repeatedly and restart it at once. The training does not end before `over` exists."""
    ended.wait(KILL_AFTER_S)
    while len(kills) < KILLS and not ended.wait(random.uniform(2.0, 4.0)):
        kills.append(agent.pid)
        agent.kill()
        agent.start()
    over.touch()
