"""Which boot of the machine and which load of the driver this is: a setting outlives neither."""

from pathlib import Path

from dvfs.actuator.records.journal import Epoch
from energy_agent.core.errors import WattlensError
from energy_agent.devices.nvml.driver_epoch import driver_epoch

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def machine_epoch() -> Epoch:
    """The epoch of this machine's driver.

    Raises:
        WattlensError: no boot id: then nothing may be written, since it would be unknown later whether the setting still
        applies.
    """
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError as error:
        raise WattlensError(f"{_BOOT_ID}: cannot read the boot id: {error.strerror}") from error
    return Epoch(boot_id, driver_epoch())
