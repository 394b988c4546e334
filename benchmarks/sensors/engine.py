"""An inference engine whose token counters move with its steps, with its truth."""

import random
from bisect import bisect_right

from energy_agent.sdk.measure.window_tokens import CounterInterval, WindowTokens, window_tokens

_PAGE_S = 0.004


class Engine:
    """Steps of random length generate a token for each running request; the counters show them when a step has ended."""

    def __init__(self, rng: random.Random, until_s: float) -> None:
        self._rng = rng
        self._running = rng.randint(1, 64)
        self._ends = [-1.0]
        usual_s = rng.uniform(0.010, 0.040)
        while self._ends[-1] < until_s:
            self._ends.append(self._ends[-1] + usual_s * rng.uniform(0.8, 1.2))

    def tokens(self, start_s: float, end_s: float) -> float:
        """Work done between two instants, in tokens: that of a step comes evenly."""
        return self._done(end_s) - self._done(start_s)

    def window_tokens(self, start_s: float, end_s: float) -> WindowTokens:
        """Tokens by the counters as read shortly before and after a window."""
        first_s, last_s = start_s - self._rng.uniform(0, _PAGE_S), end_s + self._rng.uniform(0, _PAGE_S)
        steps = bisect_right(self._ends, last_s) - bisect_right(self._ends, first_s)
        counts = {"generation": steps * self._running, "computed": 0, "steps": steps}
        interval = CounterInterval(
            ("model",), 1, counts, (self._running, self._running), float(self._running), last_s - first_s,
            last_s - first_s - (end_s - start_s),
        )  # fmt: skip
        return window_tokens([interval], "engine", "vllm", "step")

    def _done(self, at_s: float) -> float:
        k = bisect_right(self._ends, at_s)
        begin_s, end_s = self._ends[k - 1], self._ends[k]
        return self._running * (k + (at_s - begin_s) / (end_s - begin_s))
