"""The site's PUE now, over each window of its metric. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from energy_agent.core.meters.facility import MeterEnergy, MeterFacts, Position, Role
from energy_agent.core.quantity import no_quantity
from energy_agent.ledger.facility import FacilityBook
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.site.building.pue import DAY_NS, YEAR_NS, Pue, enough, it_terms, pue, stated_pue

WINDOWS: Final = {"15m": CELL_NS, "1h": 4 * CELL_NS, "24h": DAY_NS, "30d": 30 * DAY_NS, "365d": YEAR_NS}
NOW: Final = "15m"
STATED: Final = "stated"
PARTLY: Final = ", partly stated"


@dataclass(frozen=True, slots=True)
class PueValue:
    """A PUE that somebody states, with the bound of its relative error."""

    value: Fraction
    uncertainty: Fraction


def live(
    book: FacilityBook | None,
    open_rows: FacilityBook,
    declared: Sequence[MeterFacts],
    now_ns: int,
    lag_ns: int,
    stated: PueValue | None,
) -> dict[tuple[str, str], Pue]:
    """PUE by category and window, each with a value or the reason for which it has none.

    `15m` begins with the cell before the open one, or with the ledger, and ends now: its bounds cover the energy of the last
    seconds, which only the next readings will show. The others end with the last cell that every meter has been read past, and
    have a value once their meters were read for nine tenths of them; those longer than a day consist of whole UTC days.

    Args:
        book: what is sealed; None: it is still being read, and no window has a value yet.
        open_rows: what is not.
        declared: the meters of the site.
        now_ns: UTC ns.
        lag_ns: how long the slowest meter takes from one reading to the next.
        stated: what stands in without meters.
    """
    facts = {m.id: m for m in declared}
    positions = [p for p in Position if it_terms(facts, p)]
    if not positions or not any(m.role is Role.TOTAL for m in declared):
        if stated is not None:
            return {(STATED, ""): stated_pue(0, stated.value, stated.uncertainty)}
        missing = "no meter of role it" if not positions else "no meter of role total"
        reason = f"{missing}, and no PUE is stated (pue.value)"
        return {(STATED, ""): Pue("PUE", 0, no_quantity(reason), stated=True)}
    if book is None:
        reading = "the ledger is being read"
        return {(str(p.category), name): _none(p, reading) for p in positions for name in WINDOWS}
    begun = [first for each in (book, open_rows) if (first := each.first_ns) is not None]
    pues: dict[tuple[str, str], Pue] = {}
    for name, length_ns in WINDOWS.items():
        try:
            meters = _window(book, open_rows, name, length_ns, min(begun, default=now_ns), now_ns, lag_ns)
        except ValueError:  # a clock that was far ahead for a while: what is after this window is folded, and so is part of it
            pues |= {(str(p.category), name): _none(p, "only whole days of this period are kept") for p in positions}
            continue
        for position in positions:
            one = pue(meters, position) if meters else _none(position, "nothing is recorded yet")
            one = one if name == NOW else enough(one)
            pues[f"{position.category}{PARTLY if one.stated else ''}", name] = one
    return pues


def _window(
    book: FacilityBook, open_rows: FacilityBook, name: str, length_ns: int, begun_ns: int, now_ns: int, lag_ns: int
) -> Mapping[str, MeterEnergy]:
    if name == NOW:
        start_ns = now_ns - now_ns % CELL_NS - length_ns
        since_ns = max(begun_ns, start_ns)
        if since_ns >= now_ns:
            return {}
        return book.window(start_ns, start_ns + length_ns + CELL_NS, since_ns=since_ns, until_ns=now_ns, additional=open_rows)
    grain_ns = DAY_NS if length_ns > DAY_NS else CELL_NS
    end_ns = (now_ns - lag_ns) // grain_ns * grain_ns
    return book.window(end_ns - length_ns, end_ns, additional=open_rows)


def _none(position: Position, reason: str) -> Pue:
    return Pue("iPUE", position.category, no_quantity(reason))
