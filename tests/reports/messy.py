"""A messy quarter, 2026Q4, with the truth that it was made of: two sites, in India and in California, whose clocks go back.

Each board draws a power of its own that changes by the hour. Its counter is off by a fixed gain within the stated 2 %, and up
to a tenth of a second old whenever it is read. Agents are restarted (the counter bridges the time), drivers are reloaded (the
counter begins at 0, and some minutes are in nobody's sum), a node is down for a day (its boards draw on, for all that anyone
knows), one board dies in November, and one that the inventory has was never seen. The building of `west` is metered, its meter
of IT silent for four days. Nothing here is read back from the product.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from energy_agent.core.energy import Entry, Gap, Method, State, Tokens, WorkloadFacts
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from energy_agent.ledger.segments import segment as segments
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from tests.reports import chains
from tests.reports.chains import DAY, HOUR, S
from tests.reports.golden import at

ZONES = {"east": ZoneInfo("Asia/Kolkata"), "west": ZoneInfo("America/Los_Angeles")}
NODES = {"n1": "east", "n2": "east", "n3": "west"}
FIRST, END = at("2026-09-30"), at("2027-01-02")
MOST_W = 700
TICK_UJ = MOST_W * 100_000 * 51 // 50  # what a tenth of a second can hide, as a counter with a gain of 2 % shows it
DOWN = at("2026-10-20T06:00"), at("2026-10-21T06:00")  # n2
DEATH = at("2026-11-12T11:00")  # of the second board of n1
LATE = at("2026-12-29")  # from then on n2's segments come after the quarter was reported
SILENT = at("2026-11-03T00:00"), at("2026-11-07T00:00")  # the meter of IT
MAIN = MeterFacts("main", Role.TOTAL, None, "", "", 10_000, "one", 8_000_000)
RACKS = MeterFacts("racks", Role.IT, Position.PDU_OUTPUT, "main", "", 10_000, "other", 4_000_000)


def quarter(site: str) -> tuple[int, int]:
    """From local midnight to local midnight, UTC ns."""
    ends = (datetime(2026, 10, 1, tzinfo=ZONES[site]), datetime(2027, 1, 1, tzinfo=ZONES[site]))
    return int(ends[0].timestamp()) * S, int(ends[1].timestamp()) * S


@dataclass
class Board:
    """One GPU, and what is true of it."""

    uuid: str
    node: str
    seed: int
    gain: Fraction
    watts: dict[int, int] = field(default_factory=dict)  # by the hour at which they begin
    metered: list[tuple[int, int]] = field(default_factory=list)

    def draws(self, start: int, end: int) -> Fraction:
        """True energy in uJ."""
        total, t = Fraction(0), start
        while t < end:
            until = min(end, t - t % HOUR + HOUR)
            total += Fraction(self.power(t - t % HOUR) * (until - t), 1000)
            t = until
        return total

    def power(self, hour: int) -> int:
        """W in an hour."""
        if self.uuid == "GPU-n1-1" and hour >= DEATH:
            return 0
        if hour not in self.watts:
            self.watts[hour] = Random(self.seed * 1_000_003 + hour // HOUR).randint(60, MOST_W - 50)
        return self.watts[hour]

    def read_increase(self, start: int, end: int) -> int:
        """What the counter shows between two readings, each up to a tick old; neighbours share one."""
        early, late = (Random(self.seed * 1_000_003 + t // S).randint(0, 100_000_000) for t in (start, end))
        return max(0, int(self.draws(start - early, end - late) * (1 + self.gain)))


@dataclass
class Messy:
    """Boards with their truth, and the segments."""

    boards: list[Board]
    segments: Path
    late: Path  # what came afterwards: the whole chain of n2

    def truth(self, site: str) -> Fraction:
        """True energy of a site's boards in its own quarter, in uJ."""
        return sum((b.draws(*quarter(site)) for b in self.boards if NODES[b.node] == site), Fraction(0))

    def metered_ns(self, site: str, *, without_late: bool) -> int:
        """Device time that was metered in the site's quarter."""
        first, last = quarter(site)
        total = 0
        for board in self.boards:
            if NODES[board.node] == site:
                until = min(last, LATE) if without_late and board.node == "n2" else last
                total += sum(max(0, min(end, until) - max(start, first)) for start, end in board.metered)
        return total


def organisation(least: Fraction = Fraction(0)) -> Organisation:
    """Six boards, of which one was never seen."""
    boards = [(node, site, f"GPU-{node}-{n}") for node, site in NODES.items() for n in (0, 1)]
    stands = [ExpectedDevice("lab", node, uuid, "H100", site, 0, INT64_MAX) for node, site, uuid in boards]
    sites = {name: SiteInputs(name, zone) for name, zone in ZONES.items()}
    return Organisation("Messy", least_coverage=least, sites=sites, expected=tuple(stands))


def write(folder: Path) -> Messy:
    """Write the segments, one per day; those of n2 from LATE on into a separate folder."""
    boards = [
        Board(f"GPU-{node}-{n}", node, seed, Fraction(Random(seed).randint(-2000, 2000), 100_000))
        for seed, (node, n) in enumerate((node, n) for node in NODES for n in (0, 1))
        if (node, n) != ("n3", 1)  # it is in the inventory, and was never seen
    ]
    for node in NODES:
        batches = list(_node([b for b in boards if b.node == node], Random(node)))
        chains.write(folder / "late" if node == "n2" else folder / "segments", "lab", node, batches)
    for path in sorted((folder / "late").iterdir()):
        if segments.peek(path).to_ns <= LATE:
            (folder / "segments" / path.name).write_bytes(path.read_bytes())
    chains.write(folder / "segments", "lab", "west", list(_building(boards)))
    return Messy(boards, folder / "segments", folder / "late")


def _node(boards: list[Board], random: Random) -> Iterator[Batch]:
    """A node's quarter, day by day."""
    devices = [DeviceFacts(board.uuid, "H100", 0.02, FIRST) for board in boards]
    facts = [WorkloadFacts(w, FIRST, "pod", {"team": team}) for w, team in (("chat", "red"), ("batch", "blue"))]
    yield Batch(devices=devices, facts=facts)
    for day in range(FIRST, END, DAY):
        entries: list[Entry] = []
        gaps: list[Gap] = []
        for board in boards:
            for start, end, what in _pieces(board, day, random):
                unseen = Gap(board.uuid, start, end, MOST_W * (end - start) // 1000, what)
                if what in ("down", "counter reset"):
                    gaps.append(unseen)
                    continue
                board.metered.append((start, end))
                reading_uj = board.read_increase(start, end)
                holder = {"chat": "chat", "batch": "batch"}.get(what, "")
                state = State.GAP if what == "restart" else State.ACTIVE if holder else State.UNALLOCATED
                method = Method.BRIDGED if what == "restart" else Method.COUNTER
                allocated_ns = end - start if holder else 0
                entries.append(Entry(start, end, board.uuid, holder, state, method, reading_uj, TICK_UJ, allocated_ns))
        tokens = [Tokens(day, day + DAY, "chat", "llama", "generation", 1_000_000)] if entries else []
        yield Batch(entries, gaps, tokens=tokens)


def _pieces(board: Board, day: int, random: Random) -> Iterator[tuple[int, int, str]]:
    """Split a GPU's day: intervals between readings, restarts of its agent, driver reloads, an outage."""
    edges = sorted({day, day + DAY, *(day + random.randint(1, 1439) * 60 * S for _ in range(random.randint(0, 2)))})
    if board.node == "n2":
        edges = sorted({*edges, *(t for t in DOWN if day <= t < day + DAY)})
    if board.uuid == "GPU-n1-1":
        edges = sorted({*edges, *([DEATH] if day <= DEATH < day + DAY else [])})
    for start, end in pairwise(edges):
        if board.uuid == "GPU-n1-1" and start >= DEATH:
            return
        if board.node == "n2" and DOWN[0] <= start < DOWN[1]:
            yield start, end, "down"
            continue
        chance = random.random()
        quiet = min(end, start + random.randint(1, 30) * 60 * S)
        if chance < 0.1:
            yield start, quiet, "restart"
        elif chance < 0.2:
            yield start, quiet, "counter reset"
        else:
            quiet = start
        if quiet < end:
            yield quiet, end, random.choice(["chat", "chat", "batch", "nobody"])


def _building(boards: list[Board]) -> Iterator[Batch]:
    """Meters of `west`, day by day: racks draw what its board does and 500 W more; the building 1.4 times that and 300 W."""
    workload_facts = [WorkloadFacts(m.device("west"), FIRST, METER_KIND, m.labels) for m in (MAIN, RACKS)]
    devices = [DeviceFacts(m.device("west"), "meter modbus", m.accuracy_ppm / 1_000_000, FIRST) for m in (MAIN, RACKS)]
    yield Batch(facts=workload_facts, devices=devices)
    for day in range(FIRST, END, DAY):
        entries: list[Entry] = []
        gaps: list[Gap] = []
        for meter, gain in ((MAIN, Fraction(99, 10_000)), (RACKS, Fraction(-95, 10_000))):
            device = meter.device("west")
            if meter is RACKS and SILENT[0] <= day < SILENT[1]:
                assert meter.max_mw is not None
                gaps.append(Gap(device, day, day + DAY, meter.max_mw * DAY // 1_000_000, "no readings"))
                continue
            for start in range(day, day + DAY, HOUR):
                reading_uj = int(true_meter(boards, meter, start, start + HOUR) * (1 + gain))
                entries.append(Entry(start, start + HOUR, device, "", State.UNALLOCATED, Method.COUNTER, reading_uj, 0, HOUR))
        yield Batch(entries, gaps)


def true_meter(boards: list[Board], meter: MeterFacts, start: int, end: int) -> Fraction:
    """True energy through a meter, uJ."""
    racks = Fraction(500 * (end - start), 1000) + sum(b.draws(start, end) for b in boards if NODES[b.node] == "west")
    return racks if meter is RACKS else racks * Fraction(14, 10) + Fraction(300 * (end - start), 1000)
