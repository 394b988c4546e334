"""One day of faults in a simulated building: every meter's total is within its stated bounds, and every hole is reported.

Main meter offline for 3 h, a PDU's register stuck for 1 h with its energy lost, the UPS's stuck for 1 h and caught up, the
cooling meter reset to 0, a lying jump of 30 MWh on a PDU and back, a meter of power alone offline for 3 h, another stuck for
1 h, and the reader's clock set an hour ahead and back. The truth is the building's physics; totals are of the day by the
reader's own clock.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from benchmarks.runner import Row
from benchmarks.site_building import AIR, BEGIN_NS, BuildingEvent, S, SimulatedSite
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.site.building.ratio import energy
from wattlens.site.pue.statement import gaps

DAY_S = 86_400
H = 3600
_JUMP_WH = 30_000_000


def fault(at_h: float, meter: str, kind: str, value: int = 0) -> BuildingEvent:
    """A meter's fault."""
    return BuildingEvent(round(at_h * H), lambda played: played.building.fault(meter, kind, value))


def clear(at_h: float, meter: str) -> BuildingEvent:
    """Its end."""
    return BuildingEvent(round(at_h * H), lambda played: played.building.clear(meter))


def step(at_h: float, by_s: int) -> BuildingEvent:
    """The reader's clock is set."""

    def act(played: SimulatedSite) -> None:
        played.clock.shift_ns += by_s * S

    return BuildingEvent(round(at_h * H), act)


EVENTS = (
    fault(2, "main", "offline"), clear(5, "main"),
    fault(6, "pdu-a", "stuck", 1), clear(7, "pdu-a"),
    fault(8, "ups", "stuck"), clear(9, "ups"),
    fault(10, "cooling", "reset"),
    fault(11, "pdu-b", "jump", _JUMP_WH), fault(11.05, "pdu-b", "jump", -_JUMP_WH),
    fault(12, "it-a", "offline"), clear(15, "it-a"),
    fault(16, "it-b", "stuck"), clear(17, "it-b"),
    step(18, H), step(21, -H),
)  # fmt: skip
POWER = {"it-a": "power", "it-b": "power"}


def day(seed: int) -> list[Row]:
    """Every meter's total of the day."""
    played = SimulatedSite(AIR, seed, kinds=POWER)
    book = played.run(DAY_S, EVENTS)
    end_ns = BEGIN_NS + DAY_S * S
    meters = book.window(BEGIN_NS, end_ns + 4 * CELL_NS, until_ns=end_ns)
    named = gaps(meters)
    rows = []
    for name in meters:
        amount = energy(meters, {name: 1})
        value, low, high = ((0 if v is None else float(v) / 3.6e12) for v in (amount.value, amount.low, amount.high))
        reasons = Counter(gap.reason for meter, gap in named if meter == name)
        imputed = meters[name].imputed_uj / 3.6e12
        true = played.true_uj(name, 0, DAY_S) / 3.6e12
        row: Row = {"meter": name, "true_kwh": true, "kwh": value, "low_kwh": low, "high_kwh": high, "imputed_kwh": imputed}
        rows.append(row | {"not seen by it": dict(reasons), "ok": low <= true <= high})
    return rows


def run(days: int = 20, seed: int = 0, jobs: int = 2) -> Iterator[Row]:
    """Days with random gains and loads: the totals of the first, and the number of all totals within their bounds."""
    with ProcessPoolExecutor(jobs) as pool:
        results = list(pool.map(day, range(seed, seed + days)))
    held = [total["ok"] for each in results for total in each]
    yield from results[0]
    yield {"totals": len(held), "within their bounds": sum(held), "ok": all(held)}
