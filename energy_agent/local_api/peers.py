"""Identify clients of the Unix socket by the kernel's data, and decide what they may see.

SO_PEERCRED names the connected process, and its cgroup names the workload; nothing that the client sends is used. Root on the
host and the agent's own user see everything. All other clients, root in a container included, see their own workload only.
"""

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.energy import ProcessUse, WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock
from energy_agent.owners.cgroup import TrustedPath, unchecked
from energy_agent.owners.process_status import count_pid_namespaces, status_field
from energy_agent.owners.processes import MAX_PROC_B, ProcessOwner, ProcessOwners
from energy_agent.owners.subordinate_uids import SubordinateUids

_CREDENTIALS = struct.Struct("=iII")
_SO_PEERPIDFD = 77  # since Linux 6.5; not named in the socket module
_CONFINED = ("pod", "container")
_IN_NAMESPACES = "processes in user namespaces"
_ENDED = "your process has ended"
"""Its pid may be another process's by now."""


class StrangerError(WattlensError):
    """It is not known who asks; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class ClientProcess:
    """A process that asks.

    `everything`: it may see all devices. `place` names who shares its places on the socket.
    """

    identity: tuple[int, int]
    owner: ProcessOwner
    everything: bool
    place: str

    @property
    def facts(self) -> WorkloadFacts:
        """What its cgroup says of its workload."""
        return self.owner.facts


class Peers:
    """Looks up who connected. `roots` are the /proc folders that are looked into, in this order."""

    def __init__(
        self,
        roots: Sequence[Path],
        clock: Clock,
        owner_lookup: Callable[[tuple[int, int]], ProcessOwner | None] = lambda _: None,
        trust: Callable[[str, str], TrustedPath] = unchecked,
    ) -> None:
        """Nothing is read yet.

        Args:
            roots: see above.
            clock: of the agent.
            owner_lookup: workload of a process that was on a device already: a process may change its name.
            trust: cuts the path of a cgroup to what root named.
        """
        self._roots, self._clock, self._owner_lookup, self._trust = roots, clock, owner_lookup, trust
        self._subordinate = {root: SubordinateUids(root) for root in roots}

    def who(self, client: socket.socket) -> ClientProcess:
        """The process that connected; raises StrangerError."""
        pid, uid = _credentials(client)
        if pid <= 0:
            raise StrangerError(
                "the agent cannot see your process, which runs outside of the agent's PID namespace; run the agent with "
                "hostPID: true (Docker: --pid=host)"
            )
        handle = _pidfd(client)
        try:
            peer = self._look_up(pid, uid)
            if handle is not None and select.select([handle], [], [], 0)[0]:
                raise StrangerError(_ENDED)
        finally:
            if handle is not None:
                os.close(handle)
        return peer

    def origin(self, client: socket.socket) -> str:
        """Where a connection comes from, by the cheapest look that keeps containers of root apart; not who it is."""
        try:
            pid, uid = _credentials(client)
        except OSError:
            return ""
        return f"{uid}" if uid else next((text for root in self._roots if (text := _read(root / str(pid) / "cgroup"))), "0")

    def alive(self, identity: tuple[int, int]) -> bool:
        """Whether that very process still lives."""
        return any(ProcessOwners(root).alive(identity) for root in self._roots)

    def _look_up(self, pid: int, uid: int) -> ClientProcess:
        for root in self._roots:
            owners = ProcessOwners(root, self._trust, self._subordinate[root])
            resolved, facts = owners.resolve([ProcessUse(pid)], self._clock.utc_ns())
            if not resolved.processes or not facts:
                continue
            if uid not in _effective_uids(root, pid):
                raise StrangerError(_ENDED)
            identity = resolved.processes[0]
            owner = self._owner_lookup(identity) or ProcessOwner(facts[0].workload, facts[0])
            confined = facts[0].kind in _CONFINED and not _beside_us(root, pid)
            everything = (
                uid in (0, os.geteuid()) and not confined and count_pid_namespaces(_read(root / str(pid) / "status")) == 1
            )
            # A user may have as many units and containers as it likes: they share the user's places.
            user = facts[0].labels.get("uid", str(uid) if facts[0].kind == "process" else "")
            place = f"uid {user}" if user else facts[0].workload
            if facts[0].kind == "process" and _in_user_namespace(root, pid):
                place = _IN_NAMESPACES  # a user may have thousands of subordinate uids there
            return ClientProcess(identity, owner, everything, place)
        raise StrangerError(
            f"process {pid} is not visible in the agent's /proc: run the agent with hostPID: true, and without hidepid"
        )


def _credentials(client: socket.socket) -> tuple[int, int]:
    pid, uid, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def _pidfd(client: socket.socket) -> int | None:
    """A handle of the process that connected, which no other process can come to have; None before Linux 6.5.

    Raises:
        StrangerError: the process has ended. Linux before 6.16 has no handle of a process whose parent has waited for it.
    """
    try:
        return struct.unpack("=i", client.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4))[0]  # type: ignore[no-any-return]
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return None
        raise StrangerError(_ENDED) from None


def _effective_uids(root: Path, pid: int) -> list[int]:
    """The effective uid of a process; empty: it has ended."""
    return [int(uid) for uid in status_field(_read(root / str(pid) / "status"), "Uid")[1:2]]


def _in_user_namespace(root: Path, pid: int) -> bool:
    """Whether a process is in another user namespace than the agent."""
    return _read(root / str(pid) / "uid_map") != _read(Path("/proc/self/uid_map"))


def _beside_us(root: Path, pid: int) -> bool:
    """Whether it is in the agent's own container."""
    ours = _read(Path("/proc/self/cgroup"))
    return bool(ours) and _read(root / str(pid) / "cgroup") == ours


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PROC_B).decode(errors="replace")
    except OSError:
        return ""
