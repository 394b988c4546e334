"""Convert samples of a GPU's energy counter or power that another program scraped into entries and gaps. Pure.

Laws (tests/energy_agent/ledger/history_import/test_samples.py):

- Telescoping: while the counter does not fall, the entries sum to its last value minus its first, whatever was lost in between.
- No double counting: if several series report one GPU at the same time, one is used per quarter of an hour; no averages.
- No guesses: a workload is the consumer of an interval only if every sample of the interval names it and no other. A fall of
  the counter is a fact; the energy that no sample shows is a gap with an upper bound.

Accuracy in time: a scrape has the time stamp of its request, and its values were read up to `age_ns` before. So each edge is
uncertain by the energy that the GPU uses in that time and in two ticks of its counter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from energy_agent.core.energy import Entry, Method, State
from energy_agent.ledger.rows.cells import cell_start

TICK_NS: Final = 100_000_000
"""Update period of the energy counter on every GPU that has one."""
LIFE: Final = "@"
"""Separates the uid in a workload's name; a name in Kubernetes cannot contain it."""
RESET: Final = "counter reset"


@dataclass(frozen=True, slots=True)
class ExporterReading:
    """The reading of one GPU in one scrape.

    Args:
        value: the counter in uJ, or power in mW.
        owners: workloads that the scrape named, with "" for a part of the GPU without a workload. Empty: it named none.
        source: the series that it came from, out of those of the same GPU.
    """

    t_ns: int
    value: int
    owners: frozenset[str] = frozenset()
    source: str = ""


@dataclass(frozen=True, slots=True)
class ExporterBounds:
    """Assumptions about a GPU and its scraper.

    Args:
        power_max_mw: maximum power of the GPU, including transients; None: unknown, so gaps have no upper bound.
        age_ns: how old a reading can be when it is scraped.
    """

    power_max_mw: int | None
    age_ns: int


def pick(streams: Mapping[str, Sequence[ExporterReading]], current: str = "") -> tuple[list[ExporterReading], str, set[str]]:
    """Merge the series of one GPU into one series of readings, in order of time.

    In each quarter of an hour all readings come from one source: the previous source, unless it has no readings or another
    source has more than twice as many; then the source with the most readings.

    Returns:
        The readings, the source of the last one, and the sources that were skipped although they cover the same time.
    """
    by_cell: dict[int, dict[str, list[ExporterReading]]] = {}
    for source, readings in streams.items():
        for reading in readings:
            by_cell.setdefault(cell_start(reading.t_ns), {}).setdefault(source, []).append(reading)
    chosen: list[ExporterReading] = []
    skipped_sources: set[str] = set()
    for _, of_cell in sorted(by_cell.items()):
        current = _choice(of_cell, current)
        mine = of_cell[current]
        chosen += mine
        first, last = mine[0].t_ns, mine[-1].t_ns
        skipped_sources |= {
            name for name, each in of_cell.items() if name != current and each[0].t_ns <= last and each[-1].t_ns >= first
        }
    return chosen, current, skipped_sources


def _choice(of_cell: Mapping[str, Sequence[ExporterReading]], current: str) -> str:
    fullest = min(of_cell, key=lambda name: (-len(of_cell[name]), name))
    return current if current in of_cell and 2 * len(of_cell[current]) >= len(of_cell[fullest]) else fullest


def whose(named: set[frozenset[str]], method: Method) -> tuple[str, State]:
    """The owner of an interval by what its readings named.

    The one that all of them name alone, over a hole only if its name is of one life (it has the pod's uid); idle has to be
    proven, which no scrape can, so a held board is active. Otherwise nobody is known, which is not that nobody holds it.
    """
    if len(named) == 1:
        (owners,) = named
        if len(owners) == 1:
            (owner,) = owners
            if owner and (method is not Method.BRIDGED or LIFE in owner):
                return owner, State.ACTIVE
    if method is Method.BRIDGED and any(named):
        return "", State.GAP
    return "", State.UNKNOWN_OWNER


def joined(entries: Iterable[Entry]) -> list[Entry]:
    """Entries of one device with neighbours of one cell made one where they share a reading, its error, owner and method.

    The rows of the ledger are the same (tests/energy_agent/ledger/history_import/test_samples.py); there are sixty times
    fewer to fold.
    """
    answer: list[Entry] = []
    for each in entries:
        last = answer[-1] if answer else None
        if last is not None and _alike(last, each):
            energy, gpu_ns = last.energy_uj + each.energy_uj, last.gpu_ns + each.gpu_ns
            answer[-1] = replace(last, end_ns=each.end_ns, energy_uj=energy, gpu_ns=gpu_ns)
        else:
            answer.append(each)
    return answer


def _alike(last: Entry, each: Entry) -> bool:
    return (
        last.end_ns == each.start_ns
        and last.edge_uj == each.edge_uj
        and (last.workload, last.state, last.method) == (each.workload, each.state, each.method)
        and last.device == each.device
        and each.method is not Method.INTEGRATED
        and cell_start(last.start_ns) == cell_start(each.end_ns - 1)
    )
