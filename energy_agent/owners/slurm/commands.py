"""The questions to Slurm, through its own scontrol and squeue: as JSON, or as text where this Slurm was built without JSON."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from energy_agent.config.slurm import Slurm
from energy_agent.owners.command import CommandError, Process, output_of
from energy_agent.owners.slurm.answers import (
    AnswerError,
    Job,
    Node,
    job_of_json,
    job_of_text,
    jobs_of_list,
    node_of_json,
    node_of_text,
)

T = TypeVar("T")
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
_GONE = re.compile(r"invalid job id", re.IGNORECASE)


def installed() -> Path | None:
    """The installed scontrol; None: there is none."""
    return next((path for folder in FOLDERS if os.access(path := Path(folder, "scontrol"), os.X_OK)), None)


class SlurmCommands:
    """Asks one Slurm of one node; used by one thread.

    Args:
        config: its section of the configuration.
        scontrol: the program, beside which squeue is.
    """

    def __init__(self, config: Slurm, scontrol: Path) -> None:
        self._config, self._scontrol = config, str(scontrol)
        self._squeue = str(scontrol.with_name("squeue"))
        self.name = config.node or socket.gethostname().partition(".")[0]
        kept = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"} | {k: v for k, v in os.environ.items() if k == "SLURM_CONF"}
        self._environ = kept | ({} if config.conf is None else {"SLURM_CONF": str(config.conf)})
        self._json: bool | None = None  # None: not known yet
        self._folder: Path | None = None
        self._unkilled: list[Process] = []

    def node(self) -> Node:
        """This node.

        Raises:
            OSError: no answer.
            AnswerError: one that does not tell.
        """
        command = ["show", "node", self.name, "-d"]
        return self._either(
            command, lambda answer: node_of_json(answer, self.name), lambda answer: node_of_text(answer, self.name)
        )

    def job(self, number: str, name: str = "") -> Job | None:
        """A job; None: it is no more, or has nothing on this node. `name` is the one that squeue gives it, such as 12_3.

        Raises:
            OSError: no answer.
            AnswerError: one that does not tell.
        """
        command = ["show", "job", name or number, "-d"]
        try:
            return self._either(
                command,
                lambda answer: job_of_json(answer, number, self.name),
                lambda answer: job_of_text(answer, number, self.name),
            )
        except CommandError as error:
            if _GONE.search(str(error)):
                return None
            raise

    def jobs(self) -> dict[str, str]:
        """Number and name of each job of this node.

        Raises:
            OSError: no answer.
            AnswerError: one that does not tell.
        """
        return jobs_of_list(
            self._run(self._squeue, "--noheader", f"--nodelist={self.name}", f"--states={STATES}", "--format=%A|%i|%t")
        )

    def folder(self) -> Path:
        """Where slurm.conf is, asked once.

        Raises:
            OSError: no answer.
            AnswerError: one that does not tell.
        """
        if self._folder is None:
            found = _CONF.search(self._run(self._scontrol, "show", "config").decode(errors="replace"))
            if found is None:
                raise AnswerError("scontrol does not tell where slurm.conf is: name it with holders.slurm.conf")
            self._folder = Path(found[1]).parent
        return self._folder

    def _either(self, command: list[str], by_json: Callable[[bytes], T], by_text: Callable[[bytes], T]) -> T:
        if self._json is not False:
            try:
                found = by_json(self._run(self._scontrol, *command, "--json"))
                self._json = True
                return found
            except (CommandError, AnswerError) as error:
                if isinstance(error, CommandError) and (self._json or error.code is None):
                    raise  # it can, or does not answer at all
        found = by_text(self._run(self._scontrol, *command))
        self._json = False
        return found

    def _run(self, *command: str) -> bytes:
        return output_of(command, self._config.timeout_s, MAX_ANSWER_B, self._environ, self._unkilled)
