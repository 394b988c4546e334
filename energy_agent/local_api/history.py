"""Recent energy by device for programs on the node: one row per snapshot for an hour, then one per minute.

The ends of a window lie between two rows. The energy between those rows may lie on either side of the end; the reported
half-width bounds this error.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from energy_agent.core.boundary import NO_SENSOR
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.units import NS_PER_S, UJ_PER_J
from energy_agent.metering.interpolation import energy_within

_FULL_NS, _KEPT_NS, _THIN_NS = 3600 * NS_PER_S, 48 * 3600 * NS_PER_S, 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One snapshot: energy recorded so far and what its edge may be wrong by, uJ, by device that answered; and who held it."""

    t_ns: int
    energy_uj: dict[str, int]
    edge_uj: dict[str, int]
    gain: dict[str, float]
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    boot_ns: int = 0  # `t_ns` on the boot clock: how old it is
    unmetered: frozenset[str] = frozenset()  # devices that answered without a sensor


class EnergyHistory:
    """Rows in order of time. One thread adds, any may ask."""

    def __init__(self) -> None:
        self._rows: list[HistoryRow] = []
        self._next_thin_boot_ns = 0
        self.snapshot: Snapshot | None = None
        self.simulated = False

    def __len__(self) -> int:
        """How many rows are kept."""
        return len(self._rows)

    def add(self, snapshot: Snapshot) -> None:
        """A snapshot was published."""
        self.snapshot, self.simulated = snapshot, snapshot.identity.simulated
        up = [d for d in snapshot.devices if d.metered]
        row = HistoryRow(
            snapshot.t_ns,
            {d.info.uuid: sum(d.energy_uj.values()) for d in up},
            {d.info.uuid: d.edge_uj for d in up if d.edge_uj is not None},
            {d.info.uuid: d.gain_uncertainty_ratio for d in up},
            snapshot.owners,
            snapshot.boot_ns,
            frozenset(d.info.uuid for d in snapshot.devices if d.up and not d.metered),
        )
        if self._rows and row.t_ns <= self._rows[-1].t_ns:
            self._rows = []  # the clock was set back: what was before cannot be put in order with it
        if self._next_thin_boot_ns <= row.boot_ns:
            self._next_thin_boot_ns = row.boot_ns + _THIN_NS
            self._rows = thinned(self._rows, row.boot_ns)
        self._rows.append(row)

    def window(self, start_ns: int, end_ns: int, workload: str | None = None) -> dict[str, object]:
        """Energy by device, or the reason why it is not available; the key "later" is set if a later request may succeed.

        With a `workload`, only devices that it held during the whole window: a workload does not see the energy of others.
        """
        rows = list(self._rows)
        if not rows or end_ns <= start_ns:
            return {"reason": "no snapshot has been taken yet" if not rows else "the window ends before it starts"}
        if start_ns < rows[0].t_ns:
            return {"reason": "the window starts before the agent's history"}
        if end_ns > rows[-1].t_ns:
            return {"reason": "the agent has not read its devices since the window's end", "later": True}
        places = [_place(rows, t) for t in (start_ns, end_ns)]
        ends = [(rows[i - 1], rows[i]) for i in places]
        uuids = {u for r in (*ends[0], *ends[1]) for u in (*r.energy_uj, *r.unmetered)}
        if workload is not None:
            uuids = held_throughout(rows, ends[0][0].t_ns, ends[1][1].t_ns, workload, uuids)
            if not uuids:
                return {"reason": f"your workload {workload} did not use a GPU of this node for the whole window"}
        devices: dict[str, object] = {}
        for uuid in sorted(uuids):
            if any(uuid in r.unmetered for pair in ends for r in pair):
                devices[uuid] = {"reason": NO_SENSOR}
                continue
            if any(uuid not in r.edge_uj for pair in ends for r in pair):
                devices[uuid] = {"reason": "the device did not respond to the agent at the start or the end of the window"}
                continue
            (first, first_half), (last, last_half) = (
                _at(rows, i, t, uuid) for i, t in zip(places, (start_ns, end_ns), strict=True)
            )
            half = first_half + last_half + ends[0][0].edge_uj[uuid] + ends[1][1].edge_uj[uuid]
            devices[uuid] = {
                "joules": (last - first) / UJ_PER_J, "half_j": half / UJ_PER_J, "gain": ends[1][1].gain[uuid],
                "method": "agent",
            }  # fmt: skip
        return {"devices": devices, "simulated": self.simulated}


def held_throughout(rows: Sequence[HistoryRow], from_ns: int, to_ns: int, workload: str, devices: Collection[str]) -> set[str]:
    """The devices that a workload held in every row of [from_ns, to_ns]."""
    within = rows[bisect_right(rows, from_ns - 1, key=lambda r: r.t_ns) : bisect_right(rows, to_ns, key=lambda r: r.t_ns)]
    return {u for u in devices if all(workload in row.owners.get(u, ()) for row in within)}


def thinned(rows: Sequence[HistoryRow], now_boot_ns: int) -> list[HistoryRow]:
    """Rows of the last hour, one per minute of the two days before."""
    kept: list[HistoryRow] = []
    for row in rows:
        age_ns = now_boot_ns - row.boot_ns
        if age_ns > _KEPT_NS:
            continue
        if age_ns > _FULL_NS and kept and row.boot_ns - kept[-1].boot_ns < _THIN_NS:
            continue
        kept.append(row)
    return kept


def _place(rows: Sequence[HistoryRow], t_ns: int) -> int:
    """Index of the first row after an instant; from 1, as an interval ends there."""
    return min(max(bisect_right(rows, t_ns, key=lambda r: r.t_ns), 1), len(rows) - 1)


def _at(rows: Sequence[HistoryRow], i: int, t_ns: int, uuid: str) -> tuple[float, float]:
    """Energy recorded at an instant between two rows, uJ, and the largest error of where within them it fell."""
    before, after = rows[i - 1], rows[i]
    energy, length_ns, part_ns = after.energy_uj[uuid] - before.energy_uj[uuid], after.t_ns - before.t_ns, t_ns - before.t_ns
    if not 0 < part_ns < length_ns:
        return before.energy_uj[uuid] + energy * (part_ns > 0), 0.0
    beside = [_mean(rows[k], rows[k + 1], uuid, length_ns) for k in (i - 2, i) if 0 <= k < len(rows) - 1]
    part = energy * part_ns / length_ns
    if len(beside) == 2 and beside[0] is not None and beside[1] is not None:
        part = energy_within(beside[0], energy / length_ns, beside[1], length_ns, part_ns)
    return before.energy_uj[uuid] + part, max(part, energy - part)


def _mean(before: HistoryRow, after: HistoryRow, uuid: str, usual_ns: int) -> float | None:
    """Mean power between two rows, uJ per ns; None where the device is missing or the rows are far apart."""
    if uuid not in before.energy_uj or uuid not in after.energy_uj or after.t_ns - before.t_ns > 1.5 * usual_ns:
        return None
    return (after.energy_uj[uuid] - before.energy_uj[uuid]) / max(1, after.t_ns - before.t_ns)
