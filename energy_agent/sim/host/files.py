"""The files in which a simulated node's kernel shows its meters: RAPL counters and the inputs of its power supplies.

Real kernels show more: a psys zone that contains the packages and a `core` zone within each are there too, so that a reader
that adds everything up is wrong here as it would be there.
"""

import os
from pathlib import Path

from energy_agent.sim.host.power import RAPL_RANGE_UJ, HostTruth
from energy_agent.sim.scenario_model import Host


def write(root: Path, host: Host, truth: HostTruth, node_uw: int) -> None:
    """Write every file below `root`/sys; `node_uw` is what the node's meter reads, in uW."""
    powercap, hwmon = root / "sys/class/powercap", root / "sys/class/hwmon"
    for socket in range(host.sockets):
        zone = f"intel-rapl:{socket}"
        _counter(powercap / zone, f"package-{socket}", truth.package_uj)
        _counter(powercap / f"{zone}:0", "core", truth.package_uj * 7 // 10)
        _counter(powercap / f"{zone}:1", "dram", truth.dram_uj)
    both = host.sockets * (truth.package_uj + truth.dram_uj)
    _counter(powercap / f"intel-rapl:{host.sockets}", "psys", both)
    share, rest = divmod(node_uw, host.supplies)
    for supply in range(host.supplies):
        folder = hwmon / f"hwmon{supply}"
        power_uw = share + (rest if supply == 0 else 0)
        _put(folder / "name", "pmbus")
        _put(folder / "power1_label", "pin")
        _put(folder / "power1_input", str(power_uw))
        _put(folder / "power2_label", "pout1")
        _put(folder / "power2_input", str(round(power_uw * (1 - host.psu_loss_ratio))))


def _counter(folder: Path, name: str, energy_uj: int) -> None:
    _put(folder / "name", name)
    _put(folder / "max_energy_range_uj", str(RAPL_RANGE_UJ))
    _put(folder / "energy_uj", str(energy_uj % (RAPL_RANGE_UJ + 1)))


def _put(path: Path, text: str) -> None:
    """In one step: a reader never sees half a number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_text(text + "\n")
    os.replace(new, path)  # noqa: PTH105 - twenty times a second
