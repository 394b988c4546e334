"""Find devices that two chains metered at the same time, so that no energy is counted twice. Pure.

The first step costs nothing per row: it compares the time in which each chain's segments name a device. Only where those times
overlap are the rows of these devices compared, cell by cell.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.rows.kinds import CELL_NS, INT64_MAX

Who = tuple[str, str]
"""Cluster and node."""
Refused = Mapping[str, frozenset[int]]
"""Device -> starts of cells."""
ROWS: Final = ("cell", "time", "span", "gap")
"""Kinds of rows that are left out of a cell that is refused."""
_MEASURED: Final = ("cell", "span")
"""Kinds that say that a device was measured; a gap says that it was not."""


def measured_devices(columns: Mapping[str, Mapping[str, Sequence[Any]]]) -> set[str]:
    """Devices of whose energy or device time a segment has rows."""
    return {device for kind in ("cell", "time") for device in columns.get(kind, {}).get("device", ())}


class MeteredSpans:
    """The rough look: the time between a chain's first and last segment with energy of a device."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[Who, int, int]] = {}
        self._more: dict[str, dict[Who, tuple[int, int]]] = {}  # where a second chain names the device

    def add(self, who: Who, devices: Iterable[str], from_ns: int, to_ns: int) -> None:
        """Add the devices of a segment, or of several."""
        for device in devices:
            span = self._first.get(device)
            if span is None:
                self._first[device] = (who, from_ns, to_ns)
            elif span[0] == who:
                self._first[device] = (who, min(span[1], from_ns), max(span[2], to_ns))
            else:
                others = self._more.setdefault(device, {})
                before = others.get(who, (from_ns, to_ns))
                others[who] = (min(before[0], from_ns), max(before[1], to_ns))

    def contested(self) -> dict[str, set[Who]]:
        """Devices that several chains have at a time, roughly, with these chains."""
        claimants: dict[str, set[Who]] = {}
        for device, others in self._more.items():
            who, *span = self._first[device]
            for overlap in _overlaps([*((*times, one) for one, times in others.items()), (span[0], span[1], who)]):
                claimants.setdefault(device, set()).update(overlap)
        return claimants


@dataclass(frozen=True, slots=True)
class Conflict:
    """A device that several chains measured at a time, in cells that follow each other; `kept` is the one that counts.

    It is the one of the inventory, else the one that had the device `before`.
    """

    device: str
    start_ns: int
    end_ns: int
    chains: tuple[Who, ...]
    kept: Who | None
    before: bool = False

    def __str__(self) -> str:
        first, *others = ("/".join(who) for who in self.chains)
        start, end = _minute(self.start_ns), _minute(self.end_ns)
        text = f"{self.device[:80]}: measured by {first} and {' and '.join(others)} from {start} to {end}"
        if self.kept is not None:
            by_inventory, by_time = "the inventory assigns the device to it", "it had the device first; add it to the inventory"
            return f"{text}: the rows of {'/'.join(self.kept)} count, because {by_time if self.before else by_inventory}"
        return f"{text}: no rows of this device count; stop one agent, and assign the device to its node in the inventory"


def _minute(t_ns: int) -> str:
    return datetime.fromtimestamp(t_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%MZ")


class Contest:
    """The rows of contested devices, of cells that start in [from_ns, to_ns)."""

    def __init__(self, contested: Mapping[str, set[Who]], from_ns: int = 0, to_ns: int = INT64_MAX) -> None:
        self._contested, self._from_ns, self._to_ns = contested, from_ns, to_ns
        self._cells: dict[tuple[str, int], set[tuple[int, int, Who]]] = {}

    @property
    def chains(self) -> set[Who]:
        """Whose rows are needed."""
        return {who for chains in self._contested.values() for who in chains}

    def add(self, who: Who, columns: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        """Add a segment's rows."""
        mine = {device for device, chains in self._contested.items() if who in chains}
        for kind in _MEASURED:
            rows = columns.get(kind)
            if rows is None:
                continue
            for device, cell, start, end in zip(
                rows["device"], rows["cell_start_ns"], rows["start_ns"], rows["end_ns"], strict=True
            ):
                if device in mine and self._from_ns <= cell < self._to_ns:
                    self._cells.setdefault((device, cell), set()).add((start, max(end, start + 1), who))

    def conflicts(
        self,
        is_assigned: Callable[[Who, str, int], bool],
        published: Callable[[str], set[Who]] = lambda _: set(),
    ) -> list[Conflict]:
        """What was measured twice.

        Where the inventory decides nothing, the chain counts that had the device before the others: in what is published, else
        in these rows. So nobody who adds a chain removes the energy of another.

        Args:
            is_assigned: whether a device is assigned to a node at an instant.
            published: the chains of a device in an earlier statement.
        """
        conflicts = []
        first: dict[str, dict[Who, int]] = {}
        for (device, _), intervals in self._cells.items():
            for start, _, who in intervals:
                firsts = first.setdefault(device, {})
                firsts[who] = min(start, firsts.get(who, start))
        for (device, cell), intervals in sorted(self._cells.items()):
            chains = sorted({who for overlap in _overlaps(intervals) for who in overlap})
            if chains:
                assigned = [who for who in chains if is_assigned(who, device, cell)]
                claimants = published(device) & set(chains)
                earliest = min(first[device][who] for who in chains)
                earlier = claimants if len(claimants) == 1 else {who for who in chains if first[device][who] == earliest}
                candidates = assigned or sorted(earlier)
                kept = candidates[0] if len(candidates) == 1 else None
                conflicts.append(Conflict(device, cell, cell + CELL_NS, tuple(chains), kept, kept is not None and not assigned))
        return _joined(conflicts)


def _joined(conflicts: Iterable[Conflict]) -> list[Conflict]:
    """Conflicts of cells that follow each other as one."""
    joined: list[Conflict] = []
    for conflict in conflicts:
        before = joined[-1] if joined else None
        if before is not None and replace(before, start_ns=before.end_ns, end_ns=conflict.end_ns) == conflict:
            joined[-1] = replace(before, end_ns=conflict.end_ns)
        else:
            joined.append(conflict)
    return joined


def _overlaps(intervals: Iterable[tuple[int, int, Who]]) -> Iterable[tuple[Who, Who]]:
    """Pairs of different chains of which an interval overlaps."""
    latest: dict[Who, int] = {}  # the latest end of each chain so far
    for start, end, who in sorted(intervals):
        for other, until in latest.items():
            if other != who and start < until:
                yield who, other
        latest[who] = max(end, latest.get(who, end))


def refused(conflicts: Iterable[Conflict]) -> dict[Who, Refused]:
    """The cells of each chain that do not count."""
    cells: dict[Who, dict[str, set[int]]] = {}
    for conflict in conflicts:
        for who in conflict.chains:
            if who != conflict.kept:
                mine = cells.setdefault(who, {}).setdefault(conflict.device, set())
                mine.update(range(conflict.start_ns, conflict.end_ns, CELL_NS))
    return {who: {device: frozenset(starts) for device, starts in mine.items()} for who, mine in cells.items()}
