"""Owners of a device from NVML's process list and /proc: the workload of each process on it.

A process is identified by pid and start time, so that a reused pid is a different process. The root of /proc is a parameter. A
process that the agent cannot see (another pid namespace, hidepid) makes the owner unknown: its energy is unattributed, never
guessed. A process has ended only if it was seen before and no longer exists.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from energy_agent.core.energy import MigUse, ProcessUse, State, WorkloadFacts
from energy_agent.core.text import printable
from energy_agent.metering.attribution import Holding
from energy_agent.owners.cgroup import MAX_NAME, TrustedPath, membership, unchecked
from energy_agent.owners.cgroup_tree import WHOLE_RANGE
from energy_agent.owners.lone_processes import NOBODY, OF_NODE, OF_USER, LoneProcesses, is_shared
from energy_agent.owners.process_status import count_pid_namespaces, status_field
from energy_agent.owners.subordinate_uids import SubordinateUids

MAX_PROC_B = 64 * 1024
_ENDED = ("Z", "X", "x")  # states of a process that nobody has waited for yet


@dataclass(frozen=True, slots=True)
class ProcessOwner:
    """A process resolved to its workload."""

    workload: str
    facts: WorkloadFacts


@dataclass(frozen=True, slots=True)
class DeviceOwners:
    """The workloads that hold one device. If they are unknown, `holding` has the value None and `reason` the cause.

    `departed` has the SM time since the last listing, in us, of workloads that no longer hold the device.
    """

    holding: Holding | None
    reason: State = State.STARTING
    processes: tuple[tuple[int, int], ...] = ()  # (pid, start time)
    process_weights: Mapping[str, int] = field(default_factory=dict)  # weights of the processes that could be resolved
    departed: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class ProcessOwners:
    """Resolves process lists; remembers each process, so that /proc is read once a process.

    `trust` cuts the path of a process's cgroup to what root named (`CgroupTree.trust`). `subordinate` are uids that others own.
    """

    procfs: Path
    trust: Callable[[str, str], TrustedPath] = unchecked
    subordinate: SubordinateUids | None = None  # None: those of the machine whose /proc it is
    _process_owners: dict[tuple[int, int], ProcessOwner] = field(default_factory=dict)
    _ended: set[tuple[int, int]] = field(default_factory=set)  # of these, when that was last looked for
    _names: set[str] = field(default_factory=set)  # workloads of these, and of some that have ended
    _lone: LoneProcesses = field(default_factory=LoneProcesses)
    _before: frozenset[str] = frozenset()  # workloads as of the last commit, until all processes were seen again

    def restore(self, workloads: Iterable[str]) -> None:
        """Workloads that were there when the agent last ran: their processes keep their names."""
        self._before = frozenset(workloads)

    def resolve(
        self, processes: Iterable[ProcessUse], now_ns: int, mig: Iterable[MigUse] = ()
    ) -> tuple[DeviceOwners, list[WorkloadFacts]]:
        """Owners of one device by its process list, and the facts of workloads seen for the first time.

        On a GPU in MIG mode, `mig` are its MIG devices: each has owners of its own, and a process that cannot be seen makes
        unknown only who holds the one it is on.
        """
        weights: dict[str, int] = {}
        slices: dict[str, dict[str, int] | None] = {device.uuid: {} for device in mig}
        identities: list[tuple[int, int]] = []
        fresh: list[WorkloadFacts] = []
        gone_processes: list[ProcessUse] = []
        unknown = measured = False
        for process in processes:
            measured = measured or process.sm_us is not None
            if not process.listed:
                gone_processes.append(process)
                continue
            started = self.start_time(process.pid)
            if started is None:
                if not any(pid == process.pid for pid, _ in self._process_owners):
                    unknown = unknown or process.mig not in slices
                    slices |= {process.mig: None} if process.mig in slices else {}
                gone_processes.append(process)
                continue
            identity = (process.pid, started)
            process_owner = self._process_owners.get(identity)
            if process_owner is None:
                process_owner = self._look_up(process.pid, started, now_ns)
                self._process_owners[identity] = process_owner
                self._names.add(process_owner.workload)
                fresh.append(process_owner.facts)
            self._ended.discard(identity)
            identities.append(identity)
            weights[process_owner.workload] = weights.get(process_owner.workload, 0) + (process.sm_us or 0)
            if slices:
                of_slice = slices.get(process.mig, {})
                unknown = unknown or process.mig not in slices  # its MIG device is not known
                if of_slice is not None:
                    of_slice[process_owner.workload] = of_slice.get(process_owner.workload, 0) + (process.sm_us or 0)
        if unknown:
            return DeviceOwners(None, State.UNKNOWN_OWNER, tuple(identities), weights), fresh
        departed, unseen = self._departed(gone_processes, weights)
        holding = Holding(weights, measured, slices, unseen)
        return DeviceOwners(holding, processes=tuple(identities), process_weights=weights, departed=departed), fresh

    def _departed(self, gone_processes: Collection[ProcessUse], weights: dict[str, int]) -> tuple[dict[str, int], int]:
        """SM time of processes that are not on the device any more: of a workload that still is, it goes into its weight.

        Returns that of other workloads, and that of processes which came and went between two listings: nobody saw whose.
        """
        departed: dict[str, int] = {}
        unseen = 0
        latest = dict(sorted(self._process_owners)) if gone_processes else {}  # start times by pid
        for process in gone_processes:
            if process.pid not in latest:
                unseen += process.sm_us or 0
                continue
            workload = self._process_owners[process.pid, latest[process.pid]].workload
            into = weights if workload in weights else departed
            into[workload] = into.get(workload, 0) + (process.sm_us or 0)
        return departed, unseen

    def alive(self, identity: tuple[int, int]) -> bool:
        """Whether that very process still lives; one that was killed and that its parent has not waited for does not."""
        fields = self._stat(identity[0])
        return _start(fields) == identity[1] and (fields[0] not in _ENDED or self._has_threads(identity[0]))

    def owner_of(self, identity: tuple[int, int]) -> ProcessOwner | None:
        """The owner of a process that held a device; may be called from any thread.

        Also None for a process beyond its user's limit, which counts in a shared workload.
        """
        process_owner = self._process_owners.get(identity)
        return None if process_owner is not None and is_shared(process_owner.workload) else process_owner

    def has_no_process(self, pid: int) -> bool:
        """Whether no process has this pid: asked every second, so without a look at its start time."""
        return not os.access(f"{self.procfs}/{pid}", os.F_OK)

    def forget_dead(self) -> None:
        """Drop what had ended by the last call, so that a long-lived agent stays small.

        What has ended since is kept once more: the next process list has its use until its end.
        """
        for identity in self._ended:
            del self._process_owners[identity]
        self._ended = {identity for identity in self._process_owners if not self.alive(identity)}
        self._names = self.workloads()
        self._before = frozenset()

    def workloads(self) -> set[str]:
        """Workloads of the processes that had not ended when that was last looked for."""
        return {
            process_owner.workload for identity, process_owner in self._process_owners.items() if identity not in self._ended
        }

    def start_time(self, pid: int) -> int | None:
        """Start time in clock ticks since boot, field 22 of /proc/PID/stat; None where the process cannot be seen."""
        return _start(self._stat(pid))

    def _has_threads(self, pid: int) -> bool:
        """Whether others go on of a process whose first thread has ended, which looks like one that nobody has waited for."""
        try:
            return len(os.listdir(f"{self.procfs}/{pid}/task")) > 1  # noqa: PTH208 - names alone
        except OSError:
            return False

    def _stat(self, pid: int) -> list[str]:
        # The command (field 2) may hold anything, brackets and spaces included: fields are counted from its last bracket on.
        return (self._read(pid, "stat") or "").rpartition(")")[2].split()

    def _look_up(self, pid: int, started: int, now_ns: int) -> ProcessOwner:
        member = membership(self._read(pid, "cgroup") or "", self.trust)
        if member is not None:
            name, labels = printable(member.name), {k: printable(v) for k, v in member.labels.items()}
            uid = labels.get("uid")  # of whom has chosen the name
            owner = None if uid is None else self._owner(int(uid), now_ns)
            process_owner = ProcessOwner(name, WorkloadFacts(name, now_ns, member.kind, labels))
            return process_owner if uid is None or self._may_have(name, owner, now_ns) else self._shared(owner, now_ns)
        command = printable((self._read(pid, "comm") or "unknown").strip())[:MAX_NAME]
        name = f"process-{command}-{pid}-{started}"  # the start time keeps a reused pid apart
        owner, labels = self._user(pid, now_ns)
        if not self._may_have(name, owner, now_ns):
            return self._shared(owner, now_ns)
        return ProcessOwner(name, WorkloadFacts(name, now_ns, "process", {"command": command, "pid": str(pid)} | labels))

    def _may_have(self, name: str, owner: int | None, now_ns: int) -> bool:
        """Whether a name that its user has chosen is a workload; one that lives keeps it."""
        return name in self._before or name in self._names or self._lone.is_own(name, owner, now_ns)

    def _shared(self, owner: int | None, now_ns: int) -> ProcessOwner:
        name = self._lone.shared_name(owner)
        labels = {
            "reason": (
                f"in one hour, more than {OF_USER} workloads of this user, or more than its share of the {OF_NODE} workloads "
                "of all users"
            )
        }
        return ProcessOwner(name, WorkloadFacts(name, now_ns, "process", labels))

    def _user(self, pid: int, now_ns: int) -> tuple[int | None, dict[str, str]]:
        """The owner of a process, None where its uid identifies none, and the label that names its user.

        The users of a process in a pid namespace of its own are those of a container, and others than the host's of the same
        number. In a user namespace of its own a process may have any uid that its owner has been given.
        """
        uid, on_host = _real_uid(self._read(pid, "status") or "")
        if uid is None or not on_host:
            return None, {}
        owner = self._owner(uid, now_ns)
        if owner == uid and not self._is_in_our_user_namespace(pid):
            return None, {}
        return owner, {"uid": str(uid if owner is None else owner)}

    def _is_in_our_user_namespace(self, pid: int) -> bool:
        uid_map = self._read(pid, "uid_map")
        return uid_map == self._read("self", "uid_map") or (uid_map or "").split() == WHOLE_RANGE.split()

    def _owner(self, uid: int, now_ns: int) -> int | None:
        self.subordinate = self.subordinate or SubordinateUids(self.procfs)
        owner, subordinate = self.subordinate.owner_of(uid, now_ns)
        owner = owner if subordinate else uid
        return None if owner == NOBODY else owner

    def _read(self, pid: int | str, name: str) -> str | None:
        return read_proc(self.procfs, pid, name)


def read_proc(procfs: Path, pid: int | str, name: str) -> str | None:
    """A file of a process in /proc, up to a bound; None where it cannot be read.

    Asked every second for every owner, so without pathlib and buffers: they cost ten times the read itself.
    """
    try:
        fd = os.open(f"{procfs}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, MAX_PROC_B).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(fd)


def _start(fields: list[str]) -> int | None:
    try:
        return int(fields[19])
    except (IndexError, ValueError):
        return None


def _real_uid(status: str) -> tuple[int | None, bool]:
    """The real uid of a process, which no setuid program changes, None where it is unknown; and whether it is of the host."""
    uids = status_field(status, "Uid")
    return int(uids[0]) if uids and uids[0].isdecimal() else None, count_pid_namespaces(status) == 1
