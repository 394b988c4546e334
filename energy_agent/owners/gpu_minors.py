"""The minor number of each GPU, as the driver's own /proc files pair it with the UUID; never the order of a list."""

import os
import re
from pathlib import Path

MAX_GPUS = 64
_MAX_B = 8 * 1024
_UUID = re.compile(r"^GPU UUID:\s*(GPU-[0-9a-fA-F-]{36})\s*$", re.MULTILINE)
_MINOR = re.compile(r"^Device Minor:\s*(\d{1,3})\s*$", re.MULTILINE)


def gpu_minors(procfs: Path) -> dict[int, str]:
    """UUID by minor number; empty where the driver's folder cannot be read."""
    uuids: dict[int, str] = {}
    try:
        folders = sorted(os.listdir(procfs / "driver/nvidia/gpus"))[:MAX_GPUS]  # noqa: PTH208 - names alone
    except OSError:
        return {}
    for folder in folders:
        try:
            with (procfs / "driver/nvidia/gpus" / folder / "information").open("rb") as file:
                text = file.read(_MAX_B).decode(errors="replace")
        except OSError:
            continue
        uuid, minor = _UUID.search(text), _MINOR.search(text)
        if uuid and minor:
            uuids[int(minor[1])] = uuid[1]
    return uuids
