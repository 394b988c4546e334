"""The stack, its ground truth, and queries to it: at one instant, or until old data are forgotten."""

import time
from dataclasses import dataclass

from tests.dashboards.boards import boards, queries
from tests.dashboards.plant_truth import PlantTruth
from tests.dashboards.stack import WINDOW_S, Stack
from tests.dashboards.stores import RATE_S, Scene, Series, Store
from tests.support import eventually

TARGETS = 3  # agent, site, Prometheus itself
UNORDERED_S = 2.0
"""As long after they came VictoriaMetrics shows all samples; before, it shows some."""


@dataclass
class Live:
    """The stack and what asks it."""

    stack: Stack
    truth: PlantTruth

    @property
    def stores(self) -> tuple[Store, Store]:
        return Store("prometheus", self.stack.prometheus), Store("victoria", self.stack.victoria)

    def ask(self, expr: str) -> list[Series]:
        """Of Prometheus, now."""
        return self.stores[0].instant(expr, time.time())

    def scene(self, **choices: str) -> Scene:
        """The answers to everything as of now, as soon as both stores have it. VictoriaMetrics shows samples in no order."""
        at = time.time()

        def is_scraped() -> bool:
            last = [s.last for store in self.stores for s in store.instant("timestamp(up)", time.time())]
            return len(last) == 2 * TARGETS and min(last) > at + UNORDERED_S

        eventually(is_scraped)
        return Scene(at, self.stores, choices).ask(queries(boards()))

    def page(self) -> str:
        """Return the agent's `/metrics` response, or "" while the agent does not serve one."""
        try:
            return self.stack.agent.page()
        except OSError:
            return ""

    def until_forgotten(self, selector: str) -> None:
        """Until no rate has a sample of it any more."""
        window_s = max(RATE_S, WINDOW_S) + 2
        eventually(lambda: not self.ask(f"count_over_time({selector}[{window_s}s])"), every=0.5)
