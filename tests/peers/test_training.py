"""PyTorch, Hugging Face's Trainer and Lightning with their hooks: steps and tokens are the optimizer's, joules the plant's."""

import subprocess
import sys

import pytest

from tests.energy_agent.sdk.training import training_run
from tests.support import need_module

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("training"), pytest.mark.timeout(360)]
STEPS = 60


@pytest.mark.parametrize(("hook", "modules"), [
    ("torch", ["torch"]), ("hf", ["torch", "transformers", "accelerate"]), ("lightning", ["torch", "pytorch_lightning"]),
])  # fmt: skip
def test_a_framework_trains_and_every_step_token_and_joule_is_there(hook, modules):
    for module in modules:
        need_module(module)
    result = training_run.train(hook, STEPS, kill=False)
    assert result["steps"] == STEPS
    assert (result["told_steps"], result["told_tokens"]) == (result["steps"], result["tokens"])
    assert result["joules"] == pytest.approx(result["true_joules"], abs=training_run.TICKS_S * result["power_w"])
    last_report = result["last"]
    assert last_report["ranks"][0]["loss"] > 0
    assert last_report["joules_per_token"] == pytest.approx(last_report["joules"] / result["tokens"])
    if hook != "torch":
        assert last_report["steps"]["evaluation"] >= 4  # batches of held-out data


RANKS = """
import os, sys
import torch
import torch.distributed as dist
from wattlens.hooks.torch import attach
from energy_agent.sdk.training.step_counter import counter
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
hook = attach(optimizer, model=model, tokens=8)
for _ in range(5):
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(torch.ones(2, 4)).sum()
    hook.loss = loss.detach()
    loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        optimizer.step()
hook.remove()
optimizer.step()
report = counter().as_report()
assert (report["steps"], report["tokens"], report["rank"], report["world"]) == ({"training": 5}, 40, rank, 2), report
assert (report["model"], report["precision"]) == ("Linear", "bf16"), report
assert report["loss"] is not None
dist.destroy_process_group()
"""


def test_each_ddp_rank_counts_and_reports_its_rank(tmp_path):
    need_module("torch")
    command = [sys.executable, "-c", RANKS]
    children = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    for child in children:
        _, errors = child.communicate()
        assert child.returncode == 0, errors[-2000:]


COMPILED = """
import torch
from wattlens.hooks.torch import attach
from energy_agent.sdk.training.step_counter import counter
model = torch.nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
attach(optimizer, model=torch.compile(model, backend="eager"), tokens=8)
step = torch.compile(optimizer.step, backend="eager")
for _ in range(4):
    model(torch.ones(2, 4)).sum().backward()
    step()
report = counter().as_report()
assert (report["steps"], report["model"]) == ({"training": 4}, "Linear"), report
"""


def test_a_compiled_optimizer_is_counted_at_each_step():
    need_module("torch")
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
