"""Boards of a plant in manual mode under loads whose levels change, read in bursts, with the plant's truth."""

import random

from energy_agent.sdk.measure.ticks import SensorRecord, TickTracker
from energy_agent.sim.gpu.boards import BoardSpec, boards

FIELDS = (83, 186)


class Bench:
    """`count` boards; `window` measures one window on each. Between windows they are read coarsely if `reads_between`."""

    def __init__(self, gpus, sku, model, seed, count):
        self.random = random.Random(seed)
        self.gpus = gpus(*[BoardSpec(sku, counter_model=model)] * count, seed=seed)
        record = SensorRecord()
        self.trackers = [TickTracker(record, boards()[sku].values["limit_max_w"]) for _ in range(count)]
        self.slots = [self.gpus.attach(gpu, memory_b=1 << 30) for gpu in range(count)]
        self.due_ms, self.tickets, self.due_s = [0] * count, [0] * count, [0.0] * count
        self.now_ms = 0
        self.reads_between = True

    def _load(self):
        plant = self.gpus.plant
        for gpu, slot in enumerate(self.slots):
            if self.now_ms < self.due_ms[gpu] or plant.done_ns(gpu, slot) < self.tickets[gpu]:
                continue
            hold_ms = self.random.randint(50, 400)
            if self.random.random() < 0.2:
                self.due_ms[gpu] = self.now_ms + hold_ms
            else:
                self.tickets[gpu] = plant.submit(
                    gpu, slot, reference_ns=hold_ms * 10**6, memory_boundness=self.random.random(),
                    intensity=self.random.uniform(0.1, 1.0),
                )  # fmt: skip

    def step(self):
        self.now_ms += 1
        self.gpus.step(0.001)
        self._load()

    def sensed_j(self):
        return [t.true_uj * t.gain / 1e6 for t in map(self.gpus.truth, range(len(self.slots)))]

    def _read(self, fine):
        now_s = self.now_ms / 1e3
        for gpu, tracker in enumerate(self.trackers):
            if now_s >= self.due_s[gpu]:
                energy, power = self.gpus.nvml.field_values(self.gpus.devices[gpu], FIELDS)
                tracker.feed(now_s, now_s, energy.value / 1e3, power.value / 1e3)
                self.due_s[gpu] = tracker.due_s(now_s, fine)

    def window(self, length_ms, tail_ms=240):
        """Returns per board: its tracker, the window's ends in s, and gain x truth in J."""
        for _ in range(self.random.randint(20, 250)):
            self.step()
            if self.reads_between:
                self._read(fine=False)
        start_ms, self.due_s, edges = self.now_ms, [0.0] * len(self.slots), [self.sensed_j()]
        while self.now_ms < start_ms + length_ms + tail_ms:
            self.step()
            if self.now_ms == start_ms + length_ms:
                edges.append(self.sensed_j())
            self._read(fine=self.now_ms - start_ms < 1500 or self.now_ms > start_ms + length_ms)
        ends = start_ms / 1e3, (start_ms + length_ms) / 1e3
        return [(t, ends, b - a) for t, a, b in zip(self.trackers, *edges, strict=True)]
