"""Frames of the player, whose every joule and token is known: input of the tests of `wattlens top`."""

from dataclasses import replace

from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.openmetrics import Format, render
from tests.snapshots import STEP_S, Player
from wattlens.top.frame import HostStatus, LocalStatus, ProcessStatus, TopFrame
from wattlens.top.history import MetricsHistory
from wattlens.top.metrics import MetricsParser, MetricsResponse

T0_NS = 1_700_000_000_000_000_000


def response_at(player: Player, step: int) -> MetricsResponse:
    return response_of(player.at(step, T0_NS + round(step * STEP_S * 1e9)), step * STEP_S)


def response_of(snapshot: Snapshot, t_s: float) -> MetricsResponse:
    return MetricsParser().parse(render(snapshot, Format.TEXT).decode(), t_s)


def play(player: Player, seconds: int = 5, start: int = 1000) -> TopFrame:
    """The frame after so many responses, one per second."""
    history = MetricsHistory()
    for second in range(seconds + 1):
        frame = history.add(response_at(player, start + second * 10))
    return frame


def add_local(frame: TopFrame, processes: int = 3) -> TopFrame:
    """The frame with a host and processes."""
    host = HostStatus(0.23, 16, (3.2, 1.8, 2.1), 12.1 * 2**30, 251 * 2**30, 2.0**30, 8 * 2.0**30)
    rows = (
        ProcessStatus((str(n % 8),), 4000 + n, f"user-{n % 3}", f"python train.py --rank {n} --data /mnt/data", 66.0 * 2**30,
                      "", 0.97, 3.0 * 2**30, 4000.0 + n)
        for n in range(processes)
    )  # fmt: skip
    return replace(frame, local=LocalStatus(host, tuple(rows)))
