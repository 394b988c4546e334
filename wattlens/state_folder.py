"""Where a process of this machine keeps its state when nobody says where: light, as the actuator needs it too."""

import os
from pathlib import Path


def default_state_dir() -> Path:
    """/var/lib/wattlens as root, else the XDG state folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/wattlens")
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "wattlens"
