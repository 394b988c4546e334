"""A fleet's quarter for `benchmarks.report_scale`: the workload of each GPU and every number of every node's day.

Three sites (UTC, +5:30, -8 with the end of daylight saving in the quarter), blocks of eight nodes with eight GPUs; jobs of 1 to
64 GPUs that last hours to weeks, engines that serve two models, training with steps, shared GPUs, idle phases, unallocated
time, holes and dead GPUs. A node's day is drawn from its own seed, so that any process can generate it. `report_segments`
writes the drawn data as segments, and `report_truth` sums it independently of any ledger.
"""

import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

S: Final = 1_000_000_000
CELL_NS: Final = 900 * S
CELLS_A_DAY: Final = 96
QUARTER: Final = "2025Q4"
QUARTER_NS: Final = 1_759_276_800 * S  # 2025-10-01T00:00Z
QUARTER_DAYS: Final = 92
MARGIN: Final = 48  # cells before the quarter of UTC, and after it
GPUS: Final = 8
BLOCK: Final = 8
HELD, UNHELD, SHARED, HOLED, DEAD = range(5)
"""What a GPU's cell may be: held by one, by nobody, by two, with a hole in it, or not seen at all."""
HOLE_NS: Final = 300 * S
HOLE_REASON, DEAD_REASON = "gpu_lost", "gpu_dead"
BOUND_UJ_S: Final = 700_000_000


class SiteCalendar(NamedTuple):
    """A site: offsets, in cells, of its local midnights at the start and end of the quarter from those of UTC."""

    name: str
    zone: str
    country: str
    begins: int
    ends: int


SITES: Final = (
    SiteCalendar("rvk", "Atlantic/Reykjavik", "ISL", 0, 0),
    SiteCalendar("blr", "Asia/Kolkata", "IND", -22, -22),
    SiteCalendar("pdx", "America/Los_Angeles", "USA", 28, 32),
)
MODELS: Final = (("llama-3.1-70b", "fp8"), ("qwen2.5-32b", "bf16"))
TEAMS: Final = tuple(f"team-{letter}" for letter in "abcdefghijkl")


class JobTemplate(NamedTuple):
    """Common properties of a job's workloads. `use`: train, serve or dev."""

    use: str
    size: int
    team: str
    project: str
    model: str
    precision: str
    price_class: str
    group: str


class JobPlacement(NamedTuple):
    """A job on GPUs of a node over cells [start, end), counted from the fleet's first. `lead`: its steps are reported here."""

    start: int
    end: int
    gpus: tuple[int, ...]
    workload: str
    job: JobTemplate
    lead: bool


class Use(NamedTuple):
    """One GPU's cell: its workload, time and energy; `pieces`: number of alternating busy and idle periods."""

    form: int
    holders: tuple[JobPlacement, ...]
    active_ns: int = 0
    idle_ns: int = 0
    active_uj: int = 0
    idle_uj: int = 0
    pieces: int = 1


class NodeCell(NamedTuple):
    """A node's cell: its GPUs, the energy of its host, tokens by phase of each engine, steps of each training."""

    cell: int
    uses: tuple[Use, ...]
    host_uj: int
    tokens: tuple[tuple[JobPlacement, int, int], ...]  # generated, prompted
    steps: tuple[tuple[JobPlacement, int], ...]


UTC_DAYS: Final = QUARTER_DAYS + 2
"""Days of UTC that the quarter's cells lie in, margins too; the first and the last are halves."""
CELLS: Final = QUARTER_DAYS * CELLS_A_DAY + 2 * MARGIN


def start_ns(cell: int) -> int:
    """UTC ns at which a cell starts."""
    return QUARTER_NS + (cell - MARGIN) * CELL_NS


def cells_of(day: int) -> range:
    """The cells of a UTC day."""
    first = day * CELLS_A_DAY - MARGIN
    return range(max(0, first), min(CELLS, first + CELLS_A_DAY))


def window(site: SiteCalendar) -> range:
    """The cells of a site's quarter."""
    return range(MARGIN + site.begins, MARGIN + QUARTER_DAYS * CELLS_A_DAY + site.ends)


@dataclass(frozen=True)
class SyntheticFleet:
    """Size and seed of the fleet."""

    nodes: int = 1250
    seed: int = 1

    @property
    def blocks(self) -> int:
        """How many blocks of nodes."""
        return -(-self.nodes // BLOCK)

    def nodes_of(self, block: int) -> range:
        """Nodes of a block."""
        return range(block * BLOCK, min(self.nodes, (block + 1) * BLOCK))


def site_of(node: int) -> SiteCalendar:
    """Where a node stands: blocks are dealt out in turn."""
    return SITES[node // BLOCK % len(SITES)]


def node_name(node: int) -> str:
    """Its name in the ledger."""
    return f"n{node:05d}"


def device_name(node: int, gpu: int) -> str:
    """UUID of a GPU."""
    return f"GPU-{node * 2_654_435_761 % (1 << 32):08x}-{gpu:04x}-4000-8000-{node:012x}"


def edge_uj(node: int, gpu: int) -> int:
    """Error bound of one reading of a GPU, uJ; index GPUS is the host."""
    return 20_000_000 + (node * GPUS + gpu) * 7_919 % 19_999_999


@lru_cache(2)
def plan(fleet: SyntheticFleet, block: int) -> tuple[tuple[JobPlacement, ...], ...]:
    """Every placement on a block's nodes, separately for each node."""
    rng = random.Random(f"{fleet.seed}/plan/{block}")
    nodes = len(fleet.nodes_of(block))
    stays: list[list[JobPlacement]] = [[] for _ in range(nodes)]
    start = 0
    while start < CELLS:
        end = min(CELLS, start + rng.randint(8, 21 * CELLS_A_DAY))
        at = 0
        while at < nodes:
            width = min(nodes - at, BLOCK if at == 0 and rng.random() < 0.35 else rng.choice((1, 1, 1, 2, 4)))
            if width > 1:
                job = _job(rng, "train", width * GPUS)
                for i in range(at, at + width):
                    stays[i].append(JobPlacement(start, end, tuple(range(GPUS)), _name(rng), job, i == at))
            else:
                stays[at] += _alone(rng, start, end)
            at += width
        start = end
    return tuple(tuple(each) for each in stays)


def _alone(rng: random.Random, start: int, end: int) -> Iterator[JobPlacement]:
    """Jobs within one node, in parallel and in sequence, with unallocated time between them."""
    first = 0
    for size in rng.choice(((8,), (4, 4), (4, 4), (4, 2, 2), (2, 2, 2, 1, 1), (1,) * 8)):
        gpus, at = tuple(range(first, first + size)), start
        first += size
        while at < end:
            until = min(end, at + rng.randint(4, 7 * CELLS_A_DAY))
            if rng.random() < 0.12:
                until = min(end, at + rng.randint(1, 48))
            else:
                use = rng.choice(("train", "dev")) if size == 1 else rng.choice(("serve", "serve", "train", "dev"))
                yield JobPlacement(at, until, gpus, _name(rng), _job(rng, use, size), lead=True)
                if size == 1 and rng.random() < 0.15:
                    yield JobPlacement(at, until, gpus, _name(rng), _job(rng, "dev", size), lead=True)
            at = until


def _job(rng: random.Random, use: str, size: int) -> JobTemplate:
    team = rng.choice(TEAMS)
    model, precision = rng.choice(MODELS) if use == "serve" else ("", "")
    group = f"{use}-{rng.getrandbits(40):010x}"
    return JobTemplate(use, size, team, f"project-{rng.randrange(3)}", model, precision, "spot" if use == "dev" else "", group)


def _name(rng: random.Random) -> str:
    bits = f"{rng.getrandbits(128):032x}"
    return f"pod:{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{bits[17:20]}-{bits[20:]}"


@lru_cache(16)
def dead(fleet: SyntheticFleet, node: int) -> tuple[int, range]:
    """The GPU of a node that is dead for a while, and its time; most nodes have none."""
    rng = random.Random(f"{fleet.seed}/dead/{node}")
    if rng.random() > 0.08:
        return -1, range(0)
    start = rng.randrange(CELLS)
    return rng.randrange(GPUS), range(start, min(CELLS, start + rng.randint(4, 40 * CELLS_A_DAY)))


def node_day(fleet: SyntheticFleet, node: int, day: int) -> Iterator[NodeCell]:
    """A node's cells of a UTC day."""
    rng = random.Random(f"{fleet.seed}/day/{node}/{day}")
    cells = cells_of(day)
    stays = [s for s in plan(fleet, node // BLOCK)[node % BLOCK] if s.start < cells.stop and s.end > cells.start]
    drawn = array("I", rng.randbytes(4 * (2 * GPUS + 2) * len(cells)))
    hole = (rng.randrange(GPUS), rng.choice(cells)) if rng.random() < 0.05 else (-1, -1)
    gone, gone_when = dead(fleet, node)
    until, holders, engines, trainings = (
        cells.start,
        list[tuple[JobPlacement, ...]](),
        list[JobPlacement](),
        list[JobPlacement](),
    )
    at = 0
    for cell in cells:
        if cell >= until:
            now = [s for s in stays if s.start <= cell < s.end]
            until = min([s.end for s in now] + [s.start for s in stays if s.start > cell] + [cells.stop])
            holders = [tuple(s for s in now if gpu in s.gpus) for gpu in range(GPUS)]
            engines = [s for s in now if s.job.use == "serve"]
            trainings = [s for s in now if s.job.use == "train" and s.lead]
        uses = []
        for gpu in range(GPUS):
            a, b = drawn[at], drawn[at + 1]
            at += 2
            if gpu == gone and cell in gone_when:
                uses.append(Use(DEAD, ()))
            elif not (held := holders[gpu]):
                uses.append(Use(UNHELD, (), idle_uj=900 * (70_000_000 + (a >> 8)) + (b & 1_023)))
            elif len(held) > 1:
                uses.append(Use(SHARED, held, 600 * S, 300 * S, 600 * (300_000_000 + (a >> 5)), 300 * (b >> 4) + a % 7))
            elif (gpu, cell) == hole:
                uses.append(Use(HOLED, held, CELL_NS - HOLE_NS, 0, 600 * (400_000_000 + (b >> 5)) + (a & 4_095)))
            else:
                uses.append(_cell_use(held, a, b))
        a, b = drawn[at], drawn[at + 1]
        at += 2
        tokens = tuple((s, 900 * len(s.gpus) * (300 + (a >> 7) % 511) + b % 97, 7_000 * (b >> 9)) for s in engines)
        steps = tuple((s, 100 + b % 50) for s in trainings)
        yield NodeCell(cell, tuple(uses), 900 * (600_000_000 + (a >> 4)) + (b & 4_095), tokens, steps)


def _cell_use(placements: tuple[JobPlacement, ...], a: int, b: int) -> Use:
    """One workload's cell: training is nearly always busy, an engine waits in between, a developer waits most of the time."""
    use = placements[0].job.use
    if use == "train":
        idle_s = 0 if a & 7 < 6 else 2 * (30 + (a >> 8) % 120)
        active_w = 400
    elif use == "serve":
        idle_s, active_w = 2 * (30 + (a >> 8) % 300), 250
    else:
        idle_s, active_w = 2 * (250 + (a >> 8) % 180), 200
    active_s = 900 - idle_s
    active_uj = active_s * (active_w * 1_000_000 + (b >> 4)) + (a >> 20)
    if not idle_s:
        return Use(HELD, placements, CELL_NS, 0, active_uj, 0, 1)
    idle_uj = idle_s * (90_000_000 + (a & 0xFF_FFFF)) + (b & 1_023)
    return Use(HELD, placements, active_s * S, idle_s * S, active_uj, idle_uj, 1 + (a >> 3 & 1))
