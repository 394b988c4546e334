"""Joins what a serving engine did with the energy of its workload over the same interval. Pure.

An inference server is scraped at other instants than energy is recorded, and energy is recorded later. So each scrape waits
until the energy of every device of the workload is recorded past it; then the workload's cumulative energy is interpolated at
both ends of the interval. Intervals follow each other and interpolated energy telescopes, so every joule is in exactly one of
them; a failed scrape only makes an interval longer.

What comes of it is live and starts again with the agent; the ledger keeps joules and tokens themselves:

- energy and tokens by how many requests ran (batch decides over J/token more than anything else),
- whether the load is steady, so that a figure can be compared with another,
- the split into prefill and decode (tokens/prefill_decode.py).
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Final

from energy_agent.core.curve import CumulativeCurve
from energy_agent.core.energy import Entry, State
from energy_agent.core.units import NS_PER_S, UJ_PER_J
from energy_agent.core.workloads.serving import BatchUse, Serving, Split
from energy_agent.core.workloads.tokens import TokenDelta
from energy_agent.tokens.prefill_decode import PhaseWindow, split

PATIENCE_NS: Final = 30 * NS_PER_S  # a device that is not recorded further by then has left the workload
WINDOW_NS: Final = 10 * NS_PER_S  # longer than requests are in flight, so that what a window's edges cut hardly counts
KEPT_WINDOWS: Final = 360
STEADY_WINDOWS: Final = 6
STEADY_RATIO: Final = 0.1
_PENDING: Final = 120  # readings that wait, of one engine; the oldest go first
_SPLIT_EVERY: Final = 6  # windows


def batch_label(running: int) -> str:
    """How many requests ran, in powers of two: "0", "1", "2-3", "4-7", ... "512+", so that labels stay few.

    >>> batch_label(5)
    '4-7'
    """
    if running < 2:
        return str(max(0, running))
    low = 1 << (min(running, 512).bit_length() - 1)
    return "512+" if low == 512 else f"{low}-{2 * low - 1}"


@dataclass(slots=True)
class _DeviceUse:
    """Energy in uJ and idle time in ns of a workload on one device, at the ends of its entries."""

    energy: CumulativeCurve = field(default_factory=CumulativeCurve)
    idle: CumulativeCurve = field(default_factory=CumulativeCurve)

    def extend(self, entry: Entry, busy_ratio: float | None) -> None:
        """Add an entry; idle time is finer by utilisation than by the entry's state, which is idle only as a whole."""
        ends_ns = self.energy.at_ns
        if not ends_ns or entry.start_ns > ends_ns[-1]:  # its first entry, or it comes back
            self._add(entry.start_ns, 0, 0)
        if entry.end_ns >= ends_ns[-1]:
            busy = busy_ratio if busy_ratio is not None else float(entry.state is not State.IDLE)
            self._add(entry.end_ns, entry.energy_uj, round(entry.gpu_ns * (1.0 - min(1.0, max(0.0, busy)))))

    def _add(self, at_ns: int, uj: int, idle_ns: int) -> None:
        self.energy.add(at_ns, self.energy.total + uj)
        self.idle.add(at_ns, self.idle.total + idle_ns)


@dataclass(slots=True)
class _Endpoint:
    """One model on one page of a workload."""

    pending: deque[TokenDelta] = field(default_factory=lambda: deque(maxlen=_PENDING))
    batches: dict[str, BatchUse] = field(default_factory=dict)
    windows: deque[tuple[PhaseWindow, float, float]] = field(
        default_factory=lambda: deque(maxlen=KEPT_WINDOWS)
    )  # .., s, running
    part: list[tuple[TokenDelta, int, int]] = field(default_factory=list)  # of the window that is open: .., uJ, idle ns
    fresh: int = 0
    split: Split = field(default_factory=lambda: split(()))


@dataclass(slots=True)
class _Workload:
    uses: dict[str, _DeviceUse] = field(default_factory=dict)
    endpoints: dict[tuple[str, str], _Endpoint] = field(default_factory=dict)


class EnergyPerToken:
    """All workloads that serve. Entries of workloads that do not are let go at once."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._workloads: dict[str, _Workload] = {}

    def served(self, rows: Iterable[TokenDelta]) -> None:
        """Add rows of metrics endpoints, in order of time for each of them.

        Uses only engines whose counters move with every step and that do not belong to a group: its other devices may be on
        other nodes.
        """
        for row in rows:
            if row.live and row.group in ("", row.workload):
                workload = self._workloads.setdefault(row.workload, _Workload())
                workload.endpoints.setdefault((row.model, row.source), _Endpoint()).pending.append(row)

    def add_entries(self, entries: Iterable[Entry], busy_ratio: Mapping[str, float]) -> None:
        """Add entries of GPUs, and by device the share of the last period in which a kernel ran, if it is known."""
        for entry in entries:
            workload = self._workloads.get(entry.workload)
            if workload is not None:
                workload.uses.setdefault(entry.device, _DeviceUse()).extend(entry, busy_ratio.get(entry.device))

    def settle(self, now_ns: int) -> None:
        """Join what can be joined by now."""
        for workload in self._workloads.values():
            for endpoint in workload.endpoints.values():
                while endpoint.pending and _has_energy_until(workload, endpoint.pending[0].end_ns, now_ns):
                    self._join(workload, endpoint, endpoint.pending.popleft())
            oldest = min(
                (p.pending[0].start_ns for p in workload.endpoints.values() if p.pending), default=now_ns - PATIENCE_NS
            )
            for use in workload.uses.values():
                use.energy.forget(oldest)
                use.idle.forget(oldest)

    def restart(self) -> None:
        """Begin new intervals: UTC was set back, so what follows cannot be put in order with what waits."""
        for workload in self._workloads.values():
            workload.uses.clear()
            for endpoint in workload.endpoints.values():
                endpoint.pending.clear()
                endpoint.part = []

    def forget(self, kept: Iterable[tuple[str, str, str]]) -> None:
        """Release what is not served any more; `kept` are those that are, as (workload, model, source)."""
        kept = set(kept)
        for name, workload in list(self._workloads.items()):
            workload.endpoints = {key: endpoint for key, endpoint in workload.endpoints.items() if (name, *key) in kept}
            if not workload.endpoints:
                del self._workloads[name]

    def views(self) -> tuple[Serving, ...]:
        """What is known now. Of a workload with several models or pages the energy of each is not: it is left out."""
        return tuple(
            Serving(name, model, dict(endpoint.batches), _steady(endpoint), endpoint.split)
            for name, workload in sorted(self._workloads.items())
            if len(workload.endpoints) == 1 and workload.uses
            for (model, _), endpoint in workload.endpoints.items()
        )

    def _join(self, workload: _Workload, endpoint: _Endpoint, row: TokenDelta) -> None:
        uses, ends = workload.uses.values(), (row.start_ns, row.end_ns)
        energy_uj, idle_ns = (
            sum(curve.at(ends[1]) - curve.at(ends[0]) for curve in curves)
            for curves in ([use.energy for use in uses], [use.idle for use in uses])
        )
        if row.running is not None and row.generation is not None:
            label = batch_label(row.running)
            old = endpoint.batches.get(label, BatchUse(0, 0, 0))
            endpoint.batches[label] = BatchUse(
                old.energy_uj + energy_uj, old.computed + (row.computed or 0), old.generated + row.generation
            )
        if row.restarted or row.computed is None or row.generation is None:
            endpoint.part = []
            return
        endpoint.part.append((row, energy_uj, idle_ns))
        first = endpoint.part[0][0].start_ns
        if row.end_ns - first >= WINDOW_NS:
            self._close(endpoint, max(1, len(workload.uses)), (row.end_ns - first) / NS_PER_S)

    def _close(self, endpoint: _Endpoint, devices: int, seconds: float) -> None:
        rows, endpoint.part = endpoint.part, []
        steps = [row.steps for row, _, _ in rows]
        window = PhaseWindow(
            sum(uj for _, uj, _ in rows) / UJ_PER_J,
            sum(row.computed or 0 for row, _, _ in rows),
            sum(row.generation or 0 for row, _, _ in rows),
            None if None in steps else sum(n for n in steps if n is not None),
            sum(idle for _, _, idle in rows) / NS_PER_S / devices,
        )
        endpoint.windows.append((window, seconds, fmean(row.running or 0 for row, _, _ in rows)))
        endpoint.fresh += 1
        if endpoint.fresh >= _SPLIT_EVERY:
            endpoint.fresh = 0
            endpoint.split = split([w for w, _, _ in endpoint.windows])


def _has_energy_until(workload: _Workload, t_ns: int, now_ns: int) -> bool:
    if t_ns + PATIENCE_NS <= now_ns:
        return True
    return bool(workload.uses) and all(use.energy.at_ns[-1] >= t_ns for use in workload.uses.values())


def _steady(endpoint: _Endpoint) -> bool | None:
    """Whether power, answers and running requests stayed alike over the last minute."""
    last = list(endpoint.windows)[-STEADY_WINDOWS:]
    if len(last) < STEADY_WINDOWS:
        return None
    rates = ([w.energy_j / s for w, s, _ in last], [w.generated / s for w, s, _ in last], [r for _, _, r in last])
    means = [fmean(values) for values in rates]
    return min(means[:2]) > 0 and all(pstdev(values) <= STEADY_RATIO * mean for values, mean in zip(rates, means, strict=True))
