"""Check the rows of a chain, segment by segment: a device's time moves forward, and nothing exceeds what a node can do. Pure.

A segment has a row per quarter of an hour and share, so what is compared is each device's quarter: its energy and device time
with the time from its first interval to its last. Quarters of different segments never overlap, unless UTC was set back: then
the journal records a gap `CLOCK_WENT_BACK` where the time of the device begins again, and begins a segment there. Only a commit
with time of both sides is in one segment, and says so by the gap's reason.

Energy that bridges a hole is that of the hole too: a sensor that was stuck counts on. Where nothing is known of the time
before, the hole is taken for a day. So a whole day has a limit as well: that of two days.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import compress
from typing import Final

from energy_agent.core.boundary import CLOCK_WENT_BACK, CLOCK_WENT_BACK_BETWEEN, is_gpu, is_meter
from energy_agent.core.energy import Method
from energy_agent.core.meters.difference import ceiling_uj
from energy_agent.core.meters.plausible import NODE_MAX_MW, count_max, gpu_max_mw
from energy_agent.core.units import NS_PER_DAY, NS_PER_S, UJ_PER_J, decimal
from energy_agent.ledger.rows.cells import CUTS_MAX, cell_start
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.ledger.segments.table import Columns, SegmentTable

_AGE_NS: Final = NS_PER_S
"""A sensor's reading is no older."""
_COUNTS: Final = ("tokens", "steps")
_CUT: Final = ("cell", "span", "time")
"""Kinds of rows that are cut at quarters of an hour."""
_START, _END, _ENERGY, _DEVICE_NS, _BRIDGED = range(5)


@dataclass(slots=True)
class ChainRows:
    """What the rows of a chain came to so far.

    Args:
        skus: names of GPUs in the inventory, by UUID: a node cannot raise its limits by another name.
    """

    skus: Mapping[str, str] = field(default_factory=dict)
    _ends: dict[str, int] = field(default_factory=dict)  # where each device's time ends
    _days: dict[tuple[str, int], int] = field(default_factory=dict)  # energy of each device and day

    def check(self, content: SegmentTable) -> tuple[list[str], list[str]]:
        """What a segment repeats of the chain and what in it is impossible, in words; segments come in the chain's order."""
        repeated, impossible = list[str](), list[str]()
        again, between = begins_again(content), begins_again(content, (CLOCK_WENT_BACK_BETWEEN,))
        self._ends |= again
        names = content.columns.get("device", {})
        skus = dict(zip(names.get("device", ()), names.get("sku", ()), strict=True))
        for (device, cell), use in sorted(_uses(content.columns.get("cell", {})).items()):
            start, end = use[_START], use[_END]
            before = self._ends.get(device)
            if before is not None and start < before and device not in between:
                repeated.append(f"{device[:80]} is metered from {_text(start)}, but the chain has it until {_text(before)}")
            self._ends[device] = max(end, before or 0)
            if not is_meter(device):
                hole_ns = NS_PER_DAY if before is None else max(0, start - before)
                lasted_ns = (end - start) * (2 if device in between else 1)
                max_mw = self._max_mw(device, skus.get(device, ""))
                impossible += self._impossible(device, cell, use, max_mw, lasted_ns, hole_ns)
        self._ends |= between
        return repeated, impossible + list(_misplaced(content))

    def _impossible(self, device: str, cell: int, use: list[int], max_mw: int, lasted_ns: int, hole_ns: int) -> Iterator[str]:
        """What exceeds the limits in a device's quarter of an hour."""
        most_uj = ceiling_uj(max_mw, lasted_ns + (hole_ns if use[_BRIDGED] else 0), _AGE_NS)
        if use[_ENERGY] > most_uj:
            yield _more(device, use[_ENERGY], f"{lasted_ns / NS_PER_S:g} s", most_uj)
        if use[_DEVICE_NS] > lasted_ns:
            used_s = decimal(use[_DEVICE_NS], NS_PER_S)
            yield f"{device[:80]} was used for {used_s} s in {decimal(lasted_ns, NS_PER_S)} s"
        day, limit_uj = (device, cell // NS_PER_DAY), ceiling_uj(max_mw, 2 * NS_PER_DAY)
        before_uj = self._days.get(day, 0)
        self._days[day] = before_uj + use[_ENERGY]
        if before_uj <= limit_uj < self._days[day]:
            yield _more(device, self._days[day], "a day", limit_uj)

    def _max_mw(self, device: str, sku: str) -> int:
        """Maximum power of a device, by the inventory and by the node."""
        return min(gpu_max_mw(sku), gpu_max_mw(self.skus.get(device, ""))) if is_gpu(device) else NODE_MAX_MW


def _misplaced(content: SegmentTable) -> Iterator[str]:
    """The first row of each kind that is filed under another time than its own, so that it would count on another day.

    A row belongs to the quarter of an hour in which it ends. Energy and device time also begin there, unless their interval was
    too long to be cut.
    """
    for kind, rows in content.columns.items():
        for cell, start, end in zip(*(rows.get(name, ()) for name in ("cell_start_ns", "start_ns", "end_ns")), strict=True):
            begins = start >= cell or kind not in _CUT or end - start >= CUTS_MAX * CELL_NS
            if not begins or cell_start(max(start, end - 1)) != cell:
                yield f"a {kind} row of the quarter from {_text(cell)} is of the time from {_text(start)} to {_text(end)}"
                break


def _more(device: str, energy_uj: int, time: str, limit_uj: int) -> str:
    used_j, limit_j = decimal(energy_uj, UJ_PER_J), decimal(limit_uj, UJ_PER_J)
    return f"{device[:80]} used {used_j} J in {time}, more than {limit_j} J, the maximum of such a device"


def _text(t_ns: int) -> str:
    return datetime.fromtimestamp(t_ns // NS_PER_S, UTC).isoformat()


def _uses(cells: Columns) -> dict[tuple[str, int], list[int]]:
    """First and last instant, energy, device time and whether a hole was bridged, of each device and quarter of an hour."""
    uses: dict[tuple[str, int], list[int]] = {}
    if not cells:
        return uses
    keys = zip(cells["device"], cells["cell_start_ns"], strict=True)
    numbers = zip(cells["start_ns"], cells["end_ns"], cells["energy_uj"], cells["gpu_ns"], strict=True)
    for key, (start, end, energy_uj, gpu_ns) in zip(keys, numbers, strict=True):
        use = uses.get(key)
        if use is None:
            uses[key] = [start, end, energy_uj, gpu_ns, False]
            continue
        if start < use[0]:
            use[0] = start
        if end > use[1]:
            use[1] = end
        use[2] += energy_uj
        use[3] += gpu_ns
    if Method.BRIDGED in cells["method"]:
        for device, cell, method in zip(cells["device"], cells["cell_start_ns"], cells["method"], strict=True):
            uses[device, cell][_BRIDGED] |= method == Method.BRIDGED
    return uses


def begins_again(
    content: SegmentTable, reasons: Collection[str] = (CLOCK_WENT_BACK, CLOCK_WENT_BACK_BETWEEN)
) -> dict[str, int]:
    """Devices of which the time begins again in a segment, because UTC was set back, with the instant."""
    gaps = content.columns.get("gap", {})
    rows = zip(gaps.get("device", ()), gaps.get("start_ns", ()), gaps.get("reason", ()), strict=True)
    return {device: start for device, start, reason in sorted(rows) if reason in reasons}


def without_impossible_counts(content: SegmentTable) -> tuple[SegmentTable, list[str]]:
    """A segment without the counts that no engine reaches, and what they are, in words.

    Programs report tokens and steps of themselves, so an absurd count is left out by itself: the node's energy stays.
    """
    columns, wrong = dict(content.columns), list[str]()
    for kind in _COUNTS:
        rows = columns.get(kind)
        if rows is None:
            continue
        flags = [
            count <= count_max((end - start) / NS_PER_S)
            for count, start, end in zip(rows[kind], rows["start_ns"], rows["end_ns"], strict=True)
        ]
        if all(flags):
            continue
        for workload, count, is_possible in zip(rows["workload"], rows[kind], flags, strict=True):
            if not is_possible:
                wrong.append(f"{workload[:80]} counted {count} {kind} in a quarter of an hour or less; left out")
        del columns[kind]
        if any(flags):
            columns[kind] = {name: list(compress(values, flags)) for name, values in rows.items()}
    return (replace(content, columns=columns), wrong) if wrong else (content, wrong)
