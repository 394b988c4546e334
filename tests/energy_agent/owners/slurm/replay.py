"""A scontrol and a squeue that say what the real ones said (slurm/README.md), and a driver's folder of four GPUs."""

import shutil
from pathlib import Path

CAPTURES = Path(__file__).parent / "captures"
UUIDS = [f"GPU-0000000{i}-0000-4000-8000-00000000000{i}" for i in range(4)]
SCONTROL = """#!/bin/sh
d=${0%/*}
echo "$*" >> "$d/asked"
[ ! -e "$d/fault" ] || . "$d/fault"
case "$*" in
    --version) file=version.txt ;;
    "show config") file=config.txt ;;
    "show node "*" -d --json") file=node.json ;;
    "show job 41_7 -d --json") file=job-42.json ;;
    "show job "*" -d --json") file=job-$3.json ;;
    *) exit 2 ;;
esac
[ -e "$d/$file" ] || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
exec cat "$d/$file"
"""
SQUEUE = '#!/bin/sh\necho squeue >> "${0%/*}/asked"\nexec cat "${0%/*}/squeue.txt"\n'


def install(folder):
    """The programs and captures in a folder, to be changed there; the path of scontrol."""
    shutil.copytree(CAPTURES, folder, dirs_exist_ok=True)
    for name, text in (("scontrol", SCONTROL), ("squeue", SQUEUE)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder / "scontrol"


def driver(procfs, uuids=UUIDS):
    """The files by which the driver pairs numbers with UUIDs."""
    for minor, uuid in enumerate(uuids):
        gpu = procfs / f"driver/nvidia/gpus/0000:{minor:02x}:00.0"
        gpu.mkdir(parents=True, exist_ok=True)
        (gpu / "information").write_text(f"Model: \t\t NVIDIA H100\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n")
