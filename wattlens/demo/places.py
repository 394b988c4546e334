"""Where a demo listens and writes, and how the user's shell finds its folder and program."""

import shlex
import shutil
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

from energy_agent.core.errors import UsageError, WattlensError
from wattlens.agent.run import split_listen


def listen_error(listen: str) -> OSError | None:
    """Why nobody can listen there now; None where one can."""
    address, port = split_listen(listen)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error
    return None


def make_folder(parent: Path) -> Path:
    """A new folder for this run; of two that start within a second, each gets its own."""
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for more in ("", *(f"-{n}" for n in range(2, 100))):
        out = (parent / (name + more)).absolute()
        try:
            out.mkdir(parents=True)
        except FileExistsError:
            if parent.is_dir():
                continue
            raise UsageError(f"--out {parent} is not a folder") from None
        except OSError as error:
            raise UsageError(f"--out {parent}: {error.strerror}; choose a writable folder") from None
        return out
    raise WattlensError(f"--out {parent} already has 100 runs of this second")


def short_path(path: Path) -> Path:
    """The path from the working directory if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def shell_command(started_as: str) -> str:
    """How to start this program from a shell; `make demo` installs it in a folder that is not in $PATH.

    Args:
        started_as: the program's path, as in sys.argv[0].
    """
    path = Path(started_as)
    if path.name != "wattlens":
        return f"{shlex.quote(sys.executable)} -m wattlens"
    in_path = shutil.which("wattlens")
    return "wattlens" if in_path and Path(in_path).resolve() == path.resolve() else shlex.quote(started_as)
