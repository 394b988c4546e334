"""What NVIDIA's runtime does for containerd: a container with NVIDIA_VISIBLE_DEVICES is given the driver's library.

The library is the simulated node's. FOLDER stands for the cluster's folder.
"""

import json
import os
import sys
from pathlib import Path

FOLDER = Path("@FOLDER@")
PLANT = "/run/wlsim"
"""Where the library expects the plant, in the container."""
MOUNTS = {"/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1": "libnvidia-ml.so.1", PLANT: "gpus", "/sys/module": "modules"}


def bundle(arguments: list[str]) -> Path:
    """The container's folder."""
    for word, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if word in ("--bundle", "-b"):
            return Path(value)
        if word.startswith("--bundle="):
            return Path(word.partition("=")[2])
    return Path()


def inject(path: Path) -> None:
    """Add the driver to the container, unless it has no NVIDIA_VISIBLE_DEVICES."""
    spec = json.loads(path.read_text())
    environ = dict(pair.partition("=")[::2] for pair in spec["process"].get("env", []))
    if environ.get("NVIDIA_VISIBLE_DEVICES", "void") in ("", "void", "none"):
        return
    for destination, name in MOUNTS.items():
        options = ["rbind", "rw" if destination == PLANT else "ro", "nosuid", "nodev"]
        spec["mounts"].append({"destination": destination, "type": "bind", "source": str(FOLDER / name), "options": options})
    path.write_text(json.dumps(spec))


if __name__ == "__main__":
    if "create" in sys.argv:
        inject(bundle(sys.argv[1:]) / "config.json")
    os.execvp("runc", ["runc", *sys.argv[1:]])
