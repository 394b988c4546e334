"""A small PyTorch model, trained on the CPU with each hook, whose work a simulated GPU does too.

Started by training_run as HOOK STEPS [FILE]: it trains so many steps, then waits until the file exists. The process enters the
node's process table as a separate container; each forward pass submits work to the GPU and waits for it, as a real one does. It
prints the truth of the run: steps and tokens by the optimizer's own count, and the plant's energy between two of the agent's
snapshots.
"""

import itertools
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from energy_agent.runtime.network.agent_socket import ask
from energy_agent.sim import roots
from energy_agent.sim.gpu.plant import Plant

PLAIN = "plain"  # without PyTorch: for tests that need Python alone
BATCH, LENGTH, VOCABULARY = 4, 16, 64
TOKENS = BATCH * LENGTH
GPU_MS = 20
BOOKED_S = 60.0  # an agent that starts on a busy machine takes its time


class SimulatedGpuWorker:
    """The process on the simulated GPU, with an observer for its own container."""

    def __init__(self, name: str) -> None:
        self.node, self._name = Path(os.environ["WATTLENS_SIM"]), name
        self.plant = Plant.attach(self.node / "plant")
        roots.add_process(self.node, os.getpid(), roots.cgroup_path(name, "docker", 1))
        self._slot = self.plant.attach_process(0, os.getpid(), memory_b=1 << 30)
        command = [sys.executable, "-m", __spec__.name, "observe", name]
        self._observer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def work(self) -> None:
        """A piece of work, waited for."""
        ticket = self.plant.submit(0, self._slot, reference_ns=GPU_MS * 1_000_000, memory_boundness=0.4)
        self.plant.wait(0, self._slot, ticket)

    def end(self) -> dict[str, Any]:
        """Leave the GPU and return the observations."""
        out, _ = self._observer.communicate(timeout=60)
        self.plant.detach_process(0, self._slot)
        roots.remove_process(self.node, os.getpid())
        return dict(json.loads(out))


def observe(name: str) -> dict[str, Any]:
    """Collect the agent's figures and the truth, in a separate process that does not slow the training down."""
    node = Path(os.environ["WATTLENS_SIM"])
    roots.add_process(node, os.getpid(), roots.cgroup_path(name, "docker", 1))
    truth: list[tuple[int, float]] = []  # UTC ns, J as the sensor sees it
    observations: list[dict[str, Any]] = []
    with Plant.attach(node / "plant") as plant:
        for turn in itertools.count():
            now = plant.truth(0)
            truth.append((now.t_ns, now.gain * now.true_uj / 1e6))
            if turn % 20 == 0:
                with suppress(OSError, ValueError):
                    status, reply = ask("GET", "/v1/me")
                    if status == 200 and reply.get("devices"):
                        observations.append(reply)
            if select.select([sys.stdin], [], [], 0.02)[0]:
                break
    roots.remove_process(node, os.getpid())

    def joules_at(t_ns: int) -> float:
        (t0, j0), (t1, j1) = next((a, b) for a, b in itertools.pairwise(truth) if b[0] >= t_ns)
        return j0 + (j1 - j0) * (t_ns - t0) / (t1 - t0)

    marks = [reply for reply in observations if truth[0][0] < reply["t_ns"] < truth[-1][0]]
    first, last = marks[0], marks[-1]
    spent, seconds = joules_at(last["t_ns"]) - joules_at(first["t_ns"]), (last["t_ns"] - first["t_ns"]) / 1e9
    result = {"joules": last["joules"] - first["joules"], "true_joules": spent, "power_w": spent / seconds}
    result |= {"told_steps": last["steps"].get("training"), "told_tokens": last["tokens"], "last": last}
    return result


def wait_booked(steps: int) -> None:
    """Wait until the agent has recorded the last report with a commit, even if it was killed a moment ago."""
    deadline_s = time.monotonic() + BOOKED_S
    while time.monotonic() < deadline_s:
        with suppress(OSError, ValueError):
            _, reply = ask("GET", "/v1/me")
            if reply.get("steps", {}).get("training", 0) >= steps:
                return
        time.sleep(0.1)


def model_of(torch: Any, gpu: SimulatedGpuWorker) -> Any:
    """A language model of one layer, which takes input_ids and labels as Hugging Face's do."""

    class Tiny(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(VOCABULARY, 32)
            self.head = torch.nn.Linear(32, VOCABULARY)

        def forward(self, input_ids: Any, labels: Any = None) -> dict[str, Any]:
            gpu.work()
            logits = self.head(self.embedding(input_ids))
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, VOCABULARY), (input_ids if labels is None else labels).reshape(-1)
            )
            return {"loss": loss, "logits": logits}

    return Tiny()


def train_plain(_: Any, gpu: SimulatedGpuWorker, steps: int) -> tuple[int, int]:
    """A loop that trains nothing."""
    import wattlens
    from energy_agent.sdk.training import reporter

    reporter._PATIENCE_S = 60.0  # a busy machine starts an agent slowly; reading without an agent is not measured here
    with wattlens.training(model="none") as run:
        for k in range(steps):
            gpu.work()
            wattlens.step(tokens=TOKENS, loss=1.0 / (k + 1))
            if k == steps // 2:
                with wattlens.phase("checkpoint"):
                    time.sleep(1.2)
    with run:
        deadline_s = time.monotonic() + BOOKED_S
        while ((status := run.status(wait=False)).measured_steps or 0) < steps and time.monotonic() < deadline_s:
            time.sleep(0.1)  # the last report is in the ledger once a reply has it
    assert (status.source, status.reason) == ("agent", ""), status
    sys.stderr.write(f"status {status.measured_steps} {status.measured_tokens} {status.joules_per_token}\n")
    return steps, TOKENS * steps


def train_torch(torch: Any, gpu: SimulatedGpuWorker, steps: int) -> tuple[int, int]:
    """A loop whose optimizer is hooked."""
    from wattlens.hooks.torch import attach

    model = model_of(torch, gpu)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    hook = attach(optimizer, model=model, tokens=TOKENS)
    for _ in range(steps):
        loss = model(torch.randint(VOCABULARY, (BATCH, LENGTH)))["loss"]
        loss.backward()
        hook.loss = loss.detach()
        optimizer.step()
        optimizer.zero_grad()
    return _steps_of(optimizer), TOKENS * steps


def _rows(torch: Any, count: int) -> list[dict[str, Any]]:
    return [{"input_ids": ids, "labels": ids} for ids in torch.randint(VOCABULARY, (count, LENGTH))]


def train_hf(torch: Any, gpu: SimulatedGpuWorker, steps: int) -> tuple[int, int]:
    """Hugging Face's Trainer, two batches a step, with evaluations and checkpoints."""
    import transformers

    from wattlens.hooks.hf import WattlensCallback

    callback = WattlensCallback(tokens=2 * TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        args = transformers.TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=BATCH, gradient_accumulation_steps=2, logging_steps=10,
            eval_strategy="steps", eval_steps=max(1, steps // 2), save_steps=max(1, steps // 2), use_cpu=True, report_to=[],
            disable_tqdm=True,
        )  # fmt: skip
        rows, held_out = _rows(torch, 2 * BATCH * steps), _rows(torch, 4 * BATCH)
        trainer = transformers.Trainer(
            model_of(torch, gpu), args, train_dataset=rows, eval_dataset=held_out, callbacks=[callback]
        )
        trainer.train()
        return _steps_of(trainer.optimizer), 2 * TOKENS * trainer.state.global_step


def train_lightning(torch: Any, gpu: SimulatedGpuWorker, steps: int) -> tuple[int, int]:
    """Lightning's Trainer, two batches a step, with validation and checkpoints."""
    from importlib import import_module
    from importlib.util import find_spec

    from wattlens.hooks.lightning import WattlensCallback

    pl = import_module("lightning.pytorch" if find_spec("lightning") else "pytorch_lightning")
    callback = WattlensCallback(model="tiny")

    class Module(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = model_of(torch, gpu)

        def training_step(self, batch: Any, _: int) -> Any:
            return self.model(**batch)["loss"]

        def validation_step(self, batch: Any, _: int) -> None:
            self.model(**batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), 1e-2)

    def loader(count: int) -> Any:
        return torch.utils.data.DataLoader(_rows(torch, count), BATCH)

    module = Module()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=steps, accumulate_grad_batches=2, accelerator="cpu", devices=1, default_root_dir=folder, logger=False,
            callbacks=[callback], enable_progress_bar=False, enable_model_summary=False, limit_val_batches=4,
            val_check_interval=steps,
        )  # fmt: skip
        trainer.fit(module, loader(2 * BATCH * steps), loader(4 * BATCH))
        return _steps_of(trainer.optimizers[0]), 2 * TOKENS * steps


def _steps_of(optimizer: Any) -> int:
    """Steps by the optimizer's own count."""
    (count,) = {int(state["step"]) for state in optimizer.state.values()}
    return count


def main(hook: str, steps: int, until: Path | None = None) -> dict[str, Any]:
    """Train `steps` steps, then wait until a file exists."""
    torch = None
    if hook != PLAIN:
        import torch  # type: ignore[no-redef]

        torch.set_num_threads(1)
    gpu = SimulatedGpuWorker(f"train-{hook}")
    done, tokens = globals()[f"train_{hook}"](torch, gpu, steps)
    while until is not None and not until.exists():
        time.sleep(0.1)
    wait_booked(done)
    time.sleep(2.5)  # and the observer has seen it
    return {"steps": done, "tokens": tokens} | gpu.end()


if __name__ == "__main__":
    first, second, *files = sys.argv[1:]
    print(json.dumps(observe(second) if first == "observe" else main(first, int(second), *map(Path, files)), default=str))
