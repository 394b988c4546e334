"""Which boot of the machine and which load of the driver this is: a setting outlives neither."""

from pathlib import Path

from dvfs.actuator_journal import Epoch
from energy_agent.core.errors import WattlensError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MODULE = Path("/sys/module/nvidia")


def machine_epoch() -> Epoch:
    """The epoch of this machine's driver. The kernel makes the module's folder anew at each load, so its inode names the load.

    Raises:
        WattlensError: no boot id: then nothing may be written, since nobody could tell later whether it is still there.
    """
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError as error:
        raise WattlensError(f"{_BOOT_ID}: cannot read the boot id: {error.strerror}") from error
    return Epoch(boot_id, identity(_MODULE))


def identity(path: Path) -> str:
    """What tells this file or folder from one made later in its place; "none" where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "none"
    return f"{status.st_dev}.{status.st_ino}"
