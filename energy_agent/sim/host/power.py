"""What a simulated node draws around its GPUs: processors, memory, fans, the loss of its power supplies. Pure.

Every parameter is assumed, in the range of an eight-GPU server of 2024 (a DGX H100 draws 10.2 kW at most, 5.6 kW of it its
GPUs); they are in energy_agent/sim/README.md. All of it is linear in what the plant knows exactly, so the true energy of the
node at an instant is a formula, not an integration:

    dc   = (1 + fan_ratio) x GPUs + (packages' idle + memory + other + fans) x time + package swing x mean busy time of the GPUs
    node = dc / (1 - loss)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from energy_agent.core.units import UJ_PER_J
from energy_agent.sim.gpu.truth import EnergyTruth
from energy_agent.sim.scenario_model import HostModel

RAPL_RANGE_UJ = 262_143_328_850
"""Where a package's counter goes on at 0: 2^32 of the hardware's units of 2^-14 J, as Intel's servers show it."""


@dataclass(frozen=True, slots=True)
class HostTruth:
    """True energy since the node started, in uJ. `package_uj` and `dram_uj` are those of one socket; all sockets are alike."""

    node_uj: int
    package_uj: int
    dram_uj: int


def energy(host: HostModel, gpus_uj: int, busy_ns: int, gpus: int, elapsed_ns: int) -> HostTruth:
    """The host's energy up to an instant.

    Args:
        host: its parameters.
        gpus_uj: true energy of all GPUs since the start.
        busy_ns: the time in which each GPU worked, summed over the GPUs.
        gpus: how many there are.
        elapsed_ns: time since the start.
    """
    busy = Fraction(busy_ns, gpus)
    swing_w = _exact(host.package_busy_w) - _exact(host.package_idle_w)
    package = (_exact(host.package_idle_w) * elapsed_ns + swing_w * busy) / 1000  # W x ns = 1e-3 uJ
    dram = _exact(host.dram_w) * elapsed_ns / 1000
    rest = (_exact(host.other_w) + _exact(host.fans_w)) * elapsed_ns / 1000
    dc = (1 + _exact(host.fan_ratio)) * gpus_uj + host.sockets * (package + dram) + rest
    return HostTruth(int(dc / (1 - _exact(host.psu_loss_ratio))), int(package), int(dram))


def of(host: HostModel, truths: Sequence[EnergyTruth], begin: Sequence[EnergyTruth]) -> HostTruth:
    """The host's energy at `truths` since `begin`, which are of every GPU of the plant."""
    gpus_uj = sum(t.true_uj - b.true_uj for t, b in zip(truths, begin, strict=True))
    busy_ns = sum(t.busy_ns - b.busy_ns for t, b in zip(truths, begin, strict=True))
    return energy(host, gpus_uj, busy_ns, len(truths), truths[0].t_ns - begin[0].t_ns)


def _exact(value: float) -> Fraction:
    return Fraction(round(value * UJ_PER_J), UJ_PER_J)
