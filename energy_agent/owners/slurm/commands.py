"""Run scontrol, which prints JSON from Slurm 22.05 on, and squeue."""

import os
import re
import socket
from pathlib import Path

from energy_agent.config.slurm import Slurm
from energy_agent.owners.command import CommandError, Process, output_of
from energy_agent.owners.slurm.answers import (
    SlurmJob,
    SlurmNode,
    SlurmOutputError,
    TooOldError,
    parse_job,
    parse_jobs,
    parse_node,
)

OLDEST = (22, 5)
MAX_ANSWER_B = 16 << 20
STATES = "RUNNING,SUSPENDED,COMPLETING,CONFIGURING,STOPPED"
"""Of a job that has devices."""
FOLDERS = (
    "/usr/bin",
    "/usr/local/bin",
    "/opt/slurm/bin",
    "/opt/slurm/current/bin",
    "/usr/local/slurm/bin",
    "/cm/shared/apps/slurm/current/bin",
)
_CONF = re.compile(r"^SLURM_CONF\s*=\s*(/.*\S)\s*$", re.MULTILINE)
_VERSION = re.compile(r"slurm(?:-wlm)? (\d{1,3})\.(\d{1,3})\S*")


def installed() -> Path | None:
    """The installed scontrol; None if it is not installed."""
    return next((path for folder in FOLDERS if os.access(path := Path(folder, "scontrol"), os.X_OK)), None)


class SlurmCommands:
    """Queries one Slurm cluster about one node; used by one thread.

    Args:
        config: its section of the configuration.
        scontrol: the program; squeue is in the same directory.
    """

    def __init__(self, config: Slurm, scontrol: Path) -> None:
        self._config, self._scontrol = config, str(scontrol)
        self._squeue = str(scontrol.with_name("squeue"))
        self.name = config.node or socket.gethostname().partition(".")[0]
        kept = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"} | {k: v for k, v in os.environ.items() if k == "SLURM_CONF"}
        self._environ = kept | ({} if config.conf is None else {"SLURM_CONF": str(config.conf)})
        self._is_new_enough = False  # not known yet
        self._folder: Path | None = None
        self._unkilled: list[Process] = []

    def node(self) -> SlurmNode:
        """This node.

        Raises:
            OSError: no answer.
            SlurmOutputError: the output does not contain it, or this Slurm is older than 22.05.
        """
        if not self._is_new_enough:
            match = _VERSION.match(self._run(self._scontrol, "--version").decode(errors="replace"))
            if match is not None and (int(match[1]), int(match[2])) < OLDEST:
                raise TooOldError(f"{match[0]} is too old: Slurm 22.05 or later is required for JSON output of scontrol")
            self._is_new_enough = True
        return parse_node(self._run(self._scontrol, "show", "node", self.name, "-d", "--json"), self.name)

    def job(self, number: str, name: str = "") -> SlurmJob | None:
        """A job; None: it is no more, or has nothing on this node. `name` is the one that squeue gives it, such as 12_3.

        Raises:
            OSError: no answer.
            SlurmOutputError: the output does not contain it.
        """
        try:
            return parse_job(self._run(self._scontrol, "show", "job", name or number, "-d", "--json"), number, self.name)
        except CommandError as error:
            if error.code is None or number in self.jobs():
                raise
            return None

    def jobs(self) -> dict[str, str]:
        """Number and name of each job of this node.

        Raises:
            OSError: no answer.
            SlurmOutputError: the output does not contain it.
        """
        return parse_jobs(
            self._run(self._squeue, "--noheader", f"--nodelist={self.name}", f"--states={STATES}", "--format=%A|%i|%t")
        )

    def folder(self) -> Path:
        """The directory of slurm.conf, read once.

        Raises:
            OSError: no answer.
            SlurmOutputError: the output does not contain it.
        """
        if self._folder is None:
            match = _CONF.search(self._run(self._scontrol, "show", "config").decode(errors="replace"))
            if match is None:
                raise SlurmOutputError("scontrol does not report the path of slurm.conf: set holders.slurm.conf")
            self._folder = Path(match[1]).parent
        return self._folder

    def _run(self, *command: str) -> bytes:
        return output_of(command, self._config.timeout_s, MAX_ANSWER_B, self._environ, self._unkilled)
