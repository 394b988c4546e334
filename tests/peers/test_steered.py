"""`wattlens.steered` by PyTorch's own broadcast, called by the hooks: two ranks on two nodes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doubles.agent import Agent, serving
from tests.support import need_module

pytestmark = [pytest.mark.peer, pytest.mark.timeout(480)]

HEAD = """
import json, sys, tempfile, time
import torch
import torch.distributed as dist
torch.set_num_threads(1)
from energy_agent.sdk.steering import request
request._TURN_S, request._RENEW_S = 0.02, 0.1
import wattlens
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
steer, called = wattlens.steered(every_s=0.2), []
meet = steer._meet
steer._meet = lambda: (called.append(steps), meet())
steps = 0
"""
TORCH = """
from wattlens.hooks.torch import attach
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
attach(optimizer, model=model, tokens=8, steered=steer)
for steps in range(400):
    model(torch.ones(2, 4)).sum().backward()
    time.sleep(0.003 * (1 + rank))
    optimizer.step()
"""
LIGHTNING_OR_HF = """
from wattlens.hooks.{module} import WattlensCallback
callback = WattlensCallback(tokens=8, steered=steer)
class State:
    global_step = 0
class Trainer:
    global_step = 0
for steps in range(400):
    time.sleep(0.003 * (1 + rank))
    State.global_step = Trainer.global_step = steps + 1
    {call}
"""
CALLS = {
    "hf": "callback.on_step_end(None, State, None)",
    "lightning": "callback.on_train_batch_end(Trainer, None, None, None, steps)",
}
TAIL = """
steer.close()
print(json.dumps(called))
dist.destroy_process_group()
"""


@pytest.mark.parametrize(("hook", "modules"), [
    ("torch", ["torch"]), ("hf", ["torch", "transformers"]), ("lightning", ["torch", "pytorch_lightning"]),
])  # fmt: skip
def test_ranks_meet_at_the_same_steps_and_the_other_node_follows(tmp_path: Path, hook: str, modules: list[str]) -> None:
    for module in modules:
        need_module(module)
    loop = TORCH if hook == "torch" else LIGHTNING_OR_HF.format(module=hook, call=CALLS[hook])
    agents = [Agent(tmp_path / f"s{n}", f"GPU-{n}") for n in range(2)]
    agents[1].node = "n2"
    agents[0].clock_mhz = 1200
    with serving(agents[0]), serving(agents[1]):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", HEAD + loop + TAIL, str(rank), str(tmp_path / "store")],
                env=os.environ | {"WATTLENS_AGENT_SOCKET": str(agents[rank].path), "LOCAL_RANK": "0", "WATTLENS_SUMMARY": "0"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        last_lines = []
        for child in children:
            out, errors = child.communicate()
            assert child.returncode == 0, errors[-2000:]
            assert "wattlens" not in errors
            last_lines.append(out.splitlines()[-1])
    assert last_lines[0] == last_lines[1]
    assert {"sm_clock_max_mhz": 1200, "ttl_s": 15.0} in agents[1].posts
    assert agents[1].posts[-1] == {"ttl_s": 1}
    assert all("sm_clock_max_mhz" not in post for post in agents[0].posts)
