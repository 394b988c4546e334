"""Day sums: what a day's rows come to, per node, in three small tables: a fleet's quarter is summed without its rows. Pure.

Rows must come in the order of the node's chain: what of their edge errors cancels is decided by the ledger's own rule, which is
associative, so days join one another exactly as hours do. `Node.columns` refuses sums that are not those of the rows.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Final

from energy_agent.core.boundary import is_gpu, is_host, is_meter
from energy_agent.core.energy import State
from energy_agent.core.errors import ChainError
from energy_agent.ledger.rows.kinds import CELL_NS, INT64_MAX, PPM
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN, EdgeRun, follow

VERSION: Final = 1
_RUN: Final = ("start_ns", "end_ns", "edge_first_uj", "edge_inner_uj", "edge_last_uj")
_WHOSE: Final = ("cluster", "node", "device", "workload", "state", "method", "reason")
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "holder_day": ("cluster", "node", "device", "workload", "state", "method", "energy_uj", "gpu_ns", *_RUN),
    "span_day": ("cluster", "node", "device", "workload", *_RUN, "metered_ns", "gap_bound_uj", "gap_ns"),
    "workload_cell": ("cell_start_ns", "cluster", "node", "workload", "active_uj", "idle_uj", "other_uj", "host_uj", "gpu_ns"),
}
DAY_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    kind: {name: "string" if name in _WHOSE else "int64" for name in names} for kind, names in _NAMES.items()
}
"""Columns of each table with their pyarrow types.

holder_day: the day's cells of one (device, workload, state, method); of device time without a sensor `method` is "".
span_day: the day's spans of one (device, workload), with what no sensor saw; workload "" is the whole device.
workload_cell: what a workload used in a cell: GPU energy by state, energy of whole hosts, device time held on GPUs.
"""
_PARTED: Final = {"holder_day": "energy_uj", "span_day": "gap_bound_uj"}
"""What is past int64 where a meter of a building sees more than 106 MW all day: it stands in several rows of one key."""
_ALIKE: Final = (*_WHOSE, "start_ns", "end_ns")
_ACTIVE, _IDLE, _OTHER, _HOST, _GPU_NS = range(5)
_BUCKETS: Final = {State.ACTIVE.value: _ACTIVE, State.IDLE.value: _IDLE}

Columns = Mapping[str, Sequence[Any]]
_Stretch = tuple[int, int]
_END, _INNER, _LAST, _ENERGY, _HELD_NS = 1, 3, 4, 5, 6  # places in a holder's sums, which begin with its run


class NodeDay:
    """The sums of one node's day at one site. What is kept of a row is a few numbers: a node's day stays small."""

    def __init__(self, cluster: str, node: str) -> None:
        self._who = (cluster, node)
        self._owners: dict[tuple[str, str, str, str], list[int]] = {}  # -> run, energy, device time
        self._uses: dict[tuple[int, str], list[int]] = {}
        self._spans: dict[tuple[str, str], list[int]] = {}  # -> run
        self._intervals: dict[tuple[str, str], array[int]] = {}  # -> cell, start, end of each span
        self._read_ns: dict[str, dict[int, int]] = {}  # meter of a building -> cell -> how long it was read
        self._gaps: dict[str, list[tuple[int, int, int, int]]] = {}  # device -> cell, start, end, bound
        self._totals = [0, 0, 0, 0]  # energy of everything, of GPUs, of hosts; device time of GPUs

    def add(self, columns: Mapping[str, Columns]) -> None:
        """Add rows, by kind. The sums ignore rows without energy, device time, span or gap."""
        if "cell" in columns:
            self._add_cells(columns["cell"])
            self._count(columns["cell"])
        if "time" in columns:
            self._add_times(columns["time"])
        if "span" in columns:
            self._add_spans(columns["span"])
        if "gap" in columns:
            for device, *gap in _zip(columns["gap"], "device", "cell_start_ns", "start_ns", "end_ns", "bound_uj"):
                self._gaps.setdefault(device, []).append((gap[0], gap[1], gap[2], gap[3]))

    def _add_cells(self, cells: Columns) -> None:
        owners, uses = self._owners, self._uses
        keys = _zip(cells, "device", "workload", "state", "method")
        kinds = {device: _OTHER if is_gpu(device) else _HOST if is_host(device) else None for device in set(cells["device"])}
        for key, cell, energy_uj, gpu_ns, run in zip(
            keys, cells["cell_start_ns"], cells["energy_uj"], cells["gpu_ns"], _zip(cells, *_RUN), strict=True
        ):
            sums = owners.get(key)
            if sums is None:
                owners[key] = [*run, energy_uj, gpu_ns]
            else:
                sums[_ENERGY] += energy_uj
                sums[_HELD_NS] += gpu_ns
                _follow(sums, run, SHARE_UNKNOWN)
            kind = kinds[key[0]]
            if kind is None:
                if is_meter(key[0]):
                    read_ns = self._read_ns.setdefault(key[0], {})
                    read_ns[cell] = read_ns.get(cell, 0) + gpu_ns
                continue  # a part of a host, or a meter
            use = uses.get((cell, key[1]))
            if use is None:
                use = uses[cell, key[1]] = [0, 0, 0, 0, 0]
            if kind == _HOST:
                use[_HOST] += energy_uj
            else:
                use[_BUCKETS.get(key[2], _OTHER)] += energy_uj
                use[_GPU_NS] += gpu_ns

    def _add_times(self, times: Columns) -> None:
        """Add rows of device time, which have neither energy nor edges."""
        rows = len(times["device"])
        none = dict.fromkeys(("energy_uj", "edge_first_uj", "edge_inner_uj", "edge_last_uj"), [0] * rows)
        cells = {**times, **none, "method": [""] * rows}
        self._add_cells(cells)
        self._count(cells)

    def _add_spans(self, spans: Columns) -> None:
        sums_by_key, intervals = self._spans, self._intervals
        for key, cell, run in zip(_zip(spans, "device", "workload"), spans["cell_start_ns"], _zip(spans, *_RUN), strict=True):
            sums = sums_by_key.get(key)
            if sums is None:
                sums_by_key[key] = list(run)
                intervals[key] = array("q", (cell, run[0], run[1]))
            else:
                _follow(sums, run, SHARE_UNKNOWN if key[1] else PPM)
                intervals[key].extend((cell, run[0], run[1]))

    def _count(self, cells: Columns) -> None:
        """Sum the rows as they come, apart from the day's sums, which have to agree."""
        devices, energy_uj, gpu_ns = cells["device"], cells["energy_uj"], cells["gpu_ns"]
        gpus, hosts = ({device for device in set(devices) if is_one(device)} for is_one in (is_gpu, is_host))
        of_gpu = [device in gpus for device in devices]
        self._totals[0] += sum(energy_uj)
        self._totals[1] += sum(compress(energy_uj, of_gpu))
        self._totals[2] += sum(compress(energy_uj, [device in hosts for device in devices])) if hosts else 0
        self._totals[3] += sum(compress(gpu_ns, of_gpu))

    def columns(self) -> dict[str, dict[str, list[Any]]]:
        """The three tables, their rows sorted.

        Raises:
            ChainError: they do not sum to the rows, or a sum is past int64.
        """
        cluster, node = self._who
        tables: dict[str, list[tuple[Any, ...]]] = {
            "holder_day": [(cluster, node, *row) for row in self._owner_rows()],
            "span_day": [(cluster, node, *row) for row in self._span_rows()],
            "workload_cell": [(start, cluster, node, *row) for start, *row in self._use_rows()],
        }
        self._check(tables["holder_day"], tables["workload_cell"])
        for kind, name in _PARTED.items():
            parted = (_within_int64(row, _NAMES[kind], name) if is_meter(row[2]) else (row,) for row in tables[kind])
            tables[kind] = [part for parts in parted for part in parts]
        for kind, rows in tables.items():
            largest = max((value for row in rows for value in row if type(value) is int), default=0)
            if largest > INT64_MAX:
                raise ChainError(f"{cluster}/{node}: a sum of the day exceeds int64 in {kind}: {largest}; a meter is faulty")
        return {kind: _columns(names, tables[kind]) for kind, names in _NAMES.items()}

    def _owner_rows(self) -> Iterator[tuple[Any, ...]]:
        for key, sums in sorted(self._owners.items()):
            yield (*key, sums[_ENERGY], sums[_HELD_NS], *sums[:_ENERGY])

    def _span_rows(self) -> Iterator[tuple[Any, ...]]:
        """Spans with what was metered and what no sensor saw."""
        unspanned = [(device, "") for device in self._gaps if (device, "") not in self._spans]
        for key in sorted([*self._spans, *unspanned]):
            device, workload = key
            gaps, flat = self._gaps.get(device, []), self._intervals.get(key, array("q"))
            intervals = list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
            run = self._spans.get(key) or (min(gap[1] for gap in gaps), max(gap[2] for gap in gaps), 0, 0, 0)
            if workload:
                span_cells = set(flat[::3])
                yield (*key, *run, 0, sum(bound for cell, _, _, bound in gaps if cell in span_cells), 0)
            else:
                unseen_uj, unseen_ns = sum(gap[3] for gap in gaps), sum(gap[2] - gap[1] for gap in gaps)
                metered_ns = _metered_ns(intervals, gaps)
                if is_meter(device):
                    metered_ns = sum(min(ns, CELL_NS) for ns in self._read_ns.get(device, {}).values())
                yield (*key, *run, metered_ns, unseen_uj, unseen_ns)

    def _use_rows(self) -> Iterator[tuple[Any, ...]]:
        for (cell, workload), sums in sorted(self._uses.items()):
            yield (cell, workload, *sums)

    def _check(self, owners: list[tuple[Any, ...]], uses: list[tuple[Any, ...]]) -> None:
        """Both tables have to sum to the rows, and to each other for every workload and state."""
        used: dict[tuple[str, int], int] = {}
        for _, _, device, workload, state, _, energy_uj, gpu_ns, *_ in owners:
            for what, amount in ((_BUCKETS.get(state, _OTHER), energy_uj), (_GPU_NS, gpu_ns)) if is_gpu(device) else ():
                used[workload, what] = used.get((workload, what), 0) + amount
            if is_host(device):
                used[workload, _HOST] = used.get((workload, _HOST), 0) + energy_uj
        for _, _, _, workload, *sums in uses:
            for what, amount in enumerate(sums):
                used[workload, what] = used.get((workload, what), 0) - amount
        of_gpus = sum(sum(row[4 + _ACTIVE : 4 + _HOST]) for row in uses)
        totals = [
            sum(row[6] for row in owners),
            of_gpus,
            sum(row[4 + _HOST] for row in uses),
            sum(row[4 + _GPU_NS] for row in uses),
        ]
        if totals != self._totals or any(used.values()):
            raise ChainError(
                f"{'/'.join(self._who)}: the day sums differ from the sums of the day's rows; this is a bug in Wattlens"
            )


def _within_int64(row: tuple[Any, ...], names: Sequence[str], name: str) -> Iterator[tuple[Any, ...]]:
    """The row, or several of its key where its number `name` is past int64: they sum to it, and the first has all else."""
    at = names.index(name)
    first, rest = min(row[at], INT64_MAX), row[at] - INT64_MAX
    yield (*row[:at], first, *row[at + 1 :])
    further = [value if each in _ALIKE else 0 for each, value in zip(names, row, strict=True)]
    while rest > 0:
        further[at], rest = min(rest, INT64_MAX), rest - INT64_MAX
        yield tuple(further)


def _zip(columns: Columns, *names: str) -> Iterator[Any]:
    return zip(*(columns[name] for name in names), strict=True)


def _columns(names: Sequence[str], rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return dict(zip(names, map(list, columns), strict=True))


def _follow(sums: list[int], piece: tuple[int, int, int, int, int], share_ppm: int) -> None:
    """Add a piece (start, end, edges) to a run as `uncertainty.follow` does.

    The two common cases do not call it: two pieces meet at a reading and have the same bound, which cancels completely because
    shares here are whole or unknown; or the pieces are apart, and nothing cancels.
    """
    start, end, first, inner, last = piece
    if start == sums[_END] and first == sums[_LAST] != 0:
        sums[_INNER] += inner
    elif start > sums[_END]:
        sums[_INNER] += sums[_LAST] + first + inner
    else:
        run = follow(EdgeRun(sums[0], sums[1], sums[2], sums[3], sums[4], share_ppm), EdgeRun(*piece, share_ppm))
        sums[:_ENERGY] = run.start_ns, run.end_ns, run.first_uj, run.inner_uj, run.last_uj
        return
    sums[_END], sums[_LAST] = end, last


def _metered_ns(spans: Iterable[tuple[int, ...]], gaps: Iterable[tuple[int, int, int, int]]) -> int:
    """Time that a device was metered: its spans less what gaps overlap of them, in each cell by itself and never below 0."""
    unseen: dict[int, list[_Stretch]] = {}
    for cell, start, end, _ in gaps:
        unseen.setdefault(cell, []).append((start, end))
    total, beside = 0, dict[int, list[_Stretch]]()
    for cell, start, end, *_ in spans:
        total += end - start
        if cell in unseen:
            beside.setdefault(cell, []).append((start, end))
    for cell, ones in beside.items():
        overlap = sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in ones for b in unseen[cell])
        total -= min(overlap, sum(end - start for start, end in ones))
    return total
