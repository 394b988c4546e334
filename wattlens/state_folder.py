"""Default state folders of the processes of this machine. Light, as the actuator needs it too."""

import os
from pathlib import Path


def default_state_dir(name: str = "wattlens") -> Path:
    """/var/lib/NAME as root, else NAME in the XDG state folder; `name` is wattlens or wattlens-site."""
    if os.geteuid() == 0:
        return Path("/var/lib") / name
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / name
