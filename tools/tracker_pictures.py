"""Draw docs/pictures/mlflow.png and wandb.svg: `python -m tools.tracker_pictures docs/pictures`.

WATTLENS_TRACKERS names the Python of an environment with `mlflow`, `wandb` and what Wattlens requires. A loop on a simulated
GPU logs its energy to MLflow, with a local database, and to W&B, offline. The pictures are those of MLflow's own server in a
headless Chromium, and of `wandb leet`, W&B's viewer of local runs, in tmux: the web UI of W&B needs a server of W&B.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

from energy_agent.core.errors import UsageError
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port, is_listening

COLUMNS, LINES, COLOURS = 176, 40, 64
SIZE = 1440, 1440
RUN_PAGE = 200, 20, 1065, 1320
LEET_S = 15.0
RUN_S = 60
NODE = """
boards: [{count: 1, sku: H100-SXM5-80GB}]
workloads: [{name: llama-8b, kind: training, gpus: [0], step_s: 0.5, checkpoint_every_s: 20, checkpoint_s: 3}]
"""
PROGRAM = """
import glob, os, sys, time
import mlflow, wandb, wattlens
from wattlens.hooks.mlflow import MlflowEnergyLog
from wattlens.hooks.wandb import WandbEnergyLog
name, seconds = sys.argv[1], float(sys.argv[2])
carbon = {"every_s": 1, "carbon_g_per_kwh": 363, "carbon_basis": "Germany 2024, direct, UBA"}
mlflow.set_tracking_uri("sqlite:///runs.db")
mlflow.set_experiment("llama-8b")
tracked = wandb.init(mode="offline", project="llama-8b", name=name, settings=wandb.Settings(silent=True, x_disable_stats=True))
with mlflow.start_run(run_name=name) as logged, wattlens.training(model="llama-8b", precision=name, quiet=True) as run:
    logs = MlflowEnergyLog(run=run, **carbon), WandbEnergyLog(run=run, **carbon)
    end = time.monotonic() + seconds
    step = 0
    while time.monotonic() < end:
        time.sleep(0.25)
        step += 1
        wattlens.step(tokens=4096)
        loss = 2.2 + 6 / (1 + step / 20)
        mlflow.log_metric("loss", loss, step=step)
        tracked.log({"loss": loss})
        for log in logs:
            log.step()
    for log in logs:
        log.finish()
tracked.finish()
wandb.teardown()
print(f"experiments/{logged.info.experiment_id}/runs/{logged.info.run_id}")
"""


def main(arguments: list[str]) -> int:
    """Draw both into a folder."""
    if len(arguments) != 1 or "WATTLENS_TRACKERS" not in os.environ:
        raise UsageError("expected a folder, and the variable WATTLENS_TRACKERS: a Python with mlflow and wandb")
    out, python = Path(arguments[0]).absolute(), os.environ["WATTLENS_TRACKERS"]
    with tempfile.TemporaryDirectory(prefix="wattlens-trackers-") as name:
        folder = Path(name)
        with SimulatedNode.start(scenario.parse(NODE.encode(), "picture"), folder / "node", timeout_s=120) as node:
            variables = {"PYTHONPATH": str(Path(__file__).parents[1]), "WATTLENS_AGENT_SOCKET": str(folder / "none.sock")}
            command, environ = [python, "-c", PROGRAM, "bf16", str(RUN_S)], os.environ | node.environ() | variables
            printed = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout
        _draw_mlflow(folder, python, printed.splitlines()[-1], out / "mlflow.png")
        _draw_wandb(folder, python, out / "wandb.svg")
    return 0


def _draw_mlflow(folder: Path, python: str, path: str, target: Path) -> None:
    """A page of MLflow's server."""
    port = free_port()
    server = [
        python,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        "sqlite:///runs.db",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "server.log").open("wb"))
        process = subprocess.Popen(server, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        eventually(lambda: is_listening(port), 600, 1)
        picture = folder / "mlflow.png"
        _shoot(f"http://127.0.0.1:{port}/#/{path}", picture)
        with Image.open(picture) as drawn:
            drawn.convert("RGB").crop(RUN_PAGE).quantize(COLOURS).save(target, optimize=True)


def _shoot(address: str, picture: Path) -> None:
    width, height = SIZE
    command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"]
    command += ["--virtual-time-budget=60000", f"--screenshot={picture}", address]
    subprocess.run(command, check=True, capture_output=True, timeout=600)


def _draw_wandb(folder: Path, python: str, target: Path) -> None:
    """What `wandb leet` shows of the run."""
    tmux = ["tmux", "-L", f"wattlens-{os.getpid()}", "-f", "/dev/null"]
    environ = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
    environ["WANDB_CONFIG_DIR"] = str(folder / "leet")  # it remembers which columns are hidden
    (run,) = (folder / "wandb").glob("offline-run-*")
    command = f"{python} -m wandb leet run {run}"
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), command], cwd=folder, env=environ, check=True
    )
    try:
        time.sleep(LEET_S)
        for key in "[]":  # hide the columns with local paths, one after the other
            subprocess.run([*tmux, "send-keys", key], env=environ, check=True)
            time.sleep(LEET_S / 3)
        screen = subprocess.run(
            [*tmux, "capture-pane", "-e", "-N", "-p"], capture_output=True, text=True, check=True, env=environ
        )
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(screen.stdout.rstrip("\n")), no_wrap=True)
    drawn = console.export_svg(title="wandb leet")
    target.write_text(re.sub(r"@font-face {.*?}|<!--.*?-->", "", drawn, flags=re.S))  # fonts of another host


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
