"""Boards of a plant in manual mode under loads whose levels change, read in bursts, with the plant's truth."""

import os
import random

from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sdk.measure.tracker import Tracker
from energy_agent.sim.gpu.boards import BoardSpec, boards
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant

START_NS = 10**18
MS = 10**6
ARCHITECTURES = {5: "Volta", 7: "Ampere", 8: "Ada", 9: "Hopper", 10: "Blackwell"}
FIELDS = (83, 186, 185)


class Bench:
    """`count` boards; `window` measures one window on each. Between windows they are read coarsely if `reads_between`."""

    def __init__(self, folder, sku, model, seed, count, monkeypatch):
        self.random = random.Random(seed)
        specs = [BoardSpec(sku, counter_model=model)] * count
        self.plant = Plant.create(folder / "plant", specs, seed=seed, manual=True, start_utc_ns=START_NS)
        monkeypatch.setenv("WATTLENS_SIM", str(folder))
        self.nvml = RealNvml(library_path())
        self.nvml.init()
        self.handles = [self.nvml.device_by_index(i) for i in range(count)]
        values = boards()[sku].values
        architecture = ARCHITECTURES[int(values["architecture"])]
        self.trackers = [Tracker(architecture, bool(values["has_average"])) for _ in range(count)]
        self.slots = [self.plant.attach_process(g, os.getpid(), memory_b=1 << 30) for g in range(count)]
        self.due_ms, self.tickets = [0] * count, [0] * count
        self.now_ms = 0
        self.reads_between = True
        self.due_s = [0.0] * count

    def close(self):
        self.nvml.shutdown()
        self.plant.close()

    def _load(self):
        for gpu, slot in enumerate(self.slots):
            if self.now_ms < self.due_ms[gpu] or self.plant.done_ns(gpu, slot) < self.tickets[gpu]:
                continue
            hold_ms = self.random.randint(50, 400)
            if self.random.random() < 0.2:
                self.due_ms[gpu] = self.now_ms + hold_ms
            else:
                self.tickets[gpu] = self.plant.submit(
                    gpu, slot, reference_ns=hold_ms * MS, memory_boundness=self.random.random(),
                    intensity=self.random.uniform(0.1, 1.0),
                )  # fmt: skip

    def step(self):
        self.now_ms += 1
        self.plant.advance_to(START_NS + self.now_ms * MS)
        self._load()

    def sensed_j(self):
        return [t.true_uj * t.gain / 1e6 for t in map(self.plant.truth, range(len(self.slots)))]

    def _read(self, fine):
        now_s = self.now_ms / 1e3
        for gpu, tracker in enumerate(self.trackers):
            if now_s >= self.due_s[gpu]:
                energy, power, average = self.nvml.field_values(self.handles[gpu], FIELDS)
                average_w = average.value / 1e3 if average.code == 0 else None
                tracker.feed(now_s, now_s, energy.value / 1e3, power.value / 1e3, average_w)
                self.due_s[gpu] = tracker.due_s(now_s, fine)

    def window(self, length_ms, tail_ms=130):
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
