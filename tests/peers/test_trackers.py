"""Real Weights & Biases, offline, and real MLflow with a local database, while a loop on a simulated GPU logs its energy.

WATTLENS_TRACKERS names the Python of an environment of their own (`pip install wandb mlflow-skinny sqlalchemy alembic`, and
what Wattlens requires).
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.energy_agent.nodes import environ_of, make_plant
from tests.support import need_environment, need_module

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

PREAMBLE = """
import json, os, sys, time
import wattlens
from energy_agent.sdk.training import reporter
reporter._PATIENCE_S = 0.0
carbon = {"every_s": 0.5, "carbon_g_per_kwh": 400, "carbon_basis": "DE 2024, direct"}
training = wattlens.training(model="m", quiet=True)
def loop(log, more=lambda k: None):
    for k in range(1, 101):
        wattlens.step(tokens=10)
        more(k)
        log.step()
        time.sleep(0.06)
    log.finish()
    status = training.status()
    return {"joules": status.joules, "low": status.low, "high": status.high, "steps": status.steps}
"""
WANDB = (
    PREAMBLE
    + """
import glob, wandb
from wandb.proto import wandb_internal_pb2
from wattlens.hooks.wandb import WandbEnergyLog
run = wandb.init(mode="offline", project="test", settings=wandb.Settings(silent=True))
status = loop(WandbEnergyLog(run=training, **carbon), lambda k: run.log({"loss": 1 / k}, step=k) if k % 5 == 0 else None)
run.finish()
wandb.teardown()  # the file is complete after it
data, rows, at, whole = open(glob.glob("wandb/offline-run-*/run-*.wandb")[0], "rb").read(), [], 7, b""
while at + 7 <= len(data):  # a LevelDB log: blocks of 32 KiB with records of checksum, length, kind (full, first, middle, last)
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768
        continue
    size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
    whole, at = whole + data[at + 7 : at + 7 + size], at + 7 + size
    if kind in (1, 4):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(whole)
        whole = b""
        if record.WhichOneof("record_type") == "history":
            rows.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.history.item})
print(json.dumps({"status": status, "rows": rows}))
"""
)
MLFLOW = (
    PREAMBLE
    + """
import mlflow
from wattlens.hooks.mlflow import MlflowEnergyLog
mlflow.set_tracking_uri("sqlite:///runs.db")
with mlflow.start_run() as run:
    status = loop(MlflowEnergyLog(run=training, **carbon))
client = mlflow.MlflowClient()
data = client.get_run(run.info.run_id).data
rows = [[m.step, m.value] for m in client.get_metric_history(run.info.run_id, "wattlens/energy_joules")]
print(json.dumps({"status": status, "rows": rows, "tags": data.tags, "metrics": data.metrics}))
"""
)
FRAMEWORKS = {
    "hf": """
import torch
from transformers import Trainer, TrainingArguments
from wattlens.hooks.hf import WattlensCallback
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def forward(self, x, labels=None):
        return {"loss": self.layer(x).pow(2).mean()}
data = [{"x": torch.ones(4), "labels": torch.ones(1)} for _ in range(8)]
arguments = TrainingArguments("out", max_steps=12, per_device_train_batch_size=2, report_to=[], use_cpu=True,
                              save_strategy="no", disable_tqdm=True)
Trainer(Model(), arguments, train_dataset=data, callbacks=[WattlensCallback(tokens=5, log=log)]).train()
""",
    "lightning": """
import torch
import pytorch_lightning as lightning
from wattlens.hooks.lightning import WattlensCallback
class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        return self.layer(batch).pow(2).mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)
loader = torch.utils.data.DataLoader(torch.ones(8, 4), batch_size=2)
lightning.Trainer(max_steps=12, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                  callbacks=[WattlensCallback(tokens=5, log=log)]).fit(Model(), loader)
""",
}
LISTED = """
import json, wattlens
from types import SimpleNamespace
from energy_agent.sdk.training.energy_log import EnergyLog
from energy_agent.sdk.training.progress import Status
rows, status = [], Status("nvml", 100.0, 50.0, 0, 0, None, "", "", 90.0, 110.0)
tracker = SimpleNamespace(
    log=lambda values, step: rows.append(step), note=lambda name, text: None, flush=lambda: rows.append("end")
)
log = EnergyLog(tracker, SimpleNamespace(status=lambda wait=True: status), every_s=0.0)
"""


@pytest.mark.parametrize(("hook", "modules"), [("hf", ["transformers", "accelerate"]), ("lightning", ["pytorch_lightning"])])
def test_a_frameworks_hook_logs_at_its_global_step(hook: str, modules: list[str], tmp_path: Path) -> None:
    for module in ("torch", *modules):
        need_module(module)
    program = f"{LISTED}{FRAMEWORKS[hook]}\nprint(json.dumps(rows))"
    variables = {"PYTHONPATH": str(Path(__file__).parents[2]), "WATTLENS_AGENT_SOCKET": str(tmp_path / "none.sock")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | variables, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [*range(1, 13), 12, "end"]


def reply_of(program: str, folder: Path) -> Any:
    python = need_environment("WATTLENS_TRACKERS", "a Python with wandb and mlflow")
    with make_plant(folder / "node", 1):
        variables = {"PYTHONPATH": str(Path(__file__).parents[2]), "WATTLENS_AGENT_SOCKET": str(folder / "none.sock")}
        done = subprocess.run(
            [python, "-c", program], env=environ_of(folder / "node") | variables, cwd=folder,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_wandb_has_energy_at_the_steps_and_every_row_of_the_program(tmp_path: Path) -> None:
    reply = reply_of(WANDB, tmp_path)
    assert [row["loss"] for row in reply["rows"] if "loss" in row] == [1 / k for k in range(5, 101, 5)]
    values = [row for row in reply["rows"] if "wattlens/energy_joules" in row]
    steps = [row["wattlens/step"] for row in values]
    assert len(values) >= 3
    assert steps == sorted(steps)
    assert steps[-1] == reply["status"]["steps"] == 100
    last, status = values[-1], reply["status"]
    assert 0 < last["wattlens/energy_joules_lower"] < last["wattlens/energy_joules"] < last["wattlens/energy_joules_upper"]
    assert last["wattlens/energy_joules"] == pytest.approx(status["joules"], rel=0.5)
    assert last["wattlens/co2e_grams"] == pytest.approx(last["wattlens/energy_joules"] / 9000)


def test_mlflow_has_energy_at_the_steps(tmp_path: Path) -> None:
    reply = reply_of(MLFLOW, tmp_path)
    assert reply["rows"][-1][0] == 100
    assert len(reply["rows"]) >= 3
    metrics = reply["metrics"]
    assert metrics["wattlens/energy_joules"] == reply["rows"][-1][1]
    assert metrics["wattlens/joules_per_step_lower"] < metrics["wattlens/joules_per_step"]
    assert metrics["wattlens/joules_per_token"] < metrics["wattlens/joules_per_token_upper"]
    assert reply["tags"]["wattlens/carbon_basis"] == "400 gCO2e/kWh: DE 2024, direct"
