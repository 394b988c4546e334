"""Identify the load of the driver; energy counters and settings do not survive a reload.

Read the epoch after NVML was initialised: from then on the module is in use and cannot be reloaded, so every reading of the
process belongs to that epoch. Epochs are compared within one boot only. A GPU that is reset while the driver stays loaded
(`nvidia-smi --gpu-reset`) keeps its epoch.
"""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

SYSFS = Path("/sys")
LOADS_OFFSET = 152
"""Of the count of loads in a simulated node's plant: driver_loads in energy_agent/sim/gpu/native/plant.h, 8 bytes."""
_LOAD = struct.Struct(f"=24xq{LOADS_OFFSET - 32}xq")  # base_boot_ns, and driver_loads


def driver_epoch(sysfs: Path = SYSFS) -> str:
    """The epoch of this machine's driver; "" where it is not known, since `sysfs` does not show the module.

    It is the number of the module's folder, which the kernel creates at each load. Since Linux 4.14 no number is used
    twice (fs/kernfs/dir.c allocates them in a circle); before, a load may go unseen. The number of the mount is left out: each
    network namespace has a sysfs of its own, and a container that starts again is no new driver.
    """
    try:
        return str((sysfs / "module/nvidia").stat().st_ino)
    except OSError:
        return ""


def simulated_driver_epoch(plant: Path) -> str:
    """The epoch of a simulated node's driver: when its plant was made, and the loads since; "" where there is no plant."""
    try:
        with plant.open("rb") as file:
            made_ns, loads = _LOAD.unpack(os.pread(file.fileno(), _LOAD.size, 0))
            return f"{made_ns}.{loads}"
    except (OSError, struct.error):
        return ""


def driver_epoch_for(environ: Mapping[str, str], sysfs: Path = SYSFS) -> str:
    """The epoch of the driver that NVML reaches in this environment: a simulated one where WATTLENS_SIM names its folder."""
    directory = environ.get("WATTLENS_SIM")
    return simulated_driver_epoch(Path(directory) / "plant") if directory else driver_epoch(sysfs)
