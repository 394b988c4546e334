"""One day of faults in a simulated building: is every meter's total within what is stated, and is every hole named?

Main meter offline for 3 h, a PDU's register stuck for 1 h and what flowed lost, the UPS's stuck for 1 h and caught up, the
cooling meter reset to 0, a lying jump of 30 MWh on a PDU and back, a meter of power alone offline for 3 h, another stuck for
1 h, and the reader's clock set an hour ahead and back. The truth is the building's physics; totals are of the day by the
reader's own clock.
"""

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

from benchmarks.site_building import AIR, BEGIN_NS, Event, Played, S
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.site.building.ratio import energy
from wattlens.site.pue.statement import gaps

DAY_S = 86_400
H = 3600
_JUMP_WH = 30_000_000


def fault(at_h: float, meter: str, kind: str, value: int = 0) -> Event:
    """A meter's fault."""
    return Event(round(at_h * H), lambda played: played.building.fault(meter, kind, value))


def clear(at_h: float, meter: str) -> Event:
    """Its end."""
    return Event(round(at_h * H), lambda played: played.building.clear(meter))


def step(at_h: float, by_s: int) -> Event:
    """The reader's clock is set."""

    def act(played: Played) -> None:
        played.clock.shift_ns += by_s * S

    return Event(round(at_h * H), act)


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


@dataclass(frozen=True, slots=True)
class Total:
    """A meter's day."""

    meter: str
    true_kwh: float
    kwh: float
    low_kwh: float
    high_kwh: float
    imputed_kwh: float
    reasons: dict[str, int]

    @property
    def held(self) -> bool:
        """The truth is within what is stated."""
        return self.low_kwh <= self.true_kwh <= self.high_kwh


def day(seed: int) -> list[Total]:
    """Every meter's total of the day."""
    played = Played(AIR, seed, kinds=POWER)
    book = played.run(DAY_S, EVENTS)
    end_ns = BEGIN_NS + DAY_S * S
    meters = book.window(BEGIN_NS, end_ns + 4 * CELL_NS, until_ns=end_ns)
    named = gaps(meters)
    found = []
    for name in meters:
        amount = energy(meters, {name: 1})
        value, low, high = ((0 if v is None else float(v) / 3.6e12) for v in (amount.value, amount.low, amount.high))
        reasons = Counter(gap.reason for meter, gap in named if meter == name)
        imputed = meters[name].imputed_uj / 3.6e12
        found.append(Total(name, played.true_uj(name, 0, DAY_S) / 3.6e12, value, low, high, imputed, dict(reasons)))
    return found


def main(arguments: list[str]) -> int:
    """Print a table of one day and how often the bounds held; 1 where one did not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=20, help="with gains and loads of their own (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with ProcessPoolExecutor(args.jobs) as pool:
        days = list(pool.map(day, range(args.seed, args.seed + args.days)))
    if args.json:
        print(json.dumps([[asdict(total) for total in each] for each in days], indent=1))
    else:
        print("meter     true kWh      said       low      high   imputed  not seen by it")
        for t in days[0]:
            why = "; ".join(f"{reason} ({n})" for reason, n in t.reasons.items())
            numbers = "  ".join(f"{v:8.1f}" for v in (t.true_kwh, t.kwh, t.low_kwh, t.high_kwh, t.imputed_kwh))
            print(f"{t.meter:8}  {numbers}  {why}")
    held = [t.held for each in days for t in each]
    print(
        f"{sum(held)} of {len(held)} totals are within their bounds, over {len(days)} days",
        file=sys.stderr if args.json else sys.stdout,
    )
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
