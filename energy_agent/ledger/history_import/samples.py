"""Samples of a GPU's hardware counter, or of its power, that somebody else scraped -> entries and gaps. Pure.

Laws (tests/energy_agent/ledger/history_import/test_samples.py):

- Telescoping: while the counter does not fall, the entries sum to its last value minus its first, whatever was lost in between.
- Once: of several series that tell of one board at the same time one is taken in each quarter of an hour; nothing is averaged.
- Not known is not guessed: a holder is believed where every sample of a stretch names it and no other; a fall of the counter is
  a fact, and what no sample shows of it is a gap with its bound.

What a scrape knows of time: its stamp is when the page was asked for, and what stands on the page was read up to `age_ns`
before. So each edge is uncertain by what the board draws in that time and in two ticks of its counter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from energy_agent.core.energy import Entry, Method, State
from energy_agent.ledger.rows.cells import cell_start

TICK_NS: Final = 100_000_000
"""Period of the energy counter on every board that has one."""
BOARD_MOST_MW: Final = 10_000_000
"""No board draws this: what a counter shows beyond it is no reading, also where nothing is known of the board."""
LIFE: Final = "@"
"""Stands before the uid in a holder's name: no name of Kubernetes has it."""
RESET: Final = "counter reset"


@dataclass(frozen=True, slots=True)
class ExporterReading:
    """What one scrape told of one board.

    Args:
        value: the counter in uJ, or power in mW.
        holders: workloads that it named; "" among others for a part that it named nobody for. Empty: it named nobody.
        source: which series it came from, of those that tell of the same board.
    """

    t_ns: int
    value: int
    owners: frozenset[str] = frozenset()
    source: str = ""


@dataclass(frozen=True, slots=True)
class ExporterBounds:
    """What may be assumed of a board and of who read it.

    Args:
        power_max_mw: the maximum that it can draw, transients included; None: not known, so that gaps have no bound.
        age_ns: how old a reading can be when it is scraped.
    """

    power_max_mw: int | None
    age_ns: int


def pick(streams: Mapping[str, Sequence[ExporterReading]], current: str = "") -> tuple[list[ExporterReading], str, set[str]]:
    """One series of readings of several of one board, in order of time.

    In each quarter of an hour all readings are of one source: of the one before, unless another has more than twice as many;
    else of the fullest.

    Returns:
        The readings, the source of the last, and those that were left out although they told of the same time.
    """
    by_cell: dict[int, dict[str, list[ExporterReading]]] = {}
    for source, readings in streams.items():
        for reading in readings:
            by_cell.setdefault(cell_start(reading.t_ns), {}).setdefault(source, []).append(reading)
    chosen: list[ExporterReading] = []
    left: set[str] = set()
    for _, of_cell in sorted(by_cell.items()):
        current = _choice(of_cell, current)
        mine = of_cell[current]
        chosen += mine
        first, last = mine[0].t_ns, mine[-1].t_ns
        left |= {name for name, each in of_cell.items() if name != current and each[0].t_ns <= last and each[-1].t_ns >= first}
    return chosen, current, left


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
            energy, held = last.energy_uj + each.energy_uj, last.gpu_ns + each.gpu_ns
            answer[-1] = replace(last, end_ns=each.end_ns, energy_uj=energy, gpu_ns=held)
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
