"""Token totals by endpoint between commits, and the labels that inference servers report of their workloads. Pure.

An endpoint that is no longer polled keeps its counts, over a restart too, for as long as its workload is shown. Its numbers of
running and waiting requests disappear.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.workloads.tokens import TokenTotals, joined
from energy_agent.tokens.account import EndpointAccount
from energy_agent.tokens.counter_state import EndpointState, ModelCounters, encode


class TokenTotalsStore:
    """Totals by page, as of the last commit, and those that wait for the next one."""

    def __init__(self) -> None:
        self._committed_totals: dict[tuple[str, str], TokenTotals] = {}  # by page and model
        self._waiting: dict[tuple[str, str], TokenTotals] = {}
        self._read: set[tuple[str, str]] = set()  # pages that are read now, and models on them
        self._labels: dict[str, dict[str, str]] = {}
        self.said_ns = 0  # UTC ns of the last reading

    def add(self, totals: Iterable[TokenTotals]) -> list[str]:
        """Take what all pages that are read did so far; the workloads of which they now say something else."""
        now = {(each.source, each.model): each for each in totals}
        self._waiting |= now
        self._read = set(now)
        self.said_ns = max([self.said_ns, *(each.t_ns for each in now.values())])
        for kept in (self._committed_totals, self._waiting):
            for key, each in kept.items():
                if key not in now and (each.running is not None or each.waiting is not None):
                    kept[key] = replace(each, running=None, waiting=None)
        changed = []
        for workload in {each.workload for each in now.values()}:
            labels = _labels([each for each in now.values() if each.workload == workload])
            if self._labels.get(workload, {}) != labels:
                self._labels[workload] = labels
                changed.append(workload)
        return changed

    def committed(self) -> None:
        """What waited is in the journal: now it counts."""
        self._committed_totals |= self._waiting
        self._waiting = {}

    def dump(self) -> dict[str, str]:
        """States of the endpoints that are no longer polled. The poller saves the states of the others with their counters."""
        endpoints: dict[str, EndpointState] = {}
        for key, each in (self._committed_totals | self._waiting).items():
            if key not in self._read:
                latencies = {name: of for name, of in (("ttft", each.ttft), ("itl", each.itl)) if of is not None}
                model = ModelCounters(counts=dict(each.counts), latencies=latencies, read_ns=each.t_ns)
                endpoints.setdefault(each.source, EndpointState(each.t_ns)).models[each.model] = model
        return {source: encode(standing) for source, standing in endpoints.items()}

    def polled(self) -> set[str]:
        """Workloads of the pages that are read now."""
        return {each.workload for key, each in (self._committed_totals | self._waiting).items() if key in self._read}

    def forget(self, workloads: Iterable[str]) -> None:
        """Drop what pages said of these workloads."""
        for workload in workloads:
            self._labels.pop(workload, None)

    def restore(self, polled: Mapping[str, str], ended: Mapping[str, str]) -> list[str]:
        """Go on from the states of the last commit: what all pages had done by then is shown.

        Args:
            polled: where the counters of pages stand that were read then; the poller reports one that is unreadable.
            ended: what `dump` returned.

        Returns:
            The unreadable ones of `ended`.
        """
        unreadable = []
        for source, text in {**polled, **ended, **polled}.items():
            endpoint = EndpointAccount(source.rpartition(" ")[0], source, live=False)
            try:
                endpoint.restore(text)
                self._committed_totals |= {(source, each.model): each for each in endpoint.totals(up=False)}
            except ValueError:
                if source not in polled:
                    unreadable.append(source)
        return unreadable

    def labelled(self, facts: Iterable[WorkloadFacts]) -> list[WorkloadFacts]:
        """Add the labels that inference servers report to the workloads' metadata. Labels that a workload sets itself win."""
        return [
            replace(fact, labels={**more, **fact.labels}) if (more := self._labels.get(fact.workload)) else fact
            for fact in facts
        ]

    def totals(self, workloads: Collection[str]) -> tuple[TokenTotals, ...]:
        """A workload's totals with a model over all its pages; those of other workloads are forgotten."""
        self._committed_totals = {key: each for key, each in self._committed_totals.items() if each.workload in workloads}
        groups: dict[tuple[str, str], list[TokenTotals]] = {}
        for each in self._committed_totals.values():
            groups.setdefault((each.workload, each.model), []).append(each)
        return tuple(endpoints[0] if len(endpoints) == 1 else _sum(endpoints) for endpoints in groups.values())


def _labels(endpoints: Iterable[TokenTotals]) -> dict[str, str]:
    """Facts on which all of a workload's pages agree."""
    values_by_label: Mapping[str, set[str]] = {"model": set(), "precision": set(), "group": set()}
    for endpoint in endpoints:
        for label, values in values_by_label.items():
            values.add(getattr(endpoint, label))
    return {label: value for label, values in values_by_label.items() if len(values) == 1 and (value := next(iter(values)))}


def _sum(endpoints: list[TokenTotals]) -> TokenTotals:
    counts: dict[str, int] = {}
    for endpoint in endpoints:
        for key, n in endpoint.counts.items():
            counts[key] = counts.get(key, 0) + n
    running = [endpoint.running for endpoint in endpoints if endpoint.running is not None]
    waiting = [endpoint.waiting for endpoint in endpoints if endpoint.waiting is not None]
    return replace(
        endpoints[0],
        t_ns=max(endpoint.t_ns for endpoint in endpoints),
        source="",
        counts=counts,
        running=sum(running) if running else None,
        waiting=sum(waiting) if waiting else None,
        ttft=joined(endpoint.ttft for endpoint in endpoints if endpoint.ttft is not None),
        itl=joined(endpoint.itl for endpoint in endpoints if endpoint.itl is not None),
    )
