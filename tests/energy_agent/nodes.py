"""A plant in a folder, its environment and a sampler on it, for tests that need GPUs without a whole simulated node."""

import os
import time
from contextlib import contextmanager

from energy_agent.reader.child import ReaderOptions
from energy_agent.reader.supervisor import ReaderSupervisor
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant

SKU = "H100-SXM5-80GB"
PERIOD_NS = 1_000_000_000


def make_plant(folder, count=4, **options):
    """A plant of idle boards; `folder` becomes what WATTLENS_SIM names."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "proc").exists():
        (folder / "proc").symlink_to("/proc")
    return Plant.create(folder / "plant", [BoardSpec(SKU)] * count, seed=7, **options)


def environ_of(folder):
    return dict(os.environ, WATTLENS_SIM=str(folder), LD_LIBRARY_PATH=str(library_path().parent))


@contextmanager
def sampling(folder, period_ns=PERIOD_NS, hang_s=1.0, list_ns=5 * PERIOD_NS, **health):
    options = ReaderOptions(period_ns, max(period_ns, PERIOD_NS), list_ns, environ_of(folder), **health)
    sampler = ReaderSupervisor(options, hang_s)
    try:
        yield sampler
    finally:
        sampler.stop()


def poll_until(sampler, condition, seconds=60.0):
    """Sweeps until `condition(sweeps)` holds; fails when it does not in time."""
    sweeps, end = [], time.monotonic() + seconds
    while not condition(sweeps):
        assert time.monotonic() < end, (sampler.node, sampler.devices, len(sweeps))
        sweeps += sampler.poll(0.1)
    return sweeps


def poll_for(sampler, seconds):
    sweeps, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        sweeps += sampler.poll(0.1)
    return sweeps


def instants(sweeps, uuid):
    return [s.t_ns for sweep in sweeps for s in sweep if s.uuid == uuid]
