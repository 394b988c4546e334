"""The simulated node's `nvidia-smi`: as much of it as programs ask to find out whether there are NVIDIA GPUs.

It reads NVML as any client does, so it shows faults too. What it does not know it refuses, in one line.
"""

import argparse
import sys

from energy_agent.core.errors import WattlensError
from energy_agent.devices.nvml.library import RealNvml


def main() -> int:
    """Body of the program."""
    parser = argparse.ArgumentParser(
        prog="nvidia-smi", description="nvidia-smi of a Wattlens simulated node: it only lists the GPUs."
    )
    parser.add_argument("-L", "--list-gpus", action="store_true", required=True, help="list the GPUs with their UUIDs")
    parser.parse_args()
    nvml = RealNvml()
    try:
        nvml.init()
        devices = [nvml.device_by_index(index) for index in range(nvml.device_count())]
        lines = [f"GPU {index}: {nvml.name(device)} (UUID: {nvml.uuid(device)})\n" for index, device in enumerate(devices)]
    except WattlensError as error:
        sys.stderr.write(f"nvidia-smi: {error}\n")
        return error.exit_code
    nvml.shutdown()
    sys.stdout.write("".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
