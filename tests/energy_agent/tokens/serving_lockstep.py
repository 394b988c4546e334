"""An inference engine and the simulator in lockstep: hours of serving in seconds, with the true energy per phase.

The truth of a step in which prompts and answers are computed together is divided by the time of its parts.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

from energy_agent.core.units import NS_PER_S, UJ_PER_J
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.workloads import arrivals, models
from energy_agent.sim.workloads.engine import BatchingEngine, SimulatedRequest
from energy_agent.tokens.prefill_decode import PhaseWindow

WINDOW_S = 10.0
READ_ERROR_J = 5.0  # standard deviation of the error from the two edges of a reading of the ledger


@dataclass(frozen=True, slots=True)
class ServingLoad:
    """A served model and its GPU. `prompt` and `output` are median lengths in tokens."""

    sku: str = "H100-SXM5-80GB"
    model: str = "meta-llama/Llama-3.1-8B-Instruct"
    gpus: int = 1
    rate_per_s: float = 4.0
    bursty: bool = True
    prompt: int = 1020
    output: int = 129
    cached_ratio: float = 0.0
    decode_memory_boundness: float = 0.9
    prefill_memory_boundness: float = 0.1


@dataclass(slots=True)
class ServedWindows:
    """Windows as an agent observes them, and the true energy of their parts in J."""

    windows: list[PhaseWindow]
    prefill_j: float = 0.0
    decode_j: float = 0.0

    @property
    def truth(self) -> tuple[float, float]:
        """J per computed prompt token and per generated token."""
        computed, generated = sum(w.computed for w in self.windows), sum(w.generated for w in self.windows)
        return self.prefill_j / max(1, computed), self.decode_j / max(1, generated)


def serve(path: Path, load: ServingLoad, seed: int, seconds: float) -> ServedWindows:
    """Serve `load` for `seconds` of plant time; the first window is left out."""
    specs = [BoardSpec(sku=load.sku) for _ in range(load.gpus)]
    with Plant.create(path, specs, seed=seed, manual=True) as plant:
        return _Run(plant, load, seed).run(seconds)


class _Run:
    def __init__(self, plant: Plant, load: ServingLoad, seed: int) -> None:
        self._plant, self._load, self._random = plant, load, Random(seed)
        self._engine = BatchingEngine(
            models.step_cost(load.model, [load.sku] * load.gpus),
            max_num_seqs=256,
            max_batched_tokens=8192,
            kv_tokens=models.kv_tokens(load.model, 70 * 10**9, load.gpus),
            decode_memory_boundness=load.decode_memory_boundness,
            prefill_memory_boundness=load.prefill_memory_boundness,
        )
        self._slots = [plant.attach_process(gpu, os.getpid(), memory_b=10**9) for gpu in range(load.gpus)]
        lengths = arrivals.Lengths(load.prompt, 0.5, load.output, 0.8)
        draw = arrivals.bursty if load.bursty else arrivals.poisson
        self._coming = draw(self._random, load.rate_per_s, lengths)
        self._start_ns = plant.now_ns()
        self._idle_s = 0.0

    def run(self, seconds: float) -> ServedWindows:
        served, arrival = ServedWindows([]), next(self._coming)
        mark: list[float] | None = None
        edge_s = WINDOW_S
        while (now_s := (self._plant.now_ns() - self._start_ns) / NS_PER_S) < seconds:
            if now_s >= edge_s:
                here = self._read()
                if mark is None:
                    served.prefill_j = served.decode_j = 0.0
                else:
                    served.windows.append(_window([b - a for a, b in zip(mark, here, strict=True)]))
                mark, edge_s = here, edge_s + WINDOW_S
            while arrival.at_s <= now_s:
                cached = round(arrival.prompt * self._load.cached_ratio)
                self._engine.arrive(SimulatedRequest(self._plant.now_ns(), arrival.prompt, arrival.output, cached))
                arrival = next(self._coming)
            self._turn(served, arrival.at_s - now_s)
        return served

    def _turn(self, served: ServedWindows, until_next_s: float) -> None:
        step = self._engine.plan(2)
        if step is None:
            wait_s = min(max(until_next_s, 0.001), 1.0)
            self._plant.advance_to(self._plant.now_ns() + round(wait_s * NS_PER_S))
            self._idle_s += wait_s
            return
        before_j = self._energy_j()
        work = {"memory_boundness": step.memory_boundness, "intensity": step.intensity}
        tickets = [
            self._plant.submit(gpu, slot, reference_ns=max(1, round(step.reference_s * NS_PER_S)), **work)
            for gpu, slot in enumerate(self._slots)
        ]
        for gpu, (slot, ticket) in enumerate(zip(self._slots, tickets, strict=True)):
            self._plant.wait(gpu, slot, ticket)
        used_j = self._energy_j() - before_j
        share = self._engine.cost.prefill_s(sum(tokens for _, tokens in step.chunks)) / step.reference_s
        served.prefill_j += share * used_j
        served.decode_j += (1 - share) * used_j
        self._engine.finish(step, self._plant.now_ns())

    def _energy_j(self) -> float:
        return sum(self._plant.truth(gpu).true_uj for gpu in range(self._load.gpus)) / UJ_PER_J

    def _read(self) -> list[float]:
        counters = self._engine.counters
        energy_j = self._energy_j() + self._random.gauss(0, READ_ERROR_J)
        return [energy_j, counters.prompt - counters.cached, counters.generation, counters.steps, self._idle_s]


def _window(d: list[float]) -> PhaseWindow:
    return PhaseWindow(d[0], int(d[1]), int(d[2]), int(d[3]), d[4])
