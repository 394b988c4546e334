"""Creates a ledger from the history of a Prometheus, node by node and slice by slice. Quality: docs/import.md."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.history_import.segments import NodeTarget, SegmentContents, SegmentFolder
from energy_agent.ledger.segments.segment import Signer
from wattlens.history_import.dcgm import METRICS, DcgmFleet, DcgmNode
from wattlens.history_import.request import ORIGIN, ImportRequest
from wattlens.prometheus.history import PrometheusHistory, selector

_DAY_NS: Final = 86_400 * NS_PER_S
_OLDEST_DAYS: Final = 3_650
Progress = Callable[[str, int, int], None]


@dataclass
class ImportResult:
    """Result of an import, or of a dry run."""

    nodes: list[SegmentContents] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    requests: int = 0


def run(
    request: ImportRequest,
    history: PrometheusHistory,
    output: Path,
    *,
    dry: bool = False,
    signer: Signer | None = None,
    progress: Progress | None = None,
) -> ImportResult:
    """Import; with a signer its segments are signed.

    Raises:
        UsageError: nothing of that name or time, or the folder has some of it already.
        WattlensError: the service gave no answer that can be used; nothing was written.
    """
    fleet = DcgmFleet(request, history)
    nodes = fleet.nodes()
    names = [name for name in nodes if not request.nodes or name in request.nodes]
    missing = sorted(set(request.nodes) - set(nodes))
    if missing or not names:
        examples = ", ".join(nodes[:5]) + (", ..." if len(nodes) > 5 else "")
        what = f"node not found: {', '.join(missing)}" if missing else "no series"
        raise WattlensError(
            f"{history.access.url}: {what} ({ORIGIN} series of this period)"
            + (f"; nodes found: {examples}" if examples else "")
        )
    target = SegmentFolder(output, request.start_ns, request.end_ns, dry=dry, signer=signer)
    result = ImportResult()
    try:
        for number, name in enumerate(names):
            node = fleet.open(name)
            chain = target.open(node.identity)
            _node(request, node, chain, partial(_tell, progress, f"{name} ({number + 1}/{len(names)})"))
            if chain.written.segments:
                result.nodes.append(chain.written)
            result.notes += [f"{name}: {count} {what}" for what, count in sorted(node.event_counts.items()) if count]
        if not result.nodes:
            raise WattlensError(f"{history.access.url}: expected two or more samples of {ORIGIN} in this period, found fewer")
        target.publish()
    finally:
        target.discard()
    result.requests = history.requests
    return result


def _tell(progress: Progress | None, what: str, done: int, total: int) -> None:
    if progress is not None:
        progress(what, done, total)


def _node(request: ImportRequest, node: DcgmNode, chain: NodeTarget, progress: Callable[[int, int], None]) -> None:
    windows = request.windows()
    sealed_ns = request.start_ns
    for number, (start_ns, end_ns) in enumerate(windows):
        progress(number, len(windows))
        chain.book(node.slice(start_ns, end_ns))
        midnight = end_ns - end_ns % _DAY_NS
        if midnight > sealed_ns:
            chain.seal(midnight)
            sealed_ns = midnight
    chain.book(node.end())
    chain.seal(None)


def first_day_ns(history: PrometheusHistory, match: Mapping[str, str], end_ns: int) -> int:
    """UTC ns of the first day of which the service has series: exact to a day, or to the service's block of data.

    Raises:
        UsageError: a label that cannot be one.
        WattlensError: the service has no series of that kind before `end_ns`, or its answer cannot be used.
    """
    select = selector("", match, "|".join(METRICS))
    last = -(-end_ns // _DAY_NS)
    without = oldest = last - _OLDEST_DAYS  # from the oldest day up to this one there are no series

    def has_series(day: int) -> bool:
        return bool(history.label_values("__name__", select, oldest * _DAY_NS, min(day * _DAY_NS, end_ns)))

    if not has_series(last):
        raise WattlensError(f"{history.access.url}: no series of {ORIGIN} found")
    while last - without > 1:
        middle = (without + last) // 2
        without, last = (without, middle) if has_series(middle) else (middle, last)
    return without * _DAY_NS
