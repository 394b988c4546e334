"""The truth of a simulated node over time: joules by the plant and tokens by the engine, never by what Wattlens says."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from energy_agent.sim.node import SimulatedNode

EVERY_S = 0.1


class PlantTruth:
    """Rows of (seconds, joules of each GPU, generated tokens) since it began."""

    def __init__(self, node: SimulatedNode, server: str) -> None:
        self._node, self._server = node, server
        self._rows: list[tuple[float, tuple[float, ...], int]] = []
        self._ended = threading.Event()

    def look(self) -> None:
        """Until ended."""
        with self._node.plant() as plant:
            while not self._ended.wait(EVERY_S):
                truths = [plant.truth(gpu) for gpu in range(plant.count)]
                tokens = int(self._node.workload(self._server)["counters"].get("generation_tokens", 0))
                self._rows.append((truths[0].t_ns / 1e9, tuple(t.true_uj / 1e6 for t in truths), tokens))

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def joules(self, start: float, end: float, gpus: Iterable[int]) -> float:
        """Of GPUs together between two instants."""
        first, last = self._at(start)[1], self._at(end)[1]
        return sum(last[gpu] - first[gpu] for gpu in gpus)

    def tokens(self, start: float, end: float) -> int:
        """Generated between two instants."""
        return self._at(end)[2] - self._at(start)[2]

    def _at(self, t: float) -> tuple[float, tuple[float, ...], int]:
        rows = self._rows
        assert rows[0][0] <= t <= rows[-1][0] + 1, "not seen"
        return rows[min(bisect_left(rows, t, key=lambda row: row[0]), len(rows) - 1)]


@contextmanager
def watching(node: SimulatedNode, server: str) -> Iterator[PlantTruth]:
    """The truth, as long as this lasts."""
    truth = PlantTruth(node, server)
    thread = threading.Thread(target=truth.look)
    thread.start()
    try:
        yield truth
    finally:
        truth.end()
        thread.join()
