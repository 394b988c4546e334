"""What token servers did, kept between commits: shown once it is committed, and what they say of their workloads. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from energy_agent.core.token_types import TokenTotals, joined
from energy_agent.core.types import WorkloadFacts


class Served:
    """Totals by page, as of the last commit, and those that wait for the next one."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], TokenTotals] = {}  # by page and model
        self._waiting: dict[tuple[str, str], TokenTotals] = {}
        self._labels: dict[str, dict[str, str]] = {}
        self.said_ns = 0  # UTC ns of the last reading

    def add(self, totals: Iterable[TokenTotals]) -> list[str]:
        """Take what pages did so far; the workloads of which they now say something else."""
        for each in totals:
            self._waiting[each.source, each.model] = each
            self.said_ns = max(self.said_ns, each.t_ns)
        latest = list((self._shown | self._waiting).values())
        changed = []
        for workload in {each.workload for each in self._waiting.values()}:
            labels = _labels([each for each in latest if each.workload == workload])
            if self._labels.get(workload, {}) != labels:
                self._labels[workload] = labels
                changed.append(workload)
        return changed

    def committed(self) -> None:
        """What waited is in the journal: now it counts."""
        self._shown |= self._waiting
        self._waiting = {}

    def labelled(self, facts: Iterable[WorkloadFacts]) -> list[WorkloadFacts]:
        """The facts with what token servers say beside them; what a workload says of itself stays."""
        return [
            replace(fact, labels={**more, **fact.labels}) if (more := self._labels.get(fact.workload)) else fact
            for fact in facts
        ]

    def totals(self, workloads: Collection[str]) -> tuple[TokenTotals, ...]:
        """A workload's totals with a model over all its pages; those of other workloads are forgotten."""
        self._shown = {key: each for key, each in self._shown.items() if each.workload in workloads}
        groups: dict[tuple[str, str], list[TokenTotals]] = {}
        for each in self._shown.values():
            groups.setdefault((each.workload, each.model), []).append(each)
        return tuple(pages[0] if len(pages) == 1 else _sum(pages) for pages in groups.values())


def _labels(pages: Iterable[TokenTotals]) -> dict[str, str]:
    """Facts on which all of a workload's pages agree."""
    said: Mapping[str, set[str]] = {"model": set(), "precision": set(), "group": set()}
    for page in pages:
        for label, values in said.items():
            values.add(getattr(page, label))
    return {label: value for label, values in said.items() if len(values) == 1 and (value := next(iter(values)))}


def _sum(pages: list[TokenTotals]) -> TokenTotals:
    counts: dict[str, int] = {}
    for page in pages:
        for key, n in page.counts.items():
            counts[key] = counts.get(key, 0) + n
    running = [page.running for page in pages if page.running is not None]
    waiting = [page.waiting for page in pages if page.waiting is not None]
    return replace(
        pages[0],
        t_ns=max(page.t_ns for page in pages),
        source="",
        counts=counts,
        running=sum(running) if running else None,
        waiting=sum(waiting) if waiting else None,
        ttft=joined(page.ttft for page in pages if page.ttft is not None),
        itl=joined(page.itl for page in pages if page.itl is not None),
    )
