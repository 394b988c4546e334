"""Which GPUs and which workload a sweep is about, and what may be set on them. Pure: two pages of the agent in, words out."""

from collections.abc import Sequence
from dataclasses import dataclass

from dvfs.knees import Knee, find
from dvfs.sweep.next_setting import clocks, grid, limits
from dvfs.sweep.profile import Key
from energy_agent.core.errors import UsageError
from wattlens.scrape.response import MetricsResponse
from wattlens.sweep.board import GpuDescription, boards, on_boards

POINTS, POINTS_OF_BOTH = 5, 3


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """What the command line says. Empty: not said."""

    gpus: tuple[str, ...] = ()  # indices or UUIDs
    workloads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepTarget:
    """Alike boards, and the workloads on them: the first one's progress is measured."""

    boards: tuple[GpuDescription, ...]
    workloads: tuple[str, ...]

    @property
    def uuids(self) -> tuple[str, ...]:
        """Of the boards."""
        return tuple(board.uuid for board in self.boards)


def target(before: MetricsResponse, after: MetricsResponse, wanted: TargetRequest, *, named_work: bool) -> SweepTarget | str:
    """What the sweep is about, or why that cannot be told yet. `named_work`: progress comes from elsewhere than the agent.

    Raises:
        UsageError: no time will help.
    """
    known, on = boards(after), on_boards(before, after)
    chosen = _chosen(known, wanted.gpus)
    names = wanted.workloads
    missing = [name for name in names if name not in on]
    if missing:
        there = ", ".join(sorted(on)) or "none"
        return f"the agent sees no workload {missing[0]!r} on a GPU of this node; there are: {there}"
    if not names:
        names = tuple(sorted(name for name, uuids in on.items() if not chosen or uuids & {b.uuid for b in chosen}))
        if len(names) > 1:
            or_gpus = "" if chosen else " or its GPUs with --gpus"
            return f"several workloads are there: {', '.join(names)}; name one with --workload{or_gpus}"
        if not names and (not chosen or not named_work):
            return "the agent sees no workload on " + ("these GPUs" if chosen else "a GPU of this node")
    held = {uuid for name in names for uuid in on.get(name, ())}
    devices = tuple(board for board in known if board.uuid in held) if names else chosen
    if chosen and set(devices) != set(chosen):
        indices = ",".join(str(board.index) for board in devices)
        raise UsageError(f"{', '.join(names)} is on other GPUs than --gpus names; a workload is swept whole: --gpus {indices}")
    uuids = {board.uuid for board in devices}
    others = sorted(name for name, more in on.items() if name not in names and more & uuids)
    if others:
        return f"{others[0]} is on these GPUs too, and would be slowed: end it, or give --workload {others[0]} as well"
    _fit(devices)
    return SweepTarget(devices, names)


def _chosen(known: Sequence[GpuDescription], gpus: Sequence[str]) -> tuple[GpuDescription, ...]:
    found = []
    for name in gpus:
        board = next((b for b in known if name in (b.uuid, str(b.index))), None)
        if board is None:
            raise UsageError(f"--gpus: no GPU {name!r} answers the agent; there are: {', '.join(str(b.index) for b in known)}")
        found.append(board)
    return tuple(found)


def _fit(devices: Sequence[GpuDescription]) -> None:
    partitioned = next((board for board in devices if board.mig), None)
    if partitioned is not None:
        raise UsageError(f"GPU {partitioned.index} is in MIG mode: its instances may serve others; a sweep needs whole GPUs")
    kinds = {(board.sku, board.limit_w) for board in devices}
    if len(kinds) > 1:
        told = ", ".join(f"GPU {b.index} {b.sku} at {b.limit_w} W" for b in devices)
        raise UsageError(f"a sweep needs GPUs of one kind with one power limit, and these are {told}")


def settings(
    board: GpuDescription,
    knees: Sequence[Knee],
    knob: str,
    points: int | None,
    some_clocks: Sequence[int],
    some_caps: Sequence[float],
) -> tuple[Key, ...]:
    """The settings to measure: those that are named, else spread over what makes sense for the knob.

    Raises:
        UsageError: the board does not tell its range, its knee is not known, or a setting is none.
    """
    both = knob == "both"
    n = points or (POINTS_OF_BOTH if both else POINTS)
    chosen_clocks = tuple(some_clocks) or (_clocks(board, knees, n) if knob in ("clock", "both") else ())
    chosen_caps = tuple(some_caps) or (_caps(board, n) if knob in ("power", "both") else ())
    if board.limit_w is not None and chosen_caps and max(chosen_caps) > board.limit_w:
        raise UsageError(f"--caps {max(chosen_caps):g}: above the limit that is set now, {board.limit_w:g} W")
    return grid(chosen_clocks, chosen_caps)


def _clocks(board: GpuDescription, knees: Sequence[Knee], points: int) -> tuple[int, ...]:
    knee = find(knees, board.sku)
    if knee is None:
        raise UsageError(f"the knee of {board.sku!r} is not known (wattlens dvfs policy); name clocks with --clocks MHZ,MHZ")
    if board.clock_max_mhz is None or board.clock_max_mhz <= knee.knee_mhz:
        raise UsageError(f"{board.sku} tells no clock above its knee of {knee.knee_mhz} MHz; name clocks with --clocks MHZ,MHZ")
    return clocks(knee.knee_mhz, board.clock_max_mhz, points)


def _caps(board: GpuDescription, points: int) -> tuple[float, ...]:
    if board.limit_w is None or board.limit_min_w is None:
        raise UsageError(f"{board.sku} does not tell its power limits, so they cannot be swept")
    if board.limit_w <= board.limit_min_w:
        raise UsageError(f"the limit that is set now, {board.limit_w:g} W, is the lowest that {board.sku} takes")
    return limits(board.limit_min_w, board.limit_w, points)
