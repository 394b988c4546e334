"""The oracle: the best clock of each replica in each window of 60 s, chosen with the whole trace known. Pure.

Dynamic programming over windows and clocks, replica by replica. Queues and batches that one window leaves to the next are not
estimated: each candidate continues from the simulated end of its predecessor. Of all paths to a clock in a window only the
cheapest is kept; its cost is energy plus a price for each request that misses its limits. Bisection finds the price at which
all replicas together miss no more than the rule allows. Between the expensive and the cheap side of the last price, replicas
are changed one by one, best ratio of energy to misses first. The reported figures come from simulating the plan again from the
start.

This search does not prove optimality: a path that costs more at a window's end may have left less work behind. So the result is
compared with every constant clock of the grid, and if there are few plans, each of them is simulated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from dvfs.replay.serving.engine import Replica, Stream
from dvfs.replay.serving.fleet import FleetOutcome, closed
from dvfs.replay.serving.server import ReplicaSpec
from dvfs.replay.serving.spec import Rates

WINDOW_S = 60.0
FEW_PLANS = 256
Plan = tuple[int, ...]
"""Place in the grid for each window."""


@dataclass(frozen=True, slots=True)
class Path:
    """A plan for one replica with what it costs: energy until its last request ended, and requests that missed."""

    plan: Plan
    energy_j: float
    failed: int


def windows(stream: Stream, window_s: float) -> int:
    """How many windows requests arrive in; the last one lasts until all have ended."""
    return int(stream.arrive_s[-1] // window_s) + 1 if len(stream) else 1


class _Search:
    """Paths of one replica for any price; windows once simulated are remembered."""

    def __init__(self, server: ReplicaSpec, stream: Stream, grid: Sequence[Rates], window_s: float) -> None:
        self._start = Replica(server, stream)
        self._grid, self._window_s = grid, window_s
        self._windows = windows(stream, window_s)
        self._known: dict[tuple[object, ...], Replica] = {}

    def path(self, price_j: float) -> Path:
        """The cheapest path at this price of a missed request."""
        labels: list[tuple[float, Plan, Replica]] = [(0.0, (), self._start)]
        for window in range(self._windows):
            end_s = (window + 1) * self._window_s if window < self._windows - 1 else float("inf")
            best: list[tuple[float, Plan, Replica]] = []
            for place in range(len(self._grid)):
                cheapest: tuple[float, Plan, Replica] | None = None
                for _, plan, state in labels:
                    after = self._after(state, window, end_s, place)
                    cost = after.energy_j + price_j * after.failed
                    if cheapest is None or cost < cheapest[0]:
                        cheapest = (cost, (*plan, place), after)
                assert cheapest is not None
                best.append(cheapest)
            labels = best
        _, plan, state = min(labels, key=lambda label: label[0])
        return Path(plan, state.energy_j, state.failed)

    def _after(self, state: Replica, window: int, end_s: float, place: int) -> Replica:
        key = (window, place, id(state))  # a state that is remembered lives on, so its id is its own
        known = self._known.get(key)
        if known is None:
            known = state.copy()
            known.run(end_s, self._grid[place])
            if end_s != float("inf"):
                known.wait(end_s, self._grid[place])  # no request is left: time passes all the same
            self._known[key] = known
        return known


def follow(
    server: ReplicaSpec, dealt: Sequence[Stream], grid: Sequence[Rates], plans: Sequence[Plan], window_s: float
) -> FleetOutcome:
    """Simulate plans from the start."""
    replicas = []
    for stream, plan in zip(dealt, plans, strict=True):
        replica = Replica(server, stream)
        for window, place in enumerate(plan):
            replica.run((window + 1) * window_s if window < len(plan) - 1 else float("inf"), grid[place])
        replicas.append(replica)
    return closed(replicas, [grid[plan[-1]] for plan in plans])


def best(
    server: ReplicaSpec,
    dealt: Sequence[Stream],
    grid: Sequence[Rates],
    allowed: int,
    *,
    window_s: float = WINDOW_S,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[FleetOutcome, list[Plan]]:
    """The plans of least energy with which no more than `allowed` requests miss, as far as the search finds them.

    Args:
        server: each replica.
        dealt: its streams.
        grid: rates at the clocks to choose from, by rising clock.
        allowed: requests that may miss a limit.
        window_s: time for which a clock is held.
        progress: receives the name of each stage.
    """
    many = [windows(stream, window_s) for stream in dealt]
    if sum(many) * len(grid) <= FEW_PLANS and prod(len(grid) ** n for n in many) <= FEW_PLANS:
        each = [[tuple(plan) for plan in product(range(len(grid)), repeat=n)] for n in many]
        tried = [(follow(server, dealt, grid, plans, window_s), list(plans)) for plans in product(*each)]
        return _least(tried, allowed)
    held = []
    for place in range(len(grid)):
        progress(f"hindsight: {grid[place].lock_mhz} MHz all the time")
        plans = [(place,) * n for n in many]
        held.append((follow(server, dealt, grid, plans, window_s), plans))
    searched = _searched(server, dealt, grid, allowed, window_s, progress)
    return _least([*held, searched], allowed)


def _least(tried: Sequence[tuple[FleetOutcome, list[Plan]]], allowed: int) -> tuple[FleetOutcome, list[Plan]]:
    """Of those within the rule the one of least energy; the one with the fewest misses where none is."""
    return min(tried, key=lambda one: (max(allowed, one[0].failed), one[0].energy_j))


def _searched(
    server: ReplicaSpec,
    dealt: Sequence[Stream],
    grid: Sequence[Rates],
    allowed: int,
    window_s: float,
    progress: Callable[[str], None],
) -> tuple[FleetOutcome, list[Plan]]:
    searches = [_Search(server, stream, grid, window_s) for stream in dealt]

    def at(price_j: float) -> list[Path]:
        paths = []
        for number, search in enumerate(searches):
            progress(f"hindsight: price {price_j:.0f} J, replica {number + 1} of {len(searches)}")
            paths.append(search.path(price_j))
        return paths

    cheap, dear = _bracket(at, allowed)
    plans = [path.plan for path in _mixed(cheap, dear, allowed)]
    return follow(server, dealt, grid, plans, window_s), plans


def _failed(paths: Sequence[Path]) -> int:
    return sum(path.failed for path in paths)


def _bracket(at: Callable[[float], list[Path]], allowed: int) -> tuple[list[Path], list[Path]]:
    """Paths at the highest price found with which too many miss, and at the lowest with which few enough do."""
    low_j, high_j = 10.0, 300.0
    cheap = at(low_j)
    if _failed(cheap) <= allowed:
        return cheap, cheap
    dear = at(high_j)
    while _failed(dear) > allowed and high_j < 1e6:
        low_j, cheap, high_j = high_j, dear, high_j * 4
        dear = at(high_j)
    for _ in range(7):
        if high_j / low_j < 1.05:
            break
        middle_j = (low_j * high_j) ** 0.5
        paths = at(middle_j)
        if _failed(paths) <= allowed:
            high_j, dear = middle_j, paths
        else:
            low_j, cheap = middle_j, paths
    return cheap, dear


def _mixed(cheap: Sequence[Path], dear: Sequence[Path], allowed: int) -> list[Path]:
    """From the dear side on, the replicas whose change to the cheap side saves most for each miss, while misses are allowed."""
    chosen, spare = list(dear), allowed - _failed(dear)

    def gain(place: int) -> float:
        return (dear[place].energy_j - cheap[place].energy_j) / max(1, cheap[place].failed - dear[place].failed)

    for place in sorted(range(len(chosen)), key=gain, reverse=True):
        more = cheap[place].failed - dear[place].failed
        if cheap[place].energy_j < dear[place].energy_j and more <= spare:
            chosen[place] = cheap[place]
            spare -= more
    return chosen
