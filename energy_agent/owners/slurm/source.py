"""Claims by Slurm: which job was allocated which GPU of this node, used or not.

The agent queries slurmctld as an ordinary user, with few requests: in each period one for the node (3 KB) and one for each job
that was known to hold a GPU here. Only if these jobs do not hold all allocated GPUs, squeue lists the node's jobs and the agent
queries the new ones. Any failure of the programs (they hang, fail, write without end) becomes a reason. The last good answer
stays; `join` decides how long it counts.

A workload has the name from the cgroup of its processes, `slurm-JOB`; each task of an array is a job of its own.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from energy_agent.config.slurm import Slurm
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.ports import Clock
from energy_agent.owners.claims import Claim, ClaimSource
from energy_agent.owners.gpu_minors import gpu_minors
from energy_agent.owners.polled_source import PolledClaimSource
from energy_agent.owners.slurm.answers import SlurmJob, SlurmNode, SlurmOutputError
from energy_agent.owners.slurm.commands import SlurmCommands, installed
from energy_agent.owners.slurm.gres import NOT_TOLD, GresFile, devices, gres_files
from energy_agent.runtime.poller import RETRY_MAX_S

log = logging.getLogger("wattlens.holders")

SOURCE = "holders:slurm"
_MAX_FILE_B = 1 << 20
_PAIR = re.compile(r"([A-Za-z_][\w.-]{0,40})=([^\s,;]{1,120})")


class SlurmJobs(PolledClaimSource):
    """The source. With `wanted` False it says that nobody was given anything until a slurmd runs here."""

    source = SOURCE
    called = "Slurm"

    def __init__(self, config: Slurm, commands: SlurmCommands, clock: Clock, procfs: Path, *, wanted: bool) -> None:
        super().__init__(clock, config.period_s, wanted=wanted, retry_max_s=max(RETRY_MAX_S, config.period_s))
        self._config, self._commands, self._procfs = config, commands, procfs
        self._jobs: dict[str, SlurmJob] = {}  # that hold a GPU here
        self._without: set[str] = set()  # jobs that hold none

    def is_present(self) -> bool:
        """A slurmd runs."""
        return _slurmd_runs(self._procfs)

    def ask(self, now_ns: int) -> tuple[Iterable[Claim], Mapping[str, str]]:
        """The node, and the jobs on it."""
        for _ in range(2):  # a job may end between two questions
            node = self._commands.node()
            unassigned_gres = self._ask(node)
            if not unassigned_gres:
                break
        return self._build_claims(node, unassigned_gres, now_ns)

    def _ask(self, node: SlurmNode) -> Counter[tuple[str, int]]:
        """Ask for the jobs; what is given away and no job is known to hold."""
        self._jobs = {number: job for number in self._jobs if (job := self._job(number)) is not None and job.holds}
        unassigned_gres = _count_unassigned(node, self._jobs)
        if not unassigned_gres:
            return unassigned_gres
        listed = self._commands.jobs()
        self._without &= listed.keys()
        for number in listed.keys() - self._jobs.keys() - self._without:
            job = self._job(number, listed[number])
            if job is not None and job.holds:
                self._jobs[number] = job
            elif job is not None:
                self._without.add(number)
        return _count_unassigned(node, self._jobs)

    def _job(self, number: str, name: str = "") -> SlurmJob | None:
        try:
            return self._commands.job(number, name)
        except SlurmOutputError as error:  # of one job, whose user may have meant it: the others are known all the same
            log.debug("job %s: %s", number, error)
            return None

    def _build_claims(
        self, node: SlurmNode, unassigned_gres: Counter[tuple[str, int]], now_ns: int
    ) -> tuple[Iterable[Claim], Mapping[str, str]]:
        order = devices(
            node.gres,
            self._files(),
            gpu_minors(self._procfs),
            self._text(Path(f"{self._procfs}/driver/nvidia-caps/mig-minors")),
        )
        claims: list[Claim] = []
        unknown = {f"{name} {_place(index)}": "an unknown job" for name, index in unassigned_gres}
        for number, job in self._jobs.items():
            workload = f"slurm-{number}"
            facts = WorkloadFacts(workload, self.since(workload, now_ns), "slurm", self._labels(job))
            assigned: dict[str, None] = {}
            for name, index in job.holds:
                device = order[index] if 0 <= index < len(order) else None
                if device is None:
                    unknown[f"{name} {_place(index)}"] = workload
                else:
                    assigned[device] = None
            claims += [Claim(device, facts) for device in assigned]
        return claims, unknown

    def _labels(self, job: SlurmJob) -> dict[str, str]:
        mapped = {fact: value for fact, word in self._config.labels.items() if (value := _word(job, word))}
        return {**job.labels, **self._config.accounts.get(job.labels.get("account", ""), {}), **mapped}

    def _files(self) -> list[GresFile]:
        """The GPUs of gres.conf, read again each time: it is small, and may change under a slurmd that runs."""
        path = self._config.gres_conf or self._commands.folder() / "gres.conf"
        try:
            files = gres_files(self._text(path), self._commands.name)
        except ValueError as error:
            raise SlurmOutputError(f"{path}: {error}") from None
        if files is None:
            raise SlurmOutputError(f"{path} includes another file: set holders.slurm.gres_conf to that file")
        return files

    @staticmethod
    def _text(path: Path) -> str:
        """A small file; "" where it is not there.

        Raises:
            OSError: it may not be read.
        """
        try:
            with path.open("rb") as file:
                return file.read(_MAX_FILE_B).decode(errors="replace")
        except FileNotFoundError:
            return ""


def open_slurm(config: Slurm, clock: Clock, procfs: Path, wait_s: float, simulated: bool) -> list[ClaimSource]:
    """The source of this node, already started; empty without Slurm.

    Args:
        config: its section of the configuration.
        clock: the agent's.
        procfs: root of the proc file system.
        wait_s: how long to wait for the first answer.
        simulated: this machine's own Slurm does not know the simulated GPUs and is not queried unless it is named.
    """
    if config.scontrol == "off" or (config.scontrol == "auto" and simulated):
        return []
    scontrol = installed() if config.scontrol == "auto" else Path(config.scontrol)
    if scontrol is None:
        return []
    source = SlurmJobs(config, SlurmCommands(config, scontrol), clock, procfs, wanted=config.scontrol != "auto")
    source.start(wait_s)
    return [source]


def _count_unassigned(node: SlurmNode, jobs: Mapping[str, SlurmJob]) -> Counter[tuple[str, int]]:
    job_gres: Counter[tuple[str, int]] = Counter()
    for job in jobs.values():
        job_gres.update(job.holds)
    return Counter(node.used) - job_gres


def _place(index: int) -> str:
    return "without an index" if index == NOT_TOLD else f"IDX {index}"


def _word(job: SlurmJob, word: str) -> str:
    name, _, key = word.partition(".")
    text = job.words.get(name) or job.labels.get(name, "")
    return dict(_PAIR.findall(text)).get(key, "") if key else text[:120]


def _slurmd_runs(procfs: Path) -> bool:
    try:
        pids = [pid for pid in os.listdir(procfs) if pid.isdigit()]  # noqa: PTH208 - names alone
    except OSError:
        return False
    for pid in pids:
        try:
            if (procfs / pid / "comm").read_bytes()[:16] == b"slurmd\n":
                return True
        except OSError:
            continue
    return False
