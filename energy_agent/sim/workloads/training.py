"""A data-parallel training job: micro batches, gradients, optimizer; now and then the host or a checkpoint stalls it."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

from energy_agent.sdk.training import step_counter
from energy_agent.sim.workloads.worker import WorkloadWorker, main

# Shares of a step's reference time [assumed]: the exchange and the optimizer are bound by links and memory and draw less.
_COMPUTE_SHARE = 0.86
_EXCHANGE = (0.10, 0.85, 0.45)  # share, memory boundness, intensity
_OPTIMIZER = (0.04, 0.95, 0.80)


def run(worker: WorkloadWorker) -> None:
    """Train until asked to end, or for the number of steps asked for."""
    p = worker.spec.parameters
    step_s, micro_batches = float(p["step_s"]), int(p["micro_batches"])
    steps = stalls = checkpoints = 0
    checkpoint_at_s = float(p["checkpoint_every_s"])

    def report() -> None:
        units = steps * p["samples_per_step"]
        worker.report(kind="training", steps=steps, work_units=units, host_stalls=stalls, checkpoints=checkpoints)

    reporter = _teller(p.get("agent_socket"))
    report()
    while p["steps"] is None or steps < p["steps"]:
        for _ in range(micro_batches):
            spread = max(0.5, worker.random.gauss(1.0, p["jitter"]))
            worker.work(step_s * _COMPUTE_SHARE / micro_batches * spread, p["memory_boundness"], p["intensity"])
        for share, memory_boundness, intensity in (_EXCHANGE, _OPTIMIZER):
            worker.work(step_s * share, memory_boundness, intensity * p["intensity"])
        steps += 1
        reporter.step(p["samples_per_step"])
        report()
        if p["host_every_steps"] and steps % p["host_every_steps"] == 0:
            with reporter.phase("data_wait"):
                worker.rest(p["host_s"])
            stalls += 1
        if p["checkpoint_every_s"] and worker.elapsed_s() >= checkpoint_at_s:
            with reporter.phase("checkpoint"):
                worker.rest(p["checkpoint_s"])
            checkpoints += 1
            checkpoint_at_s = worker.elapsed_s() + p["checkpoint_every_s"]
    report()


class _Teller:
    """What a training loop of the product's users does, with Wattlens or without."""

    def step(self, tokens: int) -> None:
        """A step is done."""

    def phase(self, name: str) -> AbstractContextManager[object]:
        """The host waits."""
        return nullcontext(name)


class _Wattlens(_Teller):
    def step(self, tokens: int) -> None:
        step_counter.step(tokens)

    def phase(self, name: str) -> AbstractContextManager[object]:
        return step_counter.phase(name)


def _teller(socket: str | None) -> _Teller:
    if socket is None:
        return _Teller()
    os.environ["WATTLENS_AGENT_SOCKET"] = socket
    step_counter.training(quiet=True)
    return _Wattlens()


if __name__ == "__main__":
    sys.exit(main(run))
